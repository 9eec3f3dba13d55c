package gmailtest

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// tokenError is an error of RFC 6749, 5.2.
func tokenError(w http.ResponseWriter, status int, code, description string) {
	tokenAnswer(w, status, map[string]any{"error": code, "error_description": description})
}

func tokenAnswer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// serveToken is the token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		tokenError(w, http.StatusBadRequest, "invalid_request", "Bad form")
		return
	}
	f := r.PostForm
	s.mu.Lock()
	s.oauth.calls[f.Get("grant_type")]++
	var fault Fault
	if fs := s.oauth.tokenFail; len(fs) > 0 {
		fault, s.oauth.tokenFail = fs[0], fs[1:]
	}
	s.mu.Unlock()
	lost := func() bool {
		fault.reach(r)
		switch {
		case fault.Cut:
			panic(http.ErrAbortHandler)
		case fault.Reason != "":
			v := map[string]any{"error": fault.Reason, "error_description": fault.Message}
			if fault.Message == "invalid_rapt" { // facts 1.2: a Workspace policy wants the user to sign in again
				v["error_subtype"] = fault.Message
			}
			tokenAnswer(w, max(fault.Status, 400), v)
		case fault.Status != 0:
			page(w, fault.Status, http.StatusText(fault.Status))
		default:
			return false
		}
		return true
	}
	if !fault.After && lost() {
		return
	}
	status, answer := s.tokens(f)
	if fault.After && lost() {
		return
	}
	tokenAnswer(w, status, answer)
}

func (s *Server) tokens(f url.Values) (int, map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	no := func(status int, code, description string) (int, map[string]any) {
		return status, map[string]any{"error": code, "error_description": description}
	}
	app, ok := s.oauth.apps[f.Get("client_id")]
	if !ok || app.Secret != f.Get("client_secret") {
		return no(http.StatusUnauthorized, "invalid_client", "Unauthorized")
	}
	switch f.Get("grant_type") {
	case "authorization_code":
		c := s.oauth.codes[f.Get("code")]
		sum := sha256.Sum256([]byte(f.Get("code_verifier")))
		switch {
		case c == nil || c.grant.key.app != app.ID:
			return no(http.StatusBadRequest, "invalid_grant", "Malformed auth code.")
		case c.used: // RFC 6749, 4.1.2: what the first use gave dies
			for _, t := range c.tokens {
				if a := s.oauth.access[t]; a != nil {
					a.dead = true
				}
				if t := s.oauth.refresh[t]; t != nil {
					t.dead = true
				}
			}
			return no(http.StatusBadRequest, "invalid_grant", "Bad Request")
		case !s.now().Before(c.expires), c.grant.revoked:
			return no(http.StatusBadRequest, "invalid_grant", "Bad Request")
		case c.redirect != f.Get("redirect_uri"):
			return no(http.StatusBadRequest, "redirect_uri_mismatch", "Bad Request")
		case b64.EncodeToString(sum[:]) != c.challenge:
			return no(http.StatusBadRequest, "invalid_grant", "Invalid code verifier.")
		}
		c.used = true
		out := s.give(app, c.grant, c.scopes, c.nonce)
		c.tokens = []string{out["access_token"].(string)}
		if c.offline {
			rt := s.giveRefresh(app, c.grant, c.scopes)
			out["refresh_token"] = rt
			c.tokens = append(c.tokens, rt)
		}
		return http.StatusOK, out
	case "refresh_token":
		t := s.oauth.refresh[f.Get("refresh_token")]
		if t == nil || t.grant.key.app != app.ID || s.isDead(app, t) {
			// Facts 1.2: all of them are HTTP 400 invalid_grant.
			return no(http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")
		}
		t.used = s.now()
		return http.StatusOK, s.give(app, t.grant, t.scopes, "") // facts 1.2: "Google does NOT rotate refresh tokens"
	}
	return no(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type")
}

// isDead is the death list of facts 1.2, as far as time and people kill.
func (s *Server) isDead(app App, t *refreshToken) bool {
	now := s.now()
	return t.dead || t.grant.revoked || !now.Before(t.used.AddDate(0, 6, 0)) || // "unused 6 months"
		app.Testing && slices.ContainsFunc(t.scopes, func(v string) bool { return !signIn(v) }) && !now.Before(t.issued.AddDate(0, 0, 7))
}

// maxRefresh is how many refresh tokens of a user and an app live; the oldest is dropped silently (facts 1.2).
const maxRefresh = 100

func (s *Server) giveRefresh(app App, g *grant, scopes []string) string {
	t := &refreshToken{value: s.mint("1//0"), grant: g, scopes: scopes, issued: s.now(), used: s.now()}
	s.oauth.refresh[t.value] = t
	s.oauth.order = append(s.oauth.order, t)
	var live []*refreshToken
	for _, o := range s.oauth.order {
		if o.grant == g && !s.isDead(app, o) {
			live = append(live, o)
		}
	}
	if len(live) > maxRefresh {
		live[0].dead = true
	}
	return t.value
}

// give makes the answer of RFC 6749, 5.1. Facts 1.1: its scope tells what was granted.
func (s *Server) give(app App, g *grant, scopes []string, nonce string) map[string]any {
	out := map[string]any{"access_token": s.giveAccess(g, scopes), "token_type": "Bearer", "expires_in": int(accessLife/time.Second) - 1, "scope": strings.Join(scopes, " ")}
	if slices.Contains(scopes, "openid") {
		claims := map[string]any{"aud": app.ID, "azp": app.ID, "sub": g.key.user.Subject}
		if slices.Contains(scopes, scopeEmail) {
			claims["email"], claims["email_verified"] = g.key.user.Address, true
		}
		if nonce != "" {
			claims["nonce"] = nonce
		}
		out["id_token"] = s.sign(claims, accessLife)
	}
	return out
}

// serveRevoke is the revocation endpoint. Facts 1.2: it takes an access or a refresh token and "kills the whole grant for that client".
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		tokenError(w, http.StatusBadRequest, "invalid_request", "Bad form")
		return
	}
	v := r.Form.Get("token")
	s.mu.Lock()
	defer s.mu.Unlock()
	var g *grant
	if t := s.oauth.refresh[v]; t != nil && !t.dead {
		g = t.grant
	} else if t := s.oauth.access[v]; t != nil && !t.dead {
		g = t.grant
	}
	if g == nil || g.revoked {
		tokenError(w, http.StatusBadRequest, "invalid_token", "Token expired or revoked") // from memory
		return
	}
	g.revoked = true
	tokenAnswer(w, http.StatusOK, map[string]any{})
}

func (s *Server) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	u, scopes, ok := s.whose(token)
	if !ok || !slices.Contains(scopes, "openid") {
		tokenError(w, http.StatusUnauthorized, "invalid_request", "Invalid Credentials")
		return
	}
	v := map[string]any{"sub": u.Subject}
	if slices.Contains(scopes, scopeEmail) {
		v["email"], v["email_verified"] = u.Address, true
	}
	tokenAnswer(w, http.StatusOK, v)
}
