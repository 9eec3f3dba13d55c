package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
)

// plainLoop is the floor that nobody beats: IDLE, FETCH of the new headers, IDLE, on one connection that stays open, with no ledger, no
// linking and no CRM.
type plainLoop struct {
	c     *imapclient.Client
	next  uint32        // sequence number of the first message not read
	news  chan struct{} // EXISTS was heard
	ended chan error
	inbox *inbox
}

func newPlainLoop(srv *server) (*plainLoop, error) {
	l := &plainLoop{news: make(chan struct{}, 1), ended: make(chan error, 1), inbox: newInbox()}
	var err error
	if l.c, err = srv.dial(func(uint32) {
		select {
		case l.news <- struct{}{}:
		default:
		}
	}); err != nil {
		return nil, err
	}
	sel, err := l.c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, err
	}
	l.next = sel.NumMessages + 1
	ready := make(chan struct{})
	go func() { l.ended <- l.run(ready) }()
	<-ready
	return l, nil
}

func (l *plainLoop) run(ready chan<- struct{}) error {
	for {
		idle, err := l.c.Idle()
		if ready != nil {
			close(ready)
			ready = nil
		}
		if err != nil {
			return err
		}
		select {
		case <-l.news:
		case <-l.c.Closed():
			return nil
		}
		if err := idle.Close(); err != nil {
			return err
		}
		if err := idle.Wait(); err != nil {
			return err
		}
		if err := l.read(); err != nil {
			return err
		}
	}
}

// read fetches the headers from next on.
func (l *plainLoop) read() error {
	if mb := l.c.Mailbox(); mb == nil || mb.NumMessages < l.next {
		return nil // n:* would name the last message again
	}
	cmd := l.c.Fetch(imap.SeqSet{{Start: l.next, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{{Specifier: imap.PartSpecifierHeader, Peek: true}}})
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		for item := m.Next(); item != nil; item = m.Next() {
			b, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok || b.Literal == nil {
				continue
			}
			raw, err := io.ReadAll(b.Literal)
			if err != nil {
				return err
			}
			at := time.Now()
			env := message.ParseHeader(raw) // only to know which it is: after the time was taken
			l.inbox.put(env.MessageID, at)
		}
		l.next = max(l.next, m.SeqNum+1)
	}
	return cmd.Close()
}

func (l *plainLoop) await(id string) (time.Time, error) {
	select {
	case err := <-l.ended:
		return time.Time{}, fmt.Errorf("the plain loop ended: %v", err)
	case at := <-l.inbox.of(id):
		return at, nil
	case <-time.After(patience):
		return time.Time{}, fmt.Errorf("the plain loop had a mail not in hand within %s", patience)
	}
}

func (l *plainLoop) close() { l.c.Close() } //nolint:errcheck // the process ends

// inbox hands over when each mail was in hand.
type inbox struct {
	mu sync.Mutex // guards at
	at map[string]chan time.Time
}

func newInbox() *inbox { return &inbox{at: map[string]chan time.Time{}} }

// of returns the channel that receives the first time of a mail, once.
func (b *inbox) of(id string) chan time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at[id] == nil {
		b.at[id] = make(chan time.Time, 1)
	}
	return b.at[id]
}

func (b *inbox) put(id string, at time.Time) {
	select {
	case b.of(id) <- at:
	default: // saved again: the first counts
	}
}
