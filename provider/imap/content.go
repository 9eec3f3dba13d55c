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
		_, there, lerr := m.folder(c, i.folder)
		switch {
		case lerr != nil:
			return lerr
		case there:
			return err
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
		if r, whole := readRow(msg, limit); whole && r.uid == i.uid && (got == nil || !got.body) {
			got = r // the server may say more than once: flags that changed have no body
		}
	}
	return got, cmd.Close()
}

// Content reads a message, at most Config.ContentLimit bytes of it.
func (m *Mailbox) Content(ctx context.Context, item provider.ItemID) (*message.Message, error) {
	if err := m.settled(ctx); err != nil {
		return nil, err
	}
	i, err := parseID(item)
	if err != nil {
		return nil, err
	}
	msg := m.ahead[i]
	delete(m.ahead, i)
	if msg == nil {
		var r *row
		err = m.do(ctx, "reading a message", func(c *imapclient.Client) (err error) {
			r, err = m.section(c, i, m.whole(), m.cfg.ContentLimit)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !r.body {
			return nil, errors.New("imap: the server lists the message and does not hand it out")
		}
		msg = r.message(m.cfg.ContentLimit)
	}
	role, err := m.role(ctx, i.folder)
	msg.Sent = role == provider.RoleSent
	return msg, err
}

// whole is the section that holds a message, as far as it is read.
func (m *Mailbox) whole() *goimap.FetchItemBodySection {
	return &goimap.FetchItemBodySection{Peek: true, Partial: &goimap.SectionPartial{Size: m.cfg.ContentLimit}}
}

// message parses a row of the whole section.
func (r *row) message(limit int64) *message.Message {
	msg := message.Parse(r.header)
	msg.Received = r.date
	if int64(len(r.header)) >= limit && r.size > limit {
		msg.Defects = append(msg.Defects, message.Defect{Name: "truncated",
			Detail: fmt.Sprintf("the first %d of %d bytes were read", limit, r.size)})
	}
	return msg
}

const attachmentChunk = 1 << 20

// Attachment reads one part, decoded, a chunk at a time with this mailbox and ctx: read it to its end, or close it,
// before ctx ends, and by the goroutine that uses the mailbox.
func (m *Mailbox) Attachment(ctx context.Context, item provider.ItemID, part string) (io.ReadCloser, error) {
	if err := m.settled(ctx); err != nil {
		return nil, err
	}
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
	if err := p.m.settled(p.ctx); err != nil {
		return err
	}
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
