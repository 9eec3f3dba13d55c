package graphtest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// call is a request under way. Handlers hold Server.mu, but for those of unlocked methods.
type call struct {
	s       *Server
	m       *method
	args    map[string]string // what stands in the braces of the method's path
	r       *http.Request
	query   url.Values
	request string // its id
	n       int    // its place in the log
	user    *User
	token   *access
	meter   *meter // once it was let in
	prefer  prefer
	sent    []byte // the body, decompressed
	body    []byte // what of it the method reads
}

// reply is what a method answers.
type reply struct {
	status int
	v      any    // as JSON
	raw    []byte // where v is nil
	kind   string // of raw
	header http.Header
}

func ok(v any) *reply { return &reply{status: http.StatusOK, v: v} }

func created(v any) *reply { return &reply{status: http.StatusCreated, v: v} }

var (
	accepted  = &reply{status: http.StatusAccepted}
	noContent = &reply{status: http.StatusNoContent}
)

// response is what a caller gets; nil is a cut connection.
type response struct {
	status int
	header http.Header
	body   []byte
	code   string
}

// maxBody is what a request may bring. Facts 2.6: "request body about 4 MB total".
const maxBody = 4 << 20

// maxURI is what a path with its query may measure (from memory).
const maxURI = 16 << 10

func (s *Server) serveGraph(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/v1.0")
	if strings.Trim(path, "/") == "$batch" {
		s.serveBatch(w, r)
		return
	}
	s.answer(w, r, s.perform(r, path))
}

// perform carries a request out and returns the answer; nil: none.
func (s *Server) perform(r *http.Request, path string) (res *response) {
	m, args := match(r.Method, path)
	c := &call{s: s, m: m, args: args, r: r, query: r.URL.Query(), prefer: preferences(r.Header)}
	f := c.begin()
	defer func() { c.log(res) }()
	switch {
	case m == nil:
		return c.lacking()
	case len(r.URL.RequestURI()) > maxURI:
		return c.failure(&apiError{status: http.StatusRequestURITooLong, html: true})
	case slices.Contains(s.opts.Missing, m.name):
		return c.failure(&apiError{status: s.opts.MissingStatus, code: "NotImplemented", message: "Not implemented"})
	case f.answersFirst():
		f.reach(r)
		return f.response(c)
	}
	defer c.end()
	if e := c.admit(); e != nil {
		return c.failure(e)
	}
	if !f.After { // else it is there once it had its effect
		f.reach(r)
	}
	c.dawdle()
	res = c.run()
	c.inspect(res)
	if f.After {
		f.reach(r)
		if f.Cut || f.Status != 0 {
			res = f.response(c)
		}
	}
	return res
}

// begin writes the log and takes the fault that befalls the call.
func (c *call) begin() Fault {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	c.request = s.guid("request", s.next())
	c.n = len(s.log)
	name := ""
	if c.m != nil {
		name = c.m.name
	}
	s.log = append(s.log, Call{At: s.now(), Method: name, Path: c.r.URL.RequestURI()})
	return s.faults.take(name)
}

// entry is the call's line in the log; nil: the log was emptied meanwhile.
func (c *call) entry() *Call {
	if c.n < len(c.s.log) {
		return &c.s.log[c.n]
	}
	return nil
}

func (c *call) log(res *response) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if l := c.entry(); l != nil && res != nil {
		l.Status, l.Code = res.status, res.code
	}
}

// admit says whose call it is and whether it may be made, and charges it.
func (c *call) admit() *apiError {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := c.authenticate(); e != nil {
		return e
	}
	if l := c.entry(); l != nil {
		l.User = c.user.Address
	}
	if id, named := c.args["user"]; named && !c.user.is(id) {
		if s.user(id) == nil {
			return &apiError{status: http.StatusNotFound, code: "ErrorInvalidUser", message: "The requested user '" + id + "' is invalid."}
		}
		return denied() // facts 2.4: "Delegated permission only covers the signed-in user's own mailbox"
	}
	if !slices.ContainsFunc(c.m.scopes, c.token.allows) {
		return denied()
	}
	if c.user.closed != nil && c.m.name != "me" { // who has no mailbox is in the directory all the same
		return c.user.closed
	}
	if c.m.beside {
		return nil
	}
	m := s.meter(c.token.app, c.user)
	if e := s.enter(m); e != nil {
		return e
	}
	c.meter = m
	return nil
}

// authenticate finds the user of the request's token.
func (c *call) authenticate() *apiError {
	s := c.s
	h := c.r.Header.Get("Authorization")
	if h == "" {
		return unauthorized("Access token is empty.")
	}
	token, ok := strings.CutPrefix(h, "Bearer ")
	if !ok {
		return unauthorized("CompactToken parsing failed with error code: 80049217")
	}
	u, a := s.whose(token)
	if u == nil {
		return unauthorized("Access token has expired or is not yet valid.")
	}
	if u.challenge != "" && a.claims != u.challenge {
		return challenged(u.challenge)
	}
	c.user, c.token = u, a
	return nil
}

// dawdle is Options.Latency.
func (c *call) dawdle() {
	if d := c.s.opts.Latency; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// run carries the call out.
func (c *call) run() *response {
	if e := c.read(); e != nil {
		return c.failure(e)
	}
	if !c.m.unlocked {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
	}
	rep, e := c.m.do(c)
	if e != nil {
		return c.failure(e)
	}
	res := &response{status: rep.status, header: http.Header{}, body: rep.raw}
	for k, v := range rep.header {
		res.header[k] = v
	}
	if rep.kind != "" {
		res.header.Set("Content-Type", rep.kind)
	}
	if rep.v != nil {
		b, err := json.Marshal(rep.v)
		if err != nil {
			panic(err) // our own maps
		}
		res.body = b
		res.header.Set("Content-Type", jsonType)
	}
	if len(c.prefer.applied) > 0 {
		res.header.Set("Preference-Applied", strings.Join(c.prefer.applied, ", "))
	}
	return res
}

// read reads the body. Facts 2.7: the SDK's are compressed.
func (c *call) read() *apiError {
	var body io.Reader = c.r.Body
	if c.r.Header.Get("Content-Encoding") != "" {
		if c.s.opts.NoGzip || c.r.Header.Get("Content-Encoding") != "gzip" {
			return &apiError{status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType", message: "Content-Encoding is not supported."}
		}
		z, err := gzip.NewReader(body)
		if err != nil {
			return badRequest("BadRequest", "Unable to read the compressed body.")
		}
		body = z
	}
	b, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err != nil {
		if c.r.Header.Get("Content-Encoding") != "" && c.r.Context().Err() == nil {
			return badRequest("BadRequest", "Unable to read the compressed body.")
		}
		panic(http.ErrAbortHandler) // the caller went away
	}
	if len(b) > maxBody {
		return &apiError{status: http.StatusRequestEntityTooLarge, code: "ErrorMessageSizeExceeded", message: "The request body is too large."}
	}
	c.sent, c.body = b, b
	if len(b) == 0 || c.meter == nil {
		return nil
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.upload(c.meter, len(b))
}

// end is what follows every call: it is no longer under way, and what it made known is notified.
func (c *call) end() {
	c.s.mu.Lock()
	if c.meter != nil {
		c.meter.inflight--
	}
	c.s.mu.Unlock()
	c.s.flush()
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, res *response) {
	if res == nil {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	for k, v := range res.header {
		h[k] = v
	}
	if id := r.Header.Get("client-request-id"); id != "" {
		h.Set("Client-Request-Id", id)
	}
	w.WriteHeader(res.status)
	_, _ = w.Write(res.body) // a caller who left is no concern of the server's
}

// decode reads the body of a call.
func (c *call) decode(v any) *apiError {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return badRequest("BadRequest", "Unable to read JSON request payload. %v", err)
	}
	return nil
}

// prefer is what a request's Prefer headers ask for. Facts 2.2 and 2.3: they are per request.
type prefer struct {
	immutable bool
	pageSize  int
	body      string // "text", "html"
	unsafe    bool
	applied   []string
}

// preferences reads them. Facts 2.7: "multiple Prefer values are separate header lines in random order".
func preferences(h http.Header) (p prefer) {
	for _, line := range h.Values("Prefer") {
		for _, v := range strings.Split(line, ",") {
			v = strings.TrimSpace(v)
			name, value, _ := strings.Cut(v, "=")
			value = strings.Trim(value, `"`)
			switch strings.ToLower(name) {
			case "idtype":
				p.immutable = strings.EqualFold(value, "ImmutableId")
			case "odata.maxpagesize":
				p.pageSize, _ = strconv.Atoi(value)
			case "outlook.body-content-type":
				p.body = strings.ToLower(value)
			case "outlook.allow-unsafe-html":
				p.unsafe = true
			default:
				continue
			}
			p.applied = append(p.applied, v)
		}
	}
	return p
}

const maxPage = 1000

// pageSize is how many a page holds. $top comes before odata.maxpagesize.
func (c *call) pageSize(otherwise int) (int, *apiError) {
	n := otherwise
	if c.prefer.pageSize > 0 {
		n = c.prefer.pageSize
	}
	if v := c.query.Get("$top"); v != "" {
		t, err := strconv.Atoi(v)
		if err != nil || t < 1 || t > maxPage {
			return 0, badRequest("ErrorInvalidUrlQuery", "The following parameters are not supported with change tracking or are out of range: '$top=%s'. The limit of '%d' for Top query has been exceeded.", v, maxPage)
		}
		n = t
	}
	n = min(n, maxPage)
	if l := c.s.opts.PageSize; l > 0 {
		n = min(n, l)
	}
	return n, nil
}

// here is the absolute address of the call with another query: facts 2.2, "absolute" links on the Server's own base.
func (c *call) here(q url.Values) string {
	return c.s.base + c.r.URL.EscapedPath() + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// context is the @odata.context of an answer.
func (c *call) context(of string) string {
	return c.s.base + "/v1.0/$metadata#users('" + c.user.Subject + "')/" + of
}
