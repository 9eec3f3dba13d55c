package emailint

import (
	"sync"
	"time"
)

// health remembers, for this process, how organisations' CRMs are: one that does not answer is left alone for a while, and one
// that was too slow for a chunk is given less at a time.
type health struct {
	mu   sync.Mutex // guards orgs
	orgs map[string]condition
}

type condition struct {
	tries  int
	until  time.Time
	shrink int
}

func (h *health) set(org string, change func(*condition)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.orgs[org]
	change(&c)
	if h.orgs == nil {
		h.orgs = map[string]condition{}
	}
	if h.orgs[org] = c; c == (condition{}) {
		delete(h.orgs, org)
	}
}

func (h *health) get(org string) condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.orgs[org]
}

func (h *health) failed(org string, now time.Time) {
	h.set(org, func(c *condition) {
		if c.until.After(now) {
			return // a neighbour has said so
		}
		c.tries++
		c.until = now.Add(time.Minute << min(c.tries-1, 3))
	})
}

// works notes that the CRM answers. A pass that was not too slow lets the next one give it more.
func (h *health) works(org string, shrink int, slow bool) {
	h.set(org, func(c *condition) {
		if !slow {
			shrink = max(0, shrink-1)
		}
		*c = condition{shrink: shrink}
	})
}

func (h *health) down(org string, now time.Time) bool { return h.get(org).until.After(now) }

// until is when the organisation's mailboxes are looked at again.
func (h *health) until(org string, now time.Time) time.Time {
	if u := h.get(org).until; u.After(now) {
		return u
	}
	return now.Add(time.Minute)
}
