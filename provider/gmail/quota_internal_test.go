package gmail

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// What servers say of when to come back, and what is believed.
func TestRetryAfter(t *testing.T) {
	for says, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-5": 0, "99999999999": longestWait, "99999999999999999999": 0, "1.5": 0, "soon": 0, "NaN": 0,
		"Mon, 02 Mar 2026 12:01:00 GMT": time.Minute, "Mon, 02 Mar 2026 11:00:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": longestWait,
	} {
		if got := retryAfter(&googleapi.Error{Header: http.Header{"Retry-After": {says}}}, noon); got != want {
			t.Errorf("Retry-After: %s is %v, want %v", says, got, want)
		}
	}
	for says, want := range map[string]time.Duration{
		"Retry after 2026-03-02T12:00:30.000Z (Mail sending)": 30 * time.Second, "Retry after 9999-12-31T23:59:59Z": longestWait,
		"Retry after 0001-01-01T00:00:00Z": 0, "Retry after ": 0, "Retry after a while": 0,
	} {
		if got := retryAfter(&googleapi.Error{Message: says}, noon); got != want {
			t.Errorf("%s is %v, want %v", says, got, want)
		}
	}
}

// A clock that is set back or forward stops nothing for longer than a minute.
func TestQuotaClockSet(t *testing.T) {
	for _, jump := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		now := noon
		clock := func() time.Time { return now }
		q := &quota{now: clock, limit: 6000}
		n, _ := q.take(live, 300, 20)
		q.settle(n * 20)
		b := &appBudget{limit: 6000, now: clock, apps: map[string]*window{}}
		if got, _, err := b.Take(t.Context(), "a", 6000, 20, true); got != 6000 || err != nil {
			t.Fatal(got, err)
		}
		now = now.Add(jump)
		q.take(live, 1, 20)
		_, _, _ = b.Take(t.Context(), "a", 20, 20, true)
		now = now.Add(2 * time.Minute)
		if n, wait := q.take(live, 1, 20); n != 1 {
			t.Errorf("%v: the mailbox waits for %v", jump, wait)
		}
		if n, wait, err := b.Take(t.Context(), "a", 20, 20, true); n != 20 || err != nil {
			t.Errorf("%v: the app waits for %v, %v", jump, wait, err)
		}
	}
	// The same of a refusal.
	now := noon
	q := &quota{now: func() time.Time { return now }, limit: 6000}
	q.learn(messagesGet, &provider.RateLimitError{RetryAfter: 10 * time.Second})
	now = now.Add(-24 * time.Hour)
	q.take(live, 1, 20)
	now = now.Add(2 * time.Minute)
	if n, wait := q.take(live, 1, 20); n != 1 {
		t.Errorf("after a refusal it waits for %v", wait)
	}
}

// A quota that is smaller than what a call costs lets one through all the same, for else nothing would ever be done.
func TestTinyQuota(t *testing.T) {
	now := noon
	q := &quota{now: func() time.Time { return now }, limit: 50}
	b := &appBudget{limit: 50, now: q.now, apps: map[string]*window{}}
	for _, l := range []lane{live, past} {
		for _, cost := range []int{5, 20, 100} {
			now = now.Add(2 * time.Minute)
			n, wait := q.take(l, 50, cost)
			if n == 0 {
				t.Errorf("lane %d, %d units: it waits for %v", l, cost, wait)
			}
			q.settle(n * cost)
			if again, _ := q.take(l, 50, cost); again*cost+n*cost > max(50, cost) {
				t.Errorf("lane %d, %d units: %d and %d calls at once", l, cost, n, again)
			} else {
				q.settle(again * cost)
			}
			if n, wait, err := b.Take(t.Context(), "a", cost, cost, l == live); n != cost || err != nil {
				t.Errorf("lane %d, %d units: the app waits for %v, %v", l, cost, wait, err)
			}
		}
	}
}
