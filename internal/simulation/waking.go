package simulation

import (
	"errors"

	"github.com/intellicon/email-integration/emailint/state"
)

// At rest every mailbox was synced whether it was woken or not, so a wake that was lost is seen before that: of a mailbox whose last pass ended
// well, and on which nobody works, no mail is due that no wake announces.

// ended notes how a pass of a mailbox ended. Another one at it is no end.
func (w *world) ended(b *box, err error, died bool) {
	if !errors.Is(err, state.ErrNoneDue) {
		w.passed[b.Conn] = err == nil && !died
	}
}

// awake looks for mail of which nobody is told.
func (w *world) awake() {
	conns, err := w.store.Connections(w.ctx, org)
	if err != nil {
		panic(err)
	}
	for _, c := range conns {
		if c.State != state.Connected || c.Worker != "" || c.Wake > c.Served || !w.passed[c.ID] {
			continue
		}
		rows, err := w.store.Items(w.ctx, org, c.ID, 0, 10000)
		if err != nil {
			panic(err)
		}
		for _, r := range rows {
			if r.Due > r.Settled && r.NextTry.IsZero() {
				w.violate("%s: connection %d (%s) has wake %d and served %d, and the row of %s (%s) is due", promiseWake, c.ID, c.Address, c.Wake, c.Served, r.Item, r.Fate)
				break
			}
		}
	}
}
