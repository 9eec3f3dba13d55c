package outlook_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// again calls f as the engine does: where a limit was met it comes back when that is over.
func again(t *testing.T, f func() error) {
	t.Helper()
	for range 1000 {
		err := f()
		var limit *provider.RateLimitError
		if errors.As(err, &limit) {
			time.Sleep(limit.RetryAfter)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("there is no end of limits")
}

// An import makes hardly more requests than there must be: one for a thousand messages that are listed, and one for each that links. Microsoft's limits are enforced.
func TestImportAsksLittle(t *testing.T) {
	for name, c := range map[string]struct {
		messages int
		limits   graphtest.Options
		opts     outlook.Options
	}{
		"20,000 messages":  {20_000, graphtest.Options{Latency: 150 * time.Millisecond, Requests: 10_000, SendsPerMinute: -1}, outlook.Options{}},
		"a tenth of limit": {4_000, graphtest.Options{Latency: 150 * time.Millisecond, Requests: 200, SendsPerMinute: -1}, outlook.Options{Requests: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.limits, c.opts)
				begun := time.Now()
				for i := range c.messages {
					folder := "inbox"
					raw := providertest.Mail(fmt.Sprint("m", i), "about")
					if i%3 == 0 { // what was sent has no transport header
						folder = "sentitems"
					}
					w.user.Deliver(raw, begun.Add(-time.Duration(i)*time.Minute), folder)
				}
				var box *outlook.Mailbox
				again(t, func() (err error) { box, err = w.tryOpen(t.Context()); return err })
				var live, past provider.Cursor
				again(t, func() (err error) { live, err = box.Start(t.Context()); return err })
				seen, read := map[provider.ItemID]bool{}, 0
				for more := true; more; {
					for more := true; more; {
						var p provider.Page
						again(t, func() (err error) { p, err = box.Changes(t.Context(), live); return err })
						live, more = p.Next, p.More
					}
					var p provider.Page
					again(t, func() (err error) { p, err = box.History(t.Context(), provider.Window{}, past); return err })
					past, more = p.Next, p.More
					var links []provider.ItemID
					for _, it := range p.Items {
						if seen[it.ID] {
							t.Fatalf("%s is listed twice", it.ID)
						}
						seen[it.ID] = true
						if it.Envelope.Has != message.HasHeader || len(it.Envelope.References) != 2 {
							t.Fatalf("%+v would have to be read to be decided", it.Envelope)
						}
						if len(seen)%10 == 0 {
							links = append(links, it.ID)
						}
					}
					box.Prefetch(links)
					for _, id := range links {
						again(t, func() error { _, err := box.Content(t.Context(), id); return err })
						read++
					}
				}
				if len(seen) != c.messages || read != c.messages/10 {
					t.Errorf("%d of %d messages, %d read", len(seen), c.messages, read)
				}
				least := c.messages/1000 + c.messages/10
				if n := len(w.srv.Calls()); n > least*12/10 {
					t.Errorf("%d requests, %d at least", n, least)
				} else {
					t.Logf("%d requests, %d at least, in %s", n, least, time.Since(begun))
				}
				if n := w.srv.Throttled(); n > 0 {
					t.Errorf("Microsoft refused %d requests", n)
				}
			})
		})
	}
}
