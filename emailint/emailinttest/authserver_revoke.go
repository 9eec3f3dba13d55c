package emailinttest

import (
	"net/http"
	"slices"
	"strings"
)

// Withdraw is a person who takes the consent back, or an administrator: every token of that person and client dies (facts 1.2, 2.1).
func (s *AuthServer) Withdraw(subject, client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, g := range s.grants {
		if k.subject == subject && k.client == client && g.died == alive {
			g.died = withdrawn
		}
	}
}

// ChangePassword is a person who sets another password. At Google refresh tokens that reach Gmail die (facts 1.2); at Microsoft those of
// confidential clients survive (facts 2.1); AuthRotating kills all. Access tokens live on until they expire.
func (s *AuthServer) ChangePassword(subject string) {
	s.endSessions(subject, func(t *refresh) bool {
		switch s.kind {
		case AuthGoogle:
			return slices.ContainsFunc(t.family.scopes, func(name string) bool {
				return strings.HasPrefix(name, "https://www.googleapis.com/auth/gmail.") || name == "https://mail.google.com/"
			})
		case AuthMicrosoft:
			return false
		default:
			return true
		}
	})
}

// EndSessions is "revoke sessions" (facts 2.1), or Workspace's session policy (facts 1.2): every refresh token of the person dies. Access
// tokens live on until they expire.
func (s *AuthServer) EndSessions(subject string) {
	s.endSessions(subject, func(*refresh) bool { return true })
}

func (s *AuthServer) endSessions(subject string, which func(*refresh) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.order {
		if t.family.grant.key.subject == subject && t.died == alive && which(t) {
			t.died = sessionsEnded
		}
	}
}

func (s *AuthServer) serveRevoke(w http.ResponseWriter, r *http.Request) {
	get, err := form(r)
	s.serve(w, r, AuthCall{Step: AuthRevoke, Client: named(r, get), Token: get("token")}, func() answer {
		if r.Method != http.MethodPost { // RFC 7009, 2.1
			return page(http.StatusMethodNotAllowed, "The revocation endpoint is posted to.")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil && get("token") == "" {
			err = errNoToken
		}
		if err != nil {
			return s.refusal(&authError{code: "invalid_request", description: err.Error()})
		}
		if refused := s.revoke(r, get); refused != nil {
			return s.refusal(refused)
		}
		return answer{status: http.StatusOK, header: http.Header{}}
	})
}

// revoke ends a token by ending the grant behind it. A token that is none is no error (RFC 7009, 2.2).
func (s *AuthServer) revoke(r *http.Request, get func(string) string) *authError {
	var g *grant
	if t := s.refresh[get("token")]; t != nil {
		g = t.family.grant
	} else if a := s.accesses[get("token")]; a != nil {
		g = a.family.grant
	}
	_, _, basic := r.BasicAuth()
	if s.kind != AuthGoogle || basic || get("client_id") != "" { // facts 1.2: Google asks for the token alone. RFC 7009, 2.1: others don't
		c, refused := s.authenticate(r, get)
		if refused != nil {
			return refused
		}
		if g != nil && g.key.client != c.ID { // RFC 7009, 2.1
			return &authError{code: "invalid_grant", description: "the token is another client's"}
		}
	}
	if g != nil && g.died == alive { // facts 1.2: "kills the whole grant for that client"
		g.died = withdrawn
	}
	return nil
}
