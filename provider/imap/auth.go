package imap

import (
	"context"
	"encoding/json"
	"errors"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/intellicon/email-integration/provider"
)

// tokenRefusal is an access token that the server doesn't take: mostly it has expired.
type tokenRefusal struct{ err error }

func (e *tokenRefusal) Error() string { return "imap: the mail server refused the access token" }
func (e *tokenRefusal) Unwrap() error { return e.err }

type refusedKey struct{}

// RefusedToken returns the access token that the server has just refused, for a TokenSource that keeps tokens: it should get
// another. ok is false at the first try.
func RefusedToken(ctx context.Context) (token string, ok bool) {
	token, ok = ctx.Value(refusedKey{}).(string)
	return token, ok
}

// signIn authenticates unless the server has done so by itself.
func (m *Mailbox) signIn(c *imapclient.Client, token string) error {
	if c.State() == goimap.ConnStateAuthenticated {
		return nil
	}
	caps := c.Caps()
	how := m.cfg.Auth
	if how == Auto {
		switch {
		case token != "" && !caps.Has(goimap.AuthCap("XOAUTH2")) && caps.Has(goimap.AuthCap(sasl.OAuthBearer)):
			how = OAuthBearer
		case token != "":
			how = XOAuth2
		case caps.Has(goimap.AuthCap(sasl.Plain)):
			how = Plain
		default:
			how = Login
		}
	}
	switch how {
	case Plain:
		return refused(c.Authenticate(sasl.NewPlainClient("", m.cfg.Username, m.cfg.Password)), false)
	case Login:
		if caps.Has(goimap.CapLoginDisabled) {
			return &provider.NeedsAction{Who: provider.User, Reason: "the mail server takes no password here: connect the mailbox with the service's own sign-in, or choose TLS"}
		}
		return refused(c.Login(m.cfg.Username, m.cfg.Password).Wait(), false)
	case OAuthBearer:
		return refused(c.Authenticate(refusing{sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{
			Username: m.cfg.Username, Token: token, Host: m.cfg.Host, Port: m.cfg.Port})}), true)
	default:
		return refused(c.Authenticate(&xoauth2{user: m.cfg.Username, token: token}), true)
	}
}

// refused says what a refused sign-in means. Facts 8: one AUTHENTICATIONFAILED is no proof of a changed password, and a server that
// gives no reason may be having a bad day: both are a SignInError, which the engine tries again sparsely. RFC 5530, 3 has the codes.
func refused(err error, token bool) error {
	var se *goimap.Error
	var challenged *tokenRefusal
	switch {
	case errors.As(err, &challenged):
	case !errors.As(err, &se) || limited(se) != nil:
		return err
	default:
		switch se.Code {
		case goimap.ResponseCodeExpired:
			return &provider.NeedsAction{Who: provider.User, Reason: "the password has expired: set a new one at the mail service, then enter it here", Err: err}
		case goimap.ResponseCodePrivacyRequired:
			return &provider.NeedsAction{Who: provider.User, Reason: "the mail server wants an encrypted connection: choose TLS or STARTTLS", Err: err}
		case goimap.ResponseCodeAuthorizationFailed, goimap.ResponseCodeContactAdmin:
			return &provider.NeedsAction{Who: provider.Admin, Reason: "the mail server does not let this user in over IMAP: allow IMAP for the mailbox", Err: err}
		case goimap.ResponseCodeUnavailable, goimap.ResponseCodeInUse, goimap.ResponseCodeServerBug:
			return err
		}
		if token {
			err = &tokenRefusal{err}
		}
	}
	reason := "the mail server refused the sign-in: if that lasts, enter the password again, an app password where the service asks for one"
	if token {
		reason = "the mail server refused the access token: if that lasts, connect the mailbox again"
	}
	return &provider.SignInError{Reason: reason, Err: err}
}

// xoauth2 is Google's and Microsoft's mechanism of that name, which go-sasl doesn't have.
type xoauth2 struct{ user, token string }

func (x *xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

func (x *xoauth2) Next(challenge []byte) ([]byte, error) { return nil, tokenRefused(challenge) }

// tokenRefused is the answer to the JSON with which a server says no (facts 3.2). Answering the server would only bring the tagged
// NO, and go-imap writes an empty answer in a way that servers don't expect: the connection is closed instead.
func tokenRefused(challenge []byte) error {
	var r struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(challenge, &r); err != nil || len(r.Status) != 3 {
		r.Status = "unknown"
	}
	return &tokenRefusal{errors.New("imap: status " + r.Status)}
}

// refusing makes OAUTHBEARER's refusal the same.
type refusing struct{ sasl.Client }

func (r refusing) Next(challenge []byte) ([]byte, error) { return nil, tokenRefused(challenge) }
