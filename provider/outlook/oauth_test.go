package outlook_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

var app = provider.OAuthApp{ClientID: "crm", ClientSecret: "secret", RedirectURI: "https://crm.example/callback"}

func config(p *outlook.Provider, app provider.OAuthApp) *oauth2.Config {
	how := p.OAuth(app)
	c := &oauth2.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: how.Endpoint, RedirectURL: app.RedirectURI}
	for _, s := range how.Scopes {
		c.Scopes = append(c.Scopes, s.Name)
	}
	return c
}

// What the consent URL asks for is what Microsoft's pages say (facts 2.1).
func TestConsentURL(t *testing.T) {
	for tenant, host := range map[string]string{"": "/common/", "organizations": "/organizations/", "72f988bf-86f1-41af-91ab-2d7cd011db47": "/72f988bf-86f1-41af-91ab-2d7cd011db47/",
		"a/../b": "/a%2F..%2Fb/"} {
		for colours, want := range map[bool]string{
			false: "Mail.ReadWrite Mail.Send MailboxSettings.Read User.Read offline_access openid email profile",
			true:  "Mail.ReadWrite Mail.Send MailboxSettings.ReadWrite User.Read offline_access openid email profile",
		} {
			p := outlook.New(&outlook.Options{ColorCategories: colours})
			a := app
			a.Tenant = tenant
			how := p.OAuth(a)
			if how.Endpoint.AuthStyle != oauth2.AuthStyleInParams || how.Revoke != "" || !strings.Contains(how.Endpoint.TokenURL, "https://login.microsoftonline.com"+host+"oauth2/v2.0/token") {
				t.Errorf("%+v", how)
			}
			u, err := url.Parse(config(p, a).AuthCodeURL("state", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			if u.Host != "login.microsoftonline.com" || !strings.Contains(u.EscapedPath(), host+"oauth2/v2.0/authorize") || q.Get("scope") != want || q.Get("code_challenge_method") != "S256" {
				t.Errorf("%s", u)
			}
		}
	}
	if outlook.New(nil).Name() != "outlook" {
		t.Error("the name is stored with connections")
	}
}

func TestAdminConsentURL(t *testing.T) {
	p := outlook.New(nil)
	for tenant, path := range map[string]string{"": "/organizations/v2.0/adminconsent", "common": "/organizations/v2.0/adminconsent", "contoso.com": "/contoso.com/v2.0/adminconsent"} {
		a := app
		a.Tenant = tenant
		u, err := url.Parse(p.AdminConsentURL(a, "st"))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Host != "login.microsoftonline.com" || u.Path != path || q.Get("client_id") != "crm" || q.Get("state") != "st" || q.Get("redirect_uri") != app.RedirectURI ||
			q.Get("scope") != "https://graph.microsoft.com/Mail.ReadWrite https://graph.microsoft.com/Mail.Send https://graph.microsoft.com/MailboxSettings.Read https://graph.microsoft.com/User.Read" {
			t.Errorf("%q: %s", tenant, u)
		}
	}
}

// signIn goes the way of a person's browser.
func signIn(t *testing.T, w *world, a provider.OAuthApp) (*oauth2.Token, *provider.NeedsAction) {
	t.Helper()
	c := config(w.prov, a)
	verifier := oauth2.GenerateVerifier()
	back, err := w.srv.Visit(t.Context(), c.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	if code := u.Query().Get("error"); code != "" {
		return nil, w.prov.Refusal(code, u.Query().Get("error_description"))
	}
	tok, err := c.Exchange(context.WithValue(t.Context(), oauth2.HTTPClient, w.srv.Client()), u.Query().Get("code"), oauth2.VerifierOption(verifier))
	var r *oauth2.RetrieveError
	if errors.As(err, &r) {
		return nil, w.prov.Refusal(r.ErrorCode, r.ErrorDescription)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tok, nil
}

func entra(t testing.TB, o graphtest.Options) *world {
	w := newWorld(t, o, outlook.Options{})
	w.opts.AuthURL = strings.Replace(w.srv.Endpoint("X").AuthURL, "X", "{tenant}", 1)
	w.opts.TokenURL = strings.Replace(w.srv.Endpoint("X").TokenURL, "X", "{tenant}", 1)
	w.opts.AdminConsentURL = strings.TrimSuffix(w.srv.URL(), "/v1.0") + "/{tenant}/v2.0/adminconsent"
	w.prov = outlook.New(&w.opts)
	w.srv.Register(graphtest.App{ID: app.ClientID, Secret: app.ClientSecret, Redirects: []string{app.RedirectURI}})
	return w
}

// A person signs in at graphtest, where an administrator has to allow the app first, and the mailbox opens by what came of it.
func TestSignIn(t *testing.T) {
	for _, long := range []bool{false, true} {
		w := entra(t, graphtest.Options{LongScopes: long})
		w.srv.OnConsent(func(r graphtest.ConsentRequest) graphtest.Consent { return graphtest.Consent{User: w.user} })
		_, refusal := signIn(t, w, app)
		if refusal == nil || refusal.Who != provider.Admin || !strings.Contains(refusal.Reason, "Admin consent") {
			t.Fatalf("before the administrator: %v", refusal)
		}
		back, err := w.srv.Visit(t.Context(), w.prov.AdminConsentURL(app, "s"))
		if err != nil || !strings.Contains(back, "admin_consent=True") || !strings.Contains(back, "state=s") {
			t.Fatalf("the page for administrators: %s, %v", back, err)
		}
		tok, refusal := signIn(t, w, app)
		if refusal != nil {
			t.Fatalf("after the administrator: %v", refusal)
		}
		if sub, err := w.prov.Subject(tok); err != nil || sub != w.user.Subject {
			t.Errorf("subject %q, %v, want %q", sub, err, w.user.Subject)
		}
		granted := strings.Fields(tok.Extra("scope").(string))
		for _, s := range w.prov.OAuth(app).Scopes {
			has := false
			for _, g := range granted {
				has = has || strings.EqualFold(g, s.Name)
				for _, by := range s.By {
					has = has || strings.EqualFold(g, by)
				}
			}
			if !has && !s.Optional {
				t.Errorf("%s is not found among %v", s.Name, granted)
			}
		}
		m, err := w.prov.OpenToken(t.Context(), oauth2.StaticTokenSource(tok))
		if err != nil {
			t.Fatal(err)
		}
		if p, err := m.Profile(t.Context()); err != nil || p.Address != owner {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

// Each refusal of Entra's, and who must act.
func TestRefusals(t *testing.T) {
	p := outlook.New(nil)
	for _, c := range []struct {
		code, description string
		who               provider.Who // "": as RFC 6749 has it
		says              string
	}{
		{"invalid_grant", "AADSTS50173: The provided grant has expired due to it being revoked", provider.User, "connect the mailbox again"},
		{"invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity.", provider.User, "90 days"},
		{"invalid_grant", "AADSTS50076: you must use multi-factor authentication", provider.User, "another sign-in"},
		{"interaction_required", "AADSTS50076: x", provider.User, "another sign-in"},
		{"interaction_required", "x", provider.User, "another sign-in"},
		{"invalid_grant", "AADSTS65001: The user or administrator has not consented", provider.Admin, "Admin consent"},
		{"invalid_grant", "AADSTS50057: The user account is disabled.", provider.Admin, "disabled"},
		{"invalid_grant", "AADSTS650010: not that one", provider.User, "connect the mailbox again"},
		{"consent_required", "", provider.Admin, "Admin consent"},
		{"access_denied", "AADSTS90094: admin permission", provider.Admin, "Admin consent"},
		{"access_denied", "the user canceled the authentication", provider.User, "not granted"},
		{"invalid_client", "AADSTS7000222: The provided client secret keys are expired.", provider.Operator, "expired"},
		{"invalid_client", "AADSTS7000215: Invalid client secret", provider.Operator, "secret's value"},
		{"unauthorized_client", "AADSTS700016: Application not found in the directory", provider.Operator, "Registration"},
		{"invalid_request", "AADSTS50011: The redirect URI", provider.Operator, "redirect URI"},
		{"invalid_scope", "", provider.Operator, "Permissions"},
		{"temporarily_unavailable", "", "", ""},
		{"server_error", "", "", ""},
		{"whatever", "", "", ""},
	} {
		a := p.Refusal(c.code, c.description)
		if c.who == "" {
			if a != nil {
				t.Errorf("%s: %v", c.code, a)
			}
			continue
		}
		if a == nil || a.Who != c.who || !strings.Contains(a.Reason, c.says) {
			t.Errorf("%s, %s: %v", c.code, c.description, a)
		}
		if a != nil && strings.Contains(a.Err.Error(), "canceled") {
			t.Errorf("Microsoft's words are in %v", a.Err)
		}
	}
}

func TestSubjects(t *testing.T) {
	p := outlook.New(nil)
	tok := func(id string) *oauth2.Token { return (&oauth2.Token{}).WithExtra(map[string]any{"id_token": id}) }
	for id, want := range map[string]string{
		"":                                 "",
		"x.eyJ0aWQiOiJ0Iiwib2lkIjoibyJ9.y": "t/o",
	} {
		if got, err := p.Subject(tok(id)); got != want || err != nil {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
	for _, id := range []string{"x", "x.y.z", "x.eyJzdWIiOiJzIn0.y", "x..y"} {
		if got, err := p.Subject(tok(id)); err == nil {
			t.Errorf("%q: %q", id, got)
		}
	}
}
