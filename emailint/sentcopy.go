package emailint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

const (
	// copyGrace is how long a service has to file the copy itself, as Gmail and Exchange do after SMTP (facts 3.3).
	copyGrace = time.Minute
	// copyTries is how often a copy is looked for after its filing had no answer, or the mailbox could not be asked.
	copyTries = 8
)

// copies looks after the copies in Sent of what was sent by SMTP, of one mailbox or several: looked for first, filed where there is none, and at most
// once: "tried" is committed before, and a row found in that state is only looked for again.
func (e *Engine) copies(ctx context.Context, rows []state.Outgoing) error {
	var errs []error
	shut := map[int64]time.Time{} // mailboxes that did not open, or limit our rate, and when to try again
	for _, due := range rows {
		row, err := e.o.State.OutboxGet(ctx, due.Org, due.Key)
		if err == nil && row.Copy != due.Copy {
			continue // another worker was at it
		}
		if err == nil {
			err = e.copy(ctx, row, shut)
		}
		if err != nil && !errors.Is(err, state.ErrStale) && !errors.Is(err, state.ErrNotFound) {
			errs = append(errs, fmt.Errorf("the copy in Sent of %s: %w", due.Key, err))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) copy(ctx context.Context, row state.Outgoing, shut map[int64]time.Time) error {
	step := func(to state.CopyState, s state.CopyStep) error {
		err := e.o.State.CopyStep(ctx, row.Org, row.Key, row.Copy, to, s)
		row.Copy = to
		return err
	}
	opened := false
	later := func(cause error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		text := cause.Error()
		text = text[:min(len(text), 300)]
		if row.CopyTries+1 >= copyTries || errors.Is(cause, provider.ErrUnsupported) {
			return step(state.CopyLost, state.CopyStep{Error: text})
		}
		wait := time.Minute << row.CopyTries
		var limit *provider.RateLimitError
		if errors.As(cause, &limit) {
			wait = max(wait, min(limit.RetryAfter, longest))
		}
		if errors.As(cause, new(*provider.SignInError)) {
			wait = max(wait, patience[0])
		}
		next := e.o.Now().Add(wait)
		if !opened || limit != nil {
			shut[row.Connection] = next
		}
		return step(row.Copy, state.CopyStep{Error: text, Try: true, NextTry: next})
	}
	c, err := e.o.State.Connection(ctx, row.Org, row.Connection)
	if err != nil {
		return err
	}
	// CopiesDue left out what was paused then. It gave up to 20 rows, each of which may take minutes: those behind are asked again.
	paused := e.paused(ctx, row.Org, c.Provider)
	if paused != nil && !errors.Is(paused, ErrPaused) {
		return paused
	}
	// A mailbox that is not to be signed in to now isn't for this either; it costs no try.
	switch now := e.o.Now(); {
	case c.State == state.Disconnected, c.State == state.Erasing:
		return step(state.CopyLost, state.CopyStep{Error: "the mailbox is no longer connected"})
	case c.State != state.Connected, c.Refused > 0, c.NotBefore.After(now), shut[c.ID].After(now), paused != nil:
		return step(row.Copy, state.CopyStep{Error: "the mailbox is not to be asked now", NextTry: maxTime(shut[c.ID], maxTime(c.NotBefore, now.Add(10*time.Minute)))})
	}
	// Of mail that a copy proved to be sent it was not asked before whether one in Sent is wanted.
	var staged provider.Staged
	if s, _, err := e.settings(ctx, row.Org); err == nil && !s.FileSent || json.Unmarshal(row.Staged, &staged) == nil && staged.ID != "" {
		return step(state.CopyNone, state.CopyStep{})
	}
	// A service that makes somebody's code panic is one that could not be asked.
	guard := func(what string, f func() error) error { return panics.Caught(ctx, e.o.Logger, what, f) }
	var box provider.Mailbox
	err = guard("Open", func() (err error) { box, err = e.open(ctx, c); return err })
	if err != nil {
		if errors.As(err, new(*provider.SignInError)) {
			if werr := e.Wake(ctx, row.Org, row.Connection); werr != nil { // the pass counts refusals, and asks the user
				return werr
			}
		}
		return later(err)
	}
	opened = true
	defer e.shut(box)
	filer, ok := power.Of[provider.SentFiler](box)
	if !ok {
		return step(state.CopyNone, state.CopyStep{})
	}
	var found provider.ItemID
	err = guard("FindSent", func() (err error) {
		found, err = filer.FindSent(ctx, message.ParseHeader(row.Raw).MessageID)
		return err
	})
	switch {
	case err != nil:
		return later(err)
	case found != "":
		return step(state.CopyFound, state.CopyStep{})
	case row.Copy == state.CopyTried:
		return later(errors.New("it was to be filed, and the mailbox does not show it"))
	}
	// The service may have filed one that the owner moved elsewhere; what lies in the inbox came to him.
	var moved []provider.Item
	err = guard("Locate", func() (err error) { moved, err = box.Locate(ctx, message.ParseHeader(row.Raw).MessageID); return err })
	switch {
	case err != nil:
		return later(err)
	case slices.ContainsFunc(moved, func(it provider.Item) bool {
		return !slices.ContainsFunc(it.Folders, func(f provider.Folder) bool { return f.Role == provider.RoleInbox })
	}):
		return step(state.CopyFound, state.CopyStep{})
	}
	if err := step(state.CopyTried, state.CopyStep{NextTry: e.o.Now().Add(copyGrace)}); err != nil {
		return err // another worker is at it
	}
	lctx, end := linger(ctx)
	defer end()
	if err := guard("FileSent", func() error { _, err := filer.FileSent(lctx, row.Raw, row.Created); return err }); err != nil {
		return later(err)
	}
	// It is there, whoever has stopped waiting: else it would be looked for, and be lost where it can't be found.
	return e.o.State.CopyStep(context.WithoutCancel(ctx), row.Org, row.Key, row.Copy, state.CopyFiled, state.CopyStep{})
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
