package emailint

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/internal/token"
	"github.com/intellicon/email-integration/provider"
)

// Adoption is the access to a mailbox that another program was given, by the same app: its user need not consent again. A mailbox with a password is
// connected by Connect.
type Adoption struct {
	User         string
	Provider     string // of a provider.Authorizer
	RefreshToken Secret
}

// Adopt connects a mailbox by a refresh token that is there already. The token is used once, to see that it is good and whose it is; where the service
// rotates tokens the other program loses it by that, and must be stopped before.
func (e *Engine) Adopt(ctx context.Context, org string, a Adoption) (c Connection, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("emailint: adopting a mailbox of %s: %w", a.User, err)
		}
	}()
	if org == "" || a.User == "" || a.RefreshToken == "" || a.RefreshToken == SecretSet {
		return c, errors.New("organisation, user and refresh token must be named")
	}
	if err := e.observing(ctx); err != nil {
		return c, err
	}
	how, app, err := e.signIn(ctx, org, a.Provider)
	if err != nil {
		return c, err
	}
	p := e.provs[a.Provider].(provider.Authorizer)
	t, err := config(how, app).TokenSource(context.WithValue(ctx, oauth2.HTTPClient, e.o.HTTP), &oauth2.Token{RefreshToken: string(a.RefreshToken)}).Token()
	if err != nil {
		return c, token.Explain(err, p.Refusal)
	}
	g := token.Of(t, app.ClientID, e.o.Now(), token.Grant{Refresh: string(a.RefreshToken), Scopes: config(how, app).Scopes})
	if err := granted(how, g); err != nil {
		return c, err
	}
	return e.attach(ctx, p, t, g, begun{Org: org, User: a.User, Provider: a.Provider})
}
