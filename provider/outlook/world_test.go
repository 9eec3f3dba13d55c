package outlook_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

var day0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const owner = "me@acme.example"

// world is a Graph with one user, and the provider that reaches it.
type world struct {
	srv  *graphtest.Server
	user *graphtest.User
	opts outlook.Options
	prov *outlook.Provider // made by the first open
}

// newWorld has no limit of requests unless o sets one. Where Microsoft's description is there, the test fails by a request that is not as it says.
func newWorld(t testing.TB, o graphtest.Options, opts outlook.Options) *world {
	if o.Requests == 0 {
		o.Requests, o.UploadBytes, o.SendsPerMinute = -1, -1, -1
		opts.Requests, opts.UploadBytes = 1<<40, 1<<50
	}
	o.Spec = microsoft.Spec()
	w := &world{srv: graphtest.New(o), opts: opts}
	t.Cleanup(func() { microsoft.Check(t, w.srv) })
	w.user = w.srv.AddUser(owner)
	w.opts.BaseURL, w.opts.HTTPClient = w.srv.URL(), w.srv.Client()
	w.opts.SendSettle = max(w.opts.SendSettle, time.Millisecond)
	return w
}

func (w *world) open(t testing.TB) *outlook.Mailbox {
	t.Helper()
	m, err := w.tryOpen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) provider() *outlook.Provider {
	if w.prov == nil {
		w.prov = outlook.New(&w.opts)
	}
	return w.prov
}

var scopes = []string{graphtest.ScopeReadWrite, graphtest.ScopeSend, graphtest.ScopeUser, graphtest.ScopeSettingsWrite}

func (w *world) tryOpen(ctx context.Context) (*outlook.Mailbox, error) {
	return w.provider().Mailbox(ctx, w.user.TokenSource(scopes...))
}

// folderOf is Graph's well-known name of a role.
func folderOf(r provider.Role) string {
	return map[provider.Role]string{provider.RoleInbox: "inbox", provider.RoleSent: "sentitems", provider.RoleTrash: "deleteditems", provider.RoleJunk: "junkemail",
		provider.RoleDrafts: "drafts", provider.RoleArchive: "archive"}[r]
}

// harness drives the suites over the world.
type harness struct{ *world }

func (h harness) Open(t *testing.T) provider.Mailbox { return h.open(t) }

func (h harness) Deliver(_ *testing.T, raw []byte, at time.Time, r provider.Role) providertest.Handle {
	if r == provider.RoleArchive { // it need not be there
		id := h.user.Deliver(raw, at, "inbox")
		h.user.Archive(id)
		return providertest.Handle(id)
	}
	return providertest.Handle(h.user.Deliver(raw, at, folderOf(r)))
}

func (h harness) Move(_ *testing.T, id providertest.Handle, to provider.Role) {
	if to == provider.RoleArchive {
		h.user.Archive(string(id))
		return
	}
	h.user.Move(string(id), folderOf(to))
}

func (h harness) Delete(_ *testing.T, id providertest.Handle) { h.user.Delete(string(id)) }

func (h harness) Reset(_ *testing.T, r provider.Role) bool {
	h.user.ExpireDelta(folderOf(r))
	return true
}

func (h harness) Look(_ *testing.T, messageID string) (out []providertest.Sight) {
	for _, id := range h.user.Find(messageID) {
		m, _ := h.user.Message(id)
		s := providertest.Sight{Raw: m.Raw, At: m.Received, Labels: m.Categories}
		s.Folders = []provider.Folder{{ID: m.Folder, Name: m.Path, Role: map[string]provider.Role{"Inbox": provider.RoleInbox, "Sent Items": provider.RoleSent,
			"Archive": provider.RoleArchive, "Deleted Items": provider.RoleTrash, "Junk Email": provider.RoleJunk, "Drafts": provider.RoleDrafts}[m.Path]}}
		out = append(out, s)
	}
	return out
}

func (h harness) Discard(*testing.T, providertest.Handle) bool { return false }

func loss(l providertest.Loss) graphtest.Fault {
	if l == providertest.LostBefore {
		return graphtest.Cut
	}
	return graphtest.AnswerLost
}

// Lose loses the answer of the next move or change of categories: these change a message.
func (h harness) Lose(_ *testing.T, l providertest.Loss) bool {
	h.srv.Fail("messages.move", 1, loss(l))
	h.srv.Fail("messages.update", 1, loss(l))
	return true
}

// senderHarness is the same for sending.
type senderHarness struct{ *world }

func (h senderHarness) Sender(t *testing.T) provider.Sender { return h.open(t) }

func (h senderHarness) Delivered(*testing.T) (out []providertest.Delivery) {
	for _, s := range h.srv.Sent() {
		out = append(out, providertest.Delivery{Raw: s.Raw, From: s.From, Recipients: s.Recipients, MessageID: s.MessageID})
	}
	return out
}

func (h senderHarness) Lose(_ *testing.T, l providertest.Loss) bool {
	h.srv.Fail("messages.send", 1, loss(l))
	return true
}

func (w *world) calls(method string) (out []graphtest.Call) {
	for _, c := range w.srv.Calls() {
		if c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
