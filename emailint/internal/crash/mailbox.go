package crash

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// opener is a process's provider: it opens the mailbox that a credential names.
type opener struct {
	name  string
	p     *Process
	boxes map[string]Service
}

func (o *opener) Name() string { return o.name }

func (o *opener) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	m, err := get(o.p, "provider.Open", func() (provider.Mailbox, error) {
		s := o.boxes[string(credential)]
		if s == nil {
			return nil, fmt.Errorf("crash: no mailbox %q", credential)
		}
		return s.Open(ctx)
	})
	if err != nil {
		return nil, err
	}
	return wrapMailbox(o.p, m), nil
}

// mailbox is what every open mailbox can do.
type mailbox struct {
	p *Process
	m provider.Mailbox
}

func (b *mailbox) Profile(ctx context.Context) (provider.Profile, error) {
	return get(b.p, "mailbox.Profile", func() (provider.Profile, error) { return b.m.Profile(ctx) })
}

func (b *mailbox) Start(ctx context.Context) (provider.Cursor, error) {
	return get(b.p, "mailbox.Start", func() (provider.Cursor, error) { return b.m.Start(ctx) })
}

func (b *mailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	return get(b.p, "mailbox.Changes", func() (provider.Page, error) { return b.m.Changes(ctx, c) })
}

func (b *mailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	return get(b.p, "mailbox.History", func() (provider.Page, error) { return b.m.History(ctx, w, c) })
}

func (b *mailbox) Content(ctx context.Context, id provider.ItemID) (*message.Message, error) {
	return get(b.p, "mailbox.Content", func() (*message.Message, error) { return b.m.Content(ctx, id) })
}

func (b *mailbox) Attachment(ctx context.Context, id provider.ItemID, part string) (io.ReadCloser, error) {
	return get(b.p, "mailbox.Attachment", func() (io.ReadCloser, error) { return b.m.Attachment(ctx, id, part) })
}

func (b *mailbox) Locate(ctx context.Context, messageID string) ([]provider.Item, error) {
	return get(b.p, "mailbox.Locate", func() ([]provider.Item, error) { return b.m.Locate(ctx, messageID) })
}

// Inventory reads the whole listing and then passes it on: a crash in the middle is one after it, for nothing was written.
func (b *mailbox) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		items, err := get(b.p, "mailbox.Inventory", func() (items []provider.Item, err error) {
			for it, err := range b.m.Inventory(ctx, s) {
				if err != nil {
					return items, err
				}
				items = append(items, it)
			}
			return items, nil
		})
		for _, it := range items {
			if !yield(it, nil) {
				return
			}
		}
		if err != nil {
			yield(provider.Item{}, err)
		}
	}
}

// Close is no failpoint: the connection of a dead process is closed too.
func (b *mailbox) Close() error { return b.m.Close() }

type waiter struct {
	p *Process
	w provider.Waiter
}

func (b waiter) Wait(ctx context.Context) error {
	return b.p.pass("mailbox.Wait", func() error { return b.w.Wait(ctx) })
}

// Polling passes through: it says how the mailbox waits, and reaches nothing. "" is what a mailbox without it would mean.
func (b waiter) Polling() string {
	if p, ok := b.w.(provider.Poller); ok {
		return p.Polling()
	}
	return ""
}

type archiver struct {
	p *Process
	a provider.Archiver
}

func (b archiver) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	return get(b.p, "mailbox.Archive", func() (provider.Mutation, error) { return b.a.Archive(ctx, t) })
}

func (b archiver) Unarchive(ctx context.Context, t provider.Target, m provider.Mutation) (provider.Mutation, error) {
	return get(b.p, "mailbox.Unarchive", func() (provider.Mutation, error) { return b.a.Unarchive(ctx, t, m) })
}

type labeler struct {
	p *Process
	l provider.Labeler
}

func (b labeler) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	return get(b.p, "mailbox.Label", func() (provider.Mutation, error) { return b.l.Label(ctx, t, label) })
}

func (b labeler) Unlabel(ctx context.Context, t provider.Target, m provider.Mutation) error {
	return b.p.pass("mailbox.Unlabel", func() error { return b.l.Unlabel(ctx, t, m) })
}

type sentFiler struct {
	p *Process
	s provider.SentFiler
}

func (b sentFiler) FindSent(ctx context.Context, messageID string) (provider.ItemID, error) {
	return get(b.p, "mailbox.FindSent", func() (provider.ItemID, error) { return b.s.FindSent(ctx, messageID) })
}

func (b sentFiler) FileSent(ctx context.Context, raw []byte, at time.Time) (provider.ItemID, error) {
	return get(b.p, "mailbox.FileSent", func() (provider.ItemID, error) { return b.s.FileSent(ctx, raw, at) })
}

// wrapMailbox wraps a mailbox with exactly the optional powers that it has: the engine probes for them.
func wrapMailbox(p *Process, m provider.Mailbox) provider.Mailbox {
	b := &mailbox{p, m}
	w, canWait := m.(provider.Waiter)
	a, canArchive := m.(provider.Archiver)
	l, canLabel := m.(provider.Labeler)
	s, canFile := m.(provider.SentFiler)
	ww, aa, ll, ss := waiter{p, w}, archiver{p, a}, labeler{p, l}, sentFiler{p, s}
	switch [4]bool{canWait, canArchive, canLabel, canFile} {
	case [4]bool{true, false, false, false}:
		return struct {
			*mailbox
			waiter
		}{b, ww}
	case [4]bool{false, true, false, false}:
		return struct {
			*mailbox
			archiver
		}{b, aa}
	case [4]bool{true, true, false, false}:
		return struct {
			*mailbox
			waiter
			archiver
		}{b, ww, aa}
	case [4]bool{false, false, true, false}:
		return struct {
			*mailbox
			labeler
		}{b, ll}
	case [4]bool{true, false, true, false}:
		return struct {
			*mailbox
			waiter
			labeler
		}{b, ww, ll}
	case [4]bool{false, true, true, false}:
		return struct {
			*mailbox
			archiver
			labeler
		}{b, aa, ll}
	case [4]bool{true, true, true, false}:
		return struct {
			*mailbox
			waiter
			archiver
			labeler
		}{b, ww, aa, ll}
	case [4]bool{false, false, false, true}:
		return struct {
			*mailbox
			sentFiler
		}{b, ss}
	case [4]bool{true, false, false, true}:
		return struct {
			*mailbox
			waiter
			sentFiler
		}{b, ww, ss}
	case [4]bool{false, true, false, true}:
		return struct {
			*mailbox
			archiver
			sentFiler
		}{b, aa, ss}
	case [4]bool{true, true, false, true}:
		return struct {
			*mailbox
			waiter
			archiver
			sentFiler
		}{b, ww, aa, ss}
	case [4]bool{false, false, true, true}:
		return struct {
			*mailbox
			labeler
			sentFiler
		}{b, ll, ss}
	case [4]bool{true, false, true, true}:
		return struct {
			*mailbox
			waiter
			labeler
			sentFiler
		}{b, ww, ll, ss}
	case [4]bool{false, true, true, true}:
		return struct {
			*mailbox
			archiver
			labeler
			sentFiler
		}{b, aa, ll, ss}
	case [4]bool{true, true, true, true}:
		return struct {
			*mailbox
			waiter
			archiver
			labeler
			sentFiler
		}{b, ww, aa, ll, ss}
	}
	return b
}
