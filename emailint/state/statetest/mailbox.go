package statetest

import (
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// again ends a lease and takes the next one.
func (h *house) again(l state.Lease) state.Lease {
	h.Helper()
	h.ok(h.s.Release(h.Context(), l, state.Released{}))
	return h.claim(l.Connection)
}

func (h *house) leavers(l state.Lease, now time.Time) []state.Row {
	h.Helper()
	rows, err := h.s.Leavers(h.Context(), l, now, 10)
	h.ok(err)
	return rows
}

func (h *house) position(l state.Lease) state.Position {
	h.Helper()
	p, err := h.s.Position(h.Context(), l)
	h.ok(err)
	return p
}

// leave takes an item out of the inbox, without a page.
func (h *house) leave(l state.Lease, item string) {
	h.Helper()
	n, err := h.s.Leave(h.Context(), l, []provider.Removal{{ID: provider.ItemID(item), Folder: inbox.ID}})
	h.ok(err)
	h.equal("left", n, 1)
}

func (h *house) intents(l state.Lease) []state.Intent {
	h.Helper()
	is, err := h.s.IntentsDue(h.Context(), l, start, 10)
	h.ok(err)
	return is
}

// archiving brings in a linked mail that a rule wants archived, acknowledged by the host.
func (h *house) archiving(l state.Lease, item string) (state.Email, state.Intent) {
	h.Helper()
	h.page(l, row(item))
	b := h.pending(l)
	s := linked(b.Rows[0], ada)
	s.Intents = []state.IntentPlan{{Rule: "r", Do: "archive"}}
	out := h.settle(l, b, s)
	e, err := h.s.Email(h.Context(), org, out[0].Email)
	h.ok(err)
	h.equal("due before the host has the mail", len(h.intents(l)), 0)
	h.deliver(e)
	is := h.intents(l)
	h.equal("due", len(is), 1)
	return e, is[0]
}

// mailboxCases are about what goes on in a mailbox besides new mail: what goes, what is done to it, and who is asked.
var mailboxCases = []testCase{
	{"Recount", "a recount is remembered with the page that asked for it, until it was done and not asked for again", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"), row("2"))
		ask := func() state.Recount {
			_, err := h.s.CommitPage(h.Context(), l, state.Page{Revision: h.position(l).Revision, Cursor: []byte("n"), Recount: []provider.Folder{inbox}})
			h.ok(err)
			rs := h.position(l).Recounts
			h.equal("recounts", len(rs), 1)
			h.equal("folder", rs[0].Folder, inbox.ID)
			return rs[0]
		}
		first := ask()
		second := ask()
		h.ok(h.s.Counted(h.Context(), l, first))
		h.equal("still to be counted", len(h.position(l).Recounts), 1)
		rows, err := h.s.Placed(h.Context(), l, inbox.ID, 0, 10)
		h.ok(err)
		h.equal("placed", len(rows), 2)
		rows, err = h.s.Placed(h.Context(), l, inbox.ID, rows[0].ID, 10)
		h.ok(err)
		h.equal("placed after the first", len(rows), 1)
		h.leave(l, "1")
		n, err := h.s.Leave(h.Context(), l, []provider.Removal{{ID: "1", Folder: inbox.ID}, {ID: "2", Folder: old.ID}, {ID: "9", Folder: inbox.ID}})
		h.ok(err)
		h.equal("left again, from elsewhere, unknown", n, 0)
		h.ok(h.s.Counted(h.Context(), l, second))
		h.equal("to be counted", len(h.position(l).Recounts), 0)
		missing, err := h.s.Missing(h.Context(), org, l.Connection, []provider.ItemID{"1", "2", "3"})
		h.ok(err)
		h.equal("missing", slices.Equal(missing, []provider.ItemID{"1", "3"}), true)
	}},
	{"TwoStepDeletion", "deletion is confirmed in a later lease than the one in which the mail left, and postponed when it was found", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		h.page(l, row("2"))
		b := h.pending(l)
		h.settle(l, b, linked(b.Rows[0]))
		h.leave(l, "1")
		h.leave(l, "2")
		h.equal("in the same lease", len(h.leavers(l, start)), 0)
		l = h.again(l)
		rows := h.leavers(l, start)
		h.equal("leavers, the unlinked one is nobody's", len(rows), 1)
		h.ok(h.s.Recheck(h.Context(), l, []int64{rows[0].ID}, start.Add(time.Hour), start))
		h.equal("found, to be looked at later", len(h.leavers(l, start)), 0)
		later := h.leavers(l, start.Add(time.Hour))
		h.equal("later", len(later), 1)
		h.equal("missed since", later[0].MissedAt.Equal(start), true)
		h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{"1"}, false))
		h.equal("gone", len(h.leavers(l, start.Add(time.Hour))), 0)
		now, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("kept", len(now.Holders), 1)
		h.equal("revision", now.Revision, e.Revision)
	}},
	{"MovedIsNotGone", "mail that lies in another folder of the mailbox is no candidate for deletion", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.import1(l, "1", ada)
		moved := row("1b")
		moved.MessageID, moved.Folders = "id-of-1", []provider.Folder{old}
		h.page(l, moved)
		b := h.pending(l)
		s := linked(b.Rows[0], ada)
		h.settle(l, b, s)
		h.leave(l, "1")
		l = h.again(l)
		h.equal("leavers", len(h.leavers(l, start)), 0)
	}},
	{"Released", "with release a deleted mail is no longer held, unless it is elsewhere in the mailbox or a person linked it, and seen again it is held again", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		h.deliver(e)
		h.leave(l, "1")
		h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{"1"}, true))
		now, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("holders", len(now.Holders), 0)
		h.equal("raised", now.Revision > e.Revision, true)
		h.equal("to be delivered", len(h.undelivered()), 1)
		h.deliver(now)
		h.page(l, row("1"))
		b := h.pending(l)
		h.equal("seen again", len(b.Rows), 1)
		h.settle(l, b, linked(b.Rows[0], ada))
		es := h.undelivered()
		h.equal("held again", len(es), 1)
		h.equal("in full", es[0].Full, true)

		kept := h.import1(l, "2", ada)
		h.correct(kept.ID, bob)
		h.leave(l, "2")
		h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{"2"}, true))
		now, err = h.s.Email(h.Context(), org, kept.ID)
		h.ok(err)
		h.equal("a person's link stands", len(now.Holders), 1)
	}},
	{"ReleasedBySaid", "a person's link stands, too, that was said of a Message-ID before the mail was an email, until it is taken off", func(h *house) {
		no := linker.Link{Record: bob.Record, Removed: true}
		for _, c := range []state.Correction{
			{MessageID: "id-of-1", Links: []linker.Link{bob}},
			{MessageID: "id-of-2", Links: []linker.Link{no}},
			{MessageID: "id-of-3", Links: []linker.Link{bob}, Thread: true}, // not of the mail itself
			{MessageID: "id-of-4", Links: []linker.Link{bob}},
		} {
			h.ok(h.s.Correct(h.Context(), org, c))
		}
		for _, c := range []struct {
			item    string
			holders int
		}{{"1", 1}, {"2", 0}, {"3", 0}, {"4", 0}} {
			l := h.claim(h.connect("u" + c.item).ID)
			e := h.import1(l, c.item, ada)
			if c.item == "4" {
				h.correct(e.ID, no)
			}
			h.leave(l, c.item)
			h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{provider.ItemID(c.item)}, true))
			h.equal("holders of "+c.item, len(h.email(e.ID).Holders), c.holders)
		}
	}},
	{"ReleasedAfterAll", "a deletion that only a person's link kept is looked at again when that link is taken off, or its record deleted", func(h *house) {
		h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "id-of-2", Links: []linker.Link{bob}}))
		h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "id-of-4", Links: []linker.Link{bob}}))
		forget := func(id int64) {
			h.ok(h.s.Correct(h.Context(), org, state.Correction{Email: id, Forget: []linker.Record{bob.Record}}))
		}
		deleted := func(int64) { h.change(state.Change{Merged: []state.Merge{{From: bob.Record}}}) }
		for _, c := range []struct {
			item string
			ends func(int64)
		}{
			{"1", forget},
			{"2", forget},
			{"3", func(id int64) { h.correct(id, linker.Link{Record: bob.Record, Removed: true}) }},
			{"4", deleted},
			{"5", deleted},
		} {
			l := h.claim(h.connect("u" + c.item).ID)
			e := h.import1(l, c.item, ada)
			if c.item != "2" && c.item != "4" {
				h.correct(e.ID, bob)
			}
			h.leave(l, c.item)
			h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{provider.ItemID(c.item)}, true))
			h.equal("holders of "+c.item, len(h.email(e.ID).Holders), 1)
			h.ok(h.s.Release(h.Context(), l, state.Released{}))
			c.ends(e.ID)
			l = h.claim(l.Connection)
			rows, err := h.s.Leavers(h.Context(), l, start, 10)
			h.ok(err)
			h.equal("to be looked for", len(rows), 1)
			h.ok(h.s.Gone(h.Context(), l, []provider.ItemID{provider.ItemID(c.item)}, true))
			h.equal("holders of "+c.item+" then", len(h.email(e.ID).Holders), 0)
		}
	}},
	{"IntentOnce", "an intent is made with the links, is due once the host has the mail, and a rule acts once on an email", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e, i := h.archiving(l, "1")
		h.equal("email", i.Email, e.ID)
		h.equal("rows", len(i.Rows), 1)
		h.equal("folder", i.Rows[0].Folders[0].ID, inbox.ID)
		h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}})
		b := h.pending(l)
		s := linked(b.Rows[0], ada)
		s.Intents = []state.IntentPlan{{Rule: "r", Do: "archive"}}
		h.settle(l, b, s)
		h.equal("due", len(h.intents(l)), 1)
		step := func(from, to state.IntentState, s state.IntentStep) error {
			s.At = start
			return h.s.IntentStep(h.Context(), l, i.ID, from, to, s)
		}
		h.ok(step(state.IntentPlanned, state.IntentAttempted, state.IntentStep{Item: "1"}))
		h.is(step(state.IntentPlanned, state.IntentAttempted, state.IntentStep{}), state.ErrStale)
		h.ok(step(state.IntentAttempted, state.IntentAttempted, state.IntentStep{Error: "x", Try: true, NextTry: start.Add(time.Minute)}))
		h.equal("postponed", len(h.intents(l)), 0)
		h.ok(step(state.IntentAttempted, state.IntentDone, state.IntentStep{Mutation: []byte("m"), Made: "a1", Note: "archived"}))
		is, err := h.s.IntentsOf(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("intents", len(is), 1)
		h.equal("mutation", string(is[0].Mutation), "m")
		h.equal("item", is[0].Item, "1")
		log, err := h.s.IntentLog(h.Context(), org, l.Connection, 0, 10)
		h.ok(err)
		h.equal("log", len(log), 1)
		h.equal("note", log[0].Note, "archived")
		h.equal("at", log[0].At.Equal(start), true)

		// Its own change comes back: it is no news.
		mine := row("a1")
		mine.MessageID, mine.Folders = "id-of-1", []provider.Folder{old}
		h.page(l, mine)
		h.equal("pending", len(h.pending(l).Rows), 0)
		rows, _, err := h.s.Lookup(h.Context(), org, "id-of-1")
		h.ok(err)
		h.equal("fate", rows[1].Fate, state.FateLinked)
		h.equal("email", rows[1].Email, e.ID)
		h.ok(h.s.Release(h.Context(), l, state.Released{}))
		h.is(step(state.IntentDone, state.IntentUndoing, state.IntentStep{}), state.ErrStale) // the lease is gone
	}},
	{"IntentOrphan", "the copy that our change made is read where the envelope's mailbox let go of the mail and no other copy could be", func(h *house) {
		u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		e, i := h.archiving(v, "1")
		h.ok(h.s.IntentStep(h.Context(), v, i.ID, state.IntentPlanned, state.IntentAttempted, state.IntentStep{Item: "1"}))
		h.ok(h.s.IntentStep(h.Context(), v, i.ID, state.IntentAttempted, state.IntentDone, state.IntentStep{Made: "a1"}))
		h.page(u, row("1"))
		h.equal("one email", h.ranked(u, 5, ada).Email, e.ID)
		h.erase(u.Connection, 10)
		h.equal("it moved", h.ranked(v, state.RankKept, ada).StillDue, false)
		mine := row("a1")
		mine.MessageID, mine.Folders = "id-of-1", []provider.Folder{old}
		h.page(v, mine)
		b := h.pending(v)
		h.equal("to be read", len(b.Rows) == 1 && b.Rows[0].Item == "a1" && b.Rows[0].Reread, true)
		h.equal("no news", b.Rows[0].Fate, state.FateLinked)
		h.equal("settled", h.ranked(v, 1, bob).StillDue, false)
		h.equal("links", h.email(e.ID).Links[0].Record, bob.Record)
		h.equal("the other follows", h.pending(v).Rows[0].Item == "1", true)
	}},
	{"IntentUndo", "a planned intent is cancelled by undo, a done one is due to be taken back, and the wish ends with its outcome", func(h *house) {
		l := h.claim(h.connect("u").ID)
		_, i := h.archiving(l, "1")
		i, err := h.s.Undo(h.Context(), org, i.ID, start)
		h.ok(err)
		h.equal("state", i.State, state.IntentCancelled)
		h.equal("due", len(h.intents(l)), 0)
		_, i = h.archiving(l, "2")
		step := func(from, to state.IntentState) {
			h.ok(h.s.IntentStep(h.Context(), l, i.ID, from, to, state.IntentStep{}))
		}
		step(state.IntentPlanned, state.IntentAttempted)
		_, err = h.s.Undo(h.Context(), org, i.ID, start)
		h.ok(err)
		step(state.IntentAttempted, state.IntentDone)
		is := h.intents(l)
		h.equal("to be taken back", len(is) == 1 && is[0].Undo, true)
		step(state.IntentDone, state.IntentUndoing)
		step(state.IntentUndoing, state.IntentUndone)
		h.equal("due", len(h.intents(l)), 0)
		_, err = h.s.Undo(h.Context(), "another organisation", i.ID, start)
		h.is(err, state.ErrNotFound)
	}},
	{"SentCopy", "a copy in Sent is due after its time, and of two workers one takes each step", func(h *house) {
		l := h.claim(h.connect("u").ID)
		_, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: "k", Connection: l.Connection, Raw: []byte("mail"), Created: start,
			Value: state.EmailValue{MessageID: "ours", Links: []linker.Link{ada}, Holder: true}})
		h.ok(err)
		_, err = h.s.OutboxStep(h.Context(), org, "k", state.OutQueued, state.OutSent, state.Step{CopyAt: start.Add(time.Minute)})
		h.ok(err)
		due := func(now time.Time) []state.Outgoing {
			os, err := h.s.CopiesDue(h.Context(), "", now, 10)
			h.ok(err)
			return os
		}
		h.equal("too early", len(due(start)), 0)
		h.equal("due", due(start.Add(time.Minute))[0].Copy, state.CopyDue)
		h.ok(h.s.CopyStep(h.Context(), org, "k", state.CopyDue, state.CopyTried, state.CopyStep{}))
		h.is(h.s.CopyStep(h.Context(), org, "k", state.CopyDue, state.CopyTried, state.CopyStep{}), state.ErrStale)
		h.ok(h.s.CopyStep(h.Context(), org, "k", state.CopyTried, state.CopyTried, state.CopyStep{Try: true, Error: "x"}))
		o := due(start)[0]
		h.equal("tries", o.CopyTries, 1)
		h.equal("error", o.CopyError, "x")
		h.ok(h.s.CopyStep(h.Context(), org, "k", state.CopyTried, state.CopyFiled, state.CopyStep{}))
		h.equal("due", len(due(start)), 0)
		o, err = h.s.OutboxOf(h.Context(), org, o.Email)
		h.ok(err)
		h.equal("of the email", o.Key, "k")
		_, err = h.s.OutboxOf(h.Context(), org, o.Email+1)
		h.is(err, state.ErrNotFound)
	}},
	{"RefusedSignIns", "refused sign-ins are counted, and forgotten when the mailbox is connected again", func(h *house) {
		c := h.connect("u")
		h.ok(h.s.Release(h.Context(), h.claim(c.ID), state.Released{Refused: 2}))
		now, err := h.s.Connection(h.Context(), org, c.ID)
		h.ok(err)
		h.equal("refused", now.Refused, 2)
		h.ok(h.s.SetRealTime(h.Context(), org, c.ID, "waiting"))
		now = h.connect("u")
		h.equal("refused", now.Refused, 0)
		h.equal("real time", now.RealTime, "waiting")
	}},
	{"PausedIsFenced", "who works on a mailbox that is paused commits nothing more", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.ok(h.s.SetState(h.Context(), org, l.Connection, state.Paused, "by its user"))
		_, err := h.s.CommitPage(h.Context(), l, state.Page{Cursor: []byte("x")})
		h.is(err, state.ErrStale)
		_, err = h.s.ClaimConnection(h.Context(), org, l.Connection, "w", start, time.Minute)
		h.is(err, state.ErrNoneDue)
		h.ok(h.s.SetState(h.Context(), org, l.Connection, state.Connected, ""))
		h.claim(l.Connection)
	}},
	{"WokenFirst", "a mailbox that was woken goes before polls that are a little late, and a poll that is very late before it", func(h *house) {
		polled, woken := h.connect("polled"), h.connect("woken")
		for _, c := range []state.Connection{polled, woken} {
			h.ok(h.s.Release(h.Context(), h.claim(c.ID), state.Released{Served: true, NextDue: start.Add(time.Hour)}))
		}
		h.ok(h.s.Wake(h.Context(), org, woken.ID))
		first := func(late time.Duration) int64 {
			now := start.Add(time.Hour + late)
			l, err := h.s.Claim(h.Context(), "w", now, time.Minute)
			h.ok(err)
			h.ok(h.s.Release(h.Context(), l, state.Released{}))
			return l.Connection
		}
		h.equal("a little late", first(10*time.Second), woken.ID)
		h.ok(h.s.Release(h.Context(), h.claim(woken.ID), state.Released{NextDue: start.Add(2 * time.Hour)}))
		h.equal("very late", first(10*time.Minute), polled.ID)
	}},
	{"OutageIsNotPoison", "an outage is held against no email, and what was tried comes after the others", func(h *house) {
		l := h.claim(h.connect("u").ID)
		first, second := h.import1(l, "1", ada), h.import1(l, "2", ada)
		h.ok(h.s.Failed(h.Context(), org, []state.Failure{{ID: first.ID, Error: "down", NextTry: start, Outage: true}}))
		es := h.undelivered()
		h.equal("undelivered", len(es), 2)
		h.equal("first", es[0].ID, second.ID)
		h.equal("tries", es[1].Tries, 0)
	}},
}
