package outlook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// rewrite lets f change the body of an answer on its way.
func (w *world) rewrite(f func(r *http.Request, body []byte) []byte) {
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := w.srv.Transport().RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close() //nolint:errcheck // it was read
		if err != nil {
			return nil, err
		}
		body = f(r, body)
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return resp, nil
	})}
}

func page() *http.Response {
	a := answers(200, "<html><body>Please sign in to the network.</body></html>")
	a.Header.Set("Content-Type", "text/html; charset=utf-8")
	return a
}

// An answer with success that is none, of whatever kind, is an error: it is no end of history, no deletion, and nothing that was done.
func TestAnswersThatAreNone(t *testing.T) {
	for name, none := range map[string]func() *http.Response{
		"{}":   func() *http.Response { return answers(200, `{}`) },
		"null": func() *http.Response { return answers(200, `{"value":null}`) },
		"an error": func() *http.Response {
			return answers(200, `{"error":{"code":"ErrorInternalServerError","message":"no"}}`)
		},
		"nothing":        func() *http.Response { return answers(200, "") },
		"a page":         page,
		"half of it":     func() *http.Response { return answers(200, `{"value":[`) },
		"another object": func() *http.Response { return answers(200, `{"id":"x","value":"y"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, graphtest.Options{}, outlook.Options{})
				lie := false
				w.between(func(r *http.Request) *http.Response {
					if lie && r.Method == http.MethodGet {
						return none()
					}
					return nil
				})
				id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
				folder := w.user.Folder("inbox")
				box := w.open(t)
				b := newBook(t, box)
				b.follow()
				lie = true
				if p, err := box.History(t.Context(), provider.Window{}, nil); err == nil {
					t.Errorf("history: %+v", p)
				}
				if got, err := box.Locate(t.Context(), "a@sender.example"); err == nil {
					t.Errorf("located %v", got)
				}
				for scope, s := range map[string]provider.Scope{"all": {}, "a folder": {Folder: folder}} {
					failed := false
					for _, err := range box.Inventory(t.Context(), s) {
						failed = failed || err != nil
					}
					if !failed {
						t.Errorf("the inventory of %s ended well", scope)
					}
				}
				if _, err := box.Content(t.Context(), provider.ItemID(id)); err == nil || errors.Is(err, provider.ErrGone) {
					t.Errorf("content: %v", err)
				}
				if p, err := box.Changes(t.Context(), b.cur); err == nil {
					t.Errorf("changes: %+v", p)
				}
				lie = false
				b.follow()
				if got := b.restarts(); len(got) > 0 {
					t.Errorf("restarted %v", got)
				}
			})
		})
	}
}

// A page of a proxy's in answer to a call that changes something proves nothing.
func TestPageInsteadOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		lie := false
		w.between(func(r *http.Request) *http.Response {
			if lie && r.Method != http.MethodGet {
				return page()
			}
			return nil
		})
		box := w.open(t)
		id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
		w.user.Archive(w.user.Deliver(providertest.Mail("b", "x"), day0, "inbox"))
		st := stage(t, box)
		lie = true
		if sent, err := box.Release(t.Context(), st); err == nil || errors.Is(err, provider.ErrNotSent) {
			t.Errorf("released %+v, %v", sent, err)
		}
		if did, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)}); err == nil {
			t.Errorf("archived %+v", did)
		}
		if did, err := box.Label(t.Context(), provider.Target{Item: provider.ItemID(id)}, "CRM"); err == nil {
			t.Errorf("labelled %+v", did)
		}
		if _, err := box.Stage(t.Context(), large(4_000_000), provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}}); err == nil {
			t.Error("staged")
		}
		lie = false
		if o, _, err := box.Lookup(t.Context(), st); o != provider.OutcomeNotSent {
			t.Errorf("looked up: %v, %v", o, err)
		}
	})
}

// A server whose pages lead to another host, as one behind a proxy that doesn't rewrite them: that is said, and nothing is listed anew again and again.
func TestLinksToAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{PageSize: 2}, outlook.Options{})
		astray := false
		foreign := 0
		w.rewrite(func(r *http.Request, body []byte) []byte {
			if r.URL.Host == "elsewhere.example" {
				foreign++
			}
			if astray {
				body = bytes.ReplaceAll(body, []byte(`Link":"`+w.srv.URL()), []byte(`Link":"https://elsewhere.example/v1.0`))
			}
			return body
		})
		b := newBook(t, w.open(t))
		for i := range 9 {
			w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0, "inbox")
		}
		astray = true
		for range 5 {
			p, err := b.box.Changes(t.Context(), b.cur)
			if err != nil {
				if !strings.Contains(err.Error(), "another host") {
					t.Errorf("the error says %v", err)
				}
				break
			}
			b.note(p)
			if b.cur = p.Next; len(p.Restart) > 0 {
				t.Errorf("restarted %v", p.Restart)
			}
		}
		if _, err := b.box.Start(t.Context()); err == nil {
			t.Error("a cursor of foreign links")
		}
		if foreign > 0 {
			t.Errorf("%d calls went there", foreign)
		}
		astray = false
		b.follow()
		if len(b.in) != 9 {
			t.Errorf("%d messages", len(b.in))
		}
	})
}

// A port that goes without saying may be said.
func TestDefaultPort(t *testing.T) {
	w := newWorld(t, graphtest.Options{PageSize: 2}, outlook.Options{})
	w.opts.BaseURL = "https://graph.example:443/v1.0"
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		there, _ := http.NewRequest(r.Method, w.srv.URL(), nil) //nolint:noctx // only its address counts
		host := there.URL.Host
		r.URL.Scheme, r.URL.Host = there.URL.Scheme, host
		resp, err := w.srv.Transport().RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close() //nolint:errcheck // it was read
		body = bytes.ReplaceAll(body, []byte(w.srv.URL()), []byte("https://graph.example/v1.0"))
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return resp, err
	})}
	b := newBook(t, w.open(t))
	for i := range 5 {
		w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0, "inbox")
	}
	b.follow()
	if len(b.in) != 5 || len(b.restarts()) > 0 {
		t.Errorf("%d messages, restarted %v", len(b.in), b.restarts())
	}
}

// A server that doesn't know the filter lists the same again: history passes over it, reads all, and ends.
func TestHistoryWithoutAFilter(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{PageSize: 4})
	for i := range 30 {
		w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0.Add(time.Duration(i/3)*time.Hour), "inbox")
	}
	w.between(func(r *http.Request) *http.Response {
		if q := r.URL.Query(); q.Has("$filter") && strings.HasSuffix(r.URL.Path, "/me/messages") {
			q.Del("$filter")
			r.URL.RawQuery = q.Encode()
		}
		return nil
	})
	box := w.open(t)
	got := map[provider.ItemID]int{}
	var c provider.Cursor
	for n, more := 0, true; more; n++ {
		p, err := box.History(t.Context(), provider.Window{}, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			got[it.ID]++
		}
		if c, more = p.Next, p.More; n > 100 {
			t.Fatal("there is no end of history")
		}
	}
	if len(got) != 30 {
		t.Errorf("%d messages", len(got))
	}
	for id, n := range got {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
}

// Pages that lead in a circle keep nobody from the rest: there is an end of what Changes says there is more of, and when the circle is broken all is read.
func TestCircleOfPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{PageSize: 2}, outlook.Options{})
		bad := w.user.Folder("Bad")
		circle := true
		n := 0
		w.rewrite(func(r *http.Request, body []byte) []byte {
			if !circle || !strings.Contains(r.URL.Path, "/mailFolders/"+bad+"/messages") {
				return body
			}
			n++
			u := *r.URL
			q := u.Query()
			q.Set("circle", fmt.Sprint(n%5))
			u.RawQuery = q.Encode()
			return []byte(`{"value":[{"id":"same` + fmt.Sprint(n%5) + `","receivedDateTime":"2026-03-02T09:00:00Z","parentFolderId":"` + bad + `"}],"@odata.nextLink":"` + u.String() + `"}`)
		})
		b := newBook(t, w.open(t))
		id := w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "Bad")
		other := w.user.Deliver(providertest.Mail("b", "x"), time.Now(), "inbox")
		b.follow()
		b.lies("the inbox", w.user, other, true)
		asked := n
		b.follow()
		if n-asked > 20 {
			t.Errorf("%d pages of the circle were read again", n-asked)
		}
		circle = false
		b.follow()
		b.lies("the folder", w.user, id, true)
	})
}

// A mailbox that was put back elsewhere has other folders: what is the inbox and what the trash is asked anew.
func TestOtherFolderIDs(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	other := false
	swap := func(b []byte, from, to string) []byte { return bytes.ReplaceAll(b, []byte(from), []byte(to)) }
	ids := map[string]string{}
	for _, name := range []string{"inbox", "sentitems", "drafts", "deleteditems", "junkemail", "outbox"} {
		ids[w.user.Folder(name)] = "Moved" + name
	}
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if other {
			if q := r.URL.Query(); strings.HasSuffix(r.URL.Path, "mailFolders/delta()") && q.Has("$deltatoken") {
				a := answers(400, `{"error":{"code":"syncStateNotFound","message":"no"}}`)
				a.Request = r
				return a, nil
			}
			for id, now := range ids {
				if strings.Contains(r.URL.Path, id) {
					a := answers(404, `{"error":{"code":"ErrorItemNotFound","message":"no"}}`)
					a.Request = r
					return a, nil
				}
				r.URL.Path = strings.ReplaceAll(r.URL.Path, now, id)
				r.URL.RawPath = ""
			}
		}
		resp, err := w.srv.Transport().RoundTrip(r)
		if err != nil || !other {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close() //nolint:errcheck // it was read
		for id, now := range ids {
			body = swap(body, id, now)
		}
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return resp, err
	})}
	box := w.open(t)
	b := newBook(t, box)
	b.follow()
	other = true
	in := w.user.Deliver(providertest.Mail("in", "x"), day0, "inbox")
	trash := w.user.Deliver(providertest.Mail("trash", "x"), day0, "deleteditems")
	junk := w.user.Deliver(providertest.Mail("junk", "x"), day0, "junkemail")
	b.follow()
	if len(b.in[provider.ItemID(trash)])+len(b.in[provider.ItemID(junk)]) > 0 {
		t.Errorf("trash and junk are told: %v", b.in)
	}
	role := provider.Role("none")
	for _, p := range b.last {
		for _, it := range p.Items {
			if it.ID == provider.ItemID(in) {
				role = it.Folders[0].Role
			}
		}
	}
	if role != provider.RoleInbox {
		t.Errorf("the inbox has the role %q", role)
	}
	if got, err := box.Locate(t.Context(), "trash@sender.example"); err != nil || len(got) != 1 || got[0].Folders[0].Role != provider.RoleTrash {
		t.Errorf("located %+v, %v", got, err)
	}
}

// A folder's link ends, and the folder can't be listed anew: what is known of it stands until it can.
func TestLinkEndsAndTheFolderIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{FullRound: time.Minute})
		bad, broken := w.user.Folder("Bad"), false
		w.between(func(r *http.Request) *http.Response {
			if broken && strings.Contains(r.URL.Path, "/mailFolders/"+bad+"/messages") {
				if r.URL.Query().Has("$deltatoken") {
					return answers(410, `{"error":{"code":"syncStateNotFound","message":"no"}}`)
				}
				return answers(403, `{"error":{"code":"ErrorAccessDenied","message":"no"}}`)
			}
			return nil
		})
		b := newBook(t, w.open(t))
		id := w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "Bad")
		gone := w.user.Deliver(providertest.Mail("b", "x"), time.Now(), "Bad")
		b.follow()
		broken = true
		time.Sleep(time.Hour)
		b.follow()
		if got := b.restarts(); len(got) > 0 {
			t.Errorf("restarted %v, and nothing of it was read", got)
		}
		b.lies("while it is refused", w.user, id, true)
		w.user.Delete(gone)
		broken = false
		b.follow()
		if got := b.restarts(); len(got) != 1 {
			t.Errorf("restarted %v", got)
		}
		b.lies("afterwards", w.user, id, true)
		b.lies("afterwards", w.user, gone, false)
	})
}

// Links that live shorter than a listing takes: it begins anew, and there is an end of it in each round, so that there is time for something else. What comes is read all the same.
func TestLinksEndInTheMiddle(t *testing.T) {
	w := newWorld(t, graphtest.Options{PageSize: 2}, outlook.Options{})
	short, n := false, 0
	w.between(func(r *http.Request) *http.Response {
		if strings.Contains(r.URL.Path, "/messages/delta") {
			if n++; short && r.URL.Query().Has("$skiptoken") && n%3 == 0 || short && r.URL.Query().Has("$deltatoken") {
				return answers(410, `{"error":{"code":"syncStateNotFound","message":"no"}}`)
			}
		}
		return nil
	})
	b := newBook(t, w.open(t))
	for i := range 20 {
		w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0.Add(time.Duration(i)*time.Hour), "inbox")
	}
	b.follow()
	short = true
	late := w.user.Deliver(providertest.Mail("late", "x"), day0.AddDate(0, 0, 9), "inbox")
	for range 5 {
		b.follow()
		if last := b.last[len(b.last)-1]; !slices.Equal(last.Unfinished, []string{w.user.Folder("inbox")}) {
			t.Errorf("unfinished are %v", last.Unfinished)
		}
	}
	b.lies("new mail", w.user, late, true)
	short = false
	b.follow()
	if last := b.last[len(b.last)-1]; len(last.Unfinished) > 0 {
		t.Errorf("unfinished are %v", last.Unfinished)
	}
	if len(b.in) != 21 {
		t.Errorf("%d messages", len(b.in))
	}
	for id := range b.in {
		b.lies("at the end", w.user, string(id), true)
	}
}

// An attachment is there when Graph says so (facts 2.6: "final 201 + Location"): a message never goes without it. A session that is over in the middle is no reason to give the message up.
func TestUploadThatEnds(t *testing.T) {
	for name, c := range map[string]struct {
		at     int // which range
		answer func() *http.Response
	}{
		"a page":              {1, page},
		"the last is not":     {3, func() *http.Response { return answers(200, `{"nextExpectedRanges":["9000000"]}`) }},
		"the last is a page":  {3, page},
		"no progress":         {1, func() *http.Response { return answers(200, `{"nextExpectedRanges":["0"]}`) }},
		"nothing":             {1, func() *http.Response { return answers(200, "") }},
		"over":                {2, func() *http.Response { return answers(404, `{"error":{"code":"ErrorItemNotFound"}}`) }},
		"over, without words": {2, func() *http.Response { return answers(404, "") }},
		"over, 410":           {2, func() *http.Response { return answers(410, `{"error":{"code":"x"}}`) }},
		"not let in":          {2, func() *http.Response { return answers(403, `{"error":{"code":"AccessDenied"}}`) }},
		"not signed in":       {2, func() *http.Response { return answers(401, `{"error":{"code":"InvalidAuthenticationToken"}}`) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, graphtest.Options{}, outlook.Options{})
				n := 0
				w.between(func(r *http.Request) *http.Response {
					if r.Method == http.MethodPut {
						if n++; n >= c.at {
							return c.answer()
						}
					}
					return nil
				})
				box := w.open(t)
				_, err := box.Stage(t.Context(), large(9_000_000), provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "files@acme.example"})
				if err == nil || errors.Is(err, provider.ErrNotSent) && !errors.Is(err, provider.ErrTryLater) {
					t.Errorf("%v", err)
				}
				for _, m := range w.user.Messages() {
					if m.Path == "Drafts" {
						t.Error("a draft is left over")
					}
				}
			})
		})
	}
}

// The bytes of an attachment go over TLS, and not to this machine where Graph isn't here.
func TestUploadAddress(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	w.opts.BaseURL = "https://graph.example/v1.0"
	elsewhere := 0
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host != "graph.example" {
			elsewhere++
		}
		there, _ := http.NewRequest(r.Method, w.srv.URL(), nil) //nolint:noctx // only its address counts
		r.URL.Scheme, r.URL.Host = there.URL.Scheme, there.URL.Host
		if strings.HasSuffix(r.URL.Path, "/createUploadSession") {
			a := answers(201, `{"uploadUrl":"http://127.0.0.1:1/x","nextExpectedRanges":["0-"]}`)
			a.Request = r
			return a, nil
		}
		return w.srv.Transport().RoundTrip(r)
	})}
	_, err := w.open(t).Stage(t.Context(), large(4_000_000), provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: "files@acme.example"})
	if err == nil || elsewhere > 0 {
		t.Errorf("%d calls, %v", elsewhere, err)
	}
}

// Of a folder that is listed anew in many pages nothing is told that is older than what is wanted, from none of them.
func TestSinceOnAllPages(t *testing.T) {
	w := newWorld(t, graphtest.Options{PageSize: 2}, outlook.Options{})
	for i := range 10 {
		w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0.AddDate(0, 0, i), "inbox")
	}
	b := newBook(t, w.open(t))
	b.box.Since(day0.AddDate(0, 0, 5))
	w.user.ExpireDelta("inbox")
	b.follow()
	if len(b.in) != 5 {
		t.Errorf("%d messages", len(b.in))
	}
	// What is older and comes is told.
	id := w.user.Deliver(providertest.Mail("old", "x"), day0, "inbox")
	b.follow()
	b.lies("it came", w.user, id, true)
}

// Ids of a mailbox that was moved away name nothing here (msal-js issue 7264).
func TestIDsOfAnotherMailbox(t *testing.T) {
	for _, status := range []int{400, 404} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
		box := w.open(t)
		w.srv.Fail("messages.get", 4, graphtest.Fault{Status: status, Code: "ErrorInvalidMailboxItemId", Message: "Item 'x' doesn't belong to the targeted mailbox 'y'."})
		if _, err := box.Content(t.Context(), provider.ItemID(id)); !errors.Is(err, provider.ErrGone) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// That the folder is gone where a message should go says nothing of the message.
func TestArchiveVanishes(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	box := w.open(t)
	first := w.user.Deliver(providertest.Mail("first", "x"), day0, "inbox")
	if _, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(first)}); err != nil {
		t.Fatal(err)
	}
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	w.srv.Fail("messages.move", 1, graphtest.Fault{Reached: func() { w.user.PurgeFolder("Archive") }})
	if did, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)}); err == nil || errors.Is(err, provider.ErrGone) {
		t.Errorf("%+v, %v", did, err)
	}
	if _, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)}); err != nil {
		t.Error(err)
	}
	if m, _ := w.user.Message(id); m.Path != "Archive" {
		t.Errorf("it lies in %q", m.Path)
	}
	// And where the message is gone, that is said.
	gone := w.user.Deliver(providertest.Mail("b", "x"), day0, "inbox")
	w.srv.Fail("messages.move", 1, graphtest.Fault{Reached: func() { w.user.Delete(gone) }})
	if _, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(gone)}); !errors.Is(err, provider.ErrGone) {
		t.Errorf("%v", err)
	}
}

// An attachment that doesn't begin to come is given up; one that comes slowly is not.
func TestAttachmentThatDoesNotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		hang := true
		w.between(func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/$value") {
				return nil
			}
			if hang {
				<-r.Context().Done()
				a := answers(500, "")
				a.Header.Set("X-Late", "1")
				return a
			}
			pr, pw := io.Pipe()
			go func() {
				for range 10 {
					time.Sleep(time.Minute)
					pw.Write([]byte("x")) //nolint:errcheck // to memory
				}
				pw.Close() //nolint:errcheck // to memory
			}()
			a := answers(200, "")
			a.Body, a.ContentLength = pr, -1
			return a
		})
		w.opts.HTTPClient.Timeout = time.Minute
		box := w.open(t)
		if _, err := box.Attachment(t.Context(), "x", "y"); err == nil {
			t.Error("no error")
		}
		hang = false
		body, err := box.Attachment(t.Context(), "x", "y")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || len(got) != 10 {
			t.Errorf("%q, %v", got, err)
		}
		body.Close() //nolint:errcheck // it was read
	})
}

// No call takes longer than a worker's lease stands, however slow the server is and however much there is to list: a call that nobody waits for to its end would begin again and again.
func TestNoCallIsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{PageSize: 2, Latency: 4 * time.Second, Requests: -1, Concurrency: -1}, outlook.Options{PageSize: 2})
		for i := range 150 {
			w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), time.Now().AddDate(0, 0, -1-i), []string{"deleteditems", "inbox"}[i/75])
		}
		time.Sleep(time.Hour)
		longest := time.Duration(0)
		took := func(f func()) {
			begun := time.Now()
			f()
			longest = max(longest, time.Since(begun))
		}
		box := w.open(t)
		b := &book{t: t, box: box, in: map[provider.ItemID]map[string]bool{}}
		took(func() {
			var err error
			if b.cur, err = box.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		id := w.user.Deliver(providertest.Mail("new", "x"), time.Now(), "inbox")
		for more := true; more; {
			took(func() {
				p, err := box.Changes(t.Context(), b.cur)
				if err != nil {
					t.Fatal(err)
				}
				b.note(p)
				b.cur, more = p.Next, p.More
			})
		}
		if len(b.in) != 1 {
			t.Errorf("%d messages are told", len(b.in))
		}
		b.lies("new mail", w.user, id, true)
		var c provider.Cursor
		got := 0
		for more := true; more; {
			took(func() {
				p, err := box.History(t.Context(), provider.Window{}, c)
				if err != nil {
					t.Fatal(err)
				}
				got += len(p.Items)
				c, more = p.Next, p.More
			})
		}
		if got != 76 {
			t.Errorf("%d messages of history", got)
		}
		if longest > time.Minute+30*time.Second {
			t.Errorf("a call took %v", longest)
		}
		t.Log(longest)
	})
}

// A search folder shows what lies elsewhere, to another process as well.
func TestSearchFolder(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{FullRound: time.Nanosecond})
	found := w.user.Folder("Found")
	w.rewrite(func(_ *http.Request, body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"id":"`+found+`"`), []byte(`"@odata.type":"#microsoft.graph.mailSearchFolder","id":"`+found+`"`))
	})
	b := newBook(t, w.open(t))
	for range 3 {
		b.follow()
		w.prov = nil
		b.box = w.open(t)
	}
	for _, c := range w.calls("messages.delta") {
		if strings.Contains(c.Path, strings.TrimRight(found, "=")) { // which are escaped there
			t.Fatal("it was asked for changes")
		}
	}
}

// A folder that is denied, and of which a listing shows a message, asks nobody to connect the mailbox again.
func TestDeniedFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		denied := "none"
		w.between(func(r *http.Request) *http.Response {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, denied) {
				return answers(403, `{"error":{"code":"ErrorAccessDenied","message":"no"}}`)
			}
			return nil
		})
		box := w.open(t)
		newBook(t, box)
		secret := w.user.Folder("Secret")
		w.user.Deliver(providertest.Mail("c", "x"), day0, "Secret")
		denied = "/mailFolders/" + secret
		p, err := box.History(t.Context(), provider.Window{}, nil)
		if err != nil || len(p.Items) != 1 {
			t.Errorf("%d messages, %v", len(p.Items), err)
		}
	})
}

// What folders are is known altogether or not at all: where asking for it was broken off, whoever goes on does not take what lies in the trash for mail.
func TestFoldersHalfKnown(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	broken := "deleteditems"
	w.between(func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/mailFolders/"+broken) {
			return answers(400, `{"error":{"code":"ErrorInvalidRequest","message":"no"}}`)
		}
		return nil
	})
	good := w.user.Deliver(providertest.Mail("good", "x"), day0, "inbox")
	w.user.Deliver(providertest.Mail("bad", "x"), day0, "deleteditems")
	box := w.open(t)
	look := func(what string) {
		t.Helper()
		if p, err := box.History(t.Context(), provider.Window{}, nil); err == nil {
			t.Errorf("%s: %+v", what, p.Items)
		}
		broken = "none"
		p, err := box.History(t.Context(), provider.Window{}, nil)
		if err != nil || len(p.Items) != 1 || string(p.Items[0].ID) != good {
			t.Errorf("%s: %+v, %v", what, p.Items, err)
		}
	}
	look("all folders")
	broken = w.user.Folder("Deleted Items/Old")
	w.user.Deliver(providertest.Mail("worse", "x"), day0.Add(time.Hour), w.user.Folder("Deleted Items/Old/Older"))
	look("a folder that came")
}

// A page that had begun when our time was over is no page that can't be read: it is asked for again, in full.
func TestPageThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		stops := false
		w.between(func(r *http.Request) *http.Response {
			if !stops || !strings.Contains(r.URL.Path, "/messages/delta") {
				return nil
			}
			stops = false
			a := answers(200, "")
			a.Body, a.ContentLength = until{r.Context()}, -1
			return a
		})
		w.opts.HTTPClient.Timeout = time.Minute
		b := newBook(t, w.open(t))
		id := w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "inbox")
		stops = true
		b.follow()
		b.follow()
		b.lies("it came", w.user, id, true)
		id = w.user.Deliver(providertest.Mail("b", "x"), time.Now(), "inbox")
		b.follow()
		for _, it := range b.last[0].Items {
			if string(it.ID) == id && it.Envelope.Has != message.HasHeader {
				t.Errorf("ids alone are told: %+v", it)
			}
		}
		b.lies("and another", w.user, id, true)
	})
}

// until is a body that has nothing until its request is given up.
type until struct{ ctx context.Context }

func (u until) Read([]byte) (int, error) { <-u.ctx.Done(); return 0, u.ctx.Err() }
func (until) Close() error               { return nil }

// A page tells that a message came and that it left: where it is is asked for. One that is denied holds up no other, and asks nobody to connect the mailbox again.
func TestCameAndLeft(t *testing.T) {
	for name, c := range map[string]struct {
		fault *graphtest.Fault
		lies  bool
	}{
		"it is there": {nil, true},
		"denied":      {&graphtest.InsufficientScopes, true},
		"gone":        {&graphtest.Fault{Status: 404, Code: "ErrorItemNotFound"}, false},
	} {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		id := ""
		w.rewrite(func(r *http.Request, body []byte) []byte {
			if id == "" || !bytes.Contains(body, []byte(id)) || !strings.Contains(r.URL.Path, "/messages/delta") {
				return body
			}
			return bytes.Replace(body, []byte(`"value":[`), []byte(`"value":[{"id":"`+id+`","@removed":{"reason":"changed"}},`), 1)
		})
		b := newBook(t, w.open(t))
		id = w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
		other := w.user.Deliver(providertest.Mail("b", "x"), day0, "inbox")
		if c.fault != nil {
			w.srv.Fail("messages.get", 1, *c.fault)
		}
		b.follow()
		b.lies(name, w.user, id, c.lies)
		b.lies(name+", another", w.user, other, true)
		if len(w.calls("messages.get")) != 1 {
			t.Errorf("%s: asked %d times", name, len(w.calls("messages.get")))
		}
	}
}

// An answer about another message than was asked for is none: its text is nobody's, and it is not changed in the other's place.
func TestAnotherMessage(t *testing.T) {
	w := newWorld(t, graphtest.Options{}, outlook.Options{})
	other := w.user.Deliver(providertest.Mail("other", "secret"), day0, "inbox")
	id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
	w.between(func(r *http.Request) *http.Response {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/messages/"+id) {
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(r.URL.Path, id, other), ""
		}
		return nil
	})
	box := w.open(t)
	if msg, err := box.Content(t.Context(), provider.ItemID(id)); err == nil || errors.Is(err, provider.ErrGone) {
		t.Errorf("%+v, %v", msg, err)
	}
	target := provider.Target{Item: provider.ItemID(id), MessageID: "a@sender.example"}
	if did, err := box.Archive(t.Context(), target); err == nil {
		t.Errorf("%+v", did)
	}
	if did, err := box.Label(t.Context(), target, "CRM"); err == nil {
		t.Errorf("%+v", did)
	}
	if m, _ := w.user.Message(other); m.Path != "Inbox" || len(m.Categories) > 0 {
		t.Errorf("the other lies in %s, %v", m.Path, m.Categories)
	}
}

// Pages that are too long for the server, as it gives up on them, or on the way: they get shorter until it does not, and all is read.
func TestSlowPages(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) *http.Response{
		"a gateway gives up": func(*http.Request) *http.Response { return answers(504, "") },
		"we give up":         func(r *http.Request) *http.Response { <-r.Context().Done(); return answers(500, "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, graphtest.Options{}, outlook.Options{})
				w.between(func(r *http.Request) *http.Response {
					size, _ := strconv.Atoi(r.URL.Query().Get("$top"))
					for _, p := range r.Header.Values("Prefer") {
						if n, ok := strings.CutPrefix(p, "odata.maxpagesize="); ok && strings.Contains(r.URL.Path, "/messages/delta") {
							size, _ = strconv.Atoi(n)
						}
					}
					if size > 60 {
						return answer(r)
					}
					return nil
				})
				w.opts.HTTPClient.Timeout = time.Minute
				for i := range 200 {
					w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), time.Now().Add(-time.Duration(i)*time.Hour), "inbox")
				}
				time.Sleep(time.Hour)
				box := w.open(t)
				tries := 0
				again := func(f func() error) {
					t.Helper()
					for f() != nil {
						if tries++; tries > 50 {
							t.Fatal("there is no end of errors")
						}
						time.Sleep(time.Minute)
					}
				}
				b := &book{t: t, box: box, in: map[provider.ItemID]map[string]bool{}}
				again(func() (err error) { b.cur, err = box.Start(t.Context()); return err })
				id := w.user.Deliver(providertest.Mail("new", "x"), time.Now(), "inbox")
				for more := true; more; {
					again(func() error {
						p, err := box.Changes(t.Context(), b.cur)
						if err == nil {
							b.note(p)
							b.cur, more = p.Next, p.More
						}
						return err
					})
				}
				b.lies(name, w.user, id, true)
				got := map[provider.ItemID]bool{}
				var c provider.Cursor
				for more := true; more; {
					again(func() error {
						p, err := box.History(t.Context(), provider.Window{}, c)
						if err == nil {
							for _, it := range p.Items {
								got[it.ID] = true
							}
							c, more = p.Next, p.More
						}
						return err
					})
				}
				if len(got) != 201 {
					t.Errorf("%d messages of history", len(got))
				}
			})
		})
	}
}

// A folder of which a page could not be read tells ids alone; when its link ends it is tried in full again.
func TestUnreadablePageThatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		poison := false
		inbox := w.user.Folder("inbox")
		w.rewrite(func(r *http.Request, body []byte) []byte {
			if poison && strings.Contains(r.URL.Path, inbox) && bytes.Contains(body, []byte("singleValueExtendedProperties")) {
				return []byte(`{"value":[{"id":"x","receivedDateTime":"no time at all"}]}`)
			}
			return body
		})
		b := newBook(t, w.open(t))
		has := func(name string) (out message.Fields) {
			t.Helper()
			id := w.user.Deliver(providertest.Mail(name, "x"), time.Now(), "inbox")
			b.follow()
			for _, p := range b.last {
				for _, it := range p.Items {
					if it.ID == provider.ItemID(id) {
						out = it.Envelope.Has
					}
				}
			}
			return out
		}
		if got := has("a"); got != message.HasHeader {
			t.Fatalf("before: %v", got)
		}
		poison = true
		if got := has("b"); got != 0 {
			t.Errorf("unreadable: %v", got)
		}
		poison = false
		if got := has("c"); got != 0 {
			t.Errorf("its link: %v", got)
		}
		w.user.ExpireDelta("inbox")
		if got := has("d"); got != message.HasHeader {
			t.Errorf("afterwards: %v", got)
		}
		if len(b.in) != 4 {
			t.Errorf("%d messages", len(b.in))
		}
	})
}

// A page that stops whenever it is asked for holds up nothing for ever: short as it may be it is listed by ids alone then.
func TestPageThatStopsAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, graphtest.Options{}, outlook.Options{})
		w.between(func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/messages") || !strings.Contains(r.URL.RawQuery, "subject") {
				return nil
			}
			a := answers(200, "")
			a.Body, a.ContentLength = until{r.Context()}, -1
			return a
		})
		w.opts.HTTPClient.Timeout = time.Minute
		id := w.user.Deliver(providertest.Mail("a", "x"), day0, "inbox")
		box := w.open(t)
		var err error
		for range 20 {
			var p provider.Page
			if p, err = box.History(t.Context(), provider.Window{}, nil); err == nil {
				if len(p.Items) != 1 || string(p.Items[0].ID) != id {
					t.Errorf("%+v", p.Items)
				}
				return
			}
		}
		t.Errorf("after twenty tries: %v", err)
	})
}
