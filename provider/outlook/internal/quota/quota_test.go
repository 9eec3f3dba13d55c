package quota_test

import (
	"sync"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newMailbox(l quota.Limits) (*quota.Mailbox, *clock) {
	c := &clock{t: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	return quota.New(l, c.now), c
}

// In any ten minutes no more is asked for than may be, and no less where there is more to ask.
func TestRequests(t *testing.T) {
	const limit = 400
	q, c := newMailbox(quota.Limits{Requests: limit, AtOnce: 3, Upload: 1})
	var made []time.Time
	for range 5000 {
		ok, wait, _ := q.Take(quota.Live)
		if !ok {
			if wait <= 0 {
				t.Fatal("it says neither yes nor when")
			}
			c.add(wait)
			continue
		}
		made = append(made, c.now())
		q.Land(quota.Live)
		c.add(200 * time.Millisecond)
	}
	for i := range made {
		if i >= limit && made[i].Sub(made[i-limit]) < 10*time.Minute {
			t.Fatalf("request %d came %s after the one %d before", i, made[i].Sub(made[i-limit]), limit)
		}
	}
	if spent := made[len(made)-1].Sub(made[0]); float64(len(made)) < 0.95*limit*float64(spent)/float64(10*time.Minute) {
		t.Errorf("%d requests in %s", len(made), spent)
	}
}

// The last of it is live mail's.
func TestLiveGoesFirst(t *testing.T) {
	q, c := newMailbox(quota.Limits{Requests: 400, AtOnce: 3, Upload: 1})
	past := 0
	for {
		ok, wait, _ := q.Take(quota.Past)
		if !ok {
			if wait < time.Minute {
				t.Errorf("history comes back in %s", wait)
			}
			break
		}
		q.Land(quota.Past)
		past++
		c.add(time.Second / 10)
	}
	live := 0
	for {
		ok, _, _ := q.Take(quota.Live)
		if !ok {
			break
		}
		q.Land(quota.Live)
		live++
	}
	if past != 390 || live != 10 {
		t.Errorf("%d for history, %d for live mail", past, live)
	}
}

func TestAtOnce(t *testing.T) {
	q, c := newMailbox(quota.Limits{Requests: 400, AtOnce: 3, Upload: 1})
	for i := range 3 {
		if ok, _, _ := q.Take(quota.Past); !ok {
			t.Fatal(i)
		}
	}
	ok, _, landed := q.Take(quota.Live)
	if ok || landed == nil {
		t.Fatal("a fourth at once")
	}
	q.Land(quota.Past)
	<-landed
	if ok, _, _ := q.Take(quota.Live); !ok {
		t.Fatal("none after one has ended")
	}
	// Microsoft finds three too many.
	q.Land(quota.Live)
	q.Land(quota.Past)
	q.Land(quota.Past)
	if d := q.Refused(10*time.Second, true); d != 10*time.Second {
		t.Errorf("refused for %s", d)
	}
	if ok, wait, _ := q.Take(quota.Live); ok || wait != 10*time.Second {
		t.Errorf("%v, %s", ok, wait)
	}
	c.add(10 * time.Second)
	n := 0
	for ok := true; ok; n++ {
		ok, _, _ = q.Take(quota.Live)
	}
	if n != 3 { // two, and the one that was not to be had
		t.Errorf("%d at once after a refusal", n-1)
	}
	c.add(time.Minute)
	if ok, _, _ := q.Take(quota.Live); !ok {
		t.Error("it does not heal")
	}
}

func TestRefused(t *testing.T) {
	q, c := newMailbox(quota.Limits{Requests: 10_000, AtOnce: 3, Upload: 1})
	first := q.Refused(0, false)
	second := q.Refused(0, false)
	if first < 5*time.Second || first > 7*time.Second || second < 10*time.Second || second > 13*time.Second {
		t.Errorf("%s, then %s", first, second)
	}
	c.add(second)
	if ok, _, _ := q.Take(quota.Live); !ok {
		t.Error("nothing may be asked for ever")
	}
	q.Land(quota.Live)
	if q.Idle() {
		t.Error("it is idle")
	}
	c.add(11 * time.Minute)
	if !q.Idle() {
		t.Error("it is never idle")
	}
}

func TestUpload(t *testing.T) {
	q, c := newMailbox(quota.Limits{Requests: 1, AtOnce: 1, Upload: 100})
	for _, s := range []struct {
		after time.Duration
		n     int64
		ok    bool
		wait  time.Duration
	}{
		{0, 60, true, 0},
		{time.Minute, 50, false, 4*time.Minute + time.Second},
		{0, 40, true, 0},
		{4*time.Minute + time.Second, 60, true, 0},
		{10 * time.Minute, 1000, true, 0}, // it would never go
		{0, 1, false, 5*time.Minute + time.Second},
	} {
		c.add(s.after)
		if ok, wait := q.Upload(s.n); ok != s.ok || wait != s.wait {
			t.Errorf("%d bytes: %v, %s", s.n, ok, wait)
		}
	}
}
