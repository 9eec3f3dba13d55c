package emailint_test

import (
	"context"
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

// counted counts what is read.
type counted struct {
	provider.Mailbox
	reads *atomic.Int64
}

func (b counted) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	b.reads.Add(1)
	return b.Mailbox.Changes(ctx, c)
}

// byCredential is counted for each credential, and waits.
type byCredential struct{ counted }

func (b byCredential) Wait(ctx context.Context) error { return b.Mailbox.(provider.Waiter).Wait(ctx) }

// A mailbox that is connected anew is read with the new credential only: what waits for news on the old one is not passed on.
func TestReconnectedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, time.Now)
		var before, after atomic.Int64
		e, m, _, c := twisted(t, fake, time.Now, func(b provider.Mailbox, cred string) provider.Mailbox {
			if cred == "1" {
				return byCredential{counted{b, &before}}
			}
			return byCredential{counted{b, &after}}
		})
		if _, err := e.SetSettings(t.Context(), emailinttest.Org, inRealTime(), 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		synctest.Wait() // it waits for news
		if _, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "other", Provider: "twisted", Credential: []byte("2")}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		old := before.Load()
		for _, id := range []string{"1@x", "2@x"} {
			fake.Deliver([]byte(raw("ada@customer.example", id, "")), time.Now(), provider.RoleInbox)
			<-time.After(2 * time.Second)
			synctest.Wait()
			if !holds(m.Emails(emailinttest.Org), id) {
				t.Errorf("%s was not heard of", id)
			}
		}
		if n := before.Load() - old; n > 0 || after.Load() == 0 {
			t.Errorf("%d reads with the old credential after connecting anew, %d with the new one", n, after.Load())
		}
		_ = c
		cancel()
		<-done
	})
}

// A pass that still runs with the old credential can't spoil the reconnection: its refusal asks nobody, and it commits nothing.
func TestReconnectedInTheMiddleOfAPass(t *testing.T) {
	w := emailinttest.New(t)
	l, err := w.State.ClaimConnection(t.Context(), emailinttest.Org, w.Connection.ID, "old", w.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{
		User: "user", Provider: w.Fake.Provider().Name(), Credential: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	_ = w.State.Release(t.Context(), l, state.Released{State: state.NeedsUser, Reason: "sign in again", Refused: 4, NotBefore: w.Now().Add(time.Hour)})
	c, err := w.State.Connection(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil || c.State != state.Connected || c.Refused != 0 || !c.NotBefore.IsZero() {
		t.Errorf("right after connecting anew: %s, %q, %d refused, not before %s", c.State, c.Reason, c.Refused, c.NotBefore)
	}
	passes(t, w, 1) // nobody holds it
}
