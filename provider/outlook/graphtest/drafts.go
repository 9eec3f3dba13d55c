package graphtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	stdhtml "html"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// newDraft is an empty draft.
func (u *User) newDraft() *mail {
	now := u.s.now().UTC().Truncate(time.Second)
	m := &mail{draft: true, read: true, loaded: true, body: body{"text", ""}, createdAt: now, received: now, sent: now, importance: "normal", inference: "focused",
		categories: []string{}, flag: map[string]any{"flagStatus": "notFlagged"}}
	m.messageID = u.newMessageID()
	return m
}

func (u *User) newMessageID() string {
	b := strings.ToUpper(b64.EncodeToString(u.s.digest(24, "message", u.OID, u.s.next())))
	return strings.NewReplacer("-", "A", "_", "B").Replace(b) + "@" + "PR0P264MB0001.FRAP264.PROD.OUTLOOK.COM"
}

// whole reports whether a call brings a whole message: facts 2.6, text/plain with base64.
func (c *call) whole() bool {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	return kind == "text/plain"
}

// readMIME makes a draft of such a body.
func (c *call) readMIME() (*mail, *apiError) {
	clean := bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, bytes.TrimSpace(c.body))
	raw, err := base64.StdEncoding.DecodeString(string(clean)) // facts 2.6: "standard base64"
	if err != nil || len(raw) == 0 {
		return nil, badRequest("ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	}
	h := fakemail.ParseHeader(raw)
	if len(h) == 0 {
		return nil, badRequest("ErrorMimeContentInvalid", "The MIME content is invalid.")
	}
	m := newMail(raw, c.s.now())
	m.draft, m.read = true, true
	m.headers = nil // facts 2.3: drafts have none
	m.sent = m.received
	if m.messageID == "" {
		m.messageID = c.user.newMessageID()
		m.raw = fakemail.Rewrite(m.raw, nil, fakemail.Field{Name: "Message-ID", Value: "<" + m.messageID + ">"})
	}
	return m, nil
}

// createMessage makes a draft, of JSON or of MIME.
func (c *call) createMessage() (*reply, *apiError) {
	u := c.user
	f := u.folder("drafts")
	if _, named := c.args["folder"]; named {
		var e *apiError
		if f, e = c.pathFolder(); e != nil {
			return nil, e
		}
	}
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
		m = u.newDraft()
		if _, e := c.apply(m, in, true); e != nil {
			return nil, e
		}
	}
	return c.entity(http.StatusCreated, c.message(u.put(m, f), byDefault)), nil
}

// answerTo makes the draft of a reply or a forwarded message. Facts 2.6: it keeps In-Reply-To, References and the conversation.
func (c *call) answerTo(o *mail, kind string) (*mail, *apiError) {
	u := c.user
	o.load()
	var m *mail
	var in struct {
		Message      map[string]json.RawMessage `json:"message"`
		Comment      *string                    `json:"comment"`
		ToRecipients []recipient                `json:"toRecipients"`
	}
	if c.whole() {
		var e *apiError
		if m, e = c.readMIME(); e != nil {
			return nil, e
		}
		m.unpack()
	} else {
		if e := c.decode(&in); e != nil {
			return nil, e
		}
		for k := range in.Message {
			if strings.Contains(k, "@odata.") {
				delete(in.Message, k)
			}
		}
		if _, ok := in.Message["body"]; ok && in.Comment != nil { // facts 2.6: "comment and message.body together -> 400"
			return nil, badRequest("ErrorInvalidRequest", "Comment and Message.Body can't be both specified.")
		}
		m = u.newDraft()
	}
	prefix := "RE: "
	if kind == "forward" {
		prefix = "FW: "
	}
	if m.subject == "" {
		m.subject = prefix + bareSubject(o.subject)
	}
	m.conversation = o.conversation
	m.index = append(slices.Clone(o.index), u.s.digest(5, "reply", u.s.next())...)
	if o.messageID != "" {
		m.inReplyTo = "<" + o.messageID + ">"
		m.refs = strings.TrimSpace(oneLine(o.refs) + " " + m.inReplyTo)
	}
	if kind != "forward" && !c.whole() {
		m.to, m.cc = c.audience(o, kind == "replyAll")
	}
	if in.ToRecipients != nil {
		m.to = in.ToRecipients
	}
	if !c.whole() {
		comment := ""
		if in.Comment != nil {
			comment = stdhtml.EscapeString(*in.Comment)
		}
		m.body = body{"html", "<html><body><div>" + comment + "</div><hr><div id=\"divRplyFwdMsg\"><b>From:</b> " + stdhtml.EscapeString(addressList(some(o.from))) + "<br><b>Sent:</b> " +
			o.sent.Format(time.RFC1123) + "<br><b>Subject:</b> " + stdhtml.EscapeString(o.subject) + "</div>" + inHTML(o.body) + "</body></html>"}
	}
	if kind == "forward" {
		for _, f := range o.files {
			g := *f
			g.id = ""
			m.files = append(m.files, &g)
		}
	}
	if _, e := c.apply(m, in.Message, true); e != nil {
		return nil, e
	}
	return m, nil
}

func inHTML(b body) string {
	if b.ContentType == "html" {
		return b.Content
	}
	return "<pre>" + stdhtml.EscapeString(b.Content) + "</pre>"
}

// audience is who gets a reply. Facts 2.6: "Honour replyTo of the original".
func (c *call) audience(o *mail, all bool) (to, cc []recipient) {
	u := c.user
	own := o.from != nil && u.owns(o.from.EmailAddress.Address)
	switch {
	case len(o.replyTo) > 0:
		to = slices.Clone(o.replyTo)
	case own: // a reply to what one has sent goes where that went
		to = slices.Clone(o.to)
	default:
		to = some(o.from)
	}
	if !all {
		return to, nil
	}
	has := func(rs []recipient, r recipient) bool {
		return slices.ContainsFunc(rs, func(x recipient) bool { return strings.EqualFold(x.EmailAddress.Address, r.EmailAddress.Address) })
	}
	if !own {
		for _, r := range o.to {
			if !u.owns(r.EmailAddress.Address) && !has(to, r) {
				to = append(to, r)
			}
		}
	}
	for _, r := range o.cc {
		if !u.owns(r.EmailAddress.Address) && !has(to, r) {
			cc = append(cc, r)
		}
	}
	return to, cc
}

// createReply and its like make a draft (facts 2.6: 201).
func (c *call) createReply() (*reply, *apiError)    { return c.createAnswer("reply") }
func (c *call) createReplyAll() (*reply, *apiError) { return c.createAnswer("replyAll") }
func (c *call) createForward() (*reply, *apiError)  { return c.createAnswer("forward") }

func (c *call) createAnswer(kind string) (*reply, *apiError) {
	o, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	m, e := c.answerTo(o, kind)
	if e != nil {
		return nil, e
	}
	return c.entity(http.StatusCreated, c.message(c.user.put(m, c.user.folder("drafts")), byDefault)), nil
}

// reply and its like send at once.
func (c *call) reply() (*reply, *apiError)    { return c.sendAnswer("reply") }
func (c *call) replyAll() (*reply, *apiError) { return c.sendAnswer("replyAll") }
func (c *call) forward() (*reply, *apiError)  { return c.sendAnswer("forward") }

func (c *call) sendAnswer(kind string) (*reply, *apiError) {
	o, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	m, e := c.answerTo(o, kind)
	if e != nil {
		return nil, e
	}
	if e := c.user.sendNew(m, true); e != nil {
		return nil, e
	}
	return accepted, nil
}

// Draft is a person who begins a message in Outlook; the immutable id of it.
func (u *User) Draft(raw []byte) (id string) {
	u.s.mu.Lock()
	m := newMail(raw, u.s.now())
	m.draft, m.read, m.headers = true, true, nil
	if m.messageID == "" {
		m.messageID = u.newMessageID()
		m.raw = fakemail.Rewrite(m.raw, nil, fakemail.Field{Name: "Message-ID", Value: "<" + m.messageID + ">"})
	}
	u.put(m, u.folder("drafts"))
	u.s.mu.Unlock()
	u.s.flush()
	return m.immutable
}

// EditDraft is a person who goes on writing a draft: its body, as plain text.
func (u *User) EditDraft(id, text string) {
	u.change(id, func(m *mail) {
		if m.draft {
			m.unpack()
			m.body = body{"text", text}
			u.touch(m, "body", "bodyPreview")
		}
	})
}

// SendDraft is a person who sends a draft by hand, as it is. It reports whether there was one that could be sent.
func (u *User) SendDraft(id string) (ok bool) {
	u.change(id, func(m *mail) { ok = m.draft && u.send(m) == nil })
	return ok
}
