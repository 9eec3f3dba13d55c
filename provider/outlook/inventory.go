package outlook

import (
	"context"
	"errors"
	"iter"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// Inventory implements provider.Mailbox, by the time of receipt like History.
func (m *Mailbox) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		if err := m.inventory(ctx, s, yield); err != nil {
			yield(provider.Item{}, err)
		}
	}
}

func (m *Mailbox) inventory(ctx context.Context, s provider.Scope, yield func(provider.Item, error) bool) error {
	q := listing{window: s.Window, folder: s.Folder, fields: idFields}
	if s.Folder != "" {
		p, err := m.folderBy(ctx, quota.Past, s.Folder)
		if errors.Is(err, provider.ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		m.known.tree.set(p)
		if _, ok, err := m.watchedIn(ctx, quota.Past, p.ID); err != nil || !ok {
			return err
		}
	}
	var pos position
	for !pos.Done {
		ms, err := m.onward(ctx, quota.Past, q, &pos)
		if err != nil {
			if s.Folder != "" && errors.Is(err, provider.ErrGone) {
				return nil // it was deleted meanwhile
			}
			return err
		}
		for _, x := range ms {
			if !s.Window.Contains(x.received()) {
				continue
			}
			f, ok, err := m.watchedIn(ctx, quota.Past, x.folder())
			if err != nil {
				return err
			}
			if !ok || m.writing(x, f.Role) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			it := provider.Item{ID: x.id(), Folders: []provider.Folder{f}}
			it.Envelope.Received, it.Envelope.Thread, it.Envelope.Sent = x.received(), str(x.GetConversationId()), f.Role == provider.RoleSent
			if !yield(it, nil) {
				return nil
			}
		}
	}
	return nil
}
