package outlook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/rawmail"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// contentFields are what Content asks for: the body without an attachment's bytes, and the header (facts 2.3: "only comes with an explicit $select").
var contentFields = append([]string{"body", "hasAttachments", "internetMessageHeaders"}, listFields...)

// fileFields leave an attachment's bytes out. What only files have is named by their type (seen in practice, microsoftgraph/microsoft-graph-explorer-v4 #3916).
var fileFields = []string{"id", "name", "contentType", "size", "isInline", "microsoft.graph.fileAttachment/contentId"}

// plainFields are those of every attachment, for servers that know no types in a $select.
var plainFields = fileFields[:len(fileFields)-1]

// maxAhead is what contents that were read together may measure; a batch that held more makes the next smaller.
const (
	maxAhead = 8 << 20
	maxWidth = 24
)

// Prefetch has the contents of these messages read several at a time, with those of them that Content is asked for.
func (m *Mailbox) Prefetch(ids []provider.ItemID) {
	m.wanted, m.ahead = slices.Clone(ids), map[provider.ItemID]*message.Message{}
}

// Content implements provider.Mailbox. What it reads is put together as a message and parsed: so that an automatic answer is told from a person's by the same means as
// elsewhere. Attachments are named by Graph's ids of them.
func (m *Mailbox) Content(ctx context.Context, id provider.ItemID) (*message.Message, error) {
	if msg := m.ahead[id]; msg != nil {
		delete(m.ahead, id)
		return msg, ctx.Err()
	}
	l := quota.Past
	if m.urgent[id] {
		l = quota.Live
	}
	i := slices.Index(m.wanted, id)
	if i < 0 {
		return m.content(ctx, l, id)
	}
	rest := m.wanted[i:]
	rest = rest[:min(len(rest), cmp.Or(m.width, maxWidth))]
	m.wanted = m.wanted[i+len(rest):]
	return m.together(ctx, l, id, rest)
}

// together reads several contents at a time, as many as may be under way, and returns that of id. Of the others those that failed are read when they are asked for.
func (m *Mailbox) together(ctx context.Context, l quota.Lane, id provider.ItemID, ids []provider.ItemID) (*message.Message, error) {
	got, errs := make([]*message.Message, len(ids)), make([]error, len(ids))
	next := make(chan int, len(ids))
	for i := range ids {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(m.p.o.AtOnce, len(ids)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = guarded(ctx, func(ctx context.Context) (err error) {
					got[i], err = m.content(ctx, l, ids[i])
					return err
				})
				var limit *provider.RateLimitError
				if errors.As(errs[i], &limit) {
					return // the others would be refused, too
				}
			}
		})
	}
	wg.Wait()
	size := 0
	for i, msg := range got {
		if msg != nil && ids[i] != id {
			m.ahead[ids[i]] = msg
			size += len(msg.Text) + len(msg.HTML)
		}
	}
	if size > maxAhead {
		m.width = max(len(ids)/2, 1)
	}
	i := slices.Index(ids, id)
	if got[i] == nil && errs[i] == nil { // nobody came to it
		return m.content(ctx, l, id)
	}
	return got[i], errs[i]
}

// content reads one message. It may run several times at once.
func (m *Mailbox) content(ctx context.Context, l quota.Lane, id provider.ItemID) (*message.Message, error) {
	x, err := m.getExactly(ctx, l, id, contentFields, "attachments($select="+strings.Join(fileFields, ",")+")", properties)
	if status(err) == 400 { // a server that is only like Graph
		if x, err = m.getExactly(ctx, l, id, contentFields); err == nil && mayHaveFiles(x) {
			as, aerr := m.attachments(ctx, l, id, fileFields)
			if status(aerr) == 400 {
				as, aerr = m.attachments(ctx, l, id, plainFields)
			}
			if err = aerr; err == nil {
				x.SetAttachments(as)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("outlook: reading a message: %w", m.single(ctx, l, err))
	}
	if _, _, err := m.watchedIn(ctx, l, x.folder()); err != nil {
		return nil, err
	}
	r, _ := m.known.tree.role(x.folder())
	return m.p.message(x, r == provider.RoleSent), nil
}

// mayHaveFiles: hasAttachments does not speak of those that are shown in the text.
func mayHaveFiles(x *mail) bool {
	if h := x.GetHasAttachments(); h != nil && *h {
		return true
	}
	b := x.GetBody()
	return b != nil && strings.Contains(str(b.GetContent()), "cid:")
}

func (m *Mailbox) attachments(ctx context.Context, l quota.Lane, id provider.ItemID, fields []string) (as []models.Attachmentable, err error) {
	err = m.read(ctx, l, attachmentsList, func(ctx context.Context) error {
		r, err := m.me.Messages().ByMessageId(string(id)).Attachments().Get(ctx, &users.ItemMessagesItemAttachmentsRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMessagesItemAttachmentsRequestBuilderGetQueryParameters{Select: fields}})
		if err != nil {
			return err
		}
		if r == nil || r.GetValue() == nil {
			return errEmpty
		}
		as = r.GetValue()
		return nil
	})
	return as, err
}

// message makes a message of what Graph tells of one.
func (p *Provider) message(x *mail, sent bool) *message.Message {
	head := cmp.Or(x.internetHeader(), x.header())
	if head == "" {
		head = x.written()
	}
	body, typ := "", "text/plain"
	if b := x.GetBody(); b != nil {
		body = str(b.GetContent())
		if b.GetContentType() != nil && *b.GetContentType() == models.HTML_BODYTYPE {
			typ = "text/html"
		}
	}
	cut := false
	if int64(len(body)) > p.o.ContentLimit {
		body, cut = strings.ToValidUTF8(body[:p.o.ContentLimit], ""), true
	}
	var files []message.Attachment
	for _, a := range x.GetAttachments() {
		if a == nil || str(a.GetId()) == "" || len(files) == maxFiles {
			continue
		}
		f := message.Attachment{Part: str(a.GetId()), Name: oneLine(str(a.GetName())), Type: strings.ToLower(mediaType(str(a.GetContentType()))), Inline: a.GetIsInline() != nil && *a.GetIsInline()}
		if s := a.GetSize(); s != nil {
			f.Size = int64(*s)
		}
		if fa, ok := a.(models.FileAttachmentable); ok {
			f.ContentID = oneLine(str(fa.GetContentId()))
		}
		files = append(files, f)
	}
	msg := p.parser.Parse(wrap(head, body, typ, files))
	automated := msg.Automated // which has seen the body
	bcc := msg.Bcc
	e := p.envelope(x, sent)
	if len(e.Bcc) == 0 {
		e.Bcc = bcc
	}
	e.Has = message.HasHeader // there is nothing more to be had
	if e.Automated.Class == "" {
		e.Automated = msg.HeaderAutomated
	}
	msg.Envelope = e
	msg.HeaderAutomated, msg.Automated = e.Automated, automated
	msg.Attachments = files
	if cut {
		msg.Defects = append(msg.Defects, message.Defect{Name: "truncated", Detail: fmt.Sprintf("%d bytes of text were read", p.o.ContentLimit)})
	}
	return msg
}

const maxFiles = 1000

func mediaType(s string) string {
	t, _, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(t, "/") {
		return "application/octet-stream"
	}
	return t
}

// wrap writes a message of a header, a text and what is attached to it, whose bytes are left out.
func wrap(head, body, typ string, files []message.Attachment) []byte {
	var b bytes.Buffer
	report := ""
	lines, _ := rawmail.SplitHeader([]byte(head))
	take := true
	for line := range bytes.Lines(lines) {
		if line[0] != ' ' && line[0] != '\t' {
			name, value, _ := bytes.Cut(line, []byte(":"))
			switch strings.ToLower(string(bytes.TrimSpace(name))) {
			case "content-type":
				take = false
				if t, params, err := mime.ParseMediaType(strings.TrimSpace(string(value))); err == nil && t == "multipart/report" {
					report = "; report-type=" + cmp.Or(word(params["report-type"]), "delivery-status")
				} else if strings.HasPrefix(strings.ToLower(strings.TrimSpace(string(value))), "multipart/report") {
					report = "; report-type=delivery-status" // its parameters may be on the next line
				}
			case "content-transfer-encoding", "mime-version", "content-disposition":
				take = false
			default:
				take = true
			}
		}
		if take {
			b.Write(line)
		}
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	part := func(typ string, data string) {
		b.WriteString("Content-Type: " + typ + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		enc := base64.NewEncoder(base64.StdEncoding, &b)
		io.WriteString(enc, data) //nolint:errcheck // to memory
		enc.Close()               //nolint:errcheck // to memory
		b.WriteString("\r\n")
	}
	if report == "" && len(files) == 0 {
		part(typ+"; charset=utf-8", body)
		return b.Bytes()
	}
	kind := "multipart/mixed"
	if report != "" {
		kind = "multipart/report"
	}
	const boundary = "=_1" // in base64 there is no underscore
	b.WriteString("Content-Type: " + kind + report + "; boundary=\"" + boundary + "\"\r\n\r\n")
	b.WriteString("--" + boundary + "\r\n")
	part(typ+"; charset=utf-8", body)
	for _, f := range files {
		b.WriteString("--" + boundary + "\r\nContent-Disposition: attachment\r\n")
		part(f.Type, ".")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return b.Bytes()
}

// Attachment implements provider.Mailbox. The bytes come as they are read; a server that has them in JSON only holds them in memory.
func (m *Mailbox) Attachment(ctx context.Context, id provider.ItemID, part string) (io.ReadCloser, error) {
	if part == "" || id == "" {
		return nil, provider.ErrGone
	}
	body, err := m.stream(ctx, attachmentBytes, "/me/messages/"+url.PathEscape(string(id))+"/attachments/"+url.PathEscape(part)+"/$value")
	var missing *MissingError
	if errors.As(err, &missing) {
		body, err = m.attached(ctx, id, part)
	}
	if err != nil {
		return nil, fmt.Errorf("outlook: reading an attachment: %w", m.single(ctx, quota.Live, err))
	}
	return body, nil
}

func (m *Mailbox) attached(ctx context.Context, id provider.ItemID, part string) (io.ReadCloser, error) {
	var data []byte
	err := m.read(ctx, quota.Live, attachmentGet, func(ctx context.Context) error {
		a, err := m.me.Messages().ByMessageId(string(id)).Attachments().ByAttachmentId(part).Get(ctx, nil)
		if err != nil {
			return err
		}
		f, ok := a.(models.FileAttachmentable)
		if !ok {
			return unsupported("this attachment is a link or another message, which the server has no bytes of")
		}
		data = f.GetContentBytes()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}
