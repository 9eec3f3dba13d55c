// Package overoutlook runs the engine over provider/outlook: the crashes of package crash, and an import within Microsoft's limits. It is a package of its own, so that tests of
// other services are not compiled with Graph.
package overoutlook_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/crash"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// service is provider/outlook over a Graph in memory, with small pages, and drafts to send by.
type service struct {
	t    *testing.T
	srv  *graphtest.Server
	user *graphtest.User
	prov *outlook.Provider
}

// over returns mailboxes each on a server of its own: the second is slow to show what was sent, and tells of updates sparsely.
func over(t *testing.T) func(address string, now func() time.Time) crash.Service {
	return func(address string, now func() time.Time) crash.Service { return newService(t, address, now) }
}

func newService(t *testing.T, address string, now func() time.Time) *service {
	o := graphtest.Options{Now: now, Requests: -1, Concurrency: -1, UploadBytes: -1, SendsPerMinute: -1, PageSize: 5, Salt: address, Spec: microsoft.Spec()}
	if address == "bob@own.example" {
		o.SparseUpdates, o.PlainBodies = true, true
	}
	s := &service{t: t, srv: graphtest.New(o)}
	s.user = s.srv.AddUser(address)
	s.user.Folder("Customers")
	s.prov = outlook.New(&outlook.Options{BaseURL: s.srv.URL(), HTTPClient: s.srv.Client(), Now: now, PageSize: 5, Requests: 1 << 40, UploadBytes: 1 << 50, SendSettle: time.Nanosecond})
	return s
}

// Close ends a world: what it asked for was as Microsoft describes it.
func (s *service) Close() error {
	microsoft.Check(s.t, s.srv)
	return nil
}

func (s *service) open(ctx context.Context) (*outlook.Mailbox, error) {
	return s.prov.Mailbox(ctx, s.user.TokenSource(graphtest.ScopeReadWrite, graphtest.ScopeSend, graphtest.ScopeUser))
}

func (s *service) Open(ctx context.Context) (provider.Mailbox, error) {
	m, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *service) Sender() provider.Sender {
	m, err := s.open(context.Background())
	if err != nil {
		panic(err)
	}
	return m
}

func folder(r provider.Role) string {
	return map[provider.Role]string{provider.RoleInbox: "inbox", provider.RoleSent: "sentitems", provider.RoleTrash: "deleteditems", provider.RoleJunk: "junkemail",
		provider.RoleDrafts: "drafts", "": "Customers"}[r]
}

func (s *service) Deliver(raw []byte, at time.Time, role provider.Role) providertest.Handle {
	if f := folder(role); f != "" {
		return providertest.Handle(s.user.Deliver(raw, at, f))
	}
	id := s.user.Deliver(raw, at, s.user.Folder("archive"))
	return providertest.Handle(id)
}

func (s *service) Move(h providertest.Handle, to provider.Role) {
	if f := folder(to); f != "" {
		s.user.Move(string(h), f)
		return
	}
	s.user.Archive(string(h))
}

func (s *service) Delete(h providertest.Handle) { s.user.Delete(string(h)) }

func (s *service) Reset(r provider.Role) {
	if f := folder(r); f != "" {
		s.user.ExpireDelta(f)
		return
	}
	s.user.ExpireDelta("archive")
}

func (s *service) Forget()            {} // a delta tells late, and does tell
func (s *service) Proof() crash.Proof { return crash.Draft }

func (s *service) ItemID(h providertest.Handle) provider.ItemID {
	if _, ok := s.user.Message(string(h)); !ok {
		return ""
	}
	return provider.ItemID(h)
}

func (s *service) Look(messageID string) (out []providertest.Sight) {
	for _, id := range s.user.Find(messageID) {
		m, _ := s.user.Message(id)
		if m.Draft {
			continue // a death right after Stage leaves one over, which is known and sends nothing
		}
		out = append(out, providertest.Sight{Folders: []provider.Folder{{ID: m.Folder, Name: m.Path}}, Labels: m.Categories})
	}
	return out
}

func (s *service) fail(method string, l providertest.Loss) {
	f := graphtest.AnswerLost
	if l == providertest.LostBefore {
		f = graphtest.Cut
	}
	s.srv.Fail(method, 1, f)
}

func (s *service) Lose(l providertest.Loss) { s.fail("messages.send", l) }

func (s *service) LoseMutation(l providertest.Loss) { s.fail("messages.move", l) }

func (s *service) Sent() (out []providertest.Delivery) {
	for _, o := range s.srv.Sent() {
		out = append(out, providertest.Delivery{Raw: o.Raw, From: o.From, Recipients: o.Recipients, MessageID: o.MessageID})
	}
	return out
}

func memory(ctx context.Context) (state.Store, error) { return sqlite.Open(ctx, ":memory:") }

// Without Microsoft's description what the worlds of this package ask for is not checked, and this test says so.
func TestDescriptionIsThere(t *testing.T) { microsoft.File(t, microsoft.OpenAPI) }

// EMAILINT_CRASH is as for package crash.
func TestCrashOverOutlook(t *testing.T) {
	o := crash.Options{Seed: 1, Sample: 3}
	switch v := os.Getenv("EMAILINT_CRASH"); {
	case v == "all":
		o.Sample = 60
	case v != "":
		if seed, err := strconv.ParseUint(v, 10, 64); err == nil {
			o.Seed = seed
		} else {
			o.All, o.Only = true, v
		}
	}
	crash.Run(t, crash.Config{Store: memory, Service: over(t)}, o)
}
