package overoutlook_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

const (
	ownerAddress = "owner@acme.example"
	base         = "https://crm.example/email"
)

func letter(from, id string, at time.Time) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: about %s\r\nMessage-ID: <%s@x.example>\r\nDate: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.\r\n",
		from, ownerAddress, id, id, at.Format(time.RFC1123Z))
}

// An engine signs in at Entra, imports 20,000 mails of which a tenth links, and follows the mailbox by notifications, with Microsoft's limits enforced: hardly more requests are made than there
// must be, none is refused, folders that move and are renamed and delta links that end meanwhile lose nothing, nor do notifications that are dropped, doubled and reordered.
func TestEngineOverOutlook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mails = 20_000
		srv := graphtest.New(graphtest.Options{Latency: 100 * time.Millisecond, Spec: microsoft.Spec()})
		defer microsoft.Check(t, srv)
		user := srv.AddUser(ownerAddress)
		user.Folder("Customers")
		user.Folder("Customers/Acme")
		want := map[string]bool{}
		deliver := func(id string, links bool, at time.Time, folder string) {
			from := fmt.Sprintf("stranger%d@else.example", len(want))
			if links {
				from, want[id+"@x.example"] = "ada@customer.example", true
			}
			user.Deliver(letter(from, id, at), at, folder)
		}
		for i := range mails {
			deliver(fmt.Sprint("old", i), i%10 == 0, time.Now().Add(-time.Duration(i+1)*time.Minute), []string{"inbox", "Customers", "Customers/Acme"}[i%3])
		}
		st, err := memory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}()
		crm := emailinttest.NewMemCRM()
		crm.Add("o", linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
		redirect := base + "/oauth/outlook/callback"
		srv.Register(graphtest.App{ID: "crm", Secret: "app-secret", Redirects: []string{redirect}})
		srv.AllowApp(user.Tenant, "crm", "Mail.ReadWrite", "Mail.Send", "MailboxSettings.Read", "User.Read")
		end := srv.Endpoint("common")
		p := outlook.New(&outlook.Options{BaseURL: srv.URL(), AuthURL: end.AuthURL, TokenURL: end.TokenURL, HTTPClient: srv.Client(), NotifyURL: base + "/push/outlook",
			PushKey: []byte("sixteen bytes, at least")})
		eng, err := emailint.New(emailint.Options{State: st, CRM: crm, BaseURL: base, HTTP: srv.Client(), Providers: []provider.Provider{p},
			Apps: map[string]emailint.App{"outlook": {ClientID: "crm", ClientSecret: "app-secret", RedirectURI: redirect}},
			Keys: []emailint.Key{{ID: "k", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		srv.Webhook("https://crm.example/", eng.Handler())
		s := emailint.DefaultSettings()
		s.Sync.ImportDays, s.Sync.InboundMinutes = 30, 0
		if _, err := eng.SetSettings(t.Context(), "o", s, 0); err != nil {
			t.Fatal(err)
		}
		session := emailint.Session{ID: "session", Org: "o", User: "u"}
		to, err := eng.Consent(t.Context(), emailint.ConsentRequest{Session: session, Provider: "outlook"})
		if err != nil {
			t.Fatal(err)
		}
		back, err := srv.Visit(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		conn, _, err := eng.Finish(t.Context(), emailint.Return{Session: session, Provider: "outlook", Query: u.Query()})
		if err != nil {
			t.Fatal(err)
		}
		if conn.Subject != user.Subject {
			t.Errorf("the subject is %q", conn.Subject)
		}
		srv.Forget() // what signing in took
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- eng.Run(ctx) }()
		saved := func() (n int) {
			for _, e := range crm.Emails("o") {
				if want[e.Message.MessageID] && len(e.Links) > 0 {
					n++
				}
			}
			return n
		}
		begun := time.Now()
		await := func(what string, d time.Duration) {
			t.Helper()
			for until := time.Now().Add(d); saved() < len(want); time.Sleep(time.Second) {
				if time.Now().After(until) {
					t.Fatalf("%s: %d of %d are in the CRM", what, saved(), len(want))
				}
			}
		}
		time.Sleep(30 * time.Second) // in the middle of it
		user.RenameFolder("Customers/Acme", "Acme GmbH")
		user.MoveFolder("Customers/Acme GmbH", "inbox")
		user.RenameFolder("Customers", "Clients")
		user.ExpireDelta("inbox")
		await("the import", time.Hour)
		n, least := len(srv.Calls()), mails/1000+mails/10
		if n > least*12/10 {
			t.Errorf("%d requests, %d at least", n, least)
		}
		t.Logf("imported in %s by %d requests; %d at least", time.Since(begun), n, least)
		// News: told, dropped, doubled, in another order.
		srv.ReorderNotifications(true)
		for i := range 20 {
			switch i % 4 {
			case 1:
				srv.DropNotifications(1)
			case 2:
				srv.RepeatNotifications(2)
			}
			deliver(fmt.Sprint("new", i), true, time.Now().Add(time.Second), []string{"inbox", "Clients"}[i%2])
			time.Sleep(20 * time.Second)
		}
		user.Unsubscribe(false)
		time.Sleep(time.Minute)
		if len(user.Subscriptions()) != 1 {
			t.Error("a subscription that was removed is not made anew")
		}
		deliver("last", true, time.Now().Add(time.Second), "inbox")
		await("news", 30*time.Minute)
		// The only one that tells of a mail is dropped: it comes with the next round through all folders.
		srv.DropNotifications(1)
		deliver("untold", true, time.Now().Add(time.Second), "inbox")
		for until := time.Now().Add(2 * time.Hour); saved() < len(want) && time.Now().Before(until); {
			time.Sleep(time.Minute)
		}
		await("what was not told of", time.Second)
		cancel() // it may be in the middle of a pass, and has the mailbox then
		<-done
		proof, err := eng.Reconcile(t.Context(), "o", conn.ID, provider.Window{})
		if err != nil || proof.Repaired != 0 {
			t.Errorf("reconciling: %+v, %v", proof, err)
		}
		if st, err := eng.Status(t.Context(), "o", conn.ID); err != nil || st.Completeness() != 1 || st.Counts.Total != mails+22 {
			t.Errorf("%+v, %v", st, err)
		}
		if n := srv.Throttled(); n > 0 {
			t.Errorf("Microsoft refused %d requests", n)
		}
	})
}
