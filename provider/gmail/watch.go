package gmail

import (
	"context"
	"time"

	"golang.org/x/oauth2"
	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// Watch implements provider.Watcher: Google tells Options.Topic when something happens in the mailbox, for seven days; facts 1.3 recommend to renew it daily.
// All labels are watched: INBOX alone would hide what is sent (facts 1.4). There is one for a person and a project, so it has no handle, and asking
// again prolongs it. It costs 101 units.
func (p *Provider) Watch(ctx context.Context, tokens oauth2.TokenSource, _ []byte) (provider.Watch, error) {
	if p.o.Topic == "" {
		return provider.Watch{}, unsupported("no Pub/Sub topic is set: Gmail is asked for news instead (docs/setup-google.md, \"Push\")")
	}
	m, err := p.Mailbox(ctx, tokens)
	if err != nil {
		return provider.Watch{}, err
	}
	defer m.Close() //nolint:errcheck // nothing was written
	var r *gapi.WatchResponse
	if err := m.read(ctx, live, watchStart, func(ctx context.Context) (err error) {
		r, err = m.api.Users.Watch("me", &gapi.WatchRequest{TopicName: p.o.Topic}).Context(ctx).Do()
		if err == nil && r.Expiration <= 0 {
			err = errEmpty
		}
		return err
	}); err != nil {
		return provider.Watch{}, topicTrouble(err)
	}
	return provider.Watch{Expires: time.UnixMilli(r.Expiration).UTC()}, nil
}

// Unwatch implements provider.Watcher. It ends the watch of this person and app, also where another connection lives by it (facts 8).
func (p *Provider) Unwatch(ctx context.Context, tokens oauth2.TokenSource, _ []byte) error {
	m, err := p.Mailbox(ctx, tokens)
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // nothing was written
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
