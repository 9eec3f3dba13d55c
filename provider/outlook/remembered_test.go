package outlook

import (
	"fmt"
	"testing"
	"time"
)

// Whoever connects more mailboxes than are remembered forgets no draft that was perhaps sent, as long as that matters: it would be sent again.
func TestDraftInDoubtIsRemembered(t *testing.T) {
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	now := start
	p := New(&Options{Now: func() time.Time { return now }})
	m := &Mailbox{p: p, known: p.knownOf("app ada")}
	p.knownOf("app bob")
	m.noteAttempt("draft")
	for _, c := range []struct {
		at       time.Duration
		ada, bob bool
	}{{doubt - time.Second, true, false}, {doubt, false, false}} {
		now = start.Add(c.at)
		for i := range remembered {
			p.knownOf(fmt.Sprint("app ", i))
		}
		if ada, bob := p.boxes["app ada"], p.boxes["app bob"]; (ada == m.known) != c.ada || (bob != nil) != c.bob {
			t.Errorf("after %s the mailbox with a draft in doubt is remembered: %v, and another: %v", c.at, ada == m.known, bob != nil)
		}
	}
}
