package outlook

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// listFields are what listings are asked for.
var listFields = []string{"id", "parentFolderId", "isDraft", "receivedDateTime", "sentDateTime", "lastModifiedDateTime", "subject", "from", "sender", "replyTo",
	"toRecipients", "ccRecipients", "bccRecipients", "internetMessageId", "conversationId", "conversationIndex"}

// idFields are enough to know that a message is there, and where, and whose it is where Graph calls it a draft.
var idFields = []string{"id", "parentFolderId", "isDraft", "receivedDateTime", "conversationId", "from"}

// Extended properties (facts 2.3; 0x001A, the message class, by which it shows that the others were looked for: every message has one).
const (
	propHeader     = 0x007D
	propInReplyTo  = 0x1042
	propReferences = 0x1039
	propClass      = 0x001A
)

// propDate is a field of the header as an extended property (from memory; PS_INTERNET_HEADERS of MS-OXPROPS): the date that we gave to what we sent.
const propDate = "{00020386-0000-0000-C000-000000000046} Name " + dateField

// properties expands the extended properties that make up for what listings leave out (facts 2.3).
var properties = func() string {
	var terms []string
	for _, p := range []int{propHeader, propInReplyTo, propReferences, propClass} {
		terms = append(terms, fmt.Sprintf("id eq 'String 0x%04X'", p))
	}
	terms = append(terms, "id eq 'String "+propDate+"'")
	return "singleValueExtendedProperties($filter=" + strings.Join(terms, " or ") + ")"
}()

// mail is what an answer told of a message. What it did not tell is zero.
type mail struct {
	models.Messageable
	props map[uint64]string
	dated time.Time // by propDate
}

func mailOf(m models.Messageable) *mail {
	if m == nil || str(m.GetId()) == "" {
		return nil
	}
	out := &mail{Messageable: m, props: map[uint64]string{}}
	for _, p := range m.GetSingleValueExtendedProperties() {
		if p == nil {
			continue
		}
		// Answers may name a property by another spelling of its number than the question.
		if strings.EqualFold(str(p.GetId()), "String "+propDate) {
			out.dated = message.ParseHeader([]byte("Date: " + oneLine(str(p.GetValue())) + "\r\n\r\n")).Date
			continue
		}
		kind, number, _ := strings.Cut(strings.ToLower(str(p.GetId())), " 0x")
		if n, err := strconv.ParseUint(number, 16, 16); err == nil && kind == "string" {
			out.props[n] = str(p.GetValue())
		}
	}
	return out
}

func (m *mail) id() provider.ItemID { return provider.ItemID(str(m.GetId())) }
func (m *mail) folder() string      { return str(m.GetParentFolderId()) }
func (m *mail) draft() bool         { return m.GetIsDraft() != nil && *m.GetIsDraft() }

// settling is how long what was sent may be shown as a draft in Sent Items (facts 2.6: "for a while").
const settling = time.Hour

// writing reports whether a message is one that its owner is still writing or sending. Graph calls drafts also what came into the mailbox by another way than
// its transport, by a migration for example: such a one is another's, or has lain in Sent Items for longer than sending takes.
func (m *Mailbox) writing(x *mail, in provider.Role) bool {
	if !x.draft() {
		return false
	}
	if from := recipients([]models.Recipientable{x.GetFrom()}); len(from) > 0 && !m.owner.has(from[0].Key) {
		return false
	}
	return in != provider.RoleSent || x.received().After(m.p.o.Now().Add(-settling))
}

func (m *mail) removed() bool       { _, ok := m.GetAdditionalData()["@removed"]; return ok }
func (m *mail) received() time.Time { return timeOf(m.GetReceivedDateTime()) }

// etag is what If-Match takes.
func (m *mail) etag() string {
	if s, ok := m.GetAdditionalData()["@odata.etag"].(*string); ok {
		return str(s)
	}
	return ""
}

func (m *mail) prop(number uint64) string { return m.props[number] }

func timeOf(t *time.Time) time.Time {
	if t == nil || t.Unix() <= 0 { // 0001-01-01 is none, and neither is a clock's beginning
		return time.Time{}
	}
	return t.UTC()
}

// messageID is the Message-ID without angle brackets.
func (m *mail) messageID() string {
	ids := message.ParseIDs(str(m.GetInternetMessageId()), 1)
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// header is the transport header as a listing had it, "" where it had none, or one that looks cut: extended properties may come short. One that is whole ends with its
// last line, and has what the message is known to have.
func (m *mail) header() string {
	h := m.prop(propHeader)
	if !strings.HasSuffix(h, "\n") {
		return ""
	}
	e := message.ParseHeader([]byte(h))
	if id := m.messageID(); len(e.From) == 0 || id != "" && e.MessageID != id {
		return ""
	}
	return h
}

// envelope is what a message says of itself. A listing carries no internet headers (facts 2.3: "on GET of a message"), but the transport header beside. What lies in Sent
// Items has none anywhere: where the properties were looked for, all that there is to know is there.
func (p *Provider) envelope(m *mail, sent bool) message.Envelope {
	var e message.Envelope
	if h := cmp.Or(m.internetHeader(), m.header()); h != "" {
		e = p.parser.ParseHeader([]byte(h))
		if len(e.Bcc) == 0 {
			e.Bcc = recipients(m.GetBccRecipients())
		}
	} else {
		e = m.fields()
		if sent && m.prop(propClass) != "" {
			e.Has |= message.HasIDs | message.HasAutomated | message.HasAuth
		}
	}
	e.Received, e.Thread, e.Sent = m.received(), str(m.GetConversationId()), sent
	return e
}

// fields reads the envelope from what Graph made of the header.
func (m *mail) fields() message.Envelope {
	var e message.Envelope
	if m.GetSender() != nil || m.GetToRecipients() != nil { // of ids the author alone is asked for
		e.Has |= message.HasParticipants
		e.From, e.Sender = recipients([]models.Recipientable{m.GetFrom()}), recipients([]models.Recipientable{m.GetSender()})
		if len(e.From) == 0 {
			e.From = e.Sender
		}
		if slices.Equal(e.From, e.Sender) {
			e.Sender = nil
		}
		e.ReplyTo, e.To = recipients(m.GetReplyTo()), recipients(m.GetToRecipients())
		e.Cc, e.Bcc = recipients(m.GetCcRecipients()), recipients(m.GetBccRecipients())
	}
	if s := m.GetSubject(); s != nil {
		e.Has |= message.HasSubject
		e.Subject = oneLine(*s)
	}
	if t := timeOf(m.GetSentDateTime()); !t.IsZero() {
		e.Has |= message.HasDate
		if e.Date = t; !m.dated.IsZero() {
			e.Date = m.dated // facts 2.6 know of no way to keep it: sentDateTime is when Exchange sent it
		}
	}
	e.MessageID = m.messageID()
	if m.prop(propClass) != "" {
		e.InReplyTo, e.References = message.ParseIDs(m.prop(propInReplyTo), maxIDs), message.ParseIDs(m.prop(propReferences), maxIDs)
		if b := m.GetConversationIndex(); len(b) >= 22 && len(b) < 5000 {
			e.ThreadIndex = base64.StdEncoding.EncodeToString(b)
		}
	}
	return e
}

const maxIDs = 100

func recipients(rs []models.Recipientable) (out []message.Address) {
	for _, r := range rs {
		if r == nil || r.GetEmailAddress() == nil {
			continue
		}
		if a := oneLine(str(r.GetEmailAddress().GetAddress())); a != "" {
			name := oneLine(str(r.GetEmailAddress().GetName()))
			if name == a {
				name = "" // Exchange fills it
			}
			out = append(out, message.NewAddress(name, a))
		}
		if len(out) == 2000 {
			break
		}
	}
	return out
}

// oneLine is text that is storable: valid UTF-8 on one line, bounded.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 16<<10 {
		s = strings.ToValidUTF8(s[:16<<10], "")
	}
	return strings.TrimSpace(s)
}

// internetHeader is the header as a GET of one message has it; "" where there is none, as of most of what its owner wrote (facts 2.3).
func (m *mail) internetHeader() string {
	var b strings.Builder
	from := false
	for _, h := range m.GetInternetMessageHeaders() {
		if h == nil {
			continue
		}
		name := str(h.GetName())
		if name == "" || strings.ContainsAny(name, ":\r\n ") {
			continue
		}
		from = from || strings.EqualFold(name, "From")
		b.WriteString(name + ": " + unfold.Replace(str(h.GetValue())) + "\r\n")
	}
	if !from {
		return ""
	}
	return b.String() + "\r\n"
}

// unfold keeps a value on one line: what follows a line break would be another field.
var unfold = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ")

// written is a header made of what Graph tells, for a message that has none.
func (m *mail) written() string {
	var b strings.Builder
	e := m.fields()
	list := func(name string, as []message.Address) {
		if len(as) == 0 {
			return
		}
		b.WriteString(name + ": ")
		for i, a := range as {
			if i > 0 {
				b.WriteString(",\r\n ")
			}
			if a.Name != "" {
				b.WriteString(mime.BEncoding.Encode("utf-8", a.Name) + " ")
			}
			b.WriteString("<" + a.Addr + ">")
		}
		b.WriteString("\r\n")
	}
	list("From", e.From)
	list("Sender", e.Sender)
	list("Reply-To", e.ReplyTo)
	list("To", e.To)
	list("Cc", e.Cc)
	list("Bcc", e.Bcc)
	fmt.Fprintf(&b, "Subject: %s\r\n", mime.BEncoding.Encode("utf-8", e.Subject))
	if !e.Date.IsZero() {
		fmt.Fprintf(&b, "Date: %s\r\n", e.Date.Format(time.RFC1123Z))
	}
	ids := func(name string, ids ...string) {
		if len(ids) > 0 && ids[0] != "" {
			fmt.Fprintf(&b, "%s: <%s>\r\n", name, strings.Join(ids, ">\r\n <"))
		}
	}
	ids("Message-ID", e.MessageID)
	ids("In-Reply-To", e.InReplyTo...)
	ids("References", e.References...)
	if e.ThreadIndex != "" {
		fmt.Fprintf(&b, "Thread-Index: %s\r\n", e.ThreadIndex)
	}
	return b.String() + "\r\n"
}
