package providertest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"strconv"
	"strings"
)

// section returns the decoded bytes of a part by its IMAP section path. It is for well-formed test mail.
func section(raw []byte, path string) ([]byte, error) {
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("providertest: reading the message: %w", err)
	}
	header, body := textproto.MIMEHeader(m.Header), m.Body
	for step := range strings.SplitSeq(path, ".") {
		n, err := strconv.Atoi(step)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("providertest: no part %q", path)
		}
		media, params, _ := mime.ParseMediaType(header.Get("Content-Type"))
		if !strings.HasPrefix(media, "multipart/") {
			if n == 1 && path == "1" {
				break // RFC 3501, 6.4.5: a message that isn't multipart has a part 1
			}
			return nil, fmt.Errorf("providertest: no part %q", path)
		}
		r := multipart.NewReader(body, params["boundary"])
		for range n {
			p, err := r.NextRawPart()
			if err != nil {
				return nil, fmt.Errorf("providertest: no part %q: %w", path, err)
			}
			header, body = p.Header, p
		}
	}
	switch strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	return io.ReadAll(body)
}

// splitHeader returns the header with its last line end, and what follows it.
func splitHeader(raw []byte) (header, rest []byte) {
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(raw, []byte(end)); i >= 0 {
			return raw[:i+len(end)/2], raw[i+len(end)/2:]
		}
	}
	return raw, nil
}

// withoutHeader returns the message without the header field of that name.
func withoutHeader(raw []byte, name string) []byte {
	header, rest := splitHeader(raw)
	var out []byte
	drop := false
	for line := range bytes.Lines(header) {
		if line[0] != ' ' && line[0] != '\t' {
			n, _, _ := bytes.Cut(line, []byte(":"))
			drop = strings.EqualFold(string(bytes.TrimSpace(n)), name)
		}
		if !drop {
			out = append(out, line...)
		}
	}
	return append(out, rest...)
}
