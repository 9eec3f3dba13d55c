package gmailtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func TestFaults(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	id := ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), noon)
	for _, x := range []struct {
		what string
		f    gmailtest.Fault
		want string
	}{
		{"500", gmailtest.ServerError, "500 backendError"}, {"503", gmailtest.Unavailable, "503 backendError"}, {"502", gmailtest.BadGateway, "502"},
		{"token", gmailtest.TokenRefused, "401 authError"}, {"user rate", gmailtest.UserRateLimited, "403 userRateLimitExceeded"},
		{"rate", gmailtest.RateLimited, "403 rateLimitExceeded"}, {"daily", gmailtest.DailyLimited, "403 dailyLimitExceeded"},
		{"429", gmailtest.TooManyRequests, "429 rateLimitExceeded"}, {"policy", gmailtest.DomainPolicy, "403 domainPolicy"},
		{"API off", gmailtest.NotConfigured, "403 accessNotConfigured"}, {"scopes", gmailtest.InsufficientScopes, "403 insufficientPermissions"},
		{"no Gmail", gmailtest.NoMailService, "400 failedPrecondition"},
	} {
		s.Fail("gmail.users.messages.trash", 1, x.f)
		if _, err := svc.Messages.Trash("me", id).Do(); failure(err) != x.want {
			t.Errorf("%s: %v, want %s", x.what, err, x.want)
		}
		if m, _ := ada.Message(id); slices.Contains(m.Labels, "TRASH") {
			t.Fatalf("%s: it had its effect", x.what)
		}
	}
	s.Fail("gmail.users.messages.trash", 1, gmailtest.Cut)
	if _, err := svc.Messages.Trash("me", id).Do(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	s.Fail("", 1, gmailtest.AnswerLost)
	if _, err := svc.Messages.Trash("me", id).Do(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("lost: %v", err)
	}
	if m, _ := ada.Message(id); !slices.Contains(m.Labels, "TRASH") {
		t.Error("the answer was lost and the effect as well")
	}
	s.Fail("gmail.users.messages.untrash", 1, gmailtest.AnswerBroken)
	if _, err := svc.Messages.Untrash("me", id).Do(); failure(err) != "500 backendError" {
		t.Error(err)
	}
	if m, _ := ada.Message(id); slices.Contains(m.Labels, "TRASH") {
		t.Error("500 and no effect")
	}
	// Every third, but for some.
	s.FailEvery(3, gmailtest.ServerError, "gmail.users.labels.list")
	var got []bool
	for range 6 {
		_, err := svc.GetProfile("me").Do()
		got = append(got, err == nil)
		must(svc.Labels.List("me").Do())(t)
	}
	if !slices.Equal(got, []bool{true, true, false, true, true, false}) {
		t.Errorf("every third: %v", got)
	}
	s.Fail("", 5, gmailtest.Cut)
	s.Calm()
	must(svc.GetProfile("me").Do())(t)

	// Whoever gives up hears of that.
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail("", 1, gmailtest.Fault{Reached: cancel, Wait: make(chan struct{})})
	if _, err := svc.GetProfile("me").Context(ctx).Do(); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestStatesOfUserAndProject(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	profile := func() string {
		_, err := svc.GetProfile("me").Do()
		return failure(err)
	}
	for _, x := range []struct {
		set  func(bool)
		want string
	}{{ada.NoMail, "400 failedPrecondition"}, {ada.Forbid, "403 domainPolicy"}, {s.DisableAPI, "403 accessNotConfigured"}} {
		x.set(true)
		if got := profile(); got != x.want {
			t.Errorf("%s, want %s", got, x.want)
		}
		if x.set(false); profile() != "none" {
			t.Error(profile())
		}
	}
	if ada.Revoke(); profile() != "401 authError" {
		t.Errorf("revoked: %s", profile())
	}
	bare, err := gmail.NewService(t.Context(), option.WithHTTPClient(s.Client()), option.WithEndpoint(s.URL()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bare.Users.GetProfile("me").Do(); failure(err) != "401 authError" {
		t.Errorf("without a token: %v", err)
	}
}

func TestAServerThatLacksMethods(t *testing.T) {
	for _, status := range []int{0, 501} {
		s, _ := newServer(gmailtest.Options{Missing: []string{"gmail.users.watch", "batch"}, MissingStatus: status})
		ada := s.AddUser("ada@example.com")
		svc := service(t, ada, s)
		want := "404"
		if status == 501 {
			want = "501"
		}
		if _, err := svc.Watch("me", &gmail.WatchRequest{TopicName: s.Topic("gmail")}).Do(); failure(err) != want {
			t.Errorf("watch: %v, want %s", err, want)
		}
		resp, err := ada.Client(gmailtest.ScopeModify).Post(s.URL()+"batch/gmail/v1", "multipart/mixed; boundary=x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != max(status, 404) {
			t.Errorf("batch: %s", resp.Status)
		}
	}
	s, _ := newServer(gmailtest.Options{})
	svc := service(t, s.AddUser("ada@example.com"), s, gmailtest.ScopeSettings)
	if _, err := svc.Settings.GetVacation("me").Do(); failure(err) != "501 notImplemented" {
		t.Errorf("what gmailtest lacks: %v", err)
	}
}

func TestTransportAnswersForGoogleAlone(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc, err := gmail.NewService(t.Context(), option.WithHTTPClient(ada.Client(gmailtest.ScopeReadonly)))
	if err != nil {
		t.Fatal(err)
	}
	must(svc.Users.GetProfile("me").Do())(t)
	if _, err := s.Client().Get("https://crm.example/"); err == nil {
		t.Error("it answers for crm.example")
	}
}

func TestListening(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	base, stop := s.Listen()
	defer stop()
	svc, err := gmail.NewService(t.Context(), option.WithEndpoint(base), option.WithTokenSource(ada.TokenSource(gmailtest.ScopeReadonly)))
	if err != nil {
		t.Fatal(err)
	}
	must(svc.Users.GetProfile("me").Do())(t)
	s.Fail("", 1, gmailtest.Cut)
	if err := svc.Users.Stop("me").Do(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // a GET would be sent again by net/http
		t.Errorf("cut: %v", err)
	}
	resp, err := http.Get(s.KeysURL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stop()
	if _, err := svc.Users.GetProfile("me").Do(); err == nil {
		t.Error("it still listens")
	}
}
