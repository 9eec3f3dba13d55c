package graphtest

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// filter is a $filter: what apps ask for of OData's language, and what of it Exchange takes.
type filter struct {
	op       string // and, or, not; eq ne gt ge lt le; contains, startswith; any
	of       []*filter
	property string
	value    string
	at       time.Time // of a time
}

// times and the rest are the properties that may be filtered by.
var (
	filterTimes = []string{"receivedDateTime", "sentDateTime", "createdDateTime", "lastModifiedDateTime"}
	filterTexts = []string{"id", "internetMessageId", "subject", "conversationId", "parentFolderId", "importance", "inferenceClassification", "from/emailAddress/address",
		"sender/emailAddress/address", "from/emailAddress/name", "bodyPreview", "flag/flagStatus", "changeKey"}
	filterBools = []string{"isRead", "isDraft", "hasAttachments", "isReadReceiptRequested", "isDeliveryReceiptRequested"}
)

var filterToken = regexp.MustCompile(`\s*('(?:[^']|'')*'|[(),]|[A-Za-z0-9_:.+/-]+)`)

type filterParser struct {
	tokens []string
	err    bool
}

// parseFilter reads a $filter; nil: there is none.
func parseFilter(v string) (*filter, *apiError) {
	if strings.TrimSpace(v) == "" {
		return nil, nil
	}
	bad := badRequest("ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
	p := &filterParser{}
	for rest := v; strings.TrimSpace(rest) != ""; {
		m := filterToken.FindStringSubmatchIndex(rest)
		if m == nil || m[0] != 0 {
			return nil, bad
		}
		p.tokens = append(p.tokens, rest[m[2]:m[3]])
		rest = rest[m[1]:]
	}
	f := p.or(0)
	if p.err || len(p.tokens) > 0 {
		return nil, bad
	}
	return f, nil
}

func (p *filterParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *filterParser) next() string {
	t := p.peek()
	if t == "" {
		p.err = true
		return ""
	}
	p.tokens = p.tokens[1:]
	return t
}

func (p *filterParser) want(t string) {
	if p.next() != t {
		p.err = true
	}
}

func (p *filterParser) or(depth int) *filter {
	l := p.and(depth)
	for p.peek() == "or" {
		p.next()
		l = &filter{op: "or", of: []*filter{l, p.and(depth)}}
	}
	return l
}

func (p *filterParser) and(depth int) *filter {
	l := p.unary(depth)
	for p.peek() == "and" {
		p.next()
		l = &filter{op: "and", of: []*filter{l, p.unary(depth)}}
	}
	return l
}

const maxFilterDepth = 20

func (p *filterParser) unary(depth int) *filter {
	if depth > maxFilterDepth || p.err {
		p.err = true
		return &filter{op: "and"}
	}
	switch t := p.next(); t {
	case "not":
		return &filter{op: "not", of: []*filter{p.unary(depth + 1)}}
	case "(":
		f := p.or(depth + 1)
		p.want(")")
		return f
	case "contains", "startswith":
		p.want("(")
		f := &filter{op: t, property: p.property(p.next(), filterTexts)}
		p.want(",")
		f.value = p.text()
		p.want(")")
		return f
	case "categories/any":
		p.want("(")
		v := p.next()
		name, inner, joined := strings.Cut(v, ":")
		if !joined || name == "" {
			p.err = true
		}
		if inner == "" {
			inner = p.next()
		}
		if inner != name {
			p.err = true
		}
		p.want("eq")
		f := &filter{op: "any", property: "categories", value: p.text()}
		p.want(")")
		return f
	default:
		return p.comparison(t)
	}
}

func (p *filterParser) comparison(name string) *filter {
	f := &filter{property: p.property(name, slices.Concat(filterTimes, filterTexts, filterBools)), op: p.next()}
	switch {
	case slices.Contains(filterTimes, f.property):
		v := p.next()
		var err error
		if f.at, err = time.Parse(time.RFC3339, v); err != nil {
			if f.at, err = time.Parse("2006-01-02", v); err != nil {
				p.err = true
			}
		}
		p.operator(f.op, "eq", "ne", "gt", "ge", "lt", "le")
	case slices.Contains(filterBools, f.property):
		if f.value = p.next(); f.value != "true" && f.value != "false" {
			p.err = true
		}
		p.operator(f.op, "eq", "ne")
	default:
		f.value = p.text()
		p.operator(f.op, "eq", "ne", "gt", "ge", "lt", "le")
	}
	return f
}

func (p *filterParser) operator(op string, known ...string) {
	if !slices.Contains(known, op) {
		p.err = true
	}
}

func (p *filterParser) property(name string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	p.err = true
	return ""
}

func (p *filterParser) text() string {
	t := p.next()
	if len(t) < 2 || t[0] != '\'' {
		p.err = true
		return ""
	}
	return strings.ReplaceAll(t[1:len(t)-1], "''", "'")
}

// holds reports whether a message is meant.
func (f *filter) holds(m *mail) bool {
	switch f.op {
	case "and":
		return !slices.ContainsFunc(f.of, func(o *filter) bool { return !o.holds(m) })
	case "or":
		return slices.ContainsFunc(f.of, func(o *filter) bool { return o.holds(m) })
	case "not":
		return !f.of[0].holds(m)
	case "any":
		return slices.ContainsFunc(m.categories, func(v string) bool { return strings.EqualFold(v, f.value) })
	case "contains":
		return strings.Contains(strings.ToLower(m.textOf(f.property)), strings.ToLower(f.value))
	case "startswith":
		return strings.HasPrefix(strings.ToLower(m.textOf(f.property)), strings.ToLower(f.value))
	case "search":
		return f.found(m)
	}
	order := 0
	switch {
	case slices.Contains(filterTimes, f.property):
		order = m.timeOf(f.property).Compare(f.at)
	case f.property == "id" || f.property == "internetMessageId" || f.property == "conversationId" || f.property == "parentFolderId" || f.property == "changeKey":
		order = strings.Compare(m.textOf(f.property), f.value) // facts 2.3: "Ids are case-sensitive"
	case slices.Contains(filterTexts, f.property):
		order = strings.Compare(strings.ToLower(m.textOf(f.property)), strings.ToLower(f.value))
	default:
		order = strings.Compare(fmt.Sprint(m.flagOf(f.property)), f.value)
	}
	switch f.op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	default:
		return order <= 0
	}
}

func (m *mail) timeOf(p string) time.Time {
	switch p {
	case "receivedDateTime":
		return m.received
	case "sentDateTime":
		return m.sent
	case "createdDateTime":
		return m.createdAt
	default:
		return m.modified
	}
}

func (m *mail) textOf(p string) string {
	name := func(r *recipient, named bool) string {
		switch {
		case r == nil:
			return ""
		case named:
			return r.EmailAddress.Name
		default:
			return r.EmailAddress.Address
		}
	}
	switch p {
	case "id":
		return m.id
	case "internetMessageId":
		if m.messageID == "" {
			return ""
		}
		return "<" + m.messageID + ">"
	case "subject":
		return m.subject
	case "conversationId":
		return m.conversation
	case "parentFolderId":
		return m.folder.id
	case "importance":
		return m.importance
	case "inferenceClassification":
		return m.inference
	case "from/emailAddress/address":
		return name(m.from, false)
	case "from/emailAddress/name":
		return name(m.from, true)
	case "sender/emailAddress/address":
		return name(m.sender, false)
	case "bodyPreview":
		return m.preview()
	case "flag/flagStatus":
		return fmt.Sprint(m.flag["flagStatus"])
	case "changeKey":
		return m.changeKey()
	}
	return ""
}

func (m *mail) flagOf(p string) bool {
	switch p {
	case "isRead":
		return m.read
	case "isDraft":
		return m.draft
	case "hasAttachments":
		return m.hasAttachments()
	case "isReadReceiptRequested":
		return m.readReceipt
	default:
		return m.deliveryReceipt
	}
}

// all are the conditions that must all hold.
func (f *filter) all() []*filter {
	if f.op != "and" {
		return []*filter{f}
	}
	var out []*filter
	for _, o := range f.of {
		out = append(out, o.all()...)
	}
	return out
}

// messageID is the Message-ID that a message must have, without angle brackets.
func (f *filter) messageID() (string, bool) {
	for _, o := range f.all() {
		if o.op == "eq" && o.property == "internetMessageId" && strings.HasPrefix(o.value, "<") && strings.HasSuffix(o.value, ">") {
			return o.value[1 : len(o.value)-1], true
		}
	}
	return "", false
}

// within is those of messages, newest first, that can be meant by when they were received.
func (f *filter) within(ms []*mail) []*mail {
	for _, o := range f.all() {
		if o.property != "receivedDateTime" {
			continue
		}
		switch o.op {
		case "ge", "gt":
			ms = ms[:sort.Search(len(ms), func(i int) bool { return ms[i].received.Before(o.at) })]
		case "le":
			ms = ms[sort.Search(len(ms), func(i int) bool { return !ms[i].received.After(o.at) }):]
		case "lt":
			ms = ms[sort.Search(len(ms), func(i int) bool { return ms[i].received.Before(o.at) }):]
		}
	}
	return ms
}

// names are the properties in the order in which they are named.
func (f *filter) names() []string {
	if f == nil {
		return nil
	}
	if f.property != "" {
		return []string{f.property}
	}
	var out []string
	for _, o := range f.of {
		out = append(out, o.names()...)
	}
	return out
}

// parseOrder reads an $orderby. From memory, as documented of messages: with a $filter its properties must begin that one, in the same order, else
// it is InefficientFilter. nil: as it is, newest first.
func parseOrder(v string, f *filter) (func(a, b *mail) int, *apiError) {
	if strings.TrimSpace(v) == "" {
		return nil, nil
	}
	var fs []func(a, b *mail) int
	names := f.names()
	seen := []string{}
	for _, o := range strings.Split(v, ",") {
		words := strings.Fields(o)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "desc" && words[1] != "asc" {
			return nil, badRequest("BadRequest", "Syntax error in $orderby.")
		}
		name := ""
		for _, k := range slices.Concat(filterTimes, filterTexts) {
			if strings.EqualFold(k, words[0]) {
				name = k
			}
		}
		if name == "" {
			return nil, badRequest("ErrorInvalidUrlQuery", "'%s' can't be ordered by.", words[0])
		}
		seen = append(seen, name)
		sign := 1
		if len(words) == 2 && words[1] == "desc" {
			sign = -1
		}
		if slices.Contains(filterTimes, name) {
			fs = append(fs, func(a, b *mail) int { return sign * a.timeOf(name).Compare(b.timeOf(name)) })
		} else {
			fs = append(fs, func(a, b *mail) int { return sign * strings.Compare(a.textOf(name), b.textOf(name)) })
		}
	}
	if f != nil {
		names = slices.Compact(names)
		if len(names) < len(seen) || !slices.Equal(names[:len(seen)], seen) {
			return nil, badRequest("InefficientFilter", "The restriction or sort order is too complex for this operation.")
		}
	}
	if w := strings.Fields(v); len(w) == 2 && seen[0] == "receivedDateTime" && w[1] == "desc" {
		return nil, nil
	}
	return func(a, b *mail) int {
		for _, f := range fs {
			if n := f(a, b); n != 0 {
				return n
			}
		}
		return 0
	}, nil
}
