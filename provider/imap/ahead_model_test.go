package imap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// book is what a reader knows of a mailbox, as the engine keeps it: where it stands, and the messages that it takes to be there, by folder.
type book struct {
	t       *testing.T
	s       *imaptest.Server
	box     *imap.Mailbox
	rnd     *rand.Rand
	handles []providertest.Handle
	serial  int

	live, past provider.Cursor
	done       bool
	there      map[provider.ItemID]string
	recounts   map[string]bool
}

var modelRoles = []provider.Role{provider.RoleInbox, provider.RoleSent, provider.RoleArchive}

func (b *book) deliver() {
	b.serial++
	b.handles = append(b.handles, b.s.Deliver([]byte(mail(fmt.Sprint("m", b.serial))), noon.Add(-time.Duration(b.rnd.IntN(80*24))*time.Hour), modelRoles[b.rnd.IntN(3)]))
}

// stir lets something happen to the mailbox.
func (b *book) stir() {
	n := b.rnd.IntN(len(b.handles))
	switch b.rnd.IntN(14) {
	case 0, 1:
		b.deliver()
	case 2, 3:
		b.s.Move(b.handles[n], modelRoles[b.rnd.IntN(3)])
	case 4, 5:
		if len(b.handles) > 1 {
			b.s.Delete(b.handles[n])
			b.handles = slices.Delete(b.handles, n, n+1)
		}
	case 6:
		if b.rnd.IntN(4) == 0 {
			b.s.ResetFolder(modelRoles[b.rnd.IntN(3)])
		}
	case 7:
		b.s.CutAt([]string{"UID FETCH", "UID SEARCH", "EXAMINE", "LIST"}[b.rnd.IntN(4)])
	case 8:
		b.s.Cut()
	case 9:
		b.mailbox().Close()
		b.box = nil
	}
}

func (b *book) mailbox() *imap.Mailbox {
	if b.box == nil {
		b.box = dial(b.t, b.s, func(c *imap.Config) { c.PageSize = 3 })
	}
	return b.box
}

// ctx is one that may end while something is read.
func (b *book) ctx() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(b.t.Context())
	if b.rnd.IntN(12) == 0 {
		cancel()
	}
	return ctx, cancel
}

func (b *book) take(page provider.Page) {
	for _, f := range page.Restart {
		for id, folder := range b.there {
			if folder == f.ID {
				delete(b.there, id)
			}
		}
	}
	for _, it := range page.Items {
		b.there[it.ID] = it.Folders[0].ID // one that could not be read has a row as well
	}
	for _, f := range page.Recount {
		b.recounts[f.ID] = true
	}
}

func (b *book) changes() error {
	for more := true; more; {
		ctx, cancel := b.ctx()
		page, err := b.mailbox().Changes(ctx, b.live)
		cancel()
		if err != nil {
			return err
		}
		b.take(page)
		b.live, more = page.Next, page.More
		if b.rnd.IntN(3) == 0 {
			b.stir()
		}
	}
	for folder := range b.recounts {
		left := map[provider.ItemID]bool{}
		for it, err := range b.mailbox().Inventory(b.t.Context(), provider.Scope{Folder: folder}) {
			if err != nil {
				return err
			}
			left[it.ID] = true
		}
		for id, f := range b.there {
			if f == folder && !left[id] {
				delete(b.there, id)
			}
		}
		delete(b.recounts, folder)
	}
	return nil
}

func (b *book) history() error {
	for n := b.rnd.IntN(5); n >= 0 && !b.done; n-- {
		ctx, cancel := b.ctx()
		page, err := b.mailbox().History(ctx, provider.Window{}, b.past)
		cancel()
		if err != nil {
			return err
		}
		if b.rnd.IntN(10) > 0 { // else the reader died before it noted the page
			b.take(page)
			b.past, b.done = page.Next, !page.More
		}
		if n > 0 && page.More && b.rnd.IntN(5) > 0 {
			b.box.HistoryAhead(provider.Window{}, b.past)
		}
		if b.rnd.IntN(3) == 0 {
			var ids []provider.ItemID
			for id := range b.there {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			b.box.Prefetch(ids[:min(len(ids), 8)])
			for _, id := range ids[:min(len(ids), 3)] {
				if _, err := b.box.Content(b.t.Context(), id); err != nil && errors.Is(err, context.Canceled) {
					return err
				}
			}
		}
		if b.rnd.IntN(2) == 0 {
			b.stir()
		}
	}
	return nil
}

// Whatever happens while pages are read ahead, who reads changes to the end and then history, as the engine does, has in the end what the mailbox has: no message
// is missing, and none is taken to be there that is not.
func TestReadingAheadMissesNothing(t *testing.T) {
	for seed := range uint64(50) {
		s := imaptest.Start(t, nil)
		s.HideUIDNext(seed%4 == 3) // as servers may that are old
		b := &book{t: t, s: s, rnd: rand.New(rand.NewPCG(seed, 56)), there: map[provider.ItemID]string{}, recounts: map[string]bool{}}
		for range 10 + b.rnd.IntN(20) {
			b.deliver()
		}
		var err error
		if b.live, err = b.mailbox().Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for round := 0; !b.done || round < 12; round++ {
			if round > 300 {
				t.Fatalf("seed %d: no end", seed)
			}
			if b.changes() == nil {
				b.history() //nolint:errcheck // the next round goes on
			}
			b.stir()
		}
		s.Heal()
		for range 20 {
			b.rnd = rand.New(calm{})
			if err = b.changes(); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		is := map[provider.ItemID]bool{}
		for it, err := range b.mailbox().Inventory(t.Context(), provider.Scope{}) {
			if err != nil {
				t.Fatal(err)
			}
			if is[it.ID] = true; b.there[it.ID] == "" {
				t.Errorf("seed %d: %s is missing", seed, it.ID)
			}
		}
		for id := range b.there {
			if !is[id] {
				t.Errorf("seed %d: %s is not there", seed, id)
			}
		}
		if b.box != nil {
			b.box.Close()
		}
		s.Close()
	}
}

// calm is a source of chance that lets nothing happen.
type calm struct{}

func (calm) Uint64() uint64 { return 1<<64 - 1 }
