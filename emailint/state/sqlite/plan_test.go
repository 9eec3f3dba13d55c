package sqlite

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate/sqltext"
)

// No statement reads a whole table, or a whole mailbox or organisation where it asks for less: its cost must not grow with mail that it
// does not return. Sorting counts as reading all of what is sorted.
func TestNoStatementReadsEverything(t *testing.T) {
	// What may: a part of the statement, and why.
	allowed := map[string]string{
		"FROM connection WHERE ? = ''":                    "Connections of all organisations",
		"(wake > served OR next_due <= ?1 OR":             "Claim looks at all that are connected, in any organisation",
		"SELECT DISTINCT org FROM connection":             "EndPause, of all organisations",
		"SET wake = wake + 1, worker = ''":                "the connections of one organisation",
		"FROM pause ORDER BY at":                          "Pauses: there are few",
		"FROM secret WHERE org = ?":                       "an organisation has few",
		"FROM declared WHERE org = ?":                     "Declared counts an organisation's",
		"GROUP BY fate":                                   "Counts counts a mailbox",
		"FROM email e WHERE org = ? AND revisio":          "Counts, undelivered emails only",
		"AND rules < ? AND due <= settled":                "rows under older rules, in the order of their times",
		"FROM connection WHERE org = ? AND owner":         "the connections of one organisation",
		"UPDATE connection SET wake = wake + 1 WHERE org": "the connections of one organisation",
		"FROM run WHERE conn":                             "a mailbox has few",
		"FROM folder WHERE conn":                          "a mailbox has few",
		"FROM ledger WHERE conn = ? ORDER BY id LIMIT ?":  "a page of an erasure, in the order of ids",
		"FROM outbox WHERE conn = ? ORDER BY":             "a page of an erasure",
		"FROM intent WHERE conn = ? LIMIT ?":              "a page of an erasure",
		"FROM mutation WHERE conn = ? LIMIT ?":            "a page of an erasure",
		"FROM late WHERE conn = ? LIMIT ?":                "a page of an erasure",
		"FROM erasure WHERE done = 0":                     "those under way, by their own index",
		"FROM change WHERE org":                           "an organisation's changes that are not spread",
		"SELECT DISTINCT org FROM change":                 "changes that are not spread",
		"FROM word WHERE org = ? AND thread)":             "whether there is any",
		"FROM word WHERE org = ? AND fingerprint <> '')":  "whether there is any",
		"FROM word WHERE org = ?1 ORDER BY org, hash":     "whether there is any",
		"FROM intent WHERE conn = ? AND made <> '')":      "whether there is any",
		"SELECT coalesce(max(seq)":                        "an organisation's words: people said them one by one",
	}
	whole := []string{"(conn=?)", "(org=?)", "(state=?)", "(conn=? AND fate=?)"}
	eachStep(t, func(at, q, detail string) {
		for part := range allowed {
			if strings.Contains(q, part) {
				return
			}
		}
		// o: a subquery of one row; u: the rows that are given; d: what the outbox has due, numbered by mailbox
		bad := strings.HasPrefix(detail, "SCAN ") && detail != "SCAN CONSTANT ROW" && detail != "SCAN o" && detail != "SCAN u" && detail != "SCAN d" && !strings.HasPrefix(detail, "SCAN (subquery-") && !strings.HasSuffix(detail, "-ROW VALUES CLAUSE")
		for _, w := range whole {
			bad = bad || strings.HasSuffix(detail, w) && !strings.Contains(detail, "ledger_due")
		}
		if bad {
			t.Errorf("%s: %s\n\tin %s", at, detail, strings.Join(strings.Fields(q), " "))
		}
	})
}

// Claims run in every idle loop, and every step under a lease asks for pauses: by their key, whatever else is read. A lease for sent mail passes over no other.
func TestPausesAndSentMailHaveTheirIndex(t *testing.T) {
	asked, sent := map[string]bool{}, false
	eachStep(t, func(at, q, detail string) {
		if strings.Contains(q, "FROM pause)") {
			if strings.HasPrefix(detail, "SCAN pause") {
				t.Errorf("%s: %s\n\tin %s", at, detail, strings.Join(strings.Fields(q), " "))
			}
			if strings.Contains(detail, "pause") {
				asked[at] = true
			}
		}
		sent = sent || strings.Contains(q, "AND due > settled AND sent") && strings.Contains(detail, "ledger_due_sent (conn=?)")
	})
	if len(asked) != 7 { // Claim, ClaimConnection, holds twice, OutboxDue, OutboxStep, CopiesDue
		t.Errorf("%d statements ask for pauses: %v", len(asked), asked)
	}
	if !sent {
		t.Error("the sent mail that is due is not found by its index")
	}
}

// eachStep calls f with each step of the plan of every statement, and its place in the source.
func eachStep(t *testing.T, f func(at, q, detail string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, err := sqltext.Statements("../internal/sqlstate")
	if err != nil {
		t.Fatal(err)
	}
	for at, q := range all {
		real, args := q, sqltext.Parameters(q)
		if strings.Contains(q, "/*each*/") {
			k := manyKey{q, strings.Repeat("c", args), sizes[0]}
			real, args = manyText(k), args*k.rows
		}
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+real, make([]any, args)...)
		if err != nil {
			t.Errorf("%s: %v\n\tin %s", at, err, q)
			continue
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			f(at, q, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Errorf("%s: %v\n\tin %s", at, err, q)
		}
	}
}
