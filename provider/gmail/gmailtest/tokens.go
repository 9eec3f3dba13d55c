package gmailtest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// Token is an access token of the user's for these scopes, as if an app had got it by OAuth. It lives an hour.
func (u *User) Token(scopes ...string) string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return u.s.giveAccess(u.s.granted(u, "gmailtest", scopes), scopes)
}

// TokenSource gives such tokens, another when the last has an hour behind it or was refused (provider.RefuseToken). When the user takes the
// consent back or sets another password it answers invalid_grant from then on, and one that is made afterwards is a connection anew. Safe for
// concurrent use.
func (u *User) TokenSource(scopes ...string) oauth2.TokenSource {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return &source{u: u, scopes: scopes, grant: u.s.granted(u, "gmailtest", scopes), passwords: u.passwords}
}

type source struct {
	u         *User
	scopes    []string
	grant     *grant
	passwords int

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
	if t.grant.revoked || t.passwords != t.u.passwords && slices.ContainsFunc(t.scopes, reachesMail) { // as isDead
		return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: http.StatusBadRequest, Status: "400 Bad Request"},
			ErrorCode: "invalid_grant", ErrorDescription: "Token has been expired or revoked."}
	}
	t.last = &oauth2.Token{AccessToken: s.giveAccess(t.grant, t.scopes), TokenType: "Bearer", Expiry: now.Add(accessLife - time.Minute)}
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

// Revoke is a person who takes the consent back from every app, or an administrator who does: every token dies (facts 1.2).
func (u *User) Revoke() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	for k, g := range u.s.oauth.grants {
		if k.user == u {
			g.revoked = true
		}
	}
}

// ChangePassword is a person who sets another password: refresh tokens that reach Gmail die, access tokens live on (facts 1.2).
func (u *User) ChangePassword() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.passwords++
	for _, t := range u.s.oauth.order {
		if t.grant.key.user == u && slices.ContainsFunc(t.scopes, reachesMail) {
			t.dead = true
		}
	}
}

// ExpireAccess makes every access token of the user's stale at once; refresh tokens live.
func (u *User) ExpireAccess() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	for _, t := range u.s.oauth.access {
		if t.grant.key.user == u {
			t.dead = true
		}
	}
}

func reachesMail(scope string) bool {
	return scope == ScopeFull || strings.HasPrefix(scope, "https://www.googleapis.com/auth/gmail.")
}

// Refreshes returns how often a refresh token was used, or tried.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oauth.calls["refresh_token"]
}

// FailToken makes a fault befall the next n requests to the token endpoint. A Reason is answered as the "error" of RFC 6749, 5.2.
func (s *Server) FailToken(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oauth.tokenFail = append(s.oauth.tokenFail, slices.Repeat([]Fault{f}, n)...)
}
