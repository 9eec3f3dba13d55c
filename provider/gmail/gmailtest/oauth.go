package gmailtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
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

// mint makes a secret that was never there before. The same calls of a Server of the same project give the same ones, so that a run can be repeated.
func (s *Server) mint(prefix string) string {
	n := s.next()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", s.opts.Project, prefix, n))
	return fmt.Sprintf("%s%d-%s", prefix, n, b64.EncodeToString(sum[:24]))
}
