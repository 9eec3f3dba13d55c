package outlook_test

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
)

// sample is an answer of Microsoft's documentation.
type sample struct {
	Request  struct{ URL, Method string }
	Response struct {
		StatusCode int
		Body       json.RawMessage
	}
}

func samples(t *testing.T) (out []sample) {
	dir := os.Getenv("EMAILINT_GRAPH")
	if dir == "" {
		dir = "../../../shared/graph"
	}
	b, err := os.ReadFile(filepath.Join(dir, "graph-mail-samples.json"))
	if os.IsNotExist(err) {
		t.Skip("Microsoft's samples are no part of the project: they are looked for in ../shared/graph beside it")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// replaying is a Graph that answers one call with a sample, and all others with as little as they need.
func replaying(t *testing.T, s sample, is func(path string) bool) *outlook.Mailbox {
	t.Helper()
	answers := map[string]string{
		"/v1.0/me":                   `{"id":"48d31887","mail":"me@acme.example","userPrincipalName":"me@acme.example"}`,
		"/v1.0/me/mailFolders/delta": `{"value":[{"id":"AAMkFolder","displayName":"Inbox","parentFolderId":"root"}],"@odata.deltaLink":"https://graph.microsoft.com/v1.0/me/mailFolders/delta?x"}`,
		"/v1.0/me/mailFolders/inbox": `{"id":"AAMkFolder","displayName":"Inbox","parentFolderId":"root"}`,
	}
	p := outlook.New(&outlook.Options{HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		path := strings.ReplaceAll(r.URL.Path, "delta()", "delta")
		status, body := http.StatusOK, answers[path]
		switch {
		case is(path):
			status, body = s.Response.StatusCode, string(s.Response.Body)
		case body == "" && strings.Contains(path, "/messages/delta"):
			body = `{"value":[],"@odata.deltaLink":"https://graph.microsoft.com/v1.0/me/mailFolders/AAMkFolder/messages/delta?x"}`
		case body == "":
			status, body = http.StatusNotFound, `{"error":{"code":"ErrorItemNotFound","message":"x"}}`
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json;odata.metadata=minimal"}}, Body: io.NopCloser(strings.NewReader(body)),
			ContentLength: int64(len(body)), Request: r}, nil
	})}})
	m, err := p.Mailbox(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The answers of Microsoft's documentation are read, with their quirks.
func TestSamples(t *testing.T) {
	read := map[string]int{}
	for _, s := range samples(t) {
		at, _, _ := strings.Cut(s.Request.URL, "?")
		at = strings.TrimPrefix(at, "https://graph.microsoft.com/v1.0/me")
		if s.Request.Method != "" && s.Request.Method != "GET" && !strings.HasSuffix(at, "/move") || s.Response.StatusCode >= 300 {
			continue
		}
		path := func(suffix string) func(string) bool {
			return func(p string) bool { return strings.HasSuffix(p, suffix) }
		}
		switch {
		case at == "/messages/*":
			var has struct{ ID, Subject string }
			json.Unmarshal(s.Response.Body, &has) //nolint:errcheck // it has none then
			m := replaying(t, s, func(p string) bool { return strings.Contains(p, "/me/messages/") })
			msg, err := m.Content(t.Context(), provider.ItemID(cmp.Or(has.ID, "AAMk")))
			if has.ID == "" {
				if err == nil {
					t.Errorf("%s: %+v of no message", s.Request.URL, msg)
				}
				continue
			}
			if err != nil || msg.Has != message.HasHeader || has.Subject != "" && msg.Subject != strings.TrimSpace(has.Subject) {
				t.Errorf("%s: %+v, %v", s.Request.URL, msg, err)
			}
		case at == "/messages" || at == "/mailFolders/*/messages":
			m := replaying(t, s, path("/me/messages"))
			page, err := m.History(t.Context(), provider.Window{}, nil)
			if err != nil {
				t.Errorf("%s: %+v, %v", s.Request.URL, page, err)
			}
		case at == "/mailFolders/*/messages/delta":
			m := replaying(t, s, func(p string) bool { return strings.HasSuffix(p, "/mailFolders/AAMkFolder/messages/delta") })
			if _, err := m.Start(t.Context()); err != nil && !strings.Contains(string(s.Response.Body), `"datetime-value"`) { // a quirk that is none of Graph's
				t.Errorf("%s: %v", s.Request.URL, err)
			}
		case at == "/mailFolders/delta":
			m := replaying(t, s, path("/me/mailFolders/delta"))
			// It has a next page, which is not among the samples: here it is the same again.
			if _, err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "links to itself") {
				t.Errorf("%s: %v", s.Request.URL, err)
			}
		default:
			continue
		}
		read[at]++
	}
	if len(read) < 4 {
		t.Errorf("only %v were read", read)
	}
	t.Logf("%v", read)
}
