package gmailtest

import (
	"fmt"
	"maps"
	"net/http"
	"time"
)

// quota counts units. Google does not document where its minutes begin. Here a minute is the sixty seconds before each call: the strictest
// way to count, so who stays within it stays within any other. Guarded by Server.mu.
type quota struct {
	project    window
	users      map[*User]*meter
	refusal    RateError
	rateErrors int
}

// meter is what a user has spent.
type meter struct {
	window
	total    int
	byMethod map[string]int
}

// window is what was charged in the last minute.
type window struct {
	spent []charge // oldest first
	sum   int
}

type charge struct {
	at    time.Time
	units int
}

func (w *window) forget(now time.Time) {
	n := 0
	for n < len(w.spent) && now.Sub(w.spent[n].at) >= time.Minute {
		w.sum -= w.spent[n].units
		n++
	}
	w.spent = w.spent[n:]
}

// free is when units can be charged, within a limit.
func (w *window) free(units, limit int) time.Time {
	over := w.sum + units - limit
	for _, c := range w.spent {
		if over -= c.units; over <= 0 {
			return c.at.Add(time.Minute)
		}
	}
	return time.Time{}
}

func (w *window) add(now time.Time, units int) {
	if n := len(w.spent); n > 0 && w.spent[n-1].at.Equal(now) {
		w.spent[n-1].units += units
	} else {
		w.spent = append(w.spent, charge{now, units})
	}
	w.sum += units
}

// RateError is how the server says that a quota is used up. The zero RateError is 403 with userRateLimitExceeded, or rateLimitExceeded where
// it is the project's (facts 1.6).
type RateError struct {
	Status    int  // 0: 403
	Header    bool // Retry-After tells when there is quota again. Facts 1.6: "not guaranteed"
	InMessage bool // "Retry after <RFC3339 time>" in the message does (facts 1.6)
}

// SetRateError says how the server tells from now on that a quota is used up.
func (s *Server) SetRateError(e RateError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota.refusal = e
}

// SetQuota changes Options.UserUnits and ProjectUnits: 0 leaves one as it is, negative is no limit.
func (s *Server) SetQuota(user, project int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user != 0 {
		s.opts.UserUnits = user
	}
	if project != 0 {
		s.opts.ProjectUnits = project
	}
}

// charge takes a call's units, or says that there are none. What is refused costs nothing here; whether it does at Google is not known.
func (s *Server) charge(u *User, m *method) *apiError {
	now := s.now()
	own := s.quota.users[u]
	if own == nil {
		own = &meter{byMethod: map[string]int{}}
		s.quota.users[u] = own
	}
	for _, q := range []struct {
		w               *window
		limit           int
		reason, message string
	}{
		{&own.window, s.opts.UserUnits, "userRateLimitExceeded", "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota."},
		{&s.quota.project, s.opts.ProjectUnits, "rateLimitExceeded", "Rate Limit Exceeded"},
	} {
		q.w.forget(now)
		if q.limit < 0 || q.w.sum+m.units <= q.limit {
			continue
		}
		s.quota.rateErrors++
		e := &apiError{status: s.quota.refusal.Status, reason: q.reason, domain: "usageLimits", message: q.message}
		if e.status == 0 {
			e.status = http.StatusForbidden
		}
		free := q.w.free(m.units, q.limit)
		if s.quota.refusal.Header && !free.IsZero() {
			e.retryAfter = max(free.Sub(now), time.Second)
		}
		if s.quota.refusal.InMessage && !free.IsZero() {
			e.message += fmt.Sprintf("  Retry after %s", free.UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		return e
	}
	own.add(now, m.units)
	s.quota.project.add(now, m.units)
	own.total += m.units
	own.byMethod[m.name()] += m.units
	return nil
}

// Units returns what a user's calls have cost so far, in quota units.
func (u *User) Units() int {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if m := u.s.quota.users[u]; m != nil {
		return m.total
	}
	return 0
}

// UnitsByMethod returns the same for each method.
func (u *User) UnitsByMethod() map[string]int {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if m := u.s.quota.users[u]; m != nil {
		return maps.Clone(m.byMethod)
	}
	return map[string]int{}
}

// RateErrors returns how many calls were refused because a quota was used up.
func (s *Server) RateErrors() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota.rateErrors
}
