package imap

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// unsupported says why a change can't be made, or not safely.
func unsupported(why string) error { return fmt.Errorf("imap: %s: %w", why, provider.ErrUnsupported) }

// parseTarget refuses an id that is none; no id at all is fine where the Message-ID is known.
func parseTarget(t provider.Target) (id, error) {
	if t.Item == "" {
		return id{}, nil
	}
	return parseID(t.Item)
}

// stat returns a message as it lies now: flags, size, header. ErrGone when the id names nothing.
func (m *Mailbox) stat(c *imapclient.Client, i id) (*row, error) {
	if i.uid == 0 {
		return nil, provider.ErrGone
	}
	m.selected = selection{} // what was there when the folder was opened is not asked for
	r, err := m.section(c, i, &goimap.FetchItemBodySection{Specifier: goimap.PartSpecifierHeader, Peek: true}, headerLimit)
	if err == nil && !r.body {
		return nil, localError("imap: the server lists the message and does not hand it out")
	}
	return r, err
}

// find returns where the message of a target lies: by its id, else by Message-ID in the inbox, then in the other folders. Of
// several with that Message-ID it is the one that came last into the folder.
func (m *Mailbox) find(c *imapclient.Client, t *tree, i id, messageID string, want func(*row) bool) (id, *row, error) {
	r, err := m.stat(c, i)
	if err == nil || !errors.Is(err, provider.ErrGone) {
		return i, r, err
	}
	var at id
	var seen *row
	for _, f := range t.folders {
		validity, rows, err := m.withMessageID(c, f.ID, messageID)
		if err != nil {
			return id{}, nil, err
		}
		for _, r := range slices.Backward(rows) {
			if seen == nil || want != nil && want(r) {
				at, seen = id{validity, r.uid, f.ID}, r
			}
			if want == nil || want(r) {
				return at, seen, nil
			}
		}
	}
	if seen == nil {
		return id{}, nil, provider.ErrGone
	}
	return at, seen, nil
}

// withMessageID returns the messages of a folder with exactly that Message-ID, in order of UID. A folder that can't be opened
// has none.
func (m *Mailbox) withMessageID(c *imapclient.Client, folder, messageID string) (validity uint32, rows []*row, err error) {
	messageID = strings.Trim(messageID, "<> ")
	if messageID == "" || strings.ContainsAny(messageID, "\r\n\x00") {
		return 0, nil, nil
	}
	crit := &goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}}}
	// The server matches parts of an id too.
	return m.matching(c, folder, crit, func(r *row) bool { return message.ParseHeader(r.header).MessageID == messageID })
}

// matching returns the messages of a folder that the server finds and is says yes to.
func (m *Mailbox) matching(c *imapclient.Client, folder string, crit *goimap.SearchCriteria,
	is func(*row) bool) (validity uint32, rows []*row, err error) {
	sel, err := m.examine(c, folder, true)
	if err != nil && skippable(err) {
		return 0, nil, nil
	}
	if err != nil || sel.num == 0 {
		return sel.validity, nil, err
	}
	uids, err := m.search(c, sel, crit, 0)
	if err != nil || len(uids) == 0 {
		return sel.validity, nil, err
	}
	uids = uids[max(0, len(uids)-locateLimit):] // those that came last
	cmd := c.Fetch(uidSet(uids), &goimap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*goimap.FetchItemBodySection{{Specifier: goimap.PartSpecifierHeader, Peek: true}}})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		if r, whole := readRow(msg, headerLimit); whole && r.body && slices.Contains(uids, r.uid) {
			rows = append(rows, r)
		}
	}
	err = cmd.Close() // before they are understood: as in prefetch
	rows = slices.DeleteFunc(rows, func(r *row) bool { return !is(r) })
	slices.SortFunc(rows, func(a, b *row) int { return int(a.uid) - int(b.uid) })
	return sel.validity, rows, err
}

// twin returns a copy of a message in a folder, nil when there is none: the same header to the byte, the same size.
// Message-IDs are reused, and a mail must not pass for the copy of another: where in doubt there is none, and a second copy
// is made. One that is flagged \Deleted does not count: it is about to go.
func (m *Mailbox) twin(c *imapclient.Client, folder string, of *row) (id, *row, error) {
	crit := &goimap.SearchCriteria{Larger: of.size - 1, Smaller: of.size + 1, NotFlag: []goimap.Flag{goimap.FlagDeleted}}
	if mid := message.ParseHeader(of.header).MessageID; mid != "" && !strings.ContainsAny(mid, "\r\n\x00") {
		crit.Header = []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: mid}}
	}
	validity, rows, err := m.matching(c, folder, crit, func(r *row) bool {
		return r.size == of.size && bytes.Equal(r.header, of.header) && !r.has(goimap.FlagDeleted)
	})
	if err != nil || len(rows) == 0 {
		return id{}, nil, err
	}
	last := rows[len(rows)-1]
	return id{validity, last.uid, folder}, last, nil
}

func (r *row) has(flag goimap.Flag) bool {
	return slices.ContainsFunc(r.flags, func(f goimap.Flag) bool { return strings.EqualFold(string(f), string(flag)) })
}

// change opens the folder of a message for writing, runs f, and leaves the folder again, so that reading goes on with EXAMINE.
func (m *Mailbox) change(c *imapclient.Client, i id, f func(*goimap.SelectData) error) error {
	m.selected = selection{}
	d, err := c.Select(i.folder, nil).Wait()
	if err != nil {
		return err
	}
	if d.UIDValidity == i.validity {
		err = f(d)
	} else {
		err = errStale
	}
	// RFC 3501, 6.4.2: CLOSE would expunge what others flagged; UNSELECT (RFC 3691) and another EXAMINE do not. What was done
	// is done: an error here is met by the next command.
	switch {
	case err != nil && connectionDied(err):
	case m.has(goimap.CapUnselect):
		c.Unselect().Wait() //nolint:errcheck // as said above
	default:
		m.examine(c, i.folder, true) //nolint:errcheck // as said above
	}
	return err
}

// flag adds flags to one message, or takes them off.
func flag(c *imapclient.Client, uid uint32, op goimap.StoreFlagsOp, flags ...goimap.Flag) error {
	return c.Store(goimap.UIDSetNum(goimap.UID(uid)), &goimap.StoreFlags{Op: op, Silent: true, Flags: flags}, nil).Close()
}

// expunge removes exactly one message; the folder is open for writing. The caller has seen to it that UIDPLUS is there: a plain
// EXPUNGE would take along whatever its owner has flagged \Deleted (facts 3.1).
func expunge(c *imapclient.Client, uid uint32) error {
	if err := flag(c, uid, goimap.StoreFlagsAdd, goimap.FlagDeleted); err != nil {
		return err
	}
	set := goimap.UIDSetNum(goimap.UID(uid))
	err := c.UIDExpunge(set).Close()
	if err == nil {
		// RFC 4314, 4: without the right to it \Deleted may be left out in silence, and then nothing is expunged.
		var left *goimap.SearchData
		if left, err = c.UIDSearch(&goimap.SearchCriteria{UID: []goimap.UIDSet{set}}, nil).Wait(); err == nil && len(left.AllUIDs()) > 0 {
			err = unsupported("the server keeps what was to be removed")
		}
	}
	if err != nil && !connectionDied(err) {
		flag(c, uid, goimap.StoreFlagsDel, goimap.FlagDeleted) //nolint:errcheck // the refusal is what matters
	}
	return err
}

// copied is the id in the new folder as COPYUID tells it, the zero id when it does not.
func copied(folder string, validity uint32, uids goimap.NumSet) id {
	if set, ok := uids.(goimap.UIDSet); ok && validity != 0 {
		if nums, ok := set.Nums(); ok && len(nums) == 1 {
			return id{validity, uint32(nums[0]), folder}
		}
	}
	return id{}
}

// known is the ItemID of an id, "" for the zero id.
func (i id) known() provider.ItemID {
	if i.uid == 0 {
		return ""
	}
	return i.item()
}
