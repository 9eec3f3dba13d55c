package walk

import (
	"context"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
)

// ByToken is a provider whose credential is an access token that somebody got elsewhere (-token): nobody signs in, and it ends when the token does. A host
// has no use for it.
func ByToken(name string, open func(context.Context, oauth2.TokenSource) (provider.Mailbox, error)) provider.Provider {
	return byToken{name, open}
}

type byToken struct {
	name string
	open func(context.Context, oauth2.TokenSource) (provider.Mailbox, error)
}

// Name implements provider.Provider.
func (p byToken) Name() string { return p.name }

// Open implements provider.Provider.
func (p byToken) Open(ctx context.Context, credential []byte) (provider.Mailbox, error) {
	return p.open(ctx, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(credential)}))
}
