package linker

import (
	"cmp"
	"slices"
	"time"

	"github.com/intellicon/email-integration/message"
)

// How strong a link is. A record is linked once, by its strongest reason.
const (
	strengthPerson       = 100
	strengthHost         = 95
	strengthAddress      = 90
	strengthVariant      = 80 // the address without +tag, or in another Gmail spelling
	strengthDomain       = 70
	strengthParentDomain = 60
	strengthThread       = 50
	strengthRelated      = 40
)

// Decide says which records the message belongs to. The directory answers a Query that covered the message and the
// records of thread.
//
// Thread holds what applies to the message besides its own header. A link by person is a correction made on this
// message, or on its thread as a whole: it stands whatever the rules say, and with Removed its record is not linked
// and nothing hangs on it. One by host stands as well, unless a person took its record off. Every other direct link, and links by thread as Inherit makes them, come from a mail that
// this one answers and become links by thread. Removed links are not repeated in the decision.
//
// Equal input gives an equal decision, whatever the order of participants, holders or thread.
func (r Rules) Decide(e message.Envelope, d Directory, thread []Link) Decision {
	m := matcher{rules: r, dir: d, thread: thread}
	m.addSaid()

	if e.Has&message.HasParticipants == 0 {
		return m.verdict(Unmatched, "the header was not read", message.HasHeader&^e.Has)
	}
	c := r.survey(&e)
	switch {
	case c.outside > 0 && c.match == 0:
		if len(m.links) == 0 {
			kind := "excluded domain "
			if c.rule.IsAddress() {
				kind = "excluded address "
			}
			return m.verdict(Excluded, kind+string(c.rule), 0)
		}
		return m.verdict(Excluded, "", 0)
	case c.outside == 0 && c.own > 0 && !r.InternalThreads:
		return m.verdict(Internal, "among own people", 0)
	}
	automated := e.Automated.Class != ""
	if r.IgnoreAutomated {
		if automated {
			return m.verdict(Automated, e.Automated.Reason, 0)
		}
		m.needs |= message.HasAutomated &^ e.Has
	}
	m.needs |= message.HasIDs &^ e.Has

	// What hangs on an inherited contact or account is reached too: a reply from an unknown address finds the deal.
	m.related(&e, m.inherit(&e, m.match(&e, c)))
	m.create(&e)

	switch {
	case c.outside == 0 && c.own > 0:
		return m.verdict(Internal, "among own people", m.needs)
	case automated:
		return m.verdict(Automated, e.Automated.Reason, m.needs)
	case c.outside == 0:
		return m.verdict(Unmatched, "no participant could be read", m.needs)
	case len(m.candidates) > 0:
		return m.verdict(Unmatched, "the sender is not in the CRM yet", m.needs)
	}
	if len(m.links) == 0 {
		m.needs |= message.HasAutomated &^ e.Has
	}
	return m.verdict(Unmatched, "no record has an address or domain of this mail", m.needs)
}

// matcher gathers the links of one message.
type matcher struct {
	rules      Rules // by value, as pointers would escape with the links
	dir        Directory
	thread     []Link
	links      []Link
	candidates []Candidate
	needs      message.Fields
	capped     bool
}

// verdict ends the decision: with links it is Linked, without them what the caller found.
func (m *matcher) verdict(without Disposition, reason string, needs message.Fields) Decision {
	dec := Decision{Disposition: without, Reason: reason, Create: m.candidates, Needs: needs, Capped: m.capped}
	if len(m.links) == 0 {
		return dec
	}
	limit := m.rules.MaxLinks
	if limit <= 0 {
		limit = DefaultRules().MaxLinks
	}
	slices.SortFunc(m.links, func(a, b Link) int {
		return cmp.Or(-cmp.Compare(a.Strength, b.Strength), compareRecords(a.Record, b.Record))
	})
	best := m.links[0]
	if len(m.links) > limit {
		m.links, dec.Capped = m.links[:limit], true
	}
	slices.SortFunc(m.links, func(a, b Link) int { return compareRecords(a.Record, b.Record) })
	dec.Disposition, dec.Links = Linked, m.links
	dec.Reason = "by " + string(best.By) + " " + best.Evidence
	if best.Evidence == "" {
		dec.Reason = "by " + string(best.By)
	}
	return dec
}

func compareRecords(a, b Record) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// add keeps the strongest reason of each record, the least evidence among equals, and nothing a person took off.
func (m *matcher) add(rec Record, by How, evidence string, strength int) {
	if m.removed(rec) {
		return
	}
	for i := range m.links {
		l := &m.links[i]
		if l.Record != rec {
			continue
		}
		if strength > l.Strength || strength == l.Strength && evidence < l.Evidence {
			l.By, l.Evidence, l.Strength = by, evidence, strength
		}
		return
	}
	m.links = append(m.links, Link{Record: rec, By: by, Evidence: evidence, Strength: strength})
}

// removed reports whether a person said "not this record", of it or of one that was merged into it.
func (m *matcher) removed(rec Record) bool {
	for i := range m.thread {
		if l := &m.thread[i]; l.Removed && l.By == ByPerson {
			if now, ok := m.dir.Now[l.Record]; l.Record == rec || ok && now == rec {
				return true
			}
		}
	}
	return false
}

// addSaid links what a person or the host said of this mail.
func (m *matcher) addSaid() {
	for i := range m.thread {
		l := &m.thread[i]
		strength := strengthPerson
		switch {
		case l.Removed || l.By != ByPerson && l.By != ByHost:
			continue
		case l.By == ByHost:
			strength = strengthHost
		}
		if now, ok := m.dir.Now[l.Record]; ok {
			m.add(now, l.By, l.Evidence, strength)
		}
	}
}

// match links the records that hold the participants' addresses and domains, and returns them.
func (m *matcher) match(e *message.Envelope, c crowd) (found []Record) {
	if len(m.dir.Holders) == 0 {
		return nil
	}
	meet := func(rec Record) {
		if !m.removed(rec) && !slices.Contains(found, rec) {
			found = append(found, rec)
		}
	}
	m.capped = m.rules.outside(e, c, func(k message.Key, accounts bool) {
		m.address(k, meet)
		if !m.rules.Accounts || !accounts {
			return
		}
		host := k.Domain()
		if !m.heldAtAll(host) {
			return
		}
		m.rules.accountDomains(host, func(d message.Key) bool {
			hit := false
			for _, rec := range m.dir.Holders[d] {
				if rec.Kind != Account {
					continue
				}
				hit = true
				strength := strengthDomain
				if d != host {
					strength = strengthParentDomain
				}
				m.add(rec, ByDomain, string(d), strength)
				meet(rec)
			}
			return hit
		})
	})
	return found
}

// heldAtAll reports whether anybody holds the host or a parent of it. It saves publicsuffix, which allocates, for the
// few mails that match.
func (m *matcher) heldAtAll(host message.Key) bool {
	for d := host; d != ""; d = parent(d) {
		if len(m.dir.Holders[d]) > 0 {
			return true
		}
	}
	return false
}

// address links the holders of an address: of the exact one, and only where nobody has that, of its variants.
func (m *matcher) address(k message.Key, meet func(Record)) {
	hit := false
	for _, rec := range m.dir.Holders[k] {
		if m.rules.links(rec.Kind) {
			hit = true
			m.add(rec, ByAddress, string(k), strengthAddress)
			meet(rec)
		}
	}
	if hit {
		return
	}
	var space [320]byte
	for i := range variants {
		v := variant(space[:0], k, i)
		if v == nil {
			continue
		}
		for _, rec := range m.dir.Holders[message.Key(v)] {
			if m.rules.links(rec.Kind) {
				m.add(rec, ByAddress, string(k), strengthVariant)
				meet(rec)
			}
		}
	}
}

// related links accounts of matched or inherited contacts, opportunities of matched contacts and accounts, and custom kinds.
func (m *matcher) related(e *message.Envelope, found []Record) {
	if m.rules.Accounts {
		for _, rec := range slices.Clone(found) {
			if rec.Kind != Contact {
				continue
			}
			for _, rel := range m.dir.Related[rec] {
				if rel.Kind == Account && !m.removed(rel.Record) {
					m.add(rel.Record, ByRelated, evidence(rec), strengthRelated)
					if !slices.Contains(found, rel.Record) {
						found = append(found, rel.Record)
					}
				}
			}
		}
	}
	type deal struct {
		Related
		on string
	}
	var deals []deal
	when := e.When()
	for _, rec := range found {
		for _, rel := range m.dir.Related[rec] {
			switch {
			case slices.Contains(m.rules.Custom, rel.Kind):
				m.add(rel.Record, ByRelated, evidence(rec), strengthRelated)
			case rel.Kind == Opportunity && m.rules.Opportunities && rec.Kind != Lead:
				if when.IsZero() {
					m.needs |= message.HasDate &^ e.Has
				}
				if m.removed(rel.Record) || !openAt(rel, when) {
					continue
				}
				i := slices.IndexFunc(deals, func(d deal) bool { return d.Record == rel.Record })
				if i < 0 {
					deals = append(deals, deal{rel, evidence(rec)})
					continue
				}
				deals[i].on = min(deals[i].on, evidence(rec))
				if rel.Updated.After(deals[i].Updated) {
					deals[i].Updated = rel.Updated
				}
			}
		}
	}
	switch {
	case len(deals) < 2:
	case m.rules.OpportunityPolicy == SingleOpportunity:
		return
	case m.rules.OpportunityPolicy == LatestOpportunity:
		deals = []deal{slices.MaxFunc(deals, func(a, b deal) int {
			return cmp.Or(a.Updated.Compare(b.Updated), a.Opened.Compare(b.Opened), compareRecords(a.Record, b.Record))
		})}
	}
	for _, d := range deals {
		m.add(d.Record, ByRelated, d.on, strengthRelated)
	}
}

func evidence(r Record) string { return string(r.Kind) + "/" + r.ID }

// openAt reports whether the record was open at the date. Of an undated message it asks whether it still is.
func openAt(rel Related, when time.Time) bool {
	if when.IsZero() {
		return rel.Closed.IsZero()
	}
	return !rel.Opened.After(when) && (rel.Closed.IsZero() || when.Before(rel.Closed))
}

// inherit takes over the links of the mails this one answers and appends their records to found. Header From can be forged,
// and References with it.
func (m *matcher) inherit(e *message.Envelope, found []Record) []Record {
	for i := range m.thread {
		l := &m.thread[i]
		if l.Removed || l.By == ByPerson || l.By == ByHost || l.By != ByThread && !l.Direct() {
			continue
		}
		if !e.Sent && !m.rules.FailedAuth.InheritThread {
			m.needs |= message.HasAuth &^ e.Has
			if e.Auth == message.AuthFail {
				return found
			}
		}
		now, ok := m.dir.Now[l.Record]
		if !ok {
			continue
		}
		cited := l.Evidence
		if l.By != ByThread {
			cited = citation(e)
		}
		m.add(now, ByThread, cited, strengthThread)
		if !m.removed(now) && !slices.Contains(found, now) {
			found = append(found, now)
		}
	}
	return found
}

// citation names the mail that the envelope answers.
func citation(e *message.Envelope) string {
	switch {
	case len(e.InReplyTo) > 0:
		return e.InReplyTo[0]
	case len(e.References) > 0:
		return e.References[len(e.References)-1]
	}
	return e.Thread
}

// create proposes a contact for an unknown sender of inbound mail.
func (m *matcher) create(e *message.Envelope) {
	r := &m.rules
	// Several From mailboxes: no authentication result says which one it speaks of.
	if !r.CreateContacts || e.Sent || len(e.From) != 1 || e.Automated.Class != "" {
		return
	}
	from := e.From[0]
	if from.Key == "" || !from.Key.IsAddress() || r.own(from.Key) {
		return
	}
	if _, reach := r.excluded(from.Key); reach != "" {
		return
	}
	if e.Auth == message.AuthFail && !r.FailedAuth.CreateContacts {
		return
	}
	if m.known(m.dir.Holders[from.Key]) {
		return
	}
	var space [320]byte
	for i := range variants {
		if v := variant(space[:0], from.Key, i); v != nil && m.known(m.dir.Holders[message.Key(v)]) {
			return
		}
	}
	if missing := message.HasHeader &^ e.Has; missing != 0 {
		m.needs |= missing
		return
	}
	m.candidates = []Candidate{{Address: from.Key, Name: from.Name}}
}

func (m *matcher) known(holders []Record) bool {
	return slices.ContainsFunc(holders, func(r Record) bool { return r.Kind == Contact || r.Kind == Lead })
}
