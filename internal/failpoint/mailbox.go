package failpoint

import (
	"context"
	"io"
	"iter"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// opener is a process's provider.
type opener struct {
	name string
	p    *Process
	open func(ctx context.Context, credential []byte) (provider.Mailbox, error)
}

// Provider is a process's provider of that name, which opens mailboxes by open. They have the optional powers that those of open have.
func Provider(name string, p *Process, open func(ctx context.Context, credential []byte) (provider.Mailbox, error)) provider.Provider {
	return &opener{name, p, open}
}

func (o *opener) Name() string { return o.name }

func (o *opener) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	m, err := get(o.p, "provider.Open", func() (provider.Mailbox, error) { return o.open(ctx, credential) })
	if err != nil {
		return nil, err
	}
	return wrapMailbox(o.p, m), nil
}

// authorizer is a process's provider whose users sign in by OAuth.
type authorizer struct {
	provider.Authorizer
	p *Process
}

// Authorizer is a process's a. It is a Watcher where a is one.
func Authorizer(p *Process, a provider.Authorizer) provider.Authorizer {
	if w, ok := a.(provider.Watcher); ok {
		return &watcher{authorizer{a, p}, w}
	}
	return &authorizer{a, p}
}

// watcher is one whose service tells of news.
type watcher struct {
	authorizer
	w provider.Watcher
}

func (w *watcher) Watch(ctx context.Context, tokens oauth2.TokenSource, had []byte) (provider.Watch, error) {
	return get(w.p, "provider.Watch", func() (provider.Watch, error) { return w.w.Watch(ctx, tokens, had) })
}

func (w *watcher) Unwatch(ctx context.Context, tokens oauth2.TokenSource, handle []byte) error {
	return w.p.pass("provider.Unwatch", func() error { return w.w.Unwatch(ctx, tokens, handle) })
}

func (a *authorizer) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	m, err := get(a.p, "provider.Open", func() (provider.Mailbox, error) { return a.Authorizer.Open(ctx, credential) })
	if err != nil {
		return nil, err
	}
	return wrapMailbox(a.p, m), nil
}

func (a *authorizer) OpenToken(ctx context.Context, tokens oauth2.TokenSource) (provider.Mailbox, error) {
	m, err := get(a.p, "provider.OpenToken", func() (provider.Mailbox, error) { return a.Authorizer.OpenToken(ctx, tokens) })
	if err != nil {
		return nil, err
	}
	return wrapMailbox(a.p, m), nil
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

// Prefetch is a hint: it reads nothing, and a mailbox that ignores it is as good. So it is no point, and every mailbox has it.
func (b *mailbox) Prefetch(ids []provider.ItemID) {
	if p, ok := b.m.(provider.Prefetcher); ok {
		p.Prefetch(ids)
	}
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

type poller struct {
	waiter
	says provider.Poller
}

// Polling passes through: it says how the mailbox waits, and reaches nothing.
func (b poller) Polling() string { return b.says.Polling() }

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
	var c powers
	var w waiter
	w.p = p
	w.w, c.wait = m.(provider.Waiter)
	q := poller{waiter: w}
	q.says, c.poll = m.(provider.Poller)
	a, l, s := archiver{p: p}, labeler{p: p}, sentFiler{p: p}
	a.a, c.archive = m.(provider.Archiver)
	l.l, c.label = m.(provider.Labeler)
	s.s, c.file = m.(provider.SentFiler)
	return combine(c, &mailbox{p, m}, q, a, l, s)
}

// powers are what a mailbox can do besides.
type powers struct{ wait, poll, archive, label, file bool }

// combine is the mailbox with those of the powers that c names. A Poller is a Waiter: without wait, poll counts for nothing.
func combine(c powers, b *mailbox, q poller, a archiver, l labeler, s sentFiler) provider.Mailbox {
	w := q.waiter
	c.poll = c.poll && c.wait
	switch c {
	case powers{wait: true}:
		return struct {
			*mailbox
			waiter
		}{b, w}
	case powers{wait: true, poll: true}:
		return struct {
			*mailbox
			poller
		}{b, q}
	case powers{archive: true}:
		return struct {
			*mailbox
			archiver
		}{b, a}
	case powers{wait: true, archive: true}:
		return struct {
			*mailbox
			waiter
			archiver
		}{b, w, a}
	case powers{wait: true, poll: true, archive: true}:
		return struct {
			*mailbox
			poller
			archiver
		}{b, q, a}
	case powers{label: true}:
		return struct {
			*mailbox
			labeler
		}{b, l}
	case powers{wait: true, label: true}:
		return struct {
			*mailbox
			waiter
			labeler
		}{b, w, l}
	case powers{wait: true, poll: true, label: true}:
		return struct {
			*mailbox
			poller
			labeler
		}{b, q, l}
	case powers{archive: true, label: true}:
		return struct {
			*mailbox
			archiver
			labeler
		}{b, a, l}
	case powers{wait: true, archive: true, label: true}:
		return struct {
			*mailbox
			waiter
			archiver
			labeler
		}{b, w, a, l}
	case powers{wait: true, poll: true, archive: true, label: true}:
		return struct {
			*mailbox
			poller
			archiver
			labeler
		}{b, q, a, l}
	case powers{file: true}:
		return struct {
			*mailbox
			sentFiler
		}{b, s}
	case powers{wait: true, file: true}:
		return struct {
			*mailbox
			waiter
			sentFiler
		}{b, w, s}
	case powers{wait: true, poll: true, file: true}:
		return struct {
			*mailbox
			poller
			sentFiler
		}{b, q, s}
	case powers{archive: true, file: true}:
		return struct {
			*mailbox
			archiver
			sentFiler
		}{b, a, s}
	case powers{wait: true, archive: true, file: true}:
		return struct {
			*mailbox
			waiter
			archiver
			sentFiler
		}{b, w, a, s}
	case powers{wait: true, poll: true, archive: true, file: true}:
		return struct {
			*mailbox
			poller
			archiver
			sentFiler
		}{b, q, a, s}
	case powers{label: true, file: true}:
		return struct {
			*mailbox
			labeler
			sentFiler
		}{b, l, s}
	case powers{wait: true, label: true, file: true}:
		return struct {
			*mailbox
			waiter
			labeler
			sentFiler
		}{b, w, l, s}
	case powers{wait: true, poll: true, label: true, file: true}:
		return struct {
			*mailbox
			poller
			labeler
			sentFiler
		}{b, q, l, s}
	case powers{archive: true, label: true, file: true}:
		return struct {
			*mailbox
			archiver
			labeler
			sentFiler
		}{b, a, l, s}
	case powers{wait: true, archive: true, label: true, file: true}:
		return struct {
			*mailbox
			waiter
			archiver
			labeler
			sentFiler
		}{b, w, a, l, s}
	case powers{wait: true, poll: true, archive: true, label: true, file: true}:
		return struct {
			*mailbox
			poller
			archiver
			labeler
			sentFiler
		}{b, q, a, l, s}
	}
	return b
}
