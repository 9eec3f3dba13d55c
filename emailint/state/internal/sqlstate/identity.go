package sqlstate

import (
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// Which mail is which: rule 12.

// sentAs returns the Email as which the outbox registered what this mailbox sent (rule 12), 0 when there is none.
func (t *tx) sentAs(l state.Lease, r state.Row, fingerprint state.Hash) (int64, error) {
	if fingerprint == "" || t.known.fingerprints.no(fingerprint) {
		return 0, nil
	}
	ids, err := list(t, one[int64], `SELECT e.id FROM email e WHERE e.org = ?1 AND e.fingerprint = ?3 AND e.survivor = 0
		AND EXISTS (SELECT 1 FROM outbox WHERE email = e.id AND org = ?1 AND conn = ?2) ORDER BY NOT EXISTS (SELECT 1 FROM alias WHERE hash = ?4 AND email = e.id), e.id`, l.Org, l.Connection, []byte(fingerprint), blob(r.MessageID))
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

// alsoKnownBy gives an Email the Message-ID by which a service shows it: answers come to that one, also where the service's own answer was lost.
func (t *tx) alsoKnownBy(id int64, h state.Hash) error {
	had, err := t.email(id)
	if err != nil || h == "" || slices.Contains(had.Aliases, h) {
		return err
	}
	e := had
	e.Aliases = append(slices.Clone(e.Aliases), h)
	return t.store(had, &e, false)
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
	made            bool // it is new
	outranked       bool // another copy's envelope stands, by which the row is to be decided
	replaced        bool // rows that were decided by the former envelope are to be decided by this one
	uncompared      bool // another copy's envelope stands, and with it its links: the row's own, which may be better, was not given
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

// give finds or makes the Email that a mail is (rule 12) and brings the mail's value into it. first says that the row was of no Email.
func (t *tx) give(org string, connection int64, v state.EmailValue, from origin, first bool) (out given, err error) {
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
		e := state.Email{Org: org, MessageID: v.MessageID, Fingerprint: v.Fingerprint, Revision: 1, Full: true}
		if err := t.row(`INSERT INTO email (org, message_id, fingerprint, ours, held) VALUES (?, ?, ?, ?, ?) RETURNING id`,
			org, blob(v.MessageID), blob(v.Fingerprint), ours, ours).Scan(&e.ID); err != nil {
			return out, err
		}
		t.known.fingerprints.is(v.Fingerprint)
		out.email, out.made = e.ID, true
		err := t.value(&out, state.Email{}, e, hashes, connection, v, from, first, true)
		return out, err
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
	err = t.value(&out, had, e, hashes, connection, v, from, first, blank)
	return out, err
}

// value brings the mail's value into an Email. had is what is stored, and empty where the Email is new; blank says that it has no envelope.
func (t *tx) value(out *given, had, e state.Email, hashes []state.Hash, connection int64, v state.EmailValue, from origin, first, blank bool) (err error) {
	id := e.ID
	out.uncompared = first && v.Envelope == nil && !v.ThreadDropped && !out.made && !blank && !out.outranked
	if !out.outranked && !out.uncompared {
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
	if v.Declared != 0 && !out.outranked {
		if err := t.declaredIs(&e, v.Declared); err != nil {
			return err
		}
	}
	if len(had.Effective()) == 0 && len(v.Links) > 0 {
		if err := t.leftBehind(&e, connection); err != nil {
			return err
		}
	}
	envelope := out.made && v.Envelope != nil
	if !out.made && v.Envelope != nil && !out.outranked {
		if err := t.row(`SELECT envelope IS NULL OR envelope_tag <> ?1 OR (?1 = '' AND envelope <> ?2) FROM email WHERE id = ?3`,
			v.EnvelopeTag, v.Envelope, id).Scan(&envelope); err != nil {
			return err
		}
	}
	switch {
	case out.made:
	case from == aDraft:
		err = t.do(`UPDATE email SET ours = true WHERE id = ?`, id)
	case from == aCopy:
		err = t.proven(id)
	}
	if err != nil {
		return err
	}
	if err := t.store(had, &e, envelope); err != nil {
		return err
	}
	out.revision = e.Revision
	out.replaced = envelope && (had.Orphaned || !blank && len(v.Links) == 0)
	switch {
	case envelope:
		if err := t.do(`UPDATE email SET envelope = ?, envelope_tag = ?, envelope_revision = revision, rank = ?, envelope_conn = ? WHERE id = ?`,
			v.Envelope, v.EnvelopeTag, v.Rank, connection, id); err != nil {
			return err
		}
		if blank && !out.made { // other copies were not compared with this one
			err = t.do(`UPDATE ledger SET reread = true WHERE email = ?`, id)
		}
	case v.Envelope != nil && !out.outranked: // equal, and of another copy
		err = t.do(`UPDATE email SET rank = ?1, envelope_conn = ?2 WHERE id = ?3 AND rank <> ?1`, v.Rank, connection, id)
	}
	return err
}

// leftBehind takes off an Email that links again the mailboxes that it left while it linked to nothing: nobody could look for it there, as its header
// was not kept.
func (t *tx) leftBehind(e *state.Email, connection int64) error {
	from, to := outboxItems()
	for _, c := range slices.Clone(e.Holders) {
		if c == connection {
			continue
		}
		var here bool
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE email = ? AND conn = ? AND (NOT away OR fate = 'linked' OR item >= ? AND item < ?))`, e.ID, c, from, to).Scan(&here); err != nil {
			return err
		}
		if here {
			continue
		}
		if err := t.do(`UPDATE ledger SET email = 0 WHERE email = ? AND conn = ?`, e.ID, c); err != nil {
			return err
		}
		t.moved = true
		e.Holders = without(e.Holders, c)
	}
	return nil
}

// same returns the Emails that a mail with these Message-IDs and that fingerprint is (rule 12), by id. ours: we are about to send it.
func (t *tx) same(org string, hashes []state.Hash, fingerprint state.Hash, ours bool) (ids []int64, err error) {
	for _, h := range hashes {
		if t.known.aliases.no(h) {
			continue
		}
		found, err := list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email
			WHERE a.hash = ? AND e.org = ? AND e.fingerprint IS NOT DISTINCT FROM ? AND e.survivor = 0`, []byte(h), org, blob(fingerprint))
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	if fingerprint != "" && !t.known.fingerprints.no(fingerprint) {
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
	if err := t.do(`UPDATE email SET held = false WHERE id = ? AND held`, email); err != nil {
		return err
	}
	err := t.do(`UPDATE outbox SET state = 'sent', error = '', copy_at = CASE WHEN copy = '' THEN 0 ELSE copy_at END,
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
	if e.HostID == "" {
		e.HostID = o.HostID
	}
	if err := t.do(`UPDATE declared SET email = ? WHERE email = ? AND email > 0`, e.ID, other); err != nil {
		return err
	}
	e.Dropped, e.Restored = e.Dropped || o.Dropped, (e.Restored || o.Restored) && !e.Dropped && !o.Dropped
	gone := o
	gone.Links, gone.Person, gone.Holders, gone.Aliases, gone.Survivor = nil, nil, nil, nil, e.ID
	if err := t.store(o, &gone, false); err != nil {
		return err
	}
	if err := t.do(`UPDATE ledger SET email = ? WHERE email = ?`, e.ID, other); err != nil {
		return err
	}
	t.moved = true
	if err := t.do(`UPDATE email SET ours = ours OR (SELECT ours FROM email WHERE id = ?1),
		held = held AND (SELECT held FROM email WHERE id = ?1) WHERE id = ?2`, other, e.ID); err != nil {
		return err
	}
	if err := t.do(`UPDATE outbox SET email = ? WHERE email = ?`, e.ID, other); err != nil {
		return err
	}
	if err := t.do(`UPDATE late SET email = ?1 WHERE email = ?2 AND NOT EXISTS (SELECT 1 FROM late o WHERE o.email = ?1 AND o.conn = late.conn)`, e.ID, other); err != nil {
		return err
	}
	// Where both have an intent of one rule, the survivor's is the one.
	if err := t.do(`UPDATE intent SET email = ?1 WHERE email = ?2
		AND NOT EXISTS (SELECT 1 FROM intent o WHERE o.email = ?1 AND o.conn = intent.conn AND o.rule = intent.rule)`, e.ID, other); err != nil {
		return err
	}
	err = t.do(`UPDATE intent SET state = 'cancelled', undo = false, error = 'the email is another one' WHERE email = ? AND state = 'planned'`, other)
	return err
}
