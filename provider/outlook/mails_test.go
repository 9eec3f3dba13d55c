package outlook_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// Whatever a sender writes, a mail is listed and read, what is told of it can be stored, and listing and content decide alike.
func TestHostileMails(t *testing.T) {
	head := "From: a@x.example\r\nTo: b@y.example\r\nDate: Mon, 02 Mar 2026 09:00:00 +0000\r\n"
	id := func(s string) string { return "Message-ID: <" + s + "@x.example>\r\n" }
	mails := map[string]string{
		"nul":               "Subject: a\x00b\r\nX-\x00: y\r\n" + head + id("nul") + "\r\nx\x00y\r\n",
		"ten thousand":      "From: a@x.example\r\nTo: " + strings.TrimSuffix(strings.Repeat("somebody@y.example,\r\n ", 10_000), ",\r\n ") + "\r\n" + id("many") + "\r\nx\r\n",
		"long subject":      "Subject: " + strings.Repeat("subject ", 200_000) + "\r\n" + head + id("long") + "\r\nx\r\n",
		"long line":         head + id("line") + "\r\n" + strings.Repeat("x", 2<<20) + "\r\n",
		"charset":           head + id("charset") + "Content-Type: text/plain; charset=no-such-thing\r\n\r\n\xff\xfe\x80\r\n",
		"bytes":             "From: \xff\xfe <a@x.example>\r\nSubject: \xc3\x28\r\n" + id("bytes") + "\r\n\xff\r\n",
		"no header":         "\r\nx\r\n",
		"nothing":           "",
		"no colon":          "this is no header\r\n" + head + id("colon") + "\r\nx\r\n",
		"our field":         "X-Emailint-Date: Fri, 01 Jan 2021 00:00:00 +0000\r\nX-Emailint-ID: 1\r\n" + head + id("ours") + "\r\nx\r\n",
		"two authors":       "From: a@x.example\r\nFrom: boss@acme.example\r\n" + head + id("two") + "\r\nx\r\n",
		"an own address":    "From: me@acme.example\r\nTo: b@y.example\r\n" + id("own") + "\r\nx\r\n",
		"two ids":           head + id("first") + id("second") + "\r\nx\r\n",
		"odd id":            head + "Message-ID: no brackets at all\r\n\r\nx\r\n",
		"quoted id":         head + "Message-ID: <it's \"here\"@x.example>\r\n\r\nx\r\n",
		"thousand refs":     head + id("refs") + "References: " + strings.Repeat("<r@x.example>\r\n ", 1000) + "<last@x.example>\r\n\r\nx\r\n",
		"message in itself": head + id("nested") + nested(60),
		"bare returns":      strings.ReplaceAll(head, "\r\n", "\r") + id("cr") + "\r\nx\r\n",
		"spoofed name":      "From: \"boss@acme.example\" <a@x.example>\r\n" + id("spoof") + "\r\nx\r\n",
		"verdict of theirs": "Authentication-Results: mx.x.example; dmarc=pass header.from=x.example\r\n" + head + id("verdict") + "\r\nx\r\n",
	}
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	b := newBook(t, box)
	names := map[provider.ItemID]string{}
	for name, raw := range mails {
		names[provider.ItemID(w.user.Deliver([]byte(raw), day0, "inbox"))] = name
	}
	b.follow()
	seen := map[string]bool{}
	check := func(it provider.Item) {
		name := names[it.ID]
		seen[name] = true
		if it.Err != nil {
			t.Errorf("%s: %v", name, it.Err)
		}
		msg, err := box.Content(t.Context(), it.ID)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		storable(t, name+", listed", it.Envelope)
		storable(t, name+", read", msg.Envelope)
		for _, s := range []string{msg.Text, msg.HTML} {
			if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
				t.Errorf("%s: its text can't be stored", name)
			}
		}
		e := msg.Envelope
		e.Automated = msg.HeaderAutomated
		if it.Envelope.Has == message.HasHeader {
			if l, c := fmt.Sprintf("%+v", it.Envelope), fmt.Sprintf("%+v", e); l != c {
				t.Errorf("%s is listed as\n%.2000s\nand read as\n%.2000s", name, l, c)
			}
		}
		if msg.Sent || msg.Auth == message.AuthPass {
			t.Errorf("%s: sent %v, verdict %v", name, msg.Sent, msg.Auth)
		}
	}
	for _, p := range b.last {
		for _, it := range p.Items {
			check(it)
		}
	}
	if len(seen) != len(mails) {
		t.Errorf("%d of %d mails were told", len(seen), len(mails))
	}
	clear(seen)
	var c provider.Cursor
	for more := true; more; {
		p, err := box.History(t.Context(), provider.Window{}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			seen[names[it.ID]] = true
		}
		c, more = p.Next, p.More
	}
	if len(seen) != len(mails) {
		t.Errorf("%d of %d mails were listed", len(seen), len(mails))
	}
	// What has an id is found by it, unless the header has it in another form.
	for _, p := range b.last {
		for _, it := range p.Items {
			if name := names[it.ID]; it.Envelope.MessageID == "" || name == "odd id" || name == "quoted id" {
				continue
			}
			found, err := box.Locate(t.Context(), it.Envelope.MessageID)
			if err != nil || len(found) != 1 || found[0].ID != it.ID {
				t.Errorf("%s: located %d by %q, %v", names[it.ID], len(found), it.Envelope.MessageID, err)
			}
		}
	}
}

func nested(n int) string {
	if n == 0 {
		return "\r\nthe end\r\n"
	}
	b := fmt.Sprint("b", n)
	return "Content-Type: multipart/mixed; boundary=" + b + "\r\n\r\n--" + b + "\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@x.example\r\n" + nested(n-1) + "\r\n--" + b + "--\r\n"
}

func storable(t *testing.T, name string, e message.Envelope) {
	t.Helper()
	s := fmt.Sprintf("%+v", e)
	if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n") {
		t.Errorf("%s: it can't be stored", name)
	}
	if len(s) > 2<<20 {
		t.Errorf("%s: %d bytes of envelope", name, len(s))
	}
}

// What Graph calls a draft though it came, as migrations leave it, is mail; what its owner writes or sends is none.
func TestDraftsThatAreMail(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	w.rewrite(func(_ *http.Request, body []byte) []byte { // all of them
		return bytes.ReplaceAll(body, []byte(`"isDraft":false`), []byte(`"isDraft":true`))
	})
	now := time.Now().UTC().Truncate(time.Second)
	put := func(from, folder string, at time.Time) string {
		return w.user.Deliver(fmt.Appendf(nil, "From: %s\r\nTo: x@customer.example\r\nSubject: s\r\nMessage-ID: <%s-%s-%d@x>\r\n\r\nx\r\n", from, from, folder, at.Unix()), at, folder)
	}
	deliver := func(at time.Time) map[string]bool {
		return map[string]bool{
			put("ada@customer.example", "inbox", at):                     true,
			put("ada@customer.example", "sentitems", at):                 true,
			put(owner, "sentitems", at.Add(-24*time.Hour)):               true,
			put(owner, "sentitems", at):                                  false,
			put(owner, "inbox", at.Add(-24*time.Hour)):                   false,
			put("ada@customer.example", "drafts", at.Add(-24*time.Hour)): false,
		}
	}
	check := func(what string, items []provider.Item, want map[string]bool) {
		t.Helper()
		got := map[string]bool{}
		for _, it := range items {
			got[string(it.ID)] = true
		}
		for id, mail := range want {
			m, _ := w.user.Message(id)
			if got[id] != mail {
				t.Errorf("%s: listed %v of what lies in %s from %q", what, got[id], m.Path, m.Raw[:30])
			}
		}
	}
	before := deliver(now)
	box := w.open(t)
	b := newBook(t, box)
	var items []provider.Item
	var cur provider.Cursor
	for more := true; more; {
		p, err := box.History(t.Context(), provider.Window{}, cur)
		if err != nil {
			t.Fatal(err)
		}
		items, cur, more = append(items, p.Items...), p.Next, p.More
	}
	check("history", items, before)
	items = nil
	for it, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, it)
	}
	check("inventory", items, before)
	b.follow()
	after := deliver(now.Add(time.Second))
	b.follow()
	items = nil
	for _, p := range b.last {
		items = append(items, p.Items...)
	}
	check("changes", items, after)
}
