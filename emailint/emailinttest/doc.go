// Package emailinttest is for hosts' own tests: the suite a CRMStore must pass, a CRM in memory, New, an engine over a
// fake mailbox on a settable clock, and AuthServer, a service where people sign in by OAuth.
package emailinttest
