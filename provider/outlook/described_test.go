package outlook_test

import (
	"io"
	"slices"
	"testing"

	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Everything that a mailbox does is once asked for as Microsoft describes it, but for what microsoft.Undescribed names. Every other world of these tests is checked in the same
// way (newWorld); this test also says by its skip that the description is not there, and that then none is.
func TestRequestsAreDescribed(t *testing.T) {
	microsoft.File(t, microsoft.OpenAPI)
	w := newWorld(t, graphtest.Options{PageSize: 3}, outlook.Options{PageSize: 3, ColorCategories: true, NotifyURL: notifyURL, PushKey: []byte("a key of the host's, kept secret")})
	box := w.open(t)
	w.srv.Webhook("https://crm.example/", &endpoint{p: w.prov})
	b := newBook(t, box)
	for range 5 {
		w.user.Deliver(providertest.Mail("old", "about"), day0, "inbox")
	}
	id := provider.ItemID(w.user.Deliver(large(10), day0, "inbox"))
	b.follow()
	for cur, more := provider.Cursor(nil), true; more; {
		p, err := box.History(t.Context(), provider.Window{From: day0.AddDate(0, -1, 0)}, cur)
		if err != nil {
			t.Fatal(err)
		}
		cur, more = p.Next, p.More
	}
	for _, err := range box.Inventory(t.Context(), provider.Scope{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := box.Content(t.Context(), id)
	if err != nil || len(m.Attachments) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	file, err := box.Attachment(t.Context(), id, m.Attachments[0].Part)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(file); err != nil || len(data) != 10 {
		t.Errorf("%q, %v", data, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if at, err := box.Locate(t.Context(), "files@acme.example"); err != nil || len(at) != 1 {
		t.Errorf("%+v, %v", at, err)
	}
	target := provider.Target{Item: id, MessageID: "files@acme.example"}
	was, err := box.Label(t.Context(), target, "Customers")
	if err != nil {
		t.Fatal(err)
	}
	if c := w.user.Categories(); c["Customers"] == "" || c["Customers"] == "none" {
		t.Errorf("the categories of the mailbox are %v", c)
	}
	if err := box.Unlabel(t.Context(), target, was); err != nil {
		t.Error(err)
	}
	was, err = box.Archive(t.Context(), target) // makes the folder
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Unarchive(t.Context(), target, was); err != nil {
		t.Error(err)
	}
	send := func(raw []byte, id string) {
		t.Helper()
		st, err := box.Stage(t.Context(), raw, provider.SendOptions{From: owner, Recipients: []string{"ada@sender.example"}, MessageID: id})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := box.Lookup(t.Context(), st); err != nil {
			t.Error(err)
		}
		if _, err := box.Release(t.Context(), st); err != nil {
			t.Error(err)
		}
	}
	send([]byte("From: "+owner+"\r\nTo: ada@sender.example\r\nSubject: short\r\nMessage-ID: <short@acme.example>\r\n\r\nx\r\n"), "short@acme.example")
	send(large(1000, 2_500_000, 5<<20), "files@acme.example")
	w.srv.Fail("subscriptions.update", 1, graphtest.Fault{Status: 404, Code: "ResourceNotFound"})
	first := w.watch(t, nil)
	second := w.watch(t, first.Handle)
	second = w.watch(t, second.Handle)
	if err := w.prov.Unwatch(t.Context(), w.user.TokenSource(scopes...), second.Handle); err != nil {
		t.Error(err)
	}
	b.follow()

	used := map[string]bool{}
	for _, c := range w.srv.Calls() {
		used[c.Method] = true
	}
	for _, m := range []string{"folders.delta", "folders.get", "folders.create", "messages.list", "messages.delta", "messages.get", "messages.create", "messages.update", "messages.move", "messages.send",
		"attachments.create", "attachments.createUploadSession", "upload", "subscriptions.create", "subscriptions.update", "subscriptions.delete"} {
		if !used[m] {
			t.Errorf("it never came to %s", m)
		}
	}
	var beyond []string
	for m := range microsoft.Undescribed {
		beyond = append(beyond, m)
	}
	slices.Sort(beyond)
	if got := w.srv.Uncovered(); !slices.Equal(got, beyond) {
		t.Errorf("the description lacks %v, and microsoft.Undescribed has %v", got, beyond)
	}
	if w.srv.Covered() < 40 {
		t.Errorf("%d requests were checked", w.srv.Covered())
	}
	t.Logf("%d requests were checked, and %v were not", w.srv.Covered(), beyond)
}
