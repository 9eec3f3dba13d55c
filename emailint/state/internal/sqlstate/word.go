package sqlstate

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// word is a row of the table of that name: something that a person said, at one of the ids on which it is kept.
type word struct {
	hash   state.Hash
	seq    int64 // of the word: all its rows have it, and no other word
	thread bool
	of     state.Hash    // the fingerprint of the mail of which it was said; "": of whichever has the Message-ID, or of a thread
	record linker.Record // zero: it is dropped, or with no restored
	no     bool
	back   bool // it was taken back for all mail that leads up to this id, or for the mail, and may hold at others
}

func (w word) link() linker.Link {
	return linker.Link{Record: w.record, By: linker.ByPerson, Removed: w.no}
}

// wordsOn returns the rows at some hashes in the order in which the words were said.
func (t *tx) wordsOn(org string, hashes []state.Hash, thread bool) (out []word, err error) {
	for _, h := range hashes {
		if t.known.spoken.no(h) {
			continue
		}
		ws, err := list(t, func(s scanner) (w word, err error) {
			var of string
			if err = s.Scan(&w.record.Kind, &w.record.ID, &w.seq, &of, &w.no, &w.back); err != nil {
				return w, err
			}
			w.hash, w.thread = h, thread
			w.of, err = unhexed(of)
			return w, err
		}, `SELECT kind, record, seq, fingerprint, no, back FROM word WHERE org = ? AND hash = ? AND thread = ? ORDER BY kind, record, seq, fingerprint`, org, []byte(h), thread)
		if err != nil {
			return nil, err
		}
		out = append(out, ws...)
	}
	slices.SortStableFunc(out, func(a, b word) int { return int(a.seq - b.seq) })
	return out, nil
}

// hexed is a hash as it is in columns of text: bytes that are empty are NULL, and no part of a key.
func hexed(h state.Hash) string { return hex.EncodeToString([]byte(h)) }

func unhexed(s string) (state.Hash, error) {
	b, err := hex.DecodeString(s)
	return state.Hash(b), err
}

// about leaves out what was said of other mails with the Message-ID of those that have these fingerprints. Where nobody knows one, as of mail without a
// date, it may be any of them: a word that doesn't hold where it was said is worse than one that holds for a namesake, too.
func about(ws []word, of ...state.Hash) []word {
	return slices.DeleteFunc(ws, func(w word) bool { return w.of != "" && !slices.Contains(of, "") && !slices.Contains(of, w.of) })
}

// counting leaves out what was taken back for a mail of which these rows are, or that leads up to their hashes.
func counting(ws []word) []word {
	var back []int64
	for _, w := range ws {
		if w.back {
			back = append(back, w.seq)
		}
	}
	return slices.DeleteFunc(ws, func(w word) bool { return slices.Contains(back, w.seq) })
}

// wordsAbout returns the rows of the words on a record.
func (t *tx) wordsAbout(org string, r linker.Record) ([]word, error) {
	return list(t, func(s scanner) (w word, err error) {
		var hash []byte
		var of string
		if err = s.Scan(&w.seq, &hash, &w.thread, &of, &w.no, &w.back); err != nil {
			return w, err
		}
		w.hash, w.record = state.Hash(hash), r
		w.of, err = unhexed(of)
		return w, err
	}, `SELECT seq, hash, thread, fingerprint, no, back FROM word WHERE org = ? AND kind = ? AND record = ? ORDER BY seq, hash, thread`, org, r.Kind, r.ID)
}

// unsay deletes a row.
func (t *tx) unsay(org string, w word) error {
	err := t.do(`DELETE FROM word WHERE org = ? AND hash = ? AND thread = ? AND kind = ? AND record = ? AND seq = ? AND fingerprint = ?`,
		org, []byte(w.hash), w.thread, w.record.Kind, w.record.ID, w.seq, hexed(w.of))
	return err
}

// otherwise does what a row's other fingerprint does to words on mails. Where the header reads otherwise since, nobody can tell any more of which mail they were said:
// it is whichever has the Message-ID. Where nobody knew the fingerprint, the row may have been the last that may be of an erased Email's mail, and is not.
func (t *tx) otherwise(org string, had, r state.Row) error {
	if had.MessageID == "" || had.MessageID != r.MessageID || had.Fingerprint == r.Fingerprint {
		return nil
	}
	if t.known.mailsSpoken == nil {
		var spoken bool
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM word WHERE org = ? AND fingerprint <> '')`, org).Scan(&spoken); err != nil {
			return err
		}
		t.known.mailsSpoken = &spoken
	}
	if !*t.known.mailsSpoken {
		return nil
	}
	if had.Fingerprint == "" {
		return t.ownerless(org, r.MessageID)
	}
	ws, err := t.wordsOn(org, []state.Hash{had.MessageID}, false)
	if err != nil {
		return err
	}
	for _, w := range ws {
		if w.of != had.Fingerprint {
			continue
		}
		if err := t.unsay(org, w); err != nil {
			return err
		}
		if w.of = ""; w.back {
			w.of = r.Fingerprint
		}
		if err := t.repeat(org, w); err != nil {
			return err
		}
	}
	return nil
}

// ownerless erases words on mails with a Message-ID of which there is no row.
func (t *tx) ownerless(org string, h state.Hash) error {
	ws, err := t.wordsOn(org, []state.Hash{h}, false)
	if err != nil || len(ws) == 0 {
		return err
	}
	rows, err := list(t, one[[]byte], `SELECT DISTINCT fingerprint FROM ledger WHERE message_id = ? AND org = ?`, []byte(h), org)
	if err != nil {
		return err
	}
	var there []state.Hash
	for _, f := range rows {
		there = append(there, state.Hash(f))
	}
	for _, w := range ws {
		if len(there) > 0 && len(about([]word{w}, there...)) > 0 {
			continue
		}
		if err := t.unsay(org, w); err != nil {
			return err
		}
	}
	return nil
}

// keptNoMore is lookAgain for the Emails of which a word was said that is no more.
func (t *tx) keptNoMore(org string, w word) error {
	ids, err := list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email WHERE a.hash = ? AND e.org = ? AND e.survivor = 0`, []byte(w.hash), org)
	if err != nil {
		return err
	}
	es, err := t.emails(ids)
	if err != nil {
		return err
	}
	for _, e := range es {
		if len(about([]word{w}, e.Fingerprint)) == 0 {
			continue
		}
		if err := t.lookAgain(e); err != nil {
			return err
		}
	}
	return nil
}

// repeat stores a row with its word's place among the others. Where two of one word meet, that which takes it back stays.
func (t *tx) repeat(org string, w word) error {
	err := t.do(`INSERT INTO word (seq, org, hash, thread, fingerprint, kind, record, no, back) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (org, hash, thread, kind, record, seq, fingerprint) DO UPDATE SET back = word.back OR excluded.back`, w.seq, org, []byte(w.hash), w.thread, hexed(w.of), w.record.Kind, w.record.ID, w.no, w.back)
	return err
}

// spreadWords lets the words on threads that are kept on one of the ids of a mail hold for all: whoever answers it names any of them.
func (t *tx) spreadWords(org string, ids []state.Hash) error {
	ws, err := t.wordsOn(org, ids, true)
	if err != nil {
		return err
	}
	for _, said := range ws {
		for _, h := range ids {
			if h == said.hash {
				continue
			}
			w := said
			w.hash = h
			if err := t.repeat(org, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveWords is follow for words by hash.
func (t *tx) moveWords(org string, m state.Merge) error {
	ws, err := t.wordsAbout(org, m.From)
	if err != nil {
		return err
	}
	for _, w := range ws {
		if err := t.unsay(org, w); err != nil {
			return err
		}
		w.record = m.To
		if err := t.repeat(org, w); err != nil {
			return err
		}
	}
	return nil
}

// threadsSpoken reports whether anything was said of any thread: mostly nothing was, and the walk up is saved.
func (t *tx) threadsSpoken(org string) (spoken bool, err error) {
	err = t.row(`SELECT EXISTS (SELECT 1 FROM word WHERE org = ? AND thread)`, org).Scan(&spoken)
	return spoken, err
}

// words fills in what people said of the mail that asks, and of its thread, after askThreads.
func (t *tx) words(org string, q state.ThreadQuery, out *state.Thread) error {
	own := []state.Hash{}
	if q.MessageID != "" {
		own = append(own, q.MessageID)
	}
	var e state.Email
	var err error
	if q.Email != 0 {
		e, err = t.emailIn(org, q.Email)
	} else {
		var ids []int64
		if ids, err = t.same(org, own, q.Fingerprint, false); err == nil && len(ids) > 0 {
			e, err = t.email(ids[0])
		}
	}
	if err != nil {
		return err
	}
	for _, a := range e.Aliases {
		if !slices.Contains(own, a) {
			own = append(own, a)
		}
	}
	var links []linker.Link
	drop := func(ws []word) (said, dropped bool) {
		for _, w := range ws {
			if w.record == (linker.Record{}) {
				said, dropped = true, !w.no
				continue
			}
			links = say(links, w.link())
		}
		return said, dropped
	}
	if t.known.threadsSpoken {
		// Its own id counts as it is, and not where other mails with that id lead: anybody can send one.
		all, _, err := t.ancestors(org, q.Cites)
		if err != nil {
			return err
		}
		for _, h := range own {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
		ws, err := t.wordsOn(org, all, true)
		if err != nil {
			return err
		}
		_, out.ThreadDropped = drop(counting(ws))
	}
	ws, err := t.wordsOn(org, own, false)
	if err != nil {
		return err
	}
	ws = counting(about(ws, cmp.Or(q.Fingerprint, e.Fingerprint)))
	said, dropped := drop(ws)
	for _, l := range e.Person {
		links = say(links, l)
	}
	if e.Dropped || e.Restored {
		said, dropped = true, e.Dropped
	}
	if out.Declared, err = t.declaredAs(org, e, own); err != nil {
		return err
	}
	out.Words = links
	out.Spoken = len(ws) > 0 || e.Spoken()
	out.Dropped = dropped || !said && out.ThreadDropped
	return nil
}

// Correct implements state.Emails.
func (s *Store) Correct(ctx context.Context, org string, c state.Correction) error {
	return s.write(ctx, org, func(t *tx) error {
		if c.Change != 0 {
			change, _, _, err := t.numbers(org)
			if err != nil {
				return err
			}
			if change != c.Change {
				return state.ErrStale
			}
		}
		var es []state.Email
		var start []state.Hash
		var rows []state.Row
		switch {
		case c.Email != 0:
			e, err := t.emailIn(org, c.Email)
			for err == nil && e.Survivor != 0 {
				e, err = t.emailIn(org, e.Survivor)
			}
			if err != nil {
				return err
			}
			es, start = append(es, e), e.Aliases
			if rows, err = t.copies(e); err != nil {
				return err
			}
			if len(rows) == 0 && len(start) == 0 && e.Fingerprint == "" {
				return state.ErrNotFound // its last mailbox was erased
			}
		case c.MessageID != "":
			start = []state.Hash{c.MessageID}
			var err error
			if rows, err = list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE message_id = ? AND org = ? ORDER BY id`, []byte(c.MessageID), org); err != nil {
				return err
			}
			ids, err := list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email WHERE a.hash = ? AND e.org = ? AND e.survivor = 0
				ORDER BY e.id LIMIT 20`, []byte(c.MessageID), org)
			if err != nil {
				return err
			}
			if es, err = t.emails(ids); err != nil {
				return err
			}
			for _, e := range es { // by whatever id it is cited
				for _, a := range e.Aliases {
					if !slices.Contains(start, a) {
						start = append(start, a)
					}
				}
				more, err := t.copies(e)
				if err != nil {
					return err
				}
				for _, r := range more {
					if r.MessageID != c.MessageID {
						rows = append(rows, r)
					}
				}
			}
		default:
			return errors.New("state: a correction names neither an email nor a Message-ID")
		}
		if c.Thread {
			reached, tops, err := t.tops(org, rows, start)
			if err != nil {
				return err
			}
			if len(tops) > 0 {
				if err := t.pronounce(org, tops, reached, true, whichever, c); err != nil {
					return err
				}
				// A copy of what we sent may be known by another id than that by which it was registered.
				for _, e := range es {
					if _, err := t.markDue(org, `SELECT id FROM ledger WHERE email = ?`, e.ID); err != nil {
						return err
					}
				}
				return nil
			}
		}
		if c.Email == 0 {
			at := []state.Hash{c.MessageID}
			for _, r := range c.Forget {
				if err := t.retract(org, at, at, false, whichever, r); err != nil {
					return err
				}
			}
			if of := meant(c.MessageID, rows, es); len(of) > 0 {
				if err := t.pronounce(org, at, at, false, of, c); err != nil {
					return err
				}
			}
		}
		for _, e := range es {
			if err := t.correct(org, e, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// whichever stands for every mail with the Message-ID, and for that of later, too.
var whichever = []state.Hash{""}

// meant returns the fingerprints of the mails with a Message-ID, of which these are the rows and these are Emails, that are no Email. Where nobody knows one
// yet, it is whichever has the id.
func meant(id state.Hash, rows []state.Row, es []state.Email) (of []state.Hash) {
	for _, r := range rows {
		switch {
		case r.MessageID != id || slices.ContainsFunc(es, func(e state.Email) bool { return e.ID == r.Email || e.Fingerprint == r.Fingerprint }):
		case r.Fingerprint == "":
			return whichever
		case !slices.Contains(of, r.Fingerprint):
			of = append(of, r.Fingerprint)
		}
	}
	if len(of)+len(es) == 0 {
		return whichever
	}
	return of
}

// copies returns the rows of an Email, and those of its mail that left while it linked to nothing: they are none of its any more, and tell all the same
// what it answers.
func (t *tx) copies(e state.Email) ([]state.Row, error) {
	rows, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE email = ? ORDER BY conn, id`, e.ID)
	if err != nil {
		return nil, err
	}
	for _, h := range e.Aliases {
		left, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE message_id = ? AND org = ? AND fingerprint IS NOT DISTINCT FROM ? AND email <> ?
			ORDER BY conn, id`, []byte(h), e.Org, blob(e.Fingerprint), e.ID)
		if err != nil {
			return nil, err
		}
		rows = append(rows, left...)
	}
	return rows, nil
}

// correct stores a word with the Email it was said on.
func (t *tx) correct(org string, had state.Email, c state.Correction) error {
	e := had
	e.Person = slices.Clone(e.Person)
	if len(c.Forget) > 0 {
		e.Person = slices.DeleteFunc(e.Person, func(p linker.Link) bool { return slices.Contains(c.Forget, p.Record) })
		ws, err := t.wordsOn(org, e.Aliases, false)
		if err != nil {
			return err
		}
		for _, w := range about(ws, e.Fingerprint) {
			if !slices.Contains(c.Forget, w.record) {
				continue
			}
			if w.of != "" || e.Fingerprint == "" {
				err = t.unsay(org, w)
			} else { // it may be of others, too
				w.of, w.back = e.Fingerprint, true
				err = t.repeat(org, w)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, l := range c.Links {
		l.By = linker.ByPerson
		e.Person = say(e.Person, l)
	}
	if c.Drop || c.Restore {
		e.Dropped, e.Restored = c.Drop, c.Restore
	}
	if err := t.store(had, &e, false); err != nil {
		return err
	}
	if err := t.lookAgain(e); err != nil { // what was said by its Message-ID is gone as well
		return err
	}
	// Its own rows: what hangs on a record that is not meant is found by deciding anew. They may not be attached to it now.
	if _, err := t.markDue(org, `SELECT id FROM ledger WHERE email = ?`, e.ID); err != nil {
		return err
	}
	for _, h := range e.Aliases {
		if _, err := t.markDue(org, `SELECT id FROM ledger WHERE message_id = ? AND org = ? AND email <> ?`, []byte(h), org, e.ID); err != nil {
			return err
		}
	}
	if len(e.Aliases) == 0 && e.Fingerprint != "" {
		if _, err := t.markDue(org, `SELECT id FROM ledger WHERE fingerprint = ? AND message_id IS NULL AND org = ? AND email <> ?`, []byte(e.Fingerprint), org, e.ID); err != nil {
			return err
		}
	}
	return t.wakeHolders(e.ID)
}

// pronounce keeps words at some hashes, in place of what was said so far of the mail that they are said of: that stands at all that it reaches. Those on
// mails themselves, and not on a thread, are of the mails with these fingerprints.
func (t *tx) pronounce(org string, hashes, reached []state.Hash, thread bool, of []state.Hash, c state.Correction) error {
	set := func(r linker.Record, no bool) error {
		if err := t.retract(org, hashes, reached, thread, of, r); err != nil {
			return err
		}
		w := word{thread: thread, record: r, no: no}
		var err error
		if w.seq, err = t.nextWord(org); err != nil {
			return err
		}
		for _, w.of = range of {
			for _, w.hash = range hashes {
				if err := t.repeat(org, w); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, r := range c.Forget {
		if err := t.retract(org, hashes, reached, thread, of, r); err != nil {
			return err
		}
	}
	for _, l := range c.Links {
		if err := set(l.Record, l.Removed); err != nil {
			return err
		}
	}
	if c.Drop || c.Restore {
		if err := set(linker.Record{}, c.Restore); err != nil {
			return err
		}
	}
	for _, h := range hashes {
		if _, err := t.markDue(org, `SELECT id FROM ledger WHERE message_id = ? AND org = ?`, []byte(h), org); err != nil {
			return err
		}
	}
	return t.markDescendants(org, hashes, 0, false, nil)
}

// retract ends what was said on a record of a mail that reaches some hashes, for all mail that leads up to some of them. A word that is kept at
// others, too, holds there: a thread may have several tops, and not every mail leads up to all. What was said of other mails than those with these
// fingerprints stays.
func (t *tx) retract(org string, hashes, reached []state.Hash, thread bool, of []state.Hash, r linker.Record) error {
	ws, err := t.wordsOn(org, reached, thread)
	if err != nil {
		return err
	}
	ws = slices.DeleteFunc(about(ws, of...), func(w word) bool { return w.record != r })
	for i, w := range ws {
		if i > 0 && w.seq == ws[i-1].seq && w.of == ws[i-1].of {
			continue
		}
		rows, err := list(t, one[[]byte], `SELECT hash FROM word WHERE org = ? AND kind = ? AND record = ? AND seq = ? AND fingerprint = ? AND NOT back`,
			org, r.Kind, r.ID, w.seq, hexed(w.of))
		if err != nil {
			return err
		}
		elsewhere := slices.ContainsFunc(rows, func(h []byte) bool { return !slices.Contains(hashes, state.Hash(h)) })
		for _, w.hash = range hashes {
			w.back = true
			if !elsewhere {
				err = t.unsay(org, w)
			} else {
				err = t.repeat(org, w)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// nextWord is the place of a new word: behind all that were said.
func (t *tx) nextWord(org string) (seq int64, err error) {
	err = t.row(`SELECT coalesce(max(seq), 0) + 1 FROM word WHERE org = ?`, org).Scan(&seq)
	return seq, err
}

// raise takes the words on a thread up from an id that is no longer its only top.
func (t *tx) raise(org string, from state.Hash) error {
	ws, err := t.wordsOn(org, []state.Hash{from}, true)
	if err != nil || len(ws) == 0 {
		return err
	}
	_, tops, err := t.ancestors(org, []state.Hash{from})
	if err != nil {
		return err
	}
	if !slices.Contains(tops, from) {
		if err := t.do(`DELETE FROM word WHERE org = ? AND hash = ? AND thread`, org, []byte(from)); err != nil {
			return err
		}
	}
	for _, h := range tops {
		if h == from {
			continue
		}
		for _, w := range ws {
			w.hash = h
			if err := t.repeat(org, w); err != nil {
				return err
			}
		}
		if _, err := t.markDue(org, `SELECT id FROM ledger WHERE message_id = ? AND org = ?`, []byte(h), org); err != nil {
			return err
		}
	}
	return t.markDescendants(org, tops, 0, false, nil)
}
