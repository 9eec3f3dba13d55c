package graphtest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func to(addresses ...string) []obj {
	var out []obj
	for _, a := range addresses {
		out = append(out, obj{"emailAddress": obj{"address": a}})
	}
	return out
}

func b64(raw []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(raw)) }

func TestDraftIsSentUnderItsImmutableID(t *testing.T) {
	s, c := newServer(graphtest.Options{SendDelay: time.Minute})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@acme.example")
	ada.SetName("Ada Lovelace")
	a := newApp(t, s, ada).immutable()
	d := a.post("/me/messages", obj{
		"subject": "Offer", "body": obj{"contentType": "HTML", "content": "<p>Grüße</p>"}, "toRecipients": to("bob@acme.example"), "bccRecipients": to("boss@example.com"),
		"internetMessageHeaders": []obj{{"name": "X-CRM", "value": "42"}}, "@odata.type": "#microsoft.graph.message",
		"attachments": []obj{{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentType": "text/plain", "contentBytes": "aGk="}},
	}).want(t, "201")
	id := d.str("id")
	if d.m["isDraft"] != true || d.str("internetMessageId") == "" || d.m["from"] != nil || d.m["hasAttachments"] != true {
		t.Errorf("draft %s", d.raw)
	}
	a.patch("/me/messages/"+id, obj{"internetMessageId": "<mine@crm.example>", "subject": "Offer!"}).want(t, "200")
	a.patch("/me/messages/"+id, obj{"internetMessageHeaders": []obj{}}).want(t, "400 ErrorInvalidPropertySet")
	if r := a.post("/me/messages/"+id+"/send", nil).want(t, "202"); len(r.raw) != 0 {
		t.Errorf("answered %q", r.raw)
	}
	if m := a.get("/me/messages/"+id).want(t, "200"); m.m["isDraft"] != true {
		t.Errorf("at once it is sent: %s", m.raw)
	}
	a.post("/me/messages/"+id+"/send", nil).want(t, "400 ErrorInvalidRequest")
	c.advance(time.Minute)
	m := a.get("/me/messages/"+id).want(t, "200")
	if m.m["isDraft"] != false || m.str("parentFolderId") != ada.Folder("sentitems") || m.str("internetMessageId") != "<mine@crm.example>" ||
		m.m["from"].(obj)["emailAddress"].(obj)["name"] != "Ada Lovelace" || len(m.m["bccRecipients"].([]any)) != 1 {
		t.Errorf("sent %s", m.raw)
	}
	out := s.Sent()
	if len(out) != 1 || !slices.Equal(out[0].Recipients, []string{"bob@acme.example", "boss@example.com"}) || out[0].ID != id || bytes.Contains(out[0].Raw, []byte("boss")) || !bytes.Contains(out[0].Raw, []byte("X-CRM: 42")) {
		t.Errorf("outgoing %+v", out)
	}
	got := bob.Find("mine@crm.example")
	if len(got) != 1 {
		t.Fatal("not delivered")
	}
	r := newApp(t, s, bob).immutable().get("/me/messages/"+got[0]+"?$expand=attachments").want(t, "200")
	if r.str("subject") != "Offer!" || r.m["attachments"].([]any)[0].(obj)["contentBytes"] != "aGk=" || !strings.Contains(r.m["body"].(obj)["content"].(string), "Grüße") || len(r.m["bccRecipients"].([]any)) != 0 {
		t.Errorf("received %s", r.raw)
	}
	a.patch("/me/messages/"+id, obj{"subject": "Another"}).want(t, "400 ErrorInvalidPropertySet")

	s2, c2 := newServer(graphtest.Options{SendDelay: time.Minute, SendHides: true, NewMessageIDs: true})
	eve := s2.AddUser("eve@example.com")
	e := newApp(t, s2, eve).immutable()
	id = e.post("/me/messages", obj{"toRecipients": to("x@y.example"), "internetMessageId": "<mine@crm.example>"}).want(t, "201").str("id")
	e.post("/me/messages/"+id+"/send", nil).want(t, "202")
	e.get("/me/messages/"+id).want(t, "404 ErrorItemNotFound")
	c2.advance(time.Minute)
	if m := e.get("/me/messages/"+id).want(t, "200"); m.str("internetMessageId") == "<mine@crm.example>" || "<"+s2.Sent()[0].MessageID+">" != m.str("internetMessageId") {
		t.Errorf("Message-ID %s", m.raw)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	s, _ := newServer(graphtest.Options{MaxMessage: 2 << 20})
	ada := s.AddUser("ada@example.com")
	ada.AddAlias("sales@example.com")
	a := newApp(t, s, ada)
	header := func(n int, name string) obj {
		hs := []obj{}
		for i := range n {
			hs = append(hs, obj{"name": fmt.Sprint(name, i), "value": "v"})
		}
		return obj{"internetMessageHeaders": hs, "toRecipients": to("x@y.example")}
	}
	for want, m := range map[string]obj{
		"400 InvalidInternetMessageHeader":           header(1, "In-Reply-To"),
		"400 InvalidInternetMessageHeaderCollection": header(6, "x-a"),
		"400 ErrorInvalidRecipients":                 {"subject": "nobody"},
		"403 ErrorSendAsDenied":                      {"toRecipients": to("x@y.example"), "from": to("eve@other.example")[0]},
		"400 RequestBodyRead":                        {"toRecipients": to("x@y.example"), "nonsense": 1},
	} {
		a.post("/me/sendMail", obj{"message": m}).want(t, want)
		if strings.HasPrefix(want, "400 InvalidInternet") {
			a.post("/me/messages", m).want(t, want)
		}
	}
	a.post("/me/sendMail", obj{"message": obj{"body": obj{"content": strings.Repeat("x", 4<<20)}}}).want(t, "413 ErrorMessageSizeExceeded")
	big := obj{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": base64.StdEncoding.EncodeToString(make([]byte, 2<<20+1))}
	a.post("/me/sendMail", obj{"message": obj{"toRecipients": to("x@y.example"), "attachments": []obj{big}}}).want(t, "413 ErrorMessageSizeExceeded")
	a.post("/me/sendMail", obj{}).want(t, "400 ErrorInvalidRequest")
	a.post("/me/sendMail", []byte("!!!")).want(t, "400 ErrorMimeContentInvalidBase64String")
	if len(s.Sent()) != 0 {
		t.Errorf("sent %v", s.Sent())
	}
	newApp(t, s, ada, graphtest.ScopeReadWrite).post("/me/sendMail", obj{"message": obj{"toRecipients": to("x@y.example")}}).want(t, "403 ErrorAccessDenied")

	// An alias is rewritten, unless the tenant lets it be.
	alias := obj{"message": obj{"toRecipients": to("x@y.example"), "from": to("sales@example.com")[0]}, "saveToSentItems": false}
	a.post("/me/sendMail", alias).want(t, "202")
	if out := s.Sent()[0]; !bytes.Contains(out.Raw, []byte("<ada@example.com>")) || out.ID != "" || ada.FolderCounts()["Sent Items"] != 0 {
		t.Errorf("outgoing %+v", out)
	}
	s2, _ := newServer(graphtest.Options{SendFromAliases: true})
	eve := s2.AddUser("eve@example.com")
	eve.AddAlias("sales@example.com")
	newApp(t, s2, eve).post("/me/sendMail", alias).want(t, "202")
	if out := s2.Sent()[0]; !bytes.Contains(out.Raw, []byte("<sales@example.com>")) {
		t.Errorf("outgoing %s", out.Raw)
	}
}

func TestSendingIsLimited(t *testing.T) {
	s, c := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	mail := obj{"message": obj{"toRecipients": to("x@y.example")}}
	for range 30 {
		a.post("/me/sendMail", mail).want(t, "202")
	}
	c.advance(20 * time.Second)
	if r := a.post("/me/sendMail", mail).want(t, "429 ErrorMessageThrottled"); r.header.Get("Retry-After") != "40" {
		t.Errorf("Retry-After %s", r.header.Get("Retry-After"))
	}
	c.advance(40 * time.Second)
	a.post("/me/sendMail", mail).want(t, "202")
}

func TestMIME(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada, bob := s.AddUser("ada@example.com"), s.AddUser("bob@acme.example")
	a := newApp(t, s, ada).immutable()
	raw := []byte("From: ada@example.com\r\nTo: bob@acme.example\r\nBcc: eve@other.example\r\nSubject: Re: Offer\r\nMessage-ID: <m1@crm.example>\r\nReferences: <0@acme.example>\r\n" +
		"In-Reply-To: <0@acme.example>\r\nX-CRM: 42\r\nList-Unsubscribe: <https://crm.example/u>\r\n\r\nHello\r\n")
	a.post("/me/sendMail", b64(raw)).want(t, "202")
	out := s.Sent()[0]
	if out.MessageID != "m1@crm.example" || !slices.Equal(out.Recipients, []string{"bob@acme.example", "eve@other.example"}) || bytes.Contains(out.Raw, []byte("Bcc")) ||
		!bytes.Contains(out.Raw, []byte("References: <0@acme.example>")) || !bytes.Contains(out.Raw, []byte("List-Unsubscribe")) || !bytes.Contains(out.Raw, []byte("Date: ")) {
		t.Errorf("outgoing %+v %s", out, out.Raw)
	}
	sent := a.get("/me/mailFolders/sentitems/messages?$select=subject,internetMessageHeaders&$expand=singleValueExtendedProperties($filter=id eq 'String 0x1039' or id eq 'String 0x007D')").want(t, "200").value()
	if len(sent) != 1 || sent[0]["internetMessageHeaders"] != nil || len(sent[0]["singleValueExtendedProperties"].([]any)) != 1 {
		t.Errorf("what was sent has no headers, but references: %v", sent)
	}
	d := a.post("/me/messages", b64(raw)).want(t, "201")
	if d.m["isDraft"] != true || d.str("internetMessageId") != "<m1@crm.example>" {
		t.Errorf("draft %s", d.raw)
	}
	named := "/me/messages/" + d.str("id") + "?$select=subject&$expand=singleValueExtendedProperties($filter=id eq 'String {00020386-0000-0000-C000-000000000046} Name x-crm')"
	if p := a.get(named).want(t, "200").m["singleValueExtendedProperties"].([]any); p[0].(obj)["value"] != "42" {
		t.Errorf("a field as a named property: %v", p)
	}
	// A draft of MIME with something added is written anew, and answers what it answered.
	a.post("/me/messages/"+d.str("id")+"/attachments", obj{"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "aGk="}).want(t, "201")
	m := a.get("/me/messages/"+d.str("id")+"/$value").want(t, "200").raw
	for _, want := range []string{"References: <0@acme.example>\r\n", "In-Reply-To: <0@acme.example>\r\n", "X-CRM: 42\r\n", "List-Unsubscribe: ", "Bcc: <eve@other.example>", "a.txt"} {
		if !bytes.Contains(m, []byte(want)) {
			t.Errorf("no %q in\n%s", want, m)
		}
	}
	a.post("/me/messages/"+d.str("id")+"/send", nil).want(t, "202")
	if p := a.get(named).want(t, "200").m["singleValueExtendedProperties"].([]any); p[0].(obj)["value"] != "42" {
		t.Errorf("once it is sent: %v", p)
	}
	if got := bob.Find("m1@crm.example"); len(got) != 2 {
		t.Errorf("delivered %v", got)
	}
}

func TestDatesAreRestamped(t *testing.T) {
	for restamp, want := range map[bool]string{false: "Date: Mon, 09 Mar 2026 08:00:00 +0000", true: "Date: Tue, 10 Mar 2026 12:00:00 +0000"} {
		s, _ := newServer(graphtest.Options{RestampDates: restamp})
		a := newApp(t, s, s.AddUser("ada@example.com"))
		a.post("/me/sendMail", b64([]byte("To: x@y.example\r\nDate: Mon, 09 Mar 2026 08:00:00 +0000\r\n\r\nHi\r\n"))).want(t, "202")
		if raw := s.Sent()[0].Raw; bytes.Count(raw, []byte("Date: ")) != 1 || !bytes.Contains(raw, []byte(want)) {
			t.Errorf("restamped %v: %s", restamp, raw)
		}
	}
}

func TestReplies(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	id := ada.Deliver(letter("Bob <bob@acme.example>", "ada@example.com, carl@third.example", "Offer", "1@acme.example", "Cc: dora@third.example", "References: <0@acme.example>", "Reply-To: desk@acme.example"), noon, "")
	people := func(r *answer, name string) string {
		var out []string
		for _, p := range r.m[name].([]any) {
			out = append(out, p.(obj)["emailAddress"].(obj)["address"].(string))
		}
		return strings.Join(out, ",")
	}
	r := a.post("/me/messages/"+id+"/createReply", obj{"comment": "Yes & no"}).want(t, "201")
	if r.str("subject") != "RE: Offer" || people(r, "toRecipients") != "desk@acme.example" || r.m["isDraft"] != true || !strings.Contains(r.m["body"].(obj)["content"].(string), "Yes &amp; no") ||
		!strings.Contains(r.m["body"].(obj)["content"].(string), "Hello from Offer.") || r.str("conversationId") != a.get("/me/messages/"+id).str("conversationId") {
		t.Errorf("reply %s", r.raw)
	}
	a.post("/me/messages/"+r.str("id")+"/send", nil).want(t, "202")
	if raw := s.Sent()[0].Raw; !bytes.Contains(raw, []byte("In-Reply-To: <1@acme.example>")) || !bytes.Contains(raw, []byte("References: <0@acme.example> <1@acme.example>")) {
		t.Errorf("sent %s", raw)
	}
	r = a.post("/me/messages/"+id+"/createReplyAll", obj{"message": obj{"body": obj{"contentType": "text", "content": "All"}}}).want(t, "201")
	if people(r, "toRecipients") != "desk@acme.example,carl@third.example" || people(r, "ccRecipients") != "dora@third.example" {
		t.Errorf("reply to all %s", r.raw)
	}
	a.post("/me/messages/"+id+"/createReply", obj{"comment": "a", "message": obj{"body": obj{"content": "b"}}}).want(t, "400 ErrorInvalidRequest")
	r = a.post("/me/messages/"+id+"/createReply", b64([]byte("To: desk@acme.example\r\nSubject: Re: Offer\r\nMessage-ID: <9@crm.example>\r\n\r\nMIME"))).want(t, "201")
	if r.str("internetMessageId") != "<9@crm.example>" || people(r, "toRecipients") != "desk@acme.example" {
		t.Errorf("reply %s", r.raw)
	}
	a.post("/me/messages/"+id+"/forward", obj{"toRecipients": to("eve@other.example"), "comment": "FYI"}).want(t, "202")
	if out := s.Sent()[1]; !bytes.Contains(out.Raw, []byte("Subject: FW: Offer")) || out.Recipients[0] != "eve@other.example" {
		t.Errorf("forwarded %s", out.Raw)
	}
	a.post("/me/messages/"+id+"/reply", obj{"comment": "At once"}).want(t, "202")
}

func TestUploads(t *testing.T) {
	s, _ := newServer(graphtest.Options{UploadBytes: 12 << 20})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	id := a.post("/me/messages", obj{"subject": "Big", "toRecipients": to("x@y.example")}).want(t, "201").str("id")
	size := 6 << 20
	item := func(n int) obj {
		return obj{"AttachmentItem": obj{"attachmentType": "file", "name": "big.bin", "size": n, "contentType": "application/x-big"}}
	}
	path := "/me/messages/" + id + "/attachments/createUploadSession"
	a.post(path, item(1000)).want(t, "400 ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")
	a.post(path, item(151<<20)).want(t, "413 ErrorAttachmentSizeLimitExceeded")
	u := a.post(path, item(size)).want(t, "201")
	at := u.str("uploadUrl")
	if strings.HasPrefix(at, s.URL()) || u.m["nextExpectedRanges"].([]any)[0] != "0-" {
		t.Fatalf("session %s", u.raw)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	bare := &app{t: t, s: s, client: s.Client()}
	put := func(from, end int) *answer {
		return bare.with(fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, end-1, size)).do("PUT", at, data[from:end])
	}
	a.with(fmt.Sprintf("Content-Range: bytes 0-9/%d", size)).do("PUT", at, data[:10]).want(t, "401 InvalidAuthenticationToken")
	put(0, 5<<20).want(t, "413 ErrorInvalidRequest")
	if r := put(0, 3<<20).want(t, "200"); r.m["nextExpectedRanges"].([]any)[0] != fmt.Sprint(3<<20) {
		t.Errorf("next %s", r.raw)
	}
	put(4<<20, 6<<20).want(t, "416 ErrorInvalidRange")
	put(0, 3<<20).want(t, "416 ErrorInvalidRange")
	bare.do("PUT", strings.Replace(at, "authtoken=", "authtoken=x", 1), data[:1]).want(t, "404 ErrorItemNotFound")
	s.Fail("upload", 1, graphtest.AnswerLost)
	if r := put(3<<20, 4<<20); r.err == nil {
		t.Error("the answer is not lost")
	}
	if r := bare.get(at).want(t, "200"); r.m["nextExpectedRanges"].([]any)[0] != fmt.Sprint(4<<20) {
		t.Errorf("next %s", r.raw)
	}
	r := put(4<<20, size).want(t, "201")
	loc := r.header.Get("Location")
	if !strings.Contains(loc, "/Attachments('") || len(r.raw) != 0 {
		t.Errorf("done %q %s", loc, r.raw)
	}
	bare.get(at).want(t, "404 ErrorItemNotFound")
	fs := a.get("/me/messages/"+id+"/attachments?$select=name,size,contentType").want(t, "200").value()
	if len(fs) != 1 || fs[0]["name"] != "big.bin" || !strings.Contains(loc, fs[0]["id"].(string)) {
		t.Errorf("attachments %v", fs)
	}
	if got := a.get("/me/messages/"+id+"/attachments/"+fs[0]["id"].(string)+"/$value").want(t, "200").raw; !bytes.Equal(got, data) {
		t.Errorf("%d bytes", len(got))
	}
	// 12 MB in five minutes is what this server allows: six are behind us.
	at = a.post(path, item(size)).want(t, "201").str("uploadUrl")
	put(0, 3<<20).want(t, "200")
	put(3<<20, size).want(t, "429 ApplicationThrottled")
	bare.do(http.MethodDelete, at, nil).want(t, "204")
	in := ada.Deliver(letter("bob@acme.example", "ada@example.com", "In", "1@acme.example"), noon, "")
	a.post("/me/messages/"+in+"/attachments/createUploadSession", item(size)).want(t, "400 ErrorInvalidRequest")
}

func TestCategoriesAndConflicts(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	id := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	m := a.get("/me/messages/"+id).want(t, "200")
	tag := m.str("@odata.etag")
	if m.header.Get("ETag") != tag {
		t.Errorf("ETag %q, %q", m.header.Get("ETag"), tag)
	}
	ada.Categorize(id, "By hand")
	cs := obj{"categories": []string{"CRM"}}
	a.with("If-Match: "+tag).patch("/me/messages/"+id, cs).want(t, "412 ErrorIrresolvableConflict")
	a.patch("/me/messages/"+id, obj{"categories": []string{"x"}, "changeKey": m.str("changeKey")}).want(t, "412 ErrorIrresolvableConflict")
	tag = a.get("/me/messages/" + id).str("@odata.etag")
	r := a.with("If-Match: "+tag).patch("/me/messages/"+id, obj{"categories": []string{"By hand", "CRM"}, "isRead": true}).want(t, "200")
	if r.str("@odata.etag") == tag || fmt.Sprint(r.m["categories"]) != "[By hand CRM]" || r.m["isRead"] != true {
		t.Errorf("patched %s", r.raw)
	}
	a.patch("/me/messages/"+id, cs).want(t, "200") // the whole array
	if m, _ := ada.Message(id); !slices.Equal(m.Categories, []string{"CRM"}) {
		t.Errorf("categories %v", m.Categories)
	}
	a.post("/me/outlook/masterCategories", obj{"displayName": "CRM", "color": "preset3"}).want(t, "201")
	a.post("/me/outlook/masterCategories", obj{"displayName": "crm", "color": "preset4"}).want(t, "409 CategoryNameAlreadyExists")
	a.post("/me/outlook/masterCategories", obj{"displayName": "X", "color": "red"}).want(t, "400 ErrorInvalidRequest")
	c := a.get("/me/outlook/masterCategories").want(t, "200").value()
	a.patch("/me/outlook/masterCategories/"+c[0]["id"].(string), obj{"color": "preset9"}).want(t, "200")
	if ada.Categories()["CRM"] != "preset9" {
		t.Errorf("categories %v", ada.Categories())
	}
	readOnly := newApp(t, s, ada, graphtest.ScopeReadWrite, graphtest.ScopeSettingsRead)
	readOnly.get("/me/outlook/masterCategories").want(t, "200")
	readOnly.post("/me/outlook/masterCategories", obj{"displayName": "Y", "color": "preset1"}).want(t, "403 ErrorAccessDenied")

	ada.SetAutoReply("scheduled")
	if r := readOnly.get("/me/mailboxSettings/automaticRepliesSetting").want(t, "200"); r.str("status") != "scheduled" {
		t.Errorf("automatic replies %s", r.raw)
	}
	readOnly.patch("/me/mailboxSettings", obj{"timeZone": "W. Europe Standard Time"}).want(t, "403 ErrorAccessDenied")
	if r := a.patch("/me/mailboxSettings", obj{"timeZone": "W. Europe Standard Time"}).want(t, "200"); r.str("timeZone") != "W. Europe Standard Time" {
		t.Errorf("settings %s", r.raw)
	}
	if r := a.get("/me?$select=mail,proxyAddresses").want(t, "200"); r.str("mail") != "ada@example.com" {
		t.Errorf("me %s", r.raw)
	}
}
