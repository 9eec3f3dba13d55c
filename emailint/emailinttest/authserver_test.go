package emailinttest_test

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/emailinttest"
)

const (
	modify   = "https://www.googleapis.com/auth/gmail.modify"
	labels   = "https://www.googleapis.com/auth/gmail.labels"
	mailAddr = "https://www.googleapis.com/auth/userinfo.email"
	callback = "https://crm.example.com/oauth/callback?from=mail"
)

var kinds = []emailinttest.AuthKind{emailinttest.AuthGoogle, emailinttest.AuthMicrosoft, emailinttest.AuthRotating}

// app is a registered client with what a browser and an HTTP client do for it.
type app struct {
	t   *testing.T
	s   *emailinttest.AuthServer
	ctx context.Context // with the client that reaches the server
	cfg oauth2.Config
}

func newApp(t *testing.T, k emailinttest.AuthKind) *app {
	s := emailinttest.NewAuthServer(k, nil)
	s.Register(emailinttest.AuthClient{ID: "crm", Secret: "crm secret+%", Redirects: []string{callback, "https://crm.example.com/other"},
		Scopes: []string{modify, labels, "openid", "email", "offline_access"}})
	s.Register(emailinttest.AuthClient{ID: "stranger", Secret: "its own", Redirects: []string{callback}})
	s.Register(emailinttest.AuthClient{ID: "stranger+2", Secret: "its own"})
	return &app{t: t, s: s, ctx: context.WithValue(t.Context(), oauth2.HTTPClient, s.Client()), cfg: oauth2.Config{
		ClientID: "crm", ClientSecret: "crm secret+%", Endpoint: s.Endpoint(), RedirectURL: callback,
		Scopes: []string{modify, labels, "openid", "email", "offline_access"},
	}}
}

const verifier = "an-unguessable-verifier-of-43-characters-or-more"

// visit goes through the consent page and returns what the callback is given.
func (a *app) visit(params ...string) url.Values {
	a.t.Helper()
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oauth2.AccessTypeOffline, oauth2.ApprovalForce}
	for i := 0; i < len(params); i += 2 {
		opts = append(opts, oauth2.SetAuthURLParam(params[i], params[i+1]))
	}
	back, err := a.s.Visit(a.ctx, a.cfg.AuthCodeURL("s t+te", opts...))
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		a.t.Fatal(err)
	}
	return u.Query()
}

// connect is a whole consent.
func (a *app) connect(params ...string) *oauth2.Token {
	a.t.Helper()
	tok, err := a.cfg.Exchange(a.ctx, a.visit(params...).Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		a.t.Fatal(err)
	}
	return tok
}

// again refreshes with a refresh token.
func (a *app) again(refresh string) (*oauth2.Token, error) {
	return a.cfg.TokenSource(a.ctx, &oauth2.Token{RefreshToken: refresh}).Token()
}

// post sends a form and returns status, JSON and header.
func (a *app) post(at string, form url.Values, change func(*http.Request)) (int, map[string]any, http.Header) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r)
	}
	resp, err := a.s.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	var v map[string]any
	_ = json.Unmarshal(b, &v) // pages are not JSON
	return resp.StatusCode, v, resp.Header
}

func (a *app) valid(tok *oauth2.Token) bool {
	_, _, ok := a.s.Valid(tok.AccessToken)
	return ok
}

// code is the OAuth code of an error, "" for none.
func code(err error) string {
	var r *oauth2.RetrieveError
	if errors.As(err, &r) {
		return r.ErrorCode
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func claims(t *testing.T, tok *oauth2.Token, secret string) map[string]any {
	t.Helper()
	raw, _ := tok.Extra("id_token").(string)
	head, sig, ok := cutLast(raw)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(head))
	if !ok || sig != base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) {
		t.Fatalf("the id_token %q is not signed with the secret", raw)
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(head, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func cutLast(s string) (string, string, bool) {
	i := strings.LastIndex(s, ".")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func TestAuthServerFlow(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newApp(t, k)
				a.s.SignIn(emailinttest.AuthUser{Subject: "ada-1", Address: "ada@example.com", Tenant: "t-1"})
				back := a.visit("nonce", "n-1")
				// RFC 6749, 3.1.2 and 4.1.2; RFC 9207.
				if back.Get("from") != "mail" || back.Get("state") != "s t+te" || back.Get("iss") != a.s.Issuer() {
					t.Errorf("the callback got %v", back)
				}
				tok, err := a.cfg.Exchange(a.ctx, back.Get("code"), oauth2.VerifierOption(verifier))
				if err != nil {
					t.Fatal(err)
				}
				scope := map[emailinttest.AuthKind]string{
					emailinttest.AuthGoogle:    modify + " " + labels + " openid " + mailAddr + " offline_access",
					emailinttest.AuthMicrosoft: modify + " " + labels + " openid email",
				}[k]
				scope = cmp.Or(scope, modify+" "+labels+" openid email offline_access")
				if tok.Extra("scope") != scope || tok.ExpiresIn != 3600 || tok.Type() != "Bearer" || tok.RefreshToken == "" {
					t.Errorf("the answer was scope %q, expires_in %d, type %s", tok.Extra("scope"), tok.ExpiresIn, tok.Type())
				}
				c := claims(t, tok, "crm secret+%")
				want := map[string]any{"iss": a.s.Issuer(), "aud": "crm", "sub": "ada-1", "email": "ada@example.com", "nonce": "n-1",
					"iat": float64(time.Now().Unix()), "exp": float64(time.Now().Unix() + 3600)}
				if k == emailinttest.AuthMicrosoft {
					want["oid"], want["tid"], want["sub"] = "ada-1", "t-1", c["sub"]
					if c["sub"] == "ada-1" || c["email_verified"] != nil {
						t.Errorf("sub is %v, email_verified %v", c["sub"], c["email_verified"])
					}
				}
				for name, v := range want {
					if c[name] != v {
						t.Errorf("claim %s is %v, want %v", name, c[name], v)
					}
				}
				who, scopes, ok := a.s.Valid(tok.AccessToken)
				if !ok || who != "ada-1" || strings.Join(scopes, " ") != scope {
					t.Errorf("the access token is %s's for %v, %v", who, scopes, ok)
				}

				time.Sleep(time.Hour - time.Second)
				if !a.valid(tok) {
					t.Error("the access token died before its time")
				}
				time.Sleep(time.Second)
				if a.valid(tok) {
					t.Error("the access token is valid after an hour")
				}
				fresh, err := a.cfg.TokenSource(a.ctx, tok).Token()
				if err != nil {
					t.Fatal(err)
				}
				if fresh.AccessToken == tok.AccessToken || !a.valid(fresh) || fresh.Extra("scope") != scope || claims(t, fresh, "crm secret+%")["aud"] != "crm" {
					t.Errorf("refreshing gave scope %q", fresh.Extra("scope"))
				}
				for token, want := range map[string]int{tok.RefreshToken: 1, back.Get("code"): 0, "refresh-0": 0} {
					if n := a.s.Refreshes(token); n != want {
						t.Errorf("%d refreshes with %s", n, token)
					}
				}
				for step, n := range map[emailinttest.AuthStep]int{
					emailinttest.AuthAuthorize: 1, emailinttest.AuthExchange: 1, emailinttest.AuthRefresh: 1, emailinttest.AuthRevoke: 0,
				} {
					if got := a.s.Count(step); got != n {
						t.Errorf("%d requests to %s, want %d", got, step, n)
					}
				}
				if l := a.s.Log(); len(l) != 3 || l[1].Client != "crm" || l[1].Token != back.Get("code") || l[1].Status != 200 || strings.Contains(l[1].String(), l[1].Token) {
					t.Errorf("the log is %v", l)
				}
			})
		})
	}
}

func TestAuthServerListens(t *testing.T) {
	s := emailinttest.NewAuthServer(emailinttest.AuthMicrosoft, nil)
	srv := s.Listen()
	defer srv.Close()
	s.Register(emailinttest.AuthClient{ID: "crm", Secret: "s", Redirects: []string{callback}})
	cfg := oauth2.Config{ClientID: "crm", ClientSecret: "s", RedirectURL: callback, Scopes: []string{"openid", "offline_access"}, Endpoint: s.Endpoint()}
	// The tenant is ignored.
	cfg.Endpoint.AuthURL = srv.URL + "/common/authorize"
	cfg.Endpoint.TokenURL = srv.URL + "/organizations/token"
	back, err := s.Visit(t.Context(), cfg.AuthCodeURL("x", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(back)
	tok, err := cfg.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if claims(t, tok, "s")["iss"] != srv.URL || u.Query().Get("iss") != srv.URL {
		t.Error("the issuer is not the address")
	}
	// A cut over a real connection.
	s.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Cut: true, After: true})
	if _, err := cfg.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token(); err == nil || code(err) != err.Error() {
		t.Errorf("the cut connection gave %v", err)
	}
	// One that nobody answers until the caller gives up.
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Wait: make(chan struct{}), Reached: cancel})
	if _, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: tok.RefreshToken}).Token(); !errors.Is(err, context.Canceled) {
		t.Errorf("giving up gave %v", err)
	}
}

func TestAuthServerClientStaysHome(t *testing.T) {
	a := newApp(t, emailinttest.AuthGoogle)
	for _, at := range []string{"https://accounts.google.com/authorize", "http://google.test/authorize"} {
		if resp, err := a.s.Client().Get(at); err == nil {
			resp.Body.Close()
			t.Errorf("%s was answered", at)
		}
	}
	ctx, cancel := context.WithCancel(a.ctx)
	cancel()
	if _, err := a.cfg.Exchange(ctx, "x"); !errors.Is(err, context.Canceled) || len(a.s.Log()) != 0 {
		t.Errorf("cancelled: %v, %v", err, a.s.Log())
	}
}

// What the consent page refuses, by a page or at the callback.
func TestAuthServerConsentRefusals(t *testing.T) {
	a := newApp(t, emailinttest.AuthGoogle)
	good, err := url.Parse(a.cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	set := func(k, v string) func(url.Values) { return func(q url.Values) { q.Set(k, v) } }
	del := func(k string) func(url.Values) { return func(q url.Values) { q.Del(k) } }
	twice := func(k string) func(url.Values) { return func(q url.Values) { q.Add(k, q.Get(k)) } }
	for _, c := range []struct {
		name, want string // the error at the callback, "" for a code; or what a page names
		change     func(url.Values)
	}{
		{"nothing changed", "", func(url.Values) {}},
		{"unknown parameters are ignored", "", set("x", "y")},
		{"another registered redirect", "", set("redirect_uri", "https://crm.example.com/other")},
		{"unknown client", "page: client_id", set("client_id", "nobody")},
		{"no client", "page: client_id", del("client_id")},
		{"two clients", "page: Two", twice("client_id")},
		{"no redirect", "page: redirect_uri", del("redirect_uri")},
		{"two redirects", "page: Two", twice("redirect_uri")},
		{"redirect with a slash more", "page: redirect_uri", set("redirect_uri", "https://crm.example.com/other/")},
		{"redirect with a query more", "page: redirect_uri", set("redirect_uri", "https://crm.example.com/other?x=y")},
		{"redirect in capitals", "page: redirect_uri", set("redirect_uri", "https://CRM.example.com/other")},
		{"redirect elsewhere", "page: redirect_uri https://evil.example/", set("redirect_uri", "https://evil.example/")},
		{"state twice", "invalid_request", twice("state")},
		{"no response_type", "invalid_request", del("response_type")},
		{"implicit", "unsupported_response_type", set("response_type", "token")},
		{"no challenge", "invalid_request", del("code_challenge")},
		{"no method", "invalid_request", del("code_challenge_method")},
		{"plain", "invalid_request", set("code_challenge_method", "plain")},
		{"a challenge that is no hash", "invalid_request", set("code_challenge", "short")},
		{"no scope", "invalid_scope", del("scope")},
		{"a scope that is not the app's", "invalid_scope", set("scope", "openid https://mail.google.com/")},
		{"a scope of forbidden characters", "invalid_scope", set("scope", `openid "x"`)},
		{"the same for an app that may ask for anything", "invalid_scope", func(q url.Values) {
			q.Set("client_id", "stranger")
			q.Set("scope", `openid "x"`)
		}},
		{"a redirect with markup", "page: redirect_uri &lt;b&gt;", set("redirect_uri", "<b>")},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, q := *good, good.Query()
			c.change(q)
			u.RawQuery = q.Encode()
			back, err := a.s.Visit(t.Context(), u.String())
			if names, ok := strings.CutPrefix(c.want, "page: "); ok {
				if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), names) {
					t.Errorf("it went to %q, %v", back, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := url.Parse(back)
			if err != nil {
				t.Fatal(err)
			}
			got := b.Query()
			if got.Get("error") != c.want || (got.Get("code") == "") != (c.want != "") || got.Get("state") != "st" || got.Get("iss") != a.s.Issuer() {
				t.Errorf("the callback got %v", got)
			}
		})
	}
	if status, _, _ := a.post(good.String(), url.Values{"x": {"y"}}, nil); status != http.StatusMethodNotAllowed {
		t.Errorf("posting to it gave %d", status)
	}
}

func TestAuthServerConsentOfPeople(t *testing.T) {
	a := newApp(t, emailinttest.AuthGoogle)
	var seen emailinttest.AuthRequest
	a.s.OnConsent(func(r emailinttest.AuthRequest) emailinttest.AuthDecision {
		seen = r
		return emailinttest.AuthDecision{User: emailinttest.AuthUser{Subject: "u"}}
	})
	a.connect("login_hint", "ada@example.com")
	if seen.Client != "crm" || seen.Redirect != callback || seen.LoginHint != "ada@example.com" || seen.Prompt != "consent" ||
		!slices.Equal(seen.Scopes, a.cfg.Scopes) {
		t.Errorf("the page showed %+v", seen)
	}
	for _, refused := range []string{"access_denied", "admin_policy_enforced", "consent_required", "interaction_required", "temporarily_unavailable"} {
		a.s.Refuse(refused, "AADSTS90094: ask")
		if back := a.visit(); back.Get("error") != refused || back.Get("error_description") != "AADSTS90094: ask" || back.Get("code") != "" ||
			back.Get("state") != "s t+te" || back.Get("iss") != a.s.Issuer() {
			t.Errorf("%s came as %v", refused, back)
		}
	}
	a.s.Refuse("access_denied", "")
	if back := a.visit(); back.Has("error_description") {
		t.Errorf("no description came as %v", back)
	}
	// A test's own mistakes don't pass for people's decisions.
	for _, d := range []emailinttest.AuthDecision{{}, {User: emailinttest.AuthUser{Subject: "u"}, Scopes: []string{"gmail.modify"}}} {
		a.s.OnConsent(func(emailinttest.AuthRequest) emailinttest.AuthDecision { return d })
		if back, err := a.s.Visit(t.Context(), a.cfg.AuthCodeURL("x", oauth2.S256ChallengeOption(verifier))); err == nil {
			t.Errorf("%+v went to %s", d, back)
		}
	}
}

// Facts 1.1: with more than one scope besides those of the sign-in each has a box.
func TestAuthServerGranularConsent(t *testing.T) {
	user := emailinttest.AuthUser{Subject: "u"}
	for _, c := range []struct {
		name   string
		asked  []string
		ticked []string
		want   string // "" is access_denied
	}{
		{"all", []string{modify, labels, "openid", "email"}, nil, modify + " " + labels + " openid " + mailAddr},
		{"one of two", []string{modify, labels, "openid", "email"}, []string{labels}, labels + " openid " + mailAddr},
		{"none of two", []string{modify, labels, "openid", "email"}, []string{}, "openid " + mailAddr},
		{"none of two and no sign-in", []string{modify, labels}, []string{}, ""},
		{"no sign-in", []string{modify}, nil, modify},
		{"a single one can't be unticked", []string{modify, "openid"}, []string{"openid"}, ""},
		{"a long name for a short one", []string{modify, "email"}, []string{modify, mailAddr}, modify + " openid " + mailAddr},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, emailinttest.AuthGoogle)
			a.cfg.Scopes = c.asked
			a.s.OnConsent(func(emailinttest.AuthRequest) emailinttest.AuthDecision {
				return emailinttest.AuthDecision{User: user, Scopes: c.ticked}
			})
			back := a.visit()
			if c.want == "" {
				if back.Get("error") != "access_denied" {
					t.Errorf("the callback got %v", back)
				}
				return
			}
			tok, err := a.cfg.Exchange(a.ctx, back.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			if _, scopes, _ := a.s.Valid(tok.AccessToken); tok.Extra("scope") != c.want || strings.Join(scopes, " ") != c.want {
				t.Errorf("scope is %q, the token is good for %q", tok.Extra("scope"), scopes)
			}
			if _, signed := tok.Extra("id_token").(string); signed != strings.Contains(c.want, "openid") {
				t.Errorf("id_token: %v", signed)
			}
		})
	}
	// Facts 1.2: include_granted_scopes gives what was granted before as well.
	a := newApp(t, emailinttest.AuthGoogle)
	a.cfg.Scopes = []string{labels}
	a.connect()
	a.cfg.Scopes = []string{modify}
	if tok := a.connect(); tok.Extra("scope") != modify {
		t.Errorf("without it the scope is %q", tok.Extra("scope"))
	}
	if tok := a.connect("include_granted_scopes", "true"); tok.Extra("scope") != modify+" "+labels {
		t.Errorf("with it the scope is %q", tok.Extra("scope"))
	}
}
