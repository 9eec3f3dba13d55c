package imap_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// asked runs f and returns the commands it took, by their first words.
func asked(s *imaptest.Server, f func()) string {
	s.Commands()
	f()
	var out []string
	for _, c := range s.Commands() {
		words := strings.Fields(c)
		if words[0] == "UID" {
			words = words[1:]
		}
		if c = words[0]; c == "EXAMINE" || c == "STATUS" {
			c += " " + words[1]
		}
		if strings.Contains(strings.Join(words, " "), "RETURN (STATUS") || strings.Contains(strings.Join(words, " "), "STATUS (") && words[0] == "LIST" {
			c = "LIST-STATUS"
		}
		out = append(out, c)
	}
	return strings.Join(out, ", ")
}

func TestOneRoundTripWhereNothingHappened(t *testing.T) {
	s := imaptest.Start(t, nil)
	s.Deliver([]byte(mail("a")), noon, provider.RoleInbox)
	r := newReader(t, dial(t, s, nil))
	r.drain(t)
	// The folder that Inventory left open is closed first: its STATUS would not be trustworthy.
	s.Deliver([]byte(mail("b")), noon, provider.RoleInbox)
	if got := asked(s, func() { r.drain(t) }); got != "LIST-STATUS, EXAMINE INBOX, SEARCH, FETCH" || r.items() != "b" {
		t.Errorf("with news in the inbox it asked %s, and found %q", got, r.items())
	}
	if got := asked(s, func() { r.drain(t) }); got != "UNSELECT, LIST-STATUS" || !r.quiet() {
		t.Errorf("with a folder open it asked %s", got)
	}
	if got := asked(s, func() { r.drain(t) }); got != "LIST-STATUS" || !r.quiet() {
		t.Errorf("without news it asked %s", got)
	}
}

func TestServersThatLackSomethingAreAskedMore(t *testing.T) {
	const each = "LIST, EXAMINE Customers, STATUS INBOX, STATUS Sent, STATUS Archive" // Customers is open
	for name, c := range map[string]struct {
		opts   *imaptest.Options
		untold bool
		want   string
	}{
		"no LIST-STATUS":   {opts: without(goimap.CapListStatus), want: each},
		"no LIST-EXTENDED": {opts: without(goimap.CapListExtended), want: each},
		"no UNSELECT":      {opts: without(goimap.CapUnselect), want: each},
		"no ESEARCH":       {opts: without(goimap.CapESearch), want: "UNSELECT, LIST-STATUS"},
		"no SPECIAL-USE":   {opts: without(goimap.CapSpecialUse), want: "UNSELECT, LIST-STATUS"},
		"no NAMESPACE":     {opts: without(goimap.CapNamespace), want: "UNSELECT, LIST-STATUS"},
		"UIDNEXT untold":   {untold: true, want: "UNSELECT, LIST-STATUS, EXAMINE INBOX, SEARCH, EXAMINE Sent, SEARCH, EXAMINE Archive, SEARCH, EXAMINE Customers, SEARCH"},
	} {
		t.Run(name, func(t *testing.T) {
			s := imaptest.Start(t, c.opts)
			s.HideUIDNext(c.untold)
			for _, role := range []provider.Role{provider.RoleInbox, provider.RoleSent, provider.RoleArchive, ""} {
				s.Deliver([]byte(mail("old")), noon, role)
			}
			r := newReader(t, dial(t, s, nil)) // its Inventory leaves Customers open
			if got := asked(s, func() { r.drain(t) }); got != c.want || !r.quiet() {
				t.Errorf("without news it asked %s\nwant %s", got, c.want)
			}
			lost := s.Deliver([]byte(mail("new")), noon, provider.RoleSent)
			if r.drain(t); r.items() != "new" || r.recounts() != "" || !r.pages[0].Items[0].Envelope.Sent {
				t.Errorf("one came: items %q, recounts %q", r.items(), r.recounts())
			}
			s.Delete(lost)
			if r.drain(t); r.items() != "" || r.recounts() != "Sent" {
				t.Errorf("one went: items %q, recounts %q", r.items(), r.recounts())
			}
		})
	}
}

func TestOtherPeoplesFoldersAreLeftAlone(t *testing.T) {
	s := imaptest.Start(t, &imaptest.Options{Foreign: "Other Users/", Folders: []string{"Other Users/bob/INBOX", "Others"}})
	r := newReader(t, dial(t, s, nil))
	s.DeliverTo([]byte(mail("bob's")), noon, "Other Users/bob/INBOX")
	s.DeliverTo([]byte(mail("ours")), noon, "Others")
	if r.drain(t); r.items() != "ours" {
		t.Errorf("listed %q", r.items())
	}
	if found, err := r.box.Locate(t.Context(), "bob's@example.org"); err != nil || len(found) != 0 {
		t.Errorf("located %v, %v", found, err)
	}
}

func TestNamesWithoutAFolderAreNotOpened(t *testing.T) {
	s := imaptest.Start(t, &imaptest.Options{Folders: []string{"Deals/2026"}, Without: []goimap.Cap{goimap.CapListStatus}})
	r := newReader(t, dial(t, s, nil))
	s.DeliverTo([]byte(mail("a")), noon, "Deals/2026")
	if got := asked(s, func() { r.drain(t) }); strings.Contains(got, "Deals,") || r.items() != "a" {
		t.Errorf("it asked %s, and found %q", got, r.items())
	}
	for it, err := range r.box.Inventory(t.Context(), provider.Scope{Folder: "Deals"}) {
		t.Errorf("the inventory of a name: %v, %v", it, err)
	}
}

func TestACursorFromBeforeCountsOnce(t *testing.T) {
	s := imaptest.Start(t, nil)
	a := s.Deliver([]byte(mail("a")), noon, provider.RoleInbox)
	r := newReader(t, dial(t, s, nil))
	var cur struct {
		F map[string]map[string]any `json:"f"`
	}
	if err := json.Unmarshal(r.cur, &cur); err != nil || len(cur.F) != 4 {
		t.Fatalf("%s: %v", r.cur, err)
	}
	for _, mk := range cur.F {
		delete(mk, "c")
	}
	r.cur, _ = json.Marshal(cur)
	s.Delete(a)
	// What went under the old version nobody noticed: each folder is recounted, and once.
	if r.drain(t); r.recounts() != "INBOX Sent Archive Customers" || r.items() != "" || len(r.belief["INBOX"]) != 0 {
		t.Errorf("recounts %q, items %q, believes %v", r.recounts(), r.items(), r.belief)
	}
	if !r.drain(t).quiet() {
		t.Errorf("a second time: recounts %q", r.recounts())
	}
}

func TestRemovalsWhileAFolderIsReadPageByPage(t *testing.T) {
	s := imaptest.Start(t, nil)
	r := newReader(t, dial(t, s, func(c *imap.Config) { c.PageSize = 2 }))
	m := s.Mailbox
	hs := map[string]providertest.Handle{}
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		hs[n] = m.Deliver([]byte(mail(n)), noon, provider.RoleInbox)
	}
	if p := r.page(t); subjects(p.Items) != "a b" || !p.More || len(p.Recount) != 0 {
		t.Fatalf("first page: %q", subjects(p.Items))
	}
	m.Delete(hs["a"]) // listed
	m.Delete(hs["c"]) // not listed
	if p := r.page(t); subjects(p.Items) != "d e" || len(p.Recount) != 1 {
		t.Errorf("second page: %q, recounts %v", subjects(p.Items), p.Recount)
	}
	m.Delete(hs["f"])
	if p := r.page(t); subjects(p.Items) != "" || p.More || len(p.Recount) != 0 {
		t.Errorf("third page: %q, recounts %v; nobody was told of what went", subjects(p.Items), p.Recount)
	}
	if got := len(r.belief["INBOX"]); got != 3 || !r.drain(t).quiet() {
		t.Errorf("believes %d messages, want b d e; then recounts %q", got, r.recounts())
	}
}

func TestAMoveIsSeenInEitherOrder(t *testing.T) {
	start := func(t *testing.T) (*imaptest.Server, *reader, providertest.Handle) {
		s := imaptest.Start(t, nil)
		h := s.Deliver([]byte(mail("a")), noon, provider.RoleInbox)
		r := newReader(t, dial(t, s, func(c *imap.Config) { c.PageSize = 1 }))
		return s, r, h
	}
	where := func(r *reader) string {
		var out []string
		for f, ids := range r.belief {
			if len(ids) > 0 {
				out = append(out, fmt.Sprint(f, len(ids)))
			}
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	t.Run("the old place first", func(t *testing.T) {
		s, r, h := start(t)
		s.Deliver([]byte(mail("other")), noon, provider.RoleInbox) // fills the first page
		s.Move(h, provider.RoleArchive)
		if p := r.page(t); subjects(p.Items) != "other" || len(p.Recount) != 1 || !p.More {
			t.Fatalf("first page: %q, recounts %v", subjects(p.Items), p.Recount)
		}
		if got := where(r); got != "INBOX1" {
			t.Errorf("between the pages it lies in %s", got)
		}
		if p := r.page(t); subjects(p.Items) != "a" || len(p.Recount) != 0 {
			t.Errorf("second page: %q, recounts %v", subjects(p.Items), p.Recount)
		}
		if got := where(r); got != "Archive1 INBOX1" {
			t.Errorf("in the end it lies in %s", got)
		}
	})
	t.Run("the new place first", func(t *testing.T) {
		s, r, h := start(t)
		// The inbox is looked at, then it is moved to where the next look goes.
		s.Deliver([]byte(mail("bait")), noon, provider.RoleArchive)
		s.Before("EXAMINE Archive", func() { s.Move(h, provider.RoleArchive) })
		if p := r.page(t); subjects(p.Items) != "bait" || len(p.Recount) != 0 || !p.More {
			t.Fatalf("first page: %q, recounts %v", subjects(p.Items), p.Recount)
		}
		if p := r.page(t); subjects(p.Items) != "a" || len(p.Recount) != 1 || p.Recount[0].ID != "INBOX" {
			t.Errorf("second page: %q, recounts %v", subjects(p.Items), p.Recount)
		}
		if got := where(r); got != "Archive2" {
			t.Errorf("in the end it lies in %s", got)
		}
	})
	t.Run("a copy, and the original only flagged", func(t *testing.T) {
		s, r, h := start(t)
		s.Copy(h, provider.RoleArchive)
		s.Flag(h, goimap.FlagDeleted) // as programs without MOVE do
		if r.drain(t); r.items() != "a" || r.recounts() != "" || where(r) != "Archive1 INBOX1" {
			t.Errorf("items %q, recounts %q, lies in %s", r.items(), r.recounts(), where(r))
		}
		s.Delete(h)
		if r.drain(t); r.items() != "" || r.recounts() != "INBOX" || where(r) != "Archive1" {
			t.Errorf("items %q, recounts %q, lies in %s", r.items(), r.recounts(), where(r))
		}
	})
}

func TestRenumberedInTheMiddle(t *testing.T) {
	fill := func(t *testing.T) *imaptest.Server {
		s := imaptest.Start(t, nil)
		for i := range 6 {
			s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon, provider.RoleInbox) // all of one second
		}
		return s
	}
	reset := func(s *imaptest.Server) func() { return func() { s.ResetFolder(provider.RoleInbox) } }
	t.Run("between two pages of Changes", func(t *testing.T) {
		s := imaptest.Start(t, nil)
		r := newReader(t, dial(t, s, func(c *imap.Config) { c.PageSize = 2 }))
		for i := range 6 {
			s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon, provider.RoleInbox)
		}
		r.page(t)
		s.ResetFolder(provider.RoleInbox)
		if r.drain(t); r.restarts() != "INBOX" || len(strings.Fields(r.items())) != 6 || len(r.belief["INBOX"]) != 6 {
			t.Errorf("restarts %q, items %q", r.restarts(), r.items())
		}
	})
	for _, point := range []string{"UID SEARCH", "UID FETCH", "EXAMINE INBOX"} {
		t.Run("Changes, before "+point, func(t *testing.T) {
			s := imaptest.Start(t, nil)
			r := newReader(t, dial(t, s, nil))
			for i := range 6 {
				s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon, provider.RoleInbox)
			}
			s.Before(point, reset(s))
			if r.drain(t); r.restarts() != "INBOX" || len(r.belief["INBOX"]) != 6 {
				t.Errorf("restarts %q, items %q", r.restarts(), r.items())
			}
		})
		t.Run("History, before "+point, func(t *testing.T) {
			s := fill(t)
			m := dial(t, s, func(c *imap.Config) { c.PageSize = 4 })
			p, err := m.History(t.Context(), provider.Window{}, nil)
			if err != nil || len(p.Items) != 4 {
				t.Fatalf("%d items, %v", len(p.Items), err)
			}
			seen := map[string]bool{}
			s.Before(point, reset(s))
			for {
				for _, it := range p.Items {
					seen[it.Envelope.Subject] = true
				}
				if !p.More {
					break
				}
				if p, err = m.History(t.Context(), provider.Window{}, p.Next); err != nil {
					t.Fatal(err)
				}
			}
			if len(seen) != 6 {
				t.Errorf("History listed %d of 6", len(seen))
			}
		})
		t.Run("Inventory and Locate, before "+point, func(t *testing.T) {
			s := fill(t)
			m := dial(t, s, nil)
			s.Before(point, reset(s))
			n := 0
			for it, err := range m.Inventory(t.Context(), provider.Scope{Window: provider.Window{From: noon}}) {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := m.Content(t.Context(), it.ID); err != nil {
					t.Errorf("content of %s: %v", it.ID, err)
				}
				n++
			}
			if n != 6 {
				t.Errorf("an inventory of %d, want 6", n)
			}
			s.Heal()
			s.Before(point, reset(s))
			found, err := m.Locate(t.Context(), "m3@example.org")
			if err == nil && len(found) != 1 {
				t.Errorf("located %v: a message that is there must not look deleted", found)
			}
		})
	}
	t.Run("History resumes without a gap", func(t *testing.T) {
		s := fill(t)
		seen := map[string]bool{}
		var cur provider.Cursor
		for range 20 {
			p, err := dial(t, s, func(c *imap.Config) { c.PageSize = 1 }).History(t.Context(), provider.Window{}, cur)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				seen[it.Envelope.Subject] = true
			}
			if len(seen) == 2 {
				s.ResetFolder(provider.RoleInbox)
			}
			if cur = p.Next; !p.More {
				break
			}
		}
		if len(seen) != 6 {
			t.Errorf("History listed %d of 6", len(seen))
		}
	})
}

func TestFoldersThatRefuse(t *testing.T) {
	s := imaptest.Start(t, nil)
	r := newReader(t, dial(t, s, nil))
	s.RefuseFolder("Archive", "")
	s.Deliver([]byte(mail("in")), noon, provider.RoleInbox)
	s.Deliver([]byte(mail("kept")), noon, provider.RoleArchive)
	if r.drain(t); r.items() != "in" || r.restarts() != "" {
		t.Errorf("listed %q, restarts %q", r.items(), r.restarts())
	}
	if got := asked(s, func() { r.drain(t) }); strings.Contains(got, "AUTHENTICATE") {
		t.Error("a folder that goes on refusing should not cost a connection each time")
	}
	fails := func(scope provider.Scope) bool {
		for _, err := range r.box.Inventory(t.Context(), scope) {
			if err != nil {
				return true
			}
		}
		return false
	}
	if !fails(provider.Scope{}) || !fails(provider.Scope{Folder: "Archive"}) {
		t.Error("an inventory that leaves a folder out looks as if its mail were gone")
	}
	if fails(provider.Scope{Folder: "INBOX"}) {
		t.Error("the inventory of a folder should not depend on others")
	}
	// Mail that may lie where nobody can look is not gone.
	if found, err := r.box.Locate(t.Context(), "kept@example.org"); err == nil {
		t.Errorf("located %v", found)
	}
	if found, err := r.box.Locate(t.Context(), "in@example.org"); err != nil || len(found) != 1 {
		t.Errorf("located %v, %v", found, err)
	}
	s.RefuseFolder("Archive", goimap.ResponseCodeNoPerm)
	if found, err := r.box.Locate(t.Context(), "kept@example.org"); err != nil || len(found) != 0 {
		t.Errorf("where this user may never look: located %v, %v", found, err)
	}
	s.RefuseFolder("Archive", goimap.ResponseCodeUnavailable)
	if _, err := r.box.Changes(t.Context(), r.cur); err == nil {
		t.Error("a server that can't at the moment should not be taken for a folder that refuses")
	}
	s.AllowFolder("Archive")
	if r.drain(t); r.items() != "kept" {
		t.Errorf("listed %q when it opened again", r.items())
	}
	// A connection that is stuck is replaced.
	s.Stick("INBOX")
	s.Deliver([]byte(mail("late")), noon, provider.RoleInbox)
	if r.drain(t); r.items() != "late" {
		t.Errorf("listed %q on a connection that refuses what it had open before", r.items())
	}
}

func TestInventoryOfOneFolder(t *testing.T) {
	s := imaptest.Start(t, nil)
	s.Deliver([]byte(mail("in")), noon, provider.RoleInbox)
	s.Deliver([]byte(mail("out")), noon, provider.RoleSent)
	s.Deliver([]byte(mail("thrown")), noon, provider.RoleTrash)
	m := dial(t, s, nil)
	list := func(name string, w provider.Window) (out []provider.Item) {
		for it, err := range m.Inventory(t.Context(), provider.Scope{Folder: name, Window: w}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, it)
		}
		return out
	}
	var got []provider.Item
	if cmds := asked(s, func() { got = list("Sent", provider.Window{}) }); cmds != "LIST, EXAMINE Sent, SEARCH" {
		t.Errorf("it asked %s", cmds)
	}
	if len(got) != 1 || got[0].Folders[0].ID != "Sent" || got[0].Folders[0].Role != provider.RoleSent || !got[0].Envelope.Sent {
		t.Errorf("listed %+v", got)
	}
	if n := len(list("Sent", provider.Window{To: noon})); n != 0 {
		t.Errorf("a window that ends before listed %d", n)
	}
	for _, name := range []string{"Nowhere", "*", "%", "Trash", "Drafts"} {
		if got := list(name, provider.Window{}); len(got) != 0 {
			t.Errorf("%s: listed %+v", name, got)
		}
	}
	// A folder that is removed meanwhile is empty.
	s.Before("EXAMINE Customers", func() { s.DeleteFolder("Customers") })
	if got := list("Customers", provider.Window{}); len(got) != 0 {
		t.Errorf("listed %+v", got)
	}
}

func TestLocateLooksEverywhere(t *testing.T) {
	s := imaptest.Start(t, nil)
	m := dial(t, s, nil)
	h := s.Deliver([]byte(mail("a")), noon, provider.RoleInbox)
	for _, role := range []provider.Role{provider.RoleInbox, provider.RoleSent, provider.RoleArchive, provider.RoleDrafts, provider.RoleJunk, provider.RoleTrash, ""} {
		s.Move(h, role)
		found, err := m.Locate(t.Context(), "<a@example.org>")
		if err != nil || len(found) != 1 || len(found[0].Folders) != 1 || found[0].Folders[0].Role != role {
			t.Errorf("moved to %q: located %+v, %v", role, found, err)
		}
	}
	s.Copy(h, provider.RoleTrash)
	if found, err := m.Locate(t.Context(), "a@example.org"); err != nil || len(found) != 2 {
		t.Errorf("in two folders: located %+v, %v", found, err)
	}
	s.Poison(h)
	s.Delete(h)
	if found, err := m.Locate(t.Context(), "a@example.org"); err != nil || len(found) != 1 {
		t.Errorf("one left: located %+v, %v", found, err)
	}
	p := s.Deliver([]byte(mail("unreadable")), noon, provider.RoleJunk)
	s.Poison(p)
	if found, err := m.Locate(t.Context(), "unreadable@example.org"); err == nil {
		t.Errorf("a message that may be the one: located %+v", found)
	}
}

func TestSomeMessagesHaveNoDate(t *testing.T) {
	s := imaptest.Start(t, nil)
	var hs []providertest.Handle
	for i := range 5 {
		hs = append(hs, s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon.AddDate(0, 0, -i), provider.RoleInbox))
	}
	s.Undate(hs[2])
	m := dial(t, s, nil)
	w := provider.Window{From: noon.AddDate(0, 0, -3), To: noon}
	stock := map[provider.ItemID]bool{}
	undated := 0
	for it, err := range m.Inventory(t.Context(), provider.Scope{Window: w}) {
		if err != nil {
			t.Fatal(err)
		}
		stock[it.ID] = true
		if it.Envelope.Received.IsZero() {
			undated++
		}
	}
	if len(stock) != 3 || undated != 1 {
		t.Errorf("an inventory of %d, %d of them without a date; want m1 to m3, one without", len(stock), undated)
	}
	p, err := m.History(t.Context(), w, nil)
	if err != nil || len(p.Items) != 3 {
		t.Fatalf("%d items, %v", len(p.Items), err)
	}
	for _, it := range p.Items {
		if !stock[it.ID] {
			t.Errorf("History has %s, Inventory has not", it.ID)
		}
	}
	if _, err := m.Content(t.Context(), p.Items[0].ID); err != nil && !errors.Is(err, provider.ErrGone) {
		t.Errorf("content: %v", err)
	}
}

// A folder that was renumbered and can't be opened before all of it was listed anew: what was not listed is not told as gone from it.
func TestRenumberedAndRefusedInTheMiddle(t *testing.T) {
	for _, code := range []goimap.ResponseCode{"", goimap.ResponseCodeNoPerm} {
		s := imaptest.Start(t, nil)
		for i := range 6 {
			s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon, provider.RoleArchive)
		}
		r := newReader(t, dial(t, s, func(c *imap.Config) { c.PageSize = 2 }))
		s.ResetFolder(provider.RoleArchive)
		p := r.page(t)
		if len(p.Restart) != 1 || len(p.Items) != 2 || !p.More || len(p.Unfinished) != 0 {
			t.Fatalf("%q: restarted %v with %q", code, p.Restart, subjects(p.Items))
		}
		s.RefuseFolder("Archive", code)
		for p.More {
			p = r.page(t)
		}
		if !slices.Equal(p.Unfinished, []string{"Archive"}) {
			t.Errorf("%q: unfinished are %v", code, p.Unfinished)
		}
		s.AllowFolder("Archive")
		for p = r.page(t); p.More; {
			p = r.page(t)
		}
		if len(p.Unfinished) != 0 || len(r.belief["Archive"]) != 6 {
			t.Errorf("%q: unfinished are %v, %d are known", code, p.Unfinished, len(r.belief["Archive"]))
		}
	}
}
