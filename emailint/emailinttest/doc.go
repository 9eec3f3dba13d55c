// Package emailinttest is for hosts' own tests: the suite a CRMStore must pass, a CRM in memory, and New, an engine over a
// fake mailbox on a settable clock.
package emailinttest
