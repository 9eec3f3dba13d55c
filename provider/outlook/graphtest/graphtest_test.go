package graphtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// These tests drive the server by plain requests: what it does is seen without our own provider. sdktest does by Microsoft's own client.

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// clock is a clock that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newServer(o graphtest.Options) (*graphtest.Server, *clock) {
	c := &clock{noon}
	o.Now = c.now
	return graphtest.New(o), c
}

// app is an app that a user allowed everything, or these scopes.
type app struct {
	t      *testing.T
	s      *graphtest.Server
	client *http.Client
	header []string // of every request, "Name: value"
}

func newApp(t *testing.T, s *graphtest.Server, u *graphtest.User, scopes ...string) *app {
	if len(scopes) == 0 {
		scopes = []string{graphtest.ScopeReadWrite, graphtest.ScopeSend, graphtest.ScopeSettingsWrite, graphtest.ScopeUser}
	}
	return &app{t: t, s: s, client: u.Client(scopes...)}
}

// with is the app with further headers.
func (a *app) with(header ...string) *app {
	b := *a
	b.header = append(append([]string(nil), a.header...), header...)
	return &b
}

// immutable is the app with immutable ids.
func (a *app) immutable() *app { return a.with(`Prefer: IdType="ImmutableId"`) }

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	raw    []byte
	m      map[string]any
	err    error
}

// code is the error's, or the status where there is none.
func (r *answer) code() string {
	if r.err != nil {
		return r.err.Error()
	}
	if e, ok := r.m["error"].(map[string]any); ok {
		return fmt.Sprint(r.status, " ", e["code"])
	}
	return fmt.Sprint(r.status)
}

func (r *answer) str(name string) string { s, _ := r.m[name].(string); return s }

func (r *answer) value() []map[string]any {
	var out []map[string]any
	vs, _ := r.m["value"].([]any)
	for _, v := range vs {
		out = append(out, v.(map[string]any))
	}
	return out
}

// all is one property of what is listed.
func (r *answer) all(name string) []string {
	var out []string
	for _, v := range r.value() {
		out = append(out, fmt.Sprint(v[name]))
	}
	return out
}

// do makes a request; a path is below /v1.0. A body of []byte goes as it is, any other as JSON.
func (a *app) do(method, path string, body any) *answer {
	a.t.Helper()
	if !strings.HasPrefix(path, "http") {
		p, q, _ := strings.Cut(path, "?")
		path = a.s.URL() + p
		if q != "" {
			var ps []string
			for _, kv := range strings.Split(q, "&") {
				k, v, _ := strings.Cut(kv, "=")
				ps = append(ps, url.QueryEscape(k)+"="+strings.ReplaceAll(url.QueryEscape(v), "+", "%20"))
			}
			path += "?" + strings.Join(ps, "&")
		}
	}
	var rd io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		rd, kind = bytes.NewReader(b), "text/plain"
	default:
		j, err := json.Marshal(b)
		if err != nil {
			a.t.Fatal(err)
		}
		rd, kind = bytes.NewReader(j), "application/json"
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, path, rd)
	if err != nil {
		a.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for _, h := range a.header {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return &answer{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return &answer{err: err}
	}
	out := &answer{status: resp.StatusCode, header: resp.Header, raw: raw}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &out.m); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
	return out
}

func (a *app) get(path string) *answer { a.t.Helper(); return a.do("GET", path, nil) }

func (a *app) post(path string, body any) *answer { a.t.Helper(); return a.do("POST", path, body) }

func (a *app) patch(path string, body any) *answer { a.t.Helper(); return a.do("PATCH", path, body) }

// want fails the test unless the answer has that status or error: "200", "404 ErrorItemNotFound".
func (r *answer) want(t *testing.T, code string) *answer {
	t.Helper()
	if r.code() != code {
		t.Fatalf("answered %s, want %s: %s", r.code(), code, r.raw)
	}
	return r
}

type obj = map[string]any

// letter is a plain message.
func letter(from, to, subject, id string, more ...string) []byte {
	head := ""
	for _, m := range more {
		head += m + "\r\n"
	}
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s>\r\nDate: Tue, 10 Mar 2026 12:00:00 +0000\r\n%s\r\nHello from %s.\r\n",
		from, to, subject, id, head, subject)
}

func TestMailComesAndIsRead(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	first := ada.Deliver(letter("Bob <bob@other.example>", "ada@example.com", "One", "1@other.example"), noon, "")
	second := ada.Deliver(letter("bob@other.example", "ada@example.com", "Two", "2@other.example"), noon.Add(time.Minute), "")

	l := a.get("/me/messages?$select=subject,receivedDateTime&$orderby=receivedDateTime desc").want(t, "200")
	if got := l.all("id"); len(got) != 2 || got[0] != second || got[1] != first {
		t.Errorf("listed %v, want the newest first: %v %v", got, second, first)
	}
	m := a.get("/me/messages/"+first).want(t, "200")
	if m.str("internetMessageId") != "<1@other.example>" || m.m["internetMessageHeaders"] != nil || m.str("receivedDateTime") != "2026-03-10T12:00:00Z" {
		t.Errorf("message %s", m.raw)
	}
	if h := a.get("/users/ada@example.com/messages/"+first+"?$select=internetMessageHeaders").want(t, "200"); len(h.m["internetMessageHeaders"].([]any)) != 5 {
		t.Errorf("headers %s", h.raw)
	}
	if raw := a.get("/me/messages/"+first+"/$value").want(t, "200").raw; !bytes.HasPrefix(raw, []byte("From: Bob")) {
		t.Errorf("MIME %q", raw)
	}
	d := a.get("/me/mailFolders/inbox/messages/delta%28%29").want(t, "200")
	if len(d.value()) != 2 || d.str("@odata.deltaLink") == "" {
		t.Fatalf("delta %s", d.raw)
	}
	ada.Archive(first)
	d = a.get(d.str("@odata.deltaLink")).want(t, "200")
	if v := d.value(); len(v) != 1 || v[0]["id"] != first || fmt.Sprint(v[0]["@removed"]) != "map[reason:changed]" {
		t.Errorf("delta %s", d.raw)
	}
	a.get("/me/messages/AAMkAGFlnothing=").want(t, "404 ErrorItemNotFound")
	if got := ada.Requests(); got != 7 {
		t.Errorf("%d requests", got)
	}
}

func decode(t *testing.T, resp *http.Response, v any) {
	t.Helper()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}
