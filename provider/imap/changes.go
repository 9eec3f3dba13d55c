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

// mark is how far a folder has been read, and how many messages it should hold.
//
// Every message of UID up to Last was listed, or was there at Start. Count is at least the number of those that nobody has been
// told to recount: EXISTS, less what lies above Last, is compared with it, and what is missing went out of the folder. An estimate
// errs upwards only: too high a Count costs a recount in vain, too low a one would lose a deletion.
type mark struct {
	Validity uint32 `json:"v"`
	Last     uint32 `json:"u"`
	// Next and ModSeq are UIDNEXT and HIGHESTMODSEQ of the moment when nothing lay above Last; 0: there was more, or the server
	// doesn't tell.
	Next   uint32 `json:"n,omitempty"`
	ModSeq uint64 `json:"m,omitempty"`
	// Count is nil in cursors of before it was kept: what went since then nobody has noticed, so the folder is recounted once.
	Count *uint32 `json:"c,omitempty"`
	// Part: the folder is listed from its start, and that is not over.
	Part bool `json:"p,omitempty"`
}

// current says whether a folder is as it was: as many messages, and none came. That none came is told by UIDNEXT (RFC 3501,
// 2.3.1.1), and where the server leaves it out by HIGHESTMODSEQ, which each arrival raises (RFC 7162, 3.1.2.1). An expunge need
// not raise it where there is no QRESYNC, and a value that fell says nothing: the number is always compared.
func (mk mark) current(s selection) bool {
	if mk.Validity != s.validity || mk.Count == nil || !s.counted || *mk.Count != s.num {
		return false
	}
	if s.next != 0 {
		return mk.Next == s.next
	}
	return s.modSeq != 0 && mk.ModSeq == s.modSeq
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
	if err := m.settled(ctx); err != nil {
		return nil, err
	}
	m.early, m.slice = nil, nil
	cur := cursor{Folders: map[string]mark{}}
	err := m.do(ctx, "reading the folders", func(c *imapclient.Client) error {
		clear(cur.Folders)
		all, told, err := m.list(c, true)
		if err != nil {
			return err
		}
		folders := m.watched(all)
		states, err := m.states(c, folders, told)
		if err != nil {
			return err
		}
		for _, f := range folders {
			s, ok := states[f.ID]
			if !ok {
				continue // can't be opened: new on the day it can
			}
			last := s.next - 1
			if s.next == 0 || !s.counted { // RFC 2060 servers need not tell UIDNEXT
				if s, err = m.examine(c, f.ID, true); err != nil {
					if skippable(err) {
						continue
					}
					return err
				}
				if last = s.next - 1; s.next == 0 {
					uids, err := m.search(c, s, &goimap.SearchCriteria{}, 0)
					if err != nil {
						return err
					}
					// What arrived in between counts as there: SEARCH names it.
					last, s.num = 0, max(s.num, uint32(len(uids)))
					if len(uids) > 0 {
						last = uids[len(uids)-1]
					}
				}
			}
			cur.Folders[f.ID] = mark{Validity: s.validity, Last: last, Next: s.next, ModSeq: s.modSeq, Count: &s.num}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.selected = selection{} // History begins where this ends: it looks at no folder as it was before
	return cur.encode(), nil
}

// Changes lists new mail of all watched folders, and names those that messages went out of. A folder that appeared, or was
// renumbered, is listed from its start.
func (m *Mailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	if err := m.settled(ctx); err != nil {
		return provider.Page{}, err
	}
	m.early = nil // a folder may turn out to be another than it was when that was read
	var cur cursor
	if err := json.Unmarshal(c, &cur); err != nil || cur.Folders == nil {
		return provider.Page{}, errors.New("imap: this is not a cursor of an IMAP mailbox")
	}
	var folders []provider.Folder
	var states map[string]selection
	err := m.do(ctx, "reading the folders", func(c *imapclient.Client) error {
		all, told, err := m.list(c, true)
		if err != nil {
			return err
		}
		folders = m.watched(all)
		states, err = m.states(c, folders, told)
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
		if mk, known := cur.Folders[f.ID]; known && mk.current(st) {
			m.saw(f, mk)
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
	for _, f := range folders {
		if cur.Folders[f.ID].Part && !page.More { // it can't be opened now
			page.Unfinished = append(page.Unfinished, f.ID)
		}
	}
	sort.Slice(page.Restart, func(i, j int) bool { return page.Restart[i].ID < page.Restart[j].ID })
	page.Next = cur.encode()
	return page, nil
}

// saw notes for Wait how the inbox stood.
func (m *Mailbox) saw(f provider.Folder, mk mark) {
	if f.Role == provider.RoleInbox {
		m.inbox = &mk
	}
}

// folderChanges adds a folder's news to the page and moves its mark.
func (m *Mailbox) folderChanges(ctx context.Context, f provider.Folder, cur *cursor, room int, reconnects *int, page *provider.Page) error {
	var sel selection
	var uids []uint32
	var mk mark
	var old, most uint32
	known, restart := false, false
	err := m.run(ctx, func(c *imapclient.Client) error {
		var err error
		if sel, err = m.examine(c, f.ID, true); err != nil {
			return err
		}
		mk, known = cur.Folders[f.ID]
		// RFC 3501, 2.3.1.1: UIDNEXT never falls while UIDVALIDITY stays; if it did, the folder is another, made within the same second.
		restart = known && mk.Validity != sel.validity
		if known && !restart && sel.next != 0 && (sel.next <= mk.Last || sel.next < mk.Next) {
			above := goimap.UIDSet{{Start: goimap.UID(sel.next), Stop: 0}}
			beyond, err := m.search(c, sel, &goimap.SearchCriteria{UID: []goimap.UIDSet{above}}, sel.next-1)
			if err != nil {
				return err
			}
			if restart = len(beyond) == 0; !restart {
				sel.next = 0 // it has messages above its UIDNEXT: what it tells is worth nothing
			}
		}
		if !known || restart {
			mk = mark{Validity: sel.validity, Count: new(uint32)}
		}
		uids = nil
		now := sel.num
		if sel.num > 0 {
			above := goimap.UIDSet{{Start: goimap.UID(mk.Last + 1), Stop: 0}}
			if uids, err = m.search(c, sel, &goimap.SearchCriteria{UID: []goimap.UIDSet{above}}, mk.Last); err != nil {
				return err
			}
			// Before a command is answered in the folder it may be the one that was open before: go-imap hands out the answer to EXAMINE first.
			if box := c.Mailbox(); box != nil {
				now = box.NumMessages // what the server said of arrivals and removals while it searched is in it
			}
		}
		old, most = remaining(sel, uids, now)
		if sel.next == 0 && mk.Last > 0 && (mk.Count == nil || most < *mk.Count) {
			// Without UIDNEXT, one that came after the folder was opened may have been found: then there are more old ones left than it
			// seems. To be sure they are counted.
			upTo := goimap.UIDSet{{Start: 1, Stop: goimap.UID(mk.Last)}}
			left, err := m.search(c, sel, &goimap.SearchCriteria{UID: []goimap.UIDSet{upTo}}, 0)
			if err != nil {
				return err
			}
			old, most = uint32(len(left)), uint32(len(left))
		}
		return nil
	})
	if err != nil {
		if skippable(err) {
			return nil
		}
		return err
	}
	gone := mk.recount(old, most)
	more := len(uids) > room
	if more {
		uids = uids[:room]
	}
	rows, err := m.fetch(ctx, f.ID, sel.validity, uids, true, reconnects)
	if err != nil && skippable(err) {
		page.More = true // renumbered or removed under our hands: the next call sees it
		return nil
	}
	if err != nil {
		return err
	}
	if restart {
		page.Restart = append(page.Restart, f)
	}
	if gone {
		page.Recount = append(page.Recount, f)
	}
	for _, uid := range uids {
		mk.Last = uid
		// One that was expunged since the search is nobody's: it was never listed, and isn't counted.
		if r := rows[uid]; r != nil {
			page.Items = append(page.Items, r.item(f, sel.validity))
			*mk.Count++
		}
	}
	mk.Next, mk.ModSeq = sel.next, sel.modSeq
	mk.Part = more && (mk.Part || !known || restart)
	if more {
		mk.Next, mk.ModSeq, page.More = 0, 0, true
	}
	m.saw(f, mk)
	cur.Folders[f.ID] = mk
	return nil
}

// remaining tells how many of the messages up to Last are left: at least old by what was said at one moment, at most most by all that
// was said. sel is the folder when it was opened, uids all that a SEARCH found above Last then, now what the server said last of the
// number.
func remaining(sel selection, uids []uint32, now uint32) (old, most uint32) {
	// Of one moment are EXISTS and UIDNEXT of EXAMINE: what the search found at UIDNEXT or above came after. What was expunged
	// before the search is counted as an old one, that is, too high.
	then := len(uids)
	for then > 0 && sel.next != 0 && uids[then-1] >= sel.next {
		then--
	}
	old = uint32(max(int(sel.num)-then, 0))
	// A server that shows a message late makes that too low; what it announced meanwhile is in now.
	return old, max(old, uint32(max(int(now)-len(uids), 0)))
}

// recount compares what is left with Count, which it sets, and says whether some went.
func (mk *mark) recount(old, most uint32) bool {
	if mk.Count == nil || most < *mk.Count {
		mk.Count = &most
		return true
	}
	count := max(old, *mk.Count)
	mk.Count = &count
	return false
}
