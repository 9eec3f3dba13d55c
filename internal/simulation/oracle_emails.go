package simulation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/intellicon/email-integration/linker"
)

// holders are the mailboxes that hold the email of a mail when it has links (R6); perhaps are those of which it depends on when workers came by,
// or on what else lies there.
func (k *oracle) holders(m *Mail) (sure, perhaps []int64) {
	for _, b := range k.t.Boxes {
		if !b.living() {
			continue
		}
		copies, deleted := 0, 0
		sent := k.handed(m) && m.By == b
		read, readable, attached, known := false, false, false, false
		for _, l := range k.held[m] {
			if l.box != b {
				continue
			}
			copies++
			if l.copy.Deleted {
				deleted++
			}
			read = read || k.readRow[l.copy]
			readable = readable || l.readable()
			attached = attached || k.email[l.copy]
			known = known || k.seenRow[l.copy]
		}
		if !sent && !read {
			continue
		}
		released := k.t.Rules.Release && copies > 0 && copies == deleted && known && !k.claimed(m)
		// What is the host's stays where it was then. Before, it may have been let go.
		kept := k.known(m) != "" && slices.ContainsFunc(k.state[m], func(e Email) bool { return e.alive() && slices.Contains(k.o.Kept[e.ID], b.Conn) })
		// Without a Message-ID nobody can look for it elsewhere, and it is never said to be deleted. Nor where a namesake is found.
		namesake := slices.ContainsFunc(b.Copies, func(c *Copy) bool { return c.Mail != m && c.Mail.MessageID == m.MessageID && !c.Deleted })
		switch {
		case (!sent || known) && !readable && (!attached || k.bare(m)): // it linked to nothing while it could be read, and is not decided again (R8)
			perhaps = append(perhaps, b.Conn)
		case k.late(m, b): // its hold ended before a person's link would have kept it
			perhaps = append(perhaps, b.Conn)
		case !released || m.MessageID == "" || kept:
			sure = append(sure, b.Conn)
		case namesake || sent && !read || k.known(m) != "": // of what was sent a row showed a copy, which was gone before it was read
			perhaps = append(perhaps, b.Conn)
		}
	}
	return sure, perhaps
}

// bare: an email of the mail lost its links for a while. Copies that had left their mailbox by then are no copies of it any more, or were on the way to be.
func (k *oracle) bare(m *Mail) bool {
	for id := range k.o.Bare {
		if k.mailOf[id] == m {
			return true
		}
	}
	return false
}

// handed: the engine gave the mail to a service, and doesn't know that it never left.
func (k *oracle) handed(m *Mail) bool {
	if m.Key == "" {
		return false
	}
	switch k.o.Outbox[m.Key] {
	case "sent", "unknown":
		return true
	case "": // its outbox went with its mailbox
		return m.Sent
	}
	return false
}

// heldBack: nobody knows that it was sent, so the CRM has nothing of it.
func (k *oracle) heldBack(m *Mail) bool {
	state := k.o.Outbox[m.Key]
	return m.Key != "" && state != "sent" && state != "" && !slices.ContainsFunc(k.held[m], func(l lying) bool { return k.readRow[l.copy] })
}

// claimed: a person said of the mail itself that it belongs to a record.
func (k *oracle) claimed(m *Mail) bool {
	for r, words := range k.saidOn(m, true) {
		if likely(words, k.has(m)[r]) == link {
			return true
		}
	}
	return false
}

// late: a person's link on the mail came when the mailbox had let go of it.
func (k *oracle) late(m *Mail, b *Box) bool {
	return k.claimed(m) && slices.ContainsFunc(k.t.Words, func(w Word) bool { return w.Mail == m && w.Say == SayLink && slices.Contains(w.LetGo, b.Conn) })
}

// frozen: no copy of a mail can be read any more, and nothing else decides it (R8).
func (k *oracle) frozen(m *Mail) bool {
	return !slices.ContainsFunc(k.held[m], func(l lying) bool { return k.readRow[l.copy] && l.readable() }) &&
		!slices.ContainsFunc(k.state[m], func(e Email) bool { return e.Envelope && e.Survivor == "" })
}

// wanted are the decisions that are right for a mail: one, but where it depends on when workers came by.
func (k *oracle) wanted(m *Mail) []decision {
	if w, ok := k.right[m]; ok {
		return w
	}
	var out []decision
	sure, perhaps := k.holders(m)
	for _, c := range k.deciders(m) {
		d := k.decide(m, c)
		bare := decision{links{}, d.fate}
		switch {
		case k.dropped(m):
			out = append(out, decision{links{}, "excluded"})
		case k.heldBack(m) || len(sure)+len(perhaps) == 0:
			out = append(out, bare)
		case len(sure) == 0:
			out = append(out, bare, d)
		default:
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		out = append(out, decision{links{}, ""}) // nobody read it
	}
	k.right[m] = out
	return out
}

// chosen are those of the decisions that are right for a mail by which its email has its links; where these are wrong, all.
func (k *oracle) chosen(m *Mail) []decision {
	has := k.has(m)
	var out []decision
	for _, d := range k.wanted(m) {
		if d.links.equal(has) {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return k.wanted(m)
	}
	return out
}

// emails checks R7 and what it rests on: for each mail one email in the CRM, with its links and holders; nothing else has any.
func (k *oracle) emails() {
	for _, m := range k.t.Mails {
		var with []Email
		for _, e := range k.crm[m] {
			if len(e.Links) > 0 {
				with = append(with, e)
			}
		}
		want := k.wanted(m)
		if len(with) > 1 {
			k.violation(promiseOnce, "mail %s has links under %d emails, %s and %s, want one", m.Subject, len(with), with[0].ID, with[1].ID)
			continue
		}
		var has links
		if len(with) == 1 {
			var bad []string
			if has, bad = k.linksOf(with[0]); len(bad) > 0 {
				k.violation(promiseLinks, "mail %s (email %s) has links to %v, which are no records of the CRM or linked twice", m.Subject, with[0].ID, bad)
				continue
			}
		}
		right := slices.ContainsFunc(want, func(d decision) bool {
			return d.links.equal(has) || k.frozen(m) && has.within(d.links)
		})
		if !right {
			promise := promiseLinks
			if k.dropped(m) {
				promise = promiseDropped
			}
			k.violation(promise, "mail %s has %s, want %s%s", m.Subject, has, want[0].links, k.why(m))
		} else if len(with) == 1 {
			sure, perhaps := k.holders(m)
			some := slices.DeleteFunc(sorted(with[0].Holders), func(c int64) bool { return slices.Contains(perhaps, c) })
			if !slices.Equal(some, sorted(sure)) {
				k.violation(promiseHolders, "mail %s (email %s) is held by %v, want %v", m.Subject, with[0].ID, with[0].Holders, sure)
			}
		}
	}
	for _, e := range k.o.Emails {
		if len(e.Links) > 0 && !slices.ContainsFunc(k.t.Mails, func(m *Mail) bool { return m.Subject == e.Subject }) {
			k.violation(promiseOnce, "email %s has links, and no mail is called %q", e.ID, e.Subject)
		}
	}
}

// why tells what a reader of a violation asks first.
func (k *oracle) why(m *Mail) string {
	var notes []string
	if k.frozen(m) {
		notes = append(notes, "no copy can be read any more: a part of these is right too")
	}
	for _, c := range k.deciders(m) {
		kind := "inbound"
		if c.Sent {
			kind = "outbound"
		}
		notes = append(notes, fmt.Sprintf("decided by the %s copy of %s", kind, c.Received.Format("01-02 15:04:05")))
	}
	for i, c := range k.deciders(m) {
		if d := k.declared(m, c); d != nil && i == 0 {
			notes = append(notes, "declared as "+d.Host)
		}
	}
	if ids := cited(m); len(ids) > 0 {
		notes = append(notes, "it answers "+strings.Join(ids, ", "))
	}
	return " (" + strings.Join(notes, "; ") + ")"
}

// fates checks what the rows say of what was decided.
func (k *oracle) fates() {
	for _, r := range k.o.Rows {
		l, ok := k.lies[place{r.Conn, r.Item}]
		if !ok || r.Item != l.copy.present() || !l.copy.watched() || !decided(r.Fate) {
			continue
		}
		m := l.copy.Mail
		want := k.chosen(m)
		right := slices.ContainsFunc(want, func(d decision) bool { return d.fate == r.Fate })
		if !right && want[0].fate != "linked" && !k.dropped(m) {
			// Without links there is no email whose copies are decided alike: it may be by any of them.
			// Where that copy went before anything linked it, it is not decided again.
			right = r.Fate != "linked" && slices.ContainsFunc(k.held[m], func(c lying) bool {
				fate := k.decide(m, c.copy).fate
				return fate == r.Fate || fate == "linked" && r.Fate == "unmatched" && !c.readable()
			})
		}
		if !right {
			k.violation(promiseFate, "%s: the row of %s is %s (%s), want %s%s", at(l), r.Item, r.Fate, r.Reason, want[0].fate, k.why(m))
		} else if k.dropped(m) && !strings.HasPrefix(r.Reason, "dropped") {
			k.violation(promiseDropped, "%s: the reason of its row is %q, want one that begins with dropped", at(l), r.Reason)
		}
	}
}

// agreement checks that the CRM has what the state thinks that it has, and that what was joined into another email is empty.
func (k *oracle) agreement() {
	state := map[string]Email{}
	for _, e := range k.o.State {
		state[e.ID] = e
	}
	known := map[string]bool{}
	for _, e := range k.o.Emails {
		known[e.ID] = true
		s, ok := state[e.ID]
		switch {
		case !ok:
			k.violation(promiseAgreement, "the CRM has email %s (mail %s), which the state doesn't", e.ID, e.Subject)
		case s.Revision != e.Revision:
			k.violation(promiseAgreement, "email %s (mail %s) has revision %d in the CRM, want %d as in the state", e.ID, e.Subject, e.Revision, s.Revision)
		case !sameLinks(e.Links, s.Links):
			k.violation(promiseAgreement, "email %s (mail %s) has in the CRM %s, want %s as in the state", e.ID, e.Subject, names(e.Links), names(s.Links))
		case len(e.Links) > 0 && e.HostID != s.HostID:
			k.violation(promiseAgreement, "email %s (mail %s) is %q of the host's in the CRM, want %q as in the state", e.ID, e.Subject, e.HostID, s.HostID)
		case len(e.Links) > 0 && !slices.Equal(sorted(e.Holders), sorted(s.Holders)): // without links the CRM is told of none
			k.violation(promiseAgreement, "email %s (mail %s) is held in the CRM by %v, want %v as in the state", e.ID, e.Subject, e.Holders, s.Holders)
		case e.Survivor != s.Survivor:
			k.violation(promiseAgreement, "email %s (mail %s) has survivor %q in the CRM, want %q as in the state", e.ID, e.Subject, e.Survivor, s.Survivor)
		}
	}
	for _, s := range k.o.State {
		if m := k.mailOf[s.ID]; len(s.Links) > 0 && !known[s.ID] && (m == nil || !k.heldBack(m)) {
			k.violation(promiseAgreement, "email %s has %s in the state, and the CRM doesn't have it", s.ID, names(s.Links))
		}
	}
	for _, e := range slices.Concat(k.o.Emails, k.o.State) {
		if e.Survivor == "" {
			continue
		}
		if len(e.Links) > 0 {
			k.violation(promiseOnce, "email %s was joined into %s, and has %s, want no links", e.ID, e.Survivor, names(e.Links))
		}
		if s, ok := state[e.Survivor]; !ok || s.Survivor != "" {
			k.violation(promiseOnce, "email %s was joined into %s, which is none of the state or joined itself", e.ID, e.Survivor)
		}
	}
}

// has are the links that the CRM has of a mail.
func (k *oracle) has(m *Mail) links {
	for _, e := range k.crm[m] {
		if len(e.Links) > 0 {
			has, _ := k.linksOf(e)
			return has
		}
	}
	return links{}
}

// linksOf resolves the links of an email; bad are those that name no record, or one twice.
func (k *oracle) linksOf(e Email) (out links, bad []string) {
	out = links{}
	for _, l := range e.Links {
		r := k.record(l.Record)
		if r == nil || r.Record != l.Record || out[r] != "" {
			bad = append(bad, string(l.Kind)+"/"+l.ID)
			continue
		}
		out[r] = l.By
	}
	return out, bad
}

func (l links) within(o links) bool {
	for r, by := range l {
		if o[r] != by {
			return false
		}
	}
	return true
}

func (l links) String() string {
	var ls []linker.Link
	for r, by := range l {
		ls = append(ls, linker.Link{Record: r.Record, By: by})
	}
	return names(ls)
}

// names writes links in one order.
func names(ls []linker.Link) string {
	if len(ls) == 0 {
		return "no links"
	}
	var out []string
	for _, l := range ls {
		out = append(out, fmt.Sprintf("%s/%s by %s", l.Kind, l.ID, l.By))
	}
	slices.Sort(out)
	return "links to " + strings.Join(out, ", ")
}

func sameLinks(a, b []linker.Link) bool { return names(a) == names(b) }

func sorted(ids []int64) []int64 { return slices.Sorted(slices.Values(ids)) }

// links are the records of a mail, each with its strongest reason.
type links map[*Record]linker.How

func (l links) equal(o links) bool {
	if len(l) != len(o) {
		return false
	}
	for r, by := range l {
		if o[r] != by {
			return false
		}
	}
	return true
}
