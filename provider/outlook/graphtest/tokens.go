package graphtest

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// Token is an access token of the user's for these scopes, as if an app had got it by OAuth. It lives an hour.
func (u *User) Token(scopes ...string) string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return u.s.giveAccess(u.s.granted(u, "graphtest", scopes), scopes, u.challenge)
}

// TokenSource gives such tokens, another when the last has an hour behind it or was refused (provider.RefuseToken). When the user takes the
// consent back or the sessions are revoked it answers invalid_grant from then on, and one that is made afterwards is a connection anew. Safe for
// concurrent use.
func (u *User) TokenSource(scopes ...string) oauth2.TokenSource {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return &source{u: u, scopes: scopes, grant: u.s.granted(u, "graphtest", scopes)}
}

type source struct {
	u      *User
	scopes []string
	grant  *grant

	mu   sync.Mutex // guards last
	last *oauth2.Token
}

// Token implements oauth2.TokenSource.
func (t *source) Token() (*oauth2.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.u.s
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if t.last != nil && now.Before(t.last.Expiry) {
		return t.last, nil
	}
	if e := s.refusal(t.grant, "graphtest"); e != nil {
		return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: e.status, Status: http.StatusText(e.status)}, ErrorCode: e.code, ErrorDescription: e.message}
	}
	t.last = &oauth2.Token{AccessToken: s.giveAccess(t.grant, t.scopes, t.u.challenge), TokenType: "Bearer", Expiry: now.Add(accessLife - time.Minute)}
	return t.last, nil
}

// Refuse lets the source give another token the next time: the service did not take this one.
func (t *source) Refuse(access string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil && t.last.AccessToken == access {
		t.last = nil
	}
}

// App is the app the tokens are given to.
func (t *source) App() string { return "graphtest" }

// Client calls the API in memory as the user who allowed these scopes.
func (u *User) Client(scopes ...string) *http.Client {
	c := u.s.Client()
	c.Transport = bearer{u.TokenSource(scopes...), c.Transport}
	return c
}

// bearer puts a token on requests. oauth2.Transport does as well, but takes the wall's clock for whether one has expired.
type bearer struct {
	tokens oauth2.TokenSource
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	t, err := b.tokens.Token()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.AccessToken)
	return b.next.RoundTrip(r)
}

// Revoke is a person who removes the app at myapps.microsoft.com, or an administrator who does: every token of every app dies (facts 2.1).
func (u *User) Revoke() {
	u.eachGrant(func(g *grant) { g.dead = true })
}

// RevokeSessions is "revoke sessions", or an administrator who resets the password: refresh tokens die, access tokens live on (facts 2.1).
func (u *User) RevokeSessions() {
	u.eachGrant(func(g *grant) {
		g.revoked = "AADSTS50173: The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password."
	})
}

// ChangePassword is a person who sets another password. Refresh tokens of apps with a secret survive that; subscriptions to the mailbox don't
// (facts 2.1, 2.4).
func (u *User) ChangePassword() {
	u.s.mu.Lock()
	u.passwords++
	u.dropSubscriptions()
	u.s.mu.Unlock()
	u.s.flush()
}

// Disable is an administrator who disables the account, or enables it again: no token is good meanwhile, and its subscriptions go (facts 2.1, 2.4).
func (u *User) Disable(on bool) {
	u.s.mu.Lock()
	if u.disabled = on; on {
		u.dropSubscriptions()
	}
	u.s.mu.Unlock()
	u.s.flush()
}

// RequireClaims is a policy that access tokens must answer from now on: the API answers 401 with insufficient_claims until a token was asked for
// with these claims (facts 2.1, CAE). "" ends it.
func (u *User) RequireClaims(claims string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.challenge = claims
}

// RequireMFA is a policy by which a refresh needs the person: interaction_required (facts 2.1, 50076), until the next consent.
func (u *User) RequireMFA() {
	u.eachGrant(func(g *grant) {
		g.revoked = "AADSTS50076: Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access."
	})
}

func (u *User) eachGrant(f func(*grant)) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	for k, g := range u.s.entra.grants {
		if k.user == u {
			f(g)
		}
	}
}

// ExpireAccess makes every access token of the user's stale at once; refresh tokens live.
func (u *User) ExpireAccess() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	for _, t := range u.s.entra.access {
		if t.grant.key.user == u {
			t.dead = true
		}
	}
}

// Refreshes returns how often a refresh token was used, or tried.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entra.calls["refresh_token"]
}

// FailToken makes a fault befall the next n requests to the token endpoint. A Code is answered as the "error" of RFC 6749, 5.2, with the Message as
// its description.
func (s *Server) FailToken(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entra.tokenFail = append(s.entra.tokenFail, slices.Repeat([]Fault{f}, n)...)
}
