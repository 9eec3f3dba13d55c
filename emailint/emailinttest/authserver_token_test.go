package emailinttest_test

import (
	"context"
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

// What the token endpoint refuses.
func TestAuthServerTokenRefusals(t *testing.T) {
	for _, k := range kinds {
		set := func(k, v string) func(url.Values, *http.Request) {
			return func(f url.Values, _ *http.Request) { f.Set(k, v) }
		}
		del := func(k string) func(url.Values, *http.Request) {
			return func(f url.Values, _ *http.Request) { f.Del(k) }
		}
		basic := func(id, secret string, keep ...string) func(url.Values, *http.Request) {
			return func(f url.Values, r *http.Request) {
				for _, name := range []string{"client_id", "client_secret"} {
					if !slices.Contains(keep, name) {
						f.Del(name)
					}
				}
				r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
			}
		}
		unknown, unknownStatus := "invalid_client", 401
		if k == emailinttest.AuthMicrosoft {
			unknown, unknownStatus = "unauthorized_client", 400
		}
		for _, c := range []struct {
			name, want string
			status     int
			change     func(url.Values, *http.Request)
		}{
			{"nothing changed", "", 200, func(url.Values, *http.Request) {}},
			{"Basic", "", 200, basic("crm", "crm secret+%")},
			{"Basic, an id to be encoded", "invalid_grant", 400, basic("stranger+2", "its own")},
			{"Basic and the same id", "", 200, basic("crm", "crm secret+%", "client_id")},
			{"Basic and params", "invalid_request", 400, basic("crm", "crm secret+%", "client_id", "client_secret")},
			{"Basic and another id", "invalid_request", 400, basic("stranger", "its own", "client_id")},
			{"Basic, wrong", "invalid_client", 401, basic("crm", "no")},
			{"Basic, not encoded", "invalid_request", 400, func(f url.Values, r *http.Request) {
				basic("", "")(f, r)
				r.SetBasicAuth("crm", "crm secret+%")
			}},
			{"no secret", "invalid_client", 401, del("client_secret")},
			{"wrong secret", "invalid_client", 401, set("client_secret", "no")},
			{"unknown client", unknown, unknownStatus, set("client_id", "nobody")},
			{"another client", "invalid_grant", 400, func(f url.Values, _ *http.Request) {
				f.Set("client_id", "stranger")
				f.Set("client_secret", "its own")
			}},
			{"no grant_type", "invalid_request", 400, del("grant_type")},
			{"password", "unsupported_grant_type", 400, set("grant_type", "password")},
			{"no code", "invalid_request", 400, del("code")},
			{"unknown code", "invalid_grant", 400, set("code", "code-1")},
			{"no redirect", "invalid_grant", 400, del("redirect_uri")},
			{"another redirect of the client", "invalid_grant", 400, set("redirect_uri", "https://crm.example.com/other")},
			{"no verifier", "invalid_grant", 400, del("code_verifier")},
			{"another verifier", "invalid_grant", 400, set("code_verifier", verifier+"x")},
			{"the challenge as verifier", "invalid_grant", 400, set("code_verifier", oauth2.S256ChallengeFromVerifier(verifier))},
			{"a parameter twice", "invalid_request", 400, func(f url.Values, _ *http.Request) { f.Add("code", f.Get("code")) }},
			{"no refresh token", "invalid_request", 400, set("grant_type", "refresh_token")},
			{"unknown refresh token", "invalid_grant", 400, func(f url.Values, _ *http.Request) {
				f.Set("grant_type", "refresh_token")
				f.Set("refresh_token", "refresh-1")
			}},
			{"a secret in the address", "invalid_request", 400, func(_ url.Values, r *http.Request) { r.URL.RawQuery = "client_secret=x" }},
			{"JSON", "invalid_request", 400, func(_ url.Values, r *http.Request) { r.Header.Set("Content-Type", "application/json") }},
			{"GET", "", 405, func(_ url.Values, r *http.Request) { r.Method = http.MethodGet }},
		} {
			t.Run(string(k)+"/"+c.name, func(t *testing.T) {
				a := newApp(t, k)
				form := url.Values{"grant_type": {"authorization_code"}, "code": {a.visit().Get("code")}, "redirect_uri": {callback},
					"code_verifier": {verifier}, "client_id": {"crm"}, "client_secret": {"crm secret+%"}}
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.cfg.Endpoint.TokenURL, nil)
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				good := form.Encode()
				c.change(form, r)
				status, v, h := a.post(r.URL.String(), form, func(to *http.Request) { to.Method, to.Header = r.Method, r.Header })
				got, _ := v["error"].(string)
				if status != c.status || got != c.want || h.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %v", status, v)
				}
				if basic := r.Header.Get("Authorization") != ""; (h.Get("WWW-Authenticate") != "") != (basic && got == "invalid_client") {
					t.Errorf("WWW-Authenticate is %q", h.Get("WWW-Authenticate"))
				}
				if _, given := v["access_token"]; given != (c.want == "" && c.status == 200) {
					t.Errorf("%v", v)
				}
				// What was refused spends nothing.
				if f, err := url.ParseQuery(good); err != nil || status != 200 {
					if status, v, _ := a.post(a.cfg.Endpoint.TokenURL, f, nil); status != 200 {
						t.Errorf("afterwards the right request gave %d %v, %v", status, v, err)
					}
				}
			})
		}
	}
}

func TestAuthServerSecretsExpire(t *testing.T) {
	for _, k := range kinds {
		a := newApp(t, k)
		tok := a.connect()
		a.s.ExpireSecret("crm")
		_, err := a.again(tok.RefreshToken)
		if code(err) != "invalid_client" {
			t.Errorf("%s: %v", k, err)
		}
		if number := strings.Contains(err.Error(), "AADSTS7000222"); number != (k == emailinttest.AuthMicrosoft) {
			t.Errorf("%s: %v", k, err)
		}
		a.s.Register(emailinttest.AuthClient{ID: "crm", Secret: "new"})
		if _, err := a.again(tok.RefreshToken); code(err) != "invalid_client" {
			t.Errorf("%s: the old secret: %v", k, err)
		}
		a.cfg.ClientSecret = "new"
		if _, err := a.again(tok.RefreshToken); err != nil {
			t.Errorf("%s: the new secret: %v", k, err)
		}
		a.s.Register(emailinttest.AuthClient{ID: "crm"})
		if status, v, _ := a.post(a.cfg.Endpoint.TokenURL, url.Values{"grant_type": {"refresh_token"}, "client_id": {"crm"}}, nil); status != 401 {
			t.Errorf("%s: without any secret: %d %v", k, status, v)
		}
	}
}

func TestAuthServerCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, emailinttest.AuthRotating)
		redeem := func(c string) (*oauth2.Token, error) {
			return a.cfg.Exchange(a.ctx, c, oauth2.VerifierOption(verifier))
		}
		young, old := a.visit().Get("code"), a.visit().Get("code")
		time.Sleep(10*time.Minute - time.Nanosecond)
		if _, err := redeem(young); err != nil {
			t.Fatalf("just before ten minutes: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := redeem(old); code(err) != "invalid_grant" {
			t.Errorf("after ten minutes: %v", err)
		}
		// RFC 6749, 4.1.2: a second use takes back what the first one gave, and what that gave.
		other := a.connect()
		young = a.visit().Get("code")
		tok, err := redeem(young)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := a.again(tok.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := redeem(young); code(err) != "invalid_grant" {
			t.Errorf("a second use: %v", err)
		}
		if a.valid(tok) || a.valid(fresh) {
			t.Error("the access tokens survived")
		}
		if _, err := a.again(fresh.RefreshToken); code(err) != "invalid_grant" {
			t.Errorf("the refresh token survived: %v", err)
		}
		if _, err := a.again(other.RefreshToken); err != nil || !a.valid(other) {
			t.Errorf("another consent died with it: %v", err)
		}
		withdrawn := a.visit().Get("code")
		a.s.Withdraw("owner", "crm")
		if _, err := redeem(withdrawn); code(err) != "invalid_grant" {
			t.Errorf("after the consent was withdrawn: %v", err)
		}
		// RFC 7636, 4.1: a verifier that can be guessed is none, even if it fits.
		short := a.visit("code_challenge", oauth2.S256ChallengeFromVerifier("short")).Get("code")
		if _, err := a.cfg.Exchange(a.ctx, short, oauth2.VerifierOption("short")); code(err) != "invalid_grant" {
			t.Errorf("a short verifier: %v", err)
		}

		s := emailinttest.NewAuthServer(emailinttest.AuthGoogle, &emailinttest.AuthOptions{CodeLife: time.Minute, AccessLife: time.Second})
		s.Register(emailinttest.AuthClient{ID: "crm", Secret: "crm secret+%", Redirects: []string{callback}})
		a.s, a.ctx, a.cfg.Endpoint = s, context.WithValue(t.Context(), oauth2.HTTPClient, s.Client()), s.Endpoint()
		if tok := a.connect(); tok.ExpiresIn != 1 {
			t.Errorf("expires_in is %d", tok.ExpiresIn)
		}
		c := a.visit().Get("code")
		time.Sleep(time.Minute)
		if _, err := redeem(c); code(err) != "invalid_grant" {
			t.Errorf("after a minute: %v", err)
		}
	})
}

// Who gets a refresh token at all.
func TestAuthServerOffline(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   emailinttest.AuthKind
		params []string
		want   bool
	}{
		{"first consent, online", emailinttest.AuthGoogle, []string{"access_type", "online", "prompt", ""}, false},
		{"first consent", emailinttest.AuthGoogle, []string{"prompt", ""}, true},
		{"again", emailinttest.AuthGoogle, []string{"prompt", "", "again", "yes"}, false},
		{"again, and asked again", emailinttest.AuthGoogle, []string{"prompt", "select_account consent", "again", "yes"}, true},
		{"again, after it was withdrawn", emailinttest.AuthGoogle, []string{"prompt", "", "again", "withdrawn"}, true},
		{"offline_access", emailinttest.AuthMicrosoft, nil, true},
		{"no offline_access", emailinttest.AuthMicrosoft, []string{"scope", "openid"}, false},
		{"always", emailinttest.AuthRotating, []string{"scope", "openid", "access_type", "online"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t, c.kind)
			if i := slices.Index(c.params, "again"); i >= 0 {
				a.connect()
				if c.params[i+1] == "withdrawn" {
					a.s.Withdraw("owner", "crm")
				}
			}
			if tok := a.connect(c.params...); (tok.RefreshToken != "") != c.want {
				t.Errorf("refresh token: %q", tok.RefreshToken)
			}
		})
	}
}
