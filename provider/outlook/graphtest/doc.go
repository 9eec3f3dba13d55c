// Package graphtest is the mail of Microsoft Graph, and Entra, in one process, for tests of what talks to them: this module's own suites and examples,
// and those of hosts.
//
//	srv := graphtest.New(graphtest.Options{Now: clock})
//	ada := srv.AddUser("ada@example.com")
//	id := ada.Deliver(raw, clock(), "inbox")
//	client := ada.Client(graphtest.ScopeReadWrite) // GET srv.URL() + "/me/messages"
//	…
//	ada.Archive(id)
//
// A Server is the API below /v1.0 with its batches, the host that attachments are uploaded to, the consent pages, token endpoint and keys of Entra, and
// what tells subscriptions of changes. It is reached in memory (Server.Client, no sockets and no goroutines that outlive a call, so it lives in a
// testing/synctest bubble) or by Server.Listen. In memory it answers to Microsoft's own host names too, so that what is pointed nowhere comes here.
//
// It has the habits of the real one on the wire: absolute links, delta%28%29, compressed bodies, ids that change on a move unless a header says
// otherwise with each request, listings that slip, deltas whose pages may be empty and whose links expire, 429 by count and by concurrency, a
// sign-in that ordinary people of a work account may not finish (Options.UserConsent), notifications late, twice or never. A Server imports nothing of
// Microsoft's: sdktest drives it by their client.
//
// Each rule cites a section of our notes on services ("facts") where they know it; "from memory" is no more than that, texts and most codes of errors
// among it. Nothing here was compared with Microsoft itself, but answers are checked by their published description (Spec).
//
// What it lacks: calendars, contacts, shared mailboxes and delegates, rules of the inbox, notifications with resource data, the "slow" and "drop" states of
// webhooks, bounces for addresses that are nobody's, folders' copies, messages and references as new attachments, and the beta endpoint. A method
// that Graph has and this does not is answered 501.
//
// A Server and its Users are safe for concurrent use.
package graphtest
