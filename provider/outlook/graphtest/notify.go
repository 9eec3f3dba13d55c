package graphtest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Notification is what a subscription was told, or was to be.
type Notification struct {
	Subscription string
	User         string
	Change       string // created, updated, deleted
	Event        string // of the lifecycle: reauthorizationRequired, subscriptionRemoved, missed
	Message      string // id, as the subscription has ids
	At           time.Time
	Attempts     int  // at delivering it
	Acked        bool // it was taken
	Dropped      bool // DropNotifications or four hours took it
}

// hooks is what delivers notifications. Guarded by Server.mu.
type hooks struct {
	subs     []*subscription
	handlers map[string]http.Handler // by what addresses begin with
	client   *http.Client
	queue    []*delivery
	log      []*Notification
	held     bool
	reorder  bool
	drop     int
	repeat   int
	delay    time.Duration
}

// delivery is a notification on its way.
type delivery struct {
	n        *Notification
	sub      *subscription
	event    string
	at       string // address
	value    map[string]any
	due      time.Time
	attempts int
}

const (
	retryLife   = 4 * time.Hour // facts 2.4: "retried with backoff up to 4 h"
	answerTime  = 10 * time.Second
	maxTogether = 100 // notifications in a post; how many Graph puts together is not known
)

func (h *hooks) init() { h.handlers = map[string]http.Handler{} }

// Webhook lets a handler answer, in memory and in the goroutine of whoever made the change, for addresses that begin like that
// ("https://crm.example/"). Others are called over the network.
func (s *Server) Webhook(prefix string, h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.handlers[prefix] = h
}

// WebhookClient calls the addresses that no handler is for, instead of http.DefaultClient.
func (s *Server) WebhookClient(c *http.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.client = c
}

func (s *Server) handler(at string) http.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := ""
	for p := range s.hooks.handlers {
		if strings.HasPrefix(at, p) && len(p) > len(best) {
			best = p
		}
	}
	return s.hooks.handlers[best]
}

func (s *Server) hookClient() *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hooks.client != nil {
		return s.hooks.client
	}
	return http.DefaultClient
}

// Notifications returns what subscriptions were told so far, or were to be.
func (s *Server) Notifications() []Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Notification, len(s.hooks.log))
	for i, n := range s.hooks.log {
		out[i] = *n
	}
	return out
}

// DropNotifications loses the next n notifications of changes, RepeatNotifications delivers each of the next n twice, ReorderNotifications delivers what
// is due newest first, DelayNotifications makes notifications late. Facts 2.4: "duplicates and reordering happen; latency <1 min avg, 3 min max".
func (s *Server) DropNotifications(n int)   { s.onHooks(func(h *hooks) { h.drop = n }) }
func (s *Server) RepeatNotifications(n int) { s.onHooks(func(h *hooks) { h.repeat = n }) }
func (s *Server) ReorderNotifications(on bool) {
	s.onHooks(func(h *hooks) { h.reorder = on })
}
func (s *Server) DelayNotifications(d time.Duration) { s.onHooks(func(h *hooks) { h.delay = d }) }

// HoldNotifications keeps notifications back until Notify is called, which then puts many into one post, or lets them go by themselves again.
func (s *Server) HoldNotifications(on bool) { s.onHooks(func(h *hooks) { h.held = on }) }

func (s *Server) onHooks(f func(*hooks)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.hooks)
}

// notify tells of a change of a message in a folder. The caller holds Server.mu.
func (u *User) notify(m *mail, f *folder, kind string) {
	for _, o := range u.s.hooks.subs {
		if o.user == u && (o.folder == nil || o.folder == f) { // facts 2.4: /me/messages "also fires for drafts, sent and deleted items"
			u.s.enqueue(o, m, kind, o.idOf(m))
		}
	}
}

// notifyMoved tells of a message that was in another folder, by another id. From memory: to a folder it went or came, to the mailbox it is another
// message where ids change, else the same.
func (u *User) notifyMoved(m *mail, from *folder, id string) {
	for _, o := range u.s.hooks.subs {
		if o.user != u {
			continue
		}
		old := id
		if o.immutable {
			old = m.immutable
		}
		switch {
		case o.folder == from, o.folder == nil && !o.immutable:
			u.s.enqueue(o, m, "deleted", old)
		}
		switch {
		case o.folder == m.folder, o.folder == nil && !o.immutable:
			u.s.enqueue(o, m, "created", o.idOf(m))
		case o.folder == nil:
			u.s.enqueue(o, m, "updated", old)
		}
	}
}

func (o *subscription) idOf(m *mail) string {
	if o.immutable {
		return m.immutable
	}
	return m.id
}

// enqueue puts a notification on its way. Facts 2.4: basic ones hold the message's address and the clientState.
func (s *Server) enqueue(o *subscription, m *mail, kind, id string) {
	now := s.now()
	if !now.Before(o.expires) || !slices.ContainsFunc(strings.Split(o.changes, ","), func(t string) bool { return strings.EqualFold(strings.TrimSpace(t), kind) }) {
		return
	}
	n := &Notification{Subscription: o.id, User: o.user.Address, Change: kind, Message: id, At: now}
	s.hooks.log = append(s.hooks.log, n)
	if s.hooks.drop > 0 {
		s.hooks.drop--
		n.Dropped = true
		return
	}
	path := "Users/" + o.user.OID + "/Messages/" + id
	v := o.envelope()
	v["changeType"], v["resource"] = kind, path
	v["resourceData"] = map[string]any{"@odata.type": "#Microsoft.Graph.Message", "@odata.id": path, "@odata.etag": m.etag(), "id": id}
	s.hooks.queue = append(s.hooks.queue, &delivery{n: n, sub: o, at: o.notify, value: v, due: now.Add(s.hooks.delay)})
}

// tell puts a lifecycle event on its way.
func (s *Server) tell(o *subscription, event string) {
	if o.lifecycle == "" {
		return
	}
	n := &Notification{Subscription: o.id, User: o.user.Address, Event: event, At: s.now()}
	s.hooks.log = append(s.hooks.log, n)
	v := o.envelope()
	v["lifecycleEvent"], v["resource"] = event, o.resource
	v["organizationId"] = o.user.Tenant
	s.hooks.queue = append(s.hooks.queue, &delivery{n: n, sub: o, event: event, at: o.lifecycle, value: v, due: n.At})
}

func (o *subscription) envelope() map[string]any {
	v := map[string]any{"subscriptionId": o.id, "subscriptionExpirationDateTime": o.expires.UTC().Format(time.RFC3339), "tenantId": o.user.Tenant}
	if o.state != "" {
		v["clientState"] = o.state
	}
	return v
}

// flush delivers what is due, unless it is held.
func (s *Server) flush() {
	s.mu.Lock()
	s.settle()
	held := s.hooks.held
	s.mu.Unlock()
	if !held {
		s.Notify()
	}
}

// Notify delivers what is due by the clock and returns how many posts were tried. Without HoldNotifications it happens by itself after each change and
// each call; what was not taken comes again with a later one, once its pause is over, or with Notify.
func (s *Server) Notify() int {
	s.mu.Lock()
	now := s.now()
	var due, later []*delivery
	for _, d := range s.hooks.queue {
		switch {
		case now.Sub(d.n.At) >= retryLife:
			d.n.Dropped = true
		case d.due.After(now), d.sub.lapsed && d.event == "":
			later = append(later, d)
		default:
			due = append(due, d)
			if s.hooks.repeat > 0 && d.event == "" {
				s.hooks.repeat--
				due = append(due, d)
			}
		}
	}
	s.hooks.queue = later
	if s.hooks.reorder {
		slices.Reverse(due)
	}
	s.mu.Unlock()
	posts := 0
	for len(due) > 0 {
		// Facts 2.4: "One POST may contain many notifications for many subscriptions".
		var together, rest []*delivery
		for _, d := range due {
			if d.at == due[0].at && len(together) < maxTogether {
				together = append(together, d)
			} else {
				rest = append(rest, d)
			}
		}
		due = rest
		posts++
		acked := s.deliver(together)
		s.mu.Lock()
		for i, d := range together {
			d.n.Attempts++
			switch {
			case acked:
				d.n.Acked = true
			case !slices.Contains(together[:i], d): // facts 2.4: "retried with backoff"
				d.attempts++
				d.due = s.now().Add(min(10*time.Second<<(d.attempts-1), 10*time.Minute))
				s.hooks.queue = append(s.hooks.queue, d)
			}
		}
		s.mu.Unlock()
	}
	return posts
}

func (s *Server) deliver(ds []*delivery) bool {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	vs := make([]any, len(ds))
	for i, d := range ds {
		vs[i] = d.value
	}
	b, err := json.Marshal(map[string]any{"value": vs})
	if err != nil {
		panic(err) // our own maps
	}
	status, _, _, err := s.post(ctx, ds[0].at, "application/json; charset=utf-8", b)
	return err == nil && status/100 == 2 // facts 2.4: "Answer 2xx"
}
