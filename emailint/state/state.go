// Package state is the engine's own memory: connections, the ledger, emails and their delivery, the outbox. It is for
// the engine and for those who add a place where it can live; a host only opens one (see sqlite and postgres) and hands it over.
//
// Each method of Store is one transaction, named after what the engine does with it, and says which rule it keeps.
// What a store must do under two workers and crashes is in statetest. Until v1 the interface is sealed: it will
// grow, and only packages of this module can fulfil it.
//
// A store never sees a secret, an address of an unlinked mail, or content in the clear: credentials and envelopes come
// sealed, participants and Message-IDs as keyed hashes. Times are given by the caller, so that a test can set the clock.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/intellicon/email-integration/emailint/state/internal/seal"
	"github.com/intellicon/email-integration/provider"
)

var (
	// ErrStale means that the lease, the cursor's revision or the compared state was lost to somebody else. Nothing
	// was written. The caller drops what it holds and claims again.
	ErrStale = errors.New("state: stale")
	// ErrNoneDue means that nothing is to be done now, or that somebody else is doing it.
	ErrNoneDue = errors.New("state: none due")
	// ErrNotFound means that the organisation has no such row.
	ErrNotFound = errors.New("state: not found")
)

// Hash is a keyed hash, 8 to 16 raw bytes, made by the engine. A store only compares it. Empty means unknown.
type Hash string

// Store keeps everything the engine must remember. All methods may be called concurrently, from several workers. Each
// is atomic: it happened or it didn't. A row of another organisation than the one named is ErrNotFound.
type Store interface {
	Connections
	Erasures
	Ledger
	Emails
	Intents
	Organisations
	Declarations
	Outbox
	Consents
	Controls
	Seals
	Quotas
	Close() error

	// Seal does nothing; its argument can't be named outside this module.
	Seal(seal.Store)
}

// Connections keeps the connected mailboxes and says who works on which.
type Connections interface {
	// AddConnection stores a mailbox and returns it with its id. The same mailbox of the same user (by provider and
	// subject, or by address where there is no subject) is reconnected: it keeps id, cursor, ledger and links, takes
	// the new credential, with the next version, client, aliases and address, and is due. A lease on it, and a right to refresh, are lost: who has them
	// works with the old credential.
	// Where the addresses are not those that were stored, own is applied as a Change: it tells whose mail is internal from now on, or no longer.
	// A mailbox that is being erased is not found: the same one is new.
	AddConnection(ctx context.Context, c Connection, own Change) (Connection, error)
	Connection(ctx context.Context, org string, id int64) (Connection, error)
	// Connections lists an organisation's connections by id; "" lists all of them.
	Connections(ctx context.Context, org string) ([]Connection, error)
	// SetState changes state and reason; Connected makes it due now, any other ends the lease of whoever is at work. A connection that is being
	// erased is ErrNotFound, as it is for ClaimRefresh and SetCredential.
	SetState(ctx context.Context, org string, id int64, s ConnState, reason string) error
	// Retry makes a connection Connected and due that is in one of the states in which somebody must act; ErrStale where it isn't from any more. Refusals in
	// a row go on being counted.
	Retry(ctx context.Context, org string, id int64, from ConnState) error
	// ClaimRefresh gives one worker the right to refresh the credential, and returns the connection as it is then: somebody may have refreshed it
	// a moment ago. ErrNoneDue while anybody has that right and its time isn't over, the same worker too: it may be asked for in several goroutines.
	// It ends with SetCredential, EndRefresh or AddConnection.
	ClaimRefresh(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (Connection, error)
	// EndRefresh gives the right back where nothing came of it. Nothing happens where it is another's by now.
	EndRefresh(ctx context.Context, org string, id int64, worker string) error
	// SetCredential replaces the sealed credential of a version by another, which has the next; ErrStale where it is not the stored one. It ends the right to
	// refresh, whoever has it.
	SetCredential(ctx context.Context, org string, id int64, version int64, sealed []byte) (int64, error)
	// Nudge makes the connection due for what its user sent, and for nothing else (Lease.SentOnly). One that comes during a pass leaves it due after that.
	Nudge(ctx context.Context, org string, id int64, now time.Time) error

	// Told returns the connected mailboxes that a notification is about: those with that address, in any case, or with a watch of that handle, whichever
	// is not empty. Of all organisations.
	Told(ctx context.Context, provider, address string, handle []byte) ([]Connection, error)
	// SetWatch notes what stands at the service, and when it is renewed. It checks the lease: ErrStale where the connection ended meanwhile.
	SetWatch(ctx context.Context, l Lease, w Watch) error
	// Rewatch is Wake, and has the next pass renew what stands at the service, before its time.
	Rewatch(ctx context.Context, org string, id int64) error
	// EndWatch forgets it. The same mailbox connected again has it renewed at once.
	EndWatch(ctx context.Context, org string, id int64) error

	// SetRealTime notes how news of the mailbox is heard of, for its user to see.
	SetRealTime(ctx context.Context, org string, id int64, text string) error

	// Claim leases the connection that is due longest; one that was woken goes before polls that are less than a minute late.
	// It is connected, not under a Pause, held by nobody whose lease still runs, past its NotBefore, and woken or past its NextDue or NextSent. Where only
	// NextSent is past, the lease is SentOnly. A claim raises the epoch, which fences the former holder (rule 16). ErrNoneDue when there is none.
	Claim(ctx context.Context, worker string, now time.Time, ttl time.Duration) (Lease, error)
	// ClaimConnection leases this one whether it is due or not; ErrNoneDue while somebody else holds it, and when its
	// state isn't Connected, or it is under a Pause.
	ClaimConnection(ctx context.Context, org string, id int64, worker string, now time.Time, ttl time.Duration) (Lease, error)
	// Renew extends the lease, and is the check before an external effect (rule 16). ErrStale when it was lost.
	Renew(ctx context.Context, l Lease, now time.Time, ttl time.Duration) (Lease, error)
	// Release ends the lease. Served to the wake number read at the claim: a wake that came during the pass leaves the
	// connection due (rule 10). So does a nudge, to what was sent: NextSent counts where there was none.
	Release(ctx context.Context, l Lease, r Released) error
	// Wake raises the wake number: due is wake > served, however often and whenever it was raised (rule 10).
	Wake(ctx context.Context, org string, id int64) error
}

// Erasures end mailboxes for good.
type Erasures interface {
	// Erase erases a mailbox, a page at a time; the caller repeats it until Erased. The first call makes the connection Erasing: from then on
	// nobody finds it to work on, the lease of whoever does is lost, and credential and cursor are gone; own, its addresses, is applied as a Change, and what it
	// would send is not sent any more. Each call erases up to limit rows: other mailboxes' rows that walked through them become due, and
	// Emails of which it has no row any more lose this holder. Where it gave the envelope, another copy decides.
	// Of an Email that nobody holds then everything is erased. One of which the host may know stays, with id and revision, and is told as empty until it is
	// acknowledged (rules 2 and 3). People's words on it outlive that only where another mailbox has shown the mail; those on threads while any mail mentions the id.
	// In the end the connection itself goes; Done is at in the first call that finds nothing outstanding. ErrNotFound when there is neither
	// the connection nor an erasure of it.
	Erase(ctx context.Context, org string, connection int64, at time.Time, own Change, limit int) (Erasure, error)
	// Erasure returns the receipt of one that was begun.
	Erasure(ctx context.Context, org string, connection int64) (Erasure, error)
	// Erasures returns those of all organisations that are not done.
	Erasures(ctx context.Context) ([]Erasure, error)
}

// Ledger keeps one row an item and the cursors that stand behind them.
type Ledger interface {
	// Position is where the mailbox has been read to.
	Position(ctx context.Context, l Lease) (Position, error)
	// AddRun adds a history run and wakes the connection.
	AddRun(ctx context.Context, org string, connection int64, r Run) (Run, error)
	Runs(ctx context.Context, org string, connection int64) ([]Run, error)
	// CommitPage commits a row for every item and the cursor behind them, or nothing: the cursor never passes an item
	// without a row. It compares the lease's epoch and the cursor's revision (rule 16, ErrStale). An item seen again
	// is merged: it gains folders and header fields, loses "left" and "gone", and becomes due when it was not decided
	// or when what decides it changed; its fate stays otherwise.
	CommitPage(ctx context.Context, l Lease, p Page) (Committed, error)
	// Sweep ends a relisting: what the folder placed before its last restart and did not show again has left it
	// (rule 15). It returns the number of rows that are now in no folder.
	Sweep(ctx context.Context, l Lease, folder string) (int, error)
	// Placed pages through the rows that the ledger places in a folder, in the order of their ids, beginning after one.
	Placed(ctx context.Context, l Lease, folder string, after int64, limit int) ([]Row, error)
	// Leave records removals that no page told of: each counts only if the ledger still places the item there (rule 15). It
	// returns the number of rows that are now in no folder.
	Leave(ctx context.Context, l Lease, rs []provider.Removal) (int, error)
	// Counted ends a recount, unless it was asked for again since that number.
	Counted(ctx context.Context, l Lease, r Recount) error
	// Leavers returns rows with an email that lie in no folder since an earlier lease, that are not confirmed gone, whose
	// email has no other row in a folder of this mailbox, and that are not to be looked at later.
	Leavers(ctx context.Context, l Lease, now time.Time, limit int) ([]Row, error)
	// Recheck postpones what Leavers returns of these rows, and notes since when they are found nowhere; zero: they are somewhere.
	Recheck(ctx context.Context, l Lease, rows []int64, at, missed time.Time) error
	// Gone records that items are confirmed to be no more, by id and Message-ID. Mail never decided gets the fate gone;
	// decided mail keeps its fate and its Email (rules 4, 15). With release this mailbox no longer holds the Emails of
	// which it has no other row, unless a person's link stands; where it gave the envelope, another copy decides.
	Gone(ctx context.Context, l Lease, ids []provider.ItemID, release bool) error
	// Pending returns rows that are due, live before history, newest first, bounded by count and bytes (at least one). Under a lease that is SentOnly
	// these are rows of sent mail; what was decided under older rules waits for a whole pass.
	Pending(ctx context.Context, l Lease, now time.Time, limit int, bytes int64) (Batch, error)
	// Learn stores the hashes of header fields that a listing did not show: ID, MessageID, Cites and Participants count, empty ones leave the
	// row's. It is committed before the rows are decided, so that what changes meanwhile finds them; rows that cite one of them become due.
	Learn(ctx context.Context, l Lease, rows []Row) error
	// Settle commits decisions. A row whose due number, or whose organisation's change number or rules version, moved
	// since the batch was read is written and stays due (rules under "Rows", rule 8). Emails are found or made, their
	// links, holders, aliases and envelopes compared, and the revision raised when any differs; then every row that
	// cites one of their Message-IDs, and may have other links for it, becomes due in the same transaction (rules 1, 9, 12).
	Settle(ctx context.Context, l Lease, b Batch, s []Settlement) ([]Settled, error)
	// Threads returns, for each query and in their order, what a mail inherits from the mails that it answers (rules 13, 14), and what people said of it
	// and of its thread (rule 11), all at one moment.
	Threads(ctx context.Context, org string, qs []ThreadQuery) ([]Thread, error)

	// Counts says how many rows have each fate.
	Counts(ctx context.Context, org string, connection int64) (Counts, error)
	// Lookup finds rows and emails by Message-ID, for Explain.
	Lookup(ctx context.Context, org string, messageID Hash) ([]Row, []Email, error)
	// Missing returns those of ids that have no row, or one that says the item left: the reconciler's gaps.
	Missing(ctx context.Context, org string, connection int64, ids []provider.ItemID) ([]provider.ItemID, error)
	// Items pages through a connection's rows in the order of their ids, beginning after a row id.
	Items(ctx context.Context, org string, connection int64, after int64, limit int) ([]Row, error)
}

// Emails keeps messages, once for all the mailboxes that hold them, and what the host was told of them.
type Emails interface {
	Email(ctx context.Context, org string, id int64) (Email, error)
	// Undelivered returns emails whose revision is above the saved one and that the host must hear of: they have links
	// and holders, or delivery was attempted before (rule 2). A connection gets those it holds and those without a
	// live holder (rule 7): they are all disconnected, or being erased, or none; or else none is connected now and the host needs no content. 0 gets
	// all, Nobody those without a live holder alone.
	Undelivered(ctx context.Context, org string, connection int64, now time.Time, limit int) ([]Email, error)
	// Attempt is committed before the CRM is called (rule 2). It checks the lease and returns the ids whose revision is
	// still the one given: only these may be sent (rule 1). A lease without connection is not checked (rule 7).
	Attempt(ctx context.Context, l Lease, ds []Delivery) ([]int64, error)
	// Done is the host's acknowledgement: saved = max(saved, revision) (rule 1). After an empty delivery the sealed
	// envelope goes and the next delivery is full (rule 3).
	Done(ctx context.Context, org string, ds []Delivery) error
	// Failed postpones delivery.
	Failed(ctx context.Context, org string, fs []Failure) error
	// Correct stores what a person said; the later word on a record wins (rule 11). The mail's rows, and those that cite it, directly or through
	// others, become due (rule 9), and their mailboxes are woken.
	Correct(ctx context.Context, org string, c Correction) error
}

// Intents keeps what rules of the inbox want done, and the log of what was done to mailboxes. Settle makes them.
type Intents interface {
	// IntentsDue returns a connection's intents to work on, oldest first: planned ones whose email the host has as it
	// stands, attempted and undoing ones, and those to be undone; past their NextTry.
	IntentsDue(ctx context.Context, l Lease, now time.Time, limit int) ([]Intent, error)
	// IntentStep moves an intent from one state to another if it is still there, else ErrStale, and logs it. It checks the
	// lease (rule 16).
	IntentStep(ctx context.Context, l Lease, id int64, from, to IntentState, s IntentStep) error
	// Undo asks for an intent to be taken back and wakes its connection. A planned one is cancelled at once.
	Undo(ctx context.Context, org string, id int64, at time.Time) (Intent, error)
	// IntentOf returns one intent.
	IntentOf(ctx context.Context, org string, id int64) (Intent, error)
	// IntentsOf returns the intents of an email, oldest first.
	IntentsOf(ctx context.Context, org string, email int64) ([]Intent, error)
	// IntentLog pages through a connection's mutation log in order, beginning after an event.
	IntentLog(ctx context.Context, org string, connection int64, after int64, limit int) ([]IntentEvent, error)
}

// Organisations keeps what belongs to an organisation as a whole.
type Organisations interface {
	// Settings returns the settings; version 0 when never saved.
	Settings(ctx context.Context, org string) (Settings, error)
	// SaveSettings replaces those of s.Version, secrets as well: one that is not in s, or is empty, is gone. It returns the next version, ErrStale when
	// s.Version isn't the stored one. With relink every row that was decided under older rules is pending: none is rewritten.
	SaveSettings(ctx context.Context, org string, s Settings, relink bool) (int64, error)
	// UserSettings returns what a user set for themselves, and its version; nil and 0 when nothing was ever saved.
	UserSettings(ctx context.Context, org, user string) (json.RawMessage, int64, error)
	// SaveUserSettings replaces version with version+1, ErrStale when it isn't the stored one.
	SaveUserSettings(ctx context.Context, org, user string, settings json.RawMessage, version int64) (int64, error)
	// EraseUserSettings erases them, and that there were any.
	EraseUserSettings(ctx context.Context, org, user string) error
	// Change raises the organisation's change number, so that what is being decided stays due, and stores the change (rules 5, 8). People's words
	// follow at once (rule 11); the rows that it touches are found by Spread. It costs the same however many these are.
	Change(ctx context.Context, org string, c Change) (number int64, err error)
	// Spread makes up to limit of the rows due that stored changes touch, the oldest change first, whether they are already due or not,
	// and wakes their mailboxes. more says that another call would find some.
	Spread(ctx context.Context, org string, limit int) (rows int, more bool, err error)
	// Unspread returns the organisations with changes that are not spread.
	Unspread(ctx context.Context) ([]string, error)
	// Pulled returns the mark up to which record changes were pulled, "" at first, and when that was.
	Pulled(ctx context.Context, org string) (mark string, at time.Time, err error)
	// ChangeNumber is read before the CRM is asked (rule 6).
	ChangeNumber(ctx context.Context, org string) (int64, error)
}

// Declarations keep what a host said of emails that it had before.
type Declarations interface {
	// Declare stores declarations, one for a Message-ID and author: what is there keeps its HostID and takes the records of the new one if it is of the same
	// email, and else stays as it is. The rows of its mail become due, and the change number is raised where anything changed. standing are the HostIDs that the
	// Message-IDs have now, one for each in order; added is how many are new. Records follow merges, and go when they are deleted (rule 11).
	//
	// Settle makes an Email the declared one (EmailValue.Declared). A HostID is of one Email at a time: where another has it, and where the Email has
	// another, the row is left due, as nothing of the decision holds. Erase takes it back from an Email that is no more; the declaration stays.
	Declare(ctx context.Context, org string, ds []Declared) (standing []string, added int, err error)
	// Declared counts an organisation's.
	Declared(ctx context.Context, org string) (DeclaredCounts, error)
}

// Outbox keeps what is to be sent, and what became of it.
type Outbox interface {
	// OutboxAdd stores a message under its idempotency key and registers its Message-ID and fingerprint as an Email
	// (rule 12). The same key again changes nothing and returns what is stored; added is false. ErrNotFound where the connection is being erased.
	OutboxAdd(ctx context.Context, org string, o Outgoing) (stored Outgoing, added bool, err error)
	OutboxGet(ctx context.Context, org, key string) (Outgoing, error)
	// OutboxOf returns the row that registered an Email, ErrNotFound for mail that we did not send.
	OutboxOf(ctx context.Context, org string, email int64) (Outgoing, error)
	// OutboxStep moves a row from one state to another if it is still there, else ErrStale: of two workers one sends. What
	// would become unknown, or is or was looked up (Step.Lookup), becomes sent when a copy was found in a mailbox since. What is under a Pause does not become sending: ErrStale.
	OutboxStep(ctx context.Context, org, key string, from, to OutState, s Step) (Outgoing, error)
	// OutboxDue returns rows to work on, those that wait longest first and OutboxTurn of each mailbox at most: queued, staged, sending and unknown ones
	// past their NextTry. An empty org asks for all of them. Rows under a Pause are not due. They come without Raw, Options and Staged.
	OutboxDue(ctx context.Context, org string, now time.Time, limit int) ([]Outgoing, error)
	// CopiesDue returns sent rows whose copy in Sent is to be looked after, those that wait longest first and OutboxTurn of each mailbox at most. An
	// empty org asks for all. Rows under a Pause are not due. They come without Raw, Options and Staged.
	CopiesDue(ctx context.Context, org string, now time.Time, limit int) ([]Outgoing, error)
	// CopyStep moves a copy from one state to another if it is still there, else ErrStale: of two workers one files it.
	CopyStep(ctx context.Context, org, key string, from, to CopyState, s CopyStep) error
}

// Consents keeps the sign-ins that were begun and not finished.
type Consents interface {
	// AddConsent stores one, under a key that no other has. It also drops those that are over.
	AddConsent(ctx context.Context, c Consent, now time.Time) error
	// Consent returns one and leaves it; ErrNotFound as for TakeConsent.
	Consent(ctx context.Context, key Hash, now time.Time) (Consent, error)
	// TakeConsent returns one and drops it, so that it is answered once; ErrNotFound when there is none, or its time is over.
	TakeConsent(ctx context.Context, key Hash, now time.Time) (Consent, error)
}

// Controls is what an operator decides for the whole installation.
type Controls interface {
	// SetPause stores a pause, in place of an earlier one of the same scope and the same side. Leases of mailboxes that it concerns are lost from then on, and it waits for
	// nobody who has one; what he is committing at the moment may still come to pass. Connection.Worker goes on telling of him until EndPause.
	SetPause(ctx context.Context, p Pause) error
	// EndPause makes the mailboxes of a scope due, organisation by organisation, and ends the pause last: where it fails the pause stands and it may be
	// repeated. Leases from before stay lost. ErrNotFound when there is no such pause.
	EndPause(ctx context.Context, org, provider string, admin bool) error
	// Pauses returns all of them, the oldest first.
	Pauses(ctx context.Context) ([]Pause, error)
	// Deployment returns the id of the installation that works on this state, "" when nobody said any.
	Deployment(ctx context.Context) (string, error)
	// SetDeployment replaces it; ErrStale when it is not from any more.
	SetDeployment(ctx context.Context, from, to string) error
}

// Seals finds what is sealed, for a key that is to be retired.
type Seals interface {
	// Sealed returns up to limit sealed values that do not begin with the prefix, in an order that lasts, beginning after one; nil is the start. Fewer
	// are the last. It may read all that is sealed to find them. Consents are not among them: their time is over before a key's is.
	Sealed(ctx context.Context, prefix []byte, after *Sealed, limit int) ([]Sealed, error)
	// Reseal replaces values that are still as they were found, and returns how many. Versions and revisions stay, as nothing has changed: whoever read
	// a value before may store it again after, so a key is retired when Sealed finds nothing from the start. Each organisation's values are replaced
	// together or not at all; n counts those that were, beside an error as well.
	Reseal(ctx context.Context, vs []Sealed) (n int, err error)
}

// Quotas keeps what is left of quotas that several workers share.
type Quotas interface {
	// TakeQuota takes up to t.Want units out of a bucket, t.Least of them at least, or none; then wait is when there will be so many, should nobody else
	// take them. Clocks may differ by a minute: one that is behind fills nothing. A zero now is the store's own clock, which is one for all on a server.
	TakeQuota(ctx context.Context, name string, t Taking, now time.Time) (taken int64, wait time.Duration, err error)
}
