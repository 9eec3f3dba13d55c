package emailint

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/internal/token"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// Session is who sits at a browser, as the host knows.
type Session struct {
	ID   string // of the host's session: only the browser that began to connect a mailbox may finish it
	Org  string
	User string
}

// ConsentRequest begins the connection of a mailbox whose owner signs in at the service.
type ConsentRequest struct {
	Session  Session
	Provider string // provider.Provider.Name, of a provider.Authorizer
	// Reconnect is a connection that is to be connected again: somebody else's mailbox is refused then. 0: any.
	Reconnect int64
	// Return is where the browser goes in the end: a path of the host's own site, as in "/settings/email". "": a page that says how it went.
	Return string
}

// consentTime is how long a person may take to sign in (facts 6: "TTL ~10 min").
const consentTime = 10 * time.Minute

// begun is what is kept of a sign-in until it comes back.
type begun struct {
	Session   string `json:"session"` // a hash
	Org, User string
	Provider  string
	Client    string
	Redirect  string
	Verifier  string
	Return    string
	Reconnect int64
}

// Consent returns the address at the service to which the browser is sent. It is good for ten minutes, once, and for this session alone.
func (e *Engine) Consent(ctx context.Context, r ConsentRequest) (string, error) {
	where := "emailint: connecting"
	if r.Session.ID == "" || r.Session.Org == "" || r.Session.User == "" {
		return "", fmt.Errorf("%s: Session needs the id of the host's session, the organisation and the user", where)
	}
	if !ownPath(r.Return) {
		return "", fmt.Errorf("%s: Return %q is not a path of your own site", where, r.Return)
	}
	if err := e.observing(ctx); err != nil { // each consent makes a token more, and at the hundredth the oldest goes (facts 1.2)
		return "", fmt.Errorf("%s: %w", where, err)
	}
	how, app, err := e.signIn(ctx, r.Session.Org, r.Provider)
	if err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	// An app that was saved when Handler was mounted elsewhere.
	if want := e.RedirectURI(r.Provider); app.RedirectURI != want {
		return "", fmt.Errorf("%s: %w", where, &provider.NeedsAction{Who: provider.Operator, Reason: "the redirect URI in the settings is not served any more: enter " + want + " there and at the service"})
	}
	if r.Reconnect != 0 {
		c, err := e.o.State.Connection(ctx, r.Session.Org, r.Reconnect)
		if err == nil && (c.User != r.Session.User || c.Provider != r.Provider) {
			err = state.ErrNotFound // another's, and nobody is told that there is one
		}
		if err != nil {
			return "", fmt.Errorf("%s: connection %d: %w", where, r.Reconnect, err)
		}
	}
	b := begun{Session: digest(r.Session.ID), Org: r.Session.Org, User: r.Session.User, Provider: r.Provider, Client: app.ClientID,
		Redirect: app.RedirectURI, Verifier: oauth2.GenerateVerifier(), Return: r.Return, Reconnect: r.Reconnect}
	plain, err := json.Marshal(b)
	if err != nil {
		return "", err
	}
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // it never fails
	param := base64.RawURLEncoding.EncodeToString(key)
	sealed, err := e.keys.Seal(plain, consentRow(r.Session.Org, param))
	if err != nil {
		return "", err
	}
	now := e.o.Now()
	c := state.Consent{Key: stateKey(param), Org: r.Session.Org, User: r.Session.User, Sealed: sealed, Expires: now.Add(consentTime)}
	if err := e.o.State.AddConsent(ctx, c, now); err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(b.Verifier)}
	for k, v := range how.Params {
		opts = append(opts, oauth2.SetAuthURLParam(k, v))
	}
	return config(how, app).AuthCodeURL(param, opts...), nil
}

func config(how provider.OAuth, app provider.OAuthApp) *oauth2.Config {
	c := &oauth2.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: how.Endpoint, RedirectURL: app.RedirectURI}
	for _, s := range how.Scopes {
		c.Scopes = append(c.Scopes, s.Name)
	}
	return c
}

// signIn returns how people sign in to a provider, and the app for it: the organisation's, or else the operator's.
func (e *Engine) signIn(ctx context.Context, org, name string) (provider.OAuth, provider.OAuthApp, error) {
	p, ok := power.Of[provider.Authorizer](e.provs[name])
	if !ok {
		return provider.OAuth{}, provider.OAuthApp{}, fmt.Errorf("there is no provider %q in Options.Providers whose users sign in at the service", name)
	}
	s, saved, err := e.settings(ctx, org)
	if err != nil {
		return provider.OAuth{}, provider.OAuthApp{}, err
	}
	a, own := s.Apps[name]
	if err := e.openSecret(org, "apps."+name+".client_secret", &a.ClientSecret, saved.Secrets); err != nil {
		return provider.OAuth{}, provider.OAuthApp{}, err
	}
	if !own {
		if a, ok = e.o.Apps[name]; !ok {
			return provider.OAuth{}, provider.OAuthApp{}, &provider.NeedsAction{Who: provider.Operator, Reason: fmt.Sprintf("no OAuth app for %s is set up: enter its client id and secret in the settings", name)}
		}
	}
	app := provider.OAuthApp{ClientID: a.ClientID, ClientSecret: string(a.ClientSecret), Tenant: a.Tenant, RedirectURI: a.RedirectURI}
	return p.OAuth(app), app, nil
}

// sentence is an error that a person may read.
type sentence string

func (s sentence) Error() string { return string(s) }

// Return is what comes back from the service with the browser.
type Return struct {
	Session  Session // who sits at the browser now
	Provider string  // by the path to which it came back
	Query    url.Values
}

// Finish ends what Consent began: it exchanges the code, looks whether everything needed was granted and whose mailbox it is, and stores the
// connection. The path to return to is there with an error too, where it is known. A *provider.NeedsAction says who must act.
func (e *Engine) Finish(ctx context.Context, r Return) (c Connection, path string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("emailint: connecting: %w", err)
		}
	}()
	param := r.Query.Get("state")
	if param == "" {
		return c, "", sentence("the service sent no state back: begin again from the settings page")
	}
	// Whatever comes of it, it is used up.
	taken, err := e.o.State.TakeConsent(ctx, stateKey(param), e.o.Now())
	if errors.Is(err, state.ErrNotFound) {
		return c, "", sentence("this sign-in was finished already, or took longer than ten minutes: begin again from the settings page")
	} else if err != nil {
		return c, "", err
	}
	plain, err := e.keys.Open(taken.Sealed, consentRow(taken.Org, param))
	if err != nil {
		return c, "", err
	}
	var b begun
	if err := json.Unmarshal(plain, &b); err != nil {
		return c, "", err
	}
	// Else somebody makes another attach the wrong mailbox (facts 6).
	if subtle.ConstantTimeCompare([]byte(b.Session), []byte(digest(r.Session.ID))) != 1 || b.Org != r.Session.Org || b.User != r.Session.User {
		return c, "", sentence("this sign-in was begun in another session: begin again from the settings page")
	}
	if b.Provider != r.Provider {
		return c, "", sentence("the answer came back by another provider's address")
	}
	how, app, err := e.signIn(ctx, b.Org, b.Provider)
	if err != nil {
		return c, b.Return, err
	}
	p, _ := power.Of[provider.Authorizer](e.provs[b.Provider])
	if code := r.Query.Get("error"); code != "" {
		if a := p.Refusal(code, r.Query.Get("error_description")); a != nil {
			return c, b.Return, a
		}
		return c, b.Return, token.Refused(code)
	}
	if app.ClientID != b.Client || app.RedirectURI != b.Redirect {
		return c, b.Return, sentence("the app in the settings was changed meanwhile: begin again")
	}
	code := r.Query.Get("code")
	if code == "" {
		return c, b.Return, sentence("the service sent neither a code nor an error: begin again")
	}
	t, err := config(how, app).Exchange(context.WithValue(ctx, oauth2.HTTPClient, e.o.HTTP), code, oauth2.VerifierOption(b.Verifier))
	if err != nil {
		return c, b.Return, token.Explain(err, p.Refusal)
	}
	g := token.Of(t, app.ClientID, e.o.Now(), token.Grant{Scopes: config(how, app).Scopes})
	if err := granted(how, g); err != nil {
		e.dismiss(ctx, p, how, t, g, b)
		return c, b.Return, err
	}
	c, err = e.attach(ctx, p, t, g, b)
	return c, b.Return, err
}

// granted compares what was granted with what is needed: people may untick (facts 1.1, "granular consent").
func granted(how provider.OAuth, g token.Grant) error {
	var missing []string
	for _, s := range how.Scopes {
		has := slices.ContainsFunc(append([]string{s.Name}, s.By...), func(name string) bool {
			return slices.ContainsFunc(g.Scopes, func(have string) bool { return strings.EqualFold(have, name) })
		})
		if !has && !s.Optional {
			missing = append(missing, fmt.Sprintf("%s (%s)", s.For, s.Name))
		}
	}
	switch {
	case len(missing) > 0:
		return &provider.NeedsAction{Who: provider.User, Reason: "the access is not enough, it was not allowed to " + strings.Join(missing, ", nor to ") + ": connect again and tick everything"}
	case g.Refresh == "":
		return &provider.NeedsAction{Who: provider.User, Reason: "the service gave no right to stay connected: remove the app from your account at the service, and connect again"}
	}
	return nil
}

// dismiss ends an access that is not enough: it is of no use, and would stand in the person's list. Where a mailbox lives by the same grant, or nobody
// knows whether one does, it stands: a service ends all of a person's grant to an app (facts 1.2).
func (e *Engine) dismiss(ctx context.Context, p provider.Authorizer, how provider.OAuth, t *oauth2.Token, g token.Grant, b begun) {
	subject, err := p.Subject(t)
	if err != nil || subject == "" || e.observing(ctx) != nil {
		return
	}
	if others, err := e.sharing(ctx, Connection{Provider: b.Provider, Client: g.Client, Subject: subject}); err == nil && !others {
		e.revoke(ctx, how, g)
	}
}

// attach stores the mailbox to which a grant opens.
func (e *Engine) attach(ctx context.Context, p provider.Authorizer, t *oauth2.Token, g token.Grant, b begun) (Connection, error) {
	subject, err := p.Subject(t)
	if err != nil {
		return Connection{}, err
	}
	box, err := p.OpenToken(ctx, token.Given(t, g.Client))
	if err != nil {
		return Connection{}, err
	}
	defer box.Close() //nolint:errcheck // nothing was written
	prof, err := box.Profile(ctx)
	if err != nil {
		return Connection{}, err
	}
	if subject != "" && subject != prof.Subject {
		// A mailbox that was adopted with tokens that name nobody is known by what its service calls the person, and stays the same one.
		stored, err := e.o.State.Connections(ctx, b.Org)
		if err != nil {
			return Connection{}, err
		}
		if prof.Subject == "" || !slices.ContainsFunc(stored, func(c Connection) bool {
			return c.User == b.User && c.Provider == b.Provider && c.Subject == prof.Subject && c.State != state.Erasing
		}) {
			prof.Subject = subject
		}
	}
	if b.Reconnect != 0 {
		had, err := e.o.State.Connection(ctx, b.Org, b.Reconnect)
		if err != nil {
			return Connection{}, err
		}
		if had.Subject != prof.Subject || had.User != b.User || had.Provider != b.Provider {
			return Connection{}, &provider.NeedsAction{Who: provider.User, Reason: "that is another mailbox: sign in with the account that was connected before"}
		}
	}
	credential, err := g.Marshal()
	if err != nil {
		return Connection{}, err
	}
	return e.store(ctx, b.Org, NewConnection{User: b.User, Provider: b.Provider, Credential: credential}, g.Client, prof)
}

// Disconnection is the receipt of Disconnect.
type Disconnection struct {
	Connection int64
	Revoked    bool   // the service was told, and confirmed, that the access ends
	Kept       string // why the access stands at the service, "" where it doesn't
}

// Disconnect ends a connection: the service is told, unless another connection of the same person and app lives by the same grant, and the credential
// goes; nor does it send news of the mailbox any more (provider.Watcher). What falls due to be sent from it is not sent, and says so. Ledger, links and
// emails stay: connecting the mailbox again goes on where it was. Erase is for those who want them gone.
func (e *Engine) Disconnect(ctx context.Context, org string, connection int64) (Disconnection, error) {
	out := Disconnection{Connection: connection}
	fail := func(err error) (Disconnection, error) {
		return out, fmt.Errorf("emailint: disconnecting %d: %w", connection, err)
	}
	c, err := e.o.State.Connection(ctx, org, connection)
	if err != nil {
		return fail(err)
	}
	if err := e.part(ctx, c, "disconnected by its user", &out); err != nil {
		return fail(err)
	}
	return out, nil
}

// part takes a connection's credential away, and ends what its service did by it.
func (e *Engine) part(ctx context.Context, c Connection, why string, out *Disconnection) (err error) {
	org, connection := c.Org, c.ID
	// Nobody works on it from here on.
	if err := e.o.State.SetState(ctx, org, connection, state.Disconnected, why); err != nil {
		return err
	}
	if c, err = e.o.State.Connection(ctx, org, connection); err != nil {
		return err
	}
	if !c.Watch.Expires.IsZero() {
		e.unwatch(ctx, c, c.Watch.Handle)
		if err := e.o.State.EndWatch(ctx, org, connection); err != nil {
			return err
		}
	}
	others, err := e.sharing(ctx, c)
	if err != nil {
		return err
	}
	// It goes first: of a refresh that is under way nothing is stored any more, and what is ended is what was stored last.
	for {
		if c, err = e.o.State.Connection(ctx, org, connection); err != nil {
			return err
		}
		if c.State != state.Disconnected {
			return errors.New("it was connected again meanwhile")
		}
		_, err := e.o.State.SetCredential(ctx, org, connection, c.CredentialVersion, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, state.ErrStale) {
			return err
		}
	}
	e.tokens.Forget(connection)
	out.Revoked, out.Kept = e.end(ctx, c, others)
	return nil
}

// end ends the access of a connection at the service; where it stands, kept says why.
func (e *Engine) end(ctx context.Context, c Connection, others bool) (revoked bool, kept string) {
	if _, ok := power.Of[provider.Authorizer](e.provs[c.Provider]); !ok {
		return false, "the credential is a password: change it at the service if it is not used elsewhere"
	}
	if len(c.Credential) == 0 {
		return false, "it was disconnected before: whether the app has access still, your account at the service shows"
	}
	const remove = ": remove the app from your account at the service"
	g, err := e.grant(c)
	if err != nil {
		return false, "the stored credential does not open" + remove
	}
	if e.observing(ctx) != nil {
		return false, "this installation only observes, and the access is another's"
	}
	how, _, err := e.signIn(ctx, c.Org, c.Provider)
	switch {
	case err != nil:
		return false, "the app is no longer set up" + remove
	case others:
		return false, "another mailbox is connected by the same account and app, and would end with it"
	case how.Revoke == "":
		return false, "the service has no way to end it from here" + remove
	case !e.revoke(ctx, how, g):
		return false, "the service did not confirm the end" + remove
	}
	return true, ""
}

// sharing reports whether another connection lives by the grant of this one: a service has one for each person and app (facts 1.2).
func (e *Engine) sharing(ctx context.Context, c Connection) (bool, error) {
	all, err := e.o.State.Connections(ctx, "")
	return slices.ContainsFunc(all, func(o Connection) bool {
		return o.ID != c.ID && o.Client == c.Client && o.Provider == c.Provider && o.Subject == c.Subject && len(o.Credential) > 0 && o.State != state.Disconnected
	}), err
}

// revoke tells the service that a grant ends (RFC 7009), and reports whether it confirmed.
func (e *Engine) revoke(ctx context.Context, how provider.OAuth, g token.Grant) bool {
	t := g.Refresh
	if t == "" {
		t = g.Access
	}
	if how.Revoke == "" || t == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, how.Revoke, strings.NewReader(url.Values{"token": {t}}.Encode()))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := e.o.HTTP.Do(r)
	if err != nil {
		return false
	}
	defer res.Body.Close() //nolint:errcheck // the status says it
	return res.StatusCode == http.StatusOK
}

// grant opens the credential of a connection that was made by OAuth.
func (e *Engine) grant(c Connection) (token.Grant, error) {
	plain, err := e.keys.Open(c.Credential, credentialOf(c))
	if err != nil {
		return token.Grant{}, &provider.NeedsAction{Who: provider.Operator, Reason: "the stored credential does not open: is its sealing key in Options.Keys?", Err: err}
	}
	return token.Unmarshal(plain)
}

// keeper has the tokens of this process.
func (e *Engine) keeper() *token.Keeper {
	return &token.Keeper{
		Store: e.o.State, Worker: e.o.Worker, Now: e.o.Now, HTTP: e.o.HTTP, Open: e.grant,
		Seal: func(c Connection, g token.Grant) ([]byte, error) {
			plain, err := g.Marshal()
			if err != nil {
				return nil, err
			}
			return e.keys.Seal(plain, credentialOf(c))
		},
		App: func(ctx context.Context, c Connection) (provider.OAuth, provider.OAuthApp, error) {
			return e.signIn(ctx, c.Org, c.Provider)
		},
		Observing: e.observing,
		Refusal: func(c Connection, code, description string) *provider.NeedsAction {
			if p, ok := power.Of[provider.Authorizer](e.provs[c.Provider]); ok {
				return p.Refusal(code, description)
			}
			return nil
		},
	}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func stateKey(param string) state.Hash {
	sum := sha256.Sum256([]byte(param))
	return state.Hash(sum[:16])
}

func consentRow(org, param string) string { return row("consent", org, digest(param)) }

// ownPath reports whether a path stays on the host's own site: one that a browser reads as another host's does not.
func ownPath(path string) bool {
	if path == "" {
		return true
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && !strings.ContainsAny(path, "\\\r\n\t")
}
