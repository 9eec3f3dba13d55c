package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/panics"
	"github.com/intellicon/email-integration/linker"
)

var (
	_ crm.Store         = (*Guard)(nil)
	_ crm.Remover       = (*Guard)(nil)
	_ crm.ChangeLister  = (*Guard)(nil)
	_ crm.AddressLister = (*Guard)(nil)
)

// Guard stands between a worker and the host's store: a panic becomes an error, a call has a limit of time, and the lease is
// kept while it runs, so that a slow CRM doesn't make two workers do the same.
type Guard struct {
	Store   crm.Store
	Remover crm.Remover       // may be nil, and RemoveEmails is not called then
	Lister  crm.ChangeLister  // may be nil, and RecordChanges is not called then
	People  crm.AddressLister // may be nil, and Addresses is not called then
	Limit   time.Duration
	Beat    time.Duration               // between two renewals
	Renew   func(context.Context) error // of the lease; nil: none is held
	Log     *slog.Logger

	renewed time.Time // by the guard; several calls that are each too short for a beat may be long together
}

// call runs f. A store that does not end when its context does is waited for, with the lease kept: what it is doing
// can't be undone by doing it elsewhere at the same time.
func (g *Guard) call(ctx context.Context, what string, f func(context.Context) error) (err error) {
	limited, cancel := context.WithTimeout(ctx, g.Limit)
	defer cancel()
	var lost error
	over := false
	defer func() { // when no renewal is under way any more
		if over && err != nil && ctx.Err() == nil && lost == nil {
			err = fmt.Errorf("%s took longer than %s: %w (%w)", what, g.Limit, context.DeadlineExceeded, err)
		}
	}()
	if g.Renew != nil {
		if time.Since(g.renewed) > g.Beat {
			if err := g.Renew(ctx); err != nil {
				return err
			}
			g.renewed = time.Now()
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		wg.Go(func() {
			tick := time.NewTicker(g.Beat)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					if e := g.Renew(context.WithoutCancel(ctx)); errors.Is(e, state.ErrStale) {
						lost = e
						cancel()
						return
					}
				}
			}
		})
		defer func() {
			close(stop)
			wg.Wait()
			if lost != nil {
				err = lost
			}
		}()
	}
	err = panics.Caught(ctx, g.Log, what, func() error { return f(limited) })
	over = limited.Err() != nil
	return err
}

// Find implements crm.Store.
func (g *Guard) Find(ctx context.Context, org string, q linker.Query) (d linker.Directory, err error) {
	err = g.call(ctx, "Find", func(ctx context.Context) error { d, err = g.Store.Find(ctx, org, q); return err })
	return d, err
}

// CreateContacts implements crm.Store.
func (g *Guard) CreateContacts(ctx context.Context, org string, cs []crm.NewContact) (rs []linker.Record, err error) {
	err = g.call(ctx, "CreateContacts", func(ctx context.Context) error { rs, err = g.Store.CreateContacts(ctx, org, cs); return err })
	return rs, err
}

// SaveEmails implements crm.Store.
func (g *Guard) SaveEmails(ctx context.Context, org string, es []crm.Email) error {
	return g.call(ctx, "SaveEmails", func(ctx context.Context) error { return g.Store.SaveEmails(ctx, org, es) })
}

// UpdateEmails implements crm.Store.
func (g *Guard) UpdateEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return g.call(ctx, "UpdateEmails", func(ctx context.Context) error { return g.Store.UpdateEmails(ctx, org, es) })
}

// RemoveEmails implements crm.Remover.
func (g *Guard) RemoveEmails(ctx context.Context, org string, es []crm.EmailState) error {
	return g.call(ctx, "RemoveEmails", func(ctx context.Context) error { return g.Remover.RemoveEmails(ctx, org, es) })
}

// RecordChanges implements crm.ChangeLister.
func (g *Guard) RecordChanges(ctx context.Context, org, since string) (cs []crm.RecordChange, next string, more bool, err error) {
	err = g.call(ctx, "RecordChanges", func(ctx context.Context) error {
		cs, next, more, err = g.Lister.RecordChanges(ctx, org, since)
		return err
	})
	return cs, next, more, err
}

// Addresses implements crm.AddressLister.
func (g *Guard) Addresses(ctx context.Context, org, after string, limit int) (who []string, next string, more bool, err error) {
	err = g.call(ctx, "Addresses", func(ctx context.Context) error {
		who, next, more, err = g.People.Addresses(ctx, org, after, limit)
		return err
	})
	return who, next, more, err
}
