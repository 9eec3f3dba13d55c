// Package gmailtest is Gmail in one process, for tests of what talks to Gmail: this module's own suites and examples, and those of hosts.
//
//	srv := gmailtest.New(gmailtest.Options{Now: clock})
//	ada := srv.AddUser("ada@example.com")
//	id := ada.Deliver(raw, clock())
//	svc, err := gmail.NewService(ctx, option.WithHTTPClient(ada.Client(gmailtest.ScopeModify)), option.WithEndpoint(srv.URL()))
//	…
//	ada.Trash(id)
//
// A Server is the API below /gmail/v1, /upload/gmail/v1 and /batch/gmail/v1, the consent page, token and revocation endpoints with their keys,
// and what Pub/Sub does for it. It is reached in memory (Server.Client, no sockets and no goroutines that outlive a call, so it lives in a
// testing/synctest bubble) or by Server.Listen. In memory it answers to Google's own host names too, so that what is pointed nowhere comes here.
//
// Each rule cites a section of our notes on services ("facts") where they know it; "seen in practice" is a report that we read and did not
// try; "from memory" is no more than that, texts of errors among it. Nothing here was compared with Google itself. What a method takes and gives are the types of
// google.golang.org/api/gmail/v1; the table of methods is checked against its discovery document.
//
// What it lacks: filters, forwarding, delegates, S/MIME, vacation, import by several parts of one resumable upload out of order, bounces
// for addresses that are nobody's, and a spam filter. A method that Gmail has and this does not is answered 501.
//
// A Server and its Users are safe for concurrent use.
package gmailtest
