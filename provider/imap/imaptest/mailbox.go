package imaptest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

type handle = providertest.Handle

// usualFolders are those of providertest.Fake.
var usualFolders = []struct {
	name string
	role provider.Role
	attr goimap.MailboxAttr
}{
	{"INBOX", provider.RoleInbox, ""}, {"Sent", provider.RoleSent, goimap.MailboxAttrSent},
	{"Archive", provider.RoleArchive, goimap.MailboxAttrArchive}, {"Drafts", provider.RoleDrafts, goimap.MailboxAttrDrafts},
	{"Junk", provider.RoleJunk, goimap.MailboxAttrJunk}, {"Trash", provider.RoleTrash, goimap.MailboxAttrTrash},
	{"Customers", "", ""},
}

// Mailbox is one owner's mailbox, seen from behind: what its methods do, other mail programs and the world have done. A message
// is named by a handle, which survives every move. A role names the usual folder of that role, "" is Customers.
type Mailbox struct {
	server *Server
	owner  string
	mem    *imapmemserver.User

	mu      sync.RWMutex // guards folders, mails and refused; held while a change has more than one step
	folders map[string]*folder
	mails   map[handle]*mail
	refused map[string]goimap.ResponseCode
	serial  int

	news    sync.Mutex    // guards changed
	changed chan struct{} // closed and replaced when anything changed
}

type folder struct {
	attr       goimap.MailboxAttr
	noselect   bool // only its children are real
	subscribed bool
}

// mail is where a message was last known to lie.
type mail struct {
	folder        string
	validity, uid uint32
	messageID     string
}

type literal struct{ *bytes.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

func folderOf(role provider.Role) string {
	for _, f := range usualFolders {
		if f.role == role {
			return f.name
		}
	}
	return string(role) // no folder has it, and the message says so
}

func (m *Mailbox) must(what string, err error) {
	if err != nil {
		m.server.tb.Helper()
		m.server.tb.Fatalf("imaptest: %s: %v", what, err)
	}
}

func (m *Mailbox) locked(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f()
}

// notify tells idling connections that something changed.
func (m *Mailbox) notify() {
	m.news.Lock()
	defer m.news.Unlock()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Mailbox) next() <-chan struct{} {
	m.news.Lock()
	defer m.news.Unlock()
	return m.changed
}

// Deliver puts a message into the folder of a role; at is its INTERNALDATE, in whole seconds.
func (m *Mailbox) Deliver(raw []byte, at time.Time, role provider.Role) providertest.Handle {
	m.server.tb.Helper()
	return m.DeliverTo(raw, at, folderOf(role))
}

// DeliverTo is Deliver by the folder's name.
func (m *Mailbox) DeliverTo(raw []byte, at time.Time, folder string) providertest.Handle {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.mem.Append(folder, literal{bytes.NewReader(bytes.Clone(raw))}, &goimap.AppendOptions{Time: at})
	m.must("delivering to "+folder, err)
	return m.known(folder, d.UIDValidity, uint32(d.UID), message.ParseHeader(raw).MessageID)
}

func (m *Mailbox) known(folder string, validity, uid uint32, messageID string) handle {
	m.serial++
	h := handle(fmt.Sprintf("mail-%d", m.serial))
	m.mails[h] = &mail{folder, validity, uid, messageID}
	m.notify()
	return h
}

// Move moves a message to the folder of a role.
func (m *Mailbox) Move(h providertest.Handle, to provider.Role) {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.find(h)
	dest := folderOf(to)
	if x.folder == dest {
		return
	}
	validity, uid := m.copy(x, dest)
	m.remove(x)
	x.folder, x.validity, x.uid = dest, validity, uid
	m.notify()
}

// Copy puts a second copy of a message into the folder of a role, and returns what names the copy.
func (m *Mailbox) Copy(h providertest.Handle, to provider.Role) providertest.Handle {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.find(h)
	validity, uid := m.copy(x, folderOf(to))
	return m.known(folderOf(to), validity, uid, x.messageID)
}

// Delete expunges a message, and no other.
func (m *Mailbox) Delete(h providertest.Handle) {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(m.find(h))
	m.notify()
}

// Flag sets flags of a message: `\Deleted` is a message that is thrown away and still there.
func (m *Mailbox) Flag(h providertest.Handle, flags ...goimap.Flag) {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.find(h)
	m.in(x.folder, func(s *imapmemserver.UserSession) {
		m.must("flagging", s.Store(nil, goimap.UIDSetNum(goimap.UID(x.uid)), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: flags}, nil))
	})
	m.notify()
}

// Folders returns the folders a message lies in, sorted: those with a message of its Message-ID, or its own when it has none.
func (m *Mailbox) Folders(h providertest.Handle) []string {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.mails[h]
	if x == nil {
		m.server.tb.Fatalf("imaptest: there is no message %q", h)
	}
	var out []string
	for name, f := range m.folders {
		if f.noselect {
			continue
		}
		if x.messageID != "" && len(m.search(name, byMessageID(x.messageID))) > 0 || x.messageID == "" && name == x.folder && m.there(x) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// ResetFolder renumbers the folder of a role: UIDVALIDITY is another, and every UID names another message, or none (RFC 3501,
// 2.3.1.1; facts 3.3). Connections that have it open are ended, for UIDVALIDITY can't change under a session.
func (m *Mailbox) ResetFolder(role provider.Role) {
	m.server.tb.Helper()
	m.renumber(folderOf(role))
	m.server.cutSelected(m, folderOf(role))
	m.notify()
}

func (m *Mailbox) renumber(name string) {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	const old = "\x00old"
	now, err := m.mem.Status(name, &goimap.StatusOptions{UIDValidity: true})
	m.must("renumbering "+name, err)
	m.must("renumbering "+name, m.mem.Rename(name, old, nil))
	m.must("renumbering "+name, m.mem.Create(name, nil))
	byUID := map[uint32]*mail{}
	for _, x := range m.mails {
		if x.folder == name && x.validity == now.UIDValidity { // else it is gone, and its UID may be another's
			byUID[x.uid] = x
		}
	}
	m.in(old, func(s *imapmemserver.UserSession) {
		uids := uidsOf(s, &goimap.SearchCriteria{})
		slices.Reverse(uids)
		for _, uid := range uids {
			d, err := s.Copy(goimap.UIDSetNum(goimap.UID(uid)), name)
			m.must("renumbering "+name, err)
			if x := byUID[uid]; x != nil {
				x.validity, x.uid = d.UIDValidity, uint32(d.DestUIDs[0].Start)
			}
		}
	})
	m.must("renumbering "+name, m.mem.Delete(old))
}

// CreateFolder makes a folder. One that comes back has another UIDVALIDITY (RFC 3501, 6.3.3).
func (m *Mailbox) CreateFolder(name string) {
	m.server.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.create(name, "")
}

// RenameFolder renames a folder and what lies below it. UIDs and UIDVALIDITY stay (RFC 3501, 6.3.5).
func (m *Mailbox) RenameFolder(name, to string) {
	m.server.tb.Helper()
	err := m.locked(func() error { return m.rename(name, to) })
	m.must("renaming "+name, err)
	m.server.cutSelected(m, name)
	m.notify()
}

// DeleteFolder deletes a folder with its messages. One that has children stays in lists and can't be selected (RFC 3501, 6.3.4).
func (m *Mailbox) DeleteFolder(name string) {
	m.server.tb.Helper()
	err := m.locked(func() error { return m.delete(name) })
	m.must("deleting "+name, err)
	m.server.cutSelected(m, name)
	m.notify()
}

// RefuseFolder makes the server refuse to open a folder, or tell its state, with that response code, or none. Allow ends it.
func (m *Mailbox) RefuseFolder(name string, code goimap.ResponseCode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused[name] = code
}

// AllowFolder undoes RefuseFolder.
func (m *Mailbox) AllowFolder(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.refused, name)
}

const delim = "/"

// The caller of the following holds mu.

func (m *Mailbox) create(name string, attr goimap.MailboxAttr) {
	m.must("creating "+name, m.createFolder(name, attr))
}

func (m *Mailbox) createFolder(name string, attr goimap.MailboxAttr) error {
	name = strings.TrimRight(name, delim)
	if f := m.folders[name]; f != nil && !f.noselect {
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeAlreadyExists, Text: "Mailbox already exists"}
	}
	if err := m.mem.Create(name, nil); err != nil {
		return err
	}
	m.folders[name] = &folder{attr: attr}
	// RFC 3501, 6.3.3: superior names are made, too; here they are names only.
	for i := strings.LastIndex(name, delim); i > 0; i = strings.LastIndex(name[:i], delim) {
		if m.folders[name[:i]] == nil {
			m.folders[name[:i]] = &folder{noselect: true}
		}
	}
	return nil
}

func (m *Mailbox) rename(name, to string) error {
	f := m.folders[name]
	switch {
	case f == nil:
		return errNoFolder
	case name == "INBOX":
		return fmt.Errorf("renaming INBOX is another thing (RFC 3501, 6.3.5), which this server can't do")
	case m.folders[to] != nil:
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeAlreadyExists, Text: "Mailbox already exists"}
	}
	for _, old := range m.names() {
		below, ok := strings.CutPrefix(old, name)
		if !ok || below != "" && !strings.HasPrefix(below, delim) {
			continue
		}
		if !m.folders[old].noselect {
			if err := m.mem.Rename(old, to+below, nil); err != nil {
				return err
			}
		}
		m.folders[to+below] = m.folders[old]
		delete(m.folders, old)
		for _, x := range m.mails {
			if x.folder == old {
				x.folder = to + below
			}
		}
	}
	return nil
}

func (m *Mailbox) delete(name string) error {
	f := m.folders[name]
	children := slices.ContainsFunc(m.names(), func(n string) bool { return strings.HasPrefix(n, name+delim) })
	switch {
	case f == nil:
		return errNoFolder
	case name == "INBOX":
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeCannot, Text: "INBOX can't be deleted"}
	case f.noselect && children:
		return &goimap.Error{Type: goimap.StatusResponseTypeNo, Code: goimap.ResponseCodeHasChildren, Text: "Mailbox has children"}
	}
	if !f.noselect {
		if err := m.mem.Delete(name); err != nil {
			return err
		}
	}
	f.noselect = true
	if !children {
		delete(m.folders, name)
	}
	return nil
}

func (m *Mailbox) names() []string {
	var out []string
	for name := range m.folders {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// in runs f on a session of the server's own that has a folder open.
func (m *Mailbox) in(folder string, f func(s *imapmemserver.UserSession)) {
	s := imapmemserver.NewUserSession(m.mem)
	_, err := s.Select(folder, &goimap.SelectOptions{})
	m.must("opening "+folder, err)
	defer s.Close() //nolint:errcheck // in memory
	f(s)
}

func uidsOf(s *imapmemserver.UserSession, crit *goimap.SearchCriteria) []uint32 {
	d, err := s.Search(imapserver.NumKindUID, crit, &goimap.SearchOptions{ReturnAll: true})
	if err != nil {
		panic(err) // the memory server's never fails
	}
	nums, _ := d.All.(goimap.UIDSet).Nums()
	var out []uint32
	for _, n := range nums {
		out = append(out, uint32(n))
	}
	return out
}

func (m *Mailbox) search(folder string, crit *goimap.SearchCriteria) (out []uint32) {
	m.in(folder, func(s *imapmemserver.UserSession) { out = uidsOf(s, crit) })
	return out
}

func byMessageID(id string) *goimap.SearchCriteria {
	return &goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: "<" + id + ">"}}}
}

// there says whether a message still lies where it was last.
func (m *Mailbox) there(x *mail) bool {
	if f := m.folders[x.folder]; f == nil || f.noselect {
		return false
	}
	d, err := m.mem.Status(x.folder, &goimap.StatusOptions{UIDValidity: true})
	m.must("looking at "+x.folder, err)
	return d.UIDValidity == x.validity && len(m.search(x.folder, &goimap.SearchCriteria{UID: []goimap.UIDSet{goimap.UIDSetNum(goimap.UID(x.uid))}})) > 0
}

// find returns where a message lies now: a client may have moved it.
func (m *Mailbox) find(h handle) *mail {
	m.server.tb.Helper()
	x := m.mails[h]
	if x == nil {
		m.server.tb.Fatalf("imaptest: there is no message %q", h)
	}
	if m.there(x) {
		return x
	}
	for _, name := range m.names() {
		if m.folders[name].noselect || x.messageID == "" {
			continue
		}
		if uids := m.search(name, byMessageID(x.messageID)); len(uids) > 0 {
			d, err := m.mem.Status(name, &goimap.StatusOptions{UIDValidity: true})
			m.must("looking at "+name, err)
			x.folder, x.validity, x.uid = name, d.UIDValidity, uids[len(uids)-1]
			return x
		}
	}
	m.server.tb.Fatalf("imaptest: message %q is gone", h)
	return nil
}

func (m *Mailbox) copy(x *mail, dest string) (validity, uid uint32) {
	if x.folder == dest {
		// RFC 3501, 6.4.7 allows it, go-imap's memory does not.
		const aside = "\x00aside"
		m.must("copying within "+dest, m.mem.Create(aside, nil))
		y := &mail{folder: aside}
		y.validity, y.uid = m.copy(x, aside)
		validity, uid = m.copy(y, dest)
		m.must("copying within "+dest, m.mem.Delete(aside))
		return validity, uid
	}
	m.in(x.folder, func(s *imapmemserver.UserSession) {
		d, err := s.Copy(goimap.UIDSetNum(goimap.UID(x.uid)), dest)
		m.must("copying to "+dest, err)
		validity, uid = d.UIDValidity, uint32(d.DestUIDs[0].Start)
	})
	return validity, uid
}

func (m *Mailbox) remove(x *mail) {
	set := goimap.UIDSetNum(goimap.UID(x.uid))
	m.in(x.folder, func(s *imapmemserver.UserSession) {
		m.must("deleting", s.Store(nil, set, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil))
		m.must("deleting", s.Expunge(nil, &set))
	})
}
