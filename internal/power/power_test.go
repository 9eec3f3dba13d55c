package power_test

import (
	"context"
	"testing"

	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

type plain struct{ provider.Mailbox }

type waits struct{ plain }

func (waits) Wait(context.Context) error { return nil }

// wrapper could pass on Wait and Prefetch.
type wrapper struct{ provider.Mailbox }

func (w wrapper) Unwrap() provider.Mailbox       { return w.Mailbox }
func (w wrapper) Wait(ctx context.Context) error { return w.Mailbox.(provider.Waiter).Wait(ctx) }
func (w wrapper) Prefetch([]provider.ItemID)     {}

// opaque passes nothing on by itself.
type opaque struct{ provider.Mailbox }

func (o opaque) Unwrap() provider.Mailbox { return o.Mailbox }

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name            string
		box             provider.Mailbox
		waits, prefetch bool
	}{
		{"plain", plain{}, false, false},
		{"one that waits", waits{}, true, false},
		{"plain, wrapped", wrapper{plain{}}, false, false},
		{"one that waits, wrapped", wrapper{waits{}}, true, false},
		{"one that waits, wrapped by what only says so", opaque{waits{}}, true, false},
		{"wrapped twice", wrapper{wrapper{waits{}}}, true, false},
		{"plain, wrapped twice", wrapper{wrapper{plain{}}}, false, false},
	} {
		w, ok := power.Of[provider.Waiter](c.box)
		if ok != c.waits || ok != (w != nil) {
			t.Errorf("%s: waits %v, want %v", c.name, ok, c.waits)
		}
		if _, says := c.box.(opaque); c.waits && !says && any(w) != any(c.box) {
			t.Errorf("%s: the wrapper is passed by", c.name)
		}
		if _, ok := power.Of[provider.Prefetcher](c.box); ok != c.prefetch {
			t.Errorf("%s: prefetches %v, want %v", c.name, ok, c.prefetch)
		}
	}
}
