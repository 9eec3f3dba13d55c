package imap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/textproto"
	"strconv"
	"strings"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// open selects the folder of an id, ErrGone when the id names nothing any more.
func (m *Mailbox) open(c *imapclient.Client, i id) error {
	sel, err := m.examine(c, i.folder, false)
	if err != nil {
		if asServerError(err) == nil || !skippable(err) {
			return err
		}
		list, lerr := c.List("", i.folder, nil).Collect()
		if lerr != nil {
			return lerr
		}
		for _, d := range list {
			if d.Mailbox == i.folder && !hasAttr(d, `\NonExistent`) && !hasAttr(d, `\Noselect`) {
				return err
			}
		}
		return provider.ErrGone
	}
	if sel.validity != i.validity {
		return provider.ErrGone
	}
	return nil
}

// section fetches one section of one message, ErrGone when there is no such message.
func (m *Mailbox) section(c *imapclient.Client, i id, s *goimap.FetchItemBodySection, limit int64) (*row, error) {
	got, err := m.fetchSection(c, i, s, limit)
	if err != nil || got != nil && got.body {
		return got, err
	}
	// Seen in practice: a message expunged by another client since the folder was opened is still listed, without its
	// bytes (RFC 2180, 4.1). Opening the folder anew tells.
	if _, err := m.examine(c, i.folder, true); err != nil {
		return nil, err
	}
	if got, err = m.fetchSection(c, i, s, limit); err == nil && got == nil {
		err = provider.ErrGone
	}
	return got, err
}

func (m *Mailbox) fetchSection(c *imapclient.Client, i id, s *goimap.FetchItemBodySection, limit int64) (*row, error) {
	if err := m.open(c, i); err != nil {
		return nil, err
	}
	cmd := c.Fetch(goimap.UIDSetNum(goimap.UID(i.uid)), &goimap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, BodySection: []*goimap.FetchItemBodySection{s}})
	var got *row
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		if r, whole := readRow(msg, limit); whole && r.uid == i.uid {
			got = r
		}
	}
	return got, cmd.Close()
}

// Content reads a message, at most Config.ContentLimit bytes of it.
func (m *Mailbox) Content(ctx context.Context, item provider.ItemID) (*message.Message, error) {
	i, err := parseID(item)
	if err != nil {
		return nil, err
	}
	var r *row
	limit := m.cfg.ContentLimit
	err = m.do(ctx, "reading a message", func(c *imapclient.Client) (err error) {
		r, err = m.section(c, i, &goimap.FetchItemBodySection{Peek: true, Partial: &goimap.SectionPartial{Size: limit}}, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !r.body {
		return nil, errors.New("imap: the server lists the message and does not hand it out")
	}
	msg := message.Parse(r.header)
	msg.Received = r.date
	if int64(len(r.header)) >= limit && r.size > limit {
		msg.Defects = append(msg.Defects, message.Defect{Name: "truncated",
			Detail: fmt.Sprintf("the first %d of %d bytes were read", limit, r.size)})
	}
	var folders []provider.Folder
	err = m.do(ctx, "reading the folders", func(c *imapclient.Client) (err error) {
		folders, err = m.watched(c)
		return err
	})
	for _, f := range folders {
		if f.ID == i.folder {
			msg.Sent = f.Role == provider.RoleSent
		}
	}
	return msg, err
}

const attachmentChunk = 1 << 20

// Attachment reads one part, decoded, a chunk at a time with this mailbox and ctx: read it to its end, or close it,
// before ctx ends, and by the goroutine that uses the mailbox.
func (m *Mailbox) Attachment(ctx context.Context, item provider.ItemID, part string) (io.ReadCloser, error) {
	i, err := parseID(item)
	if err != nil {
		return nil, err
	}
	path, err := parsePart(part)
	if err != nil {
		return nil, err
	}
	var head *row
	err = m.do(ctx, "reading an attachment", func(c *imapclient.Client) (err error) {
		head, err = m.section(c, i, &goimap.FetchItemBodySection{Part: path, Specifier: goimap.PartSpecifierMIME, Peek: true}, headerLimit)
		return err
	})
	if err != nil {
		return nil, err
	}
	encoding := transferEncoding(head.header)
	if encoding == "" && part == "1" {
		// The only part of a message without multipart: its encoding is in the message's header.
		err = m.do(ctx, "reading an attachment", func(c *imapclient.Client) (err error) {
			head, err = m.section(c, i, &goimap.FetchItemBodySection{Specifier: goimap.PartSpecifierHeader, Peek: true}, headerLimit)
			return err
		})
		if err != nil {
			return nil, err
		}
		encoding = transferEncoding(head.header)
	}
	raw := &partReader{m: m, ctx: ctx, id: i, path: path}
	if err := raw.fill(); err != nil {
		return nil, err
	}
	var r io.Reader = raw
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, &alphabet{r: raw})
	case "quoted-printable":
		r = quotedprintable.NewReader(raw)
	}
	return io.NopCloser(r), nil
}

func parsePart(part string) ([]int, error) {
	var path []int
	for s := range strings.SplitSeq(part, ".") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || len(path) > 100 {
			return nil, fmt.Errorf("imap: %q is not a section path", part)
		}
		path = append(path, n)
	}
	return path, nil
}

func transferEncoding(header []byte) string {
	// ReadMIMEHeader returns what it could read beside its error.
	h, _ := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(header), strings.NewReader("\r\n\r\n")))).ReadMIMEHeader()
	return strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding")))
}

// partReader fetches a section piece by piece.
type partReader struct {
	m      *Mailbox
	ctx    context.Context //nolint:containedctx // the reader is part of the call that got the context
	id     id
	path   []int
	offset int64
	buf    []byte
	end    bool
}

func (p *partReader) fill() error {
	var r *row
	err := p.m.do(p.ctx, "reading an attachment", func(c *imapclient.Client) (err error) {
		r, err = p.m.section(c, p.id, &goimap.FetchItemBodySection{Part: p.path, Peek: true,
			Partial: &goimap.SectionPartial{Offset: p.offset, Size: attachmentChunk}}, attachmentChunk)
		return err
	})
	if err != nil {
		return err
	}
	if !r.body && p.offset == 0 {
		return provider.ErrGone // no such part
	}
	p.buf = r.header
	p.offset += int64(len(p.buf))
	p.end = len(p.buf) < attachmentChunk
	return nil
}

func (p *partReader) Read(b []byte) (int, error) {
	for len(p.buf) == 0 {
		if p.end {
			return 0, io.EOF
		}
		if err := p.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	return n, nil
}

// alphabet passes only base64's letters, padded. Seen in practice: spaces, footers of mailing lists, missing padding.
type alphabet struct {
	r    io.Reader
	in   [4096]byte
	out  []byte
	n    int // letters passed
	done bool
}

func (a *alphabet) Read(b []byte) (int, error) {
	for len(a.out) == 0 {
		if a.done {
			return 0, io.EOF
		}
		n, err := a.r.Read(a.in[:])
		if err != nil && err != io.EOF {
			return 0, err
		}
		a.done = err == io.EOF
		for _, ch := range a.in[:n] {
			if ch == '=' {
				a.done = true // what follows the padding is not of the file
				break
			}
			if 'A' <= ch && ch <= 'Z' || 'a' <= ch && ch <= 'z' || '0' <= ch && ch <= '9' || ch == '+' || ch == '/' {
				a.out = append(a.out, ch)
				a.n++
			}
		}
		// A single letter left over is damage: the decoder says so.
		for a.done && a.n%4 > 1 {
			a.out = append(a.out, '=')
			a.n++
		}
	}
	n := copy(b, a.out)
	a.out = a.out[n:]
	return n, nil
}

// locateLimit bounds how many messages of a folder Locate looks at: a header search finds more than the exact id.
const locateLimit = 50

// Locate searches the watched folders. Mail that lies in junk, trash or drafts is not found.
func (m *Mailbox) Locate(ctx context.Context, messageID string) ([]provider.Item, error) {
	messageID = strings.Trim(messageID, "<> ")
	if messageID == "" || strings.ContainsAny(messageID, "\r\n\x00") {
		return nil, nil
	}
	type hits struct {
		folder   provider.Folder
		validity uint32
		uids     []uint32
	}
	var all []hits
	err := m.onFolders(ctx, "searching a message", func(c *imapclient.Client, f provider.Folder, sel selection) error {
		if sel.num == 0 {
			return nil
		}
		crit := &goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}}}
		uids, err := search(c, sel, crit, 0, locateLimit)
		if err == nil && len(uids) > 0 {
			all = append(all, hits{f, sel.validity, uids})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []provider.Item
	reconnects := 0
	for _, h := range all {
		rows, err := m.fetch(ctx, h.folder.ID, h.validity, h.uids, true, &reconnects)
		if errors.Is(err, errStale) {
			continue
		}
		if err != nil {
			return nil, m.wrap(ctx, "searching a message", err)
		}
		for _, uid := range h.uids {
			// The server matches parts of an id too.
			if r := rows[uid]; r != nil && r.err == nil && message.ParseHeader(r.header).MessageID == messageID {
				out = append(out, provider.Item{ID: id{h.validity, uid, h.folder.ID}.item(), Folders: []provider.Folder{h.folder}})
			}
		}
	}
	return out, nil
}
