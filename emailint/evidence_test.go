package emailint_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// deaf sends by SMTP, never hears the answer, and can't look up anything.
type deaf struct {
	provider.Sender
	meanwhile func()
	outcome   provider.Outcome
	found     provider.Sent
}

func (s *deaf) Release(context.Context, provider.Staged) (provider.Sent, error) {
	s.meanwhile()
	return provider.Sent{}, errors.New("connection reset")
}

func (s *deaf) Lookup(context.Context, provider.Staged) (provider.Outcome, provider.Sent, error) {
	return s.outcome, s.found, nil
}

var outgoing = []byte("From: owner@example.com\r\nTo: ada@customer.example\r\nSubject: offer\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\n" +
	"Message-ID: <out@x>\r\n\r\nHere.\r\n")

// deafWorld is a world that sends by a deaf sender.
func deafWorld(t *testing.T, s *deaf) (*emailinttest.World, *emailint.Engine) {
	t.Helper()
	w := emailinttest.New(t)
	w.Fake.NoSentCopy(true)
	s.Sender = w.Fake
	e, err := emailint.New(emailint.Options{State: w.State, CRM: w.CRM, Now: w.Now, Providers: []provider.Provider{w.Fake.Provider()},
		Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32),
		Sender: func(context.Context, emailint.Connection) (provider.Sender, error) { return s, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "u", Provider: w.Connection.Provider, Credential: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	return w, e
}

// A copy that shows up before the outcome is looked up is evidence too: the mail is known to be sent, and never sent again,
// whatever the lookup says.
func TestCopyShowsUpWhileSending(t *testing.T) {
	for _, outcome := range []provider.Outcome{provider.OutcomeUnknown, provider.OutcomeNotSent} {
		t.Run(string(outcome), func(t *testing.T) {
			s := &deaf{outcome: outcome}
			w, e := deafWorld(t, s)
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			sync := func() {
				w.Advance(time.Minute)
				if err := e.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
					t.Error(err)
				}
			}
			sync()
			releases := 0
			s.meanwhile = func() {
				if releases++; releases == 1 {
					w.Fake.Deliver(outgoing, w.Now(), provider.RoleSent)
					sync()
				}
			}
			if _, err := e.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
				Recipients: []string{"ada@customer.example"}, Raw: outgoing}); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				w.Advance(25 * time.Hour)
				if err := e.Outbox(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
			if err != nil || o.State != state.OutSent || o.Copy != state.CopyFound || releases != 1 {
				t.Errorf("%s, copy %q, released %d times, %v", o.State, o.Copy, releases, err)
			}
		})
	}
}

// A service that puts a Message-ID of its own in place of ours tells it when the outcome is looked up: answers come to that one, also where no
// mailbox ever shows the copy.
func TestLookupTellsTheMessageID(t *testing.T) {
	s := &deaf{outcome: provider.OutcomeSent, found: provider.Sent{MessageID: "CA1@mail.service.example"}, meanwhile: func() {}}
	w, e := deafWorld(t, s)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	if _, err := e.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: outgoing}); err != nil {
		t.Fatal(err)
	}
	w.Fake.Deliver([]byte("From: stranger@elsewhere.example\r\nTo: owner@example.com\r\nSubject: Re: offer\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"+
		"Message-ID: <answer@x>\r\nIn-Reply-To: <CA1@mail.service.example>\r\n\r\nYes.\r\n"), w.Now(), provider.RoleInbox)
	w.Advance(time.Minute)
	if err := e.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.CRM.Emails(emailinttest.Org) {
		if m.Message.MessageID == "answer@x" && len(m.Links) == 1 && m.Links[0].Record == ada {
			return
		}
	}
	t.Errorf("the answer is not linked to the record of the mail that it answers: %+v", w.CRM.Emails(emailinttest.Org))
}

// Evidence counts also for mail that links to nothing; and a copy that lies elsewhere than in Sent is no copy in Sent.
func TestUnknownIsSentWhenItArrives(t *testing.T) {
	for name, c := range map[string]struct {
		known bool // the recipient is a contact
		role  provider.Role
	}{
		"unmatched, in Sent":        {role: provider.RoleSent},
		"linked, in Sent":           {known: true, role: provider.RoleSent},
		"linked, back in the inbox": {known: true, role: provider.RoleInbox},
	} {
		t.Run(name, func(t *testing.T) {
			w := emailinttest.New(t)
			if c.known {
				w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			}
			w.Fake.NoSentCopy(true)
			w.Fake.LoseOutcome(providertest.LostAfter)
			got, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
				Recipients: []string{"ada@customer.example", emailinttest.Owner}, Raw: outgoing})
			if err != nil || got.State != state.OutUnknown {
				t.Fatalf("%+v, %v", got, err)
			}
			w.Fake.Deliver(outgoing, w.Now(), c.role)
			w.Advance(time.Minute)
			if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
				t.Fatal(err)
			}
			outbox(t, w, time.Minute)
			want := state.CopyFound
			if c.role != provider.RoleSent {
				want = state.CopyFiled
			}
			o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
			if err != nil || o.State != state.OutSent || o.Copy != want {
				t.Errorf("%s, copy %q, want %q, %v", o.State, o.Copy, want, err)
			}
		})
	}
}
