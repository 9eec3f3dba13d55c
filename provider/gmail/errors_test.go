package gmail_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Each refusal of Google's, and what it comes to.
func TestErrors(t *testing.T) {
	rate := func(d time.Duration) func(error) bool {
		return func(err error) bool {
			var l *provider.RateLimitError
			return errors.As(err, &l) && (l.RetryAfter == d || d < 0 && l.RetryAfter >= 5*time.Second && l.RetryAfter <= 10*time.Second)
		}
	}
	action := func(who provider.Who, says string) func(error) bool {
		return func(err error) bool {
			var a *provider.NeedsAction
			return errors.As(err, &a) && a.Who == who && strings.Contains(a.Reason, says)
		}
	}
	missing := func(err error) bool {
		var m *gmail.MissingError
		return errors.As(err, &m) && errors.Is(err, provider.ErrUnsupported) && m.Method == "messages.list" && strings.Contains(err.Error(), "messages.list")
	}
	plain := func(err error) bool {
		var l *provider.RateLimitError
		var a *provider.NeedsAction
		return err != nil && !errors.As(err, &l) && !errors.As(err, &a) && !errors.Is(err, provider.ErrGone) && strings.Contains(err.Error(), "messages.list")
	}
	in := func(status int, d time.Duration) gmailtest.Fault {
		return gmailtest.Fault{Status: status, Reason: "userRateLimitExceeded",
			Message: "User-rate limit exceeded.  Retry after " + day0.Add(d).Format("2006-01-02T15:04:05.000Z") + "  (Mail sending)"}
	}
	for name, c := range map[string]struct {
		fault gmailtest.Fault
		is    func(error) bool
	}{
		"user rate":            {gmailtest.UserRateLimited, rate(-1)},
		"project rate":         {gmailtest.RateLimited, rate(-1)},
		"daily":                {gmailtest.DailyLimited, rate(time.Hour)},
		"429":                  {gmailtest.TooManyRequests, rate(-1)},
		"429 with a header":    {gmailtest.Fault{Status: 429, Reason: "rateLimitExceeded", RetryAfter: 90 * time.Second}, rate(90 * time.Second)},
		"429 with a time":      {in(429, 7*time.Minute), rate(7 * time.Minute)},
		"403 with a time":      {in(403, 25*time.Hour), rate(25 * time.Hour)},
		"429 without JSON":     {gmailtest.Fault{Status: 429}, rate(-1)},
		"domain policy":        {gmailtest.DomainPolicy, action(provider.Admin, "administrator")},
		"API is off":           {gmailtest.NotConfigured, action(provider.Operator, "enable it")},
		"scope is missing":     {gmailtest.InsufficientScopes, action(provider.User, "every box")},
		"no Gmail":             {gmailtest.NoMailService, action(provider.User, "no Gmail mailbox")},
		"forbidden otherwise":  {gmailtest.Fault{Status: 403, Reason: "forbidden", Message: "no"}, plain},
		"403 without JSON":     {gmailtest.Fault{Status: 403}, plain},
		"500":                  {gmailtest.ServerError, plain},
		"502":                  {gmailtest.BadGateway, plain},
		"503":                  {gmailtest.Unavailable, plain},
		"400":                  {gmailtest.Fault{Status: 400, Reason: "invalidArgument", Message: "no"}, plain},
		"cut":                  {gmailtest.Cut, plain},
		"404 of a path":        {gmailtest.Fault{Status: 404}, missing},
		"404 of a path, JSON":  {gmailtest.Fault{Status: 404, Reason: "notFound", Message: "Not Found"}, missing},
		"405":                  {gmailtest.Fault{Status: 405, Reason: "x", Message: "x"}, missing},
		"501":                  {gmailtest.Fault{Status: 501}, missing},
		"token is refused":     {gmailtest.TokenRefused, func(err error) bool { return errors.As(err, new(*provider.SignInError)) }},
		"a redirect elsewhere": {gmailtest.Fault{Status: 302}, plain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{Now: func() time.Time { return day0 }})
				box := w.open(t)
				w.srv.Fail("gmail.users.messages.list", 10, c.fault)
				_, err := box.History(t.Context(), provider.Window{}, nil)
				if !c.is(err) {
					t.Errorf("%v (%T)", err, err)
				}
				if err != nil && (strings.Contains(err.Error(), "ya29") || strings.Contains(err.Error(), owner) || strings.Contains(err.Error(), "in:chats")) {
					t.Errorf("the error tells too much: %v", err)
				}
			})
		})
	}
}

// What may pass is tried again by a call that only reads: it passes unnoticed.
func TestErrorsThatPass(t *testing.T) {
	for name, f := range map[string]gmailtest.Fault{"500": gmailtest.ServerError, "502": gmailtest.BadGateway, "503": gmailtest.Unavailable, "cut": gmailtest.Cut} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{})
				w.user.Deliver(providertest.Mail("a", "x"), day0)
				box := w.open(t)
				w.srv.Fail("gmail.users.messages.list", 3, f)
				p, err := box.History(t.Context(), provider.Window{}, nil)
				if err != nil || len(p.Items) != 1 {
					t.Fatalf("%d items, %v", len(p.Items), err)
				}
				w.srv.Fail("gmail.users.messages.get", 2, f)
				if _, err := box.Content(t.Context(), p.Items[0].ID); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A token that is refused once is asked for anew, and only then is somebody asked. What the token source says is returned as it is.
func TestToken(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.user.Deliver(providertest.Mail("a", "x"), day0)
	box := w.open(t)
	c := start(t, box)
	w.user.ExpireAccess()
	w.user.Deliver(providertest.Mail("b", "x"), day0)
	if p := changes(t, box, c); len(p.Items) != 1 {
		t.Errorf("%d items", len(p.Items))
	}
	w.srv.Fail("gmail.users.messages.modify", 1, gmailtest.TokenRefused)
	if _, err := box.Archive(t.Context(), provider.Target{MessageID: "a@sender.example"}); err != nil {
		t.Errorf("a change is repeated with its body: %v", err)
	}
	said := &provider.NeedsAction{Who: provider.User, Reason: "sign in again"}
	bad := failingSource{said}
	if _, err := w.prov.Mailbox(t.Context(), bad); err != error(said) {
		t.Errorf("the source's error came as %v", err)
	}
}

type failingSource struct{ err error }

func (s failingSource) Token() (*oauth2.Token, error) { return nil, s.err }

// The token goes to the host of the base URL only, also when a server answers with a link.
func TestTokenStaysAtHome(t *testing.T) {
	var asked []string
	away := roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host)
		if r.URL.Host != "gmail.test" {
			t.Errorf("%s was asked, with %q", r.URL.Host, r.Header.Get("Authorization"))
		}
		return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"https://evil.example" + r.URL.Path}}, Body: http.NoBody, Request: r}, nil
	})
	p := gmail.New(&gmail.Options{BaseURL: "https://gmail.test", HTTPClient: &http.Client{Transport: away}})
	if _, err := p.Mailbox(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "secret"})); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("it opened: %v", err)
	}
	if len(asked) == 0 {
		t.Error("nobody was asked")
	}
	for _, base := range []string{"http://gmail.googleapis.com", "ftp://x", ":", "nonsense"} {
		var a *provider.NeedsAction
		if _, err := gmail.New(&gmail.Options{BaseURL: base}).Mailbox(t.Context(), failingSource{errors.New("asked")}); !errors.As(err, &a) || a.Who != provider.Operator {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// A server that lacks all but what is needed for reading is read, and says of the rest what it lacks.
func TestPartialServer(t *testing.T) {
	w := newWorld(gmailtest.Options{Missing: []string{"gmail.users.settings.sendAs.list", "batch", "gmail.users.watch", "gmail.users.drafts.create",
		"gmail.users.messages.modify", "gmail.users.labels.create"}}, gmail.Options{Topic: "projects/crm-test/topics/mail"})
	id := w.user.Deliver(providertest.Mail("a", "x"), day0)
	w.user.Deliver(providertest.Mail("b", "x"), day0)
	box := w.open(t)
	if prof, err := box.Profile(t.Context()); err != nil || prof.Address != owner {
		t.Errorf("%v, %v", prof, err)
	}
	box.Prefetch([]provider.ItemID{provider.ItemID(id)})
	if _, err := box.Content(t.Context(), provider.ItemID(id)); err != nil {
		t.Error(err)
	}
	for method, call := range map[string]func(context.Context) error{
		"watch": func(ctx context.Context) error {
			_, err := w.prov.Watch(ctx, w.user.TokenSource(gmailtest.ScopeModify), nil)
			return err
		},
		"messages.modify": func(ctx context.Context) error {
			_, err := box.Archive(ctx, provider.Target{Item: provider.ItemID(id)})
			return err
		},
		"labels.create": func(ctx context.Context) error {
			_, err := box.Label(ctx, provider.Target{Item: provider.ItemID(id)}, "x")
			return err
		},
		"drafts.create": func(ctx context.Context) error {
			_, err := box.Stage(ctx, outgoing, provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}})
			return err
		},
	} {
		var m *gmail.MissingError
		if err := call(t.Context()); !errors.As(err, &m) || m.Method != method {
			t.Errorf("%s: %v", method, err)
		}
	}
}
