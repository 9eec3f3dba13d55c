package imap

import (
	"context"
	"errors"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// maxAhead bounds the bytes that are kept of messages read ahead, beside one as long as it may be. Whoever called Prefetch chose by the sizes that
// the server listed, and a server may list what it likes.
const maxAhead = 8 << 20

// Prefetch reads the contents of these messages while nothing else is asked of the mailbox, folder by folder, the open one first.
func (m *Mailbox) Prefetch(ids []provider.ItemID) {
	m.begin(func(ctx context.Context) {
		m.ahead = map[id]*message.Message{}
		room := maxAhead + m.cfg.ContentLimit
		type place struct {
			folder   string
			validity uint32
		}
		wanted := map[place]map[uint32]id{}
		var places []place
		for _, item := range ids {
			i, err := parseID(item)
			if err != nil {
				continue
			}
			p := place{i.folder, i.validity}
			if wanted[p] == nil {
				wanted[p], places = map[uint32]id{}, append(places, p)
			}
			wanted[p][i.uid] = i
		}
		for _, p := range openFirst(m, places, func(p place) string { return p.folder }) {
			// One alone costs no more when it is asked for.
			if len(wanted[p]) == 1 {
				continue
			}
			// An error says nothing of a message: each that isn't there then is read alone, and whatever is wrong with it is found out there. A
			// folder that went is none of the others' trouble. Anything else may be: who waits for a content should not wait for each folder.
			err := m.run(ctx, func(c *imapclient.Client) error { return m.fetchAhead(c, wanted[p], &room) })
			if err != nil && !errors.Is(err, provider.ErrGone) && !skippable(err) {
				return
			}
		}
	})
}

func (m *Mailbox) fetchAhead(c *imapclient.Client, uids map[uint32]id, room *int64) error {
	var set goimap.UIDSet
	for uid, i := range uids {
		if set == nil {
			if err := m.open(c, i); err != nil {
				return err
			}
		}
		set.AddNum(goimap.UID(uid))
	}
	cmd := c.Fetch(set, &goimap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true, BodySection: []*goimap.FetchItemBodySection{m.whole()}})
	var rows []*row
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		r, whole := readRow(msg, m.cfg.ContentLimit)
		// One without its date is the last before the connection ended.
		if _, ok := uids[r.uid]; ok && whole && r.body && !r.date.IsZero() && int64(len(r.header)) <= *room {
			*room -= int64(len(r.header))
			rows = append(rows, r)
		}
	}
	// Understood when the answer is read to its end: what panics over a mail must not leave go-imap's reader waiting for us.
	err := cmd.Close()
	for _, r := range rows {
		m.ahead[uids[r.uid]] = r.message(m.cfg.ContentLimit)
	}
	return err
}
