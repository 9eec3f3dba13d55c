package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

// A transaction whose context has ended is over at once, though others wait to write: what it prepared for those to come is no reason to wait for them.
func TestEndedWaitsForNoWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep.db")
	synctest.Test(t, func(t *testing.T) {
		w, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		w.SetMaxOpenConns(1)
		f := &file{w: w, r: w, prepared: map[statement]*sql.Stmt{}}
		ctx, cancel := context.WithCancel(t.Context())
		first, err := f.Begin(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.Exec(ctx, `CREATE TABLE thing (id INTEGER)`, nil); err != nil {
			t.Fatal(err)
		}
		begun := make(chan sqlstate.Tx)
		go func() {
			tx, err := f.Begin(t.Context(), "")
			if err != nil {
				t.Error(err)
			}
			begun <- tx
		}()
		synctest.Wait() // it waits for the first one's connection
		cancel()
		_ = first.Rollback(ctx)
		if second := <-begun; second != nil {
			if err := second.Rollback(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
