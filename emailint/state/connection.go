package state

import (
	"encoding/json"
	"time"
)

// ConnState is the state of a connection. Only Connected is worked on.
type ConnState string

const (
	Connected     ConnState = "connected"
	NeedsUser     ConnState = "needs user"        // sign in again
	NeedsAdmin    ConnState = "needs admin"       // consent, policy
	Misconfigured ConnState = "app misconfigured" // the operator's OAuth app or settings
	Paused        ConnState = "paused"
	Disconnected  ConnState = "disconnected"
	Erasing       ConnState = "erasing" // for good: nothing brings it back, and its addresses are nobody's own any more
)

// Connection is the stored record of a connected mailbox.
type Connection struct {
	ID         int64
	Org        string
	User       string
	Provider   string // provider.Provider.Name
	Address    string
	Aliases    []string
	Subject    string // stable id at the service, "" when it has none
	State      ConnState
	Reason     string // why it isn't Connected, or what the last pass met
	Credential []byte // sealed
	// CredentialVersion is raised whenever the credential is replaced.
	CredentialVersion int64
	Client            string // the OAuth client to which the credential was given; "" for passwords
	Wake, Served      int64
	NextDue           time.Time // next poll
	NextSent          time.Time // next look for what its user sent; zero: with NextDue
	NotBefore         time.Time // a rate limit: not even a wake is served before
	RulesVersion      int64     // the settings version of the last full pass
	ConnectedAt       time.Time // mail received since then is live
	Worker            string
	LeaseUntil        time.Time
	Refused           int // sign-ins refused in a row
	Watch             Watch
	RealTime          string // how news is heard of: "waiting", or "polling: " and why; "" before the first pass
}

// Lease is the right to work on one connection.
type Lease struct {
	Org        string
	Connection int64
	Worker     string
	Epoch      int64 // every commit compares it
	Wake       int64 // as read at the claim
	Nudge      int64 // as Wake, counting what was nudged
	Until      time.Time
	SentOnly   bool // nothing but what its user sent is due
}

// Released says how a pass ended.
type Released struct {
	Served       bool      // a full pass: the wake number of the claim is served
	NextDue      time.Time // zero: unchanged
	NextSent     time.Time // zero, or nudged since the claim: unchanged
	NotBefore    time.Time // zero: none
	State        ConnState
	Reason       string // with State; an empty State leaves both unchanged
	RulesVersion int64  // 0: unchanged
	Refused      int    // sign-ins refused in a row by now
}

// Position is where a mailbox has been read to.
type Position struct {
	Cursor      []byte // live; nil before Start
	Revision    int64
	Runs        []Run            // those not done, newest first
	Generations map[string]int64 // by folder id; a folder that never restarted is missing
	Recounts    []Recount
}

// Recount is a folder that messages went out of, unnamed, and whose rows have not been compared with it since.
type Recount struct {
	Folder string
	Number int64 // raised by every cause; Counted compares
}

// Run is one stretch of history to read: first import, extension, gap after an expiry.
type Run struct {
	ID        int64
	Reason    string
	From, To  time.Time // the window; zero is open
	Cursor    []byte
	Revision  int64
	Seen      int
	Estimated int // 0: unknown
	Done      bool
	People    bool // mail with people of the CRM is read and the rest is listed; Cursor is the engine's own then
}

// Settings of an organisation. Values are the engine's.
type Settings struct {
	Body    json.RawMessage
	Secrets map[string][]byte // sealed, by the name of their field
	Version int64
}

// Consent is a sign-in that was begun.
type Consent struct {
	Key     Hash // of the state parameter
	Org     string
	User    string
	Sealed  []byte
	Expires time.Time
}

// Watch is how news of a mailbox is sent by its service: renewed in time, and made anew where it ended.
type Watch struct {
	Handle  []byte    // the service's, or the provider's; nil where it has none
	Expires time.Time // zero: there is none
	Next    time.Time // when it is made or renewed; zero: at once
	Tries   int       // that failed since
}

// Pause keeps all mailboxes of a scope from being worked on, and mail from being sent. An empty Org is all organisations, an empty Provider
// all providers. The operator's and those of an organisation's administrator are apart.
type Pause struct {
	Org, Provider string
	Admin         bool   // of the organisation's administrator, not of the operator
	By            string // who paused
	Reason        string
	At            time.Time
}

// Sealed is a value that was sealed, and where it stands.
type Sealed struct {
	Kind string // "credential", "envelope", "secret"
	Org  string
	ID   int64  // of the connection, or the email
	Name string // of a secret
	// User and Provider are those of a credential, and Mailbox its subject, or else its address: to these it is bound. An envelope is to Fingerprint.
	User, Provider, Mailbox string
	Fingerprint             Hash
	Value                   []byte
	New                     []byte // for Reseal
}
