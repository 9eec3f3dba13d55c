package emailint_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider/providertest"
)

var errDown = errors.New("connection refused")

func send(t *testing.T, w *emailinttest.World) {
	t.Helper()
	s, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: "k", From: emailinttest.Owner,
		Recipients: []string{"ada@customer.example"}, Raw: []byte("From: owner@example.com\r\nTo: ada@customer.example\r\nSubject: offer\r\n" +
			"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <out@x>\r\n\r\nHere.\r\n")})
	if err != nil || s.State != state.OutSent {
		t.Fatalf("Send = %+v, %v", s, err)
	}
}

func outbox(t *testing.T, w *emailinttest.World, after time.Duration) {
	t.Helper()
	w.Advance(after)
	if err := w.Engine.Outbox(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What was sent by SMTP has exactly one copy in Sent: the service's own, or ours where it makes none; never two, also when the
// answer to filing was lost.
func TestOneCopyInSent(t *testing.T) {
	for name, c := range map[string]struct {
		itself bool // the service files one
		lose   bool
		want   state.CopyState
	}{
		"the service's own": {itself: true, want: state.CopyFound},
		"ours":              {want: state.CopyFiled},
		"ours, answer lost": {lose: true, want: state.CopyFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := emailinttest.New(t)
			w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
			w.Fake.NoSentCopy(!c.itself)
			send(t, w)
			outbox(t, w, 0)
			if n := w.Fake.Calls().FileSent; n != 0 {
				t.Error("the service was given no time to file one itself")
			}
			if c.lose {
				w.Fake.LoseMutation(providertest.LostAfter)
			}
			for range 12 {
				outbox(t, w, 10*time.Minute)
			}
			if n := len(w.Fake.Look("out@x")); n != 1 {
				t.Errorf("%d copies in Sent, want 1", n)
			}
			o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
			if err != nil || o.Copy != c.want {
				t.Errorf("copy = %q (%s), %v, want %q", o.Copy, o.CopyError, err, c.want)
			}
			passes(t, w, 1)
			if es := w.CRM.Emails(emailinttest.Org); len(es) != 1 || !es[0].Outbound {
				t.Errorf("%d emails, want the one sent", len(es))
			}
		})
	}
}

// A filing whose effect never came is given up and says so: filing again could make two.
func TestLostCopyIsNotFiledAgain(t *testing.T) {
	w := emailinttest.New(t)
	w.Fake.NoSentCopy(true)
	send(t, w)
	w.Fake.LoseMutation(providertest.LostBefore)
	for range 20 {
		outbox(t, w, 3*time.Hour)
	}
	o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k")
	if err != nil || o.Copy != state.CopyLost || o.CopyError == "" || len(w.Fake.Look("out@x")) != 0 || w.Fake.Calls().FileSent != 1 {
		t.Errorf("copy = %q (%s), %v; %d calls", o.Copy, o.CopyError, err, w.Fake.Calls().FileSent)
	}
}

// Where the service drafts, the draft becomes the copy, and nothing is filed. Switched off, nothing is either.
func TestNoCopyWhereNoneIsWanted(t *testing.T) {
	w := emailinttest.New(t, emailinttest.WithPersonality(providertest.Graph))
	send(t, w)
	outbox(t, w, time.Hour)
	s := emailint.DefaultSettings()
	s.FileSent = false
	off := emailinttest.New(t, emailinttest.WithSettings(s))
	off.Fake.NoSentCopy(true)
	send(t, off)
	outbox(t, off, time.Hour)
	for _, w := range []*emailinttest.World{w, off} {
		if o, err := w.State.OutboxGet(t.Context(), emailinttest.Org, "k"); err != nil || o.Copy != state.CopyNone {
			t.Errorf("copy = %q, %v", o.Copy, err)
		}
	}
}

// A sent mail whose save failed is saved with its text by a later pass, though no mailbox shows a copy.
func TestSentMailIsSavedWholeLater(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, ada, "Ada", "ada@customer.example")
	w.Fake.NoSentCopy(true)
	w.Fail(nil, errDown, errDown, errDown)
	send(t, w)
	if n := len(w.CRM.Emails(emailinttest.Org)); n != 0 {
		t.Fatalf("the save did not fail: %d", n)
	}
	passes(t, w, 1)
	if es := w.CRM.Emails(emailinttest.Org); len(es) != 1 || es[0].Message.Text == "" || es[0].Partial != "" || !es[0].Outbound {
		t.Errorf("emails = %+v, want the sent one with its text", es)
	}
}

// A mailbox that refuses the sign-in is asked once, not once for every mail whose copy is to be filed.
func TestManyCopiesOneSignIn(t *testing.T) {
	w := emailinttest.New(t)
	w.Fake.NoSentCopy(true)
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		if _, err := w.Engine.Send(t.Context(), emailinttest.Org, emailint.Outgoing{Connection: w.Connection.ID, Key: k, From: emailinttest.Owner,
			Recipients: []string{"ada@customer.example"}, Raw: []byte(strings.ReplaceAll(string(outgoing), "out@x", k+"@x"))}); err != nil {
			t.Fatal(err)
		}
	}
	w.Fake.RefuseSignIn(100)
	opened := w.Fake.Calls().Open
	for range 10 {
		w.Advance(5 * time.Second)
		_ = w.Engine.Outbox(t.Context())
	}
	w.Advance(time.Minute)
	for range 10 {
		w.Advance(5 * time.Second)
		_ = w.Engine.Outbox(t.Context())
	}
	if n := w.Fake.Calls().Open - opened; n > 1 {
		t.Errorf("%d sign-ins within two minutes", n)
	}
}
