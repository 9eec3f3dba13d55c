package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider"
)

// position is where History stands: at a page token, and beside it at a time, for tokens die (facts 8: "Keep a time key beside Gmail's pageToken").
type position struct {
	Kind      string `json:"k"`
	Token     string `json:"t,omitempty"`
	Before    int64  `json:"b,omitempty"` // of the query to which the token belongs
	Oldest    int64  `json:"o,omitempty"` // Unix seconds: all that was received later was listed
	Estimated int    `json:"e,omitempty"`
	Done      bool   `json:"d,omitempty"`
	trail
}

// emptyPages is how many pages may be looked at by one call until there is something on one.
const emptyPages = 20

const historyKind = "gmail-history"

// History implements provider.Mailbox. It lists ids, 500 for 5 units, and reads none of them but a few at the edges of the window, to know where these are.
func (m *Mailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	pos := position{Kind: historyKind}
	until := time.Now().Add(spell)
	moved := false // since the cursor was given
	if c != nil {
		if err := json.Unmarshal(c, &pos); err != nil || pos.Kind != historyKind {
			return provider.Page{}, errors.New("gmail: this is not a cursor of a Gmail history")
		}
	} else {
		n, err := m.estimate(ctx, w)
		if err != nil {
			return provider.Page{}, err
		}
		pos.Estimated, moved = n, true
	}
	page := provider.Page{Estimated: pos.Estimated}
	for n := 0; !pos.Done && len(page.Items) == 0 && n < emptyPages && (!moved || time.Now().Before(until)); n++ { // past pages of which all lies outside of the window
		to := pos
		in, err := m.further(ctx, w, &to)
		if err != nil && n > 0 {
			break // what was passed over is no loss; the error comes with the next call, if it lasts
		}
		if err != nil {
			return provider.Page{}, err
		}
		pos, moved = to, true
		page.Items = ids(in)
	}
	page.Next, page.More = encode(pos), !pos.Done
	return page, ctx.Err()
}

// further lists the next page of history, and moves on.
func (m *Mailbox) further(ctx context.Context, w provider.Window, pos *position) ([]*gapi.Message, error) {
	msgs, next, before, err := m.onward(ctx, past, query{window: w, before: pos.Before}, pos.Token, &pos.trail, func() (time.Time, error) {
		if pos.Oldest == 0 {
			return time.Time{}, nil
		}
		return time.Unix(pos.Oldest, 0), nil
	})
	if err != nil {
		return nil, err
	}
	in, oldest, over, err := m.within(ctx, past, w, msgs)
	if err != nil {
		return nil, err
	}
	if !oldest.IsZero() {
		pos.Oldest = oldest.Unix()
	}
	pos.Token, pos.Before, pos.Done = next, before, next == "" || over
	return in, nil
}

// ids are items of which nothing but that they are there is known, and their threads.
func ids(msgs []*gapi.Message) (out []provider.Item) {
	for _, msg := range msgs {
		it := provider.Item{ID: itemID(msg.Id)}
		it.Envelope.Thread = msg.ThreadId
		out = append(out, it)
	}
	return out
}

// counted is how many pages are listed to count what a window holds.
const counted = 20

// estimate counts a window. Facts 1.5: "resultSizeEstimate is unreliable"; listing 10,000 ids costs as much as reading five messages.
func (m *Mailbox) estimate(ctx context.Context, w provider.Window) (int, error) {
	if w.From.IsZero() && w.To.IsZero() {
		return int(m.profile.MessagesTotal), nil
	}
	n, last, err := m.count(ctx, query{window: w, exact: true})
	if err != nil || last == "" {
		return n, err
	}
	// There are more than were counted: as many a day, as far as that is known.
	total := max(n, int(m.profile.MessagesTotal))
	oldest, err := m.timeOf(ctx, past, last)
	to := w.To
	if to.IsZero() {
		to = m.p.o.Now()
	}
	if err != nil || w.From.IsZero() || oldest.IsZero() || !oldest.Before(to) {
		return total, err
	}
	return min(total, max(n, int(float64(n)*float64(to.Sub(w.From))/float64(to.Sub(oldest))))), nil
}

// count lists a query and counts. Where it gave up, last is the last message that it counted.
func (m *Mailbox) count(ctx context.Context, q query) (n int, last string, err error) {
	token := ""
	until := time.Now().Add(spell)
	for range counted {
		r, err := m.list(ctx, past, q, token, m.p.o.PageSize)
		if err != nil {
			return n, "", err
		}
		n += len(r.Messages)
		if len(r.Messages) > 0 {
			last = r.Messages[len(r.Messages)-1].Id
		}
		if token = r.NextPageToken; token == "" {
			return n, "", nil
		}
		if !time.Now().Before(until) {
			break
		}
	}
	return n, last, nil
}
