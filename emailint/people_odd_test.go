package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// teller is a CRM that lists its people in a way of its own.
type teller struct {
	crm.Store
	calls int
	tell  func(after string) (who []string, next string, more bool, err error)
}

func (t *teller) Unwrap() crm.Store { return t.Store }

func (t *teller) Addresses(ctx context.Context, org, after string, limit int) ([]string, string, bool, error) {
	if t.calls++; t.calls > 500 {
		return nil, "", false, errors.New("asked too often")
	}
	if t.tell != nil {
		return t.tell(after)
	}
	return t.Store.(crm.AddressLister).Addresses(ctx, org, after, limit)
}

func tellerWorld(t *testing.T) (*emailinttest.World, *teller) {
	s := emailint.DefaultSettings()
	s.Sync.PeopleFirst = true
	mem := emailinttest.NewMemCRM()
	crm := &teller{Store: mem}
	w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Gmail), emailinttest.WithSettings(s), emailinttest.WithCRM(crm))
	w.CRM = mem
	mem.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	return w, crm
}

// Marks that come round again are an error that says so, and not an import without an end.
func TestPeopleWhoseMarksGoInACircle(t *testing.T) {
	for name, next := range map[string]func(n int) int{
		"back to the start": func(n int) int { return (n + 1) % 3 },
		"to and fro":        func(n int) int { return n ^ 1 },
		"a tail, then round": func(n int) int {
			if n < 20 {
				return n + 1
			}
			return 14
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, crm := tellerWorld(t)
			old(w, "ada", "ada@customer.example", 30)
			crm.tell = func(after string) ([]string, string, bool, error) {
				n, _ := strconv.Atoi(after)
				return []string{fmt.Sprintf("a%d@x.example", n)}, strconv.Itoa(next(n)), true, nil
			}
			err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID)
			if err == nil || !strings.Contains(err.Error(), "mark") || crm.calls > 100 {
				t.Errorf("after %d questions: %v", crm.calls, err)
			}
			crm.calls = 0
			if _, err := w.Engine.PlanImport(t.Context(), emailinttest.Org, w.Connection.ID, 30); err == nil || !strings.Contains(err.Error(), "mark") || crm.calls > 100 {
				t.Errorf("planned after %d questions: %v", crm.calls, err)
			}
		})
	}
}

// Whatever a CRM takes for addresses, the import ends, and finds those that are some.
func TestPeopleThatAreGarbage(t *testing.T) {
	w, crm := tellerWorld(t)
	old(w, "ada", "ada@customer.example", 30)
	old(w, "stranger", "x@elsewhere.example", 31)
	crm.tell = func(after string) ([]string, string, bool, error) {
		who := []string{"", "@", "a b@c d", "x\x00@y.example", "\xff\xfe", strings.Repeat("a", 100_000) + "@x.example", "com", ".", "*", `"} OR from:*@`, "(", "ADA@Customer.Example",
			"ada@customer.example"}
		for i := range 5000 {
			who = append(who, fmt.Sprintf("p%d@nobody.example", i))
		}
		return who, "end", false, nil
	}
	wantFates(t, fates(t, w), 1, 1, 0)
}

// A CRM that doesn't say whose mail to read first holds up that reading and nothing else, is told to be down like any other, and the import goes on.
func TestPeopleOfACRMThatIsDown(t *testing.T) {
	w, crm := tellerWorld(t)
	old(w, "ada", "ada@customer.example", 30)
	old(w, "stranger", "x@elsewhere.example", 31)
	for i := range 4 {
		old(w, fmt.Sprint("ancient-", i), "y@elsewhere.example", 24*40+i)
	}
	down := errors.New("connection refused")
	crm.tell = func(string) ([]string, string, bool, error) { return nil, "", false, down }
	status := func() emailint.Status {
		t.Helper()
		st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	w.Fake.Deliver([]byte("From: ada@customer.example\r\nTo: owner@example.com\r\nMessage-ID: <now@x>\r\n\r\nHello.\r\n"), w.Now(), provider.RoleInbox)
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err == nil {
		t.Fatal("nothing is wrong with a CRM that is down")
	}
	st := status()
	if c := st.Connection; c.State != state.Connected || c.Reason != "the CRM does not answer" {
		t.Errorf("it is %s: %q", c.State, c.Reason)
	}
	w.Fake.Deliver([]byte("From: ada@customer.example\r\nTo: owner@example.com\r\nMessage-ID: <later@x>\r\n\r\nHello.\r\n"), w.Now(), provider.RoleInbox)
	w.Advance(time.Hour)
	w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) //nolint:errcheck // as above
	if n := status().Counts.Fates[state.FateLinked]; n != 1 {
		t.Errorf("%d live messages are linked, want 1", n)
	}

	crm.tell = nil
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 3, 1, 0)

	// Later on it is asked for new people: that it is down then is no trouble of a wider import that is listing.
	s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
	if err != nil {
		t.Fatal(err)
	}
	s.Sync.ImportDays = 90
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
		t.Fatal(err)
	}
	w.Fake.SetPageSize(1)
	carl := linker.Record{Kind: linker.Contact, ID: "carl"}
	w.Advance(time.Hour)
	w.Fake.CutAfter(7)
	w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) //nolint:errcheck // it is cut off
	w.Fake.CutAfter(1 << 30)
	if n := status().Counts.Fates[state.FateUnread]; n < 2 || n > 4 {
		t.Fatalf("%d messages are listed: it was not cut off in the middle", n)
	}
	crm.tell = func(string) ([]string, string, bool, error) { return nil, "", false, down }
	w.CRM.Add(emailinttest.Org, carl, "Carl", "y@elsewhere.example")
	if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: emailint.RecordCreated, Record: carl, Addresses: []string{"y@elsewhere.example"}}); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	err = w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID)
	if n := status().Counts.Fates[state.FateUnread]; err == nil || n != 5 {
		t.Errorf("%d messages are listed, want 5; %v", n, err)
	}
	crm.tell, crm.calls = nil, 0
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 7, 1, 0)
}

// Who is excluded is not searched for; when that ends, or accounts are to be linked after all, the mail that was only listed is found.
func TestPeopleWhoAreWantedLater(t *testing.T) {
	w, _ := tellerWorld(t)
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Account, ID: "acme"}, "Acme", "acme.example")
	change := func(f func(*emailint.Settings)) {
		t.Helper()
		s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil {
			t.Fatal(err)
		}
		f(&s)
		if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
			t.Fatal(err)
		}
		w.Advance(time.Hour)
	}
	change(func(s *emailint.Settings) {
		s.Rules.ExcludedDomains = []linker.Exclusion{{Domain: "customer.example"}}
		s.Rules.Accounts = false
	})
	old(w, "ada", "ada@customer.example", 30)
	old(w, "acme", "bob@acme.example", 31)
	old(w, "stranger", "x@elsewhere.example", 31)
	wantFates(t, fates(t, w), 0, 3, 0)
	change(func(s *emailint.Settings) { s.Rules.ExcludedDomains = nil })
	wantFates(t, fates(t, w), 1, 2, 0)
	change(func(s *emailint.Settings) { s.Rules.Accounts = true })
	wantFates(t, fates(t, w), 2, 1, 0)
	searched := w.Fake.Calls().Search
	change(func(s *emailint.Settings) { s.Sync.ImportDays = 20 })
	wantFates(t, fates(t, w), 2, 1, 0)
	if n := w.Fake.Calls().Search; n != searched {
		t.Errorf("searched %d times because of another setting", n-searched)
	}
}

// Mail that was only listed is not claimed to be read: the status and reconciling say how much it is.
func TestPeopleFirstSaysWhatItSkipped(t *testing.T) {
	w := peopleWorld(t)
	old(w, "ada", "ada@customer.example", 30)
	old(w, "stranger", "x@elsewhere.example", 31)
	old(w, "stranger-2", "x@elsewhere.example", 32)
	old(w, "ancient", "x@elsewhere.example", 24*40)
	wantFates(t, fates(t, w), 1, 2, 0)
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	rep, err := w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := st.Completeness(), rep.Completeness(); a != 1 || b != 1 || st.Counts.Skipped != 2 || rep.Skipped != 2 || rep.Listed != 3 || rep.Read != 1 {
		t.Errorf("complete to %v by the status, to %v by reconciling; %d were skipped; %+v", a, b, st.Counts.Skipped, rep)
	}
}

// Switched off at any moment of the import, everything is read, also what was listed already.
func TestPeopleFirstIsSwitchedOffInTheMiddle(t *testing.T) {
	for cut := range 14 {
		w := peopleWorld(t)
		w.Fake.SetPageSize(2)
		for i := range 6 {
			old(w, fmt.Sprint("s", i), "x@elsewhere.example", 10+i)
		}
		w.Fake.CutAfter(cut)
		w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) //nolint:errcheck // it is cut off, or not
		w.Fake.CutAfter(1 << 30)
		s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil {
			t.Fatal(err)
		}
		s.Sync.PeopleFirst = false
		if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
			t.Fatal(err)
		}
		w.Advance(time.Hour)
		if got := fates(t, w); got[state.FateUnmatched] != 6 || got[state.FateUnread] != 0 {
			t.Errorf("cut after %d calls: %v, want 6 read", cut, got)
		}
	}
}

// meddler is a CRM of which somebody changes a record whenever it is asked.
type meddler struct {
	crm.Store
	meddle func()
}

func (m *meddler) Unwrap() crm.Store { return m.Store }

func (m *meddler) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	if f := m.meddle; f != nil && len(q.Addresses) > 0 {
		m.meddle = nil
		f()
	}
	return m.Store.Find(ctx, org, q)
}

// A service that lists everything again, without times, brings up nothing that was not to be imported, also where a change makes that be decided twice.
func TestOldMailIsDecidedTwice(t *testing.T) {
	mem := emailinttest.NewMemCRM()
	host := &meddler{Store: mem}
	w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Gmail), emailinttest.WithCRM(host))
	mem.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	for i := range 5 {
		old(w, fmt.Sprint("ancient", i), "ada@customer.example", 24*40+i)
	}
	old(w, "ada", "ada@customer.example", 30)
	wantFates(t, fates(t, w), 1, 0, 0)
	w.Fake.ExpireCursors()
	w.Fake.Deliver([]byte("From: ada@customer.example\r\nTo: owner@example.com\r\nMessage-ID: <now@x>\r\n\r\nHello.\r\n"), w.Now(), provider.RoleInbox)
	host.meddle = func() {
		change := emailint.RecordChange{Kind: emailint.RecordCreated, Record: ada, Addresses: []string{"ada@customer.example"}}
		if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, change); err != nil {
			t.Error(err)
		}
	}
	w.Advance(time.Hour)
	wantFates(t, fates(t, w), 2, 5, 0)
	if host.meddle != nil {
		t.Error("nothing was changed in the middle")
	}
}
