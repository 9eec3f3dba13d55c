package imap

import (
	"context"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// locateLimit bounds how many messages of a folder Locate looks at: a header search finds more than the exact id.
const locateLimit = 50

// Locate searches every folder of the owner that can be opened, junk, trash and drafts included. (A view of all mail, as some
// servers have beside the folders, is left out; on Gmail it stands for the folders.)
//
// "Found nowhere" is read as "deleted". So when nothing was found and a folder could not be searched, Locate returns an error; but
// not for one that this user may never open (NOPERM, CANNOT, NONEXISTENT), where no mail of the mailbox was ever seen.
func (m *Mailbox) Locate(ctx context.Context, messageID string) ([]provider.Item, error) {
	if err := m.settled(ctx); err != nil {
		return nil, err
	}
	messageID = strings.Trim(messageID, "<> ")
	if messageID == "" || strings.ContainsAny(messageID, "\r\n\x00") {
		return nil, ctx.Err()
	}
	var all []provider.Folder
	err := m.do(ctx, "reading the folders", func(c *imapclient.Client) (err error) {
		all, _, err = m.list(c, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	folders := slices.DeleteFunc(slices.Clone(all), func(f provider.Folder) bool {
		switch f.Role {
		case provider.RoleJunk, provider.RoleTrash, provider.RoleDrafts:
			return false
		}
		return !m.watches(f, all)
	})
	type hits struct {
		folder   provider.Folder
		validity uint32
		uids     []uint32
	}
	var found []hits
	var missed error
	refused := func(err error) {
		if !lasting(err) {
			missed = err
		}
	}
	err = m.onFolders(ctx, "searching a message", folders, refused, func(c *imapclient.Client, f provider.Folder, sel selection) error {
		if sel.num == 0 {
			return nil
		}
		crit := &goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}}}
		uids, err := m.search(c, sel, crit, 0)
		if err == nil && len(uids) > 0 {
			found = append(found, hits{f, sel.validity, uids[:min(len(uids), locateLimit)]})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []provider.Item
	reconnects := 0
	for _, h := range found {
		rows, err := m.fetch(ctx, h.folder.ID, h.validity, h.uids, true, &reconnects)
		if err != nil && skippable(err) {
			missed = err // renumbered or removed since it was searched
			continue
		}
		if err != nil {
			return nil, m.wrap(ctx, "searching a message", err)
		}
		for _, uid := range h.uids {
			r := rows[uid]
			switch {
			case r == nil:
			case r.err != nil:
				missed = r.err // it may be the one
			case message.ParseHeader(r.header).MessageID == messageID:
				// The server matches parts of an id too.
				out = append(out, provider.Item{ID: id{h.validity, uid, h.folder.ID}.item(), Folders: []provider.Folder{h.folder}})
			}
		}
	}
	if len(out) == 0 && missed != nil {
		return nil, m.wrap(ctx, "searching a message", missed)
	}
	return out, nil
}
