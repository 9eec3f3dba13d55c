package emailinttest_test

import (
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

// What becomes of a refresh token that is used.
func TestAuthServerRefreshTokens(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			a := newApp(t, k)
			tok, other := a.connect(), a.connect()
			status, v, _ := a.post(a.cfg.Endpoint.TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tok.RefreshToken},
				"client_id": {"crm"}, "client_secret": {"crm secret+%"}}, nil)
			next, given := v["refresh_token"].(string)
			if status != 200 || given != (k != emailinttest.AuthGoogle) || next == tok.RefreshToken {
				t.Fatalf("%d %v", status, v)
			}
			// Bound to the client (RFC 6749, 6); the attempt spends nothing.
			thief := a.cfg
			thief.ClientID, thief.ClientSecret = "stranger", "its own"
			if _, err := thief.TokenSource(a.ctx, &oauth2.Token{RefreshToken: tok.RefreshToken}).Token(); code(err) != "invalid_grant" {
				t.Errorf("another client: %v", err)
			}
			again, err := a.again(tok.RefreshToken)
			if k != emailinttest.AuthRotating {
				if err != nil || !a.valid(again) {
					t.Errorf("the old one: %v", err)
				}
				if k == emailinttest.AuthMicrosoft {
					if _, err := a.again(next); err != nil {
						t.Errorf("the new one: %v", err)
					}
				}
				return
			}
			if code(err) != "invalid_grant" {
				t.Errorf("reuse: %v", err)
			}
			if _, err := a.again(next); code(err) != "invalid_grant" {
				t.Errorf("after reuse the new one gave %v", err)
			}
			if access, _ := v["access_token"].(string); a.valid(tok) || a.valid(&oauth2.Token{AccessToken: access}) {
				t.Error("after reuse access tokens are valid")
			}
			if _, err := a.again(other.RefreshToken); err != nil || !a.valid(other) {
				t.Errorf("another family died with it: %v", err)
			}
		})
	}
	// Never more than was granted, less when asked for.
	a := newApp(t, emailinttest.AuthGoogle)
	a.cfg.Scopes = []string{modify, "email"}
	tok := a.connect()
	for asked, want := range map[string]string{"email": "openid " + mailAddr, modify: modify, labels: ""} {
		status, v, _ := a.post(a.cfg.Endpoint.TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tok.RefreshToken},
			"client_id": {"crm"}, "client_secret": {"crm secret+%"}, "scope": {asked}}, nil)
		if got, _ := v["scope"].(string); got != want || want == "" && (status != 400 || v["error"] != "invalid_scope") {
			t.Errorf("asked for %s: %d %v", asked, status, v)
		}
	}
}

// What refresh tokens die of.
func TestAuthServerDeaths(t *testing.T) {
	const day = 24 * time.Hour
	all := map[emailinttest.AuthKind]bool{emailinttest.AuthGoogle: true, emailinttest.AuthMicrosoft: true, emailinttest.AuthRotating: true}
	google := map[emailinttest.AuthKind]bool{emailinttest.AuthGoogle: true}
	microsoft := map[emailinttest.AuthKind]bool{emailinttest.AuthMicrosoft: true}
	for _, c := range []struct {
		name    string
		scopes  []string // nil: all
		testing bool
		happens func(a *app)
		dies    map[emailinttest.AuthKind]bool
		access  bool   // access tokens die as well
		aadsts  string // Microsoft's number
	}{
		{name: "nothing happens", happens: func(*app) {}},
		{name: "consent withdrawn", happens: func(a *app) { a.s.Withdraw("owner", "crm") }, dies: all, access: true, aadsts: "AADSTS65001:"},
		{name: "another's withdrawn", happens: func(a *app) { a.s.Withdraw("other", "crm"); a.s.Withdraw("owner", "stranger") }},
		{name: "sessions ended", happens: func(a *app) { a.s.EndSessions("owner") }, dies: all, aadsts: "AADSTS50173:"},
		{name: "another's sessions ended", happens: func(a *app) { a.s.EndSessions("other") }},
		{name: "password changed", happens: func(a *app) { a.s.ChangePassword("owner") },
			dies: map[emailinttest.AuthKind]bool{emailinttest.AuthGoogle: true, emailinttest.AuthRotating: true}},
		{name: "password changed, all of Gmail", scopes: []string{"https://mail.google.com/", "offline_access"}, happens: func(a *app) { a.s.ChangePassword("owner") },
			dies: map[emailinttest.AuthKind]bool{emailinttest.AuthGoogle: true, emailinttest.AuthRotating: true}},
		{name: "password changed, no Gmail scope", scopes: []string{"openid", "offline_access"}, happens: func(a *app) { a.s.ChangePassword("owner") },
			dies: map[emailinttest.AuthKind]bool{emailinttest.AuthRotating: true}},
		{name: "just under seven days in testing", testing: true, happens: func(*app) { time.Sleep(7*day - 1) }},
		{name: "seven days in testing", testing: true, happens: func(*app) { time.Sleep(7 * day) }, dies: google},
		{name: "seven days in testing, sign-in alone", testing: true, scopes: []string{"openid", "email", "offline_access"}, happens: func(*app) { time.Sleep(7 * day) },
			dies: google}, // offline_access is none of the profile scopes
		{name: "seven days in testing, only profile scopes", testing: true, scopes: []string{"openid", "email"}, happens: func(*app) { time.Sleep(7 * day) }},
		{name: "ninety days unused", happens: func(*app) { time.Sleep(90 * day) }, dies: microsoft, aadsts: "AADSTS700082:"},
		{name: "just under ninety days unused", happens: func(*app) { time.Sleep(90*day - 1) }},
		{name: "half a year unused", happens: func(a *app) { time.Sleep(time.Until(time.Now().AddDate(0, 6, 0))) },
			dies: map[emailinttest.AuthKind]bool{emailinttest.AuthGoogle: true, emailinttest.AuthMicrosoft: true}, aadsts: "AADSTS700082:"},
	} {
		for _, k := range kinds {
			if k == emailinttest.AuthMicrosoft && c.scopes != nil && !slices.Contains(c.scopes, "offline_access") {
				continue // there is no refresh token to die
			}
			t.Run(c.name+"/"+string(k), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newApp(t, k)
					a.s.Register(emailinttest.AuthClient{ID: "crm", Secret: "crm secret+%", Redirects: []string{callback}, Testing: c.testing})
					if c.scopes != nil {
						a.cfg.Scopes = c.scopes
					}
					start := time.Now()
					tok := a.connect()
					c.happens(a)
					if time.Now().Equal(start) && a.valid(tok) == c.access {
						t.Errorf("access token valid: %v", a.valid(tok))
					}
					_, err := a.again(tok.RefreshToken)
					if want := map[bool]string{true: "invalid_grant"}[c.dies[k]]; code(err) != want {
						t.Errorf("refreshing gave %v", err)
					}
					if err == nil {
						return
					}
					if k == emailinttest.AuthMicrosoft && !strings.Contains(err.Error(), c.aadsts) || k != emailinttest.AuthMicrosoft && strings.Contains(err.Error(), "AADSTS") {
						t.Errorf("in words: %v", err)
					}
					if k == emailinttest.AuthGoogle && !strings.Contains(err.Error(), "the token has expired or was revoked") {
						t.Errorf("Google tells why: %v", err) // facts 1.2: all of them look the same
					}
					// Another consent makes it good.
					if _, err := a.again(a.connect().RefreshToken); err != nil {
						t.Errorf("after another consent: %v", err)
					}
				})
			})
		}
	}
	// These are counted from when it was given, however much it is used.
	for k, c := range map[emailinttest.AuthKind]struct {
		testing bool
		days    int
	}{emailinttest.AuthGoogle: {true, 7}, emailinttest.AuthMicrosoft: {false, 90}} {
		synctest.Test(t, func(t *testing.T) {
			a := newApp(t, k)
			a.s.Register(emailinttest.AuthClient{ID: "crm", Secret: "crm secret+%", Redirects: []string{callback}, Testing: c.testing})
			tok := a.connect()
			lived := 0
			for range c.days + 3 {
				time.Sleep(day)
				if _, err := a.again(tok.RefreshToken); err == nil {
					lived++
				}
			}
			if lived != c.days-1 {
				t.Errorf("%s: it was good on %d days", k, lived)
			}
		})
	}
	// The clocks of the two services: Google's counts from the last use, Microsoft's new token has ninety days of its own.
	for _, k := range []emailinttest.AuthKind{emailinttest.AuthGoogle, emailinttest.AuthMicrosoft} {
		synctest.Test(t, func(t *testing.T) {
			a := newApp(t, k)
			tok := a.connect()
			for range 4 {
				time.Sleep(80 * day)
				var err error
				if tok, err = a.again(tok.RefreshToken); err != nil {
					t.Fatalf("%s: used every eighty days: %v", k, err)
				}
			}
		})
	}
}

// Facts 1.2: a hundred live refresh tokens of an account and a client, the oldest dropped silently.
func TestAuthServerCrowd(t *testing.T) {
	for _, k := range kinds {
		a := newApp(t, k)
		first := a.connect()
		second := a.connect()
		a.s.SignIn(emailinttest.AuthUser{Subject: "other"})
		others := a.connect()
		a.s.SignIn(emailinttest.AuthUser{Subject: "owner"})
		for range 98 {
			a.connect()
		}
		if _, err := a.again(first.RefreshToken); err != nil {
			t.Fatalf("%s: at a hundred: %v", k, err)
		}
		if k == emailinttest.AuthRotating {
			continue // it is spent
		}
		a.connect()
		_, err := a.again(first.RefreshToken)
		if (code(err) == "invalid_grant") != (k == emailinttest.AuthGoogle) {
			t.Errorf("%s: the oldest of a hundred and one: %v", k, err)
		}
		for _, tok := range []*oauth2.Token{second, others} {
			if _, err := a.again(tok.RefreshToken); err != nil {
				t.Errorf("%s: one that should live: %v", k, err)
			}
		}
		if !a.valid(first) {
			t.Errorf("%s: the access token went with it", k)
		}
	}
}

func TestAuthServerRevokes(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			a := newApp(t, k)
			if k == emailinttest.AuthMicrosoft { // facts 2.1
				if status, _, _ := a.post(a.s.Issuer()+"/revoke", url.Values{"token": {"x"}}, nil); status != 404 || a.s.RevokeURL() != "" {
					t.Errorf("there is a revocation endpoint: %d %q", status, a.s.RevokeURL())
				}
				return
			}
			me, own := url.Values{}, url.Values{"client_id": {"crm"}, "client_secret": {"crm secret+%"}}
			other := url.Values{"client_id": {"stranger"}, "client_secret": {"its own"}}
			if k == emailinttest.AuthRotating {
				me = own
			}
			revoke := func(token string, who url.Values) (int, any) {
				f := url.Values{"token": {token}}
				for name, v := range who {
					f[name] = v
				}
				status, v, _ := a.post(a.s.RevokeURL(), f, nil)
				return status, v["error"]
			}
			for _, which := range []string{"refresh", "access"} {
				tok, sibling := a.connect(), a.connect()
				a.s.SignIn(emailinttest.AuthUser{Subject: "other"})
				others := a.connect()
				a.s.SignIn(emailinttest.AuthUser{Subject: "owner"})
				token := map[string]string{"refresh": tok.RefreshToken, "access": tok.AccessToken}[which]
				// RFC 7009, 2.1: whose token it is counts; facts 1.2: at Google whoever has it may.
				if status, e := revoke(token, other); status != 400 || e != "invalid_grant" || !a.valid(tok) {
					t.Errorf("%s token, another client: %d %v", which, status, e)
				}
				if status, e := revoke(token, url.Values{"client_id": {"crm"}, "client_secret": {"no"}}); status != 401 || e != "invalid_client" {
					t.Errorf("%s token, wrong secret: %d %v", which, status, e)
				}
				wrong := func(r *http.Request) { r.SetBasicAuth("crm", "no") }
				if status, _, _ := a.post(a.s.RevokeURL(), url.Values{"token": {token}}, wrong); status != 401 || !a.valid(tok) {
					t.Errorf("%s token, wrong Basic: %d", which, status)
				}
				if status, _ := revoke(token, url.Values{}); k == emailinttest.AuthRotating && (status != 401 || !a.valid(tok)) {
					t.Errorf("%s token, no client: %d", which, status)
				}
				if status, e := revoke(token, me); status != 200 {
					t.Fatalf("%s token: %d %v", which, status, e)
				}
				// Facts 1.2: the whole grant of that user and client.
				for _, x := range []*oauth2.Token{tok, sibling} {
					if _, err := a.again(x.RefreshToken); code(err) != "invalid_grant" || a.valid(x) {
						t.Errorf("%s token: after it was revoked: %v, access valid: %v", which, err, a.valid(x))
					}
				}
				if _, err := a.again(others.RefreshToken); err != nil || !a.valid(others) {
					t.Errorf("%s token: another user's: %v", which, err)
				}
				if status, e := revoke(token, me); status != 200 {
					t.Errorf("%s token, twice: %d %v", which, status, e)
				}
			}
			if status, e := revoke("never there", me); status != 200 { // RFC 7009, 2.2
				t.Errorf("an unknown token: %d %v", status, e)
			}
			if status, e := revoke("", me); status != 400 || e != "invalid_request" {
				t.Errorf("no token: %d %v", status, e)
			}
			if status, _, _ := a.post(a.s.RevokeURL(), own, func(r *http.Request) { r.URL.RawQuery = "token=x" }); status != 400 {
				t.Errorf("a token in the address: %d", status)
			}
			if status, _, _ := a.post(a.s.RevokeURL(), own, func(r *http.Request) { r.Method = http.MethodGet }); status != 405 {
				t.Errorf("GET: %d", status)
			}
		})
	}
}
