package emailint_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Whatever happens on the way - people who come and go, exclusions and other settings that change, imports that become wider, passes that are cut off, a CRM
// that fails - mail of the window with people of the CRM is in the CRM in the end, and no other.
func TestPeopleFirstInAnyOrder(t *testing.T) {
	const people = 12
	who := func(i int) string { return fmt.Sprintf("p%d@firm%d.example", i, i%4) }
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 57))
		s := emailint.DefaultSettings()
		s.Sync.PeopleFirst, s.Sync.ImportDays = true, 10
		w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Gmail), emailinttest.WithSettings(s))
		w.Fake.SetPageSize(1 + rnd.IntN(4))
		begin := w.Connection.ConnectedAt
		from, at, serial := map[string]string{}, map[string]time.Time{}, 0
		deliver := func(when time.Time) {
			serial++
			id := fmt.Sprint("m", serial)
			from[id], at[id] = who(rnd.IntN(people)), when
			w.Fake.Deliver(fmt.Appendf(nil, "From: %s\r\nTo: owner@example.com\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@x>\r\n\r\nHello.\r\n", from[id], id,
				when.Format(time.RFC1123Z), id), when, provider.RoleInbox)
		}
		for range 25 {
			deliver(begin.Add(-time.Duration(1+rnd.IntN(40*24*60)) * time.Minute))
		}
		known := map[int]bool{}
		tell := func(k crm.ChangeKind, i int) {
			r := linker.Record{Kind: linker.Contact, ID: fmt.Sprint(i)}
			if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, emailint.RecordChange{Kind: k, Record: r, Addresses: []string{who(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		settings := func(f func(*emailint.Settings)) {
			now, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
			if err != nil {
				t.Fatal(err)
			}
			f(&now)
			s = now
			if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, now, v); err != nil {
				t.Fatal(err)
			}
		}
		days := 10
		for range 15 {
			switch rnd.IntN(11) {
			case 0, 1:
				i := rnd.IntN(people)
				known[i] = true
				w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: fmt.Sprint(i)}, "", message.Key(who(i)))
				tell(emailint.RecordCreated, i)
			case 2:
				i := rnd.IntN(people)
				if known[i] {
					delete(known, i)
					w.CRM.Delete(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: fmt.Sprint(i)})
					tell(emailint.RecordDeleted, i)
				}
			case 3:
				settings(func(s *emailint.Settings) {
					s.Rules.ExcludedDomains = nil
					if rnd.IntN(2) == 0 {
						s.Rules.ExcludedDomains = []linker.Exclusion{{Domain: message.Key(fmt.Sprintf("firm%d.example", rnd.IntN(4)))}}
					}
				})
			case 4:
				settings(func(s *emailint.Settings) { s.Sync.PeopleFirst = rnd.IntN(3) > 0 })
			case 5:
				days = max(days, 10+10*rnd.IntN(3))
				settings(func(s *emailint.Settings) { s.Sync.ImportDays = days })
			case 6:
				deliver(w.Now())
			case 7:
				w.Fail(nil, errors.New("down"), errors.New("down"))
			case 8:
				w.Fake.RepeatPages(1 + rnd.IntN(3))
			case 9:
				w.Fake.ExpireCursors()
			case 10:
				w.Fake.Reorder(rnd.IntN(2) == 0)
			}
			if rnd.IntN(2) == 0 {
				w.Fake.CutAfter(rnd.IntN(25))
			}
			w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) //nolint:errcheck // the next one goes on
			w.Fake.CutAfter(1 << 30)
			w.Advance(time.Duration(rnd.IntN(90)) * time.Minute)
		}
		if err := w.Drain(t.Context()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		excluded := func(addr string) bool {
			for _, x := range s.Rules.ExcludedDomains {
				if string(message.Key(addr).Domain()) == string(x.Domain) {
					return true
				}
			}
			return false
		}
		want := map[string]bool{}
		for id, a := range from {
			for i := range known {
				if who(i) == a && !excluded(a) && !at[id].Before(begin.AddDate(0, 0, -days)) {
					want[id] = true
				}
			}
		}
		for _, e := range w.CRM.Emails(emailinttest.Org) {
			if len(e.Links) == 0 {
				continue
			}
			if !want[e.Message.Subject] {
				t.Errorf("seed %d: %s of %s is in the CRM", seed, e.Message.Subject, from[e.Message.Subject])
			}
			delete(want, e.Message.Subject)
		}
		for id := range want {
			t.Errorf("seed %d: %s of %s, received %s before connecting, is missing", seed, id, from[id], begin.Sub(at[id]))
		}
	}
}
