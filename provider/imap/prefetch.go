package imap

import (
	"context"
	"slices"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// maxAhead bounds the bytes that are kept of messages read ahead, beside one as long as it may be. Whoever called Prefetch chose by the sizes that
// the server listed, and a server may list what it likes.
const maxAhead = 8 << 20

// Prefetch has the contents of these messages read with the first of them that Content is asked for, as far as they lie in its folder.
func (m *Mailbox) Prefetch(ids []provider.ItemID) {
	m.wanted, m.ahead = nil, map[id]*message.Message{}
	for _, item := range ids {
		if i, err := parseID(item); err == nil {
			m.wanted = append(m.wanted, i)
		}
	}
}

// prefetched returns a message that Prefetch named, nil where it has to be read alone: then whatever is wrong with it is found out there.
func (m *Mailbox) prefetched(ctx context.Context, i id) *message.Message {
	if m.ahead[i] == nil && slices.Contains(m.wanted, i) {
		uids := map[uint32]id{}
		var rest []id
		for _, w := range m.wanted {
			if w.folder == i.folder && w.validity == i.validity {
				uids[w.uid] = w
			} else {
				rest = append(rest, w)
			}
		}
		m.wanted = rest
		if len(uids) < 2 {
			return nil
		}
		// An error says nothing of the message that was asked for: what came before it counts.
		m.do(ctx, "reading messages", func(c *imapclient.Client) error { return m.fetchAhead(c, i, uids) }) //nolint:errcheck // as the comment says
	}
	msg := m.ahead[i]
	delete(m.ahead, i)
	return msg
}

func (m *Mailbox) fetchAhead(c *imapclient.Client, first id, uids map[uint32]id) error {
	if err := m.open(c, first); err != nil {
		return err
	}
	var set goimap.UIDSet
	for uid := range uids {
		set.AddNum(goimap.UID(uid))
	}
	room := maxAhead + m.cfg.ContentLimit
	cmd := c.Fetch(set, &goimap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true, BodySection: []*goimap.FetchItemBodySection{m.whole()}})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		r, whole := readRow(msg, m.cfg.ContentLimit)
		// One without its date is the last before the connection ended.
		if asked, ok := uids[r.uid]; ok && whole && r.body && !r.date.IsZero() && int64(len(r.header)) <= room {
			room -= int64(len(r.header))
			m.ahead[asked] = r.message(m.cfg.ContentLimit)
		}
	}
	return cmd.Close()
}
