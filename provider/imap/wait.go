package imap

import (
	"context"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Wait returns when the inbox has news, and at the latest after Config.WaitLimit: one connection hears of one folder
// only, and the others want to be looked at too. Without IDLE it is a pause.
func (m *Mailbox) Wait(ctx context.Context) error {
	return m.do(ctx, "waiting for mail", func(c *imapclient.Client) error {
		timer := time.NewTimer(m.cfg.WaitLimit)
		defer timer.Stop()
		select {
		case <-m.news:
		default:
		}
		sel, err := m.examine(c, "INBOX", true)
		if err != nil {
			return err
		}
		if m.inboxNext != 0 && sel.next != 0 && sel.next != m.inboxNext {
			return nil // it came between Changes and now
		}
		m.mu.Lock()
		conn := m.conn
		m.mu.Unlock()
		var idle *imapclient.IdleCommand
		if caps := c.Caps(); caps.Has(goimap.CapIdle) || caps.Has(goimap.CapIMAP4rev2) {
			if idle, err = c.Idle(); err != nil && connectionDied(err) {
				return err
			}
		}
		if conn != nil {
			conn.watch(false) // silence is expected now
		}
		ended := false
		select {
		case <-m.news:
		case <-timer.C:
		case <-c.Closed():
			ended = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if conn != nil {
			conn.watch(true)
		}
		if idle == nil {
			return nil
		}
		err = idle.Close()
		if werr := idle.Wait(); err == nil {
			err = werr
		}
		if ended {
			m.selected = selection{}
		}
		return err
	})
}
