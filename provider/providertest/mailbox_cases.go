package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

func caseStart(ctx context.Context, s *mailboxRun) error {
	s.deliver("before", day0, provider.RoleInbox)
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	s.deliver("after", day0.Add(time.Hour), provider.RoleInbox)
	s.deliver("old-date", day0.Add(-time.Hour), provider.RoleArchive)
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	return s.wantSet(ctx, n.items, "after", "old-date")
}

func caseEmpty(ctx context.Context, s *mailboxRun) error {
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	if len(n.items)+len(n.left)+len(n.restart)+len(n.recount) > 0 {
		return fmt.Errorf("%d items, %d removals, %d restarts, %d recounts without news", len(n.items), len(n.left), len(n.restart), len(n.recount))
	}
	s.deliver("a", day0, provider.RoleInbox)
	if n, err = s.changes(ctx, n.next); err != nil {
		return err
	}
	return s.wantSet(ctx, n.items, "a")
}

func caseBurst(ctx context.Context, s *mailboxRun) error {
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	var want []string
	for i := range 23 {
		id := fmt.Sprintf("m%02d", i)
		want = append(want, id)
		s.deliver(id, day0.Add(time.Duration(i)*time.Minute), []provider.Role{provider.RoleInbox, provider.RoleSent, provider.RoleArchive}[i%3])
	}
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	return s.wantSet(ctx, n.items, want...)
}

func caseOldCursor(ctx context.Context, s *mailboxRun) error {
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	c = bytes.Clone(c)
	s.deliver("a", day0, provider.RoleInbox)
	if _, err := s.changes(ctx, c); err != nil {
		return err
	}
	s.deliver("b", day0.Add(time.Minute), provider.RoleInbox)
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	return s.wantSet(ctx, n.items, "a", "b")
}

func caseEnvelope(ctx context.Context, s *mailboxRun) error {
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	s.deliver("a", day0, provider.RoleInbox)
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	if len(n.items) == 0 {
		return errors.New("no item")
	}
	it := n.items[0]
	if err := checkEnvelope(it.Envelope); err != nil {
		return fmt.Errorf("in the listing: %w", err)
	}
	m, err := s.box.Content(ctx, it.ID)
	if err != nil {
		return err
	}
	if m.Has&message.HasHeader != message.HasHeader {
		return errors.New("Content did not read the whole header")
	}
	if !m.Received.Equal(day0) {
		return fmt.Errorf("time received is %s, want %s", m.Received, day0)
	}
	return checkEnvelope(m.Envelope)
}

func checkEnvelope(e message.Envelope) error {
	switch {
	case e.Has&message.HasIDs != 0 && (e.MessageID != "a@sender.example" || !slices.Equal(e.InReplyTo, []string{"parent@acme.example"}) ||
		!slices.Equal(e.References, []string{"root@acme.example", "parent@acme.example"})):
		return errors.New("HasIDs, and the ids are wrong")
	case e.Has&message.HasIDs == 0 && len(e.References) > 0:
		return errors.New("field References without HasIDs")
	case e.Has&message.HasParticipants != 0 && (len(e.From) != 1 || e.From[0].Key != "ada@sender.example" || len(e.To) != 1):
		return errors.New("HasParticipants, and they are wrong")
	case e.Has&message.HasSubject != 0 && e.Subject != "about a":
		return fmt.Errorf("HasSubject, and it is %q", e.Subject)
	case e.Has&message.HasDate != 0 && !e.Date.Equal(day0):
		return fmt.Errorf("HasDate, and it is %s", e.Date)
	}
	return nil
}

func (s *mailboxRun) fill(n int) {
	for i := range n {
		s.deliver(fmt.Sprintf("m%02d", i), day0.AddDate(0, 0, i), provider.RoleInbox)
	}
}

func caseWindow(ctx context.Context, s *mailboxRun) error {
	s.fill(12)
	ps, err := s.history(ctx, provider.Window{From: day0.AddDate(0, 0, 2), To: day0.AddDate(0, 0, 9)}, nil)
	if err != nil {
		return err
	}
	var items []provider.Item
	for _, p := range ps {
		items = append(items, p.Items...)
	}
	got, err := s.names(ctx, items)
	if err != nil {
		return err
	}
	if want := strings.Fields("m08 m07 m06 m05 m04 m03 m02"); !slices.Equal(got, want) {
		return fmt.Errorf("listed %q, want %q", got, want)
	}
	ps, err = s.history(ctx, provider.Window{}, nil)
	if err != nil {
		return err
	}
	n := 0
	for _, p := range ps {
		n += len(p.Items)
	}
	if n < 12 {
		return fmt.Errorf("an open window listed %d of 12", n)
	}
	return nil
}

func caseResume(ctx context.Context, s *mailboxRun) error {
	s.fill(12)
	ps, err := s.history(ctx, provider.Window{}, nil)
	if err != nil {
		return err
	}
	for i, p := range ps {
		seen := map[string]bool{}
		for _, q := range ps[:i+1] {
			ns, err := s.names(ctx, q.Items)
			if err != nil {
				return err
			}
			for _, n := range ns {
				seen[n] = true
			}
		}
		s.box.Close()
		s.box = s.h.Open(s.t)
		rest, err := s.history(ctx, provider.Window{}, p.Next)
		if err != nil {
			return fmt.Errorf("resuming after page %d: %w", i, err)
		}
		for _, q := range rest {
			ns, err := s.names(ctx, q.Items)
			if err != nil {
				return err
			}
			for _, n := range ns {
				seen[n] = true
			}
		}
		if len(seen) != 12 {
			return fmt.Errorf("resuming after page %d saw %d of 12", i, len(seen))
		}
	}
	return nil
}

func caseFolders(ctx context.Context, s *mailboxRun) error {
	s.deliver("in", day0, provider.RoleInbox)
	s.deliver("out", day0.Add(time.Hour), provider.RoleSent)
	s.deliver("kept", day0.Add(2*time.Hour), provider.RoleArchive)
	s.deliver("thrown", day0.Add(3*time.Hour), provider.RoleTrash)
	ps, err := s.history(ctx, provider.Window{}, nil)
	if err != nil {
		return err
	}
	var items []provider.Item
	for _, p := range ps {
		items = append(items, p.Items...)
	}
	return s.wantSet(ctx, items, "in", "out", "kept")
}

func caseInventory(ctx context.Context, s *mailboxRun) error {
	s.fill(12)
	s.deliver("out", day0.AddDate(0, 0, 3), provider.RoleSent)
	w := provider.Window{From: day0.AddDate(0, 0, 2), To: day0.AddDate(0, 0, 9)}
	ps, err := s.history(ctx, w, nil)
	if err != nil {
		return err
	}
	listed, stock := map[provider.ItemID]bool{}, map[provider.ItemID]bool{}
	for _, p := range ps {
		for _, it := range p.Items {
			listed[it.ID] = true
		}
	}
	folders := map[string]int{}
	for it, err := range s.box.Inventory(ctx, provider.Scope{Window: w}) {
		if err != nil {
			return fmt.Errorf("Inventory: %w", err)
		}
		stock[it.ID] = true
		if !listed[it.ID] {
			return fmt.Errorf("Inventory has %q, History has not", it.ID)
		}
		for _, f := range it.Folders {
			folders[f.ID]++
		}
	}
	if len(stock) != len(listed) || len(stock) != 8 {
		return fmt.Errorf("Inventory has %d ids, History %d, want 8", len(stock), len(listed))
	}
	for f, want := range folders {
		got := 0
		for _, err := range s.box.Inventory(ctx, provider.Scope{Window: w, Folder: f}) {
			if err != nil {
				return fmt.Errorf("Inventory of %s: %w", f, err)
			}
			got++
		}
		if got != want {
			return fmt.Errorf("Inventory of %s alone has %d ids, want %d", f, got, want)
		}
	}
	for it, err := range s.box.Inventory(ctx, provider.Scope{Folder: "no such folder"}) {
		return fmt.Errorf("Inventory of a folder that isn't there: %q, %v", it.ID, err)
	}
	return nil
}

// only delivers one message and returns its id as listed.
func (s *mailboxRun) only(ctx context.Context, raw []byte) (Handle, provider.ItemID, error) {
	c, err := s.box.Start(ctx)
	if err != nil {
		return "", "", err
	}
	h := s.h.Deliver(s.t, raw, day0, provider.RoleInbox)
	n, err := s.changes(ctx, c)
	if err != nil {
		return "", "", err
	}
	if len(n.items) == 0 {
		return "", "", errors.New("the message was not listed")
	}
	return h, n.items[0].ID, nil
}

func caseContent(ctx context.Context, s *mailboxRun) error {
	_, id, err := s.only(ctx, mailWithAttachment("a"))
	if err != nil {
		return err
	}
	m, err := s.box.Content(ctx, id)
	if err != nil {
		return err
	}
	if m.MessageID != "a@sender.example" || !strings.Contains(m.Text, "See the order.") {
		return fmt.Errorf("Message-ID %q, text %q", m.MessageID, m.Text)
	}
	if len(m.Attachments) != 1 || m.Attachments[0].Name != "order.bin" {
		return fmt.Errorf("%d attachments", len(m.Attachments))
	}
	return nil
}

func caseAttachment(ctx context.Context, s *mailboxRun) error {
	_, id, err := s.only(ctx, mailWithAttachment("a"))
	if err != nil {
		return err
	}
	m, err := s.box.Content(ctx, id)
	if err != nil {
		return err
	}
	if len(m.Attachments) == 0 {
		return errors.New("Content named no attachment")
	}
	got, err := readAll(s.box.Attachment(ctx, id, m.Attachments[0].Part))
	if err == nil && !bytes.Equal(got, attached) {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

func caseLocate(ctx context.Context, s *mailboxRun) error {
	_, id, err := s.only(ctx, Mail("a", "about a"))
	if err != nil {
		return err
	}
	s.deliver("b", day0, provider.RoleInbox)
	found, err := s.box.Locate(ctx, "a@sender.example")
	if err != nil || len(found) != 1 || found[0].ID != id {
		return fmt.Errorf("located %v (%v), want %q", found, err, id)
	}
	if !in(found[0], provider.RoleInbox) {
		return fmt.Errorf("located in %v, it lies in the inbox", found[0].Folders)
	}
	if found, err = s.box.Locate(ctx, "nobody@sender.example"); err != nil || len(found) > 0 {
		return fmt.Errorf("an unknown Message-ID: %v, %v", found, err)
	}
	return nil
}

// in says whether an item lies in a folder of that role.
func in(it provider.Item, r provider.Role) bool {
	return slices.ContainsFunc(it.Folders, func(d provider.Folder) bool { return d.Role == r })
}

func caseGone(ctx context.Context, s *mailboxRun) error {
	h, id, err := s.only(ctx, mailWithAttachment("a"))
	if err != nil {
		return err
	}
	s.h.Delete(s.t, h)
	if _, err := s.box.Content(ctx, id); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("Content: %v", err)
	}
	if _, err := readAll(s.box.Attachment(ctx, id, "2")); !errors.Is(err, provider.ErrGone) {
		return fmt.Errorf("Attachment: %v", err)
	}
	return nil
}

func caseSent(ctx context.Context, s *mailboxRun) error {
	s.deliver("mine", day0, provider.RoleSent)
	s.deliver("forged", day0, provider.RoleInbox)
	for name, want := range map[string]bool{"mine": true, "forged": false} {
		ids, err := s.box.Locate(ctx, name+"@sender.example")
		if err != nil || len(ids) != 1 {
			return fmt.Errorf("located %d: %v", len(ids), err)
		}
		m, err := s.box.Content(ctx, ids[0].ID)
		if err != nil {
			return err
		}
		if m.Sent != want {
			return fmt.Errorf("Sent of %q is %v", name, m.Sent)
		}
	}
	return nil
}

// moved lists one message, lets f act on it, and returns its old id and what happened.
func (s *mailboxRun) moved(ctx context.Context, f func(Handle)) (provider.ItemID, news, error) {
	c, err := s.box.Start(ctx)
	if err != nil {
		return "", news{}, err
	}
	h := s.deliver("a", day0, provider.RoleInbox)
	n, err := s.changes(ctx, c)
	if err != nil || len(n.items) == 0 {
		return "", n, fmt.Errorf("%d items: %v", len(n.items), err)
	}
	f(h)
	after, err := s.changes(ctx, n.next)
	if err == nil && !slices.ContainsFunc(after.left, func(r provider.Removal) bool { return r.ID == n.items[0].ID }) {
		if len(after.recount) == 0 {
			return n.items[0].ID, after, fmt.Errorf("no removal of %q among %v, and no recount", n.items[0].ID, after.left)
		}
		for _, f := range after.recount {
			for it, err := range s.box.Inventory(ctx, provider.Scope{Folder: f.ID}) {
				if err != nil || it.ID == n.items[0].ID {
					return it.ID, after, fmt.Errorf("the inventory still lists %q: %v", it.ID, err)
				}
			}
		}
	}
	return n.items[0].ID, after, err
}

func caseMove(ctx context.Context, s *mailboxRun) error {
	_, n, err := s.moved(ctx, func(h Handle) { s.h.Move(s.t, h, provider.RoleArchive) })
	if err != nil {
		return err
	}
	if err := s.wantSet(ctx, n.items, "a"); err != nil {
		return err
	}
	if in(n.items[0], provider.RoleInbox) {
		return errors.New("the item still lies in the inbox")
	}
	_, err = s.box.Content(ctx, n.items[0].ID)
	return err
}

func caseTrash(ctx context.Context, s *mailboxRun) error {
	_, _, err := s.moved(ctx, func(h Handle) { s.h.Move(s.t, h, provider.RoleTrash) })
	if err != nil {
		return err
	}
	found, err := s.box.Locate(ctx, "a@sender.example")
	if err != nil || len(found) != 1 || !in(found[0], provider.RoleTrash) {
		return fmt.Errorf("located %v (%v), want it in the trash", found, err)
	}
	return nil
}

func caseDelete(ctx context.Context, s *mailboxRun) error {
	_, n, err := s.moved(ctx, func(h Handle) { s.h.Delete(s.t, h) })
	if err == nil && len(n.items) > 0 {
		err = fmt.Errorf("%d items after a deletion", len(n.items))
	}
	if err != nil {
		return err
	}
	if found, err := s.box.Locate(ctx, "a@sender.example"); err != nil || len(found) > 0 {
		return fmt.Errorf("located %v (%v) after the deletion", found, err)
	}
	return nil
}

func caseReset(ctx context.Context, s *mailboxRun) error {
	s.deliver("a", day0, provider.RoleInbox)
	s.deliver("b", day0.Add(time.Hour), provider.RoleInbox)
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	s.deliver("c", day0.Add(2*time.Hour), provider.RoleInbox)
	if !s.h.Reset(s.t, provider.RoleInbox) {
		return errNotHere
	}
	s.deliver("d", day0.Add(3*time.Hour), provider.RoleInbox)
	n, err := s.changes(ctx, c)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(n.restart, func(d provider.Folder) bool { return d.Role == provider.RoleInbox }) {
		return fmt.Errorf("field Restart names %v", n.restart)
	}
	if err := s.wantSet(ctx, n.items, "a", "b", "c", "d"); err != nil {
		return err
	}
	s.deliver("e", day0.Add(4*time.Hour), provider.RoleInbox)
	if n, err = s.changes(ctx, n.next); err != nil {
		return err
	}
	if len(n.restart) > 0 {
		return errors.New("a second Restart without a second reset")
	}
	ns, err := s.names(ctx, n.items)
	if err == nil && !slices.Contains(ns, "e") {
		err = fmt.Errorf("after the restart: %q", ns)
	}
	return err
}

func caseCancel(ctx context.Context, s *mailboxRun) error {
	_, id, err := s.only(ctx, mailWithAttachment("a"))
	if err != nil {
		return err
	}
	c, err := s.box.Start(ctx)
	if err != nil {
		return err
	}
	dead, cancel := context.WithCancel(ctx)
	cancel()
	for name, call := range map[string]func() error{
		"Profile":    func() error { _, err := s.box.Profile(dead); return err },
		"Start":      func() error { _, err := s.box.Start(dead); return err },
		"Changes":    func() error { _, err := s.box.Changes(dead, c); return err },
		"History":    func() error { _, err := s.box.History(dead, provider.Window{}, nil); return err },
		"Content":    func() error { _, err := s.box.Content(dead, id); return err },
		"Attachment": func() error { _, err := readAll(s.box.Attachment(dead, id, "2")); return err },
		"Locate":     func() error { _, err := s.box.Locate(dead, "a@sender.example"); return err },
		"Inventory": func() error {
			for _, err := range s.box.Inventory(dead, provider.Scope{}) {
				return err
			}
			return nil
		},
	} {
		done := make(chan error, 1)
		go func() { done <- call() }()
		select {
		case err := <-done:
			// Profile may be known already, and needs no service.
			if !errors.Is(err, context.Canceled) && (name != "Profile" || err != nil) {
				return fmt.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute): // a busy machine is slow, and who waits for the service never comes
			return fmt.Errorf("%s still ran after a minute", name)
		}
	}
	return nil
}

func caseForeign(ctx context.Context, s *mailboxRun) error {
	if _, err := s.box.Changes(ctx, provider.Cursor("not a cursor")); err == nil {
		return errors.New("Changes took it")
	}
	if _, err := s.box.History(ctx, provider.Window{}, provider.Cursor("not a cursor")); err == nil {
		return errors.New("History took it")
	}
	return nil
}
