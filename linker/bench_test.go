package linker_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// page is 500 mails that come together, of which a tenth link, with the directory that answers for them all: what the engine has in hand
// when it decides.
type page struct {
	rules linker.Rules
	mails []message.Envelope
	dir   linker.Directory
}

func newPage() *page {
	rnd := rand.New(rand.NewPCG(5, 4))
	p := &page{rules: rules(func(r *linker.Rules) {
		r.Opportunities = true
		for i := range 20 {
			r.Own = append(r.Own, message.Key(fmt.Sprintf("seller%d@elsewhere.example", i)))
		}
		r.ExcludedDomains = []linker.Exclusion{{Domain: "bank.example"}, {Domain: "freelancers.example", Reach: linker.ReachAccounts}}
		r.ExcludedAddresses = []message.Key{"newsletter@paper.example", "jobs@board.example"}
	})}
	known := crm()
	knownTo := func(s string, k message.Key) {
		known.Holders[k], known.Now[rec(s)] = append(known.Holders[k], rec(s)), rec(s)
	}
	stranger := func() string {
		host := []string{"gmail.com", "mail.firm%d.co.uk", "firm%d.com", "news.shop%d.example", "firm%d.de"}[rnd.IntN(5)]
		if host != "gmail.com" {
			host = fmt.Sprintf(host, rnd.IntN(2000))
		}
		return fmt.Sprintf("somebody.%d@%s", rnd.IntN(100_000), host)
	}
	for i := range 500 {
		from := stranger()
		switch {
		case i%20 == 0: // a contact whose account is known, with two deals
			from = fmt.Sprintf("buyer%d@customer%d.com", i, i)
			contact, account := fmt.Sprintf("contact/%d", i), fmt.Sprintf("account/%d", i)
			knownTo(contact, message.Key(from))
			knownTo(account, message.Key(fmt.Sprintf("customer%d.com", i)))
			known.Related[rec(contact)] = []linker.Related{{Record: rec(account)}}
			known.Related[rec(account)] = []linker.Related{{Record: rec("opportunity/a" + account)}, {Record: rec("opportunity/b" + account)}}
		case i%20 == 1: // somebody at a known company
			from = fmt.Sprintf("new@mail.customer%d.com", i)
			knownTo(fmt.Sprintf("account/%d", i), message.Key(fmt.Sprintf("customer%d.com", i)))
		}
		text := "From: " + from + "\nTo: me@own.example"
		for range rnd.IntN(3) {
			text += ", " + stranger()
		}
		if rnd.IntN(3) == 0 {
			text += "\nCc: seller3@elsewhere.example, " + stranger()
		}
		p.mails = append(p.mails, mail(text+"\nDate: 2026-05-01"))
	}
	// What the benchmarks decide beside the page is part of it.
	for _, c := range pageCases {
		p.mails = append(p.mails, mail(c.mail))
	}
	p.dir = answer(known, p.rules.Query(p.mails...))
	p.dir.Now = map[linker.Record]linker.Record{rec("contact/ada"): rec("contact/ada")}
	return p
}

// crowd is a mail to n strangers.
func crowd(n int) string {
	text := "From: list@club.example\nTo: me@own.example"
	for i := range n {
		text += fmt.Sprintf(", member.%d@firm%d.com", i, i%40)
	}
	return text
}

var pageCases = []struct {
	name   string
	mail   string
	thread []linker.Link
	links  int
	free   bool // it must not allocate
}{
	{"nothing", "From: x@mail.y.example\nTo: me@own.example, a@b.example.net\nCc: c@firm.co.uk", nil, 0, true},
	{"nothing/Gmail", "From: some.body+x@gmail.com\nTo: me@own.example", nil, 0, true},
	{"nothing/100 recipients", crowd(99), nil, 0, true},
	{"nothing/500 recipients", crowd(500), nil, 0, false},
	{"nothing/automated", "From: noreply@shop.example\nTo: me@own.example\nAutomated: notification", nil, 0, true},
	{"nothing/internal", "From: colleague@own.example\nTo: me@own.example, seller3@elsewhere.example", nil, 0, true},
	{"nothing/excluded", "From: teller@bank.example\nTo: me@own.example", nil, 0, false},
	{"nothing/gone thread", "From: x@mail.y.example\nIn-Reply-To: m1@x", []linker.Link{link("contact/gone", linker.ByAddress, "x@y.example", false)}, 0, true},
	{"address", "From: buyer0@customer0.com\nTo: me@own.example\nDate: 2026-05-01", nil, 4, false},
	{"address/Gmail variant", "From: Carl.Gauss+x@googlemail.com\nTo: me@own.example", nil, 1, false},
	{"domain", "From: new@mail.customer1.com\nTo: me@own.example", nil, 1, false},
	{"domain/100 recipients", crowd(98) + ", new@customer1.com", nil, 1, false},
	{"automated", "From: buyer20@customer20.com\nTo: me@own.example\nAutomated: auto-reply", nil, 4, false},
	{"thread", "From: x@mail.y.example\nTo: me@own.example\nIn-Reply-To: m1@x", []linker.Link{link("contact/ada", linker.ByThread, "m1@x", false)}, 1, false},
}

// A page costs what its mail costs that links to nothing: most of it.
func TestNoMatchDoesNotAllocate(t *testing.T) {
	p := newPage()
	for _, c := range pageCases {
		t.Run(c.name, func(t *testing.T) {
			e := mail(c.mail)
			if got := p.rules.Decide(e, p.dir, c.thread); len(got.Links) != c.links {
				t.Errorf("%d links, want %d:\n%s", len(got.Links), c.links, show(got))
			}
			if n := testing.AllocsPerRun(100, func() { p.rules.Decide(e, p.dir, c.thread) }); c.free && n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
	unmatched := 0
	for i, e := range p.mails[:500] {
		if p.rules.Decide(e, p.dir, nil).Disposition != linker.Unmatched {
			continue
		}
		unmatched++
		if n := testing.AllocsPerRun(1, func() { p.rules.Decide(e, p.dir, nil) }); n != 0 {
			t.Errorf("mail %d from %s: %v allocations", i, e.From[0].Addr, n)
		}
	}
	if unmatched != 450 {
		t.Errorf("%d mails of the page link to nothing, want 450", unmatched)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := newPage()
	for _, c := range pageCases {
		b.Run(c.name, func(b *testing.B) {
			e := mail(c.mail)
			b.ReportAllocs()
			for b.Loop() {
				p.rules.Decide(e, p.dir, c.thread)
			}
		})
	}
	// An organisation that has not said which domains are its own is known by its mailboxes alone.
	b.Run("nothing/500 mailboxes", func(b *testing.B) {
		r, e := p.rules, mail(pageCases[0].mail)
		r.OwnDomains = nil
		for i := range 500 {
			r.Own = append(r.Own, message.Key(fmt.Sprintf("seller%d@own.example", i)))
		}
		b.ReportAllocs()
		for b.Loop() {
			r.Decide(e, p.dir, nil)
		}
	})
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range p.mails[:500] {
				p.rules.Decide(p.mails[i], p.dir, nil)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/mail")
	})
}
