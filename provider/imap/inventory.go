package imap

import (
	"context"
	"iter"
	"slices"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// role returns the role of a folder, by what LIST told last when it told of it.
func (m *Mailbox) role(ctx context.Context, name string) (provider.Role, error) {
	of := func(f provider.Folder) bool { return f.ID == name }
	if i := slices.IndexFunc(m.folders, of); i >= 0 {
		return m.folders[i].Role, nil
	}
	all, err := m.watchedNow(ctx)
	if i := slices.IndexFunc(all, of); i >= 0 {
		return all[i].Role, nil
	}
	return "", err
}

// Inventory lists the ids of the scope, folder by folder. Of one folder it asks for that one alone. A message whose date can't be had is
// in every window that the server's search finds it in, as in History.
func (m *Mailbox) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		err := m.settled(ctx)
		var folders []provider.Folder
		if err == nil {
			folders, err = m.scope(ctx, s)
		}
		if err != nil {
			yield(provider.Item{}, err)
			return
		}
		reconnects := 0
		for _, f := range folders {
			// Who works on the items may have had something read ahead since.
			err := m.settled(ctx)
			var all found
			var rows map[uint32]*row
			if err == nil {
				all, rows, err = m.stock(ctx, f, s.Window, &reconnects)
			}
			if err != nil {
				// A folder that is left out would look as if its mail were gone: say so and end.
				yield(provider.Item{}, err)
				return
			}
			for _, uid := range all.uids {
				it := provider.Item{ID: id{all.validity, uid, f.ID}.item(), Folders: []provider.Folder{f}}
				it.Envelope.Sent = f.Role == provider.RoleSent
				if rows != nil {
					r := rows[uid]
					if r == nil || !r.date.IsZero() && !s.Window.Contains(r.date) {
						continue
					}
					it.Envelope.Received = r.date
				}
				if !yield(it, nil) {
					return
				}
			}
		}
	}
}

// scope returns the folders to be listed.
func (m *Mailbox) scope(ctx context.Context, s provider.Scope) ([]provider.Folder, error) {
	if s.Folder == "" {
		return m.watchedNow(ctx)
	}
	var out []provider.Folder
	err := m.do(ctx, "looking for a folder", func(c *imapclient.Client) error {
		f, there, err := m.folder(c, s.Folder)
		if !there {
			// Only a server that refuses to open it as well says that it is gone.
			f = provider.Folder{ID: s.Folder, Name: s.Folder}
		}
		if out = nil; m.watches(f, m.folders) {
			out = []provider.Folder{f}
		}
		return err
	})
	return out, err
}

// stock lists a folder, with dates when there is a window. One that is removed meanwhile is empty.
func (m *Mailbox) stock(ctx context.Context, f provider.Folder, w provider.Window, reconnects *int) (found, map[uint32]*row, error) {
	low, high := bounds(w)
	for try := 0; ; try++ {
		var all found
		err := m.do(ctx, "listing ids", func(c *imapclient.Client) error {
			all = found{}
			sel, err := m.examine(c, f.ID, true)
			if err != nil {
				if !skippable(err) {
					return err
				}
				_, there, lerr := m.folder(c, f.ID)
				switch {
				case lerr != nil:
					return lerr
				case there:
					return err
				}
				return nil
			}
			all.validity = sel.validity
			if sel.num > 0 {
				all.uids, err = m.search(c, sel, criteria(low, high), 0)
			}
			return err
		})
		if err != nil || low == 0 && high == 0 {
			return all, nil, err
		}
		rows, err := m.fetch(ctx, f.ID, all.validity, all.uids, false, reconnects)
		switch {
		case err == nil:
			return all, rows, nil
		case !skippable(err) || try > 2:
			return all, nil, m.wrap(ctx, "listing ids", err)
		}
	}
}
