package imap_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
	"github.com/intellicon/email-integration/provider/imap/imaptest"
)

// serve starts a server with these folders alone.
func serve(t *testing.T, folders ...string) *imaptest.Server {
	t.Helper()
	return imaptest.Start(t, &imaptest.Options{Bare: true, Folders: folders})
}

func dial(t *testing.T, s *imaptest.Server, change func(*imap.Config)) *imap.Mailbox {
	t.Helper()
	c := s.Config()
	if change != nil {
		change(&c)
	}
	m, err := imap.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func mail(n string) string {
	return "From: Bob <bob@example.org>\r\nTo: ada@example.com\r\nSubject: " + n + "\r\nMessage-ID: <" + n + "@example.org>\r\n\r\nHello " + n + ".\r\n"
}

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func subjects(items []provider.Item) string {
	var out []string
	for _, it := range items {
		s := it.Envelope.Subject
		if it.Err != nil {
			s = "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestStartThenChanges(t *testing.T) {
	s := serve(t, "Sent", "Trash", "Spam", "Projects")
	s.DeliverTo([]byte(mail("old")), noon, "INBOX")
	m := dial(t, s, func(c *imap.Config) { c.PageSize = 2 })
	cur, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.DeliverTo([]byte(mail("a")), noon, "INBOX")
	s.DeliverTo([]byte(mail("b")), noon, "INBOX")
	s.DeliverTo([]byte(mail("c")), noon, "Sent")
	s.DeliverTo([]byte(mail("d")), noon, "Projects")
	s.DeliverTo([]byte(mail("no")), noon, "Trash")
	s.DeliverTo([]byte(mail("no")), noon, "Spam")
	var got []string
	for range 10 {
		p, err := m.Changes(t.Context(), cur)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Items) > 2 {
			t.Errorf("a page of %d items, want at most 2", len(p.Items))
		}
		for _, it := range p.Items {
			got = append(got, it.Envelope.Subject)
			if it.Envelope.Sent != (it.Envelope.Subject == "c") {
				t.Errorf("%s: Sent = %v", it.Envelope.Subject, it.Envelope.Sent)
			}
			if !it.Envelope.Received.Equal(noon) || it.Size == 0 || len(it.Folders) != 1 {
				t.Errorf("incomplete item %+v", it)
			}
		}
		cur = p.Next
		if !p.More {
			break
		}
	}
	if s := strings.Join(got, " "); s != "a b c d" {
		t.Errorf("listed %q, want a b c d", s)
	}
	p, err := m.Changes(t.Context(), cur)
	if err != nil || len(p.Items) != 0 || p.More {
		t.Errorf("at the end: %v items, more %v, err %v", len(p.Items), p.More, err)
	}
}

func TestFoldersComeGoAndAreRenumbered(t *testing.T) {
	s := serve(t, "Old", "Projects")
	s.DeliverTo([]byte(mail("p1")), noon, "Projects")
	m := dial(t, s, func(c *imap.Config) { c.PageSize = 2 })
	cur, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.DeleteFolder("Old")
	s.DeleteFolder("Projects")
	s.CreateFolder("Projects")
	s.CreateFolder("New")
	for _, n := range []string{"p1", "p2", "p3"} {
		s.DeliverTo([]byte(mail(n)), noon, "Projects")
	}
	s.DeliverTo([]byte(mail("n1")), noon, "New")
	var restarts, got []string
	for {
		p, err := m.Changes(t.Context(), cur)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Restart {
			restarts = append(restarts, f.ID)
		}
		got = append(got, strings.Fields(subjects(p.Items))...)
		cur = p.Next
		if !p.More {
			break
		}
	}
	if s := strings.Join(restarts, " "); s != "Old Projects" {
		t.Errorf("restarted %q, want Old and Projects once each", s)
	}
	if s := strings.Join(got, " "); s != "n1 p1 p2 p3" {
		t.Errorf("listed %q", s)
	}
}

func TestHistoryIsNewestFirstAndResumes(t *testing.T) {
	s := serve(t, "Sent", "Archive")
	// Moved mail: the order of UIDs is not the order of time.
	for i, f := range []string{"INBOX", "Sent", "Archive", "Archive", "INBOX", "Archive", "Sent"} {
		s.DeliverTo([]byte(mail(fmt.Sprint("m", i))), noon.Add(-time.Duration(i*i*i)*24*time.Hour), f)
	}
	for i := range 5 {
		s.DeliverTo([]byte(mail(fmt.Sprint("x", i))), noon.Add(-time.Duration(i+1)*time.Minute), "Archive")
	}
	s.DeliverTo([]byte(mail("ancient")), time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), "INBOX")
	want := "m0 x0 x1 x2 x3 x4 m1 m2 m3 m4 m5 m6 ancient"
	list := func(w provider.Window) string {
		var got []string
		var cur provider.Cursor
		for {
			// A new connection for each page: all that is known is in the cursor.
			m := dial(t, s, func(c *imap.Config) { c.PageSize = 3 })
			p, err := m.History(t.Context(), w, cur)
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
			if p.Estimated == 0 || len(p.Items) > 3 {
				t.Errorf("estimated %d, %d items", p.Estimated, len(p.Items))
			}
			got = append(got, strings.Fields(subjects(p.Items))...)
			cur = p.Next
			if !p.More {
				return strings.Join(got, " ")
			}
		}
	}
	if got := list(provider.Window{}); got != want {
		t.Errorf("listed %q\nwant   %q", got, want)
	}
	// From is included, To excluded, both to the second.
	if got := list(provider.Window{From: noon.Add(-24 * time.Hour), To: noon}); got != "x0 x1 x2 x3 x4 m1" {
		t.Errorf("window listed %q", got)
	}
	m := dial(t, s, nil)
	n := 0
	for _, err := range m.Inventory(t.Context(), provider.Scope{Window: provider.Window{From: noon.Add(-24 * time.Hour), To: noon}}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 6 {
		t.Errorf("inventory of %d, want 6", n)
	}
}

func TestUnreadableMailIsIsolated(t *testing.T) {
	s := serve(t)
	for i := range 20 {
		if h := s.DeliverTo([]byte(mail(fmt.Sprint(i))), noon, "INBOX"); i == 6 {
			s.Poison(h)
		}
	}
	m := dial(t, s, nil)
	p, err := m.History(t.Context(), provider.Window{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Items) != 20 {
		t.Fatalf("%d items, want 20", len(p.Items))
	}
	for _, it := range p.Items {
		bad := strings.Contains(string(it.ID), ".7.INBOX")
		if (it.Err != nil) != bad {
			t.Errorf("%s: err %v", it.ID, it.Err)
		}
		if it.Envelope.Received.IsZero() {
			t.Errorf("%s: no date", it.ID)
		}
	}
}

func TestOddMailIsListedAndRead(t *testing.T) {
	s := serve(t)
	odd := []string{
		"",
		"no header at all",
		"\r\n\r\n",
		"From: \xff\xfe <a@b\r\nSubject: =?utf-8?q?\xe9=?= \x00\r\nno colon\r\n\r\nbody",
		"Subject: " + strings.Repeat("long ", 100_000) + "\r\n\r\nx",
		"Content-Type: multipart/mixed; boundary=\"\r\nSubject: (((\r\n\r\n--\r\n",
		"Message-ID: <a b c>\r\nTo: undisclosed-recipients:;, \"x\r\n",
	}
	for _, raw := range odd {
		s.DeliverTo([]byte(raw), noon, "INBOX")
	}
	m := dial(t, s, nil)
	p, err := m.History(t.Context(), provider.Window{}, nil)
	if err != nil || len(p.Items) != len(odd) {
		t.Fatalf("%d items, err %v", len(p.Items), err)
	}
	for _, it := range p.Items {
		if it.Err != nil {
			t.Errorf("%s: %v", it.ID, it.Err)
		}
		if _, err := m.Content(t.Context(), it.ID); err != nil {
			t.Errorf("content of %s: %v", it.ID, err)
		}
	}
}

func TestContentAttachmentLocate(t *testing.T) {
	s := serve(t, "Sent")
	payload := strings.Repeat("0123456789", 200_000)
	s.DeliverTo([]byte("From: ada@example.com\r\nMessage-ID: <whole@example.com>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n"+
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"+
		base64Lines(payload)+"\r\n--b--\r\n"), noon, "Sent")
	s.DeliverTo([]byte(strings.Replace(mail("x"), "x@example.org", "whole@example.com.other", 1)), noon, "INBOX")
	m := dial(t, s, nil)
	ids, err := m.Locate(t.Context(), "whole@example.com")
	if err != nil || len(ids) != 1 {
		t.Fatalf("located %v, %v", ids, err)
	}
	msg, err := m.Content(t.Context(), ids[0].ID)
	if err != nil || !strings.Contains(msg.Text, "Hi") || !msg.Sent || len(msg.Attachments) != 1 {
		t.Fatalf("content %+v, %v", msg, err)
	}
	r, err := m.Attachment(t.Context(), ids[0].ID, msg.Attachments[0].Part)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != payload {
		t.Errorf("attachment of %d bytes, err %v, want %d", len(b), err, len(payload))
	}
	small := dial(t, s, func(c *imap.Config) { c.ContentLimit = 1000 })
	if msg, err = small.Content(t.Context(), ids[0].ID); err != nil || len(msg.Defects) == 0 || msg.Defects[len(msg.Defects)-1].Name != "truncated" {
		t.Errorf("a truncated message should say so: %v", err)
	}
	for _, gone := range []provider.ItemID{"1.999.INBOX", "77.1.INBOX", "1.1.Nowhere"} {
		if _, err := m.Content(t.Context(), gone); !errors.Is(err, provider.ErrGone) {
			t.Errorf("content of %s: %v, want ErrGone", gone, err)
		}
	}
	if _, err := m.Content(t.Context(), "nonsense"); err == nil {
		t.Error("a foreign id should be an error")
	}
}

func base64Lines(s string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	for i := 0; i < len(s); i += 3 {
		var v, n uint32
		for j := range 3 {
			v <<= 8
			if i+j < len(s) {
				v |= uint32(s[i+j])
				n++
			}
		}
		for j := range n + 1 {
			b.WriteByte(letters[v>>(18-6*j)&63])
		}
		if i%57 == 54 {
			b.WriteString("\r\n")
		}
	}
	return b.String() // without padding, as some programs send
}

// A message that is gone is not listed, also where the connection breaks as often as at one that can't be read.
func TestGoneIsNotUnreadable(t *testing.T) {
	s := imaptest.Start(t, nil)
	old := s.Deliver([]byte(mail("old")), noon.Add(-time.Minute), provider.RoleInbox)
	s.Deliver([]byte(mail("new")), noon, provider.RoleInbox)
	box := dial(t, s, func(c *imap.Config) { c.PageSize = 1 })
	page, err := box.History(t.Context(), provider.Window{}, nil)
	if err != nil || subjects(page.Items) != "new" {
		t.Fatalf("the first page: %q, %v", subjects(page.Items), err)
	}
	s.Delete(old)
	s.CutAt("UID FETCH")
	s.CutAt("UID FETCH")
	for page.More {
		if page, err = box.History(t.Context(), provider.Window{}, page.Next); err != nil || len(page.Items) != 0 {
			t.Fatalf("after it: %q, %v", subjects(page.Items), err)
		}
	}
}
