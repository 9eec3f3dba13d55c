package imap

import (
	"context"
	"io"
	"net"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

var _ provider.Poller = (*Mailbox)(nil)

// renewal is how long an IDLE lasts before it is ended and begun again. Facts 3.3: 29 minutes by RFC 2177, Gmail ends it after
// about 10, NATs sooner: 5 to 9. It also bounds how long a connection that died without a word goes unnoticed.
const renewal = 5 * time.Minute

// Wait returns when the inbox has news: when it differs from what Changes saw last, at once, and else when the server tells of mail
// that came or went. It returns at the latest after Config.WaitLimit, since one connection hears of one folder only, and the
// others want to be looked at too. Without IDLE it is a pause of that length; Polling says so. ErrPolled: too many wait already.
//
// IDLE is renewed every five minutes. A connection that died without a word is noticed when the server doesn't answer to that
// within Config.Stall, six minutes after its death by default, and replaced; news of the meantime are not lost, because the inbox
// is compared again.
func (m *Mailbox) Wait(ctx context.Context) error {
	if err := m.settled(ctx); err != nil {
		return err
	}
	m.ahead, m.early, m.slice = nil, nil, nil // many mailboxes wait, and for long
	end, err := m.cfg.place.idle()
	if err != nil {
		return err
	}
	defer end()
	until := time.Now().Add(m.cfg.WaitLimit)
	return m.do(ctx, "waiting for mail", func(c *imapclient.Client) error {
		select {
		case <-m.news:
		default:
		}
		sel, err := m.examine(c, "INBOX", true)
		if err != nil {
			return err
		}
		changed, err := m.inboxChanged(c, sel)
		for err == nil && !changed && time.Now().Before(until) {
			changed, err = m.listen(ctx, c, until)
		}
		return err
	})
}

// inboxChanged compares the inbox with what Changes saw; when it never looked, there is nothing to compare.
func (m *Mailbox) inboxChanged(c *imapclient.Client, sel selection) (bool, error) {
	if m.inbox == nil || m.inbox.current(sel) {
		return false, nil
	}
	if sel.next != 0 || m.inbox.Next != 0 || m.inbox.Validity != sel.validity || *m.inbox.Count != sel.num {
		return true, nil
	}
	// Neither UIDNEXT nor HIGHESTMODSEQ: one may have come and one gone. (Or Changes had more to read.)
	above := goimap.UIDSet{{Start: goimap.UID(m.inbox.Last + 1), Stop: 0}}
	uids, err := m.search(c, sel, &goimap.SearchCriteria{UID: []goimap.UIDSet{above}}, m.inbox.Last)
	return len(uids) > 0, err
}

// listen waits for news of the open folder, for the time of one IDLE at most.
func (m *Mailbox) listen(ctx context.Context, c *imapclient.Client, until time.Time) (bool, error) {
	m.mu.Lock()
	conn, polling := m.conn, m.polling != ""
	m.mu.Unlock()
	if conn == nil {
		return false, net.ErrClosed
	}
	var idle *imapclient.IdleCommand
	wait := time.Until(until)
	if !polling {
		var err error
		if idle, err = c.Idle(); err != nil {
			if connectionDied(err) {
				return false, err
			}
			m.setPolling("the mail server refuses IDLE")
		} else {
			wait = min(wait, renewal)
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	conn.watch(false) // silence is expected now
	news := false
	select {
	case <-m.news:
		news = true
	case <-timer.C:
	case <-c.Closed():
		return false, io.ErrUnexpectedEOF
	case <-ctx.Done():
		return false, ctx.Err()
	}
	conn.watch(true)
	if idle == nil {
		return news, nil
	}
	err := idle.Close()
	if werr := idle.Wait(); err == nil {
		err = werr
	}
	return news, err
}

func (m *Mailbox) setPolling(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polling = why
}

// Polling says why Wait is only a pause: the server has no IDLE. "" when it has. It may be called from any goroutine.
func (m *Mailbox) Polling() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.polling
}
