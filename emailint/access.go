package emailint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/message"
)

// Actor is somebody of an organisation who asks for something.
type Actor struct {
	Org   string
	User  string
	Admin bool // manages the organisation's settings
}

// Action is what somebody asks for.
type Action string

const (
	ToConnect     Action = "connect a mailbox"
	ToDisconnect  Action = "disconnect a mailbox"
	ToErase       Action = "erase a mailbox"
	ToSend        Action = "send from a mailbox"
	ToExplain     Action = "have a mail of a mailbox explained"
	ToUndo        Action = "see and undo what a rule did in a mailbox"
	ToCorrect     Action = "correct the links of a mail in a mailbox"
	ToSeeState    Action = "see the state of a mailbox"
	ToRetry       Action = "try a mailbox again"
	ToSign        Action = "see and set a user's signature"
	ToSetSettings Action = "change the organisation's settings"
	ToPause       Action = "pause the organisation's mailboxes"
)

// access says who may do what: the owner of a mailbox, or an administrator with those of others. What nobody may with another's is not for
// administrators either: they see states, and neither content nor secrets.
var access = map[Action]struct{ owner, admin bool }{
	ToConnect:     {owner: true},
	ToDisconnect:  {owner: true},
	ToErase:       {owner: true},
	ToSend:        {owner: true},
	ToExplain:     {owner: true},
	ToUndo:        {owner: true},
	ToCorrect:     {owner: true},
	ToSign:        {owner: true},
	ToSeeState:    {owner: true, admin: true},
	ToRetry:       {owner: true, admin: true},
	ToSetSettings: {admin: true},
	ToPause:       {admin: true},
}

// ForbiddenError is the error of what an actor may not do. It does not say whether what was asked for exists.
type ForbiddenError struct{ Do Action }

func (e *ForbiddenError) Error() string { return "this user may not " + string(e.Do) }

// May reports, by its error, whether the actor may do something with what belongs to a user of their organisation; "" is what belongs to the whole.
func (a Actor) May(do Action, owner string) error {
	rule, known := access[do]
	if known && a.Org != "" && a.User != "" && (rule.owner && owner == a.User || rule.admin && a.Admin) {
		return nil
	}
	return &ForbiddenError{do}
}

// Acting is the engine for one actor: each call is checked, and nothing of another organisation is reached. For the handlers of a host's pages; jobs
// of the host's own call the engine itself.
type Acting struct {
	engine *Engine
	actor  Actor
}

// As returns the engine for an actor, whom the host has authenticated.
func (e *Engine) As(a Actor) *Acting { return &Acting{e, a} }

// mailbox returns a connection with which the actor may do something. One that isn't there is forbidden as well.
func (a *Acting) mailbox(ctx context.Context, do Action, id int64) (Connection, error) {
	c, err := a.engine.o.State.Connection(ctx, a.actor.Org, id)
	if err != nil {
		return Connection{}, &ForbiddenError{do}
	}
	return c, a.actor.May(do, c.User)
}

// Consent is Engine.Consent for a mailbox of the actor's own.
func (a *Acting) Consent(ctx context.Context, r ConsentRequest) (string, error) {
	if r.Session.Org != a.actor.Org || a.actor.May(ToConnect, r.Session.User) != nil {
		return "", &ForbiddenError{ToConnect}
	}
	return a.engine.Consent(ctx, r)
}

// Connect is Engine.Connect for a mailbox of the actor's own.
func (a *Acting) Connect(ctx context.Context, n NewConnection) (Connection, error) {
	if err := a.actor.May(ToConnect, n.User); err != nil {
		return Connection{}, err
	}
	return a.engine.Connect(ctx, a.actor.Org, n)
}

// Disconnect is Engine.Disconnect.
func (a *Acting) Disconnect(ctx context.Context, connection int64) (Disconnection, error) {
	if _, err := a.mailbox(ctx, ToDisconnect, connection); err != nil {
		return Disconnection{}, err
	}
	return a.engine.Disconnect(ctx, a.actor.Org, connection)
}

// Erase is Engine.Erase.
func (a *Acting) Erase(ctx context.Context, connection int64) (Erasure, error) {
	if _, err := a.mailbox(ctx, ToErase, connection); err != nil {
		return Erasure{}, err
	}
	return a.engine.Erase(ctx, a.actor.Org, connection)
}

// Send is Engine.Send for mail that comes from an address of the mailbox, or from the one that the organisation's SMTP server sends as.
func (a *Acting) Send(ctx context.Context, m Outgoing) (Sending, error) {
	c, err := a.mailbox(ctx, ToSend, m.Connection)
	if err != nil {
		return Sending{}, err
	}
	s, _, err := a.engine.settings(ctx, a.actor.Org)
	if err != nil {
		return Sending{}, err
	}
	own := []message.Key{message.AddressKey(s.SMTP.FromAddress), message.AddressKey(c.Address)}
	for _, alias := range c.Aliases {
		own = append(own, message.AddressKey(alias))
	}
	env := message.ParseHeader(m.Raw)
	from := []string{m.From}
	for _, as := range append(env.From, env.Sender...) {
		from = append(from, as.Addr)
	}
	for _, f := range from {
		if k := message.AddressKey(f); k == "" || len(env.From) == 0 || !slices.Contains(own, k) {
			return Sending{}, &ForbiddenError{ToSend}
		}
	}
	return a.engine.Send(ctx, a.actor.Org, m)
}

// Undo is Engine.Undo.
func (a *Acting) Undo(ctx context.Context, intent int64) (Intent, error) {
	i, err := a.engine.o.State.IntentOf(ctx, a.actor.Org, intent)
	if err != nil {
		return Intent{}, &ForbiddenError{ToUndo}
	}
	if _, err := a.mailbox(ctx, ToUndo, i.Connection); err != nil {
		return Intent{}, err
	}
	return a.engine.Undo(ctx, a.actor.Org, intent)
}

// Explain is Engine.Explain with the copies in the actor's own mailboxes, and the emails that one of them holds. A mail that none has shown
// is explained like one that nobody has.
func (a *Acting) Explain(ctx context.Context, messageID string) (Explanation, error) {
	if err := a.actor.May(ToExplain, a.actor.User); err != nil {
		return Explanation{}, err
	}
	x, err := a.engine.Explain(ctx, a.actor.Org, messageID)
	if err != nil {
		return Explanation{}, err
	}
	own, err := a.own(ctx)
	if err != nil {
		return Explanation{}, fmt.Errorf("emailint: explaining: %w", err)
	}
	x.Copies = slices.DeleteFunc(x.Copies, func(c Copy) bool { return !own[c.Connection] })
	var emails []ExplainedEmail
	for _, m := range x.Emails {
		id, err := strconv.ParseInt(m.ID, 10, 64)
		if err != nil {
			return Explanation{}, err
		}
		e, err := a.engine.o.State.Email(ctx, a.actor.Org, id)
		if err != nil {
			return Explanation{}, fmt.Errorf("emailint: explaining: %w", err)
		}
		if !slices.ContainsFunc(e.Holders, func(c int64) bool { return own[c] }) {
			continue
		}
		m.Intents = slices.DeleteFunc(m.Intents, func(i Intent) bool { return !own[i.Connection] })
		emails = append(emails, m)
	}
	x.Emails = emails
	return x, nil
}

// own returns the actor's own mailboxes.
func (a *Acting) own(ctx context.Context) (map[int64]bool, error) {
	own := map[int64]bool{}
	conns, err := a.engine.o.State.Connections(ctx, a.actor.Org)
	for _, c := range conns {
		if c.User == a.actor.User && c.State != state.Erasing {
			own[c.ID] = true
		}
	}
	return own, err
}

// Mutations is Engine.Mutations for a mailbox of the actor's own.
func (a *Acting) Mutations(ctx context.Context, connection, after int64, limit int) ([]Mutation, error) {
	if _, err := a.mailbox(ctx, ToUndo, connection); err != nil {
		return nil, err
	}
	return a.engine.Mutations(ctx, a.actor.Org, connection, after, limit)
}

// Correct is Engine.Correct for a mail that one of the actor's own mailboxes holds, and with Thread for its thread, whosever mails are in it. What excludes
// a sender for all (NeverSender) is a setting of the organisation's, and for who may change these.
func (a *Acting) Correct(ctx context.Context, c Correction) error {
	if err := a.actor.May(ToCorrect, a.actor.User); err != nil {
		return err
	}
	if c.NeverSender {
		if err := a.actor.May(ToSetSettings, ""); err != nil {
			return err
		}
	}
	if err := c.validate(); err != nil {
		return fmt.Errorf("emailint: correcting: %w", err)
	}
	own, err := a.own(ctx)
	if err != nil {
		return fmt.Errorf("emailint: correcting: %w", err)
	}
	holds := false
	if c.Email != "" {
		id, err := strconv.ParseInt(c.Email, 10, 64)
		if err != nil {
			return &ForbiddenError{ToCorrect}
		}
		e, err := a.engine.o.State.Email(ctx, a.actor.Org, id)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return fmt.Errorf("emailint: correcting: %w", err)
		}
		holds = slices.ContainsFunc(e.Holders, func(c int64) bool { return own[c] })
	} else {
		// With the Message-ID all mails are meant that have it. Who knows another's, and sends himself a mail with it, must not come by the other's: all are
		// to be the mail that he has.
		rows, emails, err := a.engine.o.State.Lookup(ctx, a.actor.Org, a.engine.messageID(a.actor.Org, c.MessageID))
		if err != nil {
			return fmt.Errorf("emailint: correcting: %w", err)
		}
		his := map[state.Hash]bool{}
		for _, r := range rows {
			if own[r.Connection] {
				holds, his[r.Fingerprint] = true, true
			}
		}
		for _, r := range rows {
			holds = holds && (own[r.Connection] || r.Fingerprint != "" && his[r.Fingerprint])
		}
		for _, e := range emails {
			holds = holds && (e.Fingerprint != "" && his[e.Fingerprint] || slices.ContainsFunc(e.Holders, func(c int64) bool { return own[c] }))
		}
	}
	if !holds {
		return &ForbiddenError{ToCorrect}
	}
	return a.engine.Correct(ctx, a.actor.Org, c)
}

// Status is Engine.Status, without what nobody is shown: credential, cursors.
func (a *Acting) Status(ctx context.Context, connection int64) (Status, error) {
	if _, err := a.mailbox(ctx, ToSeeState, connection); err != nil {
		return Status{}, err
	}
	s, err := a.engine.Status(ctx, a.actor.Org, connection)
	if err != nil {
		return Status{}, err
	}
	s.Connection.Credential, s.Connection.Watch.Handle = nil, nil
	for i := range s.Runs {
		s.Runs[i].Cursor = nil
	}
	return s, nil
}

// Retry is Engine.Retry.
func (a *Acting) Retry(ctx context.Context, connection int64) error {
	if _, err := a.mailbox(ctx, ToRetry, connection); err != nil {
		return err
	}
	return a.engine.Retry(ctx, a.actor.Org, connection)
}

// MailboxState is what may be seen of a mailbox by those who must not see into it.
type MailboxState struct {
	ID       int64
	User     string
	Provider string
	Address  string
	State    state.ConnState
	Reason   string // why it is not connected, and what to do
	RealTime string
	Pauses   []Pause // that stand over it, the oldest first, and whose they are
	Counts   state.Counts
}

// Mailboxes returns the states of the mailboxes that the actor may see: their own, or as an administrator all.
func (a *Acting) Mailboxes(ctx context.Context) (out []MailboxState, err error) {
	conns, err := a.engine.o.State.Connections(ctx, a.actor.Org)
	if err != nil {
		return nil, fmt.Errorf("emailint: mailboxes: %w", err)
	}
	ps, err := a.engine.o.State.Pauses(ctx)
	if err != nil {
		return nil, fmt.Errorf("emailint: mailboxes: %w", err)
	}
	for _, c := range conns {
		if c.State == state.Erasing || a.actor.May(ToSeeState, c.User) != nil {
			continue
		}
		m := MailboxState{ID: c.ID, User: c.User, Provider: c.Provider, Address: c.Address, State: c.State, Reason: c.Reason, RealTime: c.RealTime,
			Pauses: over(ps, c.Org, c.Provider)}
		if m.Counts, err = a.engine.o.State.Counts(ctx, c.Org, c.ID); err != nil {
			return nil, fmt.Errorf("emailint: mailboxes: %w", err)
		}
		out = append(out, m)
	}
	return out, nil
}

// Settings is Engine.Settings with SecretSet for every secret that is there: nobody gets one back.
func (a *Acting) Settings(ctx context.Context) (Settings, int64, error) {
	if err := a.actor.May(ToSetSettings, ""); err != nil {
		return Settings{}, 0, err
	}
	s, saved, err := a.engine.settings(ctx, a.actor.Org)
	return s, saved.Version, err
}

// PatchSettings is Engine.PatchSettings, and returns what Settings would.
func (a *Acting) PatchSettings(ctx context.Context, patch []byte, version int64) (Settings, int64, error) {
	if err := a.actor.May(ToSetSettings, ""); err != nil {
		return Settings{}, 0, err
	}
	return a.engine.patch(ctx, a.actor.Org, patch, version)
}

// TestSMTP is Engine.TestSMTP.
func (a *Acting) TestSMTP(ctx context.Context, s SMTP) error {
	if err := a.actor.May(ToSetSettings, ""); err != nil {
		return err
	}
	return a.engine.TestSMTP(ctx, a.actor.Org, s)
}

// Pause pauses the organisation's mailboxes, of one provider or with "" all. It stands beside the operator's own.
func (a *Acting) Pause(ctx context.Context, provider, reason string) error {
	if err := a.actor.May(ToPause, ""); err != nil {
		return err
	}
	return a.engine.Pause(ctx, Pause{Org: a.actor.Org, Admin: true, Provider: provider, By: a.actor.User, Reason: reason})
}

// Resume ends such a pause, whichever administrator began it; the operator's stands.
func (a *Acting) Resume(ctx context.Context, provider string) error {
	if err := a.actor.May(ToPause, ""); err != nil {
		return err
	}
	return a.engine.resume(ctx, a.actor.Org, provider, true, a.actor.User)
}

// SetUserSettings is Engine.SetUserSettings for the actor.
func (a *Acting) SetUserSettings(ctx context.Context, s UserSettings, version int64) (int64, error) {
	if err := a.actor.May(ToSign, a.actor.User); err != nil {
		return 0, err
	}
	return a.engine.SetUserSettings(ctx, a.actor.Org, a.actor.User, s, version)
}

// UserSettings is Engine.UserSettings for the actor.
func (a *Acting) UserSettings(ctx context.Context) (UserSettings, int64, error) {
	if err := a.actor.May(ToSign, a.actor.User); err != nil {
		return UserSettings{}, 0, err
	}
	return a.engine.UserSettings(ctx, a.actor.Org, a.actor.User)
}

// EraseUserSettings is Engine.EraseUserSettings for the actor.
func (a *Acting) EraseUserSettings(ctx context.Context) error {
	if err := a.actor.May(ToSign, a.actor.User); err != nil {
		return err
	}
	return a.engine.EraseUserSettings(ctx, a.actor.Org, a.actor.User)
}

// Signature is Engine.Signature for the actor's mail.
func (a *Acting) Signature(ctx context.Context) (Signature, error) {
	if err := a.actor.May(ToSign, a.actor.User); err != nil {
		return Signature{}, err
	}
	return a.engine.Signature(ctx, a.actor.Org, a.actor.User)
}

// PreviewSignature is Engine.PreviewSignature as it would be for the actor.
func (a *Acting) PreviewSignature(ctx context.Context, html string) (Signature, error) {
	if err := a.actor.May(ToSign, a.actor.User); err != nil {
		return Signature{}, err
	}
	return a.engine.PreviewSignature(ctx, a.actor.Org, a.actor.User, html)
}
