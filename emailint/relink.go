package emailint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// RecordsChanged tells that records of the CRM changed: the mail they concern is decided again. It is durable when it returns, and cheap
// enough for a request: the mail is found and decided by Run, or by Relink and Sync. Tell it after the change is committed, in the order in which
// things happened; twice does no harm. An error says that nothing was stored.
func (e *Engine) RecordsChanged(ctx context.Context, org string, changes ...RecordChange) error {
	var errs []error
	for i, c := range changes {
		if err := c.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("changes[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("emailint: records changed: %w", err)
	}
	if len(changes) == 0 {
		return nil
	}
	if _, err := e.o.State.Change(ctx, org, e.change(org, changes)); err != nil {
		return fmt.Errorf("emailint: records changed: %w", err)
	}
	e.relinkSoon()
	return nil
}

// change is what record changes touch.
func (e *Engine) change(org string, changes []RecordChange) (out state.Change) {
	h := e.hasher(org)
	keys := map[message.Key]bool{}
	records := map[linker.Record]bool{}
	touch := func(r linker.Record) {
		if !records[r] {
			records[r] = true
			out.Records = append(out.Records, r)
		}
	}
	for _, c := range changes {
		for _, a := range c.Addresses {
			k := crm.Key(a)
			if !keys[k] {
				keys[k] = true
				out.Participants = append(out.Participants, state.Hash(h.Key(k)))
			}
		}
		touch(c.Record)
		for _, r := range c.Related {
			touch(r)
		}
		switch c.Kind {
		case RecordMerged:
			touch(c.Into)
			out.Merged = append(out.Merged, state.Merge{From: c.Record, To: c.Into})
		case RecordDeleted:
			out.Merged = append(out.Merged, state.Merge{From: c.Record})
		}
	}
	return out
}

// Relink works once on what changes left to do: it finds the mail that record changes concern, goes on with erasures, and delivers emails that no
// connected mailbox holds. It returns when nothing of it is left or can be done now. Run does it by itself; a host with a queue of its own calls it.
// Several may at the same time.
func (e *Engine) Relink(ctx context.Context) error {
	orgs, err := e.o.State.Unspread(ctx)
	if err != nil {
		return fmt.Errorf("emailint: relinking: %w", err)
	}
	var errs []error
	for _, org := range orgs {
		for more := true; more && ctx.Err() == nil; {
			if _, more, err = e.o.State.Spread(ctx, org, 500); err != nil {
				errs = append(errs, fmt.Errorf("emailint: relinking %s: %w", org, err))
				break
			}
		}
	}
	if len(orgs) > 0 {
		e.hurry()
	}
	errs = append(errs, e.erasures(ctx))
	return errors.Join(append(errs, ctx.Err())...)
}

// relinkSoon lets Run relink now.
func (e *Engine) relinkSoon() {
	select {
	case e.relink <- struct{}{}:
	default:
	}
}

// pullEvery is how often a host that lists its changes is asked, at most.
const pullEvery = 15 * time.Minute

// pull asks the host for changes that it did not tell. What can't be understood is logged and left out: it must not hold up the others. Before the
// first mark is had nothing may be decided (an OutageError): what changes until then would be missed. Later a failure is the host's, and logged.
func (e *Engine) pull(ctx context.Context, org string) error {
	first, err := e.pullNow(ctx, org)
	switch {
	case err == nil, errors.Is(err, state.ErrStale): // somebody else pulled
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case first:
		return &deliver.OutageError{Err: fmt.Errorf("pulling record changes for the first time: %w", err)}
	}
	e.lists.failed(org, e.o.Now()) // every pass and every send would wait for it
	e.o.Logger.WarnContext(ctx, "pulling record changes", "org", org, "error", err)
	return nil
}

func (e *Engine) pullNow(ctx context.Context, org string) (first bool, err error) {
	lister, ok := power.Of[ChangeLister](e.o.CRM)
	if !ok {
		return false, nil
	}
	since, at, err := e.o.State.Pulled(ctx, org)
	if err != nil || e.o.Now().Sub(at) < pullEvery || !at.IsZero() && e.lists.down(org, e.o.Now()) {
		return at.IsZero(), err
	}
	host := &deliver.Guard{Lister: lister, Limit: e.o.CRMTimeout, Log: e.o.Logger}
	for more := true; more; {
		var changes []RecordChange
		var next string
		if changes, next, more, err = host.RecordChanges(ctx, org, since); err != nil {
			return at.IsZero(), err
		}
		if more && next == since {
			return at.IsZero(), errors.New("the CRM says that there are more changes, and its mark does not move")
		}
		var good []RecordChange
		for _, c := range changes {
			if err := c.Validate(); err != nil {
				e.o.Logger.ErrorContext(ctx, "a record change that was pulled can't be understood", "org", org, "kind", c.Kind, "error", err)
				continue
			}
			good = append(good, c)
		}
		c := e.change(org, good)
		c.Pulled = &state.Pull{From: since, To: next, At: e.o.Now()}
		if _, err := e.o.State.Change(ctx, org, c); err != nil {
			return at.IsZero(), err
		}
		since = next
	}
	e.lists.works(org, 0, false)
	return false, nil
}
