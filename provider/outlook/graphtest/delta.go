package graphtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"
)

// maxFiltered is how many messages a filtered delta returns at most (facts 2.2).
const maxFiltered = 5000

// position is what a delta or next link holds: where a delta goes on, and all that its first call said (facts 2.2: "all query options are baked
// into the token").
type position struct {
	Folder string `json:"f"` // "": the folders
	Epoch  int    `json:"e"`
	Issued int64  `json:"i"`
	Since  uint64 `json:"s"`           // changes after this one
	Round  uint64 `json:"r,omitempty"` // where the round began, plus one
	First  bool   `json:"a,omitempty"` // what is there is listed first
	At     int64  `json:"t,omitempty"` // behind this one, newest first
	After  string `json:"k,omitempty"`
	Told   int    `json:"n,omitempty"`
	Empty  bool   `json:"x,omitempty"` // an empty page was told
	Query  string `json:"q,omitempty"`
}

func (p position) token() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b64.EncodeToString(b)
}

// begins reads a call's position; fresh: it is a first call.
func (c *call) begins(folder string, epoch int) (p position, fresh bool, e *apiError) {
	v := c.query.Get("$deltatoken")
	if v == "" {
		v = c.query.Get("$skiptoken")
	}
	now := c.s.now()
	q := url.Values{}
	for k, vs := range c.query {
		q[strings.ToLower(k)] = vs
	}
	if v == "" {
		return position{Folder: folder, Epoch: epoch, Issued: now.Unix(), First: true, Since: c.user.seq, Query: q.Encode()}, true, nil
	}
	if strings.EqualFold(v, "latest") { // from memory: "from now on"
		return position{Folder: folder, Epoch: epoch, Issued: now.Unix(), Since: c.user.seq, Query: q.Encode()}, false, nil
	}
	b, err := b64.DecodeString(v)
	if err != nil || json.Unmarshal(b, &p) != nil || p.Folder != folder {
		return p, false, badRequest("SyncStateInvalid", "The sync state is invalid.")
	}
	if life := c.s.opts.DeltaLife; p.Epoch != epoch || life > 0 && now.Sub(time.Unix(p.Issued, 0)) > life {
		return p, false, c.expired()
	}
	return p, false, nil
}

// expired is how a token ends. Facts 2.2: "410 Gone with Location, or 40x with code syncStateNotFound (also seen SyncStateInvalid, ResyncRequired)".
func (c *call) expired() *apiError {
	code := c.s.odd.syncCode
	switch code {
	case "":
		return &apiError{status: http.StatusGone, code: "SyncStateNotFound", message: "The sync state generation is not found; continuing may require a full resync.",
			header: http.Header{"Location": {c.s.base + c.r.URL.EscapedPath() + "?$deltatoken="}}}
	case "resyncRequired", "ResyncRequired":
		return &apiError{status: http.StatusGone, code: code, message: "Resync required.", header: http.Header{"Location": {c.s.base + c.r.URL.EscapedPath()}}}
	}
	return badRequest(code, "The sync state is not found.")
}

// changesOf are the changes that a delta tells: those after a position that are not late, each of the newest of its kind.
func (c *call) changesOf(f *feed, p *position, fresh bool) []event {
	es := f.events
	if late := c.s.odd.late; late > 0 {
		now := c.s.now()
		es = es[:sort.Search(len(es), func(i int) bool { return now.Sub(es[i].at) < late })]
	}
	i := sort.Search(len(es), func(i int) bool { return es[i].seq > p.Since })
	if n := c.s.odd.replay; n > 0 && !fresh && c.query.Get("$deltatoken") != "" { // facts 2.2: "Replays and repeated entities are normal"
		c.s.odd.replay = 0
		i = max(0, i-n)
	}
	var out []event
	for _, e := range es[i:] {
		if f.last[e.key] == e.seq {
			out = append(out, e)
		}
	}
	return out
}

// finish makes the answer of a page.
func (c *call) finish(vs []any, of string, p position, more bool) *reply {
	if !more && !p.Empty && c.s.odd.empty > 0 {
		c.s.odd.empty--
		p.Empty, more = true, true
	}
	if !more {
		p.Empty, p.Round, p.Issued = false, 0, c.s.now().Unix()
	}
	out := map[string]any{"@odata.context": c.context(of), "value": vs}
	if vs == nil {
		out["value"] = []any{}
	}
	link := func(param string) string {
		return c.s.base + c.r.URL.EscapedPath() + "?" + param + "=" + p.token()
	}
	if more {
		out["@odata.nextLink"] = link("$skiptoken")
	} else {
		out["@odata.deltaLink"] = link("$deltatoken")
	}
	return ok(out)
}

// deltaMessages is the delta of a folder.
func (c *call) deltaMessages() (*reply, *apiError) {
	f, e := c.pathFolder()
	if e != nil {
		return nil, e
	}
	p, fresh, e := c.begins(f.id, f.epoch)
	if e != nil {
		return nil, e
	}
	q, err := url.ParseQuery(p.Query)
	if err != nil {
		return nil, badRequest("SyncStateInvalid", "The sync state is invalid.")
	}
	show, e := c.shownAs(q.Get("$select"), q.Get("$expand"), true)
	if e != nil {
		return nil, e
	}
	keep, e := deltaFilter(q)
	if e != nil {
		return nil, e
	}
	c.query.Set("$top", q.Get("$top"))
	n, e := c.pageSize(10)
	if e != nil {
		return nil, e
	}
	wants := func(kind string) bool {
		v := strings.ToLower(q.Get("changetype"))
		return v == "" || slices.Contains(strings.Split(v, ","), kind)
	}
	if p.Empty {
		return c.finish(nil, "messages", p, false), nil
	}
	var vs []any
	if p.First {
		rest := f.order
		if p.After != "" {
			rest = rest[sort.Search(len(rest), func(i int) bool { return !rest[i].before(time.Unix(p.At, 0).UTC(), p.After) }):]
			if len(rest) > 0 && rest[0].immutable == p.After {
				rest = rest[1:]
			}
		}
		most := len(f.order) + 1
		if keep != nil {
			rest, most = keep.within(rest), maxFiltered
		}
		i := 0
		for ; i < len(rest) && len(vs) < n && p.Told < most; i++ {
			m := rest[i]
			p.At, p.After = m.received.Unix(), m.immutable
			if (keep == nil || keep.holds(m)) && wants("created") && !m.hidden {
				vs = append(vs, show(m))
				p.Told++
			}
		}
		if i < len(rest) && p.Told < most {
			return c.finish(vs, "messages", p, true), nil
		}
		p.First, p.At, p.After, p.Told = false, 0, "", 0
		return c.finish(vs, "messages", p, false), nil
	}
	if p.Round == 0 {
		p.Round = p.Since + 1
	}
	since := p.Round - 1
	for _, ev := range c.changesOf(&f.feed, &p, fresh) {
		if len(vs) == n {
			return c.finish(vs, "messages", p, true), nil
		}
		p.Since = max(p.Since, ev.seq)
		m := c.user.byID[ev.key]
		switch {
		case ev.removed || m == nil || m.folder != f || m.hidden:
			if wants("deleted") {
				vs = append(vs, c.gone(ev))
			}
		case keep != nil && !keep.holds(m):
		case f.feed.entered[ev.key] > since:
			if wants("created") {
				vs = append(vs, show(m))
			}
		case wants("updated"):
			v := show(m)
			if c.s.opts.SparseUpdates {
				v = pick(v, m.changedSince(since))
			}
			vs = append(vs, v)
		}
	}
	return c.finish(vs, "messages", p, false), nil
}

// gone is a message that left. Facts 2.2: {id, "@removed": {"reason": "deleted" | "changed"}}; "a move OUT of the folder also appears as removed".
func (c *call) gone(ev event) map[string]any {
	v := map[string]any{"id": ev.id, "@odata.type": "#microsoft.graph.message", "@removed": map[string]string{"reason": "changed"}}
	if ev.kind == "deleted" {
		v["@removed"] = map[string]string{"reason": "deleted"}
	}
	if c.prefer.immutable {
		v["id"] = ev.key
	}
	return v
}

func (m *mail) changedSince(seq uint64) []string {
	out := []string{"changeKey", "lastModifiedDateTime"}
	for p, at := range m.changed {
		if at > seq {
			out = append(out, p)
		}
	}
	return out
}

// deltaFilter is what a first call may ask for. Facts 2.2: $filter only by receivedDateTime ge or gt, $orderby only by it descending, no $search.
func deltaFilter(q url.Values) (*filter, *apiError) {
	bad := func(what string) *apiError {
		return badRequest("ErrorInvalidUrlQuery", "The following parameters are not supported with change tracking over the 'Messages' resource: '%s'.", what)
	}
	if q.Get("$search") != "" {
		return nil, bad("$search")
	}
	if o := strings.Fields(q.Get("$orderby")); len(o) > 0 && (len(o) != 2 || !strings.EqualFold(o[0], "receivedDateTime") || o[1] != "desc") {
		return nil, bad("$orderby")
	}
	f, e := parseFilter(q.Get("$filter"))
	if e != nil || f == nil {
		return nil, e
	}
	if f.property != "receivedDateTime" || f.op != "ge" && f.op != "gt" {
		return nil, bad("$filter")
	}
	return f, nil
}

// deltaFolders is the delta of the folder set.
func (c *call) deltaFolders() (*reply, *apiError) {
	u := c.user
	p, fresh, e := c.begins("", 0)
	if e != nil {
		return nil, e
	}
	q, err := url.ParseQuery(p.Query)
	if err != nil {
		return nil, badRequest("SyncStateInvalid", "The sync state is invalid.")
	}
	n, e := c.pageSize(10)
	if e != nil {
		return nil, e
	}
	if p.Empty {
		return c.finish(nil, "mailFolders", p, false), nil
	}
	var selected []string
	if v := q.Get("$select"); v != "" {
		selected = strings.Split(v, ",")
	}
	var vs []any
	if p.First {
		all := slices.DeleteFunc(slices.Clone(u.folders), func(f *folder) bool { return f.known == "msgfolderroot" || f.hidden })
		for _, f := range all[min(p.Told, len(all)):] {
			if len(vs) == n {
				return c.finish(vs, "mailFolders", p, true), nil
			}
			vs = append(vs, pick(u.wireFolder(f), selected))
			p.Told++
		}
		p.First, p.Told = false, 0
		return c.finish(vs, "mailFolders", p, false), nil
	}
	for _, ev := range c.changesOf(&u.tree, &p, fresh) {
		if len(vs) == n {
			return c.finish(vs, "mailFolders", p, true), nil
		}
		p.Since = max(p.Since, ev.seq)
		f := u.folder(ev.key)
		switch {
		case f == nil:
			vs = append(vs, map[string]any{"id": ev.id, "@removed": map[string]string{"reason": "deleted"}})
		case f.known == "msgfolderroot" || f.hidden:
		default:
			vs = append(vs, pick(u.wireFolder(f), selected))
		}
	}
	return c.finish(vs, "mailFolders", p, false), nil
}

// ExpireDelta makes the delta links of a folder stale (facts 2.2), of all folders where it is "".
func (u *User) ExpireDelta(which string) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	for _, f := range u.folders {
		if which == "" || f == u.find(which) {
			f.epoch++
		}
	}
}

// SetSyncCode says with which code a stale delta link is answered 400 from now on: syncStateNotFound, SyncStateInvalid (facts 2.2). With
// ResyncRequired, and with "", it is 410 and a Location.
func (s *Server) SetSyncCode(code string) { s.tune(func(o *odd) { o.syncCode = code }) }

// EmptyPages lets the next n rounds of deltas end in a page that is empty and still has a nextLink before the last one. ReplayChanges lets the next
// round tell the n changes before it again. LateChanges keeps changes back for a time. SwallowRemovals makes deltas never tell that the next n
// messages left their folder. OddListings lets listings end after so many messages, though there are more, and leaves out every nth on their later
// pages; 0: neither. Facts 2.2 and 8.
func (s *Server) EmptyPages(n int)            { s.tune(func(o *odd) { o.empty = n }) }
func (s *Server) ReplayChanges(n int)         { s.tune(func(o *odd) { o.replay = n }) }
func (s *Server) LateChanges(d time.Duration) { s.tune(func(o *odd) { o.late = d }) }
func (s *Server) SwallowRemovals(n int)       { s.tune(func(o *odd) { o.swallow = n }) }
func (s *Server) OddListings(endAfter, skipEvery int) {
	s.tune(func(o *odd) { o.endAfter, o.skipEvery = endAfter, skipEvery })
}

func (s *Server) tune(f func(*odd)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.odd)
}
