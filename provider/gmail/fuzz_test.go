package gmail

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	gapi "google.golang.org/api/gmail/v1"
)

// Whatever a server says a message is: no panic, text that can be stored, no more of it than is to be read, and each attachment that is named is found again.
func FuzzContent(f *testing.F) {
	for _, s := range []string{
		`{"id":"a","payload":{"mimeType":"text/plain","headers":[{"name":"Subject","value":"x"}],"body":{"data":"SGVsbG8"}}}`,
		`{"id":"a","payload":{"mimeType":"multipart/mixed","parts":[{"mimeType":"text/html","body":{"data":"PGI-"}},{"mimeType":"application/pdf","filename":"a.pdf","body":{"attachmentId":"x","size":9}}]}}`,
		`{"payload":{"mimeType":"multipart/x","parts":[null,{"parts":[{}]}],"headers":[null,{"name":"a\nb","value":"c\r\nd: e"}]}}`,
		`{"payload":{"headers":[{"name":"Content-Type","value":"text/plain; charset=iso-2022-jp"}],"body":{"data":"GyRC"}}}`,
		`{"payload":{"mimeType":"MULTIPART/report","headers":[{"name":"content-type","value":"multipart/report; report-type=\"delivery-status\"; boundary=x"}],"parts":[{"mimeType":"message/rfc822","parts":[{}],"body":{"size":1}}]}}`,
		`{}`,
	} {
		f.Add(s)
	}
	p := New(&Options{ContentLimit: 1000})
	m := &Mailbox{p: p}
	f.Fuzz(func(t *testing.T, s string) {
		raw := &gapi.Message{}
		if json.Unmarshal([]byte(s), raw) != nil || hasAttachmentText(raw.Payload) {
			return // no message, or one that would be asked about
		}
		msg, _, err := m.content(t.Context(), past, raw)
		if err != nil {
			return
		}
		if !utf8.ValidString(msg.Text) || !utf8.ValidString(msg.Subject) || len(msg.HTML) > 10_000 {
			t.Errorf("%q, %q, %d bytes of HTML", msg.Text, msg.Subject, len(msg.HTML))
		}
		for _, a := range msg.Attachments {
			if partAt(raw.Payload, a.Part) == nil {
				t.Errorf("there is no part %s", a.Part)
			}
		}
		m.envelope(raw)
	})
}

// hasAttachmentText reports whether a text is to be had by another call.
func hasAttachmentText(p *gapi.MessagePart) bool {
	if p == nil {
		return false
	}
	if p.Body != nil && p.Body.AttachmentId != "" && p.Body.Data == "" && isText(p, mediaType(p)) {
		return true
	}
	for _, sub := range p.Parts {
		if hasAttachmentText(sub) {
			return true
		}
	}
	return false
}
