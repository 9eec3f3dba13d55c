package emailint_test

import (
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// A server that shows an empty mailbox for some hours costs no mail, also where deleted mail is released; and what it shows again
// has not left.
func TestBadDay(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		s := emailint.DefaultSettings()
		s.OnDelete = emailint.ReleaseDeleted
		w := emailinttest.New(t, emailinttest.WithPersonality(p), emailinttest.WithSettings(s))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		ids := []string{"1@x", "2@x", "3@x"}
		for _, id := range ids {
			w.Deliver(raw("ada@customer.example", id, ""))
		}
		passes(t, w, 1)
		w.Fake.Hide(true)
		for range 5 {
			w.Advance(time.Hour)
			if _, err := w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{}); err != nil {
				t.Fatal(err)
			}
		}
		if here, gone := lying(copies(t, w, ids[0])); here != 0 || gone != 0 {
			t.Errorf("hidden: %d here, %d gone", here, gone)
		}
		w.Fake.Hide(false)
		passes(t, w, 3)
		for _, id := range ids {
			if here, gone := lying(copies(t, w, id)); here != 1 || gone != 0 {
				t.Errorf("%s is shown again: %d here, %d gone", id, here, gone)
			}
		}
		if n := len(w.CRM.Emails(emailinttest.Org)); n != 3 {
			t.Errorf("%d emails, want 3", n)
		}
	})
}

// A send whose answer was lost over SMTP is known to be sent when a copy of it shows up.
func TestUnknownIsSentWhenACopyShowsUp(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.Fake.NoSentCopy(true)
	w.Fake.LoseOutcome(providertest.LostAfter)
	mail := []byte("From: owner@example.com\r\nTo: ada@customer.example\r\nSubject: offer\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\n" +
		"Message-ID: <out@x>\r\n\r\nHere.\r\n")
	got, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: mail})
	if err != nil || got.State != state.OutUnknown {
		t.Fatalf("%+v, %v", got, err)
	}
	w.Fake.Deliver(mail, w.Now(), provider.RoleSent) // the server was slow
	passes(t, w, 1)
	outbox(t, w, 0)
	o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
	if err != nil || o.State != state.OutSent || o.Copy != state.CopyFound {
		t.Errorf("%s, copy %q, %v", o.State, o.Copy, err)
	}
	if es := w.CRM.Emails(emailinttest.Org); len(es) != 1 || !es[0].Outbound {
		t.Errorf("emails = %+v", es)
	}
}

// A mailbox that refuses the sign-in isn't signed in to for a copy in Sent either.
func TestCopyWaitsForTheMailbox(t *testing.T) {
	w := emailinttest.New(t)
	w.Fake.NoSentCopy(true)
	send(t, w)
	w.Fake.RefuseSignIn(1)
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err == nil {
		t.Fatal("signed in")
	}
	opened := w.Fake.Calls().Open
	for range 5 {
		outbox(t, w, time.Minute)
	}
	if n := w.Fake.Calls().Open - opened; n != 0 {
		t.Errorf("%d sign-ins beside the sparse ones", n)
	}
	passes(t, w, 1)
	outbox(t, w, time.Hour)
	if n := len(w.Fake.Look("out@x")); n != 1 {
		t.Errorf("%d copies when the mailbox is well again, want 1", n)
	}
}
