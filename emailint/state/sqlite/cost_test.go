package sqlite_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// worked opens a store in a directory with a mailbox that is claimed.
func worked(t *testing.T, path string) (state.Store, state.Lease) {
	t.Helper()
	s := open(t, path)
	c, err := s.AddConnection(t.Context(), state.Connection{Org: "o", User: "u", Provider: "fake", Address: "secret-address@b.example"}, state.Change{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.ClaimConnection(t.Context(), "o", c.ID, "w", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func mailID(i int) state.Hash { return state.Hash(fmt.Sprintf("%012d", i)) }

// A host that imports thousands of contacts may tell so in one call, and all is told. Where the whole change is read again for each of its parts a page
// holds the store for half a minute, and this test runs into its limit.
func TestSpreadOfManyRecords(t *testing.T) {
	s, l := worked(t, ":memory:")
	const n = 3000
	var c state.Change
	for i := range n {
		c.Participants = append(c.Participants, mailID(i))
		c.Records = append(c.Records, linker.Record{Kind: linker.Contact, ID: fmt.Sprint(i)})
	}
	page := state.Page{Cursor: []byte("c")}
	for _, i := range []int{0, 199, 200, 2000, n - 1} {
		page.Rows = append(page.Rows, state.Row{Item: provider.ItemID(fmt.Sprint(i)), Folders: []provider.Folder{{ID: "INBOX"}}, Received: time.Now(), Participants: []state.Hash{mailID(i)}})
	}
	if _, err := s.CommitPage(t.Context(), l, page); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Change(t.Context(), "o", c); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for more := true; more; {
		var n int
		var err error
		if n, more, err = s.Spread(t.Context(), "o", 500); err != nil {
			t.Fatal(err)
		}
		rows += n
	}
	if rows != len(page.Rows) {
		t.Errorf("%d rows are due again, want %d", rows, len(page.Rows))
	}
}

// Anybody can send mails that cite ids of mails to come. While there is nothing to inherit they make none of the former due again: otherwise each
// of a thousand would have all before it decided anew.
func TestForgedReferencesMakeNothingDue(t *testing.T) {
	s, l := worked(t, ":memory:")
	n := 0
	for p := range 2 {
		page := state.Page{Revision: int64(p), Cursor: []byte("c")}
		for range 50 {
			r := state.Row{Item: provider.ItemID(fmt.Sprint(n)), Folders: []provider.Folder{{ID: "INBOX"}}, Received: time.Now(), MessageID: mailID(n)}
			for j := range 20 {
				r.Cites = append(r.Cites, mailID(n+1+j))
			}
			page.Rows = append(page.Rows, r)
			n++
		}
		if _, err := s.CommitPage(t.Context(), l, page); err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.Pending(t.Context(), l, time.Now(), 2*n, 1<<30)
	if err != nil || len(b.Rows) != n {
		t.Fatalf("%d rows are pending, %v", len(b.Rows), err)
	}
	for _, r := range b.Rows {
		if r.Due != 1 {
			t.Fatalf("%s was made due %d times", r.Item, r.Due)
		}
	}
}

// In a thread in which every mail links by itself, each tells those that cite it, and not all that came after it: what it would give them they
// get from nearer. A mail without links of its own passes them on.
func TestLinksInheritedFromNearer(t *testing.T) {
	s, l := worked(t, ":memory:")
	page := state.Page{Cursor: []byte("c")}
	const n = 30
	for i := range n {
		r := state.Row{Item: provider.ItemID(fmt.Sprint(i)), Folders: []provider.Folder{{ID: "INBOX"}}, Received: time.Now().Add(time.Duration(i) * time.Second), MessageID: mailID(i)}
		if i > 0 {
			r.Cites = []state.Hash{mailID(i - 1)}
		}
		page.Rows = append(page.Rows, r)
	}
	if _, err := s.CommitPage(t.Context(), l, page); err != nil {
		t.Fatal(err)
	}
	settle := func(item int, link bool) {
		t.Helper()
		b, err := s.Pending(t.Context(), l, time.Now(), n, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(b.Rows, func(r state.Row) bool { return r.Item == provider.ItemID(fmt.Sprint(item)) })
		if i < 0 {
			return // not due
		}
		r := b.Rows[i]
		st := state.Settlement{Row: r.ID, Due: r.Due, Fate: state.FateUnmatched}
		if link {
			st.Fate = state.FateLinked
			st.Email = &state.EmailValue{MessageID: r.MessageID, Fingerprint: r.MessageID, Holder: true, Envelope: []byte("e"),
				Links: []linker.Link{{Record: linker.Record{Kind: linker.Contact, ID: "ada"}, By: linker.ByAddress}}}
		}
		if _, err := s.Settle(t.Context(), l, b, []state.Settlement{st}); err != nil {
			t.Fatal(err)
		}
	}
	due := func() (out []string) {
		b, err := s.Pending(t.Context(), l, time.Now(), n, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Rows {
			out = append(out, string(r.Item))
		}
		slices.Sort(out)
		return out
	}
	for i := n - 1; i > 0; i-- {
		settle(i, i != 3) // 3 links to nothing
	}
	for i := 1; i < n; i++ {
		settle(i, i != 3)
	}
	for i := 1; i < n; i++ {
		settle(i, i != 3)
	}
	if got := due(); !slices.Equal(got, []string{"0"}) {
		t.Fatalf("%v are due before the root is decided", got)
	}
	settle(0, true)
	if got := due(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("when the root links %v are due, want the one that answers it", got)
	}
	// 2 loses its links: 3 inherited them, and 4 through it.
	if _, err := s.Change(t.Context(), "o", state.Change{Records: []linker.Record{{Kind: linker.Contact, ID: "x"}}}); err != nil {
		t.Fatal(err)
	}
	settle(1, true)
	settle(1, true)
	es := lookup(t, s, mailID(2))
	if err := s.Correct(t.Context(), "o", state.Correction{Email: es[0].ID, Drop: true}); err != nil {
		t.Fatal(err)
	}
	if got := due(); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("when 2 is dropped %v are due, want it, 3, and 4 through 3", got)
	}
}

func lookup(t *testing.T, s state.Store, id state.Hash) []state.Email {
	t.Helper()
	_, es, err := s.Lookup(t.Context(), "o", id)
	if err != nil || len(es) != 1 {
		t.Fatalf("it is %d emails, %v", len(es), err)
	}
	return es
}

// What is erased is in no file any more, neither in free pages nor in the log: what is sent is stored in plain text until then.
func TestErasedIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	s, l := worked(t, filepath.Join(dir, "state.db"))
	for i := range 5 {
		if _, _, err := s.OutboxAdd(t.Context(), "o", state.Outgoing{Key: fmt.Sprint(i), Org: "o", Connection: l.Connection, Created: time.Now(),
			Raw:   append([]byte("Subject: secret-words\n"), make([]byte, 20000)...),
			Value: state.EmailValue{MessageID: state.Hash(fmt.Sprintf("secret-mid%02d", i))}}); err != nil {
			t.Fatal(err)
		}
	}
	found := func() (out []string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"secret-words", "secret-address", "secret-mid"} {
				if bytes.Contains(b, []byte(word)) {
					out = append(out, f.Name()+" has "+word)
				}
			}
		}
		return out
	}
	if len(found()) < 3 {
		t.Fatal("the test does not see what is stored")
	}
	var e state.Erasure
	for e.Done.IsZero() {
		var err error
		if e, err = s.Erase(t.Context(), "o", l.Connection, time.Now(), state.Change{}, 100); err != nil {
			t.Fatal(err)
		}
	}
	if got := found(); len(got) > 0 {
		t.Errorf("after the erasure: %v", got)
	}
}
