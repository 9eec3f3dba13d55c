package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/provider"
)

var labelerCases = []mutatorCase{
	{"label", "put a label on a message and leave it in the inbox, its content and flags untouched", caseLabel},
	{"twice", "make no second label and no second copy when called again", caseLabelTwice},
	{"two", "put several labels on a message, and take off only the one asked for", caseLabelTwo},
	{"unlabel", "take the label off, by what was stored of the mutation, and twice is once", caseUnlabel},
	{"unlabel-nothing", "leave a label on that was there before", caseUnlabelNothing},
	{"names", "take any name that a person may give: spaces, letters of any script, signs, slashes, 300 characters", caseLabelNames},
	{"folder-names", "never put a message into the trash, junk, sent or inbox folder because its label is named so", caseLabelReserved},
	{"empty", "refuse an empty label, and change nothing", caseLabelEmpty},
	{"id-died", "find a message by Message-ID that its owner moved, to label it and to take the label off", caseLabelDied},
	{"no-message-id", "label a message without Message-ID once", caseLabelAnonymous},
	{"gone", "answer ErrGone for a message that lies nowhere", caseLabelGone},
	{"lost", "label once when called again after an answer that was lost", caseLabelLost},
	{"cancel", "return the context's error when it is cancelled, and change nothing", caseLabelCancel},
}

// labelled returns how often a label is on a message: on it, or by copies of it.
func (s *mutatorRun) labelled(name, label string) (n int) {
	for _, x := range s.look(name) {
		if slices.Contains(x.Labels, label) {
			n++
		}
	}
	return n
}

// label labels and checks that the message has the label once, in the inbox, unchanged.
func (s *mutatorRun) label(ctx context.Context, name string, t provider.Target, label string) (provider.Mutation, error) {
	m, err := s.labeler.Label(ctx, t, label)
	if err != nil {
		return m, err
	}
	if m.How == "" || m.To == "" {
		return m, fmt.Errorf("the mutation %+v does not say how and what", m)
	}
	if n := s.labelled(name, m.To); n != 1 {
		return m, fmt.Errorf("it has the label %q %d times", m.To, n)
	}
	for _, x := range s.look(name) {
		if err := s.same(name, x); err != nil {
			return m, err
		}
	}
	_, err = s.inbox(name)
	return restored(m), err
}

func caseLabel(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err == nil {
		_, err = s.label(ctx, "a", t, "Acme")
	}
	return err
}

func caseLabelTwice(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	m, err := s.label(ctx, "a", t, "Acme")
	if err != nil {
		return err
	}
	before := len(s.look("a"))
	for range 2 {
		again, err := s.labeler.Label(ctx, t, "Acme")
		if err != nil || !again.Already {
			return fmt.Errorf("again: %+v, %v", again, err)
		}
	}
	if n, after := s.labelled("a", m.To), len(s.look("a")); n != 1 || after != before {
		return fmt.Errorf("%d labels, %d places after %d", n, after, before)
	}
	return nil
}

func caseLabelTwo(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	one, err := s.label(ctx, "a", t, "Acme")
	if err != nil {
		return err
	}
	two, err := s.label(ctx, "a", t, "Deal won")
	if err != nil {
		return err
	}
	if err := s.labeler.Unlabel(ctx, provider.Target{Item: two.Item, MessageID: t.MessageID}, two); err != nil {
		return err
	}
	if a, b := s.labelled("a", one.To), s.labelled("a", two.To); a != 1 || b != 0 {
		return fmt.Errorf("the one is on %d times, the other %d", a, b)
	}
	_, err = s.inbox("a")
	return err
}

func caseUnlabel(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	m, err := s.label(ctx, "a", t, "Acme")
	if err != nil {
		return err
	}
	for range 2 {
		if err := s.labeler.Unlabel(ctx, t, m); err != nil {
			return err
		}
		x, err := s.once("a")
		if err == nil && (!x.in(provider.RoleInbox) || slices.Contains(x.Labels, m.To)) {
			err = fmt.Errorf("it lies in %v, labels %q", x.Folders, x.Labels)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func caseUnlabelNothing(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	m, err := s.label(ctx, "a", t, "Acme")
	if err != nil {
		return err
	}
	again, err := s.labeler.Label(ctx, t, "Acme")
	if err == nil {
		err = s.labeler.Unlabel(ctx, t, again)
	}
	if err == nil && s.labelled("a", m.To) != 1 {
		err = errors.New("the label is off")
	}
	return err
}

func caseLabelNames(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	seen := map[string]string{}
	for _, name := range []string{"Big customer", "big_customer", "Größe", "客户 №1", "e\u0301", `(){%*"\]`,
		"a/b", "a.b", "/", "\\Seen", "$Junk", "NonJunk", "~", "#news", "&-", "..", "-", "\U0001F600", "tab\there",
		strings.Repeat("long ", 60), strings.Repeat("long ", 60) + "er", strings.Repeat("ü", 150)} {
		m, err := s.label(ctx, "a", t, name)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if other, ok := seen[m.To]; ok {
			return fmt.Errorf("%q and %q are one label, %q", name, other, m.To)
		}
		seen[m.To] = name
		if again, err := s.labeler.Label(ctx, t, name); err != nil || !again.Already {
			return fmt.Errorf("%q again: %+v, %v", name, again, err)
		}
	}
	for to, name := range seen {
		if n := s.labelled("a", to); n != 1 {
			return fmt.Errorf("%q is on %d times in the end", name, n)
		}
	}
	return nil
}

func caseLabelReserved(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	places := []provider.Role{provider.RoleInbox, provider.RoleTrash, provider.RoleJunk, provider.RoleSent, provider.RoleDrafts}
	names := []string{"Trash", "trash", "INBOX", "Inbox", "Sent", "SPAM", "Junk", "Drafts"}
	// And what they are called here.
	for _, r := range []provider.Role{provider.RoleTrash, provider.RoleSent} {
		s.deliver("in-"+string(r), day0, r)
		found, err := s.box.Locate(ctx, "in-"+string(r)+"@sender.example")
		if err != nil || len(found) != 1 || len(found[0].Folders) != 1 {
			return fmt.Errorf("located %v, %v", found, err)
		}
		names = append(names, found[0].Folders[0].Name)
	}
	for _, name := range names {
		if _, err := s.labeler.Label(ctx, t, name); err != nil && !errors.Is(err, provider.ErrUnsupported) {
			return fmt.Errorf("%q: %w", name, err)
		}
		counts := map[provider.Role]int{}
		for _, x := range s.look("a") {
			for _, r := range places {
				if x.in(r) {
					counts[r]++
				}
			}
			if err := s.same("a", x); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
		if len(counts) != 1 || counts[provider.RoleInbox] != 1 {
			return fmt.Errorf("labelled %q it lies in %v", name, counts)
		}
	}
	return nil
}

func caseLabelEmpty(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	for _, name := range []string{"", " ", "\t"} {
		if m, err := s.labeler.Label(ctx, t, name); err == nil || m != (provider.Mutation{}) {
			return fmt.Errorf("%q: %+v, %v", name, m, err)
		}
	}
	x, err := s.once("a")
	if err == nil && len(x.Labels) > 0 {
		err = fmt.Errorf("it has the labels %q", x.Labels)
	}
	return err
}

func caseLabelDied(ctx context.Context, s *mutatorRun) error {
	h, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Move(s.t, h, provider.RoleArchive)
	m, err := s.labeler.Label(ctx, t, "Acme")
	if err != nil || m.How == "" || s.labelled("a", m.To) != 1 {
		return fmt.Errorf("%+v, %v, and it is on %d times", m, err, s.labelled("a", m.To))
	}
	if len(s.look("a")) == 1 { // copies of it can't be told apart by the harness
		s.h.Move(s.t, h, provider.RoleInbox)
	}
	if err := s.labeler.Unlabel(ctx, t, m); err != nil {
		return fmt.Errorf("taking it off: %w", err)
	}
	x, err := s.once("a")
	if err == nil && slices.Contains(x.Labels, m.To) {
		err = errors.New("the label is still on")
	}
	return err
}

func caseLabelAnonymous(ctx context.Context, s *mutatorRun) error {
	_, id, err := s.only(ctx, withoutHeader(Mail("a", "about a"), "Message-ID"))
	if err != nil {
		return err
	}
	t := provider.Target{Item: id}
	m, err := s.labeler.Label(ctx, t, "Acme")
	if err != nil || m.How == "" {
		return fmt.Errorf("%+v, %v", m, err)
	}
	count := func() (n int, err error) {
		for _, e := range s.box.Inventory(ctx, provider.Scope{}) {
			if n, err = n+1, e; err != nil {
				return n, err
			}
		}
		return n, nil
	}
	before, err := count()
	if err != nil {
		return err
	}
	if again, err := s.labeler.Label(ctx, t, "Acme"); err != nil || !again.Already {
		return fmt.Errorf("again: %+v, %v", again, err)
	}
	after, err := count()
	if err == nil && after != before {
		err = fmt.Errorf("the mailbox held %d messages, then %d", before, after)
	}
	return err
}

func caseLabelGone(ctx context.Context, s *mutatorRun) error {
	h, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Delete(s.t, h)
	if _, err := s.labeler.Label(ctx, t, "Acme"); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("Label: %v", err)
	}
	if h, t, err = s.given(ctx, "b"); err != nil {
		return err
	}
	m, err := s.labeler.Label(ctx, t, "Acme")
	if err != nil {
		return err
	}
	s.h.Delete(s.t, h)
	if len(s.look("b")) > 0 {
		return nil // a labelled copy is left: it is not gone
	}
	if err := s.labeler.Unlabel(ctx, t, m); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("Unlabel: %v", err)
	}
	return nil
}

func caseLabelLost(ctx context.Context, s *mutatorRun) error {
	for i, l := range []Loss{LostBefore, LostAfter} {
		name := fmt.Sprint("a", i)
		_, t, err := s.given(ctx, name)
		if err != nil {
			return err
		}
		if !s.h.Lose(s.t, l) {
			return errNotHere
		}
		if _, err := s.labeler.Label(ctx, t, "Acme"); err == nil {
			return errors.New("the answer was to get lost, and there was one")
		}
		m, err := s.labeler.Label(ctx, t, "Acme")
		if err != nil {
			return err
		}
		n := 0
		for _, x := range s.look(name) {
			n += len(x.Labels)
		}
		if n != 1 {
			return fmt.Errorf("it is labelled %d times", n)
		}
		m.Already = false // it was ours
		if err := s.labeler.Unlabel(ctx, t, m); err != nil {
			return fmt.Errorf("undoing what a lost call did: %w", err)
		}
		if x, err := s.once(name); err != nil || len(x.Labels) > 0 {
			return fmt.Errorf("undoing what a lost call did: %v, %v", x.Labels, err)
		}
	}
	return nil
}

func caseLabelCancel(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	err = cancelled(ctx, map[string]func(context.Context) error{
		"Label": func(ctx context.Context) error { _, err := s.labeler.Label(ctx, t, "Acme"); return err },
		"Unlabel": func(ctx context.Context) error {
			return s.labeler.Unlabel(ctx, t, provider.Mutation{How: "keyword", To: "acme", Item: t.Item})
		},
	})
	if err != nil {
		return err
	}
	x, err := s.once("a")
	if err == nil && len(x.Labels) > 0 {
		err = fmt.Errorf("it has the labels %q", x.Labels)
	}
	return err
}
