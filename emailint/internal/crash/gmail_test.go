package crash

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// gmailService is provider/gmail over a Gmail in memory, with small pages, and drafts to send by.
type gmailService struct {
	srv  *gmailtest.Server
	user *gmailtest.User
	prov *gmail.Provider
}

// overGmail returns mailboxes each on a server of its own: the second has no batches, and hands nothing out inline.
func overGmail(address string, now func() time.Time) Service {
	o := gmailtest.Options{Now: now, UserUnits: -1, ProjectUnits: -1, HistoryLife: -1, PageSize: 5, Project: address} // Message-IDs differ by project
	if address == "bob@own.example" {
		o.InlineBody, o.Missing = 1, []string{"batch"}
	}
	s := &gmailService{srv: gmailtest.New(o)}
	s.user = s.srv.AddUser(address)
	const unlimited = 1 << 40
	s.prov = gmail.New(&gmail.Options{BaseURL: s.srv.URL(), HTTPClient: s.srv.Client(), Now: now, PageSize: 5, BatchSize: 3,
		UnitsPerMinute: unlimited, ProjectUnitsPerMinute: unlimited})
	return s
}

func (s *gmailService) open(ctx context.Context) (*gmail.Mailbox, error) {
	return s.prov.Mailbox(ctx, s.user.TokenSource(gmailtest.ScopeModify))
}

func (s *gmailService) Open(ctx context.Context) (provider.Mailbox, error) {
	m, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *gmailService) Sender() provider.Sender {
	m, err := s.open(context.Background())
	must(err)
	return m
}

func gmailLabel(r provider.Role) string {
	return map[provider.Role]string{provider.RoleInbox: "INBOX", provider.RoleSent: "SENT", provider.RoleTrash: "TRASH", provider.RoleJunk: "SPAM",
		provider.RoleDrafts: "DRAFT"}[r] // else archived
}

func (s *gmailService) Deliver(raw []byte, at time.Time, role provider.Role) providertest.Handle {
	l := gmailLabel(role)
	if role == "" { // some folder of the user's
		l = s.user.CreateLabel("Customers")
	}
	return providertest.Handle(s.user.Deliver(raw, at, l))
}

func (s *gmailService) Move(h providertest.Handle, to provider.Role) {
	add := []string{gmailLabel(to)}
	if to == "" {
		add[0] = s.user.CreateLabel("Customers")
	}
	remove := slices.DeleteFunc([]string{"INBOX", "SENT", "TRASH", "SPAM", s.user.CreateLabel("Customers")}, func(l string) bool { return l == add[0] })
	if add[0] == "" {
		add = nil
	}
	s.user.Modify(string(h), add, remove)
}

func (s *gmailService) Delete(h providertest.Handle) { s.user.Delete(string(h)) }
func (s *gmailService) Reset(provider.Role)          { s.user.ExpireHistory() }
func (s *gmailService) Forget()                      {} // Gmail's history has no holes
func (s *gmailService) Proof() Proof                 { return Draft }

func (s *gmailService) ItemID(h providertest.Handle) provider.ItemID {
	if _, ok := s.user.Message(string(h)); !ok {
		return ""
	}
	return provider.ItemID(h)
}

func (s *gmailService) Look(messageID string) (out []providertest.Sight) {
	names := s.user.Labels()
	for _, id := range s.user.Find(messageID) {
		m, _ := s.user.Message(id)
		if slices.Contains(m.Labels, "DRAFT") {
			continue // a death right after Stage leaves one over, which is known and sends nothing
		}
		var x providertest.Sight
		for _, l := range m.Labels {
			name := l
			if n := names[l]; n != "" {
				name = n
			}
			if strings.HasPrefix(l, "Label_") {
				x.Labels = append(x.Labels, name)
			}
			x.Folders = append(x.Folders, provider.Folder{ID: l, Name: name})
		}
		out = append(out, x)
	}
	return out
}

func (s *gmailService) fail(method string, l providertest.Loss) {
	f := gmailtest.AnswerLost
	if l == providertest.LostBefore {
		f = gmailtest.Cut
	}
	s.srv.Fail(method, 1, f)
}

func (s *gmailService) Lose(l providertest.Loss) { s.fail("gmail.users.drafts.send", l) }
func (s *gmailService) LoseMutation(l providertest.Loss) {
	s.fail("gmail.users.messages.modify", l)
}

func (s *gmailService) Sent() (out []providertest.Delivery) {
	for _, o := range s.srv.Sent() {
		out = append(out, providertest.Delivery{Raw: o.Raw, From: o.From, Recipients: o.Recipients, MessageID: message.ParseHeader(o.Raw).MessageID})
	}
	return out
}

func TestCrashOverGmail(t *testing.T) {
	t.Parallel()
	Run(t, Config{Store: memory, Service: overGmail}, sampled(t, 3, 60))
}
