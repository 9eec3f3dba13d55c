package simulation

import (
	"slices"

	"github.com/intellicon/email-integration/linker"
)

// known is the email of the host's that a mail is; "": none. Which of several namesakes it is depends on which was decided first, so that is taken as it is.
func (k *oracle) known(m *Mail) string {
	for _, e := range k.state[m] {
		if e.alive() && e.HostID != "" {
			return e.HostID
		}
	}
	for _, e := range k.o.State { // nothing names it any more: it left, and links to nothing
		if e.alive() && e.HostID != "" && k.mailOf[e.ID] == nil && slices.ContainsFunc(k.t.Declared, func(d Declared) bool {
			return d.Host == e.HostID && slices.Contains(k.ids[m], d.MessageID) && (d.Author == "" || d.Author == m.From)
		}) {
			return e.HostID
		}
	}
	return ""
}

// alive: it is an email by which a mail is known, not what is left of one.
func (e Email) alive() bool { return e.Survivor == "" && !e.Effaced }

// fits reports whether a mail may be what was declared, decided by a copy: it has the Message-ID and the author, and was not forged.
func (k *oracle) fits(d Declared, m *Mail, by *Copy) bool {
	return slices.Contains(k.ids[m], d.MessageID) && (d.Author == "" || d.Author == m.From) && (by.Sent || !m.Spoofed || k.t.Rules.ForgedThreads)
}

// declared is the declaration that counts for a mail: of the host's email that it is, else of one that no other mail is; and of these rather the one that names
// the author. nil: none. Only what a mailbox showed is what was declared.
func (k *oracle) declared(m *Mail, by *Copy) *Declared {
	is := k.known(m)
	if is == "" && !slices.ContainsFunc(k.held[m], func(l lying) bool { return k.readRow[l.copy] }) {
		return nil
	}
	var found *Declared
	for i := range k.t.Declared {
		d := &k.t.Declared[i]
		switch {
		case !k.fits(*d, m, by):
		case is != "" && d.Host != is:
		case is == "" && slices.ContainsFunc(k.o.State, func(e Email) bool { return e.alive() && e.HostID == d.Host }):
		case d.MessageID == m.MessageID && m.Renamed != "" && m.By.Erased && (is == "" || !k.shows(*d, m)): // maybe nobody knows that id any more
		case found == nil || found.Author == "" && d.Author != "":
			found = d
		}
	}
	return found
}

// shows reports whether the mail has all links that a declaration gives.
func (k *oracle) shows(d Declared, m *Mail) bool {
	return !slices.ContainsFunc(d.Records, func(on *Record) bool {
		r := now(on)
		by := k.has(m)[r]
		return r != nil && k.said(m)[r] != unlink && by != linker.ByHost && by != linker.ByPerson
	})
}

// hosted are the links that the host gave to a mail.
func (k *oracle) hosted(m *Mail, by *Copy) links {
	out := links{}
	if d := k.declared(m, by); d != nil {
		for _, on := range d.Records {
			if r := now(on); r != nil {
				out[r] = linker.ByHost
			}
		}
	}
	return out
}

// hosts checks R14.
func (k *oracle) hosts() {
	by := map[string]Email{} // of the CRM, with links
	for _, e := range k.o.Emails {
		if len(e.Links) == 0 || e.HostID == "" {
			continue
		}
		if other, twice := by[e.HostID]; twice {
			k.violation(promiseOwn, "%s is email %s (mail %s) and email %s (mail %s), want one", e.HostID, other.ID, other.Subject, e.ID, e.Subject)
		}
		by[e.HostID] = e
		if owner := k.o.Owner[e.HostID]; owner != e.ID {
			k.violation(promiseOwn, "%s has become email %q, want %s (mail %s)", e.HostID, owner, e.ID, e.Subject)
		}
	}
	met := map[string]Email{}
	for _, e := range k.o.State {
		if !e.alive() || e.HostID == "" {
			continue
		}
		if other, twice := met[e.HostID]; twice {
			k.violation(promiseOwn, "%s is email %s and email %s in the state, want one", e.HostID, other.ID, e.ID)
		}
		met[e.HostID] = e
	}
	for _, m := range k.t.Mails {
		is := k.known(m)
		cs := k.deciders(m)
		if is != "" && !slices.ContainsFunc(k.t.Declared, func(d Declared) bool {
			return d.Host == is && slices.ContainsFunc(cs, func(c *Copy) bool { return k.fits(d, m, c) })
		}) && len(cs) > 0 {
			k.violation(promiseDeclared, "mail %s (Message-ID %s, from %s, forged: %v) is %s, which was not declared so", m.Subject, m.MessageID, m.From, m.Spoofed, is)
		}
		if is != "" || len(cs) == 0 || k.frozen(m) || len(k.has(m)) == 0 {
			continue
		}
		if d := k.declared(m, cs[0]); d != nil {
			k.violation(promiseDeclared, "mail %s is linked, and is not %s, as which it was declared", m.Subject, d.Host)
		}
	}
	declared, may := len(k.t.Declared), 0 // those whose email was met
	for _, d := range k.t.Declared {
		if _, ok := met[d.Host]; ok {
			may++
		}
	}
	if c := k.o.Met; c.Declared != declared || c.Met > may || c.Met < len(met) {
		k.violation(promiseDeclared, "%d are declared, and %d met; want %d, and %d to %d", c.Declared, c.Met, declared, len(met), may)
	}
}
