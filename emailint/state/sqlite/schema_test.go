package sqlite

import (
	"database/sql"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint/state/statetest"
)

var dump = flag.Bool("dump", false, "write testdata/schema of the present version")

// schema returns the migrations up to a version as one text.
func schema(t *testing.T, version int) string {
	t.Helper()
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) < version {
		t.Fatalf("there are %d migrations, want %d: %v", len(names), version, err)
	}
	var b strings.Builder
	for _, n := range names[:version] {
		text, err := migrations.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// A database of each released version is kept. It is restored, brought up to date, and has what it had. Before a release with a new schema its
// database is written by go test -run TestReleasedSchemas -dump.
func TestReleasedSchemas(t *testing.T) {
	all, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if *dump {
		writeDump(t, len(all))
	}
	for version := 1; version <= len(all); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			text, err := os.ReadFile(fmt.Sprintf("testdata/schema/%d.sql", version))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), schema(t, version)) {
				t.Fatal("a migration is not as it was when its database was kept. If that version was released, add a migration instead; else use -dump")
			}
			path := filepath.Join(t.TempDir(), "state.db")
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(string(text)); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			statetest.Filled(t, s)
		})
	}
}

func writeDump(t *testing.T, version int) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	statetest.Fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	strs := func(q string) (out []string) {
		rows, err := db.Query(q)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return out
	}
	b := strings.Builder{}
	b.WriteString(schema(t, version))
	fmt.Fprintf(&b, "PRAGMA user_version = %d;\n", version)
	for _, table := range strs(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`) {
		columns := strs(`SELECT name FROM pragma_table_info('` + table + `')`)
		for _, values := range strs(`SELECT quote("` + strings.Join(columns, `") || ', ' || quote("`) + `") FROM "` + table + `"`) {
			fmt.Fprintf(&b, "INSERT INTO %s (\"%s\") VALUES (%s);\n", table, strings.Join(columns, `", "`), values)
		}
	}
	for _, v := range strs(`SELECT '''' || name || ''', ' || seq FROM sqlite_sequence ORDER BY name`) {
		fmt.Fprintf(&b, "DELETE FROM sqlite_sequence WHERE name = %s; INSERT INTO sqlite_sequence (name, seq) VALUES (%s);\n", strings.Split(v, ",")[0], v)
	}
	if err := os.MkdirAll("testdata/schema", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("testdata/schema/%d.sql", version), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
