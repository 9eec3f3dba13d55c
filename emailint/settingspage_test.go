package emailint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

func wants(t *testing.T, err error, field string) {
	t.Helper()
	var f *emailint.FieldError
	if !errors.As(err, &f) || f.Field != field {
		t.Errorf("the error is %v, want one of %s", err, field)
	}
}

// A name that is nearly a field's is none, and what stands behind the patch is not lost without a word.
func TestPatchesOfNoField(t *testing.T) {
	w := emailinttest.New(t)
	for patch, field := range map[string]string{
		`{"SMTP":{"from_name":"x"}}`:                      "SMTP",
		`{"smtp":{},"Smtp":{"from_name":"x"}}`:            "Smtp",
		`{"smtp":{"From_Name":"x"}}`:                      "smtp.From_Name",
		`{"inbox":[{"id":"a","DO":"archive"}]}`:           "inbox[0].DO",
		`{"rules":{"excluded_domains":[{"Domain":"x"}]}}`: "rules.excluded_domains[0].Domain",
		`{"apps":{"gmail":{"Client_ID":"x"}}}`:            "apps.gmail.Client_ID",
		`{"rules":{"Own":["boss@example.com"]}}`:          "rules.Own",
		`{"rules":{"-":["boss@example.com"]}}`:            "rules.-",
		`{"apps":{"a.b":{"client_id":"x"}}}`:              "apps",
		`{"apps":{"../x":{"client_id":"x"}}}`:             "apps",
		`{"smtp":{"smtp":{"smtp":{"smtp":{"host":""}}}}}`: "smtp.smtp",
	} {
		s, version, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(patch), 1)
		wants(t, err, field)
		if s.SMTP.FromName != "" || version != 1 {
			t.Errorf("%s: version %d, %+v", patch, version, s)
		}
	}
	for _, patch := range []string{`{}}`, `{} {}`, `{}]`, `{},`, `[]`, `null`, ``, strings.Repeat(`{"smtp":`, 20000)} {
		if _, version, err := w.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(patch), 1); err == nil || version != 1 {
			t.Errorf("%.20s: version %d, %v", patch, version, err)
		}
	}
}

// Null takes away what was saved: what holds then is the default, not zero.
func TestNullIsTheDefault(t *testing.T) {
	def := emailint.DefaultSettings()
	def.Sync.ImportDays, def.Rules.ExcludedDomains = 60, []linker.Exclusion{{Domain: "mail.example"}}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.Defaults = &def }))
	const org = "another"
	set := `{"sync":{"inbound_minutes":15,"import_days":0},"file_sent":false,"on_delete":"release","rules":{"excluded_domains":[]},
		"smtp":{"host":"mx.example","username":"u","password":"secret","from_address":"a@b.example","from_name":"B"}}`
	_, version, err := w.Engine.PatchSettings(t.Context(), org, []byte(set), 0)
	if err != nil {
		t.Fatal(err)
	}
	s, version, err := w.Engine.PatchSettings(t.Context(), org,
		[]byte(`{"sync":null,"file_sent":null,"on_delete":null,"rules":{"excluded_domains":null},"smtp":{"from_name":null}}`), version)
	if err != nil {
		t.Fatal(err)
	}
	if s.Sync != def.Sync || !s.FileSent || s.OnDelete != def.OnDelete || len(s.Rules.ExcludedDomains) != 1 || s.SMTP.FromName != "" || s.SMTP.Password != "secret" {
		t.Errorf("the settings are %+v", s)
	}
	if s, _, err = w.Engine.PatchSettings(t.Context(), org, []byte(`{"smtp":null}`), version); err != nil || s.SMTP != def.SMTP {
		t.Errorf("without a server: %+v, %v", s.SMTP, err)
	}
}

// What one organisation does to the defaults that it was given, another does not see.
func TestDefaultsAreNobodysToChange(t *testing.T) {
	def := emailint.DefaultSettings()
	def.Rules.ExcludedDomains = append(make([]linker.Exclusion, 0, 8), linker.Exclusion{Domain: "mail.example"})
	def.Rules.OwnDomains = append(make([]message.Key, 0, 8), "own.example")
	def.Inbox = []emailint.InboxRule{{ID: "a", Do: emailint.ArchiveMail, Users: []string{"ann"}}}
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { o.Defaults = &def }))
	a, _, err := w.Engine.Settings(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a.Rules.ExcludedDomains[0].Domain, a.Rules.OwnDomains[0], a.Inbox[0].Users[0] = "a.example", "a.example", "eve"
	a.Rules.ExcludedDomains = append(a.Rules.ExcludedDomains, linker.Exclusion{Domain: "a.example"})
	b, _, err := w.Engine.Settings(t.Context(), "b")
	if err != nil || b.Rules.ExcludedDomains[0].Domain != "mail.example" || b.Rules.OwnDomains[0] != "own.example" || b.Inbox[0].Users[0] != "ann" {
		t.Errorf("another organisation has %+v, %+v, %v", b.Rules, b.Inbox, err)
	}
	if more := def.Rules.ExcludedDomains[:2]; more[1].Domain != "" {
		t.Errorf("the defaults have %v behind their end", more)
	}
}

// racing does something between the reading of settings and their saving.
type racing struct {
	state.Store
	before func()
}

func (s *racing) SaveSettings(ctx context.Context, org string, to state.Settings, relink bool) (int64, error) {
	if f := s.before; f != nil {
		s.before = nil
		f()
	}
	return s.Store.SaveSettings(ctx, org, to, relink)
}

// A version that is not there yet is refused, also when it is there in the end: what a mask keeps is what was read.
func TestAVersionOfTheFuture(t *testing.T) {
	var opts emailint.Options
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { opts = *o }))
	set := func(password string, version int64) {
		if _, _, err := w.Engine.PatchSettings(t.Context(), "future", []byte(`{"smtp":{"host":"mx.example","username":"u","password":"`+password+`","from_address":"a@b.example"}}`), version); err != nil {
			t.Error(err)
		}
	}
	set("first", 0)
	opts.State = &racing{Store: opts.State, before: func() { set("second", 1) }}
	e, err := emailint.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.PatchSettings(t.Context(), "future", []byte(`{"smtp":{"from_name":"B"}}`), 2); !errors.Is(err, state.ErrStale) {
		t.Errorf("PatchSettings = %v", err)
	}
	set("second", 1)
	if s, _, err := w.Engine.Settings(t.Context(), "future"); err != nil || s.SMTP.Password != "second" {
		t.Errorf("the password that was set last is lost: %v", err)
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

// A redirect URI that was right when it was saved and isn't served any more is named, instead of a person being sent into the void.
func TestHandlerHasMoved(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	s := emailint.DefaultSettings()
	s.Apps = map[string]emailint.App{"gmail": {ClientID: app, ClientSecret: "app-secret", RedirectURI: base + "/oauth/gmail/callback"}}
	if _, err := h.Engine.SetSettings(t.Context(), emailinttest.Org, s, 1); err != nil {
		t.Fatal(err)
	}
	h.opts.BaseURL, h.opts.Apps = "https://new.example/mail", nil
	e, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	var action *provider.NeedsAction
	to, err := e.Consent(t.Context(), emailint.ConsentRequest{Session: emailint.Session{ID: "s", Org: emailinttest.Org, User: "ann"}, Provider: "gmail"})
	if !errors.As(err, &action) || !strings.Contains(action.Reason, "https://new.example/mail/oauth/gmail/callback") {
		t.Errorf("Consent = %q, %v", to, err)
	}
}

// Ids are the host's: two that look alike when they are put together are two.
func TestACredentialOfAnotherUserDoesNotOpen(t *testing.T) {
	w := emailinttest.New(t)
	one, err := w.Engine.Connect(t.Context(), "a", emailint.NewConnection{User: "b/c", Provider: w.Connection.Provider, Credential: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.Engine.Connect(t.Context(), "a/b", emailint.NewConnection{User: "c", Provider: w.Connection.Provider, Credential: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.State.SetCredential(t.Context(), "a/b", two.ID, two.CredentialVersion, one.Credential); err != nil {
		t.Fatal(err)
	}
	if err := w.Engine.Sync(t.Context(), "a/b", two.ID); err == nil {
		t.Error("a row that was moved opens")
	}
}

// A patch that was saved is not answered by an error because of a secret that it doesn't name and nobody is shown.
func TestAPatchBesideASecretThatDoesNotOpen(t *testing.T) {
	var opts emailint.Options
	w := emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { opts = *o }))
	if _, _, err := w.Engine.PatchSettings(t.Context(), "lost", []byte(`{"smtp":{"host":"mx.example","username":"u","password":"p","from_address":"a@b.example"}}`), 0); err != nil {
		t.Fatal(err)
	}
	opts.Keys = []emailint.Key{{ID: "other", Secret: bytes.Repeat([]byte{9}, 32)}}
	e, err := emailint.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s, version, err := e.As(emailint.Actor{Org: "lost", User: "boss", Admin: true}).PatchSettings(t.Context(), []byte(`{"sync":{"import_days":60}}`), 1)
	if err != nil || version != 2 || s.Sync.ImportDays != 60 || s.SMTP.Password != emailint.SecretSet {
		t.Errorf("the page is told version %d, %+v, %v", version, s.Sync, err)
	}
}

// However a path is written, the browser ends on the CRM's own host.
func TestPathsThatLookLikeHosts(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	home, err := url.Parse("https://crm.example.com/email/oauth/gmail/callback")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"/..//evil.example", "/%09/evil.example", "/%2F/evil.example", "/%5C/evil.example", "/.//evil.example", "/x/../..//evil.example", "/%2e%2e//evil.example",
		"/;//evil.example", "/@evil.example", "/:80//evil.example", "/?//evil.example", "/#//evil.example", "/\u2028/evil.example", "/%00", "/settings?x=%0d%0aSet-Cookie:a"} {
		h.auth.Refuse("access_denied", "")
		u := base + "/oauth/gmail/start?return=" + url.QueryEscape(to)
		res := h.get("ann-1", u)
		if res.StatusCode >= 400 {
			continue
		}
		res = h.get("ann-1", h.start("ann-1", "return="+url.QueryEscape(to)))
		at := res.Header.Get("Location")
		end, err := home.Parse(at)
		if err != nil || end.Host != home.Host || end.Scheme != "https" || strings.HasPrefix(at, "//") || strings.ContainsAny(at, "\\\r\n\t") {
			t.Errorf("return=%q leads to %q, %v", to, at, err)
		}
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

// Where the app was wrong and is mended, its mailboxes work again without their users: nobody but the operator had anything to do.
func TestTheAppIsMended(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	s := emailint.DefaultSettings()
	s.Apps = map[string]emailint.App{"gmail": {ClientID: app, ClientSecret: "app-secret", RedirectURI: base + "/oauth/gmail/callback"}}
	if _, err := h.Engine.SetSettings(t.Context(), emailinttest.Org, s, 1); err != nil {
		t.Fatal(err)
	}
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	h.Advance(2 * time.Hour)
	h.auth.ExpireSecret(app)
	if err := h.sync(c); err == nil {
		t.Fatal("it works by an expired secret")
	}
	h.auth.Register(emailinttest.AuthClient{ID: app, Secret: "new-secret", Redirects: []string{base + "/oauth/gmail/callback"}})
	if _, _, err := h.Engine.PatchSettings(t.Context(), emailinttest.Org, []byte(`{"apps":{"gmail":{"client_secret":"new-secret"}}}`), 2); err != nil {
		t.Fatal(err)
	}
	if err := h.sync(c); err != nil {
		t.Errorf("the app is right again: %v", err)
	}
	if c := h.connection(fmt.Sprint(c.ID)); c.State != state.Connected {
		t.Errorf("the mailbox is %s: %s", c.State, c.Reason)
	}
	// The operator's own app, and keys, are mended by a start.
	if err := h.State.SetState(t.Context(), emailinttest.Org, c.ID, state.Misconfigured, "the key was missing"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.opts.Progress = func(string, int64) { cancel() } // of whatever mailbox: the start is over
	e, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	e.Run(ctx) //nolint:errcheck // it was told to stop
	if c := h.connection(fmt.Sprint(c.ID)); c.State != state.Connected {
		t.Errorf("after a start the mailbox is %s: %s", c.State, c.Reason)
	}
}

// Who sends from a mailbox of their own sends as themselves, whatever the server would let them write.
func TestNobodySendsAsAnother(t *testing.T) {
	w := emailinttest.New(t)
	a := w.Engine.As(emailint.Actor{Org: emailinttest.Org, User: "user"})
	ok := answerTo(w, "own")
	for name, change := range map[string]func(*emailint.Outgoing){
		"the envelope": func(m *emailint.Outgoing) { m.From = "boss@example.com" },
		"the header": func(m *emailint.Outgoing) {
			m.Raw = bytes.Replace(m.Raw, []byte(emailinttest.Owner), []byte("boss@example.com"), 1)
		},
		"a second From": func(m *emailint.Outgoing) { m.Raw = append([]byte("From: boss@example.com\r\n"), m.Raw...) },
		"two in one": func(m *emailint.Outgoing) {
			m.Raw = bytes.Replace(m.Raw, []byte("From: "), []byte("From: boss@example.com, "), 1)
		},
		"Sender": func(m *emailint.Outgoing) { m.Raw = append([]byte("Sender: boss@example.com\r\n"), m.Raw...) },
		"nobody": func(m *emailint.Outgoing) { m.Raw = bytes.Replace(m.Raw, []byte("From: "), []byte("X-From: "), 1) },
	} {
		m := answerTo(w, name)
		change(&m)
		if bytes.Equal(m.Raw, ok.Raw) && m.From == ok.From {
			t.Fatalf("%s: nothing is forged in %s", name, m.Raw)
		}
		if _, err := a.Send(t.Context(), m); !errors.As(err, new(*emailint.ForbiddenError)) {
			t.Errorf("%s: Send = %v", name, err)
		}
	}
	if _, err := a.Send(t.Context(), ok); err != nil || len(w.Fake.Sent()) != 1 {
		t.Errorf("their own: %v, %d sent", err, len(w.Fake.Sent()))
	}
	// Nor does anybody learn by a key what became of another's mail.
	other, err := w.Engine.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "bob", Provider: w.Connection.Provider, Credential: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	peek := answerTo(w, "own")
	peek.Connection = other.ID
	if got, err := w.Engine.As(emailint.Actor{Org: emailinttest.Org, User: "bob"}).Send(t.Context(), peek); err == nil || got != (emailint.Sending{}) {
		t.Errorf("by another's key: %+v, %v", got, err)
	}
}

// Where Handler is mounted decides which redirect URIs are right: nobody could enter one that is.
func TestBaseURLs(t *testing.T) {
	var opts emailint.Options
	emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) { opts = *o }))
	for at, good := range map[string]bool{"": true, base: true, base + "/": true, "http://localhost:8080/email": true, "http://crm.example.com": false, "crm.example.com": false,
		"https://crm.example.com/?x=": false, "https://crm.example.com/#x": false, "https://ann@crm.example.com/": false, "/email": false} {
		opts.BaseURL = at
		if _, err := emailint.New(opts); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "BaseURL") {
			t.Errorf("%q: %v", at, err)
		}
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

// A service that asks for years is asked again the next day.
func TestAWaitOfYears(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	h.Advance(2 * time.Hour)
	h.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Status: 429, RetryAfter: 30000 * time.Hour})
	if err := h.sync(c); err == nil {
		t.Fatal("the pass says that all is well")
	}
	if c := h.connection(fmt.Sprint(c.ID)); c.State != state.Connected || c.NotBefore.Sub(h.Now()) != 24*time.Hour {
		t.Errorf("the mailbox is %s and waits for %s", c.State, c.NotBefore.Sub(h.Now()))
	}
}
