package graphtest

import (
	"bytes"
	stdhtml "html"
	netmail "net/mail"
	"regexp"
	"strings"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// headerBlock is the header of a message as it is, each line with CRLF.
func headerBlock(raw []byte) string {
	var b strings.Builder
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		line, raw = bytes.TrimSuffix(line, []byte("\r")), rest
		if len(line) == 0 {
			break
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

// recipients are the addresses of a field as Graph has them.
func recipients(h fakemail.Header, name string) []recipient {
	var out []recipient
	for _, a := range h.Addresses(name) {
		n := a.Name
		if n == "" {
			n = a.Address // from memory: a name is always there
		}
		out = append(out, recipient{address{n, a.Address}})
	}
	return out
}

func parseDate(v string) (time.Time, error) { return netmail.ParseDate(v) }

// text is HTML without its tags.
func text(html string) string {
	return strings.TrimSpace(stdhtml.UnescapeString(fakemail.Tag.ReplaceAllString(lineBreak.ReplaceAllString(html, "\r\n"), "")))
}

var lineBreak = regexp.MustCompile(`(?i)<br\s*/?>|</p>|</div>`)
