package graphtest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func TestFaults(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	for want, f := range map[string]graphtest.Fault{
		"500 InternalServerError": graphtest.ServerError, "503 ErrorServerBusy": graphtest.Unavailable, "429 ApplicationThrottled": graphtest.Throttled,
		"401 InvalidAuthenticationToken": graphtest.TokenRefused, "404 MailboxNotEnabledForRESTAPI": graphtest.MailboxNotEnabled, "403 ErrorAccessDenied": graphtest.InsufficientScopes,
		"502": graphtest.BadGateway, "504": graphtest.GatewayTimeout, "429": graphtest.ThrottledBare,
	} {
		s.Fail("messages.list", 1, f)
		a.get("/me/mailFolders").want(t, "200")
		a.get("/me/messages").want(t, want)
	}
	s.Fail("", 1, graphtest.BadGateway)
	if r := a.get("/me/messages"); !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || len(r.raw) == 0 {
		t.Errorf("a gateway's page: %q", r.raw)
	}
	s.Fail("", 1, graphtest.Cut)
	if r := a.get("/me/messages"); !errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", r.err)
	}
	s.Fail("", 1, graphtest.Fault{Status: 200, Body: []byte(`{"value":[{"id":"AAsample="}]}`)})
	if got := a.get("/me/messages").want(t, "200").all("id"); len(got) != 1 || got[0] != "AAsample=" {
		t.Errorf("a sample: %v", got)
	}
	mail := obj{"message": obj{"toRecipients": to("x@y.example")}}
	s.Fail("sendMail", 1, graphtest.AnswerBroken)
	a.post("/me/sendMail", mail).want(t, "504")
	s.Fail("sendMail", 1, graphtest.AnswerLost)
	if r := a.post("/me/sendMail", mail); r.err == nil || len(s.Sent()) != 2 {
		t.Errorf("answer lost: %v, %d sent", r.err, len(s.Sent()))
	}
	s.FailEvery(3, graphtest.Unavailable, "folders.list")
	var codes []string
	for range 6 {
		a.get("/me/mailFolders").want(t, "200")
		codes = append(codes, a.get("/me/messages").code())
	}
	if got := strings.Join(codes, ","); got != "200,200,503 ErrorServerBusy,200,200,503 ErrorServerBusy" {
		t.Errorf("every third: %s", got)
	}
	s.Calm()
	a.get("/me/messages").want(t, "200")
	if s.Count("sendMail") != 2 || s.Calls()[0].String() != "folders.list of ada@example.com: 200" {
		t.Errorf("calls %v", s.Calls())
	}
	ada.NoMailbox(true)
	a.get("/me/messages").want(t, "404 MailboxNotEnabledForRESTAPI")
	a.get("/me").want(t, "200")
	a.get("/me/events").want(t, "501 NotImplemented")

	lacking, _ := newServer(graphtest.Options{Missing: []string{"messages.delta", "batch"}, MissingStatus: 404, NoGzip: true})
	eve := newApp(t, lacking, lacking.AddUser("eve@example.com"))
	eve.get("/me/mailFolders/inbox/messages/delta").want(t, "404 NotImplemented")
	eve.post("/$batch", obj{}).want(t, "404 NotImplemented")
	eve.with("Content-Encoding: gzip").post("/me/mailFolders", obj{}).want(t, "415 UnsupportedMediaType")
}

func TestACallIsHeld(t *testing.T) {
	s, _ := newServer(graphtest.Options{Concurrency: 1})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	reached, let := make(chan struct{}), make(chan struct{})
	s.Fail("messages.list", 1, graphtest.Fault{Reached: func() { close(reached) }, Wait: let})
	done := make(chan string)
	go func() { done <- a.get("/me/messages").code() }()
	<-reached
	a.get("/me/messages").want(t, "429 ApplicationThrottled") // what is held is under way
	close(let)
	if got := <-done; got != "200" {
		t.Error(got)
	}

	reached = make(chan struct{})
	s.Fail("messages.list", 1, graphtest.Fault{Reached: func() { close(reached) }, Wait: make(chan struct{})})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/me/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error)
	go func() {
		_, err := a.client.Do(r) //nolint:bodyclose // there is none
		gone <- err
	}()
	<-reached
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	a.get("/me/messages").want(t, "200")
}

func TestCompressedBodies(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(`{"subject":"Zipped"}`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	zip := a.with("Content-Encoding: gzip")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/me/messages", &b)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	r.ContentLength = -1
	resp, err := a.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 201 || ada.Messages()[0].Subject != "Zipped" {
		t.Errorf("%s %+v", resp.Status, ada.Messages())
	}
	zip.post("/me/messages", obj{}).want(t, "400 BadRequest") // it isn't
	a.with("Content-Encoding: br").post("/me/messages", obj{}).want(t, "415 UnsupportedMediaType")
}

func TestListen(t *testing.T) {
	s := graphtest.New(graphtest.Options{})
	base, end := s.Listen()
	defer end()
	ada := s.AddUser("ada@example.com")
	id := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	get := func(at, token string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status + " " + string(b)
	}
	token := ada.Token(graphtest.ScopeReadWrite)
	if got := get(base+"/me/messages/"+id+"?$select=subject", token); !strings.HasPrefix(got, "200") || !strings.Contains(got, `"Hello"`) {
		t.Error(got)
	}
	if got := get(base+"/me/messages", "nobody's"); !strings.HasPrefix(got, "401") {
		t.Error(got)
	}
	if got := get(s.KeysURL(), ""); !strings.HasPrefix(got, "200") {
		t.Error(got)
	}
	if _, err := s.Client().Get("https://elsewhere.example/"); err == nil { //nolint:noctx,bodyclose // it goes nowhere
		t.Error("another host is reached")
	}
	for _, host := range []string{"https://graph.microsoft.com/v1.0/me/messages", "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"} {
		resp, err := s.Client().Get(host) //nolint:noctx // memory
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}
