package outlook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// method is something that Graph is asked, for errors.
type method string

const (
	getMe           method = "me"
	foldersDelta    method = "mailFolders/delta"
	folderGet       method = "mailFolders.get"
	folderCreate    method = "mailFolders.create"
	messagesDelta   method = "messages/delta"
	messagesList    method = "messages.list"
	folderMessages  method = "mailFolders/messages.list"
	messageGet      method = "messages.get"
	messageUpdate   method = "messages.update"
	messageMove     method = "messages/move"
	messageCreate   method = "messages.create"
	messageSend     method = "messages/send"
	messageDelete   method = "messages.delete"
	attachmentsList method = "attachments.list"
	attachmentGet   method = "attachments.get"
	attachmentBytes method = "attachments/$value"
	attachmentAdd   method = "attachments.create"
	uploadSession   method = "attachments/createUploadSession"
	uploadRange     method = "upload session"
	categoryCreate  method = "masterCategories.create"
	subscribe       method = "subscriptions.create"
	renew           method = "subscriptions.update"
	unsubscribe     method = "subscriptions.delete"
)

// MissingError says that a server lacks a method of Graph, as servers do that are only like it. Repeating doesn't help.
type MissingError struct {
	Method string // "messages.list"
	Status int
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("outlook: the server does not have %s of Graph (it answered %d)", e.Method, e.Status)
}

// Unwrap makes it a provider.ErrUnsupported.
func (e *MissingError) Unwrap() error { return provider.ErrUnsupported }

// unsupported is a provider.ErrUnsupported that says why.
type unsupported string

func (u unsupported) Error() string { return "outlook: " + string(u) }
func (unsupported) Unwrap() error   { return provider.ErrUnsupported }

// callError is a refusal that is none of the others. Microsoft's words may hold addresses: they stay reachable and out of the text.
type callError struct {
	method method
	status int
	code   string
	err    error
}

func (e *callError) Error() string {
	s := fmt.Sprintf("outlook: %s: the server answered %d", e.method, e.status)
	if e.code != "" {
		s += " (" + e.code + ")"
	}
	return s
}
func (e *callError) Unwrap() error { return e.err }

// said is what we find wrong with an answer that was read.
type said string

func (s said) Error() string { return string(s) }

const (
	errEmpty  said = "the answer is empty"
	errNoLink said = "the page has neither a next link nor a delta link"
	errLoop   said = "the page links to itself, or the pages lead to no end"
	errAstray said = "the page links to another host than the base URL's, which gets no token: where that is right, correct the base URL"
	errOther  said = "the answer is about another message"
)

// codes are the codes and the message of an error in an answer. Facts 2.7: three kinds of errors come from the SDK, and one of them has neither.
func codes(err error) (code, inner, text string) {
	var o *odataerrors.ODataError
	if errors.As(err, &o) && o.GetErrorEscaped() != nil {
		main := o.GetErrorEscaped()
		code, text = str(main.GetCode()), str(main.GetMessage())
		if in := main.GetInnerError(); in != nil {
			if c, ok := in.GetAdditionalData()["code"].(*string); ok {
				inner = str(c)
			}
		}
	}
	var raw *rawError
	if errors.As(err, &raw) {
		code, text = raw.Error_.Code, raw.Error_.Message
	}
	return code, inner, text
}

// rawError is an error in an answer that the SDK did not read.
type rawError struct {
	Error_ struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (e *rawError) Error() string { return "graph: " + word(e.Error_.Code) }

func odata(resp *http.Response) error {
	e := &rawError{}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil {
		json.Unmarshal(b, e) //nolint:errcheck // it has no code then
	}
	return e
}

// classify is the one border where errors are told apart. Of a message 404 is provider.ErrGone.
func (m *Mailbox) classify(ctx context.Context, meth method, err error, a *answer) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var token *tokenError
	if errors.As(err, &token) {
		return &tokenError{token.err}
	}
	var api *abs.ApiError
	switch {
	case a.status >= 400:
		err = refused(meth, a, err, m.p.o.Now())
		var limit *provider.RateLimitError
		if errors.As(err, &limit) {
			limit.RetryAfter = m.quota.Refused(limit.RetryAfter, crowded(err))
		}
		return err
	case errors.As(err, &api) && api.ResponseStatusCode >= 400:
		return &callError{method: meth, status: api.ResponseStatusCode, err: err}
	}
	var ours said
	if a.status != 0 && !errors.As(err, &ours) && !errors.Is(err, provider.ErrUnsupported) {
		return &unreadable{meth, err, a.shorter}
	}
	var u *url.Error // its text holds the address
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("outlook: %s: %w", meth, err)
}

// single makes of the refusal of one message an error that is no more than that, where the inbox may be read: what protects single messages asks nobody to
// connect the mailbox again.
func (m *Mailbox) single(ctx context.Context, l quota.Lane, err error) error {
	var action *provider.NeedsAction
	if !errors.As(err, &action) || status(err) != http.StatusForbidden {
		return err
	}
	if _, e := m.folderBy(ctx, l, "inbox"); e != nil {
		return err
	}
	return action.Err
}

// denied reports whether an error is the refusal of one message or folder, and no more than that.
func (m *Mailbox) denied(ctx context.Context, l quota.Lane, err error) bool {
	var action *provider.NeedsAction
	return status(err) == http.StatusForbidden && !errors.As(m.single(ctx, l, err), &action)
}

// unreadable is an answer that came and could not be read. Its text may hold what a mail says: it stays reachable and out of the text.
type unreadable struct {
	method  method
	err     error
	shorter bool // it had begun when our time was over, and is asked for in shorter pages
}

func (e *unreadable) Error() string {
	return fmt.Sprintf("outlook: %s: the answer could not be read", e.method)
}
func (e *unreadable) Unwrap() error { return e.err }

// garbled reports whether an answer will not be readable another time either: what one message says may make a whole page so. One that had begun when our time was
// over is none as long as it can be asked for in shorter pages.
func garbled(err error) bool {
	var u *unreadable
	return errors.As(err, &u) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && !u.shorter
}

// Codes that say more than their status (facts 2.1, 2.2, 2.5, 2.6).
var (
	noMailbox   = []string{"MailboxNotEnabledForRESTAPI", "ErrorMailboxNotEnabled", "MailboxNotSupportedForRESTAPI", "MailboxNotHostedInExchangeOnline", "ErrorNonExistentMailbox"}
	denied      = []string{"ErrorAccessDenied", "Authorization_RequestDenied", "AccessDenied", "Forbidden", "ErrorInsufficientPermissionsInAccessToken"}
	rateCodes   = []string{"ApplicationThrottled", "ErrorServerBusy", "TooManyRequests", "activityLimitReached", "ErrorTooManyObjectsOpened", "MailboxConcurrency"}
	fullCodes   = []string{"ErrorQuotaExceeded", "quotaLimitReached"}
	foreignIDs  = []string{"ErrorInvalidIdMalformed", "ErrorInvalidMailboxItemId"} // the latter of another mailbox, as after a migration (msal-js issue 7264)
	missingCode = []string{"ErrorItemNotFound", "ErrorFolderNotFound", "ErrorInvalidIdMalformed", "ErrorInvalidMailboxItemId", "itemNotFound", "ResourceNotFound", "Request_ResourceNotFound", "ErrorAttachmentNotFound"}
	noSuchPath  = []string{"", "UnknownError", "BadRequest", "NotImplemented", "notSupported", "MethodNotFound"}
	syncCodes   = []string{"syncstatenotfound", "syncstateinvalid", "resyncrequired", "resyncchangesapplydifferences", "resyncchangesuploaddifferences"}
)

// gone are the methods of which 404 says that what they were asked for is no more.
var gone = []method{folderGet, messagesDelta, foldersDelta, folderMessages, messageGet, messageUpdate, messageMove, messageSend, messageDelete, attachmentsList, attachmentGet,
	attachmentBytes, attachmentAdd, uploadSession, renew, unsubscribe}

// refused says what an answer means.
func refused(meth method, a *answer, cause error, now time.Time) error {
	code, inner, _ := codes(cause)
	err := &callError{method: meth, status: a.status, code: word(code), err: cause}
	is := func(list []string) bool { return slices.Contains(list, code) || slices.Contains(list, inner) }
	act := func(who provider.Who, reason string) error {
		return &provider.NeedsAction{Who: who, Reason: reason, Err: err}
	}
	after := retryAfter(a.header, now)
	switch {
	case is(noMailbox):
		return act(provider.User, "this Microsoft account has no mailbox in Exchange Online or Outlook.com: connect an account that has one (docs/setup-microsoft.md, \"Accounts without a mailbox\")")
	case a.status == http.StatusUnauthorized && strings.Contains(strings.Join(a.header.Values("WWW-Authenticate"), " "), "insufficient_claims"):
		return act(provider.User, "the organisation asks for another sign-in: connect the mailbox again (docs/setup-microsoft.md, \"Tokens that end\")")
	case a.status == http.StatusUnauthorized:
		// Only the token endpoint can say that somebody must act.
		return &provider.SignInError{Reason: "Microsoft refuses the access token: connect the mailbox again if this lasts (docs/setup-microsoft.md, \"Tokens that end\")", Err: err}
	case a.status == http.StatusTooManyRequests, a.status == 509, a.status == http.StatusServiceUnavailable && after > 0,
		is(rateCodes) && a.status != http.StatusServiceUnavailable:
		return &provider.RateLimitError{RetryAfter: after, Err: err}
	case a.status == http.StatusForbidden && is(denied):
		return act(provider.User, "the access does not include what is needed: connect the mailbox again and accept all that is asked (docs/setup-microsoft.md, \"Permissions\")")
	case a.status == http.StatusInsufficientStorage, is(fullCodes):
		return act(provider.User, "the mailbox is full: its owner must make room")
	case a.status == http.StatusMethodNotAllowed, a.status == http.StatusNotImplemented,
		// What isn't there is told by Graph in JSON; a path that isn't there is told by a page, or by a code of its own.
		a.status == http.StatusNotFound && (slices.Contains(noSuchPath, code) || !slices.Contains(gone, meth) && !is(missingCode)):
		return &MissingError{Method: string(meth), Status: a.status}
	case a.status == http.StatusNotFound, a.status == http.StatusBadRequest && is(foreignIDs) && slices.Contains(gone, meth):
		return &goneError{err}
	}
	return err
}

// goneError is a provider.ErrGone.
type goneError struct{ err *callError }

func (e *goneError) Error() string   { return e.err.Error() }
func (e *goneError) Unwrap() []error { return []error{provider.ErrGone, e.err} }

// longest is how long a mailbox is left alone because Microsoft says so, as by the engine: what asks for more is a slip.
const longest = 24 * time.Hour

// retryAfter reads when to come back. 0: not told.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return min(time.Duration(min(n, 7*24*3600))*time.Second, longest)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), longest)
	}
	return 0
}

// crowded reports whether a refusal is about requests that are made at once (facts 2.5: "MailboxConcurrency").
func crowded(err error) bool {
	code, inner, text := codes(err)
	return strings.Contains(code+" "+inner+" "+text, "MailboxConcurrency") || strings.Contains(strings.ToLower(text), "concurren")
}

// expired reports whether a delta link is good for nothing any more. Facts 2.2: "410 Gone with Location, or 40x with code syncStateNotFound (also seen
// SyncStateInvalid, ResyncRequired)".
func expired(err error) bool {
	var c *callError
	if !errors.As(err, &c) {
		return false
	}
	code, inner, _ := codes(c.err)
	return c.status == http.StatusGone || c.status >= 400 && c.status < 500 &&
		(slices.Contains(syncCodes, strings.ToLower(code)) || slices.Contains(syncCodes, strings.ToLower(inner)))
}

// status is that of a refusal that is none of the others, 0 for any other error.
func status(err error) int {
	var c *callError
	if errors.As(err, &c) {
		return c.status
	}
	return 0
}

// passing reports whether the same call may succeed a moment later.
func passing(err error) bool {
	var rate *provider.RateLimitError
	var action *provider.NeedsAction
	var sign *provider.SignInError
	var token *tokenError
	if errors.As(err, &rate) || errors.As(err, &action) || errors.As(err, &sign) || errors.As(err, &token) || errors.Is(err, provider.ErrGone) ||
		errors.Is(err, provider.ErrUnsupported) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, httpcall.ErrTooLong) || errors.Is(err, errForeign) {
		return false
	}
	if s := status(err); s != 0 {
		return s >= 500
	}
	return true // the connection
}
