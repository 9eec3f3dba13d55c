package imap_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// prefetchWorld is a mailbox with ten mails, seven in the inbox and three in Sent, and their ids.
func prefetchWorld(t *testing.T) (*imaptest.Server, *imap.Mailbox, []provider.ItemID, []providertest.Handle) {
	s := imaptest.Start(t, nil)
	var handles []providertest.Handle
	for i := range 10 {
		role := provider.RoleInbox
		if i%3 == 2 {
			role = provider.RoleSent
		}
		handles = append(handles, s.Deliver([]byte(mail(fmt.Sprint("m", i))), noon, role))
	}
	box := dial(t, s, nil)
	var ids []provider.ItemID
	for it, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	if len(ids) != 10 {
		t.Fatalf("%d mails are listed, want 10", len(ids))
	}
	return s, box, ids, handles
}

func contents(t *testing.T, box *imap.Mailbox, ids []provider.ItemID) (out []*message.Message, gone int) {
	t.Helper()
	for _, id := range ids {
		m, err := box.Content(t.Context(), id)
		switch {
		case errors.Is(err, provider.ErrGone):
			gone++
		case err != nil:
			t.Errorf("%s: %v", id, err)
		default:
			out = append(out, m)
		}
	}
	return out, gone
}

func fetches(s *imaptest.Server) (n int) {
	for _, c := range s.Commands() {
		if strings.HasPrefix(c, "UID FETCH ") {
			n++
		}
	}
	return n
}

// What is cancelled already is not begun, and costs no connection.
func TestCancelledIsNotBegun(t *testing.T) {
	s, box, ids, _ := prefetchWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Commands()
	if _, err := box.Content(ctx, ids[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled reading returns %v", err)
	}
	contents(t, box, ids[:1])
	for _, c := range s.Commands() {
		if strings.HasPrefix(c, "LOGIN") || strings.HasPrefix(c, "AUTHENTICATE") {
			t.Error("the connection was given up")
		}
	}
}

// What was announced comes with one FETCH a folder, and is the same as what is asked for one by one.
func TestPrefetchReadsInOneRoundTrip(t *testing.T) {
	s, box, ids, _ := prefetchWorld(t)
	alone, _ := contents(t, box, ids)
	fetches(s) // Commands tells what came since it was asked last
	box.Prefetch(ids)
	together, gone := contents(t, box, ids)
	if n := fetches(s); n != 2 {
		t.Errorf("%d FETCHes for two folders", n)
	}
	if gone != 0 || len(together) != 10 || !reflect.DeepEqual(alone, together) {
		t.Errorf("read together, %d mails are not what they are alone", len(together))
	}
	if again, _ := contents(t, box, ids[:3]); len(again) != 3 || fetches(s) != 3 {
		t.Error("what was handed out should be read again when it is asked for again")
	}
}

// A server that lists its messages as small doesn't fill the memory: what is too much is read again, alone.
func TestPrefetchIsBounded(t *testing.T) {
	s := imaptest.Start(t, nil)
	const mails, size = 16, 1 << 20
	for i := range mails {
		s.Deliver([]byte(mail(fmt.Sprint("m", i))+strings.Repeat("0123456\r\n", size/9)), noon, provider.RoleInbox)
	}
	box := dial(t, s, func(c *imap.Config) { c.ContentLimit = size })
	var ids []provider.ItemID
	for it, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	fetches(s)
	box.Prefetch(ids)
	read, _ := contents(t, box, ids)
	// Eight and one are kept.
	if n := fetches(s); len(read) != mails || n != 1+mails-9 {
		t.Errorf("%d of %d mails were read in %d FETCHes, want %d", len(read), mails, n, 1+mails-9)
	}
}

// Whatever happens to the mails before they are announced, each answer is that of a mail which is asked for alone.
func TestPrefetchIsAHint(t *testing.T) {
	for name, c := range map[string]struct {
		happens           func(s *imaptest.Server, hs []providertest.Handle, box *imap.Mailbox, ids []provider.ItemID)
		read, gone, wrong int
	}{
		"one is deleted": {func(s *imaptest.Server, hs []providertest.Handle, _ *imap.Mailbox, _ []provider.ItemID) {
			s.Delete(hs[4])
		}, 9, 1, 0},
		"one breaks the connection": {func(s *imaptest.Server, hs []providertest.Handle, _ *imap.Mailbox, _ []provider.ItemID) {
			s.Poison(hs[4])
		}, 9, 0, 1},
		"the connection ends once": {func(s *imaptest.Server, _ []providertest.Handle, _ *imap.Mailbox, _ []provider.ItemID) {
			s.CutAt("UID FETCH")
		}, 10, 0, 0},
		"the inbox is renumbered": {func(s *imaptest.Server, _ []providertest.Handle, _ *imap.Mailbox, _ []provider.ItemID) {
			s.ResetFolder(provider.RoleInbox)
		}, 3, 7, 0},
		"others were announced": {func(_ *imaptest.Server, _ []providertest.Handle, box *imap.Mailbox, ids []provider.ItemID) {
			box.Prefetch(ids)
			box.Prefetch(append(slices.Clone(ids[8:]), "nonsense"))
		}, 10, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, box, ids, hs := prefetchWorld(t)
			// Before: when they are read is the mailbox's own affair.
			c.happens(s, hs, box, ids)
			box.Prefetch(ids)
			read, gone, wrong := map[string]bool{}, 0, 0
			for _, id := range ids {
				m, err := box.Content(t.Context(), id)
				switch {
				case errors.Is(err, provider.ErrGone):
					gone++
				case err != nil:
					wrong++
				default:
					read[m.Subject] = true
				}
			}
			if len(read) != c.read || gone != c.gone || wrong != c.wrong {
				t.Errorf("%d were read, %d gone, %d went wrong; want %d, %d, %d", len(read), gone, wrong, c.read, c.gone, c.wrong)
			}
		})
	}
}
