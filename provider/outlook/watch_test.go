package outlook_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

const notifyURL = "https://crm.example/email/push/outlook"

// endpoint is what the engine's handler does with a notification.
type endpoint struct {
	mu   sync.Mutex // guards what follows
	p    *outlook.Provider
	news []provider.News
	errs []error
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	got, err := e.p.Push(r)
	switch {
	case errors.Is(err, provider.ErrForged):
		e.errs = append(e.errs, err)
		w.WriteHeader(http.StatusUnauthorized)
	case err != nil:
		e.errs = append(e.errs, err)
		w.WriteHeader(http.StatusServiceUnavailable)
	case got.Answer != "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, got.Answer) //nolint:errcheck // a test
	default:
		e.news = append(e.news, got.News...)
		w.WriteHeader(http.StatusAccepted)
	}
}

func (e *endpoint) take() []provider.News {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.news
	e.news = nil
	return out
}

func watching(t testing.TB, o graphtest.Options) (*world, *endpoint) {
	w := newWorld(t, o, outlook.Options{NotifyURL: notifyURL, PushKey: []byte("a key of the host's, kept secret")})
	e := &endpoint{p: w.provider()}
	w.srv.Webhook("https://crm.example/", e)
	return w, e
}

func (w *world) watch(t *testing.T, had []byte) provider.Watch {
	t.Helper()
	got, err := w.prov.Watch(t.Context(), w.user.TokenSource(scopes...), had)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A subscription is made with a handshake, tells of news, is prolonged, and made anew where it has ended; each event of its life is understood.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, e := watching(t, graphtest.Options{})
		first := w.watch(t, nil)
		subs := w.user.Subscriptions()
		if len(subs) != 1 || !subs[0].Immutable || subs[0].LifecycleURL != notifyURL || !subs[0].Expires.Equal(first.Expires) || time.Until(first.Expires) < 6*24*time.Hour {
			t.Fatalf("%+v, %+v", first, subs)
		}
		if strings.Contains(string(first.Handle), subs[0].ClientState) {
			t.Error("the handle is a secret")
		}
		is := func(what string, rewatch bool) {
			t.Helper()
			ns := e.take()
			if len(ns) == 0 {
				t.Errorf("%s: nothing was told", what)
			}
			for _, n := range ns {
				if string(n.Handle) != string(first.Handle) || n.Address != "" || n.Rewatch != rewatch {
					t.Errorf("%s: %+v", what, n)
				}
			}
		}
		id := w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "inbox")
		is("new mail", false)
		w.user.Archive(id)
		is("a move", false)
		w.user.MissNotifications()
		is("missed", false)
		w.user.LapseSubscriptions()
		is("lapsed", true)
		time.Sleep(12 * time.Hour)
		again := w.watch(t, first.Handle)
		if string(again.Handle) != string(first.Handle) || !again.Expires.After(first.Expires) || len(w.user.Subscriptions()) != 1 || w.user.Subscriptions()[0].Lapsed {
			t.Errorf("prolonged: %+v, %+v", again, w.user.Subscriptions())
		}
		w.user.Deliver(providertest.Mail("b", "x"), time.Now(), "inbox")
		is("after it was prolonged", false)
		w.user.ChangePassword()
		is("removed", true)
		anew := w.watch(t, first.Handle)
		if string(anew.Handle) == string(first.Handle) || len(w.user.Subscriptions()) != 1 {
			t.Errorf("made anew: %+v, %+v", anew, w.user.Subscriptions())
		}
		first = anew
		// Many in a post, and twice.
		w.srv.HoldNotifications(true)
		w.srv.RepeatNotifications(10)
		for range 10 {
			w.user.Deliver(providertest.Mail("c", "x"), time.Now(), "inbox")
		}
		w.srv.Notify()
		w.srv.HoldNotifications(false)
		if n := len(e.take()); n != 1 {
			t.Errorf("twenty notifications of one mailbox are %d pieces of news", n)
		}
		if len(e.errs) > 0 {
			t.Errorf("%v", e.errs)
		}
		if err := w.prov.Unwatch(t.Context(), w.user.TokenSource(scopes...), first.Handle); err != nil || len(w.user.Subscriptions()) != 0 {
			t.Errorf("ended: %v, %+v", err, w.user.Subscriptions())
		}
		if err := w.prov.Unwatch(t.Context(), w.user.TokenSource(scopes...), first.Handle); err != nil {
			t.Errorf("ended twice: %v", err)
		}
		if err := w.prov.Unwatch(t.Context(), w.user.TokenSource(scopes...), nil); err != nil {
			t.Errorf("nothing was ended: %v", err)
		}
	})
}

// Where the key or the address changed the subscription of before is ended, and another made; its notifications are refused. Where Graph takes no seven days it
// gets less.
func TestWatchesChange(t *testing.T) {
	w, e := watching(t, graphtest.Options{SubscriptionLife: 4230 * time.Minute})
	first := w.watch(t, nil)
	if d := time.Until(first.Expires); d < 60*time.Hour || d > 71*time.Hour {
		t.Errorf("it lasts %s", d)
	}
	w.opts.PushKey = []byte("another key of the host's, as secret")
	w.prov = outlook.New(&w.opts)
	e.p = w.prov
	w.user.Deliver(providertest.Mail("a", "x"), time.Now(), "inbox")
	if len(e.take()) != 0 || len(e.errs) == 0 || !errors.Is(e.errs[0], provider.ErrForged) {
		t.Errorf("a notification by the former key: %v", e.errs)
	}
	second := w.watch(t, first.Handle)
	if subs := w.user.Subscriptions(); len(subs) != 1 || string(second.Handle) == string(first.Handle) {
		t.Errorf("%+v", subs)
	}
	w.user.Deliver(providertest.Mail("b", "x"), time.Now(), "inbox")
	if ns := e.take(); len(ns) != 1 || string(ns[0].Handle) != string(second.Handle) {
		t.Errorf("%+v", ns)
	}
	// Another person's subscription is not gone on with.
	other := w.srv.AddUser("you@acme.example")
	third, err := w.prov.Watch(t.Context(), other.TokenSource(scopes...), second.Handle)
	if err != nil || string(third.Handle) == string(second.Handle) || len(other.Subscriptions()) != 1 {
		t.Errorf("%+v, %v", third, err)
	}
}

func TestWatchIsNotSetUp(t *testing.T) {
	for says, o := range map[string]outlook.Options{"Notifications": {}, "16 bytes": {NotifyURL: notifyURL, PushKey: []byte("short")}} {
		w := newWorld(t, graphtest.Options{}, o)
		_, err := w.provider().Watch(t.Context(), w.user.TokenSource(scopes...), nil)
		if err == nil || !strings.Contains(err.Error(), says) || !(errors.Is(err, provider.ErrUnsupported) || action(provider.Operator, says)(err)) {
			t.Errorf("%v", err)
		}
		if _, err := w.prov.Push(httptest.NewRequest("POST", "/", strings.NewReader(`{"value":[]}`))); !errors.Is(err, provider.ErrForged) {
			t.Errorf("%v", err)
		}
		if err := w.prov.Unwatch(t.Context(), w.user.TokenSource(scopes...), []byte("a b c")); err != nil {
			t.Errorf("%v", err)
		}
	}
	// Nobody answers at the address.
	w, _ := watching(t, graphtest.Options{})
	w.srv.Webhook("https://crm.example/", http.NotFoundHandler())
	if _, err := w.prov.Watch(t.Context(), w.user.TokenSource(scopes...), nil); err == nil {
		t.Error("a subscription without a handshake")
	}
}

// The endpoint can be reached by anybody: what it echoes is text, and what is not Graph's is refused.
func TestPush(t *testing.T) {
	w, _ := watching(t, graphtest.Options{})
	push := func(target, body string) (provider.Pushed, error) {
		return w.prov.Push(httptest.NewRequest("POST", target, strings.NewReader(body)))
	}
	if got, err := push("/x?validationToken=Validation%3A+a%2Bb%2F%3D", ""); err != nil || got.Answer != "Validation: a+b/=" || len(got.News) > 0 { // facts 2.4: URL-decoded
		t.Errorf("%+v, %v", got, err)
	}
	for _, q := range []string{"/x?validationToken=" + strings.Repeat("a", 5000), "/x?validationToken=a%0d%0ab"} {
		if got, err := push(q, ""); !errors.Is(err, provider.ErrForged) {
			t.Errorf("%.40s: %+v, %v", q, got, err)
		}
	}
	for _, b := range []string{"", "{}", `{"value":[{"subscriptionId":"s","clientState":"guess"}]}`} {
		if got, err := push("/x", b); !errors.Is(err, provider.ErrForged) || len(got.News) > 0 {
			t.Errorf("%q: %+v, %v", b, got, err)
		}
	}
	r := httptest.NewRequest("POST", "/x", nil)
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader(strings.Repeat("x", 100))), 10)
	var long *http.MaxBytesError
	if _, err := w.prov.Push(r); !errors.As(err, &long) || errors.Is(err, provider.ErrForged) {
		t.Errorf("%v", err)
	}
}

// One post may tell of many mailboxes, each many times, with events of their life and with what is not ours among it (facts 2.4).
func TestPushOfMany(t *testing.T) {
	w, _ := watching(t, graphtest.Options{})
	made, err := w.prov.Watch(t.Context(), w.user.TokenSource(scopes...), nil)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(string(made.Handle), " ")
	state := w.user.Subscriptions()[0].ClientState
	var b strings.Builder
	b.WriteString(`{"value":[{"subscriptionId":"x","clientState":"forged"}`)
	for i := range 3000 {
		fmt.Fprintf(&b, `,{"subscriptionId":"%s","clientState":"%s","changeType":"created","resource":"Users/x/Messages/%d","resourceData":{"id":"%d"}}`, id, state, i, i)
	}
	fmt.Fprintf(&b, `,{"subscriptionId":"another's","clientState":"%s"},{"subscriptionId":"%s","clientState":"%s","lifecycleEvent":"subscriptionRemoved"},null]}`, state, id, state)
	got, err := w.prov.Push(httptest.NewRequest("POST", "/x", strings.NewReader(b.String())))
	if err != nil || len(got.News) != 2 {
		t.Fatalf("%d, %v", len(got.News), err)
	}
	for _, n := range got.News {
		if ours := string(n.Handle) == string(made.Handle); ours != n.Rewatch || !ours && !strings.HasPrefix(string(n.Handle), "another's ") {
			t.Errorf("%q: rewatch %v", n.Handle, n.Rewatch)
		}
	}
}

// A subscription that can't be renewed is made anew, whatever the reason: it would be the same the next time. What may pass is no reason.
func TestRenewalIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fault graphtest.Fault
		anew  bool
	}{
		"gone":              {graphtest.Fault{Status: 404, Code: "ResourceNotFound"}, true},
		"gone, no words":    {graphtest.Fault{Status: 404, Bare: true}, true},
		"another's":         {graphtest.Fault{Status: 403, Code: "AccessDenied"}, true},
		"another's, so":     {graphtest.Fault{Status: 403, Code: "x"}, true},
		"for what it is":    {graphtest.Fault{Status: 400, Code: "InvalidRequest"}, true},
		"a server error":    {graphtest.ServerError, false},
		"a limit":           {graphtest.Throttled, false},
		"signed in no more": {graphtest.TokenRefused, false},
	} {
		w, _ := watching(t, graphtest.Options{})
		had, err := w.prov.Watch(t.Context(), w.user.TokenSource(scopes...), nil)
		if err != nil {
			t.Fatal(err)
		}
		w.srv.Fail("subscriptions.update", 2, c.fault)
		got, err := w.prov.Watch(t.Context(), w.user.TokenSource(scopes...), had.Handle)
		if c.anew != (err == nil) || c.anew && string(got.Handle) == string(had.Handle) {
			t.Errorf("%s: %q, %v", name, got.Handle, err)
		}
		want := 1
		if c.anew && c.fault.Status == 404 {
			want = 2 // the fake has it still
		}
		if n := len(w.user.Subscriptions()); n != want {
			t.Errorf("%s: there are %d", name, n)
		}
	}
}
