package main

const (
	settleGo   = "emailint/state/internal/sqlstate/settle.go"
	identityGo = "emailint/state/internal/sqlstate/identity.go"
	dueGo      = "emailint/state/internal/sqlstate/due.go"
	emailGo    = "emailint/state/internal/sqlstate/email.go"
	changeGo   = "emailint/state/internal/sqlstate/change.go"
	connGo     = "emailint/state/internal/sqlstate/connection.go"
	eraseGo    = "emailint/state/internal/sqlstate/erase.go"
	intentsGo  = "emailint/state/internal/sqlstate/intent.go"
	leftGo     = "emailint/state/internal/sqlstate/left.go"
	outboxGo   = "emailint/state/internal/sqlstate/outbox.go"
	pageGo     = "emailint/state/internal/sqlstate/page.go"
	threadGo   = "emailint/state/internal/sqlstate/thread.go"
	wordGo     = "emailint/state/internal/sqlstate/word.go"
	declaredGo = "emailint/state/internal/sqlstate/declared.go"
	decideGo   = "emailint/internal/deliver/decide.go"
	saveGo     = "emailint/internal/deliver/save.go"
	identGo    = "emailint/internal/ident/ident.go"
	intentGo   = "emailint/internal/intent/intent.go"
	passGo     = "emailint/internal/pass/pass.go"
	peopleGo   = "emailint/internal/pass/people.go"
	planGo     = "emailint/internal/pass/plan.go"
	reconGo    = "emailint/internal/reconcile/reconcile.go"
	relinkGo   = "emailint/relink.go"
	dispatchGo = "emailint/dispatch.go"
	copyGo     = "emailint/sentcopy.go"
	linkerGo   = "linker/decide.go"
	memcrmGo   = "emailint/emailinttest/memcrm.go"
)

// teeth bite.
var teeth = []tooth{
	{rule: "rows a", quick: true, seeds: 800, off: "a decision settles a row whatever made it due meanwhile", planted: "a stale decision committed", promise: "R7|R3|R6|R5",
		edits: []edit{{settleGo, `settled = CASE WHEN ?4 AND due = ?5 THEN due ELSE settled END`, `settled = CASE WHEN ?4 THEN due ELSE settled END`}}},

	{rule: "1a", quick: true, off: "links that change don't raise the revision of an email that was saved", promise: "R7|R6",
		edits: []edit{{emailGo, `e.Revision++ // nobody else writes in the organisation`, `if e.Saved == 0 {
		e.Revision++
	}`}}},
	{rule: "1b", profile: "races", seeds: 150, off: "links are saved in the CRM before they are committed", promise: "R7",
		edits: []edit{{decideGo, `settled, err := d.Store.Settle(ctx, d.Lease, batch, ss)`, `for i := range ss {
		if v := ss[i].Email; v != nil && ws[i].row.Email != 0 {
			e, err := d.Store.Email(ctx, d.Lease.Org, ws[i].row.Email)
			links := slices.Clone(v.Links)
			state.SortLinks(links)
			if err == nil && e.Saved > 0 && !slices.Equal(e.Links, links) {
				e.Links, e.Revision = links, e.Revision+1
				d.CRM.UpdateEmails(ctx, d.Lease.Org, []crm.EmailState{State(e)})
			}
		}
	}
	settled, err := d.Store.Settle(ctx, d.Lease, batch, ss)`}}},

	{rule: "2a", seeds: 400, off: "an email counts as attempted after the call of the CRM, not before", promise: "R7|R6",
		edits: []edit{
			{emailGo, `SET attempted = true /*each*/ WHERE`, `SET attempted = attempted /*each*/ WHERE`},
			{emailGo, `SET saved = ?1, known`, `SET attempted = true, saved = ?1, known`}}},
	{rule: "2b", quick: true, off: "an email that has no links any more is not delivered", promise: "R7|R6|R5",
		edits: []edit{{emailGo, `AND (attempted OR wanted) AND (CAST(?3 AS BIGINT) = 0`, `AND wanted AND (CAST(?3 AS BIGINT) = 0`}}},
	{rule: "2c", quick: true, seeds: 800, off: "a save whose answer never came is not made again", planted: "a save not replayed", promise: "R7|R6",
		edits: []edit{
			{emailGo, `SET attempted = true /*each*/ WHERE`, `SET attempted = true, saved = revision /*each*/ WHERE`},
			{emailGo, `AND email.saved < ?1`, `AND email.saved <= ?1`},
			{emailGo, `UPDATE email SET error = ?, tries`, `UPDATE email SET saved = 0, error = ?, tries`}}},

	{rule: "3a", quick: true, off: "the row of an email that the CRM may have is dropped when its last mailbox is erased", promise: "R7",
		edits: []edit{{eraseGo, `if had.Attempted {`, `if had.Attempted && false {`}}},

	{rule: "5", quick: true, profile: "races", seeds: 150, off: "no change is stored around the making of a contact", promise: "R7|R3",
		edits: []edit{{decideGo, `if _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {
			return err
		}
		if err := d.Renew(ctx); err != nil {
			return err
		}
		if err := d.make(ctx, missing); err != nil {
			return err
		}
		if _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {`, `if err := d.Renew(ctx); err != nil {
			return err
		}
		if err := d.make(ctx, missing); err != nil {`}}},

	{rule: "7b", quick: true, off: "nobody delivers what no mailbox holds any more", promise: "drain|R7",
		edits: []edit{{emailGo, `OR NOT EXISTS (SELECT 1 FROM holder h`, `OR false AND NOT EXISTS (SELECT 1 FROM holder h`}}},

	{rule: "8a", quick: true, off: "a change of a record does not concern the mail of its addresses and domains", promise: "R7|R3",
		edits: []edit{{relinkGo, `out.Participants = append(out.Participants, state.Hash(h.Key(k)))`, `_ = h`}}},
	{rule: "8c", off: "a change of a record does not concern what it hangs on", promise: "R7|R3",
		edits: []edit{{relinkGo, `for _, r := range c.Related {
			touch(r)
		}`, ``}}},
	{rule: "8d", off: "a row keeps no hashes of its participants' domains", promise: "R7|R3",
		edits: []edit{{identGo, `for _, d := range Hosts(a.Key.Domain()) {
				add(d)
			}`, ``}}},
	{rule: "8f", off: "of changes that are pulled only the mark is stored", promise: "R7|R3",
		edits: []edit{{relinkGo, `c := e.change(org, good)`, `c := e.change(org, good[:0])`}}},
	{rule: "8g", quick: true, off: "a mailbox that is connected makes no mail due of the address that is an own one from now on", promise: "R7|R3|R6",
		edits: []edit{{connGo, `if !own.Empty() && !slices`, `if false && !own.Empty() && !slices`}}},
	{rule: "8h", off: "a mailbox that is erased makes no mail due of the address that is nobody's own any more", promise: "R7|R3|R6",
		edits: []edit{{eraseGo, `_, err = t.change(org, own)
	return err`, `return nil`}}},

	{rule: "9a", quick: true, off: "when an email changes, the mails that answer it are not decided again", promise: "R7|R3",
		edits: []edit{{emailGo, `if err := t.markDescendants(e.Org, cited, e.ID, !renamed, gives); err != nil {`, `if err := error(nil); err != nil || renamed && len(gives) < 0 {`}}},
	{rule: "9b", seeds: 400, off: "when holders of an email change alone, the mails that answer it are not decided again", promise: "R7|R3",
		edits: []edit{{emailGo, `if !inherited {`, `if !inherited || sameLinks(had.Links, e.Links) && slices.Equal(had.Person, e.Person) && !slices.Equal(had.Holders, e.Holders) {`}}},
	{rule: "9e", profile: "races", seeds: 150, off: "only the mails that answer it directly are decided again", promise: "R7|R3",
		edits: []edit{{threadGo, `queue = append(queue, state.Hash(r.messageID))`, `if true {
				continue
			}`}}},
	{rule: "9i", off: "a reply that has the records of the mail above by itself is left alone, also where it inherited others so far", promise: "R7|R3",
		edits: []edit{{threadGo, `l.By == linker.ByThread || l.By == linker.ByPerson`, `l.By == linker.ByPerson`}}},
	{rule: "9j", profile: "people", seeds: 400, off: "a reply that has the records of the mail above by itself is left alone, also where a person linked one of them", promise: "R7|R3",
		edits: []edit{{threadGo, `if e.Spoken() || slices.ContainsFunc(e.Links, func(l linker.Link) bool {
		return l.By == linker.ByThread || l.By == linker.ByPerson || l.By == linker.ByHost
	}) {`, `if slices.ContainsFunc(e.Links, func(l linker.Link) bool { return l.By == linker.ByThread }) {`}}},
	{rule: "9l", off: "a reply that has one of the records of the mail above by itself is left alone", promise: "R7|R3",
		edits: []edit{{threadGo, `return l.Record == r && l.Direct() }) {
			return false`, `return l.Record == r && l.Direct() }) {
			break`}}},
	{rule: "9f", profile: "races", seeds: 150, off: "a parent that is read after its children does not make them due", promise: "R7|R3",
		edits: []edit{{threadGo, `if messageID == "" || len(cites) == 0 {
		return nil`, `if true {
		return nil`}}},
	{rule: "9g", off: "a row keeps no hashes of References, only of In-Reply-To", promise: "R7|R3",
		edits: []edit{{planGo, `for i := len(e.References) - 1; i >= 0; i-- {
		cite(e.References[i])
	}`, ``}}},

	{rule: "10a", seeds: 400, off: "a pass has served every wake up to its end, not up to its claim", promise: "R12",
		edits: []edit{{connGo, `AND served < ?2 THEN ?2 ELSE`, `AND served < wake THEN wake ELSE`}}},
	{rule: "10b", quick: true, off: "what makes mail due wakes no mailbox", promise: "R12",
		edits: []edit{{dueGo, `UPDATE connection SET wake = wake + 1 /*each*/ WHERE`, `UPDATE connection SET wake = wake + 0 /*each*/ WHERE`}}},

	{rule: "11a", profile: "races", seeds: 150, off: "people's words do not follow a merge", promise: "R7|R3|R5",
		edits: []edit{{changeGo, `err = t.follow(org, m)`, `err = nil`}}},
	{rule: "11b", seeds: 400, off: "of two words on one record the earlier wins", promise: "R7|R3|R5",
		edits: []edit{{changeGo, `words = slices.DeleteFunc(words, func(w linker.Link) bool { return w.Record == l.Record })`,
			`if slices.ContainsFunc(words, func(w linker.Link) bool { return w.Record == l.Record }) {
		return words
	}`}}},
	{rule: "11c", off: "an exclusion takes off a person's link", promise: "R7|R3",
		edits: []edit{{linkerGo, `return m.verdict(Excluded, "", 0)`, `m.links = nil
		return m.verdict(Excluded, "", 0)`}}},
	{rule: "11d", off: "mail among own people does not keep a person's link", promise: "R7|R3",
		edits: []edit{{linkerGo, `return m.verdict(Internal, "among own people", 0)`, `m.links = nil
		return m.verdict(Internal, "among own people", 0)`}}},
	{rule: "11e", off: "a copy that comes later doesn't find what was said of the email that it is", promise: "R7|R3|R5",
		edits: []edit{{wordGo, `if ids, err = t.same(org, own, q.Fingerprint, false); err == nil && len(ids) > 0 {`, `if ids, err = t.same(org, own, q.Fingerprint, false); err == nil && len(ids) > 1000 {`}}},
	{rule: "11f", quick: true, off: "what was said of a mail that is no email is not found by its Message-ID", promise: "R7|R3|R5",
		edits: []edit{{wordGo, `ws, err := t.wordsOn(org, own, false)`, `ws, err := t.wordsOn(org, own[:0], false)`}}},
	{rule: "11g", off: "words go with a mailbox that is erased, also where another one holds the email", promise: "R7|R3|R5",
		edits: []edit{{eraseGo, `if err := t.unhold(&e, connection); err != nil {
		return 0, err
	}`, `if err := t.unhold(&e, connection); err != nil {
		return 0, err
	}
	if slices.Contains(had.Holders, connection) {
		e.Person = nil
	}`}}},
	{rule: "11h", quick: true, off: "the machine's next decision takes off what a person said", planted: "a correction undone", promise: "R7|R3|R5",
		edits: []edit{{identityGo, `e.Links = slices.Clone(v.Links)`, `e.Links, e.Person = slices.Clone(v.Links), nil`}}},
	{rule: "11k", off: "a link that a person made to a record that was deleted holds for the one that is made anew", promise: "R7|R3|R5",
		edits: []edit{{changeGo, `err = t.forget(org, m.From)`, `err = nil`}}},
	{rule: "11o", profile: "people", off: "a word on a mail holds for every other that has its Message-ID", promise: "R7|R3|R5",
		edits: []edit{{wordGo, `return w.of != "" && !slices.Contains(of, "")`, `return false && !slices.Contains(of, "")`}}},
	{rule: "11m", profile: "drops", seeds: 150, off: "a word on a thread outweighs the one on the mail", promise: "R7|R3|R5",
		edits: []edit{{wordGo, `out.Dropped = dropped || !said && out.ThreadDropped`, `out.Dropped = dropped || out.ThreadDropped
	_ = said`}}},

	{rule: "12c", quick: true, off: "a copy with the fingerprint of what we sent and another Message-ID is another email, and that Message-ID is not learnt from the service's answer", promise: "R7|R9|R3",
		edits: []edit{{identityGo, `(ours OR ? OR message_id IS NULL)`, `(? OR message_id IS NULL)`}, {dispatchGo, `sent.MessageID != "" && sent.MessageID != own {`, `sent.MessageID != "" && sent.MessageID != own && false {`}}},
	{rule: "12g", off: "a copy that links to nothing by itself is no copy of the email that another mailbox's copy made", promise: "R6|R3|R7",
		edits: []edit{{settleGo, `if err == nil && r.Email == 0 && st.Fate.Decided() && !r.Gone {`, `if err == nil && r.Email == 0 && st.Fate.Decided() && !r.Gone && false {`}}},
	{rule: "12h", off: "copies that linked to nothing are not looked at again when another copy makes the email", promise: "R6|R3|R7",
		edits: []edit{{emailGo, `if is && (!was || !slices.Equal(had.Aliases, e.Aliases)) {`, `if is && false && (!was || !slices.Equal(had.Aliases, e.Aliases)) {`}}},
	{rule: "12j", seeds: 400, off: "the row that stands for what is sent proves that it was sent", promise: "R9|R7",
		edits: []edit{{identityGo, `return aLetter`, `return aCopy`}, {identityGo, `if state.IsOutbox(r.Item) {
		return ids[0], nil
	}`, ``}}},
	{rule: "12k", seeds: 400, off: "the email of a mail that nobody knows to be sent is delivered", promise: "R7",
		edits: []edit{{emailGo, `WHERE org = ?1 AND revision > saved AND NOT held AND next_try`, `WHERE org = ?1 AND revision > saved AND next_try`}}},

	// Emails that the host had before.
	{rule: "12l", quick: true, profile: "declared", off: "a declaration makes none of its mail due", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `return host, added, true, t.declaredDue(org, []byte(d.MessageID))`, `return host, added, true, nil`}}},
	{rule: "12n", profile: "declared", off: "Settle doesn't compare whether another email is the host's by now", promise: "R14|R7|R3",
		edits: []edit{{settleGo, `if ok, err := t.declarable(l.Org, *st.Email); err != nil || !ok {`, `if _, err := t.declarable(l.Org, *st.Email); err != nil {`}}},
	{rule: "12o", profile: "declared", off: "a mail that is one of the host's emails becomes what another is declared to be", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `d.hash = ?2 AND (d.host = ?3 OR ?3 = '') AND`, `d.hash = ?2 AND (?3 = ?3) AND`}, {declaredGo, `d.org = ?2 AND (d.host = ?3 OR ?3 = '') AND`, `d.org = ?2 AND (?3 = ?3) AND`}}},
	{rule: "12p", quick: true, profile: "declared", off: "the author is not compared with the declared one", promise: "R14|R7|R3",
		edits: []edit{{decideGo, `case c.Author != "" && len(w.env.From) == 1 && state.Hash(d.Hasher.Key(w.env.From[0].Key)) == c.Author:`, `case c.Author != "":`}}},
	{rule: "12q", profile: "declared", off: "a mail that was found to be forged is the declared one", promise: "R14|R7|R3",
		edits: []edit{{decideGo, `if w.row.ID == 0 || !w.env.Sent && w.env.Auth == message.AuthFail && !d.Rules.FailedAuth.InheritThread {`, `if w.row.ID == 0 || w.env.Auth == message.AuthFail && len(w.said.Declared) == 0 {`}}},
	{rule: "12r", seeds: 500, profile: "declared", off: "what the engine sends is the declared one before a mailbox shows it", promise: "R14|R7|R3",
		edits: []edit{{decideGo, `case state.IsOutbox(w.row.Item) && !c.Met:`, `case state.IsOutbox(w.row.Item) && false:`}}},
	{rule: "12s", profile: "declared", off: "the row of the outbox is never the declared one, also where a copy is", promise: "drain|R14|R7|R3",
		edits: []edit{{decideGo, `case state.IsOutbox(w.row.Item) && !c.Met:`, `case state.IsOutbox(w.row.Item):`}}},
	{rule: "12t", profile: "declared", off: "an email that the host had is let go where its mailbox deletes it", promise: "R6|R7",
		edits: []edit{{emailGo, `if e.HostID != "" {
		return true, nil`, `if e.HostID != "" && false {
		return true, nil`}}},
	{rule: "12u", profile: "declared", off: "what is erased does not give its declaration back", promise: "R14|R7|R3",
		edits: []edit{{eraseGo, `if had.HostID != "" {`, `if had.HostID != "" && false {`}}},
	{rule: "12v", profile: "declared", off: "records of declarations stay when they are deleted, and hold for those that are made anew", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `if m.To != (linker.Record{}) {`, `if m.To == (linker.Record{}) {
		return nil
	} else {`}}},
	{rule: "12w", profile: "declared", off: "an email that was saved before it was declared is updated with the host's id, not saved", promise: "R14",
		edits: []edit{{emailGo, `UPDATE email SET host = ?, envelope_revision = revision WHERE id = ?`, `UPDATE email SET host = ? WHERE id = ?`}}},
	{rule: "12x", quick: true, profile: "declared", off: "what is declared again keeps the records of the first time", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `if err != nil || slices.Equal(had, records) {`, `if err != nil || len(had) > 0 || slices.Equal(had, records) {`}}},
	{rule: "12y", profile: "declared", off: "a second email of one Message-ID and author takes the place of the first", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `case host != d.HostID:`, `case host != d.HostID && len(records) == 0:`}}},
	{rule: "12z", quick: true, profile: "declared", off: "links of the host's are not inherited", promise: "R7|R3",
		edits: []edit{{"linker/linker.go", `l.By == ByPerson || l.By == ByHost) && !l.Removed`, `l.By == ByPerson) && !l.Removed`}}},
	{rule: "12A", quick: true, profile: "declared", off: "an exclusion takes off the host's link", promise: "R7|R3",
		edits: []edit{{linkerGo, `return m.verdict(Excluded, "", 0)`, `m.links = slices.DeleteFunc(m.links, func(l Link) bool { return l.By == ByHost })
		return m.verdict(Excluded, "", 0)`}}},
	{rule: "12B", profile: "declared", off: "the host's link outweighs a person's", promise: "R7|R3",
		edits: []edit{{linkerGo, `strengthHost         = 95`, `strengthHost         = 105`}}},
	{rule: "12C", profile: "declared", off: "a record that a person took off stays where the host linked it", promise: "R7|R3",
		edits: []edit{{linkerGo, `if m.removed(rec) {
		return
	}`, `if by != ByHost && m.removed(rec) {
		return
	}`}}},
	{rule: "12D", profile: "declared", off: "what hangs on a record of the host's is linked, too", promise: "R7|R3",
		edits: []edit{{linkerGo, `m.related(&e, m.inherit(&e, m.match(&e, c)))`, `found := m.inherit(&e, m.match(&e, c))
	for _, l := range m.links {
		if l.By == ByHost && !slices.Contains(found, l.Record) {
			found = append(found, l.Record)
		}
	}
	m.related(&e, found)`}}},
	{rule: "12E", quick: true, profile: "declared", off: "a mail that links is not told to be the host's where it was declared without records", promise: "R14",
		edits: []edit{{decideGo, `if w.known != nil && len(w.dec.Links) > 0 {`, `if w.known != nil && len(w.known.Records) > 0 && len(w.dec.Links) > 0 {`}}},
	{rule: "9m", profile: "declared", off: "a reply that has the records of the mail above by itself is left alone, also where the host linked one of them", promise: "R7|R3",
		edits: []edit{{threadGo, `l.By == linker.ByPerson || l.By == linker.ByHost`, `l.By == linker.ByPerson`}}},

	{rule: "14a", quick: true, off: "a mail inherits from those that answer the same mail", promise: "R7|R3",
		edits: []edit{{threadGo, `es, err := t.emails(ids)
		if err != nil {
			return nil, err
		}
		direct := false`, `siblings, err := list(t, one[int64], "SELECT DISTINCT l.email FROM cite c JOIN ledger l ON l.id = c.row_id WHERE c.hash = ? AND l.org = ? AND l.email > 0 AND l.id <> ?",
			[]byte(h), org, q.Row)
		if err != nil {
			return nil, err
		}
		es, err := t.emails(append(ids, siblings...))
		if err != nil {
			return nil, err
		}
		direct := false`}}},
	{rule: "14b", off: "links that are themselves inherited are inherited", promise: "R7|R3",
		edits: []edit{{threadGo, `if l.Direct() {`, `if true {`}}},
	{rule: "14c", off: "a mail that only inherited its links is not walked through", promise: "R7|R3",
		edits: []edit{{threadGo, `if direct {
			continue`, `if direct || len(es) > 0 {
			continue`}}},
	{rule: "14d", off: "a mail that no mailbox holds any more gives its links to those that answer it", promise: "R7|R3",
		edits: []edit{{threadGo, `direct := false
		for _, l := range e.Effective() {`, `direct := false
		if len(e.Holders) == 0 {
			e.Holders = append(e.Holders, q.Connection)
		}
		for _, l := range e.Effective() {`}}},
	{rule: "14f", off: "a mail without links is not walked through", promise: "R7|R3",
		edits: []edit{{threadGo, `AND id <> ?3 AND (email = 0 OR email <> ?4)`, `AND id <> ?3 AND email > 0 AND email <> ?4`}}},
	{rule: "14h", off: "a mail whose sender was forged inherits", promise: "R7|R3",
		edits: []edit{{linkerGo, `if e.Auth == message.AuthFail {
				return found
			}`, ``}}},

	{rule: "15a", quick: true, off: "what left a folder is taken for deleted", planted: "a removal taken for a deletion", promise: "R1 only",
		edits: []edit{{reconGo, `	e, err := r.Store.Email(ctx, r.Lease.Org, row.Email)
	if err != nil {
		return 0, err
	}
	env, unknown`, `	if row.Left {
		return 0, nil
	}
	e, err := r.Store.Email(ctx, r.Lease.Org, row.Email)
	if err != nil {
		return 0, err
	}
	env, unknown`}}},
	{rule: "15b", off: "a sweep also takes what was listed since the folder began anew", promise: "R1",
		edits: []edit{{leftGo, `AND generation < (SELECT generation`, `AND generation <= (SELECT generation`}}},
	{rule: "15c", quick: true, off: "a folder that began anew is not swept", promise: "R1",
		edits: []edit{{passGo, `for f := range pos.Generations {
				if`, `for f := range pos.Generations {
				if f != "no such folder" {
					continue
				}
				if`}}},
	{rule: "15e", off: "an id that is seen again has left all the same", promise: "R1",
		edits: []edit{{pageGo, `now.Left, now.Gone = false, false`, ``}}},
	{rule: "15f", off: "mail that is found in the trash is taken for deleted", promise: "R1 only|R6|R7",
		edits: []edit{{reconGo, `if len(found) > 0 {
			return recheck, nil
		}`, ``}}},
	{rule: "15i", off: "a removal counts for every folder, not only for that which it names", promise: "R1",
		edits: []edit{{leftGo, "WHERE row_id = ? AND folder = ?`, row.ID, r.Folder)", "WHERE row_id = ? AND (folder = ? OR true)`, row.ID, r.Folder)"}}},
	{rule: "15k", off: "mail that lies in no folder has no place in the ledger", promise: "R1",
		edits: []edit{{pageGo, `folders = []provider.Folder{nowhere}`, `continue`}}},

	{rule: "16a", quick: true, off: "a lease that another worker holds by now still commits", promise: "R13",
		edits: []edit{{connGo, `err == nil && epoch != l.Epoch {`, `err == nil && epoch < l.Epoch {`}}},
	{rule: "16c", quick: true, off: "two workers may hold one mailbox", promise: "R13",
		edits: []edit{{connGo, "lease_until <= ? AND id = ?\n", "(lease_until <= ? OR true) AND id = ?\n"}}},
	{rule: "16d", profile: "inbox", seeds: 150, off: "the lease is not looked at right before a mailbox is changed", promise: "R13",
		edits: []edit{{intentGo, `if err := r.Renew(ctx); err != nil {
		return err
	}
	m, err := provider.Mutation{}`, `m, err := provider.Mutation{}`}}},

	{rule: "17a", profile: "inbox", seeds: 150, off: "an archive is not committed as attempted before it is made", promise: "R10",
		edits: []edit{{intentGo, `if planned {
		if err := r.step`, `if planned && false {
		if err := r.step`}}},
	{rule: "17d", quick: true, off: "rules of the inbox act on history", promise: "R10",
		edits: []edit{{decideGo, `live := !w.env.Sent && !w.row.Sent && !w.env.Received.Before(d.ConnectedAt)`, `live := !w.env.Sent && !w.row.Sent`}}},

	{rule: "18b", quick: true, profile: "half sent", seeds: 150, off: "the outcome of a send is not looked up", promise: "R9",
		edits: []edit{{dispatchGo, `out, sent, err := s.Lookup(lctx, st.Staged)`, `out, sent, err := provider.OutcomeNotSent, provider.Sent{}, lctx.Err()`}}},
	{rule: "18c", quick: true, profile: "half sent", seeds: 150, off: "a copy in Sent is filed again where the first time had no answer", promise: "R9",
		edits: []edit{{copyGo, `case row.Copy == state.CopyTried:`, `case false:`}}},

	{rule: "19a", quick: true, profile: "contacts", seeds: 150, off: "deciding mail anew makes contacts", promise: "R11",
		edits: []edit{{decideGo, `if w.row.Fate.Decided() || w.row.Settled > 0 || w.said.Met {`, `if w.said.Met {`}}},
	{rule: "19b", quick: true, profile: "contacts", seeds: 150, off: "another mailbox's copy of a mail makes contacts again", promise: "R11",
		edits: []edit{{decideGo, `if w.row.Fate.Decided() || w.row.Settled > 0 || w.said.Met {`, `if w.row.Fate.Decided() || w.row.Settled > 0 {`}}},

	{rule: "21a", quick: true, profile: "people first", off: "nobody who came to the CRM since is searched for", promise: "R1",
		edits: []edit{{peopleGo, `if p.People == nil || p.People.asked {`, `if p.People == nil || p.People.asked || true {`}}},
	{rule: "21b", profile: "people first", off: "what was listed only is not read when people come first no more", promise: "R1",
		edits: []edit{{peopleGo, `func (p *Pass) unlisted(ctx context.Context, runs []state.Run) error {
	if p.People != nil {`, `func (p *Pass) unlisted(ctx context.Context, runs []state.Run) error {
	if p.People != nil || true {`}}},
	{rule: "21c", profile: "people first", off: "a window that becomes wider is not read", promise: "R1",
		edits: []edit{{passGo, `if p.Import.From.Before(p.Floor) {`, `if p.Import.From.Before(p.Floor) && false {`}}},
	{rule: "21d", profile: "people first", off: "what comes between connecting and the first pass is not read where nothing is imported", promise: "R1",
		edits: []edit{{passGo, `if len(runs) == 0 {`, `if len(runs) == 0 && p.Import.From.Before(p.ConnectedAt) {`}}},
	{rule: "21f", profile: "people first", off: "what is older than the window is read where it shows up", promise: "R1",
		edits: []edit{{planGo, `return !received.IsZero() && received.Before(floor)`, `return received.IsZero() && received.Before(floor) && false`}}},
	{rule: "21g", quick: true, profile: "people first", off: "what is listed only is read", promise: "R1",
		edits: []edit{{passGo, `listed && r.Fate == state.FatePending`, `listed && false && r.Fate == state.FatePending`}}},

	{rule: "20", quick: true, seeds: 800, off: "the cursor is saved before the rows of its page", planted: "a cursor saved before its rows", promise: "R1",
		edits: []edit{{passGo, `c, err := p.Store.CommitPage(ctx, p.Lease, to)`, `if _, err := p.Store.CommitPage(ctx, p.Lease, state.Page{Run: to.Run, Revision: to.Revision, Cursor: to.Cursor, Done: to.Done}); err != nil {
		return err
	}
	to.Revision++
	c, err := p.Store.CommitPage(ctx, p.Lease, to)`}}},
}

// blunt ones did not bite within the seeds that were tried: docs/reliability.md says what shows these rules instead.
var blunt = []tooth{
	{rule: "rows b", profile: "races", seeds: 150, off: "a decision by rules that have changed since counts as one by the new ones", promise: "R7|R3|R11",
		edits: []edit{{settleGo, `current := change == b.Change && st.RulesVersion >= rules`,
			`st.RulesVersion = max(st.RulesVersion, rules)
			current := change == b.Change`}}},
	{rule: "rows c", profile: "races", seeds: 150, off: "the hashes of a header are stored after the mail was decided, not before", promise: "R7|R3|R5",
		edits: []edit{
			{decideGo, `func (d *Deliverer) learn(ctx context.Context, ws []*work) error {`, `func (d *Deliverer) learn(ctx context.Context, ws []*work, keep ...bool) error {`},
			{decideGo, `return d.Store.Learn(ctx, d.Lease, rows)`, `if len(keep) == 0 {
		return nil
	}
	return d.Store.Learn(ctx, d.Lease, rows)`},
			{decideGo, `if err := d.decide(ctx, ws); err != nil {`, `if err := d.decide(ctx, ws); err != nil {
		return 0, err
	}
	if err := d.learn(ctx, ws, true); err != nil {`}}},

	{rule: "1c", profile: "races", seeds: 150, off: "the CRM's answer acknowledges the revision that is current by then, not the one that was sent", promise: "R7|R6",
		edits: []edit{{emailGo, `SET saved = ?1, known`, `SET saved = revision, known`}}},

	{rule: "3b", profile: "races", seeds: 150, off: "the host forgets the revision of what it removed, and takes a save that comes late", promise: "R7",
		edits: []edit{{memcrmGo, `if e.Revision <= o.removed[e.ID] {`, `if false {`}}},
	{rule: "3c", profile: "races", seeds: 150, off: "a removal counts whatever its revision is", promise: "R7",
		edits: []edit{{memcrmGo, `ok && old.Revision > s.Revision {
			continue`, `ok && false && old.Revision > s.Revision {
			continue`}}},
	{rule: "3d", profile: "races", seeds: 150, off: "after a removal the next delivery is an update, and one that names unknown emails is not followed by a full save", promise: "drain|R7",
		edits: []edit{{emailGo, `known = NOT ?2,`, `known = known OR NOT ?2,`}, {saveGo, `Error: "saved in full next", Unknown: true}`, `Error: "saved in full next"}`}}},
	{rule: "3e", profile: "races", seeds: 150, off: "an update that names emails it doesn't know is not followed by a full save", promise: "drain|R7",
		edits: []edit{{saveGo, `Error: "saved in full next", Unknown: true}`, `Error: "saved in full next"}`}}},

	{rule: "4a", profile: "races", seeds: 150, off: "content that is gone is not delivered from the sealed envelope", promise: "drain|R7",
		edits: []edit{{saveGo, `	env, err := d.Keys.OpenEnvelope(d.Lease.Org, string(e.Fingerprint), e.Envelope)
	if err != nil {`, `	env, err := d.Keys.OpenEnvelope(d.Lease.Org, string(e.Fingerprint), e.Envelope)
	if err == nil {
		err = errors.New("the mailbox no longer has it")
	}
	if err != nil {`}}},
	{rule: "4b", profile: "races", seeds: 150, off: "mail that is gone has the fate gone, also where it was decided before", promise: "R7|R3|R6",
		edits: []edit{{decideGo, `case errors.Is(err, provider.ErrGone) && row.Fate.Decided():`, `case errors.Is(err, provider.ErrGone) && row.Fate.Decided() && false:`}}},

	{rule: "4c", profile: "races", seeds: 150, off: "a copy that links to nothing, of a mail of which a person said something, is not compared with the one that decides", promise: "R7|R3",
		edits: []edit{{settleGo, `attached = g.uncompared`, `attached = false`}}},
	{rule: "5a", profile: "races", seeds: 150, off: "no change is stored before a contact is made", promise: "R7|R3",
		edits: []edit{{decideGo, `if _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {
			return err
		}
		if err := d.Renew(ctx); err != nil {`, `if err := d.Renew(ctx); err != nil {`}}},
	{rule: "5b", profile: "races", seeds: 150, off: "no change is stored after a contact was made", promise: "R7|R3",
		edits: []edit{{decideGo, `if err := d.make(ctx, missing); err != nil {
			return err
		}
		if _, err := d.Store.Change(ctx, d.Lease.Org, change); err != nil {`, `if err := d.make(ctx, missing); err != nil {`}}},

	{rule: "6", profile: "races", seeds: 150, off: "what was decided before it was stored (a mail to be sent) is settled though the organisation changed meanwhile", promise: "R7|R3",
		edits: []edit{{outboxGo, `if change != o.Change || r.RulesVersion`, `if change < o.Change || r.RulesVersion`}}},

	{rule: "7a", profile: "races", seeds: 250, off: "only the first holder's worker may deliver an email", promise: "drain|R7",
		edits: []edit{{emailGo, `EXISTS (SELECT 1 FROM holder WHERE email = e.id AND conn = ?3)`, `?3 = (SELECT min(conn) FROM holder WHERE email = e.id)`}}},
	{rule: "8b", profile: "races", seeds: 150, off: "a change of a record does not concern the mail that is linked to it", promise: "R7|R3",
		edits: []edit{{relinkGo, `touch(c.Record)`, ``}}},
	{rule: "8e", profile: "races", seeds: 150, off: "a decision is settled though the organisation changed since its Find", promise: "R7|R3",
		edits: []edit{{settleGo, `change == b.Change && st.RulesVersion >= rules`, `change >= b.Change && st.RulesVersion >= rules`}}},

	{rule: "9k", profile: "races", seeds: 400, off: "a reply that has the records of the mail above by itself is left alone, also while it is decided anew", promise: "R7|R3",
		edits: []edit{{threadGo, `WHERE o.email = l.email AND (o.due > o.settled OR`, `WHERE o.email = l.email AND (false OR`}}},
	{rule: "9c", profile: "races", seeds: 150, off: "when Message-IDs of an email change alone, the mails that answer it are not decided again", promise: "R7|R3",
		edits: []edit{{emailGo, `if !inherited {`, `if !inherited || sameLinks(had.Links, e.Links) && slices.Equal(had.Person, e.Person) && slices.Equal(had.Holders, e.Holders) && !slices.Equal(had.Aliases, e.Aliases) {`}}},
	{rule: "9d", profile: "races", seeds: 150, off: "when a person corrects an email, the mails that answer it are not decided again", promise: "R7|R3",
		edits: []edit{{emailGo, `if !inherited {`, `if !inherited || sameLinks(had.Links, e.Links) && !slices.Equal(had.Person, e.Person) {`}}},

	{rule: "11i", off: "a word on a record is stored though records changed since the record was looked up", promise: "R7|R3|R5",
		edits: []edit{{wordGo, `if change != c.Change {`, `if change < c.Change {`}}},
	{rule: "11j", off: "words on a mail of which another mailbox has a row that is no copy of the email yet go with the last holder", promise: "R7|R3|R5",
		edits: []edit{{eraseGo, `if had.Spoken() {`, `if had.Spoken() && false {`}}},
	{rule: "11l", profile: "people", seeds: 150, off: "words on a thread do not move up to a parent that comes late", promise: "R7|R3|R5",
		edits: []edit{{threadGo, `return t.raise(org, messageID)`, `return nil`}}},
	{rule: "11n", off: "a word on a thread that is taken back for one of its tops holds for mail that leads up to another, too", promise: "R7|R3|R5",
		edits: []edit{{wordGo, `if w.back {`, `if w.back && w.seq < 0 {`}}},

	{rule: "12a", off: "a copy with the fingerprint of what we sent and another Message-ID is another email", promise: "R7|R9|R6|R3",
		edits: []edit{{identityGo, `(ours OR ? OR message_id IS NULL)`, `(? OR message_id IS NULL)`}}},
	{rule: "12b", seeds: 400, off: "the Message-ID that a service put in place of ours is not learnt from its answer", promise: "R7|R9|R3",
		edits: []edit{{dispatchGo, `sent.MessageID != "" && sent.MessageID != own {`, `sent.MessageID != "" && sent.MessageID != own && false {`}}},
	{rule: "12d", profile: "sends", seeds: 150, off: "two emails that turn out to be one mail are not joined", promise: "R7|R3|R6",
		edits: []edit{{identityGo, `for _, other := range ids[1:] {`, `for _, other := range ids[len(ids):] {`}}},
	{rule: "12e", profile: "sends", seeds: 150, off: "what was said of an email goes when it is joined into another", promise: "R7|R3|R5",
		edits: []edit{{identityGo, `for _, l := range o.Person {`, `for _, l := range o.Person[:0] {`}}},
	{rule: "12f", profile: "sends", seeds: 150, off: "an email that was joined into another keeps its links and is not told anew", promise: "R7",
		edits: []edit{{identityGo, `gone.Links, gone.Person, gone.Holders, gone.Aliases, gone.Survivor = nil, nil, nil, nil, e.ID
	if err := t.store(o, &gone, false); err != nil {`, `gone.Aliases = nil
	if err := t.store(o, &gone, false); err != nil {`}}},
	{rule: "12i", profile: "races", seeds: 150, off: "what is sent has no row in the ledger that is decided again", promise: "R7|R3",
		edits: []edit{{outboxGo, `due, r.Fate = 1, state.FatePending`, `due, r.Fate = 0, state.FateUnmatched`}}},

	{rule: "12m", profile: "declared", off: "a declaration raises no change number", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `if !moved {`, `if true {`}}},

	{rule: "13", profile: "people", seeds: 150, off: "an email is a member of its own thread", promise: "R7|R3",
		edits: []edit{{threadGo, `if e.ID == q.Email || e.Survivor != 0 || q.MessageID != "" && e.Fingerprint == q.Fingerprint && slices.Contains(e.Aliases, q.MessageID) {`, `if e.Survivor != 0 {`}}},

	{rule: "14e", profile: "drops", seeds: 150, off: "a mail that a person dropped gives its links to those that answer it", promise: "R7|R3",
		edits: []edit{{threadGo, `direct := false
		for _, l := range e.Effective() {`, `direct := false
		e.Dropped, e.ThreadDropped = false, false
		for _, l := range e.Effective() {`}}},
	{rule: "14g", profile: "people", seeds: 150, off: "a deal that is closed is not inherited", promise: "R7|R3",
		edits: []edit{{linkerGo, `if !ok {
			continue
		}
		cited := l.Evidence`, `closed := false
		for _, rels := range m.dir.Related {
			for _, rel := range rels {
				closed = closed || rel.Record == now && rel.Kind == Opportunity && !openAt(rel, e.When())
			}
		}
		if !ok || closed {
			continue
		}
		cited := l.Evidence`}}},

	{rule: "15d", off: "a page that was read before a folder began anew places mail as if it were read since", promise: "R1",
		edits: []edit{{pageGo, `if at, ok := p.Generations[f.ID]; ok && at < g {`, `if at, ok := p.Generations[f.ID]; ok && at < 0 {`}}},
	{rule: "15g", profile: "mailboxes", seeds: 150, off: "mail in the trash is not looked for again, so that its end is not seen", promise: "R6|R7|R1",
		edits: []edit{{reconGo, `if len(found) > 0 {
			return recheck, nil
		}
	}
	switch _, err := r.Mailbox.Content(ctx, row.Item); {
	case err == nil:
		return recheck, nil`, `if len(found) > 0 {
			return never, nil
		}
	}
	switch _, err := r.Mailbox.Content(ctx, row.Item); {
	case err == nil:
		return never, nil`}}},
	{rule: "15h", profile: "mailboxes", seeds: 150, off: "the reconciler doesn't ask for what lies in junk, trash and drafts", promise: "R1",
		edits: []edit{{reconGo, `purged = append(purged, row.Item)`, `purged = append(purged, row.Item)[:0]`}}},
	{rule: "15j", off: "what left is looked for in the same pass", promise: "R1 only|R6|R7",
		edits: []edit{{leftGo, `AND left_epoch < ?2`, `AND left_epoch <= ?2`}}},
	{rule: "15l", off: "an email whose envelope came of a mailbox that let go of it is not compared with the other copies", promise: "R7|R3|R2",
		edits: []edit{{leftGo, `state.RankOrphan, e.ID, connection)
	if err != nil || n == 0 {`, `state.RankOrphan, e.ID, connection)
	if err != nil || n >= 0 {`}}},

	{rule: "17b", profile: "inbox", seeds: 150, off: "an archive without an answer is repeated, though the mail was outside the inbox since", promise: "R10",
		edits: []edit{{intentGo, `case !planned && i.Do == Archive && inbox != nil && string(inbox.Item) != i.Item:`, `case false:`}}},
	{rule: "17c", profile: "inbox", seeds: 150, off: "it is repeated where ids survive a move", promise: "R10",
		edits: []edit{{leftGo, `UPDATE intent SET item = ''`, `UPDATE intent SET item = item`}}},
	{rule: "17e", off: "rules of the inbox act on mail that links later", promise: "R10",
		edits: []edit{{decideGo, `d.Plan != nil && !w.row.Fate.Decided() {`, `d.Plan != nil {`}}},
	{rule: "17f", profile: "inbox", seeds: 150, off: "rules of the inbox act before the CRM has the mail", promise: "R10",
		edits: []edit{{intentsGo, `AND (i.state <> 'planned' OR e.revision <= e.saved OR NOT e.wanted)`, ``}}},

	{rule: "18a", profile: "half sent", seeds: 150, off: "a worker that finds a mail half sent sends it", promise: "R9",
		edits: []edit{{dispatchGo, `if row.State == state.OutSending || row.State == state.OutUnknown {`, `if row.State == state.OutUnknown {`}}},

	{rule: "21e", profile: "people first", off: "who matches something by other rules is not searched for", promise: "R1",
		edits: []edit{{peopleGo, `if wanted := p.People.Wanted(); wanted != g.Wanted {`, `if wanted := p.People.Wanted(); wanted != g.Wanted && false {`}}},

	{rule: "12F", profile: "declared", seeds: 1200, off: "a declaration that is given back makes no other mail due", promise: "R14|R7|R3",
		edits: []edit{{declaredGo, `if err := t.declaredDue(org, h); err != nil {`, `if err := error(nil); err != nil || len(h) < 0 {`}}},
}
