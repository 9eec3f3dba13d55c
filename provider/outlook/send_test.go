package outlook_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// A reply keeps what makes it one, has the draft's id in Sent Items, is listed as sent by Changes, by the Message-ID and the date that we gave.
func TestSentCopy(t *testing.T) {
	for _, other := range []bool{false, true} {
		w := newWorld(t, graphtest.Options{NewMessageIDs: other, RestampDates: other}, outlook.Options{})
		box := w.open(t)
		b := newBook(t, box)
		st := stage(t, box)
		b.follow()
		if len(b.in) > 0 {
			t.Error("the draft is listed")
		}
		sent, err := box.Release(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		raw := w.srv.Sent()[0].Raw
		e := message.ParseHeader(raw)
		if e.MessageID != sent.MessageID || other == (sent.MessageID == "offer-1@acme.example") || len(e.References) != 2 || len(e.InReplyTo) != 1 || bytes.Contains(raw, []byte("Bcc")) {
			t.Errorf("%+v; it went as\n%s", sent, raw)
		}
		b.follow()
		var got []provider.Item
		for _, p := range b.last {
			got = append(got, p.Items...)
		}
		if len(got) != 1 || got[0].ID != sent.Item || !got[0].Envelope.Sent || got[0].Envelope.MessageID != sent.MessageID || got[0].Envelope.Has != message.HasHeader ||
			len(got[0].Envelope.References) != 2 || !got[0].Envelope.Date.Equal(day0) {
			t.Errorf("%+v", got)
		}
		msg, err := box.Content(t.Context(), sent.Item)
		if err != nil || !msg.Sent || !strings.Contains(msg.Text, "Our offer.") || !msg.Date.Equal(day0) || len(msg.To) != 1 || len(msg.References) != 2 {
			t.Errorf("%+v, %v", msg, err)
		}
	}
}

func large(sizes ...int) []byte {
	var b bytes.Buffer
	b.WriteString("From: Me <me@acme.example>\r\nTo: ada@sender.example\r\nSubject: files\r\nMessage-ID: <files@acme.example>\r\nReferences: <root@x.example>\r\n" +
		"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n")
	for i, n := range sizes {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=f%d.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n", i)
		data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte('a' + i)}, n))
		for len(data) > 76 {
			b.WriteString(data[:76] + "\r\n")
			data = data[76:]
		}
		b.WriteString(data + "\r\n")
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

// What is too long for one request goes in several, up to 150 MB an attachment (facts 2.6).
func TestLargeMessages(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	o := provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example", "hidden@else.example"}, MessageID: "files@acme.example"}
	w.srv.FailEvery(5, graphtest.ServerError, "messages.create", "messages.send", "attachments.create", "attachments.createUploadSession")
	sizes := []int{1000, 2_500_000, 12_000_000}
	st, err := box.Stage(t.Context(), large(sizes...), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Release(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	w.srv.Calm()
	sent := w.srv.Sent()[0]
	m := message.Parse(sent.Raw)
	if len(sent.Recipients) != 2 || len(m.Attachments) != 3 || strings.TrimSpace(m.Text) != "See the files." || len(m.References) != 1 || bytes.Contains(sent.Raw, []byte("hidden@")) {
		t.Errorf("%d attachments, to %v", len(m.Attachments), sent.Recipients)
	}
	want := map[int64]bool{}
	for _, n := range sizes {
		want[int64(n)] = true
	}
	for _, a := range m.Attachments {
		delete(want, a.Size)
	}
	if len(want) > 0 {
		t.Errorf("attachments of %v bytes are missing", want)
	}
	for _, c := range w.srv.Calls() {
		if c.Method == "upload" && c.Status >= 400 && c.Status != 500 {
			t.Errorf("%v", c)
		}
	}
	// Where an attachment can't be put on it, the draft is thrown away.
	for _, method := range []string{"attachments.createUploadSession", "upload", "attachments.create"} {
		w.srv.Fail(method, 4, graphtest.Fault{Status: 413, Code: "ErrorMessageSizeExceeded"})
		if _, err := box.Stage(t.Context(), large(sizes[1:]...), o); !errors.Is(err, provider.ErrNotSent) || errors.Is(err, provider.ErrTryLater) {
			t.Errorf("%s: %v", method, err)
		}
		w.srv.Calm()
		left := 0
		for _, m := range w.user.Messages() {
			if m.Draft && m.Path == "Drafts" {
				left++
			}
		}
		if left > 0 {
			t.Errorf("%s: %d drafts are left", method, left)
		}
	}
	if _, err := box.Stage(t.Context(), []byte("From: me@acme.example\r\nTo: ada@sender.example\r\n\r\n"+strings.Repeat("long \r\n", 1<<20)), o); !errors.Is(err, provider.ErrNotSent) {
		t.Errorf("a long text: %v", err)
	}
}

// No more is uploaded than may be: the rest is for later, and nothing of it was sent.
func TestUploadsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{Requests: 10_000, UploadBytes: 20 << 20}, outlook.Options{UploadBytes: 20 << 20})
		box := w.open(t)
		o := provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "files@acme.example"}
		limited := 0
		for sent := 0; sent < 4; {
			st, err := box.Stage(t.Context(), large(8<<20), o)
			var limit *provider.RateLimitError
			if errors.As(err, &limit) && errors.Is(err, provider.ErrTryLater) {
				limited++
				time.Sleep(limit.RetryAfter)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := box.Release(t.Context(), st); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		if limited != 1 {
			t.Errorf("limited %d times", limited)
		}
		if n := w.srv.Throttled(); n > 0 {
			t.Errorf("Microsoft refused %d requests", n)
		}
	})
}

func TestAliases(t *testing.T) {
	raw := func(from string) []byte {
		return []byte("From: " + from + "\r\nTo: ada@sender.example\r\nSubject: x\r\nMessage-ID: <alias@acme.example>\r\n\r\nx\r\n")
	}
	for allowed, want := range map[bool]string{true: "", false: "rewritten"} {
		w := newWorld(t, graphtest.Options{SendFromAliases: allowed}, outlook.Options{})
		w.user.AddAlias("sales@acme.example")
		box := w.open(t)
		p, err := box.Profile(t.Context())
		if err != nil || len(p.Aliases) != 1 || p.Aliases[0] != "sales@acme.example" {
			t.Errorf("%+v, %v", p, err)
		}
		response := ""
		try := func(from string) error {
			o := provider.SendOptions{From: from, Recipients: []string{"ada@sender.example"}, MessageID: "alias@acme.example"}
			st, err := box.Stage(t.Context(), raw(from), o)
			if err == nil {
				var sent provider.Sent
				sent, err = box.Release(t.Context(), st)
				response = sent.Response
			}
			return err
		}
		switch err := try("Sales@acme.example"); {
		case want == "" && (err != nil || len(w.srv.Sent()) != 1):
			t.Errorf("as an alias: %v", err)
		case want != "" && (err != nil || !strings.HasSuffix(response, "sent as "+owner)): // graphtest rewrites it when it sends
			t.Errorf("as an alias that is rewritten: %q, %v", response, err)
		}
		if err := try("boss@acme.example"); !errors.Is(err, provider.ErrNotSent) {
			t.Errorf("as somebody else: %v", err)
		}
	}
}

// Graph shows what was sent after a while, as a draft or not at all until then: a lookup says not too early that it was not sent.
func TestSentSlowly(t *testing.T) {
	for name, c := range map[string]struct {
		o    graphtest.Options
		lose *graphtest.Fault
		want provider.Outcome
	}{
		"shown as a draft": {graphtest.Options{SendDelay: 10 * time.Second}, nil, provider.OutcomeSent},
		"hidden":           {graphtest.Options{SendDelay: 10 * time.Second, SendHides: true}, nil, provider.OutcomeSent},
		"answer lost":      {graphtest.Options{SendDelay: 10 * time.Second}, &graphtest.AnswerLost, provider.OutcomeSent},
		"very slow":        {graphtest.Options{SendDelay: time.Hour, SendHides: true}, nil, provider.OutcomeUnknown},
		"cut before":       {graphtest.Options{}, &graphtest.Cut, provider.OutcomeNotSent},
		"with another id":  {graphtest.Options{SendDelay: 5 * time.Second, NewMessageIDs: true}, &graphtest.AnswerLost, provider.OutcomeSent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.o, outlook.Options{SendSettle: 20 * time.Second})
				box := w.open(t)
				st := stage(t, box)
				if o, _, err := box.Lookup(t.Context(), st); o != provider.OutcomeNotSent || err != nil {
					t.Errorf("before it is sent: %s, %v", o, err)
				}
				if c.lose != nil {
					w.srv.Fail("messages.send", 1, *c.lose)
				}
				if sent, err := box.Release(t.Context(), st); (err == nil) == (c.lose != nil) || err == nil && sent.MessageID == "" {
					t.Errorf("%+v, %v", sent, err)
				}
				o, sent, err := box.Lookup(t.Context(), st)
				if o != c.want || err != nil || o == provider.OutcomeSent && sent.MessageID != w.srv.Sent()[0].MessageID {
					t.Errorf("%s, %+v, %v", o, sent, err)
				}
			})
		})
	}
}

// Each refusal of a sending, and whether it may go another time.
func TestSendErrors(t *testing.T) {
	for name, c := range map[string]struct {
		fault          graphtest.Fault
		notSent, later bool
	}{
		"denied":    {graphtest.Fault{Status: 403, Code: "ErrorSendAsDenied"}, true, false},
		"a limit":   {graphtest.Throttled, true, true},
		"of a day":  {graphtest.Fault{Status: 400, Code: "ErrorExceededMessageLimit"}, true, true},
		"recipient": {graphtest.Fault{Status: 400, Code: "ErrorInvalidRecipients"}, true, false},
		"500":       {graphtest.ServerError, false, false},
		"gateway":   {graphtest.BadGateway, false, false},
		"cut":       {graphtest.Cut, false, false},
		"gone":      {graphtest.Fault{Status: 404, Code: "ErrorItemNotFound"}, false, false},
	} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		box := w.open(t)
		st := stage(t, box)
		w.srv.Fail("messages.send", 1, c.fault)
		_, err := box.Release(t.Context(), st)
		if err == nil || errors.Is(err, provider.ErrNotSent) != c.notSent || errors.Is(err, provider.ErrTryLater) != c.later {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was sent, and is shown as a draft for longer than anybody watches it, is refused when it is sent again: that is no message that failed.
func TestSentVerySlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{SendDelay: 5 * time.Minute}, outlook.Options{SendSettle: 20 * time.Second})
		box := w.open(t)
		st := stage(t, box)
		w.srv.Fail("messages.send", 1, graphtest.AnswerLost)
		if _, err := box.Release(t.Context(), st); err == nil || errors.Is(err, provider.ErrNotSent) {
			t.Errorf("%v", err)
		}
		if o, _, err := box.Lookup(t.Context(), st); o != provider.OutcomeNotSent || err != nil {
			t.Fatalf("%s, %v", o, err) // if it knew there were nothing to test
		}
		time.Sleep(time.Minute)
		box = w.open(t)
		if sent, err := box.Release(t.Context(), st); err == nil || errors.Is(err, provider.ErrNotSent) {
			t.Errorf("%+v, %v", sent, err)
		}
		time.Sleep(5 * time.Minute)
		if sent, err := box.Release(t.Context(), st); err != nil || sent.Item == "" || len(w.srv.Sent()) != 1 {
			t.Errorf("%+v, %v, sent %d times", sent, err, len(w.srv.Sent()))
		}
		// What was refused for sure is no such message, however often.
		st = stage(t, box)
		for range 2 {
			w.srv.Fail("messages.send", 1, graphtest.Fault{Status: 400, Code: "ErrorInvalidRecipients"})
			if _, err := box.Release(t.Context(), st); !errors.Is(err, provider.ErrNotSent) {
				t.Errorf("%v", err)
			}
		}
	})
}

// Blind recipients get their copy, also from an Exchange that does not take them from the header.
func TestBlindRecipients(t *testing.T) {
	for name, takes := range map[string]bool{"taken": true, "not taken": false} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		w.between(func(r *http.Request) *http.Response {
			if takes || r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/me/messages") {
				return nil
			}
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			raw, err := base64.StdEncoding.DecodeString(string(b))
			if err != nil {
				t.Error(err)
			}
			enc := base64.StdEncoding.EncodeToString(bytes.Replace(raw, []byte("Bcc: "), []byte("X-Was: "), 1))
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(enc)), int64(len(enc))
			return nil
		})
		box := w.open(t)
		raw := []byte("From: Me <me@acme.example>\r\nTo: ada@sender.example\r\nSubject: offer\r\nMessage-ID: <blind@acme.example>\r\n\r\nOur offer.\r\n")
		st, err := box.Stage(t.Context(), raw, provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example", "bo@sender.example", "cy@sender.example"}, MessageID: "blind@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := box.Release(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		got := w.srv.Sent()[0].Recipients
		slices.Sort(got)
		if !slices.Equal(got, []string{"ada@sender.example", "bo@sender.example", "cy@sender.example"}) {
			t.Errorf("%s: it went to %v", name, got)
		}
		if n := len(w.calls("messages.update")); takes != (n == 0) {
			t.Errorf("%s: %d updates", name, n)
		}
	}
}
