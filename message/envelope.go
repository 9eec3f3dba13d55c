package message

import "time"

// Fields names what an Envelope holds. A provider's listing may carry less than a header: what is not in Has is
// unknown, not empty.
type Fields uint16

const (
	HasIDs          Fields = 1 << iota // MessageID, InReplyTo, References
	HasParticipants                    // From, Sender, ReplyTo, To, Cc
	HasSubject
	HasDate
	HasAutomated // Automated was judged from the headers
	HasAuth      // Auth was judged from the receiver's Authentication-Results

	HasHeader = HasIDs | HasParticipants | HasSubject | HasDate | HasAutomated | HasAuth // a whole header was read
)

// Envelope is what the header of a message says, with what the mailbox knows of it.
type Envelope struct {
	Has         Fields
	MessageID   string   // without angle brackets; compare case-sensitively (RFC 5322, 3.6.4)
	InReplyTo   []string // without angle brackets
	References  []string // oldest first, without angle brackets, bounded
	ThreadIndex string   // base64, Microsoft's Thread-Index
	From        []Address
	Sender      []Address
	ReplyTo     []Address
	To          []Address
	Cc          []Address
	Bcc         []Address // only in the sender's own copy
	Subject     string    // decoded, valid UTF-8
	Date        time.Time // what the sender claims; zero when unreadable
	Received    time.Time // when the mailbox got it (INTERNALDATE, internalDate, receivedDateTime)
	Automated   Automated
	Auth        Auth
	Sent        bool   // lies in a Sent folder or carries the label: only this proves outbound
	Thread      string // the provider's thread id within this mailbox, "" where it has none
}

// When returns the time that orders the message: Received, or Date where the mailbox knows none.
func (e *Envelope) When() time.Time {
	if !e.Received.IsZero() {
		return e.Received
	}
	return e.Date
}

// Automated is the verdict on mail that no person wrote to this reader. The zero value is a person's mail.
type Automated struct {
	Class  Class  // "" for a person's mail
	Reason string // the evidence in words: `Auto-Submitted: auto-replied`
}

// Class says what kind of automated mail it is.
type Class string

const (
	AutoReply    Class = "auto-reply"   // out of office, vacation, ticket received
	Bounce       Class = "bounce"       // delivery status, RFC 3464 or a server's own wording
	Receipt      Class = "receipt"      // disposition notification, RFC 8098
	Report       Class = "report"       // feedback report (ARF), DMARC or TLS report
	Newsletter   Class = "newsletter"   // bulk mail
	Notification Class = "notification" // a machine's message about an event
)

// Auth is the receiving server's verdict on the From domain, never our own. Unknown is not forged.
type Auth string

const (
	AuthUnknown Auth = ""
	AuthPass    Auth = "pass"
	AuthFail    Auth = "fail"
)
