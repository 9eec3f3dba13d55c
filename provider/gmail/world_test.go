package gmail_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

var day0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const owner = "me@acme.example"

// world is a Gmail with one user, and the provider that reaches it.
type world struct {
	srv  *gmailtest.Server
	user *gmailtest.User
	opts gmail.Options
	prov *gmail.Provider // made by the first open
}

// newWorld has no limit of quota unless o sets one.
func newWorld(o gmailtest.Options, opts gmail.Options) *world {
	if o.UserUnits == 0 {
		o.UserUnits, o.ProjectUnits = -1, -1
		opts.UnitsPerMinute, opts.ProjectUnitsPerMinute = 1<<40, 1<<40
	}
	w := &world{srv: gmailtest.New(o), opts: opts}
	w.user = w.srv.AddUser(owner)
	w.opts.BaseURL, w.opts.HTTPClient = w.srv.URL(), w.srv.Client()
	return w
}

func (w *world) open(t testing.TB) *gmail.Mailbox {
	t.Helper()
	m, err := w.tryOpen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) tryOpen(ctx context.Context) (*gmail.Mailbox, error) {
	if w.prov == nil {
		w.prov = gmail.New(&w.opts)
	}
	scopes := []string{gmailtest.ScopeModify}
	if w.opts.ReadOnly {
		scopes = []string{gmailtest.ScopeReadonly, gmailtest.ScopeSend}
	}
	return w.prov.Mailbox(ctx, w.user.TokenSource(scopes...))
}

// label is Gmail's label of a role.
func label(r provider.Role) string {
	switch r {
	case provider.RoleInbox:
		return "INBOX"
	case provider.RoleSent:
		return "SENT"
	case provider.RoleTrash:
		return "TRASH"
	case provider.RoleJunk:
		return "SPAM"
	}
	return gmailtest.Archived
}

func role(l string) provider.Role {
	for _, r := range []provider.Role{provider.RoleInbox, provider.RoleSent, provider.RoleTrash, provider.RoleJunk} {
		if label(r) == l {
			return r
		}
	}
	if l == "DRAFT" {
		return provider.RoleDrafts
	}
	return ""
}

// harness drives the suites over the world.
type harness struct{ *world }

func (h harness) Open(t *testing.T) provider.Mailbox { return h.open(t) }

func (h harness) Deliver(_ *testing.T, raw []byte, at time.Time, r provider.Role) providertest.Handle {
	return providertest.Handle(h.user.Deliver(raw, at, label(r)))
}

func (h harness) Move(_ *testing.T, id providertest.Handle, to provider.Role) {
	remove := slices.DeleteFunc([]string{"INBOX", "SENT", "TRASH", "SPAM"}, func(l string) bool { return l == label(to) })
	var add []string
	if l := label(to); l != "" {
		add = []string{l}
	}
	h.user.Modify(string(id), add, remove)
}

func (h harness) Delete(_ *testing.T, id providertest.Handle) { h.user.Delete(string(id)) }

// Reset makes the history expire: of a part of it Gmail forgets nothing.
func (h harness) Reset(*testing.T, provider.Role) bool { h.user.ExpireHistory(); return true }

func (h harness) Look(_ *testing.T, messageID string) (out []providertest.Sight) {
	for _, id := range h.user.Find(messageID) {
		m, _ := h.user.Message(id)
		s := providertest.Sight{Raw: m.Raw, At: m.At}
		for _, l := range m.Labels {
			switch r := role(l); {
			case r != "":
				s.Folders = append(s.Folders, provider.Folder{ID: l, Name: l, Role: r})
			case l != "UNREAD":
				s.Folders, s.Labels = append(s.Folders, provider.Folder{ID: l, Name: l}), append(s.Labels, l)
			}
		}
		out = append(out, s)
	}
	return out
}

func (h harness) Discard(*testing.T, providertest.Handle) bool { return false }

// Lose loses the answer of the next change of labels: that is the one call that changes a message.
func (h harness) Lose(_ *testing.T, l providertest.Loss) bool {
	f := gmailtest.AnswerLost
	if l == providertest.LostBefore {
		f = gmailtest.Cut
	}
	h.srv.Fail("gmail.users.messages.modify", 1, f)
	return true
}

// senderHarness is the same for sending.
type senderHarness struct {
	*world
	method string // that sends
}

func (h senderHarness) Sender(t *testing.T) provider.Sender { return h.open(t) }

func (h senderHarness) Delivered(*testing.T) (out []providertest.Delivery) {
	for _, s := range h.srv.Sent() {
		out = append(out, providertest.Delivery{Raw: s.Raw, From: s.From, Recipients: s.Recipients, MessageID: message.ParseHeader(s.Raw).MessageID})
	}
	return out
}

func (h senderHarness) Lose(_ *testing.T, l providertest.Loss) bool {
	f := gmailtest.AnswerLost
	if l == providertest.LostBefore {
		f = gmailtest.Cut
	}
	h.srv.Fail(h.method, 1, f)
	return true
}

// call returns the calls of a method.
func (w *world) calls(method string) (out []gmailtest.Call) {
	for _, c := range w.srv.Calls() {
		if c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

var _ http.RoundTripper = roundTrip(nil)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// contextWith makes x/oauth2 use a client.
func contextWith(t *testing.T, c *http.Client) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, c)
}
