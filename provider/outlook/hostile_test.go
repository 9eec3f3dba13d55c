package outlook_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// between lets f answer requests in the server's place, or pass them on by returning nil.
func (w *world) between(f func(*http.Request) *http.Response) {
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if a := f(r); a != nil {
			a.Request = r
			return a, nil
		}
		return w.srv.Transport().RoundTrip(r)
	})}
}

func answers(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// linked is an empty page that goes on at link.
func linked(link string) *http.Response {
	return answers(200, `{"value":[],"@odata.nextLink":"`+link+`"}`)
}

// What was received when Unix time began, as mail of broken migrations is, doesn't bring history back to its beginning.
func TestHistoryEndsAtTheEpoch(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	for i, at := range []time.Time{day0, time.Unix(0, 0), time.Unix(0, 0), time.Unix(1, 0)} {
		w.user.Deliver(providertest.Mail(string(rune('a'+i)), "x"), at, "inbox")
	}
	box := w.open(t)
	got := map[provider.ItemID]bool{}
	var c provider.Cursor
	for n, more := 0, true; more; n++ {
		p, err := box.History(t.Context(), provider.Window{}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			got[it.ID] = true
		}
		if c, more = p.Next, p.More; n > 20 {
			t.Fatal("there is no end of history")
		}
	}
	if len(got) != 4 {
		t.Errorf("%d messages", len(got))
	}
}

// Older mail is asked for apart where a listing ended; that this begins with an empty page is no end.
func TestHistoryGoesOnAfterAnEmptyPage(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	for i := range 3 {
		w.user.Deliver(providertest.Mail(string(rune('a'+i)), "x"), day0.Add(time.Duration(i)*time.Hour), "inbox")
	}
	older := "receivedDateTime lt " + day0.Add(2*time.Hour).Format("2006-01-02T15:04:05Z")
	w.between(func(r *http.Request) *http.Response {
		q := r.URL.Query()
		switch {
		case q.Get("$filter") == "": // the first page ends early
			q.Set("$filter", "receivedDateTime ge "+day0.Add(2*time.Hour).Format("2006-01-02T15:04:05Z"))
			if strings.HasSuffix(r.URL.Path, "/me/messages") {
				r.URL.RawQuery = q.Encode()
			}
		case strings.HasSuffix(q.Get("$filter"), "lt "+day0.Add(2*time.Hour+time.Second).Format("2006-01-02T15:04:05Z")):
			q.Set("$filter", q.Get("$filter")+" and receivedDateTime ge "+day0.Add(2*time.Hour).Format("2006-01-02T15:04:05Z"))
			r.URL.RawQuery = q.Encode()
		case q.Get("$filter") == older && q.Get("on") == "":
			q.Set("on", "1")
			u := *r.URL
			u.RawQuery = q.Encode()
			return linked(u.String())
		case q.Get("on") != "":
			q.Del("on")
			r.URL.RawQuery = q.Encode()
		}
		return nil
	})
	box := w.open(t)
	got := map[provider.ItemID]bool{}
	var c provider.Cursor
	for more := true; more; {
		p, err := box.History(t.Context(), provider.Window{}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			got[it.ID] = true
		}
		c, more = p.Next, p.More
	}
	if len(got) != 3 {
		t.Errorf("%d messages", len(got))
	}
}

// The folder that mail was archived to may be thrown away: mail is not archived into the trash, nor taken for gone.
func TestArchiveFolderIsThrownAway(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	b := newBook(t, box)
	n := 0
	archive := func(name string) {
		t.Helper()
		n++
		id := w.user.Deliver(providertest.Mail(name, "x"), day0.Add(time.Duration(n)*time.Minute), "inbox")
		did, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)})
		if m, _ := w.user.Message(id); err != nil || m.Path != "Archive" {
			t.Errorf("%s: it lies in %q, %v, %v", name, m.Path, did, err)
		}
	}
	archive("first")
	first := w.user.Folder("Archive")
	w.user.DeleteFolder("Archive")
	archive("in the trash, before that is known")
	b.follow()
	archive("in the trash")
	w.user.PurgeFolder("Archive")
	archive("no more, before that is known")
	b.follow()
	archive("no more")
	if w.user.Folder("Archive") == first {
		t.Error("it is the same folder")
	}
}

// That a Message-ID is nowhere is believed at the end of the listing only: an empty page may come before.
func TestLocateGoesOnAfterAnEmptyPage(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	m, _ := w.user.Message(id)
	w.between(func(r *http.Request) *http.Response {
		q := r.URL.Query()
		if !strings.HasPrefix(q.Get("$filter"), "internetMessageId") {
			return nil
		}
		if q.Get("on") == "" {
			q.Set("on", "1")
			u := *r.URL
			u.RawQuery = q.Encode()
			return linked(u.String())
		}
		q.Del("on")
		r.URL.RawQuery = q.Encode()
		return nil
	})
	got, err := w.open(t).Locate(t.Context(), strings.Trim(m.MessageID, "<>"))
	if err != nil || len(got) != 1 || string(got[0].ID) != id {
		t.Errorf("%v, %v", got, err)
	}
}

// A draft that its owner sent by hand, from Outlook, was sent.
func TestReleaseOfASentDraft(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	st := stage(t, box)
	id, _, _ := strings.Cut(st.ID, " ")
	if !w.user.SendDraft(id) {
		t.Fatal("it is no draft")
	}
	sent, err := box.Release(t.Context(), st)
	if err != nil || string(sent.Item) != id || sent.MessageID == "" || len(w.srv.Sent()) != 1 {
		t.Errorf("%+v, %v, not sent: %v", sent, err, errors.Is(err, provider.ErrNotSent))
	}
}

// A piece of an attachment whose answer was lost is there: the upload goes on behind it.
func TestUploadGoesOnAfterALostAnswer(t *testing.T) {
	for _, last := range []bool{false, true} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		box := w.open(t)
		size := 8_000_000
		if last {
			size = 3_300_000 // one piece
		}
		w.srv.Fail("upload", 1, graphtest.AnswerLost)
		st, err := box.Stage(t.Context(), large(size), provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "files@acme.example"})
		if err != nil {
			// Of the last piece only the attachment could tell; nothing was sent, and it may be tried again.
			if !last || errors.Is(err, provider.ErrNotSent) && !errors.Is(err, provider.ErrTryLater) {
				t.Errorf("last %v: %v", last, err)
			}
			continue
		}
		if _, err := box.Release(t.Context(), st); err != nil {
			t.Error(err)
		}
		if got := len(w.srv.Sent()[0].Raw); got < size {
			t.Errorf("%d bytes went", got)
		}
	}
}

// A folder that the server can't list, or lists without end, keeps no other from being read; it is read when it can be.
func TestBrokenFolder(t *testing.T) {
	for name, answer := range map[string]func(r *http.Request) *http.Response{
		"refused": func(*http.Request) *http.Response {
			return answers(400, `{"error":{"code":"ErrorInvalidFolder","message":"no"}}`)
		},
		"denied": func(*http.Request) *http.Response {
			return answers(403, `{"error":{"code":"ErrorAccessDenied","message":"no"}}`)
		},
		"a page":     func(*http.Request) *http.Response { return answers(404, `<html>`) },
		"unreadable": func(*http.Request) *http.Response { return answers(200, `{"value":[{"id":`) },
		"in itself":  func(r *http.Request) *http.Response { return linked(r.URL.String()) },
		"no end": func(r *http.Request) *http.Response {
			q := r.URL.Query()
			q.Set("n", q.Get("n")+"1")
			if len(q.Get("n")) > 500 {
				q.Set("n", "2")
			}
			u := *r.URL
			u.RawQuery = q.Encode()
			return linked(u.String())
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, graphtest.Options{}, outlook.Options{})
			bad, broken := w.user.Folder("Bad"), true
			w.between(func(r *http.Request) *http.Response {
				if broken && strings.Contains(r.URL.Path, "/mailFolders/"+bad+"/messages") {
					return answer(r)
				}
				return nil
			})
			b := newBook(t, w.open(t))
			other := w.user.Folder("Other")
			follow := func() {
				t.Helper()
				for range 40 {
					p, err := b.box.Changes(t.Context(), b.cur)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					b.note(p)
					b.cur = p.Next
				}
			}
			follow()
			a := w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "inbox")
			c := w.user.Deliver(providertest.Mail("c", "x"), time.Now(), other)
			d := w.user.Deliver(providertest.Mail("d", "x"), time.Now(), "Bad")
			follow()
			b.lies(name+": inbox", w.user, a, true)
			b.lies(name+": another folder", w.user, c, true)
			if broken = false; name != "no end" { // it never was at an end of which could be said that it is a beginning
				follow()
				b.lies(name+": the folder", w.user, d, true)
			}
		})
	}
}

// The folders' delta that leads to itself ends with an error, and so does a listing.
func TestLinksInACircle(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	circle, n := "", 0
	w.between(func(r *http.Request) *http.Response {
		if circle != "" && strings.Contains(r.URL.Path, circle) {
			if n++; n > 200 {
				t.Error("there is no end of requests")
				return answers(400, "{}")
			}
			return linked(r.URL.String())
		}
		return nil
	})
	box := w.open(t)
	cur, err := box.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	circle = "/mailFolders/delta"
	if _, err := box.Changes(t.Context(), cur); err == nil {
		t.Error("folders: no error")
	}
	if _, err := w.open(t).Start(t.Context()); err == nil {
		t.Error("start: no error")
	}
	circle, n = "/me/messages", 0
	if p, err := box.History(t.Context(), provider.Window{}, nil); err == nil && !p.More {
		t.Errorf("history ended: %v, %v", p, err)
	}
}

// What left a folder while that was listed for the first time has left it: history may have found it there.
func TestLeftWhileListed(t *testing.T) {
	w := newWorld(t, graphtest.Options{PageSize: 1}, outlook.Options{PageSize: 1})
	f := w.user.Folder("Big")
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, f)
	told := false
	w.between(func(r *http.Request) *http.Response {
		if strings.Contains(r.URL.Path, "/mailFolders/"+f+"/messages") {
			if told {
				return linked(r.URL.String() + "&z=1")
			}
			told = true
			return answers(200, `{"value":[{"id":"`+id+`","@removed":{"reason":"changed"}}],"@odata.nextLink":"`+r.URL.String()+`&z=1"}`)
		}
		return nil
	})
	box := w.open(t)
	b := &book{t: t, box: box, in: map[provider.ItemID]map[string]bool{}}
	w.srv.Fail("", 0, graphtest.Fault{})
	told = true
	var err error
	if b.cur, err = box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.in[provider.ItemID(id)] = map[string]bool{f: true} // by history
	told = false
	for range 20 {
		p, err := box.Changes(t.Context(), b.cur)
		if err != nil {
			t.Fatal(err)
		}
		b.note(p)
		b.cur = p.Next
	}
	if len(b.in[provider.ItemID(id)]) > 0 {
		t.Errorf("it is taken to lie in %v", b.in)
	}
}

// Attachments around 3 MB go one way or the other: by a request below, by an upload session from there on (facts 2.6).
func TestAttachmentsOfThreeMegabytes(t *testing.T) {
	for _, size := range []int{2_900_000, 2_900_001, 3_000_000, 3<<20 - 500, 3 << 20, 3<<20 + 1} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		box := w.open(t)
		st, err := box.Stage(t.Context(), large(size), provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "files@acme.example"})
		if err != nil {
			t.Errorf("%d: %v", size, err)
			continue
		}
		if _, err := box.Release(t.Context(), st); err != nil {
			t.Errorf("%d: %v", size, err)
		}
	}
}

// An answer that leads elsewhere is no success: nothing was sent and nothing changed.
func TestRedirects(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	w.between(func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/send") || r.Method == http.MethodPatch {
			a := answers(302, "")
			a.Header.Set("Location", "https://elsewhere.example/")
			return a
		}
		return nil
	})
	box := w.open(t)
	st := stage(t, box)
	if sent, err := box.Release(t.Context(), st); err == nil {
		t.Errorf("it was sent: %v", sent)
	}
	if out, _, err := box.Lookup(t.Context(), st); err != nil || out != provider.OutcomeNotSent {
		t.Errorf("%v, %v", out, err)
	}
	if did, err := box.Label(t.Context(), provider.Target{Item: provider.ItemID(id)}, "CRM"); err == nil {
		t.Errorf("it has a label: %v", did)
	}
}

// A refusal that asks for more patience than anybody has is asked again within a day.
func TestLongRetryAfter(t *testing.T) {
	for _, after := range []string{"99999999", "99999999999999999999", "Fri, 01 Jan 2100 00:00:00 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, graphtest.Options{}, outlook.Options{})
			refuse := false
			w.between(func(*http.Request) *http.Response {
				if !refuse {
					return nil
				}
				a := answers(429, "")
				a.Header.Set("Retry-After", after)
				return a
			})
			box := w.open(t)
			refuse = true
			_, err := box.Start(t.Context())
			var limit *provider.RateLimitError
			if !errors.As(err, &limit) || limit.RetryAfter > 24*time.Hour {
				t.Errorf("%s: %v", after, err)
			}
			refuse = false
			time.Sleep(25 * time.Hour)
			if _, err := box.Start(t.Context()); err != nil {
				t.Errorf("%s: %v", after, err)
			}
		})
	}
}

// A single message that may not be read, as protected ones may not, asks nobody to connect the mailbox again; a mailbox that may not does.
func TestDeniedMessage(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	all := false
	w.between(func(r *http.Request) *http.Response {
		if all || strings.Contains(r.URL.Path, "/messages/"+id) {
			return answers(403, `{"error":{"code":"ErrorAccessDenied","message":"no"}}`)
		}
		return nil
	})
	box := w.open(t)
	var action *provider.NeedsAction
	if _, err := box.Content(t.Context(), provider.ItemID(id)); err == nil || errors.As(err, &action) || errors.Is(err, provider.ErrGone) {
		t.Errorf("one message: %v", err)
	}
	if body, err := box.Attachment(t.Context(), provider.ItemID(id), "x"); err == nil || errors.As(err, &action) {
		t.Errorf("its attachment: %v, %v", body, err)
	}
	all = true
	if _, err := box.Content(t.Context(), provider.ItemID(id)); !errors.As(err, &action) {
		t.Errorf("all: %v", err)
	}
}

// A draft that its owner threw away after a sending of which nobody knows the outcome is not sent after all.
func TestDraftThrownAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{SendSettle: time.Second})
		box := w.open(t)
		st := stage(t, box)
		w.srv.Fail("messages.send", 1, graphtest.Cut)
		if _, err := box.Release(t.Context(), st); err == nil {
			t.Fatal("the cut was not seen")
		}
		id, _, _ := strings.Cut(st.ID, " ")
		w.user.Trash(id)
		if out, _, err := box.Lookup(t.Context(), st); err != nil || out != provider.OutcomeUnknown {
			t.Errorf("%v, %v", out, err)
		}
		if n := len(w.srv.Sent()); n != 0 {
			t.Errorf("%d mails were sent", n)
		}
	})
}
