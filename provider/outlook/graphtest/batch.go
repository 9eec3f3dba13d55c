package graphtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Facts 2.5: a batch holds at most 20 requests, of which "Outlook runs at most 4 at once".
const (
	maxParts = 20
	atOnce   = 4
)

// ShuffleBatches gives the answers of a batch in another order than they were asked for. Facts 2.5: "order not guaranteed".
func (s *Server) ShuffleBatches(on bool) { s.tune(func(o *odd) { o.shuffled = on }) }

type batchItem struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// serveBatch is $batch: calls of their own, each with an answer of its own. Facts 2.5: "outer 200 even if all inner fail".
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, r: r, m: &method{name: "batch"}, prefer: preferences(r.Header)}
	f := c.begin()
	var res *response
	defer func() { c.log(res) }()
	if f.answersFirst() {
		f.reach(r)
		res = f.response(c)
		s.answer(w, r, res)
		return
	}
	if !f.After {
		f.reach(r)
	}
	res = c.batch()
	if f.After {
		f.reach(r)
		if f.Cut || f.Status != 0 {
			res = f.response(c)
		}
	}
	s.answer(w, r, res)
}

func (c *call) batch() *response {
	s := c.s
	if slices.Contains(s.opts.Missing, "batch") {
		return c.failure(&apiError{status: s.opts.MissingStatus, code: "NotImplemented", message: "Not implemented"})
	}
	if c.r.Method != http.MethodPost {
		return c.failure(&apiError{status: http.StatusMethodNotAllowed, code: "BadRequest", message: "POST, please."})
	}
	s.mu.Lock()
	e := c.authenticate()
	s.mu.Unlock()
	if e == nil {
		e = c.read()
	}
	var in struct{ Requests []batchItem }
	if e == nil {
		e = c.decode(&in)
	}
	if e == nil {
		e = checkBatch(in.Requests)
	}
	if e != nil {
		return c.failure(e)
	}
	answers := make([]batchAnswer, len(in.Requests))
	one := func(i int) { answers[i] = c.item(in.Requests[i]) }
	dependent := slices.ContainsFunc(in.Requests, func(b batchItem) bool { return len(b.DependsOn) > 0 })
	if s.opts.Latency <= 0 || dependent { // nothing takes time: one after another is the same, and a run can be repeated
		for i, b := range in.Requests {
			if slices.ContainsFunc(b.DependsOn, func(id string) bool { return failed(answers[:i], id) }) {
				answers[i] = batchAnswer{ID: b.ID, Status: http.StatusFailedDependency, Body: map[string]any{"error": map[string]string{"code": "FailedDependency", "message": "A request that this one depends on failed."}}}
				continue
			}
			one(i)
		}
	} else {
		var running sync.WaitGroup
		slots := make(chan struct{}, atOnce)
		for i := range in.Requests {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				one(i)
			})
		}
		running.Wait()
	}
	if s.shuffled() {
		slices.Reverse(answers)
	}
	b, err := json.Marshal(map[string]any{"responses": answers})
	if err != nil {
		panic(err) // our own
	}
	return &response{http.StatusOK, http.Header{"Content-Type": {jsonType}}, b, ""}
}

func (s *Server) shuffled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.odd.shuffled
}

func failed(done []batchAnswer, id string) bool {
	return !slices.ContainsFunc(done, func(a batchAnswer) bool { return a.ID == id && a.Status < 400 })
}

// checkBatch. Facts 2.5: "<=20 requests, relative URLs, ids unique", and no Authorization inside.
func checkBatch(items []batchItem) *apiError {
	seen := map[string]bool{}
	switch {
	case len(items) == 0:
		return badRequest("BadRequest", "Invalid batch payload format.")
	case len(items) > maxParts:
		return badRequest("MaximumValueExceeded", "Number of batch request steps exceeds the maximum value of %d.", maxParts)
	}
	for _, b := range items {
		switch {
		case b.ID == "" || b.Method == "" || b.URL == "":
			return badRequest("BadRequest", "Invalid batch payload format.")
		case seen[strings.ToLower(b.ID)]:
			return badRequest("BadRequest", "Request Id %s has to be unique in a batch.", b.ID)
		case !strings.HasPrefix(b.URL, "/") && strings.Contains(b.URL, "://"):
			return badRequest("BadRequest", "Request Url must be relative: %s", b.URL)
		}
		seen[strings.ToLower(b.ID)] = true
		for k := range b.Headers {
			if strings.EqualFold(k, "Authorization") {
				return badRequest("BadRequest", "Authorization is not a header of a request in a batch.")
			}
		}
		for _, d := range b.DependsOn {
			if !seen[strings.ToLower(d)] {
				return badRequest("BadRequest", "Request %s depends on %s, which does not come before it.", b.ID, d)
			}
		}
	}
	return nil
}

// item carries one request of a batch out.
func (c *call) item(b batchItem) (a batchAnswer) {
	a = batchAnswer{ID: b.ID, Status: http.StatusGatewayTimeout} // of a connection that was cut behind the batch
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	u, err := url.Parse("/v1.0/" + strings.TrimPrefix(b.URL, "/"))
	if err != nil {
		a.Status = http.StatusBadRequest
		return a
	}
	in := (&http.Request{Method: strings.ToUpper(b.Method), URL: u, Header: http.Header{}, Body: http.NoBody, Host: c.r.Host, RequestURI: u.RequestURI()}).WithContext(c.r.Context())
	for k, v := range b.Headers { // facts 2.5: "inner Prefer headers must be repeated per item"
		in.Header.Set(k, v)
	}
	in.Header.Set("Authorization", c.r.Header.Get("Authorization"))
	if len(b.Body) > 0 && string(b.Body) != "null" {
		kind := in.Header.Get("Content-Type")
		if kind == "" {
			a.Status, a.Body = http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "BadRequest", "message": "Write request id : " + b.ID + " does not contain Content-Type header or body."}}
			return a
		}
		body := []byte(b.Body)
		if !strings.HasPrefix(kind, "application/json") {
			var text string
			if err := json.Unmarshal(b.Body, &text); err != nil {
				a.Status = http.StatusBadRequest
				return a
			}
			body = []byte(text)
		}
		in.Body = io.NopCloser(bytes.NewReader(body))
	}
	res := c.s.perform(in, strings.TrimPrefix(u.EscapedPath(), "/v1.0"))
	if res == nil {
		return a
	}
	a.Status = res.status
	a.Headers = map[string]string{}
	for k := range res.header {
		a.Headers[k] = res.header.Get(k)
	}
	switch kind := res.header.Get("Content-Type"); {
	case len(res.body) == 0:
	case strings.HasPrefix(kind, "application/json"):
		a.Body = json.RawMessage(res.body)
	default:
		a.Body = base64.StdEncoding.EncodeToString(res.body)
	}
	return a
}
