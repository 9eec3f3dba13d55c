package imap

import goimap "github.com/emersion/go-imap/v2"

// Ignore makes the mailbox not use capabilities that the server offers, so that the other path is tried over a real one.
// "KEYWORDS" is what folders keep by themselves.
func (m *Mailbox) Ignore(caps ...goimap.Cap) { m.ignored = caps }

// Renewal is how long an IDLE lasts.
const Renewal = renewal

// LabelNames are the names that a label's folder may have on a server with that prefix and delimiter.
func LabelNames(prefix string, delim rune, label string) []string {
	t := &tree{prefix: prefix, delim: delim, list: []*goimap.ListData{{Mailbox: "INBOX", Delim: delim}}}
	return t.labelNames(label)
}
