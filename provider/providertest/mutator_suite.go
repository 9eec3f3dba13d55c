package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider"
)

// MutatorHarness is the service behind a mailbox that can archive, label or file Sent copies, made anew for each case. Its
// methods end the test themselves when they fail.
type MutatorHarness interface {
	MailboxHarness
	// Look returns every place where a message of that Message-ID lies, with what the service holds there.
	Look(t *testing.T, messageID string) []Sight
	// Discard flags a message as deleted and leaves it where it is, as mail programs over IMAP do. It returns false where
	// the service knows no such thing.
	Discard(t *testing.T, h Handle) bool
	// Lose makes the answer of the next mutation get lost. It returns false where that can't be arranged.
	Lose(t *testing.T, l Loss) bool
}

// TestArchiver says what a provider.Archiver should do, over a fresh harness for each case.
func TestArchiver(t *testing.T, newHarness func(t *testing.T) MutatorHarness) {
	runMutator(t, "an archiver", archiverCases, newHarness, func(s *mutatorRun) (ok bool) {
		s.archiver, ok = s.box.(provider.Archiver)
		return ok
	})
}

// TestLabeler says what a provider.Labeler should do, over a fresh harness for each case.
func TestLabeler(t *testing.T, newHarness func(t *testing.T) MutatorHarness) {
	runMutator(t, "a labeler", labelerCases, newHarness, func(s *mutatorRun) (ok bool) {
		s.labeler, ok = s.box.(provider.Labeler)
		return ok
	})
}

// TestSentFiler says what a provider.SentFiler should do, over a fresh harness for each case.
func TestSentFiler(t *testing.T, newHarness func(t *testing.T) MutatorHarness) {
	runMutator(t, "a filer of Sent copies", filerCases, newHarness, func(s *mutatorRun) (ok bool) {
		s.filer, ok = s.box.(provider.SentFiler)
		return ok
	})
}

type mutatorCase struct {
	name, should string
	run          func(ctx context.Context, s *mutatorRun) error
}

type mutatorRun struct {
	mailboxRun
	h        MutatorHarness
	archiver provider.Archiver
	labeler  provider.Labeler
	filer    provider.SentFiler
}

func runMutator(t *testing.T, who string, cases []mutatorCase, newHarness func(t *testing.T) MutatorHarness,
	is func(*mutatorRun) bool) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			s := &mutatorRun{mailboxRun: mailboxRun{t: t, h: h, box: h.Open(t)}, h: h}
			defer s.box.Close()
			if !is(s) {
				t.Fatalf("%T is not %s", s.box, who)
			}
			// Others must never be touched: one beside it, one that its owner threw away, one in each other folder.
			s.deliver("bystander", day0.Add(-time.Hour), provider.RoleInbox)
			h.Discard(t, s.deliver("thrown", day0.Add(-2*time.Hour), provider.RoleInbox))
			h.Discard(t, s.deliver("old", day0.Add(-3*time.Hour), provider.RoleArchive))
			s.deliver("mine", day0.Add(-4*time.Hour), provider.RoleSent)
			before := s.others()
			err := c.run(t.Context(), s)
			if errors.Is(err, errNotHere) {
				t.Skip("this service can't be brought to it")
			}
			if err == nil && !reflect.DeepEqual(before, s.others()) {
				err = fmt.Errorf("other messages were\n%v\nand are\n%v", before, s.others())
			}
			if err != nil {
				t.Errorf("%s should %s\nit did not: %v", who, c.should, err)
			}
		})
	}
}

func (s *mutatorRun) others() map[string][]Sight {
	out := map[string][]Sight{}
	for _, n := range []string{"bystander", "thrown", "old", "mine"} {
		out[n] = s.look(n)
	}
	return out
}

// look returns the places of a message with flags and labels in order.
func (s *mutatorRun) look(name string) []Sight {
	ss := s.h.Look(s.t, name+"@sender.example")
	for i := range ss {
		slices.Sort(ss[i].Flags)
		slices.Sort(ss[i].Labels)
	}
	return ss
}

// given delivers a message to the inbox and returns what names it.
func (s *mutatorRun) given(ctx context.Context, name string) (Handle, provider.Target, error) {
	h := s.deliver(name, day0, provider.RoleInbox)
	t, err := s.target(ctx, name)
	return h, t, err
}

func (s *mutatorRun) target(ctx context.Context, name string) (provider.Target, error) {
	t := provider.Target{MessageID: name + "@sender.example"}
	found, err := s.box.Locate(ctx, t.MessageID)
	if err != nil || len(found) != 1 {
		return t, fmt.Errorf("located %d of %s: %v", len(found), name, err)
	}
	t.Item = found[0].ID
	return t, nil
}

// once returns the only place of a message, after a check that nothing of it changed but place and labels.
func (s *mutatorRun) once(name string) (Sight, error) {
	ss := s.look(name)
	if len(ss) != 1 {
		return Sight{}, fmt.Errorf("the message lies in %d places: %v", len(ss), places(ss))
	}
	return ss[0], s.same(name, ss[0])
}

func (s *mutatorRun) same(name string, x Sight) error {
	switch {
	case !bytes.Equal(x.Raw, Mail(name, "about "+name)):
		return errors.New("its bytes changed")
	case !x.At.Equal(day0):
		return fmt.Errorf("its time of arrival became %s", x.At)
	case len(x.Flags) > 0:
		return fmt.Errorf("it has the flags %q", x.Flags)
	}
	return nil
}

func places(ss []Sight) (out [][]provider.Folder) {
	for _, x := range ss {
		out = append(out, x.Folders)
	}
	return out
}

func (x Sight) in(r provider.Role) bool {
	return slices.ContainsFunc(x.Folders, func(d provider.Folder) bool { return d.Role == r })
}

// archived checks that a message lies once, outside the inbox, and not where it would be deleted.
func (s *mutatorRun) archived(name string) error {
	x, err := s.once(name)
	if err == nil && (x.in(provider.RoleInbox) || x.in(provider.RoleTrash) || x.in(provider.RoleJunk)) {
		err = fmt.Errorf("it lies in %v", x.Folders)
	}
	return err
}

// inbox checks that a message lies in the inbox, unchanged, and perhaps elsewhere.
func (s *mutatorRun) inbox(name string) (Sight, error) {
	ss := s.look(name)
	for _, x := range ss {
		if x.in(provider.RoleInbox) {
			return x, s.same(name, x)
		}
	}
	return Sight{}, fmt.Errorf("it lies in %v", places(ss))
}

// restored passes a mutation through its storage.
func restored(m provider.Mutation) (out provider.Mutation) {
	b, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err) // a struct of strings
	}
	return out
}

// cancelled checks that calls end with the context's error, and change nothing.
func cancelled(ctx context.Context, calls map[string]func(context.Context) error) error {
	dead, cancel := context.WithCancel(ctx)
	cancel()
	for name, call := range calls {
		if err := call(dead); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	return nil
}
