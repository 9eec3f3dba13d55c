package gmailtest

import (
	"slices"
	"sort"
	"strconv"
	"time"

	"google.golang.org/api/gmail/v1"
)

// what happened to a message, as historyTypes names it (facts 1.4).
const (
	added      = "messageAdded"
	deleted    = "messageDeleted"
	labelled   = "labelAdded"
	unlabelled = "labelRemoved"
)

// event is a history record.
type event struct {
	id     uint64
	at     time.Time
	what   string
	mail   *mail
	labels []string // that came or went
	all    []string // that the message had then
}

// record writes history. Facts 1.4: ids "increase but are not contiguous". The caller holds Server.mu.
func (u *User) record(what string, m *mail, labels []string) {
	u.last += 1 + u.last%7*11
	m.historyID = u.last
	u.history = append(u.history, event{u.last, u.s.now(), what, m, labels, slices.Clone(m.labels)})
	u.notify(m, labels)
}

// ExpireHistory forgets all history up to now: a startHistoryId of before is answered 404 (facts 1.4).
func (u *User) ExpireHistory() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	// What was read up to the newest change is behind as well: time has gone on at the service.
	u.last += 1 + u.last%7*11
	u.expired, u.history = u.last, nil
}

// listHistory is users.history.list.
func (c *call) listHistory() (any, *apiError) {
	u := c.user
	most, e := c.number("maxResults", 100, 500) // facts 1.4: "default 100, max 500"
	if e != nil {
		return nil, e
	}
	v := c.query.Get("startHistoryId")
	start, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return nil, invalid("Missing/invalid startHistoryId")
	}
	if life := c.s.opts.HistoryLife; life > 0 {
		n := sort.Search(len(u.history), func(i int) bool { return c.s.now().Sub(u.history[i].at) < life })
		if n > 0 {
			u.expired, u.history = u.history[n-1].id, u.history[n:]
		}
	}
	if start == 0 || start < u.expired || start > u.last {
		return nil, notFound() // facts 1.4: "Too old or invalid startHistoryId -> HTTP 404"; "startHistoryId=0 is also 404"
	}
	after := start
	pos, e := c.position(1)
	if e != nil {
		return nil, e
	}
	if pos != nil {
		after, _ = strconv.ParseUint(pos[0], 10, 64)
		if after < u.expired {
			return nil, notFound()
		}
	}
	types := c.query["historyTypes"]
	for _, t := range types {
		if !slices.Contains([]string{added, deleted, labelled, unlabelled}, t) {
			return nil, invalid("Invalid value at 'history_types'")
		}
	}
	label := c.query.Get("labelId")
	// Facts 1.4: the historyId of the answer to the last page is what is to be kept.
	out := &gmail.ListHistoryResponse{HistoryId: u.last}
	i := sort.Search(len(u.history), func(i int) bool { return u.history[i].id > after }) // facts 1.4: "records AFTER startHistoryId"
	for ; i < len(u.history); i++ {
		ev := u.history[i]
		if len(types) > 0 && !slices.Contains(types, ev.what) {
			continue
		}
		if label != "" && !slices.Contains(ev.all, label) && !slices.Contains(ev.labels, label) {
			continue
		}
		if len(out.History) == most {
			out.NextPageToken = c.pageToken(out.History[most-1].Id)
			break
		}
		out.History = append(out.History, ev.record())
	}
	return out, nil
}

// record writes an event. Facts 1.4: "messages[] duplicates the typed arrays", items carry ids, "labelIds in typed entries" (those of then:
// nobody who reads them is to take them for those of now).
func (ev *event) record() *gmail.History {
	h := &gmail.History{Id: ev.id, Messages: []*gmail.Message{{Id: ev.mail.id, ThreadId: ev.mail.thread}}}
	m := &gmail.Message{Id: ev.mail.id, ThreadId: ev.mail.thread, LabelIds: ev.all}
	switch ev.what {
	case added:
		h.MessagesAdded = []*gmail.HistoryMessageAdded{{Message: m}}
	case deleted:
		h.MessagesDeleted = []*gmail.HistoryMessageDeleted{{Message: m}}
	case labelled:
		h.LabelsAdded = []*gmail.HistoryLabelAdded{{Message: m, LabelIds: ev.labels}}
	case unlabelled:
		h.LabelsRemoved = []*gmail.HistoryLabelRemoved{{Message: m, LabelIds: ev.labels}}
	}
	return h
}
