package emailint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/internal/token"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
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
// rotates tokens the other program loses it by that, and must be stopped before. Where the mailbox can't be opened afterwards, the same call goes on with the
// rotated token, for a week.
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
	p, _ := power.Of[provider.Authorizer](e.provs[a.Provider])
	refresh, stored, err := e.rotated(ctx, org, a)
	if err != nil {
		return c, err
	}
	t, err := config(how, app).TokenSource(context.WithValue(ctx, oauth2.HTTPClient, e.o.HTTP), &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return c, token.Explain(err, p.Refusal)
	}
	// The service may have taken the former back: whatever goes wrong from here on, the same call goes on with the new one.
	if t.RefreshToken != "" && t.RefreshToken != refresh {
		key, err := e.keepRotated(context.WithoutCancel(ctx), org, a, refresh, t.RefreshToken)
		if err != nil {
			e.o.Logger.WarnContext(ctx, "keeping a token that was rotated", "error", err)
		}
		stored = append(stored, key)
	}
	g := token.Of(t, app.ClientID, e.o.Now(), token.Grant{Refresh: refresh, Scopes: config(how, app).Scopes})
	if err := granted(how, g); err != nil {
		return c, err
	}
	if c, err = e.attach(ctx, p, t, g, begun{Org: org, User: a.User, Provider: a.Provider}); err != nil {
		return c, err
	}
	for _, key := range stored { // the connection has it
		if _, err := e.o.State.TakeConsent(context.WithoutCancel(ctx), key, e.o.Now()); err != nil && !errors.Is(err, state.ErrNotFound) {
			e.o.Logger.WarnContext(ctx, "forgetting a token that was adopted", "error", err)
		}
	}
	return c, nil
}

// adoptTime is how long a token is kept that a service rotated while a mailbox could not be adopted.
const adoptTime = 7 * 24 * time.Hour

// rotatedKey is where the token is kept that a service gave for another: as a consent that nobody comes back from.
func rotatedKey(org string, a Adoption, refresh string) (key state.Hash, row string) {
	param := digest(org + "\x00" + a.User + "\x00" + a.Provider + "\x00" + refresh)
	return stateKey("adopt " + param), consentRow(org, param)
}

// rotated returns the token that an earlier call was given for the one to adopt, and where it and those before it are kept.
func (e *Engine) rotated(ctx context.Context, org string, a Adoption) (refresh string, stored []state.Hash, err error) {
	refresh = string(a.RefreshToken)
	for {
		key, row := rotatedKey(org, a, refresh)
		kept, err := e.o.State.Consent(ctx, key, e.o.Now())
		if errors.Is(err, state.ErrNotFound) || err == nil && kept.Org != org {
			return refresh, stored, nil
		}
		if err != nil {
			return "", nil, err
		}
		plain, err := e.keys.Open(kept.Sealed, row)
		if err != nil {
			return "", nil, err
		}
		refresh, stored = string(plain), append(stored, key)
	}
}

func (e *Engine) keepRotated(ctx context.Context, org string, a Adoption, former, refresh string) (state.Hash, error) {
	key, row := rotatedKey(org, a, former)
	sealed, err := e.keys.Seal([]byte(refresh), row)
	if err == nil {
		now := e.o.Now()
		err = e.o.State.AddConsent(ctx, state.Consent{Key: key, Org: org, User: a.User, Sealed: sealed, Expires: now.Add(adoptTime)}, now)
	}
	return key, err
}
