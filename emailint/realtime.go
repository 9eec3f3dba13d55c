package emailint

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// waiters hold the mailboxes that can tell of news. What they hear is a hint: it wakes the connection and nothing else. A
// mailbox goes from the pass to its waiter and back, so that it costs one connection to the server and no second sign-in,
// and the waiter knows up to where the pass has read: nothing arrives unheard in between.
type waiters struct {
	engine  *Engine
	wg      sync.WaitGroup
	mu      sync.Mutex // guards what follows
	running map[int64]*waiting
	parked  map[int64]*parked
	vain    map[int64]int    // how often in a row news came soon, and was none
	said    map[int64]string // what was noted last in Connection.RealTime

	closing sync.WaitGroup // of what was parked and nobody came for
}

// waiting is a mailbox that is waited on.
type waiting struct {
	credential []byte // sealed, as it was opened with
	cancel     context.CancelFunc
	replaced   bool // the connection has another credential by now
}

// parked is a mailbox that heard news and waits for the pass. Nobody may come: another process may have the lease.
type parked struct {
	box        provider.Mailbox
	credential []byte
	timer      *time.Timer
}

const parkedFor = time.Minute

// take returns the parked mailbox of a connection, nil when there is none. What was opened with another credential is closed: since
// then the mailbox was connected anew, and the old one may even be another.
func (s *waiters) take(c Connection) provider.Mailbox {
	s.mu.Lock()
	p := s.parked[c.ID]
	delete(s.parked, c.ID)
	s.mu.Unlock()
	switch {
	case p == nil:
		return nil
	case !bytes.Equal(p.credential, c.Credential):
		p.timer.Stop()
		s.engine.shut(p.box)
		return nil
	}
	p.timer.Stop()
	return p.box
}

// park keeps a mailbox for the next pass. One that is kept already is closed: a pass opens its own while another waits for news, and both may come here.
func (s *waiters) park(id int64, box provider.Mailbox, credential []byte) {
	p := &parked{box: box, credential: credential}
	s.mu.Lock()
	had := s.parked[id]
	p.timer = time.AfterFunc(parkedFor, func() {
		s.mu.Lock()
		mine := s.parked[id] == p
		if mine {
			delete(s.parked, id)
			s.closing.Add(1)
		}
		s.mu.Unlock()
		if mine {
			defer s.closing.Done()
			s.engine.shut(box)
		}
	})
	s.parked[id] = p
	s.mu.Unlock()
	if had != nil {
		had.timer.Stop()
		s.engine.shut(had.box)
	}
}

// start lets a mailbox wait for news. It is the waiter's from now on.
// news says whether the pass found any.
func (s *waiters) start(ctx context.Context, c Connection, box provider.Mailbox, news bool) {
	w := &waiting{credential: c.Credential}
	s.mu.Lock()
	if news {
		delete(s.vain, c.ID)
	}
	had := s.running[c.ID]
	busy := had != nil || ctx.Err() != nil
	if !busy {
		ctx, w.cancel = context.WithCancel(ctx)
		s.running[c.ID] = w
	} else if had != nil && !bytes.Equal(had.credential, c.Credential) {
		had.replaced = true
		had.cancel()
	}
	s.mu.Unlock()
	if busy {
		s.engine.shut(box)
		return
	}
	s.wg.Go(func() {
		defer w.cancel()
		began := time.Now()
		heard := s.wait(ctx, c, box)
		if heard {
			s.rest(ctx, c.ID, time.Since(began))
		}
		s.mu.Lock()
		delete(s.running, c.ID)
		replaced := w.replaced
		s.mu.Unlock()
		switch {
		case heard && !replaced:
			s.park(c.ID, box, c.Credential)
		case !replaced:
			s.engine.shut(box)
			return
		default:
			s.engine.shut(box)
		}
		if err := s.engine.heard(context.WithoutCancel(ctx), c.Org, c.ID); err != nil && ctx.Err() == nil {
			s.engine.o.Logger.WarnContext(ctx, "waking a connection", "connection", c.ID, "error", err)
		}
	})
}

// heard makes due what news of a mailbox is wanted for at once; the rest is found by the poll.
func (e *Engine) heard(ctx context.Context, org string, connection int64) error {
	s, _, err := e.settings(ctx, org)
	if err != nil {
		return err
	}
	switch full, sent := s.Sync.hint(); {
	case full:
		err = e.o.State.Wake(ctx, org, connection)
	case sent:
		err = e.o.State.Nudge(ctx, org, connection, e.o.Now())
	}
	e.hurry()
	return err
}

const (
	soon   = 2 * time.Second
	lenity = 10 // this often news that comes soon and is none is looked for at once
)

// rest lets a mailbox wait a little, up to 20 seconds, that tells of news again and again of which the pass finds none: a server
// that repeats itself would else be passed without a pause.
func (s *waiters) rest(ctx context.Context, id int64, waited time.Duration) {
	s.mu.Lock()
	if waited < soon {
		s.vain[id]++
	} else {
		delete(s.vain, id)
	}
	n := s.vain[id]
	s.mu.Unlock()
	if n <= lenity {
		return
	}
	pause := time.NewTimer(time.Second * time.Duration(min(n-lenity, 20)))
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
}

// wait reports whether there may be news. When there is no real time it says so, and the poll goes on: a later pass tries again.
func (s *waiters) wait(ctx context.Context, c Connection, box provider.Mailbox) (heard bool) {
	org, id := c.Org, c.ID
	w, ok := power.Of[provider.Waiter](box)
	if !ok {
		if _, watched := power.Of[provider.Watcher](s.engine.provs[c.Provider]); watched {
			return false // Engine.watch says how it hears of news
		}
		s.say(ctx, org, id, "polling: this kind of mailbox can't be waited on")
		return false
	}
	// Where waiting is but a pause the connection is better given back.
	pauses := func() bool {
		p, ok := power.Of[provider.Poller](box)
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
	err := panics.Caught(ctx, s.engine.o.Logger, "waiting for news", func() error { return w.Wait(ctx) })
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
	if err := s.engine.o.State.SetRealTime(ctx, org, id, text); err != nil {
		s.mu.Lock()
		delete(s.said, id) // it is noted the next time
		s.mu.Unlock()
		if ctx.Err() == nil {
			s.engine.o.Logger.WarnContext(ctx, "noting how news is heard of", "connection", id, "error", err)
		}
	}
}

// end waits for all waiters, whose context has ended, and closes what is parked.
func (s *waiters) end() {
	s.wg.Wait()
	s.mu.Lock()
	left := make([]*parked, 0, len(s.parked))
	for id, p := range s.parked {
		left = append(left, p)
		delete(s.parked, id)
	}
	s.mu.Unlock()
	for _, p := range left {
		p.timer.Stop()
		s.engine.shut(p.box)
	}
	s.closing.Wait()
}
