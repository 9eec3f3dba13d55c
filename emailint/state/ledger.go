package state

import (
	"time"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
)

// Fate is what became of an item. Every item has one.
type Fate string

const (
	FatePending   Fate = "pending" // may link; not decided yet
	FateLinked    Fate = "linked"
	FateUnmatched Fate = "unmatched"
	FateExcluded  Fate = "excluded"
	FateInternal  Fate = "internal"
	FateAutomated Fate = "automated"
	FateDraft     Fate = "draft"
	FateSpam      Fate = "spam"
	FateTrash     Fate = "trash"
	FateUnread    Fate = "unread" // id known, header not fetched
	FateFailed    Fate = "failed" // could not be read; tried again
	FateGone      Fate = "gone"   // deleted before it was decided
)

// Decided reports whether the linker has spoken.
func (f Fate) Decided() bool {
	switch f {
	case FateLinked, FateUnmatched, FateExcluded, FateInternal, FateAutomated:
		return true
	}
	return false
}

// Row is the ledger's record of one item. For CommitPage the engine fills the first part.
type Row struct {
	Item         provider.ItemID
	Folders      []provider.Folder // where it lies, as far as known
	Fate         Fate              // pending, draft, spam, trash, unread or failed when committed
	Reason       string            // the rule that decided, or the error; never content
	History      bool              // received before connecting
	Sent         bool
	Received     time.Time
	MessageID    Hash
	Fingerprint  Hash   // of header fields that are equal in every copy
	Cites        []Hash // In-Reply-To, then References from the last to the first
	Participants []Hash // outside participants: address, without plus tag, host levels
	Thread       string // the provider's thread id
	Size         int64

	ID           int64 // the store's
	Connection   int64
	Email        int64 // 0: none
	Due          int64 // raised by every cause
	Settled      int64 // due > settled: to be decided
	RulesVersion int64
	Reread       bool // its own copy is to be read again: the Email's envelope is another's, and the two were not compared
	Tries        int
	NextTry      time.Time
	Left         bool      // in no folder; not deleted (rule 15)
	Gone         bool      // left, and confirmed to be no more
	CheckAt      time.Time // left: when it is looked for again; zero before it was looked for
	MissedAt     time.Time // left: when it was first found nowhere, and not seen since
	Undelivered  bool      // Items only: the host has not acknowledged the row's email
}

// Page is what CommitPage commits: rows, and the cursor behind them.
type Page struct {
	Run      int64  // 0: the live cursor; else this history run's
	Revision int64  // of the cursor as it was read; compared
	Cursor   []byte // the next one
	Rows     []Row
	Left     []provider.Removal // counts only where the ledger still places the item in that folder
	Restart  []provider.Folder  // their generation rises before the page's rows are placed
	Recount  []provider.Folder  // messages went out of these, unnamed
	// Generations at which the page was read, by folder; a missing folder was read at the one now current (rule 15).
	Generations map[string]int64
	Estimated   int  // of the run, 0: unchanged
	Done        bool // of the run
}

// Committed says what CommitPage did.
type Committed struct {
	Inserted int
	Updated  int   // rows that were there and changed
	Left     int   // rows now in no folder
	Revision int64 // the cursor's new revision
}

// Batch is a chunk of due rows, with the numbers its decisions start from.
type Batch struct {
	Rows   []Row
	Change int64 // the organisation's change number, read before the rows and before the CRM is asked
	Rules  int64 // the organisation's settings version
}

// Settlement is the decision on one row.
type Settlement struct {
	Row          int64
	Due          int64 // as read
	Fate         Fate  // FateFailed: the row stays due and keeps an earlier decision, with Reason and NextTry
	Reason       string
	RulesVersion int64
	NextTry      time.Time
	Fingerprint  Hash         // also without Email: a copy of what this mailbox sent is that Email, and takes its links back (rule 12)
	Received     time.Time    // where the row has none
	History      bool         // with Received
	Intents      []IntentPlan // made with the links, in one transaction; need Email
	// Lost says that neither the mailbox nor the Email has its header any more: the row keeps its fate and is no copy of the Email from now on.
	Lost bool
	// Email is what the mail gives; nil says that it gives no links and that this mailbox does not hold it: an Email
	// it had loses the machine's links and this holder.
	Email *EmailValue
}

// Settled answers a Settlement.
type Settled struct {
	Row      int64
	Email    int64 // 0: none
	Revision int64
	StillDue bool
}

// ThreadQuery asks what a mail inherits. Cited mails are walked up as far as they have only inherited links.
type ThreadQuery struct {
	Connection  int64
	Row         int64 // the asking mail, which is never a member of its own thread
	Email       int64
	MessageID   Hash
	Fingerprint Hash
	Cites       []Hash
	Thread      string // used when Cites is empty, within the connection, for mail received before Before
	Before      time.Time
}

// Thread is what a mail's Message-IDs lead to.
type Thread struct {
	Links []linker.Link // direct and a person's, of the mails that are answered
	// Words are a person's on this mail and, where there is none on a record, on its thread; one for a record, By ByPerson.
	Words  []linker.Link
	Spoken bool // a word on this mail itself is among them, or on its being dropped
	// Declared are those that may be this mail: of its Message-IDs, whose email was met in no other mail, and where this mail is one
	// of the host's by now, of that alone. The first comes first.
	Declared []Declared
	// Met says that a copy of the mail was decided before, here or in another mailbox.
	Met bool
	// ThreadDropped says that a person dropped the thread; Dropped that the mail is out, all words considered.
	ThreadDropped, Dropped bool
}

// SkippedReason is the reason of mail that was listed and not read, as nobody in it is known to the CRM.
const SkippedReason = "not read: the search for the CRM's people did not find it"

// Counts of a connection's rows.
type Counts struct {
	Fates       map[Fate]int
	Total       int
	Due         int // to be decided
	Left        int // in no folder
	Skipped     int // unread for SkippedReason
	Unspread    int // changes of the organisation whose mail is not found yet
	Undelivered int // emails it holds that the host has not acknowledged
}
