package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres"
)

// interruption does something once, when a lease was looked at: in the middle of a transaction under a lease.
type interruption struct {
	counter
	do func()
}

// TraceBatchStart implements pgx.BatchTracer.
func (i *interruption) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		if strings.Contains(q.SQL, "SELECT epoch") {
			return context.WithValue(ctx, i, true)
		}
	}
	return ctx
}

// TraceBatchEnd implements pgx.BatchTracer.
func (i *interruption) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	if do := i.do; do != nil && ctx.Value(i) != nil {
		i.do = nil
		do()
	}
}

// Between a transaction's look at its lease and its commit nobody takes the connection over, though the lease has run out.
func TestNoTakeOverBeforeTheCommit(t *testing.T) {
	i := &interruption{}
	pool, schema := newSchema(t)
	o := &postgres.Options{Schema: schema}
	late, err := postgres.Open(t.Context(), connectWith(t, i).Pool(), o)
	if err != nil {
		t.Fatal(err)
	}
	other, err := postgres.Open(t.Context(), pool, o)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := late.AddConnection(t.Context(), state.Connection{Org: "o", User: "u", Provider: "fake"}, state.Change{}); err != nil {
		t.Fatal(err)
	}
	l, err := late.Claim(t.Context(), "late", now, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	interrupted := false
	i.do = func() {
		interrupted = true
		if _, err := other.Claim(t.Context(), "other", now.Add(time.Hour), time.Minute); !errors.Is(err, state.ErrNoneDue) {
			t.Errorf("in the middle of a commit a claim returns %v, want none due", err)
		}
	}
	if _, err := late.CommitPage(t.Context(), l, state.Page{Cursor: []byte("c")}); err != nil || !interrupted {
		t.Fatalf("the commit returns %v, interrupted: %v", err, interrupted)
	}
	if _, err := other.Claim(t.Context(), "other", now.Add(time.Hour), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := late.CommitPage(t.Context(), l, state.Page{Revision: 1, Cursor: []byte("d")}); !errors.Is(err, state.ErrStale) {
		t.Errorf("who lost his lease commits: %v", err)
	}
}
