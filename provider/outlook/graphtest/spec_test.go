package graphtest_test

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// A walk through what apps do, checked by Microsoft's own description: requests as they should be, and our answers to them.
func TestAnswersFitTheDescription(t *testing.T) {
	spec, err := graphtest.LoadSpec(microsoft.File(t, microsoft.OpenAPI))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newServer(graphtest.Options{Spec: spec})
	ada := s.AddUser("ada@example.com")
	s.Webhook("https://crm.example/", &crm{})
	a := newApp(t, s, ada).immutable()
	id := ada.Deliver(letter("Bob <bob@acme.example>", "ada@example.com", "Hello", "1@acme.example", "Cc: eve@x.example"), noon, "")
	file := obj{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "aGk="}
	draft := a.post("/me/messages", obj{"subject": "Offer", "body": obj{"contentType": "HTML", "content": "x"}, "toRecipients": to("x@y.example"), "attachments": []obj{file}}).want(t, "201").str("id")
	sub := a.post("/subscriptions", subscription("me/messages", "created", noon.AddDate(0, 0, 1))).want(t, "201").str("id")
	folder := a.post("/me/mailFolders", obj{"displayName": "Customers"}).want(t, "201").str("id")
	archive := a.post("/me/mailFolders", obj{"displayName": "Archive"}).want(t, "201").str("id")
	for _, path := range []string{
		"/me/messages", "/me/messages?$select=subject,receivedDateTime", "/users/ada@example.com/messages", "/me/mailFolders", "/me/mailFolders/" + folder, "/me/mailFolders/inbox/messages",
		"/me/mailFolders/delta", "/me/mailFolders/delta()", "/me/mailFolders/inbox/messages/delta", "/me/mailFolders/inbox/messages/delta()", "/me/mailFolders/inbox/childFolders",
		"/me/messages/" + id + "?$select=internetMessageHeaders,body,uniqueBody", "/me/messages/" + draft, "/me/messages/" + draft + "?$expand=attachments", "/me/messages/" + draft + "/attachments",
		"/me/messages/" + id + "/$value", "/subscriptions", "/subscriptions/" + sub,
	} {
		a.get(path).want(t, "200")
	}
	a.patch("/me/messages/"+id, obj{"isRead": true, "categories": []string{"CRM"}, "flag": obj{"flagStatus": "flagged"}}).want(t, "200")
	a.post("/me/messages/"+id+"/createReply", obj{"comment": "Yes"}).want(t, "201")
	a.post("/me/messages/"+id+"/createReplyAll", obj{}).want(t, "201")
	a.post("/me/messages/"+id+"/copy", obj{"destinationId": "drafts"}).want(t, "201")
	a.post("/me/messages/"+id+"/move", obj{"destinationId": archive}).want(t, "201")
	a.post("/me/messages/"+draft+"/attachments", file).want(t, "201")
	a.post("/me/messages/"+draft+"/attachments/createUploadSession", obj{"AttachmentItem": obj{"attachmentType": "file", "name": "b", "size": 4 << 20}}).want(t, "201")
	a.post("/me/messages/"+draft+"/send", nil).want(t, "202")
	a.post("/me/sendMail", obj{"message": obj{"toRecipients": to("x@y.example")}, "saveToSentItems": true}).want(t, "202")
	a.patch("/subscriptions/"+sub, obj{"expirationDateTime": "2026-03-12T12:00:00Z"}).want(t, "200")
	a.post("/subscriptions/"+sub+"/reauthorize", nil).want(t, "204")
	for _, v := range s.Violations() {
		t.Error(v)
	}
	if s.Covered() < 30 {
		t.Errorf("only %d requests were covered", s.Covered())
	}

	// What isn't right is seen.
	for want, try := range map[string][2]string{
		"body.isRead is no boolean":        {"PATCH /me/messages/x", `{"isRead":"yes"}`},
		"body.importance is no one of":     {"PATCH /me/messages/x", `{"importance":"urgent"}`},
		"body.toRecipients is no array":    {"POST /me/messages", `{"toRecipients":{}}`},
		"body.expirationDateTime is no":    {"PATCH /subscriptions/x", `{"expirationDateTime":"soon"}`},
		"is no method of it":               {"DELETE /me/messages", ``},
		"body.Message.subject is no strin": {"POST /me/sendMail", `{"Message":{"subject":1}}`},
		"body has no property toRecipient": {"POST /me/sendMail", `{"toRecipients":[]}`},
		"from.emailAddress has no propert": {"PATCH /me/messages/x", `{"from":{"emailAddress":{"adress":"x"}}}`},
		"it has no body":                   {"POST /me/messages/x/send", `{}`},
		"$select has no recievedDateTime":  {"GET /me/messages?$select=id,recievedDateTime", ``},
		"$orderby has no receivedDateTime": {"GET /me/messages?$orderby=receivedDateTime down", ``},
		"$expand has no attachment":        {"GET /me/messages/x?$expand=singleValueExtendedProperties($filter=id eq 'a, b'),attachment", ``},
		"$select has no subjects":          {"GET /me/mailFolders/x/messages/delta()?$select=id,subjects", ``},
		"$select has no displayName2":      {"GET /me/mailFolders/delta%28%29?$select=id,displayName2", ``},
		"there is no $page":                {"GET /me/messages?$page=2", ``},
	} {
		verb, path, _ := strings.Cut(try[0], " ")
		path, options, _ := strings.Cut(path, "?")
		query := url.Values{}
		if name, value, ok := strings.Cut(options, "="); ok {
			query.Set(name, value)
		}
		covered, wrong := spec.Request(verb, path, query, map[string][]string{"Content-Type": {"application/json"}}, []byte(try[1]))
		if !covered || len(wrong) != 1 || !strings.Contains(wrong[0], want) {
			t.Errorf("%v: %v", try, wrong)
		}
	}
}

// What Microsoft's samples have, our answers have.
func TestAnswersHaveWhatSamplesHave(t *testing.T) {
	b, err := os.ReadFile(microsoft.File(t, microsoft.Samples))
	if err != nil {
		t.Fatal(err)
	}
	var samples []struct {
		Request struct{ URL, ExampleURL, Method string }
		// A few bodies are texts that hold broken JSON.
		Response struct{ Body any }
	}
	if err := json.Unmarshal(b, &samples); err != nil {
		t.Fatal(err)
	}
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	s.Webhook("https://crm.example/", &crm{})
	a := newApp(t, s, ada)
	id := ada.Deliver(letter("Bob <bob@acme.example>", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	sub := a.post("/subscriptions", subscription("me/messages", "created", noon.AddDate(0, 0, 1))).want(t, "201")
	ours := map[string]*answer{
		"GET /me/messages":                                a.get("/me/messages"),
		"GET /me/mailFolders":                             a.get("/me/mailFolders"),
		"GET /me/mailboxSettings":                         a.get("/me/mailboxSettings"),
		"GET /me/mailboxSettings/automaticRepliesSetting": a.get("/me/mailboxSettings/automaticRepliesSetting"),
		"POST /subscriptions":                             sub,
		"GET /subscriptions":                              a.get("/subscriptions"),
		"GET /subscriptions/{id}":                         a.get("/subscriptions/" + sub.str("id")),
		"POST /me/messages/AAMkADhAAATs28OAAA=/move":      a.post("/me/messages/"+id+"/move", obj{"destinationId": "deleteditems"}),
		"POST /me/outlook/masterCategories":               a.post("/me/outlook/masterCategories", obj{"displayName": "X", "color": "preset1"}),
		"GET /me/outlook/masterCategories":                a.get("/me/outlook/masterCategories"),
	}
	// Old names in samples, and what is for others than mail.
	spared := []string{"@odata.id", "createDateTime", "workingHours", "unreadItemCount", "latestSupportedTlsVersion", "notificationContentType", "extensions", "meetingMessageType", "@odata.type"}
	compared := 0
	for _, x := range samples {
		at := x.Request.ExampleURL
		if at == "" {
			at = x.Request.URL
		}
		at, _, _ = strings.Cut(strings.TrimPrefix(at, "https://graph.microsoft.com/v1.0"), "?")
		r, ok := ours[x.Request.Method+" "+strings.TrimSuffix(at, "/")]
		body, _ := x.Response.Body.(map[string]any)
		if !ok || body == nil {
			continue
		}
		compared++
		missing(t, x.Request.Method+" "+at, body, r.m, spared)
	}
	if compared < 10 {
		t.Errorf("only %d samples were compared", compared)
	}
}

// missing complains of names in a sample that ours lacks; of lists the first entries are compared.
func missing(t *testing.T, at string, sample, ours map[string]any, spared []string) {
	t.Helper()
	for k, v := range sample {
		o, ok := ours[k]
		if !ok {
			if !strings.Contains(strings.Join(spared, " ")+" ", k+" ") {
				t.Errorf("%s: ours has no %s", at, k)
			}
			continue
		}
		if l, ok := v.([]any); ok && len(l) > 0 {
			ol, _ := o.([]any)
			if len(ol) > 0 {
				v, o = l[0], ol[0]
			}
		}
		m, ok := v.(map[string]any)
		om, ours := o.(map[string]any)
		if ok && ours {
			missing(t, at+" "+k, m, om, spared)
		}
	}
}
