package graphtest

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func page(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!doctype html><title>Sign in to your account</title><p>%s\n", html.EscapeString(text))
}

// signIn are the scopes that are nobody's to forbid.
var signIn = []string{"openid", "profile", "email", ScopeOffline}

// guarded are the scopes that ordinary people of a work account cannot allow under the managed policy (facts 2.1).
var guarded = []string{ScopeRead, ScopeReadWrite, "Mail.ReadBasic", "Mail.Read.Shared", "Mail.ReadWrite.Shared", ScopeSettingsRead, ScopeSettingsWrite, "Calendars.Read", "Calendars.ReadWrite", "Contacts.ReadWrite"}

// redirectTo sends a browser back to an app.
func redirectTo(w http.ResponseWriter, redirect string, v url.Values) {
	u, err := url.Parse(redirect)
	if err != nil {
		page(w, http.StatusBadRequest, "AADSTS90102: 'redirect_uri' value must be a valid absolute URI.")
		return
	}
	q := u.Query()
	for k, vs := range v {
		q[k] = vs
	}
	u.RawQuery = q.Encode()
	w.Header().Set("Location", u.String())
	w.WriteHeader(http.StatusFound)
}

// known finds the app of a request and says whether its redirect is one. RFC 6749, 4.1.2.1: a browser is never sent to an address that isn't known
// to be the app's.
func (s *Server) known(w http.ResponseWriter, q url.Values) (App, bool) {
	s.mu.Lock()
	app, ok := s.entra.apps[q.Get("client_id")]
	s.mu.Unlock()
	switch {
	case !ok:
		page(w, http.StatusBadRequest, "AADSTS700016: Application with identifier '"+q.Get("client_id")+"' was not found in the directory.")
		return app, false
	case !slices.Contains(app.Redirects, q.Get("redirect_uri")):
		page(w, http.StatusBadRequest, "AADSTS50011: The redirect URI '"+q.Get("redirect_uri")+"' specified in the request does not match the redirect URIs configured for the application.")
		return app, false
	}
	return app, true
}

// serveAuthorize is the consent page.
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request, tenant string) {
	q := r.URL.Query()
	app, ok := s.known(w, q)
	if !ok {
		return
	}
	back := func(v url.Values) {
		if st := q.Get("state"); st != "" {
			v.Set("state", st)
		}
		redirectTo(w, q.Get("redirect_uri"), v)
	}
	refuse := func(code, description string) {
		back(url.Values{"error": {code}, "error_description": {description}})
	}
	asked := shortened(strings.Fields(q.Get("scope")))
	switch {
	case q.Get("response_type") != "code":
		refuse("unsupported_response_type", "AADSTS70005: response_type is not supported.")
		return
	case len(asked) == 0:
		refuse("invalid_request", "AADSTS900144: The request body must contain the following parameter: 'scope'.")
		return
	case len(q.Get("code_challenge")) != 43 || q.Get("code_challenge_method") != "S256":
		refuse("invalid_request", "AADSTS9002325: Proof Key for Code Exchange is required.") // facts 6: "PKCE for all clients"; Entra lets others be, this doesn't
		return
	}
	d := s.decision(ConsentRequest{app.ID, tenant, slices.Clone(asked), q.Get("login_hint"), q.Get("prompt"), false})
	switch {
	case d.Error != "":
		refuse(d.Error, d.Description)
		return
	case d.User == nil:
		page(w, http.StatusInternalServerError, "graphtest: nobody signs in: add a user")
		return
	}
	s.mu.Lock()
	code, description := s.forbids(app, tenant, d.User, asked)
	s.mu.Unlock()
	switch {
	case description != "" && (d.Stay || code == ""):
		page(w, http.StatusOK, description)
	case description != "":
		refuse(code, description)
	default:
		back(url.Values{"code": {s.giveCode(d.User, app.ID, asked, q)}, "session_state": {s.guid("session", q.Get("state"))}})
	}
}

// forbids says why a person cannot allow an app what it asks for; without a code he isn't sent back.
func (s *Server) forbids(app App, tenant string, u *User, asked []string) (code, description string) {
	personal := u.Tenant == ConsumerTenant
	_, domain, _ := strings.Cut(u.Address, "@")
	switch t := strings.ToLower(tenant); {
	case t == "common", t == u.Tenant, strings.EqualFold(t, domain):
	case t == "organizations" && !personal, t == "consumers" && personal:
	default:
		return "", "AADSTS50020: User account '" + u.Address + "' from identity provider does not exist in tenant '" + tenant + "' and cannot access the application."
	}
	switch {
	case app.Tenant != "" && app.Tenant != u.Tenant, s.entra.removed[tenantApp{u.Tenant, app.ID}]:
		return "unauthorized_client", "AADSTS700016: Application with identifier '" + app.ID + "' was not found in the directory '" + u.Tenant + "'."
	case u.disabled:
		return "", "AADSTS50057: The user account is disabled."
	case personal || s.opts.UserConsent:
		return "", ""
	}
	// Facts 2.1: "Existing grants keep working; new scopes on an existing grant need admin again".
	allowed := slices.Clone(s.entra.admin[tenantApp{u.Tenant, app.ID}])
	if g := s.entra.grants[grantKey{u, app.ID}]; g != nil && !g.dead {
		allowed = union(allowed, g.scopes)
	}
	for _, v := range asked {
		if slices.Contains(guarded, v) && !slices.Contains(allowed, v) {
			return "access_denied", "AADSTS90094: An administrator of your organization has set a policy that prevents you from granting this application the permissions it is requesting. Contact an administrator, who can grant permissions to this application on your behalf."
		}
	}
	return "", ""
}

func (s *Server) decision(r ConsentRequest) Consent {
	s.mu.Lock()
	decide := s.entra.consent
	s.mu.Unlock()
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

func (s *Server) giveCode(u *User, app string, scopes []string, q url.Values) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &code{
		grant: s.granted(u, app, scopes), scopes: scopes, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"),
		claims: q.Get("claims"), expires: s.now().Add(10 * time.Minute),
	}
	v := s.mint("1.AXkA")
	s.entra.codes[v] = c
	return v
}

// serveAdminConsent is the page where an administrator allows an app for everybody. Facts 2.1: it "returns admin_consent=True&tenant=".
func (s *Server) serveAdminConsent(w http.ResponseWriter, r *http.Request, tenant string) {
	q := r.URL.Query()
	app, ok := s.known(w, q)
	if !ok {
		return
	}
	scopes := shortened(strings.Fields(q.Get("scope")))
	d := s.decision(ConsentRequest{app.ID, tenant, scopes, q.Get("login_hint"), q.Get("prompt"), true})
	v := url.Values{}
	if st := q.Get("state"); st != "" {
		v.Set("state", st)
	}
	switch {
	case d.Error != "":
		v.Set("error", d.Error)
		v.Set("error_description", d.Description)
	case d.User == nil:
		page(w, http.StatusInternalServerError, "graphtest: nobody signs in: add a user")
		return
	case d.User.Tenant == ConsumerTenant:
		page(w, http.StatusOK, "AADSTS500200: User account is a personal Microsoft account. Personal Microsoft accounts are not supported for this application unless explicitly invited to an organization.")
		return
	default:
		s.mu.Lock()
		s.allowApp(d.User.Tenant, app.ID, scopes)
		s.mu.Unlock()
		v.Set("admin_consent", "True")
		v.Set("tenant", d.User.Tenant)
		v.Set("scope", strings.Join(scopes, " "))
	}
	redirectTo(w, q.Get("redirect_uri"), v)
}

// challenged is the answer of continuous access evaluation (facts 2.1).
func challenged(claims string) *apiError {
	e := unauthorized("Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp")
	e.header = http.Header{"Www-Authenticate": {fmt.Sprintf(`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="%s"`,
		base64.StdEncoding.EncodeToString([]byte(claims)))}}
	return e
}
