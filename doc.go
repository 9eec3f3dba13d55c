// Package emailintegration is the overview of the email integration that any CRM written in Go can import.
//
// Nothing is exported here. Start with these packages:
//
//   - emailint: the engine a host calls; the host implements its CRMStore interface.
//   - emailint/state/sqlite and emailint/state/postgres: where the engine remembers.
//   - provider: the contract a mail service fulfils; provider/imap, provider/gmail and provider/outlook fulfil it.
//   - smtp: outbound mail over SMTP.
//   - linker: the pure matcher from an envelope and a directory to links with reasons.
//   - signature: the pure signature templater.
//   - message: the words all of them share.
package emailintegration
