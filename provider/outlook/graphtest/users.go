package graphtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ConsumerTenant is the tenant of personal accounts (facts 2.1).
const ConsumerTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// User is a person with a mailbox. What its methods do, the person does: in Outlook, or the world does to the mailbox. Methods that name a
// message or a folder that is not there do nothing. A message may be named by either of its ids, a folder by its id, its well-known name or its
// path of display names ("Customers/Acme"). Make it with Server.AddUser.
type User struct {
	Address string // the primary one
	Subject string // tid + "/" + oid (facts 2.1: the stable key)
	Tenant  string // tid
	OID     string

	s *Server

	// Guarded by Server.mu.
	name      string
	aliases   []string
	former    []string // primary addresses of before
	closed    *apiError
	challenge string // claims that tokens must carry
	disabled  bool
	passwords int // that were set
	byID      map[string]*mail
	byHeader  map[string][]*mail
	order     []*mail // newest first
	folders   []*folder
	seq       uint64 // of the newest change
	tree      feed   // changes of folders
	pending   []*sending
	sent      window // within a minute
	master    []category
	settings  map[string]any
}

// AddUser adds a person with an empty mailbox. Who is at outlook.com, hotmail.com, live.com or msn.com has a personal account; every other
// domain is a tenant. Adding an address again returns the person who has it.
func (s *Server) AddUser(address string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.user(address); u != nil {
		return u
	}
	_, domain, _ := strings.Cut(strings.ToLower(address), "@")
	tenant := s.guid("tenant", domain)
	if slices.Contains([]string{"outlook.com", "hotmail.com", "live.com", "msn.com"}, domain) {
		tenant = ConsumerTenant
	}
	oid := s.guid("oid", address)
	u := &User{Address: address, Subject: tenant + "/" + oid, Tenant: tenant, OID: oid, s: s, name: address, byID: map[string]*mail{}, byHeader: map[string][]*mail{}, seq: 1000}
	u.settings = defaultSettings()
	for _, f := range wellKnown {
		if f.name != "archive" { // facts 2.3: "archive may not exist until first used"
			u.addFolder(f.display, u.folder(f.parent), f.name)
		}
	}
	s.users = append(s.users, u)
	return u
}

// User returns who has an address, as primary one or as an alias, or that object id; nil: nobody here.
func (s *Server) User(address string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user(address)
}

func (s *Server) user(address string) *User {
	for _, u := range s.users {
		if u.is(address) || slices.ContainsFunc(u.aliases, func(a string) bool { return strings.EqualFold(a, address) }) {
			return u
		}
	}
	return nil
}

// is reports whether that is the user's object id or primary address, also of before.
func (u *User) is(id string) bool {
	return id == u.OID || strings.EqualFold(u.Address, id) || slices.ContainsFunc(u.former, func(f string) bool { return strings.EqualFold(f, id) })
}

// owns reports whether mail to an address comes to the user.
func (u *User) owns(address string) bool {
	return u.is(address) || slices.ContainsFunc(u.aliases, func(a string) bool { return strings.EqualFold(a, address) })
}

// Rename gives the person another primary address (facts 2.1: UPN and address are mutable); mail to the old one still comes.
func (u *User) Rename(address string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.former = append(u.former, u.Address)
	u.Address = address
}

// SetName says what is shown beside the address; at first the address itself.
func (u *User) SetName(name string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.name = name
}

// AddAlias gives the person a further address (a proxy address, facts 2.6).
func (u *User) AddAlias(address string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.aliases = append(u.aliases, address)
}

// NoMailbox takes the mailbox away, as of an account without one or with one on premises (facts 2.1: MailboxNotEnabledForRESTAPI), or gives it
// back.
func (u *User) NoMailbox(on bool) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if u.closed = nil; on {
		f := MailboxNotEnabled
		u.closed = &apiError{status: f.Status, code: f.Code, message: f.Message}
	}
}

// Deliver puts a message into a folder, unread, received at that time (whole seconds), and returns its immutable id. "": the inbox.
func (u *User) Deliver(raw []byte, at time.Time, folder string) (id string) {
	u.s.mu.Lock()
	if folder == "" {
		folder = "inbox"
	}
	f := u.find(folder)
	if f == nil {
		u.s.mu.Unlock()
		panic(fmt.Sprintf("graphtest: %s has no folder %q", u.Address, folder))
	}
	m := u.put(newMail(raw, at), f)
	u.s.mu.Unlock()
	u.s.flush()
	return m.immutable
}

// change runs f on a message and notifies what comes of it.
func (u *User) change(id string, f func(*mail)) {
	u.s.mu.Lock()
	if m := u.byID[id]; m != nil {
		f(m)
	}
	u.s.mu.Unlock()
	u.s.flush()
}

// Move moves a message to a folder. Its ordinary id is another then (facts 2.3).
func (u *User) Move(id, folder string) {
	u.change(id, func(m *mail) {
		if f := u.find(folder); f != nil {
			u.move(m, f)
		}
	})
}

// Archive moves a message to the archive, which is made where there is none.
func (u *User) Archive(id string) {
	u.change(id, func(m *mail) { u.move(m, u.archive()) })
}

// Trash moves a message to Deleted Items, Junk to Junk Email.
func (u *User) Trash(id string) { u.Move(id, "deleteditems") }
func (u *User) Junk(id string)  { u.Move(id, "junkemail") }

// Delete removes a message for good.
func (u *User) Delete(id string) { u.change(id, func(m *mail) { u.remove(m) }) }

// Reimport exports a message and imports it again: it has another immutable id, too, then, which is returned (facts 2.3).
func (u *User) Reimport(id string) (again string) {
	u.change(id, func(m *mail) {
		n := *m
		f := m.folder
		u.remove(m)
		n.moves, n.version, n.changed = 0, 0, nil
		again = u.put(&n, f).immutable
	})
	return again
}

// Read marks a message as read or unread.
func (u *User) Read(id string, on bool) {
	u.change(id, func(m *mail) {
		if m.read != on {
			m.read = on
			u.touch(m, "isRead")
		}
	})
}

// Flag flags a message or takes the flag off.
func (u *User) Flag(id string, on bool) {
	u.change(id, func(m *mail) {
		m.flag = map[string]any{"flagStatus": "notFlagged"}
		if on {
			m.flag = map[string]any{"flagStatus": "flagged"}
		}
		u.touch(m, "flag")
	})
}

// Categorize sets the categories of a message by hand.
func (u *User) Categorize(id string, categories ...string) {
	u.change(id, func(m *mail) {
		m.categories = slices.Clone(categories)
		u.touch(m, "categories")
	})
}

// Message is a message as it lies in a mailbox.
type Message struct {
	ID         string // immutable
	EntryID    string // the ordinary one, another after each move
	Folder     string // id
	Path       string // of the folder's display names
	MessageID  string // without angle brackets
	Subject    string
	Received   time.Time
	Draft      bool
	Read       bool
	Categories []string
	Raw        []byte // MIME, of drafts as it would be sent
}

// Messages returns every message that there is, newest first.
func (u *User) Messages() []Message {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.settle()
	out := make([]Message, len(u.order))
	for i, m := range u.order {
		out[i] = u.message(m)
	}
	return out
}

// Message returns a message by one of its ids.
func (u *User) Message(id string) (Message, bool) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.settle()
	m := u.byID[id]
	if m == nil {
		return Message{}, false
	}
	return u.message(m), true
}

// Find returns the immutable ids of the messages with a Message-ID, with or without angle brackets, in whatever folder.
func (u *User) Find(messageID string) []string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.settle()
	var ids []string
	for _, m := range u.byHeader[strings.Trim(messageID, "<>")] {
		ids = append(ids, m.immutable)
	}
	return ids
}

func (u *User) message(m *mail) Message {
	return Message{m.immutable, m.id, m.folder.id, m.folder.path(), m.messageID, m.subject, m.received, m.draft, m.read, slices.Clone(m.categories), slices.Clone(m.mime())}
}

// getUser is the user's own entry in the directory. A personal account has no mail property from the directory; its address is in
// userPrincipalName (from memory).
func (c *call) getUser() (*reply, *apiError) {
	u := c.user
	v := map[string]any{
		"@odata.context": c.s.base + "/v1.0/$metadata#users/$entity", "id": u.OID, "userPrincipalName": u.Address, "displayName": u.name, "mail": u.Address,
		"businessPhones": []string{}, "givenName": nil, "jobTitle": nil, "mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil, "surname": nil,
	}
	if u.Tenant == ConsumerTenant {
		v["mail"] = nil
	}
	if len(c.selected()) > 0 {
		v["proxyAddresses"] = append([]string{"SMTP:" + u.Address}, prefixed("smtp:", u.aliases)...)
		v["otherMails"] = []string{}
	}
	return &reply{status: http.StatusOK, v: pick(v, c.selected())}, nil
}

func prefixed(p string, vs []string) []string {
	var out []string
	for _, v := range vs {
		out = append(out, p+v)
	}
	return out
}
