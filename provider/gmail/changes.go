package gmail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
)

// cursor is where Changes stands.
type cursor struct {
	Kind string `json:"k"`
	// Start is the history id after which news is told: it moves when all pages were read, to what the first of them said (facts 1.4: "Storing
	// after partial pages loses changes").
	Start  uint64 `json:"s,string"`
	Then   uint64 `json:"n,string,omitempty"` // Start once all pages are read
	Token  string `json:"t,omitempty"`        // of the next page
	Done   int    `json:"d,omitempty"`        // records of that page that were told
	After  uint64 `json:"a,string,omitempty"` // the last record that was told: where the token has died, those before it are passed over
	Behind int    `json:"b,omitempty"`        // how many times in a row the history ended before Start
	trail
	// Relist is under way: the history has expired.
	Relist *relist `json:"r,omitempty"`
}

// relist lists the mailbox anew, place by place; what happens meanwhile is in the history after Start.
type relist struct {
	Places []string `json:"p"` // ids of labels that are to be listed, "" for all mail
	spot
}

const changesKind = "gmail"

func encode(v any) provider.Cursor {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs
	}
	return b
}

// Start implements provider.Mailbox. Facts 1.4: the profile's historyId, taken before anything is listed.
func (m *Mailbox) Start(ctx context.Context) (provider.Cursor, error) {
	if err := m.whoami(ctx); err != nil {
		return nil, err
	}
	return encode(cursor{Kind: changesKind, Start: m.profile.HistoryId}), nil
}

// historyPage is how many records are asked for: what they name costs 20 units each, and a page is stored in one piece.
const historyPage = 100

// Changes implements provider.Mailbox. New mail it reads, for a message costs the same whatever is read of it, and keeps what it read for Prefetch and Content until it is
// called again, as far as that is not much; of mail whose labels changed it tells where it lies now. Chats and drafts are
// passed over. Where the history has expired (facts 1.4: 404) it lists the mailbox anew, without reading anything.
func (m *Mailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	var cur cursor
	if err := json.Unmarshal(c, &cur); err != nil || cur.Kind != changesKind {
		return provider.Page{}, errors.New("gmail: this is not a cursor of a Gmail mailbox")
	}
	m.kept = nil
	if cur.Relist != nil {
		return m.relist(ctx, cur)
	}
	r, err := m.history(ctx, cur.Start, cur.Token)
	if err != nil && cur.Token != "" && (errors.Is(err, provider.ErrGone) || status(err) == http.StatusBadRequest) {
		// The token has died: from the start, without what was told, to where there is more, or it would be the same when the next has died.
		cur.Token, cur.Done = "", 0
		cur.anew()
		r, err = m.history(ctx, cur.Start, "")
	}
	old := 0 // records of r that are of pages before
	until := time.Now().Add(spell)
	for n := 0; err == nil && cur.Done == 0 && r.NextPageToken != "" && n < passedOver && time.Now().Before(until) && !cur.news(r.History); n++ {
		last := slices.DeleteFunc(r.History, func(h *gapi.History) bool { return h == nil || h.Id < cur.After })
		if err := cur.on(r.NextPageToken, ""); err != nil && n == 0 {
			return provider.Page{}, err
		} else if err != nil {
			return provider.Page{Next: encode(cur), More: true}, nil // the next call says it at once
		}
		cur.Token, old = r.NextPageToken, len(last)
		if r, err = m.history(ctx, cur.Start, cur.Token); err == nil {
			r.History = append(last, r.History...)
		}
	}
	if errors.Is(err, provider.ErrGone) || status(err) == http.StatusBadRequest && cur.Token == "" {
		return m.expired(ctx)
	}
	if err != nil {
		return provider.Page{}, err
	}
	if cur.Then == 0 {
		cur.Then = r.HistoryId
	}
	records := slices.DeleteFunc(r.History, func(h *gapi.History) bool { return h == nil })
	from := min(cur.Done, len(records))
	for cur.Done == 0 && from < len(records) && records[from].Id < cur.After {
		from++
	}
	had := cur.After
	page, told, err := m.tell(ctx, records[from:])
	if err != nil && told == 0 {
		return provider.Page{}, err
	}
	if told > 0 {
		cur.After = records[from+told-1].Id
	}
	switch {
	case err != nil: // the page comes short; the error comes with the next call, if it lasts
		cur.Done, page.More = max(from+told-old, 0), true
	case r.NextPageToken != "":
		news := ""
		if cur.After > had {
			news = strconv.FormatUint(cur.After, 10)
		}
		if err := cur.on(r.NextPageToken, news); err != nil {
			return provider.Page{}, err
		}
		cur.Token, cur.Done, page.More = r.NextPageToken, 0, true
	case r.HistoryId != 0 && r.HistoryId < cur.Start && cur.Behind >= behindOften:
		return m.expired(ctx)
	case r.HistoryId != 0 && r.HistoryId < cur.Start:
		cur = cursor{Kind: changesKind, Start: cur.Start, Behind: cur.Behind + 1}
	default:
		cur = cursor{Kind: changesKind, Start: max(cur.Then, cur.Start)}
	}
	page.Next = encode(cur)
	return page, nil
}

const (
	// passedOver bounds how many pages of history of which nothing is told are passed over by one call, for 2 units each.
	passedOver = 200
	// behindOften is how many times in a row a history may end before where we stand: one of Google's machines may lag behind another. A mailbox
	// that was put back stays there, and what comes to it then is below what we ask for.
	behindOften = 2
)

// news reports whether there are records that were not told.
func (c *cursor) news(records []*gapi.History) bool {
	return slices.ContainsFunc(records, func(h *gapi.History) bool { return h != nil && h.Id > c.After })
}

func (m *Mailbox) history(ctx context.Context, start uint64, token string) (r *gapi.ListHistoryResponse, err error) {
	err = m.read(ctx, live, historyList, func(ctx context.Context) error {
		return m.paged(ctx, min(historyPage, m.p.o.PageSize), func(size int64) (err error) {
			call := m.api.Users.History.List("me").Context(ctx).StartHistoryId(start).MaxResults(size)
			if token != "" {
				call = call.PageToken(token)
			}
			if r, err = call.Do(); err == nil && r.HistoryId == 0 {
				err = errEmpty
			}
			return err
		})
	})
	return r, err
}

// event is something that a record tells of one message.
type event struct {
	msg    *gapi.Message
	labels []string
	what   what
}

type what int

const (
	added what = iota
	deleted
	labelled
	unlabelled
)

// events are what a record tells, by its typed arrays. Facts 1.4: "messages[] duplicates" them.
func events(h *gapi.History) (out []event) {
	for _, a := range h.MessagesAdded {
		out = append(out, event{a.Message, nil, added})
	}
	for _, a := range h.LabelsAdded {
		out = append(out, event{a.Message, a.LabelIds, labelled})
	}
	for _, a := range h.LabelsRemoved {
		out = append(out, event{a.Message, a.LabelIds, unlabelled})
	}
	for _, a := range h.MessagesDeleted {
		out = append(out, event{a.Message, nil, deleted})
	}
	return slices.DeleteFunc(out, func(e event) bool { return e.msg == nil || e.msg.Id == "" })
}

// fold is what records come to for one message.
type fold struct {
	labels      []string
	thread      string
	fresh, gone bool     // it came, it was deleted
	touched     bool     // it came, or a folder of it changed
	left        []string // labels that it lost
	first       int      // the record that named it first
}

// tell makes a page of as many records as the quota has room for, and says how many these are. Facts 1.4: one message "may appear several times, be added and
// deleted within one window": what counts is how it ends.
func (m *Mailbox) tell(ctx context.Context, records []*gapi.History) (provider.Page, int, error) {
	folds, order := foldAll(records)
	var need []provider.ItemID
	for _, id := range order {
		if f := folds[id]; f.fresh && !f.gone && reads(f.labels) {
			need = append(need, itemID(id))
		}
	}
	got, err := m.readNew(ctx, need)
	told := len(records)
	if err != nil {
		for _, id := range need {
			if !got.knows(id) {
				told = min(told, folds[string(id)].first)
			}
		}
		if told == 0 && slices.ContainsFunc(need, got.knows) && errors.As(err, new(*provider.RateLimitError)) {
			told = 1 // a record may name more than can be read in a minute: what was not read of it is told by its id
		}
		// Fewer records come to something else.
		folds, order = foldAll(records[:told])
	}
	var page provider.Page
	for _, id := range order {
		f := folds[id]
		if f.gone {
			page.Left = append(page.Left, provider.Removal{ID: itemID(id)})
			continue
		}
		places := lies(f.labels)
		for _, l := range f.left {
			if !slices.Contains(places, l) {
				page.Left = append(page.Left, provider.Removal{ID: itemID(id), Folder: l})
			}
		}
		if !f.touched || slices.Contains(f.labels, draftLabel) || slices.Contains(f.labels, chatLabel) {
			continue
		}
		it := provider.Item{ID: itemID(id)}
		it.Envelope.Thread, it.Envelope.Sent = f.thread, slices.Contains(f.labels, sentLabel)
		names := f.labels
		if f.fresh && reads(f.labels) {
			msg := got.got[it.ID]
			switch {
			case msg != nil:
				it.Envelope, it.Size, names = m.envelope(msg), msg.SizeEstimate, msg.LabelIds
				if slices.Contains(names, draftLabel) || slices.Contains(names, chatLabel) {
					continue
				}
			case errors.Is(got.failed[it.ID], provider.ErrGone):
				continue // facts 1.4: "treat as gone, not as an error"; the history tells of it
			default:
				it.Err = got.failed[it.ID]
			}
		}
		var ferr error
		if it.Folders, ferr = m.folders(ctx, live, lies(names)); ferr != nil {
			return provider.Page{}, 0, ferr
		}
		m.hurry(it.ID)
		page.Items = append(page.Items, it)
	}
	return page, told, err
}

// maxKept is how much of what Changes read is kept for Content, in bytes as they came.
const maxKept = 8 << 20

// readNew gets new messages with their texts, and keeps them; once there is no more room, the headers alone.
func (m *Mailbox) readNew(ctx context.Context, need []provider.ItemID) (*fetched, error) {
	out := &fetched{map[provider.ItemID]*gapi.Message{}, map[provider.ItemID]error{}}
	m.kept = map[provider.ItemID]*gapi.Message{}
	room := maxKept
	var long []provider.ItemID
	get := func(ids []provider.ItemID, query url.Values) error {
		got, err := m.getMany(ctx, live, ids, query)
		maps.Copy(out.got, got.got)
		maps.Copy(out.failed, got.failed)
		return err
	}
	until := time.Now().Add(spell)
	for begin := len(need); len(need) > 0; {
		if len(need) < begin && !time.Now().Before(until) {
			return out, cmp.Or(get(long, headersOnly), errSlow)
		}
		if room < maxKept/8 {
			return out, get(append(need, long...), headersOnly)
		}
		chunk := need[:min(len(need), m.batchWidth())]
		err := get(chunk, whole)
		came := 0
		for _, id := range chunk {
			msg := out.got[id]
			if err := out.failed[id]; errors.Is(err, errNoAnswer) || errors.Is(err, httpcall.ErrTooLong) || errors.Is(err, context.DeadlineExceeded) { // its texts may be too long to come at all
				delete(out.failed, id)
				long = append(long, id)
			}
			if msg == nil {
				continue
			}
			n := weight(msg.Payload)
			if came += n; n > room {
				out.got[id] = headOf(msg)
				continue
			}
			room -= n
			m.kept[id] = msg
		}
		if err != nil {
			return out, err
		}
		if came > maxKept {
			m.quota.wide(m.batchWidth() / 2)
		}
		need = need[len(chunk):]
	}
	return out, get(long, headersOnly)
}

// weight is how many bytes of a part and those in it came.
func weight(p *gapi.MessagePart) (n int) {
	if p == nil {
		return 0
	}
	if p.Body != nil {
		n = len(p.Body.Data)
	}
	for _, sub := range p.Parts {
		n += weight(sub)
	}
	return n
}

// headOf is a message without its texts.
func headOf(msg *gapi.Message) *gapi.Message {
	head := *msg
	if p := msg.Payload; p != nil {
		head.Payload = &gapi.MessagePart{Filename: p.Filename, Headers: p.Headers, MimeType: p.MimeType, PartId: p.PartId}
	}
	return &head
}

// reads reports whether headers are read of a new message with these labels: not of what is in no watched folder.
func reads(labels []string) bool {
	return !slices.ContainsFunc(labels, func(l string) bool { return l == draftLabel || l == spamLabel || l == trashLabel || l == chatLabel })
}

// foldAll goes through records in their order. Labels are those that the last of them shows: typed entries carry them (facts 1.4).
func foldAll(records []*gapi.History) (map[string]*fold, []string) {
	folds := map[string]*fold{}
	var order []string
	for i, h := range records {
		for _, e := range events(h) {
			f := folds[e.msg.Id]
			if f == nil {
				f = &fold{first: i}
				folds[e.msg.Id] = f
				order = append(order, e.msg.Id)
			}
			if e.msg.ThreadId != "" {
				f.thread = e.msg.ThreadId
			}
			f.apply(e)
		}
	}
	return folds, order
}

func (f *fold) apply(e event) {
	if e.msg.LabelIds != nil || e.what == added {
		f.labels = slices.Clone(e.msg.LabelIds)
	}
	switch e.what {
	case added:
		f.fresh, f.gone, f.touched = true, false, true
	case deleted:
		f.gone = true
	case labelled:
		for _, l := range e.labels {
			if e.msg.LabelIds == nil && !slices.Contains(f.labels, l) {
				f.labels = append(f.labels, l)
			}
			f.touched = f.touched || isFolder(l)
			if l == trashLabel || l == spamLabel {
				// It is out of them, also where that is not told.
				f.left = append(append(f.left, inboxLabel), slices.DeleteFunc(slices.Clone(f.labels), func(l string) bool { return !isFolder(l) })...)
			}
		}
	case unlabelled:
		for _, l := range e.labels {
			if e.msg.LabelIds == nil {
				f.labels = slices.DeleteFunc(f.labels, func(has string) bool { return has == l })
			}
			if isFolder(l) {
				f.touched = true
				f.left = append(f.left, l)
			}
		}
	}
	slices.Sort(f.left)
	f.left = slices.Compact(f.left)
}

// hurry notes that the content of a message is live mail's.
func (m *Mailbox) hurry(id provider.ItemID) {
	if len(m.urgent) > 10_000 {
		clear(m.urgent)
	}
	m.urgent[id] = true
}

// expired begins to list the mailbox anew: every place is announced, also "no label", which is where archived mail lies.
func (m *Mailbox) expired(ctx context.Context) (provider.Page, error) {
	if err := m.whoami(ctx); err != nil {
		return provider.Page{}, err
	}
	// A server without history would have it expire for ever.
	if _, err := m.history(ctx, m.profile.HistoryId, ""); errors.Is(err, provider.ErrGone) {
		return provider.Page{}, &MissingError{Method: string(historyList), Status: http.StatusNotFound}
	} else if err != nil {
		return provider.Page{}, err
	}
	places, err := m.places(ctx, live)
	if err != nil {
		return provider.Page{}, err
	}
	cur := cursor{Kind: changesKind, Start: m.profile.HistoryId, Relist: &relist{Places: []string{""}}}
	for _, f := range places {
		if watched(f) {
			cur.Relist.Places = append(cur.Relist.Places, f.ID)
		}
	}
	return provider.Page{Restart: append(places, provider.Folder{}), Next: encode(cur), More: true}, nil
}

// relist lists a page of one place. All mail comes first, without folders; then each folder's, which is where it lies.
func (m *Mailbox) relist(ctx context.Context, cur cursor) (provider.Page, error) {
	if len(cur.Relist.Places) == 0 {
		cur.Relist = nil
		return provider.Page{Next: encode(cur), More: true}, nil
	}
	at := cur.Relist.Places[0]
	msgs, err := m.walk(ctx, live, query{window: provider.Window{From: m.since}, label: at}, &cur.Relist.spot)
	if err != nil && at != "" && (status(err) == http.StatusBadRequest || errors.Is(err, provider.ErrUnsupported)) {
		places, e := m.places(ctx, live)
		if e != nil {
			return provider.Page{}, e
		}
		if !slices.ContainsFunc(places, func(f provider.Folder) bool { return f.ID == at }) {
			msgs, err, cur.Relist.spot = nil, nil, spot{} // the label was deleted meanwhile, and its mail lies elsewhere
		}
	}
	if err != nil {
		return provider.Page{}, err
	}
	var page provider.Page
	for _, msg := range msgs {
		it := provider.Item{ID: itemID(msg.Id), Envelope: message.Envelope{Thread: msg.ThreadId, Sent: at == sentLabel}}
		if at != "" {
			if it.Folders, err = m.folders(ctx, live, []string{at}); err != nil {
				return provider.Page{}, err
			}
		}
		page.Items = append(page.Items, it)
	}
	if cur.Relist.Token == "" {
		cur.Relist.Places, cur.Relist.spot = cur.Relist.Places[1:], spot{}
	}
	page.Next, page.More = encode(cur), true
	return page, nil
}
