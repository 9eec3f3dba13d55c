package statetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// pageSize is how many mails a page of the benchmarks has.
const pageSize = 500

// Benchmarks measures what an import does, in mails a second: CommitPage; Settle where a tenth links, and where all do; and Import, which is both with
// delivery. open returns an empty store, which is closed with the benchmark.
func Benchmarks(b *testing.B, open func(b *testing.B) state.Store) {
	b.Run("CommitPage", func(b *testing.B) {
		w := newImport(b, open(b))
		for b.Loop() {
			w.page()
		}
		w.report()
	})
	for _, every := range []int{10, 1} {
		b.Run(fmt.Sprintf("Settle1in%d", every), func(b *testing.B) {
			w := newImport(b, open(b))
			for b.Loop() {
				b.StopTimer()
				w.page()
				b.StartTimer()
				w.settle(every)
			}
			w.report()
		})
	}
	b.Run("Import", func(b *testing.B) {
		w := newImport(b, open(b))
		for b.Loop() {
			w.page()
			w.settle(10)
			w.deliver()
		}
		w.report()
	})
}

// importing is a mailbox under a lease, into which pages of mail are read.
type importing struct {
	*testing.B
	s   state.Store
	l   state.Lease
	now time.Time
	n   int // mails so far
}

func newImport(b *testing.B, s state.Store) *importing {
	w := &importing{B: b, s: s, now: time.Now()}
	c, err := s.AddConnection(b.Context(), state.Connection{Org: "o", User: "u", Provider: "fake", Address: "a@b.example"}, state.Change{})
	w.ok(err)
	w.l, err = s.ClaimConnection(b.Context(), "o", c.ID, "w", w.now, time.Hour)
	w.ok(err)
	return w
}

func (w *importing) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *importing) report() { w.ReportMetric(float64(w.n)/w.Elapsed().Seconds(), "mails/s") }

// page commits a page of mails, each of which answers one that nobody has seen.
func (w *importing) page() {
	page := state.Page{Revision: int64(w.n / pageSize), Cursor: []byte("c")}
	for range pageSize {
		w.n++
		id := fmt.Sprintf("%016d", w.n)
		page.Rows = append(page.Rows, state.Row{Item: provider.ItemID(id), Folders: []provider.Folder{{ID: "INBOX"}}, Received: w.now,
			MessageID: state.Hash(id), Cites: []state.Hash{state.Hash("p" + id[1:])},
			Participants: []state.Hash{state.Hash("a" + id[1:]), state.Hash("b" + id[1:]), "domain"}, Size: 5000})
	}
	_, err := w.s.CommitPage(w.Context(), w.l, page)
	w.ok(err)
}

// settle decides what is pending; one in so many links.
func (w *importing) settle(every int) {
	batch, err := w.s.Pending(w.Context(), w.l, w.now, pageSize, 1<<30)
	w.ok(err)
	var ss []state.Settlement
	for i, r := range batch.Rows {
		st := state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateUnmatched, Fingerprint: "f" + r.MessageID[1:]}
		if i%every == 0 {
			st.Fate = state.FateLinked
			st.Email = &state.EmailValue{MessageID: r.MessageID, Fingerprint: st.Fingerprint, Holder: true, Envelope: make([]byte, 600), EnvelopeTag: "tag",
				Links: []linker.Link{{Record: linker.Record{Kind: linker.Contact, ID: "ada"}, By: linker.ByAddress}}}
		}
		ss = append(ss, st)
	}
	_, err = w.s.Settle(w.Context(), w.l, batch, ss)
	w.ok(err)
}

// deliver has the host acknowledge what links.
func (w *importing) deliver() {
	es, err := w.s.Undelivered(w.Context(), "o", w.l.Connection, w.now, pageSize)
	w.ok(err)
	var ds []state.Delivery
	for _, e := range es {
		ds = append(ds, state.Delivery{ID: e.ID, Revision: e.Revision})
	}
	_, err = w.s.Attempt(w.Context(), w.l, ds)
	w.ok(err)
	w.ok(w.s.Done(w.Context(), "o", ds))
}
