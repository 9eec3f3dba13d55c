package outlook_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// book is what somebody knows of a mailbox who follows the contract: where each message lies.
type book struct {
	t    *testing.T
	box  *outlook.Mailbox
	cur  provider.Cursor
	in   map[provider.ItemID]map[string]bool
	last []provider.Page
}

func newBook(t *testing.T, box *outlook.Mailbox) *book {
	t.Helper()
	b := &book{t: t, box: box, in: map[provider.ItemID]map[string]bool{}}
	var err error
	if b.cur, err = box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// follow reads changes to the end.
func (b *book) follow() {
	b.t.Helper()
	b.last = nil
	for more := true; more; {
		p, err := b.box.Changes(b.t.Context(), b.cur)
		if err != nil {
			b.t.Fatal(err)
		}
		b.note(p)
		b.cur, more = p.Next, p.More
		if b.last = append(b.last, p); len(b.last) > 1000 {
			b.t.Fatal("there is no end of changes")
		}
	}
}

func (b *book) note(p provider.Page) {
	for _, f := range p.Restart {
		for _, in := range b.in {
			delete(in, f.ID)
		}
	}
	for _, it := range p.Items {
		if b.in[it.ID] == nil {
			b.in[it.ID] = map[string]bool{}
		}
		for _, f := range it.Folders {
			b.in[it.ID][f.ID] = true
		}
	}
	for _, r := range p.Left {
		delete(b.in[r.ID], r.Folder)
	}
}

// lies checks that a message is known to lie where it does, or nowhere.
func (b *book) lies(name string, u *graphtest.User, id string, watched bool) {
	b.t.Helper()
	in := b.in[provider.ItemID(id)]
	m, ok := u.Message(id)
	switch {
	case !watched && len(in) > 0:
		b.t.Errorf("%s: %s is taken to lie in %v", name, id, in)
	case watched && (!ok || len(in) != 1 || !in[m.Folder]):
		b.t.Errorf("%s: %s is taken to lie in %v, it lies in %s (%s)", name, id, in, m.Folder, m.Path)
	}
}

func (b *book) restarts() (out []string) {
	for _, p := range b.last {
		for _, f := range p.Restart {
			out = append(out, f.Name)
		}
	}
	slices.Sort(out)
	return out
}

// Folders are made, renamed, moved, thrown away and brought back, and mail moves between them; what is known is where each message lies.
func TestFoldersChange(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	u := w.user
	u.Folder("Customers")
	u.Folder("Customers/Acme")
	put := func(folder string, n int) string {
		return u.Deliver(providertest.Mail(fmt.Sprint(folder, n), "x"), day0.Add(time.Duration(n)*time.Hour), folder)
	}
	old := put("Customers/Acme", 1)
	b := newBook(t, w.open(t))
	b.follow()
	b.lies("before", u, old, false)
	acme := put("Customers/Acme", 2)
	b.follow()
	b.lies("in a folder that is asked because its count changed", u, acme, true)
	u.RenameFolder("Customers", "Clients")
	u.MoveFolder("Clients/Acme", "inbox")
	b.follow()
	b.lies("renamed and moved", u, acme, true)
	if got := b.restarts(); len(got) > 0 {
		t.Errorf("renaming restarts %v", got)
	}
	late := u.Deliver(providertest.Mail("late", "x"), day0, "Inbox/Acme")
	b.follow()
	b.lies("after renaming", u, late, true)
	for _, p := range b.last {
		for _, it := range p.Items {
			if it.Folders[0].Name != "Acme" {
				t.Errorf("it is in %+v", it.Folders)
			}
		}
	}
	// Below Deleted Items nothing is watched.
	u.DeleteFolder("Inbox/Acme")
	b.follow()
	b.lies("its folder was deleted", u, acme, false)
	if m, ok := u.Message(acme); !ok || !strings.HasPrefix(m.Path, "Deleted Items/") {
		t.Fatalf("the fake has it at %+v", m)
	}
	if found, err := b.box.Locate(t.Context(), "Customers/Acme2@sender.example"); err != nil || len(found) != 1 || found[0].Folders[0].Role != provider.RoleTrash {
		t.Errorf("located %+v, %v", found, err)
	}
	u.MoveFolder("Deleted Items/Acme", "msgfolderroot")
	b.follow()
	b.lies("its folder was brought back", u, acme, true)
	b.lies("its folder was brought back, older mail", u, old, true)
	u.PurgeFolder("Acme")
	b.follow()
	b.lies("its folder was purged", u, acme, false)
	// A folder that comes with mail in it.
	u.Folder("New")
	moved := put("inbox", 3)
	u.Move(moved, "New")
	b.follow()
	b.lies("in a new folder", u, moved, true)
}

// A folder that nothing names is asked in a full round; the others are asked each time.
func TestFullRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{FullRound: time.Hour})
		for i := range 30 {
			w.user.Folder(fmt.Sprint("Quiet", i))
		}
		b := newBook(t, w.open(t))
		count := func() int {
			before := w.srv.Count("messages.delta")
			b.follow()
			return w.srv.Count("messages.delta") - before
		}
		w.user.Archive(w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "inbox"))
		if n := count(); n > 4 {
			t.Errorf("the first round asked %d folders", n)
		}
		for range 3 {
			time.Sleep(time.Minute)
			if n := count(); n != 3 {
				t.Errorf("a round without news asked %d folders, want inbox, sent and archive", n)
			}
		}
		time.Sleep(time.Hour)
		if n := count(); n < 33 {
			t.Errorf("a full round asked %d folders", n)
		}
	})
}

// Delta links end in every way there is; the folder is announced and listed anew, and nothing is lost.
func TestDeltaLinksEnd(t *testing.T) {
	for _, code := range []string{"", "syncStateNotFound", "SyncStateInvalid", "ResyncRequired"} {
		w := newWorld(t, graphtest.Options{PageSize: 2}, outlook.Options{})
		w.srv.SetSyncCode(code)
		b := newBook(t, w.open(t))
		var ids []string
		for i := range 5 {
			ids = append(ids, w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0.Add(time.Duration(i)*time.Hour), "inbox"))
		}
		b.follow()
		gone, moved := ids[0], ids[1]
		w.user.Delete(gone)
		w.user.Trash(moved)
		w.user.ExpireDelta("inbox")
		b.follow()
		if got := b.restarts(); !slices.Equal(got, []string{"Inbox"}) {
			t.Errorf("%q: restarted %v", code, got)
		}
		for _, id := range ids[2:] {
			b.lies(code, w.user, id, true)
		}
		b.lies(code, w.user, gone, false)
		b.lies(code, w.user, moved, false)
		// In the middle of a listing, and that of the folders itself.
		b.box.Since(time.Time{})
		w.user.ExpireDelta("")
		p, err := b.box.Changes(t.Context(), b.cur)
		if err != nil {
			t.Fatal(err)
		}
		b.note(p)
		b.cur = p.Next
		w.user.ExpireDelta("")
		b.follow()
		for _, id := range ids[2:] {
			b.lies(code+" in the middle", w.user, id, true)
		}
		b.follow()
		if got := b.restarts(); len(got) > 0 {
			t.Errorf("%q: restarted again: %v", code, got)
		}
	}
}

// Of a folder that is listed anew nothing is told that is older than what is wanted.
func TestSince(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	old, recent := w.user.Deliver(providertest.Mail("old", "x"), day0, "inbox"), w.user.Deliver(providertest.Mail("new", "x"), day0.AddDate(0, 1, 0), "inbox")
	b := newBook(t, w.open(t))
	b.box.Since(day0.AddDate(0, 0, 7))
	w.user.ExpireDelta("inbox")
	b.follow()
	b.lies("recent", w.user, recent, true)
	b.lies("old", w.user, old, false)
}

// Mail moves there and back between two looks, in a server that tells of it in whatever order, late, twice, or not at all.
func TestMoves(t *testing.T) {
	for name, odd := range map[string]func(*graphtest.Server){
		"as it is": func(*graphtest.Server) {},
		"replays":  func(s *graphtest.Server) { s.ReplayChanges(10) },
		"empty":    func(s *graphtest.Server) { s.EmptyPages(3) },
	} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		b := newBook(t, w.open(t))
		there := w.user.Deliver(providertest.Mail("there", "x"), day0, "inbox")
		back := w.user.Deliver(providertest.Mail("back", "x"), day0, "inbox")
		gone := w.user.Deliver(providertest.Mail("gone", "x"), day0, "inbox")
		b.follow()
		odd(w.srv)
		for range 3 {
			w.user.Archive(there)
			w.user.Archive(back)
			w.user.Move(back, "inbox")
			b.follow()
			b.lies(name, w.user, there, true)
			b.lies(name, w.user, back, true)
			w.user.Move(there, "inbox")
			b.follow()
			b.lies(name, w.user, there, true)
		}
		w.user.Junk(gone)
		b.follow()
		b.lies(name, w.user, gone, false)
	}
}

// An entry that tells only what changed takes nothing away from what is known, and drafts are no mail.
func TestSparseEntries(t *testing.T) {
	w := newWorld(t, graphtest.Options{SparseUpdates: true}, outlook.Options{})
	b := newBook(t, w.open(t))
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	b.follow()
	w.user.Read(id, true)
	b.follow()
	for _, p := range b.last {
		for _, it := range p.Items {
			if it.Envelope.Has != 0 && it.Envelope.Has != message.HasHeader {
				t.Errorf("an update shows %+v", it.Envelope)
			}
		}
	}
	b.lies("read", w.user, id, true)
}

// The token goes to the configured host only, also where a stored link was tampered with: the folder is listed anew.
func TestTamperedLinks(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	b := newBook(t, w.open(t))
	if !json.Valid(b.cur) {
		t.Fatal("the cursor is no JSON")
	}
	b.cur = provider.Cursor(strings.ReplaceAll(string(b.cur), "https://graph.test/", "https://evil.example/"))
	b.follow() // graphtest's transport reaches no other host, and would say so
	if len(b.restarts()) < 2 {
		t.Errorf("restarted %v", b.restarts())
	}
	b.lies("listed anew", w.user, id, true)
	if strings.Contains(string(b.cur), "evil.example") {
		t.Error("the link is kept")
	}
}

// A first listing that is longer than Start reads goes on with Changes, and tells of no mail that was there.
func TestStartIsBounded(t *testing.T) { synctest.Test(t, testStartIsBounded) }

func testStartIsBounded(t *testing.T) {
	w := newWorld(t, graphtest.Options{PageSize: 1, Latency: time.Second}, outlook.Options{})
	now := time.Now()
	for i := range 200 {
		w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), now.Add(-time.Duration(i+1000)*time.Hour), "inbox")
	}
	time.Sleep(time.Hour)
	b := newBook(t, w.open(t))
	if n := w.srv.Count("messages.delta"); n < 5 || n > 25 {
		t.Errorf("Start read %d pages", n)
	}
	now = time.Now()
	fresh := w.user.Deliver(providertest.Mail("fresh", "x"), now, "inbox")
	b.follow()
	b.lies("new", w.user, fresh, true)
	later := w.user.Deliver(providertest.Mail("later", "x"), now, "inbox")
	b.follow()
	b.lies("later", w.user, later, true)
	if len(b.in) != 2 {
		t.Errorf("%d messages are told", len(b.in))
	}
}

// A folder that is not there when it is asked, and of which the folders' delta says nothing, is asked seldom, and what lay in it has left it.
func TestFolderIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{FullRound: time.Hour})
		b := newBook(t, w.open(t))
		id := w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "inbox")
		b.follow()
		w.srv.Fail("messages.delta", 2, graphtest.Fault{Status: 404, Code: "ErrorItemNotFound"})
		b.follow()
		b.lies("inbox is not there", w.user, id, false)
		w.srv.Calm()
		n := w.srv.Count("messages.delta")
		b.follow()
		if got := b.restarts(); len(got) > 0 || w.srv.Count("messages.delta") > n+1 {
			t.Errorf("asked again, restarted %v", got)
		}
		time.Sleep(time.Hour)
		b.follow()
		b.lies("inbox is back", w.user, id, true)
	})
}
