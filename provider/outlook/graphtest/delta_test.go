package graphtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// follow reads a delta to its deltaLink. Each entry is "subject" or "-reason" with the id behind it.
func follow(t *testing.T, a *app, path string) (got []string, link string, pages []int) {
	t.Helper()
	for {
		r := a.get(path).want(t, "200")
		pages = append(pages, len(r.value()))
		for _, v := range r.value() {
			if rm, ok := v["@removed"].(obj); ok {
				got = append(got, fmt.Sprint("-", rm["reason"], " ", v["id"]))
				continue
			}
			got = append(got, fmt.Sprint(v["subject"], " ", v["id"]))
		}
		if link = r.str("@odata.deltaLink"); link != "" {
			if r.str("@odata.nextLink") != "" {
				t.Fatal("both links")
			}
			return got, link, pages
		}
		if path = r.str("@odata.nextLink"); path == "" {
			t.Fatalf("no link: %s", r.raw)
		}
	}
}

func TestDeltaTellsWhatHappened(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	sub := ada.Folder("Customers")
	put := func(n int, folder string) string {
		return ada.Deliver(letter("bob@acme.example", "ada@example.com", fmt.Sprint("S", n), fmt.Sprint(n, "@acme.example")), noon.Add(time.Duration(n)*time.Minute), folder)
	}
	var in []string
	for i := range 13 {
		in = append(in, put(i, ""))
	}
	got, inbox, pages := follow(t, a, "/me/mailFolders/inbox/messages/delta?$select=subject")
	if len(got) != 13 || !slices.Equal(pages, []int{10, 3}) || got[0] != "S12 "+in[12] {
		t.Fatalf("first round %v in pages of %v", got, pages)
	}
	_, customers, _ := follow(t, a, "/me/mailFolders('"+sub+"')/messages/microsoft.graph.delta()?$select=subject")
	if got, same, _ := follow(t, a, inbox); len(got) != 0 || same == "" {
		t.Errorf("nothing happened: %v", got)
	}

	ada.Move(in[0], "Customers") // out: removed here, created there, under the same id
	ada.Delete(in[1])
	ada.Read(in[2], true)
	ada.Read(in[2], false)
	ada.Move(in[3], "Customers") // out and back
	ada.Move(in[3], "inbox")
	n := put(20, "")
	want := []string{"-changed " + in[0], "-deleted " + in[1], "S2 " + in[2], "S3 " + in[3], "S20 " + n}
	got, inbox2, _ := follow(t, a, inbox)
	if !slices.Equal(got, want) {
		t.Errorf("inbox %v, want %v", got, want)
	}
	if got, _, _ := follow(t, a, customers); !slices.Equal(got, []string{"S0 " + in[0], "-changed " + in[3]}) {
		t.Errorf("customers %v", got)
	}
	if again, _, _ := follow(t, a, inbox); !slices.Equal(again, want) {
		t.Errorf("the same link again: %v", again)
	}
	// Without the header the id is the one it had.
	plain, _, _ := follow(t, newApp(t, s, ada), inbox)
	if strings.Contains(strings.Join(plain, " "), in[0]) {
		t.Errorf("immutable ids without the header: %v", plain)
	}

	s.ReplayChanges(2)
	if got, _, _ := follow(t, a, inbox2); !slices.Equal(got, want[3:]) {
		t.Errorf("replayed %v", got)
	}
	s.EmptyPages(1)
	ada.Flag(n, true)
	if got, _, pages := follow(t, a, inbox2); len(got) != 1 || !slices.Equal(pages, []int{1, 0}) {
		t.Errorf("%v in pages of %v", got, pages)
	}
	s.SwallowRemovals(1)
	ada.Archive(n)
	if got, _, _ := follow(t, a, inbox2); len(got) != 1 || !strings.HasPrefix(got[0], "-") { // the flag's change finds it gone
		t.Errorf("%v", got)
	}
}

func TestDeltaChangesMayBeLate(t *testing.T) {
	s, c := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	_, link, _ := follow(t, a, "/me/mailFolders/inbox/messages/delta")
	s.LateChanges(time.Minute)
	id := ada.Deliver(letter("bob@acme.example", "ada@example.com", "Late", "1@acme.example"), noon, "")
	got, link, _ := follow(t, a, link)
	c.advance(time.Minute)
	if later, _, _ := follow(t, a, link); len(got) != 0 || !slices.Equal(later, []string{"Late " + id}) {
		t.Errorf("%v, later %v", got, later)
	}
}

func TestDeltaExpires(t *testing.T) {
	s, c := newServer(graphtest.Options{DeltaLife: 24 * time.Hour})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	path := "/me/mailFolders/inbox/messages/delta"
	_, link, _ := follow(t, a, path)
	_, drafts, _ := follow(t, a, "/me/mailFolders/drafts/messages/delta")
	ada.ExpireDelta("inbox")
	if r := a.get(link).want(t, "410 SyncStateNotFound"); !strings.HasPrefix(r.header.Get("Location"), s.URL()+path) {
		t.Errorf("Location %q", r.header.Get("Location"))
	}
	follow(t, a, drafts)
	for _, code := range []string{"syncStateNotFound", "SyncStateInvalid"} {
		s.SetSyncCode(code)
		a.get(link).want(t, "400 "+code)
	}
	s.SetSyncCode("ResyncRequired")
	a.get(link).want(t, "410 ResyncRequired")
	s.Calm()
	_, link, _ = follow(t, a, path)
	c.advance(23 * time.Hour)
	_, link, _ = follow(t, a, link) // another day
	c.advance(23 * time.Hour)
	follow(t, a, link)
	c.advance(2 * time.Hour)
	a = newApp(t, s, ada)
	a.get(link).want(t, "410 SyncStateNotFound")
	a.get(path+"?$deltatoken=nonsense").want(t, "400 SyncStateInvalid")
	a.get(strings.Replace(link, "inbox", "drafts", 1)).want(t, "400 SyncStateInvalid")
	got, _, _ := follow(t, a, path+"?$deltatoken=latest")
	if len(got) != 0 {
		t.Errorf("latest %v", got)
	}
}

func TestDeltaOptions(t *testing.T) {
	s, _ := newServer(graphtest.Options{SparseUpdates: true})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).immutable()
	var in []string
	for i := range 6 {
		in = append(in, ada.Deliver(letter("bob@acme.example", "ada@example.com", fmt.Sprint("S", i), fmt.Sprint(i, "@acme.example")), noon.Add(time.Duration(i)*time.Hour), ""))
	}
	path := "/me/mailFolders/inbox/messages/delta"
	got, filtered, _ := follow(t, a, path+"?$select=subject,isRead&$filter=receivedDateTime ge 2026-03-10T15:00:00Z&$orderby=receivedDateTime desc")
	if len(got) != 3 {
		t.Errorf("filtered %v", got)
	}
	ada.Read(in[0], true) // older: not told
	ada.Read(in[5], true)
	r := a.get(filtered).want(t, "200")
	if v := r.value(); len(v) != 1 || v[0]["id"] != in[5] || v[0]["isRead"] != true || v[0]["subject"] != nil {
		t.Errorf("an update says no more than what changed: %s", r.raw)
	}
	for _, q := range []string{"$filter=isRead eq true", "$filter=receivedDateTime le 2026-03-10T15:00:00Z", "$orderby=subject", `$search="x"`} {
		a.get(path+"?"+q).want(t, "400 ErrorInvalidUrlQuery")
	}
	_, created, _ := follow(t, a, path+"?changeType=created")
	ada.Read(in[1], true)
	ada.Delete(in[2])
	n := ada.Deliver(letter("bob@acme.example", "ada@example.com", "New", "n@acme.example"), noon, "")
	if got, _, _ := follow(t, a, created); !slices.Equal(got, []string{"New " + n}) {
		t.Errorf("created alone: %v", got)
	}
	// The page size is asked for with each request.
	r = a.with("Prefer: odata.maxpagesize=2").get(path).want(t, "200")
	if len(r.value()) != 2 {
		t.Errorf("%d in a page", len(r.value()))
	}
	if r = a.get(r.str("@odata.nextLink")).want(t, "200"); len(r.value()) != 4 {
		t.Errorf("%d in the next page", len(r.value()))
	}
}

func TestFilteredDeltaEndsAfter5000(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada).with("Prefer: odata.maxpagesize=1000")
	for i := range 5100 {
		ada.Deliver([]byte("Subject: x\r\n\r\n"), noon.Add(time.Duration(i)*time.Second), "")
	}
	path := "/me/mailFolders/inbox/messages/delta?$select=subject"
	filtered, _, _ := follow(t, a, path+"&$filter=receivedDateTime ge 2026-01-01T00:00:00Z")
	all, _, _ := follow(t, a, path)
	if len(filtered) != 5000 || len(all) != 5100 {
		t.Errorf("%d filtered, %d in all", len(filtered), len(all))
	}
}

func TestFoldersAndTheirDelta(t *testing.T) {
	s, _ := newServer(graphtest.Options{})
	ada := s.AddUser("ada@example.com")
	a := newApp(t, s, ada)
	names := func(path string) []string { return a.get(path).want(t, "200").all("displayName") }
	if got := names("/me/mailFolders"); !slices.Equal(got, []string{"Deleted Items", "Drafts", "Inbox", "Junk Email", "Outbox", "Sent Items"}) {
		t.Errorf("folders %v", got)
	}
	a.get("/me/mailFolders/archive").want(t, "404 ErrorItemNotFound")
	r := a.get("/me/mailFolders/delta").want(t, "200")
	link := r.str("@odata.deltaLink")
	if len(r.value()) != 6 {
		t.Errorf("delta %s", r.raw)
	}
	customers := a.post("/me/mailFolders", obj{"displayName": "Customers"}).want(t, "201").str("id")
	acme := a.post("/me/mailFolders/"+customers+"/childFolders", obj{"displayName": "Acme"}).want(t, "201").str("id")
	a.post("/me/mailFolders/"+customers+"/childFolders", obj{"displayName": "ACME"}).want(t, "409 ErrorFolderExists")
	a.patch("/me/mailFolders/"+acme, obj{"displayName": "Acme & Co"}).want(t, "200")
	ada.Deliver(letter("bob@acme.example", "ada@example.com", "One", "1@acme.example"), noon, "Customers/Acme & Co")
	if f := a.get("/me/mailFolders/"+acme).want(t, "200"); f.str("displayName") != "Acme & Co" || f.m["unreadItemCount"] != 1.0 || f.m["totalItemCount"] != 1.0 || f.str("parentFolderId") != customers {
		t.Errorf("folder %s", f.raw)
	}
	if got := names("/me/mailFolders/" + customers + "/childFolders"); !slices.Equal(got, []string{"Acme & Co"}) {
		t.Errorf("children %v", got)
	}
	if l := a.get("/me/mailFolders/"+customers+"/childFolders/"+acme+"/messages").want(t, "200"); len(l.value()) != 1 {
		t.Errorf("messages %s", l.raw)
	}
	if got := names("/me/mailFolders?$filter=displayName eq 'Customers'"); len(got) != 1 {
		t.Errorf("found %v", got)
	}
	changed, link, _ := followFolders(t, a, link)
	if !slices.Contains(changed, "Customers") || !slices.Contains(changed, "Acme & Co") {
		t.Errorf("changed %v", changed)
	}
	a.post("/me/mailFolders/"+acme+"/move", obj{"destinationId": "inbox"}).want(t, "201")
	a.do("DELETE", "/me/mailFolders/"+customers, nil).want(t, "204")
	a.do("DELETE", "/me/mailFolders/inbox", nil).want(t, "403 ErrorDeleteDistinguishedFolder")
	ada.PurgeFolder(customers)
	changed, _, _ = followFolders(t, a, link)
	if !slices.Contains(changed, "-deleted "+customers) || !slices.Contains(changed, "Acme & Co") || slices.Contains(changed, "Customers") {
		t.Errorf("changed %v", changed)
	}
	if ada.FolderCounts()["Inbox/Acme & Co"] != 1 {
		t.Errorf("counts %v", ada.FolderCounts())
	}
	a.get("/me/mailFolders/"+customers+"/messages").want(t, "404 ErrorItemNotFound")
}

func followFolders(t *testing.T, a *app, path string) (got []string, link string, pages int) {
	t.Helper()
	for {
		r := a.get(path).want(t, "200")
		pages++
		for _, v := range r.value() {
			if rm, ok := v["@removed"].(obj); ok {
				got = append(got, fmt.Sprint("-", rm["reason"], " ", v["id"]))
				continue
			}
			got = append(got, fmt.Sprint(v["displayName"]))
		}
		if link = r.str("@odata.deltaLink"); link != "" {
			return got, link, pages
		}
		path = r.str("@odata.nextLink")
	}
}
