package gmail

import (
	"context"
	"time"

	gapi "google.golang.org/api/gmail/v1"
)

// Watch implements provider.Watcher: Google tells Options.Topic when something happens in the mailbox, for seven days; facts 1.3 recommend to renew it daily.
// All labels are watched: INBOX alone would hide what is sent (facts 1.4). It costs 100 units.
func (m *Mailbox) Watch(ctx context.Context) (time.Time, error) {
	if m.p.o.Topic == "" {
		return time.Time{}, unsupported("no Pub/Sub topic is set: Gmail is asked for news instead (docs/setup-google.md, \"Push\")")
	}
	var r *gapi.WatchResponse
	if err := m.read(ctx, live, watchStart, func(ctx context.Context) (err error) {
		r, err = m.api.Users.Watch("me", &gapi.WatchRequest{TopicName: m.p.o.Topic}).Context(ctx).Do()
		return err
	}); err != nil {
		return time.Time{}, topicTrouble(err)
	}
	return time.UnixMilli(r.Expiration).UTC(), nil
}

// Unwatch implements provider.Watcher. It ends the watch of this person and app, also where another connection lives by it (facts 8).
func (m *Mailbox) Unwatch(ctx context.Context) error {
	return m.read(ctx, live, watchStop, func(ctx context.Context) error { return m.api.Users.Stop("me").Context(ctx).Do() })
}

// topicError adds to a refusal of Watch what it mostly means.
type topicError struct{ err error }

func (e *topicError) Error() string {
	return e.err.Error() + ": does the topic exist in the app's project, and may gmail-api-push@system.gserviceaccount.com publish to it? (docs/setup-google.md, \"Push\")"
}
func (e *topicError) Unwrap() error { return e.err }

func topicTrouble(err error) error {
	// Facts 1.3: a 500 "usually means the topic lacks the publisher grant".
	if s := status(err); s >= 500 || s == 400 || s == 403 || s == 404 {
		return &topicError{err}
	}
	return err
}
