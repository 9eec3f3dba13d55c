package gmail

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
)

// MissingError says that a server lacks a method of the Gmail API, as servers do that are only like Gmail. Repeating doesn't help.
type MissingError struct {
	Method string // "messages.list"
	Status int
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("gmail: the server does not have %s of the Gmail API (it answered %d)", e.Method, e.Status)
}

// Unwrap makes it a provider.ErrUnsupported.
func (e *MissingError) Unwrap() error { return provider.ErrUnsupported }

// callError is a refusal that is none of the others. Google's words may hold addresses: they stay reachable and out of the text.
type callError struct {
	method method
	status int
	reason string
	err    error
}

func (e *callError) Error() string {
	s := fmt.Sprintf("gmail: %s: the server answered %d", e.method, e.status)
	if e.reason != "" {
		s += " (" + e.reason + ")"
	}
	return s
}
func (e *callError) Unwrap() error { return e.err }

// classify is the one border where errors are told apart. Of a message 404 is provider.ErrGone.
func (m *Mailbox) classify(ctx context.Context, meth method, err error) error {
	m.tokenless = false // whatever becomes of this call, it is not the one before
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var token *tokenError
	if m.tokenless = errors.As(err, &token); m.tokenless {
		return token.err
	}
	var g *googleapi.Error
	if errors.As(err, &g) {
		return refused(meth, g, m.p.o.Now())
	}
	var known *callError
	var rate *provider.RateLimitError
	var action *provider.NeedsAction
	var sign *provider.SignInError
	var missing *MissingError
	if errors.As(err, &known) || errors.As(err, &rate) || errors.As(err, &action) || errors.As(err, &sign) || errors.As(err, &missing) || errors.Is(err, provider.ErrGone) {
		return err
	}
	var u *url.Error // its text holds the query, and so addresses
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("gmail: %s: %w", meth, err)
}

// Reasons of 403 (facts 1.6).
var (
	rateReasons = []string{"dailyLimitExceeded", "userRateLimitExceeded", "rateLimitExceeded", "quotaExceeded", "RATE_LIMIT_EXCEEDED"}
	actions     = map[string]provider.NeedsAction{
		"domainPolicy": {Who: provider.Admin, Reason: "the organisation's administrator has switched Gmail or its API off for this account: " +
			"they can allow it (docs/setup-google.md, \"Workspace administrators\")"},
		"accessNotConfigured": {Who: provider.Operator, Reason: "the Gmail API is not enabled in the Google Cloud project of the app: " +
			"enable it (docs/setup-google.md, \"Project\")"},
		"insufficientPermissions": {Who: provider.User, Reason: "the access does not include what is needed: connect the mailbox again and leave every box ticked " +
			"(docs/setup-google.md, \"Scopes\")"},
	}
	// The same in the words of newer error details. (mem)
	synonyms = map[string]string{
		"SERVICE_DISABLED": "accessNotConfigured", "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "insufficientPermissions", "insufficientScopes": "insufficientPermissions",
	}
)

// gone are the methods of which 404 says that what they were asked for is no more.
var gone = []method{messagesGet, messagesModify, attachmentsGet, draftsGet, draftsSend, threadsGet, historyList, draftsCreate, messagesSend}

// refused says what an answer of the API means.
func refused(meth method, g *googleapi.Error, now time.Time) error {
	reason := ""
	if len(g.Errors) > 0 {
		reason = g.Errors[0].Reason
	}
	if s, ok := synonyms[reason]; ok {
		reason = s
	}
	for _, d := range g.Details {
		if d, ok := d.(map[string]any); ok {
			if r, ok := d["reason"].(string); ok && synonyms[r] != "" {
				reason = synonyms[r]
			}
		}
	}
	err := &callError{method: meth, status: g.Code, reason: word(reason), err: g}
	switch {
	case g.Code == http.StatusUnauthorized:
		// Only the token endpoint can say that somebody must act.
		return &provider.SignInError{Reason: "Google refuses the access token: connect the mailbox again if this lasts (docs/setup-google.md, \"Tokens that end\")", Err: err}
	case g.Code == http.StatusTooManyRequests, g.Code == http.StatusForbidden && slices.Contains(rateReasons, reason):
		limit := &provider.RateLimitError{RetryAfter: retryAfter(g, now), Err: err}
		if reason == "dailyLimitExceeded" && limit.RetryAfter == 0 {
			limit.RetryAfter = time.Hour
		}
		return limit
	case g.Code == http.StatusForbidden && actions[reason].Who != "":
		a := actions[reason]
		a.Err = err
		return &a
	case g.Code == http.StatusBadRequest && reason == "failedPrecondition" && strings.Contains(strings.ToLower(g.Message), "mail service not enabled"):
		return &provider.NeedsAction{Who: provider.User, Reason: "this Google account has no Gmail mailbox: connect an account that has one", Err: err}
	case g.Code == http.StatusMethodNotAllowed, g.Code == http.StatusNotImplemented,
		// What isn't there is told by Google in JSON; a path that isn't there is told by a page.
		g.Code == http.StatusNotFound && (!slices.Contains(gone, meth) || g.Message == "" && len(g.Errors) == 0):
		return &MissingError{Method: string(meth), Status: g.Code}
	case g.Code == http.StatusNotFound:
		return fmt.Errorf("gmail: %s: %w", meth, provider.ErrGone)
	}
	return err
}

// word keeps a reason out of the text that is none.
func word(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) {
		return ""
	}
	return s
}

// longestWait bounds what a server may ask for.
const longestWait = 7 * 24 * time.Hour

// retryAfter reads when to come back: the header, or the words (facts 1.6: "Retry after <RFC3339 time>"). 0: not told.
func retryAfter(g *googleapi.Error, now time.Time) time.Duration {
	if v := g.Header.Get("Retry-After"); v != "" {
		if n, err := strconv.Atoi(v); err == nil && n >= 0 {
			return time.Duration(min(n, int(longestWait/time.Second))) * time.Second
		}
		if t, err := http.ParseTime(v); err == nil {
			return min(max(t.Sub(now), 0), longestWait)
		}
	}
	if _, after, ok := strings.Cut(strings.ToLower(g.Message), "retry after "); ok {
		if f := strings.Fields(after); len(f) > 0 {
			if t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(strings.TrimRight(f[0], ".,;)"))); err == nil {
				return min(max(t.Sub(now), 0), longestWait)
			}
		}
	}
	return 0
}

// status is that of a refusal that is none of the others, 0 for any other error.
func status(err error) int {
	var c *callError
	if errors.As(err, &c) {
		return c.status
	}
	return 0
}

// passing reports whether the same call may succeed a moment later (facts 1.6: "500/502/503/504 retry").
func passing(err error) bool {
	var rate *provider.RateLimitError
	var action *provider.NeedsAction
	var sign *provider.SignInError
	if errors.As(err, &rate) || errors.As(err, &action) || errors.As(err, &sign) || errors.Is(err, provider.ErrGone) ||
		errors.Is(err, provider.ErrUnsupported) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, httpcall.ErrTooLong) {
		return false
	}
	if s := status(err); s != 0 {
		return s >= 500
	}
	return true // the connection
}

// Refusal implements provider.Authorizer (facts 1.2).
func (p *Provider) Refusal(code, _ string) *provider.NeedsAction {
	action := func(who provider.Who, reason string) *provider.NeedsAction {
		return &provider.NeedsAction{Who: who, Reason: reason, Err: errors.New("oauth: " + word(code))}
	}
	switch code {
	case "invalid_grant":
		return action(provider.User, "Google no longer accepts this sign-in (it was withdrawn, the password was changed, or it was not used for long): connect the mailbox again "+
			"(docs/setup-google.md, \"Tokens that end\")")
	case "access_denied":
		return action(provider.User, "the access was not granted: connect again and allow it; an app that is still in testing lets only its test users in (docs/setup-google.md, \"Consent screen\")")
	case "admin_policy_enforced":
		return action(provider.Admin, "the organisation's administrator must allow this app first (docs/setup-google.md, \"Workspace administrators\")")
	case "org_internal":
		return action(provider.Operator, "the app is for members of its own organisation only: set its user type to external, or connect a member's account (docs/setup-google.md, \"Consent screen\")")
	case "disallowed_useragent":
		return action(provider.User, "Google lets nobody sign in inside of an app's own window: open the page in a browser")
	case "redirect_uri_mismatch":
		return action(provider.Operator, "the redirect URI is not registered with the app (docs/setup-google.md, \"Client and redirect URI\")")
	case "invalid_client", "unauthorized_client", "deleted_client":
		return action(provider.Operator, "Google does not accept the app's client id or secret (docs/setup-google.md, \"Client and redirect URI\")")
	}
	return nil
}
