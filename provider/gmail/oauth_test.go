package gmail_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func config(p *gmail.Provider) *oauth2.Config {
	how := p.OAuth(provider.OAuthApp{})
	c := &oauth2.Config{ClientID: "crm", ClientSecret: "secret", Endpoint: how.Endpoint, RedirectURL: "https://crm.example/callback"}
	for _, s := range how.Scopes {
		c.Scopes = append(c.Scopes, s.Name)
	}
	return c
}

// What the consent URL asks for is what Google's pages say (facts 1.1, 1.2).
func TestConsentURL(t *testing.T) {
	for ro, scopes := range map[bool]string{
		false: "https://www.googleapis.com/auth/gmail.modify openid email",
		true:  "https://www.googleapis.com/auth/gmail.readonly https://www.googleapis.com/auth/gmail.send openid email",
	} {
		p := gmail.New(&gmail.Options{ReadOnly: ro})
		how := p.OAuth(provider.OAuthApp{})
		if how.Endpoint.AuthStyle != oauth2.AuthStyleInParams || how.Revoke != "https://oauth2.googleapis.com/revoke" ||
			how.Endpoint.TokenURL != "https://oauth2.googleapis.com/token" {
			t.Errorf("%+v", how)
		}
		var opts []oauth2.AuthCodeOption
		for k, v := range how.Params {
			opts = append(opts, oauth2.SetAuthURLParam(k, v))
		}
		u, err := url.Parse(config(p).AuthCodeURL("state", append(opts, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))...))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Host != "accounts.google.com" || q.Get("scope") != scopes || q.Get("access_type") != "offline" || q.Get("prompt") != "consent" || q.Get("code_challenge_method") != "S256" {
			t.Errorf("%s", u)
		}
		for _, s := range how.Scopes {
			if s.For == "" || s.Optional {
				t.Errorf("%+v", s)
			}
		}
	}
	if gmail.New(nil).Name() != "gmail" {
		t.Error("the name is stored with connections")
	}
}

// A person signs in at gmailtest, and the mailbox opens by what came of it.
func TestSignIn(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	end := w.srv.Endpoint()
	w.opts.AuthURL, w.opts.TokenURL, w.opts.RevokeURL = end.AuthURL, end.TokenURL, w.srv.RevokeURL()
	w.prov = gmail.New(&w.opts)
	w.srv.Register(gmailtest.App{ID: "crm", Secret: "secret", Redirects: []string{"https://crm.example/callback"}})
	c := config(w.prov)
	verifier := oauth2.GenerateVerifier()
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	how := w.prov.OAuth(provider.OAuthApp{})
	for k, v := range how.Params {
		opts = append(opts, oauth2.SetAuthURLParam(k, v))
	}
	back, err := w.srv.Visit(t.Context(), c.AuthCodeURL("state", opts...))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	ctx := contextWith(t, w.srv.Client())
	tok, err := c.Exchange(ctx, u.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if sub, err := w.prov.Subject(tok); err != nil || sub == "" || strings.Contains(sub, "@") {
		t.Errorf("subject %q, %v", sub, err)
	}
	if tok.RefreshToken == "" {
		t.Error("no refresh token")
	}
	box, err := w.prov.OpenToken(ctx, oauth2.StaticTokenSource(tok))
	if err != nil {
		t.Fatal(err)
	}
	if prof, err := box.Profile(t.Context()); err != nil || prof.Address != owner {
		t.Errorf("%+v, %v", prof, err)
	}
}

func TestSubject(t *testing.T) {
	p := gmail.New(nil)
	for raw, want := range map[string]string{"": "", "e30.eyJzdWIiOiIxMDgifQ.x": "108", "e30.eyJzdWIiOiIxMDgifQ==.x": "108", "a.b": "!", "a.%.c": "!", "a.e30.c": ""} {
		tok := (&oauth2.Token{}).WithExtra(map[string]any{"id_token": raw})
		got, err := p.Subject(tok)
		if (want == "!") != (err != nil) || err == nil && got != want {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
		if err != nil && raw != "" && strings.Contains(err.Error(), raw) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}

func TestRefusal(t *testing.T) {
	p := gmail.New(nil)
	for code, who := range map[string]provider.Who{
		"invalid_grant": provider.User, "access_denied": provider.User, "admin_policy_enforced": provider.Admin, "org_internal": provider.Operator,
		"invalid_client": provider.Operator, "redirect_uri_mismatch": provider.Operator, "disallowed_useragent": provider.User, "temporarily_unavailable": "", "": "",
	} {
		a := p.Refusal(code, "")
		if who == "" && a != nil || who != "" && (a == nil || a.Who != who || a.Reason == "") {
			t.Errorf("%s: %+v", code, a)
		}
	}
}

// Google tells a topic of the app's own project, for seven days, and once more for another seven.
func TestWatch(t *testing.T) {
	watch := func(w *world, topic string) (provider.Watch, error) {
		w.opts.Topic, w.prov = topic, nil
		w.open(t)
		return w.prov.Watch(t.Context(), w.user.TokenSource(gmailtest.ScopeModify), nil)
	}
	now := day0
	w := newWorld(gmailtest.Options{Now: func() time.Time { return now }}, gmail.Options{})
	if _, err := watch(w, ""); !errors.Is(err, provider.ErrUnsupported) || !strings.Contains(err.Error(), "docs/setup-google.md") {
		t.Errorf("without a topic: %v", err)
	}
	if _, err := watch(w, "projects/other/topics/mail"); err == nil || !strings.Contains(err.Error(), "gmail-api-push") {
		t.Errorf("another project's topic: %v", err)
	}
	topic := w.srv.Topic("mail")
	w.srv.Grant(topic, false)
	if _, err := watch(w, topic); err == nil || !strings.Contains(err.Error(), "gmail-api-push") {
		t.Errorf("a topic that Gmail may not publish to: %v", err)
	}
	w.srv.Grant(topic, true)
	for range 2 {
		if got, err := watch(w, topic); err != nil || !got.Expires.Equal(now.AddDate(0, 0, 7)) || got.Handle != nil {
			t.Errorf("%+v, %v", got, err)
		}
		now = now.AddDate(0, 0, 1)
	}
	for range 2 {
		if err := w.prov.Unwatch(t.Context(), w.user.TokenSource(gmailtest.ScopeModify), nil); err != nil {
			t.Error(err)
		}
	}
}
