package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

var _ sqlstate.DB = (*file)(nil)

// file is a SQLite file. Its one writer is alone with every organisation.
type file struct {
	w *sql.DB // one connection: SQLite has one writer, and waiting for it here is fair
	r *sql.DB

	mu       sync.Mutex // guards prepared
	prepared map[statement]*sql.Stmt
	texts    sync.Map // string by manyKey
}

// statement is a query on w or r.
type statement struct {
	db    *sql.DB
	query string
}

// maxPrepared bounds the statements kept; queries are few, and fixed texts.
const maxPrepared = 500

// Begin implements sqlstate.DB.
func (f *file) Begin(ctx context.Context, _ string) (sqlstate.Tx, error) { return f.begin(ctx, f.w) }

// BeginAnywhere implements sqlstate.DB.
func (f *file) BeginAnywhere(ctx context.Context) (sqlstate.Tx, error) { return f.begin(ctx, f.w) }

// Snapshot implements sqlstate.DB.
func (f *file) Snapshot(ctx context.Context) (sqlstate.Tx, error) { return f.begin(ctx, f.r) }

func (f *file) begin(ctx context.Context, db *sql.DB) (sqlstate.Tx, error) {
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, ended(ctx, err)
	}
	return &tx{Tx: t, file: f, db: db, stmts: map[string]*sql.Stmt{}}, nil
}

// Again implements sqlstate.DB. Writers wait for each other before they begin.
func (f *file) Again(error) bool { return false }

// Erased implements sqlstate.DB. The log still has it all. Where a reader is in the way now, the log is overwritten bit by bit, or emptied when the
// file is closed.
func (f *file) Erased(ctx context.Context) {
	f.w.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`) //nolint:errcheck // it is erased, and the receipt says so
}

// Close closes the file.
func (f *file) Close() error {
	if f.r == f.w {
		return f.w.Close()
	}
	return errors.Join(f.r.Close(), f.w.Close())
}

// tx is a transaction. Statements outlive it: preparing them anew each time was a third of the time of a small pass.
type tx struct {
	*sql.Tx
	file  *file
	db    *sql.DB
	stmts map[string]*sql.Stmt
	fresh []string // prepared for this transaction alone so far
}

// Commit implements sqlstate.Tx.
func (t *tx) Commit(ctx context.Context) error {
	// After the transaction: the writer has one connection, and it holds it.
	defer t.keep(ctx)
	return ended(ctx, t.Tx.Commit())
}

// Rollback implements sqlstate.Tx.
func (t *tx) Rollback(ctx context.Context) error {
	defer t.keep(ctx)
	return t.Tx.Rollback()
}

// ended returns the error of a call in the words of its context, where that has ended. database/sql rolls back and closes what it has then, and of the
// next step says only that its transaction or its statement is no more.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w (%w)", ctx.Err(), err)
}

// keep prepares statements for all transactions to come. What can't be prepared now is next time: whoever was told to stop waits for no other writer.
func (t *tx) keep(ctx context.Context) {
	f := t.file
	for _, q := range t.fresh {
		k := statement{t.db, q}
		f.mu.Lock()
		known := f.prepared[k] != nil || len(f.prepared) >= maxPrepared
		f.mu.Unlock()
		if known {
			continue
		}
		st, err := t.db.PrepareContext(ctx, q)
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.prepared[k] != nil {
			st.Close()
		} else {
			f.prepared[k] = st
		}
		f.mu.Unlock()
	}
}

func (t *tx) stmt(ctx context.Context, q string) (*sql.Stmt, error) {
	if s := t.stmts[q]; s != nil {
		return s, nil
	}
	t.file.mu.Lock()
	kept := t.file.prepared[statement{t.db, q}]
	t.file.mu.Unlock()
	if kept != nil {
		t.stmts[q] = t.StmtContext(ctx, kept)
		return t.stmts[q], nil
	}
	s, err := t.PrepareContext(ctx, q)
	if err != nil {
		return nil, ended(ctx, err)
	}
	t.stmts[q] = s
	t.fresh = append(t.fresh, q)
	return s, nil
}

// Query implements sqlstate.Tx.
func (t *tx) Query(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) (err error) {
	s, err := t.stmt(ctx, q)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = ended(ctx, errors.Join(err, rows.Close())) }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Exec implements sqlstate.Tx.
func (t *tx) Exec(ctx context.Context, q string, args []any) (int, error) {
	s, err := t.stmt(ctx, q)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, ended(ctx, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// Do implements sqlstate.Tx.
func (t *tx) Do(ctx context.Context, q string, args []any) error {
	_, err := t.Exec(ctx, q, args)
	return err
}
