// Package quota counts what Microsoft lets an app do with a mailbox (facts 2.5): requests in ten minutes, requests at once, and bytes that are
// uploaded in five minutes.
package quota

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Lane is what a request is for: live mail goes before history.
type Lane int

const (
	Live Lane = iota
	Past
)

// Limits of a mailbox.
type Limits struct {
	Requests int // in ten minutes
	AtOnce   int
	Upload   int64 // bytes in five minutes
}

// more is added to each span: clocks differ.
const more = time.Second

const (
	requestSpan = 10*time.Minute + more
	uploadSpan  = 5*time.Minute + more
)

// window is what was spent in the last span. Microsoft does not document where a span begins: who spends no more in any of that length stays within
// every reading of it.
type window struct {
	span  time.Duration
	spent []charge // oldest first
	sum   int64
}

type charge struct {
	at time.Time
	n  int64
}

func (w *window) forget(now time.Time) {
	i := 0
	for i < len(w.spent) && now.Sub(w.spent[i].at) >= w.span {
		w.sum -= w.spent[i].n
		i++
	}
	w.spent = w.spent[i:]
}

func (w *window) add(now time.Time, n int64) {
	if n <= 0 {
		return
	}
	if i := len(w.spent); i > 0 && now.Sub(w.spent[i-1].at) < 100*time.Millisecond {
		w.spent[i-1] = charge{now, w.spent[i-1].n + n}
	} else {
		w.spent = append(w.spent, charge{now, n})
	}
	w.sum += n
}

// free is how long it takes until n more than now are free.
func (w *window) free(now time.Time, n int64) time.Duration {
	for _, c := range w.spent {
		if n -= c.n; n <= 0 {
			return max(c.at.Add(w.span).Sub(now), 0)
		}
	}
	return w.span
}

// Mailbox is what a mailbox may do, and does. Safe for concurrent use. Make it with New.
type Mailbox struct {
	now    func() time.Time
	limits Limits

	mu       sync.Mutex // guards what follows
	all      window     // requests that were answered
	live     window     // of them, for live mail
	upload   window
	flying   int           // requests under way
	urgently int           // of them, for live mail
	atOnce   int           // how many may be under way, as Microsoft is believed to allow
	allowed  int           // requests in ten minutes, likewise
	struck   time.Time     // when it refused last, or something was raised last
	strikes  int           // refusals in a row
	until    time.Time     // nothing is asked for before
	landed   chan struct{} // closed and made anew when a request has ended
}

// New returns what a mailbox may do that has done nothing yet.
func New(l Limits, now func() time.Time) *Mailbox {
	return &Mailbox{now: now, limits: l, atOnce: l.AtOnce, allowed: l.Requests, all: window{span: requestSpan}, live: window{span: requestSpan},
		upload: window{span: uploadSpan}, landed: make(chan struct{})}
}

// Take takes leave for a request; Land ends it. Where there is none, wait says when to ask again; landed, where it isn't nil, is closed when a
// request under way has ended, which is sooner.
func (q *Mailbox) Take(l Lane) (ok bool, wait time.Duration, landed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	if now.Before(q.until) {
		return false, q.until.Sub(now), nil
	}
	q.heal(now)
	q.all.forget(now)
	q.live.forget(now)
	room := int64(q.allowed) - q.all.sum - int64(q.flying)
	least := int64(1)
	if l == Past {
		// The last fortieth is live mail's, as far as it hasn't had it.
		room -= max(0, int64(q.allowed/40)-q.live.sum-int64(q.urgently))
	}
	if room < least {
		want := least
		if l == Past {
			want = max(1, int64(q.allowed/20)) // whoever comes back finds something to do
		}
		return false, q.all.free(now, want-room), nil
	}
	if q.flying >= q.atOnce {
		return false, 0, q.landed
	}
	q.flying++
	if l == Live {
		q.urgently++
	}
	return true, 0, nil
}

// Land ends a request: it counts from now on, for by now at the latest Microsoft has counted it.
func (q *Mailbox) Land(l Lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.flying--
	q.all.add(now, 1)
	if l == Live {
		q.urgently--
		q.live.add(now, 1)
	}
	close(q.landed)
	q.landed = make(chan struct{})
}

// Charge counts a request that was made without asking.
func (q *Mailbox) Charge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all.add(q.now(), 1)
}

// Upload takes leave to upload bytes; where there is none, wait says when to ask again. What is larger than the limit goes where nothing else went.
func (q *Mailbox) Upload(n int64) (ok bool, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.upload.forget(now)
	if over := q.upload.sum + n - q.limits.Upload; over > 0 && q.upload.sum > 0 {
		return false, q.upload.free(now, min(over, q.upload.sum))
	}
	q.upload.add(now, n)
	return true, 0
}

// heal raises what is allowed again, for each minute without a refusal.
func (q *Mailbox) heal(now time.Time) {
	for (q.allowed < q.limits.Requests || q.atOnce < q.limits.AtOnce) && now.Sub(q.struck) >= time.Minute {
		q.struck, q.strikes = q.struck.Add(time.Minute), 0
		q.allowed = min(q.limits.Requests, q.allowed+max(q.limits.Requests/20, 1))
		q.atOnce = min(q.limits.AtOnce, q.atOnce+1)
	}
}

// Refused takes a refusal to heart: nothing is asked for until it is over, and less is believed to be allowed, as others may use the same quota: fewer at
// once where that was the reason. It returns how long it is over in, also where Microsoft didn't say.
func (q *Mailbox) Refused(after time.Duration, crowded bool) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.heal(now)
	if after <= 0 {
		after = 5 * time.Second << min(q.strikes, 5)
		after += rand.N(after / 4)
	}
	if until := now.Add(after); until.After(q.until) {
		q.until = until
	}
	if crowded {
		q.atOnce = max(q.atOnce-1, 1)
	} else {
		q.allowed = max(q.allowed*3/4, q.limits.Requests/10, 1)
	}
	q.strikes++
	q.struck = now
	return after
}

// Waiting reports whether a refusal is not over yet.
func (q *Mailbox) Waiting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.now().Before(q.until)
}

// Idle reports whether there is nothing to remember.
func (q *Mailbox) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.all.forget(now)
	q.upload.forget(now)
	return q.flying == 0 && q.all.sum == 0 && q.upload.sum == 0 && !now.Before(q.until)
}
