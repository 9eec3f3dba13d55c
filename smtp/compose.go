package smtp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	netmail "net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/intellicon/email-integration/message"
)

// Outgoing is a message to be composed. Bcc recipients are not part of a message; they go in provider.SendOptions.
type Outgoing struct {
	From        message.Address
	To, Cc      []message.Address // at least one of them, unless everybody is in Bcc
	ReplyTo     []message.Address
	Subject     string
	Text        string // Text, HTML or both
	HTML        string
	Attachments []Attachment
	// InReplyTo is the Message-ID of the mail that is answered, References its References. Ids that no mail program
	// would understand are left out.
	InReplyTo  string
	References []string
	MessageID  string    // without angle brackets; "": made, in the domain of From
	Date       time.Time // zero: now
	Automatic  bool      // no person pressed send: asks machines not to answer (RFC 3834)
}

// Attachment is a part to attach, or with a ContentID and Inline to show within the HTML.
type Attachment struct {
	Name      string
	Type      string // media type; "" is application/octet-stream
	Content   []byte
	ContentID string
	Inline    bool
}

// What survives as a Message-ID everywhere: printable ASCII without angle brackets. Others would be encoded by RFC 2047,
// which breaks threading (facts 4).
var usableID = regexp.MustCompile(`^[!-;=?-~]+@[!-;=?-~]+$`)

// maxReferences bounds the References of an answer: the first, which began the thread, and the latest.
const maxReferences = 21

// Compose renders a message, with CRLF line ends, and returns its Message-ID without angle brackets. Every wrong
// field is named in one error, each as a *FieldError.
func Compose(o Outgoing) (raw []byte, messageID string, err error) {
	var errs []error
	wrong := func(field, problem string) { errs = append(errs, &FieldError{Field: field, Problem: problem}) }
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	addresses := func(field string, as []message.Address) []*netmail.Address {
		var out []*netmail.Address
		for i, a := range as {
			if checkAddress(a.Addr) != nil || hasControl(a.Name) {
				wrong(fmt.Sprintf("%s[%d]", field, i), "this is not an email address")
				continue
			}
			// go-mail takes mail.Address on trust (facts 4), so it only gets what was parsed.
			p, _ := netmail.ParseAddress(asciiDomain(a.Addr))
			p.Name = strings.ToValidUTF8(a.Name, "?")
			out = append(out, p)
		}
		return out
	}
	if from := addresses("from", []message.Address{o.From}); len(from) == 1 {
		m.FromMailAddress(from[0])
	}
	if to := addresses("to", o.To); len(to) > 0 {
		m.ToMailAddress(to...)
	}
	if cc := addresses("cc", o.Cc); len(cc) > 0 {
		m.CcMailAddress(cc...)
	}
	if r := addresses("reply_to", o.ReplyTo); len(r) > 0 {
		m.ReplyToMailAddress(r...)
	}
	if hasControl(strings.ReplaceAll(o.Subject, "\t", " ")) {
		wrong("subject", "it holds line breaks or control characters")
	}
	if o.MessageID != "" && !usableID.MatchString(o.MessageID) {
		wrong("message_id", "this is not a Message-ID")
	}
	if o.Text == "" && o.HTML == "" {
		wrong("text", "a message needs a text or HTML")
	}
	for i, a := range o.Attachments {
		if err := attach(m, a); err != nil {
			wrong(fmt.Sprintf("attachments[%d]", i), err.Error())
		}
	}
	if len(errs) > 0 {
		return nil, "", fmt.Errorf("smtp: composing: %w", errors.Join(errs...))
	}

	messageID = o.MessageID
	if messageID == "" {
		// In the sending domain: a host name that is no FQDN is replaced by Gmail (facts 1.7 and 4).
		messageID = strings.ToLower(rand.Text()) + "@" + domainOf(o.From.Addr)
	}
	m.SetMessageIDWithValue(messageID)
	if o.Date.IsZero() {
		o.Date = time.Now()
	}
	m.SetDateWithValue(o.Date)
	m.Subject(strings.ToValidUTF8(strings.ReplaceAll(o.Subject, "\t", " "), "?"))
	thread(m, o)
	if o.Automatic {
		m.SetGenHeader("Auto-Submitted", "auto-generated")
		m.SetGenHeader("X-Auto-Response-Suppress", "All")
	}
	text, html := storable(o.Text), storable(o.HTML)
	switch {
	case text == "":
		m.SetBodyString(gomail.TypeTextHTML, html)
	default:
		m.SetBodyString(gomail.TypeTextPlain, text)
		if html != "" {
			m.AddAlternativeString(gomail.TypeTextHTML, html)
		}
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return nil, "", fmt.Errorf("smtp: composing: %w", err)
	}
	return b.Bytes(), messageID, nil
}

// thread writes In-Reply-To and References: the parent's References and then the parent (RFC 5322, 3.6.4).
func thread(m *gomail.Msg, o Outgoing) {
	var chain []string
	for _, id := range append(slices.Clone(o.References), o.InReplyTo) {
		if usableID.MatchString(id) && len(id) <= 900 {
			chain = append(slices.DeleteFunc(chain, func(s string) bool { return s == id }), id)
		}
	}
	if len(chain) > maxReferences {
		chain = append(chain[:1], chain[len(chain)-maxReferences+1:]...)
	}
	if usableID.MatchString(o.InReplyTo) && len(o.InReplyTo) <= 900 {
		m.SetGenHeader(gomail.HeaderInReplyTo, "<"+o.InReplyTo+">")
	}
	if len(chain) > 0 {
		m.SetGenHeader(gomail.HeaderReferences, "<"+strings.Join(chain, "> <")+">")
	}
}

func attach(m *gomail.Msg, a Attachment) error {
	if a.Name == "" || hasControl(a.Name) {
		return errors.New("its name is missing or holds control characters")
	}
	if a.Type == "" {
		a.Type = "application/octet-stream"
	}
	media, params, err := mime.ParseMediaType(a.Type)
	if err != nil || !strings.Contains(media, "/") || strings.HasPrefix(media, "multipart/") || hasControl(a.Type) {
		return errors.New("this is not a media type")
	}
	delete(params, "name")
	// go-mail does not check these two (facts 4).
	options := []gomail.FileOption{gomail.WithFileContentType(gomail.ContentType(mime.FormatMediaType(media, params)))}
	if a.ContentID != "" {
		if !usableID.MatchString(a.ContentID) {
			return errors.New("this is not a content id; it looks like name@domain")
		}
		options = append(options, gomail.WithFileContentID("<"+a.ContentID+">"))
	}
	if a.Inline {
		return m.EmbedReader(a.Name, bytes.NewReader(a.Content), options...)
	}
	return m.AttachReader(a.Name, bytes.NewReader(a.Content), options...)
}

// storable returns text as valid UTF-8 without NUL and with CRLF line ends.
func storable(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.ReplaceAll(s, "\n", "\r\n")
}
