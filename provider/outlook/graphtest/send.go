package graphtest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// Facts 2.5 and 2.6: recipients of a message, and what it may measure. The mailbox's own limit, often 35 MB, is Options.MaxMessage.
const (
	maxRecipients = 500
	sendWindow    = time.Minute
)

// Outgoing is a message that was sent, as those get it who are nobody here.
type Outgoing struct {
	From       string   // the user's primary address
	Recipients []string // Bcc included, users of the Server too
	MessageID  string   // without angle brackets
	Raw        []byte   // without Bcc
	At         time.Time
	ID         string // immutable, of the copy in the sender's mailbox; "": there is none
}

// Sent returns what users have sent, in order.
func (s *Server) Sent() []Outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.outgoing)
}

// sending is a message that was sent and is not in Sent Items yet.
type sending struct {
	mail *mail
	due  time.Time
}

// sendDraft is the send of a draft. Facts 2.6: 202.
func (c *call) sendDraft() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	if !m.draft {
		return nil, badRequest("ErrorInvalidRequest", "The message is no draft.")
	}
	if e := c.user.send(m); e != nil {
		return nil, e
	}
	return accepted, nil
}

// sendMail sends a message at once. Facts 2.6: 202, "empty body, no id"; JSON with saveToSentItems, true where it isn't said, or MIME.
func (c *call) sendMail() (*reply, *apiError) {
	save := true
	var m *mail
	if c.whole() {
		var e *apiError
		if m, e = c.readMIME(); e != nil {
			return nil, e
		}
	} else {
		in, e := c.fields()
		if e != nil {
			return nil, e
		}
		var body struct {
			Message         map[string]any
			SaveToSentItems *bool
		}
		if e := c.decode(&body); e != nil {
			return nil, e
		}
		if body.Message == nil {
			return nil, badRequest("ErrorInvalidRequest", "The message is missing.")
		}
		if body.SaveToSentItems != nil {
			save = *body.SaveToSentItems
		}
		m = c.user.newDraft()
		for k, v := range in {
			if strings.EqualFold(k, "message") {
				c.body = v
			}
		}
		fields, e := c.fields()
		if e != nil {
			return nil, e
		}
		if _, e := c.apply(m, fields, true); e != nil {
			return nil, e
		}
	}
	if e := c.user.sendNew(m, save); e != nil {
		return nil, e
	}
	return accepted, nil
}

// sendNew sends a message that is in no folder yet.
func (u *User) sendNew(m *mail, save bool) *apiError {
	if e := u.depart(m); e != nil {
		return e
	}
	m.draft = false
	if save {
		u.put(m, u.folder("sentitems"))
		u.s.outgoing[len(u.s.outgoing)-1].ID = m.immutable
	}
	return nil
}

// send sends a draft. Facts 2.6: what is found by its immutable id later is the copy in Sent Items.
func (u *User) send(m *mail) *apiError {
	if slices.ContainsFunc(u.pending, func(p *sending) bool { return p.mail == m }) {
		return badRequest("ErrorInvalidRequest", "The message has been submitted already.")
	}
	if e := u.depart(m); e != nil {
		return e
	}
	u.s.outgoing[len(u.s.outgoing)-1].ID = m.immutable
	if d := u.s.opts.SendDelay; d > 0 {
		u.pending = append(u.pending, &sending{m, u.s.now().Add(d)})
		if u.s.opts.SendHides {
			m.hidden = true
		}
		return nil
	}
	u.arrive(m)
	return nil
}

// arrive puts what was sent into Sent Items.
func (u *User) arrive(m *mail) {
	old, id := m.folder, m.id
	u.leave(m, "left")
	u.order = without(u.order, m)
	m.draft, m.hidden, m.read = false, false, true
	m.received = m.sent
	m.moves++
	u.rename(m)
	u.order = insert(u.order, m)
	u.enter(m, u.folder("sentitems"))
	u.notifyMoved(m, old, id)
}

// settle does what was to come about by now. The caller holds Server.mu.
func (s *Server) settle() {
	for _, u := range s.users {
		u.settleOwn()
	}
}

func (u *User) settleOwn() {
	now := u.s.now()
	for len(u.pending) > 0 && !u.pending[0].due.After(now) {
		m := u.pending[0].mail
		u.pending = u.pending[1:]
		u.arrive(m)
	}
	u.endSubscriptions(now)
}

// depart checks a message, makes what is sent of it, and delivers that. The caller holds Server.mu.
func (u *User) depart(m *mail) *apiError {
	s := u.s
	now := s.now()
	var rcpts []string
	for _, r := range slices.Concat(m.to, m.cc, m.bcc) {
		a := r.EmailAddress.Address
		if !strings.Contains(a, "@") {
			return badRequest("ErrorInvalidRecipients", "At least one recipient is not valid., Recipient '%s' is not resolved. All recipients must be resolved before a message can be submitted.", a)
		}
		if !slices.Contains(rcpts, a) {
			rcpts = append(rcpts, a)
		}
	}
	switch {
	case len(rcpts) == 0:
		return badRequest("ErrorInvalidRecipients", "At least one recipient is required.")
	case len(rcpts) > maxRecipients:
		return badRequest("ErrorExceededMaxRecipientLimit", "The number of recipients exceeds the limit.")
	}
	m.load()
	size := len(m.raw)
	for _, f := range m.files {
		size += len(f.data)
	}
	if l := s.opts.MaxMessage; l > 0 && size > l {
		return &apiError{status: http.StatusRequestEntityTooLarge, code: "ErrorMessageSizeExceeded", message: "The message exceeds the maximum supported size."}
	}
	from := u.Address
	if m.from != nil && m.from.EmailAddress.Address != "" {
		from = m.from.EmailAddress.Address
	}
	switch {
	case strings.EqualFold(from, u.Address):
	case !u.owns(from):
		return &apiError{status: http.StatusForbidden, code: "ErrorSendAsDenied", message: "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account."}
	case !s.opts.SendFromAliases:
		from = u.Address // facts 2.6: "else rewritten to primary"
	}
	u.sent.forget(now, sendWindow)
	if l := int64(s.opts.SendsPerMinute); l > 0 && u.sent.sum+1 > l { // facts 2.5: "30 messages/min"
		s.throttle.refused++
		return &apiError{status: http.StatusTooManyRequests, code: "ErrorMessageThrottled", message: "The sending rate of the mailbox is exceeded.", retryAfter: max(u.sent.wait(now, 1, l, sendWindow), time.Second)}
	}
	u.sent.add(now, 1)

	m.sent = now.UTC().Truncate(time.Second)
	id := m.messageID
	_, domain, _ := strings.Cut(id, "@")
	if s.opts.NewMessageIDs || !strings.Contains(domain, ".") || strings.ContainsAny(id, " <>") { // facts 2.6: "may still substitute on odd formats"
		id = u.newMessageID()
	}
	name := u.name
	if m.from != nil && m.from.EmailAddress.Name != "" && strings.EqualFold(m.from.EmailAddress.Address, from) {
		name = m.from.EmailAddress.Name
	}
	changed := id != m.messageID || m.from == nil || !strings.EqualFold(m.from.EmailAddress.Address, from)
	u.setMessageID(m, id)
	m.from = &recipient{address{name, from}}
	m.sender = m.from
	if m.raw != nil {
		h := fakemail.ParseHeader(m.raw)
		if changed {
			m.raw = fakemail.Rewrite(m.raw, []string{"From", "Sender", "Message-ID"}, fakemail.Field{Name: "From", Value: addressList(some(m.from))}, fakemail.Field{Name: "Message-ID", Value: "<" + id + ">"})
		}
		if h.Get("Date") == "" || s.opts.RestampDates {
			m.raw = fakemail.Rewrite(m.raw, []string{"Date"}, fakemail.Field{Name: "Date", Value: m.sent.Format(time.RFC1123Z)})
		}
	}
	u.thread(m)
	seen := fakemail.Rewrite(m.mime(), []string{"Bcc"}) // Bcc works, and nobody sees it
	s.outgoing = append(s.outgoing, Outgoing{From: u.Address, Recipients: rcpts, MessageID: id, Raw: seen, At: now})
	for _, o := range s.users {
		if o.closed == nil && !o.disabled && slices.ContainsFunc(rcpts, o.owns) {
			o.put(newMail(seen, now), o.folder("inbox"))
		}
	}
	return nil
}

// Send is a person who sends a message in Outlook; the immutable id of the copy in Sent Items.
func (u *User) Send(raw []byte) (id string, err error) {
	u.s.mu.Lock()
	m := newMail(raw, u.s.now())
	m.read, m.headers = true, nil
	if m.messageID == "" {
		m.messageID = u.newMessageID()
		m.raw = fakemail.Rewrite(m.raw, nil, fakemail.Field{Name: "Message-ID", Value: "<" + m.messageID + ">"})
	}
	e := u.sendNew(m, true)
	u.s.mu.Unlock()
	u.s.flush()
	if e != nil {
		return "", e
	}
	return m.immutable, nil
}
