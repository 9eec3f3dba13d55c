package gmailtest

import (
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// A search and what it excludes are the whole mailbox, and nothing is in both.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"from:ada", "a OR b c", "subject:offer -roof", "after:2026/3/10", "rfc822msgid:<1@x>", "is:unread in:inbox", "label:x larger:1k", "- a", "OR", "AND from:"} {
		f.Add(q)
	}
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	s := New(Options{Now: func() time.Time { return now }})
	u := s.AddUser("ada@example.com")
	u.Deliver([]byte("From: Ada <ada@example.com>\r\nSubject: offer\r\nMessage-ID: <1@x>\r\n\r\nroof\r\n"), now)
	u.Deliver([]byte("From: bob@example.com\r\nTo: ada@example.com\r\n\r\nb c\r\n"), now.AddDate(0, 0, -3), "SENT")
	c := &call{s: s, user: u}
	f.Fuzz(func(t *testing.T, q string) {
		match, _, e := c.parseQuery(q)
		if strings.ContainsAny(q, `(){}"`) || e != nil {
			return // it only must not go wrong
		}
		not, _, e := c.parseQuery("-(" + q + ")")
		if e != nil {
			t.Fatal(e)
		}
		for _, m := range u.order {
			if match(m) == not(m) {
				t.Errorf("%q and its opposite both say %v of %s", q, match(m), m.raw)
			}
		}
	})
}

// Whatever a message is, reading it ends, and every part can be found by its id.
func FuzzTree(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--a--\r\n"))
	f.Add([]byte("Content-Transfer-Encoding: base64\r\nContent-Type: text/html; charset=x\r\n\r\n!!!!"))
	f.Add([]byte(" x\r\n:\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		root := fakemail.Parse(raw)
		plain(root)
		var each func(*fakemail.Part)
		each = func(p *fakemail.Part) {
			if root.Find(p.ID) != p {
				t.Fatalf("part %q is not found", p.ID)
			}
			for _, c := range p.Parts {
				each(c)
			}
		}
		each(root)
		fakemail.Rewrite(raw, []string{"Subject"}, fakemail.Field{Name: "X", Value: "y"})
	})
}
