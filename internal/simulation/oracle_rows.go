package simulation

import (
	"slices"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// rows checks R1: a row for every message, and what is in it but for what was decided.
func (k *oracle) rows() {
	count := map[place]int{}
	for _, r := range k.o.Rows {
		if count[place{r.Conn, r.Item}]++; count[place{r.Conn, r.Item}] == 2 {
			k.violation(promiseRow, "connection %d has several rows of %s, want one", r.Conn, r.Item)
		}
		if !slices.ContainsFunc(k.t.Boxes, func(b *Box) bool { return b.living() && b.Conn == r.Conn }) {
			k.violation(promiseErased, "connection %d, which is erased or never was, has a row of %s (%s)", r.Conn, r.Item, r.Fate)
			continue
		}
		if r.Outbox {
			if r.Due || !decided(r.Fate) {
				k.violation(promiseRow, "connection %d has a row of the outbox, %s, that is %s (due: %v), want it decided", r.Conn, r.Item, r.Fate, r.Due)
			}
			continue
		}
		l, ok := k.lies[place{r.Conn, r.Item}]
		if !ok {
			k.violation(promiseRow, "connection %d has a row of %s (%s), which was never in the mailbox", r.Conn, r.Item, r.Fate)
			continue
		}
		c, name := l.copy, at(l)
		here := r.Item == c.present()
		if r.Due {
			k.violation(promiseRow, "%s: the row of %s (%s) is due, want settled", name, r.Item, r.Fate)
		}
		switch {
		case r.Fate == "pending" || r.Fate == "failed":
			k.violation(promiseRow, "%s: the row of %s is %s (%s), want a settled fate", name, r.Item, r.Fate, r.Reason)
		case decided(r.Fate) && c.Unlisted:
			k.violation(promiseRow, "%s: the row of %s is %s, though the mail never lay in a watched folder", name, r.Item, r.Fate)
		case decided(r.Fate) && k.unwanted(l):
			k.violation(promiseRow, "%s: the row of %s is %s (%s), want it not read: received %s, connected %s, %d days", name, r.Item, r.Fate, r.Reason,
				l.copy.Received.Format("01-02 15:04:05"), l.box.Connected.Format("01-02 15:04:05"), l.box.Days)
		case r.Fate == "gone" && here:
			k.violation(promiseGone, "%s: the row of %s has the fate gone, and the mail is there", name, r.Item)
		}
		if r.Gone && !c.Deleted {
			k.violation(promiseGone, "%s: the row of %s says that it is no more, and the mail lies in %q", name, r.Item, role(c.Role))
		}
		if !here && !r.Left {
			k.violation(promiseRow, "%s: the row of %s has not left, and the mail is not there any more under this id", name, r.Item)
		}
		if !here || !c.watched() {
			continue
		}
		if r.Left || r.Gone {
			k.violation(promiseRow, "%s: the row of %s has left (gone: %v), and the mail lies in %q", name, r.Item, r.Gone, role(c.Role))
		} else if !placed(l, r.Folders) {
			k.violation(promiseRow, "%s: the row of %s is placed in %q, want %q", name, r.Item, r.Folders, role(c.Role))
		}
		if !decided(r.Fate) && !(r.Fate == "unread" && (k.tooOld(l) || k.aside(l))) {
			k.violation(promiseRow, "%s: the row of %s is %s (%s), want it read and decided, as it lies in %q", name, r.Item, r.Fate, r.Reason, role(c.Role))
		}
	}
	for _, b := range k.t.Boxes {
		for _, c := range b.Copies {
			if b.living() && c.watched() && !k.tooOld(lying{b, c}) && count[place{b.Conn, c.present()}] == 0 {
				k.violation(promiseRow, "%s: it has no row under its id %s, want one, as it lies in %q", at(lying{b, c}), c.present(), role(c.Role))
			}
		}
	}
}

// placed reports whether a row's folders are those in which the copy lies. Gmail's archive is no folder, and its listings of history name none.
func placed(l lying, folders []provider.Role) bool {
	if l.box.Kind == providertest.Gmail && len(folders) == 0 {
		return true
	}
	want := []provider.Role{l.copy.Role}
	if l.copy.Back {
		want = append(want, provider.RoleInbox)
	}
	return len(folders) == len(want) && !slices.ContainsFunc(want, func(r provider.Role) bool { return !slices.Contains(folders, r) })
}

func at(l lying) string { return "mail " + l.copy.Mail.Subject + " in box " + l.box.Name }

func role(r provider.Role) string {
	if r == "" {
		return "an ordinary folder"
	}
	return string(r)
}
