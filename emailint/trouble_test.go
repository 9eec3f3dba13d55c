package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// moody is a CRM in memory whose saves a test can spoil.
type moody struct {
	*emailinttest.MemCRM
	mu   sync.Mutex // guards save
	save func(ctx context.Context, es []emailint.Email) error
}

func (m *moody) SaveEmails(ctx context.Context, org string, es []emailint.Email) error {
	m.mu.Lock()
	save := m.save
	m.mu.Unlock()
	if save != nil {
		if err := save(ctx, es); err != nil {
			return err
		}
	}
	return m.MemCRM.SaveEmails(ctx, org, es)
}

func (m *moody) set(f func(ctx context.Context, es []emailint.Email) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.save = f
}

func moodyWorld(t *testing.T) (*emailinttest.World, *moody) {
	m := &moody{MemCRM: emailinttest.NewMemCRM()}
	w := emailinttest.New(t, emailinttest.WithCRM(m))
	m.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	return w, m
}

func holds(es []emailint.Email, id string) bool {
	return slices.ContainsFunc(es, func(e emailint.Email) bool { return e.Message.MessageID == id })
}

// Some emails that the CRM refuses, by an error or a panic, hold up no other, be they the first of a chunk or all of an earlier one.
func TestPoisonBlocksNobody(t *testing.T) {
	for name, spoil := range map[string]func() error{
		"error": func() error { return errors.New("constraint violated") },
		"panic": func() error { panic("a bug of the host's") },
	} {
		for _, bad := range []int{1, 3, 55} {
			t.Run(fmt.Sprintf("%s/%d", name, bad), func(t *testing.T) {
				w, m := moodyWorld(t)
				m.set(func(_ context.Context, es []emailint.Email) error {
					if slices.ContainsFunc(es, func(e emailint.Email) bool { return strings.HasPrefix(e.Message.MessageID, "bad") }) {
						return spoil()
					}
					return nil
				})
				for i := range bad {
					w.Deliver(raw("ada@customer.example", fmt.Sprintf("bad%d@x", i), ""))
				}
				sync := func() {
					// Only the bad ones may look like an outage.
					if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil && bad < 3 {
						t.Error(err)
					}
					w.Advance(time.Minute)
				}
				sync()
				for i := range 5 {
					w.Deliver(raw("ada@customer.example", fmt.Sprintf("good%d@x", i), ""))
				}
				for range 3 {
					sync()
				}
				if n := len(m.Emails(emailinttest.Org)); n != 5 {
					t.Errorf("%d emails saved, want the 5 good ones", n)
				}
				m.set(nil)
				if err := w.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := len(m.Emails(emailinttest.Org)); n != 5+bad {
					t.Errorf("%d emails when the CRM has come to reason, want %d", n, 5+bad)
				}
			})
		}
	}
}

// A CRM that is down holds up neither the cursor nor history, and no email is held guilty.
func TestOutageHoldsUpNoCursor(t *testing.T) {
	w, m := moodyWorld(t)
	w.Fake.SetPageSize(5)
	for i := range 40 {
		w.Fake.Deliver([]byte(raw("ada@customer.example", fmt.Sprintf("h%d@x", i), "")), w.Now().Add(-time.Duration(i+1)*time.Hour), provider.RoleInbox)
	}
	down := errors.New("connection refused")
	m.set(func(context.Context, []emailint.Email) error { return down })
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); !errors.Is(err, down) {
		t.Errorf("Sync = %v, want the CRM's error", err)
	}
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil || st.Counts.Total != 40 || !st.Runs[0].Done || st.Connection.Reason == "" || st.Connection.State != state.Connected {
		t.Errorf("%d of 40 listed, done %v, reason %q, %v", st.Counts.Total, st.Runs[0].Done, st.Connection.Reason, err)
	}
	for range 20 { // an hour and more of it
		w.Advance(5 * time.Minute)
		if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); !errors.Is(err, down) {
			t.Fatalf("Sync = %v, want the CRM's error", err)
		}
	}
	m.set(nil)
	w.Advance(time.Minute)
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Error(err)
	}
	if n := len(m.Emails(emailinttest.Org)); n != 40 {
		t.Errorf("%d emails right after the outage, want all 40", n)
	}
}

// A CRM too slow for a chunk is asked for less, and gets everything.
func TestSlowCRMIsAskedForLess(t *testing.T) {
	w, m := moodyWorld(t)
	largest := 0
	m.set(func(_ context.Context, es []emailint.Email) error {
		largest = max(largest, len(es))
		if len(es) > 4 {
			return context.DeadlineExceeded // what a store returns whose context ended
		}
		return nil
	})
	for i := range 60 {
		w.Deliver(raw("ada@customer.example", fmt.Sprintf("m%d@x", i), ""))
	}
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Emails(emailinttest.Org)); n != 60 || largest <= 4 {
		t.Errorf("%d emails saved, at most %d at once", n, largest)
	}
}
