package graphtest_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func TestRequestsAreCounted(t *testing.T) {
	s, c := newServer(graphtest.Options{})
	ada, eve := s.AddUser("ada@example.com"), s.AddUser("eve@example.com")
	a, e := newApp(t, s, ada), newApp(t, s, eve)
	for i := range 10_000 {
		if i == 5000 {
			c.advance(4 * time.Minute)
		}
		if r := a.get("/me/mailFolders/inbox"); r.status != 200 {
			t.Fatalf("%d: %s", i, r.code())
		}
	}
	if r := a.get("/me/mailFolders/inbox").want(t, "429 ApplicationThrottled"); r.header.Get("Retry-After") != "360" {
		t.Errorf("Retry-After %s", r.header.Get("Retry-After"))
	}
	e.get("/me/mailFolders/inbox").want(t, "200") // of another mailbox
	a.get("/me").want(t, "200")                   // of none
	c.advance(6 * time.Minute)
	a.get("/me/mailFolders/inbox").want(t, "200")
	if ada.Requests() != 10_001 || s.Throttled() != 1 {
		t.Errorf("%d requests, %d refused", ada.Requests(), s.Throttled())
	}
	s.SetLimits(1, 0)
	a.get("/me/mailFolders/inbox").want(t, "429 ApplicationThrottled")
	s.SetLimits(-1, 0)
	a.get("/me/mailFolders/inbox").want(t, "200")
	s.Forget()
	if len(s.Calls()) != 0 || ada.Requests() != 0 || s.Throttled() != 0 {
		t.Error("it remembers")
	}
}

func TestFourAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := graphtest.New(graphtest.Options{Latency: time.Second})
		ada := s.AddUser("ada@example.com")
		a := newApp(t, s, ada)
		var running sync.WaitGroup
		codes := make([]string, 6)
		for i := range codes {
			running.Go(func() { codes[i] = a.get("/me/messages").code() })
		}
		running.Wait()
		n := map[string]int{}
		for _, c := range codes {
			n[c]++
		}
		if n["200"] != 4 || n["429 ApplicationThrottled"] != 2 || ada.AtOnce() != 4 {
			t.Errorf("%v, %d at once", n, ada.AtOnce())
		}
		a.get("/me/messages").want(t, "200")
	})
}
