package emailint_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// old delivers a mail that was received so many hours before the mailbox was connected.
func old(w *emailinttest.World, id, from string, hours int) providertest.Handle {
	at := w.Connection.ConnectedAt.Add(-time.Duration(hours) * time.Hour)
	return w.Fake.Deliver(fmt.Appendf(nil, "From: %s\r\nTo: owner@example.com\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@x>\r\n\r\nHello.\r\n",
		from, id, at.Format(time.RFC1123Z), id), at, provider.RoleInbox)
}

func peopleWorld(t *testing.T) *emailinttest.World {
	s := emailint.DefaultSettings()
	s.Sync.PeopleFirst = true
	w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Gmail), emailinttest.WithSettings(s))
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Account, ID: "acme"}, "Acme", "acme.example")
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "own"}, "Owner", emailinttest.Owner) // ours: not searched for
	return w
}

func fates(t *testing.T, w *emailinttest.World) map[state.Fate]int {
	t.Helper()
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range st.Runs {
		if !r.Done {
			t.Errorf("run %q is not done", r.Reason)
		}
	}
	return st.Counts.Fates
}

func wantFates(t *testing.T, got map[state.Fate]int, linked, unread, unmatched int) {
	t.Helper()
	if got[state.FateLinked] != linked || got[state.FateUnread] != unread || got[state.FateUnmatched] != unmatched {
		t.Errorf("%v, want %d linked, %d unread, %d unmatched", got, linked, unread, unmatched)
	}
}

// Mail with people of the CRM is read, the rest is listed; what arrives after connecting is read whoever wrote it.
func TestPeopleFirst(t *testing.T) {
	w := peopleWorld(t)
	w.Fake.SetPageSize(3)
	for i := range 10 {
		old(w, fmt.Sprint("stranger-", i), fmt.Sprintf("s%d@elsewhere.example", i), 10+i)
	}
	old(w, "ada", "ada@customer.example", 30)
	old(w, "acme", "bob@acme.example", 31)
	old(w, "ancient", "ada@customer.example", 24*40)
	w.Fake.Deliver([]byte("From: x@elsewhere.example\r\nTo: owner@example.com\r\nMessage-ID: <now@x>\r\n\r\nHello.\r\n"), w.Now(), provider.RoleInbox)
	wantFates(t, fates(t, w), 2, 10, 1)
	if n := w.Fake.Calls().Content; n > 3 {
		t.Errorf("%d messages were read, want 3", n)
	}

	// A contact that is made later finds its mail, and nothing else is read; asking again costs nothing.
	before := w.Fake.Calls()
	carl := linker.Record{Kind: linker.Contact, ID: "carl"}
	w.CRM.Add(emailinttest.Org, carl, "Carl", "s4@elsewhere.example")
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordCreated, Record: carl, Addresses: []string{"s4@elsewhere.example"}}); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 3, 9, 1)
	after := w.Fake.Calls()
	if after.Content-before.Content != 1 || after.History != before.History {
		t.Errorf("%d messages were read and %d pages listed for a new contact, want 1 and 0", after.Content-before.Content, after.History-before.History)
	}
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 3, 9, 1)
	if n := w.Fake.Calls().Search; n != after.Search {
		t.Errorf("searched %d times for nobody new", n-after.Search)
	}

	// Switched off, everything is read.
	s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	s.Sync.PeopleFirst = false
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 3, 0, 10)
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 3, 0, 10)
	if st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID); err != nil || len(st.Runs) != 2 {
		t.Errorf("%d runs, %v, want the import and the rest of it", len(st.Runs), err)
	}
}

// Without an import what comes after connecting is read, also where the first pass comes later; nothing older is.
func TestNothingIsImported(t *testing.T) {
	for _, kind := range []providertest.Personality{providertest.IMAP, providertest.Gmail, providertest.Graph} {
		for _, people := range []bool{false, true} {
			s := emailint.DefaultSettings()
			s.Sync.ImportDays, s.Sync.PeopleFirst = 0, people
			w := emailinttest.New(t, emailinttest.WithPersonality(kind), emailinttest.WithSettings(s))
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			old(w, "before", "ada@customer.example", 1)
			w.Advance(time.Minute)
			w.Deliver(raw("ada@customer.example", "after", ""))
			w.Advance(time.Minute)
			if got := fates(t, w); got[state.FateLinked] != 1 || got[state.FateUnread] > 1 {
				t.Errorf("%v, people first: %v: %v, want one linked", kind, people, got)
			}
			if n := w.Fake.Calls().Search; n > 0 {
				t.Errorf("%v: searched %d times, and there is nothing to be left out", kind, n)
			}
		}
	}
}

// An import that is cut off at any call goes on where it was: no page is listed from the start again, and at most the page at hand is read twice.
func TestPeopleFirstIsCutOff(t *testing.T) {
	for cut := range 40 {
		w := peopleWorld(t)
		w.Fake.SetPageSize(2)
		for i := range 6 {
			old(w, fmt.Sprint("a", i), "ada@customer.example", 10+i)
			old(w, fmt.Sprint("s", i), "x@elsewhere.example", 10+i)
		}
		w.Fake.CutAfter(cut)
		err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID)
		if cut == 0 && err == nil {
			t.Fatal("nothing was cut off")
		}
		w.Fake.CutAfter(1 << 30)
		w.Advance(time.Hour)
		wantFates(t, fates(t, w), 6, 6, 0)
		if n := w.Fake.Calls(); n.Content > 8 || n.Search > 5 || n.History > 10 {
			t.Errorf("cut after %d calls: %d messages read, %d pages searched, %d listed", cut, n.Content, n.Search, n.History)
		}
	}
}

func TestPlanImport(t *testing.T) {
	w := peopleWorld(t)
	for i := range 10 {
		old(w, fmt.Sprint("s", i), "x@elsewhere.example", 10+i)
	}
	old(w, "ada", "ada@customer.example", 30)
	plan, err := w.Engine.PlanImport(t.Context(), emailinttest.Org, w.Connection.ID, 30)
	if err != nil || plan.Everything.Messages != 11 || plan.People.Messages != 1 || plan.Addresses != 2 || plan.Everything.Units < 220 || plan.Everything.Time <= 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	if plan, err := w.Engine.PlanImport(t.Context(), emailinttest.Org, w.Connection.ID, 0); err != nil || plan != (emailint.ImportPlan{}) {
		t.Errorf("of nothing: %+v, %v", plan, err)
	}
	if _, err := w.Engine.PlanImport(t.Context(), emailinttest.Org, w.Connection.ID, -2); err == nil {
		t.Error("planned an import of -2 days")
	}
	imap := emailinttest.New(t)
	if _, err := imap.Engine.PlanImport(t.Context(), emailinttest.Org, imap.Connection.ID, 30); !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("of a mailbox without a price: %v", err)
	}
}
