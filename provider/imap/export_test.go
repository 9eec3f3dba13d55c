package imap

import (
	"context"
	"net"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Ignore makes the mailbox not use capabilities that the server offers, so that the other path is tried over a real one.
// "KEYWORDS" is what folders keep by themselves.
func (m *Mailbox) Ignore(caps ...goimap.Cap) { m.ignored = caps }

// Greeting and Capabilities are what a connection begins with.
var (
	Greeting     = greeting
	Capabilities = capabilities
)

// OffersAtTheEnd says whether the server offers a capability, when its connection has just ended.
func (m *Mailbox) OffersAtTheEnd(ctx context.Context, capability goimap.Cap) (offers bool) {
	m.once(ctx, func(c *imapclient.Client) error { //nolint:errcheck // it ended
		m.conn.abort()
		<-c.Closed()
		offers = m.has(capability)
		return net.ErrClosed
	})
	return offers
}

// Renewal is how long an IDLE lasts.
const Renewal = renewal

// LabelNames are the names that a label's folder may have on a server with that prefix and delimiter.
func LabelNames(prefix string, delim rune, label string) []string {
	t := &tree{prefix: prefix, delim: delim, list: []*goimap.ListData{{Mailbox: "INBOX", Delim: delim}}}
	return t.labelNames(label)
}

// SeatWait is how long connecting waits for a seat.
const SeatWait = seatWait

// Seats takes seats as connections do.
type Seats struct{ p *place }

// NewSeats are those of one user of one server, none taken.
func NewSeats(perServer, perMailbox int) Seats {
	l := &limits{perServer: perServer, perMailbox: perMailbox}
	return Seats{l.place(Config{Host: "mail.example", Port: 993, Username: "ada"})}
}

// Of is another user of the same server.
func (s Seats) Of(user string) Seats {
	return Seats{s.p.l.place(Config{Host: "MAIL.example", Port: 993, Username: user})}
}

func (s Seats) Sit(ctx context.Context) (func(), error) { return s.p.sit(ctx) }
func (s Seats) Idle() (func(), error)                   { return s.p.idle() }

// Rooms is how many servers and users are remembered.
func (s Seats) Rooms() int {
	s.p.l.mu.Lock()
	defer s.p.l.mu.Unlock()
	return len(s.p.l.rooms)
}

// Rooms is how many servers and users a provider remembers.
func (p *Provider) Rooms() int { return Seats{&place{l: &p.limits}}.Rooms() }

// Panic is a bug that shows while an answer is read, and is caught.
func (m *Mailbox) Panic(ctx context.Context) (value any, err error) {
	defer func() { value = recover() }()
	return nil, m.once(ctx, func(c *imapclient.Client) error {
		sel, err := m.examine(c, "INBOX", true)
		if err != nil {
			return err
		}
		cmd := c.Fetch(goimap.SeqSet{goimap.SeqRange{Start: 1, Stop: sel.num}}, &goimap.FetchOptions{UID: true, BodySection: []*goimap.FetchItemBodySection{m.whole()}})
		cmd.Next()
		panic("a bug")
	})
}
