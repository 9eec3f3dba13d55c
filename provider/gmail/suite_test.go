package gmail_test

import (
	"testing"

	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// worlds are servers with different habits, and mailboxes with different settings.
var worlds = map[string]func() *world{
	"as it is": func() *world { return newWorld(gmailtest.Options{}, gmail.Options{}) },
	"small pages": func() *world {
		return newWorld(gmailtest.Options{PageSize: 3}, gmail.Options{PageSize: 2, BatchSize: 2})
	},
	"shuffled": func() *world {
		w := newWorld(gmailtest.Options{Unpadded: true}, gmail.Options{BatchSize: 5})
		w.srv.ShuffleBatches(true)
		return w
	},
	"no batches":      func() *world { return newWorld(gmailtest.Options{Missing: []string{"batch"}}, gmail.Options{}) },
	"all by id":       func() *world { return newWorld(gmailtest.Options{InlineBody: 1}, gmail.Options{}) },
	"every tenth 500": func() *world { return failing(10) },
}

func failing(n int) *world {
	w := newWorld(gmailtest.Options{PageSize: 5}, gmail.Options{PageSize: 5, BatchSize: 5})
	// What changes something is not repeated by a mailbox: whoever wanted it asks again.
	w.srv.FailEvery(n, gmailtest.ServerError, "gmail.users.messages.modify", "gmail.users.labels.create", "gmail.users.drafts.create", "gmail.users.drafts.send")
	return w
}

func TestMailbox(t *testing.T) {
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.TestMailbox(t, func(*testing.T) providertest.MailboxHarness { return harness{w()} })
		})
	}
	t.Run("read only", func(t *testing.T) {
		providertest.TestMailbox(t, func(*testing.T) providertest.MailboxHarness {
			return harness{newWorld(gmailtest.Options{}, gmail.Options{ReadOnly: true})}
		})
	})
}

func TestMutator(t *testing.T) {
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("archive", func(t *testing.T) {
				providertest.TestArchiver(t, func(*testing.T) providertest.MutatorHarness { return harness{w()} })
			})
			t.Run("label", func(t *testing.T) {
				providertest.TestLabeler(t, func(*testing.T) providertest.MutatorHarness { return harness{w()} })
			})
		})
	}
}

func TestSender(t *testing.T) {
	for name, w := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.TestSender(t, func(*testing.T) providertest.SenderHarness { return senderHarness{w(), "gmail.users.drafts.send"} })
		})
	}
	t.Run("read only", func(t *testing.T) {
		providertest.TestSender(t, func(*testing.T) providertest.SenderHarness {
			return senderHarness{newWorld(gmailtest.Options{}, gmail.Options{ReadOnly: true}), "gmail.users.messages.send"}
		})
	})
}
