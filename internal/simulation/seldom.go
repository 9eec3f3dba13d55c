package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// What seldom meets by chance is made to meet in runs of these profiles. They are made where that is asked for (GenerateAs), not by Generate.
var special = []profile{
	{name: "inbox", mail: 10, copies: 1, folders: 3, changes: 2, words: 2, special: 9, bad: 60, crowd: 40},
	{name: "half sent", mail: 4, copies: 1, folders: 2, changes: 2, words: 1, sends: 3, special: 9, bad: 50, crowd: 50},
	{name: "contacts", mail: 8, copies: 8, folders: 3, changes: 3, words: 1, special: 8, bad: 30, crowd: 40},
	{name: "races", mail: 5, copies: 6, folders: 5, changes: 9, rules: 2, words: 4, sends: 2, bad: 80, crowd: 100, meanwhile: 6},
	{name: "declared", mail: 8, copies: 4, folders: 5, changes: 5, rules: 1, words: 5, sends: 3, boxes: 3, bad: 50, crowd: 60, meanwhile: 2, declares: 10, special: 4},
	{name: "people first", mail: 9, copies: 3, folders: 4, changes: 9, rules: 2, words: 2, boxes: 3, bad: 50, crowd: 60, meanwhile: 2, special: 6},
	{name: "drops", mail: 8, copies: 3, folders: 2, changes: 2, words: 3, special: 8, bad: 30, crowd: 30},
}

// seldom switches on rules that few organisations have, by chances of its own: what else happens in a run stays as it is without them.
func (m *maker) seldom(seed uint64) {
	own := &maker{Rand: rand.New(rand.NewPCG(seed, 7))}
	r := &m.cfg.Rules
	if own.one(3) {
		r.Policy = pick(own, []linker.OpportunityPolicy{linker.LatestOpportunity, linker.SingleOpportunity})
	}
	r.IgnoreAutomated, r.InternalThreads, r.ForgedThreads = own.one(6), own.one(4), own.one(4)
	switch m.p.name {
	case "inbox":
		r.Archive = true
	case "half sent":
		m.cfg.Bare = own.one(2)
	case "contacts":
		r.CreateContacts = true
	case "declared":
		m.reuse = own.one(2)
		m.threads, m.cfg.Bare = !m.reuse, own.one(2)
		if own.one(3) {
			m.early = 6
		}
	case "people first":
		r.PeopleFirst = !own.one(4)
		m.history, m.apart = own.IntN(9), time.Duration(1+own.IntN(48))*time.Hour
		if own.one(2) {
			r.ImportDays = own.IntN(6)
		}
	case "drops":
		m.reuse, m.threads = false, true
	default:
		if own.one(8) {
			r.PeopleFirst = true
		}
		if own.one(10) {
			r.ImportDays = own.IntN(3)
		}
		if own.one(6) { // few hosts declare
			m.p.declares = 2
			m.early = own.IntN(3)
		}
	}
}

// special makes an event of a special profile.
func (m *maker) special() event {
	box := pick(m, owners)
	switch m.p.name {
	case "inbox":
		switch m.IntN(6) {
		case 0, 1:
			return lose{box, 1, true}
		case 2:
			return lose{box, 0, true}
		case 3, 4:
			return bringBack{box, m.IntN(3)}
		}
		return undo{box, m.IntN(5)}
	case "half sent":
		s, ok := m.send().(send)
		if !ok {
			return lose{box, m.IntN(2), m.one(2)}
		}
		switch m.IntN(4) {
		case 0, 1:
			return several{{0, stumble{1 + m.IntN(14)}}, {time.Second, s}, {25 * time.Minute, m.outbox()}}
		case 2:
			return several{{0, oddity{s.box, "limits the rate", 1}}, {time.Second, s}, {5 * time.Minute, m.outbox()}, {12 * time.Minute, m.outbox()}}
		}
		return several{{0, s}, {0, lose{s.box, 1, true}}, {2 * time.Minute, m.outbox()}, {5 * time.Minute, m.outbox()}}
	case "declared":
		return m.rarely()
	case "people first":
		switch m.IntN(6) {
		case 0:
			return rules{what: "people first", on: m.one(2)}
		case 1:
			return rules{what: "days to import", days: pick(m, []int{-1, 0, 1, 2, 4, 8, 16})}
		case 2:
			return connect{"bob"}
		}
		return m.create()
	case "contacts":
		// Of somebody who wrote already.
		for range 5 {
			if len(m.mails) == 0 {
				break
			}
			if x := pick(m, m.mails); !slices.Contains(owners, strings.TrimSuffix(x.from, "@own.com")) {
				e := change{kind: emailint.RecordDeleted, record: contact("new:" + x.from), tell: m.telling()}
				if m.one(3) {
					return several{{0, e}, {time.Minute, also{x.name, location{box, provider.RoleInbox}}}}
				}
				return e
			}
		}
	case "drops":
		// On one of the last few, so that words meet.
		if len(m.mails) > 0 {
			e := word{name: m.mails[max(0, len(m.mails)-1-m.IntN(3))].name, thread: m.one(2), by: pick(m, []string{"email", "message-id"})}
			e.say = pick(m, []Saying{SayDrop, SayDrop, SayRestore, SayLink})
			if e.say == SayLink {
				r, ok := m.anyRecord()
				if !ok {
					return nil
				}
				e.record = r
			}
			return e
		}
	}
	return m.arrival()
}

// outbox is a work of two at the outbox, one of whom may die.
func (m *maker) outbox() event {
	w := work{seed: m.Uint64(), jobs: []job{{do: "outbox"}, {do: "outbox"}}}
	if m.one(2) {
		w.upsets = []upset{{step: 3 + m.IntN(25), worker: m.IntN(2), n: 1, what: pick(m, []string{killed, killed, lostAnswer, pausedLong})}}
		w.upsets[0].n += m.IntN(20)
	}
	return w
}

// several events are one after the other.
type several []Step

func (e several) String() string {
	var parts []string
	for _, s := range e {
		parts = append(parts, s.What.String())
	}
	return strings.Join(parts, "; then ")
}

func (e several) do(h *caller) error {
	for _, s := range e {
		h.w.advance(s.After)
		h.w.happens(s.What)
		if err := s.What.do(h); err != nil {
			return err
		}
	}
	return nil
}

// stumble lets the host's process die soon: it calls again what it called, in another life.
type stumble struct{ n int }

func (e stumble) String() string { return fmt.Sprintf("the host dies after %d steps", e.n) }

func (e stumble) do(h *caller) error {
	h.w.stumble = e.n
	return nil
}
