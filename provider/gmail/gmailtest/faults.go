package gmailtest

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
	// Status is answered, with an error of that reason and message; an empty reason has no JSON, as the front ends of Google answer.
	Status          int
	Reason, Message string
	RetryAfter      time.Duration // in the header, whole seconds
}

// Faults that services have (facts 1.6).
var (
	ServerError        = Fault{Status: 500, Reason: "backendError", Message: "Backend Error"}
	Unavailable        = Fault{Status: 503, Reason: "backendError", Message: "The service is currently unavailable."}
	BadGateway         = Fault{Status: 502}
	Cut                = Fault{Cut: true}
	AnswerLost         = Fault{After: true, Cut: true}
	AnswerBroken       = Fault{After: true, Status: 500, Reason: "backendError", Message: "Backend Error"} // done all the same
	TokenRefused       = Fault{Status: 401, Reason: "authError", Message: "Invalid Credentials"}
	UserRateLimited    = Fault{Status: 403, Reason: "userRateLimitExceeded", Message: "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota."}
	RateLimited        = Fault{Status: 403, Reason: "rateLimitExceeded", Message: "Rate Limit Exceeded"}
	DailyLimited       = Fault{Status: 403, Reason: "dailyLimitExceeded", Message: "Daily Limit Exceeded"}
	TooManyRequests    = Fault{Status: 429, Reason: "rateLimitExceeded", Message: "Too many concurrent requests for user."}
	DomainPolicy       = Fault{Status: 403, Reason: "domainPolicy", Message: "The domain administrators have disabled Gmail apps."}
	NotConfigured      = Fault{Status: 403, Reason: "accessNotConfigured", Message: "Access Not Configured. The Gmail API is not enabled for your project."}
	InsufficientScopes = Fault{Status: 403, Reason: "insufficientPermissions", Message: "Request had insufficient authentication scopes."}
	NoMailService      = Fault{Status: 400, Reason: "failedPrecondition", Message: "Mail service not enabled"}
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

func (f *Fault) response() *response {
	switch {
	case f.Cut:
		return nil
	case f.Reason == "":
		return &response{f.Status, http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, []byte("<!DOCTYPE html><title>Error</title>\n"), http.StatusText(f.Status)}
	}
	e := &apiError{status: f.Status, reason: f.Reason, message: f.Message, retryAfter: f.RetryAfter}
	if slices.Contains([]string{"userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded", "accessNotConfigured"}, f.Reason) {
		e.domain = "usageLimits"
	}
	return e.response()
}

// faults is what the Server was told to do wrong. Guarded by Server.mu.
type faults struct {
	next   map[string][]Fault // by method, "": any
	every  int                // calls; 0: none
	nth    Fault
	seen   int
	spared []string
	apiOff bool
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

// Fail makes a fault befall the next n calls of a method ("gmail.users.messages.get", "batch" for the request around a batch; "": of any),
// after those that were asked for before.
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

// Calm takes back the faults that have not come yet.
func (s *Server) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults{apiOff: s.faults.apiOff}
}

// DisableAPI switches the API off or on for the project (facts 1.6: accessNotConfigured).
func (s *Server) DisableAPI(off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.apiOff = off
}
