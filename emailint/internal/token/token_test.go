package token_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/internal/token"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/provider"
)

// office is a connection whose tokens several processes use.
type office struct {
	t     *testing.T
	auth  *emailinttest.AuthServer
	store state.Store
	conn  state.Connection
	how   provider.OAuth
}

var client = provider.OAuthApp{ClientID: "client", ClientSecret: "secret", RedirectURI: "https://crm.example.com/callback"}

func open(t *testing.T, kind emailinttest.AuthKind) *office {
	t.Helper()
	s, err := sqlite.Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &office{t: t, store: s, auth: emailinttest.NewAuthServer(kind, nil)}
	o.auth.Register(emailinttest.AuthClient{ID: client.ClientID, Secret: client.ClientSecret, Redirects: []string{client.RedirectURI}})
	o.how = o.auth.Provider(map[emailinttest.AuthKind]string{emailinttest.AuthGoogle: "gmail", emailinttest.AuthMicrosoft: "outlook", emailinttest.AuthRotating: "other"}[kind], nil).OAuth(client)
	o.conn = o.consent()
	return o
}

// consent connects, or connects again.
func (o *office) consent() state.Connection {
	o.t.Helper()
	conf := oauth2.Config{ClientID: client.ClientID, ClientSecret: client.ClientSecret, Endpoint: o.how.Endpoint, RedirectURL: client.RedirectURI}
	for _, s := range o.how.Scopes {
		conf.Scopes = append(conf.Scopes, s.Name)
	}
	verifier := oauth2.GenerateVerifier()
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	for k, v := range o.how.Params {
		opts = append(opts, oauth2.SetAuthURLParam(k, v))
	}
	back, err := o.auth.Visit(o.t.Context(), conf.AuthCodeURL("state", opts...))
	if err != nil {
		o.t.Fatal(err)
	}
	_, code, _ := strings.Cut(back, "code=")
	code, _, _ = strings.Cut(code, "&")
	t, err := conf.Exchange(context.WithValue(o.t.Context(), oauth2.HTTPClient, o.auth.Client()), code, oauth2.VerifierOption(verifier))
	if err != nil {
		o.t.Fatal(err)
	}
	b, err := token.Of(t, client.ClientID, time.Now(), token.Grant{}).Marshal()
	if err != nil {
		o.t.Fatal(err)
	}
	c, err := o.store.AddConnection(o.t.Context(), state.Connection{Org: "org", User: "u", Provider: "p", Address: "u@example.com", Subject: "s", Credential: b}, state.Change{})
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func (o *office) process(name string) *token.Keeper {
	return &token.Keeper{Store: o.store, Worker: name, Now: time.Now, HTTP: o.auth.Client(),
		Open: func(c state.Connection) (token.Grant, error) { return token.Unmarshal(c.Credential) },
		Seal: func(_ state.Connection, g token.Grant) ([]byte, error) { return g.Marshal() },
		App: func(context.Context, state.Connection) (provider.OAuth, provider.OAuthApp, error) {
			return o.how, client, nil
		}}
}

// Two processes, each with twenty at work, refresh a token once, and none of them loses it: with rotation a second refresh would end the whole family.
func TestOneRefresh(t *testing.T) {
	for _, kind := range []emailinttest.AuthKind{emailinttest.AuthRotating, emailinttest.AuthMicrosoft, emailinttest.AuthGoogle} {
		synctest.Test(t, func(t *testing.T) {
			o := open(t, kind)
			a, b := o.process("a"), o.process("b")
			for round := 1; round <= 3; round++ {
				time.Sleep(61 * time.Minute)
				slow := make(chan struct{})
				o.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Wait: slow})
				var mu sync.Mutex
				got := map[string]int{}
				var wg sync.WaitGroup
				for range 20 {
					for _, k := range []*token.Keeper{a, b} {
						wg.Go(func() {
							tok, err := k.Source(t.Context(), o.conn).Token()
							mu.Lock()
							defer mu.Unlock()
							if err != nil {
								got["error: "+err.Error()]++
								return
							}
							got[tok.AccessToken]++
						})
					}
				}
				time.Sleep(10 * time.Second)
				close(slow)
				wg.Wait()
				if len(got) != 1 {
					t.Fatalf("%s, round %d: they have %v", kind, round, got)
				}
				for access := range got {
					if _, _, ok := o.auth.Valid(access); !ok {
						t.Errorf("%s, round %d: the token is not valid", kind, round)
					}
				}
				if n := o.auth.Count(emailinttest.AuthRefresh); n != round {
					t.Errorf("%s, round %d: %d refreshes", kind, round, n)
				}
			}
		})
	}
}

// Who dies in the middle of a refresh is waited for, and no longer than that takes.
func TestTheDeadAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, emailinttest.AuthGoogle)
		time.Sleep(61 * time.Minute)
		if _, err := o.store.ClaimRefresh(t.Context(), "org", o.conn.ID, "dead", time.Now(), time.Minute); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := o.process("b").Source(t.Context(), o.conn).Token(); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d < 59*time.Second || d > 62*time.Second {
			t.Errorf("it waited for %s", d)
		}
		// Whoever is told to stop does not wait.
		time.Sleep(61 * time.Minute)
		if _, err := o.store.ClaimRefresh(t.Context(), "org", o.conn.ID, "dead", time.Now(), time.Minute); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := o.process("b").Source(ctx, o.conn).Token(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Token = %v", err)
		}
	})
}

// A refused token is the end of the connection only if it is still the one that is stored.
func TestConnectedAnewMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, emailinttest.AuthRotating)
		time.Sleep(61 * time.Minute)
		o.auth.EndSessions("owner")
		slow, there := make(chan struct{}), make(chan struct{})
		o.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Wait: slow, Reached: func() { close(there) }, Code: "invalid_grant"})
		k := o.process("a")
		var tok *oauth2.Token
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { tok, err = k.Source(t.Context(), o.conn).Token() })
		<-there
		o.conn = o.consent()
		close(slow)
		wg.Wait()
		if err != nil {
			t.Fatalf("the mailbox that was connected again is said to be dead: %v", err)
		}
		if _, _, ok := o.auth.Valid(tok.AccessToken); !ok {
			t.Error("the token is not valid")
		}
	})
}

// The answer to a rotation is stored also when whoever asked is told to stop.
func TestToldToStopWhileRefreshing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, emailinttest.AuthRotating)
		time.Sleep(61 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		o.auth.Fail(emailinttest.AuthRefresh, 1, emailinttest.AuthFault{Reached: cancel})
		o.process("a").Source(ctx, o.conn).Token() //nolint:errcheck // it was told to stop
		if _, err := o.process("b").Source(t.Context(), o.conn).Token(); err != nil {
			t.Errorf("the rotated token is lost: %v", err)
		}
		if n := o.auth.Count(emailinttest.AuthRefresh); n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}

// Quotas are the app's: a source says whose.
func TestSourcesTellTheApp(t *testing.T) {
	o := open(t, emailinttest.AuthGoogle)
	o.conn.Client = client.ClientID
	if app := provider.AppOf(o.process("a").Source(t.Context(), o.conn)); app != client.ClientID {
		t.Errorf("the app is %q", app)
	}
	if app := provider.AppOf(token.Given(&oauth2.Token{}, client.ClientID)); app != client.ClientID {
		t.Errorf("at the sign-in the app is %q", app)
	}
}

func TestWhatErrorsMean(t *testing.T) {
	for code, who := range map[string]provider.Who{
		"invalid_grant": provider.User, "interaction_required": provider.User, "access_denied": provider.User,
		"consent_required": provider.Admin, "admin_policy_enforced": provider.Admin,
		"invalid_client": provider.Operator, "unauthorized_client": provider.Operator, "invalid_scope": provider.Operator,
		"temporarily_unavailable": "", "server_error": "", "something_new": "",
	} {
		var a *provider.NeedsAction
		if errors.As(token.Refused(code), &a); (a == nil) != (who == "") || a != nil && a.Who != who {
			t.Errorf("%s means %v, want %q", code, token.Refused(code), who)
		}
	}
}

func TestGrantsDoNotPrint(t *testing.T) {
	g := token.Grant{Refresh: "very secret", Access: "also secret", Client: "client"}
	b, err := json.Marshal(map[string]any{"shown": fmt.Sprintf("%v %+v %#v %s %q %x", g, g, g, g, g, g)})
	if err != nil || strings.Contains(string(b), "secret") || strings.Contains(string(b), fmt.Sprintf("%x", "secret")) {
		t.Errorf("it prints %s, %v", b, err)
	}
}
