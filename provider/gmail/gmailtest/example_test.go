package gmailtest_test

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

func Example() {
	noon := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	srv := gmailtest.New(gmailtest.Options{Now: func() time.Time { return noon }})
	ada := srv.AddUser("ada@example.com")
	svc, err := gmail.NewService(context.Background(), option.WithHTTPClient(ada.Client(gmailtest.ScopeModify)), option.WithEndpoint(srv.URL()))
	if err != nil {
		panic(err)
	}
	start := ada.HistoryID()
	id := ada.Deliver([]byte("From: bob@acme.example\r\nTo: ada@example.com\r\nSubject: Offer\r\nMessage-ID: <1@acme.example>\r\n\r\nHello.\r\n"), noon)
	ada.Trash(id)

	h, err := svc.Users.History.List("me").StartHistoryId(start).Do()
	if err != nil {
		panic(err)
	}
	for _, r := range h.History {
		fmt.Println("added:", len(r.MessagesAdded), "labels added:", len(r.LabelsAdded))
	}
	srv.Fail("gmail.users.messages.get", 1, gmailtest.UserRateLimited)
	_, err = svc.Users.Messages.Get("me", id).Do()
	fmt.Println(err)
	fmt.Println("units:", ada.Units())
	// Output:
	// added: 1 labels added: 0
	// added: 0 labels added: 1
	// googleapi: Error 403: User Rate Limit Exceeded. Rate of requests for user exceed configured project quota., userRateLimitExceeded
	// units: 2
}
