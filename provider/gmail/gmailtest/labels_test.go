package gmailtest_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func TestLabels(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	svc := service(t, ada, s)
	create := func(name string) (*gmail.Label, string) {
		l, err := svc.Labels.Create("me", &gmail.Label{Name: name}).Do()
		return l, failure(err)
	}
	crm, _ := create("CRM")
	deal, _ := create("CRM/Deals/2026") // "/" nests by itself
	if crm == nil || deal == nil || crm.Type != "user" || crm.Id == deal.Id {
		t.Fatalf("made %+v and %+v", crm, deal)
	}
	for name, want := range map[string]string{"CRM": "409 aborted", "crm": "409 aborted", "INBOX": "400 invalidArgument", "Sent": "400 invalidArgument", "": "400 invalidArgument", "a//b": "400 invalidArgument"} {
		if _, got := create(name); got != want {
			t.Errorf("creating %q: %s, want %s", name, got, want)
		}
	}
	id := ada.Deliver(letter("bob@other.example", "ada@example.com", "a", "a@other.example"), noon, "INBOX", "UNREAD", deal.Id)
	renamed := must(svc.Labels.Patch("me", deal.Id, &gmail.Label{Name: "CRM/Won"}).Do())(t)
	if renamed.Id != deal.Id || renamed.Name != "CRM/Won" {
		t.Errorf("renamed %+v", renamed)
	}
	if _, err := svc.Labels.Patch("me", deal.Id, &gmail.Label{Name: "CRM"}).Do(); failure(err) != "409 aborted" {
		t.Errorf("renamed to another's name: %v", err)
	}
	if _, err := svc.Labels.Patch("me", "INBOX", &gmail.Label{Name: "In"}).Do(); failure(err) != "400 invalidArgument" {
		t.Errorf("a system label renamed: %v", err)
	}
	got := must(svc.Labels.Get("me", deal.Id).Do())(t)
	if got.MessagesTotal != 1 || got.MessagesUnread != 1 || got.ThreadsTotal != 1 {
		t.Errorf("counts %+v", got)
	}
	l := must(svc.Labels.List("me").Do())(t)
	names := map[string]string{}
	for _, x := range l.Labels {
		names[x.Name] = x.Type
	}
	if names["INBOX"] != "system" || names["CRM/Won"] != "user" || names["TRASH"] != "system" || names["CRM/Deals/2026"] != "" {
		t.Errorf("labels %v", names)
	}
	before := ada.HistoryID()
	if err := svc.Labels.Delete("me", deal.Id).Do(); err != nil {
		t.Fatal(err)
	}
	if m, _ := ada.Message(id); slices.Contains(m.Labels, deal.Id) {
		t.Errorf("labels %v", m.Labels)
	}
	h := must(svc.History.List("me").StartHistoryId(before).Do())(t)
	if want := "-" + deal.Id + ":a"; told(h.History, map[string]string{id: "a"}) != want {
		t.Errorf("history %q, want %q", told(h.History, map[string]string{id: "a"}), want)
	}
	if _, err := svc.Labels.Get("me", deal.Id).Do(); failure(err) != "404 notFound" {
		t.Error(err)
	}
	only := service(t, ada, s, gmailtest.ScopeLabels)
	must(only.Labels.List("me").Do())(t)
	if _, err := only.Messages.Modify("me", id, &gmail.ModifyMessageRequest{AddLabelIds: []string{crm.Id}}).Do(); failure(err) != "403 insufficientPermissions" {
		t.Errorf("gmail.labels manages label objects only: %v", err)
	}
}

func TestLabelsAreAtMost10000(t *testing.T) {
	s, _ := newServer(gmailtest.Options{})
	ada := s.AddUser("ada@example.com")
	for i := range 10_000 {
		ada.CreateLabel(fmt.Sprint("l", i))
	}
	if _, err := service(t, ada, s).Labels.Create("me", &gmail.Label{Name: "one more"}).Do(); failure(err) != "400 invalidArgument" {
		t.Error(err)
	}
}
