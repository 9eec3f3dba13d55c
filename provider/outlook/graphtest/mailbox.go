package graphtest

import (
	"encoding/base64"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// mail is a message in a mailbox.
type mail struct {
	immutable string // facts 2.3: survives moves inside the mailbox
	id        string // is another after each move
	moves     int
	version   int // of the changeKey
	folder    *folder
	hidden    bool // sent, and not in Sent Items yet (Options.SendHides)

	createdAt, modified, received, sent time.Time // whole seconds
	messageID                           string    // without angle brackets
	subject                             string
	from, sender                        *recipient
	to, cc, bcc, replyTo                []recipient
	importance, inference               string
	conversation                        string
	index                               []byte // conversationIndex
	draft, read                         bool
	deliveryReceipt, readReceipt        bool
	flag                                map[string]any
	categories                          []string
	headers                             fakemail.Header   // the internet headers that there are; of drafts the x- ones that were given
	refs, inReplyTo                     string            // of drafts and what was sent
	properties                          map[string]string // further extended ones, by id in lower case
	changed                             map[string]uint64 // property -> newest change

	raw    []byte // MIME as it came; nil: made of the rest
	loaded bool   // the body and the attachments are read from raw
	body   body
	files  []*file
}

type recipient struct {
	EmailAddress address `json:"emailAddress"`
}

type address struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

type body struct {
	ContentType string `json:"contentType"`
	Content     string `json:"content"`
}

// file is an attachment.
type file struct {
	id         string
	name, kind string
	inline     bool
	contentID  string
	item       bool // a message: itemAttachment
	data       []byte
	modified   time.Time
}

// event is a change as a delta tells it.
type event struct {
	seq     uint64
	at      time.Time
	key     string // what changed: an immutable id, a folder's id
	kind    string // created, updated, deleted: gone for good, left: moved out
	id      string // the ordinary one it had then
	removed bool   // left or deleted
}

// feed is the changes of a folder, or of the folders.
type feed struct {
	events  []event
	last    map[string]uint64 // key -> newest event
	entered map[string]uint64 // key -> when it came
}

func (f *feed) add(e event) {
	if f.last == nil {
		f.last, f.entered = map[string]uint64{}, map[string]uint64{}
	}
	f.last[e.key] = e.seq
	if n := len(f.events); n > 0 && e.kind == "updated" && f.events[n-1].kind == "updated" && f.events[n-1].key == e.key {
		f.events[n-1] = e // only the newest is told
		return
	}
	if e.kind == "created" {
		f.entered[e.key] = e.seq
	}
	f.events = append(f.events, e)
}

// newMail reads a message.
func newMail(raw []byte, at time.Time) *mail {
	m := &mail{raw: slices.Clone(raw), received: at.UTC().Truncate(time.Second), importance: "normal", inference: "focused", categories: []string{}}
	m.createdAt, m.sent = m.received, m.received
	m.readHeader(fakemail.ParseHeader(m.raw))
	m.flag = map[string]any{"flagStatus": "notFlagged"}
	return m
}

// readHeader takes from a message's header what Exchange takes.
func (m *mail) readHeader(h fakemail.Header) {
	m.headers = h
	m.messageID = strings.Trim(strings.TrimSpace(h.Get("Message-ID")), "<>")
	m.subject = fakemail.DecodeWords(h.Get("Subject"))
	m.from, m.sender = first(recipients(h, "From")), first(recipients(h, "Sender"))
	if m.sender == nil {
		m.sender = m.from
	}
	m.to, m.cc, m.bcc, m.replyTo = recipients(h, "To"), recipients(h, "Cc"), recipients(h, "Bcc"), recipients(h, "Reply-To")
	if t, err := parseDate(h.Get("Date")); err == nil {
		m.sent = t.UTC().Truncate(time.Second)
	}
	m.refs, m.inReplyTo = h.Get("References"), h.Get("In-Reply-To")
	switch v := strings.ToLower(h.Get("Importance")); v {
	case "low", "high":
		m.importance = v
	}
	if b, err := base64.StdEncoding.DecodeString(h.Get("Thread-Index")); err == nil && len(b) >= 22 {
		m.index = b
	}
	if h.Get("List-Unsubscribe") != "" || h.Get("List-Id") != "" {
		m.inference = "other"
	}
}

func first(rs []recipient) *recipient {
	if len(rs) == 0 {
		return nil
	}
	return &rs[0]
}

// put adds a message to a folder. The caller holds Server.mu.
func (u *User) put(m *mail, f *folder) *mail {
	s := u.s
	n := s.next()
	// Facts 2.3: they "contain -, _, =".
	m.immutable = "AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A" + base64.URLEncoding.EncodeToString(s.digest(16, "immutable", u.OID, n)) + "AA_="
	u.rename(m)
	m.modified = s.now().UTC().Truncate(time.Second)
	u.thread(m)
	for _, a := range m.files {
		a.id = s.fileID(m, a)
	}
	u.byID[m.immutable] = m
	if m.messageID != "" {
		u.byHeader[m.messageID] = append(u.byHeader[m.messageID], m)
	}
	u.order = insert(u.order, m)
	u.enter(m, f)
	return m
}

func (u *User) rename(m *mail) {
	delete(u.byID, m.id)
	m.id = "AAMkAGFl" + base64.URLEncoding.EncodeToString(u.s.digest(45, "entry", m.immutable, m.moves)) + "AAA="
	u.byID[m.id] = m
}

// enter puts a message into a folder, where the delta has it created.
func (u *User) enter(m *mail, f *folder) {
	m.folder = f
	f.order = insert(f.order, m)
	if !m.read {
		f.unread++
	}
	m.version++
	m.changed = nil
	u.record(f, m, "created")
}

// leave takes it out.
func (u *User) leave(m *mail, kind string) {
	f := m.folder
	f.order = without(f.order, m)
	if !m.read {
		f.unread--
	}
	if u.s.odd.swallow > 0 {
		u.s.odd.swallow--
		return
	}
	u.record(f, m, kind)
}

// before reports whether the message is newer, or as new with a greater id, than another: listings have it before that one.
func (m *mail) before(at time.Time, id string) bool {
	return m.received.After(at) || m.received.Equal(at) && m.immutable > id
}

func insert(order []*mail, m *mail) []*mail {
	return slices.Insert(order, index(order, m), m)
}

func without(order []*mail, m *mail) []*mail {
	if i := index(order, m); i < len(order) && order[i] == m {
		return slices.Delete(order, i, i+1)
	}
	return order
}

func index(order []*mail, m *mail) int {
	return sort.Search(len(order), func(i int) bool { return !order[i].before(m.received, m.immutable) })
}

// move moves a message. The caller holds Server.mu.
func (u *User) move(m *mail, f *folder) {
	if m.folder == f {
		return
	}
	old, id := m.folder, m.id
	u.leave(m, "left")
	m.moves++
	u.rename(m)
	u.enter(m, f)
	u.notifyMoved(m, old, id)
}

// remove deletes a message for good. The caller holds Server.mu.
func (u *User) remove(m *mail) {
	u.leave(m, "deleted")
	u.order = without(u.order, m)
	delete(u.byID, m.id)
	delete(u.byID, m.immutable)
	u.forgetHeader(m)
	u.pending = slices.DeleteFunc(u.pending, func(p *sending) bool { return p.mail == m })
	u.notify(m, m.folder, "deleted")
}

func (u *User) forgetHeader(m *mail) {
	if same := slices.DeleteFunc(u.byHeader[m.messageID], func(o *mail) bool { return o == m }); len(same) > 0 {
		u.byHeader[m.messageID] = same
	} else {
		delete(u.byHeader, m.messageID)
	}
}

// touch says that properties of a message are others now.
func (u *User) touch(m *mail, properties ...string) {
	m.version++
	m.modified = u.s.now().UTC().Truncate(time.Second)
	if slices.Contains(properties, "isRead") {
		if m.read {
			m.folder.unread--
		} else {
			m.folder.unread++
		}
	}
	u.record(m.folder, m, "updated")
	if m.changed == nil {
		m.changed = map[string]uint64{}
	}
	for _, p := range properties {
		m.changed[p] = u.seq
	}
	u.notify(m, m.folder, "updated")
}

func (u *User) record(f *folder, m *mail, kind string) {
	u.seq++
	f.feed.add(event{seq: u.seq, at: u.s.now(), key: m.immutable, kind: kind, id: m.id, removed: kind == "left" || kind == "deleted"})
	if kind != "updated" {
		u.noteCounts(f)
	}
	if kind == "created" && m.moves == 0 {
		u.notify(m, f, "created")
	}
}

// noteFolder says that a folder is another now.
func (u *User) noteFolder(f *folder, kind string) {
	u.seq++
	u.tree.add(event{seq: u.seq, at: u.s.now(), key: f.id, kind: kind, id: f.id, removed: kind == "deleted"})
}

// noteCounts is for what counts the messages of a folder: that, too, is told as a change of the folder (from memory).
func (u *User) noteCounts(f *folder) {
	if f.known == "" && u.folder(f.id) == nil {
		return // it is going
	}
	u.noteFolder(f, "updated")
}

// thread says which conversation a message belongs to. Facts 2.3: conversationIndex is 22 bytes and five for each reply; conversationId is the
// mailbox's own.
func (u *User) thread(m *mail) {
	if m.conversation != "" {
		return
	}
	for _, id := range slices.Backward(append(fakemail.IDs(m.refs), fakemail.IDs(m.inReplyTo)...)) {
		parents := u.byHeader[id]
		if len(parents) == 0 {
			continue
		}
		m.conversation = parents[0].conversation
		if m.index == nil {
			m.index = append(slices.Clone(parents[0].index), u.s.digest(5, "reply", m.immutable)...)
		}
		return
	}
	if m.index == nil {
		m.index = append([]byte{1}, u.s.digest(21, "index", m.immutable)...)
	}
	m.conversation = "AAQkAGFl" + base64.URLEncoding.EncodeToString(u.s.digest(30, "conversation", u.OID, string(m.index[6:22]))) + "AQ="
}

func (m *mail) changeKey() string {
	return "CQAAABYAAA" + strings.NewReplacer("-", "+", "_", "/").Replace(m.immutable[len(m.immutable)-20:len(m.immutable)-6]) + base64.StdEncoding.EncodeToString([]byte{byte(m.version >> 16), byte(m.version >> 8), byte(m.version)})
}

func (m *mail) etag() string { return `W/"` + m.changeKey() + `"` }
