package sqlstate

import (
	"context"
	"math"
	"slices"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

const (
	// maxCited bounds the walk up a thread: References may be forged, and as long as a header may be.
	maxCited = 200
	// maxDescendants bounds the walk down.
	maxDescendants = 5000
	// maxCarriers bounds the Emails of one Message-ID that count: anybody can send it again.
	maxCarriers = 20

	// maxID is above every row's id.
	maxID = math.MaxInt64
)

// Threads implements state.Ledger.
func (s *Store) Threads(ctx context.Context, org string, qs []state.ThreadQuery) (out []state.Thread, err error) {
	err = s.read(ctx, func(t *tx) error {
		out = make([]state.Thread, len(qs))
		if err := t.askThreads(org, qs); err != nil {
			return err
		}
		if err := t.met(org, qs, out); err != nil {
			return err
		}
		for i, q := range qs {
			if out[i].Links, err = t.threadLinks(org, q); err != nil {
				return err
			}
			if err := t.words(org, q, &out[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// met says of which mails a copy was decided before.
func (t *tx) met(org string, qs []state.ThreadQuery, out []state.Thread) error {
	type asked struct {
		ids, fingerprints [][]byte
		rows, at          []int64
	}
	var named, nameless asked
	for i, q := range qs {
		a := &named
		switch {
		case q.MessageID == "" && q.Fingerprint == "":
			continue
		case q.MessageID == "":
			a = &nameless
		}
		a.ids, a.fingerprints = append(a.ids, []byte(q.MessageID)), append(a.fingerprints, []byte(q.Fingerprint))
		a.rows, a.at = append(a.rows, q.Row), append(a.at, int64(i))
	}
	found, err := listEach(t, one[int64], `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM ledger WHERE message_id = ?2 AND fingerprint IS NOT DISTINCT FROM ?3
		AND org = ?4 AND id <> ?5 AND fate IN ('linked', 'unmatched', 'excluded', 'internal', 'automated'))`, named.at, named.ids, named.fingerprints, org, named.rows)
	if err != nil {
		return err
	}
	more, err := listEach(t, one[int64], `SELECT ?1 /*each*/ WHERE EXISTS (SELECT 1 FROM ledger WHERE fingerprint = ?2 AND message_id IS NULL
		AND org = ?3 AND id <> ?4 AND fate IN ('linked', 'unmatched', 'excluded', 'internal', 'automated'))`, nameless.at, nameless.fingerprints, org, nameless.rows)
	for _, i := range append(found, more...) {
		out[i].Met = true
	}
	return err
}

func (t *tx) threadLinks(org string, q state.ThreadQuery) (out []linker.Link, err error) {
	seen := map[state.Hash]bool{}
	got := map[linker.Record]bool{}
	take := func(e state.Email) bool {
		if e.ID == q.Email || e.Survivor != 0 || q.MessageID != "" && e.Fingerprint == q.Fingerprint && slices.Contains(e.Aliases, q.MessageID) {
			return false
		}
		direct := false
		for _, l := range e.Effective() {
			if l.Direct() {
				direct = true
				if !got[l.Record] {
					got[l.Record] = true
					out = append(out, l)
				}
			}
		}
		return direct
	}
	queue := slices.Clone(q.Cites)
	if len(queue) == 0 && q.Thread != "" {
		rows, err := list(t, scanRow, `SELECT `+rowColumns+` FROM ledger WHERE conn = ? AND org = ? AND thread = ? AND id <> ?
			AND received < ? ORDER BY received DESC, id DESC LIMIT ?`, q.Connection, org, q.Thread, q.Row, stamp(q.Before), maxCited)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Email == 0 {
				continue
			}
			e, err := t.email(r.Email)
			if err != nil {
				return nil, err
			}
			take(e)
		}
	}
	for len(queue) > 0 && len(seen) < maxCited {
		h := queue[0]
		queue = queue[1:]
		if h == "" || seen[h] {
			continue
		}
		seen[h] = true
		ids, err := t.carriers(org, h)
		if err != nil {
			return nil, err
		}
		es, err := t.emails(ids)
		if err != nil {
			return nil, err
		}
		direct := false
		for _, e := range es {
			direct = take(e) || direct
		}
		if direct {
			continue
		}
		parents, _, err := t.cited(org, h, q.Row, q.Email)
		if err != nil {
			return nil, err
		}
		queue = append(queue, parents...)
	}
	return out, nil
}

// carriers returns the first Emails that are known by a Message-ID.
func (t *tx) carriers(org string, h state.Hash) ([]int64, error) {
	if t.known.carriers != nil && t.known.aliases.asked[h] {
		return t.known.carriers[h], nil
	}
	return list(t, one[int64], `SELECT e.id FROM alias a JOIN email e ON e.id = a.email WHERE a.hash = ? AND e.org = ? ORDER BY e.id LIMIT ?`,
		[]byte(h), org, maxCarriers)
}

// cited returns what the mails with a Message-ID cite, without the row and the email that ask, and whether the id is a top: nobody has seen it,
// or one of its mails cites nothing.
func (t *tx) cited(org string, h state.Hash, row, email int64) (out []state.Hash, top bool, err error) {
	if t.known.shown.no(h) && t.known.aliases.no(h) {
		return nil, true, nil
	}
	// What we sent has several Message-IDs, and the rows of its copies one of them each.
	packed, err := list(t, one[[]byte], `SELECT cites FROM ledger WHERE message_id = ?1 AND org = ?2 AND id <> ?3 AND (email = 0 OR email <> ?4)
		UNION SELECT l.cites FROM alias a JOIN ledger l ON l.email = a.email
		WHERE a.hash = ?1 AND l.org = ?2 AND l.id <> ?3 AND a.email <> ?4 ORDER BY 1 LIMIT 20`, []byte(h), org, row, email)
	top = len(packed) == 0
	for _, p := range packed {
		top = top || len(p) == 0
		for _, u := range unpackHashes(p) {
			if u != h {
				out = append(out, u)
			}
		}
	}
	return out, top, err
}

// ancestors returns the hashes that some lead up to, themselves included, and those at the top. In a circle, where there is no top, all
// of them are.
func (t *tx) ancestors(org string, from []state.Hash) (all, tops []state.Hash, err error) {
	seen := map[state.Hash]bool{}
	for queue := slices.Clone(from); len(queue) > 0 && len(seen) < maxCited; {
		h := queue[0]
		queue = queue[1:]
		if h == "" || seen[h] {
			continue
		}
		seen[h] = true
		all = append(all, h)
		up, top, err := t.cited(org, h, 0, 0)
		if err != nil {
			return nil, nil, err
		}
		if top || len(up) == 0 {
			tops = append(tops, h)
		}
		queue = append(queue, up...)
	}
	if len(tops) == 0 {
		tops = slices.Clone(all)
	}
	return all, tops, nil
}

// tops returns the ids that some rows reach, their own among them, and those of these at the top of their threads: what they lead up to, or else
// the ids that they have themselves.
func (t *tx) tops(org string, rows []state.Row, own []state.Hash) (reached, tops []state.Hash, err error) {
	root := len(rows) == 0
	var cites []state.Hash
	for _, r := range rows {
		root = root || len(r.Cites) == 0
		cites = append(cites, r.Cites...)
	}
	if reached, tops, err = t.ancestors(org, cites); err != nil {
		return nil, nil, err
	}
	for _, h := range own {
		if !slices.Contains(reached, h) {
			reached = append(reached, h)
		}
		if root && !slices.Contains(tops, h) {
			tops = append(tops, h)
		}
	}
	return reached, tops, nil
}

// markBelow makes the rows due that inherit from an Email, and returns how many.
func (t *tx) markBelow(org string, e state.Email) (int, error) {
	if !slices.ContainsFunc(e.Effective(), linker.Link.Direct) {
		return 0, nil
	}
	below, err := t.descendants(org, e.Aliases, e.ID, true, nil, nil)
	if err != nil {
		return 0, err
	}
	return t.mark(org, below)
}

// markDescendants makes the rows due that cite one of the hashes, or a row that does: on the way up from them it may be walked through. Rows
// of one email are left out. links: only what they inherit may have changed, and no word on a thread. Then gives, where it is not empty, are all records
// that they may inherit from there and not from elsewhere.
func (t *tx) markDescendants(org string, hashes []state.Hash, except int64, links bool, gives []linker.Record) error {
	rows, err := t.descendants(org, hashes, except, links, gives, nil)
	if err != nil {
		return err
	}
	_, err = t.mark(org, rows)
	return err
}

// descendants returns the rows below some hashes. links: those that would inherit links from there, which pass no mail that has links of its
// own; in a long thread that is few, and otherwise each mail of it would mark all later ones. gives: without those that have all of these records by
// themselves, see unmoved. enough may say of a row, by what it cites, that neither it nor those below it count.
func (t *tx) descendants(org string, hashes []state.Hash, except int64, links bool, gives []linker.Record, enough func(cites []state.Hash) bool) (out []int64, err error) {
	type below struct {
		id, email int64
		messageID []byte
		cites     []byte
		open      bool // a row of its email is due, or was decided by other rules
	}
	seen := map[state.Hash]bool{}
	had := map[int64]bool{}
	still := 0 // rows that stay as they are
	for queue := slices.Clone(hashes); len(queue) > 0 && len(out)+still < maxDescendants; {
		h := queue[0]
		queue = queue[1:]
		if h == "" || seen[h] {
			continue
		}
		seen[h] = true
		if t.known.cited.no(h) {
			continue
		}
		rows, err := list(t, func(s scanner) (b below, err error) {
			err = s.Scan(&b.id, &b.email, &b.messageID, &b.cites, &b.open)
			return b, err
		}, `SELECT l.id, l.email, l.message_id, l.cites, CASE WHEN l.email = 0 OR NOT ?4 THEN true ELSE EXISTS (SELECT 1 FROM ledger o
			WHERE o.email = l.email AND (o.due > o.settled OR o.rules < coalesce((SELECT rules FROM org WHERE id = ?2), 0))) END FROM cite c JOIN ledger l ON l.id = c.row_id WHERE c.hash = ?1 AND l.org = ?2
			ORDER BY c.row_id LIMIT ?3`, []byte(h), org, maxDescendants, links && len(gives) > 0)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r below) bool {
			skip := had[r.id] || except != 0 && r.email == except || enough != nil && enough(unpackHashes(r.cites))
			had[r.id] = true
			return skip
		})
		var ids []int64
		for _, r := range rows {
			if r.email != 0 {
				ids = append(ids, r.email)
			}
		}
		es, err := t.sketches(ids) // they may be known by other Message-IDs as well
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			var e state.Email
			if r.email != 0 {
				e, es = es[0], es[1:]
			}
			if !r.open && unmoved(e, gives) {
				still++
			} else {
				out = append(out, r.id)
			}
			ends := links && slices.ContainsFunc(e.Effective(), linker.Link.Direct)
			for _, a := range e.Aliases {
				if ends && !slices.Contains(hashes, a) {
					seen[a] = true
				}
				queue = append(queue, a)
			}
			queue = append(queue, state.Hash(r.messageID))
		}
	}
	return out, nil
}

// unmoved reports whether an Email has the same links whatever it inherits of some records, and of those that it inherited so far. History is read
// newest first, and most replies are among the people of the mail that they answer.
//
//   - It has all of the records by its own addresses or domains. A link by thread is weaker, and what hangs on the records was looked for.
//   - None of its links is by thread, so what it inherited so far made no difference, and none a person's or the host's: on that record would hang
//     something only where it is inherited, too.
//   - Each of its rows is decided, and by the present rules, which the caller has seen to. A decision under way may find that it has them no more; it
//     doesn't know what is above.
func unmoved(e state.Email, records []linker.Record) bool {
	if e.Spoken() || slices.ContainsFunc(e.Links, func(l linker.Link) bool {
		return l.By == linker.ByThread || l.By == linker.ByPerson || l.By == linker.ByHost
	}) {
		return false
	}
	for _, r := range records {
		if !slices.ContainsFunc(e.Links, func(l linker.Link) bool { return l.Record == r && l.Direct() }) {
			return false
		}
	}
	return true
}

// above reports what some ids lead up to: links that those below them inherit, and words on their threads.
func (t *tx) above(org string, cites []state.Hash) (links bool, words []word, err error) {
	spoken, err := t.threadsSpoken(org)
	if err != nil {
		return false, nil, err
	}
	if spoken {
		all, _, err := t.ancestors(org, cites)
		if err != nil {
			return false, nil, err
		}
		if words, err = t.wordsOn(org, all, true); err != nil {
			return false, nil, err
		}
	}
	found, err := t.threadLinks(org, state.ThreadQuery{Cites: cites})
	return len(found) > 0, words, err
}

// late tells those below a row that came, or whose header was read, after them: it may be what connects them to mails further up.
// Words on its thread move up to the new top. Rows with an id above last don't count yet: they came behind it in the same page.
func (t *tx) late(org string, row, last int64, messageID state.Hash, cites []state.Hash) error {
	if messageID == "" || len(cites) == 0 {
		return nil
	}
	// A copy of what is known connects nothing anew.
	var known bool
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE message_id = ? AND org = ? AND id <> ? AND id <= ? AND cites = ?)`, []byte(messageID), org, row,
		last, packHashes(cites)).Scan(&known); err != nil || known {
		return err
	}
	var cited bool
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM cite c JOIN ledger l ON l.id = c.row_id WHERE c.hash = ? AND l.org = ? AND l.id <> ? AND l.id <= ?)`,
		[]byte(messageID), org, row, last).
		Scan(&cited); err != nil || !cited {
		if err == nil {
			err = t.raiseFirst(org, row, last, messageID)
		}
		return err
	}
	// Where nothing is to be had further up they stay as they are: should there be something later, it finds its way down through this row.
	links, words, err := t.above(org, cites)
	if err != nil {
		return err
	}
	if links || len(words) > 0 {
		rows, err := t.descendants(org, []state.Hash{messageID}, 0, len(words) == 0, nil, func(have []state.Hash) bool {
			for _, c := range cites {
				if !slices.Contains(have, c) {
					return false
				}
			}
			return true
		})
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(id int64) bool { return id == row })
		if _, err := t.mark(org, rows); err != nil {
			return err
		}
	}
	return t.raiseFirst(org, row, last, messageID)
}

// raiseFirst is raise for the first mail with an id.
func (t *tx) raiseFirst(org string, row, last int64, messageID state.Hash) error {
	// Of an id that was shown before this is another mail, and anybody can send one: it takes no words with it. A copy that was not read was not
	// shown: what it answers may not be known yet.
	var namesake bool
	if err := t.row(`SELECT EXISTS (SELECT 1 FROM ledger WHERE message_id = ?1 AND org = ?2 AND id <> ?3 AND id <= ?4 AND (fate IN ('linked', 'unmatched', 'excluded', 'internal', 'automated')
		OR fingerprint IS DISTINCT FROM (SELECT fingerprint FROM ledger WHERE id = ?3)))`, []byte(messageID), org, row, last).Scan(&namesake); err != nil || namesake {
		return err
	}
	return t.raise(org, messageID)
}
