package failpoint

import (
	"context"
	"testing"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/provider"
)

func powersOf(m provider.Mailbox) (c powers) {
	_, c.wait = m.(provider.Waiter)
	_, c.poll = m.(provider.Poller)
	_, c.archive = m.(provider.Archiver)
	_, c.label = m.(provider.Labeler)
	_, c.file = m.(provider.SentFiler)
	return c
}

// The engine probes what a mailbox can do: a process offers just what the mailbox itself does, in every combination.
func TestMailboxKeepsItsPowers(t *testing.T) {
	seen := map[powers]bool{}
	for bits := range 1 << 5 {
		c := powers{bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0}
		if c.poll && !c.wait {
			continue // a Poller is a Waiter
		}
		m := combine(c, &mailbox{}, poller{}, archiver{}, labeler{}, sentFiler{})
		if got := powersOf(m); got != c {
			t.Errorf("combined for %+v, it can %+v", c, got)
		}
		open := func(context.Context, []byte) (provider.Mailbox, error) { return m, nil }
		wrapped, err := Provider("any", New(nil), open).Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := powersOf(wrapped); got != c {
			t.Errorf("a mailbox that can %+v is offered as one that can %+v", c, got)
		}
		seen[c] = true
	}
	if len(seen) != 24 {
		t.Errorf("%d combinations", len(seen))
	}
}

// And what a CRM can do besides.
func TestCRMKeepsItsPowers(t *testing.T) {
	type plain struct{ crm.Store }
	for _, c := range []struct {
		name    string
		crm     crm.Store
		removes bool
		lists   bool
	}{
		{"plain", plain{}, false, false},
		{"remover", struct {
			plain
			crm.Remover
		}{}, true, false},
		{"lister", struct {
			plain
			crm.ChangeLister
		}{}, false, true},
		{"both", struct {
			plain
			crm.Remover
			crm.ChangeLister
		}{}, true, true},
	} {
		wrapped := CRM(c.crm, New(nil), nil)
		if _, ok := wrapped.(crm.Remover); ok != c.removes {
			t.Errorf("%s: removes %v", c.name, ok)
		}
		if _, ok := wrapped.(crm.ChangeLister); ok != c.lists {
			t.Errorf("%s: lists %v", c.name, ok)
		}
	}
}
