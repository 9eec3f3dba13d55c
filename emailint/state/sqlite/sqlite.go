// Package sqlite keeps the engine's state in one SQLite file: for one process, or several on one machine. It needs no
// server and no C compiler. Many machines need a server's database: see package postgres.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	driver "modernc.org/sqlite" // and it registers itself

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

var _ state.Store = (*Store)(nil)

//go:embed migrations/*.sql
var migrations embed.FS

type logic = sqlstate.Store

// Store is a state.Store in a SQLite file.
type Store struct{ *logic }

// Open opens the file, makes it when it is missing, and brings its schema up to date. ":memory:" lives as long as the
// Store. A file written by a newer version is refused.
func Open(ctx context.Context, path string) (*Store, error) {
	// By default SQLite writes what it needs to undo one statement to a file in /var/tmp: for our many rows a statement that was two of three writes.
	pragmas := "_pragma=busy_timeout(10000)&_pragma=temp_store(MEMORY)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-16000)"
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	// What is erased is overwritten.
	w, err := sql.Open("sqlite", "file:"+escaped+"?"+pragmas+"&_pragma=secure_delete(1)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("state: opening %s: %w", path, err)
	}
	w.SetMaxOpenConns(1)
	f := &file{w: w, r: w, prepared: map[statement]*sql.Stmt{}}
	if err := f.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("state: opening %s: %w", path, err), w.Close())
	}
	if path != ":memory:" {
		if f.r, err = sql.Open("sqlite", "file:"+escaped+"?"+pragmas+"&_pragma=query_only(1)"); err != nil {
			return nil, errors.Join(fmt.Errorf("state: opening %s: %w", path, err), w.Close())
		}
		f.r.SetMaxOpenConns(4)
	}
	return &Store{sqlstate.New(f)}, nil
}

func (f *file) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	t, err := f.first(ctx)
	if err != nil {
		return err
	}
	defer t.Rollback() //nolint:errcheck // what is committed can't be rolled back
	var have int
	if err := t.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&have); err != nil {
		return err
	}
	if have > len(names) {
		return fmt.Errorf("its schema is version %d and this program knows %d: use a newer program", have, len(names))
	}
	for i := have; i < len(names); i++ {
		text, err := migrations.ReadFile(names[i])
		if err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
	}
	if _, err := t.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(names))); err != nil {
		return err
	}
	return t.Commit()
}

// first begins the first transaction. Of several processes that make the file at once one brings it to have a log. SQLite waits for it as busy_timeout says
// in all but one place, where it could be for ever, and there the others are told at once that the file is locked. Where it has waited itself that is the
// end of it: somebody else has the file.
func (f *file) first(ctx context.Context) (*sql.Tx, error) {
	const locked = 5 // SQLITE_BUSY
	until := time.Now().Add(10 * time.Second)
	for pause := time.Millisecond; ; pause *= 2 {
		t, err := f.w.BeginTx(ctx, nil)
		var e *driver.Error
		if err == nil || time.Now().Add(pause).After(until) || !errors.As(err, &e) || e.Code()&0xff != locked {
			return t, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}
