// Package sqlstate is the state in an SQL database: what the methods of state.Store do, once for every database. It is for the packages that
// open one; each gives a DB that begins its transactions.
//
// Statements are one text for all databases, in the words that SQLite and PostgreSQL share:
//
//   - ? and ?N are parameters.
//   - Keywords are in capitals and names of tables and columns in small letters, so that a DB that has to say more than a table's name
//     finds it behind FROM, JOIN, INTO or UPDATE.
//   - Truths are compared as such and never added: SQLite has numbers for them, PostgreSQL does not.
//   - A number that is compared with a literal, and is a parameter, is CAST: PostgreSQL takes it for a short one otherwise.
//   - /*lock*/ stands where a row is to be locked until the transaction ends, /*claim*/ where one is, and those are passed over that others have
//     locked. Where there is one writer it is a comment.
//   - /*clock*/ stands before a parameter that is the time of the process, in microseconds: a database with a clock of its own puts that there.
//   - /*each*/ stands where the rows of parameters come from that Tx.Each is given, see there.
//
// # One writer
//
// The logic is written for one writer in an organisation: it reads, decides, and writes what it decided. So a transaction that writes is
// begun for an organisation, and is alone with it until it ends. Nothing that it reads or writes belongs to another. Only
// Claim has no organisation, as it looks for work in all of them: it writes who has a connection, and nothing else. That is
// what tx.holds reads, and locks. And consents, pauses and the deployment belong to none: they have tables of their own, and each statement on
// them stands for itself.
package sqlstate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/internal/seal"
)

var _ state.Store = (*Store)(nil)

// DB is a database with the state's tables.
type DB interface {
	// Begin begins a transaction that writes, and waits until it is alone with the organisation.
	Begin(ctx context.Context, org string) (Tx, error)
	// BeginAnywhere begins one that writes, and waits for nobody: see Claim.
	BeginAnywhere(ctx context.Context) (Tx, error)
	// Snapshot begins one that reads, and sees one moment.
	Snapshot(ctx context.Context) (Tx, error)
	// Again reports whether a transaction that ended with this error may be tried once more: it lost to another.
	Again(err error) bool
	// Erased is called when what was erased is to be no more in any file.
	Erased(ctx context.Context)
	Close() error
}

// Tx is a transaction, for one goroutine.
type Tx interface {
	// Query calls f with each row.
	Query(ctx context.Context, f func(Scanner) error, q string, args []any) error
	// Exec returns the number of rows changed.
	Exec(ctx context.Context, q string, args []any) (int, error)
	// Do is Exec that nobody waits for: an error may be that of a later call, Commit at the latest.
	Do(ctx context.Context, q string, args []any) error
	// Each is Query, for each row of the arguments, in any order. An argument that is an []int64, [][]byte, []string or []bool is a column of them,
	// of one length; others are the same in all rows. A database may do it in one statement: then columns come from what stands in place of
	// /*each*/, a FROM clause. In a SELECT, or in each part of a UNION, it stands right behind FROM, before the first table.
	Each(ctx context.Context, f func(Scanner) error, q string, args []any) error
	// EachLater is Each that nobody waits for: f, which may be nil, is called at Commit at the latest.
	EachLater(ctx context.Context, f func(Scanner) error, q string, args []any) error
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// Scanner is a row.
type Scanner interface{ Scan(dest ...any) error }

type scanner = Scanner

// Store is a state.Store in a DB.
type Store struct{ db DB }

// New returns the store in a database whose schema is up to date.
func New(db DB) *Store { return &Store{db} }

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Seal seals the interface.
func (s *Store) Seal(seal.Store) {}

// tx is a transaction with its context.
type tx struct {
	tx     Tx
	ctx    context.Context
	writes bool

	settling int64 // the row that is being settled, not pointed at its Email yet
	known    known // of what is settled, or of the threads that are asked for
	moved    bool  // rows other than that which is settled went, or became copies of another Email, or of none

	emailsRead map[int64]*state.Email // so far, where nothing is written
}

// tries is how often a transaction is begun that loses to others.
const tries = 5

// write runs f in a transaction that is alone with an organisation. f may run again, and begins anew then.
func (s *Store) write(ctx context.Context, org string, f func(t *tx) error) error {
	if org != text(org) {
		// Made valid it would be another's, whose turn this one doesn't wait for.
		return fmt.Errorf("state: %q is no name of an organisation: it has to be UTF-8 without NUL", org)
	}
	return s.run(ctx, true, func() (Tx, error) { return s.db.Begin(ctx, org) }, f)
}

// writeAnywhere runs f in a transaction that looks at all organisations.
func (s *Store) writeAnywhere(ctx context.Context, f func(t *tx) error) error {
	return s.run(ctx, true, func() (Tx, error) { return s.db.BeginAnywhere(ctx) }, f)
}

// read runs f on one snapshot.
func (s *Store) read(ctx context.Context, f func(t *tx) error) error {
	return s.run(ctx, false, func() (Tx, error) { return s.db.Snapshot(ctx) }, f)
}

func (s *Store) run(ctx context.Context, writes bool, begin func() (Tx, error), f func(t *tx) error) (err error) {
	for range tries {
		if err = s.once(ctx, writes, begin, f); err == nil || !s.db.Again(err) {
			return err
		}
	}
	return err
}

func (s *Store) once(ctx context.Context, writes bool, begin func() (Tx, error), f func(t *tx) error) (err error) {
	begun, err := begin()
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended { // it panicked: whoever recovers must not find it open
			begun.Rollback(ctx) //nolint:errcheck // the panic says more
		}
	}()
	err = f(&tx{tx: begun, ctx: ctx, writes: writes})
	ended = true
	if err != nil {
		if back := begun.Rollback(ctx); back != nil && !errors.Is(back, sql.ErrTxDone) {
			return errors.Join(err, back)
		}
		return err // as it is: callers compare sentinels
	}
	return begun.Commit(ctx)
}

// single is the first row of a query, which is asked when it is scanned.
type single struct {
	t    *tx
	q    string
	args []any
}

// Scan returns sql.ErrNoRows where there is no row.
func (r single) Scan(dest ...any) error {
	found := false
	err := r.t.tx.Query(r.t.ctx, func(s Scanner) error {
		if found {
			return nil
		}
		found = true
		return s.Scan(dest...)
	}, r.q, plain(r.args))
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

func (t *tx) row(q string, args ...any) scanner { return single{t, q, args} }

// exec returns the number of rows changed.
func (t *tx) exec(q string, args ...any) (int, error) { return t.tx.Exec(t.ctx, q, plain(args)) }

// do is exec where the number doesn't count, and nobody waits for it.
func (t *tx) do(q string, args ...any) error { return t.tx.Do(t.ctx, q, plain(args)) }

// each is do for each row of the arguments.
func (t *tx) each(q string, args ...any) error { return t.tx.EachLater(t.ctx, nil, q, plain(args)) }

// list returns all rows.
func list[T any](t *tx, f func(scanner) (T, error), q string, args ...any) (out []T, err error) {
	err = t.tx.Query(t.ctx, func(s Scanner) error {
		v, err := f(s)
		out = append(out, v)
		return err
	}, q, plain(args))
	return out, err
}

// listEach is list for each row of the arguments.
func listEach[T any](t *tx, f func(scanner) (T, error), q string, args ...any) (out []T, err error) {
	err = t.tx.Each(t.ctx, func(s Scanner) error {
		v, err := f(s)
		out = append(out, v)
		return err
	}, q, plain(args))
	return out, err
}

func one[T any](s scanner) (v T, err error) { err = s.Scan(&v); return v, err }

func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return state.ErrNotFound
	}
	return err
}

// plain brings arguments to the few types that a database is given. Text is made valid: it may come out of mail, and not every database keeps any
// bytes. No bytes are stored as NULL, so that they are one thing.
func plain(args []any) []any {
	for i, a := range args {
		switch a := a.(type) {
		case nil, bool, int64, []int64, []bool:
		case int:
			args[i] = int64(a)
		case string:
			args[i] = text(a)
		case []byte:
			if len(a) == 0 {
				args[i] = nil
			}
		case [][]byte:
			for k, b := range a {
				if len(b) == 0 {
					a[k] = nil
				}
			}
		case []string:
			for k, s := range a {
				a[k] = text(s)
			}
		default:
			switch v := reflect.ValueOf(a); v.Kind() {
			case reflect.String:
				args[i] = text(v.String())
			case reflect.Slice:
				args[i] = nil
				if v.Len() > 0 {
					args[i] = v.Bytes()
				}
			}
		}
	}
	return args
}

// text returns s as it is stored.
func text(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", string(utf8.RuneError))
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
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
