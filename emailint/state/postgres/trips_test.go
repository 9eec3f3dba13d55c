package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// counter counts what is sent to the database.
type counter struct {
	mu                sync.Mutex // guards both
	trips, statements int
}

func (c *counter) sent(statements int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trips++
	c.statements += statements
}

// of returns how many round trips and statements something took.
func (c *counter) of(f func()) (trips, statements int) {
	c.trips, c.statements = 0, 0
	f()
	return c.trips, c.statements
}

// TraceQueryStart implements pgx.QueryTracer.
func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.sent(1)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	c.sent(d.Batch.Len())
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (c *counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (c *counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// A page costs the same few statements however many mails it has, and so do decisions on what links to nothing. Each mail that links is asked about
// once more.
func TestRoundTrips(t *testing.T) {
	c := &counter{}
	s := open(t, connectWith(t, c))
	ctx, now := t.Context(), time.Now()
	conn, err := s.AddConnection(ctx, state.Connection{Org: "o", User: "u", Provider: "fake"}, state.Change{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.ClaimConnection(ctx, "o", conn.ID, "w", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	const mails, linking = 500, 50
	page := state.Page{Cursor: []byte("c")}
	for i := range mails {
		id := fmt.Sprintf("%016d", i)
		page.Rows = append(page.Rows, state.Row{Item: provider.ItemID(id), Folders: []provider.Folder{{ID: "INBOX"}}, Received: now, MessageID: state.Hash(id),
			Cites: []state.Hash{state.Hash("p" + id[1:])}, Participants: []state.Hash{state.Hash("a" + id[1:]), "domain"}})
	}
	var b state.Batch
	settle := func(link bool) func() {
		return func() {
			var ss []state.Settlement
			for i, r := range b.Rows {
				st := state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateUnmatched, Fingerprint: "f" + r.MessageID[1:]}
				if link && i < linking {
					st.Fate = state.FateLinked
					st.Email = &state.EmailValue{MessageID: r.MessageID, Fingerprint: st.Fingerprint, Holder: true, Envelope: []byte("e"),
						Links: []linker.Link{{Record: linker.Record{Kind: linker.Contact, ID: "ada"}, By: linker.ByAddress}}}
				}
				ss = append(ss, st)
			}
			if _, err := s.Settle(ctx, l, b, ss); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit := func() {
		if _, err := s.CommitPage(ctx, l, page); err != nil {
			t.Fatal(err)
		}
		page.Revision++
	}
	pending := func() {
		if b, err = s.Pending(ctx, l, now, mails, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		what              string
		do                func()
		trips, statements int // at most
	}{
		{"a page of new mail", commit, 9, 19},
		{"the same page again", commit, 9, 19},
		{"what is pending", pending, 6, 6},
		{"decisions, a tenth of which link", settle(true), linking + 12, 10*linking + 12},
		{"what changed", func() {
			if _, err := s.Change(ctx, "o", state.Change{Participants: []state.Hash{"domain"}}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Spread(ctx, "o", mails); err != nil {
				t.Fatal(err)
			}
		}, 15, 30},
		{"what is pending again", pending, 6, 6},
	} {
		trips, statements := c.of(step.do)
		t.Logf("%s: %d round trips, %d statements", step.what, trips, statements)
		if trips > step.trips || statements > step.statements {
			t.Errorf("%s takes %d round trips and %d statements, want %d and %d at most", step.what, trips, statements, step.trips, step.statements)
		}
	}
	if len(b.Rows) != mails {
		t.Fatalf("%d are pending, want %d", len(b.Rows), mails)
	}
	b.Rows = b.Rows[linking:]
	if trips, statements := c.of(settle(false)); trips > 12 || statements > 20 {
		t.Errorf("decisions on what links to nothing take %d round trips and %d statements, want 12 and 20 at most", trips, statements)
	}
}
