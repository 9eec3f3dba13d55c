package linker_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

func rec(s string) linker.Record {
	kind, id, _ := strings.Cut(s, "/")
	return linker.Record{Kind: linker.Kind(kind), ID: id}
}

func day(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// crm is what the salespeople of own.example know.
func crm() linker.Directory {
	d := linker.Directory{
		Holders: map[message.Key][]linker.Record{},
		Related: map[linker.Record][]linker.Related{},
		Now:     map[linker.Record]linker.Record{},
	}
	for k, v := range map[message.Key]string{
		"ada@acme.com":            "contact/ada",
		"lead@acme.com":           "lead/lee",
		"carl.gauss@gmail.com":    "contact/carl",
		"emmynoether@gmail.com":   "contact/emmy",
		"rosa@private.example":    "contact/rosa",
		"acme.com":                "account/acme",
		"uk.big.co.uk":            "account/big-uk",
		"big.co.uk":               "account/big",
		"gmail.com":               "account/wrong",
		"onmicrosoft.com":         "account/wrong",
		"tenant.onmicrosoft.com":  "account/tenant",
		"co.uk":                   "account/wrong",
		"srv.corp":                "account/srv",
		"ivan@custom.example":     "candidate/ivan",
		"colleague@own.example":   "contact/wrong",
		"boss@sub.own.example":    "contact/wrong",
		"adas.mailbox@gmail.com":  "contact/wrong",
		"partner@example-law.org": "contact/pia",
	} {
		d.Holders[k] = append(d.Holders[k], rec(v))
		d.Now[rec(v)] = rec(v)
	}
	rel := func(of, to, opened, closed, updated string) {
		d.Related[rec(of)] = append(d.Related[rec(of)], linker.Related{Record: rec(to), Opened: day(opened), Closed: day(closed), Updated: day(updated)})
		d.Now[rec(to)] = rec(to)
	}
	rel("contact/rosa", "account/rosas-shop", "", "", "")
	rel("account/rosas-shop", "opportunity/shop-fit-out", "", "", "")
	rel("account/acme", "opportunity/old", "2026-01-01", "2026-03-01", "2026-03-01")
	rel("account/acme", "opportunity/new", "2026-03-01", "", "2026-05-01")
	rel("contact/ada", "opportunity/extra", "2026-04-01", "2026-06-01", "2026-06-01")
	rel("contact/ada", "site/hq", "", "", "")
	d.Now[rec("contact/merged")] = rec("contact/ada")
	return d
}

// mail builds an envelope from one line a header field, as in "From: a@b, c@d".
func mail(text string) message.Envelope {
	e := message.Envelope{Has: message.HasHeader}
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		var as []message.Address
		for a := range strings.SplitSeq(value, ",") {
			as = append(as, message.NewAddress("", strings.TrimSpace(a)))
		}
		switch field {
		case "From":
			e.From = as
		case "Reply-To":
			e.ReplyTo = as
		case "To":
			e.To = as
		case "Cc":
			e.Cc = as
		case "Bcc":
			e.Bcc = as
		case "Date":
			e.Date = day(value)
		case "In-Reply-To":
			e.InReplyTo = []string{value}
		case "Automated":
			e.Automated = message.Automated{Class: message.Class(value), Reason: "Auto-Submitted: " + value}
		case "Auth":
			e.Auth = message.Auth(value)
		case "Folder":
			e.Sent = value == "Sent"
		case "Read":
			e.Has = message.HasParticipants | message.HasSubject
		}
	}
	return e
}

func rules(change func(*linker.Rules)) linker.Rules {
	r := linker.DefaultRules()
	r.Own = []message.Key{"me@own.example", "adas.mailbox@gmail.com"}
	r.OwnDomains = []message.Key{"own.example"}
	if change != nil {
		change(&r)
	}
	return r
}

func show(d linker.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.Disposition, d.Reason)
	for _, l := range d.Links {
		fmt.Fprintf(&b, "%s/%s by %s %s %d\n", l.Kind, l.ID, l.By, l.Evidence, l.Strength)
	}
	for _, c := range d.Create {
		fmt.Fprintf(&b, "create %s\n", c.Address)
	}
	if d.Needs != 0 {
		fmt.Fprintf(&b, "needs %06b\n", d.Needs)
	}
	if d.Capped {
		b.WriteString("capped\n")
	}
	return b.String()
}

func link(s string, by linker.How, evidence string, removed bool) linker.Link {
	return linker.Link{Record: rec(s), By: by, Evidence: evidence, Removed: removed}
}

var cases = []struct {
	name   string
	rules  func(*linker.Rules)
	mail   string
	thread []linker.Link
	want   string
}{
	{"a contact writes", nil, "From: Ada@ACME.com\nTo: me@own.example", nil, `
		linked: by address ada@acme.com
		account/acme by domain acme.com 70
		contact/ada by address ada@acme.com 90`},
	{"a stranger at a known company", nil, "From: new@mail.acme.com\nTo: me@own.example", nil, `
		linked: by domain acme.com
		account/acme by domain acme.com 60`},
	{"the nearest account wins", nil, "From: x@uk.big.co.uk", nil, `
		linked: by domain uk.big.co.uk
		account/big-uk by domain uk.big.co.uk 70`},
	{"never a public suffix", nil, "From: x@other.co.uk", nil, "unmatched: no record has an address or domain of this mail"},
	{"never a personal domain", nil, "From: x@gmail.com", nil, "unmatched: no record has an address or domain of this mail"},
	{"a tenant, not its shared parent", nil, "From: x@tenant.onmicrosoft.com, y@other.onmicrosoft.com", nil, `
		linked: by domain tenant.onmicrosoft.com
		account/tenant by domain tenant.onmicrosoft.com 70`},
	{"an unknown top-level domain matches exactly only", nil, "From: x@a.srv.corp", nil, "unmatched: no record has an address or domain of this mail"},
	{"an unknown top-level domain, exact", nil, "From: x@srv.corp", nil, `
		linked: by domain srv.corp
		account/srv by domain srv.corp 70`},
	{"plus tag", nil, "From: rosa+news@private.example", nil, `
		linked: by address rosa+news@private.example
		account/rosas-shop by related contact/rosa 40
		contact/rosa by address rosa+news@private.example 80`},
	{"Gmail: dots and both domains", nil, "From: e.mmy.noether@googlemail.com\nTo: carl.gauss@googlemail.com", nil, `
		linked: by address carl.gauss@googlemail.com
		contact/carl by address carl.gauss@googlemail.com 80
		contact/emmy by address e.mmy.noether@googlemail.com 80`},
	{"leads are off", nil, "From: lead@acme.com", nil, `
		linked: by domain acme.com
		account/acme by domain acme.com 70`},
	{"leads are on", func(r *linker.Rules) { r.Leads = true; r.Accounts = false }, "From: lead@acme.com", nil, `
		linked: by address lead@acme.com
		lead/lee by address lead@acme.com 90`},
	{"opportunities open at the date", func(r *linker.Rules) { r.Opportunities = true }, "From: ada@acme.com\nDate: 2026-03-01", nil, `
		linked: by address ada@acme.com
		account/acme by domain acme.com 70
		contact/ada by address ada@acme.com 90
		opportunity/new by related account/acme 40`},
	{"all opportunities", func(r *linker.Rules) { r.Opportunities = true }, "From: ada@acme.com\nDate: 2026-05-01", nil, `
		linked: by address ada@acme.com
		account/acme by domain acme.com 70
		contact/ada by address ada@acme.com 90
		opportunity/extra by related contact/ada 40
		opportunity/new by related account/acme 40`},
	{"the latest opportunity", func(r *linker.Rules) {
		r.Opportunities, r.OpportunityPolicy = true, linker.LatestOpportunity
	}, "From: ada@acme.com\nDate: 2026-05-01", nil, `
		linked: by address ada@acme.com
		account/acme by domain acme.com 70
		contact/ada by address ada@acme.com 90
		opportunity/extra by related contact/ada 40`},
	{"no opportunity, as there are two", func(r *linker.Rules) {
		r.Opportunities, r.OpportunityPolicy = true, linker.SingleOpportunity
	}, "From: ada@acme.com\nDate: 2026-05-01", nil, `
		linked: by address ada@acme.com
		account/acme by domain acme.com 70
		contact/ada by address ada@acme.com 90`},
	{"deal of the account of a contact", func(r *linker.Rules) { r.Opportunities = true }, "From: rosa@private.example\nDate: 2026-05-01", nil, `
		linked: by address rosa@private.example
		account/rosas-shop by related contact/rosa 40
		contact/rosa by address rosa@private.example 90
		opportunity/shop-fit-out by related account/rosas-shop 40`},
	{"own kinds of the host", func(r *linker.Rules) { r.Custom = []linker.Kind{"candidate", "site"} }, "From: ivan@custom.example\nTo: ada@acme.com", nil, `
		linked: by address ivan@custom.example
		account/acme by domain acme.com 70
		candidate/ivan by address ivan@custom.example 90
		contact/ada by address ada@acme.com 90
		site/hq by related contact/ada 40`},
	{"among own people", nil, "From: colleague@own.example\nTo: boss@sub.own.example, adasmailbox+x@gmail.com", []linker.Link{link("contact/ada", linker.ByAddress, "", false)}, "internal: among own people"},
	{"internal, in a thread, when asked for", func(r *linker.Rules) { r.InternalThreads = true }, "From: colleague@own.example\nTo: me@own.example\nIn-Reply-To: m1@acme.com", []linker.Link{link("contact/ada", linker.ByAddress, "ada@acme.com", false)}, `
		linked: by thread m1@acme.com
		contact/ada by thread m1@acme.com 50`},
	{"a person's link on internal mail", nil, "From: colleague@own.example\nTo: me@own.example", []linker.Link{link("contact/ada", linker.ByPerson, "user 7", false)}, `
		linked: by person user 7
		contact/ada by person user 7 100`},
	{"sent mail", nil, "Folder: Sent\nFrom: me@own.example\nTo: x@nowhere.example\nBcc: partner@example-law.org", nil, `
		linked: by address partner@example-law.org
		contact/pia by address partner@example-law.org 90`},
	{"excluded, thread or not", func(r *linker.Rules) { r.ExcludedDomains = []linker.Exclusion{{Domain: "acme.com"}} },
		"From: ada@mail.acme.com\nTo: me@own.example", []linker.Link{link("contact/ada", linker.ByThread, "m1", false)}, "excluded: excluded domain acme.com"},
	{"excluded beside others", func(r *linker.Rules) { r.ExcludedDomains = []linker.Exclusion{{Domain: "acme.com"}} },
		"From: ada@acme.com\nTo: rosa@private.example", nil, `
		linked: by address rosa@private.example
		account/rosas-shop by related contact/rosa 40
		contact/rosa by address rosa@private.example 90`},
	{"excluded from accounts only", func(r *linker.Rules) {
		r.ExcludedDomains = []linker.Exclusion{{"acme.com", linker.ReachAccounts}}
	}, "From: ada@acme.com", nil, `
		linked: by address ada@acme.com
		contact/ada by address ada@acme.com 90`},
	{"never this sender", func(r *linker.Rules) { r.ExcludedAddresses = []message.Key{"ada@acme.com"} }, "From: ada+x@acme.com", nil, "excluded: excluded address ada@acme.com"},
	{"a person's link survives exclusion", func(r *linker.Rules) { r.ExcludedDomains = []linker.Exclusion{{Domain: "acme.com"}} },
		"From: ada@acme.com", []linker.Link{link("contact/merged", linker.ByPerson, "user 7", false)}, `
		linked: by person user 7
		contact/ada by person user 7 100`},
	{"the host's link on internal mail, and it brings nothing along", nil, "From: colleague@own.example\nTo: me@own.example", []linker.Link{link("contact/ada", linker.ByHost, "declared as 7", false)}, `
		linked: by host declared as 7
		contact/ada by host declared as 7 95`},
	{"the host's link survives exclusion and what is forged, and follows a merge", func(r *linker.Rules) { r.ExcludedDomains = []linker.Exclusion{{Domain: "acme.com"}} },
		"From: ada@acme.com\nAuth: fail", []linker.Link{link("contact/merged", linker.ByHost, "declared as 7", false), link("contact/gone", linker.ByHost, "declared as 7", false)}, `
		linked: by host declared as 7
		contact/ada by host declared as 7 95`},
	{"a person outweighs the host", nil, "From: x@private.example", []linker.Link{link("contact/ada", linker.ByPerson, "", true), link("contact/ada", linker.ByHost, "declared as 7", false)},
		"unmatched: no record has an address or domain of this mail"},
	{"not this record", nil, "From: ada@acme.com", []linker.Link{link("contact/merged", linker.ByPerson, "", true), link("contact/ada", linker.ByThread, "m1", false)}, `
		linked: by domain acme.com
		account/acme by domain acme.com 70`},
	{"the thread: merged follow, gone drop, related stay behind", nil, "From: x@private.example\nIn-Reply-To: m1@x", []linker.Link{
		link("contact/merged", linker.ByAddress, "a", false), link("contact/gone", linker.ByAddress, "a", false), link("account/acme", linker.ByRelated, "a", false),
	}, `
		linked: by thread m1@x
		contact/ada by thread m1@x 50`},
	{"forged mail inherits nothing", nil, "From: x@private.example\nAuth: fail", []linker.Link{link("contact/ada", linker.ByThread, "m1", false)}, "unmatched: no record has an address or domain of this mail"},
	{"forged mail may inherit", func(r *linker.Rules) { r.FailedAuth.InheritThread = true }, "From: x@private.example\nAuth: fail", []linker.Link{link("contact/ada", linker.ByThread, "m1", false)}, `
		linked: by thread m1
		contact/ada by thread m1 50`},
	{"automated mail of a contact", nil, "From: ada@acme.com\nAutomated: auto-reply", nil, `
		linked: by address ada@acme.com
		account/acme by domain acme.com 70
		contact/ada by address ada@acme.com 90`},
	{"automated mail of nobody", func(r *linker.Rules) { r.CreateContacts = true }, "From: x@y.example\nAutomated: bounce", nil, "automated: Auto-Submitted: bounce"},
	{"automated mail ignored", func(r *linker.Rules) { r.IgnoreAutomated = true }, "From: ada@acme.com\nAutomated: bounce", nil, "automated: Auto-Submitted: bounce"},
	{"an unknown sender", func(r *linker.Rules) { r.CreateContacts = true }, "From: x@y.example\nTo: z@y.example", nil, `
		unmatched: the sender is not in the CRM yet
		create x@y.example`},
	{"an unknown sender at a known company", func(r *linker.Rules) { r.CreateContacts = true }, "From: x@acme.com", nil, `
		linked: by domain acme.com
		account/acme by domain acme.com 70
		create x@acme.com`},
	{"no contact for a lead", func(r *linker.Rules) { r.CreateContacts = true }, "From: lead@acme.com", nil, `
		linked: by domain acme.com
		account/acme by domain acme.com 70`},
	{"no contact for a forger", func(r *linker.Rules) { r.CreateContacts = true }, "From: x@y.example\nAuth: fail", nil, "unmatched: no record has an address or domain of this mail"},
	{"no contact from mail we sent", func(r *linker.Rules) { r.CreateContacts = true }, "Folder: Sent\nFrom: x@y.example\nTo: z@y.example", nil, "unmatched: no record has an address or domain of this mail"},
	{"no contact where accounts are excluded", func(r *linker.Rules) {
		r.CreateContacts = true
		r.ExcludedDomains = []linker.Exclusion{{"y.example", linker.ReachAccounts}}
	}, "From: x@y.example", nil, "unmatched: no record has an address or domain of this mail"},
	{"only a listing was read", func(r *linker.Rules) { r.CreateContacts = true }, "Read: listing\nFrom: x@y.example", nil, `
		unmatched: no record has an address or domain of this mail
		needs 111001`},
	{"a cap", func(r *linker.Rules) { r.MaxParticipants = 1 }, "From: rosa@private.example\nTo: ada@acme.com", nil, `
		linked: by address rosa@private.example
		account/rosas-shop by related contact/rosa 40
		contact/rosa by address rosa@private.example 90
		capped`},
	{"a cap on links", func(r *linker.Rules) { r.MaxLinks = 1 }, "From: ada@acme.com", nil, `
		linked: by address ada@acme.com
		contact/ada by address ada@acme.com 90
		capped`},
}

func TestDecide(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, e := rules(c.rules), mail(c.mail)
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			got := show(r.Decide(e, crm(), c.thread))
			want := strings.ReplaceAll(strings.TrimSpace(c.want), "\t", "") + "\n"
			if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			// What Query doesn't ask for must not matter.
			if asked := show(r.Decide(e, answer(crm(), r.Query(e)), c.thread)); asked != got {
				t.Errorf("with only what Query asks for:\n%swant\n%s", asked, got)
			}
		})
	}
}

// A mailbox has many spellings, and neighbours that are somebody else.
func TestOwnMailboxes(t *testing.T) {
	for _, c := range []struct {
		own, other message.Key
		same       bool
	}{
		{"me@own.example", "me@own.example", true},
		{"me@own.example", "me+x@own.example", true},
		{"me+sales@own.example", "me+x@own.example", true},
		{"adas.mailbox@gmail.com", "adas.mailbox@googlemail.com", true},
		{"adas.mailbox@gmail.com", "a.dasmailbox+x@gmail.com", true},
		{"ada@googlemail.com", ".a.da.@gmail.com", true},
		{"me@own.example", "m.e@own.example", false},
		{"me@own.example", "you@own.example", false},
		{"me@own.example", "me@two.example", false},
		{"me@own.example", "me@my.own.example", false},
		{"me@my.own.example", "me@own.example", false},
		{"me@my.own.example", "me@my@own.example", false}, // `"me@my"@own.example`, as a key
		{"me@own.example", "me.+x@own.example", false},
		{"ada@gmail.com", "ada@mail.example", false},
		{"ada@mail.example", "ada@gmail.com", false},
		{"ada@gmail.com", "adam@gmail.com", false},
		{"+ada@own.example", "+bob@own.example", false},
	} {
		r := rules(func(r *linker.Rules) { r.Own, r.OwnDomains = []message.Key{c.own}, nil })
		sent := message.Envelope{Has: message.HasHeader, Sent: true, To: []message.Address{{Key: c.other}}}
		if got := r.Decide(sent, linker.Directory{}, nil).Disposition == linker.Internal; got != c.same {
			t.Errorf("%s is own, and %s: %v, want %v", c.own, c.other, got, c.same)
		}
	}
}

// answer is the part of the CRM that the query asks for.
func answer(d linker.Directory, q linker.Query) linker.Directory {
	out := linker.Directory{Holders: map[message.Key][]linker.Record{}, Related: map[linker.Record][]linker.Related{}, Now: d.Now}
	for _, k := range append(q.Addresses, q.Domains...) {
		if rs, ok := d.Holders[k]; ok {
			out.Holders[k] = rs
		}
	}
	for rec, rels := range d.Related {
		for _, rel := range rels {
			for _, k := range q.Related {
				if rel.Kind == k {
					out.Related[rec] = append(out.Related[rec], rel)
				}
			}
		}
	}
	return out
}

// The order of participants, holders and thread never changes a decision.
func TestOrderDoesNotMatter(t *testing.T) {
	var all []message.Address
	for k := range crm().Holders {
		if k.IsAddress() {
			all = append(all, message.NewAddress("", string(k)))
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	shuffle := func(as []message.Address) []message.Address {
		as = append([]message.Address(nil), as...)
		rnd.Shuffle(len(as), func(i, j int) { as[i], as[j] = as[j], as[i] })
		return as
	}
	for range 2000 {
		r := rules(func(r *linker.Rules) {
			r.Opportunities, r.Leads = true, rnd.IntN(2) == 0
			r.OpportunityPolicy = []linker.OpportunityPolicy{"all", "latest", "single"}[rnd.IntN(3)]
			r.MaxParticipants, r.MaxLinks = 1+rnd.IntN(8), 1+rnd.IntN(8)
		})
		e := message.Envelope{Has: message.HasHeader, From: all[:1], To: shuffle(all)[:rnd.IntN(len(all))], Cc: shuffle(all)[:rnd.IntN(len(all))], Date: day("2026-05-01")}
		d, thread := crm(), []linker.Link{link("contact/ada", linker.ByThread, "m1", false), link("contact/merged", linker.ByThread, "m0", false)}
		want := r.Decide(e, d, thread)
		e.To, e.Cc = shuffle(e.To), shuffle(e.Cc)
		for _, rels := range d.Related {
			rnd.Shuffle(len(rels), func(i, j int) { rels[i], rels[j] = rels[j], rels[i] })
		}
		thread[0], thread[1] = thread[1], thread[0]
		if got := r.Decide(e, d, thread); !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%swant\n%s", show(got), show(want))
		}
	}
}
