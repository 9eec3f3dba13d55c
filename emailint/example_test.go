package emailint_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
	"github.com/intellicon/email-integration/smtp"
)

// A mailbox is connected and read, its mail is linked, and answered. A host has a CRMStore of its own in the place of MemCRM, a provider such as imap.New(nil) in
// that of the fake one, and calls Run once in the place of Sync.
func Example() {
	ctx := context.Background()
	crm := emailinttest.NewMemCRM()
	crm.Add("northwind", linker.Record{Kind: linker.Contact, ID: "7"}, "Ada", "ada@customer.example")
	mailbox := providertest.NewFake(providertest.IMAP, provider.Profile{Address: "nora@northwind.example"}, nil)
	mailbox.Deliver([]byte("From: ada@customer.example\r\nTo: nora@northwind.example\r\nSubject: Our order\r\nMessage-ID: <1@customer.example>\r\n\r\nWhere is it?\r\n"),
		time.Now().Add(-time.Hour), provider.RoleInbox)

	st, err := sqlite.Open(ctx, ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close() //nolint:errcheck // in memory
	eng, err := emailint.New(emailint.Options{
		State: st, CRM: crm,
		Keys: []emailint.Key{{ID: "2026", Secret: []byte("32 random bytes of a secret store")[:32]}}, IndexKey: []byte("32 others, which never do change"),
		Providers: []provider.Provider{mailbox.Provider()},
		Sender:    func(context.Context, emailint.Connection) (provider.Sender, error) { return mailbox, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := eng.Connect(ctx, "northwind", emailint.NewConnection{User: "nora", Provider: mailbox.Provider().Name(), Credential: []byte("password")})
	if err != nil {
		log.Fatal(err)
	}
	if err := eng.Sync(ctx, "northwind", conn.ID); err != nil {
		log.Fatal(err)
	}
	var mail emailint.Email
	for _, mail = range crm.Emails("northwind") {
		for _, l := range mail.Links {
			fmt.Printf("%q is with %s %s by %s\n", mail.Message.Subject, l.Kind, l.ID, l.By)
		}
	}

	raw, _, err := smtp.Compose(smtp.Outgoing{From: message.NewAddress("Nora", conn.Address), To: mail.Message.From, Subject: "Re: " + mail.Message.Subject,
		InReplyTo: mail.Message.MessageID, References: mail.Message.References, Text: "On its way.\n"})
	if err != nil {
		log.Fatal(err)
	}
	sent, err := eng.Send(ctx, "northwind", emailint.Outgoing{Connection: conn.ID, Key: "answer to 1", Raw: raw, From: conn.Address, Recipients: []string{"ada@customer.example"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the answer is", sent.State)
	// Output:
	// "Our order" is with contact 7 by address
	// the answer is sent
}
