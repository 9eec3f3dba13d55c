package emailint

import (
	"context"
	"fmt"

	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// MailboxSender sends by the service of a mailbox itself, for Options.Sender: where the provider's mailboxes are Senders, as Gmail's are. The mailbox is
// opened for each call. One that can't send fails with provider.ErrUnsupported and provider.ErrNotSent.
func (e *Engine) MailboxSender(c Connection) provider.Sender { return mailboxSender{e, c} }

type mailboxSender struct {
	engine *Engine
	conn   Connection
}

// with opens the mailbox for f.
func (s mailboxSender) with(ctx context.Context, f func(provider.Sender) error) error {
	box, err := s.engine.open(ctx, s.conn)
	if err != nil {
		return fmt.Errorf("%w: %w: %w", provider.ErrNotSent, provider.ErrTryLater, err)
	}
	defer box.Close() //nolint:errcheck // what was sent is sent
	to, ok := power.Of[provider.Sender](box)
	if !ok {
		return fmt.Errorf("%w: mailboxes of %s do not send: %w", provider.ErrNotSent, s.conn.Provider, provider.ErrUnsupported)
	}
	return f(to)
}

// Stage implements provider.Sender.
func (s mailboxSender) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (out provider.Staged, err error) {
	err = s.with(ctx, func(to provider.Sender) (err error) { out, err = to.Stage(ctx, raw, o); return err })
	return out, err
}

// Release implements provider.Sender.
func (s mailboxSender) Release(ctx context.Context, st provider.Staged) (out provider.Sent, err error) {
	err = s.with(ctx, func(to provider.Sender) (err error) { out, err = to.Release(ctx, st); return err })
	return out, err
}

// Lookup implements provider.Sender.
func (s mailboxSender) Lookup(ctx context.Context, st provider.Staged) (o provider.Outcome, out provider.Sent, err error) {
	err = s.with(ctx, func(to provider.Sender) (err error) { o, out, err = to.Lookup(ctx, st); return err })
	return o, out, err
}
