package gmailtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/intellicon/email-integration/internal/fakehttp"
)

// Subscription is a push subscription to a topic.
type Subscription struct {
	Topic          string // "projects/P/topics/T"
	Endpoint       string // where it is pushed to, "https://crm.example/push"
	Audience       string // "": the endpoint (facts 1.3)
	ServiceAccount string // in whose name the token is signed; "": "push@P.iam.gserviceaccount.com"
	NoToken        bool   // the subscription was made without authentication
	// Handler is pushed to in memory, in the goroutine of whoever made the change. Nil: Client posts.
	Handler http.Handler
	Client  *http.Client // nil: http.DefaultClient
}

// Notification is what a mailbox's watch told Pub/Sub.
type Notification struct {
	User      string
	HistoryID uint64
	Topic     string
	At        time.Time
	Dropped   bool // it came too soon after another, or DropPushes took it
	Attempts  int  // at delivering it, over all subscriptions
	Acked     int  // of those that were taken
}

// pubsub is Google's Pub/Sub. Guarded by Server.mu.
type pubsub struct {
	closed  map[string]bool // topics without the publisher grant
	subs    []*Subscription
	queue   []*delivery
	log     []*Notification
	serial  int
	held    bool
	reorder bool
	drop    int
	repeat  int
	delay   time.Duration
}

// delivery is a notification on its way to a subscription.
type delivery struct {
	n        *Notification
	sub      *Subscription
	id       int
	due      time.Time
	attempts int
}

func (p *pubsub) init() { p.closed = map[string]bool{} }

// Topic is the full name of a topic in the project.
func (s *Server) Topic(name string) string { return "projects/" + s.opts.Project + "/topics/" + name }

// Grant says whether Gmail may publish to a topic (facts 1.3). It may unless it was told otherwise.
func (s *Server) Grant(topic string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pubsub.closed[topic] = !on
}

// Subscribe adds a push subscription.
func (s *Server) Subscribe(sub Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.Audience == "" {
		sub.Audience = sub.Endpoint
	}
	if sub.ServiceAccount == "" {
		sub.ServiceAccount = "push@" + s.opts.Project + ".iam.gserviceaccount.com"
	}
	s.pubsub.subs = append(s.pubsub.subs, &sub)
}

// Notifications returns what was notified so far, dropped ones included.
func (s *Server) Notifications() []Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Notification, len(s.pubsub.log))
	for i, n := range s.pubsub.log {
		out[i] = *n
	}
	return out
}

// DropPushes loses the next n notifications, RepeatPushes delivers each of the next n twice, ReorderPushes delivers what is due newest first,
// DelayPushes makes notifications late. Facts 1.3: they "may be delayed or missing", "At-least-once, unordered".
func (s *Server) DropPushes(n int)            { s.tune(func(p *pubsub) { p.drop = n }) }
func (s *Server) RepeatPushes(n int)          { s.tune(func(p *pubsub) { p.repeat = n }) }
func (s *Server) ReorderPushes(on bool)       { s.tune(func(p *pubsub) { p.reorder = on }) }
func (s *Server) DelayPushes(d time.Duration) { s.tune(func(p *pubsub) { p.delay = d }) }

// HoldPushes keeps notifications back until Push is called, or lets them go by themselves again.
func (s *Server) HoldPushes(on bool) { s.tune(func(p *pubsub) { p.held = on }) }

func (s *Server) tune(f func(*pubsub)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.pubsub)
}

// flush pushes what is due, unless it is held.
func (s *Server) flush() {
	s.mu.Lock()
	held := s.pubsub.held
	s.mu.Unlock()
	if !held {
		s.Push()
	}
}

// Push delivers what is due by the clock and returns how many deliveries were tried. Without HoldPushes it happens by itself after each change
// and each call; what was not taken comes again with a later one, once its pause is over, or with Push.
func (s *Server) Push() int {
	s.mu.Lock()
	now := s.now()
	var due, later []*delivery
	for _, d := range s.pubsub.queue {
		if d.due.After(now) {
			later = append(later, d)
			continue
		}
		due = append(due, d)
		if s.pubsub.repeat > 0 {
			s.pubsub.repeat--
			due = append(due, d)
		}
	}
	s.pubsub.queue = later
	if s.pubsub.reorder {
		slices.Reverse(due)
	}
	s.mu.Unlock()
	for _, d := range due {
		acked := d.push(s)
		s.mu.Lock()
		d.n.Attempts++
		switch {
		case acked:
			d.n.Acked++
		case !slices.Contains(s.pubsub.queue, d): // facts 1.3: "anything else or a timeout -> redelivery with backoff"
			d.attempts++
			d.due = s.now().Add(min(10*time.Second<<(d.attempts-1), 10*time.Minute))
			s.pubsub.queue = append(s.pubsub.queue, d)
		}
		s.mu.Unlock()
	}
	return len(due)
}

const ackDeadline = 10 * time.Second // facts 1.3: the default

// taken are the statuses that acknowledge (facts 1.3).
var taken = []int{102, 200, 201, 202, 204}

func (d *delivery) push(s *Server) bool {
	ctx, cancel := context.WithTimeout(context.Background(), ackDeadline)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.sub.Endpoint, bytes.NewReader(d.envelope(s)))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
	if !d.sub.NoToken {
		r.Header.Set("Authorization", "Bearer "+s.PushToken(d.sub.claims()))
	}
	c := d.sub.Client
	switch {
	case d.sub.Handler != nil:
		c = fakehttp.Transport{Handler: d.sub.Handler}.Client()
	case c == nil:
		c = http.DefaultClient
	}
	resp, err := c.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close() //nolint:errcheck // nothing of it is read
	return slices.Contains(taken, resp.StatusCode)
}

// envelope is the body. Facts 1.3: data is base64 of JSON, whose historyId is a number, or quoted as documented.
func (d *delivery) envelope(s *Server) []byte {
	id := strconv.FormatUint(d.n.HistoryID, 10)
	if s.opts.QuotedHistoryID {
		id = strconv.Quote(id)
	}
	data := fmt.Sprintf(`{"emailAddress":%q,"historyId":%s}`, d.n.User, id)
	at := d.n.At.UTC().Format(time.RFC3339Nano)
	b, err := json.Marshal(map[string]any{
		"message": map[string]any{
			"data": base64.StdEncoding.EncodeToString([]byte(data)), "messageId": fmt.Sprint(d.id), "message_id": fmt.Sprint(d.id),
			"publishTime": at, "publish_time": at,
		},
		"subscription": "projects/" + s.opts.Project + "/subscriptions/push",
	})
	if err != nil {
		panic(err) // strings
	}
	return b
}

// claims are what a push token says (facts 1.3).
func (sub *Subscription) claims() map[string]any {
	return map[string]any{"aud": sub.Audience, "azp": "113774264463038321964", "sub": "113774264463038321964", "email": sub.ServiceAccount, "email_verified": true}
}

// PushToken signs a token with the key that push tokens are signed with. iss, iat and exp are added where they are missing; whatever else is said
// is said: so a test shows that a CRM takes none with another audience, e-mail address or issuer.
func (s *Server) PushToken(claims map[string]any) string { return s.sign(claims, time.Hour) }
