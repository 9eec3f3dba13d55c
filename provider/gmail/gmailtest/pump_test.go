package gmailtest

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// On a port, too, what is held is held.
func TestListeningHolds(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	s := New(Options{Now: func() time.Time { return now }})
	u := s.AddUser("ada@example.com")
	u.watching = &watching{topic: s.Topic("gmail"), expires: now.Add(time.Hour)}
	got := 0
	s.Subscribe(Subscription{Topic: s.Topic("gmail"), Endpoint: "https://crm.example/push", NoToken: true,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got++ })})
	ticks := func() {
		tick, done := make(chan time.Time), make(chan struct{})
		var pumping sync.WaitGroup
		pumping.Go(func() { s.pump(tick, done) })
		for range 2 {
			tick <- now
		}
		close(done)
		pumping.Wait()
	}
	s.HoldPushes(true)
	u.Deliver([]byte("Subject: x\r\n\r\nx\r\n"), now)
	if ticks(); got != 0 {
		t.Errorf("%d were pushed, though they are held", got)
	}
	s.HoldPushes(false)
	if ticks(); got != 1 {
		t.Errorf("%d were pushed", got)
	}
}
