// Package statetest is the suite that every state.Store passes: what it should do when two workers meet, when a worker
// pauses past its lease, and when the CRM changes under a decision.
package statetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// Run runs the suite. newStore returns an empty store and closes it with the test.
func Run(t *testing.T, newStore func(t *testing.T) state.Store) {
	for _, c := range slices.Concat(cases, mailboxCases, eraseCases, costCases, controlCases, declaredCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Log("a store should see to it that " + c.should)
				}
			})
			c.run(&house{T: t, s: newStore(t)})
		})
	}
}

type testCase struct {
	name, should string
	run          func(h *house)
}

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

const org = "acme"

var (
	inbox  = provider.Folder{ID: "INBOX", Name: "Inbox", Role: provider.RoleInbox}
	old    = provider.Folder{ID: "Old", Name: "Old"}
	ada    = linker.Link{Record: linker.Record{Kind: linker.Contact, ID: "ada"}, By: linker.ByAddress, Evidence: "ada@x.example", Strength: 90}
	bob    = linker.Link{Record: linker.Record{Kind: linker.Contact, ID: "bob"}, By: linker.ByAddress, Evidence: "bob@x.example", Strength: 90}
	byPast = linker.Link{Record: ada.Record, By: linker.ByThread, Evidence: "m1", Strength: 50}
)

// house is a store with short words for a test's steps.
type house struct {
	*testing.T
	s state.Store
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) is(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("error %v, want %v", err, want)
	}
}

func (h *house) equal(what string, got, want any) {
	h.Helper()
	if got != want {
		h.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func (h *house) connect(user string) state.Connection {
	h.Helper()
	c, err := h.s.AddConnection(h.Context(), state.Connection{Org: org, User: user, Provider: "fake",
		Address: user + "@own.example", Credential: []byte("sealed"), NextDue: start.Add(time.Hour), ConnectedAt: start}, state.Change{})
	h.ok(err)
	return c
}

func (h *house) claim(id int64) state.Lease {
	h.Helper()
	l, err := h.s.ClaimConnection(h.Context(), org, id, "w", start, time.Minute)
	h.ok(err)
	return l
}

func row(item string, cites ...state.Hash) state.Row {
	return state.Row{Item: provider.ItemID(item), Folders: []provider.Folder{inbox}, Fate: state.FatePending, Received: start,
		MessageID: state.Hash("id-of-" + item), Cites: cites, Participants: []state.Hash{"hash-of-ada"}, Size: 100}
}

// page commits rows behind the live cursor.
func (h *house) page(l state.Lease, rows ...state.Row) state.Committed {
	h.Helper()
	p, err := h.s.Position(h.Context(), l)
	h.ok(err)
	c, err := h.s.CommitPage(h.Context(), l, state.Page{Revision: p.Revision, Cursor: []byte("next"), Rows: rows})
	h.ok(err)
	return c
}

func (h *house) pending(l state.Lease) state.Batch {
	h.Helper()
	b, err := h.s.Pending(h.Context(), l, start, 100, 1<<20)
	h.ok(err)
	return b
}

// linked decides a row: linked to ls, or unmatched without any.
func linked(r state.Row, ls ...linker.Link) state.Settlement {
	s := state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateUnmatched, RulesVersion: 1}
	if len(ls) > 0 {
		s.Fate = state.FateLinked
		s.Email = &state.EmailValue{MessageID: r.MessageID, Fingerprint: "finger-" + r.MessageID, Links: ls, Holder: true,
			Envelope: []byte("sealed"), EnvelopeTag: "tag"}
	}
	return s
}

func (h *house) settle(l state.Lease, b state.Batch, ss ...state.Settlement) []state.Settled {
	h.Helper()
	out, err := h.s.Settle(h.Context(), l, b, ss)
	h.ok(err)
	return out
}

// import1 brings one linked mail into a mailbox and returns its Email.
func (h *house) import1(l state.Lease, item string, ls ...linker.Link) state.Email {
	h.Helper()
	h.page(l, row(item))
	b := h.pending(l)
	h.equal("pending", len(b.Rows), 1)
	out := h.settle(l, b, linked(b.Rows[0], ls...))
	e, err := h.s.Email(h.Context(), org, out[0].Email)
	h.ok(err)
	return e
}

// thread asks about one mail.
func (h *house) thread(q state.ThreadQuery) state.Thread {
	h.Helper()
	ths, err := h.s.Threads(h.Context(), org, []state.ThreadQuery{q})
	h.ok(err)
	h.equal("answers", len(ths), 1)
	return ths[0]
}

func (h *house) undelivered() []state.Email {
	h.Helper()
	es, err := h.s.Undelivered(h.Context(), org, 0, start, 100)
	h.ok(err)
	return es
}

func (h *house) deliver(e state.Email) {
	h.Helper()
	d := []state.Delivery{{ID: e.ID, Revision: e.Revision, Empty: len(e.Effective()) == 0}}
	ids, err := h.s.Attempt(h.Context(), state.Lease{Org: org}, d)
	h.ok(err)
	h.equal("attempted", len(ids), 1)
	h.ok(h.s.Done(h.Context(), org, d))
}

// change stores a change, spreads it, and returns how many rows it touched.
func (h *house) change(c state.Change) (rows int) {
	h.Helper()
	_, err := h.s.Change(h.Context(), org, c)
	h.ok(err)
	for more := true; more; {
		n, again, err := h.s.Spread(h.Context(), org, 3)
		h.ok(err)
		rows, more = rows+n, again
	}
	return rows
}

// correct stores a person's words on an email and returns the email.
func (h *house) correct(id int64, ls ...linker.Link) state.Email {
	h.Helper()
	h.ok(h.s.Correct(h.Context(), org, state.Correction{Email: id, Links: ls}))
	e, err := h.s.Email(h.Context(), org, id)
	h.ok(err)
	return e
}
