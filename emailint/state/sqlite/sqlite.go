// Package sqlite keeps the engine's state in one SQLite file: for one process, or several on one machine. It needs no
// server and no C compiler. Many machines need a server's database.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/internal/seal"
)

var _ state.Store = (*Store)(nil)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is a state.Store in a SQLite file.
type Store struct {
	w *sql.DB // one connection: SQLite has one writer, and waiting for it here is fair
	r *sql.DB

	mu       sync.Mutex // guards prepared
	prepared map[statement]*sql.Stmt
}

// statement is a query on w or r.
type statement struct {
	db    *sql.DB
	query string
}

// maxPrepared bounds the statements kept; queries are few, and fixed texts.
const maxPrepared = 500

// Open opens the file, makes it when it is missing, and brings its schema up to date. ":memory:" lives as long as the
// Store. A file written by a newer version is refused.
func Open(ctx context.Context, path string) (*Store, error) {
	pragmas := "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-16000)"
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	// What is erased is overwritten.
	w, err := sql.Open("sqlite", "file:"+escaped+"?"+pragmas+"&_pragma=secure_delete(1)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("state: opening %s: %w", path, err)
	}
	w.SetMaxOpenConns(1)
	s := &Store{w: w, r: w, prepared: map[statement]*sql.Stmt{}}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("state: opening %s: %w", path, err), w.Close())
	}
	if path != ":memory:" {
		if s.r, err = sql.Open("sqlite", "file:"+escaped+"?"+pragmas+"&_pragma=query_only(1)"); err != nil {
			return nil, errors.Join(fmt.Errorf("state: opening %s: %w", path, err), w.Close())
		}
		s.r.SetMaxOpenConns(4)
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error {
	if s.r == s.w {
		return s.w.Close()
	}
	return errors.Join(s.r.Close(), s.w.Close())
}

// Seal seals the interface.
func (s *Store) Seal(seal.Store) {}

func (s *Store) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		var have int
		if err := t.row(`PRAGMA user_version`).Scan(&have); err != nil {
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
		_, err := t.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(names)))
		return err
	})
}

// tx is a transaction. Statements outlive it: preparing them anew each time was a third of the time of a small pass.
type tx struct {
	*sql.Tx
	ctx    context.Context
	keeper *Store
	db     *sql.DB
	stmts  map[string]*sql.Stmt
	fresh  []string // prepared for this transaction alone so far

	settling int64 // the row that is being settled, not pointed at its Email yet
}

// write runs f in the one write transaction.
func (s *Store) write(ctx context.Context, f func(t *tx) error) error { return s.run(ctx, s.w, f) }

// read runs f on one snapshot.
func (s *Store) read(ctx context.Context, f func(t *tx) error) error { return s.run(ctx, s.r, f) }

func (s *Store) run(ctx context.Context, db *sql.DB, f func(t *tx) error) error {
	begun, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	t := &tx{Tx: begun, ctx: ctx, keeper: s, db: db, stmts: map[string]*sql.Stmt{}}
	// After the transaction: the writer has one connection, and it holds it.
	defer func() { s.keep(db, t.fresh) }()
	if err := f(t); err != nil {
		if back := t.Rollback(); back != nil && !errors.Is(back, sql.ErrTxDone) {
			return errors.Join(err, back)
		}
		return err // as it is: callers compare sentinels
	}
	return t.Commit()
}

// keep prepares statements for all transactions to come. What can't be prepared now is next time.
func (s *Store) keep(db *sql.DB, queries []string) {
	for _, q := range queries {
		k := statement{db, q}
		s.mu.Lock()
		known := s.prepared[k] != nil || len(s.prepared) >= maxPrepared
		s.mu.Unlock()
		if known {
			continue
		}
		st, err := db.Prepare(q)
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.prepared[k] != nil {
			st.Close()
		} else {
			s.prepared[k] = st
		}
		s.mu.Unlock()
	}
}

// scanner is a row, or the current one of rows.
type scanner interface{ Scan(dest ...any) error }

// failed is a row whose statement could not be prepared.
type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

func (t *tx) stmt(q string) (*sql.Stmt, error) {
	if s := t.stmts[q]; s != nil {
		return s, nil
	}
	t.keeper.mu.Lock()
	kept := t.keeper.prepared[statement{t.db, q}]
	t.keeper.mu.Unlock()
	if kept != nil {
		t.stmts[q] = t.StmtContext(t.ctx, kept)
		return t.stmts[q], nil
	}
	s, err := t.PrepareContext(t.ctx, q)
	if err != nil {
		return nil, err
	}
	t.stmts[q] = s
	t.fresh = append(t.fresh, q)
	return s, nil
}

func (t *tx) row(q string, args ...any) scanner {
	s, err := t.stmt(q)
	if err != nil {
		return failed{err}
	}
	return s.QueryRowContext(t.ctx, args...)
}

// exec returns the number of rows changed.
func (t *tx) exec(q string, args ...any) (int, error) {
	s, err := t.stmt(q)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (t *tx) insert(q string, args ...any) (int64, error) {
	s, err := t.stmt(q)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// list reads all rows before it returns, so that f's results may be used for further queries.
func list[T any](t *tx, f func(scanner) (T, error), q string, args ...any) (out []T, err error) {
	s, err := t.stmt(q)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(t.ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := f(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func one[T any](s scanner) (v T, err error) { err = s.Scan(&v); return v, err }

func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return state.ErrNotFound
	}
	return err
}

// stamp stores a time as microseconds; 0 is the zero time.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func unstamp(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func blob(h state.Hash) any {
	if h == "" {
		return nil
	}
	return []byte(h)
}

func packHashes(hs []state.Hash) []byte {
	var b []byte
	for _, h := range hs {
		if len(h) > 0 && len(h) < 256 {
			b = append(append(b, byte(len(h))), h...)
		}
	}
	return b
}

func unpackHashes(b []byte) (hs []state.Hash) {
	for len(b) > 0 && len(b) > int(b[0]) {
		hs = append(hs, state.Hash(b[1:1+int(b[0])]))
		b = b[1+int(b[0]):]
	}
	return hs
}
