package state

import (
	"strings"
	"time"

	"github.com/intellicon/email-integration/provider"
)

// OutboxTurn is how many rows of one mailbox OutboxDue and CopiesDue return at most: what waits of others is not behind all of them.
const OutboxTurn = 5

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

// CopyState says where the copy in Sent stands of a mail that was sent by SMTP.
type CopyState string

const (
	CopyNone  CopyState = ""      // not wanted, or not sent yet
	CopyDue   CopyState = "due"   // to be looked for, and filed when the service has none
	CopyTried CopyState = "tried" // committed before it was filed: from here on it is only looked for
	CopyFiled CopyState = "filed"
	CopyFound CopyState = "found" // the service had filed one
	CopyLost  CopyState = "lost"  // could not be filed, or was filed with the answer lost and not found since; Error says why
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
	// Row is what the ledger keeps of it until a copy shows up in the mailbox: Fate, Reason, RulesVersion, Cites and Participants of its decision,
	// so that what changes later reaches it. Where Change, the organisation's number before it was decided, moved since, it is due.
	Row    Row
	Change int64

	Copy      CopyState
	CopyError string
	CopyTries int
}

// Step is what a move in the outbox carries.
type Step struct {
	Staged  []byte // nil: unchanged
	Error   string
	NextTry time.Time // for sending: when a worker that vanished is given up
	Aliases []Hash    // Message-IDs the provider put in place of ours
	Claim   bool      // only where NextTry is still Was, else ErrStale: nobody took it up meanwhile
	Was     time.Time
	Try     bool      // count a try
	Lookup  bool      // the answer of a lookup, or what follows from one: a copy that was found outweighs it
	CopyAt  time.Time // with OutSent: when a copy in Sent is first looked for; zero: none is wanted
}

// CopyStep is what a move of a copy carries.
type CopyStep struct {
	Error   string
	NextTry time.Time
	Try     bool
}

const outboxPrefix = "emailint outbox/"

// OutboxItem names the ledger's row of what is sent and that no mailbox has shown yet.
func OutboxItem(key string) provider.ItemID { return provider.ItemID(outboxPrefix + key) }

// IsOutbox reports whether an item is one of OutboxItem's: no mailbox knows it.
func IsOutbox(id provider.ItemID) bool { return strings.HasPrefix(string(id), outboxPrefix) }
