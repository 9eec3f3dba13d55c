// Package emailint is the engine a CRM embeds: it reads mailboxes into a ledger, links every mail to the host's records, keeps
// them in step, sends, and can say of every mail where it is and why.
//
// What a host brings: a CRMStore (four methods; emailinttest.TestCRMStore checks it), a state.Store to remember in
// (emailint/state/sqlite or emailint/state/postgres), sealing and index keys, and the providers it wants (provider/imap).
//
// In order of use: New, Connect, Run or Sync, Wake, Status, Explain, Reconcile, Send, Undo and Mutations for what rules of the
// inbox did; RecordsChanged when the CRM's records change, Correct when a person knows better, Erase when a mailbox is to go.
//
// What the engine promises: a cursor never passes a message without a row in the ledger; a CRM that is down, hangs, panics or
// refuses single mails delays and loses nothing; an email is saved under one id however many mailboxes hold it; mail that moved
// is not taken for deleted; a rule of the inbox acts once on new mail and can be undone; a person's correction is never undone.
package emailint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// The nouns a host shares with the engine.
type (
	CRMStore    = crm.Store
	Remover     = crm.Remover
	NewContact  = crm.NewContact
	Email       = crm.Email
	EmailState  = crm.EmailState
	EmailsError = crm.EmailsError

	ChangeLister = crm.ChangeLister
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
	// Sender opens what sends for a connection; nil: Send is refused.
	Sender func(ctx context.Context, c Connection) (provider.Sender, error)

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

// Engine is safe for concurrent use.
type Engine struct {
	o     Options
	keys  *seal.Keyring
	provs map[string]provider.Provider
	kick  chan struct{} // an idle worker looks for work now
	// relink lets Run relink now.
	relink chan struct{}

	health health
	lists  health // how the lists of changes are that hosts keep
}

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
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("emailint: %w", err)
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
	return e, nil
}

// Settings of an organisation, a complete value: start from DefaultSettings.
type Settings struct {
	Rules linker.Rules `json:"rules"`
	// ImportDays is how far the first import reaches back: days, 0 for none, -1 for everything.
	ImportDays int `json:"import_days"`
	// PollMinutes is how often a mailbox is looked at without a hint.
	PollMinutes int `json:"poll_minutes"`
	// Inbox are the rules that archive or label mail in its mailbox once it is linked. None by default.
	Inbox []InboxRule `json:"inbox,omitempty"`
	// OnDelete says what follows when a mail was deleted from its mailbox for good: "keep" by default.
	OnDelete Deletion `json:"on_delete"`
	// FileSent has a copy of what is sent by SMTP filed in Sent where the service doesn't do that itself. On by default.
	FileSent bool `json:"file_sent"`
}

// DefaultSettings returns the settings of an organisation that has chosen nothing yet.
func DefaultSettings() Settings {
	return Settings{Rules: linker.DefaultRules(), ImportDays: 30, PollMinutes: 5, OnDelete: KeepDeleted, FileSent: true}
}

// Validate reports every wrong field by its JSON path, joined.
func (s Settings) Validate() error {
	var errs []error
	if err := s.Rules.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("rules: %w", err))
	}
	if s.ImportDays < -1 || s.ImportDays > 36500 {
		errs = append(errs, fmt.Errorf("import_days: %d is not a number of days, 0 for none or -1 for all", s.ImportDays))
	}
	if s.PollMinutes < 1 || s.PollMinutes > 24*60 {
		errs = append(errs, fmt.Errorf("poll_minutes: %d is not between 1 and 1440", s.PollMinutes))
	}
	if s.OnDelete != KeepDeleted && s.OnDelete != ReleaseDeleted {
		errs = append(errs, fmt.Errorf("on_delete: %q is neither \"keep\" nor \"release\"", s.OnDelete))
	}
	if err := validateInbox(s.Inbox); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Settings returns an organisation's settings and their version, 0 when it has saved none.
func (e *Engine) Settings(ctx context.Context, org string) (Settings, int64, error) {
	raw, version, err := e.o.State.Settings(ctx, org)
	if err != nil {
		return Settings{}, 0, fmt.Errorf("emailint: settings of %s: %w", org, err)
	}
	s := DefaultSettings()
	if version > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, version, fmt.Errorf("emailint: settings of %s: %w", org, err)
		}
	}
	return s, version, nil
}

// SetSettings replaces the settings if version is still the stored one. Where the rules of linking changed, earlier mail is decided
// again. It sets InboxRule.Since.
func (e *Engine) SetSettings(ctx context.Context, org string, s Settings, version int64) (int64, error) {
	if err := s.Validate(); err != nil {
		return 0, fmt.Errorf("emailint: settings: %w", err)
	}
	// What is compared is what version says; should somebody have changed it since, the save finds out.
	before, stored, err := e.Settings(ctx, org)
	if err != nil {
		return 0, err
	}
	s.Inbox = switchedOn(s.Inbox, before.Inbox, e.o.Now())
	raw, err := json.Marshal(s)
	if err != nil {
		return 0, fmt.Errorf("emailint: settings: %w", err)
	}
	relink := stored == 0 || stored != version || !reflect.DeepEqual(before.Rules, s.Rules)
	v, err := e.o.State.SaveSettings(ctx, org, raw, version, relink)
	if errors.Is(err, state.ErrStale) {
		return 0, fmt.Errorf("emailint: settings of %s were changed by somebody else, read them again: %w", org, err)
	}
	return v, err
}

// rules returns the organisation's rules with its own addresses.
func (e *Engine) rules(ctx context.Context, org string) (linker.Rules, Settings, int64, error) {
	s, version, err := e.Settings(ctx, org)
	if err != nil {
		return linker.Rules{}, s, 0, err
	}
	conns, err := e.o.State.Connections(ctx, org)
	if err != nil {
		return linker.Rules{}, s, 0, err
	}
	r := s.Rules
	for _, c := range conns {
		if c.State == state.Erasing {
			continue
		}
		for _, a := range append([]string{c.Address}, c.Aliases...) {
			if k := message.AddressKey(a); k != "" {
				r.Own = append(r.Own, k)
			}
		}
	}
	return r, s, version, nil
}

func (e *Engine) hasher(org string) *ident.Hasher {
	h, err := ident.New(e.o.IndexKey, org)
	if err != nil {
		panic(err) // New has checked the key
	}
	return h
}
