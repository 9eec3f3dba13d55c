package gmailtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	netmail "net/mail"

	"google.golang.org/api/gmail/v1"

	"github.com/intellicon/email-integration/internal/fakemail"
)

// maxRecipients is how many a message may have that is sent by the API (facts 1.6).
const maxRecipients = 500

// Outgoing is a message that was sent, as those get it who are nobody here.
type Outgoing struct {
	From       string   // the user's primary address
	Recipients []string // Bcc included, users of the Server too
	Raw        []byte   // without Bcc
	At         time.Time
	ID         string // of the message in the sender's mailbox
}

// Sent returns what users have sent, in order.
func (s *Server) Sent() []Outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.outgoing)
}

// sendMessage is users.messages.send.
func (c *call) sendMessage() (any, *apiError) {
	var in gmail.Message
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	raw, e := c.content(in.Raw, maxSend)
	if e != nil {
		return nil, e
	}
	thread, e := c.user.threadFor(fakemail.ParseHeader(raw), in.ThreadId)
	if e != nil {
		return nil, e
	}
	m, e := c.user.send(raw, thread)
	if e != nil {
		return nil, e
	}
	return brief(m), nil // facts 1.7: "id + threadId + labelIds only"
}

// send sends a message as the user, in that thread. The caller holds Server.mu.
func (u *User) send(raw []byte, thread string) (*mail, *apiError) {
	s := u.s
	h := fakemail.ParseHeader(raw)
	var rcpts []string
	for _, a := range h.Addresses("To", "Cc", "Bcc") { // facts 1.7: "Recipients come from To/Cc/Bcc headers in the raw message"
		if !slices.Contains(rcpts, a.Address) {
			rcpts = append(rcpts, a.Address)
		}
	}
	switch {
	case len(rcpts) == 0:
		return nil, invalid("Recipient address required") // from memory
	case len(rcpts) > maxRecipients:
		return nil, invalid("Too many recipients")
	}
	if e := u.rationed(); e != nil {
		return nil, e
	}
	raw = u.stamp(raw, h)
	seen := fakemail.Rewrite(raw, []string{"Bcc"}) // facts 1.7: "Bcc is removed on delivery"
	now := s.now()
	labels := []string{"SENT"}
	to := map[*User]bool{}
	for _, r := range rcpts {
		if o := s.user(r); o != nil && o.closed == nil {
			to[o] = true
		}
	}
	if to[u] { // from memory: one message, in both
		labels = append(labels, "INBOX", "UNREAD")
	}
	m := u.put(raw, now, labels, thread)
	s.outgoing = append(s.outgoing, Outgoing{u.Address, rcpts, seen, now, m.id})
	for _, o := range s.users {
		if to[o] && o != u {
			o.put(seen, now, []string{"INBOX", "UNREAD"}, "")
		}
	}
	return m, nil
}

// rationed counts a message against Options.SendsPerDay. Facts 1.6: "429: per-user daily sending limit".
func (u *User) rationed() *apiError {
	now, most := u.s.now(), u.s.opts.SendsPerDay
	if most <= 0 {
		return nil
	}
	u.sent = slices.DeleteFunc(u.sent, func(at time.Time) bool { return now.Sub(at) >= 24*time.Hour })
	if len(u.sent) >= most {
		free := u.sent[0].Add(24 * time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
		return &apiError{status: http.StatusTooManyRequests, reason: "rateLimitExceeded", domain: "usageLimits",
			message: "User-rate limit exceeded.  Retry after " + free + " (Mail sending)"} // from memory
	}
	u.sent = append(u.sent, now)
	return nil
}

// threadFor is the thread that a message is sent or staged in. Facts 1.7: it "needs all three": threadId, References and In-Reply-To, and the
// subject; else it stands alone. Another mailbox's threadId is 404.
func (u *User) threadFor(h fakemail.Header, thread string) (string, *apiError) {
	if thread == "" {
		return alone, nil
	}
	found := false
	for _, m := range u.order {
		if m.thread != thread {
			continue
		}
		found = true
		cited := slices.Concat(fakemail.IDs(h.Get("References")), fakemail.IDs(h.Get("In-Reply-To")))
		if len(fakemail.IDs(h.Get("References"))) > 0 && len(fakemail.IDs(h.Get("In-Reply-To"))) > 0 && slices.Contains(cited, m.messageID) && sameSubject(m.header.Get("Subject"), h.Get("Subject")) {
			return thread, nil
		}
	}
	if !found {
		return "", notFound()
	}
	return alone, nil
}

// stamp is what Gmail does to a message that it sends.
func (u *User) stamp(raw []byte, h fakemail.Header) []byte {
	s := u.s
	// Facts 1.7: the API replaces the Message-ID "and does not keep the original in a header".
	drop := []string{"Message-ID"}
	add := []fakemail.Field{{Name: "Message-ID", Value: fmt.Sprintf("<CAF%s@mail.gmail.com>", s.mint("+"+short(u.Address)+"-"))}}
	if h.Get("Date") == "" {
		add = append(add, fakemail.Field{Name: "Date", Value: s.now().UTC().Format(time.RFC1123Z)})
	}
	from := h.Addresses("From")
	if len(from) != 1 || !u.sendsAs(from[0].Address) {
		// Facts 1.7: "otherwise Gmail silently rewrites From to the account".
		a := netmail.Address{Address: u.Address}
		if len(from) > 0 {
			a.Name = from[0].Name
		}
		drop = append(drop, "From")
		add = append(add, fakemail.Field{Name: "From", Value: a.String()})
	}
	return fakemail.Rewrite(raw, drop, add...)
}

// sendsAs reports whether mail may be from that address (facts 1.7: the primary, or an alias "with verificationStatus accepted").
func (u *User) sendsAs(address string) bool {
	return slices.ContainsFunc(u.sendAs, func(a *gmail.SendAs) bool {
		return strings.EqualFold(a.SendAsEmail, address) && (a.IsPrimary || a.VerificationStatus == "accepted")
	})
}

// Send is a person who sends a message in the web interface; a reply is in the thread that it answers.
func (u *User) Send(raw []byte) (id string, err error) {
	u.s.mu.Lock()
	m, e := u.send(raw, u.threadOf(fakemail.ParseHeader(raw)))
	u.s.mu.Unlock()
	if e != nil {
		return "", e
	}
	u.s.flush()
	return m.id, nil
}

// insertMessage is users.messages.insert and import.
func (c *call) insertMessage() (any, *apiError) {
	var in gmail.Message
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	raw, e := c.content(in.Raw, maxInsert)
	if e != nil {
		return nil, e
	}
	for _, l := range in.LabelIds {
		if c.user.label(l) == nil {
			return nil, invalid("labelId not found")
		}
	}
	at := c.s.now()
	otherwise := "receivedTime" // G-disc: the defaults differ
	if c.m.id == "messages.import" {
		otherwise = "dateHeader"
	}
	if v := c.query.Get("internalDateSource"); v == "dateHeader" || v == "" && otherwise == "dateHeader" {
		if t, err := parseDate(fakemail.ParseHeader(raw).Get("Date")); err == nil {
			at = t
		}
	}
	thread := ""
	if in.ThreadId != "" {
		if thread, e = c.user.threadFor(fakemail.ParseHeader(raw), in.ThreadId); e != nil {
			return nil, e
		}
	}
	return brief(c.user.put(raw, at, in.LabelIds, thread)), nil
}

func parseDate(v string) (time.Time, error) { return netmail.ParseDate(v) }
