package state

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/intellicon/email-integration/linker"
)

// EmailValue is what the mail of a row gives to its Email.
type EmailValue struct {
	MessageID     Hash
	Aliases       []Hash // further Message-IDs of the same mail
	Fingerprint   Hash   // of header fields that are equal in every copy
	Links         []linker.Link
	Holder        bool  // this mailbox holds it; false under a user's own exclusion
	ThreadDropped bool  // all words considered, it is dropped
	Declared      int64 // the declaration that the mail was found to be, and that is among Links; 0: none
	// Rank orders the copies of a mail: the highest gives the Email its envelope and links, so that the order in which they are
	// read changes nothing. A lower one is attached, and its row stays due, to be decided by that envelope.
	Rank int64
	// Replaces says that no key opens the Email's envelope: this one stands in its place, whatever its rank.
	Replaces    bool
	Envelope    []byte // sealed; nil keeps the stored one
	EnvelopeTag string // says whether the envelope changed, as sealing is not repeatable; "" compares bytes
}

const (
	// RankOrphan is that of an envelope whose mailbox has let go of the mail: every copy outranks it.
	RankOrphan int64 = math.MinInt64
	// RankKept is that of such an envelope where no other copy can be read.
	RankKept = RankOrphan + 1
)

// Nobody stands for the mailbox of emails that no connected mailbox holds, in Undelivered.
const Nobody int64 = -1

// Email is a message once, however many mailboxes hold it. It is never dropped once delivery was attempted (rule 3).
type Email struct {
	ID          int64
	Org         string
	MessageID   Hash
	Aliases     []Hash // all Message-IDs, MessageID included
	Fingerprint Hash
	HostID      string        // the host's own id of it, where it was declared
	Links       []linker.Link // the machine's
	Person      []linker.Link // a person's, Removed ones included
	Holders     []int64       // connections
	// Dropped and Restored are a person's word on this Email; ThreadDropped comes of one on its thread, or on its Message-ID before it was an
	// Email: what is dropped gives and has nothing.
	Dropped, Restored, ThreadDropped bool
	Survivor                         int64 // the Email it was joined into (rule 12), 0: none
	Revision                         int64
	Saved                            int64 // the last revision the host acknowledged
	Attempted                        bool
	Full                             bool // the host needs content: SaveEmails, not UpdateEmails (rule 3)
	Envelope                         []byte
	Orphaned                         bool // the mailbox that gave the envelope has let go of the mail: any copy outranks it
	Error                            string
	Tries                            int
	NextTry                          time.Time
}

// Out reports whether a person dropped it. The word on the mail itself outweighs the one on its thread.
func (e Email) Out() bool { return e.Dropped || e.ThreadDropped && !e.Restored }

// Spoken reports whether a person said anything of this mail itself.
func (e Email) Spoken() bool { return len(e.Person) > 0 || e.Dropped || e.Restored }

// Effective returns the links the host should have: the machine's and a person's, less what a person removed; none
// without holders or when dropped. Sorted by kind and id.
func (e Email) Effective() []linker.Link {
	if e.Out() || e.Survivor != 0 || len(e.Holders) == 0 {
		return nil
	}
	said := map[linker.Record]bool{}
	var out []linker.Link
	for _, l := range e.Person {
		said[l.Record] = true
		if !l.Removed {
			out = append(out, l)
		}
	}
	for _, l := range e.Links {
		if !said[l.Record] {
			out = append(out, l)
		}
	}
	SortLinks(out)
	return out
}

// SortLinks orders links by kind and id.
func SortLinks(ls []linker.Link) {
	slices.SortFunc(ls, func(a, b linker.Link) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.By, b.By))
	})
}

// Delivery names the state of an email that is sent to the host.
type Delivery struct {
	ID, Revision int64
	Empty        bool // it was sent without links, or removed
}

// Failure postpones an email's delivery.
type Failure struct {
	ID      int64
	Error   string // never content
	NextTry time.Time
	Unknown bool // UpdateEmails named it as unknown: it is saved in full next (rule 3)
	Outage  bool // the CRM failed as a whole: nothing is held against the email, others are tried before it
}

// Correction is a person's word on a mail, or on its thread. Where several meet on one record the later wins (rule 11).
type Correction struct {
	Email int64 // 0: the mail that has MessageID, whether there is an Email or not
	// MessageID names the mail when Email is 0, and the thread. Of several mails, told apart by their fingerprints, it is all that were shown; one that
	// comes later is another. Where a row has no fingerprint the word is of whichever has the Message-ID, also later.
	MessageID Hash
	Thread    bool          // on the thread: it is kept on MessageID and on all that it leads up to
	Links     []linker.Link // By is set to ByPerson; Removed says "not this record"
	Forget    []linker.Record
	Drop      bool // the mail gives and has nothing
	Restore   bool // takes back Drop
	// Change is the organisation's change number at which the records were looked up: ErrStale when it moved since.
	Change int64
}

// Change says what moved in the CRM. Its hashes are those of the participants touched.
type Change struct {
	Participants []Hash
	Records      []linker.Record // emails linked to these are decided again
	Merged       []Merge         // corrections follow, in this order (rule 11)
	Pulled       *Pull           // the host's marks between which it was pulled
}

// Empty reports whether nothing moved.
func (c Change) Empty() bool {
	return len(c.Participants) == 0 && len(c.Records) == 0 && len(c.Merged) == 0 && c.Pulled == nil
}

// Merge says that a record lives on in another, or where To is zero that it is no more: a person's links to it end then.
type Merge struct{ From, To linker.Record }

// Pull moves the mark up to which an organisation's record changes were pulled; ErrStale when it isn't From any more.
type Pull struct {
	From, To string
	At       time.Time
}
