package imap_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func credential(t *testing.T, m *imaptest.Mailbox) []byte {
	t.Helper()
	b, err := json.Marshal(m.Config())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSeatsAreGivenInOrderAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := imap.NewSeats(2, 0)
		first, err := s.Sit(t.Context())
		second, err2 := s.Of("bob").Sit(t.Context())
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		// Nobody ends: after a while it is a rate limit.
		begin := time.Now()
		_, err = s.Sit(t.Context())
		var limit *provider.RateLimitError
		if !errors.As(err, &limit) || limit.RetryAfter == 0 || time.Since(begin) != imap.SeatWait {
			t.Errorf("no seat: %v after %s", err, time.Since(begin))
		}
		// Who is cancelled goes at once, and the order stays.
		ctx, cancel := context.WithCancel(t.Context())
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, name := range []string{"a", "cancelled", "b"} {
			wg.Go(func() {
				c := t.Context()
				if name == "cancelled" {
					c = ctx
				}
				stand, err := s.Of(name).Sit(c)
				mu.Lock()
				defer mu.Unlock()
				if name == "cancelled" {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("cancelled: %v", err)
					}
					return
				}
				order = append(order, name)
				if err == nil {
					stand()
				}
			})
			synctest.Wait() // it stands in the row
		}
		cancel()
		synctest.Wait()
		first()
		wg.Wait()
		if len(order) != 2 || order[0] != "a" || order[1] != "b" {
			t.Errorf("seats were given to %v", order)
		}
		second()
		if n := s.Rooms(); n != 0 {
			t.Errorf("%d rooms are remembered and nobody is in them", n)
		}
	})
}

func TestHalfMayWaitForNews(t *testing.T) {
	for _, c := range []struct{ perServer, perMailbox, ada, others int }{{4, 0, 2, 0}, {5, 0, 2, 0}, {1, 0, 0, 0}, {0, 2, 1, 1}, {0, 1, 0, 0}, {4, 2, 1, 1}, {2, 8, 1, 0}, {0, 0, 9, 9}} {
		s := imap.NewSeats(c.perServer, c.perMailbox)
		var ends []func()
		count := func(s imap.Seats) (n int) {
			for range 9 {
				end, err := s.Idle()
				if errors.Is(err, imap.ErrPolled) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, end)
				n++
			}
			return n
		}
		if ada, bob := count(s), count(s.Of("bob")); ada != c.ada || bob != c.others {
			t.Errorf("of %d and %d: %d of ada wait and %d of bob, want %d and %d", c.perServer, c.perMailbox, ada, bob, c.ada, c.others)
		}
		for _, end := range ends {
			end()
		}
		if s.Rooms() != 0 {
			t.Errorf("of %d and %d: rooms are remembered", c.perServer, c.perMailbox)
		}
	}
}

// counted dials and counts what is open.
type counted struct {
	now, most atomic.Int32
	fail      atomic.Int32 // dials to fail
}

func (d *counted) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.fail.Add(-1) >= 0 {
		return nil, errors.New("no route")
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	n := d.now.Add(1)
	for m := d.most.Load(); n > m && !d.most.CompareAndSwap(m, n); m = d.most.Load() {
	}
	return &countedConn{Conn: c, d: d}, nil
}

type countedConn struct {
	net.Conn
	d    *counted
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.d.now.Add(-1) })
	return c.Conn.Close()
}

func TestConnectionsStayBelowTheLimit(t *testing.T) {
	srv := imaptest.Start(t, nil)
	var d counted
	p := imap.New(&imap.Options{AllowInsecure: true, Dial: d.Dial, PerServer: 3, PerMailbox: 2})
	boxes := []*imaptest.Mailbox{srv.Mailbox, srv.AddMailbox("bob@example.com"), srv.AddMailbox("cyd@example.com")}
	var wg sync.WaitGroup
	var opened atomic.Int32
	for i := range 24 {
		cred := credential(t, boxes[i%len(boxes)])
		wg.Go(func() {
			m, err := p.Open(t.Context(), cred)
			if err != nil {
				return // it was cut by another
			}
			opened.Add(1)
			defer m.Close()
			if i%8 == 0 {
				srv.Cut() // whatever is open dies, some of it in use
			}
			m.Start(t.Context()) //nolint:errcheck // it may be cut, and again
		})
	}
	wg.Wait()
	if most := d.most.Load(); most > 3 || opened.Load() == 0 {
		t.Errorf("%d connections at a time, want 3 at most; %d were opened in all", most, opened.Load())
	}
	if d.now.Load() != 0 || p.Rooms() != 0 {
		t.Errorf("in the end %d are open, and %d rooms remembered", d.now.Load(), p.Rooms())
	}
}

// However a connection ends, its seat is free again: with one seat, the next one opens.
func TestSeatsComeBack(t *testing.T) {
	srv := imaptest.Start(t, nil)
	var d counted
	p := imap.New(&imap.Options{AllowInsecure: true, Dial: d.Dial, PerServer: 1, PerMailbox: 1})
	cred := credential(t, srv.Mailbox)
	open := func() provider.Mailbox {
		t.Helper()
		m, err := p.Open(t.Context(), cred)
		if err != nil {
			t.Fatalf("no seat: %v", err)
		}
		return m
	}
	for name, end := range map[string]func(){
		"closed": func() { open().Close() },
		"closed twice": func() {
			m := open()
			m.Close()
			m.Close()
		},
		"dial failed": func() {
			d.fail.Store(1)
			if _, err := p.Open(t.Context(), cred); err == nil {
				t.Error("it dialled")
			}
			d.fail.Store(0)
		},
		"sign-in refused": func() {
			srv.RefuseSignIns(1, "")
			if _, err := p.Open(t.Context(), cred); err == nil {
				t.Error("it signed in")
			}
		},
		"greeted with BYE": func() {
			srv.GreetBye(1, "down")
			if _, err := p.Open(t.Context(), cred); err == nil {
				t.Error("it was let in")
			}
		},
		"died and left alone": func() { open(); srv.Cut() },
		"cancelled while connecting": func() {
			ctx, cancel := context.WithCancel(t.Context())
			arrived := srv.Hang("AUTHENTICATE")
			done := make(chan error, 1)
			go func() { _, err := p.Open(ctx, cred); done <- err }()
			<-arrived
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		},
		"closed while reconnecting": func() {
			m := open()
			srv.Cut()
			arrived := srv.Hang("AUTHENTICATE")
			done := make(chan error, 1)
			go func() { _, err := m.Start(t.Context()); done <- err }()
			<-arrived
			m.Close()
			if err := <-done; err == nil {
				t.Error("a closed mailbox went on")
			}
		},
		"cancelled in a command": func() {
			m := open()
			defer m.Close()
			arrived := srv.Hang("LIST")
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { _, err := m.Start(ctx); done <- err }()
			<-arrived
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		},
	} {
		end()
		open().Close()
		if n := d.now.Load(); n != 0 {
			t.Errorf("%s: %d connections are open", name, n)
		}
		if n := p.Rooms(); n != 0 {
			t.Errorf("%s: %d rooms are remembered", name, n)
		}
	}
}

func TestPassesGetThroughWhileOthersWait(t *testing.T) {
	srv := imaptest.Start(t, nil)
	bob := srv.AddMailbox("bob@example.com")
	p := imap.New(&imap.Options{AllowInsecure: true, PerServer: 2})
	open := func(b *imaptest.Mailbox) *imap.Mailbox {
		t.Helper()
		m, err := p.Open(t.Context(), credential(t, b))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m.(*imap.Mailbox)
	}
	idling := make(chan struct{})
	srv.Before("IDLE", func() { close(idling) })
	waiter := open(srv.Mailbox)
	done := make(chan error, 1)
	go func() { done <- waiter.Wait(t.Context()) }()
	<-idling
	worker := open(bob)
	if err := worker.Wait(t.Context()); !errors.Is(err, imap.ErrPolled) {
		t.Errorf("a second waiter: %v", err)
	}
	if _, err := worker.Start(t.Context()); err != nil {
		t.Errorf("after it: %v", err)
	}
	worker.Close()
	if _, err := open(bob).Start(t.Context()); err != nil {
		t.Errorf("a pass beside a waiter: %v", err)
	}
	srv.Deliver(providertest.Mail("a", "a"), noon, provider.RoleInbox)
	if err := <-done; err != nil {
		t.Errorf("the waiter: %v", err)
	}
	// It has ended, and another may wait.
	ctx, cancel := context.WithCancel(t.Context())
	idling = make(chan struct{})
	srv.Before("IDLE", func() { close(idling) })
	go func() { done <- waiter.Wait(ctx) }()
	<-idling
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the next waiter: %v", err)
	}
}
