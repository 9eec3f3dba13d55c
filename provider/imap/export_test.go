package imap

import goimap "github.com/emersion/go-imap/v2"

// Ignore makes the mailbox not use capabilities that the server offers.
func (m *Mailbox) Ignore(caps ...goimap.Cap) { m.ignored = caps }

// Renewal is how long an IDLE lasts.
const Renewal = renewal
