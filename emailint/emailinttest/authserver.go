package emailinttest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/internal/fakehttp"
)

// AuthKind is whose habits an AuthServer has, where services differ: who gets a refresh token, what becomes of it when it is used, and
// what it dies of.
type AuthKind string

const (
	// AuthGoogle gives a refresh token for access_type=offline, to someone who has consented before only with prompt=consent, and keeps it
	// when it is used. People may untick scopes. Facts 1.1, 1.2.
	AuthGoogle AuthKind = "google"
	// AuthMicrosoft gives one for the scope offline_access, a new one at each use, and the old one stays valid. There is no revocation.
	// Facts 2.1.
	AuthMicrosoft AuthKind = "microsoft"
	// AuthRotating always gives one, a new one at each use, and takes the use of an old one for theft: the whole family dies (RFC 9700,
	// 4.14.2; facts 6).
	AuthRotating AuthKind = "rotating"
)

// AuthStep is what a request wants of an AuthServer.
type AuthStep string

const (
	AuthAuthorize AuthStep = "authorize" // a browser at the consent page
	AuthExchange  AuthStep = "exchange"  // the token endpoint, with a code
	AuthRefresh   AuthStep = "refresh"   // the token endpoint, with a refresh token
	AuthRevoke    AuthStep = "revoke"
)

// AuthClient is an app as it is registered at the service.
type AuthClient struct {
	ID, Secret string
	Redirects  []string // compared as strings
	Scopes     []string // what it may ask for; nil: anything
	// Testing: Google's consent screen is in testing, and refresh tokens die after seven days (facts 1.2).
	Testing bool
}

// AuthUser is a person with an account at the service.
type AuthUser struct {
	Subject string // Google's sub, Microsoft's oid
	Address string
	Tenant  string // Microsoft's tid; "": that of personal accounts (facts 2.1)
}

// AuthRequest is what a consent page shows, and what it was called with.
type AuthRequest struct {
	Client    string
	Redirect  string
	Scopes    []string
	LoginHint string
	Prompt    string
}

// AuthDecision is what a person does at the consent page.
type AuthDecision struct {
	User   AuthUser
	Scopes []string // the boxes that are ticked, with those of the sign-in or without; nil: all
	// Error is answered instead of a code: access_denied, admin_policy_enforced, consent_required, interaction_required …
	Error, Description string
}

// AuthFault is what befalls a request. The zero AuthFault is none.
type AuthFault struct {
	// After: the request has its effect first, and what the caller gets tells him nothing of it.
	After bool
	// Reached, where it isn't nil, is called when the request is there (and has had its effect, with After).
	Reached func()
	// Wait, where it isn't nil, holds the request until it is closed or the caller gives up. Then the rest follows; with nothing more, the
	// right answer.
	Wait <-chan struct{}
	// Cut ends the connection without an answer.
	Cut bool
	// Status is answered: 500, 429. 0 with a Code is 400.
	Status     int
	RetryAfter time.Duration // with Status, in seconds
	// Code is the error of RFC 6749, 5.2 that is answered: invalid_client, temporarily_unavailable.
	Code, Description string
}

// AuthCall is a request as an AuthServer saw it. It holds secrets.
type AuthCall struct {
	At     time.Time
	Step   AuthStep // "" at the token endpoint with any other grant_type
	Client string   // as it named itself
	Token  string   // the code, or the token that was to be refreshed or revoked
	Status int      // 0: not answered, or not yet
	Error  string   // the OAuth error that was answered
}

// String leaves the secrets out.
func (c AuthCall) String() string {
	return fmt.Sprintf("%s by %s: %d %s", c.Step, c.Client, c.Status, c.Error)
}

// AuthOptions changes an AuthServer.
type AuthOptions struct {
	Now        func() time.Time // nil: time.Now
	CodeLife   time.Duration    // of an authorization code; 0: ten minutes
	AccessLife time.Duration    // of an access token, whole seconds; 0: an hour
}

// AuthServer is an OAuth 2.0 authorization server in memory, for tests and examples: authorize, token and revoke, each also below a
// tenant, which is ignored. It is as strict as real ones and stricter where the RFCs are; what it refuses, some service refuses. People
// and their consent are the test's: OnConsent, SignIn, Refuse. Safe for concurrent use; it starts nothing, so it lives in a synctest
// bubble. Rules cite an RFC, or a section of our notes on services ("facts").
type AuthServer struct {
	kind       AuthKind
	now        func() time.Time
	codeLife   time.Duration
	accessLife time.Duration
	mux        *http.ServeMux

	mu       sync.Mutex // guards everything below
	issuer   string
	consent  func(AuthRequest) AuthDecision
	clients  map[string]*client
	serial   int
	codes    map[string]*code
	accesses map[string]*access
	refresh  map[string]*refresh
	order    []*refresh // oldest first
	grants   map[grantKey]*grant
	faults   map[AuthStep][]AuthFault
	log      []AuthCall
}

type client struct {
	AuthClient
	expired bool // its secret
}

var _ http.Handler = (*AuthServer)(nil)

// NewAuthServer returns a server without clients, where whoever comes to the consent page signs in as Owner and allows everything. A nil
// o is the defaults.
func NewAuthServer(k AuthKind, o *AuthOptions) *AuthServer {
	if o == nil {
		o = &AuthOptions{}
	}
	s := &AuthServer{
		kind: k, now: o.Now, codeLife: o.CodeLife, accessLife: o.AccessLife, mux: http.NewServeMux(),
		issuer:  "https://" + string(k) + ".test", // RFC 2606, 2: never anybody's
		clients: map[string]*client{}, codes: map[string]*code{}, accesses: map[string]*access{}, refresh: map[string]*refresh{},
		grants: map[grantKey]*grant{}, faults: map[AuthStep][]AuthFault{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.codeLife == 0 {
		s.codeLife = 10 * time.Minute // RFC 6749, 4.1.2: at most
	}
	if s.accessLife == 0 {
		s.accessLife = time.Hour
	}
	s.SignIn(AuthUser{Subject: "owner", Address: Owner})
	endpoints := map[string]http.HandlerFunc{"/authorize": s.serveAuthorize, "/token": s.serveToken}
	if k != AuthMicrosoft { // facts 2.1: "No RFC 7009 revocation endpoint at Microsoft"
		endpoints["/revoke"] = s.serveRevoke
	}
	for path, h := range endpoints {
		s.mux.HandleFunc(path, h)
		s.mux.HandleFunc("/{tenant}"+path, h)
	}
	return s
}

// ServeHTTP implements http.Handler.
func (s *AuthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Listen serves on a loopback port from now on, whose address is the issuer's. The caller closes the server.
func (s *AuthServer) Listen() *httptest.Server {
	srv := httptest.NewServer(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issuer = srv.URL
	return srv
}

// Issuer is the server's address and its name in "iss".
func (s *AuthServer) Issuer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issuer
}

// Endpoint is where apps go, without a tenant.
func (s *AuthServer) Endpoint() oauth2.Endpoint { return s.endpoint("") }

func (s *AuthServer) endpoint(tenant string) oauth2.Endpoint {
	base := s.Issuer()
	if tenant != "" {
		base += "/" + url.PathEscape(tenant)
	}
	return oauth2.Endpoint{AuthURL: base + "/authorize", TokenURL: base + "/token", AuthStyle: oauth2.AuthStyleInParams}
}

// RevokeURL is where tokens are revoked, "" where the service has no such place.
func (s *AuthServer) RevokeURL() string {
	if s.kind == AuthMicrosoft {
		return ""
	}
	return s.Issuer() + "/revoke"
}

// Client reaches the server through memory, and nothing else: a request that is meant for another host is an error, and redirects are
// handed back.
func (s *AuthServer) Client() *http.Client {
	return fakehttp.Transport{Handler: s, Refuse: func(at *url.URL) error {
		if u, err := url.Parse(s.Issuer()); err != nil || at.Scheme != u.Scheme || at.Host != u.Host {
			return fmt.Errorf("emailinttest: %s://%s is not the authorization server", at.Scheme, at.Host)
		}
		return nil
	}}.Client()
}

// Visit is a browser that is sent to a consent URL and comes back: callback is where the server sends it, with a code or an error. A page
// that is shown instead is an error.
func (s *AuthServer) Visit(ctx context.Context, consent string) (callback string, err error) {
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
		return "", fmt.Errorf("emailinttest: the consent page says: %s: %s", resp.Status, strings.TrimSpace(string(page)))
	}
	return callback, nil
}

// Register adds a client, or replaces it: a new secret ends the old one's life and heals ExpireSecret. A client without a secret can't
// sign in.
func (s *AuthServer) Register(c AuthClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Redirects, c.Scopes = slices.Clone(c.Redirects), slices.Clone(c.Scopes)
	s.clients[c.ID] = &client{AuthClient: c}
}

// ExpireSecret makes a client's secret worthless, which no user can heal (facts 2.1: 7000222).
func (s *AuthServer) ExpireSecret(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[id]; c != nil {
		c.expired = true
	}
}

// OnConsent lets decide say what people do at the consent page, from now on. It may be called concurrently.
func (s *AuthServer) OnConsent(decide func(AuthRequest) AuthDecision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consent = decide
}

// SignIn makes whoever comes to the consent page sign in as that user and tick those scopes; none: all.
func (s *AuthServer) SignIn(u AuthUser, ticked ...string) {
	s.OnConsent(func(AuthRequest) AuthDecision { return AuthDecision{User: u, Scopes: ticked} })
}

// Refuse makes the consent page answer with an error.
func (s *AuthServer) Refuse(code, description string) {
	s.OnConsent(func(AuthRequest) AuthDecision { return AuthDecision{Error: code, Description: description} })
}

// Fail makes a fault befall the next n requests for a step, after those that were asked for before.
func (s *AuthServer) Fail(step AuthStep, n int, f AuthFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[step] = append(s.faults[step], slices.Repeat([]AuthFault{f}, n)...)
}

// Calm takes back the faults that have not come yet.
func (s *AuthServer) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Log returns every request so far, in the order in which they came.
func (s *AuthServer) Log() []AuthCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count returns how many requests there were for a step, refused and unanswered ones included.
func (s *AuthServer) Count(step AuthStep) int {
	n := 0
	for _, c := range s.Log() {
		if c.Step == step {
			n++
		}
	}
	return n
}

// Refreshes returns how often a refresh token was used, or tried.
func (s *AuthServer) Refreshes(token string) int {
	n := 0
	for _, c := range s.Log() {
		if c.Step == AuthRefresh && c.Token == token {
			n++
		}
	}
	return n
}

// answer is what the caller gets.
type answer struct {
	status int
	header http.Header
	body   string
	err    string // for the log
}

// serve takes a request through its fault to its effect and its answer.
func (s *AuthServer) serve(w http.ResponseWriter, r *http.Request, call AuthCall, act func() answer) {
	s.mu.Lock()
	call.At = s.now()
	n := len(s.log)
	s.log = append(s.log, call)
	var f AuthFault
	if fs := s.faults[call.Step]; len(fs) > 0 {
		f, s.faults[call.Step] = fs[0], fs[1:]
	}
	s.mu.Unlock()

	var a answer
	if f.After {
		a = act()
	}
	if f.Reached != nil {
		f.Reached()
	}
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Code != "":
		a = s.refusal(&authError{status: f.Status, code: f.Code, description: f.Description})
	case f.Status != 0:
		a = page(f.Status, http.StatusText(f.Status))
	case !f.After:
		a = act()
	}
	if f.RetryAfter > 0 && f.Status != 0 {
		a.header.Set("Retry-After", fmt.Sprint(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	s.mu.Lock()
	s.log[n].Status, s.log[n].Error = a.status, a.err
	s.mu.Unlock()
	h := w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	h.Set("Cache-Control", "no-store") // RFC 6749, 5.1
	h.Set("Pragma", "no-cache")
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // a caller who left is no concern of the server's
}

// page is an answer for people.
func page(status int, text string) answer {
	return answer{status: status, header: http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
	}, body: "<!doctype html><title>Sign-in</title><p>" + text + "\n"}
}

// once returns the parameters, unless one is there twice (RFC 6749, 3.1 and 3.2). Those without a value are as if left out.
func once(v url.Values) (func(string) string, error) {
	for _, vs := range v {
		if len(vs) > 1 {
			return v.Get, errTwice
		}
	}
	return v.Get, nil
}

var (
	errTwice   = errors.New("a parameter is there more than once")
	errNotForm = errors.New("the parameters must be an application/x-www-form-urlencoded body")
	errNoToken = errors.New("token is missing")
)

// form reads the parameters of an endpoint that is posted to. RFC 6749, 2.3.1: a secret must not be in the address, so nothing may.
func form(r *http.Request) (func(string) string, error) {
	none := func(string) string { return "" }
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" || len(r.PostForm) == 0 {
		return none, errNotForm
	}
	return once(r.PostForm)
}

// mint makes a secret that was never there before: the kind says what it is, the hash that it can't be mistaken for anything else in a
// log. The same calls give the same ones, so that a run can be repeated. The caller holds mu.
func (s *AuthServer) mint(kind string) string {
	s.serial++
	return fmt.Sprintf("%s-%d-%x", kind, s.serial, sha256.Sum256(fmt.Appendf(nil, "%s %s %d", s.kind, kind, s.serial)))
}
