package emailint_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// chatty is a host that tells of a change whenever it is given emails, as one does whose contacts have a "last written" date.
type chatty struct {
	*emailinttest.MemCRM
	engine atomic.Pointer[emailint.Engine]
	saved  atomic.Int64
}

func (c *chatty) tell(ctx context.Context, org string) error {
	return c.engine.Load().RecordsChanged(ctx, org, emailint.RecordChange{Kind: emailint.AddressesChanged, Record: ada, Addresses: []string{"ada@customer.example"}})
}

func (c *chatty) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	c.saved.Add(int64(len(es)))
	if err := c.tell(ctx, org); err != nil {
		return err
	}
	return c.MemCRM.SaveEmails(ctx, org, es)
}

func (c *chatty) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	c.saved.Add(int64(len(es)))
	if err := c.tell(ctx, org); err != nil {
		return err
	}
	return c.MemCRM.UpdateEmails(ctx, org, es)
}

// Two engines run on one state while mail comes, records change, people correct, the host calls back, and the mailbox is erased. It ends, and
// an engine that is called back from a save does not save for ever.
func TestTwoEnginesWhileThingsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &chatty{MemCRM: emailinttest.NewMemCRM()}
		host.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		host.Add(emailinttest.Org, bert, "Bert", "bert@customer.example")
		w := emailinttest.New(t, emailinttest.WithCRM(host), emailinttest.WithClock(time.Now))
		host.engine.Store(w.Engine)
		other, err := emailint.New(emailint.Options{State: w.State, CRM: host, Providers: []provider.Provider{w.Fake.Provider()}, Worker: "other",
			Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, e := range []*emailint.Engine{w.Engine, other} {
			wg.Go(func() { e.Run(ctx) }) //nolint:errcheck // it is told to stop
		}
		const n = 20
		for i := range n {
			w.Deliver(raw("ada@customer.example", fmt.Sprintf("%d@x", i), fmt.Sprintf("In-Reply-To: <%d@x>\n", i-1)))
			if err := w.Engine.Wake(ctx, emailinttest.Org, w.Connection.ID); err != nil {
				t.Error(err)
			}
			<-time.After(2 * time.Second)
			if i%5 == 4 {
				if err := other.Correct(ctx, emailinttest.Org, emailint.Correction{MessageID: fmt.Sprintf("%d@x", i), Thread: i%2 == 0, Link: []linker.Record{bert}}); err != nil {
					t.Error(err)
				}
				if err := host.tell(ctx, emailinttest.Org); err != nil {
					t.Error(err)
				}
			}
		}
		<-time.After(3 * time.Minute)
		if got := len(host.Emails(emailinttest.Org)); got != n {
			t.Errorf("the CRM has %d emails, want %d", got, n)
		}
		before := host.saved.Load()
		<-time.After(5 * time.Minute)
		if after := host.saved.Load(); after != before || after > 10*n {
			t.Errorf("%d states were saved of %d mails, %d of them when nothing happened any more", after, n, after-before)
		}
		if r, err := other.Erase(ctx, emailinttest.Org, w.Connection.ID); err != nil || r.Done.IsZero() {
			t.Errorf("erased: %+v, %v", r, err)
		}
		cancel()
		wg.Wait()
		if got := len(host.Emails(emailinttest.Org)); got != 0 {
			t.Errorf("the CRM has %d emails after the erasure", got)
		}
	})
}
