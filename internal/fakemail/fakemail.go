// Package fakemail is how the fake services of the tests read mail and change it: by the standard library, and by none of the code that is tested
// against them, so that what reads through a fake is not compared with itself.
package fakemail

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// Header is the fields of a message or part in their order, unfolded.
type Header []Field

// Field is one of them.
type Field struct{ Name, Value string }

// ParseHeader reads fields up to the first empty line. A line that is no field is skipped.
func ParseHeader(raw []byte) Header {
	h, _ := cut(raw)
	return h
}

// cut reads fields and returns what follows them.
func cut(raw []byte) (h Header, body []byte) {
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return h, raw
		}
		if (line[0] == ' ' || line[0] == '\t') && len(h) > 0 {
			h[len(h)-1].Value += " " + strings.TrimSpace(string(line))
			continue
		}
		if name, value, ok := strings.Cut(string(line), ":"); ok && name != "" && !strings.ContainsAny(name, " \t") {
			h = append(h, Field{name, strings.TrimSpace(value)})
		}
	}
	return h, nil
}

// Get returns the value of the first field of a name, "" where there is none.
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// All returns the values of all fields of a name.
func (h Header) All(name string) []string {
	var vs []string
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			vs = append(vs, f.Value)
		}
	}
	return vs
}

var idForm = regexp.MustCompile(`<([^<>\s]+)>`)

// IDs are the Message-IDs in a field's value, without their brackets.
func IDs(value string) []string {
	var ids []string
	for _, m := range idForm.FindAllStringSubmatch(value, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// Addresses are those of all fields of some names.
func (h Header) Addresses(names ...string) []*mail.Address {
	var as []*mail.Address
	for _, n := range names {
		for _, v := range h.All(n) {
			l, err := AddressParser.ParseList(v)
			if err != nil { // a list that net/mail refuses: what looks like an address is one
				for _, a := range addressForm.FindAllString(v, -1) {
					l = append(l, &mail.Address{Address: a})
				}
			}
			as = append(as, l...)
		}
	}
	return as
}

var (
	words = &mime.WordDecoder{CharsetReader: charsetReader}
	// AddressParser decodes encoded words in names.
	AddressParser = &mail.AddressParser{WordDecoder: words}
	addressForm   = regexp.MustCompile(`[^\s<>,;:"()]+@[^\s<>,;:"()]+`)
)

func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(r), nil
}

// DecodeWords decodes the encoded words in a value (RFC 2047), which stays as it is where that fails.
func DecodeWords(v string) string {
	if d, err := words.DecodeHeader(v); err == nil {
		return d
	}
	return v
}

// Part is a node of the MIME tree.
type Part struct {
	ID       string // "" at the root, then "0", "1", "1.0"
	Kind     string // text/plain
	Filename string
	Header   Header
	Body     []byte // decoded; text as UTF-8, of which the Header says what it did
	Parts    []*Part
}

// maxDepth bounds the tree.
const maxDepth = 20

// Parse reads a message.
func Parse(raw []byte) *Part { return parse(raw, "", 0) }

func parse(raw []byte, id string, depth int) *Part {
	h, body := cut(raw)
	p := &Part{ID: id, Header: h}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || !strings.Contains(kind, "/") {
		kind, params = "text/plain", nil // RFC 2045, 5.2
	}
	p.Kind = kind
	_, disposition, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	if p.Filename = DecodeWords(disposition["filename"]); p.Filename == "" {
		p.Filename = DecodeWords(params["name"])
	}
	if strings.HasPrefix(kind, "multipart/") && depth < maxDepth && params["boundary"] != "" {
		for i, b := range split(body, params["boundary"]) {
			p.Parts = append(p.Parts, parse(b, child(id, i), depth+1))
		}
		return p
	}
	p.Body = decode(body, h.Get("Content-Transfer-Encoding"))
	if kind == "message/rfc822" && depth < maxDepth {
		p.Parts = []*Part{parse(p.Body, child(id, 0), depth+1)}
		return p
	}
	if strings.HasPrefix(kind, "text/") && p.Filename == "" {
		if r, err := charsetReader(params["charset"], bytes.NewReader(p.Body)); err == nil {
			if b, err := io.ReadAll(r); err == nil {
				p.Body = b
			}
		}
	}
	return p
}

func child(id string, i int) string {
	if id == "" {
		return fmt.Sprint(i)
	}
	return fmt.Sprintf("%s.%d", id, i)
}

// split returns the parts of a multipart body, each with its header.
func split(body []byte, boundary string) [][]byte {
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

func decode(b []byte, encoding string) []byte {
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

// Find returns the part with an id, nil where there is none.
func (p *Part) Find(id string) *Part {
	if p.ID == id {
		return p
	}
	for _, c := range p.Parts {
		if f := c.Find(id); f != nil {
			return f
		}
	}
	return nil
}

// Leaves are the parts that have no parts. An attached message is one.
func (p *Part) Leaves() []*Part {
	if len(p.Parts) == 0 || p.Kind == "message/rfc822" {
		return []*Part{p}
	}
	var out []*Part
	for _, c := range p.Parts {
		out = append(out, c.Leaves()...)
	}
	return out
}

// Tag is an HTML tag, or what is not shown between two.
var Tag = regexp.MustCompile(`(?s)<(style|script)\b.*?</(style|script)>|<[^>]*>`)

// Rewrite makes a message of another: fields of these names are left out, and those are put before the others.
func Rewrite(raw []byte, drop []string, first ...Field) []byte {
	var b bytes.Buffer
	for _, f := range first {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
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
