package gmail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

var outgoing = []byte("From: Me <me@acme.example>\r\nTo: ada@sender.example\r\nSubject: offer\r\nMessage-ID: <offer@acme.example>\r\n\r\nOur offer.\r\n")

func options() provider.SendOptions {
	return provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "offer@acme.example"}
}

func TestSendAsAlias(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.user.SetAlias(gmailtest.Alias{Address: "sales@acme.example", Signature: "<b>Sales</b>"})
	w.user.SetAlias(gmailtest.Alias{Address: "new@acme.example", Pending: true})
	w.user.SetAlias(gmailtest.Alias{Address: owner, Signature: "<i>Me</i>"})
	box := w.open(t)
	prof, err := box.Profile(t.Context())
	if err != nil || prof.Address != owner || !slices.Equal(prof.Aliases, []string{"sales@acme.example"}) {
		t.Errorf("%+v, %v", prof, err)
	}
	for from, says := range map[string]string{"sales@acme.example": "", "new@acme.example": "not verified", "boss@acme.example": "does not send as"} {
		o := options()
		o.From = from
		_, err := box.Stage(t.Context(), bytes.ReplaceAll(outgoing, []byte(owner), []byte(from)), o)
		if says == "" && err != nil || says != "" && (!errors.Is(err, provider.ErrNotSent) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", from, err)
		}
	}
	for from, want := range map[string]string{"": "<i>Me</i>", owner: "<i>Me</i>", "sales@acme.example": "<b>Sales</b>", "boss@acme.example": ""} {
		if got, err := box.Signature(t.Context(), from); err != nil || got != want {
			t.Errorf("signature of %q: %q, %v", from, got, err)
		}
	}
}

// The header and the options must not differ: Gmail goes by the header.
func TestSendHeader(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	for name, raw := range map[string]string{
		"another From":        "From: boss@acme.example\r\nTo: ada@sender.example\r\n\r\nx",
		"no From":             "To: ada@sender.example\r\n\r\nx",
		"two From":            "From: me@acme.example, boss@acme.example\r\nTo: ada@sender.example\r\n\r\nx",
		"somebody more in To": "From: me@acme.example\r\nTo: ada@sender.example, eve@else.example\r\n\r\nx",
		"somebody more in Cc": "From: me@acme.example\r\nTo: ada@sender.example\r\nCc: eve@else.example\r\n\r\nx",
	} {
		if _, err := box.Stage(t.Context(), []byte(raw), options()); !errors.Is(err, provider.ErrNotSent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whom the options leave out gets nothing, also where the message had them blind; folded fields go as a whole.
	o := options()
	o.Recipients = append(o.Recipients, "bob@sender.example", "carl@sender.example")
	raw := "From: me@acme.example\r\nBcc: eve@else.example,\r\n mallory@else.example\r\nTo: Ada <ADA@sender.example>\r\nX-Emailint-ID: <forged@x>\r\nMessage-ID: <offer@acme.example>\r\n\r\nBcc: this is text\r\n"
	st, err := box.Stage(t.Context(), []byte(raw), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Release(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	sent := w.srv.Sent()
	if len(sent) != 1 || fmt.Sprint(sent[0].Recipients) != "[ADA@sender.example bob@sender.example carl@sender.example]" && fmt.Sprint(sent[0].Recipients) != "[ada@sender.example bob@sender.example carl@sender.example]" {
		t.Fatalf("sent to %v", sent)
	}
	if s := string(sent[0].Raw); strings.Contains(s, "eve") || strings.Contains(s, "forged") || !strings.Contains(s, "Bcc: this is text") ||
		!strings.Contains(s, "X-Emailint-ID: <offer@acme.example>") {
		t.Errorf("sent %s", s)
	}
}

// An answer lies in the thread of what it answers; a thread of another mailbox is no reason not to send.
func TestSendInThread(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	in := w.user.Deliver(providertest.Mail("q", "question"), day0)
	asked, _ := w.user.Message(in)
	box := w.open(t)
	raw := []byte("From: me@acme.example\r\nTo: ada@sender.example\r\nSubject: Re: question\r\nIn-Reply-To: <q@sender.example>\r\n" +
		"References: <q@sender.example>\r\nMessage-ID: <offer@acme.example>\r\n\r\nyes\r\n")
	for thread, same := range map[string]bool{asked.ThreadID: true, "18c0000000000000": false} {
		o := options()
		o.Thread = thread
		st, err := box.Stage(t.Context(), raw, o)
		if err != nil {
			t.Fatalf("%s: %v", thread, err)
		}
		sent, err := box.Release(t.Context(), st)
		if err != nil {
			t.Fatalf("%s: %v", thread, err)
		}
		m, ok := w.user.Message(string(sent.Item))
		if !ok || same && m.ThreadID != asked.ThreadID || message.ParseHeader(m.Raw).MessageID != sent.MessageID {
			t.Errorf("it lies in thread %s, want %s; %+v", m.ThreadID, asked.ThreadID, sent)
		}
	}
}

// A large message goes by upload, byte by byte.
func TestSendLarge(t *testing.T) {
	for _, ro := range []bool{false, true} {
		w := newWorld(gmailtest.Options{}, gmail.Options{ReadOnly: ro})
		box := w.open(t)
		body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 60_000)
		st, err := box.Stage(t.Context(), append(slices.Clone(outgoing), body...), options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := box.Release(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		if sent := w.srv.Sent(); len(sent) != 1 || !bytes.HasSuffix(sent[0].Raw, []byte(body)) {
			t.Errorf("read only %v: it was not sent as it was", ro)
		}
	}
}

// What became of a draft when nobody was told.
func TestLookup(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world, draft string)
		want provider.Outcome
	}{
		"still there":         {func(*world, string) {}, provider.OutcomeNotSent},
		"sent by hand":        {func(w *world, d string) { w.user.SendDraft(d) }, provider.OutcomeSent},
		"thrown away by hand": {func(w *world, d string) { w.user.DiscardDraft(d) }, provider.OutcomeUnknown},
		"edited by hand":      {func(w *world, d string) { w.user.EditDraft(d, outgoing) }, provider.OutcomeNotSent},
		"sent, and the copy was thrown away": {func(w *world, d string) {
			id, _ := w.user.SendDraft(d)
			w.user.Trash(id)
		}, provider.OutcomeSent},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(gmailtest.Options{}, gmail.Options{})
			box := w.open(t)
			st, err := box.Stage(t.Context(), outgoing, options())
			if err != nil {
				t.Fatal(err)
			}
			draft, _, _ := strings.Cut(st.ID, "/")
			c.do(w, draft)
			got, sent, err := box.Lookup(t.Context(), st)
			if err != nil || got != c.want {
				t.Fatalf("%s, %v; want %s", got, err, c.want)
			}
			if got == provider.OutcomeSent {
				m, ok := w.user.Message(string(sent.Item))
				if !ok || message.ParseHeader(m.Raw).MessageID != sent.MessageID {
					t.Errorf("%+v", sent)
				}
			}
		})
	}
}

// What an error of sending guarantees.
func TestReleaseErrors(t *testing.T) {
	for name, c := range map[string]struct {
		fault          gmailtest.Fault
		notSent, later bool
	}{
		"rate":         {gmailtest.UserRateLimited, true, true},
		"daily limit":  {gmailtest.Fault{Status: 429, Reason: "userRateLimitExceeded", Message: "User-rate limit exceeded. Retry after 2026-03-03T09:00:00Z"}, true, true},
		"bad request":  {gmailtest.Fault{Status: 400, Reason: "invalidArgument", Message: "Invalid To header"}, true, false},
		"token":        {gmailtest.TokenRefused, true, true},
		"server error": {gmailtest.ServerError, false, false},
		"cut":          {gmailtest.Cut, false, false},
		"done, broken": {gmailtest.AnswerBroken, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{})
				box := w.open(t)
				st, err := box.Stage(t.Context(), outgoing, options())
				if err != nil {
					t.Fatal(err)
				}
				w.srv.Fail("gmail.users.drafts.send", 2, c.fault)
				_, err = box.Release(t.Context(), st)
				if err == nil || errors.Is(err, provider.ErrNotSent) != c.notSent || errors.Is(err, provider.ErrTryLater) != c.later {
					t.Errorf("%v: not sent %v, later %v", err, errors.Is(err, provider.ErrNotSent), errors.Is(err, provider.ErrTryLater))
				}
				if c.notSent && len(w.srv.Sent()) > 0 {
					t.Error("it was sent")
				}
			})
		})
	}
}

// switched is a token source that can be without a token.
type switched struct {
	oauth2.TokenSource
	off bool
}

func (s *switched) Token() (*oauth2.Token, error) {
	if s.off {
		return nil, errors.New("the token endpoint does not answer")
	}
	return s.TokenSource.Token()
}

// That there was no token says nothing of the next try: what was sent, and whose answer nobody waited for, was perhaps sent.
func TestReleaseAfterATokenWasMissing(t *testing.T) {
	for _, ro := range []bool{false, true} {
		w := newWorld(gmailtest.Options{}, gmail.Options{ReadOnly: ro})
		w.open(t)
		tokens := &switched{TokenSource: w.user.TokenSource(gmailtest.ScopeModify)}
		box, err := w.prov.Mailbox(t.Context(), tokens)
		if err != nil {
			t.Fatal(err)
		}
		st, err := box.Stage(t.Context(), outgoing, options())
		if err != nil {
			t.Fatal(err)
		}
		tokens.off = true
		if _, err := box.Release(t.Context(), st); !errors.Is(err, provider.ErrNotSent) || !errors.Is(err, provider.ErrTryLater) {
			t.Errorf("without a token: %v", err)
		}
		tokens.off = false
		ctx, cancel := context.WithCancel(t.Context())
		w.srv.Fail(map[bool]string{false: "gmail.users.drafts.send", true: "gmail.users.messages.send"}[ro], 1,
			gmailtest.Fault{After: true, Reached: cancel, Wait: make(chan struct{})})
		if _, err := box.Release(ctx, st); err == nil || errors.Is(err, provider.ErrNotSent) || len(w.srv.Sent()) != 1 {
			t.Errorf("read only %v: %v, and %d were sent", ro, err, len(w.srv.Sent()))
		}
	}
}

// It was sent, and what Gmail calls it can't be read: it was sent all the same.
func TestReleaseUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{}, gmail.Options{})
		box := w.open(t)
		st, err := box.Stage(t.Context(), outgoing, options())
		if err != nil {
			t.Fatal(err)
		}
		w.srv.Fail("gmail.users.messages.get", 20, gmailtest.ServerError)
		if sent, err := box.Release(t.Context(), st); err != nil || sent.Item == "" || sent.MessageID != "" {
			t.Errorf("%+v, %v", sent, err)
		}
	})
}

// Bytes that another sender staged, as a mail server does, reach everybody they are for, and are held against the same rules as ours.
func TestReleaseWhatAnotherStaged(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	o := options()
	o.Recipients = append(o.Recipients, "hidden@else.example")
	if _, err := box.Release(t.Context(), provider.Staged{Raw: outgoing, Options: o}); err != nil {
		t.Fatal(err)
	}
	sent := w.srv.Sent()
	if len(sent) != 1 || !slices.Contains(sent[0].Recipients, "hidden@else.example") {
		t.Errorf("it went to %+v", sent)
	}
	o.From = "boss@acme.example"
	if _, err := box.Release(t.Context(), provider.Staged{Raw: outgoing, Options: o}); !errors.Is(err, provider.ErrNotSent) || len(w.srv.Sent()) != 1 {
		t.Errorf("as another: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{ReadOnly: true})
	id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
	box := w.open(t)
	for name, call := range map[string]func() error{
		"Archive": func() error { _, err := box.Archive(t.Context(), provider.Target{Item: id}); return err },
		"Label":   func() error { _, err := box.Label(t.Context(), provider.Target{Item: id}, "x"); return err },
		"Unlabel": func() error {
			return box.Unlabel(t.Context(), provider.Target{Item: id}, provider.Mutation{How: "label", To: "Label_1"})
		},
		"Unarchive": func() error {
			_, err := box.Unarchive(t.Context(), provider.Target{Item: id}, provider.Mutation{How: "label"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, provider.ErrUnsupported) || !strings.Contains(err.Error(), "gmail.modify") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := box.Content(t.Context(), id); err != nil {
		t.Error(err)
	}
}
