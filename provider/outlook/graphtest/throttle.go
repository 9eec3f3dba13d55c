package graphtest

import (
	"net/http"
	"time"
)

// The limits of facts 2.5 are per app and mailbox.
type throttleKey struct {
	app  string
	user *User
}

// throttle counts requests. Microsoft does not document where its ten minutes begin. Here they are the ten minutes before each call: the
// strictest way to count, so who stays within it stays within any other. Guarded by Server.mu.
type throttle struct {
	boxes   map[throttleKey]*meter
	refused int
}

// meter is what an app has spent of a mailbox.
type meter struct {
	requests, bytes window
	inflight, most  int
	total           int
}

const (
	requestWindow = 10 * time.Minute
	uploadWindow  = 5 * time.Minute
)

// window is what was charged within a length of time.
type window struct {
	spent []charge // oldest first
	sum   int64
}

type charge struct {
	at time.Time
	n  int64
}

func (w *window) forget(now time.Time, length time.Duration) {
	n := 0
	for n < len(w.spent) && now.Sub(w.spent[n].at) >= length {
		w.sum -= w.spent[n].n
		n++
	}
	w.spent = w.spent[n:]
}

// wait is how long until n can be charged, within a limit.
func (w *window) wait(now time.Time, n, limit int64, length time.Duration) time.Duration {
	over := w.sum + n - limit
	for _, c := range w.spent {
		if over -= c.n; over <= 0 {
			return c.at.Add(length).Sub(now)
		}
	}
	return length
}

func (w *window) add(now time.Time, n int64) {
	if l := len(w.spent); l > 0 && w.spent[l-1].at.Equal(now) {
		w.spent[l-1].n += n
	} else {
		w.spent = append(w.spent, charge{now, n})
	}
	w.sum += n
}

func (s *Server) meter(app string, u *User) *meter {
	k := throttleKey{app, u}
	m := s.throttle.boxes[k]
	if m == nil {
		m = &meter{}
		s.throttle.boxes[k] = m
	}
	return m
}

// enter takes a call in, or says that there are too many. What is refused costs nothing here; whether it does at Microsoft is not known.
func (s *Server) enter(m *meter) *apiError {
	now := s.now()
	m.requests.forget(now, requestWindow)
	if l := s.opts.Concurrency; l > 0 && m.inflight >= l {
		s.throttle.refused++
		// Facts 2.5: 429 ApplicationThrottled "MailboxConcurrency".
		return &apiError{status: http.StatusTooManyRequests, code: "ApplicationThrottled", message: "Application is over its MailboxConcurrency limit.", retryAfter: time.Second}
	}
	if l := int64(s.opts.Requests); l > 0 && m.requests.sum+1 > l {
		s.throttle.refused++
		return &apiError{status: http.StatusTooManyRequests, code: "ApplicationThrottled", message: "Application is over its MailboxRequests limit.",
			retryAfter: max(m.requests.wait(now, 1, l, requestWindow), time.Second)}
	}
	m.requests.add(now, 1)
	m.total++
	m.inflight++
	m.most = max(m.most, m.inflight)
	return nil
}

// upload charges bytes that a request brings (facts 2.5: "150 MB uploads / 5 min").
func (s *Server) upload(m *meter, n int) *apiError {
	now := s.now()
	m.bytes.forget(now, uploadWindow)
	if l := s.opts.UploadBytes; l > 0 && m.bytes.sum+int64(n) > l {
		s.throttle.refused++
		return &apiError{status: http.StatusTooManyRequests, code: "ApplicationThrottled", message: "Application is over its MailboxUpload limit.",
			retryAfter: max(m.bytes.wait(now, int64(n), l, uploadWindow), time.Second)}
	}
	m.bytes.add(now, int64(n))
	return nil
}

// SetLimits changes Options.Requests and Concurrency: 0 leaves one as it is, negative is no limit.
func (s *Server) SetLimits(requests, concurrency int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if requests != 0 {
		s.opts.Requests = requests
	}
	if concurrency != 0 {
		s.opts.Concurrency = concurrency
	}
}

// Requests returns how many requests to a user's mailbox were let in so far, of all apps.
func (u *User) Requests() int {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	n := 0
	for k, m := range u.s.throttle.boxes {
		if k.user == u {
			n += m.total
		}
	}
	return n
}

// AtOnce returns how many requests of one app to a user's mailbox there were at once, at most.
func (u *User) AtOnce() int {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	n := 0
	for k, m := range u.s.throttle.boxes {
		if k.user == u {
			n = max(n, m.most)
		}
	}
	return n
}

// Throttled returns how many calls were refused because a limit was reached.
func (s *Server) Throttled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.throttle.refused
}
