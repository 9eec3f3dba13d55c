package gmail

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider"
)

const day = 24 * time.Hour

// query is what is listed.
type query struct {
	window provider.Window // a day more on either side is listed
	label  string          // "": whatever has any label, or none
	terms  string          // of a search
	before int64           // Unix seconds, where a token died: nothing newer than a day after; 0: as the window
	exact  bool            // no day more
}

// text writes a query as Gmail reads it. Facts 1.5: times are epoch seconds; whether these are of receipt is disputed, hence the day. Drafts and chats are no
// mail. (facts 1.5 know the operators of the web; that they can be negated is from there.)
func (q query) text() string {
	words := []string{"-in:drafts", "-in:chats"}
	over := day
	if q.exact {
		over = 0
	}
	if !q.window.From.IsZero() {
		// One second less: whether the second that is named belongs to it is not known.
		words = append(words, "after:"+strconv.FormatInt(q.window.From.Add(-over).Unix()-1, 10))
	}
	to := int64(0)
	if !q.window.To.IsZero() {
		to = q.window.To.Add(over).Unix() + 1
	}
	if q.before != 0 && (to == 0 || q.before < to) {
		to = q.before
	}
	if to != 0 {
		words = append(words, "before:"+strconv.FormatInt(to, 10))
	}
	if q.terms != "" {
		words = append(words, q.terms)
	}
	return strings.Join(words, " ")
}

// list lists one page of ids, newest first.
func (m *Mailbox) list(ctx context.Context, l lane, q query, token string, size int) (r *gapi.ListMessagesResponse, err error) {
	return m.listing(ctx, l, size, func() *gapi.UsersMessagesListCall {
		call := m.api.Users.Messages.List("me").Q(q.text())
		if q.label != "" {
			call = call.LabelIds(q.label)
			if q.label == spamLabel || q.label == trashLabel {
				call = call.IncludeSpamTrash(true)
			}
		}
		if token != "" {
			call = call.PageToken(token)
		}
		return call
	})
}

// listing makes a call that lists messages. Google's answer says how many there are where it shows none.
func (m *Mailbox) listing(ctx context.Context, l lane, size int, call func() *gapi.UsersMessagesListCall) (r *gapi.ListMessagesResponse, err error) {
	err = m.read(ctx, l, messagesList, func(ctx context.Context) error {
		return m.paged(ctx, size, func(size int64) (err error) {
			var b beginning
			r, err = call().MaxResults(size).Context(b.in(ctx)).Do()
			if err == nil && r.Messages == nil && r.NextPageToken == "" && !bytes.Contains(b.text, []byte(`"resultSizeEstimate"`)) {
				err = errEmpty
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	kept := r.Messages[:0]
	for _, msg := range r.Messages {
		if msg != nil && msg.Id != "" {
			kept = append(kept, msg)
		}
	}
	r.Messages = kept
	return r, nil
}

// paged makes a call for a page of at most so many, or fewer where such pages took too long: they would every time.
func (m *Mailbox) paged(ctx context.Context, most int, f func(size int64) error) error {
	n := m.quota.pageSize(most)
	err := f(int64(n))
	var g *googleapi.Error
	switch {
	case err == nil:
		m.quota.lengthen(m.p.o.PageSize)
	case ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.As(err, &g) && g.Code == http.StatusGatewayTimeout):
		m.quota.shorten(n)
	}
	return err
}

// onward lists the page behind a token. Where that has died it goes on by time: at gives the time of receipt of the oldest that was listed, and what was received in
// the day before that is listed once more. It ends where something new was listed, for a call that got no further would be followed by its like,
// should the next token die, too, or where the call has no more time. before is the query's to which next belongs.
func (m *Mailbox) onward(ctx context.Context, l lane, q query, token string, way *trail, at func() (time.Time, error)) (msgs []*gapi.Message, next string, before int64, err error) {
	until := time.Now().Add(spell)
	r, err := m.list(ctx, l, q, token, m.p.o.PageSize)
	if err == nil {
		err = way.on(r.NextPageToken, names(r.Messages))
	}
	if err == nil || token == "" || status(err) != http.StatusBadRequest {
		if err != nil {
			return nil, "", 0, err
		}
		return r.Messages, r.NextPageToken, q.before, nil
	}
	key, err := at()
	if err != nil {
		return nil, "", 0, err
	}
	if q.before = 0; !key.IsZero() {
		q.before = key.Add(day).Unix()
	}
	way.anew()
	for range 200 {
		if r, err = m.list(ctx, l, q, next, m.p.o.PageSize); err == nil {
			err = way.on(r.NextPageToken, names(r.Messages))
		}
		if err != nil {
			return nil, "", 0, err
		}
		msgs, next = append(msgs, r.Messages...), r.NextPageToken
		if next == "" || key.IsZero() || !time.Now().Before(until) {
			break
		}
		oldest, err := m.oldest(ctx, l, r.Messages)
		if err != nil {
			return nil, "", 0, err
		}
		if oldest.Before(key) {
			break
		}
	}
	return msgs, next, q.before, nil
}

// spot is where a listing stands, with its last message for when the token has died.
type spot struct {
	Token  string `json:"t,omitempty"`
	Before int64  `json:"b,omitempty"` // of the query to which Token belongs
	Last   string `json:"l,omitempty"`
	trail
}

// walk lists the next page of a query and moves on.
func (m *Mailbox) walk(ctx context.Context, l lane, q query, at *spot) ([]*gapi.Message, error) {
	q.before = at.Before
	to := *at
	msgs, next, before, err := m.onward(ctx, l, q, at.Token, &to.trail, func() (time.Time, error) { return m.timeOf(ctx, l, at.Last) })
	if err != nil {
		return nil, err
	}
	to.Token, to.Before = next, before
	if len(msgs) > 0 {
		to.Last = msgs[len(msgs)-1].Id
	}
	*at = to
	return msgs, nil
}

// oldest is when the last of messages was received that is still there.
func (m *Mailbox) oldest(ctx context.Context, l lane, msgs []*gapi.Message) (t time.Time, err error) {
	for i := len(msgs) - 1; i >= 0 && t.IsZero() && err == nil; i-- {
		t, err = m.timeOf(ctx, l, msgs[i].Id)
	}
	return t, err
}

// timeOf is when a message was received; the zero time when it is gone.
func (m *Mailbox) timeOf(ctx context.Context, l lane, id string) (time.Time, error) {
	if t, ok := m.times[id]; ok {
		return t, nil
	}
	got, err := m.getMany(ctx, l, []provider.ItemID{itemID(id)}, labelsOnly)
	if msg := got.got[itemID(id)]; msg != nil {
		if len(m.times) > 10_000 {
			clear(m.times)
		}
		m.times[id] = received(msg)
		return m.times[id], nil
	}
	return time.Time{}, err
}

// edge is the first of messages, newest first, that was received before t. It looks at a few of them: each costs 20 units.
func (m *Mailbox) edge(ctx context.Context, l lane, msgs []*gapi.Message, t time.Time) (int, error) {
	low, high := 0, len(msgs)
	for low < high {
		mid := int(uint(low+high) / 2)
		// Of one that is gone the next tells.
		at, i := time.Time{}, mid
		for ; i < high && at.IsZero(); i++ {
			var err error
			if at, err = m.timeOf(ctx, l, msgs[i].Id); err != nil {
				return 0, err
			}
		}
		if at.IsZero() || at.Before(t) {
			high = mid
		} else {
			low = i
		}
	}
	return low, nil
}

// within cuts a page, newest first, to what was received in a window, and returns the time of receipt of the oldest that was listed. over: all that
// follows is older than the window.
func (m *Mailbox) within(ctx context.Context, l lane, w provider.Window, msgs []*gapi.Message) (in []*gapi.Message, oldest time.Time, over bool, err error) {
	if len(msgs) == 0 {
		return nil, time.Time{}, false, nil
	}
	if oldest, err = m.oldest(ctx, l, msgs); err != nil {
		return nil, oldest, false, err
	}
	in = msgs
	if !w.From.IsZero() && !oldest.IsZero() && oldest.Before(w.From) {
		n, err := m.edge(ctx, l, in, w.From)
		if err != nil {
			return nil, oldest, false, err
		}
		in, over = in[:n], true
	}
	if !w.To.IsZero() && len(in) > 0 {
		newest, err := m.timeOf(ctx, l, in[0].Id)
		if err != nil {
			return nil, oldest, false, err
		}
		if newest.IsZero() || !newest.Before(w.To) {
			n, err := m.edge(ctx, l, in, w.To)
			if err != nil {
				return nil, oldest, false, err
			}
			in = in[n:]
		}
	}
	return in, oldest, over, nil
}
