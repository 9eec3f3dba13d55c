package emailint_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// late is a mailbox to which a mail comes when it is listed.
type late struct {
	provider.Mailbox
	comes func()
}

func (b late) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	b.comes()
	return b.Mailbox.Inventory(ctx, s)
}

// New mail that the inventory shows first, while the CRM is down, is new mail all the same.
func TestNewMailThatTheInventoryShowsFirstIsNoHistory(t *testing.T) {
	for _, personality := range []providertest.Personality{providertest.IMAP, providertest.Gmail, providertest.Graph} {
		t.Run(string(personality), func(t *testing.T) {
			now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
			clock := func() time.Time { return now }
			fake := providertest.NewFake(personality, provider.Profile{Address: emailinttest.Owner}, clock)
			came := false
			m := &downable{MemCRM: emailinttest.NewMemCRM()}
			m.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			p := &twister{fake.Provider(), func(b provider.Mailbox, _ string) provider.Mailbox {
				return late{bare{b}, func() {
					if !came {
						came = true
						fake.Deliver([]byte(raw("ada@customer.example", "1@x", "")), now, provider.RoleInbox)
					}
				}}
			}}
			e, err := emailint.New(emailint.Options{State: emailinttest.New(t).State, CRM: m, Now: clock, Providers: []provider.Provider{p},
				Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
			if err != nil {
				t.Fatal(err)
			}
			c, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "other", Provider: "twisted", Credential: []byte("1")})
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Minute)
			m.down = true
			_, _ = e.Reconcile(t.Context(), emailinttest.Org, c.ID, provider.Window{})
			m.down = false
			for range 3 {
				now = now.Add(time.Hour)
				if err := e.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
					t.Fatal(err)
				}
			}
			if es := m.Emails(emailinttest.Org); len(es) != 1 || es[0].History {
				t.Errorf("%+v", es)
			}
		})
	}
}

// downable is a CRM that may be down.
type downable struct {
	*emailinttest.MemCRM
	down bool
}

func (m *downable) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	if m.down {
		return linker.Directory{}, errDown
	}
	return m.MemCRM.Find(ctx, org, q)
}

// bare lists ids alone in its inventory, as a service may.
type bare struct{ provider.Mailbox }

func (b bare) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		for it, err := range b.Mailbox.Inventory(ctx, s) {
			if !yield(provider.Item{ID: it.ID}, err) {
				return
			}
		}
	}
}
