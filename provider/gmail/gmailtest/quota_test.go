package gmailtest_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// Three hundred gets are what a user has in a minute (facts 1.6), and the minute slides.
func TestTheQuotaOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := gmailtest.New(gmailtest.Options{})
		ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@example.com")
		svc := service(t, ada, s)
		id := ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), time.Now())
		get := func() string {
			_, err := svc.Messages.Get("me", id).Format("minimal").Do()
			return failure(err)
		}
		for range 150 {
			get()
		}
		time.Sleep(30 * time.Second)
		for i := range 150 {
			if got := get(); got != "none" {
				t.Fatalf("get %d: %s", 150+i, got)
			}
		}
		if got := get(); got != "403 userRateLimitExceeded" || ada.Units() != 6000 || s.RateErrors() != 1 {
			t.Errorf("the 301st: %s after %d units, %d rate errors", got, ada.Units(), s.RateErrors())
		}
		// Another user has a minute of his own.
		if _, err := service(t, bob, s).GetProfile("me").Do(); err != nil {
			t.Error(err)
		}
		time.Sleep(30*time.Second - time.Nanosecond)
		if got := get(); got != "403 userRateLimitExceeded" {
			t.Errorf("just before the first are a minute old: %s", got)
		}
		time.Sleep(time.Nanosecond)
		ok := 0
		for get() == "none" {
			ok++
		}
		if ok != 150 {
			t.Errorf("after a minute there are %d more, want 150", ok)
		}
	})
}

func TestHowAUsedUpQuotaIsTold(t *testing.T) {
	for _, x := range []struct {
		say     gmailtest.RateError
		code    int
		header  string
		message string
	}{
		{gmailtest.RateError{}, 403, "", ""},
		{gmailtest.RateError{Status: 429}, 429, "", ""},
		{gmailtest.RateError{Status: 429, Header: true}, 429, "40", ""},
		{gmailtest.RateError{Status: 429, InMessage: true}, 429, "", "Retry after 2026-03-10T12:01:00.000Z"},
		{gmailtest.RateError{Header: true, InMessage: true}, 403, "40", "Retry after 2026-03-10T12:01:00.000Z"},
	} {
		s, c := newServer(gmailtest.Options{UserUnits: 2})
		s.SetRateError(x.say)
		svc := service(t, s.AddUser("ada@example.com"), s)
		must(svc.GetProfile("me").Do())(t)
		must(svc.GetProfile("me").Do())(t)
		c.advance(20 * time.Second)
		_, err := svc.GetProfile("me").Do()
		e := (*googleapi.Error)(nil)
		if !errors.As(err, &e) || e.Code != x.code || e.Header.Get("Retry-After") != x.header || e.Errors[0].Reason != "userRateLimitExceeded" || !strings.Contains(e.Message, x.message) {
			t.Errorf("%+v: %v, %v", x.say, err, e.Header)
		}
	}
}

func TestTheProjectHasAQuotaToo(t *testing.T) {
	s, c := newServer(gmailtest.Options{ProjectUnits: 3, UserUnits: -1})
	a, b := service(t, s.AddUser("ada@example.com"), s), service(t, s.AddUser("bob@example.com"), s)
	must(a.GetProfile("me").Do())(t)
	must(b.GetProfile("me").Do())(t)
	must(a.GetProfile("me").Do())(t)
	if _, err := b.GetProfile("me").Do(); failure(err) != "403 rateLimitExceeded" {
		t.Error(err)
	}
	c.advance(time.Minute)
	must(b.GetProfile("me").Do())(t)
	s.SetQuota(0, -1)
	for range 10 {
		must(b.GetProfile("me").Do())(t)
	}
}

func TestCallsAtOnce(t *testing.T) {
	s, _ := newServer(gmailtest.Options{Concurrency: 2})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	hold := make(chan struct{})
	var there, done sync.WaitGroup
	there.Add(2)
	s.Fail("gmail.users.getProfile", 2, gmailtest.Fault{After: true, Reached: there.Done, Wait: hold})
	for range 2 {
		done.Go(func() {
			if _, err := svc.GetProfile("me").Do(); err != nil {
				t.Error(err)
			}
		})
	}
	there.Wait()
	if _, err := svc.Labels.List("me").Do(); failure(err) != "429 rateLimitExceeded" {
		t.Errorf("a third at once: %v", err)
	}
	close(hold)
	done.Wait()
	must(svc.Labels.List("me").Do())(t)
	if n := s.Count("gmail.users.labels.list"); n != 2 {
		t.Errorf("%d calls", n)
	}
	if c := s.Calls()[2]; c.Status != http.StatusTooManyRequests || c.User != ada.Address || c.Units != 0 || c.Reason != "rateLimitExceeded" {
		t.Errorf("logged %+v", c)
	}
}
