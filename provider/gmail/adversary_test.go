package gmail_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// between lets a test change what the server answers: change gets each answer, and returns what is to be handed on.
func (w *world) between(change func(r *http.Request, status int, body string) (int, string)) {
	base := w.srv.Transport()
	w.opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		status, body := change(r, resp.StatusCode, string(b))
		resp.StatusCode, resp.Status = status, fmt.Sprint(status, " ", http.StatusText(status))
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		resp.Header.Del("Content-Length")
		return resp, nil
	})}
}

func isBatch(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/batch") }

// Parts of a batch that are called by each other's names, or by none, in another order: no message is taken for another.
func TestBatchMixedUp(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"names exchanged": func(s string) string {
			return strings.NewReplacer("response-item-0>", "response-item-1>", "response-item-1>", "response-item-0>").Replace(s)
		},
		"no names": func(s string) string { return regexp.MustCompile(`(?i)content-id: [^\r]*\r\n`).ReplaceAllString(s, "") },
		"one name for all": func(s string) string {
			return regexp.MustCompile(`response-item-\d+`).ReplaceAllString(s, "response-item-0")
		},
		"empty objects": func(s string) string {
			return regexp.MustCompile(`(?s)\r\n\r\n\{.*?\r\n--`).ReplaceAllString(s, "\r\n\r\n{}\r\n--")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(gmailtest.Options{}, gmail.Options{})
			w.srv.ShuffleBatches(true)
			w.between(func(r *http.Request, status int, body string) (int, string) {
				if isBatch(r) {
					return status, change(body)
				}
				return status, body
			})
			box := w.open(t)
			c := start(t, box)
			want := map[provider.ItemID]string{}
			for i := range 7 {
				name := fmt.Sprint("m", i)
				want[provider.ItemID(w.user.Deliver(providertest.Mail(name, "about "+name), day0))] = name + "@sender.example"
			}
			p := changes(t, box, c)
			var ids []provider.ItemID
			for _, it := range p.Items {
				ids = append(ids, it.ID)
				if it.Err == nil && it.Envelope.MessageID != want[it.ID] {
					t.Errorf("%s is told to be %q", it.ID, it.Envelope.MessageID)
				}
			}
			if len(ids) != 7 {
				t.Errorf("%d items", len(ids))
			}
			other := w.open(t)
			other.Prefetch(ids)
			for _, id := range ids {
				if m, err := other.Content(t.Context(), id); err != nil || m.MessageID != want[id] {
					t.Errorf("%s: %v, %+v", id, err, m)
				}
			}
		})
	}
}

// A batch that fails where single calls don't is given up.
func TestBatchNeverWorks(t *testing.T) {
	for name, change := range map[string]func() (int, string){
		"a page": func() (int, string) { return 200, "<!DOCTYPE html><title>Hello</title>" },
		"500": func() (int, string) {
			return 500, `{"error":{"code":500,"message":"no","errors":[{"reason":"backendError"}]}}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{})
				w.between(func(r *http.Request, status int, body string) (int, string) {
					if isBatch(r) {
						return change()
					}
					return status, body
				})
				box := w.open(t)
				c := start(t, box)
				for i := range 3 {
					w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), time.Now())
				}
				if p := changes(t, box, c); len(p.Items) != 3 || p.Items[0].Envelope.MessageID == "" {
					t.Errorf("%+v", p.Items)
				}
			})
		})
	}
}

// Google may look at the token of each part of a batch.
func TestTokenRefusedInBatch(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	for i := range 5 {
		w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0)
	}
	w.srv.Fail("gmail.users.messages.get", 5, gmailtest.TokenRefused)
	if p, err := box.Changes(t.Context(), c); err != nil || len(p.Items) != 5 || p.Items[4].Envelope.MessageID == "" {
		t.Errorf("%+v, %v", p, err)
	}
}

// How much may be sent in a day says nothing about reading.
func TestSendingLimitLetsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{SendsPerDay: 1}, gmail.Options{})
		box := w.open(t)
		id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), time.Now()))
		send := func() error {
			st, err := box.Stage(t.Context(), outgoing, options())
			if err != nil {
				return err
			}
			_, err = box.Release(t.Context(), st)
			return err
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
		var limit *provider.RateLimitError
		if err := send(); !errors.As(err, &limit) || limit.RetryAfter < 20*time.Hour || !errors.Is(err, provider.ErrNotSent) || !errors.Is(err, provider.ErrTryLater) {
			t.Fatalf("%v, %v", err, limit)
		}
		if _, err := box.Content(t.Context(), id); err != nil {
			t.Errorf("reading: %v", err)
		}
		if _, err := box.Archive(t.Context(), provider.Target{Item: id}); err != nil {
			t.Errorf("archiving: %v", err)
		}
		n := w.srv.Count("gmail.users.drafts.send")
		if err := send(); !errors.As(err, &limit) || limit.RetryAfter < 20*time.Hour || !errors.Is(err, provider.ErrTryLater) || w.srv.Count("gmail.users.drafts.send") != n {
			t.Errorf("sent again: %v", err)
		}
		time.Sleep(25 * time.Hour)
		if err := send(); err != nil {
			t.Errorf("a day later: %v", err)
		}
	})
}

// Without drafts, too, a thread of another mailbox is no reason not to send.
func TestSendOnlyInForeignThread(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{ReadOnly: true})
	box := w.open(t)
	o := options()
	o.Thread = "18c0000000000000"
	st, err := box.Stage(t.Context(), outgoing, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Release(t.Context(), st); err != nil || len(w.srv.Sent()) != 1 {
		t.Errorf("%v, %d sent", err, len(w.srv.Sent()))
	}
}

// An address that was verified a moment ago is one to send as.
func TestNewAlias(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.user.SetAlias(gmailtest.Alias{Address: "sales@acme.example", Pending: true})
	box := w.open(t)
	o := options()
	o.From = "sales@acme.example"
	raw := bytes.ReplaceAll(outgoing, []byte(owner), []byte(o.From))
	if _, err := box.Stage(t.Context(), raw, o); !errors.Is(err, provider.ErrNotSent) {
		t.Fatal(err)
	}
	w.user.SetAlias(gmailtest.Alias{Address: "sales@acme.example"})
	if _, err := box.Stage(t.Context(), raw, o); err != nil {
		t.Error(err)
	}
}

// A service that answers 200 and says nothing.
func TestEmptyAnswers(t *testing.T) {
	for name, path := range map[string]string{"profile": "/profile", "draft": "/drafts", "sent": "/drafts/send", "list": "/messages", "history": "/history", "label": "/labels"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(gmailtest.Options{}, gmail.Options{})
				w.between(func(r *http.Request, status int, body string) (int, string) {
					if strings.HasSuffix(r.URL.Path, path) && (path != "/labels" || r.Method == http.MethodPost) {
						return 200, "{}"
					}
					return status, body
				})
				box, err := w.tryOpen(t.Context())
				if name == "profile" {
					if err == nil {
						t.Error("whose mailbox it is nobody said")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				c := start(t, box)
				id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), time.Now()))
				st, err := box.Stage(t.Context(), outgoing, options())
				switch name {
				case "draft":
					if err == nil {
						t.Errorf("staged as %+v", st)
					}
				case "sent":
					if sent, err := box.Release(t.Context(), st); err == nil || errors.Is(err, provider.ErrNotSent) {
						t.Errorf("%+v, %v", sent, err)
					}
					if o, _, err := box.Lookup(t.Context(), st); o != provider.OutcomeSent || err != nil { // for it was
						t.Errorf("%v, %v", o, err)
					}
				case "label":
					if did, err := box.Label(t.Context(), provider.Target{Item: id}, "Deals"); err == nil {
						t.Errorf("%+v", did)
					}
				case "list":
					if p, err := box.History(t.Context(), provider.Window{From: day0}, nil); err == nil {
						t.Errorf("%+v, %v", p, err)
					}
				case "history":
					if p, err := box.Changes(t.Context(), c); err == nil {
						t.Errorf("%+v, %v", p, err)
					}
				}
			})
		})
	}
}

// Pages that never end are told of, and no call takes for ever.
func TestEndlessPages(t *testing.T) {
	for name, change := range map[string]func(n int, body string) string{
		"the same page": func(_ int, _ string) string {
			return `{"messages":[{"id":"00000000000000a1","threadId":"1"}],"nextPageToken":"same"}`
		},
		"empty pages": func(n int, _ string) string { return fmt.Sprintf(`{"nextPageToken":"t%d"}`, n) },
		"one page for ever": func(n int, _ string) string {
			return fmt.Sprintf(`{"messages":[{"id":"00000000000000a1","threadId":"1"}],"nextPageToken":"t%d"}`, n)
		},
		"the same, no page": func(_ int, _ string) string { return `{"nextPageToken":"same"}` },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(gmailtest.Options{}, gmail.Options{})
			n := 0
			w.between(func(r *http.Request, status int, body string) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/messages") {
					n++
					return 200, change(n, body)
				}
				if strings.HasSuffix(r.URL.Path, "/history") {
					n++
					return 200, strings.Replace(change(n, body), "{", `{"historyId":"999999",`, 1)
				}
				return status, body
			})
			box := w.open(t)
			ends := func(what string, page func(provider.Cursor) (provider.Page, error)) {
				t.Helper()
				var c provider.Cursor
				for range 1000 {
					n = 0
					p, err := page(c)
					if n > 300 {
						t.Fatalf("%s: %d calls for one page", what, n)
					}
					if err != nil || !p.More {
						return
					}
					c = p.Next
				}
				if name != "one page for ever" && name != "empty pages" {
					t.Errorf("%s goes on", what)
				}
			}
			w0 := provider.Window{}
			ends("history", func(c provider.Cursor) (provider.Page, error) { return box.History(t.Context(), w0, c) })
			c := start(t, box)
			ends("changes", func(at provider.Cursor) (provider.Page, error) {
				if at == nil {
					at = c
				}
				return box.Changes(t.Context(), at)
			})
			ends("search", func(c provider.Cursor) (provider.Page, error) {
				return box.Search(t.Context(), w0, []string{"a@b.example"}, c)
			})
			n = 0
			for _, err := range box.Inventory(t.Context(), provider.Scope{}) {
				if n > 1000 {
					t.Fatal("the inventory goes on")
				}
				if err != nil {
					break
				}
			}
		})
	}
}

// A history whose page tokens have died whenever they are used is read all the same.
func TestHistoryTokensDieAtOnce(t *testing.T) {
	now := day0
	w := newWorld(gmailtest.Options{PageSize: 10, PageTokenLife: time.Minute, Now: func() time.Time { return now }, HistoryLife: -1}, gmail.Options{})
	box := w.open(t)
	c := start(t, box)
	for i := range 75 {
		w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), day0)
	}
	seen := map[provider.ItemID]bool{}
	for range 40 {
		p, err := box.Changes(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			seen[it.ID] = true
		}
		if c = p.Next; !p.More {
			break
		}
		now = now.Add(time.Hour)
	}
	if len(seen) != 75 {
		t.Errorf("%d of 75", len(seen))
	}
}

// One record may name more messages than a minute's quota reads.
func TestRecordBeyondQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(gmailtest.Options{UserUnits: 600}, gmail.Options{UnitsPerMinute: 600})
		var record strings.Builder
		w.between(func(r *http.Request, status int, body string) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/history") {
				return 200, fmt.Sprintf(`{"historyId":"999999","history":[{"id":"999998","messagesAdded":[%s]}]}`, strings.TrimSuffix(record.String(), ","))
			}
			return status, body
		})
		box := w.open(t)
		c := start(t, box)
		for i := range 100 {
			id := w.user.Deliver(providertest.Mail(fmt.Sprint("m", i), "x"), time.Now())
			fmt.Fprintf(&record, `{"message":{"id":%q,"threadId":"1","labelIds":["INBOX"]}},`, id)
		}
		seen := map[provider.ItemID]bool{}
		for range 30 {
			p, err := box.Changes(t.Context(), c)
			var limit *provider.RateLimitError
			if errors.As(err, &limit) {
				time.Sleep(limit.RetryAfter)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				seen[it.ID] = true
			}
			if c = p.Next; !p.More {
				break
			}
		}
		if len(seen) != 100 {
			t.Errorf("%d of 100", len(seen))
		}
	})
}

// A mailbox that was put back to an earlier state is listed anew: its ids are below ours, and mail would be passed over in silence.
func TestHistoryGoesBack(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	back := false
	w.between(func(r *http.Request, status int, body string) (int, string) {
		if back && strings.HasSuffix(r.URL.Path, "/profile") {
			body = regexp.MustCompile(`"historyId":"\d+"`).ReplaceAllString(body, `"historyId":"7"`)
		}
		if back && strings.HasSuffix(r.URL.Path, "/history") {
			body = `{"historyId":"8"}`
		}
		return status, body
	})
	box := w.open(t)
	c := start(t, box)
	id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
	back = true
	found := false
	for range 5 { // polls
		p := changes(t, box, c)
		for _, it := range p.Items {
			found = found || it.ID == id
		}
		c = p.Next
	}
	if !found {
		t.Error("the mail was passed over")
	}
}

// A message whose parts can't be had at all, or whose answer is longer than is read, holds up none of the others. (On a clock that stands, as
// reading so much takes a while.)
func TestAnswerTooLong(t *testing.T) { synctest.Test(t, testAnswerTooLong) }

func testAnswerTooLong(t *testing.T) {
	w := newWorld(gmailtest.Options{InlineBody: 1 << 30, Missing: []string{"batch"}}, gmail.Options{})
	var huge string
	w.between(func(r *http.Request, status int, body string) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/messages/"+huge) && r.URL.Query().Get("format") == "full" {
			return 200, strings.Replace(body, "{", `{"pad":"`+strings.Repeat("x", 65<<20)+`",`, 1)
		}
		return status, body
	})
	box := w.open(t)
	c := start(t, box)
	huge = w.user.Deliver(providertest.Mail("huge", "x"), day0)
	w.user.Deliver(providertest.Mail("a", "x"), day0)
	p := changes(t, box, c)
	if len(p.Items) != 2 || p.Items[0].Envelope.MessageID != "huge@sender.example" || p.Items[1].Envelope.MessageID != "a@sender.example" {
		t.Errorf("%+v", p.Items)
	}
}

// What is called multipart and has no parts is read as it stands.
func TestMultipartWithoutParts(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	id := provider.ItemID(w.user.Deliver(crlf(top+"Subject: x\nContent-Type: multipart/mixed\n\nHello there\n"), day0))
	if m, err := box.Content(t.Context(), id); err != nil || strings.TrimSpace(m.Text) != "Hello there" {
		t.Errorf("%+v, %v", m, err)
	}
}

// A label that its owner deletes while it is put on is made again, and one that differs only in how its letters are written is the same.
func TestLabelOddities(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
	at := provider.Target{Item: id}
	first, err := box.Label(t.Context(), at, "Deals")
	if err != nil {
		t.Fatal(err)
	}
	w.user.DeleteLabel(first.To)
	if did, err := box.Label(t.Context(), at, "Deals"); err != nil || did.To == "" || did.Already {
		t.Errorf("%+v, %v", did, err)
	}
	composed, err := box.Label(t.Context(), at, "Gesch\u00e4ft")
	if err != nil {
		t.Fatal(err)
	}
	if did, err := box.Label(t.Context(), at, "Gescha\u0308ft"); err != nil || did.To != composed.To {
		t.Errorf("%+v, %v, want %s", did, err, composed.To)
	}
}

// Whom the CRM knows by an odd address widens no search.
func TestSearchInjection(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	w.user.Deliver(providertest.Mail("a", "x"), day0)
	box := w.open(t)
	for _, who := range []string{`x) OR (in:anywhere`, `x} in:inbox {@evil.example`, "x\u00a0in:inbox@evil.example", "x\u3000in:inbox@evil.example", "x\u2028in:inbox@evil.example",
		"x\u0085in:inbox@evil.example", `"a b"@evil.example`, "OR", "-", "", "@", "in:inbox", "*@evil.example", strings.Repeat("x", 5000) + "@evil.example",
		strings.Repeat("x", 300) + ".example", "a@b@c", "\u202ea@b.example", "a:b@evil.example", "\"@evil.example", "x|in:inbox@evil.example"} {
		w.srv.Forget()
		p, err := box.Search(t.Context(), provider.Window{}, []string{who}, nil)
		if err != nil || len(p.Items) > 0 || p.More {
			t.Errorf("%.40q: %+v, %v", who, p, err)
		}
		for _, c := range w.calls("gmail.users.messages.list") {
			if len(c.Path) > 8000 {
				t.Errorf("%.40q: a query of %d bytes", who, len(c.Path))
			}
			if regexp.MustCompile(`%C2%A0|%E3%80%80|%E2%80|%C2%85`).MatchString(c.Path) {
				t.Errorf("%.40q is asked for as it is: %s", who, c.Path)
			}
		}
	}
}

// That a text can't be had does not mean that the message is gone.
func TestTextNotThere(t *testing.T) {
	for name, answer := range map[string]string{"by its JSON": `{"error":{"code":404,"message":"Requested entity was not found.","errors":[{"reason":"notFound"}]}}`, "as a page": "<title>404</title>"} {
		w := newWorld(gmailtest.Options{InlineBody: 1}, gmail.Options{})
		w.between(func(r *http.Request, status int, body string) (int, string) {
			if strings.Contains(r.URL.Path, "/attachments/") {
				return 404, answer
			}
			return status, body
		})
		box := w.open(t)
		c := start(t, box)
		id := provider.ItemID(w.user.Deliver(providertest.Mail("a", "x"), day0))
		ask := func(m *message.Message, err error) {
			t.Helper()
			if errors.Is(err, provider.ErrGone) || name == "as a page" && (err != nil || m.MessageID != "a@sender.example" || len(m.Defects) == 0) {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
		}
		ask(box.Content(t.Context(), id))
		changes(t, box, c)
		box.Prefetch([]provider.ItemID{id})
		ask(box.Content(t.Context(), id))
	}
}

// Recipients that have no key are not taken for one another.
func TestSendToOddAddresses(t *testing.T) {
	w := newWorld(gmailtest.Options{}, gmail.Options{})
	box := w.open(t)
	o := options()
	long := strings.Repeat("x.", 130) + "example"
	o.Recipients = append(o.Recipients, "a@"+long, "b@"+long)
	if st, err := box.Stage(t.Context(), outgoing, o); !errors.Is(err, provider.ErrNotSent) {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := box.Stage(t.Context(), bytes.Replace(outgoing, []byte("ada@sender.example"), []byte("ada@sender.example, eve@"+long), 1), options()); !errors.Is(err, provider.ErrNotSent) {
		t.Errorf("%+v, %v", st, err)
	}
	o = options()
	o.Recipients = append(o.Recipients, `"a, b"@sender.example`, `"x> <eve"@sender.example`)
	if st, err := box.Stage(t.Context(), outgoing, o); !errors.Is(err, provider.ErrNotSent) {
		t.Errorf("%+v, %v", st, err)
	}
	o.Recipients = o.Recipients[:2]
	st, err := box.Stage(t.Context(), outgoing, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Release(t.Context(), st); err != nil || len(w.srv.Sent()) != 1 || len(w.srv.Sent()[0].Recipients) != 2 {
		t.Errorf("%v, %+v", err, w.srv.Sent())
	}
}

// What its owner did to a draft between staging and sending: nothing is sent twice, and nobody says that it was not sent who can't know.
func TestDraftTouched(t *testing.T) {
	for name, do := range map[string]func(w *world, draft string){
		"deleted":       func(w *world, d string) { w.user.DiscardDraft(d) },
		"sent by hand":  func(w *world, d string) { w.user.SendDraft(d) },
		"edited":        func(w *world, d string) { w.user.EditDraft(d, bytes.Replace(outgoing, []byte("Our"), []byte("My"), 1)) },
		"left as it is": func(*world, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(gmailtest.Options{}, gmail.Options{})
			box := w.open(t)
			st, err := box.Stage(t.Context(), outgoing, options())
			if err != nil {
				t.Fatal(err)
			}
			draft, _, _ := strings.Cut(st.ID, "/")
			do(w, draft)
			for range 3 {
				_, err = box.Release(t.Context(), st)
				if err == nil {
					break
				}
				out, sent, lerr := box.Lookup(t.Context(), st)
				if lerr != nil {
					t.Fatal(lerr)
				}
				switch name {
				case "deleted":
					if out != provider.OutcomeUnknown || errors.Is(err, provider.ErrNotSent) {
						t.Errorf("%s, %v", out, err)
					}
				case "sent by hand":
					if out != provider.OutcomeSent || sent.MessageID == "" {
						t.Errorf("%s, %+v", out, sent)
					}
				default:
					t.Errorf("%v", err)
				}
			}
			if n := len(w.srv.Sent()); name == "deleted" && n != 0 || name != "deleted" && n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

// A token of another service is not shown to Google.
func TestRevokeAtHome(t *testing.T) {
	for token, want := range map[string]string{"": "https://oauth2.googleapis.com/revoke", "https://login.example/token": ""} {
		if got := gmail.New(&gmail.Options{TokenURL: token}).OAuth(provider.OAuthApp{}).Revoke; got != want {
			t.Errorf("tokens of %q are revoked at %q", token, got)
		}
	}
}
