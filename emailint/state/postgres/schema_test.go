package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/emailint/state/statetest"
)

var dump = flag.Bool("dump", false, "write testdata/schema of the present version")

// newSchema returns a pool and the name of a schema that goes with the test.
func newSchema(t *testing.T) (*pgxpool.Pool, string) {
	pool, schema := connect(t).Pool(), postgrestest.Name()
	t.Cleanup(func() {
		if err := postgrestest.Drop(context.Background(), pool, schema); err != nil {
			t.Error(err)
		}
	})
	return pool, schema
}

// A database of each released version is kept. It is restored, brought up to date, and has what it had. Before a release with a new schema its
// database is written by go test -run TestReleasedSchemas -dump.
func TestReleasedSchemas(t *testing.T) {
	texts := postgres.Migrations()
	if *dump {
		writeDump(t, texts)
	}
	for i := range texts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			text, err := os.ReadFile(fmt.Sprintf("testdata/schema/%d.sql", i+1))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), strings.Join(texts[:i+1], "")) {
				t.Fatal("a migration is not as it was when its database was kept. If that version was released, add a migration instead; else use -dump")
			}
			pool, schema := newSchema(t)
			if _, err := pool.Exec(t.Context(), "CREATE SCHEMA "+schema+"; SET LOCAL search_path TO "+schema+"; "+string(text)); err != nil {
				t.Fatal(err)
			}
			s, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: schema})
			if err != nil {
				t.Fatal(err)
			}
			statetest.Filled(t, s)
		})
	}
}

func writeDump(t *testing.T, texts []string) {
	pool, schema := newSchema(t)
	s, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	statetest.Fill(t, s)
	strs := func(q string, args ...any) []string {
		rows, err := pool.Query(t.Context(), q, args...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	b := strings.Builder{}
	b.WriteString(strings.Join(texts, ""))
	b.WriteString("CREATE TABLE schema_version (number BIGINT NOT NULL);\n")
	for _, table := range strs(`SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1 ORDER BY table_name COLLATE "C"`, schema) {
		columns := strs(`SELECT column_name::text FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position`, schema, table)
		list := strings.Join(columns, ", ")
		for _, values := range strs(`SELECT concat_ws(', ', quote_nullable(` + strings.Join(columns, `::text), quote_nullable(`) + `::text)) FROM ` + schema + `.` + table + ` ORDER BY 1`) {
			fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES (%s);\n", table, list, values)
		}
		for _, last := range strs(`SELECT coalesce(last_value, 0)::text FROM pg_sequences WHERE schemaname = $1 AND sequencename = $2`, schema, table+"_id_seq") {
			if last != "0" {
				fmt.Fprintf(&b, "ALTER TABLE %s ALTER id RESTART WITH %s;\nSELECT nextval(pg_get_serial_sequence('%s', 'id'));\n", table, last, table)
			}
		}
	}
	if err := os.MkdirAll("testdata/schema", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("testdata/schema/%d.sql", len(texts)), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefusedInOneLine(t *testing.T) {
	pool, schema := newSchema(t)
	o := &postgres.Options{Schema: schema}
	if _, err := postgres.Open(t.Context(), pool, o); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE `+schema+`.schema_version SET number = 999`); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.Open(t.Context(), pool, o)
	if err == nil || !strings.Contains(err.Error(), "use a newer program") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got %v", err)
	}
}

func TestSchemaNames(t *testing.T) {
	pool := connect(t).Pool()
	for _, name := range []string{"A", "a-b", `a"; DROP SCHEMA public; --`, "1a", "ä", strings.Repeat("a", 64), "a b", "pg_own", "user", "order"} {
		if _, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: name}); err == nil || strings.Contains(err.Error(), "syntax error") {
			t.Errorf("%q as a name gets %v", name, err)
		}
	}
}

// Who runs migrations may be another role than who runs the engine.
func TestOpenWithoutRightToCreate(t *testing.T) {
	admin, schema := newSchema(t)
	role := schema
	exec := func(q string) {
		t.Helper()
		if _, err := admin.Exec(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	o := &postgres.Options{Schema: schema}
	if _, err := postgres.Open(t.Context(), admin, o); err != nil {
		t.Fatal(err)
	}
	exec(`CREATE ROLE ` + role)
	t.Cleanup(func() { exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role) })
	exec(`GRANT USAGE ON SCHEMA ` + schema + ` TO ` + role + `; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ` + schema + ` TO ` + role)
	c := admin.Config()
	c.ConnConfig.RuntimeParams["role"] = role
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := postgres.Open(t.Context(), pool, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddConnection(t.Context(), state.Connection{Org: "o", User: "u", Provider: "fake"}, state.Change{}); err != nil {
		t.Error(err)
	}
	if _, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: postgrestest.Name()}); err == nil {
		t.Error("a schema is made by a role that may make none")
	}
}

// Processes that start at once wait for the one that makes the tables, whatever the host's transactions see.
func TestOpenAtOnce(t *testing.T) {
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			admin, schema := newSchema(t)
			c := admin.Config()
			c.ConnConfig.RuntimeParams["default_transaction_isolation"] = isolation
			pool, err := pgxpool.NewWithConfig(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if _, err := postgres.Open(t.Context(), pool, &postgres.Options{Schema: schema}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}
