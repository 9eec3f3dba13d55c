package gmail_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// A mailbox is imported while everything goes wrong that may: every tenth call fails, tokens are refused and page tokens die, the history expires twice, mail comes, moves
// and goes, and workers take turns. Whoever follows the contract ends with all that is there, and each message as it lies.
func TestBadDay(t *testing.T) {
	for name, o := range map[string]gmailtest.Options{
		"no quota":   {PageSize: 20, PageTokenLife: time.Minute, UserUnits: -1, ProjectUnits: -1},
		"with quota": {PageSize: 20, PageTokenLife: time.Minute, UserUnits: 2000},
		"all by id":  {PageSize: 7, PageTokenLife: time.Minute, UserUnits: 6000, InlineBody: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { badDay(t, o) })
		})
	}
}

func badDay(t *testing.T, o gmailtest.Options) {
	units := o.UserUnits
	if units < 0 {
		units = 1 << 40
	}
	w := newWorld(o, gmail.Options{PageSize: 20, BatchSize: 10, UnitsPerMinute: units})
	var ids []string
	deliver := func(name string, labels ...string) {
		ids = append(ids, w.user.Deliver(providertest.Mail(name, "about "+name), time.Now(), labels...))
	}
	for i := range 200 {
		deliver(fmt.Sprint("old", i), []string{"INBOX", "SENT", gmailtest.Archived}[i%3])
		time.Sleep(time.Hour)
	}
	w.srv.FailEvery(10, gmailtest.ServerError)
	calls := 0
	// call is what the engine does with an error: it comes back, with the same cursor, on a mailbox that is opened anew.
	var box *gmail.Mailbox
	call := func(f func(*gmail.Mailbox) error) {
		t.Helper()
		for range 100 {
			if calls++; calls%17 == 0 {
				w.user.ExpireAccess()
			}
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
	var cur provider.Cursor
	call(func(b *gmail.Mailbox) (err error) { cur, err = b.Start(t.Context()); return err })
	seen := map[provider.ItemID]map[string]bool{} // what is known: where each message lies
	read := map[provider.ItemID]*message.Message{}
	restarted := 0
	changes := func() {
		for more := true; more; {
			var p provider.Page
			call(func(b *gmail.Mailbox) (err error) { p, err = b.Changes(t.Context(), cur); return err })
			for _, f := range p.Restart {
				restarted++
				for _, in := range seen {
					delete(in, f.ID)
				}
			}
			for _, r := range p.Left {
				if r.Folder == "" {
					delete(seen, r.ID)
				} else if in := seen[r.ID]; in != nil {
					delete(in, r.Folder)
				}
			}
			for _, it := range p.Items {
				if it.Err != nil {
					continue // a row that is tried again
				}
				if seen[it.ID] == nil {
					seen[it.ID] = map[string]bool{}
				}
				for _, f := range it.Folders {
					seen[it.ID][f.ID] = true
				}
			}
			cur, more = p.Next, p.More
		}
	}
	var past provider.Cursor
	for page, more := 0, true; more; page++ {
		changes()
		var p provider.Page
		call(func(b *gmail.Mailbox) (err error) {
			p, err = b.History(t.Context(), provider.Window{}, past)
			return err
		})
		var wanted []provider.ItemID
		for _, it := range p.Items {
			if seen[it.ID] == nil {
				seen[it.ID] = map[string]bool{}
			}
			wanted = append(wanted, it.ID)
		}
		call(func(b *gmail.Mailbox) error {
			b.Prefetch(wanted)
			for _, id := range wanted {
				if read[id] != nil {
					continue
				}
				m, err := b.Content(t.Context(), id)
				if errors.Is(err, provider.ErrGone) {
					delete(seen, id)
					continue
				}
				if err != nil {
					return err
				}
				read[id] = m
			}
			return nil
		})
		past, more = p.Next, p.More
		deliver(fmt.Sprint("new", page))
		w.user.Archive(ids[page*3%len(ids)])
		w.user.Delete(ids[(page*5+1)%len(ids)])
		w.user.Label(ids[page*7%len(ids)], "Deals", page%2 == 0)
		if page == 3 || page == 8 {
			w.user.ExpireHistory()
		}
		time.Sleep(2 * time.Minute) // page tokens die now and then
	}
	changes()
	w.srv.Calm()
	for _, m := range w.user.Messages() {
		in, ok := seen[provider.ItemID(m.ID)]
		if !ok {
			t.Errorf("%s is lost", m.ID)
			continue
		}
		for _, l := range m.Labels {
			if l != "UNREAD" && !in[l] && read[provider.ItemID(m.ID)] == nil {
				t.Errorf("%s lies in %v, which is not known", m.ID, m.Labels)
			}
		}
		got, err := w.open(t).Content(t.Context(), provider.ItemID(m.ID))
		var limit *provider.RateLimitError
		for errors.As(err, &limit) {
			time.Sleep(limit.RetryAfter)
			got, err = w.open(t).Content(t.Context(), provider.ItemID(m.ID))
		}
		if err != nil || got.MessageID != message.ParseHeader(m.Raw).MessageID {
			t.Errorf("%s: %v", m.ID, err)
		}
	}
	if restarted == 0 {
		t.Error("the history never expired")
	}
	if n := w.srv.RateErrors(); n > 0 {
		t.Errorf("Google refused %d calls", n)
	}
}
