package failpoint

import (
	"context"
	"io"
	"iter"
	"net/http"
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

// Authorizer is a process's a.
func Authorizer(p *Process, a provider.Authorizer) provider.Authorizer { return &authorizer{a, p} }

func (a *authorizer) Push(r *http.Request) (provider.Pushed, error) {
	return get(a.p, "provider.Push", func() (provider.Pushed, error) { return a.Authorizer.(provider.Pusher).Push(r) })
}

// Unwrap says what the provider can do besides.
func (a *authorizer) Unwrap() provider.Provider { return a.Authorizer }

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

func (a *authorizer) Watch(ctx context.Context, tokens oauth2.TokenSource, had []byte) (provider.Watch, error) {
	return get(a.p, "provider.Watch", func() (provider.Watch, error) { return a.Authorizer.(provider.Watcher).Watch(ctx, tokens, had) })
}

func (a *authorizer) Unwatch(ctx context.Context, tokens oauth2.TokenSource, handle []byte) error {
	return a.p.pass("provider.Unwatch", func() error { return a.Authorizer.(provider.Watcher).Unwatch(ctx, tokens, handle) })
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

// Prefetch is a hint: it changes nothing, and a mailbox that ignores it is as good. So it is no point, and every mailbox has it.
func (b *mailbox) Prefetch(ids []provider.ItemID) {
	if p, ok := b.m.(provider.Prefetcher); ok {
		p.Prefetch(ids)
	}
}

// HistoryAhead is a hint as well.
func (b *mailbox) HistoryAhead(w provider.Window, c provider.Cursor) {
	b.m.(provider.HistoryReader).HistoryAhead(w, c)
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

// What follows are optional powers: a mailbox is asked only for those that the wrapped one has.

func (b *mailbox) Wait(ctx context.Context) error {
	return b.p.pass("mailbox.Wait", func() error { return b.m.(provider.Waiter).Wait(ctx) })
}

// Polling passes through: it says how the mailbox waits, and reaches nothing.
func (b *mailbox) Polling() string { return b.m.(provider.Poller).Polling() }

// Since passes through: a hint.
func (b *mailbox) Since(t time.Time) { b.m.(provider.Bounded).Since(t) }

func (b *mailbox) Search(ctx context.Context, w provider.Window, who []string, c provider.Cursor) (provider.Page, error) {
	return get(b.p, "mailbox.Search", func() (provider.Page, error) { return b.m.(provider.Searcher).Search(ctx, w, who, c) })
}

func (b *mailbox) Plan(ctx context.Context, w provider.Window, who []string) (provider.Plan, error) {
	return get(b.p, "mailbox.Plan", func() (provider.Plan, error) { return b.m.(provider.Searcher).Plan(ctx, w, who) })
}

func (b *mailbox) Signature(ctx context.Context, from string) (string, error) {
	return get(b.p, "mailbox.Signature", func() (string, error) { return b.m.(provider.Signer).Signature(ctx, from) })
}

func (b *mailbox) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	return get(b.p, "mailbox.Archive", func() (provider.Mutation, error) { return b.m.(provider.Archiver).Archive(ctx, t) })
}

func (b *mailbox) Unarchive(ctx context.Context, t provider.Target, m provider.Mutation) (provider.Mutation, error) {
	return get(b.p, "mailbox.Unarchive", func() (provider.Mutation, error) { return b.m.(provider.Archiver).Unarchive(ctx, t, m) })
}

func (b *mailbox) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	return get(b.p, "mailbox.Label", func() (provider.Mutation, error) { return b.m.(provider.Labeler).Label(ctx, t, label) })
}

func (b *mailbox) Unlabel(ctx context.Context, t provider.Target, m provider.Mutation) error {
	return b.p.pass("mailbox.Unlabel", func() error { return b.m.(provider.Labeler).Unlabel(ctx, t, m) })
}

func (b *mailbox) FindSent(ctx context.Context, messageID string) (provider.ItemID, error) {
	return get(b.p, "mailbox.FindSent", func() (provider.ItemID, error) { return b.m.(provider.SentFiler).FindSent(ctx, messageID) })
}

func (b *mailbox) FileSent(ctx context.Context, raw []byte, at time.Time) (provider.ItemID, error) {
	return get(b.p, "mailbox.FileSent", func() (provider.ItemID, error) { return b.m.(provider.SentFiler).FileSent(ctx, raw, at) })
}

// wrapMailbox wraps a mailbox; it has the optional powers that the mailbox has (package power).
func wrapMailbox(p *Process, m provider.Mailbox) provider.Mailbox { return &mailbox{p, m} }

// Unwrap says what the mailbox can do besides.
func (b *mailbox) Unwrap() provider.Mailbox { return b.m }
