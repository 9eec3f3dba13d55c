// Package simulation runs the real engine, state and linker on a seeded scheduler and a virtual clock, in a world where mail arrives,
// moves and goes, records change, people correct, mailboxes are erased, calls fail before or after their effect, and workers pause and
// die; when all is at rest it compares everything with an oracle that is computed from what happened, by code that shares nothing with the
// engine. bench/simulation runs it over many seeds.
package simulation

import (
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Truth is everything that happened outside of the engine, as far as it decides what must come out: what the oracle reads.
type Truth struct {
	Boxes    []*Box
	Mails    []*Mail
	Records  []*Record
	Words    []Word     // what people said, in the order in which it was stored
	Declared []Declared // what the host had before, in the order in which it was declared
	Rules    Rules      // as they are now

	AlwaysCreate bool     // Rules.CreateContacts was on from the beginning to the end
	EverExcluded []string // every domain and address that was in Rules.Excluded or Rules.Never at any time
}

// Box is a mailbox of somebody in the organisation. One that was erased and connected anew is another Box.
type Box struct {
	Name      string
	Address   string
	Kind      providertest.Personality
	Conn      int64 // the engine's id; 0: never connected
	Connected time.Time
	Erased    bool
	Copies    []*Copy
	Days      int  // the widest window that was to be imported since it was connected, as Rules.ImportDays
	First     bool // people came first all the time since it was connected
	Stirred   bool // it was listed anew, or compared: mail may have been told of again
}

// Mail is a message as its author wrote it. Copies are equal, but for Bcc, which the sender's own copy alone shows.
type Mail struct {
	Subject            string // names it: no two mails have one
	MessageID          string // "": it has none. Two mails may have one (a reused or forged id)
	From               string // bare addresses, lower case
	To, Cc, Bcc        []string
	Date               time.Time // to the second
	InReplyTo          string
	References         []string  // from the oldest to the newest
	Automated, Spoofed bool      // Auto-Submitted; the receiver found its From to be forged
	Key                string    // the outbox key, of mail that the engine was asked to send
	Sent, Failed       bool      // with Key: it left the service; it is known that it never will
	Renamed            string    // with Key: the Message-ID that the service put in place of MessageID, "" for none
	By                 *Box      // with Key: the mailbox that was to send it
	Asked              time.Time // with Key: when the outbox took it; zero: never. It counts as Received of the copy that the outbox is
}

// Copy is a mail as it lies, or lay, in one mailbox. What the engine sent has one as soon as the service filed it in Sent.
type Copy struct {
	Mail     *Mail
	Received time.Time
	Sent     bool              // it came into Sent: it is the owner's own mail
	Items    []provider.ItemID // every id that it ever had, the present one last
	Role     provider.Role     // where it lies now
	Back     bool              // at Gmail: in the inbox as well, where an archive that was taken back put it
	Deleted  bool              // it is no more
	Unlisted bool              // it was nowhere that is watched since it came
	Stirred  bool              // it was moved, or a rule moved it
}

// Record is a record of the CRM with all that ever was. One that was deleted and made anew under its id is another Record.
type Record struct {
	linker.Record
	Keys           []string        // addresses and domains that it has now; none once it is gone
	Of             []linker.Record // a contact's account; a deal's contacts and account
	Opened, Closed time.Time       // of a deal
	Into           *Record         // it was merged
	Deleted        bool
	Had            []string  // every address and domain that it ever had
	Created        bool      // by the engine, for an unknown sender
	Address        string    // of a Created one: of that sender
	Decided        []*Mail   // of a Created one that is gone: those of its sender that had a row with a decided fate when it went
	Since, Until   time.Time // when it was made; when it was merged or deleted, zero: it lives
}

// Rules are the organisation's, as far as the simulation changes them.
type Rules struct {
	Leads, Opportunities, CreateContacts bool
	Excluded                             []string // domains
	Never                                []string // addresses
	Release                              bool     // deleted mail is let go; constant in a run
	Archive                              bool     // a rule of the inbox archives linked live mail
	PeopleFirst                          bool     // of mail from before a mailbox was connected, that with people of the CRM is read and the rest listed, where reading costs
	ImportDays                           int      // how far the import reaches back: -1 is all
	ArchiveSince                         time.Time

	// Constant in a run.
	Policy          linker.OpportunityPolicy // "" is all
	IgnoreAutomated bool                     // automated mail links to nothing
	InternalThreads bool                     // mail among own people inherits
	ForgedThreads   bool                     // mail whose From was forged inherits
}

// Word is what a person said of a mail, or of a thread.
type Word struct {
	Mail   *Mail
	Thread bool
	Record linker.Record // of a link, an unlink or a forget
	On     *Record       // the same, as it was meant when it was said: a record made anew under its id is another
	Say    Saying
	Was    []*Record // those that were merged into it by then

	Apart   []int   // of one on a thread: earlier words, by their place in Words, on threads that nobody knew to be this one then
	LetGo   []int64 // of a link: the mailboxes whose hold on the mail had ended by then, with their last copy
	Decided []*Mail // of a drop: the mails that had a row with a decided fate before it was said

	// Whichever: it was said by a Message-ID when too little was known to tell mails with it apart, and may hold for any.
	Whichever bool
	// An erasure took its mail, or mails of its thread. Torn: either is right for all that it holds for. Perhaps are further ids on which it may
	// be kept.
	Torn    bool
	Perhaps []string
}

// Declared is an email that the host says it had before, as it was said last.
type Declared struct {
	Host      string // the host's own id
	MessageID string
	Author    string    // "": anybody's
	Records   []*Record // as they were meant when it was said
}

// Saying is the kind of a word.
type Saying string

const (
	SayLink    Saying = "link"
	SayUnlink  Saying = "unlink"
	SayForget  Saying = "forget"
	SayDrop    Saying = "drop"
	SayRestore Saying = "restore"
)

// Observed is what the engine made of it, read from its state and from the CRM at rest.
type Observed struct {
	Rows   []Row
	Emails []Email              // of the CRM, those without links included
	Bare   map[string]bool      // by the id of an email: the CRM was once told that it has no links
	Owner  map[string]string    // by the id of a host's own email: the email whose row it is now
	Kept   map[string][]int64   // by the id of an email: the mailboxes that the CRM was once told to hold it when it was the host's
	Met    state.DeclaredCounts // of what the host declared
	State  []Email              // of the state, linked or not, for those that the CRM doesn't have
	Wakes  []string             // connections with a wake that was not served, in words
	Moved  []Mutation
	Sends  map[string]int    // by outbox key: how often the service accepted it
	Outbox map[string]string // by outbox key: the state in which it is; those that were never stored are missing
}

// Row is a row of the ledger.
type Row struct {
	Conn       int64
	Item       provider.ItemID
	Folders    []provider.Role
	Fate       string
	Reason     string
	Due        bool // not settled
	Known      bool // it has the hash of a Message-ID
	Cites      bool // it has hashes of what the mail answers
	Left, Gone bool
	Email      int64
	Outbox     bool // it stands for what the engine sent, until a copy shows up: no item of the mailbox
}

// Email is an email as the CRM, or the state, has it.
type Email struct {
	ID       string
	Subject  string // "" where the state keeps none
	Revision int64
	Holders  []int64
	Links    []linker.Link // those that count
	Survivor string
	Envelope bool   // the state can still decide it without a mailbox
	HostID   string // it is this one of the host's
	Effaced  bool   // of the state: of an erased email only its id is left
}

// Mutation is what a rule of the inbox did.
type Mutation struct {
	Box     *Box
	Subject string
	Undone  bool
	Times   int
	Bare    int // so often the CRM had no links of it at that time
	Again   int // so often a person had brought it back to the inbox after an earlier time
}

// Violation is one thing that is not as it must be, in a sentence that begins with the promise it breaks.
type Violation string
