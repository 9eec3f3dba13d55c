package graphtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// maxCustom is how many headers of an app's own a message may have (facts 2.6).
const maxCustom = 5

// readOnly are properties that are taken without effect (from memory).
var readOnly = []string{"id", "createdDateTime", "lastModifiedDateTime", "receivedDateTime", "sentDateTime", "hasAttachments", "bodyPreview", "parentFolderId", "conversationId",
	"conversationIndex", "webLink", "uniqueBody", "isDraft", "changeKey"}

// draftOnly are those that a message that is no draft keeps (M-upd).
var draftOnly = []string{"subject", "body", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "from", "sender", "internetMessageId"}

// apply sets properties of a message by what a body says. It returns their names.
func (c *call) apply(m *mail, in map[string]json.RawMessage, creating bool) ([]string, *apiError) {
	var names []string
	for k := range in {
		names = append(names, k)
	}
	slices.Sort(names) // errors are the same each time
	var done []string
	content := false
	for _, k := range names {
		if slices.ContainsFunc(readOnly, func(p string) bool { return strings.EqualFold(p, k) }) {
			continue
		}
		if !m.draft && slices.Contains(draftOnly, k) {
			return nil, badRequest("ErrorInvalidPropertySet", "The property '%s' can be set on drafts only.", k)
		}
		set, ok := setters[k]
		if !ok {
			return nil, badRequest("RequestBodyRead", "The property '%s' does not exist on type 'microsoft.graph.message'. Make sure to only use property names that are defined by the type.", k)
		}
		if !creating && (k == "internetMessageHeaders" || k == "attachments") { // facts 2.3: "only at creation"
			return nil, badRequest("ErrorInvalidPropertySet", "The property '%s' can be set at creation only.", k)
		}
		if slices.Contains(draftOnly, k) && !content {
			content = true
			m.unpack()
		}
		if err := set(c, m, in[k]); err != nil {
			if e := (*apiError)(nil); errors.As(err, &e) {
				return nil, e
			}
			return nil, badRequest("RequestBodyRead", "Cannot read the value of the property '%s'. %v", k, err)
		}
		done = append(done, k)
	}
	return done, nil
}

// setters of properties that may be set.
var setters = map[string]func(*call, *mail, json.RawMessage) error{
	"subject": func(_ *call, m *mail, v json.RawMessage) error { return json.Unmarshal(v, &m.subject) },
	"body": func(_ *call, m *mail, v json.RawMessage) error {
		b := body{ContentType: "text"}
		if err := json.Unmarshal(v, &b); err != nil {
			return err
		}
		b.ContentType = strings.ToLower(b.ContentType)
		if b.ContentType != "text" && b.ContentType != "html" {
			return fmt.Errorf("'%s' is no contentType", b.ContentType)
		}
		m.body = b
		return nil
	},
	"toRecipients":  func(_ *call, m *mail, v json.RawMessage) error { return setRecipients(&m.to, v) },
	"ccRecipients":  func(_ *call, m *mail, v json.RawMessage) error { return setRecipients(&m.cc, v) },
	"bccRecipients": func(_ *call, m *mail, v json.RawMessage) error { return setRecipients(&m.bcc, v) },
	"replyTo":       func(_ *call, m *mail, v json.RawMessage) error { return setRecipients(&m.replyTo, v) },
	"from":          func(_ *call, m *mail, v json.RawMessage) error { return json.Unmarshal(v, &m.from) },
	"sender":        func(_ *call, m *mail, v json.RawMessage) error { return json.Unmarshal(v, &m.sender) },
	"importance": func(_ *call, m *mail, v json.RawMessage) error {
		return setEnum(&m.importance, v, "low", "normal", "high")
	},
	"inferenceClassification": func(_ *call, m *mail, v json.RawMessage) error {
		return setEnum(&m.inference, v, "focused", "other")
	},
	"categories": func(_ *call, m *mail, v json.RawMessage) error { // facts 2.3: "PATCH replaces the WHOLE array"
		cs := []string{}
		err := json.Unmarshal(v, &cs)
		if cs == nil {
			cs = []string{}
		}
		m.categories = cs
		return err
	},
	"isRead":                     func(_ *call, m *mail, v json.RawMessage) error { return json.Unmarshal(v, &m.read) },
	"isReadReceiptRequested":     func(_ *call, m *mail, v json.RawMessage) error { return json.Unmarshal(v, &m.readReceipt) },
	"isDeliveryReceiptRequested": func(_ *call, m *mail, v json.RawMessage) error { return json.Unmarshal(v, &m.deliveryReceipt) },
	"flag": func(_ *call, m *mail, v json.RawMessage) error {
		var f map[string]any
		if err := json.Unmarshal(v, &f); err != nil {
			return err
		}
		for k := range f {
			if strings.HasPrefix(k, "@") {
				delete(f, k)
			}
		}
		m.flag = f
		return nil
	},
	"internetMessageId": func(c *call, m *mail, v json.RawMessage) error { // facts 2.6: "settable while isDraft=true"
		var id string
		if err := json.Unmarshal(v, &id); err != nil {
			return err
		}
		c.user.setMessageID(m, strings.Trim(id, "<>"))
		return nil
	},
	"internetMessageHeaders": func(_ *call, m *mail, v json.RawMessage) error {
		var hs []struct{ Name, Value string }
		if err := json.Unmarshal(v, &hs); err != nil {
			return err
		}
		if len(hs) > maxCustom { // facts 2.6
			return badRequest("InvalidInternetMessageHeaderCollection", "Maximum number of headers in one message should be less than or equal to %d.", maxCustom)
		}
		for _, h := range hs {
			if !strings.HasPrefix(strings.ToLower(h.Name), "x-") { // facts 2.6: "any non x- name gives 400"
				return badRequest("InvalidInternetMessageHeader", "The internet message header name '%s' should start with 'x-' or 'X-'.", h.Name)
			}
			if strings.ContainsAny(h.Name+h.Value, "\r\n") {
				return badRequest("InvalidInternetMessageHeader", "The internet message header '%s' is invalid.", h.Name)
			}
			m.headers = append(m.headers, fakemail.Field{Name: h.Name, Value: h.Value})
		}
		return nil
	},
	"singleValueExtendedProperties": func(_ *call, m *mail, v json.RawMessage) error {
		var ps []struct{ ID, Value string }
		if err := json.Unmarshal(v, &ps); err != nil {
			return err
		}
		for _, p := range ps {
			switch key := strings.ToLower(p.ID); key { // facts 2.3
			case "string 0x1042":
				m.inReplyTo = p.Value
			case "string 0x1039":
				m.refs = p.Value
			default:
				if m.properties == nil {
					m.properties = map[string]string{}
				}
				m.properties[key] = p.Value
			}
		}
		return nil
	},
	"multiValueExtendedProperties": func(*call, *mail, json.RawMessage) error { return nil },
	"attachments": func(c *call, m *mail, v json.RawMessage) error {
		var fs []json.RawMessage
		if err := json.Unmarshal(v, &fs); err != nil {
			return err
		}
		for _, raw := range fs {
			f, e := c.readFile(raw)
			if e != nil {
				return e
			}
			m.files = append(m.files, f)
		}
		return nil
	},
}

func setRecipients(to *[]recipient, v json.RawMessage) error {
	var rs []recipient
	if err := json.Unmarshal(v, &rs); err != nil {
		return err
	}
	*to = rs
	return nil
}

func setEnum(to *string, v json.RawMessage, known ...string) error {
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return err
	}
	if s = strings.ToLower(s); !slices.Contains(known, s) {
		return fmt.Errorf("'%s' is none of %v", s, known)
	}
	*to = s
	return nil
}

// setMessageID gives a message of the mailbox, or one to come, another Message-ID.
func (u *User) setMessageID(m *mail, id string) {
	if u.byID[m.immutable] == m {
		u.forgetHeader(m)
		u.byHeader[id] = append(u.byHeader[id], m)
	}
	m.messageID = id
}

// unpack makes what came as MIME a message of properties, for something of it is to be changed.
func (m *mail) unpack() {
	m.load()
	if m.raw == nil {
		return
	}
	m.headers = m.extra(fakemail.ParseHeader(m.raw))
	m.raw = nil
}

// written are the fields that mime writes itself.
var written = []string{"From", "Sender", "To", "Cc", "Bcc", "Reply-To", "Subject", "Message-ID", "Date", "In-Reply-To", "References", "Importance", "Thread-Index", "Thread-Topic",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID"}

func (m *mail) extra(h fakemail.Header) fakemail.Header {
	return slices.DeleteFunc(slices.Clone(h), func(f fakemail.Field) bool {
		return slices.ContainsFunc(written, func(w string) bool { return strings.EqualFold(w, f.Name) })
	})
}

// mime is the message as MIME.
func (m *mail) mime() []byte {
	if m.raw != nil {
		return m.raw
	}
	var b bytes.Buffer
	put := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	for _, f := range []struct {
		name string
		rs   []recipient
	}{{"From", some(m.from)}, {"Sender", m.otherSender()}, {"Reply-To", m.replyTo}, {"To", m.to}, {"Cc", m.cc}, {"Bcc", m.bcc}} {
		put(f.name, addressList(f.rs))
	}
	put("Subject", mime.QEncoding.Encode("utf-8", m.subject))
	put("Thread-Topic", mime.QEncoding.Encode("utf-8", bareSubject(m.subject)))
	if m.index != nil {
		put("Thread-Index", base64.StdEncoding.EncodeToString(m.index))
	}
	put("Date", m.sent.Format(time.RFC1123Z))
	if m.messageID != "" {
		put("Message-ID", "<"+m.messageID+">")
	}
	put("References", oneLine(m.refs))
	put("In-Reply-To", oneLine(m.inReplyTo))
	if m.importance != "normal" {
		put("Importance", m.importance)
	}
	for _, f := range m.headers {
		put(f.Name, oneLine(f.Value))
	}
	put("MIME-Version", "1.0")
	kind := "text/plain"
	if m.body.ContentType == "html" {
		kind = "text/html"
	}
	if len(m.files) == 0 {
		put("Content-Type", kind+"; charset=utf-8")
		put("Content-Transfer-Encoding", "base64")
		b.WriteString("\r\n")
		writeBase64(&b, []byte(m.body.Content))
		return b.Bytes()
	}
	w := multipart.NewWriter(&b)
	_ = w.SetBoundary("_000_" + b64.EncodeToString([]byte(m.immutable[max(0, len(m.immutable)-20):])) + "_") // RFC 2046, 5.1.1: short and of its letters
	put("Content-Type", `multipart/mixed; boundary="`+w.Boundary()+`"`)
	b.WriteString("\r\n")
	part := func(h textproto.MIMEHeader, data []byte) {
		h.Set("Content-Transfer-Encoding", "base64")
		p, err := w.CreatePart(h)
		if err != nil {
			panic(err) // memory
		}
		var e bytes.Buffer
		writeBase64(&e, data)
		_, _ = p.Write(e.Bytes())
	}
	part(textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}}, []byte(m.body.Content))
	for _, f := range m.files {
		h := textproto.MIMEHeader{"Content-Type": {f.kind}, "Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": f.name})}}
		if f.inline {
			h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": f.name}))
		}
		if f.contentID != "" {
			h.Set("Content-Id", "<"+oneLine(f.contentID)+">")
		}
		part(h, f.data)
	}
	_ = w.Close() // memory
	return b.Bytes()
}

func writeBase64(b *bytes.Buffer, data []byte) {
	e := base64.StdEncoding.EncodeToString(data)
	for len(e) > 76 {
		b.WriteString(e[:76] + "\r\n")
		e = e[76:]
	}
	b.WriteString(e + "\r\n")
}

func oneLine(v string) string { return strings.Join(strings.Fields(v), " ") }

func some(r *recipient) []recipient {
	if r == nil {
		return nil
	}
	return []recipient{*r}
}

func (m *mail) otherSender() []recipient {
	if m.sender == nil || m.from == nil || strings.EqualFold(m.sender.EmailAddress.Address, m.from.EmailAddress.Address) {
		return nil
	}
	return some(m.sender)
}

func addressList(rs []recipient) string {
	var out []string
	for _, r := range rs {
		a := netmail.Address{Name: r.EmailAddress.Name, Address: r.EmailAddress.Address}
		if a.Name == a.Address {
			a.Name = ""
		}
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}

// bareSubject is a subject without what replies put before it.
func bareSubject(s string) string {
	for {
		rest := strings.TrimSpace(s)
		for _, p := range []string{"re:", "fw:", "fwd:"} {
			if len(rest) >= len(p) && strings.EqualFold(rest[:len(p)], p) {
				rest = strings.TrimSpace(rest[len(p):])
			}
		}
		if rest == s {
			return s
		}
		s = rest
	}
}

// patchMessage is PATCH of a message. Facts 2.3: "read, merge, write with If-Match/changeKey".
func (c *call) patchMessage() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	in, e := c.fields()
	if e != nil {
		return nil, e
	}
	key := strings.Trim(strings.TrimPrefix(c.r.Header.Get("If-Match"), "W/"), `"`)
	if v, ok := in["changeKey"]; ok && key == "" {
		_ = json.Unmarshal(v, &key) // what is no text is no key
	}
	if key != "" && key != "*" && key != m.changeKey() {
		return nil, &apiError{status: http.StatusPreconditionFailed, code: "ErrorIrresolvableConflict",
			message: "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item."}
	}
	wasRead := m.read
	names, e := c.apply(m, in, false)
	if e != nil {
		return nil, e
	}
	if m.read == wasRead {
		names = slices.DeleteFunc(names, func(n string) bool { return n == "isRead" })
	}
	if len(names) > 0 {
		c.user.touch(m, names...)
	}
	return c.entity(http.StatusOK, c.message(m, byDefault)), nil
}

// copyMessage copies a message; its copy has an id of its own, immutable too.
func (c *call) copyMessage() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	f, e := c.destination()
	if e != nil {
		return nil, e
	}
	m.load()
	n := *m
	n.moves, n.version, n.changed, n.createdAt = 0, 0, nil, c.s.now().UTC().Truncate(time.Second)
	n.files = nil
	for _, f := range m.files {
		g := *f
		g.id = ""
		n.files = append(n.files, &g)
	}
	return c.entity(http.StatusCreated, c.message(c.user.put(&n, f), byDefault)), nil
}

// deleteMessage moves a message to Deleted Items, one that is there already to where it can be recovered from (from memory).
func (c *call) deleteMessage() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	to := "deleteditems"
	if m.folder.known == to {
		to = "recoverableitemsdeletions"
	}
	c.user.move(m, c.user.folder(to))
	return noContent, nil
}

// purgeMessage is permanentDelete.
func (c *call) purgeMessage() (*reply, *apiError) {
	m, e := c.pathMessage()
	if e != nil {
		return nil, e
	}
	c.user.remove(m)
	return noContent, nil
}
