package sqlite

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Every statement that this package has, by its place in the source.
func statements(t *testing.T) map[string]string {
	t.Helper()
	consts := map[string]string{}
	var text func(e ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			if e.Kind == token.STRING {
				s, _ := strconv.Unquote(e.Value)
				return s
			}
		case *ast.Ident:
			return consts[e.Name]
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		}
		return ""
	}
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
				consts[v.Names[0].Name] = text(v.Values[0])
			}
			return true
		})
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			s := strings.TrimSpace(text(e))
			for _, verb := range []string{"SELECT ", "UPDATE ", "DELETE "} {
				if strings.HasPrefix(s, verb) {
					p := fset.Position(e.Pos())
					out[filepath.Base(p.Filename)+":"+strconv.Itoa(p.Line)] = s
					return false
				}
			}
			return true
		})
	}
	return out
}

// No statement reads a whole table, or a whole mailbox or organisation where it asks for less: its cost must not grow with mail that it
// does not return. Sorting counts as reading all of what is sorted.
func TestNoStatementReadsEverything(t *testing.T) {
	// What may: a part of the statement, and why.
	allowed := map[string]string{
		"FROM connection WHERE ? = ''":                    "Connections of all organisations",
		"SELECT id, org, epoch + 1, wake":                 "its rest is put together when it runs",
		"GROUP BY fate":                                   "Counts counts a mailbox",
		"FROM email e WHERE org = ? AND revisio":          "Counts, undelivered emails only",
		"AND rules < ? AND due <= settled":                "rows under older rules, in the order of their times",
		"FROM connection WHERE org = ? AND user":          "the connections of one organisation",
		"UPDATE connection SET wake = wake + 1 WHERE org": "the connections of one organisation",
		"FROM run WHERE conn":                             "a mailbox has few",
		"FROM folder WHERE conn":                          "a mailbox has few",
		"FROM ledger WHERE conn = ? ORDER BY id LIMIT ?":  "a page of an erasure, in the order of ids",
		"FROM outbox WHERE conn = ? LIMIT ?":              "a page of an erasure",
		"FROM intent WHERE conn = ? LIMIT ?":              "a page of an erasure",
		"FROM mutation WHERE conn = ? LIMIT ?":            "a page of an erasure",
		"FROM late WHERE conn = ? LIMIT ?":                "a page of an erasure",
		"FROM erasure WHERE done = 0":                     "those under way, by their own index",
		"FROM change WHERE org":                           "an organisation's changes that are not spread",
		"SELECT DISTINCT org FROM change":                 "changes that are not spread",
		"FROM word WHERE org = ? AND thread)":             "whether there is any",
		"SELECT coalesce(max(seq)":                        "an organisation's words: people said them one by one",
	}
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all := statements(t)
	if len(all) < 60 {
		t.Fatalf("only %d statements were found: the test proves nothing", len(all))
	}
	whole := []string{"(conn=?)", "(org=?)", "(state=?)", "(conn=? AND fate=?)"}
statements:
	for at, q := range all {
		for part := range allowed {
			if strings.Contains(q, part) {
				continue statements
			}
		}
		err := s.read(t.Context(), func(tx *tx) error {
			n := strings.Count(q, "?")
			args := make([]any, 0, n)
			if !strings.Contains(q, "?1") {
				for range n {
					args = append(args, nil)
				}
			} else {
				for i := 1; i <= n; i++ {
					if strings.Contains(q, "?"+strconv.Itoa(i)) {
						args = append(args, nil)
					}
				}
			}
			rows, err := tx.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				bad := strings.HasPrefix(detail, "SCAN ") && detail != "SCAN CONSTANT ROW" && detail != "SCAN o" // o: a subquery of one row
				for _, w := range whole {
					bad = bad || strings.HasSuffix(detail, w) && !strings.Contains(detail, "ledger_due")
				}
				if bad {
					t.Errorf("%s: %s\n\tin %s", at, detail, strings.Join(strings.Fields(q), " "))
				}
			}
			return rows.Err()
		})
		if err != nil {
			t.Errorf("%s: %v\n\tin %s", at, err, q)
		}
	}
}
