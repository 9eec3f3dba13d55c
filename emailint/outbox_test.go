package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// tired is a mail server that is down until it is mended, and that then takes what it is given, or keeps whoever sends waiting.
type tired struct {
	recorder
	up    *atomic.Bool
	stuck bool
}

func (s *tired) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	if !s.up.Load() {
		return provider.Staged{}, fmt.Errorf("%w: %w: it is down", provider.ErrNotSent, provider.ErrTryLater)
	}
	return s.recorder.Stage(ctx, raw, o)
}

func (s *tired) Release(ctx context.Context, st provider.Staged) (provider.Sent, error) {
	if s.stuck {
		<-ctx.Done()
		return provider.Sent{}, ctx.Err()
	}
	return s.recorder.Release(ctx, st)
}

// A mail server that takes minutes for each mail holds up its own mailbox's mail, and nobody else's.
func TestSlowMailServerHoldsUpItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		stuck := map[int64]bool{}
		w := emailinttest.New(t, emailinttest.WithClock(time.Now), emailinttest.WithOptions(func(o *emailint.Options) {
			o.Sender = func(_ context.Context, c emailint.Connection) (provider.Sender, error) {
				return &tired{up: &up, stuck: stuck[c.ID]}, nil
			}
		}))
		other, err := w.Engine.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "other", Provider: w.Connection.Provider, Credential: []byte("1")})
		if err != nil {
			t.Fatal(err)
		}
		stuck[w.Connection.ID] = true
		const mails = 3 * state.OutboxTurn
		key := func(conn int64, i int) string { return fmt.Sprintf("%d of %d", i, conn) }
		for _, conn := range []int64{w.Connection.ID, other.ID} {
			for i := range mails {
				raw := fmt.Sprintf("From: owner@example.com\r\nTo: ada@customer.example\r\nSubject: %s\r\nMessage-ID: <%d.%d@x>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n\r\nx\r\n", key(conn, i), i, conn)
				s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: conn, Key: key(conn, i), From: emailinttest.Owner,
					Recipients: []string{"ada@customer.example"}, Raw: []byte(raw)})
				if err != nil || s.State != state.OutQueued {
					t.Fatal(s, err)
				}
			}
		}
		up.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // the first try comes after one; a stuck one takes five
		defer cancel()
		if err := w.Engine.Run(ctx); err == nil {
			t.Error("Run ended by itself")
		}
		for _, conn := range []int64{w.Connection.ID, other.ID} {
			for i := range mails {
				o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, key(conn, i))
				if err != nil {
					t.Fatal(err)
				}
				if sent := o.State == state.OutSent; sent != (conn == other.ID) {
					t.Errorf("mail %s is %s", o.Key, o.State)
				}
			}
		}
	})
}

// drafting counts what is staged, and lets somebody else at the outbox meanwhile.
type drafting struct {
	recorder
	staged    *atomic.Int64
	meanwhile func()
}

func (s *drafting) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	s.staged.Add(1)
	s.meanwhile()
	return s.recorder.Stage(ctx, raw, o)
}

// Of two workers one stages a mail: the draft of the other would be left over in the mailbox.
func TestOneWorkerStages(t *testing.T) {
	var staged atomic.Int64
	down := true
	var w *emailinttest.World
	meanwhile := func() {
		if n := staged.Load(); n > 2 {
			t.Fatalf("staged %d times", n) // and it would go on
		}
		if err := w.Engine.Outbox(t.Context()); err != nil {
			t.Error(err)
		}
	}
	w = emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Sender = func(context.Context, emailint.Connection) (provider.Sender, error) {
			if down {
				return nil, errors.New("down")
			}
			return &drafting{staged: &staged, meanwhile: meanwhile}, nil
		}
	}))
	send := func(key string) emailint.Sending {
		t.Helper()
		s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: key, From: emailinttest.Owner, Recipients: []string{"ada@customer.example"},
			Raw: []byte("From: owner@example.com\r\nTo: ada@customer.example\r\nSubject: " + key + "\r\nMessage-ID: <" + key + "@x>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n\r\nx\r\n")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	send("later")
	down = false
	if s := send("at once"); s.State != state.OutSent {
		t.Errorf("it is %s: %s", s.State, s.Error)
	}
	if n := staged.Load(); n != 1 {
		t.Errorf("staged %d times", n)
	}
	w.Advance(time.Hour)
	if err := w.Engine.Outbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "later"); err != nil || o.State != state.OutSent {
		t.Errorf("it is %s: %v", o.State, err)
	}
	if n := staged.Load(); n != 2 {
		t.Errorf("staged %d times", n)
	}
}
