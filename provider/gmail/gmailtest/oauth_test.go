package gmailtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

const redirect = "https://crm.example/oauth/google"

// app is an OAuth client by x/oauth2.
type app struct {
	t   *testing.T
	s   *gmailtest.Server
	cfg oauth2.Config
	ctx context.Context
}

func newApp(t *testing.T, s *gmailtest.Server, testing bool, scopes ...string) *app {
	s.Register(gmailtest.App{ID: "crm", Secret: "sesame", Redirects: []string{redirect}, Testing: testing})
	if scopes == nil {
		scopes = []string{"openid", "email", gmailtest.ScopeModify}
	}
	return &app{t, s, oauth2.Config{ClientID: "crm", ClientSecret: "sesame", RedirectURL: redirect, Endpoint: s.Endpoint(), Scopes: scopes},
		context.WithValue(t.Context(), oauth2.HTTPClient, s.Client())}
}

// connect goes through consent and exchange.
func (a *app) connect(opts ...oauth2.AuthCodeOption) (*oauth2.Token, error) {
	a.t.Helper()
	v := oauth2.GenerateVerifier()
	back, err := a.s.Visit(a.t.Context(), a.cfg.AuthCodeURL("st", append(slices.Clone(opts), oauth2.S256ChallengeOption(v))...))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(back)
	if err != nil || u.Query().Get("state") != "st" || !strings.HasPrefix(back, redirect+"?") {
		a.t.Fatalf("sent back to %s, %v", back, err)
	}
	if e := u.Query().Get("error"); e != "" {
		return nil, errors.New(e)
	}
	return a.cfg.Exchange(a.ctx, u.Query().Get("code"), oauth2.VerifierOption(v))
}

// refresh uses a refresh token.
func (a *app) refresh(refresh string) (*oauth2.Token, string) {
	tok, err := a.cfg.TokenSource(a.ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	if e := (*oauth2.RetrieveError)(nil); errors.As(err, &e) {
		return nil, e.ErrorCode
	}
	if err != nil {
		return nil, err.Error()
	}
	return tok, ""
}

// read reports whether an access token reads mail.
func (a *app) read(access string) string {
	c := &http.Client{Transport: &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: access}), Base: a.s.Transport()}}
	svc, err := gmail.NewService(a.t.Context(), option.WithHTTPClient(c), option.WithEndpoint(a.s.URL()))
	if err != nil {
		a.t.Fatal(err)
	}
	_, err = svc.Users.Messages.List("me").Do()
	return failure(err)
}

var offline = []oauth2.AuthCodeOption{oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent")}

func TestConnecting(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	s.AddUser("bob@example.com")
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, false)
	tok, err := a.connect(append(slices.Clone(offline), oauth2.SetAuthURLParam("login_hint", "ada@example.com"), oidc.Nonce("n1"))...)
	if err != nil {
		t.Fatal(err)
	}
	granted := strings.Fields(tok.Extra("scope").(string))
	if !slices.Contains(granted, gmailtest.ScopeModify) || !slices.Contains(granted, "https://www.googleapis.com/auth/userinfo.email") || tok.RefreshToken == "" {
		t.Errorf("granted %v, refresh token %q", granted, tok.RefreshToken)
	}
	v := oidc.NewVerifier(gmailtest.Issuer, oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), s.Client()), s.KeysURL()), &oidc.Config{ClientID: "crm", Now: c.now})
	id, err := v.Verify(t.Context(), tok.Extra("id_token").(string))
	if err != nil || id.Subject != ada.Subject || id.Nonce != "n1" {
		t.Errorf("id_token %+v, %v", id, err)
	}
	if got := a.read(tok.AccessToken); got != "none" {
		t.Error(got)
	}
	resp, err := (&http.Client{Transport: &oauth2.Transport{Source: oauth2.StaticTokenSource(tok), Base: s.Transport()}}).Get(s.URL() + "v1/userinfo")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), ada.Subject) || !strings.Contains(string(b), ada.Address) {
		t.Errorf("userinfo %s, %v", b, err)
	}
	resp.Body.Close()
	c.advance(time.Hour)
	if got := a.read(tok.AccessToken); got != "401 authError" {
		t.Errorf("an access token after an hour: %s", got)
	}
	next, code := a.refresh(tok.RefreshToken)
	if code != "" || next.RefreshToken != tok.RefreshToken || next.AccessToken == tok.AccessToken || a.read(next.AccessToken) != "none" {
		t.Errorf("refreshed %+v, %s: Google does not rotate", next, code)
	}
	// Someone who has consented before gets a refresh token only with prompt=consent.
	for what, x := range map[string]struct {
		opts []oauth2.AuthCodeOption
		want bool
	}{"again": {offline[:1], false}, "again with prompt=consent": {offline, true}, "online": {offline[1:], false}} {
		tok, err := a.connect(append(slices.Clone(x.opts), oauth2.SetAuthURLParam("login_hint", "ada@example.com"))...)
		if err != nil || (tok.RefreshToken != "") != x.want {
			t.Errorf("%s: refresh token %v, %v", what, tok.RefreshToken != "", err)
		}
	}
}

func TestConsentIsGranular(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	for _, x := range []struct {
		what   string
		asked  []string
		ticked []string
		want   string // "" refused
	}{
		{"two, one unticked", []string{"openid", gmailtest.ScopeReadonly, gmailtest.ScopeSend}, []string{gmailtest.ScopeSend}, "openid " + gmailtest.ScopeSend},
		{"two, none", []string{"openid", gmailtest.ScopeReadonly, gmailtest.ScopeSend}, []string{}, "openid"},
		{"one is all or nothing", []string{"openid", gmailtest.ScopeModify}, []string{}, ""},
	} {
		a := newApp(t, s, false, x.asked...)
		s.OnConsent(func(r gmailtest.ConsentRequest) gmailtest.Consent {
			if r.App != "crm" || !slices.Equal(r.Scopes, x.asked) {
				t.Errorf("asked %+v", r)
			}
			return gmailtest.Consent{User: ada, Scopes: x.ticked}
		})
		tok, err := a.connect(offline...)
		switch {
		case x.want == "":
			if err == nil || err.Error() != "access_denied" {
				t.Errorf("%s: %v", x.what, err)
			}
		case err != nil:
			t.Errorf("%s: %v", x.what, err)
		case tok.Extra("scope") != x.want:
			t.Errorf("%s: %v, want %s", x.what, tok.Extra("scope"), x.want)
		}
	}
	s.OnConsent(func(gmailtest.ConsentRequest) gmailtest.Consent {
		return gmailtest.Consent{Error: "admin_policy_enforced"}
	})
	if _, err := newApp(t, s, false).connect(); err == nil || err.Error() != "admin_policy_enforced" {
		t.Error(err)
	}
	s.OnConsent(nil)
	a := newApp(t, s, false, gmailtest.ScopeSend)
	if _, err := a.connect(); err != nil {
		t.Fatal(err)
	}
	a = newApp(t, s, false, gmailtest.ScopeReadonly)
	tok, err := a.connect(oauth2.SetAuthURLParam("include_granted_scopes", "true"))
	if err != nil || !strings.Contains(tok.Extra("scope").(string), gmailtest.ScopeSend) {
		t.Errorf("with what was granted before: %v, %v", tok.Extra("scope"), err)
	}
}

func TestWhatTokensDieOf(t *testing.T) {
	for _, x := range []struct {
		what            string
		testing         bool
		kill            func(s *gmailtest.Server, u *gmailtest.User, c *clock, a *app, tok *oauth2.Token)
		refresh, access bool // they live
	}{
		{"nothing", false, func(*gmailtest.Server, *gmailtest.User, *clock, *app, *oauth2.Token) {}, true, true},
		{"the user takes it back", false, func(_ *gmailtest.Server, u *gmailtest.User, _ *clock, _ *app, _ *oauth2.Token) { u.Revoke() }, false, false},
		{"another password", false, func(_ *gmailtest.Server, u *gmailtest.User, _ *clock, _ *app, _ *oauth2.Token) { u.ChangePassword() }, false, true},
		{"stale access", false, func(_ *gmailtest.Server, u *gmailtest.User, _ *clock, _ *app, _ *oauth2.Token) { u.ExpireAccess() }, true, false},
		{"the app revokes", false, func(s *gmailtest.Server, _ *gmailtest.User, _ *clock, _ *app, tok *oauth2.Token) {
			revoke(s, tok.RefreshToken)
		}, false, false},
		{"the app revokes by the access token", false, func(s *gmailtest.Server, _ *gmailtest.User, _ *clock, _ *app, tok *oauth2.Token) {
			revoke(s, tok.AccessToken)
		}, false, false},
		{"a week in testing", true, func(_ *gmailtest.Server, _ *gmailtest.User, c *clock, _ *app, _ *oauth2.Token) {
			c.advance(7 * 24 * time.Hour)
		}, false, false},
		{"a week", false, func(_ *gmailtest.Server, _ *gmailtest.User, c *clock, _ *app, _ *oauth2.Token) {
			c.advance(7 * 24 * time.Hour)
		}, true, false},
		{"half a year unused", false, func(_ *gmailtest.Server, _ *gmailtest.User, c *clock, _ *app, _ *oauth2.Token) {
			c.advance(190 * 24 * time.Hour)
		}, false, false},
		{"99 more", false, func(_ *gmailtest.Server, _ *gmailtest.User, _ *clock, a *app, _ *oauth2.Token) { a.again(99) }, true, true},
		{"100 more", false, func(_ *gmailtest.Server, _ *gmailtest.User, _ *clock, a *app, _ *oauth2.Token) { a.again(100) }, false, true},
	} {
		s, c := newServer(gmailtest.Options{})
		u := s.AddUser("ada@example.com")
		a := newApp(t, s, x.testing)
		tok, err := a.connect(offline...)
		if err != nil {
			t.Fatal(err)
		}
		x.kill(s, u, c, a, tok)
		if got := a.read(tok.AccessToken) == "none"; got != x.access {
			t.Errorf("%s: the access token lives: %v", x.what, got)
		}
		if _, code := a.refresh(tok.RefreshToken); (code == "") != x.refresh || code != "" && code != "invalid_grant" {
			t.Errorf("%s: refreshing says %q", x.what, code)
		}
	}
}

func (a *app) again(n int) {
	for range n {
		if _, err := a.connect(offline...); err != nil {
			a.t.Fatal(err)
		}
	}
}

func revoke(s *gmailtest.Server, token string) {
	resp, err := s.Client().PostForm(s.RevokeURL(), url.Values{"token": {token}})
	if err == nil {
		resp.Body.Close()
	}
}

func TestTheAuthorizationServerIsStrict(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	s.AddUser("ada@example.com")
	a := newApp(t, s, false)
	v := oauth2.GenerateVerifier()
	for what, change := range map[string]func(*oauth2.Config){
		"another redirect": func(c *oauth2.Config) { c.RedirectURL += "/" }, "another app": func(c *oauth2.Config) { c.ClientID = "else" },
	} {
		cfg := a.cfg
		change(&cfg)
		if back, err := s.Visit(t.Context(), cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(v))); err == nil {
			t.Errorf("%s: sent back to %s", what, back)
		}
	}
	if back, err := s.Visit(t.Context(), a.cfg.AuthCodeURL("st")); err != nil || !strings.Contains(back, "error=invalid_request") {
		t.Errorf("without PKCE: %s, %v", back, err)
	}
	code := func() string {
		back, err := s.Visit(t.Context(), a.cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(v)))
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(back)
		return u.Query().Get("code")
	}
	exchange := func(cfg oauth2.Config, code, verifier string) string {
		_, err := cfg.Exchange(a.ctx, code, oauth2.VerifierOption(verifier))
		if e := (*oauth2.RetrieveError)(nil); errors.As(err, &e) {
			return e.ErrorCode
		}
		if err != nil {
			return err.Error()
		}
		return ""
	}
	wrong := a.cfg
	wrong.ClientSecret = "wrong"
	if got := exchange(wrong, code(), v); got != "invalid_client" {
		t.Errorf("a wrong secret: %q", got)
	}
	if got := exchange(a.cfg, code(), oauth2.GenerateVerifier()); got != "invalid_grant" {
		t.Errorf("another verifier: %q", got)
	}
	used := code()
	tok, err := a.cfg.Exchange(a.ctx, used, oauth2.VerifierOption(v))
	if err != nil {
		t.Fatal(err)
	}
	if got := exchange(a.cfg, used, v); got != "invalid_grant" || a.read(tok.AccessToken) != "401 authError" {
		t.Errorf("a code twice: %q, and what it gave: %s", got, a.read(tok.AccessToken))
	}
	old := code()
	c.advance(10 * time.Minute)
	if got := exchange(a.cfg, old, v); got != "invalid_grant" {
		t.Errorf("an old code: %q", got)
	}
	s.FailToken(1, gmailtest.Fault{Reason: "temporarily_unavailable", Status: 503})
	if got := exchange(a.cfg, code(), v); got != "temporarily_unavailable" {
		t.Errorf("a fault: %q", got)
	}
	s.FailToken(1, gmailtest.Fault{Status: 500})
	if _, got := a.refresh("1//0none"); !strings.Contains(got, "500") && got != "" {
		t.Errorf("a server error: %q", got)
	}
}

// The sources that tests have without an app die as refresh tokens do.
func TestTokenSources(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := &app{t: t, s: s}
	for what, kill := range map[string]func(){"revoked": ada.Revoke, "another password": ada.ChangePassword} {
		src := ada.TokenSource(gmailtest.ScopeModify)
		tok := must(src.Token())(t)
		if a.read(tok.AccessToken) != "none" {
			t.Errorf("%s: %s", what, a.read(tok.AccessToken))
		}
		kill()
		src.(interface{ Refuse(string) }).Refuse(tok.AccessToken)
		if e := (*oauth2.RetrieveError)(nil); !errors.As(second(src.Token()), &e) || e.ErrorCode != "invalid_grant" {
			t.Errorf("%s: %v", what, second(src.Token()))
		}
		if got := a.read(must(ada.TokenSource(gmailtest.ScopeModify).Token())(t).AccessToken); got != "none" {
			t.Errorf("%s, connected again: %s", what, got)
		}
	}
	src := ada.TokenSource(gmailtest.ScopeModify)
	first := must(src.Token())(t)
	if must(src.Token())(t) != first {
		t.Error("another token at once")
	}
	c.advance(time.Hour)
	if next := must(src.Token())(t); next.AccessToken == first.AccessToken || a.read(next.AccessToken) != "none" || a.read(first.AccessToken) != "401 authError" {
		t.Error("after an hour")
	}
}

// The tokens may be another authorization server's.
func TestTokensOfAnotherServer(t *testing.T) {
	v := &valid{}
	s, _ := newServer(gmailtest.Options{Tokens: v})
	v.subject = s.AddUser("ada@example.com").Subject
	a := &app{t: t, s: s}
	if got := a.read("mine"); got != "none" {
		t.Error(got)
	}
	if got := a.read("other"); got != "401 authError" {
		t.Error(got)
	}
}

type valid struct{ subject string }

func (v *valid) Valid(token string) (string, []string, bool) {
	return v.subject, []string{gmailtest.ScopeReadonly}, token == "mine"
}
