package smtp

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"

	"github.com/intellicon/email-integration/provider"
)

// SendError says that the server, or the message, stands against sending. Nothing was sent.
type SendError struct {
	Temporary bool   // trying again later may succeed
	Code      int    // the reply code, 0 where there was no reply
	Enhanced  string // the enhanced status code, "5.1.1", "" where there was none
	// Rejected lists the recipients that were refused. One refused recipient holds back the whole message.
	Rejected []Rejection
	What     string // what was refused, in words
	Err      error  // its text is the server's and may hold addresses: Error does not print it
}

// Rejection is one refused recipient.
type Rejection struct {
	Recipient string
	Temporary bool
	Code      int
	Enhanced  string
	Reply     string
}

func (e *SendError) Error() string {
	kind := "for good"
	if e.Temporary {
		kind = "for now"
	}
	s := fmt.Sprintf("smtp: %s refused %s", e.What, kind)
	if e.Code != 0 {
		s += strings.TrimRight(fmt.Sprintf(", code %d %s", e.Code, e.Enhanced), " ")
	}
	return s
}

func (e *SendError) Unwrap() error { return e.Err }

// Is matches provider.ErrNotSent, and provider.ErrTryLater where the refusal is temporary.
func (e *SendError) Is(target error) bool {
	return target == provider.ErrNotSent || target == provider.ErrTryLater && e.Temporary
}

// UnknownOutcomeError says that the connection was lost when the message was out and its acceptance was not in: it may
// have been sent. It must not be sent again without a person's or other evidence.
type UnknownOutcomeError struct{ Err error }

func (e *UnknownOutcomeError) Error() string {
	return "smtp: connection lost before the server confirmed the message; it may have been sent"
}
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// stoppedError is the end of a context before the message was out.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string {
	return "smtp: stopped before the message was out: " + e.err.Error()
}
func (e *stoppedError) Unwrap() error { return e.err }

// Is matches provider.ErrNotSent and provider.ErrTryLater.
func (e *stoppedError) Is(target error) bool {
	return target == provider.ErrNotSent || target == provider.ErrTryLater
}

// Step is a step of a connection, in the order in which Test takes them.
type Step string

const (
	StepName           Step = "name"
	StepConnect        Step = "connect"
	StepTLS            Step = "tls"
	StepGreeting       Step = "greeting"
	StepAuthentication Step = "authentication"
	StepSender         Step = "sender"
)

// TestError says which step of a connection failed, and what to do.
type TestError struct {
	Step Step
	Hint string // a sentence for the person who set it up
	Err  error
}

func (e *TestError) Error() string { return fmt.Sprintf("smtp: %s: %s", e.Step, e.Hint) }
func (e *TestError) Unwrap() error { return e.Err }

var hints = map[Step]string{
	StepName:           "The server's name was not found. Check the host for typing errors.",
	StepConnect:        "The server does not answer on this port. Check host and port, and whether a firewall stands between.",
	StepTLS:            "No encrypted connection came about. Check that encryption and port belong together (TLS 587, SSL 465) and that the server's certificate is valid for this host.",
	StepGreeting:       "The server answered, but not as a mail server that takes mail. Check host and port.",
	StepAuthentication: "The server did not accept the login. Check user name and password; some services want an app password or have SMTP switched off.",
	StepSender:         "The server does not let this login send from the from-address. Use an address that belongs to the login.",
}

func failed(step Step, err error) *TestError {
	return &TestError{Step: step, Hint: hints[step], Err: err}
}

// reply returns the server's answer within err.
func reply(err error) (code int, enhanced, text string, ok bool) {
	var e *textproto.Error
	if !errors.As(err, &e) {
		return 0, "", "", false
	}
	first, _, _ := strings.Cut(e.Msg, " ")
	if strings.Count(first, ".") == 2 && strings.Trim(first, "0123456789.") == "" {
		enhanced = first
	}
	return e.Code, enhanced, e.Msg, true
}

// refused turns an error from before the end of DATA into one that callers act on. Without an answer it is temporary.
func refused(what string, err error) error {
	code, enhanced, _, ok := reply(err)
	return &SendError{Temporary: !ok || code < 500, Code: code, Enhanced: enhanced, What: what, Err: err}
}

// classify turns a failed step into the errors of package provider.
func classify(e *TestError) error {
	code, enhanced, _, ok := reply(e.Err)
	var missing *unsupportedError
	switch {
	case errors.As(e.Err, &missing), e.Step == StepAuthentication && ok && code >= 500:
		return &provider.NeedsAction{Who: provider.User, Reason: e.Hint, Err: e}
	default:
		return &SendError{Temporary: !ok || code < 500, Code: code, Enhanced: enhanced, What: "step " + string(e.Step), Err: e}
	}
}

// unsupportedError says that the server lacks what we can't do without.
type unsupportedError struct{ what string }

func (e *unsupportedError) Error() string { return "the server does not offer " + e.what }
