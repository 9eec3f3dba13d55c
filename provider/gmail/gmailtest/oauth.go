package gmailtest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// App is an OAuth client as it is registered in the project.
type App struct {
	ID, Secret string
	Redirects  []string // compared as strings (facts 6: exact match)
	// Testing: the consent screen is in testing, and refresh tokens die after seven days (facts 1.2).
	Testing bool
}

// ConsentRequest is what the consent page shows, and what it was called with.
type ConsentRequest struct {
	App       string
	Scopes    []string
	LoginHint string
	Prompt    string
}

// Consent is what a person does at the consent page.
type Consent struct {
	User   *User
	Scopes []string // that are ticked, with those of the sign-in or without; nil: all
	Error  string   // answered instead of a code: access_denied, admin_policy_enforced, org_internal (facts 1.2)
}

// oauth is Google's authorization server. Guarded by Server.mu.
type oauth struct {
	apps      map[string]App
	consent   func(ConsentRequest) Consent
	codes     map[string]*code
	access    map[string]*accessToken
	refresh   map[string]*refreshToken
	order     []*refreshToken // oldest first
	grants    map[grantKey]*grant
	calls     map[string]int // by step
	tokenFail []Fault
}

type grantKey struct {
	user *User
	app  string
}

// grant is what a person allowed an app, in all consents together.
type grant struct {
	key     grantKey
	scopes  []string
	revoked bool
}

type code struct {
	grant                      *grant
	scopes                     []string
	redirect, challenge, nonce string
	offline, used              bool
	expires                    time.Time
	tokens                     []string // given for it
}

type accessToken struct {
	grant   *grant
	scopes  []string
	expires time.Time
	dead    bool
}

type refreshToken struct {
	value        string
	grant        *grant
	scopes       []string
	issued, used time.Time
	dead         bool
}

const accessLife = time.Hour // of an access token

func (o *oauth) init() {
	o.apps, o.codes, o.access = map[string]App{}, map[string]*code{}, map[string]*accessToken{}
	o.refresh, o.grants, o.calls = map[string]*refreshToken{}, map[grantKey]*grant{}, map[string]int{}
}

func (s *Server) routeOAuth() {
	s.mux.HandleFunc("GET /o/oauth2/v2/auth", s.serveAuth)
	s.mux.HandleFunc("POST /token", s.serveToken)
	s.mux.HandleFunc("POST /revoke", s.serveRevoke)
	s.mux.HandleFunc("GET /v1/userinfo", s.serveUserinfo)
	s.mux.HandleFunc("GET /oauth2/v3/certs", s.serveKeys)
	s.mux.HandleFunc("GET /.well-known/openid-configuration", s.serveDiscovery)
}

// Register adds an OAuth client, or replaces it.
func (s *Server) Register(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Redirects = slices.Clone(a.Redirects)
	s.oauth.apps[a.ID] = a
}

// OnConsent lets decide say what people do at the consent page, from now on. Until then whoever login_hint names signs in, without one the
// first user, and allows everything. decide may use the Server.
func (s *Server) OnConsent(decide func(ConsentRequest) Consent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oauth.consent = decide
}

// Endpoint is where apps go.
func (s *Server) Endpoint() oauth2.Endpoint {
	u := s.URL()
	return oauth2.Endpoint{AuthURL: u + "o/oauth2/v2/auth", TokenURL: u + "token", AuthStyle: oauth2.AuthStyleInParams}
}

// RevokeURL is where tokens are revoked, KeysURL where the keys are by which id_tokens and push tokens are signed (a JWK set, RFC 7517).
func (s *Server) RevokeURL() string { return s.URL() + "revoke" }
func (s *Server) KeysURL() string   { return s.URL() + "oauth2/v3/certs" }

// Visit is a browser that is sent to a consent URL and comes back: callback is where it is sent, with a code or an error. A page that is shown
// instead is an error.
func (s *Server) Visit(ctx context.Context, consent string) (callback string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, consent, nil)
	if err != nil {
		return "", err
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if callback = resp.Header.Get("Location"); callback == "" {
		return "", fmt.Errorf("gmailtest: the consent page says: %s: %s", resp.Status, strings.TrimSpace(string(page)))
	}
	return callback, nil
}

// Token is an access token of the user's for these scopes, as if an app had got it by OAuth. It lives an hour.
func (u *User) Token(scopes ...string) string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return u.s.giveAccess(u.s.granted(u, "gmailtest", scopes), scopes)
}

// TokenSource gives such tokens, another when the last has an hour behind it or was refused (provider.RefuseToken). Safe for concurrent use.
func (u *User) TokenSource(scopes ...string) oauth2.TokenSource { return &source{u: u, scopes: scopes} }

type source struct {
	u      *User
	scopes []string

	mu   sync.Mutex // guards last
	last *oauth2.Token
}

// Token implements oauth2.TokenSource.
func (t *source) Token() (*oauth2.Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.u.s.now(); t.last == nil || !now.Before(t.last.Expiry) {
		t.last = &oauth2.Token{AccessToken: t.u.Token(t.scopes...), TokenType: "Bearer", Expiry: now.Add(accessLife - time.Minute)}
	}
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

// whose finds the user of an access token.
func (s *Server) whose(token string) (*User, []string, bool) {
	if s.opts.Tokens != nil {
		subject, scopes, ok := s.opts.Tokens.Valid(token)
		for _, u := range s.users {
			if ok && u.Subject == subject {
				return u, scopes, true
			}
		}
		return nil, nil, false
	}
	t := s.oauth.access[token]
	if t == nil || t.dead || t.grant.revoked || !s.now().Before(t.expires) {
		return nil, nil, false
	}
	return t.grant.key.user, t.scopes, true
}

// granted remembers a consent.
func (s *Server) granted(u *User, app string, scopes []string) *grant {
	k := grantKey{u, app}
	g := s.oauth.grants[k]
	if g == nil || g.revoked {
		g = &grant{key: k}
		s.oauth.grants[k] = g
	}
	g.scopes = union(g.scopes, scopes)
	return g
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (s *Server) giveAccess(g *grant, scopes []string) string {
	v := s.mint("ya29.")
	s.oauth.access[v] = &accessToken{grant: g, scopes: slices.Clone(scopes), expires: s.now().Add(accessLife)}
	return v
}

// mint makes a secret that was never there before. The same calls give the same ones, so that a run can be repeated.
func (s *Server) mint(prefix string) string {
	n := s.next()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", prefix, n))
	return fmt.Sprintf("%s%d-%s", prefix, n, b64.EncodeToString(sum[:24]))
}

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
			tokenError(w, max(fault.Status, 400), fault.Reason, fault.Message)
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
		tokenError(w, http.StatusBadRequest, "invalid_token", "Token expired or revoked") // seen in practice
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

// Issuer is what Google's tokens name as theirs (facts 1.3).
const Issuer = "https://accounts.google.com"

const keyID = "gmailtest-1"

// key signs tokens. It takes a while to make, and one does for a process.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// sign makes a JWT (RFC 7519, RS256) of Google's. Claims that are there already stay.
func (s *Server) sign(claims map[string]any, life time.Duration) string {
	now := s.now()
	for k, v := range map[string]any{"iss": Issuer, "iat": now.Unix(), "exp": now.Add(life).Unix()} {
		if _, ok := claims[k]; !ok {
			claims[k] = v
		}
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key(), crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	pub := key().PublicKey
	tokenAnswer(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": b64.EncodeToString(pub.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

// serveDiscovery is OpenID Connect's, for those who look for the keys there.
func (s *Server) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	e := s.Endpoint()
	tokenAnswer(w, http.StatusOK, map[string]any{
		"issuer": Issuer, "authorization_endpoint": e.AuthURL, "token_endpoint": e.TokenURL, "revocation_endpoint": s.RevokeURL(), "jwks_uri": s.KeysURL(),
		"userinfo_endpoint": s.URL() + "v1/userinfo", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}
