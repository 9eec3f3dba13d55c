package signature

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// Values fills a template. A value that is empty or only space takes its label and separator with it.
type Values struct {
	UserName    string `json:"user_name"`
	UserTitle   string `json:"user_title"`
	UserPhone   string `json:"user_phone"`
	UserEmail   string `json:"user_email"`
	CompanyName string `json:"company_name"`
	CompanyLogo string `json:"company_logo"` // an https URL; anything else counts as empty
}

func (v *Values) get(name string) string {
	switch name {
	case "user_name":
		return clean(v.UserName)
	case "user_title":
		return clean(v.UserTitle)
	case "user_phone":
		return clean(v.UserPhone)
	case "user_email":
		return clean(v.UserEmail)
	case "company_name":
		return clean(v.CompanyName)
	case "company_logo":
		u, err := url.Parse(clean(v.CompanyLogo))
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			return ""
		}
		return u.String()
	}
	return ""
}

// clean makes a value one line of valid text.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return ' '
		}
		// Directional overrides make text read as something else.
		if r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

// Render fills the template in. Values are escaped for where they stand; pictures are left out of the text.
func (t *Template) Render(v Values) (htmlPart, textPart string) {
	out := writer{values: &v}
	var line []node
	for _, n := range t.nodes {
		breaks := n.text == "br" || blockTags[n.text]
		if n.kind != open && n.kind != closing || !breaks {
			line = append(line, n)
			continue
		}
		dropped := out.line(line)
		line = line[:0]
		if n.text != "br" || !dropped {
			out.pieces = append(out.pieces, piece{node: n})
		}
	}
	out.line(line)
	return out.html(), out.text()
}

// piece is a node that stays. Variables have become literals.
type piece struct{ node }

type writer struct {
	values *Values
	pieces []piece
}

// line adds a line without its empty fields, and reports whether it was dropped: it had variables, all of them empty.
func (w *writer) line(line []node) (dropped bool) {
	vars, filled := w.count(line)
	dropped = vars > 0 && filled == 0
	var sep *node // the separator before the field at hand
	written := false
	for len(line) > 0 || sep != nil {
		i := slices.IndexFunc(line, func(n node) bool { return n.kind == separator })
		field, next := line, (*node)(nil)
		if i >= 0 {
			field, next, line = line[:i], &line[i], line[i+1:]
		} else {
			line = nil
		}
		vars, filled := w.count(field)
		keep := !dropped && (vars == 0 || filled > 0)
		if keep {
			if sep != nil && written {
				w.pieces = append(w.pieces, piece{node{kind: literal, text: sep.text}})
			}
			written = true
		}
		for _, n := range field {
			w.node(n, keep)
		}
		sep = next
		if sep == nil {
			break
		}
	}
	return dropped
}

// count counts the variables of a run of nodes, and those that have a value.
func (w *writer) count(nodes []node) (vars, filled int) {
	one := func(n node) {
		if n.kind == variable {
			vars++
			if w.values.get(n.text) != "" {
				filled++
			}
		}
	}
	for _, n := range nodes {
		one(n)
		if n.text == "img" || n.text == "a" {
			for _, a := range n.attrs {
				if a.key == "src" || a.key == "href" {
					for _, part := range a.parts {
						one(part)
					}
				}
			}
		}
	}
	return vars, filled
}

func (w *writer) node(n node, keep bool) {
	switch n.kind {
	case literal:
		if !keep {
			return
		}
	case variable:
		n = node{kind: literal, text: w.values.get(n.text)}
		if n.text == "" {
			return
		}
	case open:
		if n.text == "img" && !keep {
			return
		}
		var attrs []attr
		for _, a := range n.attrs {
			value, ok := w.attribute(a)
			if ok {
				attrs = append(attrs, attr{a.key, []node{{kind: literal, text: value}}})
			} else if n.text == "img" && a.key == "src" {
				return
			}
		}
		n.attrs = attrs
	}
	w.pieces = append(w.pieces, piece{n})
}

// attribute returns the value of an attribute, not yet escaped for HTML, and false when a link lacks its value.
func (w *writer) attribute(a attr) (string, bool) {
	var b strings.Builder
	for _, part := range a.parts {
		if part.kind != variable {
			b.WriteString(part.text)
			continue
		}
		value := w.values.get(part.text)
		if a.key == "href" || a.key == "src" {
			if value == "" {
				return "", false
			}
			if part.text != "company_logo" {
				value = escapeURL(value, b.String())
			}
		}
		b.WriteString(value)
	}
	return b.String(), true
}

// escapeURL escapes a value for a place in a URL that begins with prefix.
func escapeURL(value, prefix string) string {
	switch {
	case strings.HasPrefix(strings.ToLower(prefix), "tel:"):
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r == '+' {
				return r
			}
			return -1
		}, value)
	case strings.EqualFold(prefix, "mailto:"):
		return strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(value, " ", "")), "%40", "@")
	}
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// html writes the pieces; an element that was left with nothing in it goes, and a row of
// empty cells.
func (w *writer) html() string {
	var ps []piece
	for _, p := range w.pieces {
		if p.kind == closing && !cellTags[p.text] {
			i := len(ps) - 1
			for i >= 0 && (ps[i].kind == literal && strings.TrimSpace(ps[i].text) == "" || p.text == "tr" && cellTags[ps[i].text]) {
				i--
			}
			if i >= 0 && ps[i].kind == open && ps[i].text == p.text {
				ps = ps[:i]
				continue
			}
		}
		ps = append(ps, p)
	}
	var b strings.Builder
	for _, p := range ps {
		switch p.kind {
		case literal:
			b.WriteString(html.EscapeString(p.text))
		case closing:
			b.WriteString("</" + p.text + ">")
		case open:
			b.WriteString("<" + p.text)
			for _, a := range p.attrs {
				if len(a.parts) == 0 {
					continue // written without a value: <p style>
				}
				b.WriteString(" " + a.key + `="` + html.EscapeString(a.parts[0].text) + `"`)
			}
			b.WriteString(">")
		}
	}
	return strings.TrimSpace(b.String())
}

// text writes the lines that hold something.
func (w *writer) text() string {
	var lines []string
	var b strings.Builder
	flush := func() {
		if s := strings.Join(strings.Fields(b.String()), " "); s != "" {
			lines = append(lines, s)
		}
		b.Reset()
	}
	for _, p := range w.pieces {
		switch {
		case p.kind == literal:
			b.WriteString(p.text)
		case p.text == "br" || blockTags[p.text]:
			flush()
		case cellTags[p.text]:
			b.WriteByte(' ')
		}
	}
	flush()
	return strings.Join(lines, "\n")
}
