package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/linker"
)

// declare is the host saying that it had an email before: once, or again with other records, or with none.
type declare struct {
	host    string // its own id
	name    string // the mail that it is, also one that is yet to come, or never comes
	author  string // "": anybody's
	records []linker.Record
}

func (e declare) String() string {
	s := fmt.Sprintf("the host declares %s as %s", e.name, e.host)
	if e.author != "" {
		s += " of " + e.author
	}
	if len(e.records) == 0 {
		return s + ", with no records"
	}
	return s + ", with " + names2(e.records)
}

func (e declare) do(h *caller) error {
	w := h.w
	id := w.id(e.name)
	if id == "" {
		return nil
	}
	// It names records that it has.
	if err := h.tell(); err != nil {
		return err
	}
	said := Declared{Host: e.host, MessageID: id, Author: e.author}
	out := emailint.DeclaredEmail{ID: e.host, MessageID: "<" + id + ">", From: e.author}
	for _, r := range e.records {
		if on := w.living(r); on != nil && !slices.Contains(said.Records, on) {
			said.Records, out.Records = append(said.Records, on), append(out.Records, r)
		}
	}
	if !w.had[e.host] {
		w.had[e.host] = true
		w.crm.Had(org, e.host)
	}
	standing := slices.IndexFunc(w.truth.Declared, func(d Declared) bool { return d.MessageID == id && d.Author == e.author })
	double := standing >= 0 && w.truth.Declared[standing].Host != e.host
	w.count["declarations"]++
	var got emailint.Declaration
	err := h.call("Declare "+e.host, func(p *process) error {
		added := got.Added
		var err error
		got, err = p.engine.Declare(w.ctx, org, out)
		got.Added += added // of a call whose answer was lost nobody knows
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case got.Added > 0 && standing >= 0, len(got.Doubles) > 0 != double, double && got.Doubles[0] != (emailint.DoubleEmail{ID: e.host, Of: w.truth.Declared[standing].Host}):
		w.violate("%s: the receipt of %q is %+v", promiseDeclared, e, got)
	case double:
		w.count["declarations of doubles"]++
	case standing >= 0:
		w.truth.Declared[standing].Records = said.Records
		w.count["declarations again"]++
	default:
		w.truth.Declared = append(w.truth.Declared, said)
	}
	return nil
}

// What the host had is seen to be one email while it happens, too: its own one becomes that of the engine with a whole save, and stays it.

// hosted looks at what the CRM is told of an email. whole: it is saved, not updated.
func (s *hostStore) hosted(e crm.EmailState, whole bool) {
	w := s.w
	if e.HostID != "" {
		if !w.had[e.HostID] {
			w.violate("%s: email %s is told as %s, which the host never had", promiseOwn, e.ID, e.HostID)
		}
		if len(w.kept[e.ID]) == 0 && len(e.Holders) > 0 {
			w.count["declared emails met"]++
		}
		for _, c := range e.Holders {
			w.kept[e.ID] = append(w.kept[e.ID], connID(c))
		}
	}
	i := slices.IndexFunc(w.crm.Emails(org), func(x crmEmail) bool { return x.ID == e.ID })
	if i < 0 {
		return
	}
	was := w.crm.Emails(org)[i]
	switch {
	case e.Revision <= was.Revision || was.HostID == e.HostID:
	case was.HostID != "":
		w.violate("%s: email %s was %s, and is told as %q", promiseOwn, e.ID, was.HostID, e.HostID)
	case !whole && len(e.Links) > 0:
		w.violate("%s: email %s, which the CRM has by itself, is updated as %s, want it saved", promiseOwn, e.ID, e.HostID)
	}
}

// own notes whose the CRM's own emails are, as a host has it that keeps the row it had: its row is that of the email that was saved last as it, until that one
// is emptied or removed.
func (w *world) own() {
	es := w.crm.Emails(org)
	for _, e := range es {
		if e.HostID == "" || w.took[e.ID] >= e.Revision {
			continue
		}
		w.took[e.ID] = e.Revision
		switch {
		case len(e.Links) > 0:
			w.owner[e.HostID] = e.ID
		case w.owner[e.HostID] == e.ID:
			delete(w.owner, e.HostID)
		}
	}
	for host, id := range w.owner {
		if !slices.ContainsFunc(es, func(e crmEmail) bool { return e.ID == id }) {
			delete(w.owner, host)
		}
	}
}

// declare makes a declaration: mostly of a mail of the last, at times of one that is yet to come, and sometimes wrong.
func (m *maker) declare() event {
	e := declare{name: fmt.Sprintf("m%d", 1+m.IntN(m.n+4))}
	from := pick(m, people)
	switch {
	case len(m.sent) > 0 && m.one(8):
		s := pick(m, m.sent)
		e.name, from = s.name, address(s.box)
	case len(m.mails) > 0 && !m.one(4):
		x := m.mails[len(m.mails)-1-min(m.IntN(len(m.mails)), m.IntN(len(m.mails)))]
		e.name, from = x.name, x.from
	}
	if len(m.declared) > 0 && m.one(3) { // again
		e = pick(m, m.declared)
		if m.one(4) {
			e.author = from
		}
	} else if m.one(3) {
		if e.author = from; m.one(6) {
			e.author = pick(m, people)
		}
	}
	if e.host = "own-" + e.name; m.one(10) {
		e.host = "own-" + pick(m, []string{"m1", "m2", "m3"})
	}
	e.records = nil
	for range m.IntN(3) {
		if r, ok := m.anyRecord(); ok {
			e.records = append(e.records, r)
		}
	}
	m.declared = append(m.declared, e)
	return e
}

// rarely makes what seldom meets.
func (m *maker) rarely() event {
	if m.one(2) {
		return m.hadDeleted()
	}
	if m.one(2) { // what the engine sends, whose copy may go before anybody reads it
		s, ok := m.send().(send)
		d, is := m.declare().(declare)
		if !ok || !is {
			return nil
		}
		d.name, d.host, d.author = s.name, "own-"+s.name, ""
		s.cc = append(s.cc, address(pick(m, owners)))
		es := several{{0, s}, {time.Second, m.outbox()}, {time.Second, remove{s.name, s.box}}}
		if m.one(2) {
			return append(several{{0, d}}, es...)
		}
		return append(es, Step{m.a(time.Hour), d})
	}
	// It is met, and then declared as another, of its author.
	d, ok := m.declare().(declare)
	if !ok || len(m.mails) == 0 {
		return nil
	}
	x := pick(m, m.mails)
	d.name, d.host, d.author = x.name, "own-"+x.name, ""
	other := d
	other.host, other.author, other.records = d.host+"-too", x.from, nil
	if r, ok := m.anyRecord(); ok {
		other.records = []linker.Record{r}
	}
	return several{{0, d}, {time.Minute, m.work()}, {m.a(time.Hour), other}}
}

// hadDeleted is a mail that the host had, and that its mailbox deletes, before or after it was declared.
func (m *maker) hadDeleted() event {
	name, box := m.somewhere()
	if name == "" {
		return nil
	}
	d, ok := m.declare().(declare)
	if !ok {
		return nil
	}
	if m.one(2) {
		d.name, d.host, d.author = name, "own-"+name, ""
	}
	gone := remove{d.name, box}
	if m.one(2) {
		return several{{0, gone}, {m.a(48 * time.Hour), d}}
	}
	return several{{0, d}, {m.a(2 * time.Hour), gone}}
}
