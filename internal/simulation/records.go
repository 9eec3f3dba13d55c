package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// telling is when a change of a record is told.
type telling string

const (
	tellNow   telling = "told at once"
	tellLate  telling = "told late"
	tellTwice telling = "told twice"
)

// change is a change of a record of the CRM.
type change struct {
	kind           emailint.ChangeKind
	record         linker.Record
	into           linker.Record
	key            string          // an address or a domain
	gone           bool            // the key is taken off, or the relation ends
	keys           []string        // of one that is made
	of             []linker.Record // of one that is made, or what is related
	opened, closed time.Duration   // of a deal: from day0; 0: closed is open
	tell           telling
}

func name(r linker.Record) string { return string(r.Kind) + "/" + r.ID }

func names2(rs []linker.Record) string {
	var out []string
	for _, r := range rs {
		out = append(out, name(r))
	}
	return strings.Join(out, ", ")
}

func days(d time.Duration) string { return day0.Add(d).Format("01-02 15:04:05") }

func (e change) String() string {
	var s string
	switch e.kind {
	case emailint.RecordCreated:
		s = fmt.Sprintf("%s is made", name(e.record))
		if len(e.keys) > 0 {
			s += " with " + strings.Join(e.keys, ", ")
		}
		if len(e.of) > 0 {
			s += " on " + names2(e.of)
		}
	case emailint.AddressesChanged:
		s = fmt.Sprintf("%s gets %s", name(e.record), e.key)
		if e.gone {
			s = fmt.Sprintf("%s loses %s", name(e.record), e.key)
		}
	case emailint.RecordMerged:
		s = fmt.Sprintf("%s is merged into %s", name(e.record), name(e.into))
	case emailint.RecordDeleted:
		s = fmt.Sprintf("%s is deleted", name(e.record))
	case emailint.RelationChanged:
		s = fmt.Sprintf("%s hangs on %s", name(e.record), names2(e.of))
		if e.gone {
			s = fmt.Sprintf("%s hangs on %s no more", name(e.record), names2(e.of))
		}
	case emailint.DealChanged:
		s = name(e.record) + " is dated anew"
	}
	if e.record.Kind == linker.Opportunity && (e.kind == emailint.RecordCreated || e.kind == emailint.DealChanged) {
		s += ", open from " + days(e.opened)
		if e.closed != 0 {
			s += " until " + days(e.closed)
		}
	}
	return s + ", " + string(e.tell)
}

func key(s string) message.Key {
	if k := message.AddressKey(s); k != "" {
		return k
	}
	return message.DomainKey(s)
}

// hangs puts a relation into the CRM: an account on its contact, a deal on what it belongs to.
func (w *world) hangs(r *Record, of linker.Record, on bool) {
	at, rel := of, linker.Related{Record: r.Record, Opened: r.Opened, Closed: r.Closed}
	if r.Kind == linker.Contact {
		at, rel = r.Record, linker.Related{Record: of}
	}
	w.crm.Unrelate(org, at, rel.Record)
	if on {
		w.crm.Relate(org, at, rel)
	}
}

func (e change) do(h *caller) error {
	w := h.w
	c, ok := e.happen(w)
	if !ok {
		return nil
	}
	w.count["records changed"]++
	if w.cfg.Pull {
		w.told = append(w.told, c)
		if e.tell == tellTwice {
			w.told = append(w.told, c)
		}
		return nil
	}
	w.untold = append(w.untold, c)
	switch e.tell {
	case tellLate:
		return nil
	case tellTwice:
		if err := h.tell(); err != nil {
			return err
		}
		w.untold = append(w.untold, c)
		return nil // the second time is late
	}
	return h.tell()
}

// happen changes the CRM and the truth, and returns what is to be told. Not ok: it can't happen.
func (e change) happen(w *world) (c emailint.RecordChange, ok bool) {
	c = emailint.RecordChange{Kind: e.kind, Record: e.record}
	r := w.living(e.record)
	if (r == nil) != (e.kind == emailint.RecordCreated) {
		return c, false
	}
	switch e.kind {
	case emailint.RecordCreated:
		last := w.record(e.record)
		if last != nil && (last.Into != nil || w.cfg.Pull || len(w.untold) > 0) {
			return c, false // an id is made anew only after the host told that it was deleted
		}
		r = &Record{Record: e.record, Since: w.clock}
		if r.Kind == linker.Opportunity {
			r.Opened = day0.Add(e.opened)
			if e.closed != 0 {
				r.Closed = day0.Add(e.closed)
			}
		}
		var keys []message.Key
		for _, k := range e.keys {
			keys = append(keys, key(k))
		}
		w.crm.Add(org, r.Record, r.ID, keys...)
		r.Keys, r.Had = slices.Clone(e.keys), slices.Clone(e.keys)
		for _, of := range e.of {
			if w.living(of) != nil {
				r.Of = append(r.Of, of)
				w.hangs(r, of, true)
			}
		}
		w.truth.Records = append(w.truth.Records, r)
		c.Addresses, c.Related = r.Keys, slices.Clone(r.Of)
	case emailint.AddressesChanged:
		if slices.Contains(r.Keys, e.key) != e.gone {
			return c, false
		}
		if e.gone {
			w.crm.RemoveKey(org, r.Record, key(e.key))
			r.Keys = slices.DeleteFunc(slices.Clone(r.Keys), func(k string) bool { return k == e.key })
		} else {
			w.crm.AddKey(org, r.Record, key(e.key))
			r.Keys, r.Had = append(slices.Clone(r.Keys), e.key), append(r.Had, e.key)
		}
		c.Addresses = []string{e.key}
	case emailint.RelationChanged:
		of := e.of[0]
		if w.living(of) == nil || slices.Contains(r.Of, of) != e.gone || r.Kind == linker.Contact && !e.gone && len(r.Of) > 0 {
			return c, false
		}
		r.Of = slices.DeleteFunc(slices.Clone(r.Of), func(x linker.Record) bool { return x == of })
		if !e.gone {
			r.Of = append(r.Of, of)
		}
		w.hangs(r, of, !e.gone)
		c.Related, c.Addresses = []linker.Record{of}, r.Keys
	case emailint.DealChanged:
		if r.Kind != linker.Opportunity {
			return c, false
		}
		r.Opened, r.Closed = day0.Add(e.opened), time.Time{}
		if e.closed != 0 {
			r.Closed = day0.Add(e.closed)
		}
		w.crm.Date(org, r.Record, r.Opened, r.Closed)
		c.Related = slices.Clone(r.Of)
	case emailint.RecordDeleted:
		c.Addresses, c.Related = r.Keys, slices.Concat(r.Of, w.hanging(r.Record))
		w.gone(r)
		r.Deleted, r.Keys, r.Of = true, nil, nil
		for _, x := range w.truth.Records {
			x.Of = slices.DeleteFunc(slices.Clone(x.Of), func(of linker.Record) bool { return of == r.Record })
		}
		w.crm.Delete(org, r.Record)
	case emailint.RecordMerged:
		into := w.living(e.into)
		if into == nil || into == r || into.Kind != r.Kind {
			return c, false
		}
		c.Into, c.Addresses, c.Related = into.Record, r.Keys, slices.Concat(r.Of, w.hanging(r.Record))
		w.gone(r)
		for _, k := range r.Keys {
			if !slices.Contains(into.Keys, k) {
				into.Keys, into.Had = append(slices.Clone(into.Keys), k), append(into.Had, k)
			}
		}
		if into.Kind == linker.Contact && len(into.Of) == 0 || into.Kind == linker.Opportunity {
			for _, of := range r.Of {
				if !slices.Contains(into.Of, of) {
					into.Of = append(slices.Clone(into.Of), of)
				}
			}
		}
		r.Into, r.Keys, r.Of = into, nil, nil
		for _, x := range w.truth.Records {
			if i := slices.Index(x.Of, r.Record); i >= 0 {
				x.Of = slices.DeleteFunc(slices.Clone(x.Of), func(of linker.Record) bool { return of == r.Record || of == into.Record })
				x.Of = slices.Insert(x.Of, min(i, len(x.Of)), into.Record)
			}
		}
		w.crm.Merge(org, r.Record, into.Record)
		w.crm.Date(org, into.Record, into.Opened, into.Closed)
		w.settle()
	}
	return c, true
}

// settle brings the relations of the CRM to what the truth says, where a merge left a choice.
func (w *world) settle() {
	for _, r := range w.truth.Records {
		if now(r) != r || r.Kind != linker.Contact {
			continue
		}
		for _, a := range w.truth.Records {
			if a.Kind == linker.Account && !slices.Contains(r.Of, a.Record) {
				w.crm.Unrelate(org, r.Record, a.Record)
			}
		}
	}
}

// hanging returns the records that hang on one.
func (w *world) hanging(on linker.Record) (out []linker.Record) {
	for _, r := range w.truth.Records {
		if now(r) == r && slices.Contains(r.Of, on) {
			out = append(out, r.Record)
		}
	}
	return out
}

// gone notes when a record went, and of a contact that the engine made which mail of its sender was decided by then.
func (w *world) gone(r *Record) {
	r.Until = w.clock
	if !r.Created {
		return
	}
	for _, m := range w.decided() {
		if m.From == r.Address {
			r.Decided = append(r.Decided, m)
		}
	}
}

// decided returns the mails that have a row with a decided fate, each once.
func (w *world) decided() (out []*Mail) {
	for _, b := range w.boxes {
		if !b.alive() {
			continue
		}
		rows, err := w.store.Items(w.ctx, org, b.Conn, 0, 10000)
		if err != nil {
			panic(err)
		}
		for _, row := range rows {
			if !state.Fate(row.Fate).Decided() {
				continue
			}
			for _, c := range b.Copies {
				if slices.Contains(c.Items, row.Item) && !slices.Contains(out, c.Mail) {
					out = append(out, c.Mail)
				}
			}
		}
	}
	return out
}
