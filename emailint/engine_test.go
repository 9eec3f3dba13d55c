package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

var ada = linker.Record{Kind: linker.Contact, ID: "ada"}

func raw(from, id, extra string) string {
	return "From: " + from + "\nTo: owner@example.com\nSubject: s " + id + "\nDate: Mon, 02 Mar 2026 09:00:00 +0000\nMessage-ID: <" + id + ">\n" + extra + "\nHello.\n"
}

func personalities(t *testing.T, run func(t *testing.T, p providertest.Personality)) {
	for name, p := range map[string]providertest.Personality{"imap": providertest.IMAP, "gmail": providertest.Gmail, "graph": providertest.Graph} {
		t.Run(name, func(t *testing.T) { run(t, p) })
	}
}

// Every message has a row and a fate, what links is saved once, a reply from a stranger inherits, and a second pass adds nothing.
func TestMailboxBecomesHistory(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		// History: newest first, so the reply is met before the mail it answers.
		w.Fake.Deliver([]byte(raw("ada@customer.example", "a@x", "")), w.Now().Add(-48*time.Hour), provider.RoleInbox)
		w.Fake.Deliver([]byte(raw("stranger@else.example", "b@x", "In-Reply-To: <a@x>\n")), w.Now().Add(-47*time.Hour), provider.RoleInbox)
		w.Fake.Deliver([]byte(raw("someone@else.example", "c@x", "")), w.Now().Add(-46*time.Hour), provider.RoleInbox)
		for range 2 {
			if err := w.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			es := w.CRM.Emails(emailinttest.Org)
			if len(es) != 2 || !es[0].History || es[0].Message.Text == "" {
				t.Fatalf("%d emails saved, want 2 with content: %+v", len(es), es)
			}
			if ls := es[1].Links; len(ls) != 1 || ls[0].By != linker.ByThread || ls[0].Record != ada {
				t.Errorf("the reply's links = %+v, want ada by thread", ls)
			}
			st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
			if err != nil || st.Counts.Total != 3 || st.Counts.Fates[state.FateLinked] != 2 || st.Counts.Fates[state.FateUnmatched] != 1 {
				t.Errorf("status = %+v, %v", st.Counts, err)
			}
		}
		x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "<c@x>")
		if err != nil || len(x.Copies) != 1 || x.Copies[0].Fate != state.FateUnmatched || x.Copies[0].Reason == "" {
			t.Errorf("explanation = %+v, %v", x, err)
		}
	})
}

// A CRM that is down delays and loses nothing, whether it fails before or after the effect.
func TestCRMOutageLosesNothing(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p))
		w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			w.Deliver(raw("ada@customer.example", fmt.Sprintf("m%d@x", i), ""))
		}
		down := errors.New("database is locked")
		w.Fail(down, nil, down, down, down, down, nil, down)
		if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); !errors.Is(err, down) {
			t.Errorf("Sync = %v, want the CRM's error", err)
		}
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if es := w.CRM.Emails(emailinttest.Org); len(es) != 20 || es[0].History {
			t.Errorf("%d emails, want 20 live ones", len(es))
		}
	})
}

func TestUnknownSenderBecomesAContactOnce(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Rules.CreateContacts = true
	w := emailinttest.New(t, emailinttest.WithSettings(s))
	for i := range 3 {
		w.Deliver(raw("New Person <new@fresh.example>", fmt.Sprintf("n%d@x", i), ""))
	}
	w.Deliver(raw("robot@fresh.example", "r@x", "Auto-Submitted: auto-generated\n"))
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.CRM.Created(emailinttest.Org); n != 1 {
		t.Errorf("%d contacts created, want 1", n)
	}
	if es := w.CRM.Emails(emailinttest.Org); len(es) != 3 {
		t.Errorf("%d emails saved, want 3", len(es))
	}
}

func TestSendOnce(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	out := emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner, Recipients: []string{"ada@customer.example"},
		Raw: []byte("From: owner@example.com\r\nTo: ada@customer.example\r\nSubject: offer\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <out@example.com>\r\n\r\nHere.\r\n")}
	for range 2 {
		s, err := w.Engine.Send(t.Context(), emailinttest.Org, out)
		if err != nil || s.State != state.OutSent {
			t.Fatalf("Send = %+v, %v", s, err)
		}
	}
	if n := len(w.Fake.Sent()); n != 1 {
		t.Errorf("%d messages left, want 1", n)
	}
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	es := w.CRM.Emails(emailinttest.Org)
	if len(es) != 1 || !es[0].Outbound || len(es[0].Links) != 1 {
		t.Errorf("emails = %+v, want the sent one, once, linked", es)
	}
}

func TestLostOutcomeIsNeverSentAgain(t *testing.T) {
	w := emailinttest.New(t)
	w.Fake.LoseOutcome(providertest.LostAfter)
	s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"x@customer.example"}, Raw: []byte("From: owner@example.com\r\nTo: x@customer.example\r\nSubject: o\r\nMessage-ID: <o@example.com>\r\n\r\nx\r\n")})
	if err != nil || (s.State != state.OutSent && s.State != state.OutUnknown) {
		t.Fatalf("Send = %+v, %v", s, err)
	}
	if n := len(w.Fake.Sent()); n != 1 {
		t.Errorf("%d messages left, want 1", n)
	}
}

func TestRevokedMailboxAsksItsUser(t *testing.T) {
	w := emailinttest.New(t)
	w.Fake.Revoke()
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err == nil {
		t.Fatal("a revoked mailbox was synced")
	}
	st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
	if err != nil || st.Connection.State != state.NeedsUser || st.Connection.Reason == "" {
		t.Errorf("state = %q (%s), %v, want needs user with a reason", st.Connection.State, st.Connection.Reason, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := emailinttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Engine.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}
