package emailint_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
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
	left bool // of a process that died: what it took was not ended
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

// elsewhere is the refresh token that another program of the host's was given.
func (h *house) elsewhere() string {
	t := h.t
	t.Helper()
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
	return tok.RefreshToken
}

// What another program was given is taken over without another consent.
func TestAdopt(t *testing.T) {
	for _, kind := range []emailinttest.AuthKind{emailinttest.AuthGoogle, emailinttest.AuthMicrosoft, emailinttest.AuthRotating} {
		h := signingIn(t, kind)
		h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
		token := h.elsewhere()
		a := emailint.Adoption{User: "ann", Provider: h.name, RefreshToken: emailint.Secret(token)}
		if strings.Contains(fmt.Sprintf("%+v", a), token) {
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

// nameless is a provider whose tokens name nobody, as those of a program that did not ask who signs in.
type nameless struct {
	*emailinttest.AuthProvider
	server *emailinttest.AuthServer
	names  bool
}

func (n *nameless) Subject(t *oauth2.Token) (string, error) {
	if !n.names {
		return "", nil
	}
	return n.AuthProvider.Subject(t)
}

func (n *nameless) OpenToken(ctx context.Context, tokens oauth2.TokenSource) (provider.Mailbox, error) {
	box, err := n.AuthProvider.OpenToken(ctx, tokens)
	if err != nil {
		return nil, err
	}
	t, err := tokens.Token()
	if err != nil {
		return nil, err
	}
	subject, _, _ := n.server.Valid(t.AccessToken)
	return named{box, "service's " + subject}, nil
}

// named is a mailbox whose service knows its owner by a name.
type named struct {
	provider.Mailbox
	subject string
}

func (n named) Unwrap() provider.Mailbox { return n.Mailbox }

func (n named) Profile(ctx context.Context) (provider.Profile, error) {
	p, err := n.Mailbox.Profile(ctx)
	p.Subject = n.subject
	return p, err
}

// A mailbox that was adopted by a token that names nobody is the same one when its owner consents, and the service says who that is in other words.
func TestAdoptedMailboxIsReconnected(t *testing.T) {
	h := signingIn(t, emailinttest.AuthMicrosoft)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	n := &nameless{AuthProvider: h.opts.Providers[1].(*emailinttest.AuthProvider), server: h.auth}
	h.opts.Providers[1] = n
	h.again()
	c, err := h.Engine.Adopt(t.Context(), emailinttest.Org, emailint.Adoption{User: "ann", Provider: h.name, RefreshToken: emailint.Secret(h.elsewhere())})
	if err != nil {
		t.Fatal(err)
	}
	n.names = true
	for _, query := range []string{"", "connection=" + fmt.Sprint(c.ID)} {
		if got := h.connect("ann-1", query); got.Get("connected") != fmt.Sprint(c.ID) {
			t.Errorf("%q: it came back with %v", query, got)
		}
	}
	if err := h.sync(c); err != nil {
		t.Error(err)
	}
	// Another account is another mailbox.
	h.auth.SignIn(emailinttest.AuthUser{Subject: "other", Address: "other@acme.example"})
	if got := h.connect("ann-1", "connection="+fmt.Sprint(c.ID)); got.Has("connected") {
		t.Errorf("another account: %v", got)
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

// Whoever withdrew the access and connects again is back at once: what this process remembers of the former grant counts no more.
func TestConnectedAgainTheFormerTokensAreForgotten(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	other, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.sync(c), other.Sync(t.Context(), emailinttest.Org, c.ID)); err != nil {
		t.Fatal(err)
	}
	h.auth.Withdraw("owner", app)
	if err := h.sync(c); err == nil {
		t.Fatal("the access was withdrawn, and it works")
	}
	h.connect("ann-1", "connection="+fmt.Sprint(c.ID))
	if err := h.sync(c); err != nil {
		t.Errorf("connected again: %v", err)
	}
	if err := other.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Errorf("in another process: %v", err)
	}
}

// Half a consent doesn't end the access that a mailbox of the same account and app lives by: services end the whole grant.
func TestHalfAConsentEndsNoMailbox(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.opts.Providers[1] = asking{h.opts.Providers[1].(*emailinttest.AuthProvider)}
	var err error
	if h.Engine, err = emailint.New(h.opts); err != nil {
		t.Fatal(err)
	}
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner}, "mail.send")
	if got := h.connect("ann-1", "connection="+fmt.Sprint(c.ID)); got.Get("problem") == "" {
		t.Fatalf("the page is told %v", got)
	}
	h.Advance(2 * time.Hour)
	if err := h.sync(c); err != nil {
		t.Errorf("the mailbox that worked ended: %v", err)
	}
}

// A copy of production begins and ends no access at the service.
func TestACopyOfProductionRevokesNothing(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
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
	if h.Engine, err = emailint.New(h.opts); err != nil {
		t.Fatal(err)
	}
	if got := h.arrives(h.get("ann-1", base+"/oauth/gmail/start?return=/settings/email")); !strings.Contains(got.Get("problem"), "observes") {
		t.Errorf("who connects at the copy is told %v", got)
	}
	got, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID)
	if err != nil || got.Revoked || got.Kept == "" {
		t.Errorf("Disconnect = %+v, %v", got, err)
	}
	if n := h.auth.Count(emailinttest.AuthRevoke); n != 0 {
		t.Errorf("%d accesses were ended", n)
	}
}

// What is not a password is not called one, also the second time.
func TestAReceiptOfWhatHasNoCredentialLeft(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	for range 2 {
		got, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID)
		if err != nil || strings.Contains(got.Kept, "password") {
			t.Errorf("Disconnect = %+v, %v", got, err)
		}
	}
}

// meanwhile does something before the state of a connection is set.
type meanwhile struct {
	state.Store
	do func()
}

func (s *meanwhile) SetState(ctx context.Context, org string, id int64, st state.ConnState, reason string) error {
	s.do()
	return s.Store.SetState(ctx, org, id, st, reason)
}

// What is ended at the service is the token that was stored last, not one that was rotated away meanwhile: services confirm that as well (RFC 7009, 2.2).
func TestWhatIsEndedIsTheNewestToken(t *testing.T) {
	h := signingIn(t, emailinttest.AuthRotating)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	store := &meanwhile{Store: h.opts.State}
	store.do = func() {
		h.Advance(2 * time.Hour)
		if err := h.sync(c); err != nil {
			t.Error(err)
		}
	}
	h.opts.State = store
	e, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Disconnect(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	ended := ""
	for _, call := range h.auth.Log() {
		if call.Step == emailinttest.AuthRevoke {
			ended = call.Token
		}
	}
	if n := h.auth.Refreshes(ended); ended == "" || n != 0 || h.auth.Count(emailinttest.AuthRefresh) != 1 {
		t.Errorf("the token that was to end (%q) was refreshed %d times before", ended, n)
	}
}

// restarting fails to store credentials for a while.
type restarting struct {
	state.Store
	fail atomic.Int32
}

func (s *restarting) SetCredential(ctx context.Context, org string, id int64, version int64, sealed []byte) (int64, error) {
	if s.fail.Add(-1) >= 0 {
		return 0, errors.New("the database restarts")
	}
	return s.Store.SetCredential(ctx, org, id, version, sealed)
}

// Where the service took the former token back, the new one must not be lost with one failed write.
func TestATokenThatCouldNotBeStoredIsNotLost(t *testing.T) {
	h := signingIn(t, emailinttest.AuthRotating)
	store := &restarting{Store: h.opts.State}
	h.opts.State = store
	var err error
	if h.Engine, err = emailint.New(h.opts); err != nil {
		t.Fatal(err)
	}
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	h.Advance(2 * time.Hour)
	store.fail.Store(1)
	_ = h.sync(c)
	h.Advance(10 * time.Minute)
	if err := h.sync(c); err != nil {
		t.Errorf("after the database came back: %v", err)
	}
	if c := h.connection(fmt.Sprint(c.ID)); c.State != state.Connected {
		t.Errorf("the mailbox is %s: %s", c.State, c.Reason)
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

// A service that rotates tokens takes the former back. What it gave for it is not lost where the mailbox can't be opened then, however often: the same call
// goes on, in another process as well.
func TestAdoptGoesOn(t *testing.T) {
	for _, kind := range []emailinttest.AuthKind{emailinttest.AuthGoogle, emailinttest.AuthMicrosoft, emailinttest.AuthRotating} {
		h := signingIn(t, kind)
		h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
		a := emailint.Adoption{User: "ann", Provider: h.name, RefreshToken: emailint.Secret(h.elsewhere())}
		for range 3 {
			h.fake.FailNext(1, errors.New("the mail service has a bad day"))
			if _, err := h.Engine.Adopt(t.Context(), emailinttest.Org, a); err == nil {
				t.Fatalf("%s: adopted on a bad day", kind)
			}
			h.again()
			h.Advance(24 * time.Hour)
		}
		c, err := h.Engine.Adopt(t.Context(), emailinttest.Org, a)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		h.Advance(2 * time.Hour)
		if err := h.sync(c); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		// What was kept is gone. To adopt it again by the token of before is what a thief would do at a service that rotates.
		before := h.auth.Count(emailinttest.AuthRefresh)
		_, err = h.Engine.Adopt(t.Context(), emailinttest.Org, a)
		if (err != nil) != (kind == emailinttest.AuthRotating) || h.auth.Count(emailinttest.AuthRefresh) != before+1 {
			t.Errorf("%s: adopted twice: %v", kind, err)
		}
	}
}

// Without a new consent: when an administrator has approved, when a server takes the password again. What is ended by choice is not brought back by it.
func TestRetry(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	h.Advance(2 * time.Hour)
	refuse := func() {
		h.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Code: "admin_policy_enforced"})
	}
	is := func(want state.ConnState) {
		t.Helper()
		if got := h.connection(fmt.Sprint(c.ID)); got.State != want {
			t.Errorf("the mailbox is %s (%s), want %s", got.State, got.Reason, want)
		}
	}
	refuse()
	if err := h.sync(c); err == nil {
		t.Fatal("it works without leave")
	}
	is(state.NeedsAdmin)
	if err := h.sync(c); !errors.Is(err, state.ErrNoneDue) {
		t.Errorf("who waits for an administrator is worked on: %v", err)
	}
	// Not approved yet: one try.
	refuse()
	if err := h.Engine.As(emailint.Actor{Org: emailinttest.Org, User: "root", Admin: true}).Retry(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	is(state.Connected)
	_ = h.sync(c)
	is(state.NeedsAdmin)
	if err := h.Engine.Retry(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.sync(c); err != nil {
		t.Errorf("approved: %v", err)
	}
	is(state.Connected)
	if err := h.Engine.Retry(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Errorf("one that is connected: %v", err)
	}
	if _, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Engine.Retry(t.Context(), emailinttest.Org, c.ID); err == nil || !strings.Contains(err.Error(), "disconnected by its user") {
		t.Errorf("one that is disconnected: %v", err)
	}
	is(state.Disconnected)
	if err := h.Engine.Retry(t.Context(), "other", c.ID); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("another organisation's: %v", err)
	}
}

// A mailbox whose app the organisation put right is tried again, and one that waits for its user is not, as an app heals nothing there.
func TestACorrectedAppTriesItsMailboxes(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	right := emailint.App{ClientID: app, ClientSecret: "app-secret", RedirectURI: base + "/oauth/gmail/callback"}
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	wrong := right
	wrong.ClientSecret = "mistyped"
	set := func(a emailint.App) {
		t.Helper()
		s, version, err := h.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil {
			t.Fatal(err)
		}
		s.Apps = map[string]emailint.App{"gmail": a}
		if _, err := h.Engine.SetSettings(t.Context(), emailinttest.Org, s, version); err != nil {
			t.Fatal(err)
		}
	}
	set(wrong)
	h.Advance(2 * time.Hour)
	_ = h.sync(c)
	if got := h.connection(fmt.Sprint(c.ID)); got.State != state.Misconfigured {
		t.Fatalf("the mailbox is %s (%s)", got.State, got.Reason)
	}
	waits, err := h.State.AddConnection(t.Context(), state.Connection{Org: emailinttest.Org, User: "bob", Provider: "gmail", Address: "bob@example.com", State: state.NeedsUser}, state.Change{})
	if err != nil {
		t.Fatal(err)
	}
	set(right)
	if err := h.sync(c); err != nil {
		t.Errorf("the app is right: %v", err)
	}
	if got := h.connection(fmt.Sprint(waits.ID)); got.State != state.NeedsUser {
		t.Errorf("the other is %s", got.State)
	}
}

// Erase ends the access by the rule of Disconnect, and its receipt says so; a mailbox with a password has none to end.
func TestErasingRevokes(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	ann := h.connection(h.connect("ann-1", "").Get("connected"))
	bob := h.connection(h.connect("bob-1", "").Get("connected"))
	first, err := h.Engine.Erase(t.Context(), emailinttest.Org, ann.ID)
	if err != nil || first.Access.Revoked || !strings.Contains(first.Access.Kept, "another mailbox") || first.Done.IsZero() {
		t.Errorf("the first: %+v, %v", first, err)
	}
	if err := h.sync(bob); err != nil {
		t.Errorf("the other: %v", err)
	}
	h.auth.Fail(emailinttest.AuthRevoke, 1, emailinttest.AuthFault{Status: 500})
	second, err := h.Engine.Erase(t.Context(), emailinttest.Org, bob.ID)
	if err != nil || second.Access.Revoked || !strings.Contains(second.Access.Kept, "did not confirm") || second.Done.IsZero() {
		t.Errorf("the service does not answer: %+v, %v", second, err)
	}
	again, err := h.Engine.Erase(t.Context(), emailinttest.Org, bob.ID)
	if err != nil || again.Access != (emailint.Disconnection{}) || again.Connection != bob.ID {
		t.Errorf("once more: %+v, %v", again, err)
	}
	ann = h.connection(h.connect("ann-1", "").Get("connected"))
	third, err := h.Engine.Erase(t.Context(), emailinttest.Org, ann.ID)
	if err != nil || !third.Access.Revoked || third.Access.Kept != "" {
		t.Errorf("the last: %+v, %v", third, err)
	}
	password, err := h.Engine.Erase(t.Context(), emailinttest.Org, h.Connection.ID)
	if err != nil || password.Access != (emailint.Disconnection{}) {
		t.Errorf("by password: %+v, %v", password, err)
	}
}

// within is a host's wrapper of a provider: it says what it wraps.
type within struct{ provider.Provider }

func (w within) Unwrap() provider.Provider { return w.Provider }

// A provider that a host wrapped is signed in to, read and left like the one inside.
func TestAWrappedProviderSignsIn(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	h.opts.Providers[1] = within{h.opts.Providers[1]}
	h.again()
	q := h.connect("ann-1", "")
	if q.Get("connected") == "" {
		t.Fatalf("not connected: %v", q)
	}
	c := h.connection(q.Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	got, err := h.Engine.Erase(t.Context(), emailinttest.Org, c.ID)
	if err != nil || !got.Access.Revoked {
		t.Errorf("erased with %+v, %v", got.Access, err)
	}
}
