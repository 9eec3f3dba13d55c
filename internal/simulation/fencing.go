package simulation

import (
	"context"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// promiseFence is seen while it happens: what a worker commits that has lost its lease is often put right by whoever has it now.
const promiseFence = "R13 who lost his lease does nothing"

// fence is the store as the processes use it. It sees who holds which mailbox, and who commits.
type fence struct {
	state.Store
	w    *world
	held map[int64]state.Lease // the last claim of each connection; gone when it was given back or taken away
	last map[int64]int64       // the epoch of the last claim
}

func newFence(w *world) *fence {
	return &fence{Store: w.store, w: w, held: map[int64]state.Lease{}, last: map[int64]int64{}}
}

// committed looks at something that was done under a lease.
func (f *fence) committed(what string, l state.Lease, err error) {
	if err == nil && l.Connection != 0 && l.Epoch < f.last[l.Connection] {
		f.w.violate("%s: %s of connection %d by %s, whose lease has ended", promiseFence, what, l.Connection, l.Worker)
	}
}

func (f *fence) claimed(l state.Lease, err error, now time.Time) {
	if err != nil {
		return
	}
	if had, ok := f.held[l.Connection]; ok && had.Until.After(now) {
		f.w.violate("%s: connection %d is claimed by %s while %s holds it", promiseFence, l.Connection, l.Worker, had.Worker)
	}
	f.held[l.Connection], f.last[l.Connection] = l, l.Epoch
}

func (f *fence) Claim(ctx context.Context, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	l, err := f.Store.Claim(ctx, worker, now, ttl)
	f.claimed(l, err, now)
	return l, err
}

func (f *fence) ClaimConnection(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	l, err := f.Store.ClaimConnection(ctx, org, id, worker, now, ttl)
	f.claimed(l, err, now)
	return l, err
}

func (f *fence) Renew(ctx context.Context, l state.Lease, now time.Time, ttl time.Duration) (state.Lease, error) {
	l, err := f.Store.Renew(ctx, l, now, ttl)
	f.committed("a renewal", l, err)
	if err == nil && l.Epoch == f.last[l.Connection] {
		f.held[l.Connection] = l
	}
	return l, err
}

func (f *fence) Release(ctx context.Context, l state.Lease, r state.Released) error {
	err := f.Store.Release(ctx, l, r)
	f.committed("a release", l, err)
	if err == nil {
		delete(f.held, l.Connection)
	}
	return err
}

// A mailbox that is connected anew, paused or erased is taken from whoever has it.

func (f *fence) AddConnection(ctx context.Context, c state.Connection, own state.Change) (state.Connection, error) {
	c, err := f.Store.AddConnection(ctx, c, own)
	delete(f.held, c.ID)
	return c, err
}

func (f *fence) SetState(ctx context.Context, org string, id int64, s state.ConnState, reason string) error {
	err := f.Store.SetState(ctx, org, id, s, reason)
	if s != state.Connected {
		delete(f.held, id)
	}
	return err
}

func (f *fence) CommitPage(ctx context.Context, l state.Lease, p state.Page) (state.Committed, error) {
	c, err := f.Store.CommitPage(ctx, l, p)
	f.committed("a page", l, err)
	return c, err
}

func (f *fence) Sweep(ctx context.Context, l state.Lease, folder string) (int, error) {
	n, err := f.Store.Sweep(ctx, l, folder)
	f.committed("a sweep", l, err)
	return n, err
}

func (f *fence) Leave(ctx context.Context, l state.Lease, rs []provider.Removal) (int, error) {
	n, err := f.Store.Leave(ctx, l, rs)
	f.committed("a removal", l, err)
	return n, err
}

func (f *fence) Gone(ctx context.Context, l state.Lease, ids []provider.ItemID, release bool) error {
	err := f.Store.Gone(ctx, l, ids, release)
	f.committed("a deletion", l, err)
	return err
}

func (f *fence) Settle(ctx context.Context, l state.Lease, b state.Batch, ss []state.Settlement) ([]state.Settled, error) {
	out, err := f.Store.Settle(ctx, l, b, ss)
	f.committed("a settlement", l, err)
	return out, err
}

func (f *fence) Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) ([]int64, error) {
	ids, err := f.Store.Attempt(ctx, l, ds)
	f.committed("an attempt to deliver", l, err)
	return ids, err
}

func (f *fence) IntentStep(ctx context.Context, l state.Lease, id int64, from, to state.IntentState, s state.IntentStep) error {
	err := f.Store.IntentStep(ctx, l, id, from, to, s)
	f.committed("a step of an intent", l, err)
	return err
}

// passes looks at what a worker did right before it changes a mailbox: it looked at its lease. What is left of the window is named in
// docs/design.md.
func (s *chooser) passes(worker int, point string) {
	switch point {
	case "mailbox.Archive", "mailbox.Unarchive", "mailbox.Label", "mailbox.Unlabel":
		if s.before[worker] != "state.Renew" {
			s.w.violate("%s: worker %d is at %s and comes from %s, not from a look at its lease", promiseFence, worker, point, s.before[worker])
		}
	}
	s.before[worker] = point
}
