package imap_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// aheadWorld is a mailbox with nine mails that are listed three at a time, and its first page of history.
func aheadWorld(t *testing.T) (*imaptest.Server, *imap.Mailbox, provider.Page) {
	s := imaptest.Start(t, nil)
	for i := range 9 {
		role := provider.RoleInbox
		if i%3 == 2 {
			role = provider.RoleSent
		}
		s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon.Add(time.Duration(i)*time.Minute), role)
	}
	box := dial(t, s, func(c *imap.Config) { c.PageSize = 3 })
	page, err := box.History(t.Context(), provider.Window{}, nil)
	if err != nil || len(page.Items) != 3 || !page.More {
		t.Fatalf("the first page: %d items, more %v, %v", len(page.Items), page.More, err)
	}
	return s, box, page
}

// wait returns when nothing is read in the background any more: a call waits for that.
func wait(t *testing.T, box *imap.Mailbox) {
	t.Helper()
	if _, err := box.Content(t.Context(), "1.999.INBOX"); !errors.Is(err, provider.ErrGone) {
		t.Fatalf("reading what is not there: %v", err)
	}
}

// A page that was read ahead is the one that is read when it is asked for, and costs nothing more then.
func TestHistoryAhead(t *testing.T) {
	s, box, first := aheadWorld(t)
	var all [][]provider.Page
	for _, ahead := range []bool{false, true} {
		pages := []provider.Page{first}
		for pages[len(pages)-1].More {
			next := pages[len(pages)-1].Next
			if ahead {
				box.HistoryAhead(provider.Window{}, next)
				wait(t, box)
				s.Commands() // tells what came since it was asked last
			}
			page, err := box.History(t.Context(), provider.Window{}, next)
			if err != nil {
				t.Fatal(err)
			}
			if cs := s.Commands(); ahead && len(cs) > 0 {
				t.Errorf("a page that was read ahead costs %q", cs)
			}
			pages = append(pages, page)
		}
		all = append(all, pages)
	}
	if len(all[0]) < 3 || !reflect.DeepEqual(all[0], all[1]) {
		t.Errorf("pages read ahead are %+v, others %+v", all[1], all[0])
	}
}

// A folder may have been renumbered: after Changes what was read ahead is read again, and so is another page than the one that was told.
func TestHistoryAheadIsAHint(t *testing.T) {
	s, box, first := aheadWorld(t)
	cur, err := box.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := box.History(t.Context(), provider.Window{}, first.Next)
	if err != nil {
		t.Fatal(err)
	}
	box.HistoryAhead(provider.Window{}, first.Next)
	s.ResetFolder(provider.RoleInbox)
	page, err := box.Changes(t.Context(), cur)
	if err != nil || len(page.Restart) != 1 {
		t.Fatalf("after the inbox was renumbered: %+v, %v", page, err)
	}
	got, err := box.History(t.Context(), provider.Window{}, first.Next)
	if err != nil || len(got.Items) == 0 {
		t.Fatalf("%d items, %v", len(got.Items), err)
	}
	for _, it := range got.Items {
		same := func(o provider.Item) bool { return o.ID == it.ID }
		if it.Folders[0].Role == provider.RoleInbox && slices.ContainsFunc(want.Items, same) {
			t.Errorf("%s is the id of before", it.ID)
		}
	}

	box.HistoryAhead(provider.Window{}, first.Next)
	if page, err = box.History(t.Context(), provider.Window{}, nil); err != nil || len(page.Items) != 3 || page.Items[0].Envelope.Subject != "m8" {
		t.Errorf("another page than the one that was told: %q, %v", subjects(page.Items), err)
	}
}

// What is read ahead holds up nobody who gives up, and nothing is left of it after Close.
func TestHistoryAheadEnds(t *testing.T) {
	_, box, first := aheadWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	box.HistoryAhead(provider.Window{}, first.Next)
	if _, err := box.History(ctx, provider.Window{}, first.Next); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call returns %v", err)
	}
	if page, err := box.History(t.Context(), provider.Window{}, first.Next); err != nil || subjects(page.Items) != "m5 m4 m3" {
		t.Errorf("the call after it: %q, %v", subjects(page.Items), err)
	}
	for _, read := range []bool{false, true} {
		_, box, first := aheadWorld(t)
		box.HistoryAhead(provider.Window{}, first.Next)
		box.Prefetch([]provider.ItemID{first.Items[0].ID, first.Items[1].ID})
		if read {
			wait(t, box)
		}
		box.Close()
		box.HistoryAhead(provider.Window{}, first.Next)
		if _, err := box.History(t.Context(), provider.Window{}, first.Next); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed mailbox that had read ahead, to the end: %v, hands out a page: %v", read, err)
		}
		if _, err := box.Content(t.Context(), first.Items[0].ID); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed mailbox that had read ahead, to the end: %v, hands out a content: %v", read, err)
		}
	}
}

// A server that can't be reached any more is tried once, not once a folder: whoever waits for the contents waits for all of that.
func TestPrefetchGivesUp(t *testing.T) {
	s := imaptest.Start(t, nil)
	for i := range 8 {
		folder := fmt.Sprint("Project ", i)
		s.CreateFolder(folder)
		for k := range 2 {
			s.DeliverTo([]byte(mail(fmt.Sprint("m", i, "-", k))), noon, folder)
		}
	}
	var dials atomic.Int64
	var down atomic.Bool
	box := dial(t, s, func(c *imap.Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1); down.Load() {
				return nil, errors.New("no route to host")
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	var ids []provider.ItemID
	for it, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	dials.Store(0)
	down.Store(true)
	s.CutAt("UID FETCH")
	box.Prefetch(ids)
	if _, err := box.Content(t.Context(), ids[0]); err == nil {
		t.Error("a message is read from a server that can't be reached")
	}
	if n := dials.Load(); n > 3 {
		t.Errorf("%d connections were tried", n)
	}
}

// A mailbox that waits, perhaps for days, keeps nothing that was read ahead.
func TestWaitKeepsNothing(t *testing.T) {
	s, box, ids, _ := prefetchWorld(t)
	box.Close()
	box = dial(t, s, func(c *imap.Config) { c.WaitLimit = 1 })
	box.Prefetch(ids)
	if err := box.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	fetches(s)
	if read, _ := contents(t, box, ids); len(read) != 10 || fetches(s) != 10 {
		t.Error("contents were kept while the mailbox waited")
	}
}

// What is begun between two items of an inventory is waited for by the next.
func TestInventoryWaitsForWhatIsReadAhead(t *testing.T) {
	s, box, first := aheadWorld(t)
	n := 0
	for it, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%2 == 0 {
			box.HistoryAhead(provider.Window{}, first.Next)
		} else {
			box.Prefetch([]provider.ItemID{it.ID, "1.1.Sent"})
		}
	}
	if n != 9 {
		t.Errorf("%d messages, want 9", n)
	}
	wait(t, box)
	s.Commands()
}

// Start begins where History ends, also where a folder has been open since before: what came in between is in one of the two.
func TestStartAfterAFolderWasOpen(t *testing.T) {
	s, box, first := aheadWorld(t)
	s.Deliver([]byte(mail("late")), noon.Add(-time.Hour), provider.RoleInbox)
	s.Deliver([]byte(mail("late too")), noon.Add(-time.Hour), provider.RoleSent)
	cur, err := box.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for c, more := first.Next, true; more; {
		page, err := box.History(t.Context(), provider.Window{}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			seen[it.Envelope.Subject] = true
		}
		c, more = page.Next, page.More
	}
	page, err := box.Changes(t.Context(), cur)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range page.Items {
		seen[it.Envelope.Subject] = true
	}
	if !seen["late"] || !seen["late too"] {
		t.Errorf("neither Changes nor History has what came before Start: %v", seen)
	}
}
