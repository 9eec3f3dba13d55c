package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

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
}

const historyKind = "gmail-history"

// History implements provider.Mailbox. It lists ids, 500 for 5 units, and reads none of them but a few at the edges of the window, to know where these are.
func (m *Mailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	pos := position{Kind: historyKind}
	if c != nil {
		if err := json.Unmarshal(c, &pos); err != nil || pos.Kind != historyKind {
			return provider.Page{}, errors.New("gmail: this is not a cursor of a Gmail history")
		}
	} else {
		n, err := m.estimate(ctx, w)
		if err != nil {
			return provider.Page{}, err
		}
		pos.Estimated = n
	}
	page := provider.Page{Estimated: pos.Estimated}
	for range 3 { // pages of which all lies outside of the window
		if pos.Done {
			break
		}
		q := query{window: w, before: pos.Before}
		r, err := m.list(ctx, past, q, pos.Token, m.p.o.PageSize)
		if err != nil && pos.Token != "" && status(err) == http.StatusBadRequest {
			// The token has died. What was received in the day before the key is listed once more.
			q.before, pos.Token = 0, ""
			if pos.Oldest != 0 {
				q.before = time.Unix(pos.Oldest, 0).Add(day).Unix()
			}
			pos.Before = q.before
			r, err = m.list(ctx, past, q, "", m.p.o.PageSize)
		}
		if err != nil {
			return provider.Page{}, err
		}
		in, oldest, over, err := m.within(ctx, past, w, r.Messages)
		if err != nil {
			return provider.Page{}, err
		}
		for _, msg := range in {
			it := provider.Item{ID: itemID(msg.Id)}
			it.Envelope.Thread = msg.ThreadId
			page.Items = append(page.Items, it)
		}
		if !oldest.IsZero() {
			pos.Oldest = oldest.Unix()
		}
		pos.Token = r.NextPageToken
		pos.Done = pos.Token == "" || over
		if len(page.Items) > 0 {
			break
		}
	}
	page.Next, page.More = encode(pos), !pos.Done
	return page, nil
}

// counted is how many pages are listed to count what a window holds.
const counted = 20

// estimate counts a window. Facts 1.5: "resultSizeEstimate is unreliable"; listing 10,000 ids costs as much as reading five messages.
func (m *Mailbox) estimate(ctx context.Context, w provider.Window) (int, error) {
	if w.From.IsZero() && w.To.IsZero() {
		return int(m.profile.MessagesTotal), nil
	}
	n, more, err := m.count(ctx, query{window: w, exact: true})
	if more {
		n = max(n, min(2*n, int(m.profile.MessagesTotal)))
	}
	return n, err
}

// count lists a query and counts. more: it gave up.
func (m *Mailbox) count(ctx context.Context, q query) (n int, more bool, err error) {
	token := ""
	for range counted {
		r, err := m.list(ctx, past, q, token, m.p.o.PageSize)
		if err != nil {
			return n, false, err
		}
		n += len(r.Messages)
		if token = r.NextPageToken; token == "" {
			return n, false, nil
		}
	}
	return n, true, nil
}
