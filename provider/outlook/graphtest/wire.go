package graphtest

import (
	"encoding/base64"
	stdhtml "html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// load reads the body and the attachments of a message that came as MIME.
func (m *mail) load() {
	if m.loaded {
		return
	}
	m.loaded = true
	m.files = nil
	html, plain := "", ""
	haveHTML, havePlain := false, false
	for _, p := range fakemail.Parse(m.raw).Leaves() {
		disposition := strings.ToLower(p.Header.Get("Content-Disposition"))
		attached := p.Filename != "" || strings.HasPrefix(disposition, "attachment") || p.Kind == "message/rfc822" || !strings.HasPrefix(p.Kind, "text/")
		switch {
		case !attached && p.Kind == "text/html":
			html += string(p.Body)
			haveHTML = true
		case !attached && p.Kind == "text/plain":
			plain += string(p.Body)
			havePlain = true
		default:
			f := &file{name: p.Filename, kind: p.Kind, data: p.Body, modified: m.received, item: p.Kind == "message/rfc822",
				contentID: strings.Trim(p.Header.Get("Content-ID"), "<>"), inline: strings.HasPrefix(disposition, "inline")}
			if f.name == "" && f.item {
				f.name = fakemail.DecodeWords(fakemail.ParseHeader(p.Body).Get("Subject"))
			}
			m.files = append(m.files, f)
		}
	}
	switch {
	case haveHTML:
		m.body = body{"html", html}
	case havePlain:
		m.body = body{"text", plain}
	default:
		m.body = body{"text", ""}
	}
}

// attachments are those of a message, with their ids.
func (s *Server) attachments(m *mail) []*file {
	m.load()
	for _, f := range m.files {
		if f.id == "" {
			f.id = s.fileID(m, f)
		}
	}
	return m.files
}

func (s *Server) fileID(m *mail, f *file) string {
	return m.immutable[:len(m.immutable)-1] + base64.URLEncoding.EncodeToString(s.digest(15, "file", m.immutable, s.next())) + "="
}

// hasAttachments is false where all of them are inline (from memory, as documented of the property).
func (m *mail) hasAttachments() bool {
	m.load()
	return slices.ContainsFunc(m.files, func(f *file) bool { return !f.inline })
}

// message is a message as Graph shows it to a call: what is selected of it, with the id that is preferred.
func (c *call) message(m *mail, selected []string) map[string]any {
	v := map[string]any{"@odata.etag": m.etag(), "id": c.id(m)}
	for _, name := range selected {
		if p, ok := properties[name]; ok {
			if x := p(c, m); x != absent {
				v[name] = x
			}
		}
	}
	return v
}

func (c *call) id(m *mail) string {
	if c.prefer.immutable {
		return m.immutable
	}
	return m.id
}

// absent is the value of a property that isn't there.
var absent any = new(int)

// properties of a message.
var properties = map[string]func(*call, *mail) any{
	"id":                   func(c *call, m *mail) any { return c.id(m) },
	"changeKey":            func(_ *call, m *mail) any { return m.changeKey() },
	"createdDateTime":      func(_ *call, m *mail) any { return wireTime(m.createdAt) },
	"lastModifiedDateTime": func(_ *call, m *mail) any { return wireTime(m.modified) },
	"receivedDateTime":     func(_ *call, m *mail) any { return wireTime(m.received) },
	"sentDateTime":         func(_ *call, m *mail) any { return wireTime(m.sent) },
	"categories":           func(_ *call, m *mail) any { return m.categories },
	"hasAttachments":       func(_ *call, m *mail) any { return m.hasAttachments() },
	"internetMessageId": func(_ *call, m *mail) any {
		if m.messageID == "" {
			return absent
		}
		return "<" + m.messageID + ">" // facts 2.3: "with angle brackets"
	},
	"subject":                    func(_ *call, m *mail) any { return m.subject },
	"bodyPreview":                func(_ *call, m *mail) any { return m.preview() },
	"importance":                 func(_ *call, m *mail) any { return m.importance },
	"inferenceClassification":    func(_ *call, m *mail) any { return m.inference },
	"parentFolderId":             func(_ *call, m *mail) any { return m.folder.id },
	"conversationId":             func(_ *call, m *mail) any { return m.conversation },
	"conversationIndex":          func(_ *call, m *mail) any { return base64.StdEncoding.EncodeToString(m.index) },
	"isDeliveryReceiptRequested": func(_ *call, m *mail) any { return m.deliveryReceipt },
	"isReadReceiptRequested":     func(_ *call, m *mail) any { return m.readReceipt },
	"isRead":                     func(_ *call, m *mail) any { return m.read },
	"isDraft":                    func(_ *call, m *mail) any { return m.draft },
	"webLink": func(_ *call, m *mail) any {
		return "https://outlook.office365.com/owa/?ItemID=" + url.QueryEscape(m.id) + "&exvsurl=1&viewmodel=ReadMessageItem"
	},
	"body":          func(c *call, m *mail) any { return c.body64(m) },
	"uniqueBody":    func(c *call, m *mail) any { return c.body64(m) },
	"sender":        func(_ *call, m *mail) any { return one(m.sender) },
	"from":          func(_ *call, m *mail) any { return one(m.from) },
	"toRecipients":  func(_ *call, m *mail) any { return many(m.to) },
	"ccRecipients":  func(_ *call, m *mail) any { return many(m.cc) },
	"bccRecipients": func(_ *call, m *mail) any { return many(m.bcc) },
	"replyTo":       func(_ *call, m *mail) any { return many(m.replyTo) },
	"flag":          func(_ *call, m *mail) any { return m.flag },
	"internetMessageHeaders": func(_ *call, m *mail) any {
		hs := []map[string]string{}
		for _, f := range m.headers {
			hs = append(hs, map[string]string{"name": f.Name, "value": f.Value})
		}
		if len(hs) == 0 {
			return absent // facts 2.3: "Drafts and many sent items have none"
		}
		return hs
	},
}

// byDefault is what comes where nothing is selected. Facts 2.3: internetMessageHeaders and uniqueBody "only via $select".
var byDefault = func() []string {
	var out []string
	for name := range properties {
		if name != "internetMessageHeaders" && name != "uniqueBody" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}()

func one(r *recipient) any {
	if r == nil {
		return absent
	}
	return r
}

func many(rs []recipient) any {
	if rs == nil {
		return []recipient{}
	}
	return rs
}

// preview is the first 255 characters of the text.
func (m *mail) preview() string {
	m.load()
	t := m.body.Content
	if m.body.ContentType == "html" {
		t = text(t)
	}
	t = strings.TrimSpace(t)
	if utf8.RuneCountInString(t) > 255 {
		t = string([]rune(t)[:255])
	}
	return t
}

var active = regexp.MustCompile(`(?is)<(script|iframe|object|embed|form)\b.*?</(script|iframe|object|embed|form)>|\son[a-z]+\s*=\s*("[^"]*"|'[^']*')`)

// body64 is the body as it is preferred. Facts 2.3: HTML "is sanitised by default", and text comes where it is asked for.
func (c *call) body64(m *mail) body {
	m.load()
	b := m.body
	switch {
	case c.prefer.body == "text" && b.ContentType == "html":
		return body{"text", text(b.Content)}
	case c.prefer.body != "text" && b.ContentType == "text" && !(c.s.opts.PlainBodies && c.prefer.body == ""):
		return body{"html", "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body><div class=\"PlainText\">" +
			strings.ReplaceAll(stdhtml.EscapeString(b.Content), "\n", "<br>\n") + "</div></body></html>"}
	case b.ContentType == "html" && !c.prefer.unsafe:
		return body{"html", active.ReplaceAllString(b.Content, "")}
	}
	return b
}

// wireFile is an attachment, with its bytes or without.
func (c *call) wireFile(f *file, whole bool) map[string]any {
	v := map[string]any{
		"@odata.type": "#microsoft.graph.fileAttachment", "id": f.id, "name": f.name, "contentType": f.kind, "size": len(f.data) + 180, // from memory: more than the bytes
		"isInline": f.inline, "lastModifiedDateTime": wireTime(f.modified),
	}
	if f.item {
		v["@odata.type"], v["contentType"] = "#microsoft.graph.itemAttachment", nil
		return v
	}
	v["contentId"], v["contentLocation"] = nil, nil
	if f.contentID != "" {
		v["contentId"] = f.contentID
	}
	if whole {
		v["contentBytes"] = base64.StdEncoding.EncodeToString(f.data)
	}
	return v
}

// selected is $select, with the names as Graph writes them.
func (c *call) selected() []string {
	var out []string
	for _, n := range strings.Split(c.query.Get("$select"), ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}

// selectedProperties are those of a message that a call wants.
func selectedProperties(v string) ([]string, *apiError) {
	var out []string
	for _, n := range strings.Split(v, ",") {
		if n = strings.TrimSpace(n); n == "" {
			continue
		}
		found := false
		for p := range properties {
			if strings.EqualFold(p, n) {
				out, found = append(out, p), true
			}
		}
		if !found && !slices.Contains([]string{"attachments", "extensions", "multiValueExtendedProperties", "singleValueExtendedProperties"}, n) {
			return nil, badRequest("RequestBroker--ParseUri", "Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", n)
		}
	}
	if len(out) == 0 {
		return byDefault, nil
	}
	return out, nil
}

// pick leaves of an object what is selected, its id and its annotations.
func pick(v map[string]any, selected []string) map[string]any {
	if len(selected) == 0 {
		return v
	}
	out := map[string]any{}
	for k, x := range v {
		if k == "id" || strings.HasPrefix(k, "@") || slices.ContainsFunc(selected, func(n string) bool { return strings.EqualFold(n, k) }) {
			out[k] = x
		}
	}
	return out
}

// extended is $expand=singleValueExtendedProperties($filter=id eq 'String 0x1042' or id eq '…') (facts 2.3).
var extendedID = regexp.MustCompile(`(?i)id\s+eq\s+'([^']*)'`)

func (m *mail) extended(expand string) []map[string]string {
	var out []map[string]string
	for _, x := range extendedID.FindAllStringSubmatch(expand, -1) {
		if v, ok := m.property(x[1]); ok {
			out = append(out, map[string]string{"id": x[1], "value": v})
		}
	}
	return out
}

// property is an extended property. Facts 2.3: 0x1042 In-Reply-To, 0x1039 References, 0x007D the transport headers, 0x001A the message class.
func (m *mail) property(id string) (string, bool) {
	switch key := strings.ToLower(id); key {
	case "string 0x1042":
		return m.inReplyTo, m.inReplyTo != ""
	case "string 0x1039":
		return m.refs, m.refs != ""
	case "string 0x1035":
		return "<" + m.messageID + ">", m.messageID != ""
	case "string 0x7d", "string 0x007d":
		if len(m.headers) == 0 || m.raw == nil { // as internetMessageHeaders: drafts and what was sent have none
			return "", false
		}
		return headerBlock(m.raw), true
	case "string 0x1a", "string 0x001a":
		return "IPM.Note", true
	default:
		if v, ok := m.properties[key]; ok {
			return v, true
		}
		// A field of the header is a named property of this set (from memory, PS_INTERNET_HEADERS).
		name, ok := strings.CutPrefix(key, "string {00020386-0000-0000-c000-000000000046} name ")
		if !ok {
			return "", false
		}
		h := m.headers
		if m.raw != nil {
			h = fakemail.ParseHeader(m.raw)
		}
		vs := h.All(name)
		if len(vs) == 0 {
			return "", false
		}
		return vs[0], true
	}
}
