package outlook_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// A mailbox is read without the engine: what there was, and what comes. Against Microsoft the token source is golang.org/x/oauth2's, and Options are nil.
func Example() {
	srv := graphtest.New(graphtest.Options{})
	ann := srv.AddUser("ann@acme.example")
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	ann.Deliver([]byte("From: pat@customer.example\r\nTo: ann@acme.example\r\nSubject: our order\r\n\r\nWhere is it?\r\n"), at, "inbox")

	ctx := context.Background()
	p := outlook.New(&outlook.Options{BaseURL: srv.URL(), HTTPClient: srv.Client()})
	box, err := p.OpenToken(ctx, ann.TokenSource(graphtest.ScopeReadWrite, graphtest.ScopeUser))
	if err != nil {
		log.Fatal(err)
	}
	defer box.Close()

	now, err := box.Start(ctx) // before anything is listed
	if err != nil {
		log.Fatal(err)
	}
	page, err := box.History(ctx, provider.Window{}, nil)
	var limit *provider.RateLimitError
	if errors.As(err, &limit) {
		fmt.Println("come back after", limit.RetryAfter)
	}
	for _, it := range page.Items {
		m, err := box.Content(ctx, it.ID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", m.Subject, m.Text)
	}

	ann.Deliver([]byte("From: pat@customer.example\r\nTo: ann@acme.example\r\nSubject: thanks\r\n\r\nIt came.\r\n"), at.Add(time.Hour), "inbox")
	news, err := box.Changes(ctx, now)
	if err != nil {
		log.Fatal(err)
	}
	for _, it := range news.Items {
		fmt.Println(it.Envelope.From[0], it.Envelope.Subject, it.Folders[0].Name)
	}
	// Output:
	// our order: Where is it?
	// pat@customer.example thanks Inbox
}
