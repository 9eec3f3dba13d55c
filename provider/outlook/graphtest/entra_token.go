package graphtest

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tokenError is an error of RFC 6749, 5.2, as Entra writes it.
type tokenError struct {
	status        int
	code, message string
	suberror      string
}

func tokenAnswer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

var aadsts = regexp.MustCompile(`AADSTS(\d+)`)

// body has what is to be logged (facts 2.1: error_codes, trace_id, correlation_id).
func (s *Server) errorBody(e *tokenError) map[string]any {
	now := s.now().UTC().Format("2006-01-02 15:04:05Z")
	trace, correlation := s.guid("trace", s.next()), s.guid("correlation", s.next())
	v := map[string]any{
		"error": e.code, "error_description": e.message + " Trace ID: " + trace + " Correlation ID: " + correlation + " Timestamp: " + now,
		"error_codes": []int{}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
	}
	if m := aadsts.FindStringSubmatch(e.message); m != nil {
		n, _ := strconv.Atoi(m[1])
		v["error_codes"] = []int{n}
		v["error_uri"] = "https://login.microsoftonline.com/error?code=" + m[1]
	}
	if e.suberror != "" {
		v["suberror"] = e.suberror
	}
	return v
}

// serveToken is the token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request, tenant string) {
	if err := r.ParseForm(); err != nil {
		tokenAnswer(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	f := r.PostForm
	s.mu.Lock()
	s.entra.calls[f.Get("grant_type")]++
	var fault Fault
	if fs := s.entra.tokenFail; len(fs) > 0 {
		fault, s.entra.tokenFail = fs[0], fs[1:]
	}
	s.mu.Unlock()
	lost := func() bool {
		fault.reach(r)
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter/time.Second)))
		}
		switch {
		case fault.Cut:
			panic(http.ErrAbortHandler)
		case fault.Code != "":
			s.mu.Lock()
			v := s.errorBody(&tokenError{code: fault.Code, message: fault.Message})
			s.mu.Unlock()
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
	s.mu.Lock()
	v, e := s.tokens(f, tenant)
	status := http.StatusOK
	if e != nil {
		status, v = e.status, s.errorBody(e)
	}
	s.mu.Unlock()
	if fault.After && lost() {
		return
	}
	tokenAnswer(w, status, v)
}

// refusal says why a grant gives no tokens. Facts 2.1 say which errors are whose: the person's, the administrator's, the operator's.
func (s *Server) refusal(g *grant, app string) *tokenError {
	u := g.key.user
	no := func(code, message, sub string) *tokenError {
		return &tokenError{http.StatusBadRequest, code, message, sub}
	}
	switch {
	case s.entra.removed[tenantApp{u.Tenant, app}]:
		return no("unauthorized_client", "AADSTS700016: Application with identifier '"+app+"' was not found in the directory '"+u.Tenant+"'.", "")
	case u.disabled:
		return no("invalid_grant", "AADSTS50057: The user account is disabled.", "")
	case g.dead:
		return no("invalid_grant", "AADSTS65001: The user or administrator has not consented to use the application with ID '"+app+"'.", "consent_required")
	case strings.HasPrefix(g.revoked, "AADSTS50076"):
		return no("interaction_required", g.revoked, "basic_action")
	case g.revoked != "":
		return no("invalid_grant", g.revoked, "")
	}
	return nil
}

func (s *Server) tokens(f url.Values, tenant string) (map[string]any, *tokenError) {
	no := func(code, message string) (map[string]any, *tokenError) {
		return nil, &tokenError{http.StatusBadRequest, code, message, ""}
	}
	app, ok := s.entra.apps[f.Get("client_id")]
	switch {
	case !ok:
		return no("unauthorized_client", "AADSTS700016: Application with identifier '"+f.Get("client_id")+"' was not found in the directory.")
	case app.Secret != f.Get("client_secret"):
		return nil, &tokenError{http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.", ""}
	case !app.SecretExpires.IsZero() && !s.now().Before(app.SecretExpires):
		return nil, &tokenError{http.StatusUnauthorized, "invalid_client", "AADSTS7000222: The provided client secret keys for app '" + app.ID + "' are expired.", ""}
	}
	switch f.Get("grant_type") {
	case "authorization_code":
		c := s.entra.codes[f.Get("code")]
		sum := sha256.Sum256([]byte(f.Get("code_verifier")))
		switch {
		case c == nil || c.grant.key.app != app.ID:
			return no("invalid_grant", "AADSTS9002313: Invalid request. Request is malformed or invalid.")
		case c.used: // RFC 6749, 4.1.2: what the first use gave dies
			for _, t := range c.tokens {
				if a := s.entra.access[t]; a != nil {
					a.dead = true
				}
				if t := s.entra.refresh[t]; t != nil {
					t.dead = true
				}
			}
			return no("invalid_grant", "AADSTS54005: OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
		case !s.now().Before(c.expires):
			return no("invalid_grant", "AADSTS70008: The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
		case c.redirect != f.Get("redirect_uri"):
			return no("invalid_grant", "AADSTS500112: The reply address does not match the reply address provided when requesting Authorization code.")
		case b64.EncodeToString(sum[:]) != c.challenge:
			return no("invalid_grant", "AADSTS501481: The Code_Verifier does not match the code_challenge supplied in the authorization request.")
		}
		if e := s.refusal(c.grant, app.ID); e != nil {
			return nil, e
		}
		c.used = true
		out := s.give(app, c.grant, c.scopes, c.nonce, c.claims)
		c.tokens = []string{out["access_token"].(string)}
		if rt, ok := out["refresh_token"].(string); ok {
			c.tokens = append(c.tokens, rt)
		}
		return out, nil
	case "refresh_token":
		t := s.entra.refresh[f.Get("refresh_token")]
		if t == nil || t.grant.key.app != app.ID {
			return no("invalid_grant", "AADSTS9002313: Invalid request. Request is malformed or invalid.")
		}
		if tn := strings.ToLower(tenant); tn != "common" && tn != t.grant.key.user.Tenant && !(tn == "organizations" && t.grant.key.user.Tenant != ConsumerTenant) && !(tn == "consumers" && t.grant.key.user.Tenant == ConsumerTenant) {
			return no("invalid_grant", "AADSTS50020: User account from identity provider does not exist in tenant '"+tenant+"'.")
		}
		if e := s.refusal(t.grant, app.ID); e != nil {
			return nil, e
		}
		if t.dead || s.now().Sub(t.issued) >= refreshLife { // facts 2.1: "replaced on every use; the OLD token is NOT revoked by use"
			return no("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity. The token was inactive for 90.00:00:00.")
		}
		scopes := t.scopes
		if v := f.Get("scope"); v != "" {
			scopes = shortened(strings.Fields(v))
			for _, w := range scopes {
				if !slices.Contains(t.grant.scopes, w) && !slices.Contains(signIn, w) {
					return nil, &tokenError{http.StatusBadRequest, "invalid_grant", "AADSTS65001: The user or administrator has not consented to use the application with ID '" + app.ID + "'.", "consent_required"}
				}
			}
		}
		t.replaced = true
		return s.give(app, t.grant, scopes, "", f.Get("claims")), nil
	}
	return no("unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
}

// give makes the answer of RFC 6749, 5.1. offline_access is granted by the refresh token and not named (from memory).
func (s *Server) give(app App, g *grant, scopes []string, nonce, claims string) map[string]any {
	u := g.key.user
	var named []string
	for _, v := range scopes {
		switch {
		case v == ScopeOffline:
			continue
		case s.opts.LongScopes && !slices.Contains(signIn, v):
			v = resource + v
		}
		named = append(named, v)
	}
	life := int(accessLife/time.Second) - 1
	out := map[string]any{"token_type": "Bearer", "scope": strings.Join(named, " "), "expires_in": life, "ext_expires_in": life, "access_token": s.giveAccess(g, scopes, claims)}
	if slices.Contains(scopes, ScopeOffline) {
		rt := s.mint("1.AXkAM")
		s.entra.refresh[rt] = &refreshToken{grant: g, scopes: slices.Clone(scopes), issued: s.now()}
		out["refresh_token"] = rt
	}
	if slices.Contains(scopes, "openid") {
		id := map[string]any{"ver": "2.0", "iss": s.issuer(u.Tenant), "aud": app.ID, "sub": b64.EncodeToString(s.digest(32, "sub", app.ID, u.OID)), "oid": u.OID, "tid": u.Tenant}
		if slices.Contains(scopes, "profile") {
			id["name"], id["preferred_username"] = u.name, u.Address
		}
		if slices.Contains(scopes, "email") {
			id["email"] = u.Address
		}
		if nonce != "" {
			id["nonce"] = nonce
		}
		out["id_token"] = s.sign(id, accessLife)
	}
	return out
}
