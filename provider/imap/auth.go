package imap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/intellicon/email-integration/provider"
)

// signIn authenticates unless the server has done so by itself.
func (m *Mailbox) signIn(ctx context.Context, c *imapclient.Client) error {
	if c.State() == goimap.ConnStateAuthenticated {
		return nil
	}
	caps := c.Caps()
	token := m.cfg.Token
	if m.cfg.TokenSource != nil {
		var err error
		if token, err = m.cfg.TokenSource(ctx); err != nil {
			return err
		}
	}
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
	var err error
	switch how {
	case Plain:
		err = c.Authenticate(sasl.NewPlainClient("", m.cfg.Username, m.cfg.Password))
	case Login:
		if caps.Has(goimap.CapLoginDisabled) {
			return &AuthError{Reason: "the server takes no password on this connection: another way to sign in is needed"}
		}
		err = c.Login(m.cfg.Username, m.cfg.Password).Wait()
	case XOAuth2:
		err = c.Authenticate(&xoauth2{user: m.cfg.Username, token: token})
	case OAuthBearer:
		err = c.Authenticate(refusing{sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{
			Username: m.cfg.Username, Token: token, Host: m.cfg.Host, Port: m.cfg.Port})})
	default:
		return &AuthError{Reason: fmt.Sprintf("unknown way to sign in %q", how)}
	}
	return authError(err, how)
}

// authError says whom a refused sign-in concerns. A server that gives no reason may be having a bad day: only its
// AUTHENTICATIONFAILED sends the user to the settings.
func authError(err error, how Auth) error {
	var se *goimap.Error
	if !errors.As(err, &se) || limited(se) != nil {
		return err
	}
	again := "enter the password again, an app password where the service asks for one"
	if how == XOAuth2 || how == OAuthBearer {
		again = "connect the mailbox again"
	}
	switch se.Code {
	case goimap.ResponseCodeAuthenticationFailed, goimap.ResponseCodeExpired:
		return &provider.NeedsAction{Who: provider.User, Reason: "the mail server refused the sign-in: " + again, Err: err}
	case goimap.ResponseCodeAuthorizationFailed, goimap.ResponseCodeContactAdmin:
		return &provider.NeedsAction{Who: provider.Admin, Reason: "the mail server does not let this user in over IMAP: allow IMAP for the mailbox", Err: err}
	case goimap.ResponseCodeUnavailable, goimap.ResponseCodeInUse, goimap.ResponseCodeServerBug:
		return err
	}
	return &AuthError{Reason: "the mail server refused the sign-in without saying why", Err: err}
}

// xoauth2 is Google's and Microsoft's mechanism of that name, which go-sasl doesn't have.
type xoauth2 struct{ user, token string }

func (x *xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

func (x *xoauth2) Next(challenge []byte) ([]byte, error) { return nil, tokenRefused(challenge) }

// tokenRefused reads the JSON with which a server says no. Answering it would only bring the tagged NO, and go-imap
// writes an empty answer in a way that servers don't expect: the connection is closed instead.
func tokenRefused(challenge []byte) error {
	var r struct {
		Status string `json:"status"`
	}
	_ = json.Unmarshal(challenge, &r) // without it the status is unknown, the refusal stands
	if len(r.Status) > 20 {
		r.Status = ""
	}
	return &AuthError{Status: r.Status, Reason: "the mail server refused the access token: refresh it, or connect the mailbox again"}
}

// refusing makes OAUTHBEARER's refusal an AuthError too.
type refusing struct{ sasl.Client }

func (r refusing) Next(challenge []byte) ([]byte, error) { return nil, tokenRefused(challenge) }
