package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

var (
	_ provider.Provider = (*fakeProvider)(nil)
	_ provider.Mailbox  = (*mailbox)(nil)
	_ provider.Waiter   = (*imapMailbox)(nil)
	_ provider.Poller   = (*imapMailbox)(nil)
)

type fakeProvider struct{ f *Fake }

// Provider returns the service; every Open leads to the same mailbox, whatever the credential.
func (f *Fake) Provider() provider.Provider { return &fakeProvider{f} }

func (p *fakeProvider) Name() string { return string(p.f.personality) }

func (p *fakeProvider) Open(ctx context.Context, _ []byte) (provider.Mailbox, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if err := p.f.enter(ctx, p.f.epoch, &p.f.calls.Open, 0); err != nil {
		return nil, err
	}
	if p.f.refuse > 0 {
		p.f.refuse--
		return nil, &provider.SignInError{Reason: "the mail server refused the sign-in: enter the password again if it was changed", Err: errRefused}
	}
	return p.f.open(), nil
}

// Mailbox opens the mailbox without the fuss of a credential. It is a provider.Archiver and
// provider.Labeler; with the IMAP personality also a provider.Waiter and provider.SentFiler.
func (f *Fake) Mailbox() provider.Mailbox {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open()
}

func (f *Fake) open() provider.Mailbox {
	b := &mailbox{f: f, epoch: f.epoch, seen: f.seq}
	if f.personality == IMAP {
		return &imapMailbox{b}
	}
	if f.personality == Gmail {
		return &gmailMailbox{b}
	}
	return b
}

type mailbox struct {
	f      *Fake
	epoch  int
	closed bool   // guarded by f.mu
	seen   uint64 // guarded by f.mu; up to where Changes has told
}

func (b *mailbox) enter(ctx context.Context, counter *int, units int) error {
	if b.closed {
		*counter++
		return errors.New("providertest: mailbox is closed")
	}
	return b.f.enter(ctx, b.epoch, counter, units)
}

func (b *mailbox) Profile(ctx context.Context) (provider.Profile, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if err := b.enter(ctx, &b.f.calls.Profile, 1); err != nil {
		return provider.Profile{}, err
	}
	p := b.f.profile
	p.Aliases = slices.Clone(p.Aliases)
	return p, nil
}

func (b *mailbox) Close() error {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.closed = true
	return nil
}

// position is the inside of a cursor of Changes.
type position struct {
	Kind    string
	Streams map[string]spot
}

type spot struct {
	Gen    int
	Base   uint64 // where the cursor began: nothing older is repeated
	Seq    uint64
	Relist bool   `json:",omitempty"` // lists everything, after an expiry
	After  uint64 `json:",omitempty"` // serial listed so far
	Primed bool   `json:",omitempty"` // Graph: the empty page was given
}

func (f *Fake) kind() string { return "changes/" + string(f.personality) }

func encode(v any) provider.Cursor {
	c, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs
	}
	return c
}

func (b *mailbox) Start(ctx context.Context) (provider.Cursor, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Start, 1); err != nil { // facts 1.4: getProfile().historyId
		return nil, err
	}
	p := position{Kind: f.kind(), Streams: map[string]spot{}}
	for _, s := range f.streams() {
		p.Streams[s] = spot{Gen: f.gens[s], Base: f.seq, Seq: f.seq}
	}
	b.seen = f.seq
	return encode(p), nil
}

func (b *mailbox) Changes(ctx context.Context, c provider.Cursor) (provider.Page, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Changes, 2); err != nil {
		return provider.Page{}, err
	}
	var pos position
	if err := json.Unmarshal(c, &pos); err != nil || pos.Kind != f.kind() {
		return provider.Page{}, fmt.Errorf("providertest: not a cursor of Changes for %s", f.personality)
	}
	var page provider.Page
	room := f.pageSize
	for _, s := range f.streams() {
		n := room
		sp, ok := pos.Streams[s]
		if ok && sp.Gen != f.gens[s] {
			for _, d := range f.folders {
				if f.stream(d.ID) == s {
					page.Restart = append(page.Restart, d.Folder)
				}
			}
			if f.personality == Gmail {
				page.Restart = append(page.Restart, provider.Folder{}) // archived mail has no label (facts 1.4)
			}
		}
		if !ok || sp.Gen != f.gens[s] {
			sp = spot{Gen: f.gens[s], Base: f.seq, Seq: f.seq, Relist: true}
		}
		// Facts 2.2: "pages may be EMPTY and still have a nextLink".
		if f.personality == Graph && !sp.Primed && f.pending(s, sp) {
			sp.Primed = true
			pos.Streams[s] = sp
			break
		}
		if sp.Relist {
			f.relist(s, &sp, &room, &page)
		} else {
			f.read(s, &sp, &room, &page)
		}
		sp.Primed = false
		pos.Streams[s] = sp
		if room == 0 || (f.personality == Graph && room < n) { // facts 2.2: "Delta is per folder"
			break
		}
	}
	for _, s := range f.streams() {
		sp, ok := pos.Streams[s]
		page.More = page.More || !ok || sp.Gen != f.gens[s] || f.pending(s, sp)
	}
	page.Next = encode(pos)
	if !page.More {
		b.seen = f.seq
	}
	if f.reorder {
		slices.Reverse(page.Items)
		slices.Reverse(page.Left)
	}
	f.again(&page, c)
	return page, nil
}

func (f *Fake) pending(stream string, sp spot) bool {
	es := f.events[stream]
	return sp.Relist || (len(es) > 0 && es[len(es)-1].seq > sp.Seq)
}

// relist lists what lies in the stream now; what happens meanwhile is behind sp.Seq and comes after.
func (f *Fake) relist(stream string, sp *spot, room *int, page *provider.Page) {
	var ms []*mail
	for _, m := range f.order {
		if m.serial > sp.After && f.listed(m) && (stream == "" || slices.Contains(m.folders, stream)) {
			ms = append(ms, m)
		}
	}
	slices.SortFunc(ms, func(a, b *mail) int { return int(a.serial) - int(b.serial) })
	for _, m := range ms {
		if *room == 0 {
			return
		}
		page.Items = append(page.Items, f.item(m, true))
		sp.After = m.serial
		*room--
	}
	sp.Relist, sp.After = false, 0
}

func (f *Fake) read(stream string, sp *spot, room *int, page *provider.Page) {
	es := f.events[stream]
	i := sort.Search(len(es), func(i int) bool { return es[i].seq > sp.Seq })
	if i == len(es) {
		return
	}
	// Facts 2.2: "Replays and repeated entities are normal": the entry before comes again.
	if f.personality == Graph && i > 0 && es[i-1].seq > sp.Base {
		f.tell(es[i-1], page)
	}
	for ; i < len(es) && *room > 0; i++ {
		f.tell(es[i], page)
		sp.Seq = es[i].seq
		*room--
	}
}

// tell writes an event as the services do: against what is true now, not then.
func (f *Fake) tell(e event, page *provider.Page) {
	m := e.mail
	here := m.id == e.id && slices.Contains(m.folders, e.folder)
	switch {
	case e.left && !here && f.personality == IMAP:
		// Facts 3.3: "Deletions without QRESYNC: compare UID SEARCH ALL with the local set". That something went is seen by
		// the count of messages.
		if d := f.folder(e.folder); d != nil && !slices.Contains(page.Recount, d.Folder) {
			page.Recount = append(page.Recount, d.Folder)
		}
	case e.left && !here:
		page.Left = append(page.Left, provider.Removal{ID: e.id, Folder: e.folder})
		if f.personality == Gmail && f.mails[m.handle] != nil {
			page.Items = append(page.Items, f.item(m, true)) // labelRemoved carries the labels that remain
		}
	case e.left:
	case f.personality == Gmail:
		// Facts 1.4: "may appear several times, be added and deleted within one window".
		page.Items = append(page.Items, f.item(m, true))
	case here:
		page.Items = append(page.Items, f.item(m, true))
	}
}

// again makes the page come once more when RepeatPages asked for it.
func (f *Fake) again(page *provider.Page, c provider.Cursor) {
	if f.repeat > 0 && len(page.Items)+len(page.Left) > 0 {
		f.repeat--
		page.Next, page.More = bytes.Clone(c), true
	}
}

func (f *Fake) listed(m *mail) bool {
	for _, id := range m.folders {
		if d := f.folder(id); d != nil && !d.watched() {
			return false
		}
	}
	return true
}

// item shows a message as a listing of the service does.
func (f *Fake) item(m *mail, labels bool) provider.Item {
	it := provider.Item{ID: m.id, Err: m.err}
	if f.personality == Gmail {
		// Facts 1.5: "ids and threadIds only"; facts 1.4: "+labelIds in typed entries" of the history.
		it.Envelope.Thread = m.thread
		if labels {
			it.Folders = f.where(m)
			it.Envelope.Sent = f.isSent(m)
		}
		return it
	}
	it.Folders = f.where(m)
	it.Size = int64(len(m.raw))
	e := f.enrich(m.envelope, m)
	if m.err != nil {
		e = message.Envelope{Received: m.received, Sent: e.Sent, Thread: m.thread}
	} else if f.personality == Graph {
		// Facts 2.3: "internetMessageHeaders only comes with an explicit $select, on GET of a message".
		e.Has &= message.HasParticipants | message.HasSubject | message.HasDate
		e.InReplyTo, e.References, e.ThreadIndex = nil, nil, ""
		e.Automated, e.Auth = message.Automated{}, message.AuthUnknown
	}
	it.Envelope = e
	return it
}

func (f *Fake) where(m *mail) []provider.Folder {
	var ds []provider.Folder
	for _, id := range m.folders {
		ds = append(ds, f.folder(id).Folder)
	}
	return ds
}

func (f *Fake) isSent(m *mail) bool {
	return slices.Contains(m.folders, f.byRole(provider.RoleSent).ID)
}

// enrich adds what only the mailbox knows.
func (f *Fake) enrich(e message.Envelope, m *mail) message.Envelope {
	e.Received, e.Sent, e.Thread = m.received, f.isSent(m), m.thread
	return e
}

// place in History: Received and serial of the last message told. A time key survives what a page token does not
// (facts 8: "page by a receivedDateTime key").
type pastPosition struct {
	Kind   string
	At     time.Time
	Serial uint64
}

func (b *mailbox) History(ctx context.Context, w provider.Window, c provider.Cursor) (provider.Page, error) {
	return b.past(ctx, &b.f.calls.History, w, c, "history", func(*mail) bool { return true })
}

// past lists what is older, and wanted.
func (b *mailbox) past(ctx context.Context, counter *int, w provider.Window, c provider.Cursor, kind string, wanted func(*mail) bool) (provider.Page, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, counter, 5); err != nil {
		return provider.Page{}, err
	}
	pos := pastPosition{Kind: kind}
	if c != nil {
		if err := json.Unmarshal(c, &pos); err != nil || pos.Kind != kind {
			return provider.Page{}, fmt.Errorf("providertest: not a cursor of %s", kind)
		}
	}
	start := encode(pos)
	var page provider.Page
	for _, m := range f.order {
		if !w.Contains(m.received) || !f.listed(m) || !wanted(m) {
			continue
		}
		page.Estimated++
		if pos.Serial != 0 && (m.received.After(pos.At) || (m.received.Equal(pos.At) && m.serial >= pos.Serial)) {
			continue
		}
		if len(page.Items) == f.pageSize {
			page.More = true
			continue
		}
		page.Items = append(page.Items, f.item(m, false))
	}
	if n := len(page.Items); n > 0 {
		last := f.byID[page.Items[n-1].ID]
		pos.At, pos.Serial = last.received, last.serial
	}
	page.Next = encode(pos)
	f.again(&page, start)
	return page, nil
}

func (b *mailbox) find(id provider.ItemID) (*mail, error) {
	m := b.f.byID[id]
	if m == nil {
		return nil, provider.ErrGone
	}
	return m, m.err
}

func (b *mailbox) Content(ctx context.Context, id provider.ItemID) (*message.Message, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Content, 20); err != nil { // facts 1.6: messages.get 20
		return nil, err
	}
	m, err := b.find(id)
	if err != nil {
		return nil, err
	}
	msg := f.parser.Parse(m.raw)
	msg.Envelope = f.enrich(msg.Envelope, m)
	return msg, nil
}

func (b *mailbox) Attachment(ctx context.Context, id provider.ItemID, part string) (io.ReadCloser, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Attachment, 20); err != nil {
		return nil, err
	}
	m, err := b.find(id)
	if err != nil {
		return nil, err
	}
	body, err := section(m.raw, part)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

func (b *mailbox) Locate(ctx context.Context, messageID string) ([]provider.Item, error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := b.enter(ctx, &f.calls.Locate, 5); err != nil { // facts 1.5: rfc822msgid:
		return nil, err
	}
	if len(f.unlocated) > 0 {
		err := f.unlocated[0]
		f.unlocated = f.unlocated[1:]
		return nil, err
	}
	var items []provider.Item
	for _, m := range f.order {
		if messageID != "" && m.envelope.MessageID == messageID {
			items = append(items, provider.Item{ID: m.id, Folders: f.where(m)})
		}
	}
	return items, nil
}

func (b *mailbox) Inventory(ctx context.Context, s provider.Scope) iter.Seq2[provider.Item, error] {
	return func(yield func(provider.Item, error) bool) {
		f := b.f
		f.mu.Lock()
		err := b.enter(ctx, &f.calls.Inventory, 5)
		var items []provider.Item
		for _, m := range f.order {
			if !s.Window.Contains(m.received) || !f.listed(m) || s.Folder != "" && !slices.Contains(m.folders, s.Folder) {
				continue
			}
			it := provider.Item{ID: m.id}
			if f.personality != Gmail { // facts 1.5: "ids and threadIds only"
				it.Folders = f.where(m)
				it.Envelope.Received, it.Envelope.Sent = m.received, f.isSent(m)
			}
			items = append(items, it)
		}
		f.mu.Unlock()
		if err != nil {
			yield(provider.Item{}, err)
			return
		}
		for _, it := range items {
			if err := ctx.Err(); err != nil {
				yield(provider.Item{}, err)
				return
			}
			if !yield(it, nil) {
				return
			}
		}
	}
}

// gmailMailbox is a mailbox at Gmail: reading costs, and it can be searched.
type gmailMailbox struct{ *mailbox }

var _ provider.Searcher = (*gmailMailbox)(nil)

// Search implements provider.Searcher: a page of ids (facts 1.5), newest first. "API search does no alias expansion".
func (b *gmailMailbox) Search(ctx context.Context, w provider.Window, who []string, c provider.Cursor) (provider.Page, error) {
	return b.past(ctx, &b.f.calls.Search, w, c, "search", func(m *mail) bool { return concerns(m.envelope, who) })
}

// Plan implements provider.Searcher, by the units of facts 1.6: a listing is 5, a message 20, of 6,000 a minute.
func (b *gmailMailbox) Plan(ctx context.Context, w provider.Window, who []string) (p provider.Plan, err error) {
	for c, more := provider.Cursor(nil), true; more; {
		page, err := b.past(ctx, &b.f.calls.Search, w, c, "search", func(m *mail) bool { return len(who) == 0 || concerns(m.envelope, who) })
		if err != nil {
			return p, err
		}
		p.Messages += len(page.Items)
		p.Units += 5 + 20*len(page.Items)
		c, more = page.Next, page.More
	}
	p.Time = time.Duration(p.Units) * time.Minute / 6000
	return p, nil
}

// concerns reports whether somebody wrote or was written to.
func concerns(e message.Envelope, who []string) bool {
	for _, as := range [][]message.Address{e.From, e.To, e.Cc, e.Bcc} {
		for _, a := range as {
			for _, w := range who {
				k := string(a.Key)
				if k == w || !strings.Contains(w, "@") && (strings.HasSuffix(k, "@"+w) || strings.HasSuffix(k, "."+w)) {
					return true
				}
			}
		}
	}
	return false
}

// imapMailbox is an IMAP mailbox: it can IDLE, and keeps copies of what was sent by SMTP.
type imapMailbox struct{ *mailbox }

var _ provider.Prefetcher = (*imapMailbox)(nil)

// Prefetch implements provider.Prefetcher: a hint, that changes nothing of what Content tells. With it a caller reads several together.
func (b *imapMailbox) Prefetch([]provider.ItemID) {}

// bell is what Wait waits for.
type bell struct {
	come chan struct{} // closed when it rings
	err  error         // what Wait returns then
}

func newBell() *bell { return &bell{come: make(chan struct{})} }

// ring lets every Wait under way return err; f is locked.
func (f *Fake) ring(err error) {
	f.news.err = err
	close(f.news.come)
	f.news = newBell()
}

// Polling implements provider.Poller.
func (b *imapMailbox) Polling() string {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if b.f.noIdle {
		return "the server has no IDLE"
	}
	return ""
}

// Wait implements provider.Waiter.
func (b *imapMailbox) Wait(ctx context.Context) error {
	f := b.f
	f.mu.Lock()
	err := b.enter(ctx, &f.calls.Wait, 1)
	next, fresh, deaf := f.news, f.seq > b.seen, f.noIdle
	f.mu.Unlock()
	if err != nil || fresh {
		return err
	}
	news := next.come
	var pause <-chan time.Time
	if deaf {
		news, pause = nil, time.After(5*time.Minute)
	}
	select {
	case <-pause:
		return nil
	case <-news:
		return next.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
