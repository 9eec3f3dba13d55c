package statetest

import (
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// Emails that the host had before.
var declaredCases = []testCase{
	{"Declare", "a Message-ID is declared once for each author, by the first id, and what is declared again takes the records of the last time", declare},
	{"DeclareMarks", "a declaration makes the mail due that it may be, met or not, and what is being decided stays due", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"), row("2"))
		b := h.pending(l)
		h.declare("own-1", "id-of-1", "", ada.Record)
		out := h.settle(l, b, linked(b.Rows[0]), linked(b.Rows[1]))
		h.equal("still due", out[0].StillDue && out[1].StillDue, true)
		b = h.pending(l)
		out = h.settle(l, b, linked(b.Rows[0]), linked(b.Rows[1]))
		h.equal("due", out[0].StillDue || out[1].StillDue, false)
		h.declare("own-2", "id-of-2", "", ada.Record)
		b = h.pending(l)
		h.equal("due", len(b.Rows), 1)
		h.equal("it is", string(b.Rows[0].Item), "2")
		h.settle(l, b, linked(b.Rows[0]))
		h.declare("own-2", "id-of-2", "", ada.Record)
		h.equal("said twice", len(h.pending(l).Rows), 0)
	}},
	{"DeclaredOnce", "a declared email is one Email, whoever comes second, and what was decided otherwise is decided again", func(h *house) {
		c, d := h.connect("u"), h.connect("v")
		l, m := h.claim(c.ID), h.claim(d.ID)
		h.declare("own-1", "id-of-1", "", ada.Record)
		h.page(l, row("1"))
		r := row("2")
		r.MessageID = "id-of-1"
		h.page(m, r)
		b, n := h.pending(l), h.pending(m)
		as := func(r state.Row, finger state.Hash) state.Settlement {
			th := h.thread(state.ThreadQuery{Row: r.ID, MessageID: r.MessageID, Fingerprint: finger})
			h.equal("declared", len(th.Declared), 1)
			s := linked(r, linker.Link{Record: ada.Record, By: linker.ByHost})
			s.Email.Fingerprint, s.Email.Declared = finger, th.Declared[0].ID
			return s
		}
		first, second := as(b.Rows[0], "f1"), as(n.Rows[0], "f2") // both ask before either is settled
		out := h.settle(l, b, first)
		h.equal("first", out[0].StillDue, false)
		e, err := h.s.Email(h.Context(), org, out[0].Email)
		h.ok(err)
		h.equal("host id", e.HostID, "own-1")
		again := h.settle(m, n, second)
		h.equal("second", again[0], state.Settled{Row: n.Rows[0].ID, StillDue: true})
		n = h.pending(m)
		h.equal("declared", len(h.thread(state.ThreadQuery{Row: n.Rows[0].ID, MessageID: "id-of-1", Fingerprint: "f2"}).Declared), 0)
		h.equal("of its own", len(h.thread(state.ThreadQuery{Row: b.Rows[0].ID, Email: e.ID, MessageID: "id-of-1", Fingerprint: "f1"}).Declared), 1)
		h.met(1, 1)
		// The same mail in the other mailbox is that Email.
		r = row("3")
		r.MessageID = "id-of-1"
		h.page(m, r)
		n = h.pending(m)
		copied := as(n.Rows[1], "f1")
		out = h.settle(m, n, copied)
		h.equal("email", out[0].Email, e.ID)
		h.equal("due", out[0].StillDue, false)
	}},
	{"DeclaredStays", "what an Email was found to be it stays: a second email of the host's, declared of the same Message-ID and its author, is none for it", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.declare("own-1", "id-of-1", "", ada.Record)
		e := h.declared1(l, "1")
		h.declare("own-2", "id-of-1", "eve", bob.Record)
		b := h.pending(l)
		ds := h.thread(state.ThreadQuery{Row: b.Rows[0].ID, Email: e.ID, MessageID: "id-of-1", Fingerprint: e.Fingerprint}).Declared
		h.equal("declared", len(ds), 1)
		h.equal("as", ds[0].HostID, "own-1")
		// Who asked when it was none yet is asked again.
		other := h.thread(state.ThreadQuery{MessageID: "id-of-1", Fingerprint: "other"}).Declared
		h.equal("of another mail", len(other), 1)
		s := linked(b.Rows[0], linker.Link{Record: bob.Record, By: linker.ByHost})
		s.Email.Fingerprint, s.Email.Declared = e.Fingerprint, other[0].ID
		out := h.settle(l, b, s)
		h.equal("due", out[0].StillDue, true)
		e, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("links", e.Links[0].Record, ada.Record)
	}},
	{"DeclaredTwice", "of two declarations of one email, by two Message-IDs of its mail, the first counts by whatever it is asked", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.declare("own-1", "id-of-2", "", bob.Record)
		h.declare("own-1", "id-of-1", "", ada.Record)
		h.page(l, row("1"))
		b := h.pending(l)
		s := linked(b.Rows[0], ada)
		s.Email.Aliases = []state.Hash{"id-of-2"}
		e := h.settle(l, b, s)[0].Email
		for _, id := range []state.Hash{"id-of-1", "id-of-2"} {
			ds := h.thread(state.ThreadQuery{Email: e, MessageID: id, Fingerprint: "finger-id-of-1"}).Declared
			h.equal("declared", len(ds), 2)
			h.equal("the first", ds[0].Records[0], bob.Record)
		}
	}},
	{"DeclaredLate", "an Email that was saved before it was declared is delivered in full, with the host's id", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		h.deliver(e)
		h.equal("undelivered", len(h.undelivered()), 0)
		h.declare("own-1", "id-of-1", "", bob.Record)
		b := h.pending(l)
		s := linked(b.Rows[0], ada, linker.Link{Record: bob.Record, By: linker.ByHost})
		s.Email.Declared = h.thread(state.ThreadQuery{Row: b.Rows[0].ID, Email: e.ID, MessageID: "id-of-1", Fingerprint: e.Fingerprint}).Declared[0].ID
		h.settle(l, b, s)
		es := h.undelivered()
		h.equal("undelivered", len(es), 1)
		h.equal("full", es[0].Full, true)
		h.equal("host id", es[0].HostID, "own-1")
	}},
	{"DeclaredErased", "what is erased gives the declaration back, and is told with the host's id", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		h.declare("own-1", "id-of-1", "", ada.Record)
		e := h.declared1(l, "1")
		h.deliver(e)
		h.met(1, 1)
		_, err := h.s.Erase(h.Context(), org, c.ID, start, state.Change{}, 10)
		h.ok(err)
		h.met(1, 0)
		es := h.undelivered()
		h.equal("undelivered", len(es), 1)
		h.equal("host id", es[0].HostID, "own-1")
		h.equal("links", len(es[0].Effective()), 0)
		l = h.claim(h.connect("u").ID)
		anew := h.declared1(l, "1")
		h.equal("host id", anew.HostID, "own-1")
		h.equal("another Email", anew.ID != e.ID, true)
	}},
	{"DeclaredMerged", "records of declarations follow merges, and go when they are deleted", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.declare("own-1", "id-of-1", "", ada.Record, bob.Record)
		h.declare("own-2", "id-of-2", "", ada.Record)
		e := h.declared1(l, "1")
		rows := h.change(state.Change{Merged: []state.Merge{{From: ada.Record, To: bob.Record}}})
		h.equal("rows", rows > 0, true)
		records := func(id state.Hash, email int64, want ...linker.Record) {
			h.Helper()
			ds := h.thread(state.ThreadQuery{Email: email, MessageID: id}).Declared
			h.equal("declared", len(ds), 1)
			if !slices.Equal(ds[0].Records, want) {
				h.Fatalf("%s has %v, want %v", id, ds[0].Records, want)
			}
		}
		records("id-of-1", e.ID, bob.Record)
		records("id-of-2", 0, bob.Record)
		h.change(state.Change{Merged: []state.Merge{{From: bob.Record}}})
		records("id-of-1", e.ID)
		records("id-of-2", 0)
	}},
	{"DeclaredKept", "a deletion in the mailbox takes nothing from a declared email", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		h.declare("own-1", "id-of-1", "", ada.Record)
		e := h.declared1(l, "1")
		h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{"1"}, true))
		e, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("holders", len(e.Holders), 1)
	}},
}

func declare(h *house) {
	other := "other"
	say := func(of string, d state.Declared, standing string, added int) {
		h.Helper()
		s, n, err := h.s.Declare(h.Context(), of, []state.Declared{d})
		h.ok(err)
		h.equal("standing", s[0], standing)
		h.equal("added", n, added)
	}
	numbered := func() int64 {
		n, err := h.s.ChangeNumber(h.Context(), org)
		h.ok(err)
		return n
	}
	say(org, state.Declared{HostID: "own-1", MessageID: "a", Records: []linker.Record{bob.Record, ada.Record, bob.Record}}, "own-1", 1)
	n := numbered()
	say(org, state.Declared{HostID: "own-1", MessageID: "a", Records: []linker.Record{ada.Record, bob.Record}}, "own-1", 0)
	say(org, state.Declared{HostID: "own-2", MessageID: "a", Records: []linker.Record{ada.Record}}, "own-1", 0)
	h.equal("change number", numbered(), n)
	say(org, state.Declared{HostID: "own-2", MessageID: "a", Author: "eve"}, "own-2", 1)
	say(other, state.Declared{HostID: "own-1", MessageID: "a"}, "own-1", 1)
	h.met(2, 0)
	ds := h.thread(state.ThreadQuery{MessageID: "a", Fingerprint: "f"}).Declared
	h.equal("declared", len(ds), 2)
	h.equal("records", slices.Equal(ds[0].Records, []linker.Record{ada.Record, bob.Record}), true)
	h.equal("author", string(ds[0].Author+" "+ds[1].Author), " eve")
	say(org, state.Declared{HostID: "own-1", MessageID: "a", Records: []linker.Record{bob.Record}}, "own-1", 0)
	h.equal("change number", numbered(), n+2)
	ds = h.thread(state.ThreadQuery{MessageID: "a", Fingerprint: "f"}).Declared
	h.equal("records", slices.Equal(ds[0].Records, []linker.Record{bob.Record}), true)
	h.equal("of no other", len(h.thread(state.ThreadQuery{MessageID: "b", Fingerprint: "f"}).Declared), 0)
}

func (h *house) declare(host string, id, author state.Hash, rs ...linker.Record) {
	h.Helper()
	_, _, err := h.s.Declare(h.Context(), org, []state.Declared{{HostID: host, MessageID: id, Author: author, Records: rs}})
	h.ok(err)
}

func (h *house) met(declared, met int) {
	h.Helper()
	n, err := h.s.Declared(h.Context(), org)
	h.ok(err)
	h.equal("declared and met", n, state.DeclaredCounts{Declared: declared, Met: met})
}

// declared1 is import1 of a declared mail, by its record alone.
func (h *house) declared1(l state.Lease, item string) state.Email {
	h.Helper()
	h.page(l, row(item))
	b := h.pending(l)
	h.equal("pending", len(b.Rows), 1)
	r := b.Rows[0]
	ds := h.thread(state.ThreadQuery{Row: r.ID, MessageID: r.MessageID, Fingerprint: "finger-" + r.MessageID}).Declared
	h.equal("declared", len(ds), 1)
	s := linked(r, linker.Link{Record: ds[0].Records[0], By: linker.ByHost})
	s.Email.Declared = ds[0].ID
	out := h.settle(l, b, s)
	e, err := h.s.Email(h.Context(), org, out[0].Email)
	h.ok(err)
	return e
}
