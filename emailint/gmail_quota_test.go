package emailint_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// usedBetween are the units that Google counted from begin on, and the calls that it refused.
func (w *gmailWorld) usedBetween(begin, end time.Time) (units, refused int) {
	for _, c := range w.srv.Calls() {
		if !c.At.Before(begin) && c.At.Before(end) {
			units += c.Units
			if c.Status == 403 || c.Status == 429 {
				refused++
			}
		}
	}
	return units, refused
}

// An import by the engine uses at least 95 % of what Google allows a mailbox, and asks for nothing that it refuses. Mail that arrives meanwhile is in the CRM at once,
// and rules act on it: the import does not hold it up.
func TestGmailImportUsesTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minutes, perMinute = 5, 6000
		s := atOnce()
		s.Sync.ImportDays = -1
		s.Inbox = []emailint.InboxRule{{ID: "archive", On: true, Do: emailint.ArchiveMail}}
		w := newGmailWorld(t, gmailtest.Options{UserUnits: perMinute}, s, func(w *gmailWorld) {
			for i := range (minutes + 1) * perMinute / 20 {
				w.deliver(fmt.Sprint("m", i), time.Duration(i+60)*time.Minute)
			}
		})
		var mu sync.Mutex // guards saved
		saved := map[string]time.Time{}
		w.opts.Saved = func(_ string, e emailint.Email) {
			mu.Lock()
			defer mu.Unlock()
			if id := strings.TrimPrefix(e.Message.Subject, "about "); saved[id].IsZero() {
				saved[id] = time.Now()
			}
		}
		var err error
		if w.eng, err = emailint.New(w.opts); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		stop := w.run()
		arrived, at := map[string]time.Time{}, map[string]string{}
		for n := 0; time.Since(begin) < minutes*time.Minute; n++ {
			if n%37 == 5 {
				id := fmt.Sprint("live", n)
				arrived[id], at[id] = time.Now(), w.deliver(id, 0)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		units, _ := w.usedBetween(begin, begin.Add(minutes*time.Minute))
		_, refused := w.usedBetween(begin.Add(time.Minute), time.Now())
		got := w.srv.Count("gmail.users.messages.get")
		t.Logf("%d units in %d minutes: %.1f %% of what is allowed; %d messages got, %d in the CRM", units, minutes,
			100*float64(units)/(minutes*perMinute), got, len(w.crm.Emails("o")))
		if units < minutes*perMinute*95/100 {
			t.Errorf("%d of %d units were used", units, minutes*perMinute)
		}
		// Nor is it used in vain: what was read is there.
		if n := len(w.crm.Emails("o")); n < got*95/100 {
			t.Errorf("%d messages were got, the CRM has %d", got, n)
		}
		if refused > 0 {
			t.Errorf("%d calls were refused after the first minute", refused)
		}
		time.Sleep(5 * time.Minute)
		stop()
		acted := map[string]time.Time{}
		for _, c := range w.srv.Calls() {
			if c.Method == "gmail.users.messages.modify" && c.Status == 200 {
				for id, m := range at {
					if strings.Contains(c.Path, m) && acted[id].IsZero() {
						acted[id] = c.At
					}
				}
			}
		}
		linked, archived := time.Duration(0), time.Duration(0)
		for id, when := range arrived {
			if saved[id].IsZero() || acted[id].IsZero() {
				t.Errorf("%s was never linked, or never archived", id)
			}
			if when.Sub(begin) < time.Minute { // having news sent has cost what is kept for live mail
				continue
			}
			linked, archived = max(linked, saved[id].Sub(when)), max(archived, acted[id].Sub(when))
		}
		t.Logf("of %d live mails each that came after the first minute was linked within %s, and archived within %s", len(arrived), linked, archived)
		if linked > 5*time.Second || archived > 5*time.Second {
			t.Error("the import holds up live mail")
		}
		w.settle()
		w.complete()
	})
}

// spy notes whose quota is asked for.
type spy struct {
	provider.Budget
	mu   sync.Mutex // guards apps
	apps map[string]int
}

func (s *spy) Take(ctx context.Context, app string, units, least int, urgent bool) (int, time.Duration, error) {
	n, wait, err := s.Budget.Take(ctx, app, units, least, urgent)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[app] += n
	return n, wait, err
}

// The quota of a project is shared by all workers on one state: two processes that import two mailboxes keep to it together, and use nearly all of it.
func TestGmailProjectQuotaIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minutes, perMinute = 4, 4000
		s := emailint.DefaultSettings()
		s.Sync.ImportDays = -1
		var budgets []*spy
		budget := func(w *gmailWorld, o *gmail.Options) {
			b := &spy{Budget: emailint.SharedBudget(w.st, perMinute, time.Now), apps: map[string]int{}}
			budgets, o.Budget = append(budgets, b), b
		}
		var bob *gmailtest.User
		fill := func(w *gmailWorld) {
			bob = w.srv.AddUser("bob@example.com")
			for i := range minutes * perMinute / 20 * 6 / 10 {
				age := time.Duration(i+60) * time.Minute
				w.deliver(fmt.Sprint("m", i), age)
				w.want[fmt.Sprint("b", i)] = true
				bob.Deliver(letter("ada@customer.example", "bob@example.com", fmt.Sprint("b", i), age), time.Now().Add(-age), "INBOX")
			}
		}
		// As anybody else's app of the project would, the budget says no, not Google.
		var conf *gmail.Options
		w := newGmailWorld(t, gmailtest.Options{UserUnits: 6000, ProjectUnits: perMinute}, s, fill, budget, func(_ *gmailWorld, o *gmail.Options) { conf = o })
		w.srv.OnConsent(func(gmailtest.ConsentRequest) gmailtest.Consent { return gmailtest.Consent{User: bob} })
		w.connect("bob", 0)
		// A second process over the same state.
		other := *conf
		budget(w, &other)
		w.opts.Workers = 1 // so that each has one of the mailboxes
		var err error
		if w.eng, err = emailint.New(w.opts); err != nil {
			t.Fatal(err)
		}
		opts := w.opts
		opts.Providers = []provider.Provider{gmail.New(&other)}
		two, err := emailint.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		stop := w.run()
		second := &gmailWorld{T: t, eng: two}
		stop2 := second.run()
		time.Sleep(minutes * time.Minute)
		units, refused := w.usedBetween(begin, time.Now())
		t.Logf("%d units in %d minutes: %.1f %% of what is allowed, %d refused", units, minutes, 100*float64(units)/(minutes*perMinute), refused)
		if refused > 0 {
			t.Errorf("%d calls were refused", refused)
		}
		if units < minutes*perMinute*80/100 {
			t.Errorf("%d of %d units were used", units, minutes*perMinute)
		}
		time.Sleep(10 * time.Minute)
		stop()
		stop2()
		for i, b := range budgets {
			if b.apps[app] == 0 || len(b.apps) != 1 {
				t.Errorf("process %d took from %v", i, b.apps)
			}
		}
		if n := len(w.crm.Emails("o")); n != len(w.want) {
			t.Errorf("the CRM has %d emails, want %d", n, len(w.want))
		}
	})
}
