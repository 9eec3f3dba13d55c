package gmail

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

type recorder []*http.Request

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	*rec = append(*rec, r)
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("0123456789")), Request: r}, nil
}

// Whatever a link says, the token goes to one host by one scheme.
func TestTransport(t *testing.T) {
	home, err := url.Parse("https://gmail.test/")
	if err != nil {
		t.Fatal(err)
	}
	var rec recorder
	tr := &transport{base: &rec, host: home, tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "secret"})}
	for link, goes := range map[string]bool{
		"https://gmail.test/x": true, "http://gmail.test/x": false, "https://gmail.test:8443/x": false, "https://evil.example/x": false, "https://gmail.test.evil.example/": false,
	} {
		rec = nil
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(r)
		if (err == nil) != goes || (len(rec) == 1) != goes {
			t.Errorf("%s: %v", link, err)
		}
		if err == nil {
			resp.Body.Close()
			if rec[0].Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Authorization") != "" {
				t.Errorf("%s: the token is on the wrong request", link)
			}
		}
	}
}
