package providertest

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Personality is the kind of service a Fake plays.
type Personality string

const (
	// IMAP: an id is folder, UIDVALIDITY and UID and dies on a move; a listing shows the whole header (facts 3.3).
	IMAP Personality = "imap"
	// Gmail: one lasting id a message, with labels; pages hold ids only; the history expires as a whole (facts 1.4, 1.5).
	Gmail Personality = "gmail"
	// Graph: lasting ids, a delta for each folder that expires alone, partial envelopes, empty and repeated
	// entries (facts 2.2, 2.3).
	Graph Personality = "outlook"
)

// Handle names a message at the service behind a mailbox. Unlike an ItemID it survives every move.
type Handle string

// ErrCut is what a call returns when the connection was cut.
var ErrCut = errors.New("providertest: connection cut")

// Fake is a mail service with one mailbox, in memory. Safe for concurrent use. Make it with NewFake.
type Fake struct {
	personality Personality
	profile     provider.Profile
	now         func() time.Time

	mu       sync.Mutex // guards everything below
	parser   message.Parser
	folders  []*folder
	mails    map[Handle]*mail
	byID     map[provider.ItemID]*mail
	order    []*mail            // newest first
	events   map[string][]event // by stream, in order of seq
	gens     map[string]int     // by stream: raised when its cursors expire
	seq      uint64
	serial   uint64
	news     *bell // the next
	drafts   map[string]draft
	released map[string]provider.ItemID // by draft: what was sent of it
	sent     []Delivery
	lose     []Loss // answers of releases that get lost
	losing   []Loss // the same for mutations
	calls    Calls
	pageSize int

	failures  []error
	unlocated []error   // what Locate returns next
	throttled time.Time // calls before this are refused
	revoked   bool
	hidden    []*mail // by Hide
	hiddenID  map[provider.ItemID]*mail
	cutAfter  int // calls left before the connection is cut, -1: never
	epoch     int // raised by a cut: mailboxes opened before are dead
	repeat    int
	reorder   bool

	refuse                        int // sign-ins left to refuse
	noKeywords, noUIDPlus, noMove bool
	noSentCopy, noIdle            bool
}

type folder struct {
	provider.Folder
	uidValidity uint32
	nextUID     uint32
}

// watched says whether mail in the folder is listed (design 5: all folders but junk, trash and drafts).
func (f *folder) watched() bool {
	return f.Role != provider.RoleJunk && f.Role != provider.RoleTrash && f.Role != provider.RoleDrafts
}

type mail struct {
	handle   Handle
	serial   uint64
	raw      []byte
	received time.Time
	id       provider.ItemID
	folders  []string // exactly one, but for Gmail, where they are labels
	thread   string
	envelope message.Envelope
	labels   []string // IMAP's keywords, Graph's categories
	read     bool
	deleted  bool // IMAP: flagged \Deleted and not expunged
	err      error
}

type event struct {
	seq    uint64
	folder string
	id     provider.ItemID
	mail   *mail
	left   bool
}

// Calls counts what was asked of a Fake, refused calls included. Units is what the calls cost: on Gmail its quota
// units (facts 1.6), elsewhere one a call.
type Calls struct {
	Open, Profile, Start, Changes, History, Content, Attachment, Locate, Inventory, Wait int
	Search                                                                               int
	Stage, Release, Lookup                                                               int
	Archive, Unarchive, Label, Unlabel, FindSent, FileSent                               int
	Units                                                                                int
}

// NewFake returns an empty mailbox. A nil now is time.Now.
func NewFake(p Personality, profile provider.Profile, now func() time.Time) *Fake {
	if now == nil {
		now = time.Now
	}
	f := &Fake{
		personality: p, profile: profile, now: now,
		mails: map[Handle]*mail{}, byID: map[provider.ItemID]*mail{}, events: map[string][]event{},
		gens: map[string]int{}, news: newBell(), drafts: map[string]draft{}, released: map[string]provider.ItemID{},
		pageSize: 50, cutAfter: -1,
	}
	for _, n := range folderNames(p) {
		f.folders = append(f.folders, &folder{Folder: n, uidValidity: 1, nextUID: 1})
	}
	return f
}

func folderNames(p Personality) []provider.Folder {
	switch p {
	case Gmail: // labels; archived mail has none (facts 1.4: "Archive = labelRemoved INBOX")
		return []provider.Folder{
			{ID: "INBOX", Name: "INBOX", Role: provider.RoleInbox}, {ID: "SENT", Name: "SENT", Role: provider.RoleSent},
			{ID: "DRAFT", Name: "DRAFT", Role: provider.RoleDrafts}, {ID: "SPAM", Name: "SPAM", Role: provider.RoleJunk},
			{ID: "TRASH", Name: "TRASH", Role: provider.RoleTrash}, {ID: "Label_1", Name: "Customers"},
		}
	case Graph: // facts 2.3: folder ids are constant, names are well known
		return []provider.Folder{
			{ID: "AQMkinbox=", Name: "Inbox", Role: provider.RoleInbox}, {ID: "AQMksentitems=", Name: "Sent Items", Role: provider.RoleSent},
			{ID: "AQMkarchive=", Name: "Archive", Role: provider.RoleArchive}, {ID: "AQMkdrafts=", Name: "Drafts", Role: provider.RoleDrafts},
			{ID: "AQMkjunkemail=", Name: "Junk Email", Role: provider.RoleJunk}, {ID: "AQMkdeleteditems=", Name: "Deleted Items", Role: provider.RoleTrash},
			{ID: "AQMkcustomers=", Name: "Customers"},
		}
	default: // facts 3.3: roles by SPECIAL-USE
		return []provider.Folder{
			{ID: "INBOX", Name: "INBOX", Role: provider.RoleInbox}, {ID: "Sent", Name: "Sent", Role: provider.RoleSent},
			{ID: "Archive", Name: "Archive", Role: provider.RoleArchive}, {ID: "Drafts", Name: "Drafts", Role: provider.RoleDrafts},
			{ID: "Junk", Name: "Junk", Role: provider.RoleJunk}, {ID: "Trash", Name: "Trash", Role: provider.RoleTrash},
			{ID: "Customers", Name: "Customers"},
		}
	}
}

// byRole returns the folder of a role, nil where the service has none.
func (f *Fake) byRole(r provider.Role) *folder {
	for _, d := range f.folders {
		if d.Role == r {
			return d
		}
	}
	return nil
}

func (f *Fake) folder(id string) *folder {
	for _, d := range f.folders {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// stream is what has a cursor of its own. Facts 1.4: Gmail has one history. Facts 2.2: Graph "no mailbox-wide message
// delta". Facts 3.3: IMAP counts UIDs by mailbox.
func (f *Fake) stream(folder string) string {
	if f.personality == Gmail {
		return ""
	}
	return folder
}

func (f *Fake) streams() []string {
	if f.personality == Gmail {
		return []string{""}
	}
	var ss []string
	for _, d := range f.folders {
		if d.watched() {
			ss = append(ss, d.ID)
		}
	}
	return ss
}

// Deliver puts a message into the folder of a role (Gmail: gives it that label; RoleArchive and RoleAll are no label)
// and returns what names it from then on. An empty role is the folder "Customers".
func (f *Fake) Deliver(raw []byte, at time.Time, role provider.Role) Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deliver(raw, at, role, "").handle
}

func (f *Fake) deliver(raw []byte, at time.Time, role provider.Role, id provider.ItemID) *mail {
	return f.put(raw, at, f.target(role), id)
}

// put makes a message in the folder of that id.
func (f *Fake) put(raw []byte, at time.Time, folder string, id provider.ItemID) *mail {
	f.serial++
	m := &mail{
		handle: Handle(fmt.Sprintf("mail-%d", f.serial)), serial: f.serial, raw: slices.Clone(raw), received: at,
		envelope: f.parser.ParseHeader(raw),
	}
	switch {
	case id != "":
		m.id = id
	case f.personality == Gmail:
		m.id = provider.ItemID(fmt.Sprintf("18c%013x", f.serial)) // facts 1.5: immutable per mailbox
	case f.personality == Graph:
		m.id = provider.ItemID(fmt.Sprintf("AAkALg-%08d_AAA=", f.serial)) // facts 2.3: immutable ids hold "-", "_", "="
	}
	m.thread = f.threadOf(m)
	f.mails[m.handle] = m
	if m.id != "" {
		f.byID[m.id] = m
	}
	i := sort.Search(len(f.order), func(i int) bool { return f.order[i].received.Before(at) || f.order[i].received.Equal(at) })
	f.order = slices.Insert(f.order, i, m)
	f.place(m, folder)
	return m
}

// target is the folder id for a role, "" where Gmail has no label for it.
func (f *Fake) target(role provider.Role) string {
	if d := f.byRole(role); d != nil {
		return d.ID
	}
	if f.personality == Gmail {
		return ""
	}
	return f.byRole(provider.RoleArchive).ID
}

// threadOf follows References as services do; IMAP has no thread id. Facts 2.3: conversationId is mailbox-local.
func (f *Fake) threadOf(m *mail) string {
	if f.personality == IMAP {
		return ""
	}
	parents := append(slices.Clone(m.envelope.References), m.envelope.InReplyTo...)
	for _, o := range f.order {
		if len(parents) == 0 {
			break
		}
		if o.envelope.MessageID != "" && slices.Contains(parents, o.envelope.MessageID) {
			return o.thread
		}
	}
	return "thread-" + string(m.id)
}

func (f *Fake) place(m *mail, id string) {
	if d := f.folder(id); d != nil {
		m.folders = append(m.folders, id)
		if f.personality == IMAP {
			// Facts 3.3: "Identity of a message = (mailbox name, UIDVALIDITY, UID)".
			m.id = provider.ItemID(fmt.Sprintf("%s:%d:%d", d.ID, d.uidValidity, d.nextUID))
			d.nextUID++
			f.byID[m.id] = m
		}
	}
	f.emit(event{folder: id, id: m.id, mail: m})
}

func (f *Fake) displace(m *mail, id string) {
	m.folders = slices.DeleteFunc(m.folders, func(s string) bool { return s == id })
	f.emit(event{folder: id, id: m.id, mail: m, left: true})
	if f.personality == IMAP {
		delete(f.byID, m.id)
		m.id = ""
	}
}

func (f *Fake) emit(e event) {
	f.seq++
	e.seq = f.seq
	s := f.stream(e.folder)
	f.events[s] = append(f.events[s], e)
	f.ring(nil)
}

// Move takes a message out of every folder it lies in and puts it into the folder of a role. Moving what is gone does
// nothing.
func (f *Fake) Move(h Handle, to provider.Role) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mails[h]
	if m == nil {
		return
	}
	for _, id := range slices.Clone(m.folders) {
		f.displace(m, id)
	}
	f.place(m, f.target(to))
}

// Label adds or removes the label of a role on Gmail, where a message has one id and many labels (facts 1.5). On the
// other services it does nothing.
func (f *Fake) Label(h Handle, role provider.Role, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, d := f.mails[h], f.byRole(role)
	if f.personality != Gmail || m == nil || d == nil || slices.Contains(m.folders, d.ID) == on {
		return
	}
	if on {
		f.place(m, d.ID)
		return
	}
	f.displace(m, d.ID)
}

// Delete removes a message for good.
func (f *Fake) Delete(h Handle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mails[h]
	if m == nil {
		return
	}
	delete(f.mails, h)
	delete(f.byID, m.id)
	f.order = slices.DeleteFunc(f.order, func(o *mail) bool { return o == m })
	if f.personality == Gmail {
		// Facts 1.4: "messageDeleted = permanently deleted"; it is not told label by label.
		m.folders = nil
		f.emit(event{id: m.id, mail: m, left: true})
		return
	}
	for _, id := range slices.Clone(m.folders) {
		f.displace(m, id)
	}
}

// ItemID returns the id by which the mailbox knows the message now, "" when it is gone.
func (f *Fake) ItemID(h Handle) provider.ItemID {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mails[h]; m != nil {
		return m.id
	}
	return ""
}

// Handles names every message that there is, in the order in which they came.
func (f *Fake) Handles() []Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	ms := slices.Clone(f.order)
	slices.SortFunc(ms, func(a, b *mail) int { return int(a.serial) - int(b.serial) })
	var hs []Handle
	for _, m := range ms {
		hs = append(hs, m.handle)
	}
	return hs
}

// Len returns the number of messages, in whatever folder.
func (f *Fake) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mails)
}
