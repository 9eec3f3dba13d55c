package emailint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// imapWorld is an engine over provider/imap and a server in memory, on a clock that is set. Deleted mail is released, so that a
// move taken for a deletion would cost an email.
type imapWorld struct {
	*testing.T
	srv  *imaptest.Server
	crm  *emailinttest.MemCRM
	eng  *emailint.Engine
	conn emailint.Connection
	now  time.Time
}

func newIMAPWorld(t *testing.T, o *imaptest.Options, inbox ...emailint.InboxRule) *imapWorld {
	t.Helper()
	w := &imapWorld{T: t, srv: imaptest.Start(t, o), crm: emailinttest.NewMemCRM(), now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	st, err := sqlite.Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w.crm.Add("o", ada, "Ada", "ada@customer.example")
	w.eng, err = emailint.New(emailint.Options{State: st, CRM: w.crm, Now: func() time.Time { return w.now },
		Providers: []provider.Provider{imap.New(&imap.Options{AllowInsecure: true})},
		Keys:      []emailint.Key{{ID: "k", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32),
		Sender: func(context.Context, emailint.Connection) (provider.Sender, error) { return &recorder{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	s := emailint.DefaultSettings()
	s.OnDelete = emailint.ReleaseDeleted
	s.Inbox = inbox
	if _, err := w.eng.SetSettings(t.Context(), "o", s, 0); err != nil {
		t.Fatal(err)
	}
	cred, err := json.Marshal(w.srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	if w.conn, err = w.eng.Connect(t.Context(), "o", emailint.NewConnection{User: "u", Provider: "imap", Credential: cred}); err != nil {
		t.Fatal(err)
	}
	w.pass(1)
	return w
}

// IMAP does not send, and says so: nothing was sent, and it is tried again when somebody has entered a mail server.
func TestMailboxThatDoesNotSend(t *testing.T) {
	w := newIMAPWorld(t, nil)
	_, err := w.eng.DefaultSender(w.conn).Stage(t.Context(), w.raw("a"), provider.SendOptions{})
	var action *provider.NeedsAction
	if !errors.As(err, &action) || action.Who != provider.Admin || !errors.Is(err, provider.ErrNotSent) || !errors.Is(err, provider.ErrTryLater) {
		t.Error(err)
	}
}

// recorder sends nothing and says it did, as plain SMTP does.
type recorder struct{}

func (*recorder) Stage(_ context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	return provider.Staged{Raw: raw, Options: o}, nil
}

func (*recorder) Release(_ context.Context, s provider.Staged) (provider.Sent, error) {
	return provider.Sent{MessageID: s.Options.MessageID}, nil
}

func (*recorder) Lookup(context.Context, provider.Staged) (provider.Outcome, provider.Sent, error) {
	return provider.OutcomeUnknown, provider.Sent{}, nil
}

// pass runs n passes, more than a day apart.
func (w *imapWorld) pass(n int) {
	w.Helper()
	for range n {
		w.now = w.now.Add(25 * time.Hour)
		if err := w.eng.Sync(w.Context(), "o", w.conn.ID); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *imapWorld) raw(id string) []byte { return []byte(raw("ada@customer.example", id, "")) }

// holds checks that the CRM has exactly the emails of these ids, each held and linked.
func (w *imapWorld) holds(when string, ids ...string) {
	w.Helper()
	var got []string
	for _, e := range w.crm.Emails("o") {
		if len(e.Holders) == 1 && slices.ContainsFunc(e.Links, func(l linker.Link) bool { return l.Record == ada }) {
			got = append(got, e.Message.MessageID)
		} else {
			w.Errorf("%s: %s has holders %v and links %v", when, e.Message.MessageID, e.Holders, e.Links)
		}
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		w.Errorf("%s: the CRM has %v, want %v", when, got, ids)
	}
	rep, err := w.eng.Reconcile(w.Context(), "o", w.conn.ID, provider.Window{})
	if err != nil || rep.Repaired != 0 || rep.Left != 0 || rep.Completeness() != 1 {
		w.Errorf("%s: reconciling found %+v, %v", when, rep, err)
	}
}

// each runs f over servers that offer everything, and over one with nothing but RFC 3501.
func eachServer(t *testing.T, f func(t *testing.T, o *imaptest.Options)) {
	for name, o := range map[string]*imaptest.Options{"modern": nil, "bare": {Without: imaptest.Default}} {
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
}

// A message in several folders is one email, and leaves the mailbox with its last copy.
func TestIMAPMessageInSeveralFolders(t *testing.T) {
	eachServer(t, func(t *testing.T, o *imaptest.Options) {
		w := newIMAPWorld(t, o)
		first := w.srv.Deliver(w.raw("1@x"), w.now, provider.RoleInbox)
		second := w.srv.Copy(first, provider.RoleArchive)
		w.pass(1)
		w.holds("two copies", "1@x")
		w.srv.Delete(first)
		w.pass(3)
		w.holds("one copy", "1@x")
		w.srv.Delete(second)
		w.pass(1)
		w.holds("just left", "1@x")
		w.pass(2)
		w.holds("gone")
	})
}

// A user's move is never a deletion, whichever half is seen first.
func TestIMAPMovesInBothOrders(t *testing.T) {
	eachServer(t, func(t *testing.T, o *imaptest.Options) {
		w := newIMAPWorld(t, o)
		a := w.srv.Deliver(w.raw("copied-first@x"), w.now, provider.RoleInbox)
		b := w.srv.Deliver(w.raw("removed-first@x"), w.now, provider.RoleInbox)
		c := w.srv.Deliver(w.raw("moved@x"), w.now, provider.RoleInbox)
		w.pass(1)
		w.srv.Copy(a, provider.RoleArchive)
		w.srv.Flag(a, goimap.FlagDeleted)
		w.srv.Delete(b)
		w.srv.Move(c, "")
		w.pass(1)
		w.holds("half of the moves", "copied-first@x", "removed-first@x", "moved@x")
		w.srv.Delete(a)
		w.srv.Deliver(w.raw("removed-first@x"), w.now, provider.RoleArchive)
		w.pass(3)
		w.holds("all of the moves", "copied-first@x", "removed-first@x", "moved@x")
		w.srv.Move(c, provider.RoleTrash)
		w.pass(3)
		w.holds("in the trash", "copied-first@x", "removed-first@x", "moved@x")
		w.srv.Delete(c)
		w.pass(3)
		w.holds("emptied", "copied-first@x", "removed-first@x")
	})
}

// Folders are renamed, renumbered, made and deleted; no mail is lost by it, and none comes twice.
func TestIMAPFoldersChange(t *testing.T) {
	eachServer(t, func(t *testing.T, o *imaptest.Options) {
		w := newIMAPWorld(t, o)
		for i := range 7 {
			w.srv.Deliver(w.raw(fmt.Sprintf("c%d@x", i)), w.now, "")
		}
		w.srv.Deliver(w.raw("i@x"), w.now, provider.RoleInbox)
		all := []string{"c0@x", "c1@x", "c2@x", "c3@x", "c4@x", "c5@x", "c6@x", "i@x"}
		w.pass(1)
		w.srv.RenameFolder("Customers", "Clients/2026")
		w.pass(3)
		w.holds("renamed", all...)
		w.srv.RenameFolder("Clients/2026", "Customers")
		w.srv.ResetFolder(provider.RoleInbox)
		w.srv.Deliver(w.raw("after@x"), w.now, provider.RoleInbox)
		all = append(all, "after@x")
		w.pass(3)
		w.holds("renumbered", all...)
		w.srv.CreateFolder("New")
		w.srv.DeliverTo(w.raw("new@x"), w.now, "New")
		w.pass(1)
		w.holds("made", append(all, "new@x")...)
		w.srv.DeleteFolder("New")
		w.pass(1)
		w.holds("just deleted", append(all, "new@x")...)
		w.pass(2)
		w.holds("deleted", all...)
	})
}

// A rule archives over real IMAP, what it did comes back as no news, and is undone.
func TestIMAPRules(t *testing.T) {
	w := newIMAPWorld(t, nil, archive, label)
	h := w.srv.Deliver(w.raw("1@x"), w.now.Add(time.Hour), provider.RoleInbox)
	w.pass(2)
	if got := w.srv.Folders(h); !slices.Equal(got, []string{"Archive"}) {
		t.Errorf("the mail lies in %v", got)
	}
	w.holds("archived", "1@x")
	x, err := w.eng.Explain(t.Context(), "o", "1@x")
	if err != nil || len(x.Emails) != 1 || len(x.Emails[0].Intents) != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
	for _, i := range x.Emails[0].Intents {
		if i.State != state.IntentDone {
			t.Errorf("%s is %s: %s", i.Do, i.State, i.Error)
		}
		if _, err := w.eng.Undo(t.Context(), "o", i.ID); err != nil {
			t.Error(err)
		}
	}
	w.pass(3)
	if got := w.srv.Folders(h); !slices.Equal(got, []string{"INBOX"}) {
		t.Errorf("taken back the mail lies in %v", got)
	}
	w.holds("taken back", "1@x")
}

// What is sent by SMTP gets one copy in Sent, and that copy is the email that was sent.
func TestIMAPSentCopy(t *testing.T) {
	w := newIMAPWorld(t, nil)
	sent, err := w.eng.Send(t.Context(), "o", emailint.Outgoing{Connection: w.conn.ID, Key: "k", From: imaptest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: []byte("From: " + imaptest.Owner + "\r\nTo: ada@customer.example\r\nSubject: offer\r\n" +
			"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <out@x>\r\n\r\nHere.\r\n")})
	if err != nil || sent.State != state.OutSent {
		t.Fatalf("%+v, %v", sent, err)
	}
	for range 3 {
		w.now = w.now.Add(time.Hour)
		if err := w.eng.Outbox(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(1)
	x, err := w.eng.Explain(t.Context(), "o", "out@x")
	if err != nil || len(x.Emails) != 1 || x.Emails[0].ID != sent.EmailID || len(x.Copies) != 1 || x.Copies[0].Folders[0] != "Sent" {
		t.Errorf("%+v, %v", x, err)
	}
	w.holds("sent", "out@x")
}
