package graphtest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	stdhtml "html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"regexp"
	"strings"
	"time"

	"golang.org/x/text/encoding/htmlindex"
)

// This is the server's own reading of mail, by the standard library, so that what reads through it is not compared with itself.

// header is the fields of a message or part in their order, unfolded.
type header []field

type field struct{ name, value string }

// parseHeader reads fields up to the first empty line. A line that is no field is skipped.
func parseHeader(raw []byte) header {
	h, _ := cut(raw)
	return h
}

// cut reads fields and returns what follows them.
func cut(raw []byte) (h header, body []byte) {
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return h, raw
		}
		if (line[0] == ' ' || line[0] == '\t') && len(h) > 0 {
			h[len(h)-1].value += " " + strings.TrimSpace(string(line))
			continue
		}
		if name, value, ok := strings.Cut(string(line), ":"); ok && name != "" && !strings.ContainsAny(name, " \t") {
			h = append(h, field{name, strings.TrimSpace(value)})
		}
	}
	return h, nil
}

// headerBlock is the header of a message as it is, each line with CRLF.
func headerBlock(raw []byte) string {
	var b strings.Builder
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		line, raw = bytes.TrimSuffix(line, []byte("\r")), rest
		if len(line) == 0 {
			break
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

func (h header) get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

func (h header) all(name string) []string {
	var vs []string
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			vs = append(vs, f.value)
		}
	}
	return vs
}

var idForm = regexp.MustCompile(`<([^<>\s]+)>`)

// ids are the Message-IDs in a field's value.
func ids(v string) []string {
	var ids []string
	for _, m := range idForm.FindAllStringSubmatch(v, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// addresses are those of all fields of a name.
func (h header) addresses(names ...string) []*netmail.Address {
	var as []*netmail.Address
	for _, n := range names {
		for _, v := range h.all(n) {
			l, err := addressParser.ParseList(v)
			if err != nil { // a list that net/mail refuses: what looks like an address is one
				for _, a := range addressForm.FindAllString(v, -1) {
					l = append(l, &netmail.Address{Address: a})
				}
			}
			as = append(as, l...)
		}
	}
	return as
}

// recipients are the addresses of a field as Graph has them.
func (h header) recipients(name string) []recipient {
	var out []recipient
	for _, a := range h.addresses(name) {
		n := a.Name
		if n == "" {
			n = a.Address // from memory: a name is always there
		}
		out = append(out, recipient{address{n, a.Address}})
	}
	return out
}

var (
	words         = &mime.WordDecoder{CharsetReader: charsetReader}
	addressParser = &netmail.AddressParser{WordDecoder: words}
	addressForm   = regexp.MustCompile(`[^\s<>,;:"()]+@[^\s<>,;:"()]+`)
)

func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(r), nil
}

func decodeWords(v string) string {
	if d, err := words.DecodeHeader(v); err == nil {
		return d
	}
	return v
}

// part is a node of the MIME tree.
type part struct {
	kind     string // text/plain
	filename string
	header   header
	body     []byte // decoded; text as UTF-8
	parts    []*part
}

// maxDepth bounds the tree.
const maxDepth = 20

// parseTree reads a message.
func parseTree(raw []byte) *part { return parsePart(raw, 0) }

func parsePart(raw []byte, depth int) *part {
	h, body := cut(raw)
	p := &part{header: h}
	kind, params, err := mime.ParseMediaType(h.get("Content-Type"))
	if err != nil || !strings.Contains(kind, "/") {
		kind, params = "text/plain", nil // RFC 2045, 5.2
	}
	p.kind = kind
	_, disposition, _ := mime.ParseMediaType(h.get("Content-Disposition"))
	if p.filename = decodeWords(disposition["filename"]); p.filename == "" {
		p.filename = decodeWords(params["name"])
	}
	if strings.HasPrefix(kind, "multipart/") && depth < maxDepth && params["boundary"] != "" {
		for _, b := range splitParts(body, params["boundary"]) {
			p.parts = append(p.parts, parsePart(b, depth+1))
		}
		return p
	}
	p.body = decodeBody(body, h.get("Content-Transfer-Encoding"))
	if kind == "message/rfc822" && depth < maxDepth {
		p.parts = []*part{parsePart(p.body, depth+1)}
		return p
	}
	if strings.HasPrefix(kind, "text/") && p.filename == "" {
		if r, err := charsetReader(params["charset"], bytes.NewReader(p.body)); err == nil {
			if b, err := io.ReadAll(r); err == nil {
				p.body = b
			}
		}
	}
	return p
}

// splitParts returns the parts of a multipart body, each with its header.
func splitParts(body []byte, boundary string) [][]byte {
	var out [][]byte
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return out
		}
		var b bytes.Buffer
		for k, vs := range p.Header {
			for _, v := range vs {
				fmt.Fprintf(&b, "%s: %s\r\n", k, v)
			}
		}
		b.WriteString("\r\n")
		_, err = io.Copy(&b, p)
		out = append(out, b.Bytes())
		if err != nil {
			return out
		}
	}
}

func decodeBody(b []byte, encoding string) []byte {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		clean := bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' || r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, b)
		out := make([]byte, base64.StdEncoding.DecodedLen(len(clean)))
		n, _ := base64.StdEncoding.Decode(out, clean) // what comes before an odd byte counts
		return out[:n]
	case "quoted-printable":
		out, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(b)))
		return out
	}
	return b
}

// leaves are the parts that have no parts.
func (p *part) leaves() []*part {
	if len(p.parts) == 0 || p.kind == "message/rfc822" {
		return []*part{p}
	}
	var out []*part
	for _, c := range p.parts {
		out = append(out, c.leaves()...)
	}
	return out
}

func parseDate(v string) (time.Time, error) { return netmail.ParseDate(v) }

// text is HTML without its tags.
func text(html string) string {
	return strings.TrimSpace(stdhtml.UnescapeString(tag.ReplaceAllString(lineBreak.ReplaceAllString(html, "\r\n"), "")))
}

var lineBreak = regexp.MustCompile(`(?i)<br\s*/?>|</p>|</div>`)

var tag = regexp.MustCompile(`(?s)<(style|script)\b.*?</(style|script)>|<[^>]*>`)

// rewrite makes a message of another: fields of these names are left out, and those are put before the others.
func rewrite(raw []byte, drop []string, first ...field) []byte {
	var b bytes.Buffer
	for _, f := range first {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	r := bufio.NewReader(bytes.NewReader(raw))
	dropping := false
	for {
		line, err := r.ReadBytes('\n')
		bare := bytes.TrimRight(line, "\r\n")
		if len(bare) == 0 {
			b.WriteString("\r\n")
			break
		}
		if bare[0] != ' ' && bare[0] != '\t' {
			name, _, _ := strings.Cut(string(bare), ":")
			dropping = false
			for _, d := range drop {
				dropping = dropping || strings.EqualFold(name, d)
			}
		}
		if !dropping {
			b.Write(bare)
			b.WriteString("\r\n")
		}
		if err != nil {
			b.WriteString("\r\n")
			return b.Bytes()
		}
	}
	_, _ = io.Copy(&b, r) // memory
	return b.Bytes()
}
