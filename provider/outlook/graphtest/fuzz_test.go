package graphtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// Whatever is asked for is answered, and never as if the server were at fault.
func FuzzQueries(f *testing.F) {
	for _, q := range []string{
		"receivedDateTime ge 2026-03-10T13:00:00Z and (isRead eq true or not contains(subject,'a''b'))", "categories/any(c:c eq 'x')", "internetMessageId eq '<a@b>'", `"from:bob AND (x OR NOT y)"`,
		`"received>=2026-01-01"`, "attachments($select=id),singleValueExtendedProperties($filter=id eq 'String 0x1042')", "subject,from", "receivedDateTime desc,subject",
	} {
		f.Add(q, q, q)
	}
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	token := ada.Token(graphtest.ScopeReadWrite)
	f.Fuzz(func(t *testing.T, one, two, token2 string) {
		for _, path := range []string{"/v1.0/me/messages", "/v1.0/me/mailFolders/inbox/messages/delta", "/v1.0/me/mailFolders"} {
			for _, params := range [][2]string{{"$filter", "$orderby"}, {"$search", "$select"}, {"$expand", "$top"}, {"$skip", "$deltatoken"}} {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				q := r.URL.Query()
				q.Set(params[0], one)
				q.Set(params[1], two)
				q.Set("$skiptoken", token2)
				r.URL.RawQuery = q.Encode()
				r.Header.Set("Authorization", "Bearer "+token)
				s.SetLimits(-1, -1)
				s.Forget()
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if w.Code >= 500 || w.Code == http.StatusOK && !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
					t.Errorf("%s: %d %s", r.URL, w.Code, w.Body)
				}
			}
		}
	})
}

// Whatever comes as mail is stored, listed and given back as it came.
func FuzzMail(f *testing.F) {
	f.Add([]byte("From: a@b\r\nSubject: x\r\n\r\nHi"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x--"))
	f.Add([]byte("Thread-Index: AQHTAbcSwb41IIwGp0qstrYSZH+U7Q==\nReferences: <a> <b>\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, _ := newServer(graphtest.Options{})
		ada := s.AddUser("ada@example.com")
		a := newApp(t, s, ada).immutable()
		id := ada.Deliver(raw, noon, "")
		a.get("/me/messages?$expand=attachments").want(t, "200")
		if got := a.get("/me/messages/"+id+"/$value").want(t, "200").raw; string(got) != string(raw) {
			t.Errorf("%q became %q", raw, got)
		}
		a.post("/me/messages/"+id+"/createReply", obj{"comment": "x"}).want(t, "201")
		if ada.Move(id, "junkemail"); len(a.get("/me/mailFolders/junkemail/messages").want(t, "200").value()) != 1 {
			t.Error("lost on the way")
		}
	})
}
