package emailint_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// mined is a mailbox in whose code there is a bug.
type mined struct {
	provider.Mailbox
	on *atomic.Bool
}

func (b mined) step() {
	if b.on.Load() {
		panic("the text of a mail")
	}
}

func (b mined) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	b.step()
	return b.Mailbox.Changes(ctx, c)
}

func (b mined) Wait(ctx context.Context) error {
	b.on.Store(true)
	b.step()
	return ctx.Err()
}

// A panic in a provider is its mailbox's: the process lives, the owner sees that something is wrong, and when it is mended nothing is missing.
func TestPanicOfAProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake(providertest.IMAP, provider.Profile{Address: emailinttest.Owner}, time.Now)
		var on atomic.Bool
		e, m, s, c := twisted(t, fake, time.Now, func(b provider.Mailbox, _ string) provider.Mailbox { return mined{b, &on} })
		fake.Deliver([]byte(raw("ada@customer.example", "a@x", "")), time.Now(), provider.RoleInbox)
		run := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			if err := e.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Run = %v", err)
			}
		}
		run() // and while it waits for news, the bug comes
		if n := len(m.Emails(emailinttest.Org)); n != 1 {
			t.Errorf("%d emails before the panic, want 1", n)
		}
		if got, err := s.Connection(t.Context(), emailinttest.Org, c.ID); err != nil || !strings.Contains(got.RealTime, "waiting for news panicked") {
			t.Errorf("how news is heard of is %q, %v", got.RealTime, err)
		}
		fake.Deliver([]byte(raw("ada@customer.example", "b@x", "")), time.Now(), provider.RoleInbox)
		if err := s.Wake(t.Context(), emailinttest.Org, c.ID); err != nil {
			t.Fatal(err)
		}
		run()
		got, err := s.Connection(t.Context(), emailinttest.Org, c.ID)
		if err != nil || got.State != state.Connected || !strings.Contains(got.Reason, "the pass panicked") || strings.Contains(got.Reason, "text of a mail") {
			t.Errorf("the mailbox is %s, %q, %v", got.State, got.Reason, err)
		}
		on.Store(false)
		time.Sleep(time.Minute)
		if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
			t.Fatalf("Sync, when it is mended: %v", err)
		}
		if n := len(m.Emails(emailinttest.Org)); n != 2 {
			t.Errorf("%d emails, want 2", n)
		}
	})
}
