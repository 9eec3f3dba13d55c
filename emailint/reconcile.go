package emailint

import (
	"context"
	"fmt"

	"github.com/intellicon/email-integration/emailint/internal/reconcile"
	"github.com/intellicon/email-integration/provider"
)

// Deletion is what follows when a mail was deleted from its mailbox for good.
type Deletion string

const (
	KeepDeleted Deletion = "keep" // the CRM keeps it
	// ReleaseDeleted: the mailbox no longer holds it. Without a holder it leaves the CRM, by Remover or a save without links.
	ReleaseDeleted Deletion = "release"
)

// Reconciliation says how a mailbox and its ledger compare.
type Reconciliation = reconcile.Report

// Reconcile runs a pass, lists what the mailbox holds in the window, and compares it with the ledger: what has no row gets one
// and is delivered, what is no longer there has left, and deletions are confirmed. The window begins no earlier than what was
// to be imported; a zero window is all of that. It holds the mailbox's lease; state.ErrNoneDue when another worker has it, ErrPaused while a Pause
// stands.
//
// A CRM that does not answer is an error beside a report whose Delivered is short.
func (e *Engine) Reconcile(ctx context.Context, org string, connection int64, w provider.Window) (Reconciliation, error) {
	var rep Reconciliation
	l, err := e.claim(ctx, org, connection)
	if err != nil {
		return rep, fmt.Errorf("emailint: reconciling connection %d: %w", connection, err)
	}
	var box provider.Mailbox
	defer e.closeBox(&box)
	err = e.work(ctx, l, &box, func(ctx context.Context, v *visit) error {
		if err := v.pass(ctx); err != nil && v.outage == nil {
			return err
		}
		if w.From.Before(v.reader.Floor) {
			w.From = v.reader.Floor
		}
		rep.From, rep.To = w.From, w.To
		there, err := v.recon.Repair(ctx, w, &rep)
		if err != nil {
			return err
		}
		if err := v.each(ctx); err != nil {
			return err
		}
		// What left in this very visit is confirmed in the next one: a move may be half done.
		if err := v.confirm(ctx, 20*confirmed, true); err != nil {
			return err
		}
		rep.Gone = v.gone
		if err := v.recon.Tally(ctx, there, &rep); err != nil || v.outage == nil {
			return err
		}
		return v.outage
	})
	return rep, err
}
