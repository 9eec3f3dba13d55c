package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
)

var _ provider.Sender = (*Sender)(nil)

// Sender sends through one server. Every release has a connection of its own; safe for concurrent use.
type Sender struct {
	config Config
	last   time.Duration // for the answer to the message
}

// New returns a sender, or what Validate says.
func New(c Config) (*Sender, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("smtp: configuration: %w", err)
	}
	// RFC 5321, 4.5.3.2.6: many look into a message before they answer, and who doesn't wait never knows.
	last := 10 * time.Minute
	if c.Timeout > 0 {
		last = c.Timeout
	}
	return &Sender{c.withDefaults(), last}, nil
}

// Format implements fmt.Formatter for every verb: fmt would print the secrets of unexported fields.
func (s Sender) Format(f fmt.State, verb rune) { s.config.Format(f, verb) }

// LogValue implements slog.LogValuer.
func (s Sender) LogValue() slog.Value { return s.config.LogValue() }

// Stage checks the message and its envelope and keeps the bytes: SMTP has no drafts.
func (s *Sender) Stage(ctx context.Context, raw []byte, o provider.SendOptions) (provider.Staged, error) {
	if err := ctx.Err(); err != nil {
		return provider.Staged{}, err
	}
	if err := s.check(raw, o); err != nil {
		return provider.Staged{}, err
	}
	o.Recipients = slices.Clone(o.Recipients)
	return provider.Staged{Raw: bytes.Clone(raw), Options: o}, nil
}

// check refuses what can't be sent as it is. What was staged is checked again: it comes from a store.
func (s *Sender) check(raw []byte, o provider.SendOptions) error {
	wrong := func(what string) error { return &SendError{What: what, Err: errors.New(what)} }
	if checkAddress(o.From) != nil {
		return wrong("a sender that is no address")
	}
	if len(o.Recipients) == 0 {
		return wrong("a message to nobody")
	}
	for _, r := range o.Recipients {
		if checkAddress(r) != nil {
			return wrong("a recipient that is no address")
		}
	}
	if len(raw) > s.config.MaxSize {
		return wrong("a message above " + strconv.Itoa(s.config.MaxSize) + " bytes")
	}
	// RFC 5321, 2.3.8: CR and LF appear together only. A lone one would be changed on the way, or smuggle a message.
	pairs := bytes.Count(raw, []byte("\r\n"))
	if bytes.Count(raw, []byte("\r")) != pairs || bytes.Count(raw, []byte("\n")) != pairs || bytes.IndexByte(raw, 0) >= 0 {
		return wrong("a message with bare line ends or NUL")
	}
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return wrong("a message without a readable header")
	}
	for _, h := range []string{"Bcc", "Resent-Bcc"} {
		if _, ok := m.Header[h]; ok {
			return wrong("a message whose header shows its Bcc recipients")
		}
	}
	if o.MessageID != "" && message.ParseHeader(raw).MessageID != o.MessageID {
		return wrong("a message with another Message-ID than announced")
	}
	return nil
}

// Release sends the staged bytes. Errors: *SendError (nothing was sent; temporary or not), *provider.NeedsAction (the
// login), *UnknownOutcomeError (it may have been sent), and the context's, which is provider.ErrNotSent too, where it ended before the message was out.
// Where it ends later the server's answer is waited for, for ten seconds at most.
func (s *Sender) Release(ctx context.Context, st provider.Staged) (provider.Sent, error) {
	if err := ctx.Err(); err != nil {
		return provider.Sent{}, &stoppedError{err}
	}
	if err := s.check(st.Raw, st.Options); err != nil {
		return provider.Sent{}, err
	}
	c, failure := connect(ctx, s.config)
	if failure != nil {
		if err := ctx.Err(); err != nil {
			return provider.Sent{}, &stoppedError{err}
		}
		return provider.Sent{}, classify(failure)
	}
	defer c.end()
	response, err := c.send(ctx, st, s.last)
	if err != nil && ctx.Err() != nil && !c.out {
		return provider.Sent{}, &stoppedError{ctx.Err()}
	}
	if err != nil {
		return provider.Sent{}, err
	}
	c.bye() // the mail is accepted: whatever happens now changes nothing
	return provider.Sent{MessageID: message.ParseHeader(st.Raw).MessageID, Response: response}, nil
}

func (c *connection) send(ctx context.Context, st provider.Staged, last time.Duration) (string, error) {
	header, _, _ := bytes.Cut(st.Raw, []byte("\r\n\r\n"))
	addresses := []string{asciiDomain(st.Options.From)}
	var recipients []string // as they were given, each once: not every server looks
	for _, r := range st.Options.Recipients {
		if a := asciiDomain(r); !slices.Contains(addresses[1:], a) {
			addresses, recipients = append(addresses, a), append(recipients, r)
		}
	}
	wide := !isASCII(string(header)) || slices.ContainsFunc(addresses, func(a string) bool { return !isASCII(a) })
	if ok, _ := c.Extension("SMTPUTF8"); wide && !ok {
		return "", &SendError{What: "an address or header beyond ASCII", Err: &unsupportedError{"SMTPUTF8"}}
	}
	c.SkipSMTPUTF8(!wide) // asked for needlessly it makes relays on the way refuse the mail
	if ok, _ := c.Extension("8BITMIME"); !ok && !isASCII(string(st.Raw)) {
		return "", &SendError{What: "a message beyond ASCII", Err: &unsupportedError{"8BITMIME"}}
	}
	if _, size := c.Extension("SIZE"); size != "" {
		if limit, err := strconv.Atoi(size); err == nil && limit > 0 && len(st.Raw) > limit {
			return "", &SendError{What: "a message above the server's size limit", Err: errors.New("SIZE " + size)}
		}
	}
	if err := c.Mail("<" + addresses[0] + ">"); err != nil {
		return "", refused("the sender", err)
	}
	var out SendError
	for i, a := range addresses[1:] {
		err := c.Rcpt("<" + a + ">")
		if err == nil {
			continue
		}
		code, enhanced, text, ok := reply(err)
		if !ok {
			return "", refused("a recipient", err)
		}
		r := Rejection{Recipient: recipients[i], Temporary: code < 500, Code: code, Enhanced: enhanced, Reply: text}
		// One refused for good makes the whole permanent; its code is the one to show.
		if len(out.Rejected) == 0 || (out.Temporary && !r.Temporary) {
			out.Temporary, out.Code, out.Enhanced, out.Err = r.Temporary, code, enhanced, err
		}
		out.Rejected = append(out.Rejected, r)
	}
	if len(out.Rejected) > 0 {
		_ = c.Reset()
		c.bye()
		out.What = fmt.Sprintf("%d of %d recipients", len(out.Rejected), len(recipients))
		return "", &out
	}
	w, err := c.Data()
	if err != nil {
		return "", refused("the message", err)
	}
	if _, err := w.Write(st.Raw); err != nil {
		return "", refused("the message", err) // the final dot was never written: nothing was accepted
	}
	// From here on stopping leaves open whether it was sent.
	if !c.patient(ctx, last) {
		return "", &stoppedError{ctx.Err()}
	}
	c.out = true
	if err := w.Close(); err != nil {
		// go-mail takes 250 alone for a yes; RFC 5321, 4.2.1: the first digit says it.
		switch code, _, text, _ := reply(err); code / 100 {
		case 2:
			return strings.ToValidUTF8(text, "?"), nil
		case 4, 5:
			return "", refused("the message", err)
		}
		return "", &UnknownOutcomeError{Err: err}
	}
	if d, ok := w.(*gosmtp.DataCloser); ok {
		return strings.ToValidUTF8(d.ServerResponse(), "?"), nil
	}
	return "", nil
}

// Lookup says that it can't know: plain SMTP has nowhere to look.
func (s *Sender) Lookup(ctx context.Context, _ provider.Staged) (provider.Outcome, provider.Sent, error) {
	return provider.OutcomeUnknown, provider.Sent{}, ctx.Err()
}

// Test takes every step of sending but the message itself: it connects, logs in, names the sender and takes that
// back. A failure is a *TestError.
func (s *Sender) Test(ctx context.Context) error {
	c, failure := connect(ctx, s.config)
	if failure != nil {
		return failure
	}
	defer c.end()
	from := asciiDomain(s.config.FromAddress)
	c.SkipSMTPUTF8(isASCII(from))
	err := c.Mail("<" + from + ">")
	if err == nil {
		err = c.Reset()
	}
	if err != nil {
		return failed(StepSender, errors.Join(ctx.Err(), err))
	}
	c.bye()
	return nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
