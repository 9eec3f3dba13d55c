package emailint

import (
	"sync"
	"time"
)

// health remembers, for this process, which organisations' CRM does not answer: it is left alone for a while and then asked
// for less at a time. A CRM that was too slow for a chunk may be fast enough for half of it.
type health struct {
	mu   sync.Mutex // guards orgs
	orgs map[string]sick
}

type sick struct {
	tries int
	until time.Time
}

func (h *health) failed(org string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.orgs[org]
	if s.until.After(now) {
		return // a neighbour has said so
	}
	s.tries++
	s.until = now.Add(time.Minute << min(s.tries-1, 3))
	if h.orgs == nil {
		h.orgs = map[string]sick{}
	}
	h.orgs[org] = s
}

func (h *health) works(org string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.orgs, org)
}

func (h *health) down(org string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.orgs[org].until.After(now)
}

// until is when the organisation's mailboxes are looked at again.
func (h *health) until(org string, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if u := h.orgs[org].until; u.After(now) {
		return u
	}
	return now.Add(time.Minute)
}

func (h *health) shrink(org string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return min(h.orgs[org].tries, 7)
}
