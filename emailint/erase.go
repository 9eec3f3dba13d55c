package emailint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Erasure is the receipt of an erased mailbox.
type Erasure struct {
	Connection  int64
	Begun, Done time.Time // Done is zero while there is something left to do
	Items       int       // messages whose record was erased
	Released    int       // emails that other mailboxes hold as well: they stay, without this holder
	Removed     int       // emails that nobody holds any more, and that the CRM acknowledged as removed (or as saved without links)
	Outstanding int       // those that the CRM has not acknowledged yet
	// Kept says that the CRM has no Remover: it was told that the emails have neither links nor holders, and has their content still.
	Kept bool
	// Access says what became of an access by OAuth, in the call that begins: Revoked and Kept as of Disconnect. Otherwise it is zero.
	Access Disconnection
}

// erasePage is how many records are erased in one transaction.
const erasePage = 200

// Erase ends a connection and erases what the engine remembers of its mailbox: at once nobody works on it any more and its credential is
// gone, and an access by OAuth is ended at the service by the same rule as by Disconnect; then the records of its messages go, page by page, and the CRM is told of every email that nobody holds any more. It returns when all of that is
// done, or with an error and the receipt so far: what is left is done by Run or Relink, or by calling it again. Emails that other mailboxes hold are
// told by their next passes. What was to be sent from the mailbox is not sent any more. The same mailbox may be connected anew at any time.
func (e *Engine) Erase(ctx context.Context, org string, connection int64) (Erasure, error) {
	access, err := e.partBefore(ctx, org, connection)
	var r state.Erasure
	if err == nil {
		r, err = e.erase(ctx, org, connection)
	}
	e.tokens.Forget(connection)
	e.relinkSoon()
	e.hurry()
	if err == nil && r.Outstanding > 0 {
		err = fmt.Errorf("the CRM has not acknowledged yet that %d emails are gone", r.Outstanding)
	}
	if err != nil {
		err = fmt.Errorf("emailint: erasing connection %d: %w", connection, err)
	}
	out := e.receipt(r)
	out.Connection, out.Access = connection, access
	return out, err
}

// partBefore ends what the service of a mailbox does by a consent, before it is erased with the credential: by the rule of Disconnect. A mailbox with a
// password has nothing to end. Should we die before the erasure is begun the mailbox is disconnected, and Erase is to be called again.
func (e *Engine) partBefore(ctx context.Context, org string, connection int64) (out Disconnection, err error) {
	c, err := e.o.State.Connection(ctx, org, connection)
	if errors.Is(err, state.ErrNotFound) {
		return out, nil // only the CRM is still to be told, or nothing
	}
	if _, ok := power.Of[provider.Authorizer](e.provs[c.Provider]); err != nil || !ok || c.State == state.Erasing {
		return out, err
	}
	out.Connection = connection
	if len(c.Credential) == 0 { // the user is told what is not known
		_, out.Kept = e.end(ctx, c, false)
		return out, nil
	}
	return out, e.part(ctx, c, "it is to be erased", &out)
}

// Erasure returns the receipt of an erasure that was begun; state.ErrNotFound where there was none.
func (e *Engine) Erasure(ctx context.Context, org string, connection int64) (Erasure, error) {
	r, err := e.o.State.Erasure(ctx, org, connection)
	if err != nil {
		return Erasure{}, fmt.Errorf("emailint: the erasure of connection %d: %w", connection, err)
	}
	return e.receipt(r), nil
}

func (e *Engine) receipt(r state.Erasure) Erasure {
	_, removes := power.Of[Remover](e.o.CRM)
	return Erasure{Connection: r.Connection, Begun: r.Begun, Done: r.Done, Items: r.Items, Released: r.Released, Removed: r.Removed,
		Outstanding: r.Outstanding, Kept: !removes}
}

// erase erases page after page and delivers.
func (e *Engine) erase(ctx context.Context, org string, connection int64) (r state.Erasure, err error) {
	var own state.Change
	c, err := e.o.State.Connection(ctx, org, connection)
	switch {
	case err == nil:
		own = e.own(c)
	case !errors.Is(err, state.ErrNotFound): // it is, where only the CRM is still to be told
		return r, err
	}
	for !r.Erased {
		next, err := e.o.State.Erase(ctx, org, connection, e.o.Now(), own, erasePage)
		if err != nil {
			return r, err
		}
		r = next
	}
	if r.Outstanding == 0 {
		return r, nil
	}
	if err := e.unheld(ctx, org); err != nil {
		// Some may have been told.
		if now, nerr := e.o.State.Erasure(context.WithoutCancel(ctx), org, connection); nerr == nil {
			r = now
		}
		return r, err
	}
	return e.o.State.Erase(ctx, org, connection, e.o.Now(), own, erasePage)
}

// erasures goes on with all that were begun and are not done.
func (e *Engine) erasures(ctx context.Context) error {
	open, err := e.o.State.Erasures(ctx)
	if err != nil {
		return fmt.Errorf("emailint: going on with erasures: %w", err)
	}
	var errs []error
	for _, r := range open {
		if ctx.Err() != nil {
			break
		}
		if r.Erased && e.health.down(r.Org, e.o.Now()) {
			continue
		}
		if _, err := e.erase(ctx, r.Org, r.Connection); err != nil {
			errs = append(errs, fmt.Errorf("emailint: erasing connection %d: %w", r.Connection, err))
		}
	}
	return errors.Join(errs...)
}

// unheld delivers the emails of an organisation that no connected mailbox holds.
func (e *Engine) unheld(ctx context.Context, org string) error {
	d, err := e.deliverer(ctx, state.Lease{Org: org}, nil, nil)
	if err != nil {
		return err
	}
	d.Shrink = e.health.get(org).shrink
	err = d.Unheld(ctx)
	switch {
	case errors.As(err, new(*deliver.OutageError)):
		e.health.failed(org, e.o.Now())
	case err == nil:
		e.health.works(org, d.Shrink, d.Slow)
	}
	return err
}

// own is the change that mail to and from a mailbox's addresses is decided again, as they are own people's now, or no longer.
func (e *Engine) own(cs ...Connection) (out state.Change) {
	seen := map[message.Key]bool{}
	for _, c := range cs {
		h := e.hasher(c.Org)
		for _, a := range append([]string{c.Address}, c.Aliases...) {
			k := message.AddressKey(a)
			if k == "" {
				continue
			}
			for _, f := range linker.Forms(k) {
				if !seen[f] {
					seen[f] = true
					out.Participants = append(out.Participants, state.Hash(h.Key(f)))
				}
			}
		}
	}
	return out
}
