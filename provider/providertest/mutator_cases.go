package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/provider"
)

var archiverCases = []mutatorCase{
	{"archive", "take a message out of the inbox and lose nothing", caseArchive},
	{"twice", "leave a message alone that it has archived, by its old id and by its new one", caseArchiveTwice},
	{"elsewhere", "leave a message alone that lies outside the inbox already", caseArchiveElsewhere},
	{"gone", "answer ErrGone for a message that lies nowhere", caseArchiveGone},
	{"id-died", "find a message by Message-ID when its id died because its owner moved it away and back", caseArchiveDied},
	{"discarded", "leave a message alone that its owner flagged as deleted", caseArchiveDiscarded},
	{"lost-before", "archive when called again after an answer that was lost before anything happened",
		func(ctx context.Context, s *mutatorRun) error { return caseArchiveLost(ctx, s, LostBefore) }},
	{"lost-after", "make no second copy when called again after an answer that was lost",
		func(ctx context.Context, s *mutatorRun) error { return caseArchiveLost(ctx, s, LostAfter) }},
	{"lost-between", "heal a message that was copied and not yet taken away, and make no second copy",
		func(ctx context.Context, s *mutatorRun) error { return caseArchiveLost(ctx, s, LostBetween) }},
	{"listed", "let Changes tell of it as of a move by the owner, and reading go on", caseArchiveListed},
	{"unarchive", "bring a message back to the inbox, by what was stored of the mutation, and twice is once", caseUnarchive},
	{"unarchive-lost", "bring a message back once when called again after an answer that was lost", caseUnarchiveLost},
	{"unarchive-moved", "leave a message alone that its owner moved on since", caseUnarchiveMoved},
	{"unarchive-gone", "answer ErrGone to Unarchive of a message that was deleted since", caseUnarchiveGone},
	{"unarchive-nothing", "do nothing to undo the zero Mutation", caseUnarchiveNothing},
	{"cancel", "return the context's error when it is cancelled, and change nothing", caseArchiveCancel},
}

// archive archives a message given to the inbox and returns what was done.
func (s *mutatorRun) archive(ctx context.Context, name string) (Handle, provider.Target, provider.Mutation, error) {
	h, t, err := s.given(ctx, name)
	if err != nil {
		return h, t, provider.Mutation{}, err
	}
	m, err := s.archiver.Archive(ctx, t)
	if err == nil && m.How == "" {
		err = errors.New("the mutation does not say how")
	}
	return h, t, restored(m), err
}

func caseArchive(ctx context.Context, s *mutatorRun) error {
	_, _, m, err := s.archive(ctx, "a")
	if err != nil {
		return err
	}
	if err := s.archived("a"); err != nil {
		return err
	}
	now, err := s.target(ctx, "a")
	if err == nil && m.Item != "" && m.Item != now.Item {
		err = fmt.Errorf("it says that the id is %q, it is %q", m.Item, now.Item)
	}
	if err == nil {
		_, err = s.box.Content(ctx, now.Item)
	}
	return err
}

func caseArchiveTwice(ctx context.Context, s *mutatorRun) error {
	_, t, m, err := s.archive(ctx, "a")
	if err != nil {
		return err
	}
	for _, id := range []provider.ItemID{t.Item, m.Item} {
		again, err := s.archiver.Archive(ctx, provider.Target{Item: id, MessageID: t.MessageID})
		if err != nil || !again.Already {
			return fmt.Errorf("again: %+v, %v", again, err)
		}
	}
	return s.archived("a")
}

func caseArchiveElsewhere(ctx context.Context, s *mutatorRun) error {
	for _, r := range []provider.Role{provider.RoleTrash, provider.RoleArchive, provider.RoleSent} {
		name := "moved-to-" + string(r)
		h, t, err := s.given(ctx, name)
		if err != nil {
			return err
		}
		s.h.Move(s.t, h, r)
		before := places(s.look(name))
		m, err := s.archiver.Archive(ctx, t)
		if err != nil || !m.Already {
			return fmt.Errorf("in %s: %+v, %v", r, m, err)
		}
		if after := places(s.look(name)); fmt.Sprint(before) != fmt.Sprint(after) {
			return fmt.Errorf("it lay in %v and lies in %v", before, after)
		}
	}
	return nil
}

func caseArchiveGone(ctx context.Context, s *mutatorRun) error {
	h, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Delete(s.t, h)
	if _, err := s.archiver.Archive(ctx, t); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("the error is %v", err)
	}
	t.MessageID = ""
	if _, err := s.archiver.Archive(ctx, t); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("without a Message-ID the error is %v", err)
	}
	return nil
}

func caseArchiveDied(ctx context.Context, s *mutatorRun) error {
	h, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Move(s.t, h, provider.RoleArchive)
	s.h.Move(s.t, h, provider.RoleInbox)
	m, err := s.archiver.Archive(ctx, t)
	if err != nil || m.How == "" {
		return fmt.Errorf("%+v, %v", m, err)
	}
	return s.archived("a")
}

func caseArchiveDiscarded(ctx context.Context, s *mutatorRun) error {
	h, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	if !s.h.Discard(s.t, h) {
		return nil // a service that knows no such flag has nothing to leave alone
	}
	m, err := s.archiver.Archive(ctx, t)
	if err != nil || !m.Already {
		return fmt.Errorf("%+v, %v", m, err)
	}
	if ss := s.look("a"); len(ss) != 1 || !ss[0].in(provider.RoleInbox) || len(ss[0].Flags) != 1 {
		return fmt.Errorf("it lies in %v", places(ss))
	}
	return nil
}

func caseArchiveLost(ctx context.Context, s *mutatorRun, l Loss) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	if !s.h.Lose(s.t, l) {
		return errNotHere
	}
	if _, err := s.archiver.Archive(ctx, t); err == nil {
		return errors.New("the answer was to get lost, and there was one")
	}
	m, err := s.archiver.Archive(ctx, t)
	if err != nil {
		return err
	}
	if l == LostBefore && m.Already {
		return errors.New("nothing had happened, and it says that nothing had to be done")
	}
	if err := s.archived("a"); err != nil {
		return err
	}
	m.Already = false // it was ours
	if _, err := s.archiver.Unarchive(ctx, t, m); err != nil {
		return fmt.Errorf("undoing what a lost call did: %w", err)
	}
	x, err := s.once("a")
	if err == nil && !x.in(provider.RoleInbox) {
		err = fmt.Errorf("after undoing what a lost call did it lies in %v", x.Folders)
	}
	return err
}

func caseArchiveListed(ctx context.Context, s *mutatorRun) error {
	old, n, err := s.moved(ctx, func(Handle) {
		t, err := s.target(ctx, "a")
		if err == nil {
			_, err = s.archiver.Archive(ctx, t)
		}
		if err != nil {
			s.t.Errorf("archiving: %v", err)
		}
	})
	if err != nil {
		return err
	}
	for _, it := range n.items {
		if it.ID == old && in(it, provider.RoleInbox) {
			return errors.New("it is still listed in the inbox")
		}
	}
	s.deliver("next", day0, provider.RoleInbox)
	if n, err = s.changes(ctx, n.next); err != nil {
		return err
	}
	names, err := s.names(ctx, n.items)
	if err == nil && !slices.Contains(names, "next") {
		err = fmt.Errorf("what came later is not listed: %q", names)
	}
	return err
}

func caseUnarchive(ctx context.Context, s *mutatorRun) error {
	_, t, m, err := s.archive(ctx, "a")
	if err != nil {
		return err
	}
	back, err := s.archiver.Unarchive(ctx, t, m)
	if err != nil || back.How == "" {
		return fmt.Errorf("%+v, %v", back, err)
	}
	for range 2 {
		x, err := s.once("a")
		if err == nil && !x.in(provider.RoleInbox) {
			err = fmt.Errorf("it lies in %v", x.Folders)
		}
		if err != nil {
			return err
		}
		again, err := s.archiver.Unarchive(ctx, t, m)
		if err != nil || !again.Already {
			return fmt.Errorf("again: %+v, %v", again, err)
		}
	}
	// It can be archived again, by the id it has now.
	now, err := s.target(ctx, "a")
	if err == nil {
		_, err = s.archiver.Archive(ctx, now)
	}
	if err != nil {
		return err
	}
	return s.archived("a")
}

func caseUnarchiveLost(ctx context.Context, s *mutatorRun) error {
	for i, l := range []Loss{LostBefore, LostAfter, LostBetween} {
		name := fmt.Sprint("a", i)
		_, t, m, err := s.archive(ctx, name)
		if err != nil {
			return err
		}
		if !s.h.Lose(s.t, l) {
			return errNotHere
		}
		if _, err := s.archiver.Unarchive(ctx, t, m); err == nil {
			return errors.New("the answer was to get lost, and there was one")
		}
		if _, err := s.archiver.Unarchive(ctx, t, m); err != nil {
			return err
		}
		if l == LostBetween {
			// The copy that stayed in the archive may be told from the owner's own by nobody: what counts is the inbox.
			if _, err := s.inbox(name); err != nil {
				return err
			}
			continue
		}
		x, err := s.once(name)
		if err == nil && !x.in(provider.RoleInbox) {
			err = fmt.Errorf("it lies in %v", x.Folders)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func caseUnarchiveMoved(ctx context.Context, s *mutatorRun) error {
	h, t, m, err := s.archive(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Move(s.t, h, provider.RoleTrash)
	back, err := s.archiver.Unarchive(ctx, t, m)
	if err != nil || !back.Already {
		return fmt.Errorf("%+v, %v", back, err)
	}
	x, err := s.once("a")
	if err == nil && !x.in(provider.RoleTrash) {
		err = fmt.Errorf("it lies in %v", x.Folders)
	}
	return err
}

func caseUnarchiveGone(ctx context.Context, s *mutatorRun) error {
	h, t, m, err := s.archive(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Delete(s.t, h)
	if _, err := s.archiver.Unarchive(ctx, t, m); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("the error is %v", err)
	}
	return nil
}

func caseUnarchiveNothing(ctx context.Context, s *mutatorRun) error {
	h, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	s.h.Move(s.t, h, provider.RoleArchive)
	m, err := s.archiver.Unarchive(ctx, t, provider.Mutation{})
	if err != nil || !m.Already {
		return fmt.Errorf("%+v, %v", m, err)
	}
	return s.archived("a")
}

func caseArchiveCancel(ctx context.Context, s *mutatorRun) error {
	_, t, err := s.given(ctx, "a")
	if err != nil {
		return err
	}
	err = cancelled(ctx, map[string]func(context.Context) error{
		"Archive": func(ctx context.Context) error { _, err := s.archiver.Archive(ctx, t); return err },
		"Unarchive": func(ctx context.Context) error {
			_, err := s.archiver.Unarchive(ctx, t, provider.Mutation{How: "move", From: "INBOX", To: "Archive"})
			return err
		},
	})
	if err == nil {
		_, err = s.inbox("a")
	}
	return err
}

var filerCases = []mutatorCase{
	{"file", "find no copy, file one in Sent, read, at the time given, and find it", caseFile},
	{"found", "find in Sent only, and by the whole Message-ID", caseFindSent},
	{"lost", "find the copy whose filing had no answer", caseFileLost},
	{"listed", "let Changes list the copy as sent", caseFileListed},
	{"cancel", "return the context's error when it is cancelled", caseFileCancel},
}

func caseFile(ctx context.Context, s *mutatorRun) error {
	const mid = "a@sender.example"
	if id, err := s.filer.FindSent(ctx, mid); err != nil || id != "" {
		return fmt.Errorf("found %q, %v before it was filed", id, err)
	}
	told, err := s.filer.FileSent(ctx, Mail("a", "about a"), day0)
	if err != nil {
		return err
	}
	found, err := s.filer.FindSent(ctx, mid)
	if err != nil || found == "" || told != "" && told != found {
		return fmt.Errorf("filed %q, found %q, %v", told, found, err)
	}
	m, err := s.box.Content(ctx, found)
	if err != nil || m.MessageID != mid || !m.Received.Equal(day0) || !m.Sent {
		return fmt.Errorf("its content: %v", err)
	}
	ss := s.look("a")
	if len(ss) != 1 || !ss[0].in(provider.RoleSent) || !slices.Equal(ss[0].Flags, []string{`\Seen`}) {
		return fmt.Errorf("filed as %v", ss)
	}
	ss[0].Flags = nil
	return s.same("a", ss[0])
}

func caseFindSent(ctx context.Context, s *mutatorRun) error {
	s.deliver("a", day0, provider.RoleInbox)
	s.deliver("xa", day0, provider.RoleSent)
	s.deliver("b", day0, provider.RoleSent)
	for _, mid := range []string{"a@sender.example", "b@sender", "", "nobody@sender.example"} {
		if id, err := s.filer.FindSent(ctx, mid); err != nil || id != "" {
			return fmt.Errorf("found %q, %v by %q", id, err, mid)
		}
	}
	if id, err := s.filer.FindSent(ctx, "b@sender.example"); err != nil || id == "" {
		return fmt.Errorf("found %q, %v, of one that is there", id, err)
	}
	return nil
}

func caseFileLost(ctx context.Context, s *mutatorRun) error {
	if !s.h.Lose(s.t, LostAfter) {
		return errNotHere
	}
	if _, err := s.filer.FileSent(ctx, Mail("a", "about a"), day0); err == nil {
		return errors.New("the answer was to get lost, and there was one")
	}
	if id, err := s.filer.FindSent(ctx, "a@sender.example"); err != nil || id == "" {
		return fmt.Errorf("found %q, %v", id, err)
	}
	if ss := s.look("a"); len(ss) != 1 {
		return fmt.Errorf("filed %d times", len(ss))
	}
	return nil
}

func caseFileListed(ctx context.Context, s *mutatorRun) error {
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	if _, err := s.filer.FileSent(ctx, Mail("a", "about a"), time.Time{}); err != nil {
		return err
	}
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	if len(n.items) != 1 || !n.items[0].Envelope.Sent {
		return fmt.Errorf("listed %d items", len(n.items))
	}
	return s.wantSet(ctx, n.items, "a")
}

func caseFileCancel(ctx context.Context, s *mutatorRun) error {
	err := cancelled(ctx, map[string]func(context.Context) error{
		"FindSent": func(ctx context.Context) error { _, err := s.filer.FindSent(ctx, "a@sender.example"); return err },
		"FileSent": func(ctx context.Context) error {
			_, err := s.filer.FileSent(ctx, Mail("a", "about a"), day0)
			return err
		},
	})
	if err == nil && len(s.look("a")) > 0 {
		err = errors.New("it was filed")
	}
	return err
}
