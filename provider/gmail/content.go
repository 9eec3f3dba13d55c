package gmail

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// maxAhead is what may lie in answers of one batch of contents; a batch that held more makes the next smaller.
const maxAhead = 8 << 20

// Prefetch has the contents of these messages read by batches, with those of them that Content is asked for, but for what Changes has read already.
func (m *Mailbox) Prefetch(ids []provider.ItemID) {
	m.wanted, m.ahead, m.called = nil, map[provider.ItemID]*message.Message{}, map[provider.ItemID]bool{}
	for _, id := range ids {
		if m.kept[id] != nil {
			m.called[id] = true
		} else {
			m.wanted = append(m.wanted, id)
		}
	}
}

// Content implements provider.Mailbox. Of what Prefetch named, that which the last Changes read costs nothing. The parts of the message come apart (format=full), so that no attachment is loaded; what they are is put together
// as a message again and parsed.
func (m *Mailbox) Content(ctx context.Context, id provider.ItemID) (*message.Message, error) {
	if msg := m.ahead[id]; msg != nil {
		delete(m.ahead, id)
		return msg, ctx.Err()
	}
	l := past
	if m.urgent[id] {
		l = live
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if raw := m.kept[id]; raw != nil && m.called[id] {
		delete(m.kept, id)
		msg, _, err := m.content(ctx, l, raw)
		if status(err) < 400 && !errors.Is(err, provider.ErrGone) {
			return msg, err
		}
		// The ids of parts have died (facts 1.5), or the message has.
	}
	ids := []provider.ItemID{id}
	if i := slices.Index(m.wanted, id); i >= 0 {
		rest := m.wanted[i:]
		rest = rest[:min(len(rest), m.batchWidth())]
		ids = slices.Clone(rest)
		m.wanted = m.wanted[i+len(rest):]
	}
	got, err := m.getMany(ctx, l, ids, whole)
	size := 0
	for _, other := range ids {
		if raw := got.got[other]; raw != nil && other != id {
			msg, n, err := m.content(ctx, l, raw)
			if size += n; err == nil {
				m.ahead[other] = msg
			}
		}
	}
	if size > maxAhead {
		m.quota.wide(m.batchWidth() / 2)
	}
	switch raw := got.got[id]; {
	case raw != nil:
		msg, _, err := m.content(ctx, l, raw)
		return msg, err
	case got.failed[id] != nil:
		return nil, fmt.Errorf("gmail: reading a message: %w", got.failed[id])
	}
	return nil, err
}

// content makes a message of its parts, and says how many bytes came.
func (m *Mailbox) content(ctx context.Context, l lane, raw *gapi.Message) (*message.Message, int, error) {
	w := mimeWriter{ctx: ctx, m: m, lane: l, id: raw.Id, room: m.p.o.ContentLimit}
	if raw.Payload != nil {
		if err := w.part(raw.Payload, 0); err != nil {
			return nil, w.n, err
		}
	}
	msg := m.p.parser.Parse(w.out.Bytes())
	automated := msg.Automated // which has seen the body
	msg.Envelope = m.envelope(raw)
	msg.HeaderAutomated, msg.Automated = msg.Envelope.Automated, automated
	for i := range msg.Attachments {
		a := &msg.Attachments[i]
		if p := partAt(raw.Payload, a.Part); p != nil && p.Body != nil {
			a.Size = p.Body.Size
			if a.Name == "" {
				a.Name = p.Filename
			}
		}
	}
	if w.truncated {
		msg.Defects = append(msg.Defects, message.Defect{Name: "truncated", Detail: fmt.Sprintf("%d bytes of text were read", m.p.o.ContentLimit)})
	}
	return msg, w.n, nil
}

// maxDepth is how deep parts may lie in parts, maxParts how many there may be in one.
const (
	maxDepth = 50
	maxParts = 1000
)

// mimeWriter writes a message from its parts as Gmail has them, with the texts and without the attachments.
type mimeWriter struct {
	ctx       context.Context //nolint:containedctx // the writer lives for one call
	m         *Mailbox
	lane      lane
	id        string
	room      int64 // for texts
	out       bytes.Buffer
	n         int // bytes that came
	boundary  int
	truncated bool
}

func (w *mimeWriter) part(p *gapi.MessagePart, depth int) error {
	typ := mediaType(p)
	var head strings.Builder
	if len(p.Parts) > 0 && strings.HasPrefix(strings.ToLower(typ), "multipart/") && depth < maxDepth {
		w.boundary++
		b := fmt.Sprintf("=_%d", w.boundary) // in base64 there is no underscore
		headerText(&head, p.Headers, "content-type", "content-transfer-encoding")
		report := ""
		if _, kind, ok := strings.Cut(strings.ToLower(contentType(p)), "report-type="); ok {
			kind, _, _ = strings.Cut(kind, ";")
			if kind = strings.Trim(kind, "\" \t\r\n"); word(kind) != "" {
				report = "; report-type=" + kind
			}
		}
		fmt.Fprintf(&head, "Content-Type: %s; boundary=\"%s\"%s\r\n\r\n", typ, b, report)
		w.out.WriteString(head.String())
		for i, sub := range p.Parts {
			if i == maxParts {
				break
			}
			if sub == nil {
				sub = &gapi.MessagePart{}
			}
			w.out.WriteString("\r\n--" + b + "\r\n")
			if err := w.part(sub, depth+1); err != nil {
				return err
			}
		}
		w.out.WriteString("\r\n--" + b + "--\r\n")
		return nil
	}
	body, err := w.body(p, typ)
	if err != nil {
		return err
	}
	ct := unfold.Replace(contentType(p))
	if isText(p, typ) && bodyIsUTF8(body, ct) {
		ct = withCharset(ct, typ)
	}
	headerText(&head, p.Headers, "content-type", "content-transfer-encoding")
	if ct == "" {
		ct = typ
	}
	w.out.WriteString(head.String() + "Content-Type: " + ct + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	enc := base64.NewEncoder(base64.StdEncoding, &w.out)
	enc.Write(body) //nolint:errcheck // to memory
	enc.Close()     //nolint:errcheck // to memory
	w.out.WriteString("\r\n")
	return nil
}

func contentType(p *gapi.MessagePart) string {
	for _, h := range p.Headers {
		if h != nil && strings.EqualFold(h.Name, "Content-Type") {
			return h.Value
		}
	}
	return ""
}

// isText reports whether a part is read by people in the message itself.
func isText(p *gapi.MessagePart, typ string) bool {
	typ = strings.ToLower(typ)
	broken := strings.HasPrefix(typ, "multipart/") && len(p.Parts) == 0 // then all of it is there as one text
	if p.Filename != "" || !strings.HasPrefix(typ, "text/") && !broken {
		return false
	}
	for _, h := range p.Headers {
		if h != nil && strings.EqualFold(h.Name, "Content-Disposition") && strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Value)), "attachment") {
			return false
		}
	}
	return true
}

// body is what a part holds. Of what is no text something stands there, or it would be taken for nothing.
func (w *mimeWriter) body(p *gapi.MessagePart, typ string) ([]byte, error) {
	if p.Body == nil {
		return nil, nil
	}
	if !isText(p, typ) {
		if p.Body.Size == 0 && p.Body.AttachmentId == "" {
			return nil, nil
		}
		return []byte("."), nil
	}
	if w.room <= 0 {
		w.truncated = true
		return nil, nil
	}
	b, err := decode(p.Body.Data)
	if err == nil && len(b) == 0 && p.Body.AttachmentId != "" { // facts 1.5: "big parts as attachmentId"
		if p.Body.Size > w.room {
			// What can only be had whole is not had at all.
			w.truncated = true
			return nil, nil
		}
		switch b, err = w.m.attachment(w.ctx, w.lane, w.id, p.Body); {
		case errors.Is(err, provider.ErrUnsupported): // the server has no parts apart
			w.truncated = true
			return nil, nil
		case errors.Is(err, provider.ErrGone): // the id of the part died; the message was there a moment ago
			err = errors.New("gmail: the text of a message could not be had")
		}
	}
	if err != nil {
		return nil, err
	}
	w.n += len(b)
	if int64(len(b)) > w.room {
		b, w.truncated = b[:w.room], true
	}
	w.room -= int64(len(b))
	return b, nil
}

// decode reads base64url. Facts 1.5: with and without padding.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		if b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "=")); err != nil {
			return nil, errors.New("gmail: a part is not base64url")
		}
	}
	return b, nil
}

// attachment gets the bytes of a part by an id that was told a moment ago.
func (m *Mailbox) attachment(ctx context.Context, l lane, id string, part *gapi.MessagePartBody) ([]byte, error) {
	var r *gapi.MessagePartBody
	if err := m.read(ctx, l, attachmentsGet, func(ctx context.Context) (err error) {
		r, err = m.api.Users.Messages.Attachments.Get("me", id, part.AttachmentId).Context(ctx).Do()
		if err == nil && r.Data == "" && part.Size > 0 {
			err = errEmpty
		}
		return err
	}); err != nil {
		return nil, m.single(ctx, l, err) // the message was let have
	}
	return decode(r.Data)
}

// Attachment implements provider.Mailbox. Facts 1.5: ids of attachments are not stable, so the message is got first: 40 units. The bytes are in memory: Google has them
// as one value.
func (m *Mailbox) Attachment(ctx context.Context, id provider.ItemID, part string) (io.ReadCloser, error) {
	got, err := m.getMany(ctx, live, []provider.ItemID{id}, whole)
	raw := got.got[id]
	switch {
	case raw != nil:
	case got.failed[id] != nil:
		return nil, fmt.Errorf("gmail: reading an attachment: %w", got.failed[id])
	default:
		return nil, err
	}
	p := partAt(raw.Payload, part)
	if p == nil || p.Body == nil {
		return nil, fmt.Errorf("gmail: there is no part %q: %w", part, provider.ErrGone)
	}
	var b []byte
	if p.Body.AttachmentId != "" && p.Body.Data == "" {
		b, err = m.attachment(ctx, live, raw.Id, p.Body)
	} else {
		b, err = decode(p.Body.Data)
	}
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// partAt finds a part by its section, as message.Attachment has it: "1" is the message itself where it has no parts.
func partAt(p *gapi.MessagePart, section string) *gapi.MessagePart {
	if p == nil {
		return nil
	}
	multi := func(p *gapi.MessagePart) bool {
		return len(p.Parts) > 0 && (p.MimeType == "" || strings.HasPrefix(strings.ToLower(p.MimeType), "multipart/"))
	}
	if !multi(p) {
		if section == "1" {
			return p
		}
		return nil
	}
	for s := range strings.SplitSeq(section, ".") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || !multi(p) || n > len(p.Parts) || p.Parts[n-1] == nil {
			return nil
		}
		p = p.Parts[n-1]
	}
	return p
}
