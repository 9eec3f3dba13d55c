package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// Learn implements state.Ledger.
func (s *Store) Learn(ctx context.Context, l state.Lease, rows []state.Row) error {
	return s.held(ctx, l, func(t *tx) error {
		for _, r := range rows {
			have, err := scanRow(t.row(`SELECT `+rowColumns+` FROM ledger WHERE id = ? AND conn = ?`, r.ID, l.Connection))
			if errors.Is(err, sql.ErrNoRows) {
				continue
			} else if err != nil {
				return err
			}
			if err := t.learn(l.Org, have, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// learn stores what a header gives; empty fields leave the row's.
func (t *tx) learn(org string, have, header state.Row) error {
	r := have
	if header.MessageID != "" {
		r.MessageID = header.MessageID
	}
	if header.Fingerprint != "" {
		r.Fingerprint = header.Fingerprint
	}
	if len(header.Cites) > 0 {
		r.Cites = header.Cites
	}
	if len(header.Participants) > 0 {
		r.Participants = header.Participants
	}
	if err := t.index(r.ID, &have, r); err != nil || r.MessageID == have.MessageID && slices.Equal(r.Cites, have.Cites) {
		return err
	}
	return t.late(org, r.ID, r.MessageID, r.Cites)
}

// Settle implements state.Ledger.
func (s *Store) Settle(ctx context.Context, l state.Lease, b state.Batch, ss []state.Settlement) (out []state.Settled, err error) {
	err = s.write(ctx, func(t *tx) error {
		out = nil
		if err := t.holds(l); err != nil {
			return err
		}
		change, rules, _, err := t.numbers(l.Org)
		if err != nil {
			return err
		}
		for _, st := range ss {
			r, err := scanRow(t.row(`SELECT `+rowColumns+` FROM ledger WHERE id = ? AND conn = ?`, st.Row, l.Connection))
			if errors.Is(err, sql.ErrNoRows) {
				out = append(out, state.Settled{Row: st.Row}) // of the outbox, and its copy was shown
				continue
			} else if err != nil {
				return err
			}
			done, err := t.settle(l, r, st, change == b.Change && st.RulesVersion >= rules)
			if err != nil {
				return err
			}
			out = append(out, done)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (t *tx) settle(l state.Lease, r state.Row, st state.Settlement, current bool) (out state.Settled, err error) {
	out = state.Settled{Row: r.ID, Email: r.Email, StillDue: true}
	t.settling = r.ID
	defer func() { t.settling = 0 }()
	if st.Fate == state.FateFailed {
		fate := r.Fate
		if !fate.Decided() {
			fate = state.FateFailed
		}
		_, err := t.exec(`UPDATE ledger SET fate = ?, reason = ?, tries = tries + 1, next_try = ? WHERE id = ?`,
			fate, st.Reason, stamp(st.NextTry), r.ID)
		return out, err
	}
	if r.Received.IsZero() && !st.Received.IsZero() {
		if _, err := t.exec(`UPDATE ledger SET received = ?, history = ? WHERE id = ?`, stamp(st.Received), st.History, r.ID); err != nil {
			return out, err
		}
	}
	attached := false
	switch {
	case st.Email != nil:
		var g given
		g, err = t.give(l.Org, l.Connection, *st.Email, source(r))
		out.Email, out.Revision, current = g.email, g.revision, current && !g.outranked
		if err == nil && g.replaced {
			_, err = t.markDue(l.Org, `SELECT id FROM ledger WHERE email = ? AND id <> ?`, g.email, r.ID)
		}
	case r.Email == 0:
		r.Email, err = t.sentAs(l, r, st.Fingerprint)
		out.Email = r.Email
		if err == nil && r.Email == 0 && st.Fate.Decided() && !r.Gone {
			out.Email, out.Revision, err = t.attach(l, r, st.Fingerprint)
			attached = out.Email != 0 // and compared with the copy that decides: it may be the better one, and link by now
			current = current && !attached
		}
	}
	if err != nil {
		return out, err
	}
	// What left its mailbox and links to nothing is no copy of the Email any more: who knows whether it can be read another time.
	if st.Lost || st.Email == nil && r.Left && !attached && !state.IsOutbox(r.Item) {
		out.Email = 0
	}
	late := false
	if r.Fate.Decided() && r.Email == 0 && out.Email != 0 {
		if _, err := t.exec(`INSERT INTO late (email, conn) VALUES (?, ?) ON CONFLICT DO NOTHING`, out.Email, l.Connection); err != nil {
			return out, err
		}
	} else if len(st.Intents) > 0 {
		// A mail that was moved is a new item where ids die on a move: its first decision may lie behind it, and it may not have linked, or
		// otherwise than a rule wants.
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM late WHERE email = ?1 AND conn = ?2) OR EXISTS (SELECT 1 FROM ledger WHERE message_id = ?3
			AND +conn = ?2 AND id <> ?4 AND NOT sent AND (+fate IN ('unmatched', 'excluded', 'internal', 'automated') OR +fate = 'linked' AND left))`, out.Email, l.Connection, blob(r.MessageID), r.ID).
			Scan(&late); err != nil {
			return out, err
		}
	}
	for _, p := range st.Intents {
		if out.Email == 0 || late {
			break
		}
		if err := t.plan(l, out.Email, p); err != nil {
			return out, err
		}
	}
	// The row is pointed at its Email before the former one is looked at, which asks who still points there.
	if _, err := t.exec(`UPDATE ledger SET email = ? WHERE id = ?`, out.Email, r.ID); err != nil {
		return out, err
	}
	if out.Email != 0 && !state.IsOutbox(r.Item) {
		if err := t.shown(l.Connection, out.Email); err != nil {
			return out, err
		}
	}
	if r.Email != 0 && (st.Email == nil || out.Email != r.Email) {
		if out.Revision, err = t.takeBack(l.Connection, r.Email, out, st.Lost); err != nil {
			return out, err
		}
	}
	// What it was to read again, it has, unless that was asked for meanwhile.
	if err := t.row(`UPDATE ledger SET fate = ?1, reason = ?2, rules = ?3, tries = 0, next_try = 0, reread = reread AND due <> ?5 OR ?7,
		due = CASE WHEN due > settled OR ?4 THEN due ELSE due + 1 END,
		settled = CASE WHEN ?4 AND due = ?5 THEN due ELSE settled END WHERE id = ?6 RETURNING due > settled`,
		st.Fate, st.Reason, st.RulesVersion, current, st.Due, r.ID, attached).Scan(&out.StillDue); err != nil {
		return out, err
	}
	if r.Email != 0 {
		return out, t.dropEnvelope(r.Email)
	}
	return out, nil
}

// dropEnvelope lets the envelope of an Email go that links to nothing, once the CRM knows and every copy is decided: until then it tells them why. Were
// it gone earlier, the copy that decides for nothing and one that links by itself would call each other up for ever.
func (t *tx) dropEnvelope(email int64) error {
	_, err := t.exec(`UPDATE email SET envelope = NULL WHERE id = ?1 AND NOT wanted AND attempted AND saved >= revision AND envelope IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM ledger WHERE email = ?1 AND due > settled)`, email)
	return err
}

// sentAs returns the Email as which the outbox registered what this mailbox sent (rule 12), 0 when there is none.
func (t *tx) sentAs(l state.Lease, r state.Row, fingerprint state.Hash) (int64, error) {
	if fingerprint == "" {
		return 0, nil
	}
	ids, err := list(t, one[int64], `SELECT e.id FROM email e WHERE e.org = ?1 AND e.fingerprint = ?3 AND e.survivor = 0
		AND EXISTS (SELECT 1 FROM outbox WHERE email = e.id AND org = ?1 AND conn = ?2) ORDER BY NOT EXISTS (SELECT 1 FROM alias WHERE hash = ?4 AND email = e.id)`, l.Org, l.Connection, []byte(fingerprint), blob(r.MessageID))
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	var known int
	err = t.row(`SELECT count(*) FROM alias WHERE hash = ? AND email = ?`, blob(r.MessageID), ids[0]).Scan(&known)
	if err != nil || known == 0 && len(ids) > 1 {
		return 0, err // two of one second and subject, and neither is known by this Message-ID
	}
	if state.IsOutbox(r.Item) {
		return ids[0], nil
	}
	return ids[0], t.proven(ids[0])
}

// attach makes a mail that links to nothing by itself a copy of the Email that another mailbox's copy of it is: the author's own copy may show a
// blind recipient. It is decided by that Email's envelope then. 0: there is none, or it links to nothing either.
func (t *tx) attach(l state.Lease, r state.Row, fingerprint state.Hash) (id, revision int64, err error) {
	var hashes []state.Hash
	if r.MessageID != "" {
		hashes = append(hashes, r.MessageID)
	}
	ids, err := t.same(l.Org, hashes, fingerprint, false)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		had, err := t.email(id)
		if err != nil {
			return 0, 0, err
		}
		if len(had.Effective()) == 0 {
			continue
		}
		e := had
		if e.Holders = slices.Clone(e.Holders); !slices.Contains(e.Holders, l.Connection) {
			e.Holders = append(e.Holders, l.Connection)
		}
		if err := t.store(had, &e, false); err != nil {
			return 0, 0, err
		}
		if !state.IsOutbox(r.Item) {
			err = t.proven(id)
		}
		return id, e.Revision, err
	}
	return 0, 0, nil
}

// given is what give did.
type given struct {
	email, revision int64
	outranked       bool // another copy's envelope stands, by which the row is to be decided
	replaced        bool // rows that were decided by the former envelope are to be decided by this one
}

// origin is where the value of an Email comes from.
type origin int

const (
	aCopy   origin = iota // a mailbox shows it: it was sent
	aDraft                // the outbox is about to send it
	aLetter               // the outbox has it, and no mailbox has shown it
)

func source(r state.Row) origin {
	if state.IsOutbox(r.Item) {
		return aLetter
	}
	return aCopy
}

// give finds or makes the Email that a mail is (rule 12) and brings the mail's value into it.
func (t *tx) give(org string, connection int64, v state.EmailValue, from origin) (out given, err error) {
	ours := from == aDraft
	hashes := []state.Hash{}
	for _, h := range append([]state.Hash{v.MessageID}, v.Aliases...) {
		if h != "" && !slices.Contains(hashes, h) {
			hashes = append(hashes, h)
		}
	}
	ids, err := t.same(org, hashes, v.Fingerprint, ours)
	if err != nil {
		return out, err
	}
	if len(ids) == 0 {
		id, err := t.insert(`INSERT INTO email (org, message_id, fingerprint, ours, held) VALUES (?, ?, ?, ?, ?)`,
			org, blob(v.MessageID), blob(v.Fingerprint), ours, ours)
		if err != nil {
			return out, err
		}
		ids = []int64{id}
	}
	id := ids[0]
	out.email = id
	e, err := t.email(id)
	if err != nil {
		return out, err
	}
	had := e
	e.Holders, e.Aliases = slices.Clone(e.Holders), slices.Clone(e.Aliases)
	for _, other := range ids[1:] {
		if err := t.join(&e, other); err != nil {
			return out, err
		}
	}
	var blank bool
	if err := t.row(`SELECT envelope IS NULL, envelope IS NOT NULL AND rank > ? AND NOT ? FROM email WHERE id = ?`, v.Rank, v.Replaces, id).
		Scan(&blank, &out.outranked); err != nil {
		return out, err
	}
	if !out.outranked {
		e.Links = slices.Clone(v.Links)
		state.SortLinks(e.Links)
		e.ThreadDropped = v.ThreadDropped
	}
	for _, h := range hashes {
		if !slices.Contains(e.Aliases, h) {
			e.Aliases = append(e.Aliases, h)
		}
	}
	if connection != 0 && v.Holder && !slices.Contains(e.Holders, connection) {
		e.Holders = append(e.Holders, connection)
	}
	if connection != 0 && !v.Holder {
		e.Holders = without(e.Holders, connection)
	}
	if len(had.Effective()) == 0 && len(v.Links) > 0 {
		if err := t.leftBehind(&e, connection); err != nil {
			return out, err
		}
	}
	var envelope bool
	if v.Envelope != nil && !out.outranked {
		if err := t.row(`SELECT envelope IS NULL OR envelope_tag <> ?1 OR (?1 = '' AND envelope <> ?2) FROM email WHERE id = ?3`,
			v.EnvelopeTag, v.Envelope, id).Scan(&envelope); err != nil {
			return out, err
		}
	}
	switch from {
	case aDraft:
		_, err = t.exec(`UPDATE email SET ours = 1 WHERE id = ?`, id)
	case aCopy:
		err = t.proven(id)
	}
	if err != nil {
		return out, err
	}
	if err := t.store(had, &e, envelope); err != nil {
		return out, err
	}
	out.revision = e.Revision
	out.replaced = envelope && (had.Orphaned || !blank && len(v.Links) == 0)
	switch {
	case envelope:
		if _, err := t.exec(`UPDATE email SET envelope = ?, envelope_tag = ?, envelope_revision = revision, rank = ?, envelope_conn = ? WHERE id = ?`,
			v.Envelope, v.EnvelopeTag, v.Rank, connection, id); err != nil {
			return out, err
		}
		if blank { // other copies were not compared with this one
			_, err = t.exec(`UPDATE ledger SET reread = 1 WHERE email = ?`, id)
		}
	case v.Envelope != nil && !out.outranked: // equal, and of another copy
		_, err = t.exec(`UPDATE email SET rank = ?1, envelope_conn = ?2 WHERE id = ?3 AND rank <> ?1`, v.Rank, connection, id)
	}
	return out, err
}

// leftBehind takes off an Email that links again the mailboxes that it left while it linked to nothing: nobody could look for it there, as its header
// was not kept.
func (t *tx) leftBehind(e *state.Email, connection int64) error {
	for _, c := range slices.Clone(e.Holders) {
		if c == connection {
			continue
		}
		var here bool
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE email = ? AND conn = ? AND (NOT left OR fate = 'linked' OR item >= ? AND item < ?))`, e.ID, c,
			string(state.OutboxItem("")), string(state.OutboxItem(""))+"\uffff").Scan(&here); err != nil {
			return err
		}
		if here {
			continue
		}
		if _, err := t.exec(`UPDATE ledger SET email = 0 WHERE email = ? AND conn = ?`, e.ID, c); err != nil {
			return err
		}
		e.Holders = without(e.Holders, c)
	}
	return nil
}

// same returns the Emails that a mail with these Message-IDs and that fingerprint is (rule 12), by id. ours: we are about to send it.
func (t *tx) same(org string, hashes []state.Hash, fingerprint state.Hash, ours bool) (ids []int64, err error) {
	for _, h := range hashes {
		found, err := list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email
			WHERE a.hash = ? AND e.org = ? AND e.fingerprint IS ? AND e.survivor = 0`, []byte(h), org, blob(fingerprint))
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	if fingerprint != "" {
		// A mail without Message-ID is known by its fingerprint only, and so is a copy of what we sent whose Message-ID was
		// replaced. Recipients are not part of it: two mails we send in one second with one subject are two.
		q := `SELECT id FROM email WHERE org = ? AND fingerprint = ? AND survivor = 0 AND (ours OR ? OR message_id IS NULL)`
		if ours && len(hashes) > 0 {
			q = `SELECT id FROM email WHERE org = ? AND fingerprint = ? AND survivor = 0 AND NOT ours AND (? OR true)`
		}
		found, err := list(t, one[int64], q, org, []byte(fingerprint), ours || len(hashes) == 0)
		if err != nil {
			return nil, err
		}
		if ours || len(ids) == 0 && len(found) == 1 {
			ids = append(ids, found...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// proven records that a copy was found: the mail was sent, also where the answer was lost and nobody could say. Where the outbox
// has it more than once, to some recipients each, it doesn't tell which. It may lie anywhere: the one in Sent is yet to be looked for.
func (t *tx) proven(email int64) error {
	if _, err := t.exec(`UPDATE email SET held = 0 WHERE id = ? AND held`, email); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE outbox SET state = 'sent', error = '', copy_at = CASE WHEN copy = '' THEN 0 ELSE copy_at END,
		copy = CASE WHEN copy = '' THEN 'due' ELSE copy END
		WHERE email = ?1 AND state = 'unknown' AND (SELECT count(*) FROM outbox WHERE email = ?1) = 1`, email)
	return err
}

// join makes the Email e, which has the lower id, the survivor of another.
func (t *tx) join(e *state.Email, other int64) error {
	o, err := t.email(other)
	if err != nil {
		return err
	}
	for _, h := range o.Aliases {
		if !slices.Contains(e.Aliases, h) {
			e.Aliases = append(e.Aliases, h)
		}
	}
	for _, c := range o.Holders {
		if !slices.Contains(e.Holders, c) {
			e.Holders = append(e.Holders, c)
		}
	}
	for _, l := range o.Person {
		if !slices.ContainsFunc(e.Person, func(p linker.Link) bool { return p.Record == l.Record }) {
			e.Person = append(slices.Clone(e.Person), l)
		}
	}
	e.Dropped, e.Restored = e.Dropped || o.Dropped, (e.Restored || o.Restored) && !e.Dropped && !o.Dropped
	gone := o
	gone.Links, gone.Person, gone.Holders, gone.Aliases, gone.Survivor = nil, nil, nil, nil, e.ID
	if err := t.store(o, &gone, false); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE ledger SET email = ? WHERE email = ?`, e.ID, other); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE email SET ours = ours OR (SELECT ours FROM email WHERE id = ?1),
		held = held AND (SELECT held FROM email WHERE id = ?1) WHERE id = ?2`, other, e.ID); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE outbox SET email = ? WHERE email = ?`, e.ID, other); err != nil {
		return err
	}
	if _, err := t.exec(`UPDATE OR IGNORE late SET email = ? WHERE email = ?`, e.ID, other); err != nil {
		return err
	}
	// Where both have an intent of one rule, the survivor's is the one.
	if _, err := t.exec(`UPDATE OR IGNORE intent SET email = ? WHERE email = ?`, e.ID, other); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE intent SET state = 'cancelled', undo = 0, error = 'the email is another one' WHERE email = ? AND state = 'planned'`, other)
	return err
}

// takeBack ends what a row gave to an Email it no longer is.
func (t *tx) takeBack(connection, id int64, out state.Settled, lost bool) (revision int64, err error) {
	had, err := t.email(id)
	if err != nil {
		return 0, err
	}
	var others int
	if err := t.row(`SELECT count(*) FROM ledger WHERE email = ?`, id).Scan(&others); err != nil {
		return 0, err
	}
	var here int
	if err := t.row(`SELECT count(*) FROM ledger WHERE email = ? AND conn = ?`, id, connection).Scan(&here); err != nil {
		return 0, err
	}
	e := had
	if (out.Email == id || out.Email == 0) && !lost || others == 0 {
		e.Links = nil // the machine finds none any more
	}
	if here == 0 && !(stands(e) && out.Email == 0 && len(e.Envelope) > 0) {
		if err := t.unhold(&e, connection); err != nil {
			return 0, err
		}
	}
	if err := t.store(had, &e, false); err != nil {
		return 0, err
	}
	if out.Email != 0 {
		return out.Revision, nil
	}
	return e.Revision, nil
}

// stands says whether a person's link keeps the Email where it is.
func stands(e state.Email) bool {
	return slices.ContainsFunc(e.Person, func(l linker.Link) bool { return !l.Removed })
}

func without(holders []int64, connection int64) []int64 {
	return slices.DeleteFunc(slices.Clone(holders), func(c int64) bool { return c == connection })
}

// store writes what differs, raises the revision when anything does, and makes the rows that cite the Email due when
// what they inherit may have changed (rule 9).
func (t *tx) store(had state.Email, e *state.Email, envelope bool) error {
	slices.Sort(e.Holders)
	inherited := !sameLinks(had.Links, e.Links) || !slices.Equal(had.Person, e.Person) || !slices.Equal(had.Holders, e.Holders) ||
		!slices.Equal(had.Aliases, e.Aliases) || had.Out() != e.Out() || had.Dropped != e.Dropped || had.Restored != e.Restored || had.ThreadDropped != e.ThreadDropped || had.Survivor != e.Survivor
	if !inherited && !envelope && slices.Equal(had.Links, e.Links) {
		return nil
	}
	links, err := json.Marshal(append([]linker.Link{}, e.Links...))
	if err != nil {
		return err
	}
	person, err := json.Marshal(append([]linker.Link{}, e.Person...))
	if err != nil {
		return err
	}
	if err := t.row(`UPDATE email SET links = ?, person = ?, dropped = ?, restored = ?, thread_dropped = ?, survivor = ?, wanted = ?, revision = revision + 1
		WHERE id = ? RETURNING revision`, string(links), string(person), e.Dropped, e.Restored, e.ThreadDropped, e.Survivor, len(e.Effective()) > 0, e.ID).
		Scan(&e.Revision); err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM link WHERE email = ?`, e.ID); err != nil {
		return err
	}
	for i, l := range append(slices.Clone(e.Person), e.Links...) {
		if _, err := t.exec(`INSERT INTO link (org, kind, record, email, person) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			e.Org, l.Kind, l.ID, e.ID, i < len(e.Person)); err != nil {
			return err
		}
	}
	if !slices.Equal(had.Holders, e.Holders) {
		if _, err := t.exec(`DELETE FROM holder WHERE email = ?`, e.ID); err != nil {
			return err
		}
		for _, c := range e.Holders {
			if _, err := t.exec(`INSERT INTO holder (email, conn) VALUES (?, ?)`, e.ID, c); err != nil {
				return err
			}
		}
	}
	if !slices.Equal(had.Aliases, e.Aliases) {
		if _, err := t.exec(`DELETE FROM alias WHERE email = ?`, e.ID); err != nil {
			return err
		}
		for _, h := range e.Aliases {
			if _, err := t.exec(`INSERT INTO alias (hash, email) VALUES (?, ?)`, []byte(h), e.ID); err != nil {
				return err
			}
		}
	}
	// Copies of it that linked to nothing are decided by it from now on.
	was, is := len(had.Effective()) > 0, len(e.Effective()) > 0
	if is != was { // and its other copies follow
		if _, err := t.markDue(e.Org, `SELECT id FROM ledger WHERE email = ? AND id <> ? AND (fate = 'linked') = ?`, e.ID, t.settling, was); err != nil {
			return err
		}
	}
	if is && (!was || !slices.Equal(had.Aliases, e.Aliases)) {
		for _, h := range e.Aliases {
			if _, err := t.markDue(e.Org, `SELECT id FROM ledger WHERE message_id = ? AND org = ? AND email = 0 AND id <> ?`, []byte(h), e.Org, t.settling); err != nil {
				return err
			}
		}
		if len(e.Aliases) == 0 && e.Fingerprint != "" {
			if _, err := t.markDue(e.Org, `SELECT id FROM ledger WHERE fingerprint = ? AND message_id IS NULL AND org = ? AND email = 0 AND id <> ?`, []byte(e.Fingerprint), e.Org, t.settling); err != nil {
				return err
			}
		}
	}
	if !inherited {
		return nil
	}
	cited := slices.Clone(e.Aliases)
	for _, h := range had.Aliases {
		if !slices.Contains(cited, h) {
			cited = append(cited, h)
		}
	}
	// A further Message-ID connects threads, and words on them.
	renamed := !slices.Equal(had.Aliases, e.Aliases) && len(cited) > 1
	if err := t.markDescendants(e.Org, cited, e.ID, !renamed); err != nil {
		return err
	}
	// The provider's thread id stands in for missing headers, within one mailbox.
	_, err = t.markDue(e.Org, `SELECT b.id FROM ledger a JOIN ledger b ON b.conn = a.conn AND b.thread = a.thread
		WHERE a.email = ? AND a.thread <> '' AND length(coalesce(b.cites, '')) = 0 AND b.email <> ? AND b.received > a.received`, e.ID, e.ID)
	return err
}

// sameLinks compares what a reply could inherit, which leaves the evidence out.
func sameLinks(a, b []linker.Link) bool {
	return slices.EqualFunc(a, b, func(a, b linker.Link) bool {
		return a.Record == b.Record && a.By == b.By && a.Removed == b.Removed
	})
}

// markDue raises the due number of the decided or pending rows that a query selects, and wakes their connections.
func (t *tx) markDue(org, q string, args ...any) (int, error) {
	rows, err := list(t, one[int64], q, args...)
	if err != nil {
		return 0, err
	}
	return t.mark(org, rows)
}

// mark is markDue for rows by id.
func (t *tx) mark(org string, rows []int64) (int, error) {
	n := 0
	woken := map[int64]bool{}
	for _, id := range rows {
		cs, err := list(t, one[int64], `UPDATE ledger SET due = due + 1 WHERE id = ? AND org = ? AND fate IN ('pending', 'linked',
			'unmatched', 'excluded', 'internal', 'automated', 'failed') RETURNING conn`, id, org)
		if err != nil {
			return n, err
		}
		for _, c := range cs {
			n++
			woken[c] = true
		}
	}
	for c := range woken {
		if _, err := t.exec(`UPDATE connection SET wake = wake + 1 WHERE id = ?`, c); err != nil {
			return n, err
		}
	}
	return n, nil
}
