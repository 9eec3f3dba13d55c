package gmail_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// fill delivers a message an hour, the last of them at day0, and returns ids, newest first.
func (w *world) fill(n int) (ids []provider.ItemID) {
	for i := range n {
		ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0.Add(-time.Duration(i)*time.Hour))))
	}
	return ids
}

// listing follows pages to their end.
func listing(t *testing.T, page func(provider.Cursor) (provider.Page, error)) (ids []provider.ItemID) {
	t.Helper()
	c := provider.Cursor(nil)
	for range 1000 {
		p, err := page(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			ids = append(ids, it.ID)
		}
		if c = p.Next; !p.More {
			return ids
		}
	}
	t.Fatal("there is no end of it")
	return nil
}

// A window is exact to the millisecond, whatever after: and before: look at, and costs a few gets for its edges.
func TestHistoryWindow(t *testing.T) {
	for _, byDate := range []bool{false, true} {
		w := newWorld(gmailtest.Options{SearchByDate: byDate}, gmail.Options{PageSize: 20})
		ids := w.fill(200)
		box := w.open(t)
		for _, c := range []struct{ to, from int }{{0, 199}, {10, 150}, {60, 61}, {77, 77}, {0, 5}, {195, 199}} {
			win := provider.Window{From: day0.Add(-time.Duration(c.from) * time.Hour), To: day0.Add(-time.Duration(c.to) * time.Hour)}
			w.srv.Forget()
			got := listing(t, func(c provider.Cursor) (provider.Page, error) { return box.History(t.Context(), win, c) })
			want := ids[c.to+1 : max(c.from+1, c.to+1)]
			if byDate {
				// The Date of all is the same day, so the search is no help: what it hides it hides. What it shows is in the window.
				for _, id := range got {
					if !slices.Contains(want, id) {
						t.Errorf("%v: %s lies outside", win, id)
					}
				}
				continue
			}
			if !slices.Equal(got, want) {
				t.Errorf("hours %d to %d: %d listed, want %d", c.to, c.from, len(got), len(want))
			}
			var stock []provider.ItemID
			for it, err := range box.Inventory(t.Context(), provider.Scope{Window: win}) {
				if err != nil {
					t.Fatal(err)
				}
				stock = append(stock, it.ID)
			}
			if !slices.Equal(stock, want) {
				t.Errorf("hours %d to %d: the inventory has %d, want %d", c.to, c.from, len(stock), len(want))
			}
		}
	}
}

// A page token that died in the middle of an import: what follows is found by time, nothing is lost.
func TestHistoryStaleToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{PageTokenLife: time.Minute}, gmail.Options{PageSize: 20})
		var ids []provider.ItemID
		for i := range 200 {
			ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), time.Now().Add(-time.Duration(i)*time.Hour))))
		}
		pages := 0
		seen := map[provider.ItemID]int{}
		for _, id := range listing(t, func(c provider.Cursor) (provider.Page, error) {
			if pages++; pages%3 == 0 {
				time.Sleep(time.Hour)
			}
			return w.open(t).History(t.Context(), provider.Window{}, c)
		}) {
			seen[id]++
		}
		for _, id := range ids {
			if seen[id] == 0 {
				t.Errorf("%s is lost", id)
			}
		}
		// A day is listed once more each time.
		if pages > 30 {
			t.Errorf("%d pages", pages)
		}
	})
}

// Tokens that die before every next page hold up no listing, however much mail a day has.
func TestTokensAlwaysDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{PageTokenLife: time.Minute, HistoryLife: -1}, gmail.Options{PageSize: 10})
		want := map[provider.ItemID]bool{}
		for i := range 150 {
			want[provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), time.Now().Add(-time.Duration(i)*time.Hour)))] = true
		}
		cur := start(t, w.open(t))
		w.user.ExpireHistory()
		for name, page := range map[string]func(*gmail.Mailbox, provider.Cursor) (provider.Page, error){
			"history": func(b *gmail.Mailbox, c provider.Cursor) (provider.Page, error) {
				return b.History(t.Context(), provider.Window{}, c)
			},
			"search": func(b *gmail.Mailbox, c provider.Cursor) (provider.Page, error) {
				return b.Search(t.Context(), provider.Window{}, []string{"sender.example"}, c)
			},
			"listing anew": func(b *gmail.Mailbox, c provider.Cursor) (provider.Page, error) {
				if c == nil {
					c = cur
				}
				return b.Changes(t.Context(), c)
			},
		} {
			seen := map[provider.ItemID]bool{}
			for _, id := range listing(t, func(c provider.Cursor) (provider.Page, error) {
				time.Sleep(2 * time.Minute)
				return page(w.open(t), c)
			}) {
				seen[id] = true
			}
			if len(seen) != len(want) {
				t.Errorf("%s: %d of %d", name, len(seen), len(want))
			}
		}
	})
}

// What comes, goes and is thrown away while history is listed takes nothing along.
func TestHistoryMoves(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{PageSize: 10})
	ids := w.fill(100)
	box := w.open(t)
	n := 0
	got := listing(t, func(c provider.Cursor) (provider.Page, error) {
		p, err := box.History(t.Context(), provider.Window{}, c)
		w.user.Deliver(providertest.Mail(fmt.Sprint("new", n), "x"), day0.Add(time.Hour))
		w.user.Trash(string(ids[n]))
		w.user.Delete(string(ids[n+50]))
		n++
		return p, err
	})
	for i, id := range ids {
		if m, ok := w.user.Message(string(id)); ok && !slices.Contains(m.Labels, "TRASH") && !slices.Contains(got, id) {
			t.Errorf("message %d is lost", i)
		}
	}
}

// History and search leave out drafts, chats, junk and trash.
func TestHistoryLeavesOut(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	want := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
	w.user.Draft(providertest.Mail("b", "x"))
	w.user.Chat("hi", day0)
	w.user.Deliver(providertest.Mail("c", "x"), day0, "SPAM")
	w.user.Deliver(providertest.Mail("d", "x"), day0, "TRASH")
	box := w.open(t)
	for name, got := range map[string][]provider.ItemID{
		"history": listing(t, func(c provider.Cursor) (provider.Page, error) { return box.History(t.Context(), provider.Window{}, c) }),
		"search": listing(t, func(c provider.Cursor) (provider.Page, error) {
			return box.Search(t.Context(), provider.Window{}, []string{"sender.example"}, c)
		}),
	} {
		if !slices.Equal(got, []provider.ItemID{want}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// People are found in every field that may be searched, by addresses and by domains with what is below them, however many are asked for.
func TestSearch(t *testing.T) {
	mail := func(id, header string) []byte {
		return []byte(header + "Subject: x\r\nMessage-ID: <" + id + "@x>\r\n\r\nada@sender.example is only spoken of\r\n")
	}
	w := newWorld(gmailtest.Options{}, gmail.Options{PageSize: 2})
	var want []provider.ItemID
	for i, h := range []string{
		"From: Ada <Ada@Sender.example>\r\nTo: me@acme.example\r\n",
		"From: me@acme.example\r\nTo: x@y.example, ada@sender.example\r\n",
		"From: me@acme.example\r\nCc: ada@sender.example\r\n",
		"From: me@acme.example\r\nBcc: ada@sender.example\r\n",
		"From: someone@corp.example\r\nTo: me@acme.example\r\n",
		"From: someone@mail.corp.example\r\nTo: me@acme.example\r\n",
		"From: o'hara+tag@sender.example\r\nTo: me@acme.example\r\n",
	} {
		want = append(want, provider.ItemID(w.user.Deliver(mail(fmt.Sprint("in", i), h), day0.Add(time.Duration(i)*time.Hour))))
	}
	w.user.Deliver(mail("out1", "From: adam@sender.example\r\nTo: me@acme.example\r\n"), day0)
	w.user.Deliver(mail("out2", "From: x@notcorp.example\r\nTo: me@acme.example\r\n"), day0)
	w.user.Deliver(mail("old", "From: ada@sender.example\r\nTo: me@acme.example\r\n"), day0.AddDate(0, -1, 0))
	who := []string{"ADA@sender.example", "@corp.example", "o'hara+tag@sender.example", "nonsense here", "a\"b@x", ""}
	for i := range 300 {
		who = append(who, fmt.Sprintf("nobody%d@nowhere.example", i))
	}
	box := w.open(t)
	win := provider.Window{From: day0.AddDate(0, 0, -1)}
	got := listing(t, func(c provider.Cursor) (provider.Page, error) { return box.Search(t.Context(), win, who, c) })
	slices.Sort(got)
	slices.Sort(want)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("%d found, want %d", len(got), len(want))
	}
	for _, c := range w.calls("gmail.users.messages.list") {
		if len(c.Path) > 8000 {
			t.Errorf("a request has %d bytes", len(c.Path))
		}
	}
	if _, err := box.Search(t.Context(), win, []string{"other@x.example"}, mustCursor(t, box, win, who)); err == nil {
		t.Error("a cursor was taken for a search for others")
	}
	if p, err := box.Search(t.Context(), win, nil, nil); err != nil || len(p.Items) > 0 || p.More {
		t.Errorf("nobody: %v, %v", p, err)
	}
	plan, err := box.Plan(t.Context(), provider.Window{}, who)
	if err != nil || plan.Messages != 8 || plan.AtLeast || plan.Units < 160 {
		t.Errorf("%+v, %v", plan, err)
	}
	if all, err := box.Plan(t.Context(), provider.Window{}, nil); err != nil || all.Messages != 10 || all.Units <= plan.Units {
		t.Errorf("%+v, %v", all, err)
	}
}

func mustCursor(t *testing.T, box *gmail.Mailbox, w provider.Window, who []string) provider.Cursor {
	t.Helper()
	p, err := box.Search(t.Context(), w, who, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.Next
}

// People first: of 20,000 messages of which 1,000 are of 400 known addresses these are found and read, and the rest is listed, for less than 8 % of what reading
// everything costs. (On a clock that stands: a plan does not go on for long, and this machine may be slow.)
func TestPeopleFirstCosts(t *testing.T) { synctest.Test(t, testPeopleFirstCosts) }

func testPeopleFirstCosts(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	const all, known, people = 20_000, 1000, 400
	var who []string
	for i := range people {
		who = append(who, fmt.Sprintf("person%d@customer%d.example", i, i%90))
	}
	for i := range all {
		from := fmt.Sprintf("stranger%d@elsewhere.example", i%3000)
		if i%(all/known) == 0 {
			from = who[(i/(all/known))%people]
		}
		w.user.Deliver(fmt.Appendf(nil, "From: %s\r\nTo: me@acme.example\r\nSubject: x\r\nMessage-ID: <m%d@x>\r\n\r\nx\r\n", from, i), day0.Add(-time.Duration(i)*time.Minute))
	}
	box := w.open(t)
	before := w.user.Units()
	plan, err := box.Plan(t.Context(), provider.Window{}, who)
	if err != nil {
		t.Fatal(err)
	}
	found := map[provider.ItemID]bool{}
	page := func(c provider.Cursor) (provider.Page, error) {
		return box.Search(t.Context(), provider.Window{}, who, c)
	}
	for _, id := range listing(t, page) {
		found[id] = true
	}
	var ids []provider.ItemID
	for id := range found {
		ids = append(ids, id)
	}
	box.Prefetch(ids)
	for _, id := range ids {
		m, err := box.Content(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(who, string(m.From[0].Key)) {
			t.Errorf("%s was read", m.From[0].Key)
		}
	}
	rest := listing(t, func(c provider.Cursor) (provider.Page, error) { return box.History(t.Context(), provider.Window{}, c) })
	spent := w.user.Units() - before
	t.Logf("%d units: %.2f %% of %d; the plan said %d", spent, 100*float64(spent)/(all*20), all*20, plan.Units)
	if len(found) != known || len(rest) != all || plan.Messages != known {
		t.Errorf("%d found, %d listed, %d planned", len(found), len(rest), plan.Messages)
	}
	if spent > all*20*8/100 {
		t.Errorf("%d units were spent", spent)
	}
}

func TestEstimated(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.fill(100)
	box := w.open(t)
	for _, c := range []struct {
		w    provider.Window
		want int
	}{{provider.Window{}, 100}, {provider.Window{From: day0.Add(-9 * time.Hour)}, 10}} {
		p, err := box.History(t.Context(), c.w, nil)
		if err != nil || p.Estimated < c.want || p.Estimated > c.want+1 {
			t.Errorf("%v: %d, %v", c.w, p.Estimated, err)
		}
	}
}

// A window that holds more than is worth counting is estimated by how much a day has.
func TestEstimatedBeyondCounting(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{PageSize: 2, Now: func() time.Time { return day0 }})
	w.fill(200)
	box := w.open(t)
	for _, c := range []struct {
		w    provider.Window
		want int
	}{{provider.Window{From: day0.Add(-99 * time.Hour)}, 100}, {provider.Window{To: day0}, 200}} {
		p, err := box.History(t.Context(), c.w, nil)
		if err != nil || p.Estimated < c.want*9/10 || p.Estimated > c.want*11/10 {
			t.Errorf("%v: %d, %v", c.w, p.Estimated, err)
		}
	}
}

// A Message-ID that can't be written in a search is an error: nothing found would be taken for a deletion.
func TestLocateOdd(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.user.Deliver([]byte("From: a@b.example\r\nMessage-ID: <odd$%&'*+/=?^_`|~#!@x.example>\r\n\r\nx"), day0)
	box := w.open(t)
	if found, err := box.Locate(t.Context(), "odd$%&'*+/=?^_`|~#!@x.example"); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	for _, id := range []string{"a b@x", `a"b@x`, "a)b@x", "{a@x", "a\r\nb@x"} {
		if _, err := box.Locate(t.Context(), id); err == nil || errors.Is(err, provider.ErrGone) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if found, err := box.Locate(t.Context(), ""); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// A search that finds more than was asked for, as searches by words may, is looked through.
func TestLocateExactly(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	id := w.user.Deliver(providertest.Mail("a", "x"), day0)
	w.user.Deliver(providertest.Mail("b", "x"), day0)
	server := w.srv.Transport()
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		q := r.URL.Query()
		q.Del("q")
		r.URL.RawQuery = q.Encode()
		return server.RoundTrip(r)
	})}
	found, err := w.open(t).Locate(t.Context(), "a@sender.example")
	if err != nil || len(found) != 1 || string(found[0].ID) != id {
		t.Errorf("%v, %v", found, err)
	}
}
