package simulation

import (
	"slices"

	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider/providertest"
)

// sends checks R9.
func (k *oracle) sends() {
	for _, m := range k.t.Mails {
		if m.Key == "" {
			continue
		}
		n, state := k.o.Sends[m.Key], k.o.Outbox[m.Key]
		switch {
		case n > 1:
			k.violation(promiseSend, "mail %s (key %s) was accepted %d times, want once", m.Subject, m.Key, n)
		case m.Failed && n > 0:
			k.violation(promiseSend, "mail %s (key %s) is said to have failed, and was accepted", m.Subject, m.Key)
		case m.Failed && m.Sent:
			k.violation(promiseSend, "mail %s (key %s) is said to have failed, and was sent", m.Subject, m.Key)
		case m.Sent && n == 0:
			k.violation(promiseSend, "mail %s (key %s) is said to be sent, and was never accepted", m.Subject, m.Key)
		case state == "failed" && n > 0 || state == "sent" && n == 0:
			k.violation(promiseSend, "mail %s (key %s) is %s in the outbox, and was accepted %d times", m.Subject, m.Key, state, n)
		case state == "" || state == "sent" || state == "failed":
		case m.By != nil && !m.By.living():
		case state != "unknown":
			k.violation(promiseSend, "mail %s (key %s) is %s in the outbox, want an end", m.Subject, m.Key, state)
		case m.By != nil && m.By.Kind != providertest.IMAP:
			k.violation(promiseSend, "mail %s (key %s) is unknown in the outbox, want sent or failed, as a draft in box %s tells", m.Subject, m.Key, m.By.Name)
		}
	}
}

// inbox checks R10: what a rule archived.
func (k *oracle) inbox() {
	for _, a := range k.o.Moved {
		fresh := false // some copy may be archived
		for _, c := range a.Box.Copies {
			fresh = fresh || c.Mail.Subject == a.Subject && !c.Sent && !c.Received.Before(a.Box.Connected) && !c.Received.Before(k.t.Rules.ArchiveSince)
		}
		name := "mail " + a.Subject + " in box " + a.Box.Name
		switch {
		case !fresh:
			k.violation(promiseArchive, "%s was archived, though it is not inbound mail received since the box was connected and the rule switched on", name)
		case a.Times > 1:
			k.violation(promiseArchive, "%s was archived %d times, want once at most", name, a.Times)
		case a.Again > 0:
			k.violation(promiseArchive, "%s was archived after a person had brought it back", name)
		case a.Bare > 0:
			k.violation(promiseArchive, "%s was archived while the CRM had no links for it", name)
		}
	}
}

// contacts checks R11: those that the engine made, and those that it should have made.
func (k *oracle) contacts() {
	for i, r := range k.t.Records {
		if !r.Created {
			continue
		}
		senders := k.senders(r.Address)
		if len(senders) == 0 {
			k.violation(promiseContact, "contact %s was made for %s, from whom no inbound mail was seen that is neither automated nor spoofed", r.ID, r.Address)
		}
		for _, b := range k.t.Boxes {
			if b.living() && same(b.Address, r.Address) && r.Since.After(b.Connected) {
				k.violation(promiseContact, "contact %s was made for %s, the owner of box %s", r.ID, r.Address, b.Name)
			}
		}
		for _, first := range k.t.Records[:i] {
			if !first.Created || first.Address != r.Address {
				continue
			}
			switch there := first.Until.IsZero() || first.Until.After(r.Since); {
			case there && first.Until.IsZero() && !slices.Contains(first.Keys, r.Address):
				// It lost the address, as somebody wanted it.
			case there:
				k.violation(promiseContact, "contact %s was made for %s, who was contact %s already", r.ID, r.Address, first.ID)
			case !slices.ContainsFunc(senders, func(m *Mail) bool { return !slices.Contains(first.Decided, m) || k.forgotten(m) }):
				k.violation(promiseContact, "contact %s was made anew for %s after contact %s was deleted or merged, and no mail of his is new since",
					r.ID, r.Address, first.ID)
			}
		}
	}
	if !k.t.AlwaysCreate {
		return
	}
	for _, m := range k.t.Mails {
		by := k.deciders(m)
		read := slices.ContainsFunc(k.held[m], func(l lying) bool { return k.readRow[l.copy] })
		if !read || by[0].Sent || m.From == "" || m.Automated || m.Spoofed || k.dropped(m) || k.droppedFirst(m) || k.everOwn(m.From) || k.everExcluded(m.From) {
			continue
		}
		known := func(r *Record) bool {
			return (r.Kind == linker.Contact || r.Kind == linker.Lead) && slices.ContainsFunc(r.Had, func(key string) bool { return same(key, m.From) })
		}
		if !slices.ContainsFunc(k.t.Records, known) {
			k.violation(promiseContact, "%s, who wrote mail %s, is no contact and never was, want one made", m.From, m.Subject)
		}
	}
}

// forgotten: a mailbox that had it was erased, and what was decided with it. Where it is met again it is met for the first time.
func (k *oracle) forgotten(m *Mail) bool {
	return slices.ContainsFunc(k.held[m], func(l lying) bool { return l.box.Erased })
}

// senders returns the mails for whose author a contact may be made. Of a mailbox that was erased nothing tells any more what was seen.
func (k *oracle) senders(address string) []*Mail {
	var out []*Mail
	for _, m := range k.t.Mails {
		inbound := slices.ContainsFunc(k.held[m], func(l lying) bool {
			return !l.copy.Sent && (k.seenRow[l.copy] || m.MessageID == "" && k.listed[l.copy] || l.box.Erased && !l.copy.Unlisted)
		})
		if m.From == address && inbound && !m.Automated && !m.Spoofed {
			out = append(out, m)
		}
	}
	return out
}

// droppedFirst: a mail that a person drops before it is decided for the first time may be out by then, and no contact is made of it when it is
// restored (R11: of mail that is met for the first time).
func (k *oracle) droppedFirst(m *Mail) bool {
	return slices.ContainsFunc(k.t.Words, func(w Word) bool {
		return w.Say == SayDrop && !slices.Contains(w.Decided, m) && k.concerns(w, m) != no
	})
}

func (k *oracle) everOwn(address string) bool {
	return slices.ContainsFunc(k.t.Boxes, func(b *Box) bool { return same(b.Address, address) })
}

func (k *oracle) everExcluded(address string) bool {
	return within(address, k.t.EverExcluded) || slices.ContainsFunc(k.t.EverExcluded, func(x string) bool { return same(x, address) })
}

// wakes checks R12.
func (k *oracle) wakes() {
	for _, w := range k.o.Wakes {
		k.violation(promiseWake, "%s", w)
	}
}
