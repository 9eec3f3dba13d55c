// Package postgrestest opens stores for tests: each in a schema of its own, which goes with it.
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
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

// Database makes schemas in a database, for stores that are thrown away.
type Database struct{ pool *pgxpool.Pool }

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
	return &Database{pool}, nil
}

// Close closes the pool.
func (d *Database) Close() { d.pool.Close() }

// Pool returns the pool.
func (d *Database) Pool() *pgxpool.Pool { return d.pool }

// Name returns the name of a schema that nobody has.
func Name() string { return "test_" + strings.ToLower(rand.Text()) }

// Open returns a store in a new schema. Closing it drops the schema.
func (d *Database) Open(ctx context.Context) (state.Store, error) {
	schema := Name()
	s, err := postgres.Open(ctx, d.pool, &postgres.Options{Schema: schema})
	if err != nil {
		return nil, err
	}
	return &dropped{Store: s, pool: d.pool, schema: schema}, nil
}

// Reopen opens the schema of a store that Open opened again, as another process would. Only one of the two is to be closed.
func (d *Database) Reopen(ctx context.Context, s state.Store) (state.Store, error) {
	schema := s.(*dropped).schema
	again, err := postgres.Open(ctx, d.pool, &postgres.Options{Schema: schema})
	if err != nil {
		return nil, err
	}
	return &dropped{Store: again, pool: d.pool, schema: schema}, nil
}

type dropped struct {
	*postgres.Store
	pool   *pgxpool.Pool
	schema string
}

// Close drops the schema.
func (s *dropped) Close() error {
	return errors.Join(s.Store.Close(), Drop(context.Background(), s.pool, s.schema))
}

// Drop drops a schema with all that is in it.
func Drop(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	_, err := pool.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
	return err
}
