package imap

import (
	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// search returns the UIDs above a given one that match, ascending.
func (m *Mailbox) search(c *imapclient.Client, sel selection, crit *goimap.SearchCriteria, above uint32) ([]uint32, error) {
	var opts *goimap.SearchOptions
	if m.has(goimap.CapESearch) {
		// RFC 4731: ranges instead of one number a message.
		opts = &goimap.SearchOptions{ReturnAll: true}
	}
	data, err := c.UIDSearch(crit, opts).Wait()
	if err != nil {
		return nil, err
	}
	set, _ := data.All.(goimap.UIDSet)
	var out []uint32
	for _, r := range set {
		// n:* names the last message also when its UID is below n.
		for uid := uint64(max(uint32(r.Start), above+1)); uid <= uint64(r.Stop); uid++ {
			if len(out) > int(sel.num)+1_000_000 {
				return nil, localError("imap: the server found more messages than the folder holds")
			}
			out = append(out, uint32(uid))
		}
	}
	return out, nil
}
