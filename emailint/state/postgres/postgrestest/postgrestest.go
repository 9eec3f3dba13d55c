// Package postgrestest opens stores for tests: each in a schema of its own, which goes with it.
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres"
)

// Variable names the database of the tests, as a URL.
const Variable = "EMAILINT_POSTGRES"

// URL returns the database of the tests. Without one the test is skipped.
func URL(t testing.TB) string {
	t.Helper()
	url := os.Getenv(Variable)
	if url == "" {
		t.Skip("it needs a PostgreSQL: eval \"$(.ci/postgres/start)\" sets " + Variable)
	}
	return url
}

// Database makes schemas in a database, for stores that are thrown away. To make one takes long, so those that were emptied are used again.
type Database struct {
	pool *pgxpool.Pool

	mu   sync.Mutex // guards both
	made []string
	free []string // empty, and nobody's
}

// Connect opens a pool. conns is how many connections it has at most; 0 leaves it to the URL. tracer may be nil.
func Connect(ctx context.Context, url string, conns int32, tracer pgx.QueryTracer) (*Database, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if conns > 0 {
		c.MaxConns = conns
	}
	// What is thrown away need not be on a disk.
	c.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	c.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Database{pool: pool}, nil
}

// Close drops the schemas and closes the pool.
func (d *Database) Close() error {
	defer d.pool.Close()
	var errs []error
	for _, schema := range d.made {
		errs = append(errs, Drop(context.Background(), d.pool, schema))
	}
	return errors.Join(errs...)
}

// Pool returns the pool.
func (d *Database) Pool() *pgxpool.Pool { return d.pool }

// Name returns the name of a schema that nobody has.
func Name() string { return "test_" + strings.ToLower(rand.Text()) }

// Open returns an empty store in a schema of its own. Closing it empties the schema.
func (d *Database) Open(ctx context.Context) (state.Store, error) {
	d.mu.Lock()
	var schema string
	if n := len(d.free); n > 0 {
		schema, d.free = d.free[n-1], d.free[:n-1]
	} else {
		schema = Name()
		d.made = append(d.made, schema)
	}
	d.mu.Unlock()
	return d.open(ctx, schema)
}

// Reopen opens the schema of a store that Open opened again, as another process would. Only one of the two is to be closed.
func (d *Database) Reopen(ctx context.Context, s state.Store) (state.Store, error) {
	return d.open(ctx, s.(*store).schema)
}

func (d *Database) open(ctx context.Context, schema string) (state.Store, error) {
	s, err := postgres.Open(ctx, d.pool, &postgres.Options{Schema: schema})
	if err != nil {
		return nil, err
	}
	return &store{Store: s, of: d, schema: schema}, nil
}

type store struct {
	*postgres.Store
	of     *Database
	schema string
}

// Close empties the schema.
func (s *store) Close() error {
	ctx := context.Background()
	rows, err := s.of.pool.Query(ctx, `SELECT 'DELETE FROM ' || $1 || '.' || tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'schema_version'
		UNION ALL SELECT 'ALTER SEQUENCE ' || $1 || '.' || sequencename || ' RESTART' FROM pg_sequences WHERE schemaname = $1`, s.schema)
	if err != nil {
		return err
	}
	empty, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if _, err := s.of.pool.Exec(ctx, strings.Join(empty, "; ")); err != nil {
		return err
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.free = append(s.of.free, s.schema)
	return s.Store.Close()
}

// Drop drops a schema with all that is in it.
func Drop(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	_, err := pool.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
	return err
}
