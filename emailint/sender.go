package emailint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// DefaultSender sends as Options.Sender does where it is nil: by the service of the mailbox itself where that sends, as Gmail's and Microsoft's do, else
// by the mail server of the organisation's settings (Options.SMTP). The mailbox is opened for each call, but not while it refuses the
// sign-in or waits for somebody. Where nothing can send, or not now, the error wraps provider.ErrNotSent and provider.ErrTryLater, and where somebody must set up a mail server it is a *provider.NeedsAction.
func (e *Engine) DefaultSender(c Connection) provider.Sender { return defaultSender{e, c} }

// sendsBy is what sends for a connection.
func (e *Engine) sendsBy(ctx context.Context, c Connection) (s guardedSender, err error) {
	s.log = e.o.Logger
	if e.o.Sender == nil {
		s.to = e.DefaultSender(c)
		return s, e.notNow(c)
	}
	err = panics.Caught(ctx, s.log, "Options.Sender", func() (err error) { s.to, err = e.o.Sender(ctx, c); return err })
	return s, err
}

// guardedSender makes an error of a panic: it is of one mail, and no guarantee that it was not sent.
type guardedSender struct {
	to  provider.Sender
	log *slog.Logger
}

// kind tells senders apart.
func (s guardedSender) kind() string { return fmt.Sprintf("%T", s.to) }

func (s guardedSender) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (out provider.Staged, err error) {
	err = panics.Caught(ctx, s.log, "Stage", func() (err error) { out, err = s.to.Stage(ctx, raw, o); return err })
	return out, err
}

func (s guardedSender) Release(ctx context.Context, st provider.Staged) (out provider.Sent, err error) {
	err = panics.Caught(ctx, s.log, "Release", func() (err error) { out, err = s.to.Release(ctx, st); return err })
	return out, err
}

func (s guardedSender) Lookup(ctx context.Context, st provider.Staged) (o provider.Outcome, out provider.Sent, err error) {
	err = panics.Caught(ctx, s.log, "Lookup", func() (err error) { o, out, err = s.to.Lookup(ctx, st); return err })
	return o, out, err
}

var errNotNow = errors.New("the mailbox is not to be signed in to now")

// notNow is an error where a sign-in to send would be one more that is refused: passes try sparsely, as servers lock those out who try too often.
func (e *Engine) notNow(c Connection) error {
	if c.State != state.Connected || c.Refused > 0 || e.away.is(c, e.o.Now()) {
		return errNotNow
	}
	return nil
}

// turnedAway are mailboxes that refused a sender's sign-in, until a pass has seen it.
type turnedAway struct {
	mu sync.Mutex // guards what is below
	by map[int64]refusal
}

// refusal is of one credential, for a while.
type refusal struct {
	version int64
	until   time.Time
}

func (a *turnedAway) is(c Connection, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.by[c.ID]
	if ok && (r.version != c.CredentialVersion || !r.until.After(now)) {
		delete(a.by, c.ID)
		ok = false
	}
	return ok
}

func (a *turnedAway) add(c Connection, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[int64]refusal{}
	}
	a.by[c.ID] = refusal{c.CredentialVersion, until}
}

type defaultSender struct {
	engine *Engine
	conn   Connection
}

// with hands f what sends.
func (s defaultSender) with(ctx context.Context, f func(provider.Sender) error) error {
	if err := s.engine.notNow(s.conn); err != nil {
		return fmt.Errorf("%w: %w: %w", provider.ErrNotSent, provider.ErrTryLater, err)
	}
	box, err := s.engine.open(ctx, s.conn)
	if errors.As(err, new(*provider.SignInError)) {
		s.engine.away.add(s.conn, s.engine.o.Now().Add(patience[0]))
		err = errors.Join(err, s.engine.Wake(ctx, s.conn.Org, s.conn.ID)) // the pass counts refusals, and asks the user
	}
	if err != nil {
		return fmt.Errorf("%w: %w: %w", provider.ErrNotSent, provider.ErrTryLater, err)
	}
	defer s.engine.shut(box) // what was sent is sent
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
