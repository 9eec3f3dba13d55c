package statetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// What must not cost more the more there is.
var costCases = []testCase{
	{"SpreadOfManyRecords", "a change of thousands of records is told in one call, and all is found", spreadOfManyRecords},
	{"ForgedReferences", "mails that cite ids of mails to come make none of those before them due while there is nothing to inherit", forgedReferences},
	{"InheritedFromNearer", "in a thread in which every mail links by itself, each tells those that cite it, and not all that came after it", inheritedFromNearer},
}

func mailID(i int) state.Hash { return state.Hash(fmt.Sprintf("%012d", i)) }

// A host that imports thousands of contacts may tell so in one call, and all is told. Where the whole change is read again for each of its parts a page
// holds the store for half a minute, and this test runs into its limit.
func spreadOfManyRecords(h *house) {
	s, l := h.s, h.claim(h.connect("u").ID)
	const n = 3000
	var c state.Change
	for i := range n {
		c.Participants = append(c.Participants, mailID(i))
		c.Records = append(c.Records, linker.Record{Kind: linker.Contact, ID: fmt.Sprint(i)})
	}
	page := state.Page{Cursor: []byte("c")}
	for _, i := range []int{0, 199, 200, 2000, n - 1} {
		page.Rows = append(page.Rows, state.Row{Item: provider.ItemID(fmt.Sprint(i)), Folders: []provider.Folder{inbox}, Received: start, Participants: []state.Hash{mailID(i)}})
	}
	if _, err := s.CommitPage(h.Context(), l, page); err != nil {
		h.Fatal(err)
	}
	if _, err := s.Change(h.Context(), org, c); err != nil {
		h.Fatal(err)
	}
	rows := 0
	for more := true; more; {
		var n int
		var err error
		if n, more, err = s.Spread(h.Context(), org, 500); err != nil {
			h.Fatal(err)
		}
		rows += n
	}
	if rows != len(page.Rows) {
		h.Errorf("%d rows are due again, want %d", rows, len(page.Rows))
	}
}

// Anybody can send mails that cite ids of mails to come. While there is nothing to inherit they make none of the former due again: otherwise each
// of a thousand would have all before it decided anew.
func forgedReferences(h *house) {
	s, l := h.s, h.claim(h.connect("u").ID)
	n := 0
	for p := range 2 {
		page := state.Page{Revision: int64(p), Cursor: []byte("c")}
		for range 50 {
			r := state.Row{Item: provider.ItemID(fmt.Sprint(n)), Folders: []provider.Folder{inbox}, Received: start, MessageID: mailID(n)}
			for j := range 20 {
				r.Cites = append(r.Cites, mailID(n+1+j))
			}
			page.Rows = append(page.Rows, r)
			n++
		}
		if _, err := s.CommitPage(h.Context(), l, page); err != nil {
			h.Fatal(err)
		}
	}
	b, err := s.Pending(h.Context(), l, start, 2*n, 1<<30)
	if err != nil || len(b.Rows) != n {
		h.Fatalf("%d rows are pending, %v", len(b.Rows), err)
	}
	for _, r := range b.Rows {
		if r.Due != 1 {
			h.Fatalf("%s was made due %d times", r.Item, r.Due)
		}
	}
}

// In a thread in which every mail links by itself, each tells those that cite it, and not all that came after it: what it would give them they
// get from nearer. A mail without links of its own passes them on.
func inheritedFromNearer(h *house) {
	s, l := h.s, h.claim(h.connect("u").ID)
	page := state.Page{Cursor: []byte("c")}
	const n = 30
	for i := range n {
		r := state.Row{Item: provider.ItemID(fmt.Sprint(i)), Folders: []provider.Folder{inbox}, Received: start.Add(time.Duration(i) * time.Second), MessageID: mailID(i)}
		if i > 0 {
			r.Cites = []state.Hash{mailID(i - 1)}
		}
		page.Rows = append(page.Rows, r)
	}
	if _, err := s.CommitPage(h.Context(), l, page); err != nil {
		h.Fatal(err)
	}
	settle := func(item int, link bool) {
		h.Helper()
		b, err := s.Pending(h.Context(), l, start, n, 1<<30)
		if err != nil {
			h.Fatal(err)
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
		if _, err := s.Settle(h.Context(), l, b, []state.Settlement{st}); err != nil {
			h.Fatal(err)
		}
	}
	due := func() (out []string) {
		b, err := s.Pending(h.Context(), l, start, n, 1<<30)
		if err != nil {
			h.Fatal(err)
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
		h.Fatalf("%v are due before the root is decided", got)
	}
	settle(0, true)
	if got := due(); !slices.Equal(got, []string{"1"}) {
		h.Errorf("when the root links %v are due, want the one that answers it", got)
	}
	// 2 loses its links: 3 inherited them, and 4 through it.
	if _, err := s.Change(h.Context(), org, state.Change{Records: []linker.Record{{Kind: linker.Contact, ID: "x"}}}); err != nil {
		h.Fatal(err)
	}
	settle(1, true)
	settle(1, true)
	es := lookup(h, mailID(2))
	if err := s.Correct(h.Context(), org, state.Correction{Email: es[0].ID, Drop: true}); err != nil {
		h.Fatal(err)
	}
	if got := due(); !slices.Equal(got, []string{"2", "3", "4"}) {
		h.Errorf("when 2 is dropped %v are due, want it, 3, and 4 through 3", got)
	}
}

func lookup(h *house, id state.Hash) []state.Email {
	h.Helper()
	_, es, err := h.s.Lookup(h.Context(), org, id)
	if err != nil || len(es) != 1 {
		h.Fatalf("it is %d emails, %v", len(es), err)
	}
	return es
}
