// Package postgres keeps the engine's state in a PostgreSQL database (15; older ones back to 12 should do, and are not tested), on the host's own pool: for any number of processes on any
// number of machines.
//
// The tables lie in a schema of their own, "emailint" unless Options say otherwise; nothing else of the database is touched. Open makes what
// is missing. A role that may not create schemas is given one that it owns; one that may only read and write the rows opens what another role
// has brought up to date.
//
// # Several at once
//
// Within an organisation one transaction writes at a time, on however many machines: it begins with an advisory lock on schema and
// organisation. So what it reads does not change under it, and READ COMMITTED is enough. Goroutines of one Store wait for their turn
// before they take a connection from the pool, so that those who wait for one organisation leave connections to the others. Reading waits for nobody:
// each method that only reads sees one snapshot (REPEATABLE READ, READ ONLY).
//
// A worker who looks for something to do looks in all organisations, and takes no advisory lock: it locks the row of the connection that it
// claims and skips those that are locked. A transaction under a lease locks that row too, so nobody takes over between its
// look at the lease and its commit. The claim writes nothing but that row and waits for no lock, so it is part of no deadlock. Where a deadlock or a
// failed serialization is reported all the same, the transaction is tried again.
//
// # What is erased
//
// Rows that were deleted or replaced stay in the table's file until VACUUM has been there, and longer in write-ahead logs, archives and
// backups. Who must know when they are gone runs VACUUM after Erase and lets backups expire.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

var _ state.Store = (*Store)(nil)

//go:embed migrations/*.sql
var migrations embed.FS

type logic = sqlstate.Store

// Store is a state.Store in a schema of a PostgreSQL database. Close leaves the pool open: it is the host's.
type Store struct{ *logic }

// Options of a Store; nil for defaults.
type Options struct {
	// Schema has the tables: small letters, digits and underscores, beginning with a letter. "" is "emailint".
	Schema string
}

var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Open makes the schema where it is missing and brings it up to date; several processes may do so at once. A schema that a newer version made is
// refused. Pools that pgbouncer shares by transaction need a QueryExecMode without prepared statements, as pgx explains.
func Open(ctx context.Context, pool *pgxpool.Pool, o *Options) (*Store, error) {
	schema := "emailint"
	if o != nil && o.Schema != "" {
		schema = o.Schema
	}
	if !identifier.MatchString(schema) {
		return nil, fmt.Errorf("state: %q is no name for a schema: small letters, digits and underscores, beginning with a letter", schema)
	}
	if err := migrate(ctx, pool, schema); err != nil {
		return nil, fmt.Errorf("state: opening schema %s: %w", schema, err)
	}
	return &Store{sqlstate.New(&database{pool: pool, texts: newTexts(schema), turns: turns{of: map[string]*turn{}}})}, nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	// What the one before made is to be seen after the wait, also where the host's transactions see one moment.
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(t pgx.Tx) error {
		if _, err := t.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockOf(schema, "")); err != nil { // "" is no organisation
			return err
		}
		var reserved, there, made bool
		if err := t.QueryRow(ctx, `SELECT quote_ident($1) <> $1, EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), EXISTS (SELECT 1 FROM pg_tables
			WHERE schemaname = $1 AND tablename = 'schema_version')`, schema).Scan(&reserved, &there, &made); err != nil {
			return err
		}
		if reserved {
			return errors.New("SQL reserves that word: use another name")
		}
		// IF NOT EXISTS asks for the right to create also where it exists.
		if !there {
			if _, err := t.Exec(ctx, `CREATE SCHEMA `+schema); err != nil {
				return err
			}
		}
		if _, err := t.Exec(ctx, `SET LOCAL search_path TO `+schema+`, pg_catalog`); err != nil {
			return err
		}
		if !made {
			if _, err := t.Exec(ctx, `CREATE TABLE schema_version (number BIGINT NOT NULL)`); err != nil {
				return err
			}
		}
		have := 0
		err := t.QueryRow(ctx, `SELECT number FROM schema_version`).Scan(&have)
		if errors.Is(err, pgx.ErrNoRows) {
			_, err = t.Exec(ctx, `INSERT INTO schema_version (number) VALUES (0)`)
		}
		if err != nil {
			return err
		}
		if have > len(names) {
			return fmt.Errorf("it is version %d and this program knows %d: use a newer program", have, len(names))
		}
		if have == len(names) {
			return nil
		}
		for i := have; i < len(names); i++ {
			text, err := migrations.ReadFile(names[i])
			if err != nil {
				return err
			}
			if _, err := t.Exec(ctx, string(text), pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("%s: %w", names[i], err)
			}
		}
		_, err = t.Exec(ctx, `UPDATE schema_version SET number = $1`, len(names))
		return err
	})
}
