package graphtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// App is an app as it is registered with Entra.
type App struct {
	ID, Secret string
	Redirects  []string // compared as strings (facts 6: exact match)
	// Tenant is the only one whose people it is for; "": any, and personal accounts.
	Tenant string
	// SecretExpires is when its secret does; zero: never. Facts 2.1: then "every mailbox fails at once".
	SecretExpires time.Time
}

// ConsentRequest is what the consent page shows, and what it was called with.
type ConsentRequest struct {
	App       string
	Tenant    string // of the address: common, organizations, consumers, an id or a domain
	Scopes    []string
	LoginHint string
	Prompt    string
	Admin     bool // it is the page where an administrator allows an app for everybody
}

// Consent is what a person does at the consent page.
type Consent struct {
	User *User
	// Error is answered instead of a code, with a description that begins with the number of AADSTS that it has, if any (facts 2.1).
	Error, Description string
	// Stay leaves the person at the page that says that an administrator's approval is needed, as most stay; else he returns to the app.
	Stay bool
}

// entra is Microsoft's authorization server. Guarded by Server.mu.
type entra struct {
	apps      map[string]App
	consent   func(ConsentRequest) Consent
	codes     map[string]*code
	access    map[string]*access
	refresh   map[string]*refreshToken
	grants    map[grantKey]*grant
	admin     map[tenantApp][]string // scopes that an administrator allowed for everybody
	removed   map[tenantApp]bool     // apps that a tenant has not
	calls     map[string]int         // by grant_type
	tokenFail []Fault
}

type tenantApp struct{ tenant, app string }

type grantKey struct {
	user *User
	app  string
}

// grant is what a person allowed an app, in all consents together.
type grant struct {
	key     grantKey
	scopes  []string
	revoked string // the error of every refresh from now on, "" while it lives
	dead    bool   // consent was taken back
}

type code struct {
	grant                              *grant
	scopes                             []string
	redirect, challenge, nonce, claims string
	used                               bool
	expires                            time.Time
	tokens                             []string // given for it
}

// access is an access token.
type access struct {
	app     string
	grant   *grant // nil where another server gave it
	scopes  []string
	expires time.Time
	claims  string // the challenge it answers
	dead    bool
}

func (a *access) allows(scope string) bool {
	return slices.ContainsFunc(a.scopes, func(v string) bool { return strings.EqualFold(short(v), scope) })
}

type refreshToken struct {
	grant    *grant
	scopes   []string
	issued   time.Time
	replaced bool
	dead     bool
}

const (
	accessLife  = time.Hour           // of an access token
	refreshLife = 90 * 24 * time.Hour // facts 2.1: "90 days default"
)

func (o *entra) init() {
	o.apps, o.codes, o.access = map[string]App{}, map[string]*code{}, map[string]*access{}
	o.refresh, o.grants, o.calls = map[string]*refreshToken{}, map[grantKey]*grant{}, map[string]int{}
	o.admin, o.removed = map[tenantApp][]string{}, map[tenantApp]bool{}
}

// serveEntra serves what is below login.microsoftonline.com.
func (s *Server) serveEntra(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch r.Method + " " + rest {
	case "GET oauth2/v2.0/authorize":
		s.serveAuthorize(w, r, tenant)
	case "POST oauth2/v2.0/token":
		s.serveToken(w, r, tenant)
	case "GET v2.0/adminconsent":
		s.serveAdminConsent(w, r, tenant)
	case "GET discovery/v2.0/keys":
		s.serveKeys(w)
	case "GET v2.0/.well-known/openid-configuration":
		s.serveDiscovery(w, tenant)
	default:
		http.NotFound(w, r)
	}
}

// Register adds an app, or replaces it.
func (s *Server) Register(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Redirects = slices.Clone(a.Redirects)
	s.entra.apps[a.ID] = a
}

// OnConsent lets decide say what people do at the consent page, from now on. Until then whoever login_hint names signs in, without one the
// first user, and allows what he may. decide may use the Server.
func (s *Server) OnConsent(decide func(ConsentRequest) Consent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entra.consent = decide
}

// AllowApp is an administrator who allows an app these scopes for everybody of a tenant (facts 2.1); none takes that back, and with it what the
// tenant's people allowed.
func (s *Server) AllowApp(tenant, app string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowApp(tenant, app, scopes)
}

func (s *Server) allowApp(tenant, app string, scopes []string) {
	k := tenantApp{tenant, app}
	delete(s.entra.removed, k)
	if len(scopes) > 0 {
		s.entra.admin[k] = union(s.entra.admin[k], shortened(scopes))
		return
	}
	delete(s.entra.admin, k)
	for gk, g := range s.entra.grants {
		if gk.app == app && gk.user.Tenant == tenant {
			g.dead = true
		}
	}
}

// RemoveApp is an administrator who removes an app from a tenant (facts 2.1: unauthorized_client, 700016 "app not in tenant"), until AllowApp.
func (s *Server) RemoveApp(tenant, app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entra.removed[tenantApp{tenant, app}] = true
}

// Endpoint is where apps go, for people of a tenant: common, organizations, consumers or an id; "": common (facts 2.1).
func (s *Server) Endpoint(tenant string) oauth2.Endpoint {
	if tenant == "" {
		tenant = "common"
	}
	u := s.host() + "/" + tenant + "/oauth2/v2.0/"
	return oauth2.Endpoint{AuthURL: u + "authorize", TokenURL: u + "token", AuthStyle: oauth2.AuthStyleInParams}
}

// KeysURL is where the keys are by which id_tokens are signed (a JWK set, RFC 7517).
func (s *Server) KeysURL() string { return s.host() + "/common/discovery/v2.0/keys" }

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
		return "", fmt.Errorf("graphtest: the consent page says: %s: %s", resp.Status, strings.TrimSpace(string(page)))
	}
	return callback, nil
}

// whose finds the user of an access token.
func (s *Server) whose(token string) (*User, *access) {
	if s.opts.Tokens != nil {
		subject, scopes, ok := s.opts.Tokens.Valid(token)
		for _, u := range s.users {
			if ok && (u.Subject == subject || u.OID == subject) {
				return u, &access{scopes: scopes}
			}
		}
		return nil, nil
	}
	t := s.entra.access[token]
	if t == nil || t.dead || t.grant.dead || t.grant.key.user.disabled || !s.now().Before(t.expires) {
		return nil, nil
	}
	return t.grant.key.user, t
}

// granted remembers a consent.
func (s *Server) granted(u *User, app string, scopes []string) *grant {
	k := grantKey{u, app}
	g := s.entra.grants[k]
	if g == nil || g.dead || g.revoked != "" {
		g = &grant{key: k}
		s.entra.grants[k] = g
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

const resource = "https://graph.microsoft.com/"

// short is a scope's name without its resource.
func short(scope string) string { return strings.TrimPrefix(scope, resource) }

func shortened(scopes []string) []string {
	var out []string
	for _, v := range scopes {
		out = append(out, short(v))
	}
	return out
}

func (s *Server) giveAccess(g *grant, scopes []string, claims string) string {
	v := s.mint("EwB4A8l6")
	s.entra.access[v] = &access{app: g.key.app, grant: g, scopes: slices.Clone(scopes), expires: s.now().Add(accessLife), claims: claims}
	return v
}
