package gmailtest

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// listMessages is users.messages.list.
func (c *call) listMessages() (any, *apiError) {
	ms, e := c.search()
	if e != nil {
		return nil, e
	}
	page, next, e := c.page(ms)
	if e != nil {
		return nil, e
	}
	out := &gmail.ListMessagesResponse{ResultSizeEstimate: estimate(len(ms)), NextPageToken: next}
	for _, m := range page { // facts 1.5: "ids and threadIds only, newest first"
		out.Messages = append(out.Messages, &gmail.Message{Id: m.id, ThreadId: m.thread})
	}
	out.ForceSendFields = []string{"ResultSizeEstimate"}
	return out, nil
}

// estimate is unreliable (facts 1.5). Here it stops counting at 201.
func estimate(n int) int64 { return int64(min(n, 201)) }

// search returns the messages that a listing asks for, newest first.
func (c *call) search() ([]*mail, *apiError) {
	u := c.user
	q := c.query.Get("q")
	if q != "" && c.metadata {
		return nil, forbidden("forbidden", "Metadata scope does not support 'q' parameter") // facts 1.1
	}
	labels := c.query["labelIds"]
	for _, l := range labels {
		if u.label(l) == nil {
			return nil, invalid("Invalid label: %s", l)
		}
	}
	f := found{q, strings.Join(labels, " "), c.flag("includeSpamTrash"), u.last, len(u.labels), c.s.now().Unix() / 60, nil}
	if f.same(&u.found) {
		return u.found.mail, nil
	}
	match, anywhere, e := c.parseQuery(q)
	if e != nil {
		return nil, e
	}
	for _, m := range u.order {
		if !f.all && !anywhere && (m.has("SPAM") || m.has("TRASH")) { // facts 1.5: "includeSpamTrash default false"
			continue
		}
		if !slices.ContainsFunc(labels, func(l string) bool { return !m.has(l) }) && match(m) { // facts 1.5: "labelIds are ANDed"
			f.mail = append(f.mail, m)
		}
	}
	u.found = f
	return f.mail, nil
}

// found is the last search of a mailbox, for the pages that follow the first.
type found struct {
	q, labels string
	all       bool
	last      uint64 // history id
	named     int
	minute    int64
	mail      []*mail
}

func (f *found) same(o *found) bool {
	return f.last == o.last && f.q == o.q && f.labels == o.labels && f.all == o.all && f.named == o.named && f.minute == o.minute
}

// page cuts a page out of a listing, after what its token says. Mail that comes or goes meanwhile shifts nothing.
func (c *call) page(ms []*mail) (page []*mail, next string, e *apiError) {
	most, e := c.number("maxResults", 100, 500) // facts 1.5: "default 100, max 500 per page"
	if e != nil {
		return nil, "", e
	}
	pos, e := c.position(2)
	if e != nil {
		return nil, "", e
	}
	if pos != nil {
		ms0, _ := strconv.ParseInt(pos[0], 10, 64)
		at := time.UnixMilli(ms0)
		ms = ms[sort.Search(len(ms), func(i int) bool { return !ms[i].before(at, pos[1]) && ms[i].id != pos[1] }):]
	}
	if len(ms) > most {
		last := ms[most-1]
		return ms[:most], c.pageToken(last.at.UnixMilli(), last.id), nil
	}
	return ms, "", nil
}

// named finds the message that the path names.
func (c *call) named(id string) (*mail, *apiError) {
	if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, invalid("Invalid id value")
	}
	m := c.user.mail[id]
	if m == nil {
		return nil, notFound()
	}
	return m, nil
}

// getMessage is users.messages.get.
func (c *call) getMessage() (any, *apiError) {
	m, e := c.named(c.r.PathValue("id"))
	if e != nil {
		return nil, e
	}
	return c.view(m, c.query.Get("format"))
}

// view writes a message in a format (facts 1.5).
func (c *call) view(m *mail, format string) (*gmail.Message, *apiError) {
	w := &gmail.Message{Id: m.id, ThreadId: m.thread, LabelIds: m.labels, HistoryId: m.historyID, InternalDate: m.at.UnixMilli(),
		SizeEstimate: int64(len(m.raw)), Snippet: m.snippet()}
	if c.metadata && format != "minimal" && format != "metadata" {
		return nil, forbidden("forbidden", "Metadata scope doesn't allow format "+strings.ToUpper(cmp.Or(format, "full"))) // facts 1.1: "forbids … bodies"
	}
	switch format {
	case "minimal": // "ids, labels, snippet, internalDate, no headers"
	case "metadata": // "+headers", and "no MIME tree"
		root := fakemail.Parse(m.raw)
		w.Payload = &gmail.MessagePart{MimeType: root.Kind, Headers: c.wireHeader(m.header, c.query["metadataHeaders"])}
	case "", "full":
		w.Payload = c.wirePart(m, fakemail.Parse(m.raw))
	case "raw":
		w.Raw = c.s.encode(m.raw)
	default:
		return nil, invalid("Invalid value at 'format' (type.googleapis.com/caribou.api.proto.MessageFormat), %q", format)
	}
	return w, nil
}

// wireHeader writes fields; of these names, or all.
func (c *call) wireHeader(h fakemail.Header, names []string) []*gmail.MessagePartHeader {
	var out []*gmail.MessagePartHeader
	for _, f := range h {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.Name) }) {
			out = append(out, &gmail.MessagePartHeader{Name: f.Name, Value: c.s.wireValue(f)})
		}
	}
	return out
}

// wireValue is a field's value. That encoded words come decoded is from memory, and that names are quoted then where they must be is a guess;
// Options.EncodedHeaders leaves them.
func (s *Server) wireValue(f fakemail.Field) string {
	if s.opts.EncodedHeaders || !strings.Contains(f.Value, "=?") {
		return f.Value
	}
	if slices.ContainsFunc([]string{"From", "To", "Cc", "Bcc", "Reply-To", "Sender"}, func(n string) bool { return strings.EqualFold(n, f.Name) }) {
		if as, err := fakemail.AddressParser.ParseList(f.Value); err == nil {
			var out []string
			for _, a := range as {
				switch {
				case a.Name == "":
					out = append(out, "<"+a.Address+">")
				case strings.ContainsAny(a.Name, `()<>[]:;@\,."`):
					out = append(out, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Name)+`" <`+a.Address+">")
				default:
					out = append(out, a.Name+" <"+a.Address+">")
				}
			}
			return strings.Join(out, ", ")
		}
	}
	return fakemail.DecodeWords(f.Value)
}

// wirePart writes the tree. Facts 1.5: "base64url bodies, big parts as attachmentId".
func (c *call) wirePart(m *mail, p *fakemail.Part) *gmail.MessagePart {
	w := &gmail.MessagePart{PartId: p.ID, MimeType: p.Kind, Filename: p.Filename, Headers: c.wireHeader(p.Header, nil), Body: &gmail.MessagePartBody{Size: int64(len(p.Body))}}
	w.ForceSendFields, w.Body.ForceSendFields = []string{"PartId", "Filename"}, []string{"Size"}
	switch {
	case len(p.Parts) > 0:
		for _, child := range p.Parts {
			w.Parts = append(w.Parts, c.wirePart(m, child))
		}
		if p.Kind != "message/rfc822" {
			w.Body.Size = 0
			break
		}
		fallthrough
	case p.Filename != "", len(p.Body) > c.s.opts.InlineBody:
		w.Body.AttachmentId = c.attachmentID(m, p)
	default:
		w.Body.Data = c.s.encode(p.Body)
	}
	return w
}

// attachmentID is another at each get (facts 1.5: "not stable between gets"). It is good for an hour.
func (c *call) attachmentID(m *mail, p *fakemail.Part) string {
	return "ANGjdJ8" + b64.EncodeToString(fmt.Appendf(nil, "%d %s %d %s", c.s.next(), m.id, c.s.now().Unix(), p.ID))
}

// getAttachment is users.messages.attachments.get.
func (c *call) getAttachment() (any, *apiError) {
	m, e := c.named(c.r.PathValue("messageId"))
	if e != nil {
		return nil, e
	}
	id, ok := strings.CutPrefix(c.r.PathValue("id"), "ANGjdJ8")
	raw, err := b64.DecodeString(id)
	f := strings.Split(string(raw), " ")
	if !ok || err != nil || len(f) != 4 || f[1] != m.id {
		return nil, invalid("Invalid attachment token")
	}
	if at, err := strconv.ParseInt(f[2], 10, 64); err != nil || c.s.now().Sub(time.Unix(at, 0)) > time.Hour {
		return nil, invalid("Invalid attachment token")
	}
	p := fakemail.Parse(m.raw).Find(f[3])
	if p == nil {
		return nil, notFound()
	}
	return &gmail.MessagePartBody{Size: int64(len(p.Body)), Data: c.s.encode(p.Body)}, nil
}

func (m *mail) body() string {
	if m.text == "" {
		m.text = plain(fakemail.Parse(m.raw))
	}
	return m.text
}

// snippet is the beginning of the text, escaped for HTML (from memory).
func (m *mail) snippet() string {
	r := []rune(m.body())
	return html.EscapeString(string(r[:min(len(r), 120)]))
}

// changeable says what is wrong with labels that are to be put on or taken off. Facts 1.5: "SENT/DRAFT cannot" be changed.
func (u *User) changeable(add, remove []string) *apiError {
	if len(add) == 0 && len(remove) == 0 {
		return invalid("No label add or removes specified") // from memory
	}
	if len(add) > 100 || len(remove) > 100 { // G-disc: addLabelIds, removeLabelIds
		return invalid("Too many labels")
	}
	for _, l := range slices.Concat(add, remove) {
		switch {
		case u.label(l) == nil:
			return invalid("labelId not found")
		case l == "SENT", l == "DRAFT", l == "CHAT":
			return invalid("Invalid label: %s", l)
		case slices.Contains(add, l) && slices.Contains(remove, l):
			return invalid("Cannot both add and remove the same label")
		}
	}
	return nil
}

// modifyMessage is users.messages.modify.
func (c *call) modifyMessage() (any, *apiError) {
	m, e := c.named(c.r.PathValue("id"))
	if e != nil {
		return nil, e
	}
	var in gmail.ModifyMessageRequest
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.user.changeable(in.AddLabelIds, in.RemoveLabelIds); e != nil {
		return nil, e
	}
	c.user.relabel(m, in.AddLabelIds, in.RemoveLabelIds)
	return brief(m), nil
}

// brief is what methods answer that change a message: "id + threadId + labelIds only" (facts 1.7, of sending).
func brief(m *mail) *gmail.Message {
	return &gmail.Message{Id: m.id, ThreadId: m.thread, LabelIds: m.labels}
}

// maxBatch is how many messages batchModify takes (facts 1.5).
const maxBatch = 1000

// batchModify is users.messages.batchModify. "All-or-nothing unspecified" (facts 1.5): here ids that are nobody's are passed over.
func (c *call) batchModify() (any, *apiError) {
	var in gmail.BatchModifyMessagesRequest
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if len(in.Ids) == 0 {
		return nil, invalid("No message ids specified")
	}
	if len(in.Ids) > maxBatch {
		return nil, invalid("Too many message ids")
	}
	if e := c.user.changeable(in.AddLabelIds, in.RemoveLabelIds); e != nil {
		return nil, e
	}
	for _, id := range in.Ids {
		if m := c.user.mail[id]; m != nil {
			c.user.relabel(m, in.AddLabelIds, in.RemoveLabelIds)
		}
	}
	return nil, nil
}

// batchDelete is users.messages.batchDelete.
func (c *call) batchDelete() (any, *apiError) {
	var in gmail.BatchDeleteMessagesRequest
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if len(in.Ids) == 0 || len(in.Ids) > maxBatch {
		return nil, invalid("Wrong number of message ids")
	}
	for _, id := range in.Ids {
		if m := c.user.mail[id]; m != nil {
			c.user.remove(m)
		}
	}
	return nil, nil
}

// trashMessage is users.messages.trash.
func (c *call) trashMessage() (any, *apiError) {
	m, e := c.named(c.r.PathValue("id"))
	if e != nil {
		return nil, e
	}
	c.user.trash(m)
	return brief(m), nil
}

// untrashMessage is users.messages.untrash.
func (c *call) untrashMessage() (any, *apiError) {
	m, e := c.named(c.r.PathValue("id"))
	if e != nil {
		return nil, e
	}
	c.user.relabel(m, nil, []string{"TRASH"})
	return brief(m), nil
}

// deleteMessage is users.messages.delete, for mail.google.com only (facts 1.1).
func (c *call) deleteMessage() (any, *apiError) {
	m, e := c.named(c.r.PathValue("id"))
	if e != nil {
		return nil, e
	}
	c.user.remove(m)
	return nil, nil
}
