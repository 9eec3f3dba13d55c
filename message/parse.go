package message

import (
	"io"
	"strings"
)

// Limits. Mail is written by strangers: what is read is bounded, what is beyond is left out and named.
const (
	maxHeader  = 1 << 20
	maxFields  = 5000
	maxSubject = 16 << 10
	maxText    = 1 << 20
	maxHTML    = 1 << 20
	maxDepth   = 20
	maxParts   = 1000
	maxDefects = 50
	maxName    = 1024
)

// Parser parses messages. The zero value is ready to use.
type Parser struct {
	// AuthServers are the authserv-ids (RFC 8601, 2.5) of servers whose Authentication-Results are believed, such
	// as "mx.google.com". "" stands for fields without one, as Microsoft 365 writes them. None: Auth is unknown.
	AuthServers []string
}

// Parse parses a whole message with the zero Parser.
func Parse(raw []byte) *Message { return Parser{}.Parse(raw) }

// ParseHeader parses the header of a message with the zero Parser.
func ParseHeader(raw []byte) Envelope { return Parser{}.ParseHeader(raw) }

// Parse parses a whole message. It never refuses one: what could be read is returned, what was wrong is named in
// Defects. Time and memory are linear in the length of raw.
func (p Parser) Parse(raw []byte) *Message {
	d := new(defects)
	h, body := splitHeader(lines(raw, d), true, d)
	m := &Message{Envelope: h.envelope(p.AuthServers, d)}
	w := walker{d: d}
	c := w.entity(h, body, "", 0, "text/plain")
	m.HTML = cut(c.html, maxHTML)
	m.Text = c.text
	if strings.TrimSpace(m.Text) == "" && m.HTML != "" {
		m.Text = htmlText(m.HTML, maxText)
	}
	m.Text = cut(m.Text, maxText)
	m.Attachments = w.attachments
	m.HeaderAutomated = classify(h, &m.Envelope, nil)
	m.Automated = classify(h, &m.Envelope, &content{kinds: w.kinds, text: m.Text, html: m.HTML})
	m.Defects = d.list
	return m
}

// ParseHeader parses the header of a message; a body that follows is ignored. Automated is judged with less
// evidence than Parse has.
func (p Parser) ParseHeader(raw []byte) Envelope {
	d := new(defects)
	h, _ := splitHeader(lines(raw, d), true, d)
	e := h.envelope(p.AuthServers, d)
	e.Automated = classify(h, &e, nil)
	return e
}

// ParseReader is Parse for a stream of at most limit bytes; the rest is left unread and named. The error is the
// reader's: the message then holds what came before it.
func (p Parser) ParseReader(r io.Reader, limit int64) (*Message, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	long := int64(len(raw)) > limit
	if long {
		raw = raw[:limit]
	}
	m := p.Parse(raw)
	if long {
		m.Defects = append(m.Defects, Defect{Name: "message-too-long", Detail: "the rest was left out"})
	}
	return m, err
}

// defects collects each defect once, bounded.
type defects struct {
	list []Defect
	seen map[Defect]bool
}

func (d *defects) add(name, detail string) {
	f := Defect{name, detail}
	if len(d.list) >= maxDefects || d.seen[f] {
		return
	}
	if d.seen == nil {
		d.seen = map[Defect]bool{}
	}
	d.seen[f] = true
	d.list = append(d.list, f)
}
