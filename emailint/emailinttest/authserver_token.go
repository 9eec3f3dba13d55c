package emailinttest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

type grantKey struct{ tenant, subject, client string }

// grant is what a person allowed a client, in all consents together.
type grant struct {
	key    grantKey
	user   AuthUser
	scopes []string
	died   death
}

// family is the tokens that came of one code.
type family struct {
	grant  *grant
	scopes []string
	nonce  string
	died   death
}

type access struct {
	family  *family
	scopes  []string
	expires time.Time
}

type refresh struct {
	family       *family
	issued, used time.Time
	rotated      bool // another has taken its place (AuthRotating)
	died         death
}

// death is what ended a grant, a family or a refresh token.
type death int

const (
	alive death = iota
	withdrawn
	reused
	sessionsEnded
	expired
	crowdedOut
)

// deaths says it in words, with Microsoft's number where the facts (2.1) have one.
var deaths = [...]struct {
	why    string
	aadsts int
}{
	withdrawn:     {"the user's consent is missing", 65001},
	reused:        {"a code or a refresh token was used twice", 0},
	sessionsEnded: {"the sessions of the user were ended", 50173},
	expired:       {"the refresh token has expired", 700082},
	crowdedOut:    {"there are too many refresh tokens", 0},
}

// authError is an error of RFC 6749, 5.2; a status of 0 is 400.
type authError struct {
	status            int
	code, description string
	aadsts            int
	basic             bool // the client tried Basic
}

// refusal is the answer to an authError.
func (s *AuthServer) refusal(e *authError) answer {
	status := e.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	body := map[string]any{"error": e.code}
	description := e.description
	if s.kind == AuthMicrosoft && e.aadsts != 0 { // facts 2.1: clients branch on "error", and log these
		description = fmt.Sprintf("AADSTS%d: %s", e.aadsts, description)
		body["error_codes"] = []int{e.aadsts}
		body["trace_id"] = "00000000-0000-4000-8000-000000000001"
		body["correlation_id"] = "00000000-0000-4000-8000-000000000002"
	}
	if description != "" {
		body["error_description"] = description
	}
	a := jsonAnswer(status, body)
	a.err = e.code
	if e.basic { // RFC 6749, 5.2
		a.header.Set("WWW-Authenticate", `Basic realm="token"`)
	}
	return a
}

func jsonAnswer(status int, v any) answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json;charset=UTF-8"}}, body: string(b)}
}

func (s *AuthServer) serveToken(w http.ResponseWriter, r *http.Request) {
	get, err := form(r)
	call := AuthCall{Client: named(r, get)}
	switch get("grant_type") {
	case "authorization_code":
		call.Step, call.Token = AuthExchange, get("code")
	case "refresh_token":
		call.Step, call.Token = AuthRefresh, get("refresh_token")
	}
	s.serve(w, r, call, func() answer {
		if r.Method != http.MethodPost { // RFC 6749, 3.2
			return page(http.StatusMethodNotAllowed, "The token endpoint is posted to.")
		}
		if err != nil {
			return s.refusal(&authError{code: "invalid_request", description: err.Error()})
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		tokens, refused := s.tokens(r, get)
		if refused != nil {
			return s.refusal(refused)
		}
		return jsonAnswer(http.StatusOK, tokens)
	})
}

// named is who a client says it is.
func named(r *http.Request, get func(string) string) string {
	if user, _, ok := r.BasicAuth(); ok {
		if id, err := url.QueryUnescape(user); err == nil {
			return id
		}
	}
	return get("client_id")
}

func (s *AuthServer) tokens(r *http.Request, get func(string) string) (map[string]any, *authError) {
	c, refused := s.authenticate(r, get)
	if refused != nil {
		return nil, refused
	}
	switch get("grant_type") {
	case "authorization_code":
		return s.exchange(c, get)
	case "refresh_token":
		return s.renew(c, get)
	case "":
		return nil, &authError{code: "invalid_request", description: "grant_type is missing"}
	default: // RFC 9700, 2.4: no password grant
		return nil, &authError{code: "unsupported_grant_type", description: "only codes and refresh tokens are taken"}
	}
}

// authenticate finds the client (RFC 6749, 2.3).
func (s *AuthServer) authenticate(r *http.Request, get func(string) string) (*client, *authError) {
	id, secret := get("client_id"), get("client_secret")
	user, pass, basic := r.BasicAuth()
	if basic {
		if secret != "" { // 2.3: "MUST NOT use more than one authentication method"
			return nil, &authError{code: "invalid_request", description: "the client authenticates in two ways"}
		}
		user, err1 := url.QueryUnescape(user) // 2.3.1: both are form-encoded first
		pass, err2 := url.QueryUnescape(pass)
		if err1 != nil || err2 != nil || id != "" && id != user {
			return nil, &authError{code: "invalid_request", description: "the client names itself in two ways"}
		}
		id, secret = user, pass
	}
	c := s.clients[id]
	switch {
	case c == nil && s.kind == AuthMicrosoft: // facts 2.1
		return nil, &authError{code: "unauthorized_client", description: "there is no such app in the tenant", aadsts: 700016}
	case c == nil:
		return nil, &authError{status: http.StatusUnauthorized, code: "invalid_client", description: "there is no such client", basic: basic}
	case c.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) != 1:
		return nil, &authError{status: http.StatusUnauthorized, code: "invalid_client", description: "the client secret is wrong", aadsts: 7000215, basic: basic}
	case c.expired:
		return nil, &authError{status: http.StatusUnauthorized, code: "invalid_client", description: "the client secret has expired", aadsts: 7000222, basic: basic}
	}
	return c, nil
}

// RFC 7636, 4.1.
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// exchange gives tokens for a code (RFC 6749, 4.1.3).
func (s *AuthServer) exchange(cl *client, get func(string) string) (map[string]any, *authError) {
	invalid := func(why string) (map[string]any, *authError) {
		return nil, &authError{code: "invalid_grant", description: why}
	}
	value := get("code")
	if value == "" {
		return nil, &authError{code: "invalid_request", description: "code is missing"}
	}
	c := s.codes[value]
	if c == nil || c.client != cl.ID {
		return invalid("there is no such code for this client")
	}
	if c.family != nil { // RFC 6749, 4.1.2: a second use revokes what the first one gave
		c.family.died = reused
		return invalid("the code was used before")
	}
	sum := sha256.Sum256([]byte(get("code_verifier")))
	switch {
	case !s.now().Before(c.expires):
		return invalid("the code has expired")
	case get("redirect_uri") != c.redirect:
		return invalid("redirect_uri is not what the code was asked for with")
	case !verifierForm.MatchString(get("code_verifier")), base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge: // RFC 7636, 4.6
		return invalid("code_verifier does not fit the code")
	case c.grant.died != alive:
		return invalid(deaths[c.grant.died].why)
	}
	c.family = &family{grant: c.grant, scopes: c.scopes, nonce: c.nonce}
	tokens := s.give(cl, c.family, c.scopes)
	if c.offline {
		tokens["refresh_token"] = s.giveRefresh(cl, c.family)
	}
	return tokens, nil
}

// renew gives tokens for a refresh token (RFC 6749, 6).
func (s *AuthServer) renew(cl *client, get func(string) string) (map[string]any, *authError) {
	value := get("refresh_token")
	if value == "" {
		return nil, &authError{code: "invalid_request", description: "refresh_token is missing"}
	}
	t := s.refresh[value]
	if t == nil || t.family.grant.key.client != cl.ID {
		return nil, &authError{code: "invalid_grant", description: "there is no such refresh token for this client"}
	}
	if t.rotated { // RFC 9700, 4.14.2
		t.family.died = reused
	}
	if d := s.ended(cl, t); d != alive {
		why := deaths[d]
		if s.kind == AuthGoogle { // facts 1.2: they all look the same
			why.why = "the token has expired or was revoked"
		}
		return nil, &authError{code: "invalid_grant", description: why.why, aadsts: why.aadsts}
	}
	scopes := t.family.scopes
	if asked := strings.Fields(get("scope")); len(asked) > 0 { // RFC 6749, 6: never more than was granted
		if !s.covers(scopes, asked) {
			return nil, &authError{code: "invalid_scope", description: "that was not granted"}
		}
		scopes = s.canonical(asked)
	}
	t.used = s.now()
	tokens := s.give(cl, t.family, scopes)
	switch s.kind {
	case AuthGoogle: // facts 1.2: "Google does NOT rotate refresh tokens on refresh"
	case AuthMicrosoft: // facts 2.1: "replaced on every use; the OLD token is NOT revoked by use"
		tokens["refresh_token"] = s.giveRefresh(cl, t.family)
	default:
		t.rotated = true
		tokens["refresh_token"] = s.giveRefresh(cl, t.family)
	}
	return tokens, nil
}

// ended is what a refresh token has died of.
func (s *AuthServer) ended(cl *client, t *refresh) death {
	for _, d := range []death{t.died, t.family.died, t.family.grant.died} {
		if d != alive {
			return d
		}
	}
	end := time.Time{}
	switch s.kind {
	case AuthGoogle:
		end = t.used.AddDate(0, 6, 0) // facts 1.2: "unused 6 months"
		if cl.Testing && slices.ContainsFunc(t.family.scopes, func(name string) bool { return !signIn(name) }) {
			end = t.issued.AddDate(0, 0, 7) // facts 1.2: in testing, unless it has only profile scopes
		}
	case AuthMicrosoft:
		end = t.issued.AddDate(0, 0, 90) // facts 2.1
	}
	if !end.IsZero() && !s.now().Before(end) {
		return expired
	}
	return alive
}

// give makes the answer of RFC 6749, 5.1 with a new access token.
func (s *AuthServer) give(cl *client, f *family, scopes []string) map[string]any {
	value := s.mint("access")
	told := slices.Clone(scopes)
	if s.kind == AuthMicrosoft {
		// Seen in practice: it is granted and never told (O365/python-o365#611).
		told = slices.DeleteFunc(told, func(name string) bool { return name == "offline_access" })
	}
	s.accesses[value] = &access{family: f, scopes: told, expires: s.now().Add(s.accessLife)}
	tokens := map[string]any{
		"access_token": value, "token_type": "Bearer", "expires_in": int(s.accessLife / time.Second), "scope": strings.Join(told, " "),
	}
	if slices.Contains(scopes, "openid") { // OpenID Connect Core, 3.1.2.1
		tokens["id_token"] = s.identity(cl, f, scopes)
	}
	return tokens
}

// perClient is how many refresh tokens of an account and a client live at Google; the oldest goes silently (facts 1.2).
const perClient = 100

func (s *AuthServer) giveRefresh(cl *client, f *family) string {
	now := s.now()
	t := &refresh{family: f, issued: now, used: now}
	value := s.mint("refresh")
	s.refresh[value] = t
	s.order = append(s.order, t)
	if s.kind == AuthGoogle {
		var live []*refresh
		for _, o := range s.order {
			if o.family.grant == f.grant && s.ended(cl, o) == alive {
				live = append(live, o)
			}
		}
		if len(live) > perClient {
			live[0].died = crowdedOut
		}
	}
	return value
}

// personal is the tenant of personal accounts at Microsoft (facts 2.1).
const personal = "9188040d-6c67-4c5b-b112-36a304b66dad"

// identity makes the id_token (OpenID Connect Core, 2), signed with the client's secret (10.1).
func (s *AuthServer) identity(cl *client, f *family, scopes []string) string {
	u := f.grant.user
	now := s.now()
	claims := map[string]any{
		"iss": s.issuer, "aud": cl.ID, "sub": u.Subject, "iat": now.Unix(), "exp": now.Add(s.accessLife).Unix(),
	}
	if slices.Contains(scopes, "email") || slices.Contains(scopes, googleEmail) {
		claims["email"] = u.Address
		if s.kind != AuthMicrosoft { // facts 2.1: there it may be anybody's claim
			claims["email_verified"] = true
		}
	}
	if f.nonce != "" {
		claims["nonce"] = f.nonce
	}
	if s.kind == AuthMicrosoft { // facts 2.1: tid and oid are the person; sub is another for each app
		claims["tid"], claims["oid"] = u.Tenant, u.Subject
		if u.Tenant == "" {
			claims["tid"] = personal
		}
		claims["sub"] = fmt.Sprintf("%x", sha256.Sum256([]byte(cl.ID+" "+u.Tenant+" "+u.Subject)))
		claims["preferred_username"] = u.Address
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(cl.Secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Valid is for a service behind the server: whose access token it is and what it is good for, scopes named as the server answers them.
func (s *AuthServer) Valid(accessToken string) (subject string, scopes []string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accesses[accessToken]
	if a == nil || !s.now().Before(a.expires) || a.family.died != alive || a.family.grant.died != alive {
		return "", nil, false
	}
	return a.family.grant.user.Subject, slices.Clone(a.scopes), true
}
