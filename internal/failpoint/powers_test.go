package failpoint

import (
	"context"
	"testing"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// The engine asks what a mailbox and a CRM can do: a process offers just what they do themselves.
func TestPowersAreKept(t *testing.T) {
	type plain struct{ provider.Mailbox }
	type able struct {
		plain
		provider.Waiter
		provider.Searcher
		provider.Archiver
	}
	for _, c := range []struct {
		box  provider.Mailbox
		want bool
	}{{plain{}, false}, {able{}, true}} {
		open := func(context.Context, []byte) (provider.Mailbox, error) { return c.box, nil }
		wrapped, err := Provider("any", New(nil), open).Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, waits := power.Of[provider.Waiter](wrapped)
		_, searches := power.Of[provider.Searcher](wrapped)
		_, archives := power.Of[provider.Archiver](wrapped)
		_, labels := power.Of[provider.Labeler](wrapped)
		if waits != c.want || searches != c.want || archives != c.want || labels {
			t.Errorf("%T: waits %v, searches %v, archives %v, labels %v", c.box, waits, searches, archives, labels)
		}
	}
	type store struct{ crm.Store }
	type remover struct {
		store
		crm.Remover
	}
	for _, c := range []struct {
		crm  crm.Store
		want bool
	}{{store{}, false}, {remover{}, true}} {
		wrapped := CRM(c.crm, New(nil), nil)
		_, removes := power.Of[crm.Remover](wrapped)
		_, lists := power.Of[crm.ChangeLister](wrapped)
		if removes != c.want || lists {
			t.Errorf("%T: removes %v, lists %v", c.crm, removes, lists)
		}
	}
}
