package emailint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/provider"
)

// Wake says that there may be mail. Cheap and durable: a wake that arrives during a pass causes one more.
func (e *Engine) Wake(ctx context.Context, org string, connection int64) error {
	err := e.o.State.Wake(ctx, org, connection)
	e.hurry()
	return err
}

// hurry lets an idle worker of this process look for work now.
func (e *Engine) hurry() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Sync runs one full pass over a connection: live changes, the whole history that is planned, and delivery. It is what a host
// with a queue of its own calls. state.ErrNoneDue when another worker holds the mailbox, ErrPaused while a Pause stands.
func (e *Engine) Sync(ctx context.Context, org string, connection int64) error {
	l, err := e.claim(ctx, org, connection)
	if err != nil {
		return fmt.Errorf("emailint: syncing connection %d: %w", connection, err)
	}
	var box provider.Mailbox
	defer e.closeBox(&box)
	return e.work(ctx, l, &box, func(ctx context.Context, v *visit) error { return v.pass(ctx) })
}

// claim leases one connection: state.ErrNoneDue when another worker holds it, ErrPaused while a Pause stands.
func (e *Engine) claim(ctx context.Context, org string, connection int64) (state.Lease, error) {
	l, err := e.o.State.ClaimConnection(ctx, org, connection, e.o.Worker, e.o.Now(), e.o.Lease)
	if errors.Is(err, state.ErrNoneDue) {
		if c, cerr := e.o.State.Connection(ctx, org, connection); cerr == nil {
			if perr := e.paused(ctx, org, c.Provider); perr != nil {
				err = perr
			}
		}
	}
	return l, err
}

func (e *Engine) closeBox(box *provider.Mailbox) {
	if *box != nil {
		e.shut(*box)
	}
}

// shut closes a mailbox. Nothing is written by that, so an error is nobody's.
func (e *Engine) shut(box provider.Mailbox) {
	_ = panics.Caught(context.Background(), e.o.Logger, "Close", box.Close)
}

// TakeOver ends the leases that an earlier life of this Worker left behind when it was killed, so that work goes on at once and
// not when they run out. Call it once at the start, and only where Options.Worker is set and no other process has that name.
func (e *Engine) TakeOver(ctx context.Context) error {
	conns, err := e.o.State.Connections(ctx, "")
	if err != nil {
		return fmt.Errorf("emailint: taking over: %w", err)
	}
	for _, c := range conns {
		if c.Worker != e.o.Worker || !c.LeaseUntil.After(e.o.Now()) {
			continue
		}
		// The claim raises the epoch: should the former life only have been paused, it commits nothing any more.
		l, err := e.o.State.ClaimConnection(ctx, c.Org, c.ID, e.o.Worker, c.LeaseUntil.Add(time.Second), e.o.Lease)
		if errors.Is(err, state.ErrNoneDue) {
			continue
		}
		if err == nil {
			err = e.o.State.Release(ctx, l, state.Released{})
		}
		if err != nil {
			return fmt.Errorf("emailint: taking over connection %d: %w", c.ID, err)
		}
	}
	return nil
}

// Run works on due mailboxes until ctx ends, and returns after the last worker has: a mail that is being released has twenty seconds, and what became of it is
// looked up for a minute at most. Several processes may run on one state.
// Mailboxes that waited for the operator (state.Misconfigured) are tried again at its start.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	// What was wrong with the operator's apps and keys may be mended since.
	if err := e.mended(ctx, "", func(string) bool { return true }); err != nil && ctx.Err() == nil {
		e.o.Logger.WarnContext(ctx, "trying misconfigured mailboxes again", "error", err)
	}
	wait := &waiters{engine: e, running: map[int64]*waiting{}, vain: map[int64]int{}, parked: map[int64]*parked{}, said: map[int64]string{}}
	wg.Go(func() { newOutboxes(e).run(ctx) })
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			if err := panics.Caught(ctx, e.o.Logger, "Relink", func() error { return e.Relink(ctx) }); err != nil && ctx.Err() == nil {
				e.o.Logger.WarnContext(ctx, "relinking", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-e.relink:
			case <-tick.C:
			}
		}
	})
	for range e.o.Workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				l, err := e.o.State.Claim(ctx, e.o.Worker, e.o.Now(), e.o.Lease)
				if err == nil {
					// A mailbox that waited for news is passed from hand to hand: it is signed in already.
					var box provider.Mailbox
					c, err := e.o.State.Connection(ctx, l.Org, l.Connection)
					known := err == nil
					if known {
						box = wait.take(c)
					}
					news := false
					err = e.work(ctx, l, &box, func(ctx context.Context, v *visit) error {
						v.backOff, v.until = true, e.o.Now().Add(turn)
						err := v.pass(ctx)
						news = v.reader.News+v.recon.News > 0
						return err
					})
					if err == nil && known {
						wait.start(ctx, c, box, news)
					} else if errors.Is(err, errTurn) && known {
						wait.park(c.ID, box, c.Credential)
					} else if box != nil {
						e.shut(box)
					}
					continue
				}
				if !errors.Is(err, state.ErrNoneDue) && ctx.Err() == nil {
					e.o.Logger.ErrorContext(ctx, "claiming work", "error", err)
				}
				select {
				case <-ctx.Done():
				case <-e.kick:
				case <-time.After(time.Second):
				}
			}
		})
	}
	wg.Wait()
	wait.end()
	return ctx.Err()
}

// work visits a mailbox under a lease and gives the lease back. An open mailbox may be handed over in box, and the one that
// was used is there afterwards for the caller to close; nil when there is none.
func (e *Engine) work(ctx context.Context, l state.Lease, box *provider.Mailbox, do func(context.Context, *visit) error) error {
	var settings Settings
	var version int64
	// Also when we are told to stop: what it says of refusals is given back with the lease.
	c, err := e.o.State.Connection(context.WithoutCancel(ctx), l.Org, l.Connection)
	if err == nil {
		_, settings, version, err = e.rules(ctx, l.Org)
	}
	read := false
	if err == nil {
		// A mail or a service that makes somebody's code panic holds up its own mailbox, and the host's process lives.
		err = panics.Caught(ctx, e.o.Logger, "the pass", func() (err error) {
			if *box == nil {
				if *box, err = e.open(ctx, c); err != nil {
					return err
				}
				if c.Refused > 0 { // what waits because of that waits no longer
					c.Refused, c.NotBefore = 0, time.Time{}
				}
			}
			if !l.SentOnly {
				if err := e.watch(ctx, l, c, settings.Sync); err != nil {
					return err
				}
			}
			v, err := e.visit(ctx, l, c, *box, settings)
			if err != nil {
				return err
			}
			err = do(ctx, v)
			read = v.read
			return err
		})
	}
	if errors.Is(err, state.ErrStale) {
		return fmt.Errorf("emailint: %s: another worker took over: %w", c.Address, err)
	}
	r := e.released(ctx, err, c, l.SentOnly, read, settings.Sync)
	if err == nil && !l.SentOnly {
		r.RulesVersion = version
	}
	// The lease is given back also when we are told to stop.
	if rerr := e.o.State.Release(context.WithoutCancel(ctx), l, r); rerr != nil && err == nil {
		err = rerr
	}
	if err != nil && !errors.Is(err, errTurn) {
		err = fmt.Errorf("emailint: syncing %s: %w", c.Address, err)
		if ctx.Err() == nil {
			e.o.Logger.WarnContext(ctx, "pass ended", "connection", l.Connection, "error", err)
		}
	}
	return err
}

// turn is how long Run reads on in a mailbox that has more to read: then others have theirs. What is begun is finished first.
const turn = 30 * time.Second

// errTurn ends a pass that is to go on when others have had their turn.
var errTurn = errors.New("other mailboxes have their turn")

// patience is how long a refused sign-in waits for the next try, each time; after the last the user is asked. Servers refuse
// right passwords on bad days, and lock those out who try too often.
var patience = []time.Duration{10 * time.Minute, time.Hour, 4 * time.Hour}

// longest is how long a mailbox waits because its service says so: what asks for more is a slip, and would go unseen for years.
const longest = 24 * time.Hour

// released turns the end of a pass into what the connection does next. Only NeedsAction, and a sign-in that is refused again and
// again, ask anyone for anything. read: changes were read to the end.
func (e *Engine) released(ctx context.Context, err error, c Connection, sentOnly, read bool, s SyncSettings) state.Released {
	var limit *provider.RateLimitError
	var action *provider.NeedsAction
	var refused *provider.SignInError
	var outage *deliver.OutageError
	now := e.o.Now()
	switch {
	case err == nil && sentOnly:
		_, sent := s.next(c.ID, now)
		return state.Released{NextSent: sent, State: state.Connected}
	case err == nil:
		full, sent := s.next(c.ID, now)
		return state.Released{Served: true, NextDue: full, NextSent: sent, State: state.Connected}
	case errors.Is(err, errTurn) && sentOnly:
		return state.Released{NextSent: now}
	case errors.Is(err, errTurn):
		// Behind those that are due already, and behind those that are woken: its own wake is served by being due now.
		return state.Released{Served: true, NextDue: now}
	case ctx.Err() != nil:
		return state.Released{Refused: c.Refused, NotBefore: c.NotBefore}
	case errors.As(err, &outage):
		// Whatever the CRM's error wraps, it says nothing about the mailbox.
		return state.Released{NotBefore: e.health.until(c.Org, now), State: state.Connected, Reason: "the CRM does not answer",
			Refused: c.Refused}
	case errors.As(err, &action):
		st := map[provider.Who]state.ConnState{provider.User: state.NeedsUser, provider.Admin: state.NeedsAdmin}[action.Who]
		if st == "" {
			st = state.Misconfigured
		}
		return state.Released{State: st, Reason: action.Reason}
	case errors.As(err, &refused):
		n := c.Refused + 1
		if n > len(patience) {
			return state.Released{State: state.NeedsUser, Reason: refused.Reason, Refused: n}
		}
		next := now.Add(patience[n-1])
		return state.Released{NotBefore: next, State: state.Connected, Refused: n,
			Reason: fmt.Sprintf("the sign-in was refused, which may pass; try %d of %d is after %s", n+1, len(patience)+1, next.UTC().Format("15:04 MST"))}
	case errors.As(err, &limit) && limit.Own && read && !sentOnly:
		// Older mail waits for its quota, and new mail has its own: news of that make it due before.
		_, sent := s.next(c.ID, now)
		return state.Released{Served: true, NextDue: now.Add(min(max(limit.RetryAfter, time.Second), longest)), NextSent: sent, State: state.Connected,
			Reason: "older mail waits for the quota of the next minute"}
	case errors.As(err, &limit):
		return state.Released{NotBefore: now.Add(min(max(limit.RetryAfter, time.Minute), longest)), State: state.Connected, Reason: "rate limited by the provider",
			Refused: c.Refused}
	default:
		return state.Released{NotBefore: now.Add(time.Minute), State: state.Connected, Reason: err.Error(), Refused: c.Refused}
	}
}
