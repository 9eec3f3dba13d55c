package smtp_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/smtp"
)

func compose(t *testing.T, o smtp.Outgoing) (string, *message.Message, string) {
	t.Helper()
	raw, id, err := smtp.Compose(o)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(raw, []byte("\r\n")); n != bytes.Count(raw, []byte("\n")) || n != bytes.Count(raw, []byte("\r")) {
		t.Error("bare line ends")
	}
	return string(raw), message.Parse(raw), id
}

func outgoing() smtp.Outgoing {
	return smtp.Outgoing{
		From: message.NewAddress("Zoë, Sales", "zoe@acme.example"), To: []message.Address{message.NewAddress("", "ada@bücher.example")},
		Cc: []message.Address{message.NewAddress("Carl", "carl@sender.example")}, Subject: "Angebot für März", Text: "Grüße\n", HTML: "<p>Grüße</p>",
	}
}

func TestCompose(t *testing.T) {
	o := outgoing()
	o.Attachments = []smtp.Attachment{{Name: "preis liste.pdf", Type: "application/pdf", Content: []byte("%PDF")}}
	for i := range 40 {
		o.References = append(o.References, fmt.Sprintf("%02d.a-rather-long-identifier-of-a-message@mail.sender.example", i))
	}
	o.InReplyTo = "parent@sender.example"
	raw, m, id := compose(t, o)
	if !strings.HasSuffix(id, "@acme.example") || m.MessageID != id {
		t.Errorf("Message-ID %q, read %q", id, m.MessageID)
	}
	if len(m.References) != 21 || m.References[0] != o.References[0] || m.References[20] != o.InReplyTo || m.InReplyTo[0] != o.InReplyTo {
		t.Errorf("References %q", m.References)
	}
	if m.Subject != o.Subject || m.From[0].Name != o.From.Name || m.To[0].Addr != "ada@xn--bcher-kva.example" || len(m.Cc) != 1 {
		t.Errorf("%+v", m.Envelope)
	}
	if !strings.Contains(m.Text, "Grüße") || !strings.Contains(m.HTML, "<p>Grüße</p>") || len(m.Attachments) != 1 {
		t.Errorf("%q %q %v", m.Text, m.HTML, m.Attachments)
	}
	for _, no := range []string{"User-Agent", "X-Mailer", "go-mail", "Bcc"} {
		if strings.Contains(raw, no) {
			t.Errorf("it says %s", no)
		}
	}
}

func TestComposeInjection(t *testing.T) {
	const evil = "x\r\nEvil: yes"
	for name, change := range map[string]func(*smtp.Outgoing){
		"from name":   func(o *smtp.Outgoing) { o.From.Name = evil },
		"from":        func(o *smtp.Outgoing) { o.From.Addr = "a@b.example>\r\nEvil: yes" },
		"to":          func(o *smtp.Outgoing) { o.To[0].Addr = "a@b.example\r\nEvil: yes" },
		"to list":     func(o *smtp.Outgoing) { o.To[0].Addr = "a@b.example, c@d.example" },
		"cc name":     func(o *smtp.Outgoing) { o.Cc[0].Name = "x\nEvil: yes" },
		"subject":     func(o *smtp.Outgoing) { o.Subject = evil },
		"message-id":  func(o *smtp.Outgoing) { o.MessageID = "a@b>" + evil },
		"in-reply-to": func(o *smtp.Outgoing) { o.InReplyTo = "a@b>" + evil },
		"references":  func(o *smtp.Outgoing) { o.References = []string{evil, "a@b>\nEvil: yes"} },
		"file name":   func(o *smtp.Outgoing) { o.Attachments = []smtp.Attachment{{Name: evil}} },
		"file type": func(o *smtp.Outgoing) {
			o.Attachments = []smtp.Attachment{{Name: "a", Type: "text/plain\r\nEvil: yes"}}
		},
		"content id":  func(o *smtp.Outgoing) { o.Attachments = []smtp.Attachment{{Name: "a", ContentID: "a@b>\r\nEvil: yes"}} },
		"quoted name": func(o *smtp.Outgoing) { o.Attachments = []smtp.Attachment{{Name: `a"; filename="b`}} },
	} {
		o := outgoing()
		change(&o)
		raw, _, err := smtp.Compose(o)
		if err == nil && (bytes.Contains(raw, []byte("\nEvil:")) || bytes.Contains(raw, []byte("yes"))) {
			t.Errorf("%s: injected:\n%s", name, raw)
		}
		if name == "to list" && err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
