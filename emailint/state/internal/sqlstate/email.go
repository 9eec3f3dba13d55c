package sqlstate

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// email reads an Email with its aliases and holders.
func (t *tx) email(id int64) (state.Email, error) {
	es, err := t.emails([]int64{id})
	if err != nil {
		return state.Email{}, err
	}
	return es[0], nil
}

func scanEmail(s scanner) (e state.Email, err error) {
	var messageID, fingerprint []byte
	var links, person string
	var nextTry, rank int64
	err = s.Scan(&e.ID, &e.Org, &messageID, &fingerprint, &e.HostID, &links, &person, &e.Dropped, &e.Restored, &e.ThreadDropped, &e.Survivor, &e.Revision, &e.Saved,
		&e.Attempted, &e.Full, &e.Envelope, &rank, &e.Error, &e.Tries, &nextTry)
	if err != nil {
		return e, err
	}
	e.MessageID, e.Fingerprint, e.NextTry = state.Hash(messageID), state.Hash(fingerprint), unstamp(nextTry)
	e.Orphaned = len(e.Envelope) > 0 && rank <= state.RankKept
	if err := unmarshalLinks(links, &e.Links); err != nil {
		return e, err
	}
	return e, unmarshalLinks(person, &e.Person)
}

func unmarshalLinks(s string, ls *[]linker.Link) error {
	if s == "[]" { // as most are of what persons said
		*ls = []linker.Link{}
		return nil
	}
	return json.Unmarshal([]byte(s), ls)
}

// maxEmailsRead bounds the Emails that are kept in memory, of 1 to 2 KB each.
const maxEmailsRead = 5000

// emails reads Emails in the order of their ids as they are given; ErrNotFound where one is missing.
func (t *tx) emails(ids []int64) ([]state.Email, error) {
	at := map[int64]*state.Email{}
	if !t.writes { // nobody changes them meanwhile
		if t.emailsRead == nil || len(t.emailsRead)+len(ids) > maxEmailsRead {
			t.emailsRead = map[int64]*state.Email{}
		}
		at = t.emailsRead
	}
	var missing []int64
	for _, id := range ids {
		if _, asked := at[id]; !asked {
			at[id], missing = nil, append(missing, id)
		}
	}
	if err := t.readEmails(missing, at, true); err != nil {
		return nil, err
	}
	es := make([]state.Email, len(ids))
	for i, id := range ids {
		if at[id] == nil {
			return nil, state.ErrNotFound
		}
		es[i] = *at[id]
	}
	return es, nil
}

// sketches is emails for those who ask for links, holders and aliases only. There may be no envelope.
func (t *tx) sketches(ids []int64) ([]state.Email, error) {
	if !t.writes {
		return t.emails(ids)
	}
	at := map[int64]*state.Email{}
	if err := t.readEmails(distinct(slices.Clone(ids)), at, false); err != nil {
		return nil, err
	}
	es := make([]state.Email, len(ids))
	for i, id := range ids {
		if at[id] == nil {
			return nil, state.ErrNotFound
		}
		es[i] = *at[id]
	}
	return es, nil
}

// readEmails reads Emails into a map, with their envelopes or without.
func (t *tx) readEmails(ids []int64, at map[int64]*state.Email, whole bool) error {
	if len(ids) == 0 {
		return nil
	}
	found, err := listEach(t, scanEmail, `SELECT id, org, message_id, fingerprint, host, links, person, dropped, restored, thread_dropped, survivor, revision, saved,
		attempted, NOT known OR envelope_revision > saved, CASE WHEN ?2 THEN envelope END, rank, error, tries, next_try FROM /*each*/ email WHERE id = ?1`, ids, whole)
	if err != nil {
		return err
	}
	for i := range found {
		at[found[i].ID] = &found[i]
	}
	type part struct {
		email, conn int64
		hash        []byte // of an alias
	}
	parts, err := listEach(t, func(s scanner) (p part, err error) {
		err = s.Scan(&p.email, &p.conn, &p.hash)
		return p, err
	}, `SELECT email, conn, NULL FROM /*each*/ holder WHERE email = ?1 UNION ALL SELECT email, 0, hash FROM /*each*/ alias WHERE email = ?1 ORDER BY 1, 2, 3`, ids)
	if err != nil {
		return err
	}
	for _, p := range parts {
		e := at[p.email]
		if p.hash == nil {
			e.Holders = append(e.Holders, p.conn)
		} else {
			e.Aliases = append(e.Aliases, state.Hash(p.hash))
		}
	}
	return nil
}

// emailIn is email, of this organisation.
func (t *tx) emailIn(org string, id int64) (state.Email, error) {
	e, err := t.email(id)
	if err == nil && e.Org != org {
		return state.Email{}, state.ErrNotFound
	}
	return e, err
}

// Email implements state.Emails.
func (s *Store) Email(ctx context.Context, org string, id int64) (e state.Email, err error) {
	err = s.read(ctx, func(t *tx) error {
		e, err = t.emailIn(org, id)
		return err
	})
	return e, err
}

// Undelivered implements state.Emails.
func (s *Store) Undelivered(ctx context.Context, org string, connection int64, now time.Time, limit int) (es []state.Email, err error) {
	err = s.read(ctx, func(t *tx) error {
		ids, err := list(t, one[int64], `SELECT id FROM email e WHERE org = ?1 AND revision > saved AND NOT held AND next_try <= ?2
			AND (attempted OR wanted) AND (CAST(?3 AS BIGINT) = 0 OR EXISTS (SELECT 1 FROM holder WHERE email = e.id AND conn = ?3)
				OR NOT EXISTS (SELECT 1 FROM holder h JOIN connection c ON c.id = h.conn WHERE h.email = e.id
					AND (c.state = 'connected' OR c.state NOT IN ('disconnected', 'erasing') AND e.wanted AND (NOT e.known OR e.envelope_revision > e.saved))))
			ORDER BY next_try, id LIMIT ?4`, org, stamp(now), connection, limit)
		if err != nil {
			return err
		}
		es, err = t.emails(ids)
		return err
	})
	return es, err
}

// Attempt implements state.Emails.
func (s *Store) Attempt(ctx context.Context, l state.Lease, ds []state.Delivery) (ids []int64, err error) {
	err = s.write(ctx, l.Org, func(t *tx) error {
		ids = nil
		if l.Connection != 0 {
			if err := t.holds(l); err != nil {
				return err
			}
		}
		var emails, revisions []int64
		for _, d := range ds {
			emails, revisions = append(emails, d.ID), append(revisions, d.Revision)
		}
		current, err := listEach(t, one[int64], `UPDATE email SET attempted = true /*each*/ WHERE id = ?1 AND org = ?2 AND revision = ?3 RETURNING id`,
			emails, l.Org, revisions)
		if err != nil {
			return err
		}
		for _, id := range emails {
			if slices.Contains(current, id) {
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// Done implements state.Emails.
func (s *Store) Done(ctx context.Context, org string, ds []state.Delivery) error {
	return s.write(ctx, org, func(t *tx) error {
		var revisions, ids []int64
		var empty []bool
		for _, d := range ds {
			revisions, ids, empty = append(revisions, d.Revision), append(ids, d.ID), append(empty, d.Empty)
		}
		if err := t.each(`UPDATE email SET saved = ?1, known = NOT ?2, error = '', tries = 0, next_try = 0 /*each*/
			WHERE email.id = ?3 AND email.org = ?4 AND email.saved < ?1`, revisions, empty, ids, org); err != nil {
			return err
		}
		for _, d := range ds {
			if d.Empty {
				if err := t.dropEnvelope(d.ID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Failed implements state.Emails.
func (s *Store) Failed(ctx context.Context, org string, fs []state.Failure) error {
	return s.write(ctx, org, func(t *tx) error {
		for _, f := range fs {
			if err := t.do(`UPDATE email SET error = ?, tries = tries + CASE WHEN ? THEN 0 ELSE 1 END, next_try = ?, known = known AND NOT ?
				WHERE id = ? AND org = ?`, f.Error, f.Outage, stamp(f.NextTry), f.Unknown, f.ID, org); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) wakeHolders(id int64) error {
	err := t.do(`UPDATE connection SET wake = wake + 1 WHERE id IN (SELECT conn FROM holder WHERE email = ?)`, id)
	return err
}

// stands says whether a person's link on the mail itself keeps the Email where it is. It may have been said before the mail was an Email, of its
// Message-ID; what was said since outweighs it.
func (t *tx) stands(e state.Email) (bool, error) {
	ws, err := t.wordsOn(e.Org, e.Aliases, false)
	var said []linker.Link
	for _, w := range counting(about(ws, e.Fingerprint)) {
		if w.record != (linker.Record{}) {
			said = say(said, w.link())
		}
	}
	for _, l := range e.Person {
		said = say(said, l)
	}
	return slices.ContainsFunc(said, func(l linker.Link) bool { return !l.Removed }), err
}

// kept says whether a deletion in a mailbox leaves the Email where it is: a person's link does, and what the host had before is not the mailbox's.
func (t *tx) kept(e state.Email) (bool, error) {
	if e.HostID != "" {
		return true, nil
	}
	return t.stands(e)
}

// lookAgain takes up the deletions that only a person's link kept in the CRM: another look finds that there is nothing, and what is to be done
// then is done now.
func (t *tx) lookAgain(e state.Email) error {
	if kept, err := t.kept(e); err != nil || kept {
		return err
	}
	t.moved = true
	return t.do(`UPDATE ledger SET gone = false, check_at = 0, missed_at = 0 WHERE email = ? AND gone`, e.ID)
}

func without(holders []int64, connection int64) []int64 {
	return slices.DeleteFunc(slices.Clone(holders), func(c int64) bool { return c == connection })
}

// store writes what differs from had, which is empty where the Email was just made, raises the revision when anything does, and makes the rows that cite the Email due when
// what they inherit may have changed (rule 9).
func (t *tx) store(had state.Email, e *state.Email, envelope bool) error {
	slices.Sort(e.Holders)
	inherited := !sameLinks(had.Links, e.Links) || !slices.Equal(had.Person, e.Person) || !slices.Equal(had.Holders, e.Holders) ||
		!slices.Equal(had.Aliases, e.Aliases) || had.Out() != e.Out() || had.Dropped != e.Dropped || had.Restored != e.Restored || had.ThreadDropped != e.ThreadDropped || had.Survivor != e.Survivor
	if !inherited && !envelope && had.HostID == e.HostID && slices.Equal(had.Links, e.Links) {
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
	e.Revision++ // nobody else writes in the organisation
	if err := t.do(`UPDATE email SET links = ?, person = ?, dropped = ?, restored = ?, thread_dropped = ?, survivor = ?, wanted = ?, revision = ? WHERE id = ?`,
		string(links), string(person), e.Dropped, e.Restored, e.ThreadDropped, e.Survivor, len(e.Effective()) > 0, e.Revision, e.ID); err != nil {
		return err
	}
	if had.HostID != e.HostID { // the host makes two emails one, and is given it in full
		if err := t.do(`UPDATE email SET host = ?, envelope_revision = revision WHERE id = ?`, e.HostID, e.ID); err != nil {
			return err
		}
	}
	if len(had.Person)+len(had.Links) > 0 {
		if err := t.do(`DELETE FROM link WHERE email = ?`, e.ID); err != nil {
			return err
		}
	}
	for i, l := range append(slices.Clone(e.Person), e.Links...) {
		if err := t.do(`INSERT INTO link (org, kind, record, email, person) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			e.Org, l.Kind, l.ID, e.ID, i < len(e.Person)); err != nil {
			return err
		}
	}
	if !slices.Equal(had.Person, e.Person) {
		if err := t.lookAgain(*e); err != nil {
			return err
		}
	}
	if !slices.Equal(had.Holders, e.Holders) {
		if len(had.Holders) > 0 {
			if err := t.do(`DELETE FROM holder WHERE email = ?`, e.ID); err != nil {
				return err
			}
		}
		for _, c := range e.Holders {
			if err := t.do(`INSERT INTO holder (email, conn) VALUES (?, ?)`, e.ID, c); err != nil {
				return err
			}
		}
	}
	if !slices.Equal(had.Aliases, e.Aliases) {
		if len(had.Aliases) > 0 {
			if err := t.do(`DELETE FROM alias WHERE email = ?`, e.ID); err != nil {
				return err
			}
		}
		for _, h := range e.Aliases {
			if err := t.do(`INSERT INTO alias (hash, email) VALUES (?, ?)`, []byte(h), e.ID); err != nil {
				return err
			}
			t.known.aliases.is(h)
		}
		if len(had.Aliases) > 0 {
			if err := t.spreadWords(e.Org, e.Aliases); err != nil {
				return err
			}
		}
	}
	// Copies of it that linked to nothing are decided by it from now on.
	was, is := len(had.Effective()) > 0, len(e.Effective()) > 0
	if is != was && had.ID != 0 { // and its other copies follow
		if _, err := t.markDue(e.Org, `SELECT id FROM ledger WHERE email = ? AND id <> ? AND (fate = 'linked') = ?`, e.ID, t.settling, was); err != nil {
			return err
		}
	}
	if is && (!was || !slices.Equal(had.Aliases, e.Aliases)) {
		for _, h := range e.Aliases {
			if t.known.alone(h, t.settling) {
				continue
			}
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
	// With direct links it gives these, and nothing from further up. Without them it gives what is further up, whatever that is.
	var gives []linker.Record
	for _, l := range e.Effective() {
		if l.Direct() {
			gives = append(gives, l.Record)
		}
	}
	if err := t.markDescendants(e.Org, cited, e.ID, !renamed, gives); err != nil {
		return err
	}
	if had.ID == 0 {
		return nil // no row is one of it yet
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
