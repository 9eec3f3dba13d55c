package imap

import (
	"context"
	"encoding/json"
	"errors"
	"sort"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

// cursor is how far each folder has been read.
type cursor struct {
	Folders map[string]mark `json:"f"`
}

// mark: every message of UID up to Last was listed; when UIDNEXT was Next, there was none above.
type mark struct {
	Validity uint32 `json:"v"`
	Last     uint32 `json:"u"`
	Next     uint32 `json:"n,omitempty"`
	ModSeq   uint64 `json:"m,omitempty"` // HIGHESTMODSEQ at that time, 0 without CONDSTORE
}

func (c cursor) encode() provider.Cursor {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // a map of numbers
	}
	return b
}

// Start notes where every folder stands now.
func (m *Mailbox) Start(ctx context.Context) (provider.Cursor, error) {
	cur := cursor{Folders: map[string]mark{}}
	err := m.do(ctx, "reading the folders", func(c *imapclient.Client) error {
		clear(cur.Folders)
		folders, err := m.watched(c)
		if err != nil {
			return err
		}
		states, err := m.states(c, folders)
		if err != nil {
			return err
		}
		for _, f := range folders {
			s, ok := states[f.ID]
			if !ok {
				continue // can't be opened: new on the day it can
			}
			if s.next == 0 { // RFC 2060 servers need not tell UIDNEXT
				if s, err = m.examine(c, f.ID, true); err != nil {
					if skippable(err) {
						continue
					}
					return err
				}
				if s.next == 0 {
					uids, err := search(c, s, &goimap.SearchCriteria{}, 0, 0)
					if err != nil {
						return err
					}
					s.next = 1
					if len(uids) > 0 {
						s.next = uids[len(uids)-1] + 1
					}
				}
			}
			cur.Folders[f.ID] = mark{Validity: s.validity, Last: s.next - 1, Next: s.next, ModSeq: s.modSeq}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return cur.encode(), nil
}

// states asks for the state of many folders in few round trips. Folders that refuse are absent.
func (m *Mailbox) states(c *imapclient.Client, folders []provider.Folder) (map[string]selection, error) {
	opts := &goimap.StatusOptions{UIDNext: true, UIDValidity: true, HighestModSeq: c.Caps().Has(goimap.CapCondStore)}
	if m.selected.name != "" && c.Caps().Has(goimap.CapUnselect) {
		// RFC 9051, 6.3.11: STATUS should not be asked of the open folder.
		m.selected = selection{}
		if err := c.Unselect().Wait(); err != nil && connectionDied(err) {
			return nil, err
		}
	}
	out := map[string]selection{}
	const pipelined = 40
	for len(folders) > 0 {
		n := min(pipelined, len(folders))
		cmds := make([]*imapclient.StatusCommand, n)
		for i, f := range folders[:n] {
			cmds[i] = c.Status(f.ID, opts)
		}
		var failed error
		for i, cmd := range cmds {
			d, err := cmd.Wait()
			switch {
			case err == nil:
				out[folders[i].ID] = selection{validity: d.UIDValidity, next: uint32(d.UIDNext), modSeq: d.HighestModSeq}
			case !skippable(err):
				failed = err
			}
		}
		if failed != nil {
			return nil, failed
		}
		folders = folders[n:]
	}
	return out, nil
}

// Changes lists new mail of all watched folders. A folder that appeared, or was renumbered, is listed from its start.
func (m *Mailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	var cur cursor
	if err := json.Unmarshal(c, &cur); err != nil || cur.Folders == nil {
		return provider.Page{}, errors.New("imap: this is not a cursor of an IMAP mailbox")
	}
	var folders []provider.Folder
	var states map[string]selection
	err := m.do(ctx, "reading the folders", func(c *imapclient.Client) (err error) {
		if folders, err = m.watched(c); err != nil {
			return err
		}
		states, err = m.states(c, folders)
		return err
	})
	if err != nil {
		return provider.Page{}, err
	}
	var page provider.Page
	seen := map[string]bool{}
	for _, f := range folders {
		seen[f.ID] = true
	}
	reconnects := 0
	for _, f := range folders {
		st, ok := states[f.ID]
		if !ok {
			continue
		}
		mk, known := cur.Folders[f.ID]
		if known && mk.Validity == st.validity && mk.Next != 0 && mk.Next == st.next {
			if f.Role == provider.RoleInbox {
				m.inboxNext = st.next
			}
			continue
		}
		room := m.cfg.PageSize - len(page.Items)
		if room <= 0 {
			page.More = true
			continue
		}
		if err := m.folderChanges(ctx, f, &cur, room, &reconnects, &page); err != nil {
			if len(page.Items) == 0 || ctx.Err() != nil {
				return provider.Page{}, m.wrap(ctx, "reading new mail", err)
			}
			// What was read is handed over; the error comes with the next call.
			page.More = true
			break
		}
	}
	for name := range cur.Folders {
		if !seen[name] {
			page.Restart = append(page.Restart, provider.Folder{ID: name, Name: name})
			delete(cur.Folders, name)
		}
	}
	sort.Slice(page.Restart, func(i, j int) bool { return page.Restart[i].ID < page.Restart[j].ID })
	page.Next = cur.encode()
	return page, nil
}

// folderChanges adds a folder's news to the page and moves its mark.
func (m *Mailbox) folderChanges(ctx context.Context, f provider.Folder, cur *cursor, room int, reconnects *int, page *provider.Page) error {
	var sel selection
	var uids []uint32
	var mk mark
	restart := false
	err := m.run(ctx, func(c *imapclient.Client) error {
		var err error
		if sel, err = m.examine(c, f.ID, true); err != nil {
			return err
		}
		var known bool
		mk, known = cur.Folders[f.ID]
		restart = known && mk.Validity != sel.validity
		if !known || restart {
			mk = mark{Validity: sel.validity}
		}
		uids = nil
		if sel.num == 0 {
			return nil
		}
		above := goimap.UIDSet{{Start: goimap.UID(mk.Last + 1), Stop: 0}}
		uids, err = search(c, sel, &goimap.SearchCriteria{UID: []goimap.UIDSet{above}}, mk.Last, room+1)
		return err
	})
	if err != nil {
		if skippable(err) {
			return nil
		}
		return err
	}
	more := len(uids) > room
	if more {
		uids = uids[:room]
	}
	rows, err := m.fetch(ctx, f.ID, sel.validity, uids, true, reconnects)
	if errors.Is(err, errStale) {
		page.More = true // renumbered under our hands: the next call sees it
		return nil
	}
	if err != nil {
		return err
	}
	if restart {
		page.Restart = append(page.Restart, f)
	}
	for _, uid := range uids {
		mk.Last = uid
		if r := rows[uid]; r != nil {
			page.Items = append(page.Items, r.item(f, sel.validity))
		}
	}
	if more {
		mk.Next, page.More = 0, true
	} else {
		mk.Next, mk.ModSeq = sel.next, sel.modSeq
		if f.Role == provider.RoleInbox {
			m.inboxNext = sel.next
		}
	}
	cur.Folders[f.ID] = mk
	return nil
}
