package gmailtest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// pst is where a day begins in a search. Facts 1.5: dates "mean midnight PST".
var pst = time.FixedZone("PST", -8*60*60)

type matcher func(*mail) bool

// parseQuery reads a search. anywhere: it looks in spam and trash by itself. Facts 1.5: "no alias expansion and no thread-wide matching". What
// an operator means beyond the facts is what Google's help says of the search box, from memory: words are ANDed, OR and {} join, - negates,
// an operator holds for what stands in () or {} behind it, and words are whole ones, in any case.
func (c *call) parseQuery(q string) (match matcher, anywhere bool, e *apiError) {
	p := &queryParser{c: c, tokens: tokenize(q)}
	m := p.all("", "")
	if p.err != nil {
		return nil, false, p.err
	}
	return m, p.anywhere, nil
}

type queryParser struct {
	c        *call
	tokens   []string
	anywhere bool
	err      *apiError
}

// negation is the token of a "-" that negates.
const negation = "\x00-"

// tokenize cuts a search into words, "operator:" and brackets. What is quoted is one word that begins with the quotation mark.
func tokenize(q string) []string {
	var out []string
	for i := 0; i < len(q); {
		switch ch := q[i]; {
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			i++
		case strings.IndexByte("(){}", ch) >= 0:
			out = append(out, string(ch))
			i++
		case ch == '"':
			end := strings.IndexByte(q[i+1:], '"')
			if end < 0 {
				end = len(q) - i - 1
			}
			out = append(out, q[i:i+1+end])
			i = min(i+end+2, len(q))
		case ch == '-' && i+1 < len(q) && strings.IndexByte(" )}", q[i+1]) < 0 && (i == 0 || strings.IndexByte(" ({", q[i-1]) >= 0):
			out = append(out, negation)
			i++
		default:
			end := strings.IndexAny(q[i:], " \t\r\n(){}\"")
			if end < 0 {
				end = len(q) - i
			}
			word := q[i : i+end]
			if m := operator.FindString(word); m != "" && known(m) {
				word = m
			}
			out = append(out, word)
			i += len(word)
		}
	}
	return out
}

var operator = regexp.MustCompile(`^[A-Za-z0-9_]+:`)

var operators = []string{"from:", "to:", "cc:", "bcc:", "subject:", "label:", "in:", "is:", "has:", "after:", "before:", "newer:", "older:",
	"newer_than:", "older_than:", "rfc822msgid:", "larger:", "smaller:", "size:", "filename:", "deliveredto:", "category:", "list:"}

func known(op string) bool { return slices.Contains(operators, strings.ToLower(op)) }

func (p *queryParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *queryParser) next() string {
	t := p.peek()
	if len(p.tokens) > 0 {
		p.tokens = p.tokens[1:]
	}
	return t
}

// all reads terms up to a bracket and joins them by AND; OR binds what stands beside it.
func (p *queryParser) all(op, end string) matcher {
	var ands []matcher
	or := false
	for len(p.tokens) > 0 && p.peek() != end {
		switch p.peek() {
		case "OR", "|":
			p.next()
			or = len(ands) > 0
			continue
		case "AND":
			p.next()
			continue
		}
		m := p.term(op)
		if m == nil {
			continue
		}
		if or {
			left := ands[len(ands)-1]
			ands[len(ands)-1] = either(left, m)
			or = false
			continue
		}
		ands = append(ands, m)
	}
	p.next()
	return func(x *mail) bool {
		return !slices.ContainsFunc(ands, func(m matcher) bool { return !m(x) })
	}
}

func either(a, b matcher) matcher { return func(x *mail) bool { return a(x) || b(x) } }

// anyOf reads terms up to "}" and joins them by OR.
func (p *queryParser) anyOf(op string) matcher {
	var ors []matcher
	for len(p.tokens) > 0 && p.peek() != "}" {
		if t := p.peek(); t == "OR" || t == "AND" {
			p.next()
			continue
		}
		if m := p.term(op); m != nil {
			ors = append(ors, m)
		}
	}
	p.next()
	return func(x *mail) bool {
		return slices.ContainsFunc(ors, func(m matcher) bool { return m(x) })
	}
}

func (p *queryParser) term(op string) matcher {
	switch t := p.next(); {
	case t == negation:
		if n := p.peek(); n == "" || n == ")" || n == "}" {
			return nil
		}
		m := p.term(op)
		if m == nil {
			return nil
		}
		return func(x *mail) bool { return !m(x) }
	case t == "(":
		return p.all(op, ")")
	case t == "{":
		return p.anyOf(op)
	case t == ")" || t == "}":
		return nil
	case known(t):
		if n := p.peek(); n == "" || n == ")" || n == "}" {
			return nil
		}
		return p.term(strings.ToLower(t))
	default:
		return p.c.user.operand(p, op, strings.TrimPrefix(t, `"`))
	}
}

// operand is what an operator means for a value; nil: nothing.
func (u *User) operand(p *queryParser, op, v string) matcher {
	never := func(*mail) bool { return false }
	s := u.s
	switch op {
	case "from:", "to:", "cc:", "bcc:", "subject:", "deliveredto:", "list:":
		name := map[string]string{"deliveredto:": "delivered-to", "list:": "list-id"}[op]
		if name == "" {
			name = strings.TrimSuffix(op, ":")
		}
		w := wordsOf(v)
		return func(m *mail) bool { return strings.Contains(m.termsOf(name), w) }
	case "rfc822msgid:":
		id := strings.Trim(v, "<>")
		return func(m *mail) bool { return m.messageID == id }
	case "in:":
		switch v = strings.ToLower(v); v {
		case "anywhere":
			p.anywhere = true
			return func(*mail) bool { return true }
		case "spam", "trash":
			p.anywhere = true
		case "draft", "drafts":
			v = "draft"
		case "chats":
			v = "chat"
		case "archive":
			return func(m *mail) bool {
				return !slices.ContainsFunc([]string{"INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "CHAT"}, m.has)
			}
		}
		return u.labelled(v)
	case "label:":
		return u.labelled(v)
	case "category:":
		return u.labelled("category_" + v)
	case "is:":
		switch v = strings.ToLower(v); v {
		case "read":
			return func(m *mail) bool { return !m.has("UNREAD") }
		case "unread", "starred", "important":
			return u.labelled(v)
		}
		return never
	case "has:":
		if strings.EqualFold(v, "attachment") {
			return func(m *mail) bool { return attached(fakemail.Parse(m.raw)) }
		}
		return never
	case "larger:", "size:", "smaller:":
		n, ok := size(v)
		if !ok {
			return never
		}
		return func(m *mail) bool { return (len(m.raw) > n) != (op == "smaller:") }
	case "after:", "newer:", "before:", "older:":
		at, ok := instant(v)
		if !ok {
			return never
		}
		late := op == "after:" || op == "newer:"
		return func(m *mail) bool { return m.dated(s).Before(at) != late }
	case "newer_than:", "older_than:":
		at, ok := ago(s.now(), v)
		if !ok {
			return never
		}
		return func(m *mail) bool { return m.dated(s).Before(at) == (op == "older_than:") }
	case "filename:":
		return never
	}
	w := wordsOf(v)
	if w == noWords {
		return nil // says nothing
	}
	return func(m *mail) bool { return strings.Contains(m.termsOf(""), w) }
}

// dated is what after: and before: compare: internalDate or, if the test wants it, the Date header. Facts 1.5: it "is disputed".
func (m *mail) dated(s *Server) time.Time {
	if s.opts.SearchByDate {
		if t, err := parseDate(m.header.Get("Date")); err == nil {
			return t
		}
	}
	return m.at
}

// instant reads epoch seconds, or a day (facts 1.5).
func instant(v string) (time.Time, bool) {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && len(v) > 4 {
		return time.Unix(n, 0), true
	}
	for _, layout := range []string{"2006/1/2", "2006-1-2", "1/2/2006"} {
		if t, err := time.ParseInLocation(layout, v, pst); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func ago(now time.Time, v string) (time.Time, bool) {
	if v == "" {
		return now, false
	}
	n, err := strconv.Atoi(v[:len(v)-1])
	if err != nil {
		return now, false
	}
	switch v[len(v)-1] {
	case 'h':
		return now.Add(-time.Duration(n) * time.Hour), true
	case 'd':
		return now.AddDate(0, 0, -n), true
	case 'm':
		return now.AddDate(0, -n, 0), true
	case 'y':
		return now.AddDate(-n, 0, 0), true
	}
	return now, false
}

func size(v string) (int, bool) {
	unit := 1
	switch l := strings.ToLower(v); {
	case strings.HasSuffix(l, "m"):
		unit, v = 1<<20, v[:len(v)-1]
	case strings.HasSuffix(l, "k"):
		unit, v = 1<<10, v[:len(v)-1]
	}
	n, err := strconv.Atoi(v)
	return n * unit, err == nil
}

// labelled finds mail by a label's name, written as in the search box: "/" and spaces as "-".
func (u *User) labelled(name string) matcher {
	plain := func(s string) string { return strings.NewReplacer(" ", "-", "/", "-").Replace(strings.ToLower(s)) }
	for _, l := range u.labels {
		if plain(l.name) == plain(name) || l.id == name {
			return func(m *mail) bool { return m.has(l.id) }
		}
	}
	return func(*mail) bool { return false }
}

// noWords is what no message has.
const noWords = "\x00"

// wordsOf writes a text as words with a space around each.
func wordsOf(v string) string {
	f := strings.FieldsFunc(strings.ToLower(v), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '_' })
	if len(f) == 0 {
		return noWords
	}
	return " " + strings.Join(f, " ") + " "
}

// termsOf are the words of a field of the message, of "" the whole message.
func (m *mail) termsOf(field string) string {
	if t, ok := m.terms[field]; ok {
		return t
	}
	if m.terms == nil {
		m.terms = map[string]string{}
	}
	var t string
	if field == "" {
		t = m.body()
		for _, n := range []string{"Subject", "From", "To", "Cc"} {
			t += " \n" + strings.Join(m.header.All(n), " ")
		}
		t = fakemail.DecodeWords(t)
	} else {
		t = fakemail.DecodeWords(strings.Join(m.header.All(field), " , "))
	}
	t = wordsOf(t)
	m.terms[field] = t
	return t
}
