package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// gossip hears news all the time, and there never is any.
type gossip struct {
	provider.Mailbox
	waits *atomic.Int64
}

func (b gossip) Wait(ctx context.Context) error {
	b.waits.Add(1)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Millisecond): // so that time goes on in the bubble
		return nil
	}
}

// A server that tells of news without end is not passed without end: it costs a few passes a minute.
func TestNewsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, time.Now)
		var waits atomic.Int64
		e, _, _, _ := twisted(t, fake, time.Now, func(b provider.Mailbox, _ string) provider.Mailbox { return gossip{b, &waits} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := e.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
		if n := waits.Load(); n < 2 || n > 30 {
			t.Errorf("%d passes in a minute because of news that was none", n)
		}
	})
}

// endless has history without end.
type endless struct {
	provider.Mailbox
	n *atomic.Int64
}

func (b endless) History(ctx context.Context, _ provider.Window, _ provider.Cursor) (provider.Page, error) {
	<-time.After(5 * time.Second)
	return provider.Page{Next: fmt.Appendf(nil, "%d", b.n.Add(1)), More: true}, ctx.Err()
}

// Mailboxes with much history, or without end of it, take turns with others: they don't hold all workers.
func TestLongHistoryTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.Graph, provider.Profile{Address: emailinttest.Owner}, time.Now)
		var pages, short atomic.Int64
		e, _, _, _ := twisted(t, fake, time.Now, func(b provider.Mailbox, cred string) provider.Mailbox {
			if cred == "short" {
				return counted{b, &short}
			}
			return endless{b, &pages}
		})
		for i := range 5 { // more than there are workers
			if _, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: fmt.Sprint(i), Provider: "twisted", Credential: []byte("1")}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		<-time.After(10 * time.Second) // all workers are at it
		if _, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "short", Provider: "twisted", Credential: []byte("short")}); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Minute)
		got := pages.Load()
		<-time.After(time.Minute)
		if short.Load() == 0 {
			t.Error("new mail of another mailbox waits until all history of these is read")
		}
		if pages.Load() == got {
			t.Error("history does not go on")
		}
		cancel()
		<-done
	})
}

// parrot tells of one item again and again, and hears news all the time.
type parrot struct {
	gossip
	fake *providertest.Fake
}

func (b parrot) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	p, err := b.Mailbox.Changes(ctx, c)
	for it, ierr := range b.Mailbox.Inventory(ctx, provider.Scope{}) {
		if ierr == nil {
			p.Items = append(p.Items, it)
		}
	}
	return p, err
}

// What is told again is no news.
func TestRepeatedItemsAreNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, time.Now)
		fake.Deliver([]byte(raw("ada@customer.example", "1@x", "")), time.Now(), provider.RoleInbox)
		var waits atomic.Int64
		e, _, _, _ := twisted(t, fake, time.Now, func(b provider.Mailbox, _ string) provider.Mailbox {
			return parrot{gossip{b, &waits}, fake}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := e.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v", err)
		}
		if n := waits.Load(); n < 2 || n > 30 {
			t.Errorf("%d passes in a minute because of news that was none", n)
		}
	})
}
