// Package emailint is the engine a CRM embeds: it reads mailboxes into a ledger, links every mail to the host's records, keeps
// them in step, sends, and can say of every mail where it is and why.
//
// What a host brings: a CRMStore (four methods; emailinttest.TestCRMStore checks it, examples/sqlstore is one to copy), a state.Store to remember in
// (emailint/state/sqlite or emailint/state/postgres), sealing and index keys, and the providers it wants (provider/imap, provider/gmail, provider/outlook). A CRMStore
// may have more: Remover, AddressLister, ChangeLister, SignatureValues.
//
// In order of use:
//
//   - New makes the engine. Settings and PatchSettings are an organisation's settings page; Declare tells of emails that the CRM has from another integration.
//   - Connect connects a mailbox by its password, Handler (or Consent and Finish) by a sign-in of its owner, Adopt by a token that the host has already.
//   - Run works on all mailboxes until its context ends; Sync on one, for hosts with a queue of their own. Wake says that there may be mail.
//   - Status, Explain and Reconcile say how far a mailbox is, where a mail is and why, and whether any is missing.
//   - Send sends what smtp.Compose made. Mutations and Undo are for what rules of the inbox did.
//   - RecordsChanged says that the CRM's records changed, Correct that a person knows better.
//   - Pause and Resume, Retry; Disconnect or Erase when a mailbox is to go.
//   - As is the engine for one person, who may not do everything: for the handlers of a host's pages.
//
// What the engine promises: a cursor never passes a message without a row in the ledger; a CRM that is down, hangs, panics or
// refuses single mails delays and loses nothing; an email is saved under one id however many mailboxes hold it; mail that moved
// is not taken for deleted; a rule of the inbox acts once on new mail and can be undone; a person's correction is never undone.
//
// What it does not do: it stores no subject, address or text of mail that links to nothing, deletes no mail in a mailbox, and does not send again what may have been
// sent. Who is who the host knows: an organisation and a user are the strings that it names.
package emailint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/internal/token"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// What a host implements: CRMStore, and what it likes of the others. Package crm has their methods, in one place with what they promise.
type (
	CRMStore      = crm.Store         // Find, CreateContacts, SaveEmails, UpdateEmails
	Remover       = crm.Remover       // optional: emails can leave the CRM
	AddressLister = crm.AddressLister // optional: whose mail is read first (SyncSettings.PeopleFirst)
	ChangeLister  = crm.ChangeLister  // optional: changes that RecordsChanged may not have told
)

// What a host is handed, and hands over.
type (
	Email        = crm.Email       // a message with its links and holders
	EmailState   = crm.EmailState  // what may change of one
	EmailsError  = crm.EmailsError // which emails of a call failed
	NewContact   = crm.NewContact  // an unknown sender
	RecordChange = crm.RecordChange
	ChangeKind   = crm.ChangeKind
)

// What happened to a record.
const (
	RecordCreated    = crm.RecordCreated
	AddressesChanged = crm.AddressesChanged
	RecordMerged     = crm.RecordMerged
	RecordDeleted    = crm.RecordDeleted
	RelationChanged  = crm.RelationChanged
	DealChanged      = crm.DealChanged
)

// ErrUnknownEmail is the error of an email that CRMStore.UpdateEmails does not know.
var ErrUnknownEmail = crm.ErrUnknownEmail

// Key is an AES-256 key with the id that sealed values carry.
type Key = seal.Key

// Options are what an engine needs. State, CRM, Keys, IndexKey and Providers are required.
type Options struct {
	State     state.Store
	CRM       CRMStore
	Keys      []Key  // the first seals, all open
	IndexKey  []byte // at least 32 random bytes; the ledger's hashes are keyed by it, and it can't be changed
	Providers []provider.Provider
	// Sender opens what sends for a connection; nil: Engine.DefaultSender. Mail that waits for another try when senders of another type are opened is staged
	// anew, so a draft of the former may be left over.
	Sender func(ctx context.Context, c Connection) (provider.Sender, error)

	// Defaults are what an organisation has that saved no settings; nil: DefaultSettings. They have no secrets: these are in Apps and SMTP.
	Defaults *Settings
	// SMTP opens the mail server of an organisation's settings, as smtp.New does; nil: none can be tested or used.
	SMTP func(SMTP) (SMTPServer, error)
	// Apps are the operator's own OAuth apps, by provider, for organisations that have none of their own.
	Apps map[string]App
	// BaseURL is where Handler is mounted, as in "https://crm.example.com/email". It is never taken from a request.
	BaseURL string
	// Session says whose request it is, for Handler; nil: nobody can connect a mailbox by it.
	Session func(*http.Request) (Session, error)
	// Deployment names this installation, "production" for example: the state remembers whose it is, and a copy of it that is started under another name
	// only observes, one without a name as well. "": this one has no name.
	Deployment string
	// HTTP is used for token endpoints; nil: a client that waits for 30 seconds.
	HTTP *http.Client

	Logger  *slog.Logger     // nil: nothing is logged
	Now     func() time.Time // nil: time.Now
	Worker  string           // name of this process in leases; "": random
	Workers int              // mailboxes worked on at the same time by Run; 0: 4
	Lease   time.Duration    // 0: 2 minutes
	// CRMTimeout bounds each call of the CRM; its context ends then. 0: 1 minute. A CRM that is too slow is asked for less at a
	// time.
	CRMTimeout time.Duration
	// Saved is called after the host has an email; it must return quickly. May be nil.
	Saved func(org string, e Email)
	// Progress is called after every committed step of a pass. May be nil.
	Progress func(org string, connection int64)
}

// Format implements fmt.Formatter for every verb: options hold keys, and do not print.
func (o Options) Format(f fmt.State, _ rune) { fmt.Fprint(f, "options of worker ", o.Worker) }

// LogValue implements slog.LogValuer.
func (o Options) LogValue() slog.Value { return slog.StringValue("options of worker " + o.Worker) }

// Engine is safe for concurrent use.
type Engine struct {
	o      Options
	keys   *seal.Keyring
	tokens *token.Keeper
	provs  map[string]provider.Provider
	kick   chan struct{} // an idle worker looks for work now
	// relink lets Run relink now.
	relink chan struct{}

	health health
	lists  health // how the lists of changes are that hosts keep
	away   turnedAway

	unheard unheard
}

// Format implements fmt.Formatter for every verb: an engine holds keys and secrets, and does not print.
func (e *Engine) Format(f fmt.State, _ rune) { fmt.Fprint(f, "engine of worker ", e.o.Worker) }

// New checks the options and returns an engine. It starts nothing.
func New(o Options) (*Engine, error) {
	var errs []error
	if o.State == nil {
		errs = append(errs, errors.New("option State is missing: open one, for example with sqlite.Open"))
	}
	if o.CRM == nil {
		errs = append(errs, errors.New("option CRM is missing: pass your CRMStore"))
	}
	keys, err := seal.New(o.Keys...)
	if err != nil {
		errs = append(errs, fmt.Errorf("option Keys: %w", err))
	}
	if _, err := ident.New(o.IndexKey, ""); err != nil {
		errs = append(errs, fmt.Errorf("option IndexKey: %w", err))
	}
	e := &Engine{o: o, keys: keys, provs: map[string]provider.Provider{}, kick: make(chan struct{}, 1), relink: make(chan struct{}, 1)}
	for _, p := range o.Providers {
		e.provs[p.Name()] = p
	}
	if len(e.provs) == 0 {
		errs = append(errs, errors.New("option Providers is empty: pass at least one, for example imap.New(nil)"))
	}
	errs = append(errs, e.checkDefaults())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("emailint: %w", err)
	}
	if e.o.Defaults == nil {
		d := DefaultSettings()
		e.o.Defaults = &d
	}
	if e.o.Logger == nil {
		e.o.Logger = slog.New(slog.DiscardHandler)
	}
	if e.o.Now == nil {
		e.o.Now = time.Now
	}
	e.o.Workers = cmp.Or(e.o.Workers, 4)
	e.o.Lease = cmp.Or(e.o.Lease, 2*time.Minute)
	e.o.CRMTimeout = cmp.Or(e.o.CRMTimeout, time.Minute)
	e.o.Worker = cmp.Or(e.o.Worker, randomName())
	if e.o.HTTP == nil {
		e.o.HTTP = &http.Client{Timeout: 30 * time.Second}
	}
	e.tokens = e.keeper()
	return e, nil
}

func (e *Engine) hasher(org string) *ident.Hasher {
	h, err := ident.New(e.o.IndexKey, org)
	if err != nil {
		panic(err) // New has checked the key
	}
	return h
}
