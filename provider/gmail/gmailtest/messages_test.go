package gmailtest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func TestListingsArePaged(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	var want []string
	for i := range 1203 {
		want = append(want, ada.Deliver(letter("bob@other.example", "ada@example.com", fmt.Sprint(i), fmt.Sprint(i, "@other.example")), noon.Add(time.Duration(i/3)*time.Minute)))
	}
	slices.Reverse(want)
	var got []string
	var sizes []int
	token := ""
	for {
		l := must(svc.Messages.List("me").MaxResults(5000).PageToken(token).Do())(t)
		got, sizes = append(got, ids(l.Messages)...), append(sizes, len(l.Messages))
		if l.ResultSizeEstimate == int64(len(want)) {
			t.Error("the estimate is right")
		}
		if token = l.NextPageToken; token == "" {
			break
		}
		// Mail that comes meanwhile, and goes, shifts nothing.
		ada.Deliver(letter("bob@other.example", "ada@example.com", "new", "new@other.example"), noon.Add(100*time.Hour))
		ada.Delete(got[len(got)-1])
	}
	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{500, 500, 203}) {
		t.Errorf("pages of %v, %d messages, in order %v", sizes, len(got), slices.Equal(got, want))
	}
	l := must(svc.Messages.List("me").Do())(t)
	if len(l.Messages) != 100 {
		t.Errorf("a page has %d by default", len(l.Messages))
	}
	for name, list := range map[string]*gmail.UsersMessagesListCall{
		"of another listing": svc.Messages.List("me").Q("from:bob").PageToken(l.NextPageToken),
		"made up":            svc.Messages.List("me").PageToken("12345678901234567890"),
	} {
		if _, err := list.Do(); failure(err) != "400 invalidArgument" {
			t.Errorf("a page token %s: %v", name, err)
		}
	}
	c.advance(time.Hour + time.Second)
	if _, err := svc.Messages.List("me").PageToken(l.NextPageToken).Do(); failure(err) != "400 invalidArgument" {
		t.Errorf("an old page token: %v", err)
	}
}

func TestQueries(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	name := map[string]string{}
	add := func(n string, at time.Time, raw []byte, labels ...string) string {
		id := ada.Deliver(raw, at, labels...)
		name[id] = n
		return id
	}
	bob := add("bob", noon, letter("Bob Stone <bob@acme.example>", "ada@example.com", "Offer for roof", "1@acme.example"))
	add("eve", noon.Add(time.Hour), letter("eve@sub.acme.example", "ada@example.com", "Question", "2@x.example", "Cc: carl@third.example"))
	add("out", noon.Add(2*time.Hour), letter("ada@example.com", "bob@acme.example", "Re: Offer for roof", "3@example.com", "Bcc: boss@example.com"), "SENT")
	add("spam", noon.Add(3*time.Hour), letter("bob@acme.example", "ada@example.com", "Win", "4@acme.example"), "SPAM")
	trash := add("trash", noon.Add(4*time.Hour), letter("bob@acme.example", "ada@example.com", "Old", "5@acme.example"))
	ada.Trash(trash)
	add("archived", noon.AddDate(0, 0, -1), letter("zoe@fourth.example", "ada+tag@example.com", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "6@fourth.example"), gmailtest.Archived)
	ada.Label(bob, "Big Customers/Acme", true)
	ada.Star(bob, true)
	c.advance(24 * time.Hour)

	for q, want := range map[string]string{
		"":                      "out eve bob archived",
		"from:bob@acme.example": "bob",
		"from:acme.example":     "eve bob", // words in a row: a domain, and what is below it
		"from:stone":            "bob",
		"from:bo":               "", // whole words
		"to:bob@acme.example":   "out",
		"cc:carl@third.example": "eve",
		"bcc:boss@example.com":  "out",
		"to:ada@example.com":    "eve bob", // no alias expansion
		"from:(bob@acme.example OR eve@sub.acme.example)": "eve bob",
		"{from:bob@acme.example to:bob@acme.example}":     "out bob",
		"from:bob@acme.example OR to:bob@acme.example":    "out bob",
		"{from:zoe cc:carl} after:2026/03/10":             "eve",
		"from:zoe OR cc:carl before:2026/3/10":            "archived",
		"subject:{offer question}":                        "out eve bob",
		"from:acme.example -subject:offer":                "eve",
		"-{from:acme.example to:bob}":                     "archived",
		`subject:"offer for"`:                             "out bob",
		`"hello from question"`:                           "eve",
		"roof":                                            "out bob",
		"subject:grüße":                                   "archived",
		"rfc822msgid:3@example.com":                       "out",
		"rfc822msgid:<5@acme.example>":                    "",
		"rfc822msgid:<5@acme.example> in:anywhere":        "trash",
		"in:inbox":                    "eve bob",
		"in:sent":                     "out",
		"in:spam":                     "spam",
		"in:trash":                    "trash",
		"in:anywhere from:bob":        "trash spam bob",
		"label:big-customers-acme":    "bob",
		"label:nothing":               "",
		"is:starred":                  "bob",
		"is:unread from:acme.example": "eve bob",
		"is:read":                     "out archived",
		fmt.Sprint("after:", noon.Add(time.Hour).Unix()):   "out eve", // included
		fmt.Sprint("before:", noon.Add(time.Hour).Unix()):  "bob archived",
		fmt.Sprint("after:", noon.Add(time.Hour).Unix()+1): "out",
		"after:2026/03/10":  "out eve bob", // midnight PST is 8:00 UTC
		"before:2026/03/10": "archived",
		"newer_than:1d":     "out eve bob",
		"has:attachment":    "",
		"larger:10k":        "",
		"smaller:1M":        "out eve bob archived",
	} {
		l, err := svc.Messages.List("me").Q(q).Do()
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		var got []string
		for _, m := range l.Messages {
			got = append(got, name[m.Id])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	for _, x := range []struct {
		labels []string
		all    bool
		want   int
	}{{[]string{"INBOX"}, false, 2}, {[]string{"INBOX", "STARRED"}, false, 1}, {[]string{"TRASH"}, false, 0}, {[]string{"TRASH"}, true, 1}, {nil, true, 6}} {
		l := must(svc.Messages.List("me").LabelIds(x.labels...).IncludeSpamTrash(x.all).Do())(t)
		if len(l.Messages) != x.want {
			t.Errorf("%v, with spam and trash %v: %d, want %d", x.labels, x.all, len(l.Messages), x.want)
		}
	}
	if _, err := svc.Messages.List("me").Q(strings.Repeat("from:somebody@example.com OR ", 1000)).Do(); failure(err) != "414" {
		t.Errorf("a long query: %v", err)
	}
	meta := service(t, ada, s, gmailtest.ScopeMetadata, gmailtest.ScopeModify)
	if _, err := meta.Messages.List("me").Q("roof").Do(); failure(err) != "403 forbidden" {
		t.Errorf("a query with gmail.metadata: %v", err)
	}
	for format, want := range map[string]string{"": "403 forbidden", "full": "403 forbidden", "raw": "403 forbidden", "metadata": "none", "minimal": "none", "all": "400 invalidArgument"} {
		c := meta.Messages.Get("me", bob)
		if format != "" {
			c.Format(format)
		}
		if format == "all" {
			c = svc.Messages.Get("me", bob).Format(format)
		}
		if _, err := c.Do(); failure(err) != want {
			t.Errorf("format %q with gmail.metadata: %v, want %s", format, err, want)
		}
	}
}

// The two readings of after:, which is disputed.
func TestSearchByDateHeader(t *testing.T) {
	for byDate, want := range map[bool]int{false: 0, true: 1} {
		s, _ := newServer(gmailtest.Options{SearchByDate: byDate})
		ada := s.AddUser("ada@example.com")
		ada.Deliver(letter("bob@other.example", "ada@example.com", "Late", "1@other.example"), noon.Add(-time.Hour)) // its Date is noon
		l := must(service(t, ada, s).Messages.List("me").Q(fmt.Sprint("after:", noon.Add(-time.Minute).Unix())).Do())(t)
		if len(l.Messages) != want {
			t.Errorf("by the Date header %v: %d", byDate, len(l.Messages))
		}
	}
}

var tree = strings.ReplaceAll(`From: =?utf-8?q?Gr=C3=BCn=2C_J=C3=B6rg?= <j@other.example>
To: ada@example.com
Subject: =?utf-8?b?R3LDvMOfZQ==?=
Message-ID: <tree@other.example>
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--b
Content-Type: text/html; charset=utf-8

<p>Grüße</p>
--b--
--a
Content-Type: application/pdf; name="offer.pdf"
Content-Disposition: attachment; filename="offer.pdf"
Content-Transfer-Encoding: base64

AAECAwT/
--a--
`, "\n", "\r\n")

func TestTheTreeOfAMessage(t *testing.T) {
	for _, unpadded := range []bool{false, true} {
		s, c := newServer(gmailtest.Options{InlineBody: 100, Unpadded: unpadded})
		ada := s.AddUser("ada@example.com")
		svc := service(t, ada, s)
		id := ada.Deliver([]byte(tree), noon)
		m := must(svc.Messages.Get("me", id).Do())(t)
		p := m.Payload
		if len(p.Parts) != 2 || len(p.Parts[0].Parts) != 2 || p.MimeType != "multipart/mixed" || m.Raw != "" {
			t.Fatalf("payload %+v", p)
		}
		header := map[string]string{}
		for _, h := range p.Headers {
			header[h.Name] = h.Value
		}
		if header["Subject"] != "Grüße" || header["From"] != `"Grün, Jörg" <j@other.example>` {
			t.Errorf("header %q", header)
		}
		encoding := base64.URLEncoding
		if unpadded {
			encoding = base64.RawURLEncoding
		}
		plain, pdf := p.Parts[0].Parts[0], p.Parts[1]
		// Text is UTF-8 whatever its header says, and that says what it did.
		if b, err := encoding.DecodeString(plain.Body.Data); err != nil || strings.TrimSpace(string(b)) != "Grüße" || plain.PartId != "0.0" || !strings.Contains(plain.Headers[0].Value+plain.Headers[1].Value, "iso-8859-1") {
			t.Errorf("plain text %q, %v, %+v", b, err, plain)
		}
		if pdf.Filename != "offer.pdf" || pdf.Body.Data != "" || pdf.Body.AttachmentId == "" || pdf.Body.Size != 6 || pdf.PartId != "1" {
			t.Errorf("attachment %+v, %+v", pdf, pdf.Body)
		}
		again := must(svc.Messages.Get("me", id).Do())(t)
		if again.Payload.Parts[1].Body.AttachmentId == pdf.Body.AttachmentId {
			t.Error("attachmentId is stable")
		}
		a := must(svc.Messages.Attachments.Get("me", id, pdf.Body.AttachmentId).Do())(t)
		if b, err := encoding.DecodeString(a.Data); err != nil || !bytes.Equal(b, []byte{0, 1, 2, 3, 4, 255}) {
			t.Errorf("bytes %x, %v", b, err)
		}
		c.advance(2 * time.Hour)
		if _, err := svc.Messages.Attachments.Get("me", id, pdf.Body.AttachmentId).Do(); failure(err) != "400 invalidArgument" {
			t.Errorf("an old attachmentId: %v", err)
		}
		meta := must(svc.Messages.Get("me", id).Format("metadata").Do())(t)
		if meta.Payload.Parts != nil || len(meta.Payload.Headers) != 5 || meta.Payload.Body != nil {
			t.Errorf("metadata %+v", meta.Payload)
		}
		minimal := must(svc.Messages.Get("me", id).Format("minimal").Do())(t)
		if minimal.Payload != nil || !slices.Contains(minimal.LabelIds, "INBOX") || minimal.SizeEstimate != int64(len(tree)) {
			t.Errorf("minimal %+v", minimal)
		}
		fewer := must(svc.Messages.Get("me", id).Fields("id,payload/headers(name)").Do())(t)
		if fewer.ThreadId != "" || fewer.Payload.MimeType != "" || fewer.Payload.Headers[0].Value != "" || fewer.Payload.Headers[0].Name != "From" {
			t.Errorf("partial %+v", fewer.Payload)
		}
	}
	// Big text is to be had as an attachment.
	s, _ := newServer(gmailtest.Options{InlineBody: 100, EncodedHeaders: true})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	m := must(svc.Messages.Get("me", ada.Deliver(append(letter("j@other.example", "ada@example.com", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "big@x"), bytes.Repeat([]byte("word "), 50)...), noon)).Do())(t)
	if m.Payload.Body.AttachmentId == "" || m.Payload.Body.Data != "" || m.Payload.Headers[2].Value != "=?utf-8?q?Gr=C3=BC=C3=9Fe?=" {
		t.Errorf("big text %+v", m.Payload)
	}
}

func TestChangesOfMessages(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@other.example")
	svc := service(t, ada, s)
	id := ada.Deliver(letter("bob@other.example", "ada@example.com", "One", "1@other.example"), noon)
	modify := func(id string, add, remove []string) string {
		_, err := svc.Messages.Modify("me", id, &gmail.ModifyMessageRequest{AddLabelIds: add, RemoveLabelIds: remove}).Do()
		return failure(err)
	}
	for _, x := range []struct{ what, got, want string }{
		{"star and archive", modify(id, []string{"STARRED"}, []string{"INBOX"}), "none"},
		{"a message that is not there", modify("1234567890abcdef", nil, []string{"INBOX"}), "404 notFound"},
		{"a label that is not there", modify(id, []string{"Label_404"}, nil), "400 invalidArgument"},
		{"SENT", modify(id, []string{"SENT"}, nil), "400 invalidArgument"},
		{"nothing", modify(id, nil, nil), "400 invalidArgument"},
		{"the same on and off", modify(id, []string{"STARRED"}, []string{"STARRED"}), "400 invalidArgument"},
		{"an id that is none", modify("not an id", nil, []string{"INBOX"}), "400 invalidArgument"},
		{"deletion without mail.google.com", failure(svc.Messages.Delete("me", id).Do()), "403 insufficientPermissions"},
		{"somebody else's mailbox", failure(service(t, bob, s, gmailtest.ScopeFull).Messages.Delete(ada.Address, id).Do()), "403 forbidden"},
	} {
		if x.got != x.want {
			t.Errorf("%s: %q, want %q", x.what, x.got, x.want)
		}
	}
	if m, _ := ada.Message(id); !slices.Equal(m.Labels, []string{"UNREAD", "STARRED"}) {
		t.Errorf("labels %v", m.Labels)
	}
	trashed := must(svc.Messages.Trash("me", id).Do())(t)
	if !slices.Contains(trashed.LabelIds, "TRASH") {
		t.Errorf("trashed: %v", trashed.LabelIds)
	}
	if m := must(svc.Messages.Untrash("me", id).Do())(t); slices.Contains(m.LabelIds, "TRASH") {
		t.Errorf("untrashed: %v", m.LabelIds)
	}
	many := &gmail.BatchModifyMessagesRequest{RemoveLabelIds: []string{"UNREAD"}, Ids: slices.Repeat([]string{id}, 1001)}
	if err := svc.Messages.BatchModify("me", many).Do(); failure(err) != "400 invalidArgument" {
		t.Errorf("1,001 ids: %v", err)
	}
	many.Ids = many.Ids[:1000]
	if err := svc.Messages.BatchModify("me", many).Do(); err != nil {
		t.Error(err)
	}
	if m, _ := ada.Message(id); !slices.Equal(m.Labels, []string{"STARRED"}) {
		t.Errorf("labels %v", m.Labels)
	}
	if err := service(t, ada, s, gmailtest.ScopeFull).Messages.Delete("me", id).Do(); err != nil {
		t.Error(err)
	}
	if _, ok := ada.Message(id); ok {
		t.Error("it is still there")
	}
}

func TestThreads(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	a := ada.Deliver(letter("bob@other.example", "ada@example.com", "Offer", "1@other.example"), noon)
	b := ada.Deliver(letter("bob@other.example", "ada@example.com", "RE: Offer", "2@other.example", "References: <0@x> <1@other.example>"), noon.Add(time.Hour))
	c := ada.Deliver(letter("bob@other.example", "ada@example.com", "Another matter", "3@other.example", "In-Reply-To: <1@other.example>"), noon.Add(2*time.Hour))
	th := must(svc.Threads.Get("me", a).Format("minimal").Do())(t)
	if !slices.Equal(ids(th.Messages), []string{a, b}) {
		t.Errorf("thread %v", ids(th.Messages))
	}
	l := must(svc.Threads.List("me").Do())(t)
	if len(l.Threads) != 2 || l.Threads[0].Id != c || l.Threads[1].Id != a {
		t.Errorf("threads %+v", l.Threads)
	}
	must(svc.Threads.Modify("me", a, &gmail.ModifyThreadRequest{RemoveLabelIds: []string{"INBOX"}}).Do())(t)
	for _, id := range []string{a, b} {
		if m, _ := ada.Message(id); slices.Contains(m.Labels, "INBOX") {
			t.Errorf("%s is in the inbox", id)
		}
	}
	if _, err := svc.Threads.Get("me", b).Do(); failure(err) != "404 notFound" {
		t.Error(err)
	}
}
