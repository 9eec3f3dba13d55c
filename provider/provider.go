// Package provider is the contract a mail service fulfils. It is for those who add a service, and for hosts that
// want to read a mailbox without the engine. The suites in providertest say what an implementation should do.
//
// A Provider opens a Mailbox by a credential; an Authorizer is one whose users sign in by OAuth. Start, then History for what there was and Changes for what comes;
// Content reads a message. A Sender stages a mail, releases it, and looks up what became of it.
//
// What a service can besides is an interface of its own, which whoever calls looks for: of a Provider, Authorizer, Watcher and Pusher (news by notification), of a
// Mailbox, Waiter and Poller (news by waiting), Archiver, Labeler, SentFiler, Signer, Searcher, Prefetcher, HistoryReader and Bounded. Something that wraps a Mailbox has an
// Unwrap that returns it, and is taken for what the other is.
//
// Errors: *NeedsAction asks somebody to act, *SignInError is a refused sign-in, *RateLimitError says when to come back, ErrGone that a message is gone, ErrUnsupported that
// the service has no such thing. Everything else may pass.
package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/intellicon/email-integration/message"
)

// ItemID names one message as it lies in one mailbox; opaque outside its provider. It may die when the message moves.
type ItemID string

// Cursor is where a mailbox has been read to; opaque outside its provider, safe to store.
type Cursor []byte

// Role of a folder. An empty role is an ordinary folder.
type Role string

const (
	RoleInbox   Role = "inbox"
	RoleSent    Role = "sent"
	RoleArchive Role = "archive"
	RoleAll     Role = "all"
	RoleDrafts  Role = "drafts"
	RoleJunk    Role = "junk"
	RoleTrash   Role = "trash"
)

// Folder is a folder, or a label, of a mailbox.
type Folder struct {
	ID   string // stable within the mailbox
	Name string
	Role Role
}

// Item is a message as a listing shows it.
type Item struct {
	ID       ItemID
	Folders  []Folder // where it lies, as far as the listing tells; none: in the mailbox and in no folder, as archived mail at Gmail
	Size     int64    // bytes, 0 when unknown
	Envelope message.Envelope
	Err      error // the item exists and could not be read: it gets a row and is tried again
}

// Removal says that a message left a folder. It is not a deletion. An empty folder: it left the mailbox.
type Removal struct {
	ID     ItemID
	Folder string
}

// Page is one step of Changes or History.
type Page struct {
	Items []Item
	Left  []Removal
	// Restart names folders whose earlier ids are void and that will be listed again. Where mail may lie in no folder, Folder{} speaks of it.
	Restart []Folder
	// Unfinished are the ids of folders of which such a listing is not over, though More is false, as the service lists them no further now: of what did
	// not reappear in them nothing is known.
	Unfinished []string
	// Recount names folders that messages went out of without the service saying which, as IMAP without QRESYNC does: what
	// Inventory lists of the folder tells.
	Recount []Folder
	Next    Cursor // valid also when More is false
	More    bool   // another call would return something now
	// Estimated is the number of messages the window holds, 0 when the service does not tell.
	Estimated int
}

// Window bounds a listing by received time: From included, To excluded; a zero bound is open.
type Window struct{ From, To time.Time }

// Contains reports whether t lies in the window.
func (w Window) Contains(t time.Time) bool {
	return (w.From.IsZero() || !t.Before(w.From)) && (w.To.IsZero() || t.Before(w.To))
}

// Scope bounds an inventory. The zero Scope is everything that is watched.
type Scope struct {
	Window Window
	Folder string // a Folder.ID; "": every watched folder
}

// Profile is who the mailbox belongs to.
type Profile struct {
	Address string   // primary address
	Aliases []string // every further address the owner sends as
	Subject string   // stable id at the service
}

// Provider opens mailboxes of one service. Safe for concurrent use.
type Provider interface {
	// Name is stable and stored with the connection: "imap", "gmail", "outlook".
	Name() string
	// Open connects with the credential that was stored for the connection (JSON of the provider's own making).
	Open(ctx context.Context, credential []byte) (Mailbox, error)
}

// Mailbox is an open mailbox. One goroutine at a time may use it, unless an implementation says more. Cancelling a
// context ends the call promptly. A page must never skip a message: what can't be read is an Item with Err.
type Mailbox interface {
	Profile(ctx context.Context) (Profile, error)
	// Start returns the cursor "from now on": cheap, before any history is listed.
	Start(ctx context.Context) (Cursor, error)
	// Changes returns one page of what happened since the cursor. A page may repeat items.
	Changes(ctx context.Context, c Cursor) (Page, error)
	// History returns one page of older mail, newest first; c is nil at the start.
	History(ctx context.Context, w Window, c Cursor) (Page, error)
	// Content returns text and structure without attachment bytes, bounded. ErrGone when the id is no more.
	Content(ctx context.Context, id ItemID) (*message.Message, error)
	Attachment(ctx context.Context, id ItemID, part string) (io.ReadCloser, error)
	// Locate finds messages by Message-ID, without angle brackets, in every folder, those not watched (junk, trash, drafts)
	// included; none is no error. Of an Item ID and Folders count.
	Locate(ctx context.Context, messageID string) ([]Item, error)
	// Inventory lists every message of the scope in watched folders, for the reconciler: ID, and Folders as far as the
	// service's cheap listing tells. The envelope may be empty. A scope with a folder that no longer exists is empty; a folder
	// that exists and can't be listed is an error, for it would look as if its mail were gone.
	Inventory(ctx context.Context, s Scope) iter.Seq2[Item, error]
	Close() error
}

// A Mailbox that wraps another, and passes on what that may be besides, says so by a method Unwrap() Mailbox: it is then taken for what the other is.
//
// What a Mailbox may be besides, probed once: Prefetcher, HistoryReader, Waiter, Poller, Archiver, Labeler, SentFiler, Searcher, Bounded, Signer.

// Prefetcher is a mailbox that reads the content of several messages in one round trip. Prefetch says which are wanted next, in that order:
// a hint, after which Content is called for each as ever, and which takes the place of an earlier one. It doesn't wait: a mailbox may read them
// in the background, and makes its next call wait for that. Whoever calls it bounds what the messages measure together, for they may be held in
// memory.
type Prefetcher interface {
	Prefetch(ids []ItemID)
}

// HistoryReader is a mailbox that reads a page of history while the one before is worked on. HistoryAhead says that History will be called with
// these next: a hint as Prefetch is. A call of Changes or Start in between makes it void, as folders may have been renumbered.
type HistoryReader interface {
	HistoryAhead(w Window, c Cursor)
}

// Searcher is a mailbox where reading a message costs much more than learning that it is there: history may be read for some people first, and
// the rest be listed only. Its History reads nothing either: of the Items of both the ID alone counts, and what they are is read with Content (and
// Prefetch) by whoever wants it, once.
type Searcher interface {
	// Search returns a page of the messages of the window that are from or to somebody of who: addresses, and domains (with all below them). It may
	// tell one twice, or one that is of nobody asked for. c is nil at the start; all calls of one search have the same who.
	Search(ctx context.Context, w Window, who []string, c Cursor) (Page, error)
	// Plan says what it would cost to read the window: the messages of who, or all where who is empty. It counts by listing, within bounds.
	Plan(ctx context.Context, w Window, who []string) (Plan, error)
}

// Plan is what reading a part of a mailbox costs.
type Plan struct {
	Messages int
	AtLeast  bool          // there are more than were counted
	Units    int           // of the service's quota
	Time     time.Duration // that the service's quota asks for
}

// Waiter is a mailbox that can wait for news, as IMAP IDLE does. Wait returns nil when there may be something new.
type Waiter interface {
	Wait(ctx context.Context) error
}

// Poller is a Waiter that may have nothing to wait with. Polling says why Wait only pauses, in a sentence for the user; "" while the
// service tells of news by itself. It may change with the connection, and be asked from any goroutine.
type Poller interface {
	Polling() string
}

// Target names the message that is to be changed. An id dies when the message moves; the Message-ID (without angle brackets,
// "" when there is none) finds it again.
type Target struct {
	Item      ItemID
	MessageID string
}

// Mutation is what was done to a message, as undoing it needs it. Safe to store.
type Mutation struct {
	// Already: nothing had to be done. Where it is as the call would have made it the rest says so: after a call whose answer
	// was lost that is what the lost call did, and clearing Already makes it a Mutation that can be undone. Undoing one that
	// is Already does nothing.
	Already bool   `json:"already,omitempty"`
	How     string `json:"how,omitempty"`  // "move", "copy and expunge", "label", "keyword", "folder copy"
	From    string `json:"from,omitempty"` // the folder it left
	To      string `json:"to,omitempty"`   // the folder, label or keyword it has now
	Item    ItemID `json:"item,omitempty"` // what it is known by now, or the copy that was made; "" when the service did not tell
}

// Archiver is a mailbox that can take a message out of the inbox without deleting it. Both calls may be repeated: a message
// that lies outside the inbox (or is back in it) is left alone and told as Already. ErrGone when it lies nowhere;
// ErrUnsupported when it can't be done safely here.
type Archiver interface {
	Archive(ctx context.Context, t Target) (Mutation, error)
	// Unarchive brings the message back to the inbox.
	Unarchive(ctx context.Context, t Target, m Mutation) (Mutation, error)
}

// Labeler is a mailbox that can put a label on a message, by the service's own means, and take it off. Both calls may be
// repeated; what has the label is left alone and told as Already. Errors as for Archiver.
type Labeler interface {
	Label(ctx context.Context, t Target, label string) (Mutation, error)
	Unlabel(ctx context.Context, t Target, m Mutation) error
}

// SentFiler is a mailbox that can keep a copy of a mail that was sent elsewhere, by SMTP. Many services file one themselves:
// look first.
type SentFiler interface {
	// FindSent returns the copy with that Message-ID in Sent, "" when there is none.
	FindSent(ctx context.Context, messageID string) (ItemID, error)
	// FileSent appends a copy to Sent, read by its owner. It does not look first. The id is "" when the service doesn't tell.
	FileSent(ctx context.Context, raw []byte, at time.Time) (ItemID, error)
}

// Bounded is a mailbox that lists again as a whole what it lost track of, and to which it makes a difference how much of it is wanted: a hint.
// Mail received before then may be left out of it.
type Bounded interface {
	Since(t time.Time)
}

// Signer is a mailbox whose service keeps its owner's signatures. Signature is that of an address the owner sends as, as HTML of the owner's
// making: sanitise it. "" where there is none. Empty from: the address that is used by default.
type Signer interface {
	Signature(ctx context.Context, from string) (html string, err error)
}

// Sender sends mail. Stage prepares (a draft where the service has drafts), Release sends; the caller stores Staged
// in between, so that an unknown outcome can be looked up and is never blindly sent again. Lookup may be repeated; where it
// says OutcomeSent it tells as much of Sent as can still be found: answers come to the Message-ID that the service gave.
type Sender interface {
	Stage(ctx context.Context, raw []byte, o SendOptions) (Staged, error)
	Release(ctx context.Context, s Staged) (Sent, error)
	Lookup(ctx context.Context, s Staged) (Outcome, Sent, error)
}

// SendOptions are the envelope of a message: its recipients, Bcc included, are here and not read from the header.
type SendOptions struct {
	From       string   // bare address
	Recipients []string // bare addresses
	MessageID  string   // without angle brackets, as in raw
	Thread     string   // the provider's thread id of the mail that is answered
}

// Staged is a message ready to be released; safe to store.
type Staged struct {
	ID      string // the draft's id, "" where the service has no drafts
	Raw     []byte // the bytes to send, nil where the draft holds them
	Options SendOptions
}

// Sent is what the service said of an accepted message.
type Sent struct {
	Item      ItemID // the Sent copy, "" when unknown
	MessageID string // as the service left it, without angle brackets
	Response  string // the server's words
}

// Outcome of a release whose answer was lost.
type Outcome string

const (
	OutcomeSent    Outcome = "sent"
	OutcomeNotSent Outcome = "not-sent"
	OutcomeUnknown Outcome = "unknown" // the service can't say
)

// ErrGone means that the id names nothing any more: moved or deleted. Not a failure of the mailbox.
var ErrGone = errors.New("message is gone")

// ErrNotSent and ErrTryLater are matched (errors.Is) by errors of a Sender. ErrNotSent guarantees that nothing was sent; with
// ErrTryLater the same message may be accepted another time. A *NeedsAction of Release guarantees it too, and is tried again. After any other error of Release
// the outcome is looked up.
var (
	ErrNotSent  = errors.New("message was not sent")
	ErrTryLater = errors.New("message may be accepted later")
)

// ErrUnsupported means that the mailbox can't do what was asked, or not safely; the error that wraps it says why. Repeating
// doesn't help.
var ErrUnsupported = errors.New("not supported by this mailbox")

// SignInError is a refused sign-in that may pass: servers refuse right passwords on bad days. Provider.Open returns it
// instead of a NeedsAction; the engine tries again sparsely, and asks the user when it lasts.
type SignInError struct {
	Reason string // a sentence that says what the user may do
	Err    error
}

func (e *SignInError) Error() string { return e.Reason }
func (e *SignInError) Unwrap() error { return e.Err }

// Who must act.
type Who string

const (
	User     Who = "user"
	Admin    Who = "admin"
	Operator Who = "operator"
)

// NeedsAction is an error that no retry heals.
type NeedsAction struct {
	Who    Who
	Reason string // a sentence that says what to do
	Err    error
}

func (e *NeedsAction) Error() string { return fmt.Sprintf("%s (%s must act)", e.Reason, e.Who) }
func (e *NeedsAction) Unwrap() error { return e.Err }

// Budget is a quota that several mailboxes share, in several processes perhaps: at Google that of a project, which is known by the client id of its
// app. Safe for concurrent use.
type Budget interface {
	// Take takes up to units, and least of them at least, or none; then wait says when to ask again. Urgent asks are for live mail: the last
	// of a budget is kept for them.
	Take(ctx context.Context, app string, units, least int, urgent bool) (taken int, wait time.Duration, err error)
}

// RateLimitError asks to come back later.
type RateLimitError struct {
	RetryAfter time.Duration // 0: the service did not say
	// Own: the service was asked for nothing and refused nothing; the mailbox keeps to a quota, of which some is kept for what goes first. It may be asked for
	// Changes and what is new before.
	Own bool
	Err error
}

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("rate limited, retry after %s", e.RetryAfter)
}
func (e *RateLimitError) Unwrap() error { return e.Err }
