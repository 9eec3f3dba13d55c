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

// ask asks a query for hashes, its first argument, and returns which it returns.
func (t *tx) ask(hashes []state.Hash, q string, args ...any) (a answers, err error) {
	a = answers{map[state.Hash]bool{}, map[state.Hash]bool{}}
	var hs [][]byte
	for _, h := range hashes {
		if h != "" && !a.asked[h] {
			a.asked[h] = true
			hs = append(hs, []byte(h))
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
