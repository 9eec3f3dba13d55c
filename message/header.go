package message

import (
	"bytes"
	"net/mail"
	"strings"
	"time"
)

// field is one header field: the name in lower case, the value unfolded, in the bytes it came in.
type field struct{ name, value string }

type header []field

// get returns the topmost value of a field, "" where there is none.
func (h header) get(name string) string {
	for i := range h {
		if h[i].name == name {
			return h[i].value
		}
	}
	return ""
}

func (h header) has(name string) bool {
	for i := range h {
		if h[i].name == name {
			return true
		}
	}
	return false
}

// all returns the values of a field in order, bounded.
func (h header) all(name string) []string {
	var vs []string
	for i := range h {
		if h[i].name == name && len(vs) < 100 {
			vs = append(vs, h[i].value)
		}
	}
	return vs
}

// lines gives every line ending one form. RFC 5322, 2.3 forbids bare CR and bare LF. Seen in practice: files that
// passed through old Macs end every line with CR alone.
func lines(raw []byte, d *defects) []byte {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') >= 0 {
		d.add("bare-cr", "lines end with CR alone")
		return bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'})
	}
	return raw
}

// nextLine returns the first line without its ending, and the rest.
func nextLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return bytes.TrimRight(b, "\r"), nil
	}
	return bytes.TrimRight(b[:i], "\r"), b[i+1:]
}

// splitHeader reads fields up to the empty line and returns them with what follows. It never fails: what is no
// field is left out and named.
func splitHeader(raw []byte, top bool, d *defects) (header, []byte) {
	rest := raw
	if top {
		// Seen in practice: blank lines and an mbox "From " line, once or quoted, before the first field.
		for len(rest) > 0 {
			line, next := nextLine(rest)
			switch {
			case len(bytes.TrimSpace(line)) == 0:
				d.add("leading-blank-line", "before the header")
			case bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From ")):
				d.add("mbox-from-line", "before the header")
			default:
				next = nil
			}
			if next == nil {
				break
			}
			rest = next
		}
	}
	start := rest
	var (
		h     header
		size  int
		name  string
		value []byte
		open  bool
	)
	flush := func() {
		if open {
			h = append(h, field{name, strings.TrimSpace(string(value))})
		}
		open, value = false, value[:0]
	}
	for len(rest) > 0 {
		line, next := nextLine(rest)
		if len(line) == 0 {
			rest = next
			break
		}
		if size > maxHeader || len(h) > maxFields {
			d.add("header-too-long", "the rest was left out")
			rest = next
			continue
		}
		size += len(line) + 2
		switch colon := bytes.IndexByte(line, ':'); {
		case line[0] == ' ' || line[0] == '\t':
			// RFC 5322, 2.2.3: unfolding removes the line break and keeps the space.
			if open {
				value = append(value, line...)
			} else if len(bytes.TrimSpace(line)) > 0 {
				d.add("header-continues-nothing", "")
			}
		case colon > 0 && isFieldName(bytes.TrimRight(line[:colon], " \t")):
			flush()
			name = strings.ToLower(string(bytes.TrimRight(line[:colon], " \t")))
			value = append(value, line[colon+1:]...)
			open = true
		case bytes.HasPrefix(line, []byte("--")) && strings.Contains(strings.ToLower(string(value)), "boundary") && containsBoundary(h, value, line):
			// Seen in practice: the empty line before the first boundary is missing.
			d.add("header-without-end", "the body begins at the boundary")
			flush()
			return h, rest
		default:
			d.add("header-without-colon", "line left out")
			flush()
		}
		rest = next
	}
	flush()
	if len(h) == 0 && len(bytes.TrimSpace(start)) > 0 && len(rest) == 0 || top && len(h) == 0 {
		d.add("no-header", "all was read as text")
		return nil, start
	}
	return h, rest
}

func containsBoundary(h header, value, line []byte) bool {
	b := bytes.TrimSpace(line)[2:]
	if len(b) == 0 || len(b) > 200 {
		return false
	}
	return bytes.Contains(value, b) || strings.Contains(h.get("content-type"), string(b))
}

// isFieldName reports whether b is made of RFC 5322, 3.6.8 ftext.
func isFieldName(b []byte) bool {
	if len(b) == 0 || len(b) > 200 {
		return false
	}
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// text returns a field of unstructured text for people.
func (h header) text(name string, d *defects) string {
	return decodeText(h.get(name), h.charset(), d)
}

// charset is the only hint there is to raw 8-bit header text.
func (h header) charset() string {
	_, params := parseParams(h.get("content-type"))
	return params["charset"]
}

func (h header) addresses(name string, d *defects) []Address {
	var as []Address
	for _, v := range h.all(name) {
		// RFC 5322, 3.6 allows each address field once. Seen in practice: several.
		as = append(as, ParseAddressList(utf8Text([]byte(v), h.charset(), d))...)
		if len(as) > maxAddresses {
			d.add("too-many-addresses", name)
			return as[:maxAddresses]
		}
	}
	return as
}

// envelope reads the fields that Envelope holds.
func (h header) envelope(authServers []string, d *defects) Envelope {
	e := Envelope{
		Has:         HasHeader,
		InReplyTo:   ParseIDs(strings.Join(h.all("in-reply-to"), " "), maxIDs),
		References:  ParseIDs(strings.Join(h.all("references"), " "), maxIDs),
		ThreadIndex: cut(clean(h.get("thread-index")), 4096),
		From:        h.addresses("from", d),
		Sender:      h.addresses("sender", d),
		ReplyTo:     h.addresses("reply-to", d),
		To:          h.addresses("to", d),
		Cc:          h.addresses("cc", d),
		Bcc:         h.addresses("bcc", d),
		Subject:     cut(h.text("subject", d), maxSubject),
	}
	e.MessageID = messageID(h.get("message-id"))
	if v := h.get("date"); v != "" {
		t, ok := parseDate(v)
		if !ok {
			d.add("bad-date", "")
		}
		e.Date = t
	}
	e.Auth = h.auth(e.From, authServers)
	return e
}

var dateLayouts = []string{
	"2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04 -0700", "2 Jan 2006 15:04:05",
	"2 Jan 2006 15:04", "2 Jan 06 15:04:05 -0700", "2 Jan 06 15:04:05 MST", "Jan 2 15:04:05 2006",
	"Jan 2 15:04:05 MST 2006", "Jan 2 15:04:05 2006 -0700", "2-Jan-2006 15:04:05 -0700", "2006-01-02 15:04:05 -0700",
	"2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00", "2 January 2006 15:04:05 -0700", "2 Jan 2006",
}

// parseDate reads RFC 5322, 3.3 dates and the forms seen in practice: without zone, without seconds, asctime, ISO.
func parseDate(v string) (time.Time, bool) {
	if len(v) > 200 {
		return time.Time{}, false
	}
	// As nearly all mail has it: net/mail tries this form after many others.
	t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", v)
	if err != nil {
		t, err = mail.ParseDate(v)
	}
	if err == nil && plausible(t) {
		return t, true
	}
	v = stripComments(v)
	if i := strings.IndexByte(v, ','); i >= 0 && i < 12 {
		v = v[i+1:]
	}
	fs := strings.Fields(v)
	if len(fs) > 1 && len(fs[0]) >= 3 && !strings.ContainsAny(fs[0], "0123456789") && !strings.ContainsAny(fs[1][:1], "0123456789") {
		fs = fs[1:] // the day's name without its comma
	}
	v = strings.Join(fs, " ")
	v = strings.Replace(strings.Replace(v, "GMT+", "+", 1), "GMT-", "-", 1)
	for _, s := range []string{v, strings.Join(fs[:max(len(fs)-1, 0)], " ")} {
		for _, l := range dateLayouts {
			if t, err := time.Parse(l, s); err == nil && plausible(t) {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// plausible keeps out years that neither databases nor people take.
func plausible(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 10000 }
