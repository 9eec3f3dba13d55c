package statetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// RunShared runs what two stores of one database should do, as two processes have them. newStores returns them, empty, and closes them with the test.
func RunShared(t *testing.T, newStores func(t *testing.T) (a, b state.Store)) {
	t.Run("ClaimsAtOnce", func(t *testing.T) { claimsAtOnce(t, newStores) })
	t.Run("WritesAtOnce", func(t *testing.T) { writesAtOnce(t, newStores) })
	t.Run("TakenAtOnce", func(t *testing.T) { takenAtOnce(t, newStores) })
	t.Run("PausedElsewhere", func(t *testing.T) { pausedElsewhere(t, newStores) })
}

// Of many workers each connection has one.
func claimsAtOnce(t *testing.T, newStores func(t *testing.T) (a, b state.Store)) {
	a, b := newStores(t)
	stores := []state.Store{a, b}
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

// Of what many do in one organisation at once everything counts, and nothing fails.
func writesAtOnce(t *testing.T, newStores func(t *testing.T) (a, b state.Store)) {
	a, b := newStores(t)
	stores := []state.Store{a, b}
	const workers, rounds = 6, 10
	var ls []state.Lease
	for i := range workers {
		c, err := a.AddConnection(t.Context(), state.Connection{Org: org, User: fmt.Sprint(i), Provider: "fake"}, state.Change{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := a.ClaimConnection(t.Context(), org, c.ID, "w", start, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	before, err := a.ChangeNumber(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	for n := range rounds {
		// The same mail lies in every mailbox, and whoever links it first makes the email.
		var wg sync.WaitGroup
		batches := make([]state.Batch, workers)
		for i, l := range ls {
			wg.Go(func() {
				if _, err := stores[i%2].CommitPage(t.Context(), l, state.Page{Revision: int64(n), Cursor: []byte("c"), Rows: []state.Row{row(fmt.Sprint(n))}}); err != nil {
					t.Error(err)
				}
				if _, err := stores[i%2].Change(t.Context(), org, state.Change{Records: []linker.Record{bob.Record}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i, l := range ls {
			if batches[i], err = stores[i%2].Pending(t.Context(), l, start, 100, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		for i, l := range ls {
			wg.Go(func() {
				var ss []state.Settlement
				for _, r := range batches[i].Rows {
					ss = append(ss, linked(r, ada))
				}
				if _, err := stores[i%2].Settle(t.Context(), l, batches[i], ss); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		rows, es, err := b.Lookup(t.Context(), org, state.Hash("id-of-"+fmt.Sprint(n)))
		if err != nil || len(rows) != workers || len(es) != 1 || len(es[0].Holders) != workers {
			t.Fatalf("mail %d has %d rows, want %d, and is %+v, want one email with as many holders: %v", n, len(rows), workers, es, err)
		}
	}
	after, err := b.ChangeNumber(t.Context(), org)
	if err != nil || after != before+workers*rounds {
		t.Errorf("the change number went from %d to %d, want %d more: %v", before, after, workers*rounds, err)
	}
}
