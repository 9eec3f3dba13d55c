package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// owners of the mailboxes: of an IMAP-like, a Gmail-like and a Graph-like one.
var owners = []string{"ann", "bob", "cat"}

// authServer wrote the Authentication-Results that the mailboxes' services believe.
const authServer = "mx.sim.example"

func address(owner string) string { return owner + "@own.com" }

// messageID is the one of the mail of a name, also before it was written: mail may be answered before it is shown to us.
func messageID(name string) string { return name + "@sim.example" }

// raw renders a mail. Only the author's own copy shows Bcc.
func (m *Mail) raw(own bool) []byte {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	ids := func(list []string) string {
		var out []string
		for _, id := range list {
			if id != "" {
				out = append(out, "<"+id+">")
			}
		}
		return strings.Join(out, " ")
	}
	if m.Spoofed {
		line("Authentication-Results", authServer+"; dmarc=fail header.from="+domainOf(m.From))
	}
	line("From", m.From)
	line("To", strings.Join(m.To, ", "))
	line("Cc", strings.Join(m.Cc, ", "))
	if own {
		line("Bcc", strings.Join(m.Bcc, ", "))
	}
	line("Subject", m.Subject)
	line("Date", m.Date.Format(time.RFC1123Z))
	line("Message-ID", ids([]string{m.MessageID}))
	line("In-Reply-To", ids([]string{m.InReplyTo}))
	line("References", ids(m.References))
	if m.Automated {
		line("Auto-Submitted", "auto-generated")
	}
	b.WriteString("\r\nThe text of " + m.Subject + ".\r\n")
	return []byte(b.String())
}

// deliver puts a mail into a mailbox, which has it not yet.
func (w *world) deliver(b *box, m *Mail, role provider.Role) {
	w.deliverRaw(b, m, m.raw(role == provider.RoleSent), role)
}

func (w *world) deliverRaw(b *box, m *Mail, raw []byte, role provider.Role) {
	h := b.fake.Deliver(raw, w.clock, role)
	c := &Copy{Mail: m, Received: w.clock, Sent: role == provider.RoleSent, Role: role, Unlisted: aside(role)}
	b.add(h, c)
	w.count["mails delivered"]++
}

func (b *box) add(h providertest.Handle, c *Copy) {
	c.Items = append(c.Items, b.fake.ItemID(h))
	b.copies[h] = c
	b.Copies = append(b.Copies, c)
}

// holds returns the copy of a mail that lies in the mailbox now.
func (b *box) holds(name string) (providertest.Handle, *Copy) {
	for h, c := range b.copies {
		if c.Mail.Subject == name && !c.Deleted {
			return h, c
		}
	}
	return "", nil
}

// knows reports whether a mail is or was in the mailbox.
func (b *box) knows(name string) bool {
	return slices.ContainsFunc(b.Copies, func(c *Copy) bool { return c.Mail.Subject == name })
}

// note looks at what is in the mailbox: ids that changed, what the engine put there or moved, and what its owner sent to others of the
// organisation. It is called after everything that may have changed anything.
func (w *world) note(b *box) {
	for _, h := range b.fake.Handles() {
		c := b.copies[h]
		if c == nil { // what the engine sent, or filed
			s, _ := b.fake.Sight(h)
			m := w.mail(message.ParseHeader(s.Raw).Subject)
			if m == nil {
				w.violate("world: %s has a mail that nobody wrote: %s", b.Name, s.Raw)
				continue
			}
			if _, there := b.holds(m.Subject); there != nil {
				w.violate("R9 a mail is filed once: %s has a second copy of %s in Sent", b.Name, m.Subject)
			}
			c = &Copy{Mail: m, Received: s.At, Sent: true, Role: provider.RoleSent}
			b.add(h, c)
			w.count["copies in Sent"]++
			continue
		}
		if id := b.fake.ItemID(h); id != c.present() && !c.Deleted {
			c.Items = append(c.Items, id)
		}
		if !c.Deleted && !aside(c.Role) && (c.Role != "" || b.Kind == providertest.Gmail) {
			w.noteRule(b, h, c)
		}
	}
	for _, d := range b.fake.Sent()[b.sent:] {
		b.sent++
		w.count["mails sent"]++
		m := w.mail(message.ParseHeader(d.Raw).Subject)
		if m == nil {
			w.violate("world: %s sent a mail that nobody wrote: %s", b.Name, d.Raw)
			continue
		}
		if m.Sent {
			continue // the second time
		}
		m.Sent = true
		if d.MessageID != m.MessageID {
			m.Renamed = d.MessageID
		}
		for _, other := range w.boxes {
			if slices.Contains(d.Recipients, other.Address) && other != b && !other.knows(m.Subject) {
				w.deliverRaw(other, m, d.Raw, provider.RoleInbox)
			}
		}
	}
}

// noteRule sees what a rule of the inbox did.
func (w *world) noteRule(b *box, h providertest.Handle, c *Copy) {
	s, there := b.fake.Sight(h)
	if !there {
		return
	}
	in := slices.ContainsFunc(s.Folders, func(f provider.Folder) bool { return f.Role == provider.RoleInbox })
	if in == (c.Role == provider.RoleInbox || c.Back) || c.Role == provider.RoleSent {
		return
	}
	c.Stirred = true
	box := b.Box
	if b.Conn == 0 { // a worker stood at it while the mailbox was erased
		for _, was := range w.truth.Boxes {
			if was.Name == b.Name && was.Erased {
				box = was
			}
		}
	}
	k := mutationKey{box, c.Mail.Subject}
	mu := w.mutations[k]
	if mu == nil {
		mu = &Mutation{Box: box, Subject: c.Mail.Subject}
		w.mutations[k] = mu
	}
	if in {
		// At Gmail the label that its owner gave it meanwhile stays.
		if c.Back = c.Role == ""; !c.Back {
			c.Role = provider.RoleInbox
		}
		mu.Undone = true
		w.count["archived mails taken back"]++
		return
	}
	if c.Back = false; c.Role == provider.RoleInbox {
		c.Role = provider.RoleArchive
	}
	mu.Times++
	w.count["mails archived"]++
	if mu.Undone {
		mu.Again++
	}
	mu.Undone = false
	if !slices.ContainsFunc(w.crm.Emails(org), func(e crmEmail) bool { return e.Message.Subject == c.Mail.Subject && len(e.Links) > 0 }) {
		mu.Bare++
	}
}

// notice notes all mailboxes.
func (w *world) notice() {
	for _, b := range w.boxes {
		w.note(b)
	}
}

// move moves a copy as its owner does.
func (w *world) move(b *box, h providertest.Handle, c *Copy, to provider.Role) {
	b.fake.Move(h, to)
	c.Role, c.Back, c.Stirred = to, false, true
	c.Unlisted = c.Unlisted && aside(to)
	w.note(b)
}

func (c *Copy) String() string { return fmt.Sprintf("%s in %s", c.Mail.Subject, role(c.Role)) }
