package emailint

import (
	"context"
	"fmt"

	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// DefaultSender sends as Options.Sender does where it is nil: by the service of the mailbox itself where that sends, as Gmail's and Microsoft's do, else
// by the mail server of the organisation's settings (Options.SMTP). The mailbox is opened for each call. Where nothing can send, or not now, the
// error wraps provider.ErrNotSent and provider.ErrTryLater, and where somebody must set up a mail server it is a *provider.NeedsAction.
func (e *Engine) DefaultSender(c Connection) provider.Sender { return defaultSender{e, c} }

// sendsBy is what sends for a connection.
func (e *Engine) sendsBy(ctx context.Context, c Connection) (provider.Sender, error) {
	if e.o.Sender == nil {
		return e.DefaultSender(c), nil
	}
	return e.o.Sender(ctx, c)
}

type defaultSender struct {
	engine *Engine
	conn   Connection
}

// with hands f what sends.
func (s defaultSender) with(ctx context.Context, f func(provider.Sender) error) error {
	box, err := s.engine.open(ctx, s.conn)
	if err != nil {
		return fmt.Errorf("%w: %w: %w", provider.ErrNotSent, provider.ErrTryLater, err)
	}
	defer box.Close() //nolint:errcheck // what was sent is sent
	to, ok := power.Of[provider.Sender](box)
	if !ok {
		if to, err = s.engine.smtpSender(ctx, s.conn.Org); err != nil {
			return fmt.Errorf("%w: %w: mailboxes of %s do not send: %w", provider.ErrNotSent, provider.ErrTryLater, s.conn.Provider, err)
		}
	}
	return f(to)
}

// Stage implements provider.Sender.
func (s defaultSender) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (out provider.Staged, err error) {
	err = s.with(ctx, func(to provider.Sender) (err error) { out, err = to.Stage(ctx, raw, o); return err })
	return out, err
}

// Release implements provider.Sender.
func (s defaultSender) Release(ctx context.Context, st provider.Staged) (out provider.Sent, err error) {
	err = s.with(ctx, func(to provider.Sender) (err error) { out, err = to.Release(ctx, st); return err })
	return out, err
}

// Lookup implements provider.Sender.
func (s defaultSender) Lookup(ctx context.Context, st provider.Staged) (o provider.Outcome, out provider.Sent, err error) {
	err = s.with(ctx, func(to provider.Sender) (err error) { o, out, err = to.Lookup(ctx, st); return err })
	return o, out, err
}
