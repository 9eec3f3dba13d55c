package sqlite

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate"
)

// However many rows of arguments there are, each is used once, with those that all share.
func TestEach(t *testing.T) {
	w, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "each.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.SetMaxOpenConns(1)
	if _, err := w.ExecContext(t.Context(), `CREATE TABLE thing (id INTEGER PRIMARY KEY, hash BLOB, word TEXT, yes INTEGER, shared TEXT)`); err != nil {
		t.Fatal(err)
	}
	f := &file{w: w, r: w, prepared: map[statement]*sql.Stmt{}}
	for _, n := range []int{0, 1, 2, 7, 8, 9, 63, 64, 65, 200} {
		var ids []int64
		var hashes [][]byte
		var words []string
		var truths []bool
		var want []string
		for i := range n {
			ids, hashes, words, truths = append(ids, int64(i)), append(hashes, []byte{byte(i), 0}), append(words, fmt.Sprint("'?1' ", i)), append(truths, i%3 == 0)
			if i%5 == 0 {
				hashes[i] = nil
			}
			want = append(want, fmt.Sprintf("%d %v %q %v %q %v", i, hashes[i], words[i], truths[i], "shared", hashes[i] == nil))
		}
		tx, err := f.Begin(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		read := func(s sqlstate.Scanner) error {
			var id int64
			var hash []byte
			var word, shared string
			var yes, null bool
			err := s.Scan(&id, &hash, &word, &yes, &shared, &null)
			got = append(got, fmt.Sprintf("%d %v %q %v %q %v", id, hash, word, yes, shared, null))
			return err
		}
		for _, step := range []struct {
			q    string
			args []any
			none bool
		}{
			{`INSERT INTO thing (id, hash, word, yes, shared) SELECT ?2, ?3, ?4, ?5, ?1 /*each*/ RETURNING id, hash, word, yes, shared, hash IS NULL`,
				[]any{"shared", ids, hashes, words, truths}, false},
			{`SELECT ?, ?, ?, ?, ?, ?2 IS NULL /*each*/`, []any{ids, hashes, words, truths, "shared"}, false},
			{`SELECT id, hash, word, yes, shared, hash IS NULL FROM /*each*/ thing WHERE id = ?2 AND shared = ?1`, []any{"shared", ids}, false},
			{`UPDATE thing SET shared = ?3 /*each*/ WHERE id = ?2 AND word = ?1 AND shared = 'shared' RETURNING id, hash, word, yes, 'shared', hash IS NULL`,
				[]any{words, ids, "other"}, false},
			{`SELECT id, hash, word, yes, shared, hash IS NULL FROM /*each*/ thing WHERE id = ?2 AND shared = ?1`, []any{"shared", ids}, true},
			{`DELETE FROM thing WHERE (id, word) IN (SELECT ?1, ?2 /*each*/) RETURNING id, hash, word, yes, 'shared', hash IS NULL`, []any{ids, words}, false},
		} {
			got = nil
			if err := tx.Each(t.Context(), read, step.q, step.args); err != nil {
				t.Fatalf("%d rows: %v\n\tin %s", n, err, step.q)
			}
			expected := want
			if step.none {
				expected = nil
			}
			slices.Sort(got)
			if expected = slices.Sorted(slices.Values(expected)); !slices.Equal(got, expected) {
				t.Errorf("%d rows: %s returns\n\t%v\nwant\n\t%v", n, step.q, got, expected)
			}
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
