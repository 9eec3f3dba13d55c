// Package signature renders e-mail signatures from a template and puts them into messages. It is pure.
//
// Parse reads a template once and reports everything that is wrong with it, Render fills it in for one user, AppendHTML
// and AppendText put the result above the quoted reply, once. A template is HTML with {{user_name}}, {{user_title}},
// {{user_phone}}, {{user_email}}, {{company_name}} and {{company_logo}}; there are no conditions and no loops: a line or
// field whose value is empty goes away by itself. What a mail client would not show, or could run, is dropped.
package signature

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// Variables are the names a template may use, in the order of documentation.
var variableNames = []string{"user_name", "user_title", "user_phone", "user_email", "company_name", "company_logo"}

const allowed = "allowed are {{user_name}}, {{user_title}}, {{user_phone}}, {{user_email}}, {{company_name}} and {{company_logo}}"

// Template is a parsed template. It may be used from several goroutines.
type Template struct{ nodes []node }

// Error is one thing that is wrong with a template.
type Error struct {
	Line, Column int // from 1; the column counts characters
	Text         string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

type nodeKind int

const (
	literal   nodeKind = iota // text as people read it
	separator                 // a literal between two fields: ", " or " | "
	variable
	open
	closing
)

type node struct {
	kind  nodeKind
	text  string // literal, separator: text; variable: its name; tags: the tag
	attrs []attr
}

type attr struct {
	key   string
	parts []node // literals and variables
}

var (
	inlineTags = words("a abbr b br em font i img s small span strong sub sup u")
	blockTags  = words("center div h1 h2 h3 h4 h5 h6 hr li ol p table tbody tfoot thead tr ul")
	cellTags   = words("td th") // a row is one line: its label may stand in a cell of its own
	voidTags   = words("br hr img")
	// Dropped with all they hold.
	deadTags = words("applet audio canvas embed frame frameset head iframe math noembed noframes noscript object " +
		"plaintext script select style svg template textarea title video xmp")
	attrNames = words("align alt bgcolor border cellpadding cellspacing color colspan dir face height href lang rel " +
		"rowspan size src style target title valign width")
	badStyle = regexp.MustCompile(`(?i)url\s*\(|expression|javascript|vbscript|@import|behaviou?r|-moz-binding|position\s*:|[\\<>{}]|/\*`)
	// A link names its scheme itself, and its host too: a value never chooses where a link leads.
	safeHref = regexp.MustCompile(`(?i)^(https?://[^/?#{}\s]+([/?#]|$)|mailto:|tel:)`)
	safeSrc  = regexp.MustCompile(`(?i)^(https://[^/?#{}\s]+|cid:)`)
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// Parse reads a template. The error joins one *Error for each thing that is wrong.
func Parse(source string) (*Template, error) {
	p := parser{source: strings.ToValidUTF8(strings.ReplaceAll(source, "\x00", ""), "\uFFFD")}
	z := html.NewTokenizer(strings.NewReader(p.source))
	dead := 0
	deadTag := ""
	for {
		tt := z.Next()
		raw := string(z.Raw())
		p.raw = raw
		if tt == html.ErrorToken {
			break
		}
		tok := z.Token()
		switch {
		case dead > 0:
			if tok.Data == deadTag && tt == html.StartTagToken {
				dead++
			} else if tok.Data == deadTag && tt == html.EndTagToken {
				dead--
			}
		case tt == html.TextToken:
			p.nodes = append(p.nodes, p.text(raw)...)
		case tt == html.StartTagToken || tt == html.SelfClosingTagToken:
			switch {
			case deadTags[tok.Data]:
				if tt == html.StartTagToken {
					dead, deadTag = 1, tok.Data
				}
			case inlineTags[tok.Data] || blockTags[tok.Data] || cellTags[tok.Data]:
				p.tag(tok)
			}
		case tt == html.EndTagToken:
			p.end(tok.Data)
		}
		p.offset += len(raw)
	}
	for len(p.stack) > 0 {
		p.end(p.stack[len(p.stack)-1])
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return &Template{p.nodes}, nil
}

type parser struct {
	source, raw string
	offset      int
	nodes       []node
	stack       []string
	errs        []error
}

func (p *parser) wrong(at int, format string, args ...any) {
	before := p.source[:min(at, len(p.source))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	p.errs = append(p.errs, &Error{line, column, fmt.Sprintf(format, args...)})
}

// split cuts text at its variables. It calls lit for what lies between, and reports wrong ones at offset+index.
func (p *parser) split(text string, at func(int) int, lit func(string), use func(name string, at int)) {
	pos := 0
	for {
		i := strings.Index(text[pos:], "{{")
		if i < 0 {
			lit(text[pos:])
			return
		}
		lit(text[pos : pos+i])
		start := pos + i
		rest := text[start+2:]
		end := strings.Index(rest, "}}")
		if next := strings.Index(rest, "{{"); end < 0 || next >= 0 && next < end {
			p.wrong(at(start), "{{ without }}: %s", allowed)
			pos = start + 2
			continue
		}
		name := strings.TrimSpace(rest[:end])
		if slices.Contains(variableNames, name) {
			use(name, at(start))
		} else {
			p.wrong(at(start), "unknown variable {{%s}}: %s", name, allowed)
		}
		pos = start + 2 + end + 2
	}
}

// A comma or semicolon before space, a bar, bullet or long dash, or a spaced hyphen or slash.
var separatorText = regexp.MustCompile(`[\s\x{a0}]*(?:[|·•–—]|[,;](?:[\s\x{a0}]|$)|[\s\x{a0}][-/][\s\x{a0}])[\s\x{a0}]*`)

func (p *parser) text(raw string) []node {
	var out []node
	p.split(raw, func(i int) int { return p.offset + i }, func(s string) {
		s = html.UnescapeString(s)
		pos := 0
		for _, m := range separatorText.FindAllStringIndex(s, -1) {
			out = append(out, node{kind: literal, text: s[pos:m[0]]}, node{kind: separator, text: s[m[0]:m[1]]})
			pos = m[1]
		}
		out = append(out, node{kind: literal, text: s[pos:]})
	}, func(name string, at int) {
		if name == "company_logo" {
			p.wrong(at, `{{company_logo}} is the address of a picture: write <img src="{{company_logo}}">`)
		}
		out = append(out, node{kind: variable, text: name})
	})
	return slices.DeleteFunc(out, func(n node) bool { return n.kind == literal && n.text == "" })
}

func (p *parser) tag(tok html.Token) {
	n := node{kind: open, text: tok.Data}
	var seen []string
	for _, a := range tok.Attr {
		if strings.Contains(a.Key, "{{") {
			p.wrong(p.offset, "a variable can't stand among the attributes of <%s>", tok.Data)
			continue
		}
		if !attrNames[a.Key] || slices.Contains(seen, a.Key) {
			continue
		}
		seen = append(seen, a.Key)
		if parts, ok := p.attribute(tok.Data, a); ok {
			n.attrs = append(n.attrs, attr{a.Key, parts})
		}
	}
	if tok.Data == "img" && !slices.ContainsFunc(n.attrs, func(a attr) bool { return a.key == "src" }) {
		return
	}
	// A picture that isn't shown is read out, or a blank: many mail programs load none until they are asked.
	if tok.Data == "img" && !slices.Contains(seen, "alt") {
		alt := attr{key: "alt"}
		if slices.ContainsFunc(n.attrs, func(a attr) bool { return a.key == "src" && len(a.parts) > 0 && a.parts[0].kind == variable }) {
			alt.parts = []node{{kind: variable, text: "company_name"}}
		}
		n.attrs = append(n.attrs, alt)
	}
	p.nodes = append(p.nodes, n)
	if !voidTags[tok.Data] {
		p.stack = append(p.stack, tok.Data)
	}
}

func (p *parser) attribute(tag string, a html.Attribute) (parts []node, ok bool) {
	value := strings.TrimSpace(a.Val)
	at := func(int) int { return p.offset + max(0, strings.Index(p.raw, "{{")) }
	before := len(p.errs)
	vars := 0
	p.split(value, at, func(s string) {
		if s != "" {
			parts = append(parts, node{kind: literal, text: s})
		}
	}, func(name string, pos int) {
		vars++
		parts = append(parts, node{kind: variable, text: name})
		if name == "company_logo" && !(tag == "img" && a.Key == "src" && len(parts) == 1) {
			p.wrong(pos, `{{company_logo}} is the address of a picture: write <img src="{{company_logo}}">`)
		}
	})
	if len(p.errs) > before {
		return nil, false
	}
	first := ""
	if len(parts) > 0 && parts[0].kind == literal {
		first = parts[0].text
	}
	switch a.Key {
	case "href":
		if tag != "a" {
			return nil, false
		}
		if vars > 0 && (!safeHref.MatchString(first) || strings.HasPrefix(strings.ToLower(first), "http") && !strings.ContainsAny(first[min(8, len(first)):], "/?#")) {
			p.wrong(at(0), "a link must begin with mailto:, tel: or https:// and a host, before any variable")
			return nil, false
		}
		return parts, safeHref.MatchString(first)
	case "src":
		if tag != "img" {
			return nil, false
		}
		if vars == 1 && len(parts) == 1 && parts[0].text == "company_logo" {
			return parts, true
		}
		if vars > 0 {
			p.wrong(at(0), `a picture's src is {{company_logo}} alone, or an https address without variables`)
			return nil, false
		}
		return parts, safeSrc.MatchString(first)
	case "alt", "title":
		return parts, true
	case "style":
		if badStyle.MatchString(value) && vars == 0 {
			return nil, false
		}
	}
	if vars > 0 {
		p.wrong(at(0), "a variable can't stand in the attribute %s: only in text, href, alt, title, and src of a picture", a.Key)
		return nil, false
	}
	return parts, true
}

// end closes a tag and what is open within it; an end without a start is dropped.
func (p *parser) end(tag string) {
	for i := len(p.stack) - 1; i >= 0; i-- {
		if p.stack[i] != tag {
			continue
		}
		for j := len(p.stack) - 1; j >= i; j-- {
			p.nodes = append(p.nodes, node{kind: closing, text: p.stack[j]})
		}
		p.stack = p.stack[:i]
		return
	}
}
