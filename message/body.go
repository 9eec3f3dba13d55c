package message

import (
	"bytes"
	"html"
	"strconv"
	"strings"
)

// leaf is the readable content of an entity.
type leaf struct{ text, html string }

type walker struct {
	d           *defects
	parts       int
	attachments []Attachment
	kinds       []string // media types of the parts, for classify
}

// entity reads one MIME entity (RFC 2045). path is its IMAP section, "" for the message itself.
func (w *walker) entity(h header, body []byte, path string, depth int, defaultType string) leaf {
	typ, params := parseParams(h.get("content-type"))
	if !strings.Contains(typ, "/") || strings.HasPrefix(typ, "/") || len(typ) > 200 {
		if typ != "" {
			w.d.add("bad-content-type", section(path))
		}
		typ = defaultType // RFC 2045, 5.2
	}
	w.parts++
	if len(w.kinds) < 50 {
		w.kinds = append(w.kinds, typ)
	}
	if strings.HasPrefix(typ, "multipart/") && depth < maxDepth {
		if parts, ok := w.split(body, params["boundary"], path); ok {
			return w.multipart(typ, parts, path, depth)
		}
		if depth == 0 || len(bytes.TrimSpace(body)) > 0 {
			typ = "text/plain" // no boundary anywhere: people may still read it
		}
	} else if strings.HasPrefix(typ, "multipart/") {
		w.d.add("too-deep", section(path))
	}
	disposition, dparams := parseParams(h.get("content-disposition"))
	name := dparams["filename"]
	if name == "" {
		name = params["name"]
	}
	name = cut(decodeText(name, params["charset"], w.d), maxName)
	isBody := (typ == "text/plain" || typ == "text/html" || typ == "text/enriched" || typ == "text/markdown") && disposition != "attachment" && name == ""
	if typ == "text" {
		isBody = name == ""
	}
	if !isBody {
		if len(bytes.TrimSpace(body)) == 0 && name == "" && disposition == "" {
			return leaf{}
		}
		w.attachments = append(w.attachments, Attachment{
			Part: section(path), Name: name, Type: typ, Size: w.size(h, body),
			ContentID: cut(strings.Trim(oneLine(clean(h.get("content-id"))), "<>"), maxName),
			Inline:    disposition == "inline" || disposition == "" && h.has("content-id"),
		})
		return leaf{}
	}
	text := w.decoded(h, body, path)
	if typ == "text/html" && params["charset"] == "" {
		params["charset"] = metaCharset(text)
	}
	s := utf8Text(text, params["charset"], w.d)
	if typ == "text/html" {
		return leaf{html: s}
	}
	return leaf{text: strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")}
}

func section(path string) string {
	if path == "" {
		return "1"
	}
	return path
}

// multipart joins what the parts hold: the richest of an alternative (RFC 2046, 5.1.4), else all in order.
func (w *walker) multipart(typ string, parts [][]byte, path string, depth int) leaf {
	var sum leaf
	def := "text/plain"
	if typ == "multipart/digest" {
		def = "message/rfc822" // RFC 2046, 5.1.5
	}
	var leaves []leaf
	anyHTML := false
	for i, p := range parts {
		if w.parts >= maxParts {
			w.d.add("too-many-parts", "the rest was left out")
			break
		}
		sub := strconv.Itoa(i + 1)
		if path != "" {
			sub = path + "." + sub
		}
		h, body := splitHeader(p, false, w.d)
		l := w.entity(h, body, sub, depth+1, def)
		leaves = append(leaves, l)
		anyHTML = anyHTML || l.html != ""
	}
	for _, l := range leaves {
		if typ == "multipart/alternative" {
			if strings.TrimSpace(sum.text) == "" {
				sum.text = l.text
			}
			if l.html != "" {
				sum.html = l.html
			}
			continue
		}
		if l.html == "" && strings.TrimSpace(l.text) == "" {
			continue
		}
		t := l.text
		if strings.TrimSpace(t) == "" && len(leaves) > 1 && len(sum.text) < maxText {
			t = htmlText(l.html, maxText)
		}
		sum.text = join(sum.text, t, "\n")
		if anyHTML && len(sum.html) < maxHTML {
			if l.html == "" {
				l.html = "<pre>" + html.EscapeString(l.text) + "</pre>"
			}
			sum.html = join(sum.html, l.html, "\n")
		}
	}
	sum.text, sum.html = cut(sum.text, maxText), cut(sum.html, maxHTML)
	return sum
}

func join(a, b, sep string) string {
	if a == "" {
		return b
	}
	if b == "" || strings.HasSuffix(a, "\n") {
		return a + b
	}
	return a + sep + b
}

// split cuts a multipart body at its boundary (RFC 2046, 5.1.1) and reports whether there was one. A boundary that
// is missing or does not occur is guessed from the first line that looks like one and occurs twice.
func (w *walker) split(body []byte, boundary, path string) ([][]byte, bool) {
	if len(boundary) > 250 {
		boundary = ""
	}
	if boundary != "" {
		if parts, closed := cutParts(body, boundary); len(parts) > 0 {
			if !closed {
				w.d.add("multipart-truncated", section(path))
			}
			return parts, true
		}
		w.d.add("unknown-boundary", section(path))
	} else {
		w.d.add("missing-boundary", section(path))
	}
	rest := body
	for n := 0; len(rest) > 0 && n < 200; n++ {
		var line []byte
		line, rest = nextLine(rest)
		line = bytes.TrimSpace(line)
		if len(line) > 4 && len(line) < 250 && bytes.HasPrefix(line, []byte("--")) && bytes.Contains(rest, line) && len(bytes.Trim(line, "-=_ ")) > 0 {
			parts, _ := cutParts(body, string(line[2:]))
			return parts, len(parts) > 0
		}
		if len(line) > 0 && n > 0 && bytes.HasPrefix(line, []byte("--")) {
			break
		}
	}
	return nil, false
}

func cutParts(body []byte, boundary string) (parts [][]byte, closed bool) {
	mark := []byte("--" + boundary)
	start := -1
	for i := 0; i < len(body) && len(parts) <= maxParts; {
		j := bytes.Index(body[i:], mark)
		if j < 0 {
			break
		}
		j += i
		i = j + len(mark)
		if j > 0 && body[j-1] != '\n' {
			continue
		}
		line, rest := nextLine(body[i:])
		end := bytes.HasPrefix(line, []byte("--"))
		// Only white space may follow, or this is a longer boundary that begins like ours.
		if tail := bytes.TrimSpace(line); len(tail) > 0 && !(end && len(bytes.TrimSpace(tail[2:])) == 0) {
			continue
		}
		if start >= 0 {
			parts = append(parts, trimBreak(body[start:max(start, j)]))
		}
		if end {
			return parts, true
		}
		start = len(body) - len(rest)
		i = start
	}
	if start >= 0 && len(parts) <= maxParts {
		parts = append(parts, body[start:])
	}
	return parts, false
}

// trimBreak removes the line break that belongs to the boundary behind it.
func trimBreak(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return bytes.TrimSuffix(b, []byte{'\r'})
}

func encodingOf(h header) string {
	e := strings.ToLower(stripComments(h.get("content-transfer-encoding")))
	e = strings.Trim(e, " \t;\"'")
	if i := strings.IndexAny(e, " \t;,"); i > 0 {
		e = e[:i]
	}
	return e
}

// decoded returns the bytes of a text part, bounded.
func (w *walker) decoded(h header, body []byte, path string) []byte {
	var out []byte
	bad := 0
	switch enc := encodingOf(h); enc {
	case "base64":
		out, bad = decodeBase64(body, maxText+1)
	case "quoted-printable", "quotedprintable":
		out, bad = decodeQP(body, maxText+1)
	case "", "7bit", "8bit", "binary", "7-bit", "8-bit":
		out = body
	default:
		w.d.add("unknown-encoding", section(path))
		out = body
	}
	if bad > 0 {
		w.d.add("bad-encoding", section(path))
	}
	if len(out) > maxText {
		w.d.add("text-too-long", section(path))
		out = out[:maxText]
	}
	return out
}

func (w *walker) size(h header, body []byte) int64 {
	switch encodingOf(h) {
	case "base64":
		return base64Size(body)
	case "quoted-printable":
		out, _ := decodeQP(body, len(body)+1)
		return int64(len(out))
	}
	return int64(len(body))
}

// metaCharset finds the charset that HTML declares of itself, where the MIME header declares none.
func metaCharset(b []byte) string {
	head := strings.ToLower(string(b[:min(len(b), 2048)]))
	_, after, ok := strings.Cut(head, "charset=")
	if !ok {
		return ""
	}
	after = strings.TrimLeft(after, `"' `)
	if i := strings.IndexAny(after, "\"' />;\r\n"); i >= 0 {
		after = after[:i]
	}
	if strings.HasPrefix(after, "utf-16") { // the declaration itself was ASCII
		return "utf-8"
	}
	return after
}
