package imap_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

var seeds = flag.Int("seeds", 20, "how many worlds TestReaderBelievesWhatIsThere plays with each server")

// reader believes what Changes tells it, as the engine does: which ids lie in which folder.
type reader struct {
	box    *imap.Mailbox
	cur    provider.Cursor
	belief map[string]map[provider.ItemID]bool
	pages  []provider.Page // of the last drain
}

func newReader(t *testing.T, box *imap.Mailbox) *reader {
	t.Helper()
	r := &reader{box: box, belief: map[string]map[provider.ItemID]bool{}}
	var err error
	if r.cur, err = box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for it, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
		r.add(it)
	}
	return r
}

func (r *reader) add(it provider.Item) {
	for _, f := range it.Folders {
		if r.belief[f.ID] == nil {
			r.belief[f.ID] = map[provider.ItemID]bool{}
		}
		r.belief[f.ID][it.ID] = true
	}
}

func (r *reader) page(t *testing.T) provider.Page {
	t.Helper()
	p, err := r.box.Changes(t.Context(), r.cur)
	if err != nil {
		t.Fatal(err)
	}
	r.cur = p.Next
	r.pages = append(r.pages, p)
	for _, f := range p.Restart {
		delete(r.belief, f.ID)
	}
	for _, it := range p.Items {
		if it.Err != nil {
			t.Fatal(it.Err)
		}
		r.add(it)
	}
	for _, f := range p.Recount {
		left := map[provider.ItemID]bool{}
		for it, err := range r.box.Inventory(t.Context(), provider.Scope{Folder: f.ID}) {
			if err != nil {
				t.Fatal(err)
			}
			left[it.ID] = true
		}
		maps.DeleteFunc(r.belief[f.ID], func(id provider.ItemID, _ bool) bool { return !left[id] })
	}
	return p
}

// drain reads until there is no more.
func (r *reader) drain(t *testing.T) *reader {
	t.Helper()
	r.pages = nil
	for range 1000 {
		if !r.page(t).More {
			return r
		}
	}
	t.Fatal("Changes still said More after 1000 pages")
	return nil
}

func (r *reader) items() string {
	var all []provider.Item
	for _, p := range r.pages {
		all = append(all, p.Items...)
	}
	return subjects(all)
}

func (r *reader) recounts() string {
	return r.names(func(p provider.Page) []provider.Folder { return p.Recount })
}
func (r *reader) restarts() string {
	return r.names(func(p provider.Page) []provider.Folder { return p.Restart })
}

func (r *reader) names(of func(provider.Page) []provider.Folder) string {
	var out []string
	for _, p := range r.pages {
		for _, f := range of(p) {
			out = append(out, f.ID)
		}
	}
	return strings.Join(out, " ")
}

func (r *reader) quiet() bool { return r.items() == "" && r.recounts() == "" && r.restarts() == "" }

func show(b map[string]map[provider.ItemID]bool) string {
	var out []string
	for _, ids := range b {
		for id := range ids {
			out = append(out, string(id))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// world does to a mailbox what people and programs do.
type world struct {
	srv   *imaptest.Server
	rnd   *rand.Rand
	n     int
	mails []providertest.Handle
	extra []string // folders that come and go
	gone  int      // messages that left a folder
	log   []string
	still bool // nobody is in the middle of something
}

var roles = []provider.Role{provider.RoleInbox, provider.RoleInbox, provider.RoleSent, provider.RoleArchive, provider.RoleTrash, ""}

func (w *world) step() {
	role := roles[w.rnd.IntN(len(roles))]
	pick := -1
	if len(w.mails) > 0 {
		pick = w.rnd.IntN(len(w.mails))
	}
	did := func(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }
	switch k := w.rnd.IntN(21); {
	case k == 20 && w.still: // a second time in a row, it would be for the age of the connection to tell
		did("stick %s", role)
		w.srv.Stick(map[provider.Role]string{provider.RoleInbox: "INBOX", provider.RoleSent: "Sent", provider.RoleArchive: "Archive"}[role])
	case k < 8 || pick < 0:
		w.n++
		did("deliver %d to %s", w.n, role)
		w.mails = append(w.mails, w.srv.Deliver([]byte(mail(fmt.Sprint("m", w.n))), noon, role))
	case k < 11:
		did("move %s to %s", w.mails[pick], role)
		w.gone++
		w.srv.Move(w.mails[pick], role)
	case k < 15:
		did("delete %s", w.mails[pick])
		w.gone++
		w.srv.Delete(w.mails[pick])
		w.mails = slices.Delete(w.mails, pick, pick+1)
	case k < 16:
		did("copy %s to %s", w.mails[pick], role)
		w.mails = append(w.mails, w.srv.Copy(w.mails[pick], role))
	case k < 17:
		did("flag %s", w.mails[pick])
		w.srv.Flag(w.mails[pick], goimap.FlagDeleted, goimap.FlagSeen)
	case k < 18:
		did("reset %s", role)
		w.srv.ResetFolder(role)
	case len(w.extra) > 0 && k == 18:
		name := w.extra[len(w.extra)-1]
		w.extra = w.extra[:len(w.extra)-1]
		did("remove %s", name)
		w.srv.DeleteFolder(name)
	default:
		name := fmt.Sprint("Deals/", w.rnd.IntN(3))
		if slices.Contains(w.extra, name) {
			did("rename %s", name)
			w.n++
			w.extra[slices.Index(w.extra, name)] = fmt.Sprint("Deals/x", w.n)
			w.srv.RenameFolder(name, fmt.Sprint("Deals/x", w.n))
			return
		}
		did("make %s", name)
		w.extra = append(w.extra, name)
		w.srv.CreateFolder(name)
		w.srv.DeliverTo([]byte(mail(fmt.Sprint("in", w.n))), noon, name)
	}
}

// Whatever happens, and whenever it does, in the end the reader believes what is there; and it is told of nothing that wasn't so.
func TestReaderBelievesWhatIsThere(t *testing.T) {
	servers := map[string]struct {
		opts   *imaptest.Options
		untold bool
	}{
		"modern":               {},
		"no UNSELECT":          {opts: without(goimap.CapUnselect)},
		"bare":                 {opts: without(imaptest.Default...)},
		"UIDNEXT untold":       {untold: true},
		"bare, UIDNEXT untold": {opts: without(imaptest.Default...), untold: true},
	}
	points := []string{"LIST", "STATUS", "EXAMINE", "UID SEARCH", "UID FETCH", "UNSELECT", "EXAMINE INBOX"}
	for name, c := range servers {
		for _, disturbed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/disturbed %v", name, disturbed), func(t *testing.T) {
				for seed := range *seeds {
					s := imaptest.Start(t, c.opts)
					s.HideUIDNext(c.untold)
					w := &world{srv: s, rnd: rand.New(rand.NewPCG(7, uint64(seed)))}
					for range 5 {
						w.step()
					}
					box := dial(t, s, func(c *imap.Config) { c.PageSize = 1 + w.rnd.IntN(4) })
					r := newReader(t, box)
					for range 8 {
						gone := w.gone
						w.still = true
						for range w.rnd.IntN(4) {
							w.step()
						}
						w.still = false
						if disturbed {
							for range w.rnd.IntN(3) {
								s.Before(points[w.rnd.IntN(len(points))], w.step)
							}
						}
						r.drain(t)
						if !disturbed && gone == w.gone && r.recounts() != "" {
							t.Fatalf("seed %d: recounts of %s without a cause\n%s", seed, r.recounts(), strings.Join(w.log, "\n"))
						}
					}
					s.Heal()
					for i := 0; !r.drain(t).quiet(); i++ {
						if i > 20 {
							t.Fatalf("seed %d: news without end: items %q recounts %q restarts %q", seed, r.items(), r.recounts(), r.restarts())
						}
					}
					actual := &reader{belief: map[string]map[provider.ItemID]bool{}}
					for it, err := range dial(t, s, nil).Inventory(t.Context(), provider.Scope{}) {
						if err != nil {
							t.Fatal(err)
						}
						actual.add(it)
					}
					if got, want := show(r.belief), show(actual.belief); got != want {
						t.Fatalf("seed %d: believes\n%s\nthere is\n%s\n%s", seed, got, want, strings.Join(w.log, "\n"))
					}
					box.Close()
					s.Close()
				}
			})
		}
	}
}
