package emailint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/panics"
)

// Outbox works once on some of what is due, a few of each mailbox: messages to send or to look up, copies to file in Sent, one after the other. Run does so
// by itself, every few seconds and seldom where nothing is due, for several mailboxes side by side; a host with a queue of its own calls it. Several may at the same time.
func (e *Engine) Outbox(ctx context.Context) error {
	if err := e.observing(ctx); errors.Is(err, ErrObserving) {
		return nil
	} else if err != nil {
		return err
	}
	e.unheard.tell(ctx)
	rows, err := e.o.State.OutboxDue(ctx, "", e.o.Now(), outboxPage)
	if err == nil {
		err = e.dispatchAll(ctx, rows)
	}
	copies, cerr := e.o.State.CopiesDue(ctx, "", e.o.Now(), outboxPage)
	if cerr == nil {
		cerr = e.copies(ctx, copies)
	}
	return errors.Join(err, cerr)
}

const (
	// outboxPage is how many rows are asked for at a time.
	outboxPage = 20
	// outboxMailboxes is of how many mailboxes mail is sent at the same time.
	outboxMailboxes = 16
	// outboxTick is how often Run looks whether anything is due; where nothing is the time doubles, up to outboxIdle.
	outboxTick = 5 * time.Second
	outboxIdle = 40 * time.Second
)

// dispatchAll sends or looks up rows, one after the other.
func (e *Engine) dispatchAll(ctx context.Context, rows []state.Outgoing) error {
	var errs []error
	for _, due := range rows {
		row, err := e.o.State.OutboxGet(ctx, due.Org, due.Key)
		if err == nil && (row.State != due.State || !row.NextTry.Equal(due.NextTry)) {
			continue // another worker was at it
		}
		if err == nil {
			err = panics.Caught(ctx, e.o.Logger, "sending", func() error { _, err := e.dispatch(ctx, row.Org, row); return err })
		}
		if err != nil && !errors.Is(err, state.ErrStale) && !errors.Is(err, state.ErrNotFound) { // erased meanwhile
			errs = append(errs, fmt.Errorf("sending %s: %w", due.Key, err))
		}
	}
	return errors.Join(errs...)
}

// outboxes works on the outboxes of mailboxes side by side, each by one at a time: a mail server that takes minutes for a mail holds up its own mailbox's
// mail and nobody else's.
type outboxes struct {
	engine *Engine
	slots  chan struct{} // as many as may be at work
	again  chan struct{} // a mailbox is done that may have more
	wg     sync.WaitGroup

	mu   sync.Mutex
	busy map[int64]bool // by connection
}

func newOutboxes(e *Engine) *outboxes {
	return &outboxes{engine: e, slots: make(chan struct{}, outboxMailboxes), again: make(chan struct{}, 1), busy: map[int64]bool{}}
}

// run looks for what is due until ctx ends, and returns when nobody is at work any more.
func (o *outboxes) run(ctx context.Context) {
	defer o.wg.Wait()
	wait := outboxTick
	for {
		found, err := o.start(ctx)
		if err != nil && ctx.Err() == nil {
			o.engine.o.Logger.WarnContext(ctx, "outbox", "error", err)
		}
		if wait = min(2*wait, outboxIdle); found {
			wait = outboxTick
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-o.again:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// outboxWork is what is due of one mailbox.
type outboxWork struct {
	conn         int64
	rows, copies []state.Outgoing
}

// start has somebody work on each mailbox of which something is due, and at which nobody is yet. found: something is due.
func (o *outboxes) start(ctx context.Context) (found bool, err error) {
	e := o.engine
	if err := e.observing(ctx); errors.Is(err, ErrObserving) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	e.unheard.tell(ctx)
	// Enough that those at which somebody is leave room for others.
	const page = 4 * outboxMailboxes * state.OutboxTurn
	rows, err := e.o.State.OutboxDue(ctx, "", e.o.Now(), page)
	if err != nil {
		return false, err
	}
	copies, err := e.o.State.CopiesDue(ctx, "", e.o.Now(), page)
	if err != nil {
		return false, err
	}
	var due []*outboxWork
	of := map[int64]*outboxWork{}
	work := func(conn int64) *outboxWork {
		if of[conn] == nil {
			of[conn] = &outboxWork{conn: conn}
			due = append(due, of[conn])
		}
		return of[conn]
	}
	for _, r := range rows {
		w := work(r.Connection)
		w.rows = append(w.rows, r)
	}
	for _, r := range copies {
		w := work(r.Connection)
		w.copies = append(w.copies, r)
	}
	for _, w := range due {
		if !o.take(w.conn) {
			continue
		}
		o.wg.Go(func() {
			err := errors.Join(e.dispatchAll(ctx, w.rows), e.copies(ctx, w.copies))
			if err != nil && ctx.Err() == nil {
				e.o.Logger.WarnContext(ctx, "outbox", "connection", w.conn, "error", err)
			}
			o.give(w.conn)
			if err == nil && max(len(w.rows), len(w.copies)) >= state.OutboxTurn {
				select {
				case o.again <- struct{}{}:
				default:
				}
			}
		})
	}
	return len(due) > 0, nil
}

// take reports whether nobody is at a mailbox's outbox and somebody may be now.
func (o *outboxes) take(conn int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy[conn] {
		return false
	}
	select {
	case o.slots <- struct{}{}:
		o.busy[conn] = true
		return true
	default:
		return false
	}
}

func (o *outboxes) give(conn int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.busy, conn)
	<-o.slots
}
