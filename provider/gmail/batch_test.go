package gmail

import (
	"fmt"
	"strings"
	"testing"
)

// Whatever comes as the answer to a batch: no panic, and never more answers than were asked for; each has a status, and only a 200 that is JSON is a message.
func FuzzBatch(f *testing.F) {
	part := func(i int, status, body string) string {
		return fmt.Sprintf("--b\r\nContent-Type: application/http\r\nContent-ID: <response-item-%d>\r\n\r\nHTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s\r\n",
			i, status, len(body), body)
	}
	f.Add("multipart/mixed; boundary=b", part(1, "200 OK", `{"id":"x"}`)+part(0, "404 Not Found", `{"error":{"code":404,"message":"x"}}`)+"--b--\r\n")
	f.Add("multipart/mixed; boundary=b", part(0, "200 OK", `{"id":"x"}`)+part(0, "200 OK", `{"id":"y"}`)+part(7, "200 OK", `{}`)+"--b--")
	f.Add("multipart/mixed; boundary=b", part(0, "200 OK", `{"id":`)+"--b")
	f.Add("multipart/mixed; boundary=b", "--b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n--b\r\n\r\nnonsense\r\n--b--")
	f.Add("multipart/mixed", "x")
	f.Add("text/html; charset=x", "<html>")
	f.Add("multipart/mixed; boundary=b", "--b\r\nContent-ID: <response-item-99999999999999999999>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n--b--")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		const n = 3
		answers, err := parseBatch(contentType, strings.NewReader(body), n)
		if answers == nil && err == nil || answers != nil && len(answers) != n {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		for _, a := range answers {
			msg, err := a.message()
			if (msg == nil) == (err == nil) {
				t.Errorf("message %v, error %v", msg, err)
			}
			if a != nil && msg != nil && (a.status < 200 || a.status > 299) {
				t.Errorf("status %d is a message", a.status)
			}
		}
	})
}

// Answers are told apart by their ids, in whatever order they come; without ids by their order.
func TestParseBatch(t *testing.T) {
	part := func(id, name string) string {
		return "--b\r\n" + id + "\r\nHTTP/1.1 200 OK\r\n\r\n{\"id\":\"" + name + "\"}\r\n"
	}
	for name, body := range map[string]string{
		"by id":    part("Content-ID: <response-item-1>\r\n", "one") + part("Content-ID: response-item-0\r\n", "zero") + "--b--\r\n",
		"by order": part("", "zero") + part("Content-Type: application/http\r\n", "one") + "--b--\r\n",
	} {
		as, err := parseBatch("multipart/mixed; boundary=\"b\"", strings.NewReader(body), 2)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"zero", "one"} {
			if m, err := as[i].message(); err != nil || m.Id != want {
				t.Errorf("%s: %d is %v, %v", name, i, m, err)
			}
		}
	}
}
