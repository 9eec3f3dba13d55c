package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// queryLength bounds the terms of one query, in bytes. How long Google takes them is not documented; addresses of requests are safe up to 8,000.
const queryLength = 3000

// found is where Search stands: in the part-th of its queries.
type found struct {
	Kind string `json:"k"`
	Who  uint64 `json:"w,string"` // a hash of whom was asked for
	Part int    `json:"n"`
	spot
}

const searchKind = "gmail-search"

// searches makes queries of whom is asked for: mail that they wrote or were sent openly or as blind copies. A domain finds what is below it. Facts 1.5: an API search
// "does no alias expansion".
func searches(who []string) []string {
	seen := map[string]bool{}
	var terms []string
	for _, w := range who {
		key := string(message.AddressKey(w))
		if key == "" {
			key = string(message.DomainKey(strings.TrimPrefix(w, "@")))
		}
		if seen[key] || !searchable(key) {
			continue
		}
		seen[key] = true
		terms = append(terms, key)
	}
	slices.Sort(terms)
	var out []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			out = append(out, "{"+strings.TrimSpace(b.String())+"}")
			b.Reset()
		}
	}
	for _, t := range terms {
		one := fmt.Sprintf("from:%s to:%[1]s cc:%[1]s bcc:%[1]s ", t)
		if b.Len() > 0 && b.Len()+len(one) > queryLength {
			flush()
		}
		b.WriteString(one)
	}
	flush()
	return out
}

// searchable reports whether an operator ends where an address or domain does: no address that a service gives out has more than RFC 5322, 3.2.3 lets be
// written without quotation marks, or letters of other scripts. Others are not asked for: what they might find is known by its id, and unread.
func searchable(key string) bool {
	local, domain, ok := strings.Cut(key, "@")
	if !ok {
		local, domain = "", key
	}
	return len(key) <= 320 && (!ok || local != "") && strings.Trim(domain, ".-_") == domain && strings.Contains(domain, ".") &&
		!strings.ContainsFunc(local, func(r rune) bool {
			return !unicode.In(r, unicode.L, unicode.M, unicode.N) && !strings.ContainsRune("!#$%&'*+-/=?^_`~.", r)
		}) &&
		!strings.ContainsFunc(domain, func(r rune) bool {
			return !unicode.In(r, unicode.L, unicode.M, unicode.N) && !strings.ContainsRune("-_.", r)
		})
}

func hashOf(queries []string) uint64 {
	h := fnv.New64a()
	for _, q := range queries {
		h.Write([]byte(q + "\n")) //nolint:errcheck // never fails
	}
	return h.Sum64()
}

// Search implements provider.Searcher: a page of one of its queries, newest first within it. The window may be a day wider.
func (m *Mailbox) Search(ctx context.Context, w provider.Window, who []string, c provider.Cursor) (provider.Page, error) {
	queries := searches(who)
	pos := found{Kind: searchKind, Who: hashOf(queries)}
	if c != nil {
		asked := pos.Who
		if err := json.Unmarshal(c, &pos); err != nil || pos.Kind != searchKind || pos.Part < 0 {
			return provider.Page{}, errors.New("gmail: this is not a cursor of a Gmail search")
		}
		if pos.Who != asked {
			return provider.Page{}, errors.New("gmail: this cursor is of a search for other people")
		}
	}
	var page provider.Page
	if pos.Part < len(queries) {
		msgs, err := m.walk(ctx, past, query{window: w, terms: queries[pos.Part]}, &pos.spot)
		if err != nil {
			return provider.Page{}, err
		}
		page.Items = ids(msgs)
		if pos.Token == "" {
			pos.Part, pos.spot = pos.Part+1, spot{}
		}
	}
	page.Next, page.More = encode(pos), pos.Part < len(queries)
	return page, ctx.Err()
}

// planned is how many pages Plan lists: 500 messages for 5 units each.
const planned = 100

// Plan implements provider.Searcher. It lists what is to be read, and counts; reading costs 20 units a message.
func (m *Mailbox) Plan(ctx context.Context, w provider.Window, who []string) (provider.Plan, error) {
	queries := searches(who)
	if len(who) == 0 {
		queries = []string{""}
	}
	var p provider.Plan
	seen := map[string]bool{}
	pages, until := 0, time.Now().Add(spell)
	for _, terms := range queries {
		token := ""
		for {
			if pages++; pages > planned || pages > 1 && !time.Now().Before(until) {
				p.AtLeast = true
				break
			}
			r, err := m.list(ctx, past, query{window: w, terms: terms, exact: true}, token, m.p.o.PageSize)
			if err != nil {
				return provider.Plan{}, err
			}
			for _, msg := range r.Messages {
				seen[msg.Id] = true
			}
			if token = r.NextPageToken; token == "" {
				break
			}
		}
	}
	p.Messages = len(seen)
	if p.AtLeast && len(who) == 0 && w == (provider.Window{}) {
		p.Messages = max(p.Messages, int(m.profile.MessagesTotal))
	}
	a := units[messagesList] // page
	if len(who) == 0 {
		a += units[messagesGet] // History looks when the oldest of it came
	}
	p.Units = p.Messages*units[messagesGet] + max(pages, p.Messages/m.p.o.PageSize+1)*a
	p.Time = (time.Duration(p.Units) * time.Minute / time.Duration(m.p.o.UnitsPerMinute)).Round(time.Second)
	return p, nil
}
