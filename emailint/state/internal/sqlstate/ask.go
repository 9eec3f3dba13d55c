package sqlstate

import (
	"cmp"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
)

// answers is what a transaction asked of many hashes in one statement, as most pages of mail have nothing to do with what is there: of what is
// known not to be nothing is asked one by one.
type answers struct {
	asked, yes map[state.Hash]bool
	none       bool // there is nothing of the kind
}

// no reports whether the hash was asked for and is not there.
func (a *answers) no(h state.Hash) bool { return a.none || a.asked[h] && !a.yes[h] }

// is notes that a hash is there from now on.
func (a *answers) is(h state.Hash) {
	if a.asked[h] {
		a.yes[h] = true
	}
}

// ask asks a query for hashes, its first argument, and returns which it returns. Further columns are as long.
func (t *tx) ask(hashes []state.Hash, q string, args ...any) (answers, error) {
	return t.askBy(one[[]byte], hashes, q, args...)
}

// askBy is ask with what reads a row, and returns its hash.
func (t *tx) askBy(f func(scanner) ([]byte, error), hashes []state.Hash, q string, args ...any) (a answers, err error) {
	a = answers{asked: map[state.Hash]bool{}, yes: map[state.Hash]bool{}}
	hs := make([][]byte, len(hashes))
	for i, h := range hashes {
		if h != "" {
			a.asked[h], hs[i] = true, []byte(h)
		}
	}
	found, err := listEach(t, f, q, append([]any{hs}, args...)...)
	for _, h := range found {
		a.yes[state.Hash(h)] = true
	}
	return a, err
}

// askCited asks which Message-IDs some mail cites.
func (t *tx) askCited(org string, hashes []state.Hash) (answers, error) {
	return t.ask(hashes, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM cite c JOIN ledger l ON l.id = c.row_id WHERE c.hash = ?1 AND l.org = ?2)`, org)
}

// known is what is asked of mails before they are settled, or before their threads are looked up.
type known struct {
	aliases      answers // Message-IDs that an Email has
	fingerprints answers // an Email has them

	cited     answers              // Message-IDs of mail that gives a value, which some mail cites
	namesakes answers              // those of them that another row has
	givers    map[state.Hash]int64 // the row that gives them

	shown         answers                // Message-IDs that a row has
	carriers      map[state.Hash][]int64 // the Emails that have them
	spoken        answers                // Message-IDs of which people said something
	threadsSpoken bool                   // of any thread
	mailsSpoken   *bool                  // of any mail by its fingerprint; nil: it was not asked for

	declared answers // Message-IDs that the host declared
	declares bool    // it declared any
}

// alone reports whether no row has a Message-ID but the one that is settled.
func (k *known) alone(h state.Hash, settling int64) bool {
	return k.namesakes.no(h) && k.givers[h] == settling
}

// know asks it.
func (t *tx) know(org string, have map[int64]state.Row, ss []state.Settlement) (err error) {
	var ids, fingerprints, giving []state.Hash
	var givers []int64
	t.known.givers = map[state.Hash]int64{}
	for _, st := range ss {
		ids, fingerprints = append(ids, have[st.Row].MessageID), append(fingerprints, st.Fingerprint)
		if v := st.Email; v != nil {
			for _, h := range append([]state.Hash{v.MessageID}, v.Aliases...) {
				giving, givers = append(giving, h), append(givers, st.Row)
				t.known.givers[h] = st.Row
			}
			fingerprints = append(fingerprints, v.Fingerprint)
		}
	}
	if t.known.aliases, err = t.ask(append(ids, giving...), `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM alias WHERE hash = ?1)`); err != nil {
		return err
	}
	if t.known.fingerprints, err = t.askFingerprints(org, fingerprints); err != nil {
		return err
	}
	if t.known.cited, err = t.askCited(org, giving); err != nil {
		return err
	}
	t.known.namesakes, err = t.ask(giving, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM ledger WHERE message_id = ?1 AND org = ?2 AND id <> ?3)`, org, givers)
	return err
}

// askThreads asks what has one answer for all of some questions, and what can be asked for all of them in one statement.
func (t *tx) askThreads(org string, qs []state.ThreadQuery) (err error) {
	var own, cited, fingerprints []state.Hash
	var emails []int64
	for _, q := range qs {
		own, cited, fingerprints = append(own, q.MessageID), append(cited, q.Cites...), append(fingerprints, q.Fingerprint)
		if q.Email != 0 {
			emails = append(emails, q.Email)
		}
	}
	cited = distinct(cited)
	all := distinct(slices.Concat(own, cited))
	if err := t.askCarriers(org, all); err != nil {
		return err
	}
	if t.known.shown, err = t.ask(cited, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM ledger WHERE message_id = ?1 AND org = ?2)`, org); err != nil {
		return err
	}
	if t.known.fingerprints, err = t.askFingerprints(org, distinct(fingerprints)); err != nil {
		return err
	}
	if err := t.askSpoken(org, all); err != nil {
		return err
	}
	if t.known.declares {
		if t.known.declared, err = t.ask(distinct(own), `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM declared WHERE org = ?2 AND hash = ?1)`, org); err != nil {
			return err
		}
	}
	for _, h := range cited {
		emails = append(emails, t.known.carriers[h]...)
	}
	slices.Sort(emails)
	emails = slices.Compact(emails)
	_, err = t.emails(emails[:min(len(emails), maxEmailsRead)]) // which keeps them
	return err
}

// askCarriers asks which Emails have some Message-IDs.
func (t *tx) askCarriers(org string, hashes []state.Hash) error {
	t.known.carriers = map[state.Hash][]int64{}
	var err error
	t.known.aliases, err = t.askBy(func(s scanner) (hash []byte, err error) {
		var id int64
		err = s.Scan(&hash, &id)
		if had := t.known.carriers[state.Hash(hash)]; len(had) < maxCarriers {
			t.known.carriers[state.Hash(hash)] = append(had, id)
		}
		return hash, err
	}, hashes, `SELECT a.hash, e.id FROM /*each*/ alias a JOIN email e ON e.id = a.email WHERE a.hash = ?1 AND e.org = ?2 ORDER BY a.hash, e.id`, org)
	return err
}

// askSpoken asks of which Message-IDs people said something: mostly they said nothing at all. It also asks whether the host declared anything.
func (t *tx) askSpoken(org string, hashes []state.Hash) (err error) {
	var said bool
	if err := t.row(`SELECT (SELECT hash FROM word WHERE org = ?1 ORDER BY org, hash LIMIT 1) IS NOT NULL, EXISTS (SELECT 1 FROM word WHERE org = ?1 AND thread),
		(SELECT host FROM declared WHERE org = ?1 ORDER BY org, host LIMIT 1) IS NOT NULL`, org).Scan(&said, &t.known.threadsSpoken, &t.known.declares); err != nil {
		return err
	}
	if !said {
		t.known.spoken = answers{none: true}
		return nil
	}
	t.known.spoken, err = t.ask(hashes, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM word WHERE org = ?2 AND hash = ?1)`, org)
	return err
}

// askFingerprints asks which fingerprints an Email has.
func (t *tx) askFingerprints(org string, fingerprints []state.Hash) (answers, error) {
	return t.ask(fingerprints, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM email WHERE org = ?2 AND fingerprint = ?1)`, org)
}

// distinct returns each hash once.
func distinct[T cmp.Ordered](of []T) []T {
	slices.Sort(of)
	return slices.Compact(of)
}

// lateness says of rows that come one after the other in one transaction which may be late, see tx.late.
type lateness struct{ cited, spoken answers }

// askLate asks it of the rows with these Message-IDs, before they are stored.
func (t *tx) askLate(org string, ids []state.Hash) (out lateness, err error) {
	if out.cited, err = t.askCited(org, ids); err != nil {
		return out, err
	}
	spoken, err := t.threadsSpoken(org)
	if err != nil || !spoken {
		return out, err
	}
	out.spoken, err = t.ask(ids, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM word WHERE org = ?2 AND hash = ?1 AND thread)`, org)
	return out, err
}

// may reports whether a row may be late: some mail before it cites it, or words on its thread may have to move. What the row cites counts for
// those behind it.
func (a *lateness) may(messageID state.Hash, cites []state.Hash) bool {
	late := messageID != "" && len(cites) > 0 && (!a.cited.no(messageID) || a.spoken.yes[messageID])
	for _, h := range cites {
		a.cited.is(h)
	}
	return late
}
