// Package deliver turns pending rows into decisions and decisions into the host's records: find, decide, create contacts,
// settle, save. It is ledger first, CRM second: whatever fails here leaves rows due, and holds up no cursor.
package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/internal/pass"
	"github.com/intellicon/email-integration/emailint/internal/seal"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

const (
	chunkRows  = 200
	chunkBytes = 16 << 20
	saveChunk  = 50
)

// Store is the part of the state that delivery needs.
type Store interface {
	Pending(ctx context.Context, l state.Lease, now time.Time, limit int, bytes int64) (state.Batch, error)
	Settle(ctx context.Context, l state.Lease, b state.Batch, s []state.Settlement) ([]state.Settled, error)
	ThreadLinks(ctx context.Context, org string, q state.ThreadQuery) ([]linker.Link, error)
	Lookup(ctx context.Context, org string, messageID state.Hash) ([]state.Row, []state.Email, error)
	Email(ctx context.Context, org string, id int64) (state.Email, error)
	Undelivered(ctx context.Context, org string, connection int64, now time.Time, limit int) ([]state.Email, error)
	Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) ([]int64, error)
	Done(ctx context.Context, org string, ds []state.Delivery) error
	Failed(ctx context.Context, org string, fs []state.Failure) error
	Change(ctx context.Context, org string, c state.Change) (int64, int, error)
}

// OutageError means that the CRM failed as a whole: back off for the organisation and call nothing poison.
type OutageError struct{ Err error }

func (e *OutageError) Error() string { return "the CRM does not answer: " + e.Err.Error() }
func (e *OutageError) Unwrap() error { return e.Err }

// Deliverer works for one lease. Not for concurrent use.
type Deliverer struct {
	Store       Store
	CRM         crm.Store
	Mailbox     provider.Mailbox
	Lease       state.Lease
	Hasher      *ident.Hasher
	Keys        *seal.Keyring
	Rules       linker.Rules // with the organisation's own addresses
	ConnectedAt time.Time
	Version     int64 // of the settings that Rules are from
	Reload      func(context.Context) (linker.Rules, int64, error)
	Now         func() time.Time
	Renew       func(context.Context) error
	Event       func(crm.Email) // after the host has it; may be nil

	known   map[provider.ItemID]message.Envelope
	content map[provider.ItemID]*message.Message
	items   map[int64]state.Row // by Email
	created map[message.Key]linker.Record
	broken  int // reads that failed one after the other
}

// keepEnvelopes bounds the envelopes held in memory; what falls out is read again.
const keepEnvelopes = 4000

// Know hands over an envelope that was just read.
func (d *Deliverer) Know(id provider.ItemID, e message.Envelope) {
	if d.known == nil || len(d.known) >= keepEnvelopes {
		d.known = map[provider.ItemID]message.Envelope{}
	}
	d.known[id] = e
}

// Drain settles and delivers until nothing is due now.
func (d *Deliverer) Drain(ctx context.Context) error {
	for {
		n, err := d.settle(ctx)
		if err != nil {
			return err
		}
		m, err := d.save(ctx)
		if err != nil {
			return err
		}
		if n == 0 && m == 0 {
			return nil
		}
	}
}

type work struct {
	row    state.Row
	env    message.Envelope
	thread []linker.Link
	dec    linker.Decision
	out    *state.Settlement // decided without the linker
}

// settle decides one chunk and returns how many rows it had.
func (d *Deliverer) settle(ctx context.Context) (int, error) {
	if err := d.Renew(ctx); err != nil {
		return 0, err
	}
	batch, err := d.Store.Pending(ctx, d.Lease, d.Now(), chunkRows, chunkBytes)
	if err != nil || len(batch.Rows) == 0 {
		return 0, err
	}
	if batch.Rules != d.Version {
		if d.Rules, d.Version, err = d.Reload(ctx); err != nil {
			return 0, err
		}
	}
	d.content = map[provider.ItemID]*message.Message{}
	ws := make([]*work, len(batch.Rows))
	// A trouble in the middle loses no work: what was read until then is settled, and so are the verdicts on mail that
	// could not be read.
	var trouble error
	for i, row := range batch.Rows {
		if i%20 == 19 {
			if err := d.Renew(ctx); err != nil {
				return 0, err
			}
		}
		if ws[i], trouble = d.read(ctx, row); trouble != nil {
			ws = ws[:i]
			break
		}
	}
	if err := d.decide(ctx, ws); err != nil {
		return 0, err
	}
	ss := make([]state.Settlement, len(ws))
	for i, w := range ws {
		if w.out != nil {
			ss[i] = *w.out
		} else if ss[i], err = d.settlement(w); err != nil {
			return 0, err
		}
		ss[i].Row, ss[i].Due, ss[i].RulesVersion = w.row.ID, w.row.Due, d.Version
	}
	settled, err := d.Store.Settle(ctx, d.Lease, batch, ss)
	if err != nil {
		return 0, err
	}
	d.items = map[int64]state.Row{}
	for i, s := range settled {
		if s.Email != 0 && i < len(ws) {
			d.items[s.Email] = ws[i].row
		}
	}
	return len(ws), trouble
}

// read finds the envelope of a row, from memory or from the mailbox.
func (d *Deliverer) read(ctx context.Context, row state.Row) (*work, error) {
	w := &work{row: row}
	env, ok := d.known[row.Item]
	if ok && env.Has&message.HasHeader == message.HasHeader {
		w.env = d.place(env, row)
		return w, nil
	}
	if row.Email != 0 {
		// Linked before: its sealed envelope decides, also when the mail has moved on or is gone (protocol, rule 4).
		e, err := d.Store.Email(ctx, d.Lease.Org, row.Email)
		if err != nil {
			return nil, err
		}
		if env, err := d.open(e); err == nil {
			w.env = d.place(env, row)
			return w, nil
		}
	}
	m, err := d.fetch(ctx, row)
	switch {
	case errors.Is(err, provider.ErrGone):
		w.out = &state.Settlement{Fate: state.FateGone, Reason: "the mailbox no longer has it"}
		return w, nil
	case err != nil:
		return nil, err
	case m == nil:
		w.out = &state.Settlement{Fate: state.FateFailed, Reason: "could not be read", NextTry: d.Now().Add(backoff(row.Tries))}
		return w, nil
	}
	env = m.Envelope
	env.Automated = m.HeaderAutomated // as a listing would have shown it: a crash in between changes no decision
	w.env = d.place(env, row)
	d.Know(row.Item, env)
	return w, nil
}

// place adds to an envelope what the ledger knows of where it lies.
func (d *Deliverer) place(e message.Envelope, row state.Row) message.Envelope {
	e.Sent = e.Sent || row.Sent
	if e.Received.IsZero() {
		e.Received = row.Received
	}
	if e.Thread == "" {
		e.Thread = row.Thread
	}
	return e
}

// fetch reads content. A message that alone can't be read is nil, so that it blocks no other; several failing in a row are
// the mailbox's trouble and an error.
func (d *Deliverer) fetch(ctx context.Context, row state.Row) (*message.Message, error) {
	if m := d.content[row.Item]; m != nil {
		return m, nil
	}
	m, err := d.Mailbox.Content(ctx, row.Item)
	if err == nil {
		d.broken = 0
		if d.content != nil {
			d.content[row.Item] = m
		}
		return m, nil
	}
	var limit *provider.RateLimitError
	var action *provider.NeedsAction
	if ctx.Err() != nil || errors.Is(err, provider.ErrGone) || errors.As(err, &limit) || errors.As(err, &action) {
		return nil, err
	}
	if d.broken++; d.broken >= 3 {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return nil, nil
}

func backoff(tries int) time.Duration { return time.Minute << min(tries, 8) }

// decide fills the decisions: one round trip to the CRM for the chunk, and one more where contacts were made.
func (d *Deliverer) decide(ctx context.Context, ws []*work) error {
	var envs []message.Envelope
	records := map[linker.Record]bool{}
	for _, w := range ws {
		if w.out != nil {
			continue
		}
		var err error
		q := state.ThreadQuery{Connection: d.Lease.Connection, Row: w.row.ID, Email: w.row.Email, Thread: w.env.Thread,
			Before: w.env.When(), Fingerprint: state.Hash(d.Hasher.Fingerprint(&w.env))}
		it := provider.Item{Envelope: w.env}
		var participants []state.Hash
		pass.Headers(&q.MessageID, &q.Cites, &participants, &it, d.Hasher)
		if w.thread, err = d.Store.ThreadLinks(ctx, d.Lease.Org, q); err != nil {
			return err
		}
		// A person's link on the mail that is answered is inherited like any other; as it stands it would be a correction of this one.
		cited := w.env.Thread
		if ids := append(w.env.InReplyTo[:len(w.env.InReplyTo):len(w.env.InReplyTo)], w.env.References...); len(ids) > 0 {
			cited = ids[0]
		}
		w.thread = linker.Inherit(w.thread, cited)
		for _, l := range w.thread {
			records[l.Record] = true
		}
		envs = append(envs, w.env)
	}
	if len(envs) == 0 {
		return nil
	}
	query := d.Rules.Query(envs...)
	for r := range records {
		query.Records = append(query.Records, r)
	}
	dir, err := d.CRM.Find(ctx, d.Lease.Org, query)
	if err != nil {
		return &OutageError{fmt.Errorf("finding records: %w", err)}
	}
	var create []crm.NewContact
	asked := map[message.Key]bool{}
	for _, w := range ws {
		if w.out != nil {
			continue
		}
		w.dec = d.Rules.Decide(w.env, dir, w.thread)
		for _, c := range w.dec.Create {
			if !asked[c.Address] {
				asked[c.Address] = true
				create = append(create, crm.NewContact{Address: c.Address, Name: c.Name})
			}
		}
	}
	if len(create) == 0 {
		return nil
	}
	return d.create(ctx, ws, dir, create)
}

// create makes contacts for unknown senders and decides again with the answers. The change is written before and after
// (protocol, rule 5), so that earlier mail of that address is found also when we stop in between.
func (d *Deliverer) create(ctx context.Context, ws []*work, dir linker.Directory, create []crm.NewContact) error {
	if d.created == nil {
		d.created = map[message.Key]linker.Record{}
	}
	var missing []crm.NewContact
	var change state.Change
	for _, c := range create {
		if _, made := d.created[c.Address]; !made {
			missing = append(missing, c)
			change.Participants = append(change.Participants, state.Hash(d.Hasher.Key(c.Address)))
		}
	}
	if len(missing) > 0 {
		if _, _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {
			return err
		}
		if err := d.Renew(ctx); err != nil {
			return err
		}
		if err := d.make(ctx, missing); err != nil {
			return err
		}
		if _, _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {
			return err
		}
	}
	if dir.Holders == nil {
		dir.Holders = map[message.Key][]linker.Record{}
	}
	for _, c := range create {
		if r, ok := d.created[c.Address]; ok {
			dir.Holders[c.Address] = append(dir.Holders[c.Address], r)
		}
	}
	for _, w := range ws {
		if w.out != nil {
			continue
		}
		w.dec = d.Rules.Decide(w.env, dir, w.thread)
		for _, c := range w.dec.Create {
			if _, ok := d.created[c.Address]; !ok {
				w.out = &state.Settlement{Fate: state.FateFailed, Reason: "the CRM refused to create its sender", NextTry: d.Now().Add(backoff(w.row.Tries))}
			}
		}
	}
	return nil
}

// make creates contacts. Where the call fails as a whole each is tried alone: one address that the host refuses must not
// block the mail of others. When all of several fail it is an outage.
func (d *Deliverer) make(ctx context.Context, cs []crm.NewContact) error {
	rs, err := d.CRM.CreateContacts(ctx, d.Lease.Org, cs)
	if err == nil {
		if len(rs) != len(cs) {
			return &OutageError{fmt.Errorf("the answer of CreateContacts has %d records for %d contacts, one for each is wanted", len(rs), len(cs))}
		}
		for i, c := range cs {
			if rs[i].Kind == "" || rs[i].ID == "" {
				return &OutageError{fmt.Errorf("the answer of CreateContacts has an empty record")}
			}
			d.created[c.Address] = rs[i]
		}
		return nil
	}
	if len(cs) == 1 || ctx.Err() != nil {
		return &OutageError{fmt.Errorf("creating contacts: %w", err)}
	}
	failed := 0
	for i, c := range cs {
		if rs, err := d.CRM.CreateContacts(ctx, d.Lease.Org, []crm.NewContact{c}); err == nil && len(rs) == 1 && rs[0].ID != "" {
			d.created[c.Address] = rs[0]
		} else if failed++; failed == i+1 && (i >= 2 || failed == len(cs)) {
			return &OutageError{fmt.Errorf("creating contacts: %w", err)}
		}
	}
	return nil
}

var fates = map[linker.Disposition]state.Fate{
	linker.Linked: state.FateLinked, linker.Unmatched: state.FateUnmatched, linker.Excluded: state.FateExcluded,
	linker.Internal: state.FateInternal, linker.Automated: state.FateAutomated,
}

func (d *Deliverer) settlement(w *work) (state.Settlement, error) {
	s := state.Settlement{Fate: fates[w.dec.Disposition], Reason: w.dec.Reason}
	if s.Fate == "" {
		return s, fmt.Errorf("the linker gave the unknown disposition %q", w.dec.Disposition)
	}
	it := provider.Item{Envelope: w.env}
	pass.Headers(&s.MessageID, &s.Cites, &s.Participants, &it, d.Hasher)
	if len(w.dec.Links) == 0 {
		return s, nil
	}
	plain, err := json.Marshal(w.env)
	if err != nil {
		return s, err
	}
	sealed, err := d.Keys.Seal(plain, "envelope/"+d.Lease.Org)
	if err != nil {
		return s, err
	}
	s.Email = &state.EmailValue{
		MessageID: s.MessageID, Fingerprint: state.Hash(d.Hasher.Fingerprint(&w.env)), Links: w.dec.Links, Holder: true,
		Envelope: sealed, EnvelopeTag: string(d.Hasher.MessageID(string(plain))),
	}
	return s, nil
}

// Value decides a message that is not in a mailbox yet and returns what it gives to its Email.
func (d *Deliverer) Value(ctx context.Context, env message.Envelope) (state.EmailValue, error) {
	w := &work{env: env}
	if err := d.decide(ctx, []*work{w}); err != nil {
		return state.EmailValue{}, err
	}
	s, err := d.settlement(w)
	if err != nil {
		return state.EmailValue{}, err
	}
	if s.Email == nil {
		s.Email = &state.EmailValue{MessageID: s.MessageID, Fingerprint: state.Hash(d.Hasher.Fingerprint(&w.env))}
	}
	return *s.Email, nil
}

// open opens an email's sealed envelope.
func (d *Deliverer) open(e state.Email) (env message.Envelope, err error) {
	plain, err := d.Keys.Open(e.Envelope, "envelope/"+d.Lease.Org)
	if err != nil {
		return env, fmt.Errorf("opening the envelope of email %d: %w", e.ID, err)
	}
	if err := json.Unmarshal(plain, &env); err != nil {
		return env, fmt.Errorf("envelope of email %d: %w", e.ID, err)
	}
	return env, nil
}

// save delivers one chunk of emails and returns how many it tried.
func (d *Deliverer) save(ctx context.Context) (int, error) {
	es, err := d.Store.Undelivered(ctx, d.Lease.Org, d.Lease.Connection, d.Now(), saveChunk)
	if err != nil || len(es) == 0 {
		return 0, err
	}
	full := map[int64]crm.Email{}
	var ready []state.Email
	var postponed []state.Failure
	var trouble error
	for i, e := range es {
		if i%10 == 9 {
			if err := d.Renew(ctx); err != nil {
				return 0, err
			}
		}
		if e.Full && len(e.Effective()) > 0 {
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
		}
		ready = append(ready, e)
	}
	if len(postponed) > 0 {
		if err := d.Store.Failed(ctx, d.Lease.Org, postponed); err != nil {
			return 0, err
		}
	}
	if len(ready) > 0 {
		if err := d.Renew(ctx); err != nil {
			return 0, err
		}
		if err := d.Send(ctx, ready, full); err != nil {
			return 0, err
		}
	}
	return len(es), trouble
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
	var updates []crm.EmailState
	by := map[string]int{}
	for i, e := range es {
		if !still[e.ID] {
			continue
		}
		st := State(e)
		by[st.ID] = i
		if f, ok := full[e.ID]; ok {
			f.EmailState = st
			saves = append(saves, f)
		} else {
			updates = append(updates, st)
		}
	}
	failed, err := each(saves, func(e crm.Email) string { return e.ID }, func(b []crm.Email) error {
		return d.CRM.SaveEmails(ctx, d.Lease.Org, b)
	})
	if err == nil {
		var more map[string]error
		more, err = each(updates, func(e crm.EmailState) string { return e.ID }, func(b []crm.EmailState) error {
			return d.CRM.UpdateEmails(ctx, d.Lease.Org, b)
		})
		for id, e := range more {
			failed[id] = e
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &OutageError{err}
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
			fs = append(fs, state.Failure{ID: es[i].ID, Error: "the CRM refused it: " + bounded(ferr.Error()), NextTry: d.Now().Add(backoff(es[i].Tries))})
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

func bounded(s string) string { return s[:min(len(s), 300)] }

// each calls f with all of them. Where it fails without naming ids, each is tried alone: one refused email must not block
// the others, and three refused one after the other from the start are an outage.
func each[T any](all []T, id func(T) string, f func([]T) error) (map[string]error, error) {
	failed := map[string]error{}
	if len(all) == 0 {
		return failed, nil
	}
	err := f(all)
	var named *crm.EmailsError
	if err == nil {
		return failed, nil
	}
	if errors.As(err, &named) {
		for k, v := range named.Failed {
			failed[k] = v
		}
		return failed, nil
	}
	if len(all) == 1 {
		return failed, err
	}
	for i, one := range all {
		if err := f([]T{one}); err != nil {
			if failed[id(one)] = err; len(failed) == i+1 && i >= 2 {
				return failed, err
			}
		}
	}
	if len(failed) == len(all) {
		return failed, err
	}
	return failed, nil
}

// State is what the host is told of an email besides its content.
func State(e state.Email) crm.EmailState {
	s := crm.EmailState{ID: strconv.FormatInt(e.ID, 10), Revision: e.Revision, Links: e.Effective()}
	for _, h := range e.Holders {
		s.Holders = append(s.Holders, strconv.FormatInt(h, 10))
	}
	if e.Survivor != 0 {
		s.Survivor = strconv.FormatInt(e.Survivor, 10)
	}
	return s
}

// unloadable is the trouble of one email: it is postponed and holds back no other.
type unloadable struct{ err error }

func (e *unloadable) Error() string { return e.err.Error() }

// copies returns the rows of this mailbox that are an email, those in a folder first. The Message-ID may be another than ours, as
// services replace it when they send.
func (d *Deliverer) copies(ctx context.Context, e state.Email) ([]state.Row, error) {
	var in, left []state.Row
	seen := map[int64]bool{}
	if row, ok := d.items[e.ID]; ok {
		seen[row.ID] = true
		in = append(in, row)
	}
	for _, h := range e.Aliases {
		rows, _, err := d.Store.Lookup(ctx, d.Lease.Org, h)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			switch {
			case r.Email != e.ID || r.Connection != d.Lease.Connection || seen[r.ID]:
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
	rows, err := d.copies(ctx, e)
	if err != nil {
		return crm.Email{}, err
	}
	var out crm.Email
	reason := "the mailbox no longer has it"
	for i, row := range rows {
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
		it.Message.Envelope = d.place(m.Envelope, row)
		it.Outbound = it.Outbound || it.Message.Sent // a listing by id only doesn't tell
		if row.Received.IsZero() {
			// The listing told no time; now it is known.
			it.When = it.Message.When()
			it.History = it.When.Before(d.ConnectedAt)
		}
		return it, nil
	}
	env, err := d.open(e)
	if err != nil {
		return out, &unloadable{err}
	}
	out.Message.Envelope = env
	if out.When.IsZero() {
		out.When = out.Message.When()
		out.History = out.When.Before(d.ConnectedAt)
	}
	out.Outbound = out.Outbound || out.Message.Sent
	out.Partial = reason
	return out, nil
}
