package gmailtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
)

// maxParts is how many requests a batch holds (facts 1.5).
const maxParts = 100

// ShuffleBatches gives the answers of a batch in another order than they were asked for. Facts 1.5: "match by Content-ID".
func (s *Server) ShuffleBatches(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shuffling = on
}

type batchPart struct {
	id  string
	req *http.Request
}

// serveBatch is /batch/gmail/v1. Facts 1.5: multipart/mixed, at most 100 parts, each a call of its own ("counts as n calls") with an answer of its own.
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.log)
	s.log = append(s.log, Call{At: s.now(), Method: "batch", Path: r.URL.RequestURI()})
	f, shuffle := s.faults.take("batch"), s.shuffling
	missing := slices.Contains(s.opts.Missing, "batch")
	s.mu.Unlock()
	if missing {
		s.answer(w, n, s.missing("batch"))
		return
	}
	if f.answersFirst() {
		f.reach(r)
		s.answer(w, n, f.response())
		return
	}
	parts, e := readBatch(r)
	if e != nil {
		s.answer(w, n, e.response())
		return
	}
	if !f.After {
		f.reach(r)
	}
	answers := make([]*httptest.ResponseRecorder, len(parts))
	for i, p := range parts {
		answers[i] = httptest.NewRecorder()
		s.mux.ServeHTTP(answers[i], p.req)
	}
	if f.After {
		f.reach(r)
		if f.Cut || f.Status != 0 {
			s.answer(w, n, f.response())
			return
		}
	}
	var b bytes.Buffer
	mw := multipart.NewWriter(&b)
	_ = mw.SetBoundary("batch_" + short(fmt.Sprint(n, len(parts)))) // its form is allowed
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
		if shuffle {
			order[i] = len(parts) - 1 - i
		}
	}
	for _, i := range order {
		h := textproto.MIMEHeader{"Content-Type": {"application/http"}}
		if id := parts[i].id; id != "" {
			h.Set("Content-ID", "<response-"+strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">")+">") // facts 1.5
		}
		pw, err := mw.CreatePart(h)
		if err != nil {
			panic(err) // memory
		}
		a := answers[i]
		fmt.Fprintf(pw, "HTTP/1.1 %d %s\r\n", a.Code, http.StatusText(a.Code))
		a.Header().Set("Content-Length", fmt.Sprint(a.Body.Len()))
		_ = a.Header().Write(pw)
		fmt.Fprintf(pw, "\r\n%s", a.Body.Bytes())
	}
	mw.Close() //nolint:errcheck // memory
	s.answer(w, n, &response{http.StatusOK, http.Header{"Content-Type": {"multipart/mixed; boundary=" + mw.Boundary()}}, b.Bytes(), ""})
}

func readBatch(r *http.Request) ([]batchPart, *apiError) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, invalid("Failed to parse batch request, error: 0 items. Received batch body: (%s)", kind)
	}
	mr := multipart.NewReader(io.LimitReader(r.Body, maxBody), params["boundary"])
	var parts []batchPart
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, invalid("Failed to parse batch request")
		}
		if kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind != "application/http" {
			return nil, invalid("Batch parts must be application/http")
		}
		in, e := readInner(p, r)
		if e != nil {
			return nil, e
		}
		parts = append(parts, batchPart{p.Header.Get("Content-ID"), in})
	}
	switch {
	case len(parts) == 0:
		return nil, invalid("The batch request must have at least one part")
	case len(parts) > maxParts:
		return nil, invalid("The batch request must not contain more than %d calls", maxParts)
	}
	return parts, nil
}

// readInner reads the request in a part. Facts 1.5: "inner request with PATH ONLY; outer Authorization applies to all".
func readInner(part io.Reader, outer *http.Request) (*http.Request, *apiError) {
	br := bufio.NewReader(part)
	tr := textproto.NewReader(br)
	line, err := tr.ReadLine()
	f := strings.Fields(line)
	if err != nil || len(f) < 2 || !strings.HasPrefix(f[1], "/gmail/v1/") {
		return nil, invalid("Failed to parse batch request: %q is no request for a path below /gmail/v1", line)
	}
	h, err := tr.ReadMIMEHeader()
	if err != nil && err != io.EOF {
		return nil, invalid("Failed to parse batch request: the header of a part is broken")
	}
	body, err := io.ReadAll(br)
	if err != nil {
		return nil, invalid("Failed to parse batch request")
	}
	in, err := http.NewRequestWithContext(outer.Context(), f[0], f[1], bytes.NewReader(body))
	if err != nil {
		return nil, invalid("Failed to parse batch request: %v", err)
	}
	in.Header, in.RequestURI, in.Host = http.Header(h), f[1], outer.Host
	if in.Header == nil {
		in.Header = http.Header{}
	}
	if in.Header.Get("Authorization") == "" {
		in.Header.Set("Authorization", outer.Header.Get("Authorization"))
	}
	return in, nil
}
