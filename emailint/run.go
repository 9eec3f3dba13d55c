package emailint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/internal/pass"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// Wake says that there may be mail. Cheap and durable: a wake that arrives during a pass causes one more.
func (e *Engine) Wake(ctx context.Context, org string, connection int64) error {
	err := e.o.State.Wake(ctx, org, connection)
	select {
	case e.kick <- struct{}{}:
	default:
	}
	return err
}

// Sync runs one full pass over a connection: live changes, the whole history that is planned, and delivery. It is what a host
// with a queue of its own calls. state.ErrNoneDue when another worker holds the mailbox.
func (e *Engine) Sync(ctx context.Context, org string, connection int64) error {
	l, err := e.o.State.ClaimConnection(ctx, org, connection, e.o.Worker, e.o.Now(), e.o.Lease)
	if err != nil {
		return fmt.Errorf("emailint: syncing connection %d: %w", connection, err)
	}
	return e.work(ctx, l)
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

// Run works on due mailboxes until ctx ends, and returns after the last worker has. Several processes may run on one state.
func (e *Engine) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	idle := &idlers{engine: e, running: map[int64]bool{}}
	if e.o.Sender != nil {
		wg.Go(func() {
			tick := time.NewTicker(5 * time.Second)
			defer tick.Stop()
			for {
				if err := e.outbox(ctx); err != nil && ctx.Err() == nil {
					e.o.Logger.WarnContext(ctx, "outbox", "error", err)
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	for range e.o.Workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				l, err := e.o.State.Claim(ctx, e.o.Worker, e.o.Now(), e.o.Lease)
				if err == nil {
					if err := e.work(ctx, l); err == nil {
						idle.start(ctx, l.Org, l.Connection)
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
	idle.wg.Wait()
	return ctx.Err()
}

// idlers wait on mailboxes that can tell of news. What they learn is a hint: it wakes the connection and nothing else.
type idlers struct {
	engine  *Engine
	wg      sync.WaitGroup
	mu      sync.Mutex // guards running
	running map[int64]bool
}

func (s *idlers) start(ctx context.Context, org string, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[id] || ctx.Err() != nil {
		return
	}
	s.running[id] = true
	s.wg.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.running, id)
			s.mu.Unlock()
		}()
		if err := s.wait(ctx, org, id); err != nil && ctx.Err() == nil {
			s.engine.o.Logger.InfoContext(ctx, "real time ended, the poll goes on", "connection", id, "error", err)
		}
	})
}

func (s *idlers) wait(ctx context.Context, org string, id int64) error {
	c, err := s.engine.o.State.Connection(ctx, org, id)
	if err != nil {
		return err
	}
	box, err := s.engine.open(ctx, c)
	if err != nil {
		return err
	}
	defer box.Close()
	w, ok := box.(provider.Waiter)
	if !ok {
		return nil
	}
	for {
		if err := w.Wait(ctx); err != nil {
			return err
		}
		if err := s.engine.Wake(ctx, org, id); err != nil {
			return err
		}
	}
}

// work does one pass under a lease and releases it.
func (e *Engine) work(ctx context.Context, l state.Lease) error {
	var settings Settings
	var version int64
	c, err := e.o.State.Connection(ctx, l.Org, l.Connection)
	if err == nil {
		_, settings, version, err = e.rules(ctx, l.Org)
	}
	if err == nil {
		err = e.pass(ctx, &l, c, settings)
	}
	if errors.Is(err, state.ErrStale) {
		return fmt.Errorf("emailint: %s: another worker took over: %w", c.Address, err)
	}
	r := released(ctx, err, e.o.Now(), time.Duration(settings.PollMinutes)*time.Minute)
	if err == nil {
		r.RulesVersion = version
	}
	// The lease is given back also when we are told to stop.
	if rerr := e.o.State.Release(context.WithoutCancel(ctx), l, r); rerr != nil && err == nil {
		err = rerr
	}
	if err != nil {
		err = fmt.Errorf("emailint: syncing %s: %w", c.Address, err)
		if ctx.Err() == nil {
			e.o.Logger.WarnContext(ctx, "pass ended", "connection", l.Connection, "error", err)
		}
	}
	return err
}

// released turns the end of a pass into what the connection does next. Only NeedsAction asks anyone for anything.
func released(ctx context.Context, err error, now time.Time, poll time.Duration) state.Released {
	var limit *provider.RateLimitError
	var action *provider.NeedsAction
	var outage *deliver.OutageError
	switch {
	case err == nil:
		return state.Released{Served: true, NextDue: now.Add(poll), State: state.Connected}
	case ctx.Err() != nil:
		return state.Released{}
	case errors.As(err, &outage):
		// Whatever the CRM's error wraps, it says nothing about the mailbox.
		return state.Released{NotBefore: now.Add(time.Minute), State: state.Connected, Reason: "the CRM does not answer"}
	case errors.As(err, &action):
		st := map[provider.Who]state.ConnState{provider.User: state.NeedsUser, provider.Admin: state.NeedsAdmin}[action.Who]
		if st == "" {
			st = state.Misconfigured
		}
		return state.Released{State: st, Reason: action.Reason}
	case errors.As(err, &limit):
		return state.Released{NotBefore: now.Add(max(limit.RetryAfter, time.Minute)), State: state.Connected, Reason: "rate limited by the provider"}
	default:
		return state.Released{NotBefore: now.Add(time.Minute), State: state.Connected, Reason: err.Error()}
	}
}

func (e *Engine) pass(ctx context.Context, l *state.Lease, c Connection, s Settings) error {
	box, err := e.open(ctx, c)
	if err != nil {
		return err
	}
	defer box.Close()
	renew := func(ctx context.Context) error {
		nl, err := e.o.State.Renew(ctx, *l, e.o.Now(), e.o.Lease)
		if err == nil {
			*l = nl
		}
		return err
	}
	d, err := e.deliverer(ctx, *l, box)
	if err != nil {
		return err
	}
	d.Renew, d.ConnectedAt = renew, c.ConnectedAt
	p := &pass.Pass{Store: e.o.State, Mailbox: box, Lease: *l, Hasher: d.Hasher, ConnectedAt: c.ConnectedAt,
		Import: window(s.ImportDays, e.o.Now()), Seen: d.Know, Renew: renew}
	each := func(ctx context.Context) error {
		err := d.Drain(ctx)
		if e.o.Progress != nil {
			e.o.Progress(l.Org, l.Connection)
		}
		return err
	}
	for more := true; more; {
		// Live goes first, also between two pages of history: that is how history yields to a wake.
		if err := p.Live(ctx, each); err != nil {
			return err
		}
		if more, err = p.HistoryPage(ctx); err != nil {
			return err
		}
		if err := each(ctx); err != nil {
			return err
		}
	}
	return nil
}

func window(days int, now time.Time) *provider.Window {
	switch {
	case days == 0:
		return nil
	case days < 0:
		return &provider.Window{}
	}
	return &provider.Window{From: now.Add(-time.Duration(days) * 24 * time.Hour)}
}

func (e *Engine) deliverer(ctx context.Context, l state.Lease, box provider.Mailbox) (*deliver.Deliverer, error) {
	reload := func(ctx context.Context) (linker.Rules, int64, error) {
		rules, _, version, err := e.rules(ctx, l.Org)
		return rules, version, err
	}
	rules, version, err := reload(ctx)
	if err != nil {
		return nil, err
	}
	d := &deliver.Deliverer{Store: e.o.State, CRM: e.o.CRM, Mailbox: box, Lease: l, Hasher: e.hasher(l.Org), Keys: e.keys,
		Rules: rules, Version: version, Reload: reload, Now: e.o.Now, Renew: func(context.Context) error { return nil }}
	if e.o.Saved != nil {
		d.Event = func(m Email) { e.o.Saved(l.Org, m) }
	}
	return d, nil
}
