package message_test

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/intellicon/email-integration/message"
)

// checkLaw holds for every input: text is valid UTF-8 without NUL and bounded, and parsing again says the same.
func checkLaw(t *testing.T, raw []byte, m *message.Message) {
	t.Helper()
	text := func(what, s string, limit int) {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			t.Errorf("%s is not clean UTF-8: %.80q", what, s)
		}
		if len(s) > limit {
			t.Errorf("%s has %d bytes, the limit is %d", what, len(s), limit)
		}
	}
	text("Text", m.Text, 1<<20)
	text("HTML", m.HTML, 1<<20)
	text("Subject", m.Subject, 16<<10)
	text("MessageID", m.MessageID, 998)
	text("Reason", m.Automated.Reason, 200)
	for _, id := range append(m.References, m.InReplyTo...) {
		text("id", id, 998)
	}
	for _, as := range [][]message.Address{m.From, m.To, m.Cc, m.Bcc, m.Sender, m.ReplyTo} {
		if len(as) > 2000 {
			t.Errorf("%d addresses", len(as))
		}
		for _, a := range as {
			text("address", a.Name, 1<<20)
			text("address", a.Addr, 1<<20)
			text("key", string(a.Key), 1<<20)
		}
	}
	if len(m.Attachments) > 1001 || len(m.Defects) > 51 || len(m.References) > 100 {
		t.Errorf("unbounded: %d attachments, %d defects, %d references", len(m.Attachments), len(m.Defects), len(m.References))
	}
	for _, a := range m.Attachments {
		text("attachment", a.Name+a.Type+a.ContentID+a.Part, 1<<20)
	}
	for _, d := range m.Defects {
		text("defect", d.Name+d.Detail, 1000)
	}
	if again := message.Parse(raw); !reflect.DeepEqual(again, m) {
		t.Error("parsing again says otherwise")
	}
	e := message.ParseHeader(raw)
	e.Automated = m.Automated
	if !reflect.DeepEqual(e, m.Envelope) {
		t.Error("ParseHeader and Parse disagree")
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range parseCases {
		f.Add([]byte(c.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkLaw(t, raw, message.Parse(raw)) })
}
