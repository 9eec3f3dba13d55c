// Package pass reads a mailbox into the ledger: live changes to the end, then history a page at a time. Each page is
// committed with its cursor in one transaction; what may link is left pending for package deliver.
package pass

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Store is the part of the state that a pass needs.
type Store interface {
	Position(ctx context.Context, l state.Lease) (state.Position, error)
	CommitPage(ctx context.Context, l state.Lease, p state.Page) (state.Committed, error)
	Sweep(ctx context.Context, l state.Lease, folder string) (int, error)
	Runs(ctx context.Context, org string, connection int64) ([]state.Run, error)
	AddRun(ctx context.Context, org string, connection int64, r state.Run) (state.Run, error)
}

// Pass is one worker's work on one mailbox. Not for concurrent use.
type Pass struct {
	Store       Store
	Mailbox     provider.Mailbox
	Lease       state.Lease
	Hasher      *ident.Hasher
	ConnectedAt time.Time
	Import      provider.Window // what is to be imported, up to now; it may have become wider since the first pass
	// Seen is told each envelope of a committed page, so that delivery needn't read the header again.
	Seen func(provider.ItemID, message.Envelope)
	// People is how history is read where people of the CRM come first; nil: it is read as it comes.
	People *People
	// Renew is called before every page.
	Renew func(context.Context) error

	// Floor is the earliest time that was to be imported, once Live has run; zero: everything.
	Floor time.Time
	// News counts what Live's pages changed in the ledger: what is told again is none.
	News int
	// Ahead: the mailbox was told by HistoryPage which page comes next. After Live it would have to be read again.
	Ahead bool
}

// honest refuses a page after which we would read the same for ever, or begin anew and skip what came in between.
func honest(page provider.Page, prev []byte) error {
	if len(page.Next) == 0 {
		return errors.New("the mailbox gave no next cursor")
	}
	if page.More && bytes.Equal(page.Next, prev) {
		return errors.New("the mailbox says that there is more, and its cursor does not move")
	}
	return nil
}

// Live reads changes until there are none. each is called after every committed page but the last.
func (p *Pass) Live(ctx context.Context, each func(context.Context) error) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	runs, err := p.Store.Runs(ctx, p.Lease.Org, p.Lease.Connection)
	if err != nil {
		return err
	}
	p.Floor = p.ConnectedAt
	for i, r := range runs {
		if i == 0 || r.From.Before(p.Floor) {
			p.Floor = r.From
		}
	}
	// More is wanted than was when it was connected.
	if p.Import.From.Before(p.Floor) {
		if _, err := p.Store.AddRun(ctx, p.Lease.Org, p.Lease.Connection, state.Run{Reason: "wider import", From: p.Import.From, To: p.Floor, People: p.People != nil}); err != nil {
			return err
		}
		p.Floor = p.Import.From
	}
	if b, ok := power.Of[provider.Bounded](p.Mailbox); ok {
		b.Since(p.Floor)
	}
	if err := p.unlisted(ctx, runs); err != nil {
		return err
	}
	for {
		if err := p.Renew(ctx); err != nil {
			return err
		}
		pos, err := p.Store.Position(ctx, p.Lease)
		if err != nil {
			return err
		}
		page, err := p.Mailbox.Changes(ctx, provider.Cursor(pos.Cursor))
		if err != nil {
			return fmt.Errorf("reading changes: %w", err)
		}
		for _, f := range page.Restart {
			delete(pos.Generations, f.ID) // its rows on this page are of the generation that the restart begins
		}
		if err := honest(page, pos.Cursor); err != nil {
			return err
		}
		if err := p.commit(ctx, page, state.Page{Revision: pos.Revision, Generations: pos.Generations}, false); err != nil {
			return err
		}
		if !page.More {
			// Every folder that ever restarted, not only those of this pass: it may have restarted in one that died.
			if pos, err = p.Store.Position(ctx, p.Lease); err != nil {
				return err
			}
			for f := range pos.Generations {
				if slices.Contains(page.Unfinished, f) {
					continue // a later pass lists the rest
				}
				if _, err := p.Store.Sweep(ctx, p.Lease, f); err != nil {
					return err
				}
			}
			return nil
		}
		if err := each(ctx); err != nil {
			return err
		}
	}
}

// begin takes the cursor "from now on" before any history is listed, and plans the first import. The run is added first: a
// crash in between finds the run and takes the cursor then.
func (p *Pass) begin(ctx context.Context) error {
	pos, err := p.Store.Position(ctx, p.Lease)
	if err != nil || pos.Cursor != nil {
		return err
	}
	runs, err := p.Store.Runs(ctx, p.Lease.Org, p.Lease.Connection)
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		// What came since the connection was made is read whoever wrote it.
		people := p.People != nil && p.Import.From.Before(p.ConnectedAt)
		if _, err := p.Store.AddRun(ctx, p.Lease.Org, p.Lease.Connection, state.Run{Reason: "first import", From: p.Import.From, People: people}); err != nil {
			return err
		}
	}
	if err := p.Renew(ctx); err != nil { // opening the mailbox may have taken a while, and so does this
		return err
	}
	start, err := p.Mailbox.Start(ctx)
	if err != nil {
		return fmt.Errorf("taking the first cursor: %w", err)
	}
	if len(start) == 0 {
		return errors.New("the mailbox gave an empty first cursor")
	}
	_, err = p.Store.CommitPage(ctx, p.Lease, state.Page{Revision: pos.Revision, Cursor: start})
	return err
}

// HistoryPage reads one page of the newest unfinished run; more is false when no run is left. ahead, which may be nil, is asked when it is committed
// whether it will be called again before Live is, so that the mailbox may read the next page meanwhile.
func (p *Pass) HistoryPage(ctx context.Context, ahead func() bool) (more bool, err error) {
	p.Ahead = false
	if err := p.Renew(ctx); err != nil {
		return false, err
	}
	if err := p.newPeople(ctx); err != nil {
		return false, err
	}
	if p.People != nil {
		defer func() {
			if err == nil && !more {
				err = p.People.missed
			}
		}()
	}
	pos, err := p.Store.Position(ctx, p.Lease)
	if err != nil || len(pos.Runs) == 0 {
		return false, err
	}
	run := pos.Runs[0]
	if run.People {
		more, err := p.peoplePage(ctx, run, pos.Generations)
		return err == nil && (more || len(pos.Runs) > 1), err
	}
	var cursor provider.Cursor
	if len(run.Cursor) > 0 {
		cursor = run.Cursor
	}
	page, err := p.Mailbox.History(ctx, provider.Window{From: run.From, To: run.To}, cursor)
	if err != nil {
		return false, fmt.Errorf("reading history: %w", err)
	}
	if page.More {
		if err := honest(page, run.Cursor); err != nil {
			return false, err
		}
	}
	err = p.commit(ctx, page, state.Page{Run: run.ID, Revision: run.Revision, Estimated: page.Estimated, Done: !page.More,
		Generations: pos.Generations}, false)
	if reader, ok := power.Of[provider.HistoryReader](p.Mailbox); ok && err == nil && page.More && ahead != nil && ahead() {
		reader.HistoryAhead(provider.Window{From: run.From, To: run.To}, page.Next)
		p.Ahead = true
	}
	return err == nil && (page.More || len(pos.Runs) > 1), err
}

// commit stores a page. Of mail that is listed only nothing but its place is kept, unless it is known already.
func (p *Pass) commit(ctx context.Context, page provider.Page, to state.Page, listed bool) error {
	for i := range page.Items {
		if page.Items[i].ID == "" {
			return errors.New("the mailbox listed a message without an id") // all such would share one row
		}
	}
	to.Rows = Rows(page.Items, p.Hasher, p.ConnectedAt, p.Floor)
	for i := range to.Rows {
		if r := &to.Rows[i]; listed && r.Fate == state.FatePending {
			r.Fate, r.Reason = state.FateUnread, state.SkippedReason
		}
	}
	to.Left, to.Restart, to.Recount, to.Cursor = page.Left, page.Restart, page.Recount, page.Next
	c, err := p.Store.CommitPage(ctx, p.Lease, to)
	if err != nil {
		return err
	}
	if to.Run == 0 {
		p.News += c.Inserted + c.Updated + c.Left
	}
	for i := range page.Items {
		if it := &page.Items[i]; it.Err == nil && it.Envelope.Has != 0 {
			p.Seen(it.ID, it.Envelope)
		}
	}
	return nil
}
