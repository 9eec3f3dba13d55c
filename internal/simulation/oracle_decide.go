package simulation

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// deciders are the copies by which a mail may have been decided (R2), the one that should first: others only where it depends on when workers
// came by, or on when a copy was deleted. None: nobody read it.
func (k *oracle) deciders(m *Mail) []*Copy {
	var living, fresh, erased []*Copy // those that were read; of these those that can be read again; those of which nobody knows any more
	for _, l := range k.held[m] {
		switch {
		case l.box.Erased && !l.copy.Unlisted:
			erased = append(erased, l.copy)
		case k.readRow[l.copy]:
			living = append(living, l.copy)
			if l.readable() {
				fresh = append(fresh, l.copy)
			}
		}
	}
	var outbox *Copy
	if k.handed(m) {
		outbox = &Copy{Mail: m, Received: m.Asked, Sent: true}
		switch shown := slices.ContainsFunc(living, func(c *Copy) bool { return c.Sent }); {
		case m.By != nil && m.By.Erased:
			erased = append(erased, outbox)
		case !shown:
			living = append(living, outbox)
		}
	}
	if len(living) == 0 {
		return nil // and no mailbox holds it
	}
	best := slices.MinFunc(living, before)
	out := []*Copy{best}
	if best.Sent && best.Role != provider.RoleSent && best != outbox {
		// It was moved out of Sent, and may have been read only then.
		inbound := *best
		inbound.Sent = false
		others := []*Copy{&inbound}
		for _, c := range living {
			if c != best {
				others = append(others, c)
			}
		}
		out = append(out, slices.MinFunc(others, before))
	}
	// What was sent was received when the outbox took it, or when its copy says so.
	if outbox != nil && best.Sent && best != outbox {
		out = append(out, outbox)
	}
	switch {
	case len(fresh) == 0:
		for _, c := range erased {
			if before(c, best) < 0 {
				out = append(out, c)
			}
		}
	case !slices.Contains(fresh, best):
		// An email that has lost its links meanwhile, and its envelope with them, is decided by what can be read.
		out = append(out, slices.MinFunc(fresh, before))
	}
	return out
}

// before orders copies: the author's own first, which alone shows Bcc, then the earliest.
func before(a, b *Copy) int {
	if a.Sent != b.Sent {
		if a.Sent {
			return -1
		}
		return 1
	}
	return a.Received.Compare(b.Received)
}

// decision is what the rules and people's words make of a mail (R3).
type decision struct {
	links links
	fate  string
}

func (k *oracle) decide(m *Mail, by *Copy) decision {
	out := k.direct(m, by)
	if fate := k.apart(m, by); fate != "" {
		if len(out) > 0 {
			fate = "linked" // a person's word stands, and the host's
		}
		return decision{out, fate}
	}
	said := k.said(m)
	add := func(r *Record, how linker.How) {
		if said[r] == unlink {
			return
		}
		if was, ok := out[r]; !ok || strength(how) > strength(was) {
			out[r] = how
		}
	}
	// What hangs on a record that a person or the host said and nothing else found is not looked for.
	found := k.matched(m, by)
	if by.Sent || !m.Spoofed || k.t.Rules.ForgedThreads {
		for _, r := range k.inherited(m) {
			add(r, linker.ByThread)
			if said[r] != unlink && found[r] == "" {
				found[r] = linker.ByThread
			}
		}
	}
	for r := range found {
		if r.Kind != linker.Contact {
			continue
		}
		for _, of := range r.Of {
			if a := k.record(of); a != nil && a.Kind == linker.Account {
				add(a, linker.ByRelated)
				if said[a] != unlink && found[a] == "" {
					found[a] = linker.ByRelated
				}
			}
		}
	}
	if k.t.Rules.Opportunities {
		var deals []*Record
		for _, deal := range k.t.Records {
			if deal.Kind != linker.Opportunity || now(deal) != deal || !openAt(deal, by.Received) {
				continue
			}
			for _, of := range deal.Of {
				r := k.record(of)
				hangs := r != nil && (r.Kind == linker.Contact || r.Kind == linker.Account) && found[r] != ""
				if hangs && said[deal] != unlink && !slices.Contains(deals, deal) {
					deals = append(deals, deal)
				}
			}
		}
		for _, deal := range k.choose(deals) {
			add(deal, linker.ByRelated)
		}
	}
	switch {
	case len(out) > 0:
		return decision{out, "linked"}
	case k.inside(m, by):
		return decision{out, "internal"}
	case m.Automated:
		return decision{out, "automated"}
	}
	return decision{out, "unmatched"}
}

// choose are those of the deals that a mail reaches that the organisation wants.
func (k *oracle) choose(deals []*Record) []*Record {
	switch {
	case len(deals) < 2:
	case k.t.Rules.Policy == linker.SingleOpportunity:
		return nil
	case k.t.Rules.Policy == linker.LatestOpportunity:
		return []*Record{slices.MaxFunc(deals, func(a, b *Record) int {
			return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(a.ID, b.ID))
		})}
	}
	return deals
}

// inside: a mail among own people.
func (k *oracle) inside(m *Mail, by *Copy) bool {
	own, outside, _ := k.crowd(m, by)
	return own > 0 && outside == 0
}

// apart is the fate of a mail that is matched with nothing; "": it is.
func (k *oracle) apart(m *Mail, by *Copy) string {
	own, outside, excluded := k.crowd(m, by)
	switch {
	case own == 0 && outside == 0:
		return "unmatched"
	case outside > 0 && outside == excluded:
		return "excluded"
	case outside == 0 && !k.t.Rules.InternalThreads:
		return "internal"
	case k.t.Rules.IgnoreAutomated && m.Automated:
		return "automated"
	}
	return ""
}

// crowd counts the participants who are own people, and those who aren't; excluded are some of the latter.
func (k *oracle) crowd(m *Mail, by *Copy) (own, outside, excluded int) {
	for _, p := range participants(m, by) {
		switch {
		case k.own(p):
			own++
		case k.excluded(p):
			outside++
			excluded++
		default:
			outside++
		}
	}
	return own, outside, excluded
}

// direct are the links by a person, the host, an address or a domain.
func (k *oracle) direct(m *Mail, by *Copy) links {
	out := links{}
	if k.apart(m, by) == "" {
		out = k.matched(m, by)
	}
	said := k.said(m)
	for r := range k.hosted(m, by) {
		if said[r] != unlink {
			out[r] = linker.ByHost
		}
	}
	for r, word := range said {
		if word == link {
			out[r] = linker.ByPerson
		}
	}
	return out
}

// matched are the records that hold an address or the domain of an outside participant, but for those that a person took off.
func (k *oracle) matched(m *Mail, by *Copy) links {
	out := links{}
	add := func(r *Record, how linker.How) {
		if k.said(m)[r] != unlink && (out[r] == "" || strength(how) > strength(out[r])) {
			out[r] = how
		}
	}
	for _, p := range participants(m, by) {
		if k.own(p) || k.excluded(p) {
			continue
		}
		for _, r := range k.people(p) {
			add(r, linker.ByAddress)
		}
		for _, r := range k.accounts(domainOf(p)) {
			add(r, linker.ByDomain)
		}
	}
	return out
}

// people hold the address as it is written, or, where nobody does, without its +tag.
func (k *oracle) people(address string) []*Record {
	for _, a := range []string{strings.ToLower(address), untagged(address)} {
		var out []*Record
		for _, r := range k.t.Records {
			person := r.Kind == linker.Contact || r.Kind == linker.Lead && k.t.Rules.Leads
			if person && now(r) == r && slices.Contains(r.Keys, a) {
				out = append(out, r)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// accounts hold the host, or else its nearest parent that any account holds, up to the registrable domain.
func (k *oracle) accounts(host string) []*Record {
	top, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return nil // a public suffix is nobody's
	}
	for {
		var out []*Record
		for _, r := range k.t.Records {
			if r.Kind == linker.Account && now(r) == r && slices.Contains(r.Keys, host) {
				out = append(out, r)
			}
		}
		if len(out) > 0 || host == top {
			return out
		}
		_, host, _ = strings.Cut(host, ".")
	}
}

// participants are those who count: the owner's own mail names whom he wrote to, Bcc included.
func participants(m *Mail, by *Copy) []string {
	if by.Sent {
		return slices.Concat(m.To, m.Cc, m.Bcc)
	}
	all := slices.Concat(m.To, m.Cc)
	if m.From != "" {
		all = append(all, m.From)
	}
	return all
}

func openAt(deal *Record, t time.Time) bool {
	return !deal.Opened.After(t) && (deal.Closed.IsZero() || t.Before(deal.Closed))
}

// strength orders the reasons of a link.
func strength(how linker.How) int {
	return slices.Index([]linker.How{linker.ByRelated, linker.ByThread, linker.ByDomain, linker.ByAddress, linker.ByHost, linker.ByPerson}, how)
}
