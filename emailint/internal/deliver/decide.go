package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/internal/pass"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

type work struct {
	row    state.Row
	env    message.Envelope
	hashes state.Row     // of its header
	thread []linker.Link // inherited, and what people said
	said   state.Thread
	known  *state.Declared // the email that the host had before, and that this mail is
	dec    linker.Decision
	out    *state.Settlement // decided without the linker
	freed  bool              // deleted here for good, and no longer held by this mailbox
	sealed bool              // decided by the envelope of its Email, which may be another copy's
	locked bool              // no key opens the envelope of the Email it belongs to: this copy's stands for it
	kept   bool              // decided by the envelope of a copy whose mailbox has let go of it
	again  bool              // this copy was read again, to be compared with the one whose envelope the Email has
}

// rank orders the copies of a mail: what lies in Sent before what was received, which has no Bcc, then the earliest.
func rank(w *work) int64 {
	when := w.env.When()
	switch {
	case w.kept:
		return state.RankKept
	case w.env.Sent:
		return 1<<40 - when.Unix()
	case when.IsZero():
		return state.RankKept + 1
	}
	return -when.Unix()
}

// settle decides one chunk and returns how many rows it had.
func (d *Deliverer) settle(ctx context.Context) (int, error) {
	if err := d.keep(ctx); err != nil {
		return 0, err
	}
	batch, err := d.Store.Pending(ctx, d.Lease, d.Now(), d.chunk(chunkRows), chunkBytes)
	if err != nil || len(batch.Rows) == 0 {
		return 0, err
	}
	if batch.Rules != d.Version || batch.Change != d.change {
		// The change may be of the organisation's own addresses, which are part of the rules.
		d.change = batch.Change
		if d.Rules, d.Version, err = d.Reload(ctx); err != nil {
			return 0, err
		}
	}
	if d.content == nil || d.held > chunkBytes {
		d.content, d.held = map[provider.ItemID]*message.Message{}, 0
	}
	d.created = nil // a person may have deleted since what was made for an earlier chunk
	d.prefetchRows(batch.Rows)
	ws := make([]*work, len(batch.Rows))
	// A trouble in the middle loses no work: what was read until then is settled, and so are the verdicts on mail that
	// could not be read.
	var trouble error
	for i, row := range batch.Rows {
		if err := d.keep(ctx); err != nil {
			return 0, err
		}
		if ws[i], trouble = d.read(ctx, row); trouble != nil {
			ws = ws[:i]
			break
		}
	}
	if err := d.learn(ctx, ws); err != nil {
		return 0, err
	}
	if err := d.decide(ctx, ws); err != nil {
		return 0, err
	}
	// What the inbox's rules want is decided once, with the first decision: never on history, never when links change later.
	ss := make([]state.Settlement, len(ws))
	for i, w := range ws {
		if w.out != nil {
			ss[i] = *w.out
		} else if ss[i], err = d.settlement(w); err != nil {
			return 0, err
		}
		if w.row.Received.IsZero() && !w.env.Received.IsZero() {
			ss[i].Received, ss[i].History = w.env.Received, w.env.Received.Before(d.ConnectedAt)
		}
		live := !w.env.Sent && !w.row.Sent && !w.env.Received.Before(d.ConnectedAt)
		if live && ss[i].Email != nil && len(w.dec.Links) > 0 && d.Plan != nil && !w.row.Fate.Decided() {
			ss[i].Intents = d.Plan(w.row.Folders, w.env, w.dec.Links)
		}
		ss[i].Row, ss[i].Due, ss[i].RulesVersion = w.row.ID, w.row.Due, d.Version
	}
	settled, err := d.Store.Settle(ctx, d.Lease, batch, ss)
	if err != nil {
		return 0, err
	}
	if d.items == nil || len(d.items) >= keepEnvelopes {
		d.items, d.fresh = map[int64]state.Row{}, nil // a chunk of saves is smaller than one of decisions: earlier ones may wait still
	}
	d.stuck++
	for i, s := range settled {
		if !s.StillDue {
			d.stuck = 0
		}
		if i < len(ws) && (s.Email == 0 || len(ws[i].dec.Links) == 0) {
			d.forget(ws[i].row.Item)
		}
		if s.Email != 0 && i < len(ws) {
			d.items[s.Email] = ws[i].row
			if ws[i].row.Email == 0 && len(ws[i].dec.Links) > 0 && !state.IsOutbox(ws[i].row.Item) {
				d.fresh = append(d.fresh, s.Email)
			}
		}
	}
	return len(ws), trouble
}

// learn stores the hashes of headers that the page did not show, and hashes those of all.
func (d *Deliverer) learn(ctx context.Context, ws []*work) error {
	var rows []state.Row
	for _, w := range ws {
		if w.out != nil {
			continue
		}
		r := state.Row{ID: w.row.ID}
		pass.Headers(&r, &w.env, d.Hasher)
		w.hashes = r
		if !w.sealed && (r.Fingerprint != "" && r.Fingerprint != w.row.Fingerprint || r.MessageID != "" && r.MessageID != w.row.MessageID || len(r.Cites) > 0 && !slices.Equal(r.Cites, w.row.Cites) ||
			len(r.Participants) > 0 && !slices.Equal(r.Participants, w.row.Participants)) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return d.Store.Learn(ctx, d.Lease, rows)
}

// read finds the envelope by which a row is decided.
func (d *Deliverer) read(ctx context.Context, row state.Row) (*work, error) {
	w := &work{row: row}
	if row.Email == 0 {
		return w, d.readCopy(ctx, w)
	}
	// Linked before: its sealed envelope decides, that of the copy with the highest rank, so that every copy comes to the
	// same links; also when the mail has moved on or is gone (protocol, rule 4).
	e, err := d.Store.Email(ctx, d.Lease.Org, row.Email)
	if err != nil {
		return nil, err
	}
	sent := state.IsOutbox(row.Item) // it has left no mailbox
	w.freed = row.Gone && !sent && !slices.Contains(e.Holders, d.Lease.Connection)
	env, err := d.Keys.OpenEnvelope(d.Lease.Org, string(e.Fingerprint), e.Envelope)
	if err != nil {
		w.locked = len(e.Envelope) > 0
		return w, d.readCopy(ctx, w)
	}
	// Where the mailbox that gave it let go of the mail, each copy is read and compared once more.
	if row.Reread && (sent || !row.Gone) {
		w.again = true
		if err := d.readCopy(ctx, w); err != nil {
			return nil, err
		}
		if w.out == nil || w.out.Fate == state.FateFailed && row.Tries < 5 {
			return w, nil
		}
		w.again, w.out = false, nil
	}
	w.env, w.kept, w.sealed = env, e.Orphaned, true
	w.env.Thread = row.Thread // a thread id counts within one mailbox
	return w, nil
}

// readCopy reads the copy itself, from memory or from the mailbox.
func (d *Deliverer) readCopy(ctx context.Context, w *work) error {
	row := w.row
	if state.IsOutbox(row.Item) {
		return d.readSent(ctx, w)
	}
	if env, ok := d.envelope(row.Item); ok {
		w.env = d.place(env, row)
		d.tooOld(w)
		return nil
	}
	m, err := d.fetch(ctx, row)
	switch {
	case errors.Is(err, provider.ErrGone) && w.locked:
		// Its links stand until a key opens it.
		w.out = &state.Settlement{Fate: state.FateFailed, Reason: "the mailbox no longer has it, and no key opens its envelope",
			NextTry: d.Now().Add(backoff(row.Tries))}
		return nil
	case errors.Is(err, provider.ErrGone) && row.Fate.Decided():
		// It keeps what was decided while it could be read: gone is for mail that never was (protocol, rule 4).
		w.out = &state.Settlement{Fate: row.Fate, Reason: row.Reason, Lost: row.Email != 0}
		return nil
	case errors.Is(err, provider.ErrGone):
		w.out = &state.Settlement{Fate: state.FateGone, Reason: "the mailbox no longer has it"}
		return nil
	case err != nil:
		return err
	case m == nil:
		w.out = &state.Settlement{Fate: state.FateFailed, Reason: "could not be read", NextTry: d.Now().Add(backoff(row.Tries))}
		return nil
	}
	env := m.Envelope
	env.Automated = m.HeaderAutomated // as a listing would have shown it: a crash in between changes no decision
	w.env = d.place(env, row)
	d.tooOld(w)
	d.Know(row.Item, env)
	return nil
}

// tooOld leaves out mail that was not to be imported, of which the listing told no time: each time that it is listed.
func (d *Deliverer) tooOld(w *work) {
	if !w.row.Fate.Decided() && pass.TooOld(w.env.Received, d.Floor) {
		w.out = &state.Settlement{Fate: state.FateUnread, Reason: pass.TooOldReason}
	}
}

// readSent reads what we sent and no mailbox has shown yet.
func (d *Deliverer) readSent(ctx context.Context, w *work) error {
	sent, err := d.Store.OutboxOf(ctx, d.Lease.Org, w.row.Email)
	if errors.Is(err, state.ErrNotFound) {
		w.out = &state.Settlement{Fate: state.FateGone, Reason: "the outbox no longer has it"}
		return nil
	}
	w.env = message.ParseHeader(sent.Raw)
	w.env.Sent, w.env.Received, w.freed = true, sent.Created, false
	return err
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
		// Where no listing told how long they are, a chunk may be of any length: what is too much is read again.
		if d.content != nil && d.held < 2*chunkBytes {
			d.content[row.Item] = m
			d.held += weight(m)
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

// weight is about how many bytes a message takes in memory; one without a text takes some, too.
func weight(m *message.Message) int {
	few := len(m.Attachments) + len(m.Defects) + len(m.References) + len(m.To) + len(m.Cc)
	return 2048 + 256*few + len(m.Text) + len(m.HTML)
}

// forget lets a content go.
func (d *Deliverer) forget(item provider.ItemID) {
	if m := d.content[item]; m != nil {
		d.held -= weight(m)
		delete(d.content, item)
	}
	delete(d.ahead, item)
}

func backoff(tries int) time.Duration { return time.Minute << min(tries, 8) }

// decide fills the decisions: one round trip to the CRM for the chunk, and one more where contacts were made.
func (d *Deliverer) decide(ctx context.Context, ws []*work) error {
	var envs []message.Envelope
	var asking []*work
	var qs []state.ThreadQuery
	for _, w := range ws {
		if w.out != nil {
			continue
		}
		q := state.ThreadQuery{Connection: d.Lease.Connection, Row: w.row.ID, Email: w.row.Email, Thread: w.env.Thread,
			Before: w.row.Received, Fingerprint: state.Hash(d.Hasher.Fingerprint(&w.env)), MessageID: w.hashes.MessageID, Cites: w.hashes.Cites}
		if q.Before.IsZero() { // the envelope may be another mailbox's, where it came later
			q.Before = w.env.When()
		}
		asking, qs, envs = append(asking, w), append(qs, q), append(envs, w.env)
	}
	if len(qs) == 0 {
		return nil
	}
	said, err := d.Store.Threads(ctx, d.Lease.Org, qs)
	if err != nil {
		return err
	}
	records := map[linker.Record]bool{}
	for i, w := range asking {
		w.said = said[i]
		// A person's link on the mail that is answered is inherited like any other; as it stands it would be a correction of this one.
		cited := w.env.Thread
		if ids := append(w.env.InReplyTo[:len(w.env.InReplyTo):len(w.env.InReplyTo)], w.env.References...); len(ids) > 0 {
			cited = ids[0]
		}
		w.thread = append(linker.Inherit(w.said.Links, cited), w.said.Words...)
		if w.known = d.declared(w); w.known != nil {
			for _, r := range w.known.Records {
				w.thread = append(w.thread, linker.Link{Record: r, By: linker.ByHost, Evidence: "declared as " + w.known.HostID})
			}
		}
		for _, l := range w.thread {
			records[l.Record] = true
		}
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
		d.link(w, dir)
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

// declared returns the email that the host had before and that a mail is. Anybody can send a mail with a Message-ID that they know, so that is not all that is
// asked: its author is the declared one, where one was; it was not found to be forged; and only what a mailbox shows is it. That no other mail is the declared one
// by now, Threads has asked, and Settle asks again.
func (d *Deliverer) declared(w *work) *state.Declared {
	if w.row.ID == 0 || !w.env.Sent && w.env.Auth == message.AuthFail && !d.Rules.FailedAuth.InheritThread {
		return nil
	}
	var found *state.Declared
	for i := range w.said.Declared {
		switch c := &w.said.Declared[i]; {
		case state.IsOutbox(w.row.Item) && !c.Met: // what stands for it until then comes to what the copies do
		case c.Author == "" && found == nil:
			found = c
		case c.Author != "" && len(w.env.From) == 1 && state.Hash(d.Hasher.Key(w.env.From[0].Key)) == c.Author:
			return c
		}
	}
	return found
}

// link decides one mail.
func (d *Deliverer) link(w *work, dir linker.Directory) {
	w.dec = d.Rules.Decide(w.env, dir, w.thread)
	switch {
	case w.said.Dropped:
		w.dec = linker.Decision{Disposition: linker.Excluded, Reason: "dropped by a person"}
	case len(w.dec.Links) == 0 && slices.ContainsFunc(w.said.Words, func(l linker.Link) bool { return l.Removed }):
		w.dec.Reason = "a person took its links off"
	}
	if w.row.Fate.Decided() || w.row.Settled > 0 || w.said.Met {
		// Contacts are made of mail that comes, and never again by deciding it anew: one that a person deleted stays deleted.
		w.dec.Create = nil
	}
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
		if _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {
			return err
		}
		if err := d.Renew(ctx); err != nil {
			return err
		}
		if err := d.make(ctx, missing); err != nil {
			return err
		}
		if _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {
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
		d.link(w, dir)
		for _, c := range w.dec.Create {
			if _, ok := d.created[c.Address]; !ok {
				// While none is created at all it may be the CRM: the wait stays short.
				wait := backoff(w.row.Tries)
				if len(d.created) == 0 {
					wait = min(wait, 15*time.Minute)
				}
				w.out = &state.Settlement{Fate: state.FateFailed, NextTry: d.Now().Add(wait),
					Reason: "the CRM did not create a contact for its sender: " + bounded(d.refusal.Error())}
			}
		}
	}
	return nil
}

// make creates contacts. Where the call fails as a whole each is tried alone: one address that the host refuses must not
// block the mail of others. It is never an outage: the CRM has just answered Find, and a save will show one.
func (d *Deliverer) make(ctx context.Context, cs []crm.NewContact) error {
	err := d.ask(ctx, cs)
	for i := 0; err != nil && len(cs) > 1 && i < len(cs); i++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d.ask(ctx, cs[i:i+1]) != nil && i == 2 && len(d.created) == 0 {
			break // none so far: the others wait too
		}
	}
	return ctx.Err()
}

func (d *Deliverer) ask(ctx context.Context, cs []crm.NewContact) error {
	rs, err := d.CRM.CreateContacts(ctx, d.Lease.Org, cs)
	if err == nil && len(rs) != len(cs) {
		err = fmt.Errorf("the answer of CreateContacts has %d records for %d contacts, one for each is wanted", len(rs), len(cs))
	}
	if err != nil {
		d.refusal = err
		return err
	}
	for i, c := range cs {
		if rs[i].Kind == "" || rs[i].ID == "" {
			d.refusal = errors.New("the answer of CreateContacts has an empty record")
			return d.refusal
		}
		d.created[c.Address] = rs[i]
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
	s.Fingerprint = state.Hash(d.Hasher.Fingerprint(&w.env))
	// What a person said something of stays an Email, with the word and with nothing to link. So does a mail whose copies are compared again: it
	// may be the best of them that links to nothing.
	if len(w.dec.Links) == 0 && !w.said.Spoken && !w.again {
		return s, nil
	}
	s.Email = &state.EmailValue{MessageID: w.hashes.MessageID, Fingerprint: s.Fingerprint, Links: w.dec.Links, Holder: !w.freed, Rank: rank(w),
		Replaces: w.locked, ThreadDropped: w.said.Dropped}
	if w.known != nil && len(w.dec.Links) > 0 {
		s.Email.Declared = w.known.ID
	}
	if len(w.dec.Links) == 0 && (w.said.Dropped || !w.again) {
		return s, nil // nothing is kept of what a mail says that is in no CRM
	}
	env := w.env
	env.Thread = "" // it counts within one mailbox, and the envelope serves them all
	sealed, plain, err := d.Keys.SealEnvelope(d.Lease.Org, string(s.Fingerprint), env)
	if err != nil {
		return s, err
	}
	s.Email.Envelope, s.Email.EnvelopeTag = sealed, string(d.Hasher.MessageID(string(plain)))
	return s, nil
}

// Outgoing decides a message that is not in a mailbox yet, and fills in what the outbox keeps of it.
func (d *Deliverer) Outgoing(ctx context.Context, env message.Envelope, o *state.Outgoing) error {
	w := &work{env: env}
	pass.Headers(&w.hashes, &env, d.Hasher)
	if err := d.decide(ctx, []*work{w}); err != nil {
		return err
	}
	s, err := d.settlement(w)
	if err != nil {
		return err
	}
	if s.Email == nil {
		s.Email = &state.EmailValue{MessageID: w.hashes.MessageID, Fingerprint: s.Fingerprint}
	}
	o.Value = *s.Email
	o.Row = state.Row{Fate: s.Fate, Reason: s.Reason, Cites: w.hashes.Cites, Participants: w.hashes.Participants, RulesVersion: d.Version}
	return nil
}
