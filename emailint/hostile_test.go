package emailint_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// silent is a host whose list of changes works once and then never answers.
type silent struct {
	*emailinttest.MemCRM
	asked int
}

func (d *silent) RecordChanges(ctx context.Context, org, since string) ([]crm.RecordChange, string, bool, error) {
	if d.asked++; d.asked == 1 {
		return nil, "1", false, nil
	}
	return nil, "", false, errors.New("it is down")
}

// A list of changes that fails is not asked again with every pass and every mail that is sent: each would wait for it.
func TestFailingListerIsNotAskedAllTheTime(t *testing.T) {
	d := &silent{MemCRM: emailinttest.NewMemCRM()}
	w := emailinttest.New(t, emailinttest.WithCRM(d))
	drained(t, w)
	w.Advance(20 * time.Minute)
	before := d.asked
	for range 5 {
		if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.asked - before; n != 1 {
		t.Errorf("it was asked %d times at once", n)
	}
	w.Advance(2 * time.Minute)
	drained(t, w)
	if d.asked != before+2 {
		t.Errorf("it was asked %d times, want once more later", d.asked-before)
	}
}

// Over a real protocol: a record is made, a person corrects, the mailbox is erased and connected anew.
func TestIMAPChangeCorrectErase(t *testing.T) {
	eachServer(t, func(t *testing.T, o *imaptest.Options) {
		w := newIMAPWorld(t, o)
		w.srv.Deliver([]byte(raw("bert@other.example", "b@x", "")), w.now, provider.RoleInbox)
		w.srv.Deliver(w.raw("a@x"), w.now, provider.RoleInbox)
		w.srv.Deliver([]byte(raw("nobody@else.example", "c@x", "In-Reply-To: <b@x>\n")), w.now, provider.RoleInbox)
		w.pass(1)
		w.holds("before", "a@x")
		w.crm.Add("o", bert, "Bert", "bert@other.example")
		if err := w.eng.RecordsChanged(t.Context(), "o", emailint.RecordChange{Kind: emailint.RecordCreated, Record: bert, Addresses: []string{"bert@other.example"}}); err != nil {
			t.Fatal(err)
		}
		if err := w.eng.Relink(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(1)
		if n := len(w.crm.Emails("o")); n != 3 {
			t.Errorf("the CRM has %d emails, want 3", n)
		}
		if err := w.eng.Correct(t.Context(), "o", emailint.Correction{MessageID: "<b@x>", Unlink: []linker.Record{bert}, Link: []linker.Record{ada}}); err != nil {
			t.Fatal(err)
		}
		w.pass(1)
		w.holds("corrected", "a@x", "b@x", "c@x")
		r, err := w.eng.Erase(t.Context(), "o", w.conn.ID)
		if err != nil || r.Done.IsZero() || r.Items != 3 || r.Removed != 3 {
			t.Errorf("erased: %+v, %v", r, err)
		}
		if n := len(w.crm.Emails("o")); n != 0 {
			t.Errorf("the CRM has %d emails after the erasure", n)
		}
	})
}
