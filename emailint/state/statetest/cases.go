package statetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

var cases = []testCase{
	{"TwoWorkers", "two workers on one mailbox can't both commit (rule 16)", func(h *house) {
		c := h.connect("u")
		first, err := h.s.Claim(h.Context(), "a", start, time.Minute)
		h.ok(err)
		_, err = h.s.Claim(h.Context(), "b", start.Add(30*time.Second), time.Minute)
		h.is(err, state.ErrNoneDue)
		second, err := h.s.Claim(h.Context(), "b", start.Add(2*time.Minute), time.Minute)
		h.ok(err)
		h.equal("connection", second.Connection, c.ID)
		_, err = h.s.CommitPage(h.Context(), first, state.Page{Rows: []state.Row{row("1")}, Cursor: []byte("x")})
		h.is(err, state.ErrStale)
		_, err = h.s.Renew(h.Context(), first, start, time.Minute)
		h.is(err, state.ErrStale)
		h.is(h.s.Release(h.Context(), first, state.Released{Served: true}), state.ErrStale)
		h.equal("inserted", h.page(second, row("1")).Inserted, 1)
	}},
	{"ToldToStop", "a call whose context ends says so, wherever it is by then", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		calls := []func(context.Context) error{
			func(ctx context.Context) error { _, err := h.s.Connection(ctx, org, c.ID); return err },
			func(ctx context.Context) error { _, err := h.s.Position(ctx, l); return err },
			func(ctx context.Context) error { return h.s.Wake(ctx, org, c.ID) },
			func(ctx context.Context) error {
				_, err := h.s.ClaimRefresh(ctx, org, c.ID, "w", start, time.Minute)
				return errors.Join(err, h.s.EndRefresh(h.Context(), org, c.ID, "w"))
			},
		}
		for n := range 800 {
			ctx, cancel := context.WithCancel(h.Context())
			go cancel()
			if err := calls[n%len(calls)](ctx); err != nil && !errors.Is(err, context.Canceled) {
				h.Fatalf("call %d: %v, want %v", n, err, context.Canceled)
			}
			cancel()
		}
		h.page(l, row("1"))
	}},
	{"ReleasedLease", "a lease that was given back commits nothing", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.ok(h.s.Release(h.Context(), l, state.Released{}))
		_, err := h.s.CommitPage(h.Context(), l, state.Page{Cursor: []byte("x")})
		h.is(err, state.ErrStale)
	}},
	{"CursorNeedsRows", "a page whose cursor's revision moved writes neither rows nor cursor", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"))
		_, err := h.s.CommitPage(h.Context(), l, state.Page{Revision: 0, Cursor: []byte("far"), Rows: []state.Row{row("2")}})
		h.is(err, state.ErrStale)
		p, err := h.s.Position(h.Context(), l)
		h.ok(err)
		h.equal("cursor", string(p.Cursor), "next")
		missing, err := h.s.Missing(h.Context(), org, l.Connection, []provider.ItemID{"1", "2"})
		h.ok(err)
		h.equal("missing", slices.Equal(missing, []provider.ItemID{"2"}), true)
	}},
	{"HistoryRun", "a history run has its own cursor, counts what it saw and inserts only what is absent", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"))
		r, err := h.s.AddRun(h.Context(), org, l.Connection, state.Run{Reason: "first import", People: true})
		h.ok(err)
		p, err := h.s.Position(h.Context(), l)
		h.ok(err)
		h.equal("for people", len(p.Runs) == 1 && p.Runs[0].People, true)
		c, err := h.s.CommitPage(h.Context(), l, state.Page{Run: r.ID, Cursor: []byte("h"), Rows: []state.Row{row("1"), row("2")}, Estimated: 9, Done: true})
		h.ok(err)
		h.equal("inserted", c.Inserted, 1)
		h.equal("updated", c.Updated, 0)
		rs, err := h.s.Runs(h.Context(), org, l.Connection)
		h.ok(err)
		h.equal("seen", rs[0].Seen, 2)
		h.equal("done", rs[0].Done, true)
		// It may be opened anew.
		_, err = h.s.CommitPage(h.Context(), l, state.Page{Run: r.ID, Revision: rs[0].Revision, Cursor: []byte("again")})
		h.ok(err)
		p, err = h.s.Position(h.Context(), l)
		h.ok(err)
		h.equal("opened anew", len(p.Runs) == 1 && string(p.Runs[0].Cursor) == "again", true)
	}},
	{"WakeDuringPass", "a wake during a pass causes one more, and only one (rule 10)", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		h.ok(h.s.Wake(h.Context(), org, c.ID))
		h.ok(h.s.Wake(h.Context(), org, c.ID))
		h.ok(h.s.Release(h.Context(), l, state.Released{Served: true, NextDue: start.Add(time.Hour)}))
		l, err := h.s.Claim(h.Context(), "w", start, time.Minute)
		h.ok(err)
		h.ok(h.s.Release(h.Context(), l, state.Released{Served: true}))
		_, err = h.s.Claim(h.Context(), "w", start, time.Minute)
		h.is(err, state.ErrNoneDue)
	}},
	{"OrganisationNames", "organisations whose names are no text are refused, as two of them would be one", func(h *house) {
		for _, name := range []string{"a\xff", "a\x00"} {
			if _, err := h.s.AddConnection(h.Context(), state.Connection{Org: name, User: "u", Provider: "fake"}, state.Change{}); err == nil {
				h.Errorf("%q is taken for a name", name)
			}
		}
		cs, err := h.s.Connections(h.Context(), "a\uFFFD")
		h.ok(err)
		h.equal("connections", len(cs), 0)
	}},
	{"NotBefore", "a rate limit holds back a wake too", func(h *house) {
		c := h.connect("u")
		h.ok(h.s.Release(h.Context(), h.claim(c.ID), state.Released{NotBefore: start.Add(time.Minute)}))
		_, err := h.s.Claim(h.Context(), "w", start, time.Minute)
		h.is(err, state.ErrNoneDue)
		_, err = h.s.Claim(h.Context(), "w", start.Add(time.Minute), time.Minute)
		h.ok(err)
	}},
	{"DueWhileSettling", "a row made due during its decision stays due", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"))
		b := h.pending(l)
		n := h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}})
		h.equal("touched", n, 1)
		h.equal("still due", h.settle(l, b, linked(b.Rows[0]))[0].StillDue, true)
		b = h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		h.equal("still due", h.settle(l, b, linked(b.Rows[0], ada))[0].StillDue, false)
		h.equal("pending", len(h.pending(l).Rows), 0)
	}},
	{"ChangeNumber", "a decision stays due when the organisation's change number moved since it was begun (rule 8)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"))
		b := h.pending(l)
		n, err := h.s.Change(h.Context(), org, state.Change{Participants: []state.Hash{"somebody else"}})
		h.ok(err)
		h.equal("number", n, b.Change+1)
		h.equal("still due", h.settle(l, b, linked(b.Rows[0]))[0].StillDue, true)
	}},
	{"Settings", "settings are replaced by version, and rows decided under older rules are pending", func(h *house) {
		l := h.claim(h.connect("u").ID)
		v, err := h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{}`)}, true)
		h.ok(err)
		_, err = h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{}`)}, true)
		h.is(err, state.ErrStale)
		h.page(l, row("1"))
		b := h.pending(l)
		h.equal("rules", b.Rules, v)
		h.equal("still due", h.settle(l, b, linked(b.Rows[0]))[0].StillDue, false)
		v, err = h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{"a":1}`), Version: v}, true)
		h.ok(err)
		b = h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		s := linked(b.Rows[0])
		h.settle(l, b, s) // under the old rules
		b = h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		s = linked(b.Rows[0])
		s.RulesVersion = v
		h.settle(l, b, s)
		h.equal("pending", len(h.pending(l).Rows), 0)
	}},
	{"AttemptedUntilAcknowledged", "an attempted email is delivered until acknowledged, also when it lost its links (rules 1 to 3)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		_, err := h.s.Attempt(h.Context(), l, []state.Delivery{{ID: e.ID, Revision: e.Revision}})
		h.ok(err)
		h.change(state.Change{Records: []linker.Record{ada.Record}})
		b := h.pending(l)
		h.settle(l, b, linked(b.Rows[0])) // unmatched
		es := h.undelivered()
		h.equal("undelivered", len(es), 1)
		h.equal("id", es[0].ID, e.ID)
		h.equal("raised", es[0].Revision > e.Revision, true)
		h.equal("links", len(es[0].Effective()), 0)
		ids, err := h.s.Attempt(h.Context(), l, []state.Delivery{{ID: e.ID, Revision: e.Revision}})
		h.ok(err)
		h.equal("old revision attempted", len(ids), 0)
		h.ok(h.s.Done(h.Context(), org, []state.Delivery{{ID: e.ID, Revision: e.Revision}}))
		h.equal("undelivered", len(h.undelivered()), 1)
		h.deliver(es[0])
		h.equal("undelivered", len(h.undelivered()), 0)
		h.ok(h.s.Done(h.Context(), org, []state.Delivery{{ID: e.ID, Revision: e.Revision}})) // a late answer
		h.equal("undelivered", len(h.undelivered()), 0)
		back, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("full", back.Full, true)
		h.equal("envelope", len(back.Envelope), 0)
	}},
	{"NeverAttempted", "an email that was never attempted and lost its links is not delivered", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.import1(l, "1", ada)
		h.change(state.Change{Records: []linker.Record{ada.Record}})
		b := h.pending(l)
		h.settle(l, b, linked(b.Rows[0]))
		h.equal("undelivered", len(h.undelivered()), 0)
	}},
	{"Revision", "a revision rises when links change and not when they don't", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		for _, step := range []struct {
			links []linker.Link
			rises bool
		}{{[]linker.Link{ada}, false}, {[]linker.Link{bob, ada}, true}, {[]linker.Link{ada, bob}, false}} {
			h.change(state.Change{Records: []linker.Record{ada.Record}})
			b := h.pending(l)
			out := h.settle(l, b, linked(b.Rows[0], step.links...))
			h.equal("rises", out[0].Revision > e.Revision, step.rises)
			e.Revision = out[0].Revision
		}
	}},
	{"Left", "an item that left a folder is not deleted, and only the folder that still has it loses it (rule 15)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		leave := func(folder string, rows ...state.Row) state.Committed {
			p, err := h.s.Position(h.Context(), l)
			h.ok(err)
			c, err := h.s.CommitPage(h.Context(), l, state.Page{Revision: p.Revision, Rows: rows, Left: []provider.Removal{{ID: "1", Folder: folder}}})
			h.ok(err)
			return c
		}
		h.equal("left", leave(old.ID).Left, 0)
		moved := row("1")
		moved.Folders = []provider.Folder{old}
		h.equal("left", leave(inbox.ID, moved).Left, 0)
		h.equal("left", leave(old.ID).Left, 1)
		counts, err := h.s.Counts(h.Context(), org, l.Connection)
		h.ok(err)
		h.equal("linked", counts.Fates[state.FateLinked], 1)
		h.equal("left", counts.Left, 1)
		now, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("revision", now.Revision, e.Revision)
		h.page(l, row("1"))
		counts, err = h.s.Counts(h.Context(), org, l.Connection)
		h.ok(err)
		h.equal("left", counts.Left, 0)
	}},
	{"Skipped", "mail that was listed only, as it is nobody's, is counted until it is read or leaves", func(h *house) {
		l := h.claim(h.connect("u").ID)
		old, nobody, deleted := row("1"), row("2"), row("3")
		old.Fate, old.Reason = state.FateUnread, "received before what was to be imported"
		nobody.Fate, nobody.Reason = state.FateUnread, state.SkippedReason
		deleted.Fate, deleted.Reason = nobody.Fate, nobody.Reason
		h.page(l, old, nobody, deleted)
		is := func(want int) {
			h.Helper()
			counts, err := h.s.Counts(h.Context(), org, l.Connection)
			h.ok(err)
			h.equal("skipped", counts.Skipped, want)
		}
		is(2)
		_, err := h.s.Leave(h.Context(), l, []provider.Removal{{ID: "3", Folder: inbox.ID}})
		h.ok(err)
		is(1)
		h.page(l, row("2"))
		is(0)
	}},
	{"Sweep", "after a restart what does not appear again has left, and nothing else", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"), row("2"))
		p, err := h.s.Position(h.Context(), l)
		h.ok(err)
		_, err = h.s.CommitPage(h.Context(), l, state.Page{Revision: p.Revision, Restart: []provider.Folder{inbox}, Rows: []state.Row{row("2")}})
		h.ok(err)
		n, err := h.s.Sweep(h.Context(), l, inbox.ID)
		h.ok(err)
		h.equal("left", n, 1)
	}},
	{"ThreadChildren", "rows that cite an email become due when its links change, and inherit its direct links (rules 9, 14)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("3", "id-of-2"), row("2", "id-of-1"), row("1"))
		b := h.pending(l)
		for _, r := range b.Rows {
			if r.Item != "1" {
				h.settle(l, b, linked(r))
			}
		}
		b = h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		h.settle(l, b, linked(b.Rows[0], ada))
		b = h.pending(l)
		h.equal("child, and what is below it", len(b.Rows), 2)
		for _, r := range b.Rows {
			if r.Item == "3" {
				h.settle(l, b, linked(r))
			}
		}
		b = h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		h.equal("child", b.Rows[0].Item, provider.ItemID("2"))
		h.settle(l, b, linked(b.Rows[0], byPast))
		b = h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		r := b.Rows[0]
		th := h.thread(state.ThreadQuery{Connection: l.Connection, Row: r.ID, MessageID: r.MessageID, Cites: r.Cites})
		h.equal("inherited", len(th.Links), 1)
		h.equal("record", th.Links[0], ada)
	}},
	{"ReplyBefore", "a reply that has by itself all that the mail gives that it answers is not due when that comes, and any other reply is (rule 9)", replyBefore},
	{"ThreadsTogether", "threads that are asked for together are answered as each is alone, in their order", threadsTogether},
	{"OwnThread", "an email is never a member of its own thread, and a circle ends (rule 13)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1", "id-of-1", "id-of-2"), row("2", "id-of-1"))
		b := h.pending(l)
		one := b.Rows[slices.IndexFunc(b.Rows, func(r state.Row) bool { return r.Item == "1" })]
		e := h.settle(l, b, linked(one, ada))[0]
		th := h.thread(state.ThreadQuery{Row: one.ID, Email: e.Email, MessageID: one.MessageID,
			Fingerprint: "finger-id-of-1", Cites: one.Cites})
		h.equal("inherited", len(th.Links), 0)
	}},
	{"TwoMailboxes", "an email that two mailboxes hold is one, in any order, with both as holders", func(h *house) {
		a, b := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		for _, order := range [][]state.Lease{{a, b}, {b, a}} {
			item := "x" + order[0].Worker + string(rune('0'+order[0].Connection))
			first := h.import1(order[0], item, ada)
			second := h.import1(order[1], item, ada)
			h.equal("id", first.ID, second.ID)
			h.equal("holders", slices.Equal(second.Holders, []int64{a.Connection, b.Connection}), true)
			h.equal("raised", second.Revision > first.Revision, true)
		}
		other := h.import1(a, "reused", ada)
		h.page(b, row("reused"))
		batch := h.pending(b)
		s := linked(batch.Rows[0], ada)
		s.Email.Fingerprint = "another mail"
		h.equal("a reused Message-ID is another email", h.settle(b, batch, s)[0].Email != other.ID, true)
	}},
	{"Rank", "of two copies the one with the higher rank gives links and envelope, whichever is decided last", func(h *house) {
		high, low := h.claim(h.connect("high").ID), h.claim(h.connect("low").ID)
		give := func(l state.Lease, rank int64, link linker.Link) state.Settled {
			b := h.pending(l)
			s := linked(b.Rows[0], link)
			s.Email.Rank, s.Email.Envelope, s.Email.EnvelopeTag = rank, []byte(link.ID), link.ID
			return h.settle(l, b, s)[0]
		}
		stands := func(id int64, want linker.Link) {
			h.Helper()
			e, err := h.s.Email(h.Context(), org, id)
			h.ok(err)
			h.equal("holders", len(e.Holders), 2)
			h.equal("links", e.Links[0].Record, want.Record)
			h.equal("envelope", string(e.Envelope), want.ID)
		}
		for _, item := range []string{"1", "2"} { // the higher rank first, and last
			h.page(high, row(item))
			h.page(low, row(item))
			var id int64
			if item == "1" {
				id = give(high, 2, ada).Email
				h.equal("the lower stays due", give(low, 1, bob).StillDue, true)
				h.equal("decided by the higher it is settled", give(low, 2, ada).StillDue, false)
			} else {
				id = give(low, 1, bob).Email
				h.equal("the higher is settled", give(high, 2, ada).StillDue, false)
			}
			stands(id, ada)
		}
	}},
	{"Correction", "a person's word is stronger than the machine's and follows a merge (rule 11)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		e := h.import1(l, "1", ada)
		no := ada
		no.Removed = true
		now := h.correct(e.ID, no, bob)
		h.equal("links", len(now.Effective()), 1)
		h.equal("raised", now.Revision > e.Revision, true)
		carl := linker.Record{Kind: linker.Contact, ID: "carl"}
		n := h.change(state.Change{Merged: []state.Merge{{From: bob.Record, To: carl}}})
		h.equal("touched", n > 0, true)
		now, err := h.s.Email(h.Context(), org, e.ID)
		h.ok(err)
		h.equal("follows", now.Effective()[0].Record, carl)
		_, err = h.s.Email(h.Context(), "another organisation", e.ID)
		h.is(err, state.ErrNotFound)
	}},
	{"Outbox", "an idempotency key is unique, a step is taken once, and a copy of what we sent is that email (rule 12)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		out := state.Outgoing{Key: "k", Connection: l.Connection, Raw: []byte("mail"), Created: start,
			Value: state.EmailValue{MessageID: "ours", Fingerprint: "finger-id-of-1", Links: []linker.Link{ada}, Holder: true},
			Row:   state.Row{Fate: state.FateLinked, Participants: []state.Hash{"hash-of-ada"}}, Change: 1}
		o, added, err := h.s.OutboxAdd(h.Context(), org, out)
		h.ok(err)
		h.equal("added", added, true)
		again, added, err := h.s.OutboxAdd(h.Context(), org, out)
		h.ok(err)
		h.equal("added", added, false)
		h.equal("email", again.Email, o.Email)
		h.equal("held back", len(h.undelivered()), 0)
		_, err = h.s.OutboxStep(h.Context(), org, "k", state.OutQueued, state.OutSending, state.Step{Try: true, NextTry: start.Add(time.Minute)})
		h.ok(err)
		_, err = h.s.OutboxStep(h.Context(), org, "k", state.OutQueued, state.OutSending, state.Step{})
		h.is(err, state.ErrStale)
		due, err := h.s.OutboxDue(h.Context(), org, start, 10)
		h.ok(err)
		h.equal("due", len(due), 0)
		due, err = h.s.OutboxDue(h.Context(), "", start.Add(time.Minute), 10)
		h.ok(err)
		h.equal("due", len(due), 1)
		copied := h.import1(l, "1", ada) // the provider gave it another Message-ID
		h.equal("email", copied.ID, o.Email)
		h.equal("aliases", len(copied.Aliases), 2)
		h.equal("delivered", len(h.undelivered()), 1)
	}},
	{"OutboxFence", "a step that claims is taken only from where the row was read, and what was looked up is sent where a copy was found", func(h *house) {
		l := h.claim(h.connect("u").ID)
		o, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: "k", Connection: l.Connection, Raw: []byte("mail"), Created: start, NextTry: start,
			Value: state.EmailValue{MessageID: "ours", Fingerprint: "finger-id-of-1", Links: []linker.Link{ada}, Holder: true},
			Row:   state.Row{Fate: state.FateLinked, Participants: []state.Hash{"hash-of-ada"}}, Change: 1})
		h.ok(err)
		former := o
		for n, to := range []state.OutState{state.OutQueued, state.OutStaged, state.OutSending, state.OutStaged} {
			next := start.Add(time.Duration(n+1) * time.Minute)
			if n > 0 {
				_, err = h.s.OutboxStep(h.Context(), org, "k", o.State, to, state.Step{Claim: true, Was: former.NextTry, NextTry: next})
				h.is(err, state.ErrStale)
			}
			former = o
			o, err = h.s.OutboxStep(h.Context(), org, "k", o.State, to, state.Step{Claim: true, Was: o.NextTry, NextTry: next})
			h.ok(err)
			h.equal("state", o.State, to)
			h.equal("next try", o.NextTry.Equal(next), true)
		}
		h.import1(l, "1", ada)
		o, err = h.s.OutboxStep(h.Context(), org, "k", state.OutStaged, state.OutSending, state.Step{Claim: true, Was: o.NextTry, Lookup: true})
		h.ok(err)
		h.equal("it was sent", o.State, state.OutSent)
	}},
	{"ThreadOfWhatLeft", "a word on the thread of an email holds for its thread also when its last copy left while it linked to nothing, whatever id is named", func(h *house) {
		for n, named := range []func(e int64) state.Correction{
			func(e int64) state.Correction { return state.Correction{Email: e} },
			func(int64) state.Correction { return state.Correction{MessageID: "alias-1"} }, // the row has the other id
		} {
			root := state.Hash(fmt.Sprintf("root-%d", n))
			r := row(fmt.Sprint(n), root)
			r.Fingerprint = "finger-" + r.MessageID
			l := h.claim(h.connect("u" + string(r.Item)).ID)
			h.page(l, r)
			b := h.pending(l)
			s := linked(b.Rows[0], ada)
			s.Email.Aliases = []state.Hash{state.Hash(fmt.Sprintf("alias-%d", n))}
			e := h.settle(l, b, s)[0].Email
			h.deliver(h.email(e))
			h.leave(l, string(r.Item))
			h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}})
			b = h.pending(l)
			h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateUnmatched, Fingerprint: r.Fingerprint})
			c := named(e)
			c.Thread, c.Links = true, []linker.Link{bob}
			h.ok(h.s.Correct(h.Context(), org, c))
			th := h.thread(state.ThreadQuery{Connection: l.Connection, MessageID: "sibling", Cites: []state.Hash{root}})
			h.equal("words on a sibling", len(th.Words), 1)
		}
	}},
	{"OutboxTurns", "however much mail of one mailbox waits, that of another is not behind all of it, and neither are copies", func(h *house) {
		for _, user := range []string{"busy", "quiet"} {
			l := h.claim(h.connect(user).ID)
			n := 1
			if user == "busy" {
				n = 3 * state.OutboxTurn
			}
			for _, what := range []string{"mail", "copy"} {
				for i := range n {
					key := fmt.Sprint(what, " ", i, " of ", user)
					id := "id-of-" + state.Hash(key)
					_, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: key, Connection: l.Connection, Raw: []byte("mail"), Created: start,
						Value: state.EmailValue{MessageID: id, Fingerprint: "finger-" + id}, Row: state.Row{Fate: state.FateUnmatched}, Change: 1})
					h.ok(err)
					if what == "mail" {
						continue
					}
					_, err = h.s.OutboxStep(h.Context(), org, key, state.OutQueued, state.OutStaged, state.Step{Staged: []byte("s")})
					h.ok(err)
					_, err = h.s.OutboxStep(h.Context(), org, key, state.OutStaged, state.OutSent, state.Step{CopyAt: start})
					h.ok(err)
				}
			}
		}
		for what, ask := range map[string]func(context.Context, string, time.Time, int) ([]state.Outgoing, error){"mail": h.s.OutboxDue, "copy": h.s.CopiesDue} {
			due, err := ask(h.Context(), "", start, 2*state.OutboxTurn)
			h.ok(err)
			var got []string
			for _, o := range due {
				got = append(got, o.Key)
				h.equal("bytes of what is due", len(o.Raw)+len(o.Staged), 0)
			}
			want := []string{}
			for i := range state.OutboxTurn {
				want = append(want, fmt.Sprint(what, " ", i, " of busy"))
			}
			h.equal("due", fmt.Sprint(got), fmt.Sprint(append(want, what+" 0 of quiet")))
		}
	}},
	{"SentAsAnother", "a copy of what we sent that a service shows under another Message-ID is known by both, also where its answer was lost and it links to nothing: words on its thread hold for answers to either", func(h *house) {
		c := h.connect("u")
		_, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: "k", Org: org, Connection: c.ID, Raw: []byte("raw"), Created: start,
			Value: state.EmailValue{MessageID: "ours", Fingerprint: "finger-sent"}})
		h.ok(err)
		h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "ours", Thread: true, Links: []linker.Link{bob}}))
		l := h.claim(c.ID)
		for _, r := range h.pending(l).Rows { // that of the outbox
			h.settle(l, h.pending(l), state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateUnmatched, Fingerprint: "finger-sent"})
		}
		shown := row("1")
		shown.MessageID, shown.Fingerprint, shown.Sent = "theirs", "finger-sent", true
		h.page(l, shown)
		b := h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateUnmatched, Fingerprint: "finger-sent"})
		for _, cites := range []state.Hash{"ours", "theirs"} {
			th := h.thread(state.ThreadQuery{Connection: c.ID, MessageID: "answer", Fingerprint: "finger-answer", Cites: []state.Hash{cites}})
			h.equal("words on an answer to "+string(cites), len(th.Words), 1)
		}
		// A word that is said later makes the copy due, whatever id is named.
		for b = h.pending(l); len(b.Rows) > 0; b = h.pending(l) {
			h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateUnmatched, Fingerprint: "finger-sent"})
		}
		h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "ours", Thread: true, Links: []linker.Link{ada}}))
		h.equal("due", len(h.pending(l).Rows), 1)
	}},
	{"OutboxRow", "what is sent is a row of the ledger until a mailbox shows it, so that what changes later reaches it", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l)
		const key = "🔑" // sorts behind \uffff
		add := func(key, fingerprint string, change int64) {
			_, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: key, Connection: l.Connection, Raw: []byte("mail"), Created: start, Change: change,
				Value: state.EmailValue{MessageID: state.Hash(key), Fingerprint: state.Hash(fingerprint), Links: []linker.Link{ada}, Holder: true},
				Row:   state.Row{Fate: state.FateLinked, Participants: []state.Hash{"hash-of-ada"}}})
			h.ok(err)
		}
		add(key, "finger-id-of-1", 1)
		h.equal("pending", len(h.pending(l).Rows), 0)
		h.equal("touched", h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}}), 1)
		b := h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		h.equal("item", b.Rows[0].Item, state.OutboxItem(key))
		h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateLinked, Email: &state.EmailValue{MessageID: state.Hash(key),
			Fingerprint: "finger-id-of-1", Links: []linker.Link{bob}, Holder: true}})
		add("late", "other", 1) // the change came after it was looked up
		b = h.pending(l)
		h.equal("decided anew", len(b.Rows), 1)
		h.settle(l, b, linked(b.Rows[0]))
		h.import1(l, "1", bob)
		rows, err := h.s.Items(h.Context(), org, l.Connection, 0, 10)
		h.ok(err)
		h.equal("rows", len(rows), 2)
		h.equal("the other's stays", rows[0].Item, state.OutboxItem("late"))
		h.equal("touched", h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}}), 2)
	}},
	{"SentTakesBack", "a copy of what we sent that links to nothing takes back the links that sending gave (rule 12)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		o, _, err := h.s.OutboxAdd(h.Context(), org, state.Outgoing{Key: "k", Connection: l.Connection, Raw: []byte("mail"), Created: start,
			Value: state.EmailValue{MessageID: "ours", Fingerprint: "same", Links: []linker.Link{ada}, Holder: true},
			Row:   state.Row{Fate: state.FateLinked}, Change: 1})
		h.ok(err)
		h.page(l, row("1"))
		b := h.pending(l)
		s := linked(b.Rows[0])
		s.Fingerprint = "same"
		h.equal("email", h.settle(l, b, s)[0].Email, o.Email)
		e, err := h.s.Email(h.Context(), org, o.Email)
		h.ok(err)
		h.equal("links", len(e.Links), 0)
	}},
	{"Join", "when an alias joins two emails the lower id survives and the other is delivered empty (rule 12)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		same := func(r state.Row, aliases ...state.Hash) state.Settlement {
			s := linked(r, ada)
			s.Email.Fingerprint, s.Email.Aliases = "same", aliases
			return s
		}
		h.page(l, row("1"), row("2"))
		b := h.pending(l)
		first, second := h.settle(l, b, same(b.Rows[0]))[0], h.settle(l, b, same(b.Rows[1]))[0]
		h.equal("two", first.Email < second.Email, true)
		for _, e := range h.undelivered() {
			h.deliver(e)
		}
		h.change(state.Change{Participants: []state.Hash{"hash-of-ada"}})
		b = h.pending(l)
		h.settle(l, b, same(b.Rows[0], "id-of-1", "id-of-2"))
		es := h.undelivered()
		h.equal("undelivered", len(es), 2)
		h.equal("survivor", es[1].Survivor, first.Email)
		h.equal("holders", len(es[1].Holders), 0)
		h.equal("raised", es[1].Revision > second.Revision, true)
	}},
	{"Reconnect", "reconnecting keeps id and cursor, and is due", func(h *house) {
		c := h.connect("u")
		l := h.claim(c.ID)
		h.page(l, row("1"))
		h.ok(h.s.Release(h.Context(), l, state.Released{Served: true, State: state.NeedsUser, Reason: "sign in again", NextDue: start.Add(time.Hour)}))
		_, err := h.s.Claim(h.Context(), "w", start.Add(2*time.Hour), time.Minute)
		h.is(err, state.ErrNoneDue)
		h.equal("id", h.connect("u").ID, c.ID)
		l, err = h.s.Claim(h.Context(), "w", start, time.Minute)
		h.ok(err)
		p, err := h.s.Position(h.Context(), l)
		h.ok(err)
		h.equal("cursor", string(p.Cursor), "next")
	}},
	{"OutOfTrash", "mail filed as spam is decided when it shows up in the inbox, and a decided one keeps its fate in the trash", func(h *house) {
		l := h.claim(h.connect("u").ID)
		spam := row("1")
		spam.Fate, spam.Folders = state.FateSpam, nil
		h.page(l, spam)
		h.equal("pending", len(h.pending(l).Rows), 0)
		h.import1(l, "1", ada)
		trash := row("1")
		trash.Fate = state.FateTrash
		h.page(l, trash)
		rows, _, err := h.s.Lookup(h.Context(), org, "id-of-1")
		h.ok(err)
		h.equal("fate", rows[0].Fate, state.FateLinked)
	}},
	{"Failed", "a failed row waits for its next try, stays due, and does not lose an earlier decision", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"))
		b := h.pending(l)
		h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateFailed, NextTry: start.Add(time.Minute)})
		h.equal("pending", len(h.pending(l).Rows), 0)
		b, err := h.s.Pending(h.Context(), l, start.Add(time.Minute), 10, 1)
		h.ok(err)
		h.equal("pending", len(b.Rows), 1)
		h.equal("fate", b.Rows[0].Fate, state.FateFailed)
		h.equal("tries", b.Rows[0].Tries, 1)
	}},
	{"FailedUnderOlderRules", "a decided row that can't be read when the rules have changed waits for its next try: one mail holds up no other", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.import1(l, "1", ada)
		for v := range int64(2) {
			_, err := h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{}`), Version: v}, true)
			h.ok(err)
		}
		b := h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateFailed, NextTry: start.Add(time.Minute)})
		h.equal("pending at once", len(h.pending(l).Rows), 0)
		b, err := h.s.Pending(h.Context(), l, start.Add(time.Minute), 10, 1)
		h.ok(err)
		h.equal("pending later", len(b.Rows), 1)
		h.equal("fate", b.Rows[0].Fate, state.FateLinked)
	}},
	{"GoneAndUnreadable", "a row that was gone is due when it shows up again and can't be read, however often that page comes", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"))
		for range 2 {
			b := h.pending(l)
			h.equal("pending", len(b.Rows), 1)
			h.settle(l, b, state.Settlement{Row: b.Rows[0].ID, Due: b.Rows[0].Due, Fate: state.FateGone})
			h.equal("pending", len(h.pending(l).Rows), 0)
			again := row("1")
			again.Fate = state.FateFailed
			h.page(l, again)
			h.page(l, again)
		}
		h.equal("pending", len(h.pending(l).Rows), 1)
	}},
	{"WordsRise", "words on a thread move up when a mail shows that it hangs on another", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "id-of-parent", Thread: true, Drop: true}))
		said := func(id state.Hash) bool {
			return h.thread(state.ThreadQuery{Cites: []state.Hash{id}}).ThreadDropped
		}
		h.equal("below the parent", said("id-of-parent"), true)
		h.equal("below the grandparent", said("id-of-grandparent"), false)
		h.page(l, row("parent", "id-of-grandparent"))
		h.equal("below the parent, when it came", said("id-of-parent"), true)
		h.equal("below the grandparent, when the parent came", said("id-of-grandparent"), true)
	}},
	{"WordsOfTwoTops", "a word on a thread with two tops that is taken back for one of them holds below the other alone", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("root"), row("both", "id-of-root", "id-of-unseen"), row("after", "id-of-both"))
		said := func(below ...state.Hash) (words string) {
			h.Helper()
			for _, w := range h.thread(state.ThreadQuery{Cites: below}).Words {
				words += fmt.Sprint(" ", w.Record, " ", w.Removed)
			}
			return words
		}
		say := func(id state.Hash, c state.Correction) {
			h.Helper()
			c.MessageID, c.Thread = id, true
			h.ok(h.s.Correct(h.Context(), org, c))
		}
		no := bob
		no.Removed = true
		all := []state.Hash{"id-of-both", "id-of-unseen", "id-of-root"}
		each := func(want ...string) {
			h.Helper()
			for i, id := range all {
				h.equal("below "+string(id), said(id), want[i])
			}
		}
		unlinked, bobs := fmt.Sprint(" ", bob.Record, " true"), fmt.Sprint(" ", bob.Record, " false")
		say("id-of-both", state.Correction{Links: []linker.Link{no}})
		each(unlinked, unlinked, unlinked)
		say("id-of-root", state.Correction{Forget: []linker.Record{bob.Record}})
		each("", unlinked, "")

		// What was said of another record stays when the two are merged: it was not meant.
		say("id-of-root", state.Correction{Links: []linker.Link{ada}})
		h.change(state.Change{Merged: []state.Merge{{From: bob.Record, To: ada.Record}}})
		adas := fmt.Sprint(" ", ada.Record, " false")
		each(adas, fmt.Sprint(" ", ada.Record, " true"), adas)

		// A link that took the place of an older word ends with its record, and the older one does not come back.
		say("id-of-both", state.Correction{Forget: []linker.Record{ada.Record}})
		each("", "", "")
		say("id-of-both", state.Correction{Links: []linker.Link{no}})
		say("id-of-root", state.Correction{Links: []linker.Link{bob}})
		each(bobs, unlinked, bobs)
		h.change(state.Change{Merged: []state.Merge{{From: bob.Record}}})
		each("", unlinked, "")

		// A drop that is taken back by Restore.
		say("id-of-both", state.Correction{Drop: true})
		say("id-of-root", state.Correction{Restore: true})
		for i, want := range []bool{false, true, false} {
			h.equal("dropped below "+string(all[i]), h.thread(state.ThreadQuery{Cites: all[i : i+1]}).ThreadDropped, want)
		}
	}},
	{"WordOnNameless", "a word on a mail without Message-ID reaches the copy of another mailbox that is being decided", func(h *house) {
		l, m := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
		r := row("1")
		r.MessageID, r.Fingerprint = "", "finger-"
		h.page(l, r)
		h.page(m, r)
		b := h.pending(l)
		e := h.settle(l, b, linked(b.Rows[0], ada))[0].Email
		b = h.pending(m)
		h.ok(h.s.Correct(h.Context(), org, state.Correction{Email: e, Drop: true}))
		h.equal("still due", h.settle(m, b, linked(b.Rows[0]))[0].StillDue, true)
	}},
	{"OddText", "text out of mail is kept though it has NULs and is no UTF-8, and mail without ids has none", func(h *house) {
		const odd = "a\x00b\xffc"
		c := h.connect(odd)
		l := h.claim(c.ID)
		bare := row("bare")
		bare.MessageID, bare.Participants, bare.Cites = "", nil, []state.Hash{}
		bare.Thread, bare.Reason, bare.Fate = odd, odd, state.FateFailed
		bare.Folders = []provider.Folder{{ID: odd, Name: odd}}
		h.equal("inserted", h.page(l, bare).Inserted, 1)
		h.equal("updated by the same again", h.page(l, bare).Updated, 0)
		b := h.pending(l)
		h.equal("pending", len(b.Rows), 1)
		r := b.Rows[0]
		h.equal("ids", string(r.MessageID)+string(r.Fingerprint), "")
		h.equal("cites", len(r.Cites)+len(r.Participants), 0)
		for what, s := range map[string]string{"thread": r.Thread, "reason": r.Reason, "folder": r.Folders[0].Name, "folder's id": r.Folders[0].ID} {
			if !strings.HasPrefix(s, "a") || !strings.HasSuffix(s, "c") || !strings.Contains(s, "b") {
				h.Fatalf("the %s is %q, want at least the letters of %q", what, s, odd)
			}
		}
		st := state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateLinked, Reason: odd, RulesVersion: 1, Fingerprint: "finger",
			Email: &state.EmailValue{Fingerprint: "finger", Holder: true, Envelope: []byte{}, EnvelopeTag: odd, Links: []linker.Link{{
				Record: linker.Record{Kind: linker.Contact, ID: odd}, By: linker.ByAddress, Evidence: odd}}}}
		e, err := h.s.Email(h.Context(), org, h.settle(l, b, st)[0].Email)
		h.ok(err)
		h.equal("envelope", len(e.Envelope), 0)
		h.ok(h.s.Failed(h.Context(), org, []state.Failure{{ID: e.ID, Error: odd}}))
		// Its fingerprint alone names it, so its copy in another mailbox is the same email.
		m := h.claim(h.connect("v").ID)
		h.page(m, bare)
		b = h.pending(m)
		st.Row, st.Due = b.Rows[0].ID, b.Rows[0].Due
		h.equal("email of the copy", h.settle(m, b, st)[0].Email, e.ID)
		h.equal("found by the odd record", h.change(state.Change{Records: []linker.Record{{Kind: linker.Contact, ID: odd}}}), 2)
		n, err := h.s.Leave(h.Context(), l, []provider.Removal{{ID: "bare", Folder: odd}})
		h.ok(err)
		h.equal("left the odd folder", n, 1)
		h.ok(h.s.SetState(h.Context(), org, c.ID, state.Paused, odd))
	}},
	{"UnknownToHost", "an email the host doesn't know is delivered in full (rule 3)", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.deliver(h.import1(l, "1", ada))
		e := h.import1(l, "2", ada)
		h.deliver(e)
		h.correct(e.ID, bob)
		h.equal("full", h.undelivered()[0].Full, false)
		h.ok(h.s.Failed(h.Context(), org, []state.Failure{{ID: e.ID, Error: "unknown", NextTry: start.Add(time.Minute), Unknown: true}}))
		h.equal("undelivered", len(h.undelivered()), 0)
		es, err := h.s.Undelivered(h.Context(), org, l.Connection, start.Add(time.Minute), 10)
		h.ok(err)
		h.equal("undelivered", len(es), 1)
		h.equal("full", es[0].Full, true)
	}},
	{"ParentInSameBatch", "a child stays due when its parent was linked between its reading and its settling", func(h *house) {
		l := h.claim(h.connect("u").ID)
		h.page(l, row("1"), row("2", "id-of-1"))
		b := h.pending(l)
		h.settle(l, b, linked(b.Rows[slices.IndexFunc(b.Rows, func(r state.Row) bool { return r.Item == "1" })], ada))
		child := b.Rows[slices.IndexFunc(b.Rows, func(r state.Row) bool { return r.Item == "2" })]
		h.equal("still due", h.settle(l, b, linked(child))[0].StillDue, true)
	}},
}

func threadsTogether(h *house) {
	u, v := h.claim(h.connect("u").ID), h.claim(h.connect("v").ID)
	first, second := h.import1(u, "1", ada), h.import1(v, "2", bob)
	h.import1(v, "1", ada)
	h.correct(second.ID, linker.Link{Record: ada.Record, Removed: true})
	h.page(u, row("3", "id-of-1"), row("4", "id-of-3"), row("5", "id-of-4", "id-of-2"), row("6", "id-of-7"), row("7", "id-of-6"), row("8"), row("9", "id-of-nobody"))
	h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "id-of-8", Links: []linker.Link{bob}}))
	h.ok(h.s.Correct(h.Context(), org, state.Correction{MessageID: "id-of-9", Thread: true, Drop: true}))
	nameless := state.ThreadQuery{Fingerprint: "finger-id-of-1", Cites: []state.Hash{"", "id-of-5"}}
	qs := []state.ThreadQuery{nameless, {}, {MessageID: "id-of-1", Fingerprint: "finger-id-of-1"}, {Email: first.ID}, {Email: second.ID, Cites: []state.Hash{"id-of-2"}}}
	for _, r := range append(h.items(u.Connection), h.items(v.Connection)...) {
		q := state.ThreadQuery{Connection: r.Connection, Row: r.ID, Email: r.Email, MessageID: r.MessageID, Fingerprint: r.Fingerprint, Cites: r.Cites}
		qs = append(qs, q)
		q.Email, q.Fingerprint = 0, "finger-"+r.MessageID
		qs = append(qs, q)
	}
	together, err := h.s.Threads(h.Context(), org, qs)
	h.ok(err)
	h.equal("answers", len(together), len(qs))
	linked, spoken, met, dropped := 0, 0, 0, 0
	for i, q := range qs {
		alone := h.thread(q)
		if !reflect.DeepEqual(together[i], alone) {
			h.Errorf("%+v is answered\n\t%+v, alone\n\t%+v", q, together[i], alone)
		}
		linked += len(alone.Links)
		for _, b := range []struct {
			is bool
			n  *int
		}{{alone.Spoken, &spoken}, {alone.Met, &met}, {alone.Dropped, &dropped}} {
			if b.is {
				*b.n++
			}
		}
	}
	for what, n := range map[string]int{"links": linked, "words": spoken, "mails met before": met, "dropped mails": dropped} {
		if n == 0 || n == len(qs) {
			h.Errorf("%d of %d answers have %s: the test compares nothing", n, len(qs), what)
		}
	}
}

func replyBefore(h *house) {
	domain := ada
	domain.By = linker.ByDomain
	other := linker.Link{Record: linker.Record{Kind: linker.Opportunity, ID: "deal"}, By: linker.ByRelated}
	person, past := ada, byPast
	host := ada
	host.By = linker.ByHost
	person.By, past.Record = linker.ByPerson, linker.Record{Kind: linker.Contact, ID: "carl"}
	pendingRow := func(l state.Lease, item provider.ItemID) (state.Batch, state.Row) {
		b := h.pending(l)
		i := slices.IndexFunc(b.Rows, func(r state.Row) bool { return r.Item == item })
		h.equal(string(item)+" is pending", i >= 0, true)
		return b, b.Rows[i]
	}
	u := h.claim(h.connect("u").ID)
	due := func(item provider.ItemID) int64 {
		rows := h.items(u.Connection)
		return rows[slices.IndexFunc(rows, func(r state.Row) bool { return r.Item == item })].Due
	}
	for i, c := range []struct {
		what   string
		reply  []linker.Link
		parent []linker.Link
		word   state.Correction // on the reply's Email, before it is decided once more
		again  bool             // it is being decided anew when the parent comes
		relink bool             // the rules are new since
		due    bool
	}{
		{what: "the same", reply: []linker.Link{ada}, parent: []linker.Link{ada}},
		{what: "more, and what hangs on it", reply: []linker.Link{domain, bob, other}, parent: []linker.Link{ada}},
		{what: "what the parent does not give on", reply: []linker.Link{ada}, parent: []linker.Link{ada, past}},
		{what: "less", reply: []linker.Link{ada}, parent: []linker.Link{ada, bob}, due: true},
		{what: "nothing", parent: []linker.Link{ada}, due: true},
		{what: "the same as what hangs on another", reply: []linker.Link{bob, {Record: ada.Record, By: linker.ByRelated}}, parent: []linker.Link{ada}, due: true},
		{what: "the same, and something inherited from further up", reply: []linker.Link{ada, past}, parent: []linker.Link{ada}, due: true},
		{what: "the same by a person's word on its thread", reply: []linker.Link{person}, parent: []linker.Link{ada}, due: true},
		{what: "the same, as the host said", reply: []linker.Link{host}, parent: []linker.Link{ada}, due: true},
		{what: "the same, and a person's word", reply: []linker.Link{ada}, parent: []linker.Link{ada}, word: state.Correction{Links: []linker.Link{bob}}, due: true},
		{what: "the same, dropped by a person", reply: []linker.Link{ada}, parent: []linker.Link{ada}, word: state.Correction{Drop: true}, due: true},
		{what: "a parent that gives nothing", reply: []linker.Link{ada}, parent: []linker.Link{past}, due: true},
		{what: "the same, while it is decided anew", reply: []linker.Link{ada}, parent: []linker.Link{ada}, again: true, due: true},
		{what: "the same, by older rules", reply: []linker.Link{ada}, parent: []linker.Link{ada}, relink: true, due: true},
	} {
		reply, parent := fmt.Sprint("reply", i), fmt.Sprint("parent", i)
		h.page(u, row(reply, state.Hash("id-of-"+parent)))
		b, r := pendingRow(u, provider.ItemID(reply))
		e := h.settle(u, b, linked(r, c.reply...))[0].Email
		if c.word.Drop || len(c.word.Links) > 0 {
			c.word.Email = e
			h.ok(h.s.Correct(h.Context(), org, c.word))
			b, r = pendingRow(u, provider.ItemID(reply))
			h.settle(u, b, linked(r, c.reply...))
		}
		if c.again {
			h.change(state.Change{Records: []linker.Record{c.reply[0].Record}})
			pendingRow(u, provider.ItemID(reply))
		}
		if c.relink {
			for v := range int64(2) {
				_, err := h.s.SaveSettings(h.Context(), org, state.Settings{Body: []byte(`{}`), Version: v}, true)
				h.ok(err)
			}
			pendingRow(u, provider.ItemID(reply))
		}
		before := due(provider.ItemID(reply))
		h.page(u, row(parent))
		b, r = pendingRow(u, provider.ItemID(parent))
		h.equal("the row itself makes nothing due", due(provider.ItemID(reply)), before)
		h.settle(u, b, linked(r, c.parent...))
		h.equal("a reply with "+c.what+" is made due", due(provider.ItemID(reply)) > before, c.due)
	}
}
