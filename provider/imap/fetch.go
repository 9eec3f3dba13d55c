package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

const (
	batchSize     = 100       // messages a FETCH
	headerLimit   = 256 << 10 // bytes of a header that are parsed
	maxReconnects = 60        // connections one page may cost to find unreadable messages
)

var errUnreadable = errors.New("imap: the message could not be read: the connection breaks at it")

// id is what an ItemID holds. UIDVALIDITY makes it die with the folder's numbering.
type id struct {
	validity, uid uint32
	folder        string
}

func (i id) item() provider.ItemID {
	return provider.ItemID(fmt.Sprintf("%d.%d.%s", i.validity, i.uid, i.folder))
}

func parseID(s provider.ItemID) (id, error) {
	v, rest, ok1 := strings.Cut(string(s), ".")
	u, folder, ok2 := strings.Cut(rest, ".")
	validity, err1 := strconv.ParseUint(v, 10, 32)
	uid, err2 := strconv.ParseUint(u, 10, 32)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || folder == "" || uid == 0 {
		return id{}, errors.New("imap: this is not an id of an IMAP message")
	}
	return id{uint32(validity), uint32(uid), folder}, nil
}

// row is what FETCH told of a message.
type row struct {
	uid    uint32
	flags  []goimap.Flag
	date   time.Time
	size   int64
	header []byte
	body   bool // a literal was received
	err    error
}

func asServerError(err error) *goimap.Error {
	var se *goimap.Error
	if errors.As(err, &se) {
		return se
	}
	return nil
}

// errStale: the folder's numbering is another than the ids were made under.
const errStale = localError("imap: the folder was renumbered")

// fetcher reads rows of a folder and isolates the messages that break the connection.
type fetcher struct {
	m          *Mailbox
	folder     string
	validity   uint32
	header     bool
	reconnects *int
	rows       map[uint32]*row
	partial    map[uint32]*row // what was said of messages without what was asked for
}

// fetch returns a row for every UID that still exists.
func (m *Mailbox) fetch(ctx context.Context, folder string, validity uint32, uids []uint32, header bool, reconnects *int) (map[uint32]*row, error) {
	f := &fetcher{m: m, folder: folder, validity: validity, header: header, reconnects: reconnects, rows: map[uint32]*row{}, partial: map[uint32]*row{}}
	size := batchSize
	if !header {
		size = 20 * batchSize
	}
	for len(uids) > 0 {
		n := min(size, len(uids))
		if err := f.batch(ctx, uids[:n]); err != nil {
			return nil, err
		}
		uids = uids[n:]
	}
	return f.rows, nil
}

func (f *fetcher) batch(ctx context.Context, uids []uint32) error {
	for try := 0; ; try++ {
		// Opening the folder may use a new connection; a server that can't be reached is no fault of the message.
		err := f.m.run(ctx, func(c *imapclient.Client) error {
			sel, err := f.m.examine(c, f.folder, false)
			if err == nil && sel.validity != f.validity {
				return errStale
			}
			return err
		})
		if err != nil {
			return err
		}
		err = f.m.once(ctx, func(c *imapclient.Client) error { return f.read(c, uids) })
		uids = f.missing(uids)
		if err == nil {
			// go-imap takes the first that is said of a message for the answer, a change of its flags too, and drops what follows: ask
			// for those again.
			if try < 2 && slices.ContainsFunc(uids, func(uid uint32) bool { return f.partial[uid] != nil }) {
				continue
			}
			return f.settle(ctx, uids)
		}
		if ctx.Err() != nil || len(uids) == 0 {
			return ctx.Err()
		}
		se := asServerError(err)
		if se != nil && (limited(se) != nil || se.Code == goimap.ResponseCodeUnavailable) {
			return err
		}
		if se == nil {
			*f.reconnects++
		}
		switch {
		case *f.reconnects > maxReconnects:
			for _, uid := range uids {
				f.rows[uid] = &row{uid: uid, err: errUnreadable}
			}
			return nil
		case len(uids) > 1:
			half := len(uids) / 2
			if err := f.batch(ctx, uids[:half]); err != nil {
				return err
			}
			return f.batch(ctx, uids[half:])
		case try > 0 || se != nil:
			// Once may have been an idle connection that had ended.
			return f.poison(ctx, uids[0])
		}
	}
}

// poison makes the row of a message that can't be read, with its date if that much can be had.
func (f *fetcher) poison(ctx context.Context, uid uint32) error {
	r := &row{uid: uid}
	if f.header {
		bare := &fetcher{m: f.m, folder: f.folder, validity: f.validity, reconnects: f.reconnects, rows: map[uint32]*row{}, partial: map[uint32]*row{}}
		if err := bare.batch(ctx, []uint32{uid}); err != nil {
			return err
		}
		got := bare.rows[uid]
		if got == nil {
			return nil // it is gone
		}
		r = got
	}
	r.err = errUnreadable
	f.rows[uid] = r
	return nil
}

// settle looks after messages the server was silent on: gone is fine, there and left out is an unreadable one.
func (f *fetcher) settle(ctx context.Context, uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	var left []uint32
	err := f.m.run(ctx, func(c *imapclient.Client) error {
		sel, err := f.m.examine(c, f.folder, true)
		if err != nil {
			return err
		}
		if sel.validity != f.validity {
			return errStale
		}
		left, err = f.m.search(c, sel, &goimap.SearchCriteria{UID: []goimap.UIDSet{uidSet(uids)}}, 0)
		return err
	})
	if err != nil {
		return err
	}
	asked := uidSet(uids)
	for _, uid := range left {
		if !asked.Contains(goimap.UID(uid)) {
			continue
		}
		r := f.partial[uid]
		if r == nil {
			r = &row{uid: uid}
		}
		if f.header {
			r.err = errors.New("imap: the server lists the message and does not hand it out")
		}
		f.rows[uid] = r
	}
	return nil
}

func (f *fetcher) missing(uids []uint32) []uint32 {
	var out []uint32
	for _, uid := range uids {
		if f.rows[uid] == nil {
			out = append(out, uid)
		}
	}
	return out
}

func uidSet(uids []uint32) goimap.UIDSet {
	var s goimap.UIDSet
	for _, u := range uids {
		s.AddNum(goimap.UID(u))
	}
	return s
}

// read runs one FETCH and consumes it whole. ENVELOPE and BODYSTRUCTURE are never asked for: servers get them wrong on
// odd mail, and one wrong byte ends the connection.
func (f *fetcher) read(c *imapclient.Client, uids []uint32) error {
	opts := &goimap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true}
	if f.header {
		opts.BodySection = []*goimap.FetchItemBodySection{{Specifier: goimap.PartSpecifierHeader, Peek: true}}
	} else {
		opts.Flags, opts.RFC822Size = false, false
	}
	cmd := c.Fetch(uidSet(uids), opts)
	var last *row
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		r, whole := readRow(msg, headerLimit)
		if last != nil {
			f.rows[last.uid] = last
		}
		last = nil
		switch {
		case r.uid == 0 || !whole:
		case f.header && !r.body, !f.header && r.date.IsZero():
			// Of another client's change of flags (RFC 3501, 7.4.2), beside the answer, before or after; or all there is.
			if p := f.partial[r.uid]; p == nil || p.date.IsZero() {
				f.partial[r.uid] = r
			}
		default:
			last = r
		}
	}
	err := cmd.Close()
	// The last message before a break may lack what came after the break.
	if last != nil && (err == nil || !connectionDied(err)) {
		f.rows[last.uid] = last
	}
	return err
}

// readRow reads one message's data; whole is false when a literal was cut off.
func readRow(msg *imapclient.FetchMessageData, limit int64) (r *row, whole bool) {
	r, whole = &row{}, true
	for item := msg.Next(); item != nil; item = msg.Next() {
		switch d := item.(type) {
		case imapclient.FetchItemDataUID:
			r.uid = uint32(d.UID)
		case imapclient.FetchItemDataFlags:
			r.flags = d.Flags
		case imapclient.FetchItemDataInternalDate:
			r.date = d.Time.UTC()
		case imapclient.FetchItemDataRFC822Size:
			r.size = d.Size
		case imapclient.FetchItemDataBodySection:
			if d.Literal == nil {
				continue
			}
			r.body = true
			b := make([]byte, min(limit, max(d.Literal.Size(), 0)))
			n, err := io.ReadFull(d.Literal, b)
			b = b[:n]
			rest, err2 := io.Copy(io.Discard, d.Literal)
			// A connection that ends within a literal looks like the literal's end.
			if err != nil || err2 != nil || int64(len(b))+rest < d.Literal.Size() {
				whole = false
			}
			r.header = b
		}
	}
	return r, whole
}

// item makes the listing's item of a row.
func (r *row) item(folder provider.Folder, validity uint32) provider.Item {
	it := provider.Item{ID: id{validity, r.uid, folder.ID}.item(), Folders: []provider.Folder{folder}, Size: r.size, Err: r.err}
	if r.err == nil {
		it.Envelope = message.ParseHeader(r.header)
	}
	for _, fl := range r.flags {
		if strings.EqualFold(string(fl), string(goimap.FlagDraft)) {
			// Gmail's \All holds drafts; no folder of the role lists them.
			it.Folders = append(it.Folders, provider.Folder{ID: `\Draft`, Name: `\Draft`, Role: provider.RoleDrafts})
		}
	}
	it.Envelope.Received = r.date
	it.Envelope.Sent = folder.Role == provider.RoleSent
	return it
}
