package emailint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/signature"
)

func answerTo(w *emailinttest.World, key string) emailint.Outgoing {
	return emailint.Outgoing{Connection: w.Connection.ID, Key: key, From: emailinttest.Owner, Recipients: []string{"ada@customer.example"},
		Raw: []byte("From: " + emailinttest.Owner + "\r\nTo: ada@customer.example\r\nSubject: " + key + "\r\nMessage-ID: <" + key + "@out>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n\r\nhi\r\n")}
}

// A pause of each scope stops reading and sending until it ends, also for a process that is started meanwhile, and nothing is lost.
func TestPause(t *testing.T) {
	for _, scope := range []emailint.Pause{{}, {Org: emailinttest.Org}, {Provider: "fake"}, {Org: emailinttest.Org, Provider: "fake"}} {
		var options emailint.Options
		w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { options = *o }))
		scope.Provider = strings.Replace(scope.Provider, "fake", w.Connection.Provider, 1)
		w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
		if err := w.Engine.Pause(t.Context(), scope); err == nil {
			t.Error("a pause that nobody answers for was stored")
		}
		scope.By, scope.Reason = "grace", "the CRM moves"
		if err := w.Engine.Pause(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
		w.Deliver(mail("ada@customer.example", emailinttest.Owner, "meanwhile"))
		again, err := emailint.New(options) // a restart
		if err != nil {
			t.Fatal(err)
		}
		err = again.Sync(t.Context(), emailinttest.Org, w.Connection.ID)
		if !errors.Is(err, emailint.ErrPaused) || !strings.Contains(err.Error(), "grace: the CRM moves") {
			t.Errorf("%v: Sync = %v", scope, err)
		}
		sent, err := again.Send(t.Context(), emailinttest.Org, answerTo(w, "held"))
		if err != nil || sent.State != state.OutQueued {
			t.Errorf("%v: Send = %v, %v", scope, sent.State, err)
		}
		w.Advance(time.Hour)
		if err := again.Outbox(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(w.Fake.Sent()); n != 0 {
			t.Errorf("%v: %d mails were sent", scope, n)
		}
		if ps, err := again.Pauses(t.Context()); err != nil || len(ps) != 1 || ps[0].By != "grace" {
			t.Errorf("%v: the pauses are %v: %v", scope, ps, err)
		}
		if err := again.Resume(t.Context(), scope.Org, scope.Provider, "grace"); err != nil {
			t.Fatal(err)
		}
		if err := again.Resume(t.Context(), scope.Org, scope.Provider, "grace"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("%v: a second Resume = %v", scope, err)
		}
		if err := again.Outbox(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if n := len(w.Fake.Sent()); n != 1 {
			t.Errorf("%v: %d mails were sent after it, want one", scope, n)
		}
		if n := len(w.CRM.Emails(emailinttest.Org)); n != 2 {
			t.Errorf("%v: the CRM has %d emails after it, want two", scope, n)
		}
	}
}

// A pause of another organisation or provider stops nobody else.
func TestPauseOfOthers(t *testing.T) {
	w := emailinttest.New(t)
	for _, p := range []emailint.Pause{{Org: "other"}, {Provider: "other"}, {Org: emailinttest.Org, Provider: "other"}} {
		p.By, p.Reason = "grace", "for a while"
		if err := w.Engine.Pause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Error(err)
	}
}

// A copy of production that is started elsewhere reads, and does nothing that production does too.
func TestACopyOfProductionOnlyObserves(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Inbox = []emailint.InboxRule{{ID: "archive", On: true, Do: emailint.ArchiveMail}}
	var options emailint.Options
	w := emailinttest.New(t, emailinttest.WithSettings(s), emailinttest.WithOptions(func(o *emailint.Options) {
		o.Deployment = "production"
		options = *o
	}))
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.Send(t.Context(), emailinttest.Org, answerTo(w, "one")); err != nil {
		t.Fatal(err)
	}
	options.Deployment = ""
	nameless, err := emailint.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nameless.Send(t.Context(), emailinttest.Org, answerTo(w, "nameless")); !errors.Is(err, emailint.ErrObserving) {
		t.Errorf("without a name, Send = %v", err)
	}
	options.Deployment = "laptop"
	laptop, err := emailint.New(options)
	if err != nil {
		t.Fatal(err)
	}
	h := w.Deliver(mail("ada@customer.example", emailinttest.Owner, "new"))
	if err := laptop.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	if n := len(w.CRM.Emails(emailinttest.Org)); n != 2 {
		t.Errorf("the CRM has %d emails, want two: it reads", n)
	}
	if seen, _ := w.Fake.Sight(h); len(seen.Folders) != 1 || seen.Folders[0].Role != provider.RoleInbox {
		t.Errorf("the laptop moved a mail to %v", seen.Folders)
	}
	if _, err := laptop.Send(t.Context(), emailinttest.Org, answerTo(w, "two")); !errors.Is(err, emailint.ErrObserving) {
		t.Errorf("Send = %v", err)
	}
	if err := laptop.Outbox(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(w.Fake.Sent()); n != 1 {
		t.Errorf("%d mails were sent, want one", n)
	}
	// Production archives it, and goes on.
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	if seen, _ := w.Fake.Sight(h); seen.Folders[0].Role == provider.RoleInbox {
		t.Error("production left the mail in the inbox")
	}
	if err := laptop.AdoptState(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := laptop.Send(t.Context(), emailinttest.Org, answerTo(w, "three")); err != nil {
		t.Errorf("after adopting: %v", err)
	}
	if _, err := w.Engine.Send(t.Context(), emailinttest.Org, answerTo(w, "four")); !errors.Is(err, emailint.ErrObserving) {
		t.Errorf("the former deployment sends: %v", err)
	}
}

// valued is a CRM that knows the values of signatures.
type valued struct{ *emailinttest.MemCRM }

func (valued) SignatureValues(_ context.Context, org, user string) (signature.Values, error) {
	return signature.Values{UserName: "Nora <" + user + ">", CompanyName: "Northwind", CompanyLogo: "https://cdn.example/logo.png"}, nil
}

func TestSignatures(t *testing.T) {
	s := emailint.DefaultSettings()
	s.Signature.HTML = "<p>{{user_name}}</p><p>{{user_email}}</p><p>{{user_phone}}</p><img src=\"{{company_logo}}\">"
	w := emailinttest.New(t, emailinttest.WithSettings(s), emailinttest.WithCRM(valued{emailinttest.NewMemCRM()}))
	rendered := func() emailint.Signature {
		t.Helper()
		got, err := w.Engine.Signature(t.Context(), emailinttest.Org, "user")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := rendered()
	if got.Own || !strings.Contains(got.HTML, "Nora &lt;user&gt;") || !strings.Contains(got.HTML, `src="https://cdn.example/logo.png"`) || !strings.Contains(got.HTML, "alt=") {
		t.Errorf("the organisation's is %+v", got)
	}
	if want := "Nora <user>\n" + emailinttest.Owner; strings.TrimSpace(strings.ReplaceAll(got.Text, "\n\n", "\n")) != want {
		t.Errorf("its text is %q, want %q", got.Text, want)
	}
	for _, bad := range []string{"<script>x</script>{{user_nmae}}", "{{printf \"%v\" .}}", "<p>{{user_name", strings.Repeat("x", 70<<10)} {
		if _, err := w.Engine.SetUserSettings(t.Context(), emailinttest.Org, "user", emailint.UserSettings{Signature: bad}, 0); len(fields(err)) == 0 {
			t.Errorf("%.20q is taken: %v", bad, err)
		}
		if _, err := w.Engine.PreviewSignature(t.Context(), emailinttest.Org, "user", bad); len(fields(err)) == 0 {
			t.Errorf("%.20q is previewed: %v", bad, err)
		}
	}
	v, err := w.Engine.SetUserSettings(t.Context(), emailinttest.Org, "user", emailint.UserSettings{Signature: "<p>Mine, {{company_name}}</p>"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.SetUserSettings(t.Context(), emailinttest.Org, "user", emailint.UserSettings{}, 0); !errors.Is(err, state.ErrStale) {
		t.Errorf("on an older version: %v", err)
	}
	if got := rendered(); !got.Own || !strings.Contains(got.HTML, "Mine, Northwind") {
		t.Errorf("the user's own is %+v", got)
	}
	// Everyone comes back when it is switched off, and theirs is kept.
	_, sv, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"signature": {"allow_override": false}}`), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := rendered(); got.Own || !strings.Contains(got.HTML, "Nora") {
		t.Errorf("while it is not allowed it is %+v", got)
	}
	if _, err := w.Engine.SetUserSettings(t.Context(), emailinttest.Org, "user", emailint.UserSettings{Signature: "<p>x</p>"}, v); len(fields(err)) != 1 {
		t.Errorf("while it is not allowed one can be set: %v", err)
	}
	if _, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"signature": {"allow_override": true}}`), sv); err != nil {
		t.Fatal(err)
	}
	if got := rendered(); !got.Own {
		t.Errorf("when it is allowed again it is %+v", got)
	}
}

// Keys are rotated while the old one still opens; then it may go.
func TestRotation(t *testing.T) {
	var options emailint.Options
	w := emailinttest.New(t, emailinttest.WithSettings(full()), emailinttest.WithOptions(func(o *emailint.Options) {
		o.BaseURL = base
		options = *o
	}))
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
	for _, id := range []string{"1", "2", "3"} {
		w.Deliver(mail("ada@customer.example", emailinttest.Owner, id))
	}
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := options.Keys[0]
	fresh := emailint.Key{ID: "fresh", Secret: []byte(strings.Repeat("k", 32))}
	with := func(keys ...emailint.Key) *emailint.Engine {
		o := options
		o.Keys = keys
		e, err := emailint.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if got, err := with(fresh).Reseal(t.Context()); err != nil || got.Unopen != 7 || got.Done != 0 {
		t.Errorf("without the old key: %+v, %v", got, err)
	}
	if got, err := with(fresh, old).Reseal(t.Context()); err != nil || got.Done != 7 || got.Unopen != 0 { // a credential, three secrets, three envelopes
		t.Errorf("Reseal = %+v, %v", got, err)
	}
	if got, err := with(fresh, old).Reseal(t.Context()); err != nil || got.Done != 0 {
		t.Errorf("a second time: %+v, %v", got, err)
	}
	// The old key is gone, and everything opens: credential, secrets, and envelopes by which mail is decided again.
	e := with(fresh)
	s, v, err := e.Settings(t.Context(), emailinttest.Org)
	if err != nil || s.SMTP.Password != "smtp-secret" {
		t.Errorf("settings: %v", err)
	}
	s.Rules.OwnDomains = nil
	if _, err := e.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
		t.Fatal(err)
	}
	reads := w.Fake.Calls().Content
	if err := e.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Error(err)
	}
	if n := w.Fake.Calls().Content - reads; n != 0 {
		t.Errorf("%d mails were read again", n)
	}
	if _, _, err := with(old).Settings(t.Context(), emailinttest.Org); err == nil {
		t.Error("the old key still opens something")
	}
}

type kms map[string]string

func (k kms) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	plain, ok := k[string(wrapped)]
	if !ok {
		return nil, errors.New("no such key")
	}
	return []byte(plain), nil
}

func TestKeysOfAKMS(t *testing.T) {
	secret := strings.Repeat("s", 32)
	keys, err := emailint.UnwrapKeys(t.Context(), kms{"w1": secret}, emailint.WrappedKey{ID: "a", Wrapped: []byte("w1")})
	if err != nil || len(keys) != 1 || keys[0].ID != "a" || string(keys[0].Secret) != secret {
		t.Errorf("%v, %v", keys, err)
	}
	if _, err := emailint.UnwrapKeys(t.Context(), kms{}, emailint.WrappedKey{ID: "b"}); err == nil || !strings.Contains(err.Error(), "key b") {
		t.Errorf("an unknown key: %v", err)
	}
}

// Who may do what: actor by action by owner.
func TestAccess(t *testing.T) {
	ann, bob := emailint.Actor{Org: "o", User: "ann"}, emailint.Actor{Org: "o", User: "bob"}
	root := emailint.Actor{Org: "o", User: "root", Admin: true}
	nobody := emailint.Actor{}
	for _, c := range []struct {
		do                     emailint.Action
		own, other, admin, org bool // ann on hers, bob on hers, an administrator on hers, the administrator on the organisation's
	}{
		{emailint.ToConnect, true, false, false, false},
		{emailint.ToDisconnect, true, false, false, false},
		{emailint.ToErase, true, false, false, false},
		{emailint.ToSend, true, false, false, false},
		{emailint.ToExplain, true, false, false, false},
		{emailint.ToUndo, true, false, false, false},
		{emailint.ToSign, true, false, false, false},
		{emailint.ToSeeState, true, false, true, true},
		{emailint.ToSetSettings, false, false, true, true},
		{emailint.ToPause, false, false, true, true},
		{"do something else", false, false, false, false},
	} {
		for _, x := range []struct {
			who   string
			actor emailint.Actor
			owner string
			want  bool
		}{{"the owner", ann, "ann", c.own}, {"another", bob, "ann", c.other}, {"an administrator", root, "ann", c.admin}, {"an administrator, of all", root, "", c.org},
			{"another, of all", bob, "", false}, {"nobody", nobody, "", false}, {"nobody, of ann's", nobody, "ann", false}} {
			if got := x.actor.May(c.do, x.owner) == nil; got != x.want {
				t.Errorf("%s may %s: %v, want %v", x.who, c.do, got, x.want)
			}
		}
	}
}

// By the doors of Acting nobody comes to another's mailbox.
func TestActing(t *testing.T) {
	w := emailinttest.New(t)
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
	w.Deliver(mail("ada@customer.example", emailinttest.Owner, "1"))
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := func(org, user string, admin bool) *emailint.Acting {
		return w.Engine.As(emailint.Actor{Org: org, User: user, Admin: admin})
	}
	owner := as(emailinttest.Org, "user", false)
	if x, err := owner.Explain(t.Context(), "1@x"); err != nil || len(x.Copies) != 1 || len(x.Emails) != 1 {
		t.Errorf("the owner is told %v, %v", x, err)
	}
	id := w.Connection.ID
	for who, a := range map[string]*emailint.Acting{"another": as(emailinttest.Org, "bob", false), "an administrator": as(emailinttest.Org, "root", true),
		"an administrator elsewhere": as("other", "root", true), "nobody": as("", "", true)} {
		if x, _ := a.Explain(t.Context(), "1@x"); len(x.Copies)+len(x.Emails) != 0 {
			t.Errorf("%s is told %v", who, x)
		}
		_, errSend := a.Send(t.Context(), answerTo(w, "forged"))
		_, errOff := a.Disconnect(t.Context(), id)
		_, errErase := a.Erase(t.Context(), id)
		_, errUndo := a.Undo(t.Context(), 1)
		_, errConnect := a.Connect(t.Context(), emailint.NewConnection{User: "user", Provider: w.Connection.Provider, Credential: []byte("{}")})
		_, errConsent := a.Consent(t.Context(), emailint.ConsentRequest{Session: emailint.Session{ID: "s", Org: emailinttest.Org, User: "user"}, Provider: "gmail"})
		for what, err := range map[string]error{"send": errSend, "disconnect": errOff, "erase": errErase, "undo": errUndo, "connect": errConnect, "consent": errConsent} {
			if !errors.As(err, new(*emailint.ForbiddenError)) {
				t.Errorf("%s may %s: %v", who, what, err)
			}
		}
		ms, err := a.Mailboxes(t.Context())
		if want := map[bool]int{true: 1}[who == "an administrator"]; err != nil || len(ms) != want {
			t.Errorf("%s sees %d mailboxes, want %d: %v", who, len(ms), want, err)
		}
		if _, _, err := a.Settings(t.Context()); (err == nil) != strings.HasPrefix(who, "an administrator") {
			t.Errorf("%s and the settings: %v", who, err)
		}
	}
	if c, err := w.State.Connection(t.Context(), emailinttest.Org, id); err != nil || c.State != state.Connected {
		t.Errorf("the mailbox is %v: %v", c.State, err)
	}
	if n := len(w.Fake.Sent()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
	if _, err := owner.Disconnect(t.Context(), id); err != nil {
		t.Error(err)
	}
}
