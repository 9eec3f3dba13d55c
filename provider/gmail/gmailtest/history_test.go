package gmailtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// told writes history as "added:1 -INBOX:2 …", messages by the names given.
func told(h []*gmail.History, name map[string]string) string {
	var out []string
	for _, r := range h {
		for _, x := range r.MessagesAdded {
			out = append(out, "added:"+name[x.Message.Id])
		}
		for _, x := range r.MessagesDeleted {
			out = append(out, "deleted:"+name[x.Message.Id])
		}
		for _, x := range r.LabelsAdded {
			out = append(out, "+"+strings.Join(x.LabelIds, "+")+":"+name[x.Message.Id])
		}
		for _, x := range r.LabelsRemoved {
			out = append(out, "-"+strings.Join(x.LabelIds, "-")+":"+name[x.Message.Id])
		}
	}
	return strings.Join(out, " ")
}

func TestHistoryTellsWhatHappened(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	start := ada.HistoryID()
	name := map[string]string{}
	deliver := func(n string, labels ...string) string {
		id := ada.Deliver(letter("bob@other.example", "ada@example.com", n, n+"@other.example"), noon, labels...)
		name[id] = n
		return id
	}
	a, b := deliver("a"), deliver("b")
	ada.Archive(a)
	ada.Archive(a) // changes nothing
	ada.Unarchive(a)
	ada.Trash(b)
	ada.Delete(b) // added and deleted within one window
	deliver("c", "SENT")
	ada.Chat("hi", noon)
	ada.Star(a, true)
	d := ada.Draft(letter("ada@example.com", "bob@other.example", "d", "d@example.com"))
	ada.EditDraft(d, letter("ada@example.com", "bob@other.example", "d, more", "d@example.com"))
	for _, m := range ada.Messages() {
		if slices.Contains(m.Labels, "DRAFT") {
			name[m.ID] = "draft 2"
		}
	}

	all := must(svc.History.List("me").StartHistoryId(start).Do())(t)
	want := "added:a added:b -INBOX:a +INBOX:a +TRASH:b deleted:b added:c added: +STARRED:a added: deleted: added:draft 2"
	if got := told(all.History, name); got != want {
		t.Errorf("history %q\nwant    %q", got, want)
	}
	last := start
	contiguous := true
	for _, h := range all.History {
		if h.Id <= last {
			t.Errorf("%d follows %d", h.Id, last)
		}
		contiguous = contiguous && h.Id == last+1
		last = h.Id
		if len(h.Messages) != 1 {
			t.Errorf("record %+v has no messages", h)
		}
	}
	if contiguous || all.HistoryId != last || all.HistoryId != ada.HistoryID() {
		t.Errorf("ids up to %d, the answer says %d; contiguous: %v", last, all.HistoryId, contiguous)
	}
	// startHistoryId itself is not told again.
	rest := must(svc.History.List("me").StartHistoryId(all.History[0].Id).Do())(t)
	if got := told(rest.History, name); !strings.HasPrefix(got, "added:b ") {
		t.Errorf("after the first: %q", got)
	}
	none := must(svc.History.List("me").StartHistoryId(all.HistoryId).Do())(t)
	if len(none.History) != 0 || none.HistoryId != all.HistoryId {
		t.Errorf("after the last: %+v", none)
	}
	for _, x := range []struct {
		types []string
		label string
		want  string
	}{
		{[]string{"messageDeleted"}, "", "deleted:b deleted:"},
		{[]string{"labelAdded", "labelRemoved"}, "", "-INBOX:a +INBOX:a +TRASH:b +STARRED:a"},
		{nil, "SENT", "added:c"},
		{[]string{"labelAdded"}, "TRASH", "+TRASH:b"},
	} {
		h := must(svc.History.List("me").StartHistoryId(start).HistoryTypes(x.types...).LabelId(x.label).Do())(t)
		if got := told(h.History, name); got != x.want {
			t.Errorf("%v of %q: %q, want %q", x.types, x.label, got, x.want)
		}
	}
	// Paging.
	var got []string
	token := ""
	for range 100 {
		h := must(svc.History.List("me").StartHistoryId(start).MaxResults(2).PageToken(token).Do())(t)
		got = append(got, told(h.History, name))
		if token = h.NextPageToken; token == "" {
			break
		}
	}
	if j := strings.Join(got, " "); j != want || len(got) != 6 {
		t.Errorf("in pages: %q", got)
	}
}

func TestHistoryExpires(t *testing.T) {
	s, c := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	list := func(id uint64) string {
		_, err := svc.History.List("me").StartHistoryId(id).Do()
		return failure(err)
	}
	start := ada.HistoryID()
	ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), noon)
	middle := ada.HistoryID()
	for id, want := range map[uint64]string{0: "404 notFound", middle + 1: "404 notFound", start: "none", middle: "none"} {
		if got := list(id); got != want {
			t.Errorf("from %d: %s, want %s", id, got, want)
		}
	}
	if _, err := svc.History.List("me").Do(); failure(err) != "400 invalidArgument" {
		t.Errorf("from nowhere: %v", err)
	}
	c.advance(7 * 24 * time.Hour)
	ada.Deliver(letter("bob@other.example", "ada@example.com", "b", "b@other.example"), noon)
	for id, want := range map[uint64]string{start: "404 notFound", middle: "none"} {
		if got := list(id); got != want {
			t.Errorf("after a week, from %d: %s, want %s", id, got, want)
		}
	}
	for range 20 { // whatever the newest id is
		before := ada.HistoryID()
		ada.ExpireHistory()
		if list(before) != "404 notFound" || list(ada.HistoryID()) != "none" {
			t.Errorf("expired: from %d: %s, from %d: %s", before, list(before), ada.HistoryID(), list(ada.HistoryID()))
		}
		ada.Deliver(letter("bob@other.example", "ada@example.com", "c", "c@other.example"), noon)
	}
}

func TestHistoryHasAtMost500Records(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	start := ada.HistoryID()
	for i := range 600 {
		ada.Deliver(letter("bob@other.example", "ada@example.com", "a", fmt.Sprint(i, "@other.example")), noon)
	}
	svc := service(t, ada, s)
	for asked, want := range map[int64]int{0: 100, 200: 200, 5000: 500} {
		call := svc.History.List("me").StartHistoryId(start)
		if asked > 0 {
			call.MaxResults(asked)
		}
		h := must(call.Do())(t)
		if len(h.History) != want || h.NextPageToken == "" {
			t.Errorf("of %d: %d", asked, len(h.History))
		}
	}
}
