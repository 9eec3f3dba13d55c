package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// BenchmarkImport commits, decides and delivers pages of 500 mails, a tenth of which link.
func BenchmarkImport(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "state.db"))
	ctx, now := b.Context(), time.Now()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	c, err := s.AddConnection(ctx, state.Connection{Org: "o", User: "u", Provider: "fake", Address: "a@b.example"}, state.Change{})
	must(err)
	l, err := s.ClaimConnection(ctx, "o", c.ID, "w", now, time.Hour)
	must(err)
	n := 0
	for b.Loop() {
		page := state.Page{Revision: int64(n / 500), Cursor: []byte("c")}
		for range 500 {
			n++
			id := fmt.Sprintf("%016d", n)
			page.Rows = append(page.Rows, state.Row{Item: provider.ItemID(id), Folders: []provider.Folder{{ID: "INBOX"}}, Received: now,
				MessageID: state.Hash(id), Cites: []state.Hash{state.Hash("p" + id[1:])},
				Participants: []state.Hash{state.Hash("a" + id[1:]), state.Hash("b" + id[1:]), "domain"}, Size: 5000})
		}
		_, err := s.CommitPage(ctx, l, page)
		must(err)
		batch, err := s.Pending(ctx, l, now, 500, 1<<30)
		must(err)
		var ss []state.Settlement
		for i, r := range batch.Rows {
			st := state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateUnmatched}
			if i%10 == 0 {
				st.Fate = state.FateLinked
				st.Email = &state.EmailValue{MessageID: r.MessageID, Fingerprint: r.MessageID, Holder: true, Envelope: make([]byte, 600),
					Links: []linker.Link{{Record: linker.Record{Kind: linker.Contact, ID: "ada"}, By: linker.ByAddress}}}
			}
			ss = append(ss, st)
		}
		_, err = s.Settle(ctx, l, batch, ss)
		must(err)
		es, err := s.Undelivered(ctx, "o", c.ID, now, 500)
		must(err)
		var ds []state.Delivery
		for _, e := range es {
			ds = append(ds, state.Delivery{ID: e.ID, Revision: e.Revision})
		}
		_, err = s.Attempt(ctx, l, ds)
		must(err)
		must(s.Done(ctx, "o", ds))
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "mails/s")
}

// TestClaimsAtOnce: of many workers on two stores of one file, as two processes would be, each connection has one.
func TestClaimsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	stores := []state.Store{open(t, path), open(t, path)}
	now := time.Now()
	for i := range 20 {
		if _, err := stores[0].AddConnection(t.Context(), state.Connection{Org: "o", User: fmt.Sprint(i), Provider: "fake"}, state.Change{}); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex // guards claims
	claims := map[int64]int{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for {
				l, err := stores[i%2].Claim(t.Context(), fmt.Sprint(i), now, time.Hour)
				if err != nil {
					if err != state.ErrNoneDue {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				claims[l.Connection]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range claims {
		if n != 1 {
			t.Errorf("connection %d was claimed %d times", id, n)
		}
	}
	if len(claims) != 20 {
		t.Errorf("%d connections claimed, want 20", len(claims))
	}
}
