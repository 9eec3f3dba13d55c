package emailint_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
)

// pusher is a provider whose service tells of news by lines: "news ADDRESS", "try TEXT", "later", or what nobody knows.
type pusher struct {
	provider.Provider
	secret string
}

func (p *pusher) Push(r *http.Request) (out provider.Pushed, err error) {
	if r.Header.Get("Authorization") != p.secret {
		return out, fmt.Errorf("the secret is wrong: %w", provider.ErrForged)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return out, err
	}
	what, rest, _ := strings.Cut(string(body), " ")
	switch what {
	case "news":
		out.News = []provider.News{{Address: rest}}
	case "ends":
		out.News = []provider.News{{Address: rest, Rewatch: true}}
	case "try":
		out.Answer = rest
	case "later":
		return out, errors.New("the service's keys can't be had")
	}
	return out, nil
}

func TestPush(t *testing.T) {
	settings := emailint.DefaultSettings()
	settings.Sync.InboundMinutes = 0
	w := emailinttest.New(t, emailinttest.WithSettings(settings), emailinttest.WithOptions(func(o *emailint.Options) {
		o.BaseURL = "https://crm.example.com/email"
		o.Providers = []provider.Provider{&pusher{o.Providers[0], "s3cret"}}
	}))
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := w.Engine.Handler()
	wakes := func() int64 {
		c, err := w.State.Connection(t.Context(), emailinttest.Org, w.Connection.ID)
		if err != nil {
			t.Fatal(err)
		}
		return c.Wake
	}
	for _, c := range []struct {
		name, method, path, secret, body string
		status                           int
		answer                           string
		woken                            int64
	}{
		{"news", "POST", "/email/push/imap", "s3cret", "news " + emailinttest.Owner, 202, "", 1},
		{"news, in another case", "POST", "/email/push/imap", "s3cret", "news " + strings.ToUpper(emailinttest.Owner), 202, "", 1},
		{"a watch that ends", "POST", "/email/push/imap", "s3cret", "ends " + emailinttest.Owner, 202, "", 1},
		{"of a mailbox that nobody connected", "POST", "/email/push/imap", "s3cret", "news eve@example.com", 202, "", 0},
		{"what means nothing", "POST", "/email/push/imap", "s3cret", "hello", 202, "", 0},
		{"a trial of the endpoint", "POST", "/email/push/imap", "s3cret", "try me", 200, "me", 0},
		{"forged", "POST", "/email/push/imap", "", "news " + emailinttest.Owner, 401, "", 0},
		{"a trouble of ours", "POST", "/email/push/imap", "s3cret", "later", 503, "", 0},
		{"too long", "POST", "/email/push/imap", "s3cret", "news " + strings.Repeat("x", 1100<<10), 413, "", 0},
		{"of a provider that isn't there", "POST", "/email/push/gmail", "s3cret", "news x", 404, "", 0},
		{"asked for", "GET", "/email/push/imap", "s3cret", "", 405, "", 0},
	} {
		before := wakes()
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", c.secret)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != c.status || c.answer != "" && rec.Body.String() != c.answer {
			t.Errorf("%s: %d %q, want %d %q", c.name, rec.Code, rec.Body, c.status, c.answer)
		}
		if n := wakes() - before; n != c.woken {
			t.Errorf("%s: woken %d times, want %d", c.name, n, c.woken)
		}
		if c.status == 202 && rec.Body.Len() > 0 {
			t.Errorf("%s: the answer tells %q", c.name, rec.Body)
		}
	}

	// Where inbound mail may wait, only what the user sent is due.
	settings.Sync.InboundMinutes = 60
	if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, settings, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := wakes()
	r := httptest.NewRequest("POST", "/email/push/imap", strings.NewReader("news "+emailinttest.Owner))
	r.Header.Set("Authorization", "s3cret")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if n := wakes() - before; n != 0 {
		t.Errorf("with hourly inbound mail, woken %d times", n)
	}
	l, err := w.State.Claim(t.Context(), "another", w.Now(), 1)
	if err != nil || !l.SentOnly {
		t.Errorf("with hourly inbound mail, %+v is due, %v; want sent mail alone", l, err)
	}
}
