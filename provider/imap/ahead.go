package imap

import (
	"bytes"
	"context"
	"net"

	"github.com/intellicon/email-integration/provider"
)

// job is reading that nobody waits for yet. Whoever uses the mailbox next waits for its end: the connection is one, and so is what is known of it.
type job struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin runs f behind the jobs that were begun before.
func (m *Mailbox) begin(f func(ctx context.Context)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	before := m.job
	ctx, cancel := context.WithCancel(context.Background())
	j := &job{cancel: cancel, done: make(chan struct{})}
	if before != nil {
		j.cancel = func() { before.cancel(); cancel() }
	}
	m.job = j
	go func() {
		defer close(j.done)
		defer cancel()
		defer func() { recover() }() //nolint:errcheck // what was not read is read when somebody asks for it, and whoever asks is the one to panic
		if before != nil {
			<-before.done
		}
		if ctx.Err() == nil {
			f(ctx)
		}
	}()
}

// settled waits until no job is left. One that ctx doesn't wait for is ended, and so is its connection. Of a closed mailbox nothing is used any more,
// what a job had read before least of all.
func (m *Mailbox) settled(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.job; j != nil {
		m.mu.Unlock()
		select {
		case <-j.done:
		case <-ctx.Done():
			j.cancel()
			<-j.done
		}
		m.mu.Lock()
		m.job = nil
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if m.closed {
		return m.wrap(ctx, "using the mailbox", net.ErrClosed)
	}
	return nil
}

// early is a page of history that was read ahead.
type early struct {
	window provider.Window
	cursor provider.Cursor
	page   provider.Page
	err    error
}

// HistoryAhead implements provider.HistoryReader.
func (m *Mailbox) HistoryAhead(w provider.Window, c provider.Cursor) {
	m.begin(func(ctx context.Context) {
		e := &early{window: w, cursor: c}
		if e.page, e.err = m.history(ctx, w, c); ctx.Err() == nil {
			m.early = e
		}
	})
}

// History lists the mail of the window over all watched folders, by INTERNALDATE, newest first.
func (m *Mailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	if err := m.settled(ctx); err != nil {
		return provider.Page{}, err
	}
	e := m.early
	m.early = nil
	if e != nil && e.window == w && bytes.Equal(e.cursor, c) {
		return e.page, e.err
	}
	return m.history(ctx, w, c)
}
