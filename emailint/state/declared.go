package state

import "github.com/intellicon/email-integration/linker"

// Declared is an email that the host has already, known by its Message-ID.
type Declared struct {
	ID        int64 // of the declaration
	MessageID Hash
	Author    Hash // of the author's address; "" is not compared
	HostID    string
	Records   []linker.Record
	Met       bool // of Thread.Declared: the mail that asks is it already
}

// DeclaredCounts says how many there are.
type DeclaredCounts struct {
	Declared int
	Met      int // they are Emails by now
}
