package providertest_test

import (
	"errors"
	"testing"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

type mutatorHarness struct{ harness }

func (h mutatorHarness) Look(_ *testing.T, mid string) []providertest.Sight {
	return h.Fake.Look(mid)
}
func (h mutatorHarness) Discard(_ *testing.T, m providertest.Handle) bool { return h.Fake.Discard(m) }
func (h mutatorHarness) Lose(_ *testing.T, l providertest.Loss) bool      { h.LoseMutation(l); return true }

// variants are the services a Fake can be: on IMAP it depends on extensions.
var variants = map[string]func() *providertest.Fake{
	"gmail":   func() *providertest.Fake { return newFake(providertest.Gmail) },
	"outlook": func() *providertest.Fake { return newFake(providertest.Graph) },
	"imap":    func() *providertest.Fake { return newFake(providertest.IMAP) },
	"imap/no-move": func() *providertest.Fake {
		f := newFake(providertest.IMAP)
		f.NoMove(true)
		return f
	},
	"imap/no-uidplus": func() *providertest.Fake {
		f := newFake(providertest.IMAP)
		f.NoUIDPlus(true)
		return f
	},
	"imap/no-keywords": func() *providertest.Fake {
		f := newFake(providertest.IMAP)
		f.NoKeywords(true)
		return f
	},
}

func TestFakeMutator(t *testing.T) {
	for name, fake := range variants {
		newHarness := func(*testing.T) providertest.MutatorHarness { return mutatorHarness{harness{fake()}} }
		t.Run(name+"/archiver", func(t *testing.T) { providertest.TestArchiver(t, newHarness) })
		t.Run(name+"/labeler", func(t *testing.T) { providertest.TestLabeler(t, newHarness) })
		if _, ok := fake().Mailbox().(provider.SentFiler); ok {
			t.Run(name+"/filer", func(t *testing.T) { providertest.TestSentFiler(t, newHarness) })
		} else if name != "gmail" && name != "outlook" {
			t.Errorf("%s files no Sent copies", name)
		}
	}
}

func TestFakeRefusesWhatIsNotSafe(t *testing.T) {
	f := newFake(providertest.IMAP)
	f.NoMove(true)
	f.NoUIDPlus(true)
	h := f.Deliver(providertest.Mail("a", "x"), at, provider.RoleInbox)
	box := f.Mailbox()
	target := provider.Target{Item: f.ItemID(h)}
	if _, err := box.(provider.Archiver).Archive(t.Context(), target); !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("archiving without MOVE and UIDPLUS: %v", err)
	}
	f.NoKeywords(true)
	m, err := box.(provider.Labeler).Label(t.Context(), target, "Acme")
	if err != nil || m.Item != "" {
		t.Fatal(m, err)
	}
	target.MessageID = "a@sender.example"
	if err := box.(provider.Labeler).Unlabel(t.Context(), target, m); !errors.Is(err, provider.ErrUnsupported) {
		t.Errorf("expunging one copy without UIDPLUS: %v", err)
	}
	f.NoUIDPlus(false)
	f.Delete(h)
	if err := box.(provider.Labeler).Unlabel(t.Context(), target, m); !errors.Is(err, provider.ErrUnsupported) || len(f.Look("a@sender.example")) != 1 {
		t.Errorf("expunging the only copy left: %v", err)
	}
	if c := f.Calls(); c.Archive != 1 || c.Label != 1 || c.Unlabel != 2 {
		t.Errorf("calls: %+v", c)
	}
}

func TestRefuseSignIn(t *testing.T) {
	f := newFake(providertest.IMAP)
	f.RefuseSignIn(2)
	p := f.Provider()
	for range 2 {
		var refused *provider.SignInError
		if _, err := p.Open(t.Context(), nil); !errors.As(err, &refused) || refused.Reason == "" {
			t.Errorf("refused sign-in: %v", err)
		}
	}
	if _, err := p.Open(t.Context(), nil); err != nil || f.Calls().Open != 3 {
		t.Errorf("after it: %v, %d opened", err, f.Calls().Open)
	}
}
