package outlook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// cursor is where Changes stands.
type cursor struct {
	Kind    string                   `json:"k"`
	Folders string                   `json:"t"` // delta link of the set of folders
	Spots   []*spot                  `json:"f"`
	Roles   map[string]provider.Role `json:"r"`
	// Queue is what is still to be asked in this round.
	Queue []string `json:"q,omitempty"`
	// Turn is how many pages were read in this round.
	Turn int `json:"n,omitempty"`
	// Full is when all folders were asked last, Unix seconds.
	Full int64 `json:"u"`
}

// spot is a folder, and where it has been read to if it is watched.
type spot struct {
	place
	Link string `json:"l,omitempty"` // of its delta; "": it begins
	// Fresh, Unix seconds: the first listing isn't over, and what was there before then is not told.
	Fresh int64 `json:"s,omitempty"`
	Off   bool  `json:"o,omitempty"` // not watched
	Open  bool  `json:"w,omitempty"` // Link is in the middle of a listing
	Bad   bool  `json:"x,omitempty"` // the server refused to list it
	// Gone: it was not there when it was asked, though the folders' delta has not said so yet.
	Gone bool `json:"g,omitempty"`
	// Bare: only ids are asked for, as a page with more could not be read. A link keeps what was asked for, so it stays so until that ends.
	Bare bool `json:"b,omitempty"`
	// Listing: it is read from its beginning, and that isn't over.
	Listing bool `json:"y,omitempty"`
	// Anew: it is listed from its beginning once more, which its first page will tell. Not before: where there is none, nothing that is known of it is void.
	Anew bool `json:"a,omitempty"`
	// Pages of this listing were read, and Mark stands for where one of them led: who comes there again goes in a circle.
	Pages int    `json:"c,omitempty"`
	Mark  string `json:"m,omitempty"`
	// Ended is how often in a row its listing ended before it was at its end.
	Ended int `json:"e,omitempty"`
}

// begin has a folder listed from its beginning.
func (s *spot) begin(anew bool) {
	s.Link, s.Open, s.Listing, s.Anew, s.Pages, s.Mark = "", false, true, anew, 0, ""
}

// end takes down where a listing, or what happened since, ended.
func (s *spot) end(delta string) {
	s.Link, s.Open, s.Listing, s.Fresh, s.Pages, s.Mark, s.Ended = delta, false, false, 0, 0, "", 0
}

// circle takes down where a page of a listing leads, and reports whether it leads where one led before (Brent's algorithm: it finds every circle and remembers one place).
func (s *spot) circle(next string) bool {
	sum := sha256.Sum256([]byte(next))
	mark := hex.EncodeToString(sum[:8])
	if mark == s.Mark {
		return true
	}
	if s.Pages++; s.Pages&(s.Pages-1) == 0 {
		s.Mark = mark
	}
	return false
}

const changesKind = "outlook"

func encode(v any) provider.Cursor {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs
	}
	return b
}

func (c *cursor) spot(id string) *spot {
	i := slices.IndexFunc(c.Spots, func(s *spot) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return c.Spots[i]
}

// spell is how long a call goes on with pages of which nothing is told. Who holds a lease renews it between calls, and need not wait longer for one: what is left
// comes with the next.
const spell = 20 * time.Second

// primed is how many pages Start reads at most in that time.
const primed = 150

// Start implements provider.Mailbox. Graph gives no delta link for "from now on" (facts 2.2: a filtered delta may miss older mail that comes): each folder is listed once, a page for
// every Options.PageSize of its messages, and nothing of it is told. What this call has no time for comes with Changes.
func (m *Mailbox) Start(ctx context.Context) (provider.Cursor, error) {
	now := m.p.o.Now()
	link, err := m.loadTree(ctx, quota.Live)
	if err != nil {
		return nil, err
	}
	t := m.known.tree
	cur := &cursor{Kind: changesKind, Folders: link, Full: now.Unix()}
	for _, p := range t.list() {
		r, _ := t.role(p.ID)
		cur.Spots = append(cur.Spots, &spot{place: p, Off: !watchedRole(r), Fresh: max(now.Unix(), 1)})
	}
	until, read := time.Now().Add(spell), 0
	for _, id := range m.order(cur, func(s *spot) bool { return !s.Off }) {
		s := cur.spot(id)
		for s.Fresh != 0 && read < primed && time.Now().Before(until) && !s.Bad {
			_, next, delta, err := m.deltaPage(ctx, s)
			var limit *provider.RateLimitError
			switch {
			case errors.Is(err, provider.ErrGone): // deleted meanwhile
				s.Off, s.Gone, s.Fresh = true, true, 0
			case errors.As(err, &limit) && read > 0:
				until = time.Time{}
			case garbled(err) && !s.Bare:
				s.Bare = true
				s.begin(false)
			case err != nil && m.passOver(s, err):
				s.Bad = true
			case err != nil:
				return nil, err
			case delta != "":
				s.end(delta)
				read++
			default:
				s.Link, s.Open = next, true
				read++
			}
		}
		if s.Fresh != 0 {
			cur.Queue = append(cur.Queue, s.ID)
		}
	}
	return m.encodeCursor(cur), nil
}

func (m *Mailbox) encodeCursor(cur *cursor) provider.Cursor {
	cur.Roles = m.known.tree.roleMap()
	return encode(cur)
}

// order names folders in the order in which they are asked: Inbox and Sent Items first.
func (m *Mailbox) order(cur *cursor, want func(*spot) bool) (out []string) {
	rank := map[provider.Role]int{provider.RoleInbox: -3, provider.RoleSent: -2, provider.RoleArchive: -1}
	for _, s := range cur.Spots {
		if want(s) {
			out = append(out, s.ID)
		}
	}
	roles := m.known.tree.roleMap()
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(rank[roles[a]], rank[roles[b]]) })
	return out
}

// perPage is how many requests one page of Changes makes at most when nothing turns up.
const perPage = 30

// turn is how many pages a round has at least before listings that are longer go on in the next: what is new elsewhere need not wait for their end.
const turn = 8

// passOver reports whether a folder's error keeps only that folder from being read: it is asked again in the next round, and whoever lists it by
// Inventory is told. Where the inbox or Sent Items fail the mailbox does.
func (m *Mailbox) passOver(s *spot, err error) bool {
	if r, _ := m.known.tree.role(s.ID); r == provider.RoleInbox || r == provider.RoleSent || errors.Is(err, provider.ErrGone) {
		return false
	}
	var limit *provider.RateLimitError
	var action *provider.NeedsAction
	var sign *provider.SignInError
	var missing *MissingError
	denied := errors.As(err, &action) && status(err) == http.StatusForbidden // the inbox was asked before
	if errors.As(err, &limit) || action != nil && !denied || errors.As(err, &sign) {
		return false
	}
	var ours said // the inbox was asked before, and answered
	return errors.As(err, &ours) || garbled(err) || errors.As(err, &missing) || status(err) >= 400
}

// Changes implements provider.Mailbox. A round asks the set of folders, then Inbox, Sent Items, Archive and the folders that this named, or all; a page is that of one
// folder that had something to tell.
func (m *Mailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	cur := &cursor{}
	if err := json.Unmarshal(c, cur); err != nil || cur.Kind != changesKind {
		return provider.Page{}, errors.New("outlook: this is not a cursor of an Outlook mailbox")
	}
	var places []place
	for _, s := range cur.Spots {
		places = append(places, s.place)
	}
	m.known.tree.learn(places, cur.Roles)
	var page provider.Page
	moved := false // the cursor, since it was given
	until := time.Now().Add(spell)
	for asked := 0; asked < perPage && len(page.Items)+len(page.Left)+len(page.Restart) == 0 && (!moved || time.Now().Before(until)); asked++ {
		var over bool
		var err error
		if len(cur.Queue) == 0 {
			if moved {
				break // the round is over
			}
			err = m.round(ctx, cur, &page)
			over = err == nil && len(cur.Queue) == 0
		} else {
			s := cur.spot(cur.Queue[0])
			if err = m.ask(ctx, cur, &page); err != nil && s != nil && m.passOver(s, err) {
				s.Bad, err = true, nil
				cur.Queue = cur.Queue[1:]
			}
			if cur.Turn++; cur.Turn >= turn && !slices.ContainsFunc(cur.Queue, func(id string) bool { s := cur.spot(id); return s != nil && !s.Open }) {
				cur.Queue = nil // what is long goes on in the next round
			}
			over = err == nil && len(cur.Queue) == 0
		}
		if err != nil && !moved {
			return provider.Page{}, err
		}
		if err != nil || over {
			break // the page comes short; an error comes with the next call, if it lasts
		}
		moved = true
	}
	page.More = len(cur.Queue) > 0 || slices.ContainsFunc(cur.Spots, func(s *spot) bool { return s.Open && !s.Off && !s.Bad })
	for _, s := range cur.Spots {
		if s.Listing && !s.Off {
			page.Unfinished = append(page.Unfinished, s.ID)
		}
	}
	page.Next = m.encodeCursor(cur)
	return page, nil
}

// round begins one: it takes over what became of the folders, and says which are asked.
func (m *Mailbox) round(ctx context.Context, cur *cursor, page *provider.Page) error {
	t := m.known.tree
	named := map[string]bool{}
	link, whole := cur.Folders, cur.Folders == ""
	seen := map[string]bool{}
	var gone []string
	came := false // a folder that was not known
	for n := 0; ; n++ {
		cs, next, delta, err := m.folderPage(ctx, quota.Live, link)
		if err != nil && !whole && (expired(err) || errors.Is(err, provider.ErrGone) || errors.Is(err, errForeign) || errors.Is(err, errLoop)) {
			link, whole = "", true // from the beginning: what is not among them is no more
			clear(named)
			clear(seen)
			gone = nil
			continue
		}
		if err == nil && n == endless {
			err = errLoop
		}
		if err != nil {
			return err
		}
		for _, c := range cs {
			if c.removed {
				gone = append(gone, c.ID)
				continue
			}
			named[c.ID], seen[c.ID] = true, true
			gone = slices.DeleteFunc(gone, func(id string) bool { return id == c.ID })
			t.set(c.place)
			if s := cur.spot(c.ID); s == nil {
				came = true
				cur.Spots = append(cur.Spots, &spot{place: c.place, Off: true})
			} else {
				s.Name, s.Parent, s.Search = cmp.Or(c.Name, s.Name), cmp.Or(c.Parent, s.Parent), s.Search || c.Search
			}
		}
		if delta != "" {
			cur.Folders = delta
			break
		}
		link = next
	}
	if err := m.loadRoles(ctx, quota.Live, came); err != nil {
		return err
	}
	if !came && len(named) > 0 && t.of(provider.RoleArchive) == "" { // it may have come into being
		if err := m.loadRole(ctx, quota.Live, archived, provider.RoleArchive); err != nil {
			return err
		}
	}
	if whole {
		for _, s := range cur.Spots {
			if !seen[s.ID] {
				gone = append(gone, s.ID)
			}
		}
	}
	for _, id := range gone {
		if s := cur.spot(id); s != nil {
			m.unwatch(s, page)
			cur.Spots = slices.DeleteFunc(cur.Spots, func(s *spot) bool { return s.ID == id })
			t.drop(id)
		}
	}
	now := m.p.o.Now()
	full := now.Sub(time.Unix(cur.Full, 0)) >= m.p.o.FullRound
	if full {
		cur.Full = now.Unix()
	}
	for _, s := range cur.Spots {
		r, _ := t.role(s.ID)
		switch {
		case !watchedRole(r):
			m.unwatch(s, page)
			s.Gone = false
		case s.Off && (!s.Gone || full || named[s.ID]): // it is new, or came out of the trash: all that lies in it is told
			s.Off, s.Gone, s.Fresh = false, false, 0
			s.begin(false)
			named[s.ID] = true
		}
	}
	roles := t.roleMap()
	cur.Turn = 0
	cur.Queue = m.order(cur, func(s *spot) bool {
		r := roles[s.ID]
		return !s.Off && (full || named[s.ID] || s.Link == "" || s.Fresh != 0 || s.Open || s.Bad || r == provider.RoleInbox || r == provider.RoleSent || r == provider.RoleArchive)
	})
	return nil
}

// unwatch tells of a folder that was deleted, or lies in one that is not watched now, as of one that is listed anew and holds nothing: what lay in it
// has left it.
func (m *Mailbox) unwatch(s *spot, page *provider.Page) {
	if !s.Off {
		f := m.known.tree.folder(s.ID)
		if !watchedRole(f.Role) {
			f.Role = ""
		}
		page.Restart = append(page.Restart, f)
	}
	s.Off, s.Fresh, s.Bad = true, 0, false
	s.begin(false)
}

// ask reads a page of the first folder in the queue.
func (m *Mailbox) ask(ctx context.Context, cur *cursor, page *provider.Page) error {
	s := cur.spot(cur.Queue[0])
	if s == nil || s.Off {
		cur.Queue = cur.Queue[1:]
		return nil
	}
	ms, next, delta, err := m.deltaPage(ctx, s)
	switch {
	case garbled(err) && !s.Bare:
		s.Bare = true
		s.begin(s.Anew || s.Fresh == 0)
		return nil
	case err != nil && s.Link != "" && (expired(err) || errors.Is(err, errForeign)):
		// Facts 2.2: "restart the folder from scratch, dedupe by id".
		if s.Open {
			s.Ended++
		}
		s.Fresh, s.Bare = 0, false // what made a page unreadable may be gone
		s.begin(true)
		if s.Ended >= 3 { // links live shorter than the listing takes: one try a round, so that there is an end of it
			s.Bad = true
			cur.Queue = cur.Queue[1:]
		}
		return nil
	case errors.Is(err, provider.ErrGone): // the folders' delta will tell
		m.unwatch(s, page)
		s.Gone = true
		cur.Queue = cur.Queue[1:]
		return nil
	case err != nil:
		return err
	}
	if err := m.tell(ctx, s, ms, page); err != nil {
		return err
	}
	if s.Anew {
		page.Restart = append(page.Restart, m.known.tree.folder(s.ID))
	}
	s.Open, s.Bad, s.Anew = delta == "", false, false
	if delta == "" { // others have their turn
		s.Link = next
		if s.circle(next) {
			return errLoop
		}
		cur.Queue = append(slices.Clone(cur.Queue[1:]), s.ID)
		return nil
	}
	fresh := s.Fresh != 0
	s.end(delta)
	if !fresh { // else what came meanwhile is asked for at once
		cur.Queue = cur.Queue[1:]
	}
	return nil
}

// margin is how much clocks may differ.
const margin = 5 * time.Minute

// tell makes a page of what a delta said. Facts 2.2: a removal is "left this folder"; entries may repeat.
func (m *Mailbox) tell(ctx context.Context, s *spot, ms []*mail, page *provider.Page) error {
	in := []provider.Folder{m.known.tree.folder(s.ID)}
	kinds := map[provider.ItemID]int{}
	for _, x := range ms {
		if x.removed() {
			kinds[x.id()] |= 1
		} else {
			kinds[x.id()] |= 2
		}
	}
	for _, x := range ms {
		id := x.id()
		if kinds[id] == 3 {
			// It went and came, or came and went: facts 2.2, "order not guaranteed". Where it is now counts.
			here, err := m.liesIn(ctx, id, s.ID)
			if err != nil {
				return err
			}
			kinds[id] = map[bool]int{true: 2, false: 1}[here]
		}
		if (kinds[id] == 1) != x.removed() {
			continue
		}
		if x.removed() { // in a first listing, too: history may have found it here
			page.Left = append(page.Left, provider.Removal{ID: id, Folder: s.ID})
			continue
		}
		if m.writing(x, in[0].Role) || s.Fresh != 0 && !since(x, time.Unix(s.Fresh, 0).Add(-margin)) {
			continue
		}
		if r := x.received(); s.Listing && !r.IsZero() && r.Before(m.since) {
			continue // of older mail that lies there nothing is wanted
		}
		it := provider.Item{ID: id, Folders: in}
		if x.GetReceivedDateTime() != nil {
			it.Envelope = m.p.envelope(x, in[0].Role == provider.RoleSent)
		} else { // facts 2.2: "at least the changed properties"
			it.Envelope = message.Envelope{Thread: str(x.GetConversationId()), Sent: in[0].Role == provider.RoleSent}
		}
		m.hurry(id)
		page.Items = append(page.Items, it)
	}
	return nil
}

// since reports whether something happened to a message since a time.
func since(x *mail, t time.Time) bool {
	return !x.received().Before(t) || !timeOf(x.GetLastModifiedDateTime()).Before(t)
}

// liesIn asks where a message lies. One that can't be read is taken to lie there: whoever reads it is told why, and it holds up no other.
func (m *Mailbox) liesIn(ctx context.Context, id provider.ItemID, folder string) (bool, error) {
	x, err := m.get(ctx, quota.Live, id, idFields)
	switch {
	case errors.Is(err, provider.ErrGone):
		return false, nil
	case m.denied(ctx, quota.Live, err) || garbled(err):
		return true, nil
	case err != nil:
		return false, err
	}
	return x.folder() == folder, nil
}

// getExactly is get, where it would matter that it is another message. Facts 2.3: an id lasts, and its bytes count.
func (m *Mailbox) getExactly(ctx context.Context, l quota.Lane, id provider.ItemID, fields []string, expand ...string) (*mail, error) {
	x, err := m.get(ctx, l, id, fields, expand...)
	if err == nil && x.id() != id {
		err = fmt.Errorf("outlook: %s: %w", messageGet, errOther)
	}
	return x, err
}

// get gets some fields of a message.
func (m *Mailbox) get(ctx context.Context, l quota.Lane, id provider.ItemID, fields []string, expand ...string) (x *mail, err error) {
	err = m.read(ctx, l, messageGet, func(ctx context.Context) error {
		r, err := m.me.Messages().ByMessageId(string(id)).Get(ctx, &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMessagesMessageItemRequestBuilderGetQueryParameters{Select: fields, Expand: expand}})
		if err != nil {
			return err
		}
		if x = mailOf(r); x == nil {
			return errEmpty
		}
		return nil
	})
	return x, err
}

// hurry notes that the content of a message is live mail's.
func (m *Mailbox) hurry(id provider.ItemID) {
	if len(m.urgent) > 10_000 || m.urgent == nil {
		m.urgent = map[provider.ItemID]bool{}
	}
	m.urgent[id] = true
}

// checkLink refuses to follow a stored link to another host.
func (m *Mailbox) checkLink(link string) error {
	u, err := url.Parse(link)
	if err != nil || !own(m.p.base, u) {
		return errForeign
	}
	return nil
}

// deltaPage reads a page of a folder's delta, from its beginning where it has no link. Facts 2.2: "all query options are baked into the token", the headers go with
// each call.
func (m *Mailbox) deltaPage(ctx context.Context, s *spot) (ms []*mail, next, delta string, err error) {
	link := s.Link
	fields, expand := listFields, []string{properties}
	if s.Bare {
		fields, expand = append([]string{"lastModifiedDateTime"}, idFields...), nil
	}
	err = m.read(ctx, quota.Live, messagesDelta, func(ctx context.Context) error {
		b := m.me.MailFolders().ByMailFolderId(s.ID).Messages().Delta()
		cfg := &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetRequestConfiguration{Headers: prefer(m.pageSize())}
		if link != "" {
			if err := m.checkLink(link); err != nil {
				return err
			}
			b = b.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemMailFoldersItemMessagesDeltaRequestBuilderGetQueryParameters{Select: fields, Expand: expand}
		}
		r, err := b.GetAsDeltaGetResponse(ctx, cfg)
		if err != nil {
			return err
		}
		if r == nil || r.GetValue() == nil {
			return errEmpty
		}
		m.lengthen()
		ms = mails(r.GetValue())
		next, delta = str(r.GetOdataNextLink()), str(r.GetOdataDeltaLink())
		return m.goesOn(link, next, delta)
	})
	return ms, next, delta, err
}

// goesOn refuses a page of a delta that leads nowhere, or where we don't go.
func (m *Mailbox) goesOn(link, next, delta string) error {
	switch {
	case next == "" && delta == "":
		return errNoLink
	case m.checkLink(cmp.Or(delta, next)) != nil:
		return errAstray
	case delta == "" && next == link:
		return errLoop
	}
	return nil
}

func mails(vs []models.Messageable) (out []*mail) {
	for _, v := range vs {
		if v == nil {
			continue
		}
		if x := mailOf(v); x != nil {
			out = append(out, x)
		}
	}
	return out
}

// ifMatch is a header of a request.
func ifMatch(etag string) *abs.RequestHeaders {
	h := abs.NewRequestHeaders()
	if etag != "" {
		h.Add("If-Match", etag)
	}
	return h
}
