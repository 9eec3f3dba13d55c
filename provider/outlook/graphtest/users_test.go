package graphtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func TestWhatPeopleDo(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@acme.example")
	a := newApp(t, s, ada).immutable()
	in := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	path := func(id string) string {
		m, ok := ada.Message(id)
		if !ok {
			t.Fatalf("no %s", id)
		}
		return m.Path
	}
	ada.Trash(in)
	trashed := path(in)
	ada.Junk(in)
	junked := path(in)
	ada.Archive(in)
	if trashed != "Deleted Items" || junked != "Junk Email" || path(in) != "Archive" {
		t.Errorf("%s, %s, %s", trashed, junked, path(in))
	}
	ada.Folder("Customers")
	ada.Folder("Customers/Acme")
	ada.Move(in, "Customers/Acme")
	ada.RenameFolder("Customers", "Clients")
	renamed := path(in)
	ada.MoveFolder("Clients/Acme", "inbox")
	moved := path(in)
	ada.DeleteFolder("Inbox/Acme")
	if renamed != "Clients/Acme" || moved != "Inbox/Acme" || path(in) != "Deleted Items/Acme" {
		t.Errorf("%s, %s, %s", renamed, moved, path(in))
	}
	ada.MoveFolder("inbox", "Clients") // and Clients into the inbox, which would be below itself
	ada.MoveFolder("Clients", "Clients/Inbox")
	if got := a.get("/me/mailFolders/inbox?$select=parentFolderId").want(t, "200").str("parentFolderId"); got != ada.Folder("Clients") {
		t.Errorf("the inbox is below %s", got)
	}

	d := ada.Draft([]byte("To: bob@acme.example\r\nSubject: By hand\r\n\r\nOne"))
	ada.EditDraft(d, "Two")
	if m := a.get("/me/messages/"+d).want(t, "200"); m.str("bodyPreview") != "Two" || m.m["isDraft"] != true || m.str("internetMessageId") == "" {
		t.Errorf("draft %s", m.raw)
	}
	if !ada.SendDraft(d) || ada.SendDraft(d) || path(d) != "Sent Items" {
		t.Errorf("sent to %s", path(d))
	}
	id, err := ada.Send([]byte("To: Bob <bob@acme.example>\r\nSubject: At once\r\n\r\nThree"))
	if err != nil || path(id) != "Sent Items" || len(bob.Messages()) != 2 {
		t.Errorf("%v, %d delivered", err, len(bob.Messages()))
	}
	if _, err := ada.Send([]byte("Subject: to nobody\r\n\r\n")); err == nil || !strings.Contains(err.Error(), "ErrorInvalidRecipients") {
		t.Errorf("sent to nobody: %v", err)
	}

	bob.Rename("robert@acme.example")
	if s.User("robert@acme.example") != bob || s.User("bob@acme.example") != bob || s.User(bob.OID) != bob || s.User("nobody@acme.example") != nil {
		t.Error("another person")
	}
	if m := newApp(t, s, bob).get("/users/robert@acme.example").want(t, "200"); m.str("id") != bob.OID || m.str("mail") != "robert@acme.example" {
		t.Errorf("user %s", m.raw)
	}
	a.get("/users/robert@acme.example/messages").want(t, "403 ErrorAccessDenied")
	a.get("/users/me-token-to-replace/messages").want(t, "404 ErrorInvalidUser")
	bob.Disable(true)
	newApp(t, s, s.AddUser("eve@example.com")).get("/me/messages").want(t, "200")
	if r := (&app{t: t, s: s, client: s.Client(), header: []string{"Authorization: Bearer " + bob.Token(graphtest.ScopeRead)}}).get("/me/messages"); r.status != http.StatusUnauthorized {
		t.Errorf("a disabled account's token: %s", r.code())
	}
	for _, name := range graphtest.Methods() {
		if name == "" {
			t.Error("a method without a name")
		}
	}
}

func TestSmallMethods(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	d := a.post("/me/messages", obj{"importance": "HIGH", "toRecipients": to("x@y.example"), "singleValueExtendedProperties": []obj{{"id": "String 0x1042", "value": "<1@x>"}},
		"attachments": []obj{{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "aGk="}}}).want(t, "201")
	if d.str("importance") != "high" || !strings.Contains(string(a.get("/me/messages/"+d.str("id")+"/$value").raw), "In-Reply-To: <1@x>\r\nImportance: high\r\n") {
		t.Errorf("draft %s", d.raw)
	}
	a.patch("/me/messages/"+d.str("id"), obj{"importance": "urgent"}).want(t, "400 RequestBodyRead")
	files := "/me/messages/" + d.str("id") + "/attachments"
	f := a.get(files).want(t, "200").all("id")[0]
	a.do("DELETE", files+"/"+f, nil).want(t, "204")
	if left := a.get(files).want(t, "200").value(); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	a.post(files, obj{"@odata.type": "#microsoft.graph.itemAttachment", "name": "x"}).want(t, "400 ErrorInvalidRequest")
	a.post(files, obj{"@odata.type": "#microsoft.graph.fileAttachment", "name": "x", "contentBytes": "!"}).want(t, "400 RequestBodyRead")
	in := ada.Deliver(letter("bob@acme.example", "ada@example.com, carl@third.example", "Hello", "1@acme.example"), noon, "")
	a.post("/me/messages/"+in+"/replyAll", obj{"comment": "x"}).want(t, "202")
	if got := s.Sent()[0].Recipients; !slices.Equal(got, []string{"bob@acme.example", "carl@third.example"}) {
		t.Errorf("replied to %v", got)
	}
	if r := a.post("/me/messages/"+in+"/createForward", obj{"toRecipients": to("eve@x.example")}).want(t, "201"); r.str("subject") != "FW: Hello" {
		t.Errorf("forward %s", r.raw)
	}
	c := a.post("/me/outlook/masterCategories", obj{"displayName": "CRM"}).want(t, "201").str("id")
	if r := a.get("/me/outlook/masterCategories/"+c).want(t, "200"); r.str("color") != "none" {
		t.Errorf("category %s", r.raw)
	}
	a.do("DELETE", "/me/outlook/masterCategories/"+c, nil).want(t, "204")
	a.get("/me/outlook/masterCategories/"+c).want(t, "404 ErrorItemNotFound")
	a.patch("/me/mailboxSettings", obj{"automaticRepliesSetting": obj{"status": "alwaysEnabled"}}).want(t, "200")
	a.patch("/me/mailboxSettings", obj{"nonsense": 1}).want(t, "400 RequestBodyRead")
	if r := a.get("/me/mailboxSettings/timeZone").want(t, "200"); r.str("value") != "UTC" {
		t.Errorf("time zone %s", r.raw)
	}
}

// What is told is told over the network too, and silently ended subscriptions tell nothing.
func TestNotificationsOverTheNetwork(t *testing.T) {
	s := graphtest.New(graphtest.Options{})
	_, end := s.Listen()
	defer end()
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	got := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.URL.Query().Get("validationToken"); v != "" {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte(v))
			return
		}
		var in struct{ Value []struct{ ChangeType string } }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Value) != 1 {
			t.Errorf("told %v, %v", in, err)
			return
		}
		got <- in.Value[0].ChangeType
	}))
	defer hook.Close()
	s.WebhookClient(hook.Client())
	a.post("/subscriptions", obj{"resource": "me/messages", "changeType": "created", "notificationUrl": hook.URL, "expirationDateTime": time.Now().Add(time.Hour).Format(time.RFC3339)}).want(t, "201")
	s.HoldNotifications(true) // else the server's own clock may deliver it, and not have noted yet that it was taken
	ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	if n := s.Notify(); n != 1 {
		t.Errorf("%d posts", n)
	}
	if c := <-got; c != "created" {
		t.Errorf("told %s", c)
	}
	s.HoldNotifications(false)
	ada.Unsubscribe(true)
	ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "2@acme.example"), noon, "")
	if n := s.Notifications(); len(n) != 1 || !n[0].Acked || n[0].Attempts != 1 {
		t.Errorf("notified %+v", n)
	}
}
