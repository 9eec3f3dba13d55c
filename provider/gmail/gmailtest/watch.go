package gmailtest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/gmail/v1"
)

// watching is a watch on a mailbox. Facts 1.3: one per mailbox and project.
type watching struct {
	topic   string
	labels  []string
	exclude bool
	expires time.Time
	last    time.Time // of a notification
}

const watchLife = 7 * 24 * time.Hour // facts 1.3: "Expires in 7 days"

var topicForm = regexp.MustCompile(`^projects/([^/]+)/topics/[A-Za-z][A-Za-z0-9._~%+-]{2,254}$`)

// watch is users.watch.
func (c *call) watch() (any, *apiError) {
	s, u := c.s, c.user
	var in gmail.WatchRequest
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	m := topicForm.FindStringSubmatch(in.TopicName)
	if m == nil || m[1] != s.opts.Project { // facts 1.3: "P must be the same project as the OAuth client"
		return nil, invalid("Invalid topicName does not match projects/%s/topics/*", s.opts.Project)
	}
	for _, l := range in.LabelIds {
		if u.label(l) == nil {
			return nil, invalid("Invalid label: %s", l)
		}
	}
	behavior := in.LabelFilterBehavior
	if behavior == "" {
		behavior = in.LabelFilterAction // facts 1.3: the older name of it
	}
	if !slices.Contains([]string{"", "include", "exclude", "INCLUDE", "EXCLUDE"}, behavior) {
		return nil, invalid("Invalid value at 'label_filter_behavior'")
	}
	now := s.now()
	if w := u.watching; w != nil && now.Before(w.expires) && w.topic != in.TopicName {
		// Facts 1.3: "a different topic fails with" this "until stop is called".
		return nil, invalid("Only one user push notification client allowed per developer (call /stop then try again)")
	}
	if s.pubsub.closed[in.TopicName] { // facts 1.3: "A 500 backendError on watch usually means the topic lacks the publisher grant"
		return nil, &apiError{status: http.StatusInternalServerError, reason: "backendError", message: "Backend Error"}
	}
	last := time.Time{}
	if u.watching != nil {
		last = u.watching.last
	}
	u.watching = &watching{in.TopicName, in.LabelIds, strings.EqualFold(behavior, "exclude"), now.Add(watchLife), last}
	u.publish() // facts 1.3: "Watch immediately sends one notification"
	return &gmail.WatchResponse{HistoryId: u.last, Expiration: u.watching.expires.UnixMilli()}, nil
}

// stop is users.stop.
func (c *call) stop() (any, *apiError) {
	c.user.watching = nil
	return nil, nil
}

// Watched returns until when the mailbox is watched, and on which topic; zero: it isn't.
func (u *User) Watched() (topic string, until time.Time) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if w := u.watching; w != nil && u.s.now().Before(w.expires) {
		return w.topic, w.expires
	}
	return "", time.Time{}
}

// Unwatch ends the watch without a word, as happens.
func (u *User) Unwatch() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.watching = nil
}

// notify publishes what was recorded of a message, where it is watched. The caller holds Server.mu.
func (u *User) notify(m *mail, labels []string) {
	w := u.watching
	if w == nil || !u.s.now().Before(w.expires) {
		return
	}
	if len(w.labels) > 0 {
		match := slices.ContainsFunc(w.labels, func(l string) bool { return m.has(l) || slices.Contains(labels, l) })
		if match == w.exclude {
			return
		}
	}
	u.publish()
}

// publish hands the newest history id to Pub/Sub.
func (u *User) publish() {
	s, w := u.s, u.watching
	now := s.now()
	n := &Notification{User: u.Address, HistoryID: u.last, Topic: w.topic, At: now}
	s.pubsub.log = append(s.pubsub.log, n)
	if !w.last.IsZero() && now.Sub(w.last) < time.Second { // facts 1.3: "Max 1 notification per second per user; excess is dropped"
		n.Dropped = true
		return
	}
	w.last = now
	if s.pubsub.drop > 0 {
		s.pubsub.drop--
		n.Dropped = true
		return
	}
	for _, sub := range s.pubsub.subs {
		if sub.Topic == w.topic {
			s.pubsub.serial++
			s.pubsub.queue = append(s.pubsub.queue, &delivery{n: n, sub: sub, id: s.pubsub.serial, due: now.Add(s.pubsub.delay)})
		}
	}
}
