package emailint_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// A linked mail that moved or went keeps its links when the rules change (protocol, rules 4 and 15).
func TestMovedMailKeepsItsLinks(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	moved := w.Deliver(raw("ada@customer.example", "moved@x", ""))
	gone := w.Deliver(raw("ada@customer.example", "gone@x", ""))
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Fake.Move(moved, provider.RoleArchive)
	w.Fake.Delete(gone)
	s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	s.Rules.Leads = true
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
		t.Fatal(err)
	}
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	es := w.CRM.Emails(emailinttest.Org)
	if len(es) != 2 || len(es[0].Links) != 1 || len(es[1].Links) != 1 {
		t.Errorf("emails = %+v, want two with a link each", es)
	}
}

// Each restart of a folder sweeps what it did not show again, and nothing that it did.
func TestRestartsSweepOnlyWhatIsMissing(t *testing.T) {
	w := emailinttest.New(t)
	for _, id := range []string{"1@x", "2@x", "3@x"} {
		w.Deliver(raw("someone@else.example", id, ""))
	}
	for range 3 {
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "1@x")
		if err != nil || !slices.ContainsFunc(x.Copies, func(c emailint.Copy) bool { return !c.Left }) {
			t.Fatalf("the mail lies in the folder, the ledger says %+v, %v", x.Copies, err)
		}
		w.Fake.ResetFolder(provider.RoleInbox)
	}
}

// refusing is a CRM that never makes a contact for one address, and never says which.
type refusing struct {
	*emailinttest.MemCRM
}

func (r refusing) CreateContacts(ctx context.Context, org string, cs []emailint.NewContact) ([]linker.Record, error) {
	for _, c := range cs {
		if c.Address == "bad@hostile.example" {
			return nil, errors.New("constraint violated")
		}
	}
	return r.MemCRM.CreateContacts(ctx, org, cs)
}

func TestRefusedSenderBlocksNobody(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Rules.CreateContacts = true
	mem := emailinttest.NewMemCRM()
	w := emailinttest.New(t, emailinttest.WithSettings(s), emailinttest.WithCRM(refusing{mem}))
	w.Deliver(raw("bad@hostile.example", "bad@x", ""))
	w.Deliver(raw("good@fresh.example", "good@x", ""))
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	if es := mem.Emails(emailinttest.Org); len(es) != 1 {
		t.Errorf("%d emails saved, want the good one", len(es))
	}
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "bad@x")
	if err != nil || len(x.Copies) != 1 || x.Copies[0].Fate != state.FateFailed || x.Copies[0].Reason == "" {
		t.Errorf("the refused mail: %+v, %v, want failed with a reason", x, err)
	}
}

// A reply from an address nobody knows reaches the deal of the contact it inherits.
func TestReplyFromAnywhereFindsTheDeal(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Rules.Opportunities = true
	w := emailinttest.New(t, emailinttest.WithSettings(s))
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	deal := linker.Record{Kind: linker.Opportunity, ID: "deal"}
	w.CRM.Relate(emailinttest.Org, ada, linker.Related{Record: deal})
	w.Deliver(raw("ada@customer.example", "q@x", ""))
	w.Deliver(raw("private@elsewhere.example", "r@x", "In-Reply-To: <q@x>\n"))
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.CRM.Emails(emailinttest.Org) {
		if !slices.ContainsFunc(e.Links, func(l linker.Link) bool { return l.Record == deal }) {
			t.Errorf("%s is not linked to the deal: %+v", e.Message.MessageID, e.Links)
		}
	}
}

// Two mails sent in one second with one subject are two emails.
func TestMailMergeIsNotOneEmail(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	bob := linker.Record{Kind: linker.Contact, ID: "bob"}
	w.CRM.Add(emailinttest.Org, bob, "Bob", "bob@customer.example")
	for _, to := range []string{"ada", "bob"} {
		s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: to, From: emailinttest.Owner,
			Recipients: []string{to + "@customer.example"}, Raw: []byte("From: owner@example.com\r\nTo: " + to +
				"@customer.example\r\nSubject: news\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <" + to + "@example.com>\r\n\r\nHi.\r\n")})
		if err != nil || s.State != state.OutSent {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if es := w.CRM.Emails(emailinttest.Org); len(es) != 2 || len(es[0].Links) != 1 || len(es[1].Links) != 1 {
		t.Errorf("emails = %+v, want two with a link each", es)
	}
}

// A process that was killed in a pass goes on at once under its name, and its former life is fenced.
func TestTakeOverEndsALeaseLeftBehind(t *testing.T) {
	w := emailinttest.New(t)
	l, err := w.State.ClaimConnection(t.Context(), emailinttest.Org, w.Connection.ID, "me", w.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	again, err := emailint.New(emailint.Options{State: w.State, CRM: w.CRM, Now: w.Now, Worker: "me",
		Providers: []provider.Provider{w.Fake.Provider()}, Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Sync(t.Context(), emailinttest.Org, w.Connection.ID); !errors.Is(err, state.ErrNoneDue) {
		t.Errorf("Sync under a lease = %v", err)
	}
	if err := again.TakeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := again.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Error(err)
	}
	if _, err := w.State.CommitPage(t.Context(), l, state.Page{Cursor: []byte("x")}); !errors.Is(err, state.ErrStale) {
		t.Errorf("the former life commits: %v", err)
	}
}
