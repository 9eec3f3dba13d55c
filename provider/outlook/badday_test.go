package outlook_test

import (
	"errors"
	"fmt"
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

// A mailbox is imported while everything goes wrong that may: every seventh call fails, each time in another way, tokens are refused, delta links end, folders are moved
// and renamed, mail comes, moves and goes, and workers take turns. Whoever follows the contract ends with all that is there, and each message where it lies.
func TestBadDay(t *testing.T) {
	for name, o := range map[string]graphtest.Options{
		"no limits":   {PageSize: 20, Requests: -1, Concurrency: -1},
		"with limits": {PageSize: 20, Requests: 400, Latency: 20 * time.Millisecond},
		"odd":         {PageSize: 7, Requests: -1, Concurrency: -1, SparseUpdates: true, PlainBodies: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { badDay(t, o, name == "odd") })
		})
	}
}

func badDay(t *testing.T, o graphtest.Options, odd bool) {
	requests := o.Requests
	if requests < 0 {
		requests = 1 << 40
	}
	w := newWorld(t, o, outlook.Options{PageSize: 20, Requests: requests, FullRound: 20 * time.Minute})
	u := w.user
	u.Folder("Customers")
	u.Folder("Customers/Acme")
	var ids []string
	deliver := func(name, folder string) {
		ids = append(ids, u.Deliver(providertest.Mail(name, "about "+name), time.Now(), folder))
	}
	for i := range 200 {
		deliver(fmt.Sprint("old", i), []string{"inbox", "sentitems", "Customers", "Customers/Acme"}[i%4])
		time.Sleep(time.Hour)
	}
	troubles := []graphtest.Fault{graphtest.ServerError, graphtest.BadGateway, graphtest.GatewayTimeout, graphtest.Unavailable, graphtest.Cut, graphtest.AnswerLost}
	if odd {
		w.srv.OddListings(9, 0)
		w.srv.SetSyncCode("syncStateNotFound")
	}
	calls := 0
	// call is what the engine does with an error: it comes back, with the same cursor, on a mailbox that is opened anew.
	var box *outlook.Mailbox
	call := func(f func(*outlook.Mailbox) error) {
		t.Helper()
		for range 100 {
			if calls++; calls%17 == 0 {
				u.ExpireAccess()
			}
			w.srv.FailEvery(7, troubles[calls%len(troubles)])
			err := error(nil)
			if box == nil {
				box, err = w.tryOpen(t.Context())
			}
			if err == nil {
				err = f(box)
			}
			var limit *provider.RateLimitError
			var action *provider.NeedsAction
			switch {
			case err == nil:
				return
			case errors.As(err, &limit):
				time.Sleep(limit.RetryAfter)
			case errors.As(err, &action):
				t.Fatalf("somebody was asked to act: %v", err)
			default:
				time.Sleep(time.Minute)
			}
			box = nil
		}
		t.Fatal("there is no end of errors")
	}
	b := &book{t: t, in: map[provider.ItemID]map[string]bool{}}
	call(func(m *outlook.Mailbox) (err error) { b.cur, err = m.Start(t.Context()); return err })
	read := map[provider.ItemID]*message.Message{}
	restarted := 0
	changes := func() {
		for more := true; more; {
			var p provider.Page
			call(func(m *outlook.Mailbox) (err error) { p, err = m.Changes(t.Context(), b.cur); return err })
			restarted += len(p.Restart)
			b.note(p)
			b.cur, more = p.Next, p.More
		}
	}
	var past provider.Cursor
	for page, more := 0, true; more; page++ {
		changes()
		var p provider.Page
		call(func(m *outlook.Mailbox) (err error) {
			p, err = m.History(t.Context(), provider.Window{}, past)
			return err
		})
		var wanted []provider.ItemID
		for _, it := range p.Items {
			if _, known := b.in[it.ID]; !known {
				b.in[it.ID] = map[string]bool{it.Folders[0].ID: true}
			}
			wanted = append(wanted, it.ID)
		}
		call(func(m *outlook.Mailbox) error {
			m.Prefetch(wanted)
			for _, id := range wanted {
				if read[id] != nil {
					continue
				}
				msg, err := m.Content(t.Context(), id)
				if errors.Is(err, provider.ErrGone) {
					continue
				}
				if err != nil {
					return err
				}
				read[id] = msg
			}
			return nil
		})
		past, more = p.Next, p.More
		deliver(fmt.Sprint("new", page), []string{"inbox", "Customers"}[page%2])
		u.Archive(ids[page*3%len(ids)])
		u.Delete(ids[(page*5+1)%len(ids)])
		u.Move(ids[page*7%len(ids)], "Customers")
		switch page % 6 {
		case 1:
			u.RenameFolder("Customers/Acme", "Acme GmbH")
			u.MoveFolder("Customers/Acme GmbH", "inbox")
		case 2:
			w.srv.EmptyPages(2)
			w.srv.ReplayChanges(5)
		case 3:
			u.ExpireDelta("")
		case 4:
			u.RenameFolder("Inbox/Acme GmbH", "Acme")
			u.MoveFolder("Inbox/Acme", "Customers")
		case 5:
			u.ExpireDelta("inbox")
		}
		time.Sleep(2 * time.Minute)
	}
	time.Sleep(time.Hour) // a full round
	changes()
	w.srv.Calm()
	for _, m := range u.Messages() {
		if in := b.in[provider.ItemID(m.ID)]; len(in) != 1 || !in[m.Folder] {
			t.Errorf("%s lies in %s, known are %v", m.ID, m.Path, in)
		}
		got := read[provider.ItemID(m.ID)]
		if got == nil && strings.HasPrefix(m.Subject, "about old") || got != nil && got.MessageID != m.MessageID {
			t.Errorf("%s was read as %+v", m.MessageID, got)
		}
	}
	for id, in := range b.in {
		if _, ok := u.Message(string(id)); !ok && len(in) > 0 {
			t.Errorf("%s is gone, and taken to lie in %v", id, in)
		}
	}
	if restarted < 3 {
		t.Errorf("%d folders were restarted", restarted)
	}
	if n := w.srv.Throttled(); n > 0 {
		t.Errorf("Microsoft refused %d calls", n)
	}
}
