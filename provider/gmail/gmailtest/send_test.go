package gmailtest_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func header(raw []byte, name string) string {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for _, l := range strings.Split(string(head), "\r\n") {
		if n, v, ok := strings.Cut(l, ": "); ok && strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

func rawOf(b []byte) string { return base64.URLEncoding.EncodeToString(b) }

func TestSendingDeliversToUsers(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada, bob, eve := s.AddUser("ada@example.com"), s.AddUser("bob.stone@gmail.com"), s.AddUser("eve@third.example")
	bob.SetAlias(gmailtest.Alias{Address: "bob@acme.example"})
	svc := service(t, ada, s, gmailtest.ScopeSend)
	m := must(svc.Messages.Send("me", &gmail.Message{Raw: rawOf(letter("Ada <ada@example.com>", "bobstone+crm@googlemail.com, bob@acme.example", "Offer", "mine@example.com",
		"Cc: out@nowhere.example", "Bcc: eve@third.example", "X-CRM: 42"))}).Do())(t)
	if !slices.Equal(m.LabelIds, []string{"SENT"}) || m.ThreadId != m.Id || m.Payload != nil {
		t.Errorf("answered %+v", m)
	}
	mine, _ := ada.Message(m.Id)
	id := header(mine.Raw, "Message-ID")
	if !strings.HasPrefix(id, "<CA") || !strings.HasSuffix(id, "@mail.gmail.com>") || bytes.Contains(mine.Raw, []byte("mine@example.com")) {
		t.Errorf("the Message-ID is %q", id)
	}
	if header(mine.Raw, "X-CRM") != "42" || header(mine.Raw, "Bcc") == "" || header(mine.Raw, "From") != "Ada <ada@example.com>" {
		t.Errorf("sent\n%s", mine.Raw)
	}
	for u, n := range map[*gmailtest.User]int{bob: 1, eve: 1} {
		ms := u.Messages()
		if len(ms) != n || !slices.Equal(ms[0].Labels, []string{"INBOX", "UNREAD"}) || header(ms[0].Raw, "Bcc") != "" || header(ms[0].Raw, "Message-ID") != id || ms[0].ID == m.Id {
			t.Errorf("%s has %+v", u.Address, ms)
		}
	}
	out := s.Sent()
	if len(out) != 1 || !slices.Equal(out[0].Recipients, []string{"bobstone+crm@googlemail.com", "bob@acme.example", "out@nowhere.example", "eve@third.example"}) || out[0].ID != m.Id || header(out[0].Raw, "Bcc") != "" {
		t.Errorf("sent %+v", out)
	}
	self := must(svc.Messages.Send("me", &gmail.Message{Raw: rawOf(letter("ada@example.com", "ada@example.com", "Note", "x@example.com"))}).Do())(t)
	if !slices.Equal(self.LabelIds, []string{"SENT", "INBOX", "UNREAD"}) || len(ada.Messages()) != 2 {
		t.Errorf("to oneself: %v", self.LabelIds)
	}
	for what, raw := range map[string][]byte{
		"nobody":      []byte("From: ada@example.com\r\nSubject: x\r\n\r\nx\r\n"),
		"501 people":  letter("ada@example.com", strings.TrimSuffix(strings.Repeat("a@x.example, ", 1)+many(500), ", "), "x", "x@example.com"),
		"no message ": nil,
	} {
		if _, err := svc.Messages.Send("me", &gmail.Message{Raw: rawOf(raw)}).Do(); failure(err) != "400 invalidArgument" {
			t.Errorf("to %s: %v", what, err)
		}
	}
	if _, err := svc.GetProfile("me").Do(); failure(err) != "403 insufficientPermissions" {
		t.Errorf("gmail.send reads: %v", err)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("p" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + "@x.example, ")
	}
	return b.String()
}

func TestFromIsRewritten(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	ada.SetAlias(gmailtest.Alias{Address: "sales@example.com", DisplayName: "Sales", Signature: "<b>Sales</b>"})
	ada.SetAlias(gmailtest.Alias{Address: "boss@example.com", Pending: true})
	ada.SetAlias(gmailtest.Alias{Address: ada.Address, Signature: "<i>Ada</i>"})
	svc := service(t, ada, s)
	for from, want := range map[string]string{
		"Ada <ada@example.com>": "Ada <ada@example.com>", "sales@example.com": "sales@example.com", "boss@example.com": "<ada@example.com>",
		`"Else, S." <else@example.com>`: `"Else, S." <ada@example.com>`,
	} {
		m := must(svc.Messages.Send("me", &gmail.Message{Raw: rawOf(letter(from, "bob@other.example", "x", "x@example.com"))}).Do())(t)
		if got, _ := ada.Message(m.Id); header(got.Raw, "From") != want {
			t.Errorf("from %s: %q, want %q", from, header(got.Raw, "From"), want)
		}
	}
	l := must(svc.Settings.SendAs.List("me").Do())(t)
	if len(l.SendAs) != 3 || !l.SendAs[0].IsPrimary || l.SendAs[0].Signature != "<i>Ada</i>" || l.SendAs[1].VerificationStatus != "accepted" || l.SendAs[2].VerificationStatus != "pending" {
		t.Errorf("send-as addresses %+v", l.SendAs)
	}
	if a := must(svc.Settings.SendAs.Get("me", "sales@example.com").Do())(t); a.Signature != "<b>Sales</b>" || a.DisplayName != "Sales" {
		t.Errorf("alias %+v", a)
	}
}

func TestAReplyNeedsAllThree(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@other.example")
	svc := service(t, ada, s)
	first := ada.Deliver(letter("bob@other.example", "ada@example.com", "Offer", "1@other.example"), noon)
	refs := []string{"References: <1@other.example>", "In-Reply-To: <1@other.example>"}
	for _, x := range []struct {
		what, subject, thread string
		more                  []string
		joins                 bool
	}{
		{"all", "Re: Offer", first, refs, true},
		{"no threadId", "Re: Offer", "", refs, false},
		{"another subject", "Question", first, refs, false},
		{"no References", "Re: Offer", first, refs[1:], false},
		{"no In-Reply-To", "Re: Offer", first, refs[:1], false},
	} {
		m := must(svc.Messages.Send("me", &gmail.Message{ThreadId: x.thread, Raw: rawOf(letter("ada@example.com", "bob@other.example", x.subject, "r@example.com", x.more...))}).Do())(t)
		if (m.ThreadId == first) != x.joins {
			t.Errorf("%s: thread %s", x.what, m.ThreadId)
		}
	}
	theirs := bob.Messages()[0].ThreadID
	if _, err := svc.Messages.Send("me", &gmail.Message{ThreadId: theirs, Raw: rawOf(letter("ada@example.com", "bob@other.example", "Offer", "r@example.com", refs...))}).Do(); failure(err) != "404 notFound" {
		t.Errorf("another mailbox's thread: %v", err)
	}
}

func TestDraftsAreStagedAndSent(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@other.example")
	svc := service(t, ada, s)
	first := ada.Deliver(letter("bob@other.example", "ada@example.com", "Offer", "1@other.example"), noon)
	reply := letter("ada@example.com", "bob@other.example", "Re: Offer", "r@example.com", "References: <1@other.example>", "In-Reply-To: <1@other.example>", "X-CRM: 7")
	d := must(svc.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: rawOf(reply), ThreadId: first}}).Do())(t)
	if d.Message.ThreadId != first || !slices.Equal(d.Message.LabelIds, []string{"DRAFT"}) || len(bob.Messages()) != 0 {
		t.Fatalf("draft %+v", d.Message)
	}
	got := must(svc.Drafts.Get("me", d.Id).Format("metadata").Do())(t)
	if got.Message.Id != d.Message.Id || got.Message.Payload == nil {
		t.Errorf("got %+v", got)
	}
	if l := must(svc.Drafts.List("me").Do())(t); len(l.Drafts) != 1 || l.Drafts[0].Id != d.Id {
		t.Errorf("drafts %+v", l.Drafts)
	}
	edited := must(svc.Drafts.Update("me", d.Id, &gmail.Draft{Message: &gmail.Message{Raw: rawOf(reply), ThreadId: first}}).Do())(t)
	if edited.Id != d.Id || edited.Message.Id == d.Message.Id {
		t.Errorf("edited %+v: the draft's id lasts, its message's does not", edited)
	}
	start := ada.HistoryID()
	sent := must(svc.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do())(t)
	if sent.ThreadId != first || !slices.Equal(sent.LabelIds, []string{"SENT"}) || sent.Id == edited.Message.Id {
		t.Errorf("sent %+v", sent)
	}
	m := must(svc.Messages.Get("me", sent.Id).Format("metadata").MetadataHeaders("Message-ID", "X-CRM").Do())(t)
	if len(m.Payload.Headers) != 2 || !strings.Contains(m.Payload.Headers[0].Value, "@mail.gmail.com") {
		t.Errorf("header %+v", m.Payload.Headers)
	}
	h := must(svc.History.List("me").StartHistoryId(start).Do())(t)
	if got := told(h.History, map[string]string{sent.Id: "sent", edited.Message.Id: "draft"}); got != "added:sent deleted:draft" {
		t.Errorf("history %q", got)
	}
	if len(bob.Messages()) != 1 {
		t.Error("nothing came")
	}
	for what, err := range map[string]error{
		"get": second(svc.Drafts.Get("me", d.Id).Do()), "send": second(svc.Drafts.Send("me", &gmail.Draft{Id: d.Id}).Do()),
		"update": second(svc.Drafts.Update("me", d.Id, &gmail.Draft{Message: &gmail.Message{Raw: rawOf(reply)}}).Do()), "delete": svc.Drafts.Delete("me", d.Id).Do(),
	} {
		if failure(err) != "404 notFound" {
			t.Errorf("%s of a draft that is gone: %v", what, err)
		}
	}
	other := must(svc.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: rawOf(reply)}}).Do())(t)
	if err := svc.Drafts.Delete("me", other.Id).Do(); err != nil {
		t.Error(err)
	}
	if _, ok := ada.Message(other.Message.Id); ok || len(ada.Drafts()) != 0 {
		t.Error("the message of a deleted draft is still there")
	}
	changed := must(svc.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{Raw: rawOf(reply), ThreadId: first}}).Do())(t)
	sent = must(svc.Drafts.Send("me", &gmail.Draft{Id: changed.Id, Message: &gmail.Message{Raw: rawOf(letter("ada@example.com", "bob@other.example", "Re: Offer", "r2@example.com", "X-CRM: 8"))}}).Do())(t)
	if m, _ := ada.Message(sent.Id); header(m.Raw, "X-CRM") != "8" || sent.ThreadId != first {
		t.Errorf("changed and sent: %+v", sent)
	}
	byHand := ada.Draft(reply)
	if id, ok := ada.SendDraft(byHand); !ok || id == "" || len(bob.Messages()) != 3 {
		t.Errorf("sent by hand: %q, %v", id, ok)
	}
}

// Mails of two Servers are not taken for one.
func TestTwoServersGiveOtherIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range []struct{ project, user string }{{"", "ada@example.com"}, {"", "bob@example.com"}, {"other", "ada@example.com"}} {
		s, _ := newServer(gmailtest.Options{Project: x.project})
		u := s.AddUser(x.user)
		id, err := u.Send(letter(x.user, "eve@other.example", "x", "x@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		m, _ := u.Message(id)
		if mid := header(m.Raw, "Message-ID"); seen[mid] {
			t.Errorf("%v: %s again", x, mid)
		} else {
			seen[mid] = true
		}
	}
}

func TestSendingIsRationed(t *testing.T) {
	s, c := newServer(gmailtest.Options{SendsPerDay: 2})
	svc := service(t, s.AddUser("ada@example.com"), s)
	send := func() string {
		_, err := svc.Messages.Send("me", &gmail.Message{Raw: rawOf(letter("ada@example.com", "bob@other.example", "x", "x@example.com"))}).Do()
		return failure(err)
	}
	got := []string{send(), send(), send()}
	c.advance(24 * time.Hour)
	if got = append(got, send()); !slices.Equal(got, []string{"none", "none", "429 rateLimitExceeded", "none"}) {
		t.Errorf("sent: %q", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestUploads(t *testing.T) {
	big := append(letter("ada@example.com", "bob@other.example", "Big", "big@example.com"), bytes.Repeat([]byte("0123456789abcdef"), 40_000)...)
	for _, x := range []struct {
		what    string
		options []googleapi.MediaOption
	}{
		{"in one request", []googleapi.MediaOption{googleapi.ContentType("message/rfc822")}},
		{"resumable", []googleapi.MediaOption{googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(googleapi.MinUploadChunkSize)}},
	} {
		s, _ := newServer(gmailtest.Options{})
		ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@other.example")
		svc := service(t, ada, s)
		d, err := svc.Drafts.Create("me", &gmail.Draft{Message: &gmail.Message{}}).Media(bytes.NewReader(big), x.options...).Do()
		if err != nil {
			t.Errorf("%s: %v", x.what, err)
			continue
		}
		if m, _ := ada.Message(d.Message.Id); !bytes.Equal(m.Raw, big) || ada.Units() != 10 {
			t.Errorf("%s: %d bytes of %d, for %d units", x.what, len(m.Raw), len(big), ada.Units())
		}
		must(svc.Messages.Send("me", &gmail.Message{}).Media(bytes.NewReader(big), x.options...).Do())(t)
		if ms := bob.Messages(); len(ms) != 1 || len(ms[0].Raw) < len(big) {
			t.Errorf("%s: %d messages came", x.what, len(ms))
		}
	}
	s, _ := newServer(gmailtest.Options{})
	svc := service(t, s.AddUser("ada@example.com"), s)
	if _, err := svc.Messages.Send("me", &gmail.Message{}).Media(bytes.NewReader(big), googleapi.ContentType("text/plain")).Do(); failure(err) != "400 invalidArgument" {
		t.Errorf("not a message: %v", err)
	}
	huge := append(big, make([]byte, 36_700_160)...)
	if _, err := svc.Messages.Send("me", &gmail.Message{}).Media(bytes.NewReader(huge), googleapi.ContentType("message/rfc822")).Do(); failure(err) != "413 uploadTooLarge" {
		t.Errorf("too large: %v", err)
	}
	m := must(svc.Messages.Insert("me", &gmail.Message{LabelIds: []string{"INBOX"}}).InternalDateSource("dateHeader").Media(bytes.NewReader(big), googleapi.ContentType("message/rfc822")).Do())(t)
	if got := must(svc.Messages.Get("me", m.Id).Format("minimal").Do())(t); got.InternalDate != noon.UnixMilli() || !slices.Equal(got.LabelIds, []string{"INBOX"}) {
		t.Errorf("inserted %+v", got)
	}
}
