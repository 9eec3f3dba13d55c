package emailint_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// One refused sign-in proves nothing: it is tried again, sparsely, and the user is asked when it lasts.
func TestRefusedSignInIsTriedSparsely(t *testing.T) {
	w := emailinttest.New(t)
	status := func() emailint.Connection {
		st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
		if err != nil {
			t.Fatal(err)
		}
		return st.Connection
	}
	sync := func() error { return w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) }
	w.Fake.RefuseSignIn(3)
	var waits []time.Duration
	for i := range 3 {
		var refused *provider.SignInError
		if err := sync(); !errors.As(err, &refused) {
			t.Fatalf("Sync = %v, want a refused sign-in", err)
		}
		c := status()
		if c.State != state.Connected || c.Refused != i+1 || c.Reason == "" {
			t.Errorf("after %d refusals: %s, %d, %q", i+1, c.State, c.Refused, c.Reason)
		}
		waits = append(waits, c.NotBefore.Sub(w.Now()))
	}
	if !slices.IsSorted(waits) || waits[0] < 5*time.Minute {
		t.Errorf("waits between the tries: %v", waits)
	}
	if err := sync(); err != nil {
		t.Fatal(err)
	}
	if c := status(); c.Refused != 0 || c.State != state.Connected {
		t.Errorf("after a good one: %s, %d", c.State, c.Refused)
	}
	w.Fake.RefuseSignIn(4)
	for range 4 {
		if err := sync(); err == nil {
			t.Fatal("signed in")
		}
	}
	if c := status(); c.State != state.NeedsUser || c.Reason == "" {
		t.Errorf("after four: %s, %q", c.State, c.Reason)
	}
	if _, err := w.Engine.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "user",
		Provider: string(providertest.IMAP), Credential: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := sync(); err != nil {
		t.Error(err)
	}
}

// claimed is a state whose process is told to stop when it has a lease.
type claimed struct {
	state.Store
	stop *func()
}

func (s claimed) ClaimConnection(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (state.Lease, error) {
	l, err := s.Store.ClaimConnection(ctx, org, id, worker, now, ttl)
	(*s.stop)()
	return l, err
}

// A process that is told to stop before it has looked at its mailbox forgets neither how often the sign-in was refused nor until when it waits.
func TestToldToStopRefusalsStillCount(t *testing.T) {
	stop := func() {}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.State = claimed{o.State, &stop} }))
	connection := func() emailint.Connection {
		t.Helper()
		c, err := w.State.Connection(t.Context(), emailinttest.Org, w.Connection.ID)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	w.Fake.RefuseSignIn(1)
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); !errors.As(err, new(*provider.SignInError)) {
		t.Fatalf("Sync = %v, want a refused sign-in", err)
	}
	before := connection()
	ctx, cancel := context.WithCancel(t.Context())
	stop = cancel
	if err := w.Engine.Sync(ctx, emailinttest.Org, w.Connection.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync = %v", err)
	}
	if c := connection(); c.Refused != 1 || !c.NotBefore.Equal(before.NotBefore) || c.Worker != "" {
		t.Errorf("%d refusals, not before %s, held by %q; want 1, %s and nobody", c.Refused, c.NotBefore, c.Worker, before.NotBefore)
	}
}

// committed is a state whose process is told to stop when it has read a page.
type committed struct {
	state.Store
	stop *func()
}

func (s committed) CommitPage(ctx context.Context, l state.Lease, p state.Page) (state.Committed, error) {
	out, err := s.Store.CommitPage(ctx, l, p)
	(*s.stop)()
	return out, err
}

// A sign-in that went well ends the wait for the next try, also in a process that is told to stop then.
func TestToldToStopASignInCounts(t *testing.T) {
	stop := func() {}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.State = committed{o.State, &stop} }))
	w.Fake.RefuseSignIn(1)
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); !errors.As(err, new(*provider.SignInError)) {
		t.Fatalf("Sync = %v, want a refused sign-in", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop = cancel
	if err := w.Engine.Sync(ctx, emailinttest.Org, w.Connection.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync = %v", err)
	}
	c, err := w.State.Connection(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil || c.Refused != 0 || !c.NotBefore.IsZero() {
		t.Errorf("%d refusals, not before %s, %v: the sign-in went well", c.Refused, c.NotBefore, err)
	}
}
