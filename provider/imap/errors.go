package imap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/intellicon/email-integration/provider"
)

// ConnectError is a server that could not be reached or trusted.
type ConnectError struct {
	Reason string // a sentence that says what is wrong
	Err    error
}

func (e *ConnectError) Error() string { return "imap: " + e.Reason }
func (e *ConnectError) Unwrap() error { return e.Err }

// wrap is the one border where errors are classified. A server's own words may hold names or mail: they stay
// reachable by errors.As and out of the text.
func (m *Mailbox) wrap(ctx context.Context, verb string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var (
		needs *provider.NeedsAction
		rate  *provider.RateLimitError
		auth  *provider.SignInError
		conn  *ConnectError
		se    *goimap.Error
	)
	switch {
	case errors.Is(err, provider.ErrGone), errors.Is(err, provider.ErrUnsupported), errors.As(err, &needs), errors.As(err, &rate), errors.As(err, &auth), errors.As(err, &conn):
		return err
	case errors.As(err, &se):
		if rate := limited(se); rate != nil {
			return rate
		}
		code := string(se.Type)
		if se.Code != "" {
			code += " [" + string(se.Code) + "]"
		}
		return &serverError{text: fmt.Sprintf("imap: %s: the server answered %s", verb, code), err: err}
	}
	if reason := m.unreachable(err); reason != "" {
		return &ConnectError{Reason: reason, Err: err}
	}
	return fmt.Errorf("imap: %s: %w", verb, err)
}

type serverError struct {
	text string
	err  error
}

func (e *serverError) Error() string { return e.text }
func (e *serverError) Unwrap() error { return e.err }

// limited returns a RateLimitError when the server asks to slow down.
func limited(se *goimap.Error) error {
	text := strings.ToLower(se.Text)
	switch {
	case se.Code == goimap.ResponseCodeLimit, se.Code == "THROTTLED", se.Code == goimap.ResponseCodeOverQuota,
		// Seen in practice: Dovecot and Gmail have no code for these.
		strings.Contains(text, "maximum number of connections"), strings.Contains(text, "too many simultaneous"),
		strings.Contains(text, "too many connections"):
		return &provider.RateLimitError{Err: se}
	}
	return nil
}

// unreachable words connection errors, "" for others.
func (m *Mailbox) unreachable(err error) string {
	host := m.cfg.Host
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		op       *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return "the certificate of " + host + " is signed by nobody we trust"
	case errors.As(err, &hostname):
		return "the certificate of the server is not made out to " + host
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of " + host + " has expired or is not valid yet"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "the certificate of " + host + " is not valid"
	case errors.As(err, &record):
		return fmt.Sprintf("%s does not speak TLS on port %d: choose STARTTLS or another port", host, m.cfg.Port)
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no host " + host
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("%s can't be reached on port %d", host, m.cfg.Port)
	case errors.Is(err, net.ErrClosed):
		return "the connection to " + host + " was closed or had stalled"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return host + " ended the connection"
	case errors.As(err, &op):
		return "the connection to " + host + " broke"
	}
	return ""
}
