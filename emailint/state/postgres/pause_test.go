package postgres_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate/sqltext"
	"github.com/intellicon/email-integration/emailint/state/postgres"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
)

// node is a step of a plan that was carried out, as EXPLAIN tells of it.
type node struct {
	Kind    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Index   string  `json:"Index Name"`
	Loops   float64 `json:"Actual Loops"`
	Rows    float64 `json:"Actual Rows"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []node
}

func (n node) each(f func(node)) {
	f(n)
	for _, p := range n.Plans {
		p.each(f)
	}
}

// Statements that every idle loop asks, or each step under a lease, cost what they must where there are many connections and much waits. They are planned for
// any arguments, as they are when they have been asked often enough.
func TestPausesAndSentMailAreFoundCheaply(t *testing.T) {
	d := connect(t)
	schema := postgrestest.Name()
	if _, err := postgres.Open(t.Context(), d.Pool(), &postgres.Options{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	conn, err := d.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	exec := func(q string) {
		t.Helper()
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), q, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	defer exec("DROP SCHEMA " + schema + " CASCADE; RESET search_path; RESET plan_cache_mode; DEALLOCATE ALL")
	exec("SET search_path TO " + schema + "; SET plan_cache_mode = force_generic_plan")
	exec(`INSERT INTO connection (org, owner, provider, address, aliases, subject, state, reason)
		SELECT 'o' || (i % 200), i, 'fake', '', '[]', '', 'connected', '' FROM generate_series(1, 3000) i`)
	exec(`INSERT INTO ledger (conn, item, org, fate, history, sent, received, due)
		SELECT 1 + i % 2, i, 'o1', 'pending', false, i % 1000 = 0, i, 1 FROM generate_series(1, 8000) i`)
	exec("ANALYZE connection; ANALYZE ledger")
	all, err := sqltext.Statements("../internal/sqlstate")
	if err != nil {
		t.Fatal(err)
	}
	// plan carries out the one statement that has these parts.
	plan := func(arguments string, parts ...string) node {
		t.Helper()
		var found []string
	statements:
		for _, q := range all {
			for _, p := range parts {
				if !strings.Contains(q, p) {
					continue statements
				}
			}
			found = append(found, q)
		}
		if len(found) != 1 {
			t.Fatalf("%d statements have %q", len(found), parts)
		}
		exec("PREPARE x AS " + postgres.Rewrite(schema, found[0]))
		defer exec("DEALLOCATE x")
		var b []byte
		if err := conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE x("+arguments+")", pgx.QueryExecModeSimpleProtocol).Scan(&b); err != nil {
			t.Fatal(err)
		}
		var out []struct{ Plan node }
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatal(err)
		}
		return out[0].Plan
	}
	for _, pauses := range []string{"", "INSERT INTO pause VALUES ('o9', '', false, '', '', 1), ('', 'other', false, '', '', 1)"} {
		if pauses != "" {
			exec(pauses)
		}
		for what, n := range map[string]node{
			"Claim":           plan("1, 1", "LIMIT 1 /*claim*/"),
			"ClaimConnection": plan("1, 1", "AND id = ?", "nudge", "/*lock*/"),
			"holds":           plan("1, 'o1'", "SELECT epoch FROM", "/*lock*/"),
			"OutboxDue":       plan("'', '', 1, 5, 10", "JOIN outbox o", "ORDER BY o.next_try"),
			"CopiesDue":       plan("'', '', 1, 5, 10", "JOIN outbox o", "ORDER BY o.copy_at"),
		} {
			n.each(func(n node) {
				if n.Table == "pause" && n.Loops > 1 {
					t.Errorf("%s reads the pauses %v times, with %q", what, n.Loops, pauses)
				}
				if n.Table == "connection" && what != "Claim" && n.Kind == "Seq Scan" {
					t.Errorf("%s reads all connections, with %q", what, pauses)
				}
			})
		}
	}
	plan("1, 1, 100", "AND due > settled AND sent AND next_try").each(func(n node) {
		if n.Removed > 10 {
			t.Errorf("Pending of a lease for sent mail passes over %v rows, by %s %s", n.Removed, n.Kind, n.Index)
		}
	})
}
