package gmailtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/gmail/v1"
)

// User is a person with a mailbox. What its methods do, the person does: in the web interface, or the world does to the mailbox. Methods that
// name a message, a label or a draft that is not there do nothing. Make it with Server.AddUser.
type User struct {
	Address string // the primary one
	Subject string // Google's sub

	s *Server

	// Guarded by Server.mu.
	former    []string // primary addresses of before
	closed    *apiError
	inflight  int
	passwords int // that were set
	mail      map[string]*mail
	order     []*mail // newest first
	byHeader  map[string][]*mail
	labels    []*label
	drafts    []*draft
	sendAs    []*gmail.SendAs
	history   []event
	last      uint64 // the newest history id
	expired   uint64 // the newest one that is forgotten
	watching  *watching
	found     found
	sent      []time.Time // within a day, where that is limited
}

// AddUser adds a person with an empty mailbox. Adding an address again returns the person who has it.
func (s *Server) AddUser(address string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.user(address); u != nil {
		return u
	}
	n := len(s.users) + 1
	u := &User{
		Address: address, Subject: fmt.Sprintf("1%020d", 17*n), s: s, mail: map[string]*mail{}, byHeader: map[string][]*mail{},
		last: 1000 + uint64(n)*211, labels: systemLabels(),
	}
	u.sendAs = []*gmail.SendAs{{SendAsEmail: address, IsPrimary: true, IsDefault: true}} // from memory: no verificationStatus on the primary
	s.users = append(s.users, u)
	return u
}

// User returns who has an address, as primary one or as an alias; nil: nobody here.
func (s *Server) User(address string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user(address)
}

func (s *Server) user(address string) *User {
	for _, u := range s.users {
		if u.is(address) {
			return u
		}
	}
	for _, u := range s.users {
		for _, a := range u.sendAs {
			if canonical(a.SendAsEmail) == canonical(address) && a.TreatAsAlias {
				return u
			}
		}
	}
	return nil
}

// is reports whether an address is the user's primary one, also of before.
func (u *User) is(address string) bool {
	return canonical(u.Address) == canonical(address) || slices.ContainsFunc(u.former, func(f string) bool { return canonical(f) == canonical(address) })
}

// canonical is what addresses are compared by. Facts 1.7: "+ dots/plus variants on gmail.com".
func canonical(address string) string {
	local, domain, ok := strings.Cut(strings.ToLower(address), "@")
	if !ok {
		return strings.ToLower(address)
	}
	if domain == "gmail.com" || domain == "googlemail.com" {
		local, _, _ = strings.Cut(local, "+")
		local, domain = strings.ReplaceAll(local, ".", ""), "gmail.com"
	}
	return local + "@" + domain
}

// Rename gives the person another primary address. Facts 1.3: mail to the old one still comes, and notifications may name it.
func (u *User) Rename(address string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.former = append(u.former, u.Address)
	for _, a := range u.sendAs {
		if a.IsPrimary {
			a.SendAsEmail = address
		}
	}
	u.Address = address
}

// Alias is an address that a person sends as (facts 1.7).
type Alias struct {
	Address, DisplayName, ReplyTo string
	Signature                     string // HTML
	Pending                       bool   // not verified yet
	External                      bool   // mail to it goes elsewhere: treatAsAlias is false
	Default                       bool
}

// SetAlias adds an address to send as, or replaces it. With the primary address it changes that one's name, signature and so on.
func (u *User) SetAlias(a Alias) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	n := &gmail.SendAs{SendAsEmail: a.Address, DisplayName: a.DisplayName, ReplyToAddress: a.ReplyTo, Signature: a.Signature, IsDefault: a.Default,
		TreatAsAlias: !a.External, VerificationStatus: "accepted"}
	if a.Pending {
		n.VerificationStatus = "pending"
	}
	if a.Default {
		for _, o := range u.sendAs {
			o.IsDefault = false
		}
	}
	for i, o := range u.sendAs {
		if canonical(o.SendAsEmail) == canonical(a.Address) {
			if o.IsPrimary {
				n.IsPrimary, n.IsDefault, n.TreatAsAlias, n.VerificationStatus = true, o.IsDefault || a.Default, false, ""
			}
			u.sendAs[i] = n
			return
		}
	}
	u.sendAs = append(u.sendAs, n)
}

// RemoveAlias takes an address to send as away.
func (u *User) RemoveAlias(address string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.sendAs = slices.DeleteFunc(u.sendAs, func(a *gmail.SendAs) bool { return !a.IsPrimary && canonical(a.SendAsEmail) == canonical(address) })
}

// NoMail takes the mailbox away, as of an account without Gmail (facts 1.6: 400 failedPrecondition "Mail service not enabled"), or gives it back.
func (u *User) NoMail(on bool) {
	u.close(on, &apiError{status: 400, reason: "failedPrecondition", message: "Mail service not enabled"})
}

// Forbid is an administrator who forbids Gmail to the user (facts 1.6: 403 domainPolicy), or allows it again.
func (u *User) Forbid(on bool) {
	u.close(on, forbidden("domainPolicy", "The domain administrators have disabled Gmail apps."))
}

func (u *User) close(on bool, e *apiError) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	if u.closed = nil; on {
		u.closed = e
	}
}

// Deliver puts a message into the mailbox with these labels, received at that time, and returns its id. Without labels it has INBOX and
// UNREAD; with Archived alone it has none.
func (u *User) Deliver(raw []byte, at time.Time, labels ...string) (id string) {
	u.s.mu.Lock()
	if len(labels) == 0 {
		labels = []string{"INBOX", "UNREAD"}
	}
	labels = slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return l == Archived })
	m := u.put(raw, at, labels, "")
	u.s.mu.Unlock()
	u.s.flush()
	return m.id
}

// Archived, as a label for Deliver, is no label: mail that lies in "All Mail" only.
const Archived = ""

// Chat puts a line of chat into the mailbox. Facts 1.4: such are to be skipped.
func (u *User) Chat(text string, at time.Time) (id string) {
	return u.Deliver(fmt.Appendf(nil, "From: %s\r\n\r\n%s\r\n", u.Address, text), at, "CHAT")
}

// change runs f on a message and pushes what comes of it.
func (u *User) change(id string, f func(*mail)) {
	u.s.mu.Lock()
	if m := u.mail[id]; m != nil {
		f(m)
	}
	u.s.mu.Unlock()
	u.s.flush()
}

// Modify adds and removes labels by their ids.
func (u *User) Modify(id string, add, remove []string) {
	u.change(id, func(m *mail) { u.relabel(m, add, remove) })
}

// Archive takes a message out of the inbox. Facts 1.4: "Archive = labelRemoved INBOX".
func (u *User) Archive(id string) { u.Modify(id, nil, []string{"INBOX"}) }

// Unarchive brings it back.
func (u *User) Unarchive(id string) { u.Modify(id, []string{"INBOX"}, nil) }

// Trash moves a message to the trash. Facts 1.4: "Trash shows as labelAdded TRASH".
func (u *User) Trash(id string) { u.change(id, func(m *mail) { u.trash(m) }) }

// Untrash takes it out again.
func (u *User) Untrash(id string) { u.Modify(id, nil, []string{"TRASH"}) }

// Spam moves a message to spam or, with on false, back to the inbox.
func (u *User) Spam(id string, on bool) {
	if on {
		u.Modify(id, []string{"SPAM"}, []string{"INBOX"})
		return
	}
	u.Modify(id, []string{"INBOX"}, []string{"SPAM"})
}

// Star and Read set or take those marks.
func (u *User) Star(id string, on bool) { u.set(id, "STARRED", on) }
func (u *User) Read(id string, on bool) { u.set(id, "UNREAD", !on) }

func (u *User) set(id, label string, on bool) {
	if on {
		u.Modify(id, []string{label}, nil)
		return
	}
	u.Modify(id, nil, []string{label})
}

// Label gives a message a label by its name, which is made where there is none, or takes it off.
func (u *User) Label(id, name string, on bool) { u.set(id, u.CreateLabel(name), on) }

// Delete removes a message for good. Facts 1.4: "messageDeleted = permanently deleted".
func (u *User) Delete(id string) { u.change(id, func(m *mail) { u.remove(m) }) }

// Message is a message as it lies in a mailbox.
type Message struct {
	ID, ThreadID string
	Labels       []string // ids
	At           time.Time
	Raw          []byte
	HistoryID    uint64
}

// Messages returns every message that there is, newest first.
func (u *User) Messages() []Message {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	out := make([]Message, len(u.order))
	for i, m := range u.order {
		out[i] = m.message()
	}
	return out
}

// Message returns a message by its id.
func (u *User) Message(id string) (Message, bool) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	m := u.mail[id]
	if m == nil {
		return Message{}, false
	}
	return m.message(), true
}

// Find returns the ids of the messages with a Message-ID, with or without angle brackets, in whatever label.
func (u *User) Find(messageID string) []string {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	var ids []string
	for _, m := range u.byHeader[strings.Trim(messageID, "<>")] {
		ids = append(ids, m.id)
	}
	return ids
}

func (m *mail) message() Message {
	return Message{m.id, m.thread, slices.Clone(m.labels), m.at, slices.Clone(m.raw), m.historyID}
}

// HistoryID is the mailbox's newest one.
func (u *User) HistoryID() uint64 {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	return u.last
}

// getProfile is users.getProfile.
func (c *call) getProfile() (any, *apiError) {
	u := c.user
	threads := map[string]bool{}
	for _, m := range u.order {
		threads[m.thread] = true
	}
	return &gmail.Profile{EmailAddress: u.Address, HistoryId: u.last, MessagesTotal: int64(len(u.order)), ThreadsTotal: int64(len(threads))}, nil
}

// listSendAs is users.settings.sendAs.list.
func (c *call) listSendAs() (any, *apiError) {
	return &gmail.ListSendAsResponse{SendAs: c.user.sendAs}, nil
}

// getSendAs is users.settings.sendAs.get.
func (c *call) getSendAs() (any, *apiError) {
	for _, a := range c.user.sendAs {
		if strings.EqualFold(a.SendAsEmail, c.r.PathValue("sendAsEmail")) {
			return a, nil
		}
	}
	return nil, notFound()
}
