package graphtest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

var mailScopes = []string{"Mail.ReadWrite", "Mail.Send", "MailboxSettings.Read", "User.Read", "offline_access", "openid", "email", "profile"}

// site is an app that people connect.
type site struct {
	t   *testing.T
	s   *graphtest.Server
	cfg *oauth2.Config
	ctx context.Context
}

func newSite(t *testing.T, s *graphtest.Server, tenant string) *site {
	s.Register(graphtest.App{ID: "crm", Secret: "hush", Redirects: []string{"https://crm.example/cb"}})
	return &site{t, s, &oauth2.Config{ClientID: "crm", ClientSecret: "hush", Endpoint: s.Endpoint(tenant), RedirectURL: "https://crm.example/cb", Scopes: mailScopes},
		context.WithValue(t.Context(), oauth2.HTTPClient, s.Client())}
}

// consent sends a person to the consent page; what comes back.
func (x *site) consent(verifier string, opts ...oauth2.AuthCodeOption) (url.Values, error) {
	x.t.Helper()
	back, err := x.s.Visit(x.ctx, x.cfg.AuthCodeURL("st", append(opts, oauth2.S256ChallengeOption(verifier))...))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(back)
	if err != nil || !strings.HasPrefix(back, "https://crm.example/cb?") || u.Query().Get("state") != "st" {
		x.t.Fatalf("sent back to %s", back)
	}
	return u.Query(), nil
}

func (x *site) connect(opts ...oauth2.AuthCodeOption) *oauth2.Token {
	x.t.Helper()
	v := oauth2.GenerateVerifier()
	q, err := x.consent(v, opts...)
	if err != nil {
		x.t.Fatal(err)
	}
	if q.Get("error") != "" {
		x.t.Fatal(q)
	}
	tok, err := x.cfg.Exchange(x.ctx, q.Get("code"), oauth2.VerifierOption(v))
	if err != nil {
		x.t.Fatal(err)
	}
	return tok
}

func (x *site) refresh(tok *oauth2.Token) (*oauth2.Token, error) {
	return x.cfg.TokenSource(x.ctx, &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
}

// refused is the error and the number of AADSTS.
func refused(err error) string {
	e := (*oauth2.RetrieveError)(nil)
	if !errors.As(err, &e) {
		return "no refusal"
	}
	number, _, _ := strings.Cut(e.ErrorDescription, ":")
	return e.ErrorCode + " " + number
}

func TestConsentAndTokens(t *testing.T) {
	s, c := newServer(graphtest.Options{UserConsent: true})
	s.AddUser("bob@acme.example")
	ada := s.AddUser("ada@example.com")
	x := newSite(t, s, "common")
	tok := x.connect(oauth2.SetAuthURLParam("login_hint", "ada@example.com"), oauth2.SetAuthURLParam("nonce", "n1"))
	if got := tok.Extra("scope").(string); strings.Contains(got, "offline_access") || !strings.Contains(got, "Mail.ReadWrite") || tok.RefreshToken == "" {
		t.Errorf("granted %q", got)
	}
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), s.Client()), s.KeysURL())
	id, err := oidc.NewVerifier(strings.TrimSuffix(s.URL(), "/v1.0")+"/"+ada.Tenant+"/v2.0", keys, &oidc.Config{ClientID: "crm", Now: c.now}).Verify(x.ctx, tok.Extra("id_token").(string))
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ TID, OID, Email, Nonce string }
	if err := id.Claims(&claims); err != nil || claims.TID+"/"+claims.OID != ada.Subject || claims.Email != "ada@example.com" || claims.Nonce != "n1" {
		t.Errorf("claims %+v, %v", claims, err)
	}
	call := func(tok *oauth2.Token) string {
		a := &app{t: t, s: s, client: s.Client(), header: []string{"Authorization: Bearer " + tok.AccessToken}}
		return a.get("/me/messages").code()
	}
	if got := call(tok); got != "200" {
		t.Error(got)
	}
	c.advance(time.Hour)
	if got := call(tok); got != "401 InvalidAuthenticationToken" {
		t.Error(got)
	}
	// A refresh gives another refresh token, and the old one is as good as before.
	x.cfg.Endpoint = s.Endpoint(ada.Tenant)
	second, err := x.refresh(tok)
	if err != nil || second.RefreshToken == tok.RefreshToken || call(second) != "200" {
		t.Fatal(second, err)
	}
	if _, err := x.refresh(tok); err != nil || s.Refreshes() != 2 {
		t.Error(err)
	}
	c.advance(89 * 24 * time.Hour)
	third, err := x.refresh(second)
	if err != nil {
		t.Fatal(err)
	}
	c.advance(2 * 24 * time.Hour)
	if _, err := x.refresh(second); refused(err) != "invalid_grant AADSTS700082" {
		t.Error(err)
	}
	if _, err := x.refresh(third); err != nil {
		t.Error(err)
	}
	// A code is good once; what it gave dies with the second use.
	v := oauth2.GenerateVerifier()
	q, err := x.consent(v, oauth2.SetAuthURLParam("login_hint", "ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.cfg.Exchange(x.ctx, q.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier())); refused(err) != "invalid_grant AADSTS501481" {
		t.Error(err)
	}
	fourth, err := x.cfg.Exchange(x.ctx, q.Get("code"), oauth2.VerifierOption(v))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.cfg.Exchange(x.ctx, q.Get("code"), oauth2.VerifierOption(v)); refused(err) != "invalid_grant AADSTS54005" || call(fourth) == "200" {
		t.Error(err)
	}
	if _, err := x.refresh(fourth); refused(err) != "invalid_grant AADSTS700082" {
		t.Error(err)
	}
	long, _ := newServer(graphtest.Options{UserConsent: true, LongScopes: true})
	long.AddUser("ada@example.com")
	if tok := newSite(t, long, "common").connect(); !strings.Contains(tok.Extra("scope").(string), "https://graph.microsoft.com/Mail.Send") {
		t.Errorf("granted %q", tok.Extra("scope"))
	}
}

func TestWhoseFaultARefusalIs(t *testing.T) {
	s, c := newServer(graphtest.Options{UserConsent: true})
	ada := s.AddUser("ada@example.com")
	x := newSite(t, s, "organizations")
	tok := x.connect()
	for _, tt := range []struct {
		name     string
		do, undo func()
		want     string
	}{
		{"the sessions are revoked", ada.RevokeSessions, nil, "invalid_grant AADSTS50173"},
		{"a policy wants MFA", ada.RequireMFA, nil, "interaction_required AADSTS50076"},
		{"the consent is taken back", ada.Revoke, nil, "invalid_grant AADSTS65001"},
		{"the account is disabled", func() { ada.Disable(true) }, func() { ada.Disable(false) }, "invalid_grant AADSTS50057"},
		{"the app is removed", func() { s.RemoveApp(ada.Tenant, "crm") }, func() { s.AllowApp(ada.Tenant, "crm", "User.Read") }, "unauthorized_client AADSTS700016"},
		{"the secret is another", func() {
			s.Register(graphtest.App{ID: "crm", Secret: "new", Redirects: x.redirects()})
		}, func() { newSite(t, s, "") }, "invalid_client AADSTS7000215"},
		{"the secret has expired", func() {
			s.Register(graphtest.App{ID: "crm", Secret: "hush", Redirects: x.redirects(), SecretExpires: c.now()})
		}, func() { newSite(t, s, "") }, "invalid_client AADSTS7000222"},
		{"it is busy", func() {
			s.FailToken(1, graphtest.Fault{Status: 503, Code: "temporarily_unavailable", Message: "AADSTS90033: A transient error has occurred. Please try again.", RetryAfter: time.Minute})
		}, nil, "temporarily_unavailable AADSTS90033"},
		{"a scope is new", func() { x.cfg.Scopes = append(slices.Clone(mailScopes), "MailboxSettings.ReadWrite") }, func() { x.cfg.Scopes = mailScopes }, ""},
	} {
		tt.do()
		_, err := x.refresh(tok)
		if tt.want == "" {
			continue // x/oauth2 asks for no scopes with a refresh
		}
		if got := refused(err); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if tt.undo != nil {
			tt.undo()
		}
		tok = x.connect()
		if _, err := x.refresh(tok); err != nil {
			t.Errorf("after %s and a consent: %v", tt.name, err)
		}
	}
	s.FailToken(1, graphtest.BadGateway)
	if _, err := x.refresh(tok); err == nil || refused(err) != " " && !strings.Contains(err.Error(), "502") {
		t.Errorf("a gateway's page: %v", err)
	}
}

func (x *site) redirects() []string { return []string{x.cfg.RedirectURL} }

func TestAdministratorsAllow(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada, admin := s.AddUser("ada@example.com"), s.AddUser("admin@example.com")
	home := s.AddUser("ada@outlook.com")
	x := newSite(t, s, "common")
	v := oauth2.GenerateVerifier()
	q, err := x.consent(v)
	if err != nil || q.Get("error") != "access_denied" || !strings.HasPrefix(q.Get("error_description"), "AADSTS90094") {
		t.Fatal(q, err)
	}
	s.OnConsent(func(graphtest.ConsentRequest) graphtest.Consent { return graphtest.Consent{User: ada, Stay: true} })
	if _, err := x.consent(v); err == nil || !strings.Contains(err.Error(), "AADSTS90094") {
		t.Errorf("he stays at the page: %v", err)
	}
	x.cfg.Scopes = []string{"Mail.Send", "User.Read", "offline_access", "openid"} // not guarded
	x.connect()
	x.cfg.Scopes = mailScopes

	var asked graphtest.ConsentRequest
	s.OnConsent(func(r graphtest.ConsentRequest) graphtest.Consent { asked = r; return graphtest.Consent{User: admin} })
	link := strings.Replace(s.Endpoint("organizations").AuthURL, "oauth2/v2.0/authorize", "v2.0/adminconsent", 1) + "?" + url.Values{"client_id": {"crm"}, "redirect_uri": {"https://crm.example/cb"},
		"state": {"a1"}, "scope": {"https://graph.microsoft.com/Mail.ReadWrite https://graph.microsoft.com/MailboxSettings.Read"}}.Encode()
	back, err := s.Visit(t.Context(), link)
	if err != nil || !asked.Admin || !strings.Contains(back, "admin_consent=True") || !strings.Contains(back, "tenant="+ada.Tenant) || !strings.Contains(back, "state=a1") {
		t.Fatal(back, err)
	}
	s.OnConsent(func(graphtest.ConsentRequest) graphtest.Consent { return graphtest.Consent{User: ada} })
	tok := x.connect()
	// New scopes need the administrator again.
	x.cfg.Scopes = append(slices.Clone(mailScopes), "MailboxSettings.ReadWrite")
	if q, err := x.consent(v); err != nil || q.Get("error") != "access_denied" {
		t.Error(q, err)
	}
	x.cfg.Scopes = mailScopes
	s.AllowApp(ada.Tenant, "crm")
	if _, err := x.refresh(tok); refused(err) != "invalid_grant AADSTS65001" {
		t.Error(err)
	}
	// A personal account is its owner's, and has no administrator.
	s.OnConsent(func(graphtest.ConsentRequest) graphtest.Consent { return graphtest.Consent{User: home} })
	x.connect()
	if home.Tenant != graphtest.ConsumerTenant {
		t.Error(home.Tenant)
	}
	if _, err := s.Visit(t.Context(), link); err == nil || !strings.Contains(err.Error(), "AADSTS500200") {
		t.Error(err)
	}
	for tenant, ok := range map[string]bool{"common": true, "consumers": true, "organizations": false, ada.Tenant: false} {
		x.cfg.Endpoint = s.Endpoint(tenant)
		if _, err := x.consent(v); (err == nil) != ok {
			t.Errorf("%s: %v", tenant, err)
		}
	}
	s.OnConsent(func(graphtest.ConsentRequest) graphtest.Consent {
		return graphtest.Consent{User: ada, Error: "access_denied", Description: "AADSTS65004: User declined to consent to access the app."}
	})
	x.cfg.Endpoint = s.Endpoint("")
	if q, err := x.consent(v); err != nil || q.Get("error") != "access_denied" {
		t.Error(q, err)
	}
}

func TestConsentPageIsStrict(t *testing.T) {
	s, _ := newServer(graphtest.Options{UserConsent: true})
	s.AddUser("ada@example.com")
	x := newSite(t, s, "common")
	good := x.cfg.AuthCodeURL("st", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
	for name, bad := range map[string]string{
		"another redirect": strings.Replace(good, "%2Fcb", "%2Fcb%2F", 1),
		"an unknown app":   strings.Replace(good, "client_id=crm", "client_id=crn", 1),
	} {
		if back, err := s.Visit(t.Context(), bad); err == nil {
			t.Errorf("%s: sent to %s", name, back)
		}
	}
	for name, bad := range map[string]string{
		"no challenge": x.cfg.AuthCodeURL("st"), "plain": strings.Replace(good, "S256", "plain", 1), "implicit": strings.Replace(good, "response_type=code", "response_type=token", 1),
	} {
		if back, err := s.Visit(t.Context(), bad); err != nil || !strings.Contains(back, "error=") || strings.Contains(back, "code=") {
			t.Errorf("%s: %s, %v", name, back, err)
		}
	}
	s.Register(graphtest.App{ID: "crm", Secret: "hush", Redirects: x.redirects(), Tenant: "another"})
	if q, err := x.consent("v"); err == nil && q.Get("error") != "unauthorized_client" && q.Get("error") != "invalid_request" {
		t.Error(q)
	}
}

func TestClaimsChallenge(t *testing.T) {
	s, _ := newServer(graphtest.Options{UserConsent: true})
	ada := s.AddUser("ada@example.com")
	x := newSite(t, s, "common")
	tok := x.connect()
	call := func(access string) *answer {
		return (&app{t: t, s: s, client: s.Client(), header: []string{"Authorization: Bearer " + access}}).get("/me/messages")
	}
	want := `{"access_token":{"nbf":{"essential":true,"value":"1773144000"}}}`
	ada.RequireClaims(want)
	r := call(tok.AccessToken).want(t, "401 InvalidAuthenticationToken")
	h := r.header.Get("WWW-Authenticate")
	_, claims, _ := strings.Cut(h, `claims="`)
	b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(claims, `"`))
	if err != nil || string(b) != want || !strings.Contains(h, `error="insufficient_claims"`) {
		t.Fatalf("challenge %s", h)
	}
	again, err := x.refresh(tok) // without the claims
	if err != nil || call(again.AccessToken).code() != "401 InvalidAuthenticationToken" {
		t.Error(err)
	}
	resp, err := s.Client().PostForm(x.cfg.Endpoint.TokenURL, url.Values{"grant_type": {"refresh_token"}, "client_id": {"crm"}, "client_secret": {"hush"}, "refresh_token": {tok.RefreshToken}, "claims": {want}}) //nolint:noctx // memory
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		AccessToken string `json:"access_token"`
	}
	decode(t, resp, &got)
	call(got.AccessToken).want(t, "200")
	a := newApp(t, s, ada) // whose tokens answer it
	a.get("/me/messages").want(t, "200")
}

func TestTokensOfATest(t *testing.T) {
	s, c := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	src := ada.TokenSource(graphtest.ScopeRead)
	one, err := src.Token()
	if err != nil {
		t.Fatal(err)
	}
	src.(interface{ Refuse(string) }).Refuse(one.AccessToken)
	two, err := src.Token()
	if err != nil || two.AccessToken == one.AccessToken {
		t.Error(err)
	}
	ada.ExpireAccess()
	if r := (&app{t: t, s: s, client: s.Client(), header: []string{"Authorization: Bearer " + two.AccessToken}}).get("/me/messages"); r.status != http.StatusUnauthorized {
		t.Error(r.code())
	}
	ada.RevokeSessions()
	c.advance(2 * time.Hour)
	if _, err := src.Token(); refused(err) != "invalid_grant AADSTS50173" {
		t.Error(err)
	}
	if _, err := ada.TokenSource(graphtest.ScopeRead).Token(); err != nil {
		t.Error("a connection anew:", err)
	}
	newApp(t, s, ada, graphtest.ScopeRead).post("/me/mailFolders", obj{"displayName": "x"}).want(t, "403 ErrorAccessDenied")
	other, _ := newServer(graphtest.Options{Tokens: tokens{ada.Subject}})
	bob := other.AddUser("ada@example.com")
	if bob.Subject != ada.Subject {
		t.Fatal("the same salt gives the same subject")
	}
	(&app{t: t, s: other, client: other.Client(), header: []string{"Authorization: Bearer good"}}).get("/me/messages").want(t, "200")
}

// tokens is an authorization server of a test's own.
type tokens struct{ subject string }

func (k tokens) Valid(access string) (string, []string, bool) {
	return k.subject, []string{graphtest.ScopeRead}, access == "good"
}
