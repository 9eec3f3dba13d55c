package sqlstate

import "github.com/intellicon/email-integration/emailint/state"

// answers is what a transaction asked of many hashes in one statement, as most pages of mail have nothing to do with what is there: of what is
// known not to be nothing is asked one by one.
type answers struct{ asked, yes map[state.Hash]bool }

// no reports whether the hash was asked for and is not there.
func (a *answers) no(h state.Hash) bool { return a.asked[h] && !a.yes[h] }

// is notes that a hash is there from now on.
func (a *answers) is(h state.Hash) {
	if a.asked[h] {
		a.yes[h] = true
	}
}

// ask asks a query for hashes, its first argument, and returns which it returns. Further columns are as long.
func (t *tx) ask(hashes []state.Hash, q string, args ...any) (a answers, err error) {
	a = answers{map[state.Hash]bool{}, map[state.Hash]bool{}}
	hs := make([][]byte, len(hashes))
	for i, h := range hashes {
		if h != "" {
			a.asked[h], hs[i] = true, []byte(h)
		}
	}
	found, err := listEach(t, one[[]byte], q, append([]any{hs}, args...)...)
	for _, h := range found {
		a.yes[state.Hash(h)] = true
	}
	return a, err
}

// askCited asks which Message-IDs some mail cites.
func (t *tx) askCited(org string, hashes []state.Hash) (answers, error) {
	return t.ask(hashes, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM cite c JOIN ledger l ON l.id = c.row_id WHERE c.hash = ?1 AND l.org = ?2)`, org)
}

// known is what is asked of mails before they are settled.
type known struct {
	aliases      answers              // Message-IDs that an Email has
	fingerprints answers              // an Email has them
	cited        answers              // Message-IDs of mail that gives a value
	namesakes    answers              // those of them that another row has
	givers       map[state.Hash]int64 // the row that gives them
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
	if t.known.fingerprints, err = t.ask(fingerprints, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM email WHERE org = ?2 AND fingerprint = ?1)`, org); err != nil {
		return err
	}
	if t.known.cited, err = t.askCited(org, giving); err != nil {
		return err
	}
	t.known.namesakes, err = t.ask(giving, `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM ledger WHERE message_id = ?1 AND org = ?2 AND id <> ?3)`, org, givers)
	return err
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
