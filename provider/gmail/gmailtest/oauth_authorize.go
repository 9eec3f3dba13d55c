package gmailtest

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What Google says for OpenID Connect's short names. Seen in practice: googleapis/google-api-python-client#1088.
const (
	scopeEmail   = "https://www.googleapis.com/auth/userinfo.email"
	scopeProfile = "https://www.googleapis.com/auth/userinfo.profile"
)

// asAnswered names scopes as Google does, each once.
func asAnswered(scopes []string) []string {
	var out []string
	for _, v := range scopes {
		switch v {
		case "email":
			v = scopeEmail
		case "profile":
			v = scopeProfile
		}
		out = union(out, []string{v})
	}
	return out
}

func signIn(scope string) bool {
	return scope == "openid" || scope == scopeEmail || scope == scopeProfile
}

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!doctype html><title>Sign in</title><p>%s\n", html.EscapeString(text))
}

// serveAuth is the consent page.
func (s *Server) serveAuth(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	app, ok := s.oauth.apps[q.Get("client_id")]
	decide := s.oauth.consent
	s.mu.Unlock()
	// RFC 6749, 4.1.2.1: a browser is never sent to an address that isn't known to be the app's.
	redirect := q.Get("redirect_uri")
	if !ok || !slices.Contains(app.Redirects, redirect) {
		page(w, http.StatusBadRequest, "Error 400: redirect_uri_mismatch or unknown client")
		return
	}
	back := func(v url.Values) {
		if st := q.Get("state"); st != "" {
			v.Set("state", st)
		}
		u, err := url.Parse(redirect)
		if err != nil {
			page(w, http.StatusBadRequest, "Error 400: redirect_uri")
			return
		}
		old := u.Query()
		for k, vs := range v {
			old[k] = vs
		}
		u.RawQuery = old.Encode()
		w.Header().Set("Location", u.String())
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.WriteHeader(http.StatusFound)
	}
	refuse := func(code string) { back(url.Values{"error": {code}}) }
	asked := asAnswered(strings.Fields(q.Get("scope")))
	switch {
	case q.Get("response_type") != "code":
		refuse("unsupported_response_type")
		return
	case len(asked) == 0:
		refuse("invalid_scope")
		return
	case len(q.Get("code_challenge")) != 43 || q.Get("code_challenge_method") != "S256":
		refuse("invalid_request") // facts 6: "PKCE for all clients"; Google lets others be, this doesn't
		return
	}
	d := s.decision(decide, ConsentRequest{app.ID, slices.Clone(asked), q.Get("login_hint"), q.Get("prompt")})
	if d.Error != "" {
		refuse(d.Error)
		return
	}
	if d.User == nil {
		page(w, http.StatusInternalServerError, "gmailtest: nobody signs in: add a user")
		return
	}
	scopes := ticked(asked, d.Scopes)
	if len(scopes) == 0 {
		refuse("access_denied")
		return
	}
	back(url.Values{"code": {s.giveCode(d.User, app.ID, scopes, q)}, "scope": {strings.Join(scopes, " ")}})
}

func (s *Server) decision(decide func(ConsentRequest) Consent, r ConsentRequest) Consent {
	if decide != nil {
		return decide(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.user(r.LoginHint); u != nil {
		return Consent{User: u}
	}
	if len(s.users) == 0 {
		return Consent{}
	}
	return Consent{User: s.users[0]}
}

// ticked is what the person allows. Facts 1.1: "with more than one non-sign-in scope the user may untick some"; with one it is all or nothing.
func ticked(asked, boxes []string) []string {
	if boxes == nil {
		return asked
	}
	boxes = asAnswered(boxes)
	n := 0
	for _, v := range asked {
		if !signIn(v) {
			n++
		}
	}
	var out []string
	for _, v := range asked {
		switch {
		case signIn(v), slices.Contains(boxes, v):
			out = append(out, v)
		case n == 1:
			return nil
		}
	}
	return out
}

func (s *Server) giveCode(u *User, app string, scopes []string, q url.Values) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.oauth.grants[grantKey{u, app}]
	first := old == nil || old.revoked
	g := s.granted(u, app, scopes)
	if q.Get("include_granted_scopes") == "true" { // facts 1.2: "one token for the union of grants"
		scopes = slices.Clone(g.scopes)
	}
	c := &code{
		grant: g, scopes: scopes, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), expires: s.now().Add(10 * time.Minute),
		// Facts 1.2: without prompt=consent "a re-authorised user gets only an access token".
		offline: q.Get("access_type") == "offline" && (first || slices.Contains(strings.Fields(q.Get("prompt")), "consent")),
	}
	v := s.mint("4/0A")
	s.oauth.codes[v] = c
	return v
}
