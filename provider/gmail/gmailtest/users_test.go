package gmailtest_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func TestWhatPeopleDo(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	id := ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), noon)
	customers := ada.CreateLabel("Customers")
	for _, x := range []struct {
		what string
		do   func()
		want string
	}{
		{"read", func() { ada.Read(id, true) }, "INBOX"},
		{"spam", func() { ada.Spam(id, true) }, "SPAM"},
		{"no spam", func() { ada.Spam(id, false) }, "INBOX"},
		{"archive", func() { ada.Archive(id) }, ""},
		{"unarchive", func() { ada.Unarchive(id) }, "INBOX"},
		{"trash", func() { ada.Trash(id) }, "INBOX TRASH"},
		{"untrash", func() { ada.Untrash(id) }, "INBOX"},
		{"star", func() { ada.Star(id, true) }, "INBOX STARRED"},
		{"unstar", func() { ada.Star(id, false) }, "INBOX"},
		{"unread", func() { ada.Read(id, false) }, "INBOX UNREAD"},
		{"label", func() { ada.Label(id, "customers", true) }, "INBOX UNREAD " + customers},
		{"a label renamed", func() { ada.RenameLabel(customers, "Clients") }, "INBOX UNREAD " + customers},
		{"a label deleted", func() { ada.DeleteLabel(customers) }, "INBOX UNREAD"},
		{"what is not there", func() { ada.Trash("nothing"); ada.DeleteLabel("nothing"); ada.DiscardDraft("nothing") }, "INBOX UNREAD"},
	} {
		x.do()
		if m, _ := ada.Message(id); strings.Join(m.Labels, " ") != x.want {
			t.Errorf("%s: %v, want %s", x.what, m.Labels, x.want)
		}
	}
	if len(ada.Labels()) != 0 {
		t.Errorf("labels %v", ada.Labels())
	}
	ada.DiscardDraft(ada.Draft(letter("ada@example.com", "bob@other.example", "d", "d@example.com")))
	if len(ada.Drafts()) != 0 || len(ada.Messages()) != 1 {
		t.Errorf("drafts %v", ada.Drafts())
	}
	if got := ada.Find("<a@other.example>"); !slices.Equal(got, []string{id}) {
		t.Errorf("found %v", got)
	}
	// Another primary address: the old one still is theirs.
	ada.Rename("ada.byron@example.com")
	if p := must(svc.GetProfile("me").Do())(t); p.EmailAddress != "ada.byron@example.com" {
		t.Errorf("profile %+v", p)
	}
	must(svc.Labels.List("ada@example.com").Do())(t)
	if s.User("ada@example.com") != ada || s.User("ada.byron@example.com") != ada || s.User("nobody@example.com") != nil {
		t.Error("whose addresses they are")
	}
	ada.SetAlias(gmailtest.Alias{Address: "sales@example.com"})
	if s.User("sales@example.com") != ada {
		t.Error("an alias is nobody's")
	}
	if ada.RemoveAlias("sales@example.com"); s.User("sales@example.com") != nil {
		t.Error("a removed alias is somebody's")
	}
	ada.Deliver(letter("bob@other.example", "ada@example.com", "b", "b@other.example"), noon)
	full := service(t, ada, s, gmailtest.ScopeFull)
	if err := full.Messages.BatchDelete("me", &gmail.BatchDeleteMessagesRequest{Ids: []string{id, "1234567890abcdef"}}).Do(); err != nil || len(ada.Messages()) != 1 {
		t.Errorf("batchDelete: %v, %d left", err, len(ada.Messages()))
	}
	if got := ada.UnitsByMethod(); !maps.Equal(got, map[string]int{"gmail.users.getProfile": 1, "gmail.users.labels.list": 1, "gmail.users.messages.batchDelete": 50}) {
		t.Errorf("units %v", got)
	}
	if s.Forget(); ada.Units() != 0 || len(s.Calls()) != 0 {
		t.Error("not forgotten")
	}
}

func TestTrashMayTakeInbox(t *testing.T) {
	s, _ := newServer(gmailtest.Options{TrashTakesInbox: true})
	ada := s.AddUser("ada@example.com")
	id := ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), noon)
	start := ada.HistoryID()
	svc := service(t, ada, s)
	if m := must(svc.Messages.Trash("me", id).Do())(t); !slices.Equal(m.LabelIds, []string{"UNREAD", "TRASH"}) {
		t.Errorf("labels %v", m.LabelIds)
	}
	h := must(svc.History.List("me").StartHistoryId(start).Do())(t)
	if got := told(h.History, map[string]string{id: "a"}); got != "+TRASH:a -INBOX:a" {
		t.Errorf("history %q", got)
	}
}

// On a port notifications that were not taken come again by themselves.
func TestListeningPushes(t *testing.T) {
	var now atomic.Int64 // at each look it is half a minute later: no pause is long
	s := gmailtest.New(gmailtest.Options{Now: func() time.Time { return time.Unix(now.Add(30), 0) }})
	ada := s.AddUser("ada@example.com")
	_, end := s.Listen()
	defer end()
	got := make(chan string, 10)
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		got <- r.Header.Get("Authorization")
	}))
	defer crm.Close()
	s.Subscribe(gmailtest.Subscription{Topic: s.Topic("gmail"), Endpoint: crm.URL + "/push"})
	watch(t, service(t, ada, s), s)
	for range 3 {
		if a := <-got; !strings.HasPrefix(a, "Bearer ey") {
			t.Errorf("pushed with %q", a)
		}
	}
}
