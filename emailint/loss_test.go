package emailint_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
)

// A save that fails and names no email of the call has failed: a host that names wrong ids, or none, loses nothing.
func TestErrorThatNamesNobodyIsNoSuccess(t *testing.T) {
	for name, bad := range map[string]error{
		"none":  &emailint.EmailsError{},
		"other": &emailint.EmailsError{Failed: map[string]error{"another id": errors.New("deadlock")}},
	} {
		for _, n := range []int{1, 2, 7} {
			t.Run(name, func(t *testing.T) {
				w, m := moodyWorld(t)
				m.set(func(context.Context, []emailint.Email) error { return bad })
				for i := range n {
					w.Deliver(raw("ada@customer.example", string(rune('a'+i))+"@x", ""))
				}
				_ = w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID)
				m.set(nil)
				w.Advance(time.Minute)
				if err := w.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := len(m.Emails(emailinttest.Org)); got != n {
					t.Errorf("%d of %d emails are in the CRM, and the engine calls all of them delivered", got, n)
				}
			})
		}
	}
}

// forgetful is a CRM that lost its emails, and says so without naming them.
type forgetful struct {
	*emailinttest.MemCRM
	lost bool
}

func (f *forgetful) UpdateEmails(ctx context.Context, org string, es []emailint.EmailState) error {
	if f.lost {
		return emailint.ErrUnknownEmail
	}
	return f.MemCRM.UpdateEmails(ctx, org, es)
}

// A CRM that answers "unknown" is not down, also when it names no ids: it is given the emails in full.
func TestUnknownEmailsAreNoOutage(t *testing.T) {
	f := &forgetful{MemCRM: emailinttest.NewMemCRM()}
	w := emailinttest.New(t, emailinttest.WithCRM(f))
	f.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	for i := range 10 {
		w.Deliver(raw("ada@customer.example", string(rune('a'+i))+"@x", ""))
	}
	passes(t, w, 1)
	f.lost = true
	deal := ada
	deal.ID = "ada-2"
	f.Add(emailinttest.Org, deal, "Ada", "ada@customer.example")
	change(t, w, func(s *emailint.Settings) { s.Rules.Leads = true }) // decides again
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Errorf("Sync = %v", err)
	}
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil || st.Completeness() != 1 {
		t.Errorf("%+v, %v", st.Counts, err)
	}
}
