package graphtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// crm is an app's webhook.
type crm struct {
	status int // of answers; 0: 202
	posts  [][]obj
	shakes int
}

func (h *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if v := r.URL.Query().Get("validationToken"); v != "" {
		h.shakes++
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, v)
		return
	}
	b, _ := io.ReadAll(r.Body)
	var in struct{ Value []obj }
	_ = json.Unmarshal(b, &in)
	h.posts = append(h.posts, in.Value)
	if h.status == 0 {
		h.status = http.StatusAccepted
	}
	w.WriteHeader(h.status)
}

// told is what was told since, each as "change id" or the event.
func (h *crm) told() (out []string) {
	for _, p := range h.posts {
		for _, v := range p {
			if e, ok := v["lifecycleEvent"]; ok {
				out = append(out, e.(string))
				continue
			}
			out = append(out, fmt.Sprint(v["changeType"], " ", v["resourceData"].(obj)["id"]))
		}
	}
	h.posts = nil
	return out
}

func subscription(resource, changes string, at time.Time) obj {
	return obj{"resource": resource, "changeType": changes, "notificationUrl": "https://crm.example/hook?x=1", "lifecycleNotificationUrl": "https://crm.example/life",
		"expirationDateTime": at.Format(time.RFC3339), "clientState": "secret"}
}

func TestSubscriptionsNotify(t *testing.T) {
	s, c := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	h := &crm{}
	s.Webhook("https://crm.example/", h)
	sub := a.post("/subscriptions", subscription("me/messages", "created,updated", noon.Add(24*time.Hour))).want(t, "201")
	if h.shakes != 2 || sub.str("id") == "" {
		t.Fatalf("%d handshakes, %s", h.shakes, sub.raw)
	}
	inbox := a.post("/subscriptions", subscription("/me/mailFolders('inbox')/messages", "created,updated,deleted", noon.Add(time.Hour))).want(t, "201").str("id")
	id := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	if v := h.posts[0][0]; v["clientState"] != "secret" || v["subscriptionId"] != sub.str("id") || v["tenantId"] != ada.Tenant || !strings.HasPrefix(v["resource"].(string), "Users/"+ada.OID+"/Messages/") {
		t.Errorf("notified %v", v)
	}
	if got := h.told(); !slices.Equal(got, []string{"created " + id, "created " + id}) {
		t.Errorf("told %v", got)
	}
	ada.Archive(id)
	if got := h.told(); !slices.Equal(got, []string{"updated " + id, "deleted " + id}) {
		t.Errorf("told %v", got)
	}

	// Many in one post, twice, in another order, lost.
	s.HoldNotifications(true)
	s.RepeatNotifications(1)
	for range 3 {
		ada.Flag(id, true)
	}
	s.ReorderNotifications(true)
	if n := s.Notify(); n != 1 || len(h.posts[0]) != 4 {
		t.Errorf("%d posts, %v", n, h.posts)
	}
	h.told()
	s.HoldNotifications(false)
	s.ReorderNotifications(false)
	s.DropNotifications(1)
	ada.Flag(id, false)
	if got := h.told(); len(got) != 0 {
		t.Errorf("told %v", got)
	}
	s.DelayNotifications(time.Minute)
	ada.Flag(id, true)
	s.DelayNotifications(0)
	if got := h.told(); len(got) != 0 {
		t.Errorf("told %v", got)
	}
	c.advance(time.Minute)
	s.Notify()
	if got := h.told(); !slices.Equal(got, []string{"updated " + id}) {
		t.Errorf("told %v", got)
	}

	// What is not taken comes again, for four hours.
	h.status = 500
	ada.Flag(id, false)
	h.told()
	c.advance(10 * time.Second)
	s.Notify()
	if got := h.told(); len(got) != 1 {
		t.Errorf("told again %v", got)
	}
	c.advance(4 * time.Hour)
	h.status = 202
	s.Notify()
	if got := h.told(); len(got) != 0 {
		t.Errorf("told after four hours %v", got)
	}

	// The inbox's has ended meanwhile.
	a.patch("/subscriptions/"+inbox, obj{"expirationDateTime": c.now().Add(time.Hour).Format(time.RFC3339)}).want(t, "404 ResourceNotFound")
	a.patch("/subscriptions/"+sub.str("id"), obj{"expirationDateTime": c.now().Add(7 * 24 * time.Hour).Format(time.RFC3339)}).want(t, "200")
	a.patch("/subscriptions/"+sub.str("id"), obj{"lifecycleNotificationUrl": "https://crm.example/other"}).want(t, "400 ValidationError")
	if l := a.get("/subscriptions").want(t, "200").value(); len(l) != 1 || l[0]["clientState"] != nil {
		t.Errorf("listed %v", l)
	}
	s.AddUser("eve@example.com")
	newApp(t, s, s.User("eve@example.com")).get("/subscriptions/"+sub.str("id")).want(t, "404 ResourceNotFound")
	if got := ada.Subscriptions(); len(got) != 1 || !got[0].Immutable || got[0].ClientState != "secret" {
		t.Errorf("subscriptions %+v", got)
	}
	a.do("DELETE", "/subscriptions/"+sub.str("id"), nil).want(t, "204")
	ada.Flag(id, true)
	if got := h.told(); len(got) != 0 {
		t.Errorf("told %v", got)
	}
}

func TestLifecycle(t *testing.T) {
	s, c := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	h := &crm{}
	s.Webhook("https://crm.example/", h)
	sub := a.post("/subscriptions", subscription("me/messages", "created", noon.Add(48*time.Hour))).want(t, "201").str("id")
	ada.LapseSubscriptions()
	ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	if got := h.told(); !slices.Equal(got, []string{"reauthorizationRequired"}) {
		t.Errorf("told %v", got)
	}
	a.post("/subscriptions/"+sub+"/reauthorize", nil).want(t, "204")
	if got := h.told(); len(got) != 1 || !strings.HasPrefix(got[0], "created AAMk") { // ids of the other form, as it was created
		t.Errorf("told %v", got)
	}
	ada.LapseSubscriptions()
	ada.Deliver(letter("bob@acme.example", "ada@example.com", "Lost", "2@acme.example"), noon, "")
	c.advance(4 * time.Hour)
	a.patch("/subscriptions/"+sub, obj{"expirationDateTime": c.now().Add(time.Hour).Format(time.RFC3339)}).want(t, "200")
	ada.MissNotifications()
	if got := h.told(); !slices.Equal(got, []string{"reauthorizationRequired", "missed"}) {
		t.Errorf("told %v", got)
	}
	ada.ChangePassword()
	if got := h.told(); !slices.Equal(got, []string{"subscriptionRemoved"}) || len(ada.Subscriptions()) != 0 {
		t.Errorf("told %v", got)
	}
	newApp(t, s, ada).get("/me/messages").want(t, "200") // tokens live on
}

func TestSubscriptionsAreRefused(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	s.AddUser("eve@example.com")
	a := newApp(t, s, ada)
	page := func(status int, kind, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, strings.ReplaceAll(body, "TOKEN", r.URL.Query().Get("validationToken")))
		})
	}
	s.Webhook("https://crm.example/", page(200, "text/plain", "TOKEN"))
	s.Webhook("https://crm.example/html", page(200, "text/html", "TOKEN"))
	s.Webhook("https://crm.example/202", page(202, "text/plain", "TOKEN"))
	s.Webhook("https://crm.example/more", page(200, "text/plain", "TOKEN\n"))
	s.Webhook("https://crm.example/cut", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	day := noon.Add(24 * time.Hour)
	with := func(k string, v any) obj {
		o := subscription("me/messages", "created", day)
		o[k] = v
		return o
	}
	for name, o := range map[string]obj{
		"html": with("notificationUrl", "https://crm.example/html"), "202": with("notificationUrl", "https://crm.example/202"), "more": with("notificationUrl", "https://crm.example/more"),
		"cut": with("lifecycleNotificationUrl", "https://crm.example/cut"), "http": with("notificationUrl", "http://crm.example/"), "past": with("expirationDateTime", noon.Format(time.RFC3339)),
		"long": with("expirationDateTime", noon.Add(10_081*time.Minute).Format(time.RFC3339)), "never": with("expirationDateTime", ""), "change": with("changeType", "read"),
		"resource": with("resource", "me/events"), "state": with("clientState", strings.Repeat("x", 129)), "data": with("includeResourceData", true),
	} {
		if r := a.post("/subscriptions", o); r.code() != "400 ValidationError" {
			t.Errorf("%s: %s", name, r.code())
		}
	}
	a.post("/subscriptions", with("resource", "users/eve@example.com/messages")).want(t, "403 ErrorAccessDenied")
	a.post("/subscriptions", with("resource", "me/mailFolders/archive/messages")).want(t, "404 ErrorItemNotFound")
	r := a.post("/subscriptions", with("expirationDateTime", noon.Add(time.Minute).Format(time.RFC3339))).want(t, "201")
	if r.str("expirationDateTime") != "2026-03-10T12:45:00.0000000Z" {
		t.Errorf("45 minutes at least: %s", r.raw)
	}
	a.post("/subscriptions", with("expirationDateTime", noon.Add(10_080*time.Minute).Format(time.RFC3339))).want(t, "201")
	for range 998 {
		a.post("/subscriptions", with("lifecycleNotificationUrl", nil)).want(t, "201")
	}
	a.post("/subscriptions", with("resource", "me/messages")).want(t, "403 ExtensionError")

	short, _ := newServer(graphtest.Options{SubscriptionLife: 4230 * time.Minute})
	short.AddUser("ada@example.com")
	short.Webhook("https://crm.example/", page(200, "text/plain", "TOKEN"))
	b := newApp(t, short, short.User("ada@example.com"))
	b.post("/subscriptions", with("expirationDateTime", noon.Add(10_080*time.Minute).Format(time.RFC3339))).want(t, "400 ValidationError")
}
