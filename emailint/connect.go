package emailint

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// Connection is the stored record of a connected mailbox; its Credential is sealed.
type Connection = state.Connection

// NewConnection is a mailbox to connect.
type NewConnection struct {
	User       string // the host's id of the person
	Provider   string // provider.Provider.Name
	Credential []byte // the provider's own JSON, imap.Config for example; sealed before it is stored
}

func (n NewConnection) text() string { return "mailbox of " + n.User + " at " + n.Provider }

// Format implements fmt.Formatter for every verb: the credential does not print.
func (n NewConnection) Format(f fmt.State, _ rune) { fmt.Fprint(f, n.text()) }

// LogValue implements slog.LogValuer.
func (n NewConnection) LogValue() slog.Value { return slog.StringValue(n.text()) }

// Connect signs in, asks whose mailbox it is, and stores the connection. Nothing is stored when that fails. The same mailbox
// of the same user again is a reconnection: it keeps cursor, ledger and links and is not imported a second time. Mail of others that has one of its
// addresses is decided again, as it is internal now.
func (e *Engine) Connect(ctx context.Context, org string, n NewConnection) (Connection, error) {
	p := e.provs[n.Provider]
	if p == nil {
		return Connection{}, fmt.Errorf("emailint: connecting: there is no provider %q in Options.Providers", n.Provider)
	}
	if _, ok := power.Of[provider.Authorizer](p); ok {
		return Connection{}, fmt.Errorf("emailint: connecting: people sign in to %s at the service: use Handler, or Consent and Finish", n.Provider)
	}
	if org == "" || n.User == "" {
		return Connection{}, errors.New("emailint: connecting: organisation and user must be named")
	}
	box, err := p.Open(ctx, n.Credential)
	if err != nil {
		return Connection{}, fmt.Errorf("emailint: connecting: %w", err)
	}
	defer box.Close()
	prof, err := box.Profile(ctx)
	if err != nil {
		return Connection{}, fmt.Errorf("emailint: connecting: %w", err)
	}
	return e.store(ctx, org, n, "", prof)
}

// store stores a mailbox that was opened. client is the OAuth app by which.
func (e *Engine) store(ctx context.Context, org string, n NewConnection, client string, prof provider.Profile) (Connection, error) {
	sealed, err := e.keys.Seal(n.Credential, credentialRow(org, n.User, n.Provider, cmp.Or(prof.Subject, prof.Address)))
	if err != nil {
		return Connection{}, err
	}
	c := Connection{
		Org: org, User: n.User, Provider: n.Provider, Address: prof.Address, Aliases: prof.Aliases, Subject: prof.Subject,
		State: state.Connected, Credential: sealed, Client: client, ConnectedAt: e.o.Now(),
	}
	// Addresses that it had and has no more are nobody's own from now on.
	both := []Connection{c}
	stored, err := e.o.State.Connections(ctx, org)
	if err != nil {
		return Connection{}, fmt.Errorf("emailint: connecting: %w", err)
	}
	for _, s := range stored {
		if s.User == n.User && s.Provider == n.Provider && s.State != state.Erasing {
			both = append(both, s)
		}
	}
	if c, err = e.o.State.AddConnection(ctx, c, e.own(both...)); err != nil {
		return Connection{}, fmt.Errorf("emailint: connecting: %w", err)
	}
	e.relinkSoon()
	return c, nil
}

// credentialRow is what a credential is bound to: moved to another mailbox it does not open.
func credentialRow(org, user, prov, mailbox string) string {
	return row("credential", org, user, prov, mailbox)
}

func credentialOf(c Connection) string {
	return credentialRow(c.Org, c.User, c.Provider, cmp.Or(c.Subject, c.Address))
}

// open opens the mailbox of a connection.
func (e *Engine) open(ctx context.Context, c Connection) (provider.Mailbox, error) {
	p := e.provs[c.Provider]
	if p == nil {
		return nil, &provider.NeedsAction{Who: provider.Operator, Reason: fmt.Sprintf("no provider %q is in Options.Providers", c.Provider)}
	}
	if a, ok := power.Of[provider.Authorizer](p); ok {
		return a.OpenToken(ctx, e.tokens.Source(context.WithoutCancel(ctx), c))
	}
	cred, err := e.keys.Open(c.Credential, credentialOf(c))
	if err != nil {
		return nil, &provider.NeedsAction{Who: provider.Operator, Reason: "the stored credential does not open: is its sealing key in Options.Keys?", Err: err}
	}
	return p.Open(ctx, cred)
}

func randomName() string { return rand.Text()[:10] }
