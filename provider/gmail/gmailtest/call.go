package gmailtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// call is a request under way. Handlers hold Server.mu.
type call struct {
	s        *Server
	m        *method
	r        *http.Request
	query    url.Values
	user     *User
	metadata bool // the token may see no more than gmail.metadata allows
	body     []byte
	media    []byte // what was uploaded; nil: nothing
}

// maxBody bounds what is read of a request: more than a message of import's may have (facts 1.7: 157,286,400 bytes) in base64.
const maxBody = 220 << 20

// maxURI is what a path with its query may measure. From memory: longer ones get no further than Google's front end.
const maxURI = 16 << 10

// handle serves a method. way is "" or how its media comes: "upload", "session" (the second request of a resumable upload).
func (s *Server) handle(m *method, way string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: s, m: m, r: r, query: r.URL.Query()}
		n, f := s.begin(r, m)
		if len(r.URL.RequestURI()) > maxURI {
			s.answer(w, n, &response{http.StatusRequestURITooLong, http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, []byte("<!DOCTYPE html><title>Error 414</title>\n"), "uriTooLong"})
			return
		}
		if f.answersFirst() {
			f.reach(r)
			s.answer(w, n, f.response())
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			panic(http.ErrAbortHandler) // the caller went away
		}
		if !f.After { // else it is there once it had its effect
			f.reach(r)
		}
		defer s.end(c)
		res := c.run(n, way, body)
		if f.After {
			f.reach(r)
			if f.Cut || f.Status != 0 {
				res = f.response()
			}
		}
		s.answer(w, n, res)
	}
}

// response is what a caller gets; nil is a cut connection.
type response struct {
	status int
	header http.Header
	body   []byte
	reason string
}

func (e *apiError) response() *response {
	h := http.Header{"Content-Type": {"application/json; charset=UTF-8"}}
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.retryAfter+time.Second-1)/time.Second)))
	}
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`) // RFC 6750, 3
	}
	return &response{e.status, h, e.body(), e.reason}
}

func jsonResponse(v any) *response {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the API's own types
	}
	return &response{http.StatusOK, http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, b, ""}
}

// begin writes the log and takes the fault that befalls the call.
func (s *Server) begin(r *http.Request, m *method) (n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = len(s.log)
	s.log = append(s.log, Call{At: s.now(), Method: m.name(), Path: r.URL.RequestURI()})
	return n, s.faults.take(m.name())
}

// run carries the call out.
func (c *call) run(n int, way string, body []byte) *response {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.opts.Missing, c.m.name()) {
		return s.missing(c.m.name())
	}
	var e *apiError
	v, e := c.admit(n, way)
	if e == nil {
		var res *response
		if res, e = c.read(way, body); res != nil {
			return res
		}
	}
	if e == nil {
		v, e = c.m.do(c)
	}
	if e != nil {
		return e.response()
	}
	if v == nil { // facts 1.5: batchModify has an "empty response"; so has all that deletes
		return &response{http.StatusNoContent, http.Header{}, nil, ""}
	}
	res := jsonResponse(v)
	if mask := c.query.Get("fields"); mask != "" {
		if res.body, e = project(res.body, mask); e != nil {
			return e.response()
		}
	}
	return res
}

// admit says whose call it is and whether it may be made, and charges it.
func (c *call) admit(n int, way string) (any, *apiError) {
	s := c.s
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, unauthorized()
	}
	u, scopes, ok := s.whose(token)
	if !ok {
		return nil, unauthorized()
	}
	c.user = u
	if n < len(s.log) { // else the log was emptied meanwhile
		s.log[n].User = u.Address
	}
	u.inflight++ // taken back by end
	if l := s.opts.Concurrency; l > 0 && u.inflight > l {
		// Facts 1.6: "429: … per-user concurrency".
		return nil, &apiError{status: http.StatusTooManyRequests, reason: "rateLimitExceeded", domain: "usageLimits", message: "Too many concurrent requests for user."}
	}
	allowed := func(scope string) bool { return slices.Contains(scopes, scope) }
	if !slices.ContainsFunc(c.m.scopes, allowed) {
		// Facts 1.6: insufficientPermissions, "scope missing".
		return nil, forbidden("insufficientPermissions", "Request had insufficient authentication scopes.")
	}
	// Facts 1.1: a token that holds metadata besides a wider scope "may still be limited as metadata". Here it is.
	c.metadata = allowed(ScopeMetadata)
	if id := c.r.PathValue("userId"); id != "me" && !u.is(id) {
		return nil, forbidden("forbidden", "Delegation denied for "+u.Address)
	}
	if s.faults.apiOff { // facts 1.6: accessNotConfigured, "API off"
		e := forbidden("accessNotConfigured", "Gmail API has not been used in project "+s.opts.Project+" before or it is disabled.")
		e.domain = "usageLimits"
		return nil, e
	}
	if u.closed != nil {
		return nil, u.closed
	}
	if way == "session" { // the upload's first request paid
		return nil, nil
	}
	if e := s.charge(u, c.m); e != nil {
		return nil, e
	}
	if n < len(s.log) {
		s.log[n].Units = c.m.units
	}
	return nil, nil
}

// end is what follows every call: it is no longer under way, and what it made known is pushed.
func (s *Server) end(c *call) {
	s.mu.Lock()
	if c.user != nil {
		c.user.inflight--
	}
	s.mu.Unlock()
	s.flush()
}

func (s *Server) answer(w http.ResponseWriter, n int, res *response) {
	if res == nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	if n < len(s.log) {
		s.log[n].Status, s.log[n].Reason = res.status, res.reason
	}
	s.mu.Unlock()
	h := w.Header()
	for k, v := range res.header {
		h[k] = v
	}
	w.WriteHeader(res.status)
	_, _ = w.Write(res.body) // a caller who left is no concern of the server's
}

func unauthorized() *apiError { // facts 1.6: "401 authError"
	return &apiError{status: http.StatusUnauthorized, reason: "authError", message: "Invalid Credentials"}
}

// missing answers for what the server was told to lack. Servers that are only like Gmail answer with no JSON at all.
func (s *Server) missing(name string) *response {
	h := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	return &response{s.opts.MissingStatus, h, []byte(http.StatusText(s.opts.MissingStatus) + "\n"), "missing " + name}
}

// lacking answers for paths that no method of the table has.
func (s *Server) lacking(w http.ResponseWriter, r *http.Request) {
	e := &apiError{status: http.StatusNotImplemented, reason: "notImplemented", message: "gmailtest has no " + r.Method + " " + r.URL.Path}
	s.mu.Lock()
	n := len(s.log)
	s.log = append(s.log, Call{At: s.now(), Path: r.URL.RequestURI()})
	s.mu.Unlock()
	s.answer(w, n, e.response())
}

// decode reads the body of a call.
func (c *call) decode(v any) *apiError {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return invalid("Invalid JSON payload received. %v", err)
	}
	return nil
}

// number reads a parameter that bounds a page.
func (c *call) number(name string, otherwise, most int) (int, *apiError) {
	n := otherwise
	if v := c.query.Get(name); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 0 {
			return 0, invalid("Invalid value at '%s'", name)
		}
		if n == 0 {
			n = otherwise
		}
	}
	n = min(n, most)
	if l := c.s.opts.PageSize; l > 0 {
		n = min(n, l)
	}
	return n, nil
}

func (c *call) flag(name string) bool { return c.query.Get(name) == "true" }

// pageToken is where a listing goes on. Callers are not to read it.
func (c *call) pageToken(parts ...any) string {
	t := fmt.Sprint(c.s.now().Unix(), " ", c.listing())
	for _, p := range parts {
		t += " " + fmt.Sprint(p)
	}
	return b64.EncodeToString([]byte(t))
}

// position reads a page token: nil at the beginning. A token is good for the listing it came from, for PageTokenLife.
func (c *call) position(n int) ([]string, *apiError) {
	t := c.query.Get("pageToken")
	if t == "" {
		return nil, nil
	}
	raw, err := b64.DecodeString(t)
	f := strings.Fields(string(raw))
	if err != nil || len(f) != n+2 || f[1] != c.listing() {
		return nil, invalid("Invalid pageToken")
	}
	if at, err := strconv.ParseInt(f[0], 10, 64); err != nil || c.s.now().Sub(time.Unix(at, 0)) > c.s.opts.PageTokenLife {
		return nil, invalid("Invalid pageToken")
	}
	return f[2:], nil
}

// listing names what is listed: the parameters but those that may change from page to page.
func (c *call) listing() string {
	q := url.Values{}
	for k, v := range c.query {
		if !slices.Contains([]string{"pageToken", "maxResults", "alt", "prettyPrint", "fields", "key", "quotaUser"}, k) {
			q[k] = v
		}
	}
	return short(c.m.id + "?" + q.Encode())
}
