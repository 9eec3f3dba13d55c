package gmailtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

type inner struct{ id, request string }

type outer struct {
	id     string
	status int
	body   []byte
}

// batch posts requests as a batch and reads the answers in the order in which they come.
func batch(t *testing.T, c *http.Client, base string, in ...inner) (status int, out []outer) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, r := range in {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Id": {"<" + r.id + ">"}})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(p, r.request)
	}
	w.Close()
	resp, err := c.Post(base+"batch/gmail/v1", "multipart/mixed; boundary="+w.Boundary(), &b)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	for r := multipart.NewReader(resp.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if err == io.EOF {
			return resp.StatusCode, out
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.ReadResponse(bufio.NewReader(p), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, outer{strings.Trim(p.Header.Get("Content-Id"), "<>"), a.StatusCode, body})
	}
}

func TestBatches(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	c := ada.Client(gmailtest.ScopeModify)
	a := ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), noon)
	get := func(id string) string { return "GET /gmail/v1/users/me/messages/" + id + "?format=minimal\r\n\r\n" }
	s.Fail("gmail.users.labels.list", 1, gmailtest.UserRateLimited)
	modify := `{"removeLabelIds":["INBOX"]}`
	in := []inner{
		{"one", get(a)}, {"two", get("00000000000000ff")}, {"three", "GET /gmail/v1/users/me/labels HTTP/1.1\r\n\r\n"},
		{"four", fmt.Sprintf("POST /gmail/v1/users/me/messages/%s/modify HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", a, len(modify), modify)},
	}
	_, out := batch(t, c, s.URL(), in...)
	var got []string
	for _, o := range out {
		got = append(got, fmt.Sprint(o.id, " ", o.status))
	}
	if want := []string{"response-one 200", "response-two 404", "response-three 403", "response-four 200"}; !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	var m gmail.Message
	if err := json.Unmarshal(out[0].body, &m); err != nil || m.Id != a {
		t.Errorf("%s, %v", out[0].body, err)
	}
	if ada.Units() != 20+20+5 { // each a call of its own; what was refused cost nothing
		t.Errorf("%d units", ada.Units())
	}
	if m, _ := ada.Message(a); slices.Contains(m.Labels, "INBOX") {
		t.Error("not archived")
	}
	s.ShuffleBatches(true)
	_, out = batch(t, c, s.URL(), inner{"one", get(a)}, inner{"two", get("00000000000000ff")})
	if out[0].id != "response-two" || out[0].status != 404 {
		t.Errorf("in another order: %+v", out)
	}
	for what, in := range map[string][]inner{
		"an absolute address": {{"x", "GET https://gmail.googleapis.com/gmail/v1/users/me/profile\r\n\r\n"}}, "none": nil, "101": slices.Repeat([]inner{{"x", get(a)}}, 101),
		"another path": {{"x", "GET /token\r\n\r\n"}},
	} {
		if status, _ := batch(t, c, s.URL(), in...); status != 400 {
			t.Errorf("%s: %d", what, status)
		}
	}
	s.Fail("batch", 1, gmailtest.Unavailable)
	if status, _ := batch(t, c, s.URL(), inner{"one", get(a)}); status != 503 {
		t.Errorf("a batch that fails: %d", status)
	}
	if status, out := batch(t, c, s.URL(), slices.Repeat([]inner{{"x", get(a)}}, 100)...); status != 200 || len(out) != 100 {
		t.Errorf("100 parts: %d, %d", status, len(out))
	}
}
