package outlook_test

import (
	"testing"

	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// worlds are servers with different habits, and mailboxes with different settings.
var worlds = map[string]func(t testing.TB) *world{
	"as it is": func(t testing.TB) *world { return newWorld(t, graphtest.Options{}, outlook.Options{}) },
	"small pages": func(t testing.TB) *world {
		return newWorld(t, graphtest.Options{PageSize: 3}, outlook.Options{PageSize: 3})
	},
	"odd": func(t testing.TB) *world {
		w := newWorld(t, graphtest.Options{PageSize: 4, SparseUpdates: true, PlainBodies: true}, outlook.Options{PageSize: 5})
		w.srv.EmptyPages(1)
		w.srv.ReplayChanges(2)
		w.srv.OddListings(3, 0)
		return w
	},
	"no headers in listings": func(t testing.TB) *world {
		return newWorld(t, graphtest.Options{NoHeadersInListings: true, LongScopes: true}, outlook.Options{})
	},
	"every tenth 500": func(t testing.TB) *world { return failing(t, 10) },
}

func failing(t testing.TB, n int) *world {
	w := newWorld(t, graphtest.Options{PageSize: 5}, outlook.Options{PageSize: 5})
	// What changes something is not repeated by a mailbox: whoever wanted it asks again.
	w.srv.FailEvery(n, graphtest.ServerError, "messages.move", "messages.update", "folders.create", "messages.create", "messages.send")
	return w
}

func TestMailbox(t *testing.T) {
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.TestMailbox(t, func(t *testing.T) providertest.MailboxHarness { return harness{w(t)} })
		})
	}
}

func TestMutator(t *testing.T) {
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("archive", func(t *testing.T) {
				providertest.TestArchiver(t, func(t *testing.T) providertest.MutatorHarness { return harness{w(t)} })
			})
			t.Run("label", func(t *testing.T) {
				providertest.TestLabeler(t, func(t *testing.T) providertest.MutatorHarness { return harness{w(t)} })
			})
		})
	}
}

func TestSender(t *testing.T) {
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.TestSender(t, func(t *testing.T) providertest.SenderHarness { return senderHarness{w(t)} })
		})
	}
}
