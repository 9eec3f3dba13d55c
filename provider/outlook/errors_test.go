package outlook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func rate(from, to time.Duration) func(error) bool {
	return func(err error) bool {
		var l *provider.RateLimitError
		return errors.As(err, &l) && l.RetryAfter >= from && l.RetryAfter <= to
	}
}

func action(who provider.Who, says string) func(error) bool {
	return func(err error) bool {
		var a *provider.NeedsAction
		return errors.As(err, &a) && a.Who == who && strings.Contains(a.Reason, says)
	}
}

// Each refusal of Graph's, and what it comes to.
func TestErrors(t *testing.T) { synctest.Test(t, testErrors) }

func testErrors(t *testing.T) {
	missing := func(err error) bool {
		var m *outlook.MissingError
		return errors.As(err, &m) && errors.Is(err, provider.ErrUnsupported) && m.Method == "messages.list" && strings.Contains(err.Error(), "messages.list")
	}
	plain := func(err error) bool {
		var l *provider.RateLimitError
		var a *provider.NeedsAction
		return err != nil && !errors.As(err, &l) && !errors.As(err, &a) && !errors.Is(err, provider.ErrGone) && strings.Contains(err.Error(), "messages.list")
	}
	for name, c := range map[string]struct {
		fault graphtest.Fault
		is    func(error) bool
	}{
		"429 with a header":         {graphtest.Throttled, rate(10*time.Second, 10*time.Second)},
		"429 with nothing":          {graphtest.ThrottledBare, rate(5*time.Second, 7*time.Second)},
		"503 with a header":         {graphtest.Fault{Status: 503, Code: "ErrorServerBusy", RetryAfter: time.Hour}, rate(time.Hour, time.Hour)},
		"503":                       {graphtest.Unavailable, plain},
		"500":                       {graphtest.ServerError, plain},
		"a gateway's page":          {graphtest.BadGateway, plain},
		"an empty answer":           {graphtest.GatewayTimeout, plain},
		"the connection":            {graphtest.Cut, plain},
		"no mailbox":                {graphtest.MailboxNotEnabled, action(provider.User, "no mailbox")},
		"scopes":                    {graphtest.InsufficientScopes, action(provider.User, "connect the mailbox again")},
		"full":                      {graphtest.Fault{Status: 507, Code: "ErrorQuotaExceeded"}, action(provider.User, "full")},
		"a bad request":             {graphtest.Fault{Status: 400, Code: "ErrorInvalidRequest"}, plain},
		"a method that isn't there": {graphtest.Fault{Status: 501, Code: "NotImplemented"}, missing},
		"405":                       {graphtest.Fault{Status: 405, Bare: true}, missing},
		"a page that isn't there":   {graphtest.Fault{Status: 404}, missing},
		"another 403":               {graphtest.Fault{Status: 403, Code: "ErrorSomething"}, plain},
	} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		box := w.open(t)
		w.srv.Fail("messages.list", 10, c.fault)
		_, err := box.History(t.Context(), provider.Window{}, nil)
		if !c.is(err) {
			t.Errorf("%s: %T %v", name, err, err)
		}
		if err != nil && strings.Contains(err.Error(), owner) {
			t.Errorf("%s tells an address: %v", name, err)
		}
		w.srv.Calm()
	}
}

// What a mailbox repeats by itself, and what not.
func TestTries(t *testing.T) { synctest.Test(t, testTries) }

func testTries(t *testing.T) {
	for name, c := range map[string]struct {
		fault graphtest.Fault
		calls int
	}{"a server error": {graphtest.ServerError, 4}, "the connection": {graphtest.Cut, 4}, "a limit": {graphtest.Throttled, 1}, "a bad request": {graphtest.Fault{Status: 400, Code: "x"}, 1}} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		box := w.open(t)
		w.srv.Fail("messages.list", 10, c.fault)
		if _, err := box.Locate(t.Context(), "a@b"); err == nil || len(w.calls("messages.list")) != c.calls {
			t.Errorf("%s: %d calls, %v", name, len(w.calls("messages.list")), err)
		}
	}
	// The SDK's own retries would send twice (facts 2.7).
	for _, f := range []graphtest.Fault{graphtest.ServerError, graphtest.GatewayTimeout, graphtest.Throttled, graphtest.AnswerBroken} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		box := w.open(t)
		st := stage(t, box)
		w.srv.Fail("messages.send", 1, f)
		if _, err := box.Release(t.Context(), st); err == nil || len(w.calls("messages.send")) != 1 {
			t.Errorf("%+v: sent %d times, %v", f, len(w.calls("messages.send")), err)
		}
	}
}

// A limit is Microsoft's for the mailbox: until it is over nothing more is asked.
func TestLimitsAreObeyed(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	w.srv.Fail("messages.list", 1, graphtest.Throttled)
	box.Locate(t.Context(), "a@b") //nolint:errcheck // it is limited
	before := len(w.srv.Calls())
	if _, err := box.Locate(t.Context(), "a@b"); !rate(9*time.Second, 10*time.Second)(err) {
		t.Errorf("%v", err)
	}
	if n := len(w.srv.Calls()); n != before {
		t.Errorf("%d calls while nothing may be asked", n-before)
	}
}

type tokens func() (*oauth2.Token, error)

func (f tokens) Token() (*oauth2.Token, error) { return f() }

// The token source's errors are returned as they are; an access token that is refused is replaced once, and one that stays refused is nobody's fault yet.
func TestTokens(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	want := &provider.NeedsAction{Who: provider.Operator, Reason: "the secret"}
	_, err := w.provider().Mailbox(t.Context(), tokens(func() (*oauth2.Token, error) { return nil, want }))
	var got *provider.NeedsAction
	if !errors.As(err, &got) || got != want {
		t.Errorf("%v", err)
	}
	box := w.open(t)
	w.user.ExpireAccess()
	if _, err := box.Locate(t.Context(), "a@b"); err != nil {
		t.Errorf("after an access token ended: %v", err)
	}
	_, err = w.provider().Mailbox(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "nobody's"}))
	var sign *provider.SignInError
	if !errors.As(err, &sign) {
		t.Errorf("%T %v", err, err)
	}
	// Claims that another token can't answer: the person must sign in.
	_, err = w.provider().Mailbox(t.Context(), staticClaims(w))
	if !action(provider.User, "another sign-in")(err) {
		t.Errorf("%T %v", err, err)
	}
	// Claims that the next token answers.
	box = w.open(t)
	w.user.RequireClaims(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`)
	if _, err := box.Locate(t.Context(), "a@b"); err != nil {
		t.Errorf("claims: %v", err)
	}
}

// staticClaims is a token of before the policy, for ever.
func staticClaims(w *world) oauth2.TokenSource {
	tok := w.user.Token(scopes...)
	w.user.RequireClaims(`{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`)
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: tok})
}

// Tokens go to https, or to this machine.
func TestBaseURL(t *testing.T) {
	for base, ok := range map[string]bool{"http://graph.example/v1.0": false, "ftp://127.0.0.1": false, "://": false, "nowhere": false} {
		asked := false
		p := outlook.New(&outlook.Options{BaseURL: base, HTTPClient: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked = true
			return nil, errors.New("no")
		})}})
		_, err := p.Mailbox(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}))
		if asked != ok || !ok && !action(provider.Operator, "base URL")(err) {
			t.Errorf("%s: asked %v, %v", base, asked, err)
		}
	}
}

// What the server says is limited, and a panic of the SDK's is an error.
func TestOddAnswers(t *testing.T) { synctest.Test(t, testOddAnswers) }

func testOddAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"null": "null", "a list": "[]", "a string": `"x"`, "nothing": "", "cut": `{"value":[{"id":"a`, "null entries": `{"value":[null,{"id":null},{"id":""}]}`,
		"other types": `{"value":[{"id":"a","receivedDateTime":"yesterday","from":"me","isDraft":"no"}]}`,
		"no link":     `{"value":[],"@odata.nextLink":7}`,
	} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		inner := w.srv.Transport()
		w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := inner.RoundTrip(r)
			if err == nil && (strings.HasSuffix(r.URL.Path, "/messages") || strings.Contains(r.URL.Path, "delta")) {
				resp.Body = readCloser{strings.NewReader(body)}
				resp.ContentLength = int64(len(body))
			}
			return resp, err
		})}
		box := w.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for page, c := 0, provider.Cursor(nil); page < 3; page++ {
			p, err := box.History(ctx, provider.Window{}, c)
			if err != nil || !p.More {
				break
			}
			c = p.Next
		}
		if _, err := box.Start(ctx); err == nil {
			t.Errorf("%s: Start took it", name)
		}
		if ctx.Err() != nil {
			t.Errorf("%s: there was no end", name)
		}
		cancel()
	}
}

// One message that the SDK can't read makes pages unreadable. The others are told all the same.
func TestPoison(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	inner := w.srv.Transport()
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := inner.RoundTrip(r)
		if err == nil && (strings.Contains(r.URL.RawQuery, "subject") || strings.Contains(r.URL.RawQuery, "token")) {
			b, _ := io.ReadAll(resp.Body) //nolint:errcheck // in memory
			if strings.Contains(string(b), "poison@sender.example") {
				b = []byte(regexp.MustCompile(`"sentDateTime":"[^"]*"`).ReplaceAllString(string(b), `"sentDateTime":"soon"`))
			}
			resp.Body, resp.ContentLength = readCloser{strings.NewReader(string(b))}, int64(len(b))
		}
		return resp, err
	})}
	w.user.Deliver(providertest.Mail("old", "x"), day0, "inbox")
	b := newBook(t, w.open(t))
	poison := w.user.Deliver(providertest.Mail("poison", "x"), day0.Add(time.Hour), "inbox")
	good := w.user.Deliver(providertest.Mail("good", "x"), day0.Add(2*time.Hour), "inbox")
	b.follow()
	b.lies("poison", w.user, poison, true)
	b.lies("good", w.user, good, true)
	p, err := b.box.History(t.Context(), provider.Window{}, nil)
	if err != nil || len(p.Items) != 3 {
		t.Fatalf("%d items, %v", len(p.Items), err)
	}
	for _, id := range []string{poison, good} {
		if _, err := b.box.Content(t.Context(), provider.ItemID(id)); (err == nil) != (id == good) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if newBook(t, w.open(t)).cur == nil {
		t.Error("no cursor")
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func stage(t *testing.T, box *outlook.Mailbox) provider.Staged {
	t.Helper()
	raw := []byte("From: Me <me@acme.example>\r\nTo: ada@sender.example\r\nSubject: offer\r\nMessage-ID: <offer-1@acme.example>\r\nIn-Reply-To: <parent@x.example>\r\n" +
		"References: <root@x.example> <parent@x.example>\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\n\r\nOur offer.\r\n")
	st, err := box.Stage(t.Context(), raw, provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "offer-1@acme.example"})
	if err != nil {
		t.Fatal(err)
	}
	return st
}
