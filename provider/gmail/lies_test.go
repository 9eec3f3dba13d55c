package gmail_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r}
}

// nones are answers with success that are none.
var nones = map[string]string{
	"{}":             `{}`,
	"null":           `{"messages":null,"history":null,"labels":null}`,
	"an error":       `{"error":{"code":500,"message":"no","status":"INTERNAL"}}`,
	"nothing":        "",
	"a page":         "<html><body>Please sign in to the network.</body></html>",
	"half of it":     `{"messages":[`,
	"another object": `{"id":"x","value":"y"}`,
}

// An answer with success that is none, of whatever kind, is an error: it is no end of history, no deletion, and no draft that is still there.
func TestAnswersThatAreNone(t *testing.T) {
	for name, none := range nones {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{})
				lie := false
				w.between(func(r *http.Request, status int, body string) (int, string) {
					if lie && r.Method == http.MethodGet {
						return 200, none
					}
					return status, body
				})
				id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
				filed := w.user.CreateLabel("Filed")
				w.user.Modify(string(id), []string{filed}, nil)
				box := w.open(t)
				c := start(t, box)
				st, err := box.Stage(t.Context(), outgoing, options())
				if err != nil {
					t.Fatal(err)
				}
				lie = true
				if p, err := box.History(t.Context(), provider.Window{}, nil); err == nil {
					t.Errorf("history: %+v", p)
				}
				if got, err := box.Locate(t.Context(), "a@sender.example"); err == nil {
					t.Errorf("located %v", got)
				}
				if p, err := box.Search(t.Context(), provider.Window{}, []string{"ada@sender.example"}, nil); err == nil {
					t.Errorf("search: %+v", p)
				}
				for scope, s := range map[string]provider.Scope{"all": {}, "a label": {Folder: filed}} {
					failed := false
					for _, err := range box.Inventory(t.Context(), s) {
						failed = failed || err != nil
					}
					if !failed {
						t.Errorf("the inventory of %s ended well", scope)
					}
				}
				if _, err := box.Content(t.Context(), id); err == nil || errors.Is(err, provider.ErrGone) {
					t.Errorf("content: %v", err)
				}
				if p, err := box.Changes(t.Context(), c); err == nil {
					t.Errorf("changes: %+v", p)
				}
				if c, err := box.Start(t.Context()); err == nil {
					t.Errorf("start: %s", c)
				}
				if p, err := box.Profile(t.Context()); err == nil {
					t.Errorf("profile: %+v", p)
				}
				if o, sent, err := box.Lookup(t.Context(), st); err == nil || o != provider.OutcomeUnknown {
					t.Errorf("looked up: %v, %+v", o, sent)
				}
				lie = false
				if p := changes(t, box, c); len(p.Restart) > 0 {
					t.Errorf("restarted %v", p.Restart)
				}
			})
		})
	}
}

// An answer to a call that changes something proves nothing unless it says what was done.
func TestNoneInsteadOfWhatWasDone(t *testing.T) {
	for name, none := range nones {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{Topic: "projects/p/topics/t"})
				lie := false
				w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if lie && r.Method != http.MethodGet && !isBatch(r) { // it never reaches Gmail
						return answer(r, 200, none), nil
					}
					return w.srv.Transport().RoundTrip(r)
				})}
				box := w.open(t)
				id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0, "INBOX"))
				st, err := box.Stage(t.Context(), outgoing, options())
				if err != nil {
					t.Fatal(err)
				}
				lie = true
				if sent, err := box.Release(t.Context(), st); name != "another object" && (err == nil || errors.Is(err, provider.ErrNotSent)) {
					t.Errorf("released %+v, %v", sent, err)
				}
				if did, err := box.Archive(t.Context(), provider.Target{Item: id}); err == nil {
					t.Errorf("archived %+v", did)
				}
				if did, err := box.Label(t.Context(), provider.Target{Item: id}, "CRM"); err == nil {
					t.Errorf("labelled %+v", did)
				}
				if name != "another object" {
					if st, err := box.Stage(t.Context(), outgoing, options()); err == nil {
						t.Errorf("staged %+v", st)
					}
				}
				if got, err := w.prov.Watch(t.Context(), w.user.TokenSource(gmailtest.ScopeModify), nil); err == nil {
					t.Errorf("watched until %v", got.Expires)
				}
				lie = false
				if o, _, err := box.Lookup(t.Context(), st); o != provider.OutcomeNotSent {
					t.Errorf("looked up: %v, %v", o, err)
				}
			})
		})
	}
}

// Answers of one message for another's: none is taken for it.
func TestAnswerAboutAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{InlineBody: 1 << 20}, gmail.Options{})
		id, other := w.user.Deliver(providertest.Mail("a", "mine"), day0, "INBOX"), w.user.Deliver(providertest.Mail("b", "another's"), day0, "INBOX")
		lie := false
		w.between(func(_ *http.Request, status int, body string) (int, string) {
			if lie {
				body = strings.ReplaceAll(body, id, other)
			}
			return status, body
		})
		box := w.open(t)
		c := start(t, box)
		label := w.user.CreateLabel("CRM")
		lie = true
		if msg, err := box.Content(t.Context(), provider.ItemID(id)); err == nil {
			t.Errorf("content: %v", msg.Subject)
		}
		if did, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)}); err == nil {
			t.Errorf("archived %+v", did)
		}
		if err := box.Unlabel(t.Context(), provider.Target{Item: provider.ItemID(id)}, provider.Mutation{How: "label", To: label}); err == nil {
			t.Error("unlabelled")
		}
		lie = false
		// What its target says is right, and the answer to the change is another's.
		w.user.Modify(id, []string{"INBOX"}, nil)
		w.between(func(r *http.Request, status int, body string) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/modify") {
				body = strings.ReplaceAll(body, id, other)
			}
			if strings.HasSuffix(r.URL.Path, "/profile") && lie {
				body = strings.Replace(body, owner, "other@acme.example", 1)
			}
			if strings.HasSuffix(r.URL.Path, "/labels") && r.Method == http.MethodPost {
				body = strings.NewReplacer("Label_2", label, "Label_3", label).Replace(body)
			}
			return status, body
		})
		w.prov = nil
		box = w.open(t)
		if did, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)}); err == nil {
			t.Errorf("archived %+v", did)
		}
		if did, err := box.Label(t.Context(), provider.Target{Item: provider.ItemID(id)}, "CRM"); err == nil {
			t.Errorf("labelled %+v", did)
		}
		if did, err := box.Label(t.Context(), provider.Target{Item: provider.ItemID(id)}, "New"); err == nil || !strings.Contains(err.Error(), "label") {
			t.Errorf("labelled %+v, %v", did, err)
		}
		lie = true
		if c, err := box.Start(t.Context()); err == nil {
			t.Errorf("the cursor of another mailbox: %s", c)
		}
		lie = false
		changes(t, box, c)
	})
}

// A draft that is refused when it is sent again, and is gone: it was perhaps sent before, and did not fail.
func TestDraftRefusedTheSecondTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{}, gmail.Options{})
		box := w.open(t)
		st, err := box.Stage(t.Context(), outgoing, options())
		if err != nil {
			t.Fatal(err)
		}
		w.srv.Fail("gmail.users.drafts.send", 1, gmailtest.AnswerLost)
		if _, err := box.Release(t.Context(), st); err == nil || errors.Is(err, provider.ErrNotSent) {
			t.Errorf("%v", err)
		}
		w.srv.Fail("gmail.users.drafts.send", 1, gmailtest.Fault{Status: 400, Reason: "failedPrecondition", Message: "Precondition check failed."})
		if _, err := box.Release(t.Context(), st); err == nil || errors.Is(err, provider.ErrNotSent) {
			t.Errorf("%v", err)
		}
		if o, _, err := box.Lookup(t.Context(), st); o != provider.OutcomeSent || err != nil || len(w.srv.Sent()) != 1 {
			t.Errorf("%v, %v, sent %d times", o, err, len(w.srv.Sent()))
		}
	})
}

// A message that is denied by itself asks nobody to connect the mailbox again; where nothing may be read, somebody is asked.
func TestDeniedMessage(t *testing.T) {
	denial := `{"error":{"code":403,"message":"no","errors":[{"reason":"insufficientPermissions","message":"no"}]}}`
	for _, all := range []bool{false, true} {
		w := newWorld(gmailtest.Options{Missing: []string{"batch"}}, gmail.Options{})
		denied := ""
		w.between(func(r *http.Request, status int, body string) (int, string) {
			if denied != "" && strings.HasSuffix(r.URL.Path, "/"+denied) || all && denied != "" && strings.HasSuffix(r.URL.Path, "/messages") {
				return 403, denial
			}
			return status, body
		})
		box := w.open(t)
		c := start(t, box)
		id := w.user.Deliver(providertest.Mail("a", "x"), day0, "INBOX")
		w.user.Deliver(providertest.Mail("b", "x"), day0, "INBOX")
		denied = id
		var action *provider.NeedsAction
		p := changes(t, box, c)
		if len(p.Items) != 2 {
			t.Errorf("%d messages", len(p.Items))
		}
		for _, it := range p.Items {
			if (it.Err != nil) != (it.ID == provider.ItemID(id)) || errors.As(it.Err, &action) != (all && it.ID == provider.ItemID(id)) {
				t.Errorf("%s: %v", it.ID, it.Err)
			}
		}
		if _, err := box.Content(t.Context(), provider.ItemID(id)); err == nil || errors.As(err, &action) != all {
			t.Errorf("content: %v", err)
		}
		if _, err := box.Archive(t.Context(), provider.Target{Item: provider.ItemID(id)}); err == nil || errors.As(err, &action) != all {
			t.Errorf("archive: %v", err)
		}
	}
}

// after is the number of the page that a call asks for, where tokens are "t" and the number of the page before.
func after(r *http.Request) (n int) {
	fmt.Sscanf(r.URL.Query().Get("pageToken"), "t%d", &n) //nolint:errcheck // else it is the first
	return n + 1
}

// circles are servers whose pages lead nowhere.
var circles = map[string]func(n int) string{
	"a circle": func(n int) string {
		return fmt.Sprintf(`{"messages":[{"id":"00000000000000a%d","threadId":"1"}],"nextPageToken":"t%[1]d"}`, n%5)
	},
	"a circle of empty pages": func(n int) string { return fmt.Sprintf(`{"nextPageToken":"t%d"}`, n%5) },
	"empty pages":             func(n int) string { return fmt.Sprintf(`{"nextPageToken":"t%d"}`, n) },
	"the same page": func(n int) string {
		return fmt.Sprintf(`{"messages":[{"id":"00000000000000a1","threadId":"1"}],"nextPageToken":"t%d"}`, n)
	},
	"the same pages": func(n int) string {
		return fmt.Sprintf(`{"messages":[{"id":"00000000000000a%d","threadId":"1"}],"nextPageToken":"t%d"}`, n%3, n)
	},
}

// Pages that lead in a circle, or nowhere, have an end, and it is an error: what they did not tell is not taken for what isn't there. When the circle is broken the rest is read.
func TestCircleOfPages(t *testing.T) {
	for name, page := range circles {
		t.Run(name, func(t *testing.T) {
			w := newWorld(gmailtest.Options{PageSize: 2}, gmail.Options{})
			circle, n := false, 0
			w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				switch {
				case !circle:
				case strings.HasSuffix(r.URL.Path, "/messages"):
					n++
					return answer(r, 200, page(after(r))), nil
				case strings.HasSuffix(r.URL.Path, "/history"):
					n++
					return answer(r, 200, strings.Replace(page(after(r)), "{", `{"historyId":"999999",`, 1)), nil
				}
				return w.srv.Transport().RoundTrip(r)
			})}
			for i := range 9 {
				w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0.Add(time.Duration(i)*time.Hour), "INBOX")
			}
			box := w.open(t)
			begin := start(t, box)
			w.user.Deliver(providertest.Mail("new", "x"), day0.AddDate(0, 0, 1), "INBOX")
			for what, next := range map[string]func(c provider.Cursor) (provider.Page, error){
				"history": func(c provider.Cursor) (provider.Page, error) {
					return box.History(t.Context(), provider.Window{}, c)
				},
				"search": func(c provider.Cursor) (provider.Page, error) {
					return box.Search(t.Context(), provider.Window{}, []string{"0@sender.example"}, c)
				},
				"changes": func(c provider.Cursor) (provider.Page, error) {
					if c == nil {
						c = begin
					}
					return box.Changes(t.Context(), c)
				},
			} {
				var c provider.Cursor
				n, circle = 0, true
				var err error
				for err == nil {
					var p provider.Page
					if p, err = next(c); err == nil {
						c = p.Next
						if !p.More {
							t.Fatalf("%s ended", what)
						}
					}
					if n > 10_000 {
						t.Fatalf("%s: there is no end", what)
					}
				}
				asked := n
				if _, err := next(c); err == nil || n-asked > 25 {
					t.Errorf("%s goes on, for %d pages: %v", what, n-asked, err)
				}
				circle = false
				if what == "search" {
					continue
				}
				for more, rounds := true, 0; more; rounds++ {
					p, err := next(c)
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					if c, more = p.Next, p.More; rounds > 50 {
						t.Fatalf("%s: there is no end of it afterwards", what)
					}
				}
			}
			n, circle = 0, true
			failed := false
			for _, err := range box.Inventory(t.Context(), provider.Scope{}) {
				failed = err != nil
			}
			if !failed || n > 1000 {
				t.Errorf("the inventory ended well after %d pages", n)
			}
		})
	}
}

// An inventory whose token dies once and then leads in a circle ends, too.
func TestInventoryInACircle(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	n := 0
	w.between(func(r *http.Request, status int, body string) (int, string) {
		if !strings.HasSuffix(r.URL.Path, "/messages") {
			return status, body
		}
		if n++; n == 2 {
			return 400, `{"error":{"code":400,"message":"Invalid pageToken"}}`
		}
		return 200, circles["a circle"](after(r))
	})
	failed := false
	for _, err := range w.open(t).Inventory(t.Context(), provider.Scope{}) {
		if failed = err != nil; n > 1000 {
			break
		}
	}
	if !failed || n > 1000 {
		t.Errorf("it ended well after %d pages", n)
	}
}

// A server that doesn't know what a query asks for lists all of it: history tells what lies in the window, once, and ends.
func TestHistoryWithoutAQuery(t *testing.T) {
	now := day0.AddDate(0, 1, 0)
	w := newWorld(gmailtest.Options{PageSize: 4, PageTokenLife: 10 * time.Minute, Now: func() time.Time { return now }}, gmail.Options{})
	for i := range 30 {
		w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0.AddDate(0, 0, i/3), "INBOX")
	}
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		q := r.URL.Query()
		q.Del("q")
		r.URL.RawQuery = q.Encode()
		return w.srv.Transport().RoundTrip(r)
	})}
	for name, c := range map[string]struct {
		window provider.Window
		want   int
		stale  bool
	}{
		"all":             {provider.Window{}, 30, false},
		"a window":        {provider.Window{From: day0.AddDate(0, 0, 3), To: day0.AddDate(0, 0, 6)}, 9, false},
		"tokens that die": {provider.Window{From: day0.AddDate(0, 0, 3), To: day0.AddDate(0, 0, 6)}, 9, true},
	} {
		box := w.open(t)
		got := map[provider.ItemID]bool{}
		var cur provider.Cursor
		for n, more := 0, true; more; n++ {
			p, err := box.History(t.Context(), c.window, cur)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, it := range p.Items {
				got[it.ID] = true
			}
			if cur, more = p.Next, p.More; n > 100 {
				t.Fatalf("%s: there is no end of history", name)
			}
			if c.stale {
				now = now.Add(time.Hour)
			}
		}
		if len(got) != c.want {
			t.Errorf("%s: %d messages", name, len(got))
		}
	}
}

// slow makes calls that f names take until their time is over, and all others so long.
func (w *world) slow(each time.Duration, timeout time.Duration, never func(r *http.Request) bool) {
	base := w.srv.Transport()
	w.opts.HTTPClient = &http.Client{Timeout: timeout, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if never(r) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		t := time.NewTimer(each)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		return base.RoundTrip(r)
	})}
}

// No call takes longer than a worker's lease stands, however slow the server is and however much there is to list or to read.
func TestNoCallIsLong(t *testing.T) {
	for name, o := range map[string]gmailtest.Options{
		"batches":     {PageSize: 2},
		"no batches":  {PageSize: 2, Missing: []string{"batch"}},
		"short lives": {PageSize: 2, PageTokenLife: 10 * time.Second, HistoryLife: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(o, gmail.Options{PageSize: 2})
				w.slow(4*time.Second, time.Minute, func(*http.Request) bool { return false })
				for i := range 80 {
					w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), time.Now().AddDate(0, 0, -1-i), "INBOX")
				}
				longest := time.Duration(0)
				took := func(f func()) {
					begun := time.Now()
					f()
					longest = max(longest, time.Since(begun))
				}
				box := w.open(t)
				var c provider.Cursor
				took(func() { c = start(t, box) })
				for i := range 70 {
					w.user.Deliver(providertest.Mail(fmt.Sprint("new", i), "x"), time.Now(), "INBOX")
				}
				follow := func(what string, want int, next func(c provider.Cursor) (provider.Page, error), c provider.Cursor) {
					t.Helper()
					got := map[provider.ItemID]bool{}
					for n, more := 0, true; more; n++ {
						took(func() {
							p, err := next(c)
							if err != nil {
								t.Fatalf("%s: %v", what, err)
							}
							for _, it := range p.Items {
								got[it.ID] = true
							}
							c, more = p.Next, p.More
						})
						if n > 1000 {
							t.Fatalf("%s: there is no end", what)
						}
						if n%20 == 19 {
							time.Sleep(time.Minute)
						}
					}
					if len(got) != want {
						t.Errorf("%s: %d messages", what, len(got))
					}
				}
				follow("changes", 70, func(c provider.Cursor) (provider.Page, error) { return box.Changes(t.Context(), c) }, c)
				old := provider.Window{From: time.Now().AddDate(0, 0, -30), To: time.Now().AddDate(0, 0, -20)}
				follow("history", 10, func(c provider.Cursor) (provider.Page, error) { return box.History(t.Context(), old, c) }, nil)
				took(func() {
					if _, err := box.Plan(t.Context(), provider.Window{}, nil); err != nil {
						t.Error(err)
					}
				})
				if longest > time.Minute+30*time.Second {
					t.Errorf("a call took %v", longest)
				}
				t.Log(longest)
			})
		})
	}
}

// Pages and batches that take too long get shorter, also for a process that opens the mailbox anew each time, until they come; what never comes is told by itself.
func TestPagesThatTakeTooLong(t *testing.T) {
	for name, c := range map[string]struct {
		never  func(r *http.Request, body string) bool
		broken bool // one message can't be had at all
	}{
		"pages": {never: func(r *http.Request, _ string) bool {
			n := 0
			fmt.Sscan(r.URL.Query().Get("maxResults"), &n) //nolint:errcheck // 0
			return n > 20
		}},
		"batches": {never: func(_ *http.Request, body string) bool { return strings.Count(body, "GET ") > 7 }},
		"a message": {never: func(r *http.Request, body string) bool {
			return strings.Contains(body+r.URL.String(), "messages/BAD?")
		}, broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{})
				bad := "none"
				w.slow(0, 10*time.Second, func(r *http.Request) bool {
					body := ""
					if r.Body != nil && isBatch(r) {
						b, _ := io.ReadAll(r.Body) //nolint:errcheck // it is from memory
						body = string(b)
						r.Body = io.NopCloser(strings.NewReader(body))
					}
					r2 := r.Clone(context.Background())
					r2.URL.Path = strings.Replace(r2.URL.Path, bad, "BAD", 1)
					return c.never(r2, strings.Replace(body, bad, "BAD", 1))
				})
				for i := range 60 {
					w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), time.Now().AddDate(0, 0, -1-i), "INBOX")
				}
				cur := start(t, w.open(t))
				for i := range 60 {
					id := w.user.Deliver(providertest.Mail(fmt.Sprint("new", i), "x"), time.Now(), "INBOX")
					if c.broken && i == 30 {
						bad = id
					}
				}
				follow := func(what string, next func(box *gmail.Mailbox, c provider.Cursor) (provider.Page, error), c provider.Cursor) {
					t.Helper()
					got := map[provider.ItemID]error{}
					for n, more := 0, true; more; n++ {
						if n > 50 {
							t.Fatalf("%s: there is no end", what)
						}
						p, err := next(w.open(t), c)
						if err != nil {
							continue
						}
						for _, it := range p.Items {
							got[it.ID] = it.Err
						}
						c, more = p.Next, p.More
					}
					if len(got) != 60 && what == "changes" || len(got) != 120 && what == "history" {
						t.Errorf("%s: %d messages", what, len(got))
					}
					for id, err := range got {
						if err != nil && string(id) != bad {
							t.Errorf("%s: %v", id, err)
						}
					}
				}
				follow("changes", func(box *gmail.Mailbox, c provider.Cursor) (provider.Page, error) { return box.Changes(t.Context(), c) }, cur)
				follow("history", func(box *gmail.Mailbox, c provider.Cursor) (provider.Page, error) {
					return box.History(t.Context(), provider.Window{}, c)
				}, nil)
			})
		})
	}
}

// A label that can't be listed when the mailbox is listed anew, and is there all the same, is not told as if nothing lay in it.
func TestLabelRefusedWhileListingAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{}, gmail.Options{})
		filed := w.user.CreateLabel("Filed")
		refused := true
		w.between(func(r *http.Request, status int, body string) (int, string) {
			if refused && r.URL.Query().Get("labelIds") == filed {
				return 400, `{"error":{"code":400,"message":"no","errors":[{"reason":"invalidArgument"}]}}`
			}
			return status, body
		})
		box := w.open(t)
		c := start(t, box)
		id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0, filed))
		w.user.ExpireHistory()
		for n := 0; ; n++ {
			p, err := box.Changes(t.Context(), c)
			if err != nil {
				break
			}
			if c = p.Next; !p.More {
				t.Fatal("it ended, and the label was not listed")
			}
		}
		refused = false
		lies := false
		for more := true; more; {
			p, err := box.Changes(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				lies = lies || it.ID == id && len(it.Folders) == 1 && it.Folders[0].ID == filed
			}
			c, more = p.Next, p.More
		}
		if !lies {
			t.Error("where the message lies was not told")
		}
	})
}

// What the owner renames or makes again under another id is asked for anew.
func TestLabelIDsChange(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	for i := range 3 {
		l := w.user.CreateLabel(fmt.Sprint("Deals ", i))
		w.user.Deliver(providertest.Mail(fmt.Sprint(i), "x"), day0, l)
		p := changes(t, box, c)
		if c = p.Next; len(p.Items) != 1 || p.Items[0].Folders[0].Name != fmt.Sprint("Deals ", i) {
			b, _ := json.Marshal(p) //nolint:errcheck // plain
			t.Errorf("%s", b)
		}
	}
}
