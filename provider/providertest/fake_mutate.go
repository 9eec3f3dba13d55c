package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/provider"
)

var (
	_ provider.Archiver  = (*mailbox)(nil)
	_ provider.Labeler   = (*mailbox)(nil)
	_ provider.SentFiler = (*imapMailbox)(nil)
)

// Sight is what the service holds of a message in one place. IMAP may hold copies in several.
type Sight struct {
	Folders []provider.Folder // one, but for Gmail
	Labels  []string          // the user's labels (Gmail, by id), categories (Graph), keywords (IMAP); a folder that is a label (IMAP)
	Flags   []string          // others: \Seen, \Deleted
	Raw     []byte
	At      time.Time // received
}

// Look returns every place where a message of that Message-ID lies.
func (f *Fake) Look(messageID string) []Sight {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Sight
	for _, m := range f.order {
		if m.envelope.MessageID != messageID {
			continue
		}
		out = append(out, f.sight(m))
	}
	return out
}

// Sight returns where a message lies; false when it is gone.
func (f *Fake) Sight(h Handle) (Sight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mails[h]
	if m == nil {
		return Sight{}, false
	}
	return f.sight(m), true
}

func (f *Fake) sight(m *mail) Sight {
	s := Sight{Folders: f.where(m), Labels: slices.Clone(m.labels), Raw: slices.Clone(m.raw), At: m.received}
	for _, d := range s.Folders {
		if d.Role == "" {
			s.Labels = append(s.Labels, d.ID)
		}
	}
	if f.personality == Graph { // folders are no labels there
		s.Labels = slices.Clone(m.labels)
	}
	if m.read {
		s.Flags = append(s.Flags, `\Seen`)
	}
	if m.deleted {
		s.Flags = append(s.Flags, `\Deleted`)
	}
	return s
}

// Discard flags a message \Deleted without expunging it, as mail programs over IMAP do. It returns false where the service
// knows no such thing.
func (f *Fake) Discard(h Handle) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mails[h]
	if f.personality != IMAP || m == nil {
		return false
	}
	m.deleted = true
	return true
}

// target finds the message that a Target names: by its id, else by Message-ID, in the inbox first.
func (b *mailbox) target(t provider.Target) (*mail, error) {
	f := b.f
	if m := f.byID[t.Item]; m != nil {
		return m, nil
	}
	var found *mail
	for _, m := range f.order {
		if t.MessageID != "" && m.envelope.MessageID == t.MessageID && (found == nil || !f.in(found, provider.RoleInbox)) {
			found = m
		}
	}
	if found == nil {
		return nil, provider.ErrGone
	}
	return found, nil
}

func (f *Fake) in(m *mail, r provider.Role) bool {
	d := f.byRole(r)
	return d != nil && slices.Contains(m.folders, d.ID)
}

// effect runs act, or does not, when the answer is to get lost. between is what happens when only half of it is done.
func (f *Fake) effect(act, between func()) error {
	if len(f.losing) == 0 {
		act()
		return nil
	}
	l := f.losing[0]
	f.losing = f.losing[1:]
	switch {
	case l == LostAfter, l == LostBetween && between == nil:
		act()
	case l == LostBetween:
		between()
	}
	return ErrOutcomeLost
}

// Archive implements provider.Archiver. Facts 1.5: on Gmail it is "messages.modify removeLabelIds [INBOX]"; facts 2.3: on
// Graph a move to the well-known folder archive, and an immutable id stays; facts 3.3: on IMAP a MOVE to \Archive, and the id
// dies.
func (b *mailbox) Archive(ctx context.Context, t provider.Target) (provider.Mutation, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Archive, 5); err != nil { // facts 1.6: messages.modify 5
		return provider.Mutation{}, err
	}
	m, err := b.target(t)
	if err != nil {
		return provider.Mutation{}, err
	}
	inbox := f.byRole(provider.RoleInbox).ID
	already := m.deleted || !f.in(m, provider.RoleInbox)
	if f.personality == Gmail {
		did := provider.Mutation{Already: already, How: "label", From: inbox, Item: m.id}
		if already {
			return did, nil
		}
		return done(did, f.effect(func() { f.displace(m, inbox) }, nil))
	}
	if already {
		did := provider.Mutation{Already: true}
		if archive := f.byRole(provider.RoleArchive).ID; slices.Contains(m.folders, archive) {
			did = provider.Mutation{Already: true, How: "move", From: inbox, To: archive, Item: m.id}
		}
		return did, nil
	}
	return f.move(m, inbox, f.byRole(provider.RoleArchive).ID)
}

// Unarchive implements provider.Archiver: what lies where Archive put it comes back; what its owner has moved since stays.
func (b *mailbox) Unarchive(ctx context.Context, t provider.Target, was provider.Mutation) (provider.Mutation, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Unarchive, 5); err != nil {
		return provider.Mutation{}, err
	}
	nothing := provider.Mutation{Already: true}
	if was == (provider.Mutation{}) || was.Already {
		return nothing, nil
	}
	m, err := b.target(t)
	if err != nil {
		return provider.Mutation{}, err
	}
	if f.in(m, provider.RoleInbox) {
		return nothing, nil
	}
	inbox := f.byRole(provider.RoleInbox).ID
	if f.personality == Gmail {
		if f.in(m, provider.RoleTrash) || f.in(m, provider.RoleJunk) {
			return nothing, nil
		}
		err = f.effect(func() { f.place(m, inbox) }, nil)
		return done(provider.Mutation{How: "label", To: inbox, Item: m.id}, err)
	}
	if !slices.Contains(m.folders, was.To) {
		return nothing, nil
	}
	return f.move(m, was.To, inbox)
}

func done(m provider.Mutation, err error) (provider.Mutation, error) {
	if err != nil {
		return provider.Mutation{}, err
	}
	return m, nil
}

// move is Graph's move, and IMAP's, with or without the MOVE extension.
func (f *Fake) move(m *mail, from, to string) (provider.Mutation, error) {
	did := provider.Mutation{How: "move", From: from, To: to}
	act := func() { f.displace(m, from); f.place(m, to) }
	var between func()
	if f.personality == IMAP && f.noMove {
		// Facts 3.1: without UIDPLUS the EXPUNGE "deletes every \Deleted message in the folder: refuse the fallback".
		if f.noUIDPlus {
			return provider.Mutation{}, fmt.Errorf("providertest: neither MOVE nor UIDPLUS: %w", provider.ErrUnsupported)
		}
		did.How = "copy and expunge"
		if twin := f.twin(m, to); twin != nil {
			act = func() { f.displace(m, from); f.become(m, twin) }
		} else {
			between = func() { f.duplicate(m, to) }
		}
	}
	if err := f.effect(act, between); err != nil {
		return provider.Mutation{}, err
	}
	did.Item = m.id
	if f.personality == IMAP && f.noUIDPlus {
		did.Item = "" // facts 3.3: the new id is told by UIDPLUS
	}
	return did, nil
}

// twin returns another message of the same bytes in a folder.
func (f *Fake) twin(m *mail, folder string) *mail {
	for _, o := range f.order {
		if o != m && bytes.Equal(o.raw, m.raw) && slices.Contains(o.folders, folder) {
			return o
		}
	}
	return nil
}

func (f *Fake) duplicate(m *mail, folder string) *mail {
	c := f.put(m.raw, m.received, folder, "")
	c.labels, c.read, c.deleted, c.err = slices.Clone(m.labels), m.read, m.deleted, m.err
	return c
}

// become lets a message that was expunged live on as its copy, so that its Handle stays.
func (f *Fake) become(m, twin *mail) {
	m.id, m.folders = twin.id, twin.folders
	f.byID[m.id] = m
	delete(f.mails, twin.handle)
	f.order = slices.DeleteFunc(f.order, func(o *mail) bool { return o == twin })
	for _, es := range f.events {
		for i := range es {
			if es[i].mail == twin {
				es[i].mail = m
			}
		}
	}
}

// Label implements provider.Labeler. Gmail has labels, made on demand (facts 1.5); Graph has categories, whose array is
// replaced as a whole (facts 2.3: "read, merge, write"); IMAP has keywords (facts 3.3), or a copy in a folder.
func (b *mailbox) Label(ctx context.Context, t provider.Target, label string) (provider.Mutation, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Label, 5); err != nil {
		return provider.Mutation{}, err
	}
	if label = strings.TrimSpace(label); label == "" {
		return provider.Mutation{}, errors.New("providertest: a label needs a name")
	}
	m, err := b.target(t)
	if err != nil {
		return provider.Mutation{}, err
	}
	switch {
	case f.personality == Gmail:
		f.calls.Units++ // facts 1.6: labels.list 1
		d := f.named(label)
		if d != nil && d.Role != "" { // facts 1.5: "name clash or reserved name -> 409/400"
			return provider.Mutation{}, fmt.Errorf("providertest: the service keeps that name for itself: %w", provider.ErrUnsupported)
		}
		if d == nil {
			f.calls.Units += 5 // facts 1.6: labels.create 5
			d = f.makeFolder(fmt.Sprintf("Label_%d", len(f.folders)), label)
		}
		if slices.Contains(m.folders, d.ID) {
			return provider.Mutation{Already: true, How: "label", To: d.ID, Item: m.id}, nil
		}
		err = f.effect(func() { f.place(m, d.ID) }, nil)
		return done(provider.Mutation{How: "label", To: d.ID, Item: m.id}, err)
	case f.personality == IMAP && f.noKeywords:
		return f.copyLabel(m, label)
	}
	how := "category"
	if f.personality == IMAP {
		// Facts 3.3: keywords are atoms, "no spaces", and case-insensitive.
		how, label = "keyword", strings.ReplaceAll(url.QueryEscape(strings.ToLower(label)), "%", "=")
	}
	if slices.Contains(m.labels, label) {
		return provider.Mutation{Already: true, How: how, To: label, Item: m.id}, nil
	}
	err = f.effect(func() { m.labels = append(m.labels, label); f.touched(m) }, nil)
	return done(provider.Mutation{How: how, To: label, Item: m.id}, err)
}

// copyLabel labels by a copy in a folder of the label's name.
func (f *Fake) copyLabel(m *mail, label string) (provider.Mutation, error) {
	d := f.named(label)
	if d != nil && d.Role != "" {
		// A copy in Trash or Junk is no label.
		label += " (label)"
		d = f.named(label)
	}
	if d == nil {
		d = f.makeFolder(label, label)
	}
	if slices.Contains(m.folders, d.ID) {
		return provider.Mutation{Already: true}, nil
	}
	if c := f.twin(m, d.ID); c != nil {
		return provider.Mutation{Already: true, How: "folder copy", To: d.ID, Item: c.id}, nil
	}
	var c *mail
	if err := f.effect(func() { c = f.duplicate(m, d.ID) }, nil); err != nil {
		return provider.Mutation{}, err
	}
	did := provider.Mutation{How: "folder copy", To: d.ID, Item: c.id}
	if f.noUIDPlus {
		did.Item = ""
	}
	return did, nil
}

func (f *Fake) named(name string) *folder {
	for _, d := range f.folders {
		if strings.EqualFold(d.Name, name) {
			return d
		}
	}
	return nil
}

func (f *Fake) makeFolder(id, name string) *folder {
	d := &folder{Folder: provider.Folder{ID: id, Name: name}, uidValidity: 1, nextUID: 1}
	f.folders = append(f.folders, d)
	return d
}

// touched tells of a change that moved nothing. Facts 2.2: Graph's delta lists updated items; IMAP's keywords are told by
// CONDSTORE only.
func (f *Fake) touched(m *mail) {
	if f.personality == Graph {
		f.emit(event{folder: m.folders[0], id: m.id, mail: m})
	}
}

// Unlabel implements provider.Labeler.
func (b *mailbox) Unlabel(ctx context.Context, t provider.Target, was provider.Mutation) error {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Unlabel, 5); err != nil {
		return err
	}
	switch {
	case was.How == "", was.Already:
		return nil
	case was.How == "folder copy":
		return b.uncopy(t, was)
	}
	m, err := b.target(t)
	if err != nil {
		return err
	}
	if was.How == "label" {
		if !slices.Contains(m.folders, was.To) {
			return nil
		}
		return f.effect(func() { f.displace(m, was.To) }, nil)
	}
	i := slices.Index(m.labels, was.To)
	if i < 0 {
		return nil
	}
	return f.effect(func() { m.labels = slices.Delete(m.labels, i, i+1); f.touched(m) }, nil)
}

// uncopy expunges the copy that was a label, unless it is all that is left of the message.
func (b *mailbox) uncopy(t provider.Target, was provider.Mutation) error {
	f := b.f
	c := f.byID[was.Item]
	if c == nil {
		for _, m := range f.order {
			if t.MessageID != "" && m.envelope.MessageID == t.MessageID && slices.Contains(m.folders, was.To) {
				c = m
			}
		}
	}
	if c == nil || !slices.Contains(c.folders, was.To) {
		_, err := b.target(t)
		return err
	}
	if f.noUIDPlus {
		return fmt.Errorf("providertest: without UIDPLUS no copy can be expunged alone: %w", provider.ErrUnsupported)
	}
	if !slices.ContainsFunc(f.folders, func(d *folder) bool { return d.watched() && f.twin(c, d.ID) != nil }) {
		return fmt.Errorf("providertest: the labelled copy is the only one left: %w", provider.ErrUnsupported)
	}
	return f.effect(func() {
		f.displace(c, was.To)
		delete(f.mails, c.handle)
		f.order = slices.DeleteFunc(f.order, func(o *mail) bool { return o == c })
	}, nil)
}

// FindSent implements provider.SentFiler. Facts 3.3: "UID SEARCH HEADER Message-ID <id> in \Sent".
func (b *imapMailbox) FindSent(ctx context.Context, messageID string) (provider.ItemID, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.FindSent, 1); err != nil {
		return "", err
	}
	for _, m := range f.order {
		if messageID != "" && m.envelope.MessageID == messageID && f.isSent(m) {
			return m.id, nil
		}
	}
	return "", nil
}

// FileSent implements provider.SentFiler. Facts 3.3: "APPEND with \Seen".
func (b *imapMailbox) FileSent(ctx context.Context, raw []byte, at time.Time) (provider.ItemID, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.FileSent, 1); err != nil {
		return "", err
	}
	var m *mail
	err := f.effect(func() { m = f.deliver(raw, at, provider.RoleSent, ""); m.read = true }, nil)
	if err != nil || f.noUIDPlus { // facts 3.3: "APPENDUID only with UIDPLUS"
		return "", err
	}
	return m.id, nil
}
