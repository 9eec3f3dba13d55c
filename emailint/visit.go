package emailint

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/internal/deliver"
	"github.com/intellicon/email-integration/emailint/internal/intent"
	"github.com/intellicon/email-integration/emailint/internal/pass"
	"github.com/intellicon/email-integration/emailint/internal/reconcile"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// visit is one worker's time with one mailbox: the rooms, set up for one lease. Not for concurrent use.
type visit struct {
	engine  *Engine
	lease   *state.Lease
	reader  *pass.Pass
	deliver *deliver.Deliverer
	intents *intent.Runner
	recon   *reconcile.Reconciler
	backOff bool                 // an organisation whose CRM is known to be down is not asked
	outage  *deliver.OutageError // met on the way: reading goes on, delivery waits
	unasked *deliver.OutageError // the CRM does not say whose mail is read first
	gone    int                  // deletions confirmed

	read      bool      // changes were read to the end, and nothing went wrong since but in what is older
	looked    time.Time // when changes were looked for last
	pages     int       // of history since then
	until     time.Time // when others have their turn; zero: never
	uncounted error     // why a folder that lost mail could not be compared
	settings  Settings  // as they were when the last chunk was decided
}

// confirmed is how many deletions a pass confirms; each costs a search of the whole mailbox.
const confirmed = 25

func (e *Engine) visit(ctx context.Context, l state.Lease, c Connection, box provider.Mailbox, s Settings) (*visit, error) {
	v := &visit{engine: e, lease: &l, settings: s}
	renew := func(ctx context.Context) error {
		nl, err := e.o.State.Renew(ctx, l, e.o.Now(), e.o.Lease)
		if err == nil {
			l = nl
		}
		return err
	}
	d, err := e.deliverer(ctx, l, box, renew)
	if err != nil {
		return nil, err
	}
	d.ConnectedAt = c.ConnectedAt
	d.Plan = func(fs []provider.Folder, m message.Envelope, links []linker.Link) []state.IntentPlan {
		return plan(v.settings.Inbox, c.User, fs, m, links)
	}
	// A rule that is switched on in the middle of a pass acts on what comes after it, and one that is switched off no more.
	d.Reload = func(ctx context.Context) (linker.Rules, int64, error) {
		rules, settings, version, err := e.rules(ctx, l.Org)
		if err == nil {
			v.settings = settings
		}
		return rules, version, err
	}
	v.deliver = d
	v.reader = &pass.Pass{Store: e.o.State, Mailbox: box, Lease: l, Hasher: d.Hasher, ConnectedAt: c.ConnectedAt,
		Import: window(s.Sync.ImportDays, c.ConnectedAt), Seen: d.Know, Renew: renew}
	v.reader.People = e.peopleFirst(l.Org, box, s.Sync, func() linker.Rules { return d.Rules }, v.crmDown, renew)
	v.intents = &intent.Runner{Store: e.o.State, Mailbox: box, Lease: l, Keys: e.keys, Now: e.o.Now, Renew: renew}
	v.intents.Wanted = func(ctx context.Context, i state.Intent) (bool, error) {
		s, _, err := e.settings(ctx, l.Org)
		return wanted(s.Inbox, i), err
	}
	v.intents.Namesake = func(ctx context.Context, messageID string, m state.Email) (bool, error) {
		rows, _, err := e.o.State.Lookup(ctx, l.Org, state.Hash(d.Hasher.MessageID(messageID)))
		return slices.ContainsFunc(rows, func(r state.Row) bool {
			return r.Connection == l.Connection && r.Fingerprint != "" && r.Fingerprint != m.Fingerprint
		}), err
	}
	v.recon = &reconcile.Reconciler{Store: e.o.State, Mailbox: box, Lease: l, Hasher: d.Hasher, Keys: e.keys,
		ConnectedAt: c.ConnectedAt, Release: s.OnDelete == ReleaseDeleted, Now: e.o.Now, Renew: renew}
	return v, nil
}

// each is done after every step of reading: what is due is delivered, and what the rules of the inbox want is done.
func (v *visit) each(ctx context.Context) error { return v.then(ctx, nil) }

// act does what the rules of the inbox want, unless the state is another deployment's.
func (v *visit) act(ctx context.Context) error {
	if err := v.engine.observing(ctx); err != nil {
		if errors.Is(err, ErrObserving) {
			return nil
		}
		return err
	}
	return v.intents.Run(ctx)
}

// crmDown returns why the CRM is not asked: in this visit it did not answer, or a neighbour found so and it is not time yet.
func (v *visit) crmDown() error {
	if v.outage != nil {
		return v.outage
	}
	if v.backOff && v.engine.health.down(v.lease.Org, v.engine.o.Now()) {
		return &deliver.OutageError{Err: errors.New("it did not a moment ago")}
	}
	return nil
}

// drain delivers what is due. A CRM that does not answer holds up neither the cursor nor history. Between two pages of changes it is
// all that is done: a mail that was moved may have left one folder there and not have come to the other, and no rule acts on that.
func (v *visit) drain(ctx context.Context) error {
	e := v.engine
	if err := v.crmDown(); err != nil && v.outage == nil {
		errors.As(err, &v.outage)
	}
	v.deliver.Floor, v.recon.Floor = v.reader.Floor, v.reader.Floor
	if v.outage == nil {
		v.deliver.Shrink, v.deliver.Slow = e.health.get(v.lease.Org).shrink, false
		err := v.deliver.Drain(ctx)
		switch {
		case errors.Is(err, state.ErrStale), ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case errors.As(err, &v.outage):
			e.health.failed(v.lease.Org, e.o.Now())
		case err != nil:
			return err
		default:
			e.health.works(v.lease.Org, v.deliver.Shrink, v.deliver.Slow)
		}
	}
	if e.o.Progress != nil {
		e.o.Progress(v.lease.Org, v.lease.Connection)
	}
	return nil
}

// pass reads a mailbox to the end and delivers; where only sent mail is due, what is new, and sent mail is delivered. Live changes go first, also between pages of history: that is how history
// yields to a wake.
func (v *visit) pass(ctx context.Context) error {
	if err := v.engine.pull(ctx, v.lease.Org); err != nil && !errors.As(err, &v.outage) {
		return err
	}
	if v.lease.SentOnly {
		err := v.reader.Live(ctx, v.between)
		if err == nil {
			err = v.drain(ctx)
		}
		if err == nil && v.outage != nil {
			err = v.outage
		}
		return err
	}
	for more := true; more; {
		look := !v.reader.Ahead && v.lookDue()
		if look {
			v.looked, v.pages = v.engine.o.Now(), 0
			if err := v.live(ctx); err != nil {
				return err
			}
		}
		var err error
		v.pages++
		if more, err = v.reader.HistoryPage(ctx, func() bool { return !v.lookDue() }); err != nil {
			// A CRM that doesn't say whose mail is to be read first holds up that, and no live mail: it may be this question alone that it can't answer.
			if ctx.Err() != nil || !errors.As(err, &v.unasked) {
				return err
			}
		}
		// Rules of the inbox act once after a look, and a pass with history ends with one.
		switch {
		case look:
			err = v.each(ctx)
		case more:
			err = v.drain(ctx)
		default:
			err = v.live(ctx)
		}
		if err != nil {
			return err
		}
		if more && v.over() {
			return errTurn
		}
	}
	err := v.confirm(ctx, confirmed, false)
	if err == nil && v.outage != nil {
		err = v.outage
	}
	if err == nil && v.unasked != nil {
		err = v.unasked
	}
	if err == nil {
		err = v.uncounted
	}
	return err
}

// While history is read, changes are looked for when so much time has passed or so many pages: a look costs a server as much as opening every
// folder, and pages may be quick.
const (
	lookEvery  = time.Second
	pagesALook = 5
)

// lookDue reports whether changes are to be looked for before another page of history.
func (v *visit) lookDue() bool {
	return v.looked.IsZero() || v.pages >= pagesALook || v.engine.o.Now().Sub(v.looked) >= lookEvery
}

// live reads what is new, delivers it, and compares the folders that lost mail.
func (v *visit) live(ctx context.Context) error {
	v.read = false
	if err := v.reader.Live(ctx, v.between); err != nil {
		return err
	}
	v.read = true
	// What was read is delivered whatever a recount meets, and a folder that can't be listed holds up no history. Rules of the inbox act
	// only then: an archive without an answer may have been made, and its owner have brought the mail back since.
	return v.then(ctx, v.recount)
}

// then delivers what is due and does what the rules of the inbox want, these also where older mail has to wait for its quota.
func (v *visit) then(ctx context.Context, before func(context.Context) error) error {
	err := v.drain(ctx)
	var limit *provider.RateLimitError
	if err != nil && !(errors.As(err, &limit) && limit.Own) {
		return err
	}
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	if err := v.act(ctx); err != nil {
		return err
	}
	return err
}

// over reports whether others have their turn.
func (v *visit) over() bool { return !v.until.IsZero() && v.engine.o.Now().After(v.until) }

// between two pages of changes what was read is delivered.
func (v *visit) between(ctx context.Context) error {
	err := v.drain(ctx)
	if err == nil && v.over() {
		err = errTurn
	}
	return err
}

// recount compares the folders that lost mail. A folder that can't be listed is told at the end of the pass, and counted in a later one.
func (v *visit) recount(ctx context.Context) error {
	if v.uncounted != nil {
		return nil
	}
	err := v.recon.Recounts(ctx)
	var limit *provider.RateLimitError
	var action *provider.NeedsAction
	if ctx.Err() != nil || errors.Is(err, state.ErrStale) || errors.As(err, &limit) || errors.As(err, &action) {
		return err
	}
	v.uncounted = err
	return nil
}

// confirm takes the second step of deletions, and delivers what follows.
func (v *visit) confirm(ctx context.Context, limit int, early bool) error {
	n, err := v.recon.Confirm(ctx, limit, early)
	v.gone += n
	if err == nil && n > 0 {
		err = v.each(ctx)
	}
	return err
}

// deliverer sets up delivery. Without a lease renew is nil.
func (e *Engine) deliverer(ctx context.Context, l state.Lease, box provider.Mailbox, renew func(context.Context) error) (*deliver.Deliverer, error) {
	reload := func(ctx context.Context) (linker.Rules, int64, error) {
		rules, _, version, err := e.rules(ctx, l.Org)
		return rules, version, err
	}
	rules, version, err := reload(ctx)
	if err != nil {
		return nil, err
	}
	remover, _ := power.Of[Remover](e.o.CRM)
	host := &deliver.Guard{Store: e.o.CRM, Remover: remover, Limit: e.o.CRMTimeout, Beat: e.o.Lease / 3, Renew: renew, Log: e.o.Logger}
	if renew == nil {
		renew = func(context.Context) error { return nil }
	}
	d := &deliver.Deliverer{Store: e.o.State, CRM: host, Mailbox: box, Lease: l, Hasher: e.hasher(l.Org), Keys: e.keys,
		Rules: rules, Version: version, Reload: reload, Now: e.o.Now, Renew: renew,
		Beat: e.o.Lease / 6}
	if remover != nil {
		d.Remover = host
	}
	if e.o.Saved != nil {
		d.Event = func(m Email) { e.o.Saved(l.Org, m) }
	}
	return d, nil
}
