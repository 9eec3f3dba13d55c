package gmail_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const top = "From: Ada <ada@sender.example>\nTo: me@acme.example\nDate: Mon, 02 Mar 2026 09:00:00 +0000\nMessage-ID: <a@sender.example>\nMIME-Version: 1.0\n"

// mails are messages of many shapes.
var mails = map[string]string{
	"plain":       top + "Subject: plain\n\nHello\n",
	"no type":     "From: a@b.example\n\nHello\n",
	"latin":       top + "Subject: =?iso-8859-1?q?Gr=FC=DFe?=\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n",
	"japanese":    top + "Subject: x\nContent-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$3$s$K$A$O\x1b(B\n",
	"gbk":         top + "Subject: x\nContent-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: base64\n\nxOO6w6Osztu1xA==\n",
	"utf-8":       top + "Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße 客户\n",
	"html":        top + "Subject: x\nContent-Type: text/html; charset=utf-8\n\n<p>Hello <b>you</b></p>\n",
	"alternative": top + "Subject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Type: text/html\n\n<i>rich</i>\n--b--\n",
	"attached":    top + "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee\n--b\nContent-Type: application/pdf; name=\"a b.pdf\"\nContent-Disposition: attachment; filename=\"a b.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQ=\n--b--\n",
	"nested":      top + "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n<img src=\"cid:i@x\">\n--c\nContent-Type: image/png\nContent-ID: <i@x>\nContent-Disposition: inline; filename=i.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--c--\n--b\nContent-Type: text/csv; name=t.csv\nContent-Disposition: attachment; filename=t.csv\n\na,b\n1,2\n--b--\n",
	"forwarded":   top + "Subject: Fwd\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee below\n--b\nContent-Type: message/rfc822\nContent-Disposition: attachment; filename=m.eml\n\nFrom: x@y.example\nSubject: inner\n\ninner text\n--b--\n",
	"bounce":      "From: Mail Delivery <mailer-daemon@mx.example>\nTo: me@acme.example\nReturn-Path: <>\nAuto-Submitted: auto-replied\nSubject: Undelivered\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: text/plain\n\nfailed\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nAction: failed\n--b--\n",
	"newsletter":  top + "Subject: news\nList-Unsubscribe: <https://x.example>\nList-Id: <news.x.example>\nPrecedence: bulk\n\nnews\n",
	"calendar":    top + "Subject: x\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\nBEGIN:VCALENDAR\nEND:VCALENDAR\n",
	"a pdf alone": top + "Subject: x\nContent-Type: application/pdf; name=x.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQ=\n",
	"authenticated": "Authentication-Results: mx.google.com; dkim=pass header.i=@sender.example; dmarc=pass header.from=sender.example\nAuthentication-Results: evil.example; dmarc=fail\n" +
		top + "Subject: x\n\nx\n",
	"no body":       top + "Subject: x\n",
	"empty part":    top + "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n\n--b--\n",
	"named text":    top + "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: text/plain; name=notes.txt\n\nnotes\n--b--\n",
	"folded":        top + "Subject: one\n two\nReferences: <1@x>\n <2@x>\nIn-Reply-To: <2@x>\nThread-Index: AdXYZ\n\nx\n",
	"two receivers": top + "Subject: x\nCc: c@x.example, \"D, E\" <d@x.example>\nReply-To: r@x.example\nSender: s@x.example\n\nx\n",
}

// What the parts come to is what the message is.
func TestContentIsTheMessage(t *testing.T) {
	for _, o := range []gmailtest.Options{{}, {InlineBody: 1}, {Unpadded: true}} {
		w := newWorld(o, gmail.Options{})
		box := w.open(t)
		for name, s := range mails {
			raw := crlf(s)
			id := provider.ItemID(w.user.Deliver(raw, day0))
			got, err := box.Content(t.Context(), id)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			want := message.Parser{AuthServers: []string{"mx.google.com"}}.Parse(raw)
			m, _ := w.user.Message(string(id))
			want.Received, want.Thread = day0, m.ThreadID
			for _, x := range []*message.Message{got, want} {
				x.Defects = nil
				x.Text, x.HTML = strings.TrimSpace(x.Text), strings.TrimSpace(x.HTML)
				for i := range x.Attachments {
					x.Attachments[i].Size = 0 // of a text in another charset it differs
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s is\n%+v, want\n%+v", name, got, want)
			}
			for _, a := range got.Attachments {
				b, err := readAll(box.Attachment(t.Context(), id, a.Part))
				if err != nil || len(b) == 0 {
					t.Errorf("%s, part %s: %d bytes, %v", name, a.Part, len(b), err)
				}
			}
		}
	}
}

func readAll(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// What Changes shows of a header is what the whole header says.
func TestEnvelopeIsTheHeader(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	want := map[string]message.Envelope{}
	for _, s := range mails {
		id := w.user.Deliver(crlf(s), day0)
		e := message.Parser{AuthServers: []string{"mx.google.com"}}.ParseHeader(crlf(s))
		m, _ := w.user.Message(id)
		e.Received, e.Thread = day0, m.ThreadID
		want[id] = e
	}
	p := changes(t, box, c)
	if len(p.Items) != len(mails) {
		t.Errorf("%d items", len(p.Items))
	}
	for _, it := range p.Items {
		if e := want[string(it.ID)]; !reflect.DeepEqual(it.Envelope, e) {
			t.Errorf("it shows\n%+v, want\n%+v", it.Envelope, e)
		}
		if it.Size == 0 {
			t.Error("the size is not told")
		}
	}
}

// long is a mail whose text has so many bytes.
func long(id string, bytes int) []byte {
	return append(providertest.Mail(id, id), strings.Repeat(strings.Repeat("x", 98)+"\r\n", bytes/100)...)
}

// Live mail is got once, and its texts are there for who asks.
func TestLiveMailIsReadOnce(t *testing.T) {
	for name, o := range map[string]gmailtest.Options{"in batches": {}, "one by one": {Missing: []string{"batch"}}, "parts apart": {InlineBody: 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(o, gmail.Options{})
			box := w.open(t)
			c := start(t, box)
			var ids []provider.ItemID
			for i := range 120 { // two pages
				ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "hello "+fmt.Sprint(i)), day0)))
			}
			spam := w.user.Deliver(providertest.Mail("spam", "spam"), day0, "SPAM")
			w.srv.Forget()
			var texts []string
			for more := true; more; {
				p, err := box.Changes(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				var page []provider.ItemID
				for _, it := range p.Items {
					if string(it.ID) != spam {
						page = append(page, it.ID)
					}
				}
				box.Prefetch(page)
				for _, id := range page {
					m, err := box.Content(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					texts = append(texts, m.Envelope.Subject+m.Text)
				}
				c, more = p.Next, p.More
			}
			got := len(w.calls("gmail.users.messages.get"))
			if got != len(ids) || len(texts) != len(ids) {
				t.Errorf("%d messages were got %d times, %d texts", len(ids), got, len(texts))
			}
			other := w.open(t)
			for i, id := range ids {
				if m, err := other.Content(t.Context(), id); err != nil || m.Envelope.Subject+m.Text != texts[i] {
					t.Fatalf("%v, %+v; want %q", err, m, texts[i])
				}
			}
			// What is kept is for the next calls only: then it is read as it is.
			w.srv.Forget()
			changes(t, box, c)
			box.Prefetch(ids[119:])
			if _, err := box.Content(t.Context(), ids[119]); err != nil || len(w.calls("gmail.users.messages.get")) != 1 {
				t.Errorf("a page later: %v, %d calls", err, len(w.calls("gmail.users.messages.get")))
			}
		})
	}
}

// The ids of parts that Changes saw may have died when they are asked for: then the message is got once more.
func TestKeptPartsDie(t *testing.T) {
	now := day0
	w := newWorld(gmailtest.Options{InlineBody: 1, Now: func() time.Time { return now }, HistoryLife: -1}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
	changes(t, box, c)
	now = now.Add(2 * time.Hour)
	box.Prefetch([]provider.ItemID{id})
	if m, err := box.Content(t.Context(), id); err != nil || m.Text == "" {
		t.Errorf("%+v, %v", m, err)
	}
}

// What is kept has a bound: what doesn't fit is known by its header, and read when it is wanted.
func TestKeptIsBounded(t *testing.T) {
	w := newWorld(gmailtest.Options{InlineBody: 1 << 30}, gmail.Options{BatchSize: 2, ContentLimit: 1 << 30})
	box := w.open(t)
	c := start(t, box)
	var ids []provider.ItemID
	for i := range 8 {
		ids = append(ids, provider.ItemID(w.user.Deliver(long(fmt.Sprint("m", i), 2<<20), day0)))
	}
	w.srv.Forget()
	p := changes(t, box, c)
	full := 0
	for _, c := range w.calls("gmail.users.messages.get") {
		if strings.Contains(c.Path, "format=full") {
			full++
		}
	}
	if full == 0 || full == len(ids) {
		t.Errorf("%d of %d were read in full", full, len(ids))
	}
	for _, it := range p.Items {
		if it.Envelope.MessageID == "" || it.Err != nil {
			t.Errorf("%+v", it)
		}
	}
	box.Prefetch(ids)
	for _, id := range ids {
		if m, err := box.Content(t.Context(), id); err != nil || len(m.Text) < 1<<19 { // package message reads no more
			t.Errorf("%v, %d bytes", err, len(m.Text))
		}
	}
	if n := len(w.calls("gmail.users.messages.get")); n >= 2*len(ids) {
		t.Errorf("%d calls", n)
	}
}

// Every field that package message looks at is asked for.
func TestHeaderNames(t *testing.T) {
	w := newWorld(gmailtest.Options{InlineBody: 1 << 30}, gmail.Options{BatchSize: 1})
	box := w.open(t)
	c := start(t, box)
	w.user.Deliver(long("long", 11<<19), day0) // after it there is no room for texts
	w.user.Deliver(providertest.Mail("a", "x"), day0)
	changes(t, box, c)
	asked := map[string]bool{}
	for _, n := range regexp.MustCompile(`metadataHeaders=([^& ]+)`).FindAllStringSubmatch(w.calls("gmail.users.messages.get")[1].Path, -1) {
		asked[strings.ToLower(n[1])] = true
	}
	files, err := filepath.Glob("../../message/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	ofParts := []string{"content-transfer-encoding", "content-disposition", "content-id"}
	name := regexp.MustCompile(`^"[a-z][a-z0-9]*(-[a-z0-9]+)*"$`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), f, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		look := func(e ast.Expr) {
			if l, ok := e.(*ast.BasicLit); ok && name.MatchString(l.Value) {
				if n := strings.Trim(l.Value, `"`); !asked[n] && !slices.Contains(ofParts, n) {
					t.Errorf("%s looks at %s, which Changes does not ask for", filepath.Base(f), n)
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) > 0 && slices.Contains([]string{"get", "has", "all", "text", "addresses"}, sel.Sel.Name) {
					look(n.Args[0])
				}
			case *ast.ValueSpec:
				if strings.HasSuffix(n.Names[0].Name, "Fields") && len(n.Values) == 1 {
					if l, ok := n.Values[0].(*ast.CompositeLit); ok {
						for _, e := range l.Elts {
							look(e)
						}
					}
				}
			}
			return true
		})
	}
	if len(asked) < 50 {
		t.Errorf("%d fields are asked for", len(asked))
	}
}

// Texts beyond the limit are cut, attachments beyond it are not loaded.
func TestContentIsBounded(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{ContentLimit: 10_000})
	text := strings.Repeat("0123456789 ", 10_000)
	file := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 3_000_000)))
	long := provider.ItemID(w.user.Deliver(crlf(top+"Subject: x\n\n"+text), day0))
	heavy := provider.ItemID(w.user.Deliver(crlf(top+"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee\n--b\n"+
		"Content-Type: application/zip; name=x.zip\nContent-Disposition: attachment; filename=x.zip\nContent-Transfer-Encoding: base64\n\n"+file+"\n--b--\n"), day0))
	box := w.open(t)
	m, err := box.Content(t.Context(), long)
	if err != nil || len(m.Text) > 10_000 || !slices.ContainsFunc(m.Defects, func(d message.Defect) bool { return d.Name == "truncated" }) {
		t.Errorf("%v, %v", err, m.Defects)
	}
	w.srv.Forget()
	m, err = box.Content(t.Context(), heavy)
	if err != nil || strings.TrimSpace(m.Text) != "see" || len(m.Attachments) != 1 || m.Attachments[0].Size != 3_000_000 {
		t.Errorf("%v, %+v", err, m)
	}
	if n := len(w.calls("gmail.users.messages.attachments.get")); n > 0 {
		t.Errorf("%d attachments were loaded", n)
	}
	if b, err := readAll(box.Attachment(t.Context(), heavy, "2")); err != nil || len(b) != 3_000_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for _, part := range []string{"", "0", "3", "1.1", "x", "-1", "2.2"} {
		if _, err := box.Attachment(t.Context(), heavy, part); !errors.Is(err, provider.ErrGone) {
			t.Errorf("part %q: %v", part, err)
		}
	}
}

// Prefetch makes one request of many, and what is wrong with one message is told of that one.
func TestPrefetch(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	var ids []provider.ItemID
	for i := range 120 {
		ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0)))
	}
	w.user.Delete(string(ids[7]))
	w.srv.ShuffleBatches(true)
	box := w.open(t)
	box.Prefetch(ids)
	for i, id := range ids {
		m, err := box.Content(t.Context(), id)
		if i == 7 {
			if !errors.Is(err, provider.ErrGone) {
				t.Errorf("a deleted one: %v", err)
			}
			continue
		}
		if err != nil || m.MessageID != fmt.Sprintf("m%d@sender.example", i) {
			t.Errorf("%d is %v, %v", i, m, err)
		}
	}
	if n := len(w.calls("batch")); n != 3 {
		t.Errorf("%d requests", n)
	}
	if n := len(w.calls("gmail.users.messages.get")); n > 121 {
		t.Errorf("%d messages were got", n)
	}
}
