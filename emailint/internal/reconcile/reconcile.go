// Package reconcile compares the ledger with the mailbox: which of a folder's messages went where the service didn't say,
// which of those that left are really deleted, and whether the mailbox holds anything that the ledger doesn't.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/internal/pass"
	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// Store is the part of the state that the reconciler needs.
type Store interface {
	Position(ctx context.Context, l state.Lease) (state.Position, error)
	CommitPage(ctx context.Context, l state.Lease, p state.Page) (state.Committed, error)
	Placed(ctx context.Context, l state.Lease, folder string, after int64, limit int) ([]state.Row, error)
	Leave(ctx context.Context, l state.Lease, rs []provider.Removal) (int, error)
	Counted(ctx context.Context, l state.Lease, r state.Recount) error
	Leavers(ctx context.Context, l state.Lease, now time.Time, limit int) ([]state.Row, error)
	Recheck(ctx context.Context, l state.Lease, rows []int64, at, missed time.Time) error
	Gone(ctx context.Context, l state.Lease, ids []provider.ItemID, release bool) error
	Missing(ctx context.Context, org string, connection int64, ids []provider.ItemID) ([]provider.ItemID, error)
	Items(ctx context.Context, org string, connection int64, after int64, limit int) ([]state.Row, error)
	Email(ctx context.Context, org string, id int64) (state.Email, error)
}

// Reconciler works for one lease, so nobody else writes the ledger of the mailbox meanwhile. Not for concurrent use.
type Reconciler struct {
	Store       Store
	Mailbox     provider.Mailbox
	Lease       state.Lease
	Hasher      *ident.Hasher
	Keys        *seal.Keyring
	ConnectedAt time.Time
	Floor       time.Time // the earliest time that was to be imported
	Release     bool      // the host's policy: a mailbox no longer holds what was deleted from it
	Now         func() time.Time
	Renew       func(context.Context) error

	News int // how many rows Recounts found to have left
}

const chunk = 500

// Recounts looks for what went out of the folders that a page named. What is gone from a folder has left it, no more.
func (r *Reconciler) Recounts(ctx context.Context) error {
	pos, err := r.Store.Position(ctx, r.Lease)
	if err != nil {
		return err
	}
	for _, rc := range pos.Recounts {
		there := map[provider.ItemID]bool{}
		if err := r.inventory(ctx, provider.Scope{Folder: rc.Folder}, func(it provider.Item) error {
			there[it.ID] = true
			return nil
		}); err != nil {
			return fmt.Errorf("listing a folder that lost mail: %w", err)
		}
		var left []provider.Removal
		for after := int64(0); ; {
			if err := r.Renew(ctx); err != nil {
				return err
			}
			rows, err := r.Store.Placed(ctx, r.Lease, rc.Folder, after, chunk)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if after = row.ID; !there[row.Item] {
					left = append(left, provider.Removal{ID: row.Item, Folder: rc.Folder})
				}
			}
			if len(rows) < chunk {
				break
			}
		}
		n, err := r.leave(ctx, left)
		if r.News += n; err != nil {
			return err
		}
		if err := r.Store.Counted(ctx, r.Lease, rc); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) leave(ctx context.Context, left []provider.Removal) (n int, err error) {
	for len(left) > 0 {
		k := min(chunk, len(left))
		if err := r.Renew(ctx); err != nil {
			return n, err
		}
		more, err := r.Store.Leave(ctx, r.Lease, left[:k])
		if err != nil {
			return n, err
		}
		n, left = n+more, left[k:]
	}
	return n, nil
}

// inventory runs f over an inventory and keeps the lease.
func (r *Reconciler) inventory(ctx context.Context, s provider.Scope, f func(provider.Item) error) error {
	if err := r.Renew(ctx); err != nil {
		return err
	}
	n := 0
	for it, err := range r.Mailbox.Inventory(ctx, s) {
		if err != nil {
			return err
		}
		if it.ID == "" {
			return errors.New("the mailbox listed a message without an id")
		}
		if n++; n%chunk == 0 {
			if err := r.Renew(ctx); err != nil {
				return err
			}
		}
		if err := f(it); err != nil {
			return err
		}
	}
	return nil
}

// Confirm is the second step of a deletion: mail that left every folder in an earlier pass is looked for by its id and by its
// Message-ID in all folders, trash and junk included. What is found nowhere is gone; where that costs the CRM the mail (Release)
// that takes a day at least from the first look that missed it, for a server may have a bad day. What lies where it lay has not
// left after all. Mail that was found before, in the trash for example, is looked for again when its time has come, or early. It returns how
// many are gone.
func (r *Reconciler) Confirm(ctx context.Context, limit int, early bool) (gone int, err error) {
	now := r.Now()
	if early {
		now = now.AddDate(1, 0, 0)
	}
	rows, err := r.Store.Leavers(ctx, r.Lease, now, limit)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if err := r.Renew(ctx); err != nil {
			return gone, err
		}
		again, err := r.look(ctx, row)
		var missed time.Time
		var limit *provider.RateLimitError
		var action *provider.NeedsAction
		switch {
		case ctx.Err() != nil, errors.As(err, &limit), errors.As(err, &action), errors.Is(err, state.ErrStale):
			return gone, err
		case err != nil:
			// The trouble of one mail, or of the moment: nothing is concluded from it.
			again, missed = time.Hour, row.MissedAt
		case again == 0 && r.Release:
			if missed = row.MissedAt; missed.IsZero() {
				missed = r.Now()
			}
			again = max(0, missed.Add(recheck).Sub(r.Now()))
		}
		if again == 0 {
			if err := r.Store.Gone(ctx, r.Lease, []provider.ItemID{row.Item}, r.Release); err != nil {
				return gone, err
			}
			gone++
			continue
		}
		if err := r.Store.Recheck(ctx, r.Lease, []int64{row.ID}, r.Now().Add(again), missed); err != nil {
			return gone, err
		}
	}
	return gone, nil
}

const (
	// A mail in the trash is looked at again: a move there is no deletion, emptying it is (protocol, rule 15).
	recheck = 24 * time.Hour
	// What can't be told apart from a move is kept, and looked at rarely.
	never = 90 * 24 * time.Hour
)

// look returns 0 when the message is nowhere, else when to look again.
func (r *Reconciler) look(ctx context.Context, row state.Row) (again time.Duration, err error) {
	e, err := r.Store.Email(ctx, r.Lease.Org, row.Email)
	if err != nil {
		return 0, err
	}
	env, unknown := r.Keys.OpenEnvelope(r.Lease.Org, string(e.Fingerprint), e.Envelope)
	if unknown == nil && env.MessageID != "" {
		found, err := r.Mailbox.Locate(ctx, env.MessageID)
		if err != nil {
			return 0, err
		}
		for _, it := range found {
			if it.ID == row.Item && len(it.Folders) > 0 && !filed(it.Folders) {
				_, err := r.fill(ctx, []provider.Item{it})
				return recheck, err
			}
		}
		if len(found) > 0 {
			return recheck, nil
		}
	}
	switch _, err := r.Mailbox.Content(ctx, row.Item); {
	case err == nil:
		return recheck, nil
	case !errors.Is(err, provider.ErrGone):
		return 0, err
	case unknown != nil || env.MessageID == "":
		return never, nil
	}
	return 0, nil
}

// Report says how a mailbox and its ledger compare.
type Report struct {
	From, To  time.Time // the window that was compared: what was asked for, no earlier than what was to be imported
	Listed    int       // messages that the mailbox holds in it
	Repaired  int       // of these the ledger had no row, or one that said they left: they have one now
	Skipped   int       // listed only, as people of the CRM come first: nobody knows whether the CRM should have them
	Read      int       // listed, and their header decided on (or filed away as draft, junk or trash)
	Linked    int       // listed, and linked to records
	Delivered int       // linked, and acknowledged by the CRM
	Left      int       // rows that the mailbox no longer shows: newly marked as left
	Gone      int       // deletions that were confirmed
}

// Completeness is the share of the listed messages, but those that were skipped, that are read and, where they link, delivered: 1 is proof of "synced".
func (r Report) Completeness() float64 {
	if r.Listed <= r.Skipped {
		return 1
	}
	return float64(r.Read-(r.Linked-r.Delivered)) / float64(r.Listed-r.Skipped)
}

// Repair lists the window, gives a row to what has none, and marks as left what is no longer there. Delivery is the caller's.
func (r *Reconciler) Repair(ctx context.Context, w provider.Window, rep *Report) (map[provider.ItemID][]provider.Folder, error) {
	there := map[provider.ItemID][]provider.Folder{}
	var batch []provider.Item
	flush := func() error {
		n, err := r.fill(ctx, batch)
		rep.Repaired, batch = rep.Repaired+n, batch[:0]
		return err
	}
	if err := r.inventory(ctx, provider.Scope{Window: w}, func(it provider.Item) error {
		if _, twice := there[it.ID]; twice {
			return nil
		}
		there[it.ID] = it.Folders
		if batch = append(batch, it); len(batch) < chunk {
			return nil
		}
		return flush()
	}); err != nil {
		return nil, fmt.Errorf("listing the mailbox: %w", err)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	rep.Listed = len(there)
	var left []provider.Removal
	var purged []provider.ItemID
	err := r.rows(ctx, func(row state.Row) error {
		at, listed := there[row.Item]
		// What lay in junk, trash or drafts, and is listed, has come out of there.
		if listed && !row.Left && (len(at) > 0 || filed(row.Folders)) {
			moved, err := r.replace(ctx, row, at)
			left = append(left, moved...)
			return err
		}
		if row.Left || listed {
			return nil
		}
		// A time we don't know is in the window only when that is open.
		if row.Received.IsZero() && w != (provider.Window{}) || !row.Received.IsZero() && !w.Contains(row.Received) {
			return nil
		}
		if !filed(row.Folders) {
			left = append(left, provider.Removal{ID: row.Item})
			return nil
		}
		// Junk, trash and drafts are not listed: asked by id.
		if err := r.Renew(ctx); err != nil {
			return err
		}
		_, err := r.Mailbox.Content(ctx, row.Item)
		if errors.Is(err, provider.ErrGone) {
			purged = append(purged, row.Item)
			return nil
		}
		var limit *provider.RateLimitError
		var action *provider.NeedsAction
		if ctx.Err() != nil || errors.As(err, &limit) || errors.As(err, &action) {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range purged {
		left = append(left, provider.Removal{ID: id})
	}
	rep.Left, err = r.leave(ctx, left)
	return there, err
}

// replace places a row where the mailbox has it, and returns the folders that it is no longer in.
func (r *Reconciler) replace(ctx context.Context, row state.Row, at []provider.Folder) (left []provider.Removal, err error) {
	in := func(fs []provider.Folder, id string) bool {
		return slices.ContainsFunc(fs, func(f provider.Folder) bool { return f.ID == id })
	}
	for _, f := range row.Folders {
		if !in(at, f.ID) {
			left = append(left, provider.Removal{ID: row.Item, Folder: f.ID})
		}
	}
	if len(at) > 0 && !slices.ContainsFunc(at, func(f provider.Folder) bool { return !in(row.Folders, f.ID) }) {
		return left, nil
	}
	return left, r.commit(ctx, []provider.Item{{ID: row.Item, Folders: at}})
}

// filed says whether an item lies in a folder that is not listed.
func filed(fs []provider.Folder) bool {
	for _, f := range fs {
		if f.Role == provider.RoleDrafts || f.Role == provider.RoleJunk || f.Role == provider.RoleTrash {
			return true
		}
	}
	return false
}

// fill commits rows for those of the items that have none.
func (r *Reconciler) fill(ctx context.Context, items []provider.Item) (int, error) {
	ids := make([]provider.ItemID, len(items))
	for i, it := range items {
		ids[i] = it.ID
	}
	missing, err := r.Store.Missing(ctx, r.Lease.Org, r.Lease.Connection, ids)
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	gap := map[provider.ItemID]bool{}
	for _, id := range missing {
		gap[id] = true
	}
	var page []provider.Item
	for _, it := range items {
		if gap[it.ID] {
			page = append(page, it)
		}
	}
	return len(page), r.commit(ctx, page)
}

// commit brings items into the ledger, and leaves the cursor where it is.
func (r *Reconciler) commit(ctx context.Context, items []provider.Item) error {
	pos, err := r.Store.Position(ctx, r.Lease)
	if err != nil {
		return err
	}
	if pos.Cursor == nil {
		return errors.New("the mailbox was never read: run a pass first")
	}
	_, err = r.Store.CommitPage(ctx, r.Lease, state.Page{Revision: pos.Revision, Cursor: pos.Cursor,
		Rows: pass.Rows(items, r.Hasher, r.ConnectedAt, r.Floor), Generations: pos.Generations})
	return err
}

// Tally counts what became of the listed messages.
func (r *Reconciler) Tally(ctx context.Context, there map[provider.ItemID][]provider.Folder, rep *Report) error {
	return r.rows(ctx, func(row state.Row) error {
		if _, listed := there[row.Item]; !listed {
			return nil
		}
		switch row.Fate {
		case state.FatePending, state.FateFailed:
			return nil
		case state.FateUnread:
			if row.Reason == state.SkippedReason {
				rep.Skipped++
				return nil
			}
			if !pass.TooOld(row.Received, r.Floor) {
				return nil
			}
		}
		if row.Due > row.Settled && row.Fate.Decided() {
			return nil // to be decided again
		}
		rep.Read++
		if row.Email != 0 {
			rep.Linked++
			if !row.Undelivered {
				rep.Delivered++
			}
		}
		return nil
	})
}

func (r *Reconciler) rows(ctx context.Context, f func(state.Row) error) error {
	for after := int64(0); ; {
		rows, err := r.Store.Items(ctx, r.Lease.Org, r.Lease.Connection, after, chunk)
		if err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			if err := f(row); err != nil {
				return err
			}
		}
		if len(rows) < chunk {
			return nil
		}
	}
}
