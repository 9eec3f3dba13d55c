package outlook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// position is where a listing by time of receipt stands: all that was received after Oldest was listed, and of what was received in that second, Edge.
type position struct {
	Kind      string   `json:"k"`
	Oldest    int64    `json:"o,omitempty"` // Unix seconds, 0: it begins
	Edge      []string `json:"e,omitempty"`
	Estimated int      `json:"n,omitempty"`
	Done      bool     `json:"d,omitempty"`
}

const historyKind = "outlook-history"

// History implements provider.Mailbox. Facts 8: listings "can end early or skip items when paged by nextLink or $skip": so each page asks anew for what was received
// up to the last second that was listed, and passes over what it knows of that. It ends when nothing more turns up.
func (m *Mailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	pos := position{Kind: historyKind}
	if c != nil {
		if err := json.Unmarshal(c, &pos); err != nil || pos.Kind != historyKind {
			return provider.Page{}, errors.New("outlook: this is not a cursor of an Outlook history")
		}
	}
	page := provider.Page{}
	until := time.Now().Add(spell)
	for n := range perPage {
		if pos.Done || len(page.Items) > 0 || n > 0 && !time.Now().Before(until) {
			break
		}
		before := pos
		ms, err := m.onward(ctx, quota.Past, listing{window: w, fields: listFields, whole: true}, &pos)
		if garbled(err) { // ids alone: each is read by itself then, and the one that can't be holds up no other
			pos = before
			ms, err = m.onward(ctx, quota.Past, listing{window: w, fields: idFields}, &pos)
		}
		var items []provider.Item
		if err == nil {
			items, err = m.items(ctx, quota.Past, w, ms)
		}
		if err != nil {
			// What was passed over is no loss: the next call goes on behind it.
			pos = before
			var limit *provider.RateLimitError
			if errors.As(err, &limit) && c != nil && string(encode(pos)) != string(c) {
				break
			}
			return provider.Page{}, err
		}
		page.Items = append(page.Items, items...)
	}
	page.Estimated = pos.Estimated
	page.Next, page.More = encode(pos), !pos.Done
	return page, nil
}

// items shows the mail of a listing that lies in watched folders and in the window.
func (m *Mailbox) items(ctx context.Context, l quota.Lane, w provider.Window, ms []*mail) (out []provider.Item, err error) {
	for _, x := range ms {
		if !w.Contains(x.received()) {
			continue
		}
		f, ok, err := m.watchedIn(ctx, l, x.folder())
		if err != nil {
			return nil, err
		}
		if ok && !m.writing(x, f.Role) {
			out = append(out, provider.Item{ID: x.id(), Folders: []provider.Folder{f}, Envelope: m.p.envelope(x, f.Role == provider.RoleSent)}) // of ids alone it has next to nothing
		}
	}
	return out, nil
}

// watchedIn is the folder of a message, and whether it is watched. One that was made since the folders were read is asked for; of one that is gone by now Changes tells.
func (m *Mailbox) watchedIn(ctx context.Context, l quota.Lane, id string) (provider.Folder, bool, error) {
	r, known := m.known.tree.role(id)
	if !known || !m.known.tree.known() { // of what folders are, nothing is known before all were asked for
		if err := m.locateFolder(ctx, l, id); err != nil {
			return provider.Folder{}, false, err
		}
		r, known = m.known.tree.role(id)
	}
	return m.known.tree.folder(id), known && watchedRole(r), nil
}

// listing is what is listed, newest first.
type listing struct {
	window provider.Window
	folder string // its id; "": the whole mailbox
	fields []string
	whole  bool // with headers
}

// onward lists what comes next, and moves on. What it lists may be none, and yet not the end.
func (m *Mailbox) onward(ctx context.Context, l quota.Lane, q listing, pos *position) ([]*mail, error) {
	to := q.window.To
	if !to.IsZero() {
		to = to.Truncate(time.Second).Add(time.Second) // times are shown in whole seconds, and may not be
	}
	if pos.Oldest != 0 {
		to = time.Unix(pos.Oldest+1, 0)
	}
	ms, next, count, err := m.listPage(ctx, l, q, to, pos.Oldest == 0)
	if err != nil {
		return nil, err
	}
	if pos.Oldest == 0 {
		pos.Estimated = count
	}
	edge, listed := pos.Edge, pos.Oldest
	unknown := func(ms []*mail) []*mail {
		return slices.DeleteFunc(ms, func(x *mail) bool {
			// A server that doesn't filter lists again what is newer.
			return slices.Contains(edge, string(x.id())) || listed != 0 && !x.received().IsZero() && x.received().Unix() > listed
		})
	}
	fresh := unknown(ms)
	follow := func() error { // pages may be empty, and hold what is known
		for n := 0; len(fresh) == 0 && next != ""; n++ {
			if n == endless {
				return errLoop
			}
			if ms, next, err = m.nextPage(ctx, l, q, next); err != nil {
				return err
			}
			fresh = unknown(ms)
		}
		return nil
	}
	if err := follow(); err != nil { // more was received in that second than a page holds
		return nil, err
	}
	if len(fresh) == 0 && pos.Oldest != 0 { // it may have ended early in the middle of that second: what is older is asked for apart
		if ms, next, _, err = m.listPage(ctx, l, q, time.Unix(pos.Oldest, 0), false); err != nil {
			return nil, err
		}
		fresh = unknown(ms)
		if err := follow(); err != nil {
			return nil, err
		}
	}
	if len(fresh) == 0 {
		pos.Done = true
		return nil, nil
	}
	oldest := pos.Oldest
	for _, x := range fresh {
		if r := x.received(); !r.IsZero() && (oldest == 0 || r.Unix() < oldest) {
			oldest = r.Unix()
		}
	}
	if oldest != pos.Oldest {
		pos.Oldest, pos.Edge = oldest, nil
	}
	for _, x := range fresh {
		// What has no time can't be passed over by it.
		if r := x.received(); r.IsZero() || r.Unix() == oldest {
			pos.Edge = append(pos.Edge, string(x.id()))
		}
	}
	return fresh, nil
}

// listPage lists a page of what was received before to.
func (m *Mailbox) listPage(ctx context.Context, l quota.Lane, q listing, to time.Time, counted bool) (ms []*mail, next string, count int, err error) {
	filter := ""
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
	if !q.window.From.IsZero() {
		filter = "receivedDateTime ge " + stamp(q.window.From.Truncate(time.Second))
	}
	if !to.IsZero() {
		if filter != "" {
			filter += " and "
		}
		filter += "receivedDateTime lt " + stamp(to)
	}
	var f *string
	if filter != "" {
		f = &filter
	}
	var expand []string
	if q.whole {
		expand = []string{properties}
	}
	order := []string{"receivedDateTime desc"}
	top := func() *int32 { return ptr(int32(m.pageSize())) } //nolint:gosec // at most 1,000
	var with *bool
	if counted && q.whole {
		with = ptr(true)
	}
	if q.folder != "" {
		err = m.read(ctx, l, folderMessages, func(ctx context.Context) error {
			r, err := m.me.MailFolders().ByMailFolderId(q.folder).Messages().Get(ctx, &users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
				QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{Select: q.fields, Expand: expand, Filter: f, Orderby: order, Top: top(), Count: with}})
			if err != nil {
				return err
			}
			if r == nil || r.GetValue() == nil {
				return errEmpty
			}
			m.lengthen()
			ms, next, count = mails(r.GetValue()), str(r.GetOdataNextLink()), number(r.GetOdataCount())
			return nil
		})
		return ms, next, count, err
	}
	err = m.read(ctx, l, messagesList, func(ctx context.Context) error {
		r, err := m.me.Messages().Get(ctx, &users.ItemMessagesRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMessagesRequestBuilderGetQueryParameters{Select: q.fields, Expand: expand, Filter: f, Orderby: order, Top: top(), Count: with}})
		if err != nil {
			return err
		}
		if r == nil || r.GetValue() == nil {
			return errEmpty
		}
		m.lengthen()
		ms, next, count = mails(r.GetValue()), str(r.GetOdataNextLink()), number(r.GetOdataCount())
		return nil
	})
	return ms, next, count, err
}

func number(p *int64) int {
	if p == nil {
		return 0
	}
	return int(*p)
}

// nextPage follows the link of a page.
func (m *Mailbox) nextPage(ctx context.Context, l quota.Lane, q listing, link string) (ms []*mail, next string, err error) {
	if m.checkLink(link) != nil {
		return nil, "", fmt.Errorf("outlook: %w", errAstray)
	}
	err = m.read(ctx, l, messagesList, func(ctx context.Context) error {
		r, err := m.me.Messages().WithUrl(link).Get(ctx, nil)
		if err != nil {
			return err
		}
		if r == nil || r.GetValue() == nil {
			return errEmpty
		}
		ms, next = mails(r.GetValue()), str(r.GetOdataNextLink())
		return nil
	})
	if err == nil && next == link {
		return nil, "", errLoop
	}
	return ms, next, err
}
