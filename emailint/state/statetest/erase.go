package statetest

import (
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// erase erases a mailbox in pages, each of which is a transaction of its own.
func (h *house) erase(connection int64, limit int) state.Erasure {
	h.Helper()
	for {
		e, err := h.s.Erase(h.Context(), org, connection, start, state.Change{}, limit)
		h.ok(err)
		if e.Erased {
			return e
		}
	}
}

// ranked decides the only due row of a mailbox by a copy of that rank, with its record for an envelope.
func (h *house) ranked(l state.Lease, rank int64, link linker.Link) state.Settled {
	h.Helper()
	b := h.pending(l)
	h.equal("pending", len(b.Rows), 1)
	s := linked(b.Rows[0], link)
	s.Email.Rank, s.Email.Envelope, s.Email.EnvelopeTag = rank, []byte(link.ID), link.ID
	return h.settle(l, b, s)[0]
}

func (h *house) email(id int64) state.Email {
	h.Helper()
	e, err := h.s.Email(h.Context(), org, id)
	h.ok(err)
	return e
}

// unheld returns what is delivered for nobody.
func (h *house) unheld() []state.Email {
	h.Helper()
	es, err := h.s.Undelivered(h.Context(), org, state.Nobody, start, 100)
	h.ok(err)
	return es
}

// inherited returns what a row inherits.
func (h *house) inherited(r state.Row) []linker.Link {
	h.Helper()
	return h.thread(state.ThreadQuery{Connection: r.Connection, Row: r.ID, Email: r.Email, MessageID: r.MessageID, Cites: r.Cites}).Links
}

// items returns all rows of a mailbox.
func (h *house) items(connection int64) []state.Row {
	h.Helper()
	rows, err := h.s.Items(h.Context(), org, connection, 0, 100)
	h.ok(err)
	return rows
}

var eraseCases = []testCase{
	{"EraseOneOfTwo", "an email that another mailbox holds stays, with what people said of it, and that mailbox's own copy decides from then on", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.page(u, row("1"))
		id := h.ranked(u, 2, ada).Email
		h.page(v, row("1"))
		h.equal("the lower stays due", h.ranked(v, 1, bob).StillDue, true)
		h.equal("decided by the higher it is settled", h.ranked(v, 2, ada).StillDue, false)
		carl := linker.Link{Record: linker.Record{Kind: linker.Contact, ID: "carl"}}
		h.correct(id, carl)
		h.ranked(v, 2, ada)
		had := h.email(id)
		h.deliver(had)
		wake, err := h.s.Connection(h.Context(), org, v.Connection)
		h.ok(err)

		r := h.erase(u.Connection, 1)
		h.equal("rows", r.Items, 1)
		h.equal("released", r.Released, 1)
		h.equal("removed", r.Removed+r.Outstanding, 0)
		h.equal("done", r.Done.Equal(start), true)
		e := h.email(id)
		h.equal("holders", slices.Equal(e.Holders, []int64{v.Connection}), true)
		h.equal("raised", e.Revision > had.Revision, true)
		h.equal("a person's link", e.Person[0].Record, carl.Record)
		h.equal("orphaned", e.Orphaned, true)
		h.equal("its envelope", string(e.Envelope), ada.ID)
		woken, err := h.s.Connection(h.Context(), org, v.Connection)
		h.ok(err)
		h.equal("woken", woken.Wake > wake.Wake, true)

		b := h.pending(v)
		h.equal("due", len(b.Rows), 1)
		h.equal("to be read again", b.Rows[0].Reread, true)
		h.equal("settled", h.ranked(v, 1, bob).StillDue, false)
		e = h.email(id)
		h.equal("links", len(e.Links) == 1 && e.Links[0].Record == bob.Record, true)
		h.equal("its own envelope", string(e.Envelope), bob.ID)
		h.equal("orphaned", e.Orphaned, false)
		h.equal("compared", h.items(v.Connection)[0].Reread, false)
	}},
	{"EraseBestIsLeft", "of several copies left behind each is read again, and the best decides in whatever order they come", func(h *house) {
		for _, first := range []int{0, 1} {
			name := string(rune('a' + first))
			u := h.claim(h.connect("u" + name).ID)
			others := []state.Lease{h.claim(h.connect("v" + name).ID), h.claim(h.connect("w" + name).ID)}
			ranks, links := []int64{2, 1}, []linker.Link{bob, ada}
			h.page(u, row(name))
			id := h.ranked(u, 3, ada).Email
			for _, l := range others {
				h.page(l, row(name))
				h.ranked(l, 3, ada)
			}
			h.erase(u.Connection, 10)
			for _, i := range []int{first, 1 - first} {
				if due := h.ranked(others[i], ranks[i], links[i]).StillDue; due {
					h.ranked(others[i], 2, bob) // by the envelope that stands
				}
			}
			e := h.email(id)
			h.equal("links", e.Links[0].Record, bob.Record)
			h.equal("envelope", string(e.Envelope), bob.ID)
			for _, l := range others {
				for _, r := range h.pending(l).Rows {
					h.ranked(l, 2, bob)
					h.equal("read once", r.Reread, false)
				}
				h.equal("due", len(h.pending(l).Rows), 0)
			}
		}
	}},
	{"SpokenCopyIsCompared", "a copy that links to nothing, of a mail of which a person said something, is compared with the one whose envelope the email has", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.page(u, row("1"))
		id := h.ranked(u, 1, ada).Email
		h.ok(h.s.Correct(h.Context(), org, state.Correction{Email: id, Restore: true}))
		h.page(v, row("1"))
		b := h.pending(v)
		s := linked(b.Rows[0], bob)
		s.Fate, s.Email.Links, s.Email.Rank, s.Email.Envelope, s.Email.EnvelopeTag = state.FateUnmatched, nil, 2, nil, ""
		h.equal("still due", h.settle(v, b, s)[0].StillDue, true)
		h.equal("with the links of the other meanwhile", len(h.email(id).Links), 1)
		b = h.pending(v)
		h.equal("to be read again", len(b.Rows) == 1 && b.Rows[0].Reread, true)
		s = linked(b.Rows[0], bob)
		s.Fate, s.Email.Links, s.Email.Rank, s.Email.Envelope, s.Email.EnvelopeTag = state.FateUnmatched, nil, 2, []byte("better"), "better"
		h.equal("compared", h.settle(v, b, s)[0].StillDue, false)
		h.equal("the better envelope", string(h.email(id).Envelope), "better")
		h.equal("without links", len(h.email(id).Links), 0)
		h.equal("by which the other is decided", len(h.pending(u).Rows), 1)
	}},
	{"EraseMeanwhile", "a decision by the envelope of a mailbox that is erased meanwhile is not the last one", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.page(u, row("1"))
		id := h.ranked(u, 2, ada).Email
		h.page(v, row("1"))
		h.equal("attached", h.ranked(v, 1, bob).Email, id)
		b := h.pending(v)
		h.equal("by the envelope", b.Rows[0].Reread, false)
		h.erase(u.Connection, 10)
		s := linked(b.Rows[0], ada)
		s.Email.Rank, s.Email.Envelope, s.Email.EnvelopeTag = 2, []byte(ada.ID), ada.ID
		h.equal("still due", h.settle(v, b, s)[0].StillDue, true)
		h.equal("to be read again", h.pending(v).Rows[0].Reread, true)
	}},
	{"EraseBestLinksNothing", "a copy left behind that is the best and links to nothing leaves the email without links, in whatever order they come", func(h *house) {
		for _, first := range []int{0, 1} {
			name := string(rune('a' + first))
			u := h.claim(h.connect("u" + name).ID)
			others := []state.Lease{h.claim(h.connect("v" + name).ID), h.claim(h.connect("w" + name).ID)}
			h.page(u, row(name))
			id := h.ranked(u, 3, ada).Email
			for _, l := range others {
				h.page(l, row(name))
				h.ranked(l, 3, ada)
			}
			h.erase(u.Connection, 10)
			decide := func(l state.Lease, rank int64, envelope string, ls ...linker.Link) bool {
				b := h.pending(l)
				if len(b.Rows) == 0 {
					return false
				}
				s := linked(b.Rows[0], ada)
				s.Email.Rank, s.Email.Envelope, s.Email.EnvelopeTag, s.Email.Links = rank, []byte(envelope), envelope, ls
				return h.settle(l, b, s)[0].StillDue
			}
			for _, i := range []int{first, 1 - first} {
				if i == 0 {
					decide(others[0], 2, "best")
				} else {
					decide(others[1], 1, "other", bob)
				}
			}
			for _, l := range others {
				h.equal("still due", decide(l, 2, "best"), false)
			}
			h.equal("links", len(h.email(id).Links), 0)
			h.equal("envelope", string(h.email(id).Envelope), "best")
		}
	}},
	{"EraseOnlyEnvelope", "where no other copy can be read the envelope stays, and any copy that comes later outranks it", func(h *house) {
		u, v, w := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID), h.claim(h.connect("w").ID)
		h.page(u, row("1"))
		id := h.ranked(u, 5, ada).Email
		h.page(v, row("1"))
		h.ranked(v, 5, ada)
		h.erase(u.Connection, 10)
		h.equal("settled", h.ranked(v, state.RankKept, ada).StillDue, false)
		h.equal("orphaned", h.email(id).Orphaned, true)
		h.page(w, row("1"))
		h.equal("settled", h.ranked(w, -1<<40, bob).StillDue, false)
		e := h.email(id)
		h.equal("orphaned", e.Orphaned, false)
		h.equal("links", e.Links[0].Record, bob.Record)
		h.equal("the first is decided by it", len(h.pending(v).Rows), 1)
		h.equal("settled", h.ranked(v, -1<<40, bob).StillDue, false)
	}},
	{"EraseLast", "an email that nobody holds leaves nothing but id and revision, and is told as gone until that is acknowledged (rules 2 and 3)", func(h *house) {
		u := h.claim(h.connect("u").ID)
		v := h.claim(h.connect("v").ID)
		e := h.import1(u, "1", ada)
		h.correct(e.ID, bob)
		h.page(u, row("2"), row("3")) // never told of, and unmatched
		b := h.pending(u)
		never := int64(0)
		for _, r := range b.Rows {
			s := linked(r)
			if r.Item == "2" {
				s = linked(r, ada)
			}
			if out := h.settle(u, b, s)[0]; r.Item == "2" {
				never = out.Email
			}
		}
		h.deliver(h.email(e.ID))
		had := h.email(e.ID)

		r := h.erase(u.Connection, 10)
		h.equal("rows", r.Items, 3)
		h.equal("released", r.Released, 0)
		h.equal("removed", r.Removed, 0)
		h.equal("outstanding", r.Outstanding, 1)
		h.equal("done", r.Done.IsZero(), true)
		_, err := h.s.Email(h.Context(), org, never)
		h.is(err, state.ErrNotFound)
		now := h.email(e.ID)
		h.equal("raised", now.Revision > had.Revision, true)
		h.equal("saved", now.Saved, had.Saved)
		h.equal("links", len(now.Links)+len(now.Person)+len(now.Holders)+len(now.Aliases), 0)
		h.equal("hashes and envelope", string(now.MessageID)+string(now.Fingerprint)+string(now.Envelope), "")
		rows, es, err := h.s.Lookup(h.Context(), org, "id-of-1")
		h.ok(err)
		h.equal("found", len(rows)+len(es), 0)

		open, err := h.s.Erasures(h.Context())
		h.ok(err)
		h.equal("open", len(open) == 1 && open[0] == r, true)
		mine, err := h.s.Undelivered(h.Context(), org, v.Connection, start, 10)
		h.ok(err)
		h.equal("anybody may tell", len(mine) == 1 && mine[0].ID == e.ID, true)
		h.equal("so may nobody", len(h.unheld()), 1)
		h.deliver(h.unheld()[0])
		h.equal("undelivered", len(h.undelivered()), 0)
		r, err = h.s.Erasure(h.Context(), org, u.Connection)
		h.ok(err)
		h.equal("removed", r.Removed, 1)
		h.equal("outstanding", r.Outstanding, 0)
		later, err := h.s.Erase(h.Context(), org, u.Connection, start.Add(time.Hour), state.Change{}, 10)
		h.ok(err)
		h.equal("done", later.Done.Equal(start.Add(time.Hour)), true)
		again, err := h.s.Erase(h.Context(), org, u.Connection, start.Add(2*time.Hour), state.Change{}, 10)
		h.ok(err)
		h.equal("once", again, later)
		open, err = h.s.Erasures(h.Context())
		h.ok(err)
		h.equal("open", len(open), 0)

		// The same mail that comes later is another email.
		h.equal("new", h.import1(v, "1", ada).ID > e.ID, true)
		_, err = h.s.Erase(h.Context(), org, 99, start, state.Change{}, 10)
		h.is(err, state.ErrNotFound)
		_, err = h.s.Erase(h.Context(), "another organisation", v.Connection, start, state.Change{}, 10)
		h.is(err, state.ErrNotFound)
		_, err = h.s.Erasure(h.Context(), "another organisation", u.Connection)
		h.is(err, state.ErrNotFound)
	}},
	{"EraseAttempted", "an email whose first delivery had no answer is told as gone", func(h *house) {
		u := h.claim(h.connect("u").ID)
		e := h.import1(u, "1", ada)
		_, err := h.s.Attempt(h.Context(), u, []state.Delivery{{ID: e.ID, Revision: e.Revision}})
		h.ok(err)
		h.equal("outstanding", h.erase(u.Connection, 10).Outstanding, 1)
		// The answer comes late: it is an older revision that was acknowledged.
		h.ok(h.s.Done(h.Context(), org, []state.Delivery{{ID: e.ID, Revision: e.Revision}}))
		h.equal("undelivered", len(h.unheld()), 1)
	}},
	{"EraseUnlinked", "an email that was told as empty before is not told again", func(h *house) {
		u := h.claim(h.connect("u").ID)
		e := h.import1(u, "1", ada)
		h.deliver(e)
		h.change(state.Change{Records: []linker.Record{ada.Record}})
		b := h.pending(u)
		h.settle(u, b, linked(b.Rows[0]))
		h.deliver(h.email(e.ID))
		had := h.email(e.ID)
		r := h.erase(u.Connection, 10)
		h.equal("outstanding", r.Outstanding+r.Removed, 0)
		h.equal("revision", h.email(e.ID).Revision, had.Revision)
		h.equal("hashes", len(h.email(e.ID).Aliases), 0)
	}},
	{"EraseWalkedThrough", "a mail whose thread led through an erased one is decided again, and so are those below it", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.import1(v, "1", ada)
		h.page(u, row("2", "id-of-1"))
		b := h.pending(u)
		h.settle(u, b, linked(b.Rows[0]))
		h.page(v, row("3", "id-of-2"), row("4", "id-of-3"), row("5", "id-of-1"))
		for len(h.pending(v).Rows) > 0 {
			b = h.pending(v)
			for _, r := range b.Rows {
				h.settle(v, b, linked(r, byPast))
			}
		}
		rows := h.items(v.Connection)
		for _, r := range rows[1:] {
			h.equal("inherits", len(h.inherited(r)), 1)
		}
		h.erase(u.Connection, 10)
		due := map[provider.ItemID]bool{}
		for _, r := range h.pending(v).Rows {
			due[r.Item] = true
		}
		h.equal("due", len(due) == 2 && due["3"] && due["4"], true)
		h.equal("inherits", len(h.inherited(rows[1])), 0)
	}},
	{"EraseCopyOfALink", "a mail whose thread leads on through another copy is left alone", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.import1(v, "1", ada)
		for _, l := range []state.Lease{u, v} {
			h.page(l, row("2", "id-of-1"))
			b := h.pending(l)
			h.settle(l, b, linked(b.Rows[0]))
		}
		h.page(v, row("3", "id-of-2"))
		b := h.pending(v)
		h.settle(v, b, linked(b.Rows[0], byPast))
		h.erase(u.Connection, 10)
		h.equal("due", len(h.pending(v).Rows), 0)
		h.equal("inherits", len(h.inherited(h.items(v.Connection)[2])), 1)
	}},
	{"EraseFences", "who is at work on an erased mailbox commits nothing, nobody finds it, and its addresses are a change", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		e := h.import1(v, "1", ada)
		h.page(u, row("2"), row("3"))
		b := h.pending(u)
		number, err := h.s.ChangeNumber(h.Context(), org)
		h.ok(err)
		r, err := h.s.Erase(h.Context(), org, u.Connection, start, state.Change{Participants: []state.Hash{"hash-of-ada"}}, 1)
		h.ok(err)
		h.equal("erased", r.Erased, false)
		_, err = h.s.Settle(h.Context(), u, b, []state.Settlement{linked(b.Rows[0], ada)})
		h.is(err, state.ErrStale)
		_, err = h.s.CommitPage(h.Context(), u, state.Page{Rows: []state.Row{row("4")}, Cursor: []byte("x")})
		h.is(err, state.ErrStale)
		_, err = h.s.Renew(h.Context(), u, start, time.Minute)
		h.is(err, state.ErrStale)
		h.is(h.s.Release(h.Context(), u, state.Released{State: state.Connected}), state.ErrStale)
		_, err = h.s.ClaimConnection(h.Context(), org, u.Connection, "w", start.Add(time.Hour), time.Minute)
		h.is(err, state.ErrNoneDue)
		h.is(h.s.SetState(h.Context(), org, u.Connection, state.Connected, ""), state.ErrNotFound)
		_, err = h.s.SetCredential(h.Context(), org, u.Connection, 1, []byte("x"))
		h.is(err, state.ErrNotFound)
		c, err := h.s.Connection(h.Context(), org, u.Connection)
		h.ok(err)
		h.equal("state", c.State, state.Erasing)
		h.equal("credential", len(c.Credential), 0)
		h.ok(h.s.Wake(h.Context(), org, u.Connection))
		h.ok(h.s.Release(h.Context(), v, state.Released{Served: true, NextDue: start.Add(24 * time.Hour)}))
		v, err = h.s.Claim(h.Context(), "w", start.Add(25*time.Hour), time.Minute)
		h.ok(err)
		h.equal("another", v.Connection, e.Holders[0])
		_, err = h.s.Claim(h.Context(), "w", start.Add(25*time.Hour), time.Minute)
		h.is(err, state.ErrNoneDue)
		now, err := h.s.ChangeNumber(h.Context(), org)
		h.ok(err)
		h.equal("change", now, number+1)
		_, _, err = h.s.Spread(h.Context(), org, 100)
		h.ok(err)
		h.equal("due", len(h.pending(v).Rows), 1)

		h.erase(u.Connection, 1)
		_, err = h.s.Connection(h.Context(), org, u.Connection)
		h.is(err, state.ErrNotFound)
		_, err = h.s.Renew(h.Context(), u, start, time.Minute)
		h.is(err, state.ErrStale)
		n, err := h.s.Counts(h.Context(), org, u.Connection)
		h.ok(err)
		h.equal("rows", n.Total, 0)
		later, err := h.s.ChangeNumber(h.Context(), org)
		h.ok(err)
		h.equal("one change", later, now)
	}},
	{"EraseInPages", "a crash between two pages costs nothing: calling again goes on", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		for _, item := range []string{"1", "2", "3", "4", "5"} {
			h.deliver(h.import1(u, item, ada))
		}
		h.import1(v, "3", ada)
		for n := 1; n <= 5; n++ {
			r, err := h.s.Erase(h.Context(), org, u.Connection, start, state.Change{}, 1)
			h.ok(err)
			h.equal("rows", r.Items, n)
			h.equal("left", len(h.items(u.Connection)), 5-n)
			c, err := h.s.Connection(h.Context(), org, u.Connection)
			h.ok(err)
			h.equal("state", c.State, state.Erasing)
		}
		r := h.erase(u.Connection, 1)
		h.equal("rows", r.Items, 5)
		h.equal("released", r.Released, 1)
		h.equal("outstanding", r.Outstanding, 4)
	}},
	{"EraseReconnected", "the same mailbox connected anew is another one, while the former is erased and later", func(h *house) {
		u := h.claim(h.connect("u").ID)
		old := h.import1(u, "1", ada)
		h.page(u, row("2"))
		h.deliver(old)
		_, err := h.s.Erase(h.Context(), org, u.Connection, start, state.Change{}, 1)
		h.ok(err)
		c := h.connect("u")
		h.equal("another", c.ID != u.Connection, true)
		h.equal("reconnected", h.connect("u").ID, c.ID)
		l := h.claim(c.ID)
		e := h.import1(l, "1", ada)
		h.equal("another email", e.ID != old.ID, true)
		h.erase(u.Connection, 1)
		now := h.email(e.ID)
		h.equal("holders", slices.Equal(now.Holders, []int64{c.ID}), true)
		h.equal("revision", now.Revision, e.Revision)
		h.equal("rows", len(h.items(c.ID)), 1)
	}},
	{"EraseOutbox", "nothing is sent from an erased mailbox any more, and what was sent goes with it", func(h *house) {
		u := h.claim(h.connect("u").ID)
		add := func(key string) (state.Outgoing, error) {
			change, err := h.s.ChangeNumber(h.Context(), org)
			h.ok(err)
			o, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: key, Connection: u.Connection, Raw: []byte("mail"), Created: start, Change: change,
				Value: state.EmailValue{MessageID: state.Hash("id-" + key), Fingerprint: state.Hash("finger-" + key), Links: []linker.Link{ada}, Holder: true},
				Row:   state.Row{Fate: state.FateLinked, RulesVersion: 1}})
			return o, err
		}
		queued, err := add("queued")
		h.ok(err)
		sent, err := add("sent")
		h.ok(err)
		sending, err := add("sending")
		h.ok(err)
		_, err = h.s.OutboxStep(h.Context(), org, "sent", state.OutQueued, state.OutSent, state.Step{})
		h.ok(err)
		_, err = h.s.OutboxStep(h.Context(), org, "sending", state.OutQueued, state.OutStaged, state.Step{})
		h.ok(err)
		h.deliver(h.email(sent.Email))
		_, err = h.s.Erase(h.Context(), org, u.Connection, start, state.Change{}, 1)
		h.ok(err)
		_, err = h.s.OutboxStep(h.Context(), org, "sending", state.OutStaged, state.OutSending, state.Step{})
		h.is(err, state.ErrStale)
		_, err = add("later")
		h.is(err, state.ErrNotFound)
		r := h.erase(u.Connection, 1)
		h.equal("outstanding", r.Outstanding, 1)
		for _, key := range []string{"queued", "sent", "sending"} {
			_, err = h.s.OutboxGet(h.Context(), org, key)
			h.is(err, state.ErrNotFound)
		}
		for _, o := range []state.Outgoing{queued, sending} {
			_, err = h.s.Email(h.Context(), org, o.Email)
			h.is(err, state.ErrNotFound)
		}
		os, err := h.s.OutboxDue(h.Context(), "", start.Add(time.Hour), 10)
		h.ok(err)
		h.equal("due", len(os), 0)
	}},
	{"EraseIntents", "what rules of the inbox did to an erased mailbox is forgotten", func(h *house) {
		u := h.claim(h.connect("u").ID)
		e, i := h.archiving(u, "1")
		h.ok(h.s.IntentStep(h.Context(), u, i.ID, state.IntentPlanned, state.IntentAttempted, state.IntentStep{At: start, Note: "archiving"}))
		h.erase(u.Connection, 1)
		is, err := h.s.IntentsOf(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("intents", len(is), 0)
		log, err := h.s.IntentLog(h.Context(), org, u.Connection, 0, 10)
		h.ok(err)
		h.equal("log", len(log), 0)
	}},
	{"EraseWords", "a word on a mail outlives the erasure of all who held it only where another mailbox has shown the mail, not a namesake; one on a thread while any mail mentions it", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		said := func(l state.Lease, item string, cites ...state.Hash) []linker.Link {
			h.Helper()
			return h.thread(state.ThreadQuery{Connection: l.Connection, MessageID: state.Hash("id-of-" + item), Cites: cites,
				Fingerprint: state.Hash("finger-id-of-" + item)}).Words
		}
		shown, alone := h.import1(u, "1", ada), h.import1(u, "2", ada)
		beside := row("8") // another mail, with that Message-ID
		beside.MessageID, beside.Fingerprint = "id-of-1", "finger-of-another"
		h.page(v, row("1"), beside) // not decided yet
		namesake := h.import1(u, "6", ada)
		other := row("7") // another mail, with that Message-ID
		other.MessageID, other.Fingerprint = "id-of-6", "finger-of-another"
		h.page(v, other)
		h.correct(shown.ID, bob)
		h.correct(alone.ID, bob)
		h.correct(namesake.ID, bob)
		h.page(u, row("4", "id-of-3"))
		h.page(v, row("5", "id-of-4"))
		h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "id-of-4", Thread: true, Links: []linker.Link{bob}})) // kept on 3, which nobody has
		h.equal("said", len(said(v, "5", "id-of-4")), 1)
		h.erase(u.Connection, 1)
		h.equal("shown", len(said(v, "1")), 1)
		h.equal("of a namesake that is shown, too", len(h.thread(state.ThreadQuery{Connection: v.Connection, MessageID: "id-of-1", Fingerprint: "finger-of-another"}).Words), 0)
		h.equal("alone", len(said(v, "2")), 0)
		h.equal("of a namesake", len(said(v, "6")), 0)
		h.equal("below", len(said(v, "5", "id-of-4")), 1)
		h.ok(h.s.Learn(h.Context(), v, []state.Row{{ID: h.items(v.Connection)[0].ID, MessageID: "id-of-1", Fingerprint: "finger-of-a-third"}}))
		h.equal("of what turns out to be a namesake", len(said(v, "1")), 0)
		h.erase(v.Connection, 1)
		w := h.claim(h.connect("w").ID)
		h.equal("nobody mentions it", len(said(w, "1"))+len(said(w, "5", "id-of-4"))+len(said(w, "3")), 0)
	}},
	{"WordsOfNamesakes", "a word by a Message-ID is of the mails that have it, one on an email of that mail alone, and each goes with its mail", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		said := func(id, fingerprint string) (records string) {
			h.Helper()
			th := h.thread(state.ThreadQuery{MessageID: state.Hash(id), Fingerprint: state.Hash(fingerprint)})
			for _, w := range th.Words {
				records += w.ID + " "
			}
			h.equal("spoken", th.Spoken, len(th.Words) > 0)
			return records
		}
		of := func(item, id, fingerprint string) state.Row {
			r := row(item)
			r.MessageID, r.Fingerprint = state.Hash(id), state.Hash(fingerprint)
			return r
		}
		word := func(id string, c state.Correction) {
			h.Helper()
			c.MessageID = state.Hash(id)
			h.ok(h.s.Correct(h.Context(), org, c))
		}
		onBob, noBob := state.Correction{Links: []linker.Link{bob}}, state.Correction{Forget: []linker.Record{bob.Record}}

		h.page(u, of("1", "a", "finger-a"))
		word("a", onBob)
		h.page(v, of("1", "a", "another"))
		h.equal("its mail", said("a", "finger-a"), "bob ")
		h.equal("one that came later", said("a", "another"), "")
		word("a", state.Correction{Links: []linker.Link{ada}})
		h.equal("both are shown", said("a", "finger-a")+said("a", "another"), "bob ada ada ")
		h.equal("a third", said("a", "a third"), "")
		word("a", noBob)
		h.equal("taken back", said("a", "finger-a")+said("a", "another"), "ada ada ")

		// One of them becomes an Email.
		b := h.pending(u)
		s := linked(b.Rows[0], ada)
		s.Email.Fingerprint = "finger-a"
		id := h.settle(u, b, s)[0].Email
		h.ok(h.s.Correct(h.Context(), org, state.Correction{Email: id, Forget: []linker.Record{ada.Record}}))
		h.equal("taken back of the Email", said("a", "finger-a"), "")
		h.equal("and of no other", said("a", "another"), "ada ")
		word("a", onBob)
		h.equal("an Email and another mail", said("a", "finger-a")+said("a", "another"), "bob ada bob ")
		word("a", noBob)
		h.equal("both taken back", said("a", "finger-a")+said("a", "another"), "ada ")
		h.leave(u, "1")
		h.ok(h.s.Gone(h.Context(), u, []provider.ItemID{"1"}, true))
		h.equal("kept by another's word", len(h.email(id).Holders), 0)

		// What nobody knows enough of may be any.
		h.page(u, of("2", "b", ""))
		word("b", onBob)
		h.equal("whichever", said("b", "finger-b")+said("b", "another"), "bob bob ")
		for _, r := range h.pending(u).Rows {
			if r.MessageID == "b" {
				s = linked(r, ada)
				s.Email.Fingerprint = "finger-b"
				id = h.settle(u, h.pending(u), s)[0].Email
			}
		}
		h.ok(h.s.Correct(h.Context(), org, state.Correction{Email: id, Forget: []linker.Record{bob.Record}}))
		h.equal("taken back of one that it may be", said("b", "finger-b")+said("b", "another"), "bob ")
		word("b", noBob)
		h.equal("taken back of all", said("b", "another")+said("b", "a third"), "")
		h.page(u, of("5", "e", "finger-e"))
		word("e", onBob)
		h.equal("of a mail without a fingerprint", said("e", ""), "bob ")
		h.page(u, of("3", "c", "as listed"))
		word("c", onBob)
		rows := h.items(u.Connection)
		h.ok(h.s.Learn(h.Context(), u, []state.Row{{ID: rows[len(rows)-1].ID, MessageID: "c", Fingerprint: "as read"}}))
		h.equal("read otherwise", said("c", "as read"), "bob ")

		// What another mailbox shows is not the mail.
		h.page(u, of("4", "d", "finger-d"))
		word("d", onBob)
		h.page(v, of("4", "d", "another"))
		h.erase(u.Connection, 10)
		h.equal("erased", said("d", "finger-d")+said("d", "another"), "")
	}},
	{"OwnAddresses", "a mailbox whose addresses are new changes what is decided, one that is reconnected with the same does not", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.import1(l, "1", ada)
		connect := func(aliases ...string) (touched int) {
			_, err := h.s.AddConnection(h.Context(), state.Connection{Org: org, User: "ada", Provider: "fake", Address: "ada@x.example", Aliases: aliases},
				state.Change{Participants: []state.Hash{"hash-of-ada"}})
			h.ok(err)
			n, _, err := h.s.Spread(h.Context(), org, 100)
			h.ok(err)
			return n
		}
		h.equal("new", connect("a@x.example", "b@x.example"), 1)
		h.equal("the same", connect("b@x.example", "a@x.example"), 0)
		h.equal("another alias", connect("b@x.example"), 1)
	}},
	{"AwayHolder", "an email whose mailboxes wait for a person is delivered by others only as far as that needs no content, and when they are gone for good", func(h *house) {
		u, v := h.connect("u"), h.connect("v")
		l := h.claim(u.ID)
		e := h.import1(l, "1", ada)
		of := func(connection int64) int {
			h.Helper()
			es, err := h.s.Undelivered(h.Context(), org, connection, start, 10)
			h.ok(err)
			return len(es)
		}
		h.equal("its own", of(u.ID), 1)
		h.equal("another's", of(v.ID), 0)
		h.ok(h.s.SetState(h.Context(), org, u.ID, state.NeedsUser, "sign in"))
		h.equal("with content", of(v.ID)+of(state.Nobody), 0)
		h.ok(h.s.SetState(h.Context(), org, u.ID, state.Disconnected, ""))
		h.equal("gone for good", of(v.ID)+of(state.Nobody), 2)
		h.ok(h.s.SetState(h.Context(), org, u.ID, state.Paused, ""))
		h.deliver(e)
		h.correct(e.ID, bob)
		h.equal("without content", of(v.ID)+of(state.Nobody), 2)
	}},
	{"ReleaseOrphans", "a mailbox that is released gives its envelope away too", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.page(u, row("1"))
		id := h.ranked(u, 2, ada).Email
		h.page(v, row("1"))
		h.ranked(v, 2, ada)
		h.leave(u, "1")
		h.ok(h.s.Gone(h.Context(), u, []provider.ItemID{"1"}, true))
		h.equal("orphaned", h.email(id).Orphaned, true)
		h.equal("its own row", len(h.pending(u).Rows), 0)
		h.equal("settled", h.ranked(v, 1, bob).StillDue, false)
		h.equal("envelope", string(h.email(id).Envelope), bob.ID)
		// Should it come back, its copy is compared again.
		h.page(u, row("1"))
		h.equal("to be read again", h.pending(u).Rows[0].Reread, true)
		h.ranked(u, 2, ada)
		h.equal("envelope", string(h.email(id).Envelope), ada.ID)
		h.equal("holders", len(h.email(id).Holders), 2)
	}},
	{"BlankEnvelope", "where an envelope comes back after it was erased every copy is compared with it", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		h.page(u, row("1"))
		e := h.email(h.ranked(u, 2, ada).Email)
		h.page(v, row("1"))
		h.ranked(v, 2, ada)
		none := func() {
			h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}})
			for _, l := range []state.Lease{u, v} {
				b := h.pending(l)
				h.settle(l, b, linked(b.Rows[0]))
			}
		}
		h.deliver(h.email(e.ID))
		none()
		h.deliver(h.email(e.ID))
		h.equal("envelope", len(h.email(e.ID).Envelope), 0)
		h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}})
		h.equal("settled", h.ranked(v, 1, bob).StillDue, false)
		h.equal("to be read again", h.pending(u).Rows[0].Reread, true)
		h.equal("settled", h.ranked(u, 2, ada).StillDue, false)
		h.equal("links", h.email(e.ID).Links[0].Record, ada.Record)
	}},
}
