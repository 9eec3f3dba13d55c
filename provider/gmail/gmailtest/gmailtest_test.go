package gmailtest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// These tests drive the server by google.golang.org/api/gmail/v1 alone: what it does is seen without our own provider.

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// clock is a clock that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newServer(o gmailtest.Options) (*gmailtest.Server, *clock) {
	c := &clock{noon}
	o.Now = c.now
	return gmailtest.New(o), c
}

// service is the raw client of a user who allowed these scopes; none: gmail.modify.
func service(t *testing.T, u *gmailtest.User, s *gmailtest.Server, scopes ...string) *gmail.UsersService {
	t.Helper()
	svc, err := newService(t.Context(), u, s, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func newService(ctx context.Context, u *gmailtest.User, s *gmailtest.Server, scopes ...string) (*gmail.UsersService, error) {
	if len(scopes) == 0 {
		scopes = []string{gmailtest.ScopeModify}
	}
	svc, err := gmail.NewService(ctx, option.WithHTTPClient(u.Client(scopes...)), option.WithEndpoint(s.URL()))
	if err != nil {
		return nil, err
	}
	return svc.Users, nil
}

// letter is a plain message.
func letter(from, to, subject, id string, more ...string) []byte {
	head := ""
	for _, m := range more {
		head += m + "\r\n"
	}
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s>\r\nDate: Tue, 10 Mar 2026 12:00:00 +0000\r\n%s\r\nHello from %s.\r\n",
		from, to, subject, id, head, subject)
}

// failure is what the API answered: "404 notFound".
func failure(err error) string {
	if err == nil {
		return "none"
	}
	if e := (*googleapi.Error)(nil); errors.As(err, &e) {
		if len(e.Errors) > 0 {
			return fmt.Sprint(e.Code, " ", e.Errors[0].Reason)
		}
		return fmt.Sprint(e.Code)
	}
	return err.Error()
}

func ids(ms []*gmail.Message) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Id)
	}
	return out
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestMailComesAndIsRead(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	p := must(svc.GetProfile("me").Do())(t)
	if p.EmailAddress != "ada@example.com" || p.HistoryId == 0 {
		t.Fatalf("profile %+v", p)
	}
	first := ada.Deliver(letter("Bob <bob@other.example>", "ada@example.com", "One", "1@other.example"), noon)
	second := ada.Deliver(letter("bob@other.example", "ada@example.com", "Two", "2@other.example"), noon.Add(time.Minute))
	c.advance(time.Hour)

	l := must(svc.Messages.List("me").Do())(t)
	if got := ids(l.Messages); !slices.Equal(got, []string{second, first}) {
		t.Errorf("listed %v, want the newest first: %v %v", got, second, first)
	}
	h := must(svc.History.List("me").StartHistoryId(p.HistoryId).Do())(t)
	if len(h.History) != 2 || len(h.History[0].MessagesAdded) != 1 || h.History[0].MessagesAdded[0].Message.Id != first || h.HistoryId <= p.HistoryId {
		t.Errorf("history %+v", h)
	}
	m := must(svc.Messages.Get("me", first).Format("raw").Do())(t)
	if raw, err := base64.URLEncoding.DecodeString(m.Raw); err != nil || !strings.HasPrefix(string(raw), "From: Bob") || m.InternalDate != noon.UnixMilli() {
		t.Errorf("raw %q, %v, %d", raw, err, m.InternalDate)
	}
	m = must(svc.Messages.Get("me", first).Format("metadata").MetadataHeaders("subject", "From").Do())(t)
	if len(m.Payload.Headers) != 2 || m.Payload.Parts != nil || m.Snippet != "Hello from One." {
		t.Errorf("metadata %+v of %+v", m.Payload, m)
	}
	if _, err := svc.Messages.Get("me", "00000000000000ff").Do(); failure(err) != "404 notFound" {
		t.Error(err)
	}
	if got := ada.Units(); got != 1+5+2+20*3 {
		t.Errorf("%d units by %v", got, ada.UnitsByMethod())
	}
}
