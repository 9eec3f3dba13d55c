package imap_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// kind names what the engine makes of an error of Dial.
func kind(err error) string {
	var (
		needs  *provider.NeedsAction
		signIn *provider.SignInError
		rate   *provider.RateLimitError
		conn   *imap.ConnectError
	)
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &needs):
		return string(needs.Who) + " must act"
	case errors.As(err, &signIn):
		return "sign-in refused"
	case errors.As(err, &rate):
		return "rate limit"
	case errors.As(err, &conn):
		return "unreachable"
	}
	return "transient"
}

func TestRefusedSignIns(t *testing.T) {
	s := imaptest.Start(t, nil)
	try := func() string {
		m, err := imap.Dial(t.Context(), s.Config())
		if err == nil {
			m.Close()
		}
		return kind(err)
	}
	for code, want := range map[goimap.ResponseCode]string{
		"AUTHENTICATIONFAILED": "sign-in refused", // facts 8: no proof of a changed password
		"":                     "sign-in refused",
		"ALERT":                "sign-in refused",
		"AUTHORIZATIONFAILED":  "admin must act",
		"CONTACTADMIN":         "admin must act",
		"EXPIRED":              "user must act",
		"PRIVACYREQUIRED":      "user must act",
		"UNAVAILABLE":          "transient",
		"INUSE":                "transient",
		"SERVERBUG":            "transient",
		"LIMIT":                "rate limit",
	} {
		s.RefuseSignIns(1, code)
		if got := try(); got != want {
			t.Errorf("a refusal with %q is %q, want %q", code, got, want)
		}
	}
	for text, want := range map[string]string{"Server going down": "transient", "Too many connections, try later": "rate limit"} {
		s.GreetBye(1, text)
		if got := try(); got != want {
			t.Errorf("the greeting BYE %s is %q, want %q", text, got, want)
		}
		// With STARTTLS it is no proof that the server has none.
		s.GreetBye(1, text)
		c := s.Config()
		c.Security = imap.StartTLS
		if _, err := imap.Dial(t.Context(), c); kind(err) == "none" || strings.Contains(fmt.Sprint(err), "STARTTLS") {
			t.Errorf("STARTTLS to a server that says BYE: %v", err)
		}
	}
	s.CutAt("AUTHENTICATE")
	if got := try(); got != "unreachable" {
		t.Errorf("a connection cut at sign-in is %q", got)
	}
	dial(t, s, nil)
	s.LimitConnections(1)
	if got := try(); got != "rate limit" {
		t.Errorf("one connection too many is %q", got)
	}
	s.LimitConnections(0)
	if got := try(); got != "none" {
		t.Errorf("after all that: %q", got)
	}
}

func TestSignInErrors(t *testing.T) {
	s := serve(t)
	c := s.Config()
	c.Password = "wrong"
	if _, err := imap.Dial(t.Context(), c); kind(err) != "sign-in refused" || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	c = s.Config()
	c.Security = imap.TLS
	if _, err := imap.Dial(t.Context(), c); kind(err) != "unreachable" {
		t.Errorf("TLS on a plain port: %v", err)
	}
	c.Security = imap.StartTLS
	s.Commands()
	if _, err := imap.Dial(t.Context(), c); kind(err) != "unreachable" || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("no STARTTLS: %v", err)
	}
	if cmds := s.Commands(); slices.Contains(cmds, "AUTHENTICATE") || slices.Contains(cmds, "LOGIN") {
		t.Errorf("the password should not be sent: %v", cmds)
	}
	c = s.Config()
	c.Host = "mail.example.com"
	if _, err := imap.Dial(t.Context(), c); err == nil || !strings.Contains(err.Error(), "clear text") {
		t.Errorf("clear text to a foreign host: %v", err)
	}
	if _, err := imap.New(nil).Open(t.Context(), []byte(`{"host":"127.0.0.1","username":"a","security":"insecure"}`)); kind(err) != "user must act" {
		t.Errorf("insecure credential: %v", err)
	}
	if out := fmt.Sprintf("%v %+v %#v", s.Config(), s.Config(), s.Config()); strings.Contains(out, "secret") {
		t.Errorf("the password can be printed: %s", out)
	}
	m := dial(t, s, nil)
	m.Close()
	if _, err := m.Start(t.Context()); err == nil {
		t.Error("a closed mailbox should stay closed")
	}
}

func TestAccessTokens(t *testing.T) {
	for _, mech := range []string{"XOAUTH2", "OAUTHBEARER"} {
		t.Run(mech, func(t *testing.T) {
			s := imaptest.Start(t, &imaptest.Options{Mechanisms: []string{mech}})
			s.SetToken("fresh")
			// source hands out tokens in turn, and notes what it was told was refused.
			dialWith := func(tokens ...string) (told []string, err error) {
				c := s.Config()
				c.Password = ""
				c.TokenSource = func(ctx context.Context) (string, error) {
					refused, ok := imap.RefusedToken(ctx)
					if ok != (len(told) > 0) {
						t.Errorf("refused token told: %v at call %d", ok, len(told))
					}
					told = append(told, refused)
					tok := tokens[0]
					tokens = tokens[1:]
					if tok == "" {
						return "", &provider.NeedsAction{Who: provider.User, Reason: "connect again"}
					}
					return tok, nil
				}
				m, err := imap.Dial(t.Context(), c)
				if err == nil {
					m.Close()
				}
				return told, err
			}
			if told, err := dialWith("stale", "fresh"); err != nil || !slices.Equal(told, []string{"", "stale"}) {
				t.Errorf("a token that can be refreshed: %v, asked %q", err, told)
			}
			if told, err := dialWith("stale", "stale"); kind(err) != "sign-in refused" || len(told) != 2 {
				t.Errorf("a source that has no other token: %v, asked %q", err, told)
			}
			if told, err := dialWith("stale", "stale too"); kind(err) != "sign-in refused" || len(told) != 2 || strings.Contains(err.Error(), "stale") {
				t.Errorf("a second refusal: %v, asked %q", err, told)
			}
			if _, err := dialWith("stale", ""); kind(err) != "user must act" {
				t.Errorf("a grant that is gone: %v", err)
			}
		})
	}
}
