package emailint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
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
