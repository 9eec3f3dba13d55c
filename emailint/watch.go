package emailint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

const (
	// renewEvery is how often a watch is renewed, at least, and twice in its lifetime where that is short. Gmail's lasts a week and wants a renewal a day
	// (facts 1.3), Graph's nearly a week and is best renewed every 12 to 24 hours, as it also ends with the token by which it was made (facts 2.4).
	renewEvery = 12 * time.Hour
	// watchTime bounds a call, which the service may answer late: Graph first looks whether somebody listens (facts 2.4).
	watchTime = 30 * time.Second
)

// watch has news of a mailbox sent, where its service can do that and it is wanted, and keeps it up: when it is due, before a pass reads, so that nothing
// that comes after is told to nobody. What goes wrong is no trouble of the mailbox: the poll goes on, and it is tried again, ever more seldom. Of a
// mailbox whose lease was lost meanwhile it is ended.
func (e *Engine) watch(ctx context.Context, l state.Lease, c Connection, s SyncSettings) error {
	p, ok := power.Of[provider.Watcher](e.provs[c.Provider])
	full, sent := s.hint()
	now := e.o.Now()
	wanted := full || sent
	if !ok || wanted && c.Watch.Next.After(now) || !wanted && c.Watch.Expires.IsZero() {
		return nil
	}
	if err := e.observing(ctx); errors.Is(err, ErrObserving) {
		return nil // it would take the news away from whose state it is
	} else if err != nil {
		return err
	}
	if !wanted {
		e.unwatch(ctx, c, c.Watch.Handle)
		if err := e.o.State.SetRealTime(ctx, c.Org, c.ID, "polling: no mail is wanted in real time"); err != nil {
			return err
		}
		return e.o.State.SetWatch(ctx, l, state.Watch{})
	}
	wctx, cancel := context.WithTimeout(ctx, watchTime)
	got, err := p.Watch(wctx, e.tokens.Source(context.WithoutCancel(ctx), c), c.Watch.Handle)
	cancel()
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // what was made is noted also when we are told to stop
	}
	if err == nil && !got.Expires.After(now) {
		err = fmt.Errorf("the service says that what it was asked for ended at %s", got.Expires.UTC().Format(time.RFC3339))
	}
	w := state.Watch{Handle: got.Handle, Expires: got.Expires, Next: now.Add(min(renewEvery, got.Expires.Sub(now)/2))}
	text := "told by the service"
	if err != nil {
		// What stands goes on for its time.
		w = c.Watch
		w.Tries++
		wait := time.Minute << min(w.Tries-1, 6)
		var limit *provider.RateLimitError
		if errors.As(err, &limit) {
			wait = max(wait, limit.RetryAfter)
		}
		w.Next = now.Add(min(wait, longest))
		e.o.Logger.WarnContext(ctx, "having news sent", "connection", c.ID, "error", err)
		if !w.Expires.After(now) {
			text = fmt.Sprintf("polling: %v", err)
			var action *provider.NeedsAction
			if errors.As(err, &action) {
				text = "polling: " + action.Reason
			}
		}
	}
	// The note goes first: should we die in between, it is due still, and noted again.
	serr := e.o.State.SetRealTime(context.WithoutCancel(ctx), c.Org, c.ID, text)
	if serr == nil {
		serr = e.o.State.SetWatch(context.WithoutCancel(ctx), l, w)
	}
	if err == nil && (errors.Is(serr, state.ErrStale) || errors.Is(serr, state.ErrNotFound)) {
		e.unwatch(ctx, c, w.Handle) // it was disconnected meanwhile
	}
	return serr
}

// unwatch ends what stands at the service. One without a handle is the person's and the app's, and another mailbox may live by it (facts 8). Where the
// service does not answer it ends by itself, and what it tells until then wakes nobody.
func (e *Engine) unwatch(ctx context.Context, c Connection, handle []byte) {
	p, ok := power.Of[provider.Watcher](e.provs[c.Provider])
	if !ok || len(c.Credential) == 0 || e.observing(ctx) != nil {
		return
	}
	if len(handle) == 0 {
		if others, err := e.sharing(ctx, c); err != nil || others {
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watchTime)
	defer cancel()
	if err := p.Unwatch(ctx, e.tokens.Source(ctx, c), handle); err != nil {
		e.o.Logger.WarnContext(ctx, "ending that news is sent", "connection", c.ID, "error", err)
	}
}
