package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// house is a CRM whose people sign in at a service: its engine, the service, and browsers.
type house struct {
	*emailinttest.World
	t    *testing.T
	auth *emailinttest.AuthServer
	fake *providertest.Fake // the mailbox of whoever signs in
	name string             // of the provider
	opts emailint.Options
}

const app = "client-1"

func signingIn(t *testing.T, kind emailinttest.AuthKind) *house {
	h := &house{t: t, name: map[emailinttest.AuthKind]string{emailinttest.AuthGoogle: "gmail", emailinttest.AuthMicrosoft: "outlook", emailinttest.AuthRotating: "other"}[kind]}
	now := func() time.Time { return h.Now() }
	h.auth = emailinttest.NewAuthServer(kind, &emailinttest.AuthOptions{Now: now})
	redirect := base + "/oauth/" + h.name + "/callback"
	h.auth.Register(emailinttest.AuthClient{ID: app, Secret: "app-secret", Redirects: []string{redirect}})
	h.fake = providertest.NewFake(providertest.Gmail, provider.Profile{Address: emailinttest.Owner}, now)
	h.World = emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.BaseURL, o.HTTP = base, h.auth.Client()
		o.Providers = append(o.Providers, h.auth.Provider(h.name, h.fake))
		o.Apps = map[string]emailint.App{h.name: {ClientID: app, ClientSecret: "app-secret", RedirectURI: redirect}}
		o.Session = func(r *http.Request) (emailint.Session, error) {
			c, err := r.Cookie("session")
			if err != nil {
				return emailint.Session{}, err
			}
			user, _, _ := strings.Cut(c.Value, "-")
			return emailint.Session{ID: c.Value, Org: emailinttest.Org, User: user}, nil
		}
		h.opts = *o
	}))
	h.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
	return h
}

// get is a browser's request to the CRM, in a session of a user.
func (h *house) get(session, at string) *http.Response {
	h.t.Helper()
	r := httptest.NewRequestWithContext(h.t.Context(), http.MethodGet, at, nil)
	r.Host = "evil.example"
	r.AddCookie(&http.Cookie{Name: "session", Value: session})
	w := httptest.NewRecorder()
	h.Engine.Handler().ServeHTTP(w, r)
	res := w.Result()
	for k, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if got := res.Header.Get(k); got != want {
			h.t.Errorf("%s of %s is %q, want %q", k, at, got, want)
		}
	}
	return res
}

// start begins and goes to the service; it returns where the service sends the browser back.
func (h *house) start(session, query string) string {
	h.t.Helper()
	res := h.get(session, base+"/oauth/"+h.name+"/start?"+query)
	to := res.Header.Get("Location")
	u, err := url.Parse(to)
	if err != nil || res.StatusCode != http.StatusFound || !strings.HasPrefix(to, h.auth.Issuer()) {
		h.t.Fatalf("start answered %d to %q", res.StatusCode, to)
	}
	if got, want := u.Query().Get("redirect_uri"), base+"/oauth/"+h.name+"/callback"; got != want {
		h.t.Errorf("the redirect URI is %q, want %q", got, want)
	}
	back, err := h.auth.Visit(h.t.Context(), to)
	if err != nil {
		h.t.Fatal(err)
	}
	return back
}

// connect goes all the way, and returns what the CRM's own page is told.
func (h *house) connect(session, query string) url.Values {
	h.t.Helper()
	return h.arrives(h.get(session, h.start(session, "return=/settings/email&"+query)))
}

func (h *house) arrives(res *http.Response) url.Values {
	h.t.Helper()
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != http.StatusFound || u.Path != "/settings/email" || u.Host != "" {
		h.t.Fatalf("callback answered %d to %q", res.StatusCode, u)
	}
	return u.Query()
}

func (h *house) connection(id string) emailint.Connection {
	h.t.Helper()
	cs, err := h.State.Connections(h.t.Context(), emailinttest.Org)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, c := range cs {
		if fmt.Sprint(c.ID) == id {
			return c
		}
	}
	h.t.Fatalf("there is no connection %q", id)
	return emailint.Connection{}
}

func (h *house) sync(c emailint.Connection) error {
	return h.Engine.Sync(h.t.Context(), emailinttest.Org, c.ID)
}

func TestConnectingByOAuth(t *testing.T) {
	for _, kind := range []emailinttest.AuthKind{emailinttest.AuthGoogle, emailinttest.AuthMicrosoft, emailinttest.AuthRotating} {
		t.Run(string(kind), func(t *testing.T) {
			h := signingIn(t, kind)
			got := h.connect("ann-1", "")
			if got.Get("problem") != "" {
				t.Fatalf("the page is told %q", got)
			}
			c := h.connection(got.Get("connected"))
			if c.User != "ann" || c.Address != emailinttest.Owner || c.State != state.Connected || c.Subject == "" || c.Client != app {
				t.Errorf("the connection is %+v", c)
			}
			for i := range 5 {
				h.fake.Deliver([]byte(mail("ada@customer.example", emailinttest.Owner, fmt.Sprint(i))), h.Now(), provider.RoleInbox)
				if err := h.sync(c); err != nil {
					t.Fatal(err)
				}
				h.Advance(50 * time.Minute)
			}
			if n := len(h.CRM.Emails(emailinttest.Org)); n != 5 {
				t.Errorf("the CRM has %d emails, want 5", n)
			}
			if n := h.auth.Count(emailinttest.AuthRefresh); n != 2 {
				t.Errorf("in 200 minutes tokens of an hour were refreshed %d times, want twice", n)
			}
			runs, err := h.State.Runs(t.Context(), emailinttest.Org, c.ID)
			if err != nil || len(runs) != 1 {
				t.Fatalf("%d runs: %v", len(runs), err)
			}
			// Again, by the same person: it is the same connection, and goes on where it was.
			if again := h.connect("ann-2", "connection="+fmt.Sprint(c.ID)); again.Get("connected") != fmt.Sprint(c.ID) {
				t.Errorf("connected again, the page is told %v", again)
			}
			if err := h.sync(c); err != nil {
				t.Error(err)
			}
			if runs, err := h.State.Runs(t.Context(), emailinttest.Org, c.ID); err != nil || len(runs) != 1 {
				t.Errorf("it is imported again: %d runs, %v", len(runs), err)
			}
			// A second mailbox of the same user is another connection, with an import of its own.
			other := providertest.NewFake(providertest.Gmail, provider.Profile{Address: "ann.private@example.net"}, h.Now)
			h.opts.Providers[1].(*emailinttest.AuthProvider).Mailbox("second", other)
			h.auth.SignIn(emailinttest.AuthUser{Subject: "second", Address: "ann.private@example.net"})
			if second := h.connect("ann-2", ""); second.Get("connected") == "" || second.Get("connected") == fmt.Sprint(c.ID) {
				t.Errorf("a second mailbox: the page is told %v", second)
			}
		})
	}
}

// What goes wrong is said in a sentence, and by whom it can be mended.
func TestWhatGoesWrongAtConsent(t *testing.T) {
	for _, c := range []struct {
		name     string
		do       func(h *house) url.Values
		who, say string
	}{
		{"the user refuses", func(h *house) url.Values {
			h.auth.Refuse("access_denied", "")
			return h.connect("ann-1", "")
		}, "user", "not granted"},
		{"a policy forbids it", func(h *house) url.Values {
			h.auth.Refuse("admin_policy_enforced", "")
			return h.connect("ann-1", "")
		}, "admin", "administrator"},
		{"the secret has expired", func(h *house) url.Values {
			h.auth.ExpireSecret(app)
			return h.connect("ann-1", "")
		}, "operator", "client secret"},
		{"the service is down", func(h *house) url.Values {
			h.auth.Fail(emailinttest.AuthExchange, 1, emailinttest.AuthFault{Status: 503})
			return h.connect("ann-1", "")
		}, "", "may pass"},
		{"the app was changed meanwhile", func(h *house) url.Values {
			back := h.start("ann-1", "return=/settings/email")
			s := emailint.DefaultSettings()
			s.Apps = map[string]emailint.App{"gmail": {ClientID: "another", ClientSecret: "x", RedirectURI: base + "/oauth/gmail/callback"}}
			if _, err := h.Engine.SetSettings(h.t.Context(), emailinttest.Org, s, 1); err != nil {
				h.t.Fatal(err)
			}
			return h.arrives(h.get("ann-1", back))
		}, "", "changed meanwhile"},
		{"another's mailbox", func(h *house) url.Values {
			had := h.connect("ann-1", "").Get("connected")
			h.auth.SignIn(emailinttest.AuthUser{Subject: "somebody else", Address: emailinttest.Owner})
			return h.connect("ann-1", "connection="+had)
		}, "user", "another mailbox"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := signingIn(t, emailinttest.AuthGoogle)
			got := c.do(h)
			if got.Get("connected") != "" || got.Get("who") != c.who || !strings.Contains(got.Get("problem"), c.say) {
				t.Errorf("the page is told %v, want %q and %q", got, c.who, c.say)
			}
		})
	}
}

// asking is a service that also asks for leave to send, and to read the address book.
type asking struct{ *emailinttest.AuthProvider }

func (p asking) OAuth(a provider.OAuthApp) provider.OAuth {
	o := p.AuthProvider.OAuth(a)
	o.Scopes = append(o.Scopes, provider.OAuthScope{Name: "mail.send", For: "send mail", By: []string{"mail.everything"}},
		provider.OAuthScope{Name: "contacts.read", For: "read the address book", Optional: true})
	return o
}

// People may untick: what is needed and missing is named, and half an access does not stand. What is optional may be missing, and a wider
// scope is enough.
func TestGranularConsent(t *testing.T) {
	const modify = "https://www.googleapis.com/auth/gmail.modify"
	for _, c := range []struct {
		ticked  []string
		problem string
	}{
		{[]string{modify, "contacts.read"}, "not allowed to send mail (mail.send)"},
		{[]string{"mail.send", "contacts.read"}, modify},
		{[]string{modify, "mail.send"}, ""},
		{[]string{modify, "mail.send", "contacts.read"}, ""},
	} {
		h := signingIn(t, emailinttest.AuthGoogle)
		h.opts.Providers[1] = asking{h.opts.Providers[1].(*emailinttest.AuthProvider)}
		var err error
		if h.Engine, err = emailint.New(h.opts); err != nil {
			t.Fatal(err)
		}
		h.auth.SignIn(emailinttest.AuthUser{Subject: "s", Address: emailinttest.Owner}, c.ticked...)
		got := h.connect("ann-1", "")
		switch {
		case c.problem == "" && got.Get("connected") == "", c.problem != "" && (got.Get("who") != "user" || !strings.Contains(got.Get("problem"), c.problem)):
			t.Errorf("ticked %v: the page is told %v, want %q", c.ticked, got, c.problem)
		case c.problem != "" && h.auth.Count(emailinttest.AuthRevoke) != 1:
			t.Errorf("ticked %v: half an access stands", c.ticked)
		}
	}
}

// A sign-in comes back once, in time, to the session and the address that began it. Otherwise nothing is connected.
func TestForeignAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(h *house, back string) *http.Response
	}{
		{"without state", func(h *house, back string) *http.Response {
			u, _ := url.Parse(back)
			q := u.Query()
			q.Del("state")
			u.RawQuery = q.Encode()
			return h.get("ann-1", u.String())
		}},
		{"with a state of one's own", func(h *house, back string) *http.Response {
			u, _ := url.Parse(back)
			q := u.Query()
			q.Set("state", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
			u.RawQuery = q.Encode()
			return h.get("ann-1", u.String())
		}},
		{"too late", func(h *house, back string) *http.Response {
			h.Advance(10*time.Minute + time.Second)
			return h.get("ann-1", back)
		}},
		{"in another session", func(h *house, back string) *http.Response { return h.get("ann-2", back) }},
		{"of another user", func(h *house, back string) *http.Response { return h.get("bob-1", back) }},
		{"without a session", func(h *house, back string) *http.Response {
			r := httptest.NewRequestWithContext(h.t.Context(), http.MethodGet, back, nil)
			w := httptest.NewRecorder()
			h.Engine.Handler().ServeHTTP(w, r)
			return w.Result()
		}},
		{"by another provider's address", func(h *house, back string) *http.Response {
			return h.get("ann-1", strings.Replace(back, "/gmail/", "/fake/", 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := signingIn(t, emailinttest.AuthGoogle)
			back := h.start("ann-1", "return=/settings/email")
			if res := c.do(h, back); res.StatusCode < 400 {
				t.Errorf("it answers %d to %q", res.StatusCode, res.Header.Get("Location"))
			}
			if n := h.auth.Count(emailinttest.AuthExchange); n != 0 {
				t.Errorf("%d codes were exchanged", n)
			}
			cs, err := h.State.Connections(t.Context(), emailinttest.Org)
			if err != nil || len(cs) != 1 {
				t.Errorf("%d connections: %v", len(cs), err)
			}
		})
	}
	h := signingIn(t, emailinttest.AuthGoogle)
	back := h.start("ann-1", "")
	if res := h.get("ann-1", back); res.StatusCode != http.StatusOK { // no page to return to
		t.Errorf("the first answer: %d", res.StatusCode)
	}
	if res := h.get("ann-1", back); res.StatusCode < 400 {
		t.Errorf("replayed, it answers %d", res.StatusCode)
	}
}

func TestTheBrowserStaysAtHome(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	for _, to := range []string{"//evil.example", "https://evil.example/", `/\evil.example`, "/\t/evil.example", "evil", "javascript:alert(1)", "/x\r\nSet-Cookie: a=b"} {
		res := h.get("ann-1", base+"/oauth/gmail/start?return="+url.QueryEscape(to))
		if res.StatusCode < 400 || res.Header.Get("Location") != "" {
			t.Errorf("return=%q answers %d to %q", to, res.StatusCode, res.Header.Get("Location"))
		}
	}
	// The page of a problem runs nothing that a stranger wrote.
	h.auth.Refuse("access_denied", "<script>alert(1)</script>")
	res := h.get("ann-1", h.start("ann-1", ""))
	var b strings.Builder
	if _, err := fmt.Fprint(&b, res.Header); err != nil || res.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("headers %s, %v", b.String(), err)
	}
}

// Whose fault it is decides what becomes of the mailbox.
func TestRefusedTokens(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(h *house)
		want  state.ConnState
		say   string
	}{
		{"withdrawn by the user", func(h *house) { h.auth.Withdraw("owner", app) }, state.NeedsUser, "connect the mailbox again"},
		{"the secret has expired", func(h *house) { h.auth.ExpireSecret(app) }, state.Misconfigured, "client secret"},
		{"the service answers 500", func(h *house) {
			h.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Status: 500})
		}, state.Connected, "500"},
		{"no connection", func(h *house) {
			h.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Cut: true})
		}, state.Connected, "does not answer"},
		{"asked too often", func(h *house) {
			h.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Status: 429, RetryAfter: time.Minute})
		}, state.Connected, "rate limited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := signingIn(t, emailinttest.AuthGoogle)
			h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
			conn := h.connection(h.connect("ann-1", "").Get("connected"))
			if err := h.sync(conn); err != nil {
				t.Fatal(err)
			}
			h.Advance(2 * time.Hour)
			c.spoil(h)
			if err := h.sync(conn); err == nil {
				t.Error("the pass says that all is well")
			}
			got := h.connection(fmt.Sprint(conn.ID))
			if got.State != c.want || !strings.Contains(got.Reason, c.say) {
				t.Errorf("the mailbox is %q (%s), want %q (%s)", got.State, got.Reason, c.want, c.say)
			}
			if strings.Contains(got.Reason, "app-secret") || strings.Contains(got.Reason, "refresh_token") {
				t.Errorf("the reason shows a secret: %s", got.Reason)
			}
			if c.want != state.Connected {
				return
			}
			h.Advance(5 * time.Minute)
			if err := h.sync(conn); err != nil {
				t.Errorf("it does not heal: %v", err)
			}
		})
	}
}

// What another program was given is taken over without another consent.
func TestAdopt(t *testing.T) {
	for _, kind := range []emailinttest.AuthKind{emailinttest.AuthGoogle, emailinttest.AuthMicrosoft, emailinttest.AuthRotating} {
		h := signingIn(t, kind)
		h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
		how := h.opts.Providers[1].(provider.Authorizer).OAuth(provider.OAuthApp{ClientID: app})
		conf := oauth2.Config{ClientID: app, ClientSecret: "app-secret", Endpoint: how.Endpoint, RedirectURL: base + "/oauth/" + h.name + "/callback"}
		for _, s := range how.Scopes {
			conf.Scopes = append(conf.Scopes, s.Name)
		}
		verifier := oauth2.GenerateVerifier()
		opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
		for k, v := range how.Params {
			opts = append(opts, oauth2.SetAuthURLParam(k, v))
		}
		back, err := h.auth.Visit(t.Context(), conf.AuthCodeURL("x", opts...))
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := conf.Exchange(context.WithValue(t.Context(), oauth2.HTTPClient, h.auth.Client()), u.Query().Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		a := emailint.Adoption{User: "ann", Provider: h.name, RefreshToken: emailint.Secret(tok.RefreshToken)}
		if strings.Contains(fmt.Sprintf("%+v", a), tok.RefreshToken) {
			t.Error("an Adoption prints its token")
		}
		c, err := h.Engine.Adopt(t.Context(), emailinttest.Org, a)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if c.Address != emailinttest.Owner || c.Subject == "" || c.Client != app {
			t.Errorf("%s: the connection is %+v", kind, c)
		}
		h.Advance(2 * time.Hour)
		if err := h.sync(c); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		var action *provider.NeedsAction
		a.RefreshToken = "another's"
		if _, err := h.Engine.Adopt(t.Context(), emailinttest.Org, a); !errors.As(err, &action) || action.Who != provider.User || strings.Contains(err.Error(), "another's") {
			t.Errorf("%s: a token that is none: %v", kind, err)
		}
	}
}

// A token that the service takes no more before its time is over is refreshed at once, not when it would have ended.
func TestATokenThatIsRefusedEarly(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	h.auth.Withdraw("owner", app)
	if err := h.sync(c); err == nil {
		t.Fatal("a withdrawn access is still good")
	}
	if got := h.connection(fmt.Sprint(c.ID)); got.State != state.NeedsUser {
		t.Errorf("the mailbox is %q (%s), want that its user is asked at once", got.State, got.Reason)
	}
	h.connect("ann-1", "")
	if err := h.sync(c); err != nil {
		t.Error(err)
	}
}

func TestDisconnect(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	one := h.connection(h.connect("ann-1", "").Get("connected"))
	two := h.connection(h.connect("bob-1", "").Get("connected")) // a shared mailbox: the same account, by another user
	if one.ID == two.ID {
		t.Fatal("two users have one connection")
	}
	h.fake.Deliver([]byte(mail("ada@customer.example", emailinttest.Owner, "1")), h.Now(), provider.RoleInbox)
	if err := errors.Join(h.sync(one), h.sync(two)); err != nil {
		t.Fatal(err)
	}
	got, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, one.ID)
	if err != nil || got.Revoked || !strings.Contains(got.Kept, "another mailbox") {
		t.Errorf("the first: %+v, %v", got, err)
	}
	if c := h.connection(fmt.Sprint(one.ID)); c.State != state.Disconnected || len(c.Credential) != 0 {
		t.Errorf("the first is %v with a credential of %d bytes", c.State, len(c.Credential))
	}
	h.Advance(2 * time.Hour)
	if err := h.sync(two); err != nil {
		t.Errorf("the other ended with it: %v", err)
	}
	if err := h.sync(one); err == nil {
		t.Error("a disconnected mailbox is worked on")
	}
	if got, err = h.Engine.Disconnect(t.Context(), emailinttest.Org, two.ID); err != nil || !got.Revoked || got.Kept != "" {
		t.Errorf("the last: %+v, %v", got, err)
	}
	if n := len(h.CRM.Emails(emailinttest.Org)); n != 1 {
		t.Errorf("the CRM has %d emails, want one", n)
	}
	// Connected again it goes on where it was.
	if again := h.connect("ann-1", ""); again.Get("connected") != fmt.Sprint(one.ID) {
		t.Errorf("connected again: %v", again)
	}
	runs, err := h.State.Runs(t.Context(), emailinttest.Org, one.ID)
	if err := h.sync(one); err != nil {
		t.Error(err)
	}
	after, err2 := h.State.Runs(t.Context(), emailinttest.Org, one.ID)
	if err != nil || err2 != nil || len(after) != len(runs) {
		t.Errorf("%d runs, then %d: %v, %v", len(runs), len(after), err, err2)
	}

	ms := signingIn(t, emailinttest.AuthMicrosoft)
	c := ms.connection(ms.connect("ann-1", "").Get("connected"))
	if got, err := ms.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID); err != nil || got.Revoked || !strings.Contains(got.Kept, "remove the app") {
		t.Errorf("where nothing can be revoked: %+v, %v", got, err)
	}
	if got, err := ms.Engine.Disconnect(t.Context(), emailinttest.Org, ms.Connection.ID); err != nil || got.Revoked || !strings.Contains(got.Kept, "password") {
		t.Errorf("a password: %+v, %v", got, err)
	}
}

// An observing copy refreshes nothing: with rotation that would end production's access.
func TestACopyOfProductionRefreshesNothing(t *testing.T) {
	h := signingIn(t, emailinttest.AuthRotating)
	h.opts.Deployment = "production"
	prod, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := prod.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	h.opts.Deployment = "laptop"
	laptop, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	h.Advance(2 * time.Hour)
	if err := laptop.Sync(t.Context(), emailinttest.Org, c.ID); !errors.Is(err, emailint.ErrObserving) {
		t.Errorf("Sync = %v", err)
	}
	if n := h.auth.Count(emailinttest.AuthRefresh); n != 0 {
		t.Errorf("%d refreshes", n)
	}
	h.Advance(5 * time.Minute)
	if err := prod.Sync(context.Background(), emailinttest.Org, c.ID); err != nil {
		t.Error(err)
	}
}
