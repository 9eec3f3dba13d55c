package emailint

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/intellicon/email-integration/provider"
)

// waiters hold the mailboxes that can tell of news. What they hear is a hint: it wakes the connection and nothing else. A
// mailbox goes from the pass to its waiter and back, so that it costs one connection to the server and no second sign-in,
// and the waiter knows up to where the pass has read: nothing arrives unheard in between.
type waiters struct {
	engine  *Engine
	wg      sync.WaitGroup
	mu      sync.Mutex // guards what follows
	running map[int64]bool
	parked  map[int64]*parked
	said    map[int64]string // what was noted last in Connection.RealTime
}

// parked is a mailbox that heard news and waits for the pass. Nobody may come: another process may have the lease.
type parked struct {
	box   provider.Mailbox
	timer *time.Timer
}

const parkedFor = time.Minute

// take returns the parked mailbox of a connection, nil when there is none.
func (s *waiters) take(id int64) provider.Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parked[id]
	if p == nil {
		return nil
	}
	p.timer.Stop()
	delete(s.parked, id)
	return p.box
}

func (s *waiters) park(id int64, box provider.Mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &parked{box: box}
	p.timer = time.AfterFunc(parkedFor, func() {
		s.mu.Lock()
		mine := s.parked[id] == p
		if mine {
			delete(s.parked, id)
		}
		s.mu.Unlock()
		if mine {
			box.Close() //nolint:errcheck // nothing is written by closing
		}
	})
	s.parked[id] = p
}

// start lets a mailbox wait for news. It is the waiter's from now on.
func (s *waiters) start(ctx context.Context, org string, id int64, box provider.Mailbox) {
	s.mu.Lock()
	busy := s.running[id] || ctx.Err() != nil
	if !busy {
		s.running[id] = true
	}
	s.mu.Unlock()
	if busy {
		box.Close() //nolint:errcheck // nothing is written by closing
		return
	}
	s.wg.Go(func() {
		heard := s.wait(ctx, org, id, box)
		s.mu.Lock()
		delete(s.running, id)
		s.mu.Unlock()
		if !heard {
			box.Close() //nolint:errcheck // nothing is written by closing
			return
		}
		s.park(id, box)
		if err := s.engine.Wake(ctx, org, id); err != nil && ctx.Err() == nil {
			s.engine.o.Logger.WarnContext(ctx, "waking a connection", "connection", id, "error", err)
		}
	})
}

// wait reports whether there may be news. When there is no real time it says so, and the poll goes on: a later pass tries again.
func (s *waiters) wait(ctx context.Context, org string, id int64, box provider.Mailbox) (heard bool) {
	w, ok := box.(provider.Waiter)
	if !ok {
		s.say(ctx, org, id, "polling: this kind of mailbox can't be waited on")
		return false
	}
	// Where waiting is but a pause the connection is better given back.
	pauses := func() bool {
		p, ok := box.(provider.Poller)
		if !ok || p.Polling() == "" {
			return false
		}
		s.say(ctx, org, id, "polling: "+p.Polling())
		return true
	}
	if pauses() {
		return false
	}
	s.say(ctx, org, id, "waiting")
	err := w.Wait(ctx)
	if err == nil {
		return !pauses()
	}
	if ctx.Err() == nil {
		s.engine.o.Logger.InfoContext(ctx, "real time ended, the poll goes on", "connection", id, "error", err)
		s.say(ctx, org, id, fmt.Sprintf("polling: %v", err))
	}
	return false
}

func (s *waiters) say(ctx context.Context, org string, id int64, text string) {
	s.mu.Lock()
	same := s.said[id] == text
	s.said[id] = text
	s.mu.Unlock()
	if same {
		return
	}
	if err := s.engine.o.State.SetRealTime(ctx, org, id, text); err != nil && ctx.Err() == nil {
		s.engine.o.Logger.WarnContext(ctx, "noting how news is heard of", "connection", id, "error", err)
	}
}

// end waits for all waiters, whose context has ended, and closes what is parked.
func (s *waiters) end() {
	s.wg.Wait()
	s.mu.Lock()
	ids := make([]int64, 0, len(s.parked))
	for id := range s.parked {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for _, id := range ids {
		if box := s.take(id); box != nil {
			box.Close() //nolint:errcheck // nothing is written by closing
		}
	}
}
