package emailint_test

import (
	"errors"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// The day of grace begins when a mail was first found nowhere: not with a look that failed, nor with one that found it in the trash.
func TestGraceBeginsWithTheFirstMiss(t *testing.T) {
	for name, trashed := range map[string]bool{"after a look that failed": false, "after a look that found it in the trash": true} {
		t.Run(name, func(t *testing.T) {
			s := emailint.DefaultSettings()
			s.OnDelete = emailint.ReleaseDeleted
			w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Graph), emailinttest.WithSettings(s))
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			h := w.Deliver(raw("ada@customer.example", "1@x", ""))
			passes(t, w, 1)
			sync := func(d time.Duration) {
				t.Helper()
				w.Advance(d)
				if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
					t.Fatal(err)
				}
			}
			if trashed {
				w.Fake.Move(h, provider.RoleTrash)
				sync(time.Hour)
				sync(time.Hour) // found in the trash
				w.Fake.Hide(true)
				sync(25 * time.Hour)
			} else {
				w.Fake.Hide(true)
				if _, err := w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{}); err != nil {
					t.Fatal(err)
				}
				w.Advance(time.Hour)
				w.Fake.FailLocate(1, errors.New("internal error"))
				sync(time.Hour)
			}
			for range 3 {
				sync(2 * time.Hour)
			}
			if here, gone := lying(copies(t, w, "1@x")); gone != 0 {
				t.Errorf("%d here, %d gone within hours of the first miss", here, gone)
			}
			if n := len(w.CRM.Emails(emailinttest.Org)); n != 1 {
				t.Errorf("%d emails, want 1", n)
			}
			sync(25 * time.Hour)
			if _, gone := lying(copies(t, w, "1@x")); gone != 1 {
				t.Errorf("%d gone a day later, want 1", gone)
			}
		})
	}
}
