package state

import "time"

// OutState is the state of an outgoing message.
type OutState string

const (
	OutQueued  OutState = "queued"
	OutStaged  OutState = "staged"  // a draft exists, or the bytes are final
	OutSending OutState = "sending" // committed before the send: what is found here after a crash is looked up
	OutSent    OutState = "sent"
	OutUnknown OutState = "unknown" // the answer was lost and nobody can say; never sent again blindly
	OutFailed  OutState = "failed"
)

// Outgoing is a row of the outbox.
type Outgoing struct {
	Key        string // idempotency key, unique in its organisation
	Org        string
	Connection int64
	Raw        []byte // rendered bytes
	Options    []byte // the engine's, opaque
	Staged     []byte // the engine's record of provider.Staged, opaque
	State      OutState
	Error      string
	Tries      int
	NextTry    time.Time
	Created    time.Time
	// Value registers the mail as an Email; it is held back from delivery until the row is sent or a copy is found in a
	// mailbox.
	Value EmailValue
	Email int64
}

// Step is what a move in the outbox carries.
type Step struct {
	Staged  []byte // nil: unchanged
	Error   string
	NextTry time.Time // for sending: when a worker that vanished is given up
	Aliases []Hash    // Message-IDs the provider put in place of ours
	Try     bool      // count a try
}
