package graphtest

import (
	"net/http"
	"slices"
	"time"
)

// Fault is what befalls a call. The zero Fault is none.
type Fault struct {
	// After: the call has its effect first, and what the caller gets tells him nothing of it.
	After bool
	// Reached, where it isn't nil, is called when the call is there (and has had its effect, with After). It may use the Server.
	Reached func()
	// Wait, where it isn't nil, holds the call until it is closed or the caller gives up. Then the rest follows; with nothing more, the right
	// answer.
	Wait <-chan struct{}
	// Cut ends the connection without an answer.
	Cut bool
	// Status is answered with an error of that code and message. An empty Code has no JSON: a page of a gateway's, or with Bare nothing at all
	// (facts 2.7).
	Status        int
	Code, Message string
	Bare          bool
	RetryAfter    time.Duration // in the header, whole seconds
	// Body, where it isn't nil, is answered as JSON with Status instead of an error: a sample of Microsoft's, or nonsense.
	Body []byte
}

// Faults that the service has (facts 2.1, 2.5, 2.7; texts from memory).
var (
	ServerError        = Fault{Status: 500, Code: "InternalServerError", Message: "Internal Server Error"}
	BadGateway         = Fault{Status: 502} // facts 2.7: "text/html 502 from a gateway"
	Unavailable        = Fault{Status: 503, Code: "ErrorServerBusy", Message: "The server cannot service this request right now. Try again later."}
	GatewayTimeout     = Fault{Status: 504, Bare: true} // facts 2.7: "Empty-body errors"
	Cut                = Fault{Cut: true}
	AnswerLost         = Fault{After: true, Cut: true}
	AnswerBroken       = Fault{After: true, Status: 504, Bare: true} // done all the same
	TokenRefused       = Fault{Status: 401, Code: "InvalidAuthenticationToken", Message: "Access token has expired or is not yet valid."}
	Throttled          = Fault{Status: 429, Code: "ApplicationThrottled", Message: "Application is over its MailboxConcurrency limit.", RetryAfter: 10 * time.Second}
	ThrottledBare      = Fault{Status: 429, Bare: true} // facts 2.7: 429 without a body
	MailboxNotEnabled  = Fault{Status: 404, Code: "MailboxNotEnabledForRESTAPI", Message: "The mailbox is either inactive, soft-deleted, or is hosted on-premise."}
	InsufficientScopes = Fault{Status: 403, Code: "ErrorAccessDenied", Message: "Access is denied. Check credentials and try again."}
)

// answersFirst reports whether the call has no effect.
func (f *Fault) answersFirst() bool { return !f.After && (f.Cut || f.Status != 0) }

// reach does what there is to do on the way. It ends the handler when the caller gives up.
func (f *Fault) reach(r *http.Request) {
	if f.Reached != nil {
		f.Reached()
	}
	if f.Wait != nil {
		select {
		case <-f.Wait:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// response is nil where the connection is cut.
func (f *Fault) response(c *call) *response {
	if f.Cut {
		return nil
	}
	if f.Body != nil {
		return &response{status: f.Status, header: http.Header{"Content-Type": {jsonType}}, body: f.Body}
	}
	e := &apiError{status: f.Status, code: f.Code, message: f.Message, retryAfter: f.RetryAfter, bare: f.Bare, html: f.Code == "" && !f.Bare}
	if f.Status == http.StatusUnauthorized {
		e.header = unauthorized("").header
	}
	return c.failure(e)
}

// faults is what the Server was told to do wrong. Guarded by Server.mu.
type faults struct {
	next   map[string][]Fault // by method, "": any
	every  int                // calls; 0: none
	nth    Fault
	seen   int
	spared []string
}

// take returns the fault that befalls a call of that method.
func (f *faults) take(name string) Fault {
	for _, key := range []string{name, ""} {
		if fs := f.next[key]; len(fs) > 0 {
			f.next[key] = fs[1:]
			return fs[0]
		}
	}
	if f.every > 0 && !slices.Contains(f.spared, name) {
		if f.seen++; f.seen%f.every == 0 {
			return f.nth
		}
	}
	return Fault{}
}

// Fail makes a fault befall the next n calls of a method ("messages.get", "batch" for the request around a batch, "upload" for a piece of an
// attachment; "": of any), after those that were asked for before.
func (s *Server) Fail(method string, n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.next == nil {
		s.faults.next = map[string][]Fault{}
	}
	s.faults.next[method] = append(s.faults.next[method], slices.Repeat([]Fault{f}, n)...)
}

// FailEvery makes a fault befall every nth call, parts of a batch counted one by one and the request around them as one more, but for those of the
// spared methods. 0 ends it.
func (s *Server) FailEvery(n int, f Fault, spared ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.every, s.faults.nth, s.faults.seen, s.faults.spared = n, f, 0, spared
}

// Calm takes back the faults that have not come yet, and what listings and deltas were told to do wrong.
func (s *Server) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.odd = faults{}, odd{}
}
