package graphtest_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func TestListingsArePagedBySkip(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	var want []string
	for i := range 23 {
		want = append(want, ada.Deliver(letter("bob@other.example", "ada@example.com", fmt.Sprint(i), fmt.Sprint(i, "@other.example")), noon.Add(time.Duration(i)*time.Minute), ""))
	}
	slices.Reverse(want)
	read := func(path string) (got []string, sizes []int) {
		for path != "" {
			r := a.get(path).want(t, "200")
			got, sizes = append(got, r.all("id")...), append(sizes, len(r.value()))
			path = r.str("@odata.nextLink")
			if path != "" && !strings.HasPrefix(path, s.URL()+"/me/") {
				t.Fatalf("nextLink %s", path)
			}
		}
		return got, sizes
	}
	if got, sizes := read("/me/messages"); !slices.Equal(got, want) || !slices.Equal(sizes, []int{10, 10, 3}) {
		t.Errorf("pages of %v", sizes)
	}
	if got, sizes := read("/me/mailFolders/inbox/messages?$top=1000"); !slices.Equal(got, want) || len(sizes) != 1 {
		t.Errorf("pages of %v", sizes)
	}
	if r := a.with("Prefer: odata.maxpagesize=7").get("/me/messages?$count=true").want(t, "200"); len(r.value()) != 7 || fmt.Sprint(r.m["@odata.count"]) != "23" {
		t.Errorf("a page of %d, count %v", len(r.value()), r.m["@odata.count"])
	}
	a.get("/me/messages?$top=1001").want(t, "400 ErrorInvalidUrlQuery")
	a.get("/me/messages?$skip=-1").want(t, "400 ErrorInvalidUrlQuery")

	// By nextLink alone listings slip, end early and skip.
	r := a.get("/me/messages").want(t, "200")
	ada.Delete(want[0])
	if got := a.get(r.str("@odata.nextLink")).want(t, "200").all("id"); got[0] != want[11] {
		t.Errorf("a listing does not slip: %v", got[0])
	}
	s.OddListings(15, 0)
	if got, _ := read("/me/messages"); len(got) != 20 {
		t.Errorf("%d of 22 listed, though it ends early", len(got))
	}
	s.OddListings(0, 5)
	if got, _ := read("/me/messages"); len(got) != 18 {
		t.Errorf("%d of 22 listed, though every fifth is left out from the second page on", len(got))
	}
	s.Calm()
	if got, _ := read("/me/messages"); len(got) != 22 {
		t.Errorf("%d of 22 listed", len(got))
	}
}

func TestFilters(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	at := func(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }
	ada.Deliver(letter("Bob <bob@acme.example>", "ada@example.com", "It's an offer", "1@acme.example"), at(0), "")
	two := ada.Deliver(letter("eve@sub.example", "ada@example.com", "Question", "2@x.example", "Importance: high"), at(1), "")
	ada.Deliver(letter("ada@example.com", "bob@acme.example", "Re: offer", "3@example.com"), at(2), "sentitems")
	four := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Old", "4@acme.example"), at(3), "deleteditems")
	ada.Read(two, true)
	ada.Categorize(four, "Acme", "Late")
	for filter, want := range map[string]string{
		"receivedDateTime ge 2026-03-10T13:00:00Z":                                              "Old,Re: offer,Question",
		"receivedDateTime gt 2026-03-10T13:00:00Z":                                              "Old,Re: offer",
		"receivedDateTime ge 2026-03-10T13:00:00Z and receivedDateTime lt 2026-03-10T15:00:00Z": "Re: offer,Question",
		"receivedDateTime le 2026-03-10T13:00:00Z":                                              "Question,It's an offer",
		"receivedDateTime lt 2026-03-10":                                                        "",
		"internetMessageId eq '<2@x.example>'":                                                  "Question",
		"internetMessageId eq '2@x.example'":                                                    "",
		"internetMessageId eq '<2@X.example>'":                                                  "",
		"subject eq 'it''s an offer'":                                                           "It's an offer",
		"contains(subject,'offer')":                                                             "Re: offer,It's an offer",
		"startswith(subject,'re:')":                                                             "Re: offer",
		"isRead eq true":                                                                        "Question",
		"not (isRead eq true) and importance eq 'normal'":                                       "Old,Re: offer,It's an offer",
		"from/emailAddress/address eq 'BOB@acme.example'":                                       "Old,It's an offer",
		"categories/any(c:c eq 'acme')":                                                         "Old",
		"importance eq 'high' and isDraft eq false and hasAttachments eq false":                 "Question",
		"flag/flagStatus ne 'notFlagged'":                                                       "",
		"sentDateTime ge 2026-03-10T12:00:00Z and lastModifiedDateTime gt 2026-03-10T12:00:00Z": "",
		"parentFolderId eq '" + ada.Folder("sentitems") + "'":                                   "Re: offer",
		"from/emailAddress/name eq 'bob'":                                                       "It's an offer",
		"isRead eq true or categories/any(a:a eq 'Late')":                                       "Old,Question",
	} {
		if got := strings.Join(a.get("/me/messages?$select=subject&$filter="+filter).want(t, "200").all("subject"), ","); got != want {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
	for _, filter := range []string{"receivedDateTime", "receivedDateTime ge yesterday", "nothing eq 'x'", "subject eq", "(isRead eq true", "isRead eq 'true'", "subject eq 'a' and"} {
		a.get("/me/messages?$filter="+filter).want(t, "400 ErrorInvalidUrlQueryFilter")
	}
	// The properties ordered by begin the filter.
	a.get("/me/messages?$filter=receivedDateTime ge 2026-01-01T00:00:00Z&$orderby=receivedDateTime desc").want(t, "200")
	a.get("/me/messages?$filter=receivedDateTime ge 2026-01-01T00:00:00Z and isRead eq false&$orderby=receivedDateTime desc").want(t, "200")
	a.get("/me/messages?$filter=isRead eq false&$orderby=receivedDateTime desc").want(t, "400 InefficientFilter")
	if got := a.get("/me/messages?$select=subject&$orderby=receivedDateTime").want(t, "200").all("subject"); got[0] != "It's an offer" {
		t.Errorf("ascending %v", got)
	}
	for search, want := range map[string]string{
		`"participants:bob@acme.example"`: "Old,Re: offer,It's an offer",
		`"from:acme.example"`:             "Old,It's an offer",
		`"to:bob"`:                        "Re: offer",
		`"subject:offer AND from:bob"`:    "It's an offer",
		`"question OR old"`:               "Old,Question",
		`"received>=2026-03-10 NOT old"`:  "Re: offer,Question,It's an offer",
	} {
		if got := strings.Join(a.get("/me/messages?$select=subject&$search="+search).want(t, "200").all("subject"), ","); got != want {
			t.Errorf("%s: %s, want %s", search, got, want)
		}
	}
	a.get(`/me/messages?$search="x"&$filter=isRead eq true`).want(t, "400 SearchWithFilter")
	a.get(`/me/messages?$search=x`).want(t, "400 BadRequest")
}

func TestIdsChangeOnMovesUnlessImmutable(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	plain := newApp(t, s, ada)
	fixed := plain.immutable()
	imm := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Hello", "1@acme.example"), noon, "")
	old := plain.get("/me/messages").want(t, "200").all("id")[0]
	if old == imm || fixed.get("/me/messages/"+old).want(t, "200").str("id") != imm || plain.get("/me/messages/"+imm).want(t, "200").str("id") != old {
		t.Fatal("the header does not say which id comes")
	}
	if r := fixed.get("/me/messages/" + imm); !strings.Contains(r.header.Get("Preference-Applied"), "ImmutableId") {
		t.Error("the preference is not applied")
	}
	fixed.post("/me/messages/"+imm+"/move", obj{"destinationId": "archive"}).want(t, "404 ErrorItemNotFound") // may not exist until first used
	fixed.post("/me/mailFolders", obj{"displayName": "Archive"}).want(t, "201")
	fixed.get("/me/mailFolders/archive").want(t, "200")
	m := plain.post("/me/messages/"+old+"/move", obj{"destinationId": "archive"}).want(t, "201")
	if m.str("id") == old || fixed.get("/me/messages/"+imm).want(t, "200").str("parentFolderId") != ada.Folder("archive") {
		t.Errorf("moved %s", m.raw)
	}
	plain.get("/me/messages/"+old).want(t, "404 ErrorItemNotFound")
	plain.get("/me/messages/whatever").want(t, "400 ErrorInvalidIdMalformed")
	plain.post("/me/messages/"+imm+"/move", obj{"destinationId": "nowhere"}).want(t, "400 ErrorInvalidIdMalformed")
	plain.post("/me/messages/"+imm+"/move", obj{}).want(t, "400 ErrorInvalidRequest")
	r := plain.post("/me/translateExchangeIds", obj{"inputIds": []string{m.str("id"), "AAgone"}, "sourceIdType": "restId", "targetIdType": "restImmutableEntryId"}).want(t, "200")
	if v := r.value(); v[0]["targetId"] != imm || v[1]["targetId"] != nil {
		t.Errorf("translated %s", r.raw)
	}
	c := fixed.post("/me/messages/"+imm+"/copy", obj{"destinationId": "inbox"}).want(t, "201")
	if c.str("id") == imm || len(ada.Find("1@acme.example")) != 2 {
		t.Errorf("copied %s", c.raw)
	}
	again := ada.Reimport(imm)
	fixed.get("/me/messages/"+imm).want(t, "404 ErrorItemNotFound")
	if fixed.get("/me/messages/"+again).want(t, "200").str("parentFolderId") != ada.Folder("archive") || len(ada.Find("1@acme.example")) != 2 {
		t.Error("imported again it is elsewhere")
	}
	fixed.do("DELETE", "/me/messages/"+c.str("id"), nil).want(t, "204")
	fixed.do("DELETE", "/me/messages/"+c.str("id"), nil).want(t, "204")
	if m, _ := ada.Message(c.str("id")); m.Path != "Deletions" {
		t.Errorf("deleted twice, it is in %s", m.Path)
	}
	fixed.post("/me/messages/"+c.str("id")+"/permanentDelete", nil).want(t, "204")
	fixed.get("/me/messages/"+c.str("id")).want(t, "404 ErrorItemNotFound")
}

func TestBodiesHeadersAndAttachments(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	raw := []byte("From: =?utf-8?q?B=C3=B6b?= <bob@acme.example>\r\nTo: ada@example.com\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nMessage-ID: <1@acme.example>\r\n" +
		"References: <0@acme.example>\r\n <00@acme.example>\r\nIn-Reply-To: <00@acme.example>\r\nReceived: from a\r\nReceived: from b\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p onclick=\"a()\">Gr\xfc\xdfe</p><script>bad()</script><img src=\"cid:i\">\r\n" +
		"--x\r\nContent-Type: image/png; name=i.png\r\nContent-Disposition: inline\r\nContent-ID: <i>\r\nContent-Transfer-Encoding: base64\r\n\r\naW1n\r\n" +
		"--x\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\ncGRm\r\n" +
		"--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: eve@x.example\r\nSubject: Inner\r\n\r\nHi\r\n--x--\r\n")
	id := ada.Deliver(raw, noon, "")
	m := a.get("/me/messages/"+id).want(t, "200")
	body := m.m["body"].(obj)
	if m.str("subject") != "Grüße" || body["contentType"] != "html" || !strings.Contains(body["content"].(string), "Grüße") || strings.Contains(body["content"].(string), "bad()") ||
		strings.Contains(body["content"].(string), "onclick") || m.str("bodyPreview") != "Grüße" || m.m["hasAttachments"] != true {
		t.Errorf("message %s", m.raw)
	}
	if b := a.with("Prefer: outlook.allow-unsafe-html").get("/me/messages/" + id).m["body"].(obj); !strings.Contains(b["content"].(string), "bad()") {
		t.Errorf("unsafe %v", b)
	}
	if b := a.with(`Prefer: outlook.body-content-type="text"`).get("/me/messages/" + id).m["body"].(obj); b["contentType"] != "text" || b["content"] != "Grüße" {
		t.Errorf("text %v", b)
	}
	h := a.get("/me/messages/"+id+"?$select=internetMessageHeaders&$expand=singleValueExtendedProperties($filter=id eq 'String 0x1042' or id eq 'String 0x1039' or id eq 'String 0x007D' or id eq 'String 0x001A' or id eq 'String 0x9999'),attachments($select=id,name,size)").want(t, "200")
	if hs := h.m["internetMessageHeaders"].([]any); len(hs) != 10 || h.m["subject"] != nil {
		t.Errorf("headers %s", h.raw)
	}
	props := map[string]string{}
	for _, p := range h.m["singleValueExtendedProperties"].([]any) {
		props[p.(obj)["id"].(string)] = p.(obj)["value"].(string)
	}
	if len(props) != 4 || props["String 0x1042"] != "<00@acme.example>" || props["String 0x1039"] != "<0@acme.example> <00@acme.example>" || props["String 0x001A"] != "IPM.Note" ||
		!strings.HasPrefix(props["String 0x007D"], "From: =?utf-8") || !strings.HasSuffix(props["String 0x007D"], "boundary=x\r\n") {
		t.Errorf("properties %v", props)
	}
	fs := h.m["attachments"].([]any)
	if len(fs) != 3 || fs[0].(obj)["contentBytes"] != nil || fs[1].(obj)["name"] != "a.pdf" {
		t.Errorf("attachments %v", fs)
	}
	l := a.get("/me/messages/"+id+"/attachments").want(t, "200").value()
	if l[0]["isInline"] != true || l[0]["contentId"] != "i" || l[1]["contentBytes"] != base64.StdEncoding.EncodeToString([]byte("pdf")) || l[2]["@odata.type"] != "#microsoft.graph.itemAttachment" || l[2]["name"] != "Inner" {
		t.Errorf("attachments %v", l)
	}
	if b := a.get("/me/messages/"+id+"/attachments/"+l[1]["id"].(string)+"/$value").want(t, "200"); string(b.raw) != "pdf" || b.header.Get("Content-Type") != "application/pdf" {
		t.Errorf("bytes %q", b.raw)
	}
	if i := a.get("/me/messages/"+id+"/attachments/"+l[2]["id"].(string)+"?$expand=microsoft.graph.itemattachment/item").want(t, "200"); i.m["item"].(obj)["subject"] != "Inner" {
		t.Errorf("item %s", i.raw)
	}
	a.get("/me/messages/"+id+"/attachments/AAnone=").want(t, "404 ErrorItemNotFound")
	a.get("/me/messages/"+id+"?$select=nonsense").want(t, "400 RequestBroker--ParseUri")

	plain := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Plain", "2@acme.example"), noon, "")
	if b := a.get("/me/messages/" + plain).m["body"].(obj); b["contentType"] != "html" || !strings.Contains(b["content"].(string), "Hello from Plain.") {
		t.Errorf("body %v", b)
	}
	if l := a.get("/me/messages?$expand=singleValueExtendedProperties($filter=id eq 'String 0x001A')").value(); l[0]["singleValueExtendedProperties"] == nil {
		t.Error("a listing has no extended properties")
	}
	s2, _ := newServer(graphtest.Options{PlainBodies: true, NoHeadersInListings: true})
	eve := s2.AddUser("eve@example.com")
	plain = eve.Deliver(letter("bob@acme.example", "ada@example.com", "Plain", "2@acme.example"), noon, "")
	b := newApp(t, s2, eve).immutable()
	if b := b.get("/me/messages/" + plain).m["body"].(obj); b["contentType"] != "text" {
		t.Errorf("body %v", b)
	}
	if l := b.get("/me/messages?$expand=singleValueExtendedProperties($filter=id eq 'String 0x001A')").value(); l[0]["singleValueExtendedProperties"] != nil {
		t.Error("a listing has extended properties")
	}
}

func TestConversations(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	one := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Offer", "1@acme.example"), noon, "")
	two := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Re: Offer", "2@acme.example", "References: <1@acme.example>"), noon, "")
	three := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Offer", "3@acme.example"), noon, "")
	get := func(id string) (conversation string, index []byte) {
		m := a.get("/me/messages/"+id+"?$select=conversationId,conversationIndex").want(t, "200")
		index, err := base64.StdEncoding.DecodeString(m.str("conversationIndex"))
		if err != nil {
			t.Fatal(err)
		}
		return m.str("conversationId"), index
	}
	c1, i1 := get(one)
	c2, i2 := get(two)
	c3, i3 := get(three)
	if c1 != c2 || c1 == c3 || len(i1) != 22 || len(i2) != 27 || string(i2[:22]) != string(i1) || string(i3) == string(i1) {
		t.Errorf("conversations %s %s %s, indexes %x %x %x", c1, c2, c3, i1, i2, i3)
	}
	// Thread-Index is what is left where References are lost.
	_, i4 := get(ada.Deliver(letter("bob@acme.example", "ada@example.com", "Offer", "4@acme.example", "Thread-Index: "+base64.StdEncoding.EncodeToString(i1)), noon, ""))
	if string(i4) != string(i1) {
		t.Errorf("index %x", i4)
	}
}
