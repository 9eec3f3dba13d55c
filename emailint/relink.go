package emailint

import (
	"context"
	"errors"
)

// RecordsChanged tells that records of the CRM changed: the mail they concern is decided again. It is durable when it returns, and cheap
// enough for a request: the mail is found and decided by Run, or by Relink and Sync. Tell it after the change is committed; twice does no harm.
// An error says that nothing was stored.
func (e *Engine) RecordsChanged(ctx context.Context, org string, changes ...RecordChange) error {
	return errors.New("emailint: RecordsChanged is not there yet")
}

// Relink works once on what changes left to do: it finds the mail that record changes concern, goes on with erasures, and delivers emails that no
// connected mailbox holds. It returns when nothing of it is left or can be done now. Run does it by itself; a host with a queue of its own calls it.
// Several may at the same time.
func (e *Engine) Relink(ctx context.Context) error {
	return errors.New("emailint: Relink is not there yet")
}
