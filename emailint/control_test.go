package emailint_test

import (
	"bytes"
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

// After Reseal nothing needs the older key, also where somebody saved settings at the same time.
func TestResealWhileSettingsAreSaved(t *testing.T) {
	older, newer := emailint.Key{ID: "older", Secret: bytes.Repeat([]byte{1}, 32)}, emailint.Key{ID: "newer", Secret: bytes.Repeat([]byte{2}, 32)}
	var opts emailint.Options
	emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Keys = []emailint.Key{older}
		opts = *o
	}))
	const org = "resealed"
	e := func(keys ...emailint.Key) *emailint.Engine {
		o := opts
		o.Keys = keys
		out, err := emailint.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if _, _, err := e(older).PatchSettings(t.Context(), org,
		[]byte(`{"smtp":{"host":"mx.example","username":"u","password":"secret","from_address":"a@b.example"}}`), 0); err != nil {
		t.Fatal(err)
	}
	store := &racing{Store: opts.State}
	store.before = func() {
		if r, err := e(newer, older).Reseal(context.Background()); err != nil || r.Unopen != 0 {
			t.Errorf("Reseal = %+v, %v", r, err)
		}
	}
	opts.State = store
	if _, _, err := e(newer, older).PatchSettings(t.Context(), org, []byte(`{"smtp":{"from_name":"B"}}`), 1); err != nil {
		t.Fatal(err)
	}
	if s, _, err := e(newer).Settings(t.Context(), org); err != nil || s.SMTP.Password != "secret" {
		t.Errorf("without the older key the password is %d bytes, %v", len(s.SMTP.Password), err)
	}
}

// What a pause forbids says so.
func TestReconcileWhilePaused(t *testing.T) {
	w := emailinttest.New(t)
	if err := w.Engine.Pause(t.Context(), emailint.Pause{By: "operator", Reason: "to see"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Engine.Reconcile(t.Context(), emailinttest.Org, w.Connection.ID, provider.Window{}); !errors.Is(err, emailint.ErrPaused) {
		t.Errorf("Reconcile = %v", err)
	}
	// A password of digits alone is one as well.
	if _, _, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"smtp":{"password":31415926}}`), 1); err == nil || strings.Contains(err.Error(), "31415926") {
		t.Errorf("PatchSettings = %v", err)
	}
}

// What is disconnected sends no more, also where mail goes by the organisation's own server.
func TestADisconnectedMailboxDoesNotSend(t *testing.T) {
	w := emailinttest.New(t)
	if _, err := w.Engine.Disconnect(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Engine.Send(t.Context(), emailinttest.Org, answerTo(w, "late")); err == nil || len(w.Fake.Sent()) != 0 {
		t.Errorf("Send = %+v, %v", got, err)
	}
}

// An administrator's pause and the operator's stand beside each other, whoever was first; each sees whose holds.
func TestTwoPauses(t *testing.T) {
	w := emailinttest.New(t)
	root := w.Engine.As(emailint.Actor{Org: emailinttest.Org, User: "root", Admin: true})
	ctx := t.Context()
	if err := w.Engine.Pause(ctx, emailint.Pause{Admin: true, By: "root", Reason: "all of them"}); err == nil {
		t.Error("an administrator paused everybody")
	}
	operator := func() error {
		return w.Engine.Pause(ctx, emailint.Pause{Org: emailinttest.Org, By: "grace", Reason: "a bill is open"})
	}
	for _, adminFirst := range []bool{true, false} {
		if err := errors.Join(operator(), root.Pause(ctx, "", "a merger")); err != nil {
			t.Fatal(err)
		}
		w.Advance(time.Second)
		ms, err := root.Mailboxes(ctx)
		if err != nil || len(ms[0].Pauses) != 2 || ms[0].Pauses[0].Admin == ms[0].Pauses[1].Admin {
			t.Errorf("the administrator sees %+v, %v", ms, err)
		}
		st, err := w.Engine.Status(ctx, emailinttest.Org, w.Connection.ID)
		if err != nil || len(st.Pauses) != 2 {
			t.Errorf("the status has %+v, %v", st.Pauses, err)
		}
		for i := range 2 {
			err := w.Engine.Sync(ctx, emailinttest.Org, w.Connection.ID)
			if admin := i == 0 || !adminFirst; !errors.Is(err, emailint.ErrPaused) || strings.Contains(err.Error(), "the administrator, root: a merger") != admin {
				t.Errorf("after %d resumed: %v", i, err)
			}
			if i == 0 == adminFirst {
				err = root.Resume(ctx, "")
			} else {
				err = w.Engine.Resume(ctx, emailinttest.Org, "", "grace")
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := w.Engine.Sync(ctx, emailinttest.Org, w.Connection.ID); err != nil {
			t.Error(err)
		}
		if err := root.Resume(ctx, ""); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("resumed twice: %v", err)
		}
	}
}
