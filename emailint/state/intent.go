package state

import "time"

// IntentState is the state of an intent.
type IntentState string

const (
	IntentPlanned   IntentState = "planned"   // waits until the host has the email and its links
	IntentAttempted IntentState = "attempted" // committed before the mailbox was asked: it may have happened
	IntentDone      IntentState = "done"
	IntentFailed    IntentState = "failed"    // given up, Error says why
	IntentCancelled IntentState = "cancelled" // not to be done any more, Error says why
	IntentUndoing   IntentState = "undoing"   // committed before the mailbox was asked to take it back
	IntentUndone    IntentState = "undone"
)

// Intent is what a rule of the inbox wants done to one email in one mailbox, and what became of it. Its key is (email,
// connection, rule): a rule acts once on an email, whatever happens to the mail later.
type Intent struct {
	ID         int64
	Org        string
	Email      int64
	Connection int64
	Rule       string
	Do         string // the rule's action
	Label      string
	State      IntentState
	Undo       bool   // a person wants it taken back
	Item       string // what the mailbox was last asked to change
	Mutation   []byte // the engine's record of what was done, opaque
	Error      string
	Tries      int
	NextTry    time.Time
	Rows       []Row // IntentsDue: the email's rows in this mailbox, with folders
}

// IntentPlan is an intent to be made with a decision. Where there is one with the same key nothing changes.
type IntentPlan struct{ Rule, Do, Label string }

// IntentStep is what a move of an intent carries. It is logged in the same transaction.
type IntentStep struct {
	Item     string // "": unchanged
	Mutation []byte // nil: unchanged
	Made     string // the item that the mutation made or that the message became, recognised when a page shows it
	Error    string
	NextTry  time.Time
	Try      bool // count a try
	At       time.Time
	Note     string // for the log: what was done, in words, no content
}

// IntentEvent is a line of the mutation log: what was done to somebody's mailbox, when and why.
type IntentEvent struct {
	ID         int64
	Intent     int64
	Email      int64
	Connection int64
	Rule       string
	State      IntentState // that it came to
	Note       string
	At         time.Time
}
