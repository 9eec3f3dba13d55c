package graphtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// filled is a server with a mailbox of n messages, a minute apart, and a token for it.
func filled(n int) (*graphtest.Server, *graphtest.User, string) {
	s, _ := newServer(graphtest.Options{Requests: -1})
	ada := s.AddUser("ada@example.com")
	for i := range n {
		ada.Deliver(letter("bob@other.example", "ada@example.com", fmt.Sprint(i), fmt.Sprint(i, "@other.example")), noon.Add(time.Duration(i)*time.Minute), "")
	}
	return s, ada, ada.Token(graphtest.ScopeReadWrite)
}

func call(b *testing.B, s *graphtest.Server, token, path string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		body, _ := io.ReadAll(w.Body)
		b.Fatalf("%d %s", w.Code, body)
	}
}

// What a page from the middle of a mailbox of 20,000 takes.
func BenchmarkPageByTime(b *testing.B) {
	s, _, token := filled(20_000)
	q := url.Values{"$filter": {"receivedDateTime lt " + noon.Add(10_000*time.Minute).Format(time.RFC3339)}, "$orderby": {"receivedDateTime desc"}, "$top": {"100"},
		"$select": {"id,subject,from,toRecipients,internetMessageId,receivedDateTime"}}
	for b.Loop() {
		s.Forget()
		call(b, s, token, "/v1.0/me/messages?"+q.Encode())
	}
}

func BenchmarkDeliver(b *testing.B) {
	s, ada, _ := filled(20_000)
	raw := letter("bob@other.example", "ada@example.com", "More", "more@other.example")
	for b.Loop() {
		ada.Deliver(raw, noon, "")
		s.Forget()
	}
}

func BenchmarkFind(b *testing.B) {
	s, _, token := filled(20_000)
	path := "/v1.0/me/messages?" + url.Values{"$filter": {"internetMessageId eq '<777@other.example>'"}}.Encode()
	for b.Loop() {
		s.Forget()
		call(b, s, token, path)
	}
}
