package emailinttest

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// code is an authorization code.
type code struct {
	client, redirect, challenge, nonce string
	grant                              *grant
	scopes                             []string
	offline                            bool // a refresh token belongs to it
	expires                            time.Time
	family                             *family // what it was exchanged for; nil: not yet
}

// RFC 7636, 4.2: the base64url of a SHA-256 hash. RFC 6749, 3.3: what a scope is made of.
var (
	challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	scopeForm     = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`)
)

func (s *AuthServer) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	call := AuthCall{Step: AuthAuthorize, Client: r.URL.Query().Get("client_id")}
	s.serve(w, r, call, func() answer { return s.authorize(r) })
}

func (s *AuthServer) authorize(r *http.Request) answer {
	if r.Method != http.MethodGet {
		return page(http.StatusMethodNotAllowed, "This page is visited, not posted to.")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return page(http.StatusBadRequest, "The address of this page is broken.")
	}
	// RFC 6749, 4.1.2.1: a browser is never sent to an address that isn't known to be the client's.
	if len(query["client_id"]) > 1 || len(query["redirect_uri"]) > 1 {
		return page(http.StatusBadRequest, "Two apps or two redirect URIs are named.")
	}
	redirect := query.Get("redirect_uri")
	s.mu.Lock()
	var c AuthClient
	if known := s.clients[query.Get("client_id")]; known != nil {
		c = known.AuthClient
	}
	decide := s.consent
	s.mu.Unlock()
	if c.ID == "" {
		return page(http.StatusBadRequest, "There is no app with that client_id.")
	}
	if !slices.Contains(c.Redirects, redirect) { // RFC 9700, 2.1: compared as strings
		return page(http.StatusBadRequest, "The app has not registered the redirect_uri "+html.EscapeString(redirect)+".")
	}
	back := func(code, description string) answer {
		return s.back(redirect, query.Get("state"), url.Values{"error": {code}, "error_description": {description}})
	}
	get, err := once(query)
	if err != nil {
		return back("invalid_request", err.Error())
	}
	switch get("response_type") {
	case "code":
	case "":
		return back("invalid_request", "response_type is missing")
	default: // RFC 9700, 2.1.2: no implicit grant
		return back("unsupported_response_type", "the only response_type is code")
	}
	switch {
	case !challengeForm.MatchString(get("code_challenge")): // RFC 7636, 4.4.1; RFC 9700, 2.1.1: it must be there
		return back("invalid_request", "code_challenge is missing or no S256 hash")
	case get("code_challenge_method") != "S256": // absent means plain, RFC 7636, 4.3
		return back("invalid_request", "the only code_challenge_method is S256")
	}
	asked := strings.Fields(get("scope"))
	if len(asked) == 0 { // RFC 6749, 3.3: there is no default here
		return back("invalid_scope", "scope is missing")
	}
	for _, name := range asked {
		if !scopeForm.MatchString(name) || c.Scopes != nil && !s.covers(c.Scopes, []string{name}) {
			return back("invalid_scope", "the app may not ask for that scope")
		}
	}
	d := decide(AuthRequest{Client: c.ID, Redirect: redirect, Scopes: slices.Clone(asked), LoginHint: get("login_hint"), Prompt: get("prompt")})
	if d.Error != "" {
		return back(d.Error, d.Description)
	}
	if d.User.Subject == "" {
		return page(http.StatusInternalServerError, "The test's decision names no user.")
	}
	if d.Scopes != nil && !s.covers(asked, d.Scopes) {
		return page(http.StatusInternalServerError, "The test ticks a scope that was not asked for.")
	}
	granted := s.granted(asked, d.Scopes)
	if len(granted) == 0 {
		return back("access_denied", "nothing was allowed")
	}
	return s.back(redirect, get("state"), url.Values{"code": {s.giveCode(c.ID, d.User, granted, get)}})
}

// back sends the browser to the client. RFC 6749, 3.1.2: the redirect URI keeps its own query. RFC 9207, 2: "iss" is in every answer.
func (s *AuthServer) back(redirect, state string, v url.Values) answer {
	u, err := url.Parse(redirect)
	if err != nil {
		return page(http.StatusInternalServerError, "The registered redirect_uri is no address.")
	}
	if v.Get("error_description") == "" {
		v.Del("error_description")
	}
	if state != "" {
		v.Set("state", state)
	}
	v.Set("iss", s.Issuer())
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += v.Encode()
	// RFC 9700, 4.11 and 4.12: never 307, which would repeat a form; and the address of this page is nobody's to know.
	return answer{status: http.StatusFound, header: http.Header{"Location": {u.String()}, "Referrer-Policy": {"no-referrer"}}, err: v.Get("error")}
}

// What Google says for OpenID Connect's short names (see asAnswered).
const (
	googleEmail   = "https://www.googleapis.com/auth/userinfo.email"
	googleProfile = "https://www.googleapis.com/auth/userinfo.profile"
)

// signInScopes say who someone is, and nothing more.
var signInScopes = []string{"openid", "email", "profile", googleEmail, googleProfile}

func signIn(scope string) bool { return slices.Contains(signInScopes, scope) }

// asAnswered is a scope's name as the service answers it. Seen in practice: Google turns email into the long name
// (googleapis/google-api-python-client#1088).
func (s *AuthServer) asAnswered(name string) string {
	switch {
	case s.kind == AuthGoogle && name == "email":
		return googleEmail
	case s.kind == AuthGoogle && name == "profile":
		return googleProfile
	}
	return name
}

// canonical names scopes as the service answers them, each once; Google adds openid to those of the sign-in (as above).
func (s *AuthServer) canonical(scopes []string) []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, name := range scopes {
		name = s.asAnswered(name)
		if name == googleEmail || name == googleProfile {
			add("openid")
		}
		add(name)
	}
	return out
}

// covers reports whether every one of the scopes is among those that there are.
func (s *AuthServer) covers(there, scopes []string) bool {
	there = s.canonical(there)
	for _, name := range scopes {
		if !slices.Contains(there, s.asAnswered(name)) {
			return false
		}
	}
	return true
}

// granted is what the person allows of what was asked for; nil ticked is all.
func (s *AuthServer) granted(asked, ticked []string) []string {
	asked = s.canonical(asked)
	if ticked == nil {
		return asked
	}
	ticked = s.canonical(ticked)
	boxes := 0
	for _, name := range asked {
		if !signIn(name) {
			boxes++
		}
	}
	var out []string
	for _, name := range asked {
		switch {
		case slices.Contains(ticked, name), signIn(name): // facts 1.1: what is for the sign-in has no box
			out = append(out, name)
		case s.kind == AuthGoogle && boxes == 1:
			return nil // facts 1.1: boxes are there "with more than one non-sign-in scope"; else it is all or nothing
		}
	}
	return out
}

// giveCode remembers the consent and makes the code for it.
func (s *AuthServer) giveCode(client string, u AuthUser, scopes []string, get func(string) string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := grantKey{u.Tenant, u.Subject, client}
	g := s.grants[key]
	first := g == nil || g.died != alive
	if first {
		g = &grant{key: key}
		s.grants[key] = g
	}
	g.user = u
	if s.kind == AuthGoogle && get("include_granted_scopes") == "true" { // facts 1.2: one token for all that was granted
		scopes = s.canonical(append(slices.Clone(scopes), g.scopes...))
	}
	g.scopes = s.canonical(append(g.scopes, scopes...))
	c := &code{
		client: client, redirect: get("redirect_uri"), challenge: get("code_challenge"), nonce: get("nonce"),
		grant: g, scopes: scopes, expires: s.now().Add(s.codeLife),
	}
	switch s.kind {
	case AuthGoogle: // facts 1.2: without prompt=consent "a re-authorised user gets only an access token"
		c.offline = get("access_type") == "offline" && (first || slices.Contains(strings.Fields(get("prompt")), "consent"))
	case AuthMicrosoft:
		c.offline = slices.Contains(scopes, "offline_access")
	default:
		c.offline = true
	}
	value := s.mint("code")
	s.codes[value] = c
	return value
}
