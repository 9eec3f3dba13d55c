package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

// Unheld delivers the emails that no connected mailbox holds, until none is left that can be delivered now. It needs neither mailbox nor lease.
func (d *Deliverer) Unheld(ctx context.Context) error {
	for {
		if n, err := d.save(ctx, state.Nobody); err != nil || n == 0 {
			return err
		}
	}
}

// save delivers one chunk of a mailbox's emails and returns how many it tried.
func (d *Deliverer) save(ctx context.Context, connection int64) (int, error) {
	es, err := d.Store.Undelivered(ctx, d.Lease.Org, connection, d.Now(), d.chunk(saveChunk))
	if err != nil || len(es) == 0 {
		return 0, err
	}
	return d.saveThese(ctx, es)
}

// rescued is how many emails are looked through for those whose content is at hand.
const rescued = 1000

// rescue saves, after a trouble of the mailbox, the emails whose content is in memory: a mailbox that has enough of us for the moment would have to hand
// it out again, at the same price. Where its quota is used up live mail is tried, too: some of it is kept for that. It returns the trouble.
func (d *Deliverer) rescue(ctx context.Context, trouble error) error {
	var outage *OutageError
	if ctx.Err() != nil || errors.Is(trouble, state.ErrStale) || errors.As(trouble, &outage) {
		return trouble
	}
	var limit *provider.RateLimitError
	limited := errors.As(trouble, &limit)
	es, err := d.Store.Undelivered(ctx, d.Lease.Org, d.Lease.Connection, d.Now(), rescued)
	es = slices.DeleteFunc(es, func(e state.Email) bool {
		row, ok := d.items[e.ID]
		return !ok || d.unread(e) != "" && (!limited || row.History || row.Received.IsZero())
	})
	for len(es) > 0 && err == nil {
		n := min(d.chunk(saveChunk), len(es))
		if n, err = d.saveThese(ctx, es[:n]); n == 0 {
			break
		}
		es = es[n:]
	}
	if errors.Is(err, state.ErrStale) {
		return err
	}
	return trouble
}

// saveThese delivers emails, one at least, and returns how many it tried: the first ones.
func (d *Deliverer) saveThese(ctx context.Context, es []state.Email) (tried int, err error) {
	// Those that failed before go first, so that the last of a chunk tells a CRM that is down from mail that it refuses.
	slices.SortStableFunc(es, func(a, b state.Email) int {
		switch {
		case (a.Error == "") == (b.Error == ""):
			return 0
		case a.Error != "":
			return -1
		}
		return 1
	})
	size := 0
	full := map[int64]crm.Email{}
	var ready []state.Email
	var postponed []state.Failure
	var trouble error
	for i, e := range es {
		tried = i + 1
		if err := d.keep(ctx); err != nil {
			return 0, err
		}
		if item := d.unread(e); item != "" && !d.ahead[item] {
			d.prefetch(es[i:])
		}
		if wanted(e) {
			m, err := d.load(ctx, e)
			var one *unloadable
			if errors.As(err, &one) {
				postponed = append(postponed, state.Failure{ID: e.ID, Error: bounded(one.Error()), NextTry: d.Now().Add(backoff(e.Tries))})
				continue
			}
			if trouble = err; err != nil {
				break
			}
			full[e.ID] = m
			size += len(m.Message.Text) + len(m.Message.HTML)
		}
		if ready = append(ready, e); size > chunkBytes {
			break // the others come with the next chunk
		}
	}
	if len(postponed) > 0 {
		if err := d.Store.Failed(ctx, d.Lease.Org, postponed); err != nil {
			return 0, err
		}
	}
	if len(ready) > 0 {
		if err := d.keep(ctx); err != nil {
			return 0, err
		}
		if err := d.Send(ctx, ready, full); err != nil {
			return 0, err
		}
	}
	return tried, trouble
}

// wanted reports whether an email is delivered with its content.
func wanted(e state.Email) bool { return e.Full && len(e.Effective()) > 0 }

// unread returns the message whose content is wanted for an email and not at hand, "" where there is none or it is not known yet.
func (d *Deliverer) unread(e state.Email) provider.ItemID {
	row, ok := d.items[e.ID]
	if !ok || !wanted(e) || state.IsOutbox(row.Item) || d.content[row.Item] != nil {
		return ""
	}
	return row.Item
}

// prefetch tells the mailbox which contents are wanted next, as far as they may be in memory together: those of this chunk, and those that
// were decided for the first time and come with the next ones. Servers spend more on opening a folder than on a hundred mails in it.
func (d *Deliverer) prefetch(es []state.Email) {
	p, ok := power.Of[provider.Prefetcher](d.Mailbox)
	if !ok {
		return
	}
	d.ahead = map[provider.ItemID]bool{}
	var ids []provider.ItemID
	size := int64(0)
	add := func(item provider.ItemID, bytes int64) {
		ids = append(ids, item)
		d.ahead[item] = true
		size += bytes
	}
	for _, e := range es {
		if item := d.unread(e); item != "" && size < aheadBytes {
			add(item, d.items[e.ID].Size)
		}
	}
	for len(d.fresh) > 0 && size < aheadBytes {
		row, ok := d.items[d.fresh[0]]
		d.fresh = d.fresh[1:]
		if ok && !d.ahead[row.Item] && d.content[row.Item] == nil {
			add(row.Item, row.Size)
		}
	}
	p.Prefetch(ids)
}

// prefetchRows tells the mailbox of the rows of a chunk whose headers are not in memory any more: mail that a late parent or a change makes due again.
func (d *Deliverer) prefetchRows(rows []state.Row) {
	p, ok := power.Of[provider.Prefetcher](d.Mailbox)
	if !ok {
		return
	}
	var ids []provider.ItemID
	size := int64(0)
	for _, r := range rows {
		if r.Email != 0 || state.IsOutbox(r.Item) || size >= aheadBytes {
			continue
		}
		if _, ok := d.envelope(r.Item); !ok {
			ids = append(ids, r.Item)
			size += r.Size
		}
	}
	if len(ids) < 2 {
		return
	}
	d.ahead = nil // what was asked for before is asked for again when it is wanted
	p.Prefetch(ids)
}

// Send hands emails to the CRM: those in full with content, the others as updates.
func (d *Deliverer) Send(ctx context.Context, es []state.Email, full map[int64]crm.Email) error {
	ds := make([]state.Delivery, len(es))
	for i, e := range es {
		ds[i] = state.Delivery{ID: e.ID, Revision: e.Revision, Empty: len(e.Effective()) == 0}
	}
	current, err := d.Store.Attempt(ctx, d.Lease, ds)
	if err != nil {
		return err
	}
	still := map[int64]bool{}
	for _, id := range current {
		still[id] = true
	}
	var saves []crm.Email
	var updates, removals []crm.EmailState
	by := map[string]int{}
	for i, e := range es {
		if !still[e.ID] {
			continue
		}
		st := State(e)
		by[st.ID] = i
		f, ok := full[e.ID]
		switch {
		case ok:
			f.EmailState = st
			saves = append(saves, f)
		case len(st.Holders) == 0 && d.Remover != nil:
			removals = append(removals, st)
		default:
			updates = append(updates, st)
		}
	}
	var r results
	r.add(each(ctx, saves, func(e crm.Email) string { return e.ID }, func(b []crm.Email) error {
		return d.CRM.SaveEmails(ctx, d.Lease.Org, b)
	}))
	ofState := func(e crm.EmailState) string { return e.ID }
	if r.outage == nil {
		r.add(each(ctx, updates, ofState, func(b []crm.EmailState) error { return d.CRM.UpdateEmails(ctx, d.Lease.Org, b) }))
	}
	if r.outage == nil {
		r.add(each(ctx, removals, ofState, func(b []crm.EmailState) error { return d.Remover.RemoveEmails(ctx, d.Lease.Org, b) }))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.slow {
		d.Shrink, d.Slow = min(d.Shrink+1, 6), true
	}
	failed := r.failed
	if r.outage == nil && len(failed) > 0 && len(failed) == len(by) && !r.named {
		// All of few: it may be them, or all writing. A CRM that doesn't even answer a question is down.
		if _, err := d.CRM.Find(ctx, d.Lease.Org, linker.Query{}); err != nil {
			r.outage = err
		}
	}
	if errors.Is(r.outage, state.ErrStale) {
		return r.outage
	}
	if r.outage != nil {
		return d.outage(ctx, es, by, r)
	}
	var done []state.Delivery
	var fs []state.Failure
	for id, i := range by {
		ferr, bad := failed[id]
		if bad && ferr == nil {
			ferr = errors.New("refused without a reason")
		}
		_, wasFull := full[es[i].ID]
		switch {
		case !bad, errors.Is(ferr, crm.ErrUnknownEmail) && ds[i].Empty:
			// An email that the host never had needs no emptying.
			done = append(done, ds[i])
		case errors.Is(ferr, crm.ErrUnknownEmail) && !wasFull:
			fs = append(fs, state.Failure{ID: es[i].ID, Error: "saved in full next", Unknown: true})
		default:
			wait := backoff(es[i].Tries)
			if !r.named && len(failed) == len(by) {
				wait = min(wait, 15*time.Minute)
			}
			fs = append(fs, state.Failure{ID: es[i].ID, Error: "the CRM refused it: " + bounded(ferr.Error()), NextTry: d.Now().Add(wait)})
		}
	}
	if err := d.Store.Done(ctx, d.Lease.Org, done); err != nil {
		return err
	}
	if len(fs) > 0 {
		if err := d.Store.Failed(ctx, d.Lease.Org, fs); err != nil {
			return err
		}
	}
	if d.Event != nil {
		for _, s := range saves {
			if failed[s.ID] == nil {
				d.Event(s)
			}
		}
	}
	return nil
}

func bounded(s string) string { return strings.ToValidUTF8(s[:min(len(s), 300)], "") }

// results gathers what became of the calls of one chunk.
type results struct {
	failed map[string]error // by id
	done   []string         // ids that certainly took effect before an outage was met
	named  bool             // a call named the ids that failed
	slow   bool             // a call for several took too long
	outage error
}

func (r *results) add(o results) {
	if r.failed == nil {
		r.failed = map[string]error{}
	}
	for id, err := range o.failed {
		r.failed[id] = err
	}
	r.done = append(r.done, o.done...)
	r.named, r.slow = r.named || o.named, r.slow || o.slow
	r.outage = o.outage
}

// each calls f with all of them. Where it fails without naming ids, each is tried alone: one refused email must not block
// the others. When the first three and the last fail it is an outage, and the rest is not tried.
func each[T any](ctx context.Context, all []T, id func(T) string, f func([]T) error) (r results) {
	r.failed = map[string]error{}
	if len(all) == 0 {
		return r
	}
	err := f(all)
	var named *crm.EmailsError
	switch {
	case errors.Is(err, state.ErrStale):
		r.outage = err // the lease was lost while the CRM was at work
		return r
	case err == nil:
		for _, one := range all {
			r.done = append(r.done, id(one))
		}
		return r
	case errors.As(err, &named) && names(named, all, id):
		r.named = true
		for k, v := range named.Failed {
			r.failed[k] = v
		}
		return r
	case len(all) == 1:
		r.failed[id(all[0])] = err
		return r
	}
	r.slow = errors.Is(err, context.DeadlineExceeded)
	mute := 0 // those without an answer: "unknown" is one
	try := func(one T) bool {
		err := f([]T{one})
		if err == nil {
			r.done = append(r.done, id(one))
			return true
		}
		if errors.As(err, &named) && named.Failed[id(one)] != nil {
			err = named.Failed[id(one)]
		}
		if !errors.Is(err, crm.ErrUnknownEmail) {
			mute++
		}
		r.failed[id(one)] = err
		return false
	}
	last := len(all)
	for i, one := range all {
		if i == last {
			break
		}
		if ctx.Err() != nil {
			r.outage = ctx.Err()
			return r
		}
		if !try(one) && i == 2 && mute == 3 {
			if last--; last > i && try(all[last]) {
				continue // the CRM works, and these it refuses
			}
			r.outage = err
			return r
		}
	}
	return r
}

// names says whether an error names an email of the call. One that names none is no proof that any took effect.
func names[T any](e *crm.EmailsError, all []T, id func(T) string) bool {
	return slices.ContainsFunc(all, func(one T) bool { _, ok := e.Failed[id(one)]; return ok })
}

// outage records what took effect in spite of it, and puts the rest of the chunk behind other mail: should it have been these emails
// and not the CRM, they hold up nobody. Nothing is held against them.
func (d *Deliverer) outage(ctx context.Context, es []state.Email, by map[string]int, r results) error {
	var done []state.Delivery
	for _, id := range r.done {
		e := es[by[id]]
		done = append(done, state.Delivery{ID: e.ID, Revision: e.Revision, Empty: len(e.Effective()) == 0})
	}
	var fs []state.Failure
	for id, i := range by {
		if !slices.Contains(r.done, id) {
			fs = append(fs, state.Failure{ID: es[i].ID, Error: "the CRM does not answer", NextTry: d.Now(), Outage: true})
		}
	}
	if err := d.Store.Done(ctx, d.Lease.Org, done); err != nil {
		return err
	}
	if err := d.Store.Failed(ctx, d.Lease.Org, fs); err != nil {
		return err
	}
	return &OutageError{fmt.Errorf("saving emails: %w", r.outage)}
}

// State is what the host is told of an email besides its content. One without links is told without holders too: it is removed where that can be.
func State(e state.Email) crm.EmailState {
	s := crm.EmailState{ID: strconv.FormatInt(e.ID, 10), Revision: e.Revision, HostID: e.HostID, Links: e.Effective()}
	for _, h := range e.Holders {
		if len(s.Links) > 0 {
			s.Holders = append(s.Holders, strconv.FormatInt(h, 10))
		}
	}
	if e.Survivor != 0 {
		s.Survivor = strconv.FormatInt(e.Survivor, 10)
	}
	return s
}

// unloadable is the trouble of one email: it is postponed and holds back no other.
type unloadable struct{ err error }

func (e *unloadable) Error() string { return e.err.Error() }

// copies returns the rows of this mailbox that are an email besides the one at hand, those in a folder first. The Message-ID may be another than
// ours, as services replace it when they send.
func (d *Deliverer) copies(ctx context.Context, e state.Email, hand []state.Row) ([]state.Row, error) {
	var in, left []state.Row
	seen := map[int64]bool{}
	for _, r := range hand {
		seen[r.ID] = true
	}
	for _, h := range e.Aliases {
		rows, _, err := d.Store.Lookup(ctx, d.Lease.Org, h)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			switch {
			case state.IsOutbox(r.Item) || r.Email != e.ID || r.Connection != d.Lease.Connection || seen[r.ID]:
			case r.Left:
				left = append(left, r)
			default:
				in = append(in, r)
			}
			seen[r.ID] = true
		}
	}
	return append(in, left...), nil
}

// load reads an email's content from this mailbox, or from the sealed envelope where the mailbox no longer has it (rule 4).
func (d *Deliverer) load(ctx context.Context, e state.Email) (crm.Email, error) {
	// Nearly always the row that was just settled will do: only where it doesn't are the others looked up.
	var rows []state.Row
	if row, ok := d.items[e.ID]; ok && !state.IsOutbox(row.Item) {
		rows = append(rows, row)
	}
	looked := false
	delete(d.items, e.ID) // it is delivered once, as a rule
	var out crm.Email
	reason := "the mailbox no longer has it"
	for i := 0; ; i++ {
		if i == len(rows) && !looked {
			more, err := d.copies(ctx, e, rows)
			if err != nil {
				return crm.Email{}, err
			}
			rows, looked = append(rows, more...), true
		}
		if i == len(rows) || d.Mailbox == nil {
			break
		}
		row := rows[i]
		it := crm.Email{Outbound: row.Sent, History: row.History, When: row.Received}
		if i == 0 {
			out = it
		}
		m, err := d.fetch(ctx, row)
		switch {
		case errors.Is(err, provider.ErrGone):
			continue // moved, perhaps: another row may have its new id
		case err != nil:
			return out, err
		case m == nil && e.Tries < 5:
			return out, &unloadable{errors.New("its content could not be read")}
		case m == nil:
			reason = "its content could not be read"
			continue
		}
		it.Message = *m
		d.forget(row.Item)
		it.Message.Envelope = d.place(m.Envelope, row)
		if row.Received.IsZero() {
			// The listing told no time; now it is known.
			it.History = it.Message.When().Before(d.ConnectedAt)
		}
		// Whichever mailbox delivers it, of several copies one says when it came and who wrote it.
		if env, err := d.Keys.OpenEnvelope(d.Lease.Org, string(e.Fingerprint), e.Envelope); err == nil {
			it.Message.Received, it.Message.Sent = env.Received, env.Sent
		}
		it.When, it.Outbound = it.Message.When(), it.Message.Sent
		return it, nil
	}
	if sent, err := d.Store.OutboxOf(ctx, d.Lease.Org, e.ID); err == nil && len(rows) == 0 {
		// We sent it, and no mailbox has shown its copy yet.
		out.Message = *message.Parse(sent.Raw)
		out.Message.Sent, out.Message.Received = true, sent.Created
		out.Outbound, out.When = true, sent.Created
		return out, nil
	} else if err != nil && !errors.Is(err, state.ErrNotFound) {
		return out, err
	}
	env, err := d.Keys.OpenEnvelope(d.Lease.Org, string(e.Fingerprint), e.Envelope)
	if err != nil {
		return out, &unloadable{err}
	}
	out.Message.Envelope = env
	if out.When.IsZero() {
		out.History = env.When().Before(d.ConnectedAt)
	}
	out.When, out.Outbound = env.When(), env.Sent
	out.Partial = reason
	return out, nil
}
