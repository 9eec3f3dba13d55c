package gmail

import (
	"context"
	"slices"
	"strings"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// System labels that say where a message lies (G-label).
const (
	inboxLabel = "INBOX"
	sentLabel  = "SENT"
	draftLabel = "DRAFT"
	spamLabel  = "SPAM"
	trashLabel = "TRASH"
	chatLabel  = "CHAT"
)

var roles = map[string]provider.Role{
	inboxLabel: provider.RoleInbox, sentLabel: provider.RoleSent, draftLabel: provider.RoleDrafts, spamLabel: provider.RoleJunk, trashLabel: provider.RoleTrash,
}

// isFolder reports whether a label is a place. System labels are in capitals: UNREAD, STARRED, CATEGORY_PROMOTIONS, YELLOW_STAR; they say how a message is.
func isFolder(id string) bool {
	return roles[id] != "" || strings.ContainsFunc(id, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') })
}

// lies are the labels that say where a message lies: in the trash or in junk it lies nowhere else, whatever labels it keeps. (Whether INBOX is one of them
// is not known.)
func lies(ids []string) []string {
	for _, out := range []string{trashLabel, spamLabel} {
		if slices.Contains(ids, out) {
			return []string{out}
		}
	}
	return ids
}

// labels are the mailbox's, as they were read last.
type labels struct {
	all   []*gapi.Label
	asked map[string]bool // ids that were looked for, and are none
}

// loadLabels reads the labels, once but for fresh.
func (m *Mailbox) loadLabels(ctx context.Context, l lane, fresh bool) error {
	if m.labels != nil && !fresh {
		return nil
	}
	var r *gapi.ListLabelsResponse
	if err := m.read(ctx, l, labelsList, func(ctx context.Context) (err error) {
		r, err = m.api.Users.Labels.List("me").Context(ctx).Do()
		if err == nil && len(r.Labels) == 0 { // Gmail's own are always there
			err = errEmpty
		}
		return err
	}); err != nil {
		return err
	}
	asked := map[string]bool{}
	if m.labels != nil {
		asked = m.labels.asked
	}
	m.labels = &labels{slices.DeleteFunc(r.Labels, func(l *gapi.Label) bool { return l == nil }), asked}
	return nil
}

// folder is the folder that a label is.
func (m *Mailbox) folder(ctx context.Context, l lane, id string) (provider.Folder, error) {
	f := provider.Folder{ID: id, Name: id, Role: roles[id]}
	if f.Role != "" {
		return f, nil
	}
	for fresh := false; ; fresh = true {
		if err := m.loadLabels(ctx, l, fresh); err != nil {
			return f, err
		}
		for _, l := range m.labels.all {
			if l.Id == id {
				f.Name = l.Name
				return f, nil
			}
		}
		if fresh || m.labels.asked[id] {
			m.labels.asked[id] = true // it was deleted since
			return f, nil
		}
	}
}

// folders are those that a message's labels are.
func (m *Mailbox) folders(ctx context.Context, l lane, ids []string) ([]provider.Folder, error) {
	var out []provider.Folder
	for _, id := range ids {
		if !isFolder(id) {
			continue
		}
		f, err := m.folder(ctx, l, id)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// places are all labels that are folders.
func (m *Mailbox) places(ctx context.Context, l lane) ([]provider.Folder, error) {
	if err := m.loadLabels(ctx, l, true); err != nil {
		return nil, err
	}
	var out []provider.Folder
	for _, id := range []string{inboxLabel, sentLabel, draftLabel, spamLabel, trashLabel} {
		out = append(out, provider.Folder{ID: id, Name: id, Role: roles[id]})
	}
	for _, l := range m.labels.all {
		if isFolder(l.Id) && roles[l.Id] == "" {
			out = append(out, provider.Folder{ID: l.Id, Name: l.Name})
		}
	}
	return out, nil
}

// watched reports whether mail in a folder is listed: in all but drafts, junk and trash.
func watched(f provider.Folder) bool {
	return f.Role != provider.RoleDrafts && f.Role != provider.RoleJunk && f.Role != provider.RoleTrash
}
