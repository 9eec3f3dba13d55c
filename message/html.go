package message

import (
	"bytes"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// htmlText renders HTML as plain text for matching and preview: blocks on their own lines, quotes marked with ">",
// no links, no images. It works on tokens, so that its time is linear whatever the nesting.
func htmlText(src string, limit int) string {
	r := renderer{limit: limit, bol: true}
	z := html.NewTokenizer(strings.NewReader(src))
	z.SetMaxBuf(1 << 20)
	skip := atom.Atom(0)
	for r.out.Len() < limit {
		tt := z.Next()
		if tt == html.ErrorToken {
			break
		}
		switch tt {
		case html.TextToken:
			if skip == 0 {
				r.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			name, _ := z.TagName()
			a := atom.Lookup(bytes.ToLower(name))
			if skip != 0 {
				if tt == html.EndTagToken && a == skip {
					skip = 0
				}
				continue
			}
			if tt == html.StartTagToken && (a == atom.Script || a == atom.Style || a == atom.Title || a == atom.Noscript || a == atom.Template) {
				skip = a
				continue
			}
			r.tag(a, tt == html.EndTagToken)
		}
	}
	return strings.Trim(cut(clean(r.out.String()), limit), "\n ")
}

type renderer struct {
	out    strings.Builder
	limit  int
	quotes int
	pre    int
	blank  int  // line breaks at the end of out
	bol    bool // at the beginning of a line
	space  bool // white space is due before the next word
}

func (r *renderer) tag(a atom.Atom, end bool) {
	switch a {
	case atom.Br:
		r.newline()
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Ul, atom.Ol, atom.Dl, atom.Hr:
		r.block()
		r.gap()
	case atom.Div, atom.Tr, atom.Li, atom.Dt, atom.Dd, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Center, atom.Address, atom.Form, atom.Body:
		r.block()
		if a == atom.Li && !end {
			r.text("- ")
			r.space = true
		}
	case atom.Td, atom.Th:
		r.space = r.space || !r.bol
	case atom.Pre:
		r.block()
		r.pre = max(0, r.pre+step(end))
	case atom.Blockquote:
		r.block()
		r.quotes = max(0, r.quotes+step(end))
	}
}

func step(end bool) int {
	if end {
		return -1
	}
	return 1
}

// block ends the line if it has begun.
func (r *renderer) block() {
	if !r.bol {
		r.newline()
	}
}

// gap leaves one empty line.
func (r *renderer) gap() {
	if r.bol && r.blank < 2 && r.out.Len() > 0 {
		r.newline()
	}
}

func (r *renderer) newline() {
	r.space = false
	if r.out.Len() == 0 || r.out.Len() >= r.limit || r.blank >= 3 {
		return
	}
	r.out.WriteByte('\n')
	r.bol = true
	r.blank++
}

func (r *renderer) text(s string) {
	if r.pre > 0 {
		for i, line := range strings.Split(strings.ReplaceAll(s, "\r", ""), "\n") {
			if i > 0 {
				r.newline()
			}
			r.word(line)
		}
		return
	}
	for len(s) > 0 && r.out.Len() < r.limit {
		i := strings.IndexAny(s, " \t\r\n\u00a0")
		if i < 0 {
			r.word(s)
			return
		}
		r.word(s[:i])
		r.space = r.space || !r.bol
		if s[i] == 0xc2 {
			i++
		}
		s = s[i+1:]
	}
}

func (r *renderer) word(w string) {
	if w == "" {
		return
	}
	if r.bol && r.quotes > 0 {
		// Depth is bounded: a thousand nested quotes must not cost a thousand marks a line.
		r.out.WriteString(strings.Repeat(">", min(r.quotes, 10)))
		r.out.WriteByte(' ')
	} else if r.space && !r.bol {
		r.out.WriteByte(' ')
	}
	r.out.WriteString(w)
	r.bol, r.space, r.blank = false, false, 0
}
