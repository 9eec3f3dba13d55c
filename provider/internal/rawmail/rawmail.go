// Package rawmail makes of a message what APIs take that send by its header, as those of Gmail and Graph: with everybody it goes to in the header, and with large attachments apart.
package rawmail

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Addresses checks that all are bare ones, and that there is somebody to send to.
func Addresses(o provider.SendOptions) error {
	if len(o.Recipients) == 0 {
		return errors.New("a message needs a recipient")
	}
	for _, a := range append([]string{o.From}, o.Recipients...) {
		p, err := netmail.ParseAddress(a)
		if err != nil || p.Name != "" || strings.ContainsAny(a, "\r\n<>") || message.AddressKey(a) == "" {
			return errors.New("one of the addresses is not a bare address")
		}
	}
	return nil
}

// NotSent is a message that was not sent, for sure: it matches provider.ErrNotSent.
type NotSent struct {
	Err   error
	Later bool // it may be accepted another time: it matches provider.ErrTryLater, too
}

func (e *NotSent) Error() string { return e.Err.Error() }
func (e *NotSent) Unwrap() error { return e.Err }

// Is is for errors.Is.
func (e *NotSent) Is(target error) bool {
	return target == provider.ErrNotSent || e.Later && target == provider.ErrTryLater
}

// Field is one of a header. Without a value it is left out.
type Field struct{ Name, Value string }

// Prepare writes the header by which a service sends: recipients that are named nowhere else become Bcc, and who is named there without being a recipient is
// refused. Fields of our own are put in, in place of those that have their names.
func Prepare(raw []byte, o provider.SendOptions, service string, own ...Field) ([]byte, error) {
	head, body := SplitHeader(raw)
	if !plain(head, body) {
		return nil, errors.New("the message's header has a lone CR or NUL, which services take for different things")
	}
	e := message.ParseHeader(raw)
	if len(e.From) != 1 || e.From[0].Key != message.AddressKey(o.From) {
		return nil, errors.New("the message says in From that it is somebody else's than who sends it")
	}
	hidden := map[message.Key]bool{}
	for _, r := range o.Recipients {
		hidden[message.AddressKey(r)] = true
	}
	for _, list := range [][]message.Address{e.To, e.Cc} {
		for _, a := range list {
			_, wanted := hidden[a.Key]
			if (a.Key != "" || strings.Contains(a.Addr, "@") || strings.Contains(a.Addr, "=?")) && !wanted {
				return nil, fmt.Errorf("the message names somebody in To or Cc who is not among its recipients, and %s would send to them", service)
			}
			if wanted {
				hidden[a.Key] = false
			}
		}
	}
	var b bytes.Buffer
	sep := "Bcc: "
	for _, r := range o.Recipients {
		if k := message.AddressKey(r); hidden[k] {
			b.WriteString(sep + r)
			hidden[k], sep = false, ",\r\n "
		}
	}
	if b.Len() > 0 {
		b.WriteString("\r\n")
	}
	replaced := []string{"bcc", "resent-bcc"}
	for _, f := range own {
		replaced = append(replaced, strings.ToLower(f.Name))
		if f.Value != "" && !strings.ContainsAny(f.Value, "\r\n") {
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	writeFields(&b, head, func(name string) bool { return !slices.Contains(replaced, name) })
	b.Write(body)
	return b.Bytes(), nil
}

// plain reports whether everybody sees the same lines in a header, and its end in the same place.
func plain(head, body []byte) bool {
	end, _, _ := bytes.Cut(body, []byte("\n"))
	return bytes.Count(head, []byte("\r")) == bytes.Count(head, []byte("\r\n")) && bytes.IndexByte(head, 0) < 0 && len(end) <= 1
}

// SplitHeader cuts before the empty line.
func SplitHeader(raw []byte) (head, rest []byte) {
	for at := 0; at < len(raw); {
		end := bytes.IndexByte(raw[at:], '\n')
		if end < 0 {
			break
		}
		if len(bytes.TrimRight(raw[at:at+end], "\r")) == 0 {
			return raw[:at], raw[at:]
		}
		at += end + 1
	}
	return raw, nil
}

// writeFields copies the fields of a header that are wanted, by their names in lower case.
func writeFields(b *bytes.Buffer, head []byte, want func(name string) bool) {
	take := true
	for line := range bytes.Lines(head) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			take = want(strings.ToLower(string(bytes.TrimSpace(name))))
		}
		if take {
			b.Write(line)
		}
	}
}

// File is an attachment that was taken out of a message.
type File struct {
	Name, Type, ContentID string
	Inline                bool
	Data                  []byte // decoded
}

// Cut takes attachments out of a multipart/mixed message until the rest is no longer than limit: the largest that suffice, in their order. The rest is a
// message still. What has no attachments to take out, or is too long without them, is an error.
func Cut(raw []byte, limit int) ([]byte, []File, error) {
	if len(raw) <= limit {
		return raw, nil, nil
	}
	tooLong := fmt.Errorf("the message is too long without its attachments: %d bytes go at most", limit)
	head, rest := SplitHeader(raw)
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(head), "\r\n"...)))).ReadMIMEHeader()
	if err != nil && len(h) == 0 {
		return nil, nil, tooLong
	}
	typ, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || typ != "multipart/mixed" || params["boundary"] == "" {
		return nil, nil, tooLong
	}
	type part struct {
		header textproto.MIMEHeader
		body   []byte // as it stands
		file   bool
	}
	var parts []part
	mr := multipart.NewReader(bytes.NewReader(rest), params["boundary"])
	size := len(head)
	for {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the message can't be taken apart: %w", err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			return nil, nil, fmt.Errorf("the message can't be taken apart: %w", err)
		}
		sub, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		disp, _, _ := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		isFile := !strings.HasPrefix(sub, "multipart/") && sub != "message/rfc822" && (disp == "attachment" || sub != "" && !strings.HasPrefix(sub, "text/"))
		parts = append(parts, part{p.Header, body, isFile && len(parts) > 0})
		size += len(body) + 500
	}
	out := map[int]bool{}
	for size > limit {
		at := -1
		for i, p := range parts {
			if p.file && !out[i] && (at < 0 || len(p.body) > len(parts[at].body)) {
				at = i
			}
		}
		if at < 0 {
			return nil, nil, tooLong
		}
		out[at] = true
		size -= len(parts[at].body) + 500
	}
	if len(out) == 0 { // too long, and short by its parts: it has text where no part is, as where it names another boundary than it has
		return nil, nil, tooLong
	}
	var b bytes.Buffer
	writeFields(&b, head, func(string) bool { return true })
	var files []File
	b.WriteString("\r\n")
	for i, p := range parts {
		if !out[i] {
			b.WriteString("--" + params["boundary"] + "\r\n")
			for _, name := range slices.Sorted(maps.Keys(p.header)) {
				for _, v := range p.header[name] {
					b.WriteString(name + ": " + v + "\r\n")
				}
			}
			b.WriteString("\r\n")
			b.Write(p.body)
			b.WriteString("\r\n")
			continue
		}
		f, err := file(p.header, p.body)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
	}
	b.WriteString("--" + params["boundary"] + "--\r\n")
	return b.Bytes(), files, nil
}

func file(h textproto.MIMEHeader, body []byte) (File, error) {
	typ, params, _ := mime.ParseMediaType(h.Get("Content-Type"))
	disp, dparams, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	f := File{Type: typ, Inline: disp == "inline", ContentID: strings.Trim(h.Get("Content-Id"), "<> \t")}
	if f.Type == "" {
		f.Type = "application/octet-stream"
	}
	for _, name := range []string{dparams["filename"], params["name"], "attachment"} {
		if f.Name == "" {
			word := mime.WordDecoder{}
			if plain, err := word.DecodeHeader(name); err == nil {
				name = plain
			}
			f.Name = name
		}
	}
	var r io.Reader = bytes.NewReader(body)
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, &lines{r: r})
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	var err error
	if f.Data, err = io.ReadAll(r); err != nil {
		return f, fmt.Errorf("an attachment can't be decoded: %w", err)
	}
	return f, nil
}

// lines leaves out what is no base64: line breaks, and blanks.
type lines struct{ r io.Reader }

func (l *lines) Read(p []byte) (int, error) {
	for {
		n, err := l.r.Read(p)
		k := 0
		for _, c := range p[:n] {
			if c != '\r' && c != '\n' && c != ' ' && c != '\t' {
				p[k] = c
				k++
			}
		}
		if k > 0 || err != nil || len(p) == 0 {
			return k, err
		}
	}
}
