package outlook_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// What a listing decides by is what Content says, whatever the mail.
func TestListingsAgreeWithContent(t *testing.T) {
	mails := map[string]string{
		"plain":      string(providertest.Mail("plain", "about")),
		"encoded":    "From: =?utf-8?q?J=C3=B6rg?= <j@x.example>\r\nTo: =?iso-8859-1?q?R=E9mi?= <r@y.example>, b@y.example\r\nSubject: =?utf-8?b?w4TDtsO8?=\r\nDate: Mon, 02 Mar 2026 09:00:00 +0100\r\nMessage-ID: <e@x>\r\n\r\nx\r\n",
		"auto reply": "From: a@x.example\r\nTo: b@y.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <ar@x>\r\n\r\nI am away.\r\n",
		"newsletter": "From: n@x.example\r\nTo: b@y.example\r\nSubject: News\r\nList-Unsubscribe: <https://x.example/u>\r\nList-Id: <l.x.example>\r\nPrecedence: bulk\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <n@x>\r\n\r\nx\r\n",
		"no id":      "From: a@x.example\r\nTo: b@y.example\r\nSubject: s\r\n\r\nx\r\n",
		"no date":    "From: a@x.example\r\nMessage-ID: <nd@x>\r\n\r\nx\r\n",
		"reply to":   "From: a@x.example\r\nReply-To: c@z.example\r\nTo: b@y.example\r\nSubject: s\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <rt@x>\r\n\r\nx\r\n",
		"verdict":    "Authentication-Results: spf=pass smtp.mailfrom=x.example; dkim=pass header.d=x.example; dmarc=pass action=none header.from=x.example;compauth=pass reason=100\r\nFrom: a@x.example\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <v@x>\r\n\r\nx\r\n",
	}
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	b := newBook(t, box)
	names := map[provider.ItemID]string{}
	for name, raw := range mails {
		for _, f := range []string{"inbox", "sentitems"} {
			names[provider.ItemID(w.user.Deliver([]byte(raw), day0, f))] = name + " in " + f
		}
	}
	b.follow()
	seen := map[string]bool{}
	check := func(it provider.Item) {
		name := names[it.ID]
		seen[name] = true
		msg, err := box.Content(t.Context(), it.ID)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := msg.Envelope
		e.Automated = msg.HeaderAutomated
		if it.Envelope.Has != message.HasHeader {
			if it.Envelope.From != nil && fmt.Sprint(it.Envelope.From) != fmt.Sprint(e.From) {
				t.Errorf("%s: listed from %v, read from %v", name, it.Envelope.From, e.From)
			}
			return
		}
		if l, c := fmt.Sprintf("%+v", it.Envelope), fmt.Sprintf("%+v", e); l != c {
			t.Errorf("%s is listed as\n%s\nand read as\n%s", name, l, c)
		}
	}
	for _, p := range b.last {
		for _, it := range p.Items {
			check(it)
		}
	}
	p, err := box.History(t.Context(), provider.Window{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range p.Items {
		check(it)
	}
	if len(seen) != 2*len(mails) {
		t.Errorf("%d of %d were listed", len(seen), 2*len(mails))
	}
}

// The kind of mail is told by its header, its report type too.
func TestAutomated(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	for want, raw := range map[message.Class]string{
		message.Bounce: "From: postmaster@x.example\r\nTo: me@acme.example\r\nSubject: Undeliverable: offer\r\nMessage-ID: <b@x>\r\nReturn-Path: <>\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n" +
			"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\nFinal-Recipient: rfc822; a@x.example\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--\r\n",
		message.AutoReply: "From: a@x.example\r\nTo: me@acme.example\r\nSubject: away\r\nMessage-ID: <a@x>\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n",
		"":                string(providertest.Mail("p", "hello")),
	} {
		msg, err := box.Content(t.Context(), provider.ItemID(w.user.Deliver([]byte(raw), day0, "inbox")))
		if err != nil || msg.Automated.Class != want {
			t.Errorf("%q: %+v, %v", want, msg.Automated, err)
		}
	}
}

// Contents that were announced are read several at a time, each once; what went meanwhile is told when it is asked for.
func TestPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{Latency: 100 * time.Millisecond}, outlook.Options{})
		box := w.open(t)
		var ids []provider.ItemID
		for i := range 50 {
			ids = append(ids, provider.ItemID(w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0, "inbox")))
		}
		w.user.Delete(string(ids[7]))
		if _, err := box.Content(t.Context(), ids[0]); err != nil { // folders are known now
			t.Fatal(err)
		}
		begun := time.Now()
		box.Prefetch(ids)
		for i, id := range ids {
			m, err := box.Content(t.Context(), id)
			if i == 7 {
				if !errors.Is(err, provider.ErrGone) {
					t.Errorf("%v", err)
				}
				continue
			}
			if err != nil || m.MessageID != fmt.Sprintf("m%d@sender.example", i) {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if d := time.Since(begun); d > 2500*time.Millisecond {
			t.Errorf("50 contents took %s", d)
		}
		if n := len(w.calls("messages.get")); n > 53 {
			t.Errorf("%d requests for 50 contents", n)
		}
		if n := w.user.AtOnce(); n > 3 {
			t.Errorf("%d requests at once", n)
		}
	})
}

// Of contents that are read at the same time each knows what its folder is, also where another was the first to ask for the folders and is not done.
func TestSentAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		in, out := w.user.Deliver(providertest.Mail("in", "x"), day0, "inbox"), w.user.Deliver(providertest.Mail("out", "x"), day0, "sentitems")
		reached := make(chan struct{})
		reach := sync.OnceFunc(func() { close(reached) })
		w.between(func(r *http.Request) *http.Response {
			switch {
			case strings.HasSuffix(r.URL.Path, "/mailFolders/sentitems"):
				reach()
				time.Sleep(time.Minute)
			case strings.HasSuffix(r.URL.Path, "/messages/"+out):
				<-reached
			}
			return nil
		})
		box := w.open(t)
		box.Prefetch([]provider.ItemID{provider.ItemID(in), provider.ItemID(out)})
		for _, id := range []string{in, out} {
			if m, err := box.Content(t.Context(), provider.ItemID(id)); err != nil || m.Sent != (id == out) {
				t.Errorf("%+v, %v", m, err)
			}
		}
	})
}

// Long texts are cut, and bytes of attachments don't come with a message.
func TestBounds(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{ContentLimit: 1000})
	box := w.open(t)
	id := provider.ItemID(w.user.Deliver([]byte("From: a@x.example\r\nMessage-ID: <l@x>\r\n\r\n"+strings.Repeat("long \r\n", 1000)), day0, "inbox"))
	m, err := box.Content(t.Context(), id)
	if err != nil || len(m.Text) > 1000 || len(m.Defects) == 0 {
		t.Errorf("%d bytes of text, %v, %v", len(m.Text), m.Defects, err)
	}
	id = provider.ItemID(w.user.Deliver(large(3_000_000), day0, "inbox"))
	if m, err = box.Content(t.Context(), id); err != nil || len(m.Attachments) != 1 || m.Attachments[0].Name != "f0.pdf" || m.Attachments[0].Type != "application/pdf" {
		t.Fatalf("%+v, %v", m, err)
	}
	r, err := box.Attachment(t.Context(), id, m.Attachments[0].Part)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) != 3_000_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	r.Close() //nolint:errcheck // a test
	if _, err := box.Attachment(t.Context(), id, "2"); !errors.Is(err, provider.ErrGone) {
		t.Errorf("a part that isn't there: %v", err)
	}
	// A server without the bytes as they are has them in JSON.
	w = newWorld(t, graphtest.Options{Missing: []string{"attachments.bytes"}}, outlook.Options{})
	box = w.open(t)
	id = provider.ItemID(w.user.Deliver(large(1000), day0, "inbox"))
	if m, err = box.Content(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if r, err = box.Attachment(t.Context(), id, m.Attachments[0].Part); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) != 1000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A picture in the text is found by its Content-ID, also where it is all that is attached and hasAttachments says that nothing is, and on servers that
// know less than Graph.
func TestPicturesInTheText(t *testing.T) {
	const raw = "From: ada@customer.example\r\nTo: u@own.example\r\nSubject: Offer\r\nMessage-ID: <picture@x>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>See <img src=\"cid:logo@x\"></p>\r\n" +
		"--b\r\nContent-Type: image/png\r\nContent-Disposition: inline; filename=logo.png\r\nContent-ID: <logo@x>\r\n\r\npng\r\n--b--\r\n"
	refused := graphtest.Fault{Status: 400, Code: "RequestBroker--ParseUri"}
	for name, c := range map[string]struct {
		get, list int
		id        string
	}{"Graph": {0, 0, "logo@x"}, "no expanding": {1, 0, "logo@x"}, "no types": {1, 1, ""}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, graphtest.Options{}, outlook.Options{})
			id := provider.ItemID(w.user.Deliver([]byte(raw), day0, "inbox"))
			box := w.open(t)
			w.srv.Fail("messages.get", c.get, refused)
			w.srv.Fail("attachments.list", c.list, refused)
			m, err := box.Content(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if a := m.Attachments; len(a) != 1 || a[0].ContentID != c.id || !a[0].Inline || a[0].Name != "logo.png" {
				t.Errorf("attachments %+v", a)
			}
		})
	}
}
