package providertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

var personalities = []providertest.Personality{providertest.IMAP, providertest.Gmail, providertest.Graph}

var at = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newFake(p providertest.Personality) *providertest.Fake {
	return providertest.NewFake(p, provider.Profile{Address: "me@acme.example", Subject: "s1"}, nil)
}

type harness struct{ *providertest.Fake }

func (h harness) Open(*testing.T) provider.Mailbox { return h.Mailbox() }
func (h harness) Deliver(_ *testing.T, raw []byte, at time.Time, r provider.Role) providertest.Handle {
	return h.Fake.Deliver(raw, at, r)
}
func (h harness) Move(_ *testing.T, m providertest.Handle, to provider.Role) { h.Fake.Move(m, to) }
func (h harness) Delete(_ *testing.T, m providertest.Handle)                 { h.Fake.Delete(m) }
func (h harness) Reset(_ *testing.T, r provider.Role) bool                   { h.ResetFolder(r); return true }
func (h harness) Sender(*testing.T) provider.Sender                          { return h.Fake }
func (h harness) Delivered(*testing.T) []providertest.Delivery               { return h.Sent() }
func (h harness) Lose(_ *testing.T, l providertest.Loss) bool                { h.LoseOutcome(l); return true }

func TestFakeMailbox(t *testing.T) {
	for _, p := range personalities {
		for _, size := range []int{50, 2, 1} {
			t.Run(fmt.Sprintf("%s/%d", p, size), func(t *testing.T) {
				providertest.TestMailbox(t, func(*testing.T) providertest.MailboxHarness {
					f := newFake(p)
					f.SetPageSize(size)
					f.Reorder(size == 2)
					f.RepeatPages(size % 2)
					return harness{f}
				})
			})
		}
	}
}

func TestFakeSender(t *testing.T) {
	for _, p := range personalities {
		t.Run(string(p), func(t *testing.T) {
			providertest.TestSender(t, func(*testing.T) providertest.SenderHarness { return harness{newFake(p)} })
		})
	}
}

func TestTrouble(t *testing.T) {
	now := at
	f := providertest.NewFake(providertest.Gmail, provider.Profile{}, func() time.Time { return now })
	box, ctx := f.Mailbox(), t.Context()

	f.Throttle(time.Minute)
	var limit *provider.RateLimitError
	if _, err := box.Start(ctx); !errors.As(err, &limit) || limit.RetryAfter != time.Minute {
		t.Errorf("throttled: %v", err)
	}
	now = now.Add(time.Minute)
	if _, err := box.Start(ctx); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	f.Revoke()
	var action *provider.NeedsAction
	if _, err := box.Start(ctx); !errors.As(err, &action) || action.Who != provider.User {
		t.Errorf("revoked: %v", err)
	}
	f.Grant()
	boom := errors.New("boom")
	f.FailNext(2, boom)
	for range 2 {
		if _, err := box.Start(ctx); !errors.Is(err, boom) {
			t.Errorf("failing: %v", err)
		}
	}
	f.CutAfter(1)
	if _, err := box.Start(ctx); err != nil {
		t.Errorf("before the cut: %v", err)
	}
	for range 2 {
		if _, err := box.Start(ctx); !errors.Is(err, providertest.ErrCut) {
			t.Errorf("cut: %v", err)
		}
	}
	if _, err := f.Mailbox().Start(ctx); err != nil {
		t.Errorf("opened again: %v", err)
	}
	if c := f.Calls(); c.Start != 9 || c.Units == 0 {
		t.Errorf("calls: %+v", c)
	}
}

func TestPersonalities(t *testing.T) {
	ctx := t.Context()
	for _, p := range personalities {
		f := newFake(p)
		h := f.Deliver(providertest.Mail("a", "x"), at, provider.RoleInbox)
		page, err := f.Mailbox().History(ctx, provider.Window{}, nil)
		if err != nil || len(page.Items) != 1 {
			t.Fatal(err, page)
		}
		if (page.Items[0].Envelope.Has == 0) != (p == providertest.Gmail) {
			t.Errorf("%s: Has is %b", p, page.Items[0].Envelope.Has)
		}
		old := f.ItemID(h)
		f.Move(h, provider.RoleArchive)
		if (old == f.ItemID(h)) != (p != providertest.IMAP) {
			t.Errorf("%s: id %s became %s", p, old, f.ItemID(h))
		}
	}
}

func TestUnreadableItemIsListed(t *testing.T) {
	for _, p := range personalities {
		f := newFake(p)
		h := f.Deliver(providertest.Mail("a", "x"), at, provider.RoleInbox)
		bad := errors.New("unreadable")
		f.Spoil(h, bad)
		page, err := f.Mailbox().History(t.Context(), provider.Window{}, nil)
		if err != nil || len(page.Items) != 1 || !errors.Is(page.Items[0].Err, bad) {
			t.Errorf("%s: %v %+v", p, err, page.Items)
		}
	}
}

func TestWait(t *testing.T) {
	f := newFake(providertest.IMAP)
	w := f.Mailbox().(provider.Waiter)
	done := make(chan error)
	go func() { done <- w.Wait(t.Context()) }()
	f.Deliver(providertest.Mail("a", "x"), at, provider.RoleInbox)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, ok := newFake(providertest.Gmail).Mailbox().(provider.Waiter); ok {
		t.Error("Gmail can't wait")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newFake(providertest.IMAP).Mailbox().(provider.Waiter).Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A cut ends every Wait that is under way, and none that comes later.
func TestCutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(providertest.IMAP)
		cut := errors.New("connection reset")
		done := make(chan error, 3)
		for range 2 {
			go func() { done <- f.Mailbox().(provider.Waiter).Wait(t.Context()) }()
		}
		synctest.Wait()
		f.CutWaits(cut)
		for range 2 {
			if err := <-done; !errors.Is(err, cut) {
				t.Error(err)
			}
		}
		f.CutWaits(cut) // nobody waits
		go func() { done <- f.Mailbox().(provider.Waiter).Wait(t.Context()) }()
		synctest.Wait()
		f.Deliver(providertest.Mail("a", "x"), at, provider.RoleInbox)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
