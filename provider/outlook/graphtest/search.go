package graphtest

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// $search, from memory: words and "property:value" terms of KQL, joined by AND (or by nothing), OR and NOT; in quotation marks as a whole. What is found comes
// newest first, at most a thousand.

var searchToken = regexp.MustCompile(`\s*([A-Za-z]+(?:>=|<=|:|=|>|<)(?:"[^"]*"|\([^)]*\)|[^\s()"]+)|"[^"]*"|[()]|[^\s()"]+)`)

// parseSearch reads a $search.
func parseSearch(v string) (*filter, *apiError) {
	v = strings.TrimSpace(v)
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = strings.ReplaceAll(v[1:len(v)-1], `\"`, `"`)
	} else {
		return nil, badRequest("BadRequest", "Syntax error: character ':' is not valid at position 0 in '%s'.", v)
	}
	p := &searchParser{}
	for rest := v; strings.TrimSpace(rest) != ""; {
		m := searchToken.FindStringSubmatchIndex(rest)
		if m == nil || m[0] != 0 {
			return nil, badRequest("BadRequest", "Syntax error in $search.")
		}
		p.tokens = append(p.tokens, rest[m[2]:m[3]])
		rest = rest[m[1]:]
	}
	f := p.or(0)
	if p.err || len(p.tokens) > 0 || f == nil {
		return nil, badRequest("BadRequest", "Syntax error in $search.")
	}
	return f, nil
}

type searchParser struct {
	tokens []string
	err    bool
}

func (p *searchParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *searchParser) or(depth int) *filter {
	l := p.and(depth)
	for p.peek() == "OR" {
		p.tokens = p.tokens[1:]
		l = &filter{op: "or", of: []*filter{l, p.and(depth)}}
	}
	return l
}

func (p *searchParser) and(depth int) *filter {
	l := p.term(depth)
	for t := p.peek(); t != "" && t != ")" && t != "OR"; t = p.peek() {
		if t == "AND" {
			p.tokens = p.tokens[1:]
		}
		l = &filter{op: "and", of: []*filter{l, p.term(depth)}}
	}
	return l
}

func (p *searchParser) term(depth int) *filter {
	t := p.peek()
	if t == "" || t == ")" || depth > maxFilterDepth || p.err {
		p.err = true
		return &filter{op: "and"}
	}
	p.tokens = p.tokens[1:]
	switch t {
	case "NOT":
		return &filter{op: "not", of: []*filter{p.term(depth + 1)}}
	case "(":
		f := p.or(depth + 1)
		if p.peek() != ")" {
			p.err = true
			return f
		}
		p.tokens = p.tokens[1:]
		return f
	}
	f := &filter{op: "search", value: strings.ToLower(strings.Trim(t, `"`))}
	if i := strings.IndexAny(t, ":=<>"); i > 0 && t[0] != '"' {
		f.property = strings.ToLower(t[:i])
		f.value = strings.ToLower(strings.Trim(strings.TrimLeft(t[i:], ":"), `"`))
		if f.property == "received" {
			v := strings.TrimLeft(f.value, "<>=")
			var err error
			if f.at, err = time.Parse("2006-01-02", v); err != nil {
				if f.at, err = time.Parse(time.RFC3339, strings.ToUpper(v)); err != nil {
					p.err = true
				}
			}
		} else if !slices.Contains([]string{"from", "to", "cc", "bcc", "recipients", "participants", "subject", "body", "attachment", "hasattachments", "importance"}, f.property) {
			p.err = true
		}
	}
	return f
}

// found reports whether a term finds a message.
func (f *filter) found(m *mail) bool {
	people := func(rss ...[]recipient) bool {
		for _, rs := range rss {
			for _, r := range rs {
				a := strings.ToLower(r.EmailAddress.Address)
				_, domain, _ := strings.Cut(a, "@")
				if a == f.value || domain == strings.TrimPrefix(f.value, "@") || hasWords(strings.ToLower(r.EmailAddress.Name)+" "+strings.ReplaceAll(a, "@", " "), f.value) {
					return true
				}
			}
		}
		return false
	}
	from := []recipient{}
	if m.from != nil {
		from = append(from, *m.from)
	}
	m.load()
	content := m.body.Content
	if m.body.ContentType == "html" {
		content = text(content)
	}
	switch f.property {
	case "from":
		return people(from)
	case "to":
		return people(m.to)
	case "cc":
		return people(m.cc)
	case "bcc":
		return people(m.bcc)
	case "recipients":
		return people(m.to, m.cc, m.bcc)
	case "participants":
		return people(from, m.to, m.cc, m.bcc)
	case "subject":
		return hasWords(strings.ToLower(m.subject), f.value)
	case "body":
		return hasWords(strings.ToLower(content), f.value)
	case "attachment":
		return slices.ContainsFunc(m.files, func(x *file) bool { return hasWords(strings.ToLower(x.name), f.value) })
	case "hasattachments":
		return m.hasAttachments() == (f.value == "true")
	case "importance":
		return m.importance == f.value
	case "received":
		day := m.received.Truncate(24 * time.Hour)
		switch {
		case strings.HasPrefix(f.value, ">="):
			return !m.received.Before(f.at)
		case strings.HasPrefix(f.value, "<="):
			return !day.After(f.at)
		case strings.HasPrefix(f.value, ">"):
			return m.received.After(f.at)
		case strings.HasPrefix(f.value, "<"):
			return m.received.Before(f.at)
		default:
			return day.Equal(f.at)
		}
	}
	return people(from, m.to, m.cc) || hasWords(strings.ToLower(m.subject), f.value) || hasWords(strings.ToLower(content), f.value)
}

// hasWords reports whether a text has a word, or words in a row, at the beginning of a word.
func hasWords(text, want string) bool {
	want = strings.TrimSuffix(want, "*")
	if want == "" {
		return false
	}
	for i := 0; ; {
		j := strings.Index(text[i:], want)
		if j < 0 {
			return false
		}
		i += j
		if i == 0 || strings.ContainsRune(" \t\r\n.,;:<>()\"'@-_/", rune(text[i-1])) {
			return true
		}
		i++
	}
}
