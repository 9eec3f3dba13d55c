package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// twisted is a world whose mailboxes are wrapped, by the credential they are opened with.
func twisted(t *testing.T, fake *providertest.Fake, now func() time.Time, twist func(provider.Mailbox, string) provider.Mailbox) (*emailint.Engine, *emailinttest.MemCRM, state.Store, emailint.Connection) {
	t.Helper()
	w := emailinttest.New(t)
	m := emailinttest.NewMemCRM()
	m.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	e, err := emailint.New(emailint.Options{State: w.State, CRM: m, Now: now, Providers: []provider.Provider{&twister{fake.Provider(), twist}},
		Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.State.SetState(t.Context(), emailinttest.Org, w.Connection.ID, state.Paused, "not used"); err != nil {
		t.Fatal(err)
	}
	c, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "other", Provider: "twisted", Credential: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	return e, m, w.State, c
}

type twister struct {
	provider.Provider
	twist func(provider.Mailbox, string) provider.Mailbox
}

func (p *twister) Name() string { return "twisted" }

func (p *twister) Open(ctx context.Context, cred []byte) (provider.Mailbox, error) {
	b, err := p.Provider.Open(ctx, cred)
	if err != nil {
		return nil, err
	}
	return p.twist(b, string(cred)), nil
}

// unlistable asks for a recount of a folder that can't be listed.
type unlistable struct{ provider.Mailbox }

func (b unlistable) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	p, err := b.Mailbox.Changes(ctx, c)
	p.Recount = append(p.Recount, provider.Folder{ID: "forbidden", Name: "forbidden"})
	return p, err
}

func (b unlistable) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	if s.Folder != "forbidden" {
		return b.Mailbox.Inventory(ctx, s)
	}
	return func(yield func(provider.Item, error) bool) {
		yield(provider.Item{}, errors.New("NO permission denied"))
	}
}

// A folder that can't be recounted holds up neither delivery nor history, and the pass says what is wrong.
func TestFolderThatCannotBeRecountedBlocksNothing(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, clock)
	fake.Deliver([]byte(raw("ada@customer.example", "old@x", "")), now.Add(-time.Hour), provider.RoleInbox)
	e, m, _, c := twisted(t, fake, clock, func(b provider.Mailbox, _ string) provider.Mailbox { return unlistable{b} })
	for range 3 {
		now = now.Add(2 * time.Minute)
		fake.Deliver([]byte(raw("ada@customer.example", "new@x", "")), now, provider.RoleInbox)
		if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err == nil {
			t.Error("nobody hears of the folder")
		}
	}
	if es := m.Emails(emailinttest.Org); !holds(es, "old@x") || !holds(es, "new@x") {
		t.Errorf("new mail delivered %v, history %v", holds(es, "new@x"), holds(es, "old@x"))
	}
}

// anonymous lists an item without an id.
type anonymous struct{ provider.Mailbox }

func (b anonymous) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	p, err := b.Mailbox.Changes(ctx, c)
	for i := range p.Items {
		p.Items[i].ID = ""
	}
	return p, err
}

// Items without an id would share one row, and all but one be lost: such a page is refused, and the cursor stays.
func TestItemsWithoutIDAreRefused(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, clock)
	lie := true
	e, m, _, c := twisted(t, fake, clock, func(b provider.Mailbox, _ string) provider.Mailbox {
		if lie {
			return anonymous{b}
		}
		return b
	})
	now = now.Add(time.Minute)
	if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1@x", "2@x"} {
		fake.Deliver([]byte(raw("ada@customer.example", id, "")), now, provider.RoleInbox)
	}
	if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err == nil {
		t.Error("a page with items that have no id was taken")
	}
	lie = false
	now = now.Add(time.Hour)
	if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil || len(m.Emails(emailinttest.Org)) != 2 {
		t.Errorf("%d of 2 emails, %v", len(m.Emails(emailinttest.Org)), err)
	}
}

// Mail whose first decision was "unmatched" is not acted on when it is linked later, also when its owner has moved it to the inbox
// again meanwhile, where ids die on a move.
func TestRelinkedMailThatComesBackIsLeftAlone(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := ruled(t, p, archive)
		w.Advance(time.Minute)
		h := w.Deliver(raw("late@else.example", "new@x", ""))
		passes(t, w, 1)
		w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "late"}, "Late", "late@else.example")
		change(t, w, func(s *emailint.Settings) { s.Rules.Leads = true })
		passes(t, w, 2)
		w.Fake.Move(h, "")
		passes(t, w, 1)
		w.Fake.Move(h, provider.RoleInbox)
		passes(t, w, 2)
		if !inInbox(w, "new") || len(intents(t, w, "new")) > 0 {
			t.Errorf("archived against its owner's will: %+v", intents(t, w, "new"))
		}
	})
}

// An attempt whose answer was lost is not repeated when the mail was seen outside the inbox since and is back, also where ids survive.
func TestOwnerBringsBackWhatWasAttempted(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := ruled(t, p, archive)
		w.Advance(time.Minute)
		h := w.Deliver(raw("ada@customer.example", "new@x", ""))
		w.Fake.LoseMutation(providertest.LostAfter)
		passes(t, w, 1)
		if inInbox(w, "new") {
			t.Fatal("not archived: the test proves nothing")
		}
		if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil { // sees it outside
			t.Fatal(err)
		}
		w.Fake.Move(h, provider.RoleInbox)
		w.Advance(time.Hour)
		passes(t, w, 3)
		if !inInbox(w, "new") {
			t.Errorf("archived again: %+v", intents(t, w, "new"))
		}
	})
}

// A rule that was switched off acts on nothing any more, also where it had not come to its turn.
func TestRuleSwitchedOffActsNoMore(t *testing.T) {
	m := &moody{MemCRM: emailinttest.NewMemCRM()}
	w := emailinttest.New(t, emailinttest.WithCRM(m))
	m.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	passes(t, w, 1)
	change(t, w, func(s *emailint.Settings) { s.Inbox = []emailint.InboxRule{archive} })
	m.set(func(context.Context, []emailint.Email) error { return errors.New("down") })
	w.Deliver(raw("ada@customer.example", "new@x", ""))
	_ = w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID)
	change(t, w, func(s *emailint.Settings) { s.Inbox[0].On = false })
	m.set(nil)
	w.Advance(time.Hour)
	passes(t, w, 2)
	is := intents(t, w, "new")
	if !inInbox(w, "new") || len(is) != 1 || is[0].State != state.IntentCancelled {
		t.Errorf("in the inbox %v, %+v", inInbox(w, "new"), is)
	}
}

// A rule that is switched on while a pass runs acts on what comes after it in the same pass.
func TestRuleSwitchedOnInTheMiddleOfAPass(t *testing.T) {
	m := &moody{MemCRM: emailinttest.NewMemCRM()}
	w := emailinttest.New(t, emailinttest.WithCRM(m))
	m.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.Fake.Deliver([]byte(raw("ada@customer.example", "history@x", "")), w.Now().Add(-time.Hour), provider.RoleInbox)
	w.Fake.Deliver([]byte(raw("ada@customer.example", "history2@x", "")), w.Now().Add(-time.Hour), provider.RoleInbox)
	w.Fake.SetPageSize(1)
	once := true
	m.set(func(context.Context, []emailint.Email) error {
		if once {
			once = false
			change(t, w, func(s *emailint.Settings) { s.Inbox = []emailint.InboxRule{archive} })
			w.Deliver(raw("ada@customer.example", "new@x", ""))
		}
		return nil
	})
	passes(t, w, 2)
	if inInbox(w, "new") || !inInbox(w, "history") {
		t.Errorf("new mail in the inbox %v, history %v: %+v", inInbox(w, "new"), inInbox(w, "history"), intents(t, w, "new"))
	}
}

// A mail whose first links were not what a rule acts on is left alone when it gets such links later, also when its owner has moved
// it about meanwhile.
func TestLinksThatCameLaterAreNoReason(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		rule := archive
		rule.Kinds = []linker.Kind{linker.Account}
		w := ruled(t, p, rule)
		w.Advance(time.Minute)
		h := w.Deliver(raw("ada@customer.example", "new@x", ""))
		passes(t, w, 1)
		w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Account, ID: "customer"}, "Customer", "customer.example")
		change(t, w, func(s *emailint.Settings) { s.Rules.Leads = true })
		passes(t, w, 2)
		w.Fake.Move(h, "")
		passes(t, w, 2)
		w.Fake.Move(h, provider.RoleInbox)
		passes(t, w, 2)
		if !inInbox(w, "new") || len(intents(t, w, "new")) > 0 {
			t.Errorf("archived because of later links: %+v", intents(t, w, "new"))
		}
		for _, e := range w.CRM.Emails(emailinttest.Org) {
			if e.Message.MessageID == "new@x" && !slices.ContainsFunc(e.Links, func(l linker.Link) bool { return l.Kind == linker.Account }) {
				t.Error("the account is not linked: the test proves nothing")
			}
		}
	})
}

// halting lists a folder anew, and gives up after the first message.
type halting struct {
	provider.Mailbox
	halts *bool
}

func (b halting) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	p, err := b.Mailbox.Changes(ctx, c)
	if err != nil || !*b.halts || len(p.Items) == 0 {
		return p, err
	}
	*b.halts = false
	p.Restart = p.Items[0].Folders
	p.Unfinished = []string{p.Restart[0].ID}
	p.Items, p.More = p.Items[:1], false
	return p, nil
}

// Of a folder that is listed anew, and not to its end, what was not listed has not left it.
func TestListingThatHalts(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	fake := providertest.NewFake(providertest.Graph, provider.Profile{Address: emailinttest.Owner}, clock)
	halts := false
	e, _, st, c := twisted(t, fake, clock, func(b provider.Mailbox, _ string) provider.Mailbox { return halting{b, &halts} })
	placed := func() (n int) {
		rows, err := st.Items(t.Context(), emailinttest.Org, c.ID, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if !r.Left {
				n++
			}
		}
		return n
	}
	for i := range 5 {
		fake.Deliver([]byte(raw("ada@customer.example", fmt.Sprint(i, "@x"), "")), now, provider.RoleInbox)
	}
	if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil || placed() != 5 {
		t.Fatalf("%d lie somewhere, %v", placed(), err)
	}
	now = now.Add(time.Minute)
	fake.ResetFolder(provider.RoleInbox)
	halts = true
	if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil || halts {
		t.Fatal(err)
	}
	if n := placed(); n != 5 {
		t.Errorf("%d lie somewhere, and nobody saw the others leave", n)
	}
	now = now.Add(time.Minute)
	fake.ResetFolder(provider.RoleInbox)
	if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil || placed() != 5 {
		t.Errorf("%d lie somewhere, %v", placed(), err)
	}
}
