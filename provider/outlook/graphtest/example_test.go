package graphtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

func Example() {
	noon := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	srv := graphtest.New(graphtest.Options{Now: func() time.Time { return noon }})
	ada := srv.AddUser("ada@example.com")
	client := ada.Client(graphtest.ScopeReadWrite)
	get := func(url string) (page struct {
		Value []map[string]any
		Delta string `json:"@odata.deltaLink"`
	}) {
		resp, err := client.Get(url)
		if err != nil {
			panic(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			fmt.Println(resp.Status, resp.Header.Get("Retry-After"))
			return page
		}
		if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
			panic(err)
		}
		return page
	}
	link := get(srv.URL() + "/me/mailFolders/inbox/messages/delta?$select=subject").Delta

	id := ada.Deliver([]byte("From: bob@acme.example\r\nTo: ada@example.com\r\nSubject: Offer\r\nMessage-ID: <1@acme.example>\r\n\r\nHello.\r\n"), noon, "inbox")
	page := get(link)
	fmt.Println(page.Value[0]["subject"])
	ada.Archive(id)
	page = get(page.Delta)
	fmt.Println(page.Value[0]["@removed"])
	srv.Fail("messages.delta", 1, graphtest.Throttled)
	get(page.Delta)
	fmt.Println("requests:", ada.Requests())
	// Output:
	// Offer
	// map[reason:changed]
	// 429 Too Many Requests 10
	// requests: 3
}
