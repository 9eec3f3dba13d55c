package imap

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
)

const (
	day          = 24 * time.Hour
	firstSpan    = 30 * day
	maxSpan      = 10 * 365 * day
	slicesAPage  = 8      // slices one call goes through
	sparse       = 2000   // a slice with fewer messages makes the next one longer
	crowded      = 20_000 // one with more makes it shorter
	earliestYear = 1980
)

// past is where History stands: the slice of time [Low, High) and the last message listed of it. Times are Unix
// seconds; 0 is open. Folders are merged slice by slice, as their UIDs don't follow the time once mail was moved.
type past struct {
	Low       int64  `json:"l"`
	High      int64  `json:"h"`
	Span      int64  `json:"s"`
	Estimated int    `json:"e"`
	After     *entry `json:"a,omitempty"`
	Done      bool   `json:"d,omitempty"`
}

// entry is a message's place in the order of History.
type entry struct {
	Time     int64  `json:"t"`
	Folder   string `json:"f"`
	UID      uint32 `json:"u"`
	Validity uint32 `json:"v"`
}

// compare puts the newest first.
func (e entry) compare(o entry) int {
	return cmp.Or(cmp.Compare(o.Time, e.Time), cmp.Compare(e.Folder, o.Folder), cmp.Compare(o.UID, e.UID))
}

// slice is the index of a slice of time, kept between pages.
type slice struct {
	low, high int64
	window    provider.Window
	entries   []entry
	folders   map[string]provider.Folder
	validity  map[string]uint32 // of the folders that were searched
}

// after returns where the entries begin that come after one that was listed.
func (s *slice) after(last *entry) int {
	if last == nil {
		return 0
	}
	key := *last
	if v, ok := s.validity[key.Folder]; !ok || v != key.Validity {
		// Renumbered since: its UID says nothing. What has the same second is listed again.
		key.Folder, key.UID = "", math.MaxUint32
	}
	from, exact := slices.BinarySearchFunc(s.entries, key, entry.compare)
	if exact {
		from++
	}
	return from
}

// history reads a page of History.
func (m *Mailbox) history(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	var pos past
	reconnects := 0
	if c == nil {
		n, err := m.estimate(ctx, w)
		if err != nil {
			return provider.Page{}, err
		}
		newest := time.Now()
		if !w.To.IsZero() {
			newest = w.To
			pos.High = unixUp(w.To)
		}
		pos.Estimated, pos.Span = n, int64(firstSpan/time.Second)
		pos.setLow(newest.Unix(), w)
	} else if err := json.Unmarshal(c, &pos); err != nil || pos.Span <= 0 {
		return provider.Page{}, errors.New("imap: this is not a cursor of an IMAP history")
	}
	page := provider.Page{Estimated: pos.Estimated}
	for i := 0; i < slicesAPage && !pos.Done && len(page.Items) < m.cfg.PageSize; i++ {
		s, err := m.index(ctx, w, pos.Low, pos.High, &reconnects)
		var items []provider.Item
		var todo []entry
		from := 0
		if err == nil {
			from = s.after(pos.After)
			todo = s.entries[from:]
			todo = todo[:min(len(todo), m.cfg.PageSize-len(page.Items))]
			if items, err = m.items(ctx, s, todo, &reconnects); err != nil {
				m.slice = nil
				if skippable(err) {
					continue // renumbered or removed since it was indexed: index again
				}
				err = m.wrap(ctx, "reading history", err)
			}
		}
		if err != nil {
			if len(page.Items) > 0 && ctx.Err() == nil {
				break // what was read is handed over; the error comes with the next call
			}
			return provider.Page{}, err
		}
		page.Items = append(page.Items, items...)
		if from+len(todo) < len(s.entries) {
			last := todo[len(todo)-1]
			pos.After = &last
			break
		}
		pos.next(len(s.entries), w)
		m.slice = nil
	}
	page.More = !pos.Done
	b, err := json.Marshal(pos)
	if err != nil {
		return provider.Page{}, err
	}
	page.Next = b
	return page, nil
}

func (p *past) setLow(high int64, w provider.Window) {
	p.Low = high - p.Span
	if !w.From.IsZero() && p.Low <= w.From.Unix() {
		p.Low = w.From.Unix()
	}
	if w.From.IsZero() && time.Unix(p.Low, 0).Year() < earliestYear {
		p.Low = 0
	}
}

// next moves to the slice before.
func (p *past) next(found int, w provider.Window) {
	if p.Low == 0 || !w.From.IsZero() && p.Low <= w.From.Unix() {
		p.Done = true
	}
	switch {
	case found < sparse:
		p.Span = min(2*p.Span, int64(maxSpan/time.Second))
	case found > crowded:
		p.Span = max(p.Span/2, int64(day/time.Second))
	}
	p.After, p.High = nil, p.Low
	p.setLow(p.High, w)
}

// unixUp rounds up: the window is exact, the slice may be larger.
func unixUp(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// criteria searches by INTERNALDATE. The server compares days in a zone of its own: a day more on either side.
func criteria(low, high int64) *goimap.SearchCriteria {
	var c goimap.SearchCriteria
	if low != 0 {
		c.Since = time.Unix(low, 0).UTC().Add(-day)
	}
	if high != 0 {
		c.Before = time.Unix(high, 0).UTC().Add(2 * day)
	}
	return &c
}

func bounds(w provider.Window) (low, high int64) {
	if !w.From.IsZero() {
		low = w.From.Unix()
	}
	if !w.To.IsZero() {
		high = unixUp(w.To)
	}
	return low, high
}

func (m *Mailbox) estimate(ctx context.Context, w provider.Window) (n int, err error) {
	folders, err := m.watchedNow(ctx)
	if err != nil {
		return 0, err
	}
	err = m.onFolders(ctx, "counting messages", folders, nil, func(c *imapclient.Client, _ provider.Folder, sel selection) error {
		if w.From.IsZero() && w.To.IsZero() {
			n += int(sel.num)
			return nil
		}
		if sel.num == 0 {
			return nil
		}
		uids, err := m.search(c, sel, criteria(bounds(w)), 0)
		n += len(uids)
		return err
	})
	return n, err
}

// index lists when and where the messages of a slice are, from memory when it was the last one asked for.
func (m *Mailbox) index(ctx context.Context, w provider.Window, low, high int64, reconnects *int) (*slice, error) {
	if s := m.slice; s != nil && s.low == low && s.high == high && s.window == w {
		return s, nil
	}
	folders, err := m.watchedNow(ctx)
	if err != nil {
		return nil, err
	}
	s := &slice{low: low, high: high, window: w, folders: map[string]provider.Folder{}, validity: map[string]uint32{}}
	for _, f := range openFirst(m, folders, func(f provider.Folder) string { return f.ID }) {
		found, rows, err := m.dates(ctx, f, low, high, reconnects)
		if err != nil {
			return nil, err
		}
		if found.validity == 0 {
			continue
		}
		s.folders[f.ID], s.validity[f.ID] = f, found.validity
		for uid, r := range rows {
			e := entry{Time: r.date.Unix(), Folder: f.ID, UID: uid, Validity: found.validity}
			switch {
			case r.date.IsZero():
				e.Time = low // no date to be had: in any slice whose search found it
			case !w.Contains(r.date), low != 0 && e.Time < low, high != 0 && e.Time >= high:
				continue
			}
			s.entries = append(s.entries, e)
		}
	}
	slices.SortFunc(s.entries, entry.compare)
	m.slice = s
	return s, nil
}

// found is what a search of a folder gave; zero where the folder can't be opened.
type found struct {
	validity uint32
	uids     []uint32
}

// dates searches a folder and reads when the messages came. A folder that is renumbered or removed meanwhile is searched again.
func (m *Mailbox) dates(ctx context.Context, f provider.Folder, low, high int64, reconnects *int) (found, map[uint32]*row, error) {
	for try := 0; ; try++ {
		var all found
		err := m.do(ctx, "searching history", func(c *imapclient.Client) error {
			all = found{}
			// One that is open may stay so: what came since then is new, and Changes' to tell.
			sel, err := m.examine(c, f.ID, try > 0)
			switch {
			case err != nil && skippable(err):
				return nil
			case err != nil:
				return err
			}
			if all.validity = sel.validity; sel.num > 0 {
				all.uids, err = m.search(c, sel, criteria(low, high), 0)
			}
			return err
		})
		if err != nil {
			return found{}, nil, err
		}
		rows, err := m.fetch(ctx, f.ID, all.validity, all.uids, false, reconnects)
		switch {
		case err == nil:
			return all, rows, nil
		case !skippable(err) || try > 2:
			return found{}, nil, m.wrap(ctx, "reading dates", err)
		}
	}
}

// openFirst sorts folders, of which name tells the name, so that the open one is first.
func openFirst[T any](m *Mailbox, folders []T, name func(T) string) []T {
	slices.SortStableFunc(folders, func(a, b T) int {
		switch m.selected.name {
		case name(a):
			return -1
		case name(b):
			return 1
		}
		return 0
	})
	return folders
}

// items reads the headers of entries, folder by folder, and returns them in their order.
func (m *Mailbox) items(ctx context.Context, s *slice, es []entry, reconnects *int) ([]provider.Item, error) {
	uids := map[string][]uint32{}
	validity := map[string]uint32{}
	for _, e := range es {
		uids[e.Folder] = append(uids[e.Folder], e.UID)
		validity[e.Folder] = e.Validity
	}
	rows := map[string]map[uint32]*row{}
	// The open folder first: opening a large one anew costs a server as much as many messages.
	for _, name := range openFirst(m, slices.Sorted(maps.Keys(uids)), func(n string) string { return n }) {
		us := uids[name]
		slices.Sort(us)
		got, err := m.fetch(ctx, name, validity[name], us, true, reconnects)
		if err != nil {
			return nil, err
		}
		rows[name] = got
	}
	out := make([]provider.Item, 0, len(es))
	for _, e := range es {
		if r := rows[e.Folder][e.UID]; r != nil {
			out = append(out, r.item(s.folders[e.Folder], e.Validity))
		}
	}
	return out, nil
}
