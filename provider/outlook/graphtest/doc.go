// Package graphtest is Microsoft Graph's mail and Entra in one process, for tests of what talks to them: this module's own suites and examples,
// and those of hosts.
//
//	srv := graphtest.New(graphtest.Options{Now: clock})
//	ada := srv.AddUser("ada@example.com")
//	id := ada.Deliver(raw, clock(), "inbox")
//	client := ada.Client(graphtest.ScopeReadWrite) // calls srv.URL() + "/me/messages" in memory
//	…
//	ada.Archive(id)
package graphtest
