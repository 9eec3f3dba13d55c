// Package providertest is for those who write a provider, and for hosts that want to test without a mail service.
//
// TestMailbox, TestSender, TestArchiver, TestLabeler and TestSentFiler say what an implementation should do: tables of named
// cases, each with a sentence, over a small harness that moves mail about on the service behind the mailbox.
//
// Fake is a mailbox service in memory. It has three personalities, IMAP, Gmail and Graph, which differ where the
// real services differ: what an id is worth after a move, what a listing tells, what expires and how. Tests can make
// it fail, throttle, revoke, cut, repeat, reorder, refuse sign-ins and lose answers. It keeps everything in memory and delivers to nobody.
package providertest
