// Package deliver turns pending rows into decisions and decisions into the host's records: find, decide, create contacts,
// settle, save. It is ledger first, CRM second: whatever fails here leaves rows due, and holds up no cursor.
package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

const (
	chunkRows  = 200
	chunkBytes = 16 << 20
	saveChunk  = 50
	freshRows  = 100     // emails whose content is wanted, before they are saved while more is to be decided
	aheadBytes = 8 << 20 // of mail that is read before it is wanted; what is kept of it is a part
	spreadRows = 500
	// patience is how often decisions may find that they are overtaken before the pass ends and the next one tries again.
	patience = 50
)

// Store is the part of the state that delivery needs.
type Store interface {
	Pending(ctx context.Context, l state.Lease, now time.Time, limit int, bytes int64) (state.Batch, error)
	Learn(ctx context.Context, l state.Lease, rows []state.Row) error
	Settle(ctx context.Context, l state.Lease, b state.Batch, s []state.Settlement) ([]state.Settled, error)
	Threads(ctx context.Context, org string, qs []state.ThreadQuery) ([]state.Thread, error)
	Lookup(ctx context.Context, org string, messageID state.Hash) ([]state.Row, []state.Email, error)
	Email(ctx context.Context, org string, id int64) (state.Email, error)
	Undelivered(ctx context.Context, org string, connection int64, now time.Time, limit int) ([]state.Email, error)
	Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) ([]int64, error)
	Done(ctx context.Context, org string, ds []state.Delivery) error
	Failed(ctx context.Context, org string, fs []state.Failure) error
	Change(ctx context.Context, org string, c state.Change) (int64, error)
	Spread(ctx context.Context, org string, limit int) (int, bool, error)
	OutboxOf(ctx context.Context, org string, email int64) (state.Outgoing, error)
}

// OutageError means that the CRM failed as a whole: back off for the organisation and call nothing poison.
type OutageError struct{ Err error }

func (e *OutageError) Error() string { return "the CRM does not answer: " + e.Err.Error() }
func (e *OutageError) Unwrap() error { return e.Err }

// Deliverer works for one lease. Not for concurrent use.
type Deliverer struct {
	Store       Store
	CRM         crm.Store
	Remover     crm.Remover      // nil: emails without holders are saved without links
	Mailbox     provider.Mailbox // nil: what isn't in memory is delivered from its sealed envelope
	Lease       state.Lease
	Hasher      *ident.Hasher
	Keys        *seal.Keyring
	Rules       linker.Rules // with the organisation's own addresses
	ConnectedAt time.Time
	Floor       time.Time // the earliest time that was to be imported
	Version     int64     // of the settings that Rules are from
	Reload      func(context.Context) (linker.Rules, int64, error)
	Now         func() time.Time
	Renew       func(context.Context) error
	Beat        time.Duration   // between two renewals; 0: as often as can be
	Event       func(crm.Email) // after the host has it; may be nil
	// Plan says what the rules of the inbox want done to a mail decided for the first time; may be nil.
	Plan func(folders []provider.Folder, e message.Envelope, links []linker.Link) []state.IntentPlan
	// Shrink halves the chunks that the CRM is given, as often as it says: it was too slow for larger ones. It is raised, and
	// Slow set, when that happens.
	Shrink int
	Slow   bool

	known   map[provider.ItemID]message.Envelope // read last
	before  map[provider.ItemID]message.Envelope // read before those
	content map[provider.ItemID]*message.Message // of mail that is being decided, and of what links until it is saved
	held    int                                  // bytes of content
	items   map[int64]state.Row                  // by Email: the row that was settled last
	fresh   []int64                              // Emails that were decided for the first time, and whose content was not asked for yet
	ahead   map[provider.ItemID]bool             // contents that the mailbox was told of
	created map[message.Key]linker.Record
	refusal error // the last of CreateContacts
	renewed time.Time
	change  int64 // the organisation's change number before Rules were read
	stuck   int   // chunks one after the other of which no row was settled
	broken  int   // reads that failed one after the other
}

// keepEnvelopes bounds the envelopes held in memory; what falls out is read again, at the price of a whole message.
const keepEnvelopes = 4000

// Know hands over an envelope that was just read. The oldest half falls out, so that those of the page that was read last stay.
func (d *Deliverer) Know(id provider.ItemID, e message.Envelope) {
	if d.known == nil || len(d.known) >= keepEnvelopes/2 {
		d.known, d.before = map[provider.ItemID]message.Envelope{}, d.known
	}
	d.known[id] = e
}

// envelope returns an envelope that is in memory.
func (d *Deliverer) envelope(id provider.ItemID) (message.Envelope, bool) {
	e, ok := d.known[id]
	if !ok {
		e, ok = d.before[id]
	}
	return e, ok && e.Has&message.HasHeader == message.HasHeader
}

// keep keeps the lease: a renewal is a transaction that writes, so it is made when it is time, and what is committed compares the lease by itself.
func (d *Deliverer) keep(ctx context.Context) error {
	if now := d.Now(); d.renewed.IsZero() || now.Sub(d.renewed) >= d.Beat {
		if err := d.Renew(ctx); err != nil {
			return err
		}
		d.renewed = now
	}
	return nil
}

func (d *Deliverer) chunk(n int) int { return max(1, n>>d.Shrink) }

// Drain settles and delivers until nothing is due now, or the mailbox's quota is used up. The mail that record changes concern is found on the way, a page at
// a time.
func (d *Deliverer) Drain(ctx context.Context) error {
	err := d.drain(ctx)
	if err != nil {
		err = d.rescue(ctx, err)
	}
	return err
}

func (d *Deliverer) drain(ctx context.Context) error {
	_, together := power.Of[provider.Prefetcher](d.Mailbox)
	for {
		_, more, err := d.Store.Spread(ctx, d.Lease.Org, spreadRows)
		if err != nil {
			return err
		}
		n, err := d.settle(ctx)
		if err != nil {
			return err
		}
		m := 0
		// Where few link, their contents are read for several chunks together: opening a large folder costs a server more than they do. They
		// are read while the next chunk is decided. Where they are read one by one nothing is gained by waiting.
		if n == 0 || !together || len(d.ahead) > 0 || d.held > aheadBytes || d.stuck > 0 {
			for first := true; first || m > 0 && len(d.ahead) > 0; first = false {
				if m, err = d.save(ctx, d.Lease.Connection); err != nil {
					return err
				}
			}
		}
		if len(d.fresh) >= freshRows {
			d.prefetch(nil)
		}
		if n == 0 && m == 0 && !more {
			return nil
		}
		if n == 0 {
			d.stuck = 0
		}
		if d.stuck > patience {
			return fmt.Errorf("the decisions on %d messages do not settle, somebody changes the organisation all the time", n)
		}
	}
}
