package emailinttest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/linker"
)

// A host's test: a mail arrives, the CRM is down for a moment, and the mail is in the CRM all the same. In a test, New takes
// the place of Start.
func Example() {
	ctx := context.Background()
	w, err := emailinttest.Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.State.Close()
	w.CRM.Add(emailinttest.Org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")

	w.Deliver("From: ada@customer.example\nTo: owner@example.com\nSubject: Hello\nMessage-ID: <1@customer.example>\n\nHi.\n")
	w.Fail(errors.New("database is down"))
	fmt.Println("drained:", w.Drain(ctx))

	for _, e := range w.CRM.Emails(emailinttest.Org) {
		fmt.Printf("%s: %s %s by %s\n", e.Message.Subject, e.Links[0].Kind, e.Links[0].ID, e.Links[0].By)
	}
	// Output:
	// drained: <nil>
	// Hello: contact ada by address
}
