package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

var _ sqlstate.DB = (*database)(nil)

// database is a schema of a database.
type database struct {
	pool  *pgxpool.Pool
	texts *texts
	turns turns
}

// Begin implements sqlstate.DB.
func (d *database) Begin(ctx context.Context, org string) (sqlstate.Tx, error) {
	giveBack, err := d.turns.take(ctx, org)
	if err != nil {
		return nil, err
	}
	t, err := d.begin(ctx, giveBack, `begin isolation level read committed`)
	if err != nil {
		giveBack()
		return nil, err
	}
	t.put(nil, `SELECT pg_advisory_xact_lock($1)`, lockOf(d.texts.schema, org))
	t.begin = len(t.reads)
	return t, nil
}

// BeginAnywhere implements sqlstate.DB.
func (d *database) BeginAnywhere(ctx context.Context) (sqlstate.Tx, error) {
	return d.begin(ctx, func() {}, `begin isolation level read committed`)
}

// Snapshot implements sqlstate.DB.
func (d *database) Snapshot(ctx context.Context) (sqlstate.Tx, error) {
	return d.begin(ctx, func() {}, `begin isolation level repeatable read, read only`)
}

func (d *database) begin(ctx context.Context, ended func(), q string) (*tx, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	t := &tx{texts: d.texts, conn: conn, queue: &pgx.Batch{}, ended: ended}
	t.put(nil, q)
	t.begin = len(t.reads)
	return t, nil
}

// Again implements sqlstate.DB.
func (d *database) Again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01") // serialization_failure, deadlock_detected
}

// Erased implements sqlstate.DB. VACUUM is the host's.
func (d *database) Erased(context.Context) {}

// Close leaves the pool to the host.
func (d *database) Close() error { return nil }

// tx is a transaction. What nobody waits for goes along with the next statement that somebody waits for, in one round trip: the beginning,
// too.
type tx struct {
	texts *texts
	conn  *pgxpool.Conn
	queue *pgx.Batch                     // not sent yet; the beginning is its first part
	reads []func(sqlstate.Scanner) error // of the statements in queue
	begin int                            // how many statements that is
	sent  bool                           // the transaction is begun
	ended func()
}

// maxQueued bounds what waits for the next round trip.
const maxQueued = 500

// send sends a statement behind those that were not sent yet, and calls f with each row.
func (t *tx) send(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) (pgconn.CommandTag, error) {
	t.sent = true
	if len(t.reads) == 0 {
		rows, err := t.conn.Query(ctx, q, args...)
		if err != nil {
			return pgconn.CommandTag{}, err
		}
		return read(rows, f)
	}
	t.put(f, q, args...)
	batch, reads := t.queue, t.reads
	t.queue, t.reads = &pgx.Batch{}, nil
	res := t.conn.SendBatch(ctx, batch)
	tag, err := func() (tag pgconn.CommandTag, err error) {
		for _, f := range reads {
			rows, err := res.Query()
			if err != nil {
				return tag, err
			}
			if tag, err = read(rows, f); err != nil {
				return tag, err
			}
		}
		return tag, nil
	}()
	if closed := res.Close(); err == nil {
		err = closed
	}
	return tag, err
}

func read(rows pgx.Rows, f func(sqlstate.Scanner) error) (pgconn.CommandTag, error) {
	defer rows.Close()
	for rows.Next() {
		if f == nil {
			continue
		}
		if err := f(rows); err != nil {
			return pgconn.CommandTag{}, err
		}
	}
	rows.Close()
	return rows.CommandTag(), rows.Err()
}

// Query implements sqlstate.Tx.
func (t *tx) Query(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) error {
	_, err := t.send(ctx, f, t.texts.of(q), args)
	return err
}

// Exec implements sqlstate.Tx.
func (t *tx) Exec(ctx context.Context, q string, args []any) (int, error) {
	tag, err := t.send(ctx, nil, t.texts.of(q), args)
	return int(tag.RowsAffected()), err
}

// put adds a statement to the queue.
func (t *tx) put(f func(sqlstate.Scanner) error, q string, args ...any) {
	t.queue.Queue(q, args...)
	t.reads = append(t.reads, f)
}

// later is send that nobody waits for.
func (t *tx) later(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) error {
	if len(t.reads) >= maxQueued {
		_, err := t.send(ctx, f, q, args)
		return err
	}
	t.put(f, q, args...)
	return nil
}

// Do implements sqlstate.Tx.
func (t *tx) Do(ctx context.Context, q string, args []any) error {
	return t.later(ctx, nil, t.texts.of(q), args)
}

// Each implements sqlstate.Tx.
func (t *tx) Each(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) error {
	q, args, rows, err := t.texts.each(q, args)
	if err == nil && rows > 0 {
		_, err = t.send(ctx, f, q, args)
	}
	return err
}

// EachLater implements sqlstate.Tx.
func (t *tx) EachLater(ctx context.Context, f func(sqlstate.Scanner) error, q string, args []any) error {
	q, args, rows, err := t.texts.each(q, args)
	if err == nil && rows > 0 {
		err = t.later(ctx, f, q, args)
	}
	return err
}

// Commit implements sqlstate.Tx.
func (t *tx) Commit(ctx context.Context) error {
	defer t.end()
	if !t.sent && len(t.reads) == t.begin {
		return nil // nothing was asked
	}
	tag, err := t.send(ctx, nil, `commit`, nil)
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("postgres: the transaction was rolled back")
	}
	return err
}

// Rollback implements sqlstate.Tx.
func (t *tx) Rollback(ctx context.Context) error {
	defer t.end()
	if !t.sent || t.conn.Conn().IsClosed() {
		return nil
	}
	// Whoever gave up waits no more; the connection is wanted all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	t.conn.Exec(ctx, `rollback`) //nolint:errcheck // the pool drops a connection that is in a transaction
	return nil
}

func (t *tx) end() {
	t.conn.Release()
	t.ended()
}
