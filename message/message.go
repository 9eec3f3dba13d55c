// Package message holds the words that every other package shares: addresses and their matching keys, envelopes,
// parsed messages, and the verdict on automated mail. It does no I/O and keeps no state; all functions may be
// called concurrently.
//
// Odd mail is data, not failure: Parse returns what could be read and names what was wrong as Defects.
package message

// Message is a message as people read it. All text is valid UTF-8 without NUL and of bounded length.
type Message struct {
	Envelope
	Text        string // the plain part, or the HTML part rendered as text
	HTML        string // "" where there is none; not sanitised
	Attachments []Attachment
	Defects     []Defect
	// HeaderAutomated is the verdict that the header alone gives, as ParseHeader has it. Decisions are made by it, so that
	// they don't depend on whether the body was at hand; Automated has seen the body too.
	HeaderAutomated Automated
}

// Attachment describes a part that is not the body. Its bytes are fetched apart.
type Attachment struct {
	Part      string // what the mailbox's Attachment takes: an IMAP section path, "2.1"; at Graph the attachment's id
	Name      string
	Type      string // media type, lower-case
	Size      int64  // decoded bytes; an estimate where only the structure was read
	ContentID string // without angle brackets
	Inline    bool
}

// Defect is something that was wrong with a message and was worked around.
type Defect struct {
	Name   string // stable, kebab-case: "header-without-colon"
	Detail string // where and what, without the message's content
}
