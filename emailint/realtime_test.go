package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// running runs an engine in a bubble whose time is the engine's. f runs beside it.
func running(t *testing.T, p providertest.Personality, f func(t *testing.T, w *emailinttest.World)) {
	synctest.Test(t, func(t *testing.T) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p), emailinttest.WithClock(time.Now), emailinttest.WithSettings(inRealTime()))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Engine.Run(ctx) }()
		synctest.Wait()
		f(t, w)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

// inRealTime are settings by which inbound mail is wanted at once.
func inRealTime() emailint.Settings {
	s := emailint.DefaultSettings()
	s.Sync.InboundMinutes = 0
	return s
}

func realTime(t *testing.T, w *emailinttest.World) string {
	t.Helper()
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil {
		t.Fatal(err)
	}
	return st.Connection.RealTime
}

// A mailbox that can wait tells of mail at once, on the connection that the pass used; one that can't is polled, and both say so.
func TestRealTime(t *testing.T) {
	running(t, providertest.IMAP, func(t *testing.T, w *emailinttest.World) {
		if got := realTime(t, w); got != "waiting" {
			t.Errorf("real time = %q", got)
		}
		opened := w.Fake.Calls().Open
		for _, id := range []string{"1@x", "2@x", "3@x"} {
			start := time.Now()
			w.Deliver(raw("ada@customer.example", id, ""))
			synctest.Wait()
			if !holds(w.CRM.Emails(emailinttest.Org), id) || time.Since(start) != 0 {
				t.Errorf("%s is not saved at once", id)
			}
		}
		if n := w.Fake.Calls().Open - opened; n != 0 {
			t.Errorf("%d more sign-ins for three mails, want none", n)
		}
	})
	running(t, providertest.Graph, func(t *testing.T, w *emailinttest.World) {
		if got := realTime(t, w); !strings.HasPrefix(got, "polling: ") {
			t.Errorf("real time = %q", got)
		}
		w.Deliver(raw("ada@customer.example", "1@x", ""))
		<-time.After(6 * time.Minute)
		synctest.Wait()
		if !holds(w.CRM.Emails(emailinttest.Org), "1@x") {
			t.Error("the poll did not find the mail")
		}
	})
}

// A server without IDLE is polled, says so, and no connection is kept open for it.
func TestNoIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emailinttest.New(t, emailinttest.WithClock(time.Now))
		w.Fake.NoIdle(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Engine.Run(ctx) }()
		synctest.Wait()
		if got := realTime(t, w); got != "polling: the server has no IDLE" || w.Fake.Calls().Wait != 0 {
			t.Errorf("real time = %q, %d waits", got, w.Fake.Calls().Wait)
		}
		cancel()
		<-done
	})
}

// When the connection breaks while waiting it says so, the poll goes on, and real time comes back by itself.
func TestRealTimeFallsBackToPolling(t *testing.T) {
	running(t, providertest.IMAP, func(t *testing.T, w *emailinttest.World) {
		w.Fake.CutWaits(errors.New("connection reset"))
		synctest.Wait()
		if got := realTime(t, w); !strings.HasPrefix(got, "polling: ") {
			t.Errorf("real time = %q", got)
		}
		w.Deliver(raw("ada@customer.example", "1@x", ""))
		synctest.Wait()
		if holds(w.CRM.Emails(emailinttest.Org), "1@x") {
			t.Error("nobody should have heard of it yet")
		}
		<-time.After(6 * time.Minute)
		synctest.Wait()
		if !holds(w.CRM.Emails(emailinttest.Org), "1@x") || realTime(t, w) != "waiting" {
			t.Errorf("after the poll: saved %v, real time %q", holds(w.CRM.Emails(emailinttest.Org), "1@x"), realTime(t, w))
		}
	})
}

// A CRM that hangs keeps the lease of the mailbox it holds up, so that nobody does the same work beside it, and time ends its call.
func TestHangingCRM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{MemCRM: emailinttest.NewMemCRM()}
		w := emailinttest.New(t, emailinttest.WithCRM(m), emailinttest.WithClock(time.Now))
		m.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		deaf := make(chan struct{})
		m.set(func(context.Context, []emailint.Email) error { <-deaf; return errors.New("too late") })
		w.Deliver(raw("ada@customer.example", "1@x", ""))
		done := make(chan error)
		go func() { done <- w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) }()
		<-time.After(10 * time.Minute) // five leases
		if _, err := w.State.Claim(t.Context(), "other", time.Now(), time.Minute); err == nil {
			t.Error("another worker took the mailbox while the CRM was at work")
		}
		m.set(nil)
		close(deaf)
		if err := <-done; err != nil {
			t.Errorf("Sync = %v", err)
		}
		<-time.After(20 * time.Minute)
		if err := w.Drain(t.Context()); err != nil || !holds(m.Emails(emailinttest.Org), "1@x") {
			t.Errorf("not saved in the end: %v", err)
		}
	})
}

// tally counts the mailboxes that are open. Their history is long where it is said to be, and to close one takes a while.
type tally struct {
	provider.Mailbox
	open, pages *atomic.Int64
	long        *atomic.Bool
}

func (b tally) Wait(ctx context.Context) error { return b.Mailbox.(provider.Waiter).Wait(ctx) }

func (b tally) History(ctx context.Context, _ provider.Window, _ provider.Cursor) (provider.Page, error) {
	if !b.long.Load() {
		return provider.Page{Next: []byte("end")}, ctx.Err()
	}
	<-time.After(5 * time.Second)
	return provider.Page{Next: fmt.Appendf(nil, "%d", b.pages.Add(1)), More: true}, ctx.Err()
}

func (b tally) Close() error {
	<-time.After(10 * time.Second)
	b.open.Add(-1)
	return b.Mailbox.Close()
}

// tallied runs an engine over mailboxes that are counted. f runs beside it, and when it has ended none may be open.
func tallied(t *testing.T, f func(t *testing.T, e *emailint.Engine, c emailint.Connection, fake *providertest.Fake, open *atomic.Int64, long *atomic.Bool)) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, time.Now)
		var open, pages atomic.Int64
		var long atomic.Bool
		e, _, _, c := twisted(t, fake, time.Now, func(b provider.Mailbox, _ string) provider.Mailbox {
			open.Add(1)
			return tally{b, &open, &pages, &long}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		<-time.After(3 * time.Second)
		synctest.Wait() // it waits for news
		f(t, e, c, fake, &open, &long)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if n := open.Load(); n != 0 {
			t.Errorf("Run has ended, and %d mailboxes are open", n)
		}
	})
}

// A mailbox that hears news while a long import has its turn on a connection of its own is not left open when both are kept for the next pass.
func TestNoMailboxIsLeftOpen(t *testing.T) {
	tallied(t, func(t *testing.T, e *emailint.Engine, c emailint.Connection, fake *providertest.Fake, open *atomic.Int64, long *atomic.Bool) {
		long.Store(true)
		if _, _, err := e.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"sync": {"import_days": 60}}`), 1); err != nil {
			t.Fatal(err)
		}
		if err := e.Wake(t.Context(), emailinttest.Org, c.ID); err != nil {
			t.Fatal(err)
		}
		<-time.After(12 * time.Second)
		if n := open.Load(); n != 2 {
			t.Fatalf("%d are open, want one that waits and one that reads", n)
		}
		fake.Deliver([]byte(raw("ada@customer.example", "1@x", "")), time.Now(), provider.RoleInbox)
		<-time.After(40 * time.Second) // the turn is over
		long.Store(false)
		<-time.After(2 * time.Minute)
	})
}

// Run is over when nothing of it is at work, nor closes a mailbox for which no pass came.
func TestRunEndsWhenAllIsClosed(t *testing.T) {
	tallied(t, func(t *testing.T, e *emailint.Engine, _ emailint.Connection, fake *providertest.Fake, open *atomic.Int64, _ *atomic.Bool) {
		if _, _, err := e.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"sync": {"inbound_minutes": 60, "outbound_minutes": 60}}`), 1); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Second) // another pace was looked at
		synctest.Wait()
		if n := open.Load(); n != 1 {
			t.Fatalf("%d are open, want one that waits", n)
		}
		fake.Deliver([]byte(raw("ada@customer.example", "1@x", "")), time.Now(), provider.RoleInbox)
		<-time.After(65 * time.Second) // news that is not wanted at once was heard; the mailbox is being closed
		if n := open.Load(); n != 1 {
			t.Fatalf("%d are open, want one that is being closed", n)
		}
	})
}

// oblivious is a state that does not take the first note of how news is heard of.
type oblivious struct {
	state.Store
	asked *atomic.Int64
}

func (s oblivious) SetRealTime(ctx context.Context, org string, id int64, text string) error {
	if s.asked.Add(1) == 1 {
		return errors.New("the database is restarted")
	}
	return s.Store.SetRealTime(ctx, org, id, text)
}

// A note that could not be stored is stored the next time.
func TestNoteThatWasNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		w := emailinttest.New(t, emailinttest.WithClock(time.Now), emailinttest.WithSettings(inRealTime()),
			emailinttest.WithOptions(func(o *emailint.Options) { o.State = oblivious{o.State, &asked} }))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Engine.Run(ctx) }()
		synctest.Wait()
		w.Deliver(raw("ada@customer.example", "1@x", ""))
		synctest.Wait()
		if got := realTime(t, w); got != "waiting" {
			t.Errorf("real time = %q", got)
		}
		cancel()
		<-done
	})
}

// lapse is a state that fails once to say what the first claimed mailbox is.
type lapse struct {
	state.Store
	claims *atomic.Int64
	now    *atomic.Bool
}

func (s lapse) Claim(ctx context.Context, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	l, err := s.Store.Claim(ctx, worker, now, ttl)
	if err == nil && s.claims.Add(1) == 1 {
		s.now.Store(true)
	}
	return l, err
}

func (s lapse) Connection(ctx context.Context, org string, id int64) (state.Connection, error) {
	if s.now.CompareAndSwap(true, false) {
		return state.Connection{}, errors.New("the database is restarted")
	}
	return s.Store.Connection(ctx, org, id)
}

// Nobody waits for news of a mailbox of which the state did not say what it is: it would be news of none. The poll sees to it.
func TestMailboxThatIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var claims atomic.Int64
		var now atomic.Bool
		w := emailinttest.New(t, emailinttest.WithClock(time.Now), emailinttest.WithSettings(inRealTime()),
			emailinttest.WithOptions(func(o *emailint.Options) { o.State = lapse{o.State, &claims, &now} }))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		if err := errors.Join(w.Engine.Relink(t.Context()), w.Drain(t.Context())); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Engine.Run(ctx) }()
		<-time.After(6 * time.Minute)
		synctest.Wait()
		if n := w.Fake.Calls().Wait; n != 0 || claims.Load() != 1 {
			t.Errorf("%d passes, %d waits", claims.Load(), n)
		}
		<-time.After(6 * time.Minute)
		w.Deliver(raw("ada@customer.example", "1@x", ""))
		synctest.Wait()
		if got := realTime(t, w); got != "waiting" || !holds(w.CRM.Emails(emailinttest.Org), "1@x") {
			t.Errorf("after the poll: real time %q, %d emails", got, len(w.CRM.Emails(emailinttest.Org)))
		}
		cancel()
		<-done
	})
}
