package emailinttest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// services are the names that a Provider may have, with a server of that kind and a Fake of that personality.
var services = []struct {
	name        string
	kind        emailinttest.AuthKind
	personality providertest.Personality
}{
	{"gmail", emailinttest.AuthGoogle, providertest.Gmail},
	{"outlook", emailinttest.AuthMicrosoft, providertest.Graph},
	{"mail.example", emailinttest.AuthRotating, providertest.IMAP},
}

// signedUp is an app that uses the provider as the engine does: endpoint, scopes and parameters are the provider's.
func signedUp(t *testing.T, k emailinttest.AuthKind, name string, f *providertest.Fake) (*app, *emailinttest.AuthProvider) {
	a := newApp(t, k)
	a.s.Register(emailinttest.AuthClient{ID: "crm", Secret: "crm secret+%", Redirects: []string{callback}})
	p := a.s.Provider(name, f)
	o := p.OAuth(provider.OAuthApp{ClientID: "crm", ClientSecret: "crm secret+%", RedirectURI: callback})
	a.cfg.Endpoint, a.cfg.Scopes = o.Endpoint, nil
	for _, s := range o.Scopes {
		a.cfg.Scopes = append(a.cfg.Scopes, s.Name)
	}
	return a, p
}

func fakeOf(p providertest.Personality, address string) *providertest.Fake {
	return providertest.NewFake(p, provider.Profile{Address: address, Subject: address}, nil)
}

// open connects and opens the mailbox of whoever signs in.
func (a *app) open(p *emailinttest.AuthProvider) (provider.Mailbox, *oauth2.Token) {
	a.t.Helper()
	tok := a.connect()
	box, err := p.OpenToken(a.ctx, oauth2.StaticTokenSource(tok))
	if err != nil {
		a.t.Fatal(err)
	}
	return box, tok
}

type guarded struct {
	*providertest.Fake
	a *app
	p *emailinttest.AuthProvider
}

func (h guarded) Open(*testing.T) provider.Mailbox { box, _ := h.a.open(h.p); return box }
func (h guarded) Deliver(_ *testing.T, raw []byte, at time.Time, r provider.Role) providertest.Handle {
	return h.Fake.Deliver(raw, at, r)
}
func (h guarded) Move(_ *testing.T, m providertest.Handle, to provider.Role) { h.Fake.Move(m, to) }
func (h guarded) Delete(_ *testing.T, m providertest.Handle)                 { h.Fake.Delete(m) }
func (h guarded) Reset(_ *testing.T, r provider.Role) bool                   { h.ResetFolder(r); return true }
func (h guarded) Look(_ *testing.T, messageID string) []providertest.Sight {
	return h.Fake.Look(messageID)
}
func (h guarded) Discard(_ *testing.T, m providertest.Handle) bool { return h.Fake.Discard(m) }
func (h guarded) Lose(_ *testing.T, l providertest.Loss) bool      { h.LoseMutation(l); return true }

// With a good token the mailbox is what the Fake's is.
func TestAuthProviderMailbox(t *testing.T) {
	for _, c := range services {
		t.Run(c.name, func(t *testing.T) {
			make := func(t *testing.T) providertest.MutatorHarness {
				f := fakeOf(c.personality, "me@acme.example")
				a, p := signedUp(t, c.kind, c.name, f)
				return guarded{f, a, p}
			}
			providertest.TestMailbox(t, func(t *testing.T) providertest.MailboxHarness { return make(t) })
			providertest.TestArchiver(t, make)
			providertest.TestLabeler(t, make)
			if c.personality == providertest.IMAP {
				providertest.TestSentFiler(t, make)
			}
			box := make(t).Open(t)
			_, waits := box.(provider.Waiter)
			_, polls := box.(provider.Poller)
			_, files := box.(provider.SentFiler)
			if imap := c.personality == providertest.IMAP; waits != imap || polls != imap || files != imap {
				t.Errorf("waits %v, polls %v, files %v", waits, polls, files)
			}
		})
	}
}

// everyCall calls each method of a mailbox that takes a context, with zero values for the rest, and returns its error by name.
func everyCall(t *testing.T, box provider.Mailbox) map[string]error {
	errs := map[string]error{}
	v := reflect.ValueOf(box)
	ctx := reflect.TypeFor[context.Context]()
	for i := range v.NumMethod() {
		m, name := v.Method(i), v.Type().Method(i).Name
		if m.Type().NumIn() == 0 || m.Type().In(0) != ctx {
			continue
		}
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for j := 1; j < m.Type().NumIn(); j++ {
			in = append(in, reflect.Zero(m.Type().In(j)))
		}
		out := m.Call(in)
		last := out[len(out)-1].Interface()
		if seq, ok := last.(iter.Seq2[provider.Item, error]); ok {
			for _, err := range seq {
				errs[name] = err
			}
			continue
		}
		errs[name], _ = last.(error)
	}
	return errs
}

func TestAuthProviderAsksBeforeEachCall(t *testing.T) {
	for _, c := range services {
		t.Run(c.name, func(t *testing.T) {
			f := fakeOf(c.personality, "me@acme.example")
			a, p := signedUp(t, c.kind, c.name, f)
			box, tok := a.open(p)
			a.s.Withdraw("owner", "crm")
			before := f.Calls()
			errs := everyCall(t, box)
			if want := map[bool]int{false: 12, true: 15}[c.personality == providertest.IMAP]; len(errs) != want {
				t.Errorf("%d calls: %v", len(errs), errs)
			}
			for name, err := range errs {
				var refused *provider.SignInError
				if !errors.As(err, &refused) || errors.As(err, new(*provider.NeedsAction)) {
					t.Errorf("%s with a dead token: %v", name, err)
				}
			}
			if f.Calls() != before {
				t.Error("the mailbox was reached")
			}
			if _, err := p.OpenToken(t.Context(), oauth2.StaticTokenSource(tok)); !errors.As(err, new(*provider.SignInError)) {
				t.Errorf("opening with a dead token: %v", err)
			}
			// The source's errors are returned as they are.
			dead := &provider.NeedsAction{Who: provider.User, Reason: "connect again"}
			if _, err := p.OpenToken(t.Context(), failing{dead}); err != dead {
				t.Errorf("a source that says so: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := p.OpenToken(ctx, failing{dead}); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			// A source whose person changes.
			moving := &settable{a.connect()}
			if box, _ = p.OpenToken(t.Context(), moving); box == nil {
				t.Fatal("not opened")
			}
			a.s.SignIn(emailinttest.AuthUser{Subject: "other"})
			moving.t = a.connect()
			for name, err := range everyCall(t, box) {
				if err == nil || !strings.Contains(err.Error(), "another person's") {
					t.Errorf("%s with another's token: %v", name, err)
				}
			}
			// Trouble of the mailbox itself still comes through.
			f.RefuseSignIn(1)
			if _, err := p.OpenToken(t.Context(), oauth2.StaticTokenSource(a.connect())); !errors.As(err, new(*provider.SignInError)) {
				t.Errorf("refused: %v", err)
			}
			if _, err := p.Open(t.Context(), []byte("{}")); !errors.As(err, new(*provider.NeedsAction)) {
				t.Errorf("opening without tokens: %v", err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Token() (*oauth2.Token, error) { return nil, f.err }

type settable struct{ t *oauth2.Token }

func (s *settable) Token() (*oauth2.Token, error) { return s.t, nil }

// A mailbox that stays open over the life of its access token, as the engine's do.
func TestAuthProviderRefreshes(t *testing.T) {
	for _, c := range services {
		synctest.Test(t, func(t *testing.T) {
			a, p := signedUp(t, c.kind, c.name, fakeOf(c.personality, "me@acme.example"))
			tok := a.connect()
			box, err := p.OpenToken(t.Context(), a.cfg.TokenSource(a.ctx, tok))
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				time.Sleep(time.Hour)
				if prof, err := box.Profile(t.Context()); err != nil || prof.Address != "me@acme.example" {
					t.Fatalf("%s: %v, %v", c.name, prof, err)
				}
			}
			if n := a.s.Count(emailinttest.AuthRefresh); n != 3 {
				t.Errorf("%s: %d refreshes", c.name, n)
			}
		})
	}
}

func TestAuthProviderScopes(t *testing.T) {
	for _, c := range []struct {
		service int
		ticked  []string
		refused []string // calls
	}{
		{1, []string{"Mail.ReadWrite", "User.Read"}, nil},
		{1, []string{"Mail.ReadWrite"}, []string{"Profile"}},
		{2, []string{"mail"}, nil},
	} {
		s := services[c.service]
		a, p := signedUp(t, s.kind, s.name, fakeOf(providertest.Graph, "me@acme.example")) // one that has no Wait, which takes its time
		a.s.SignIn(emailinttest.AuthUser{Subject: "u"}, c.ticked...)
		box, _ := a.open(p)
		var refused []string
		for name, err := range everyCall(t, box) {
			if needs := (*provider.NeedsAction)(nil); errors.As(err, &needs) && needs.Who == provider.User {
				refused = append(refused, name)
			}
		}
		if fmt.Sprint(refused) != fmt.Sprint(c.refused) {
			t.Errorf("%s with %v refused %v", s.name, c.ticked, refused)
		}
	}
	// Without the mail's scope it does not open; with a wider one it does (facts 1.1).
	for asked, opens := range map[string]bool{"https://mail.google.com/": true, labels: false} {
		a, p := signedUp(t, emailinttest.AuthGoogle, "gmail", fakeOf(providertest.Gmail, "me@acme.example"))
		a.cfg.Scopes = []string{asked}
		_, err := p.OpenToken(t.Context(), oauth2.StaticTokenSource(a.connect()))
		if needs := (*provider.NeedsAction)(nil); (err == nil) != opens || err != nil && (!errors.As(err, &needs) || needs.Who != provider.User) {
			t.Errorf("with %s: %v", asked, err)
		}
	}
}

func TestAuthProviderSignIn(t *testing.T) {
	facts := map[string]string{ // facts 1.1, 2.1
		"gmail":        modify + " openid email",
		"outlook":      "Mail.ReadWrite Mail.Send MailboxSettings.Read User.Read offline_access openid email profile",
		"mail.example": "mail openid email",
	}
	for _, c := range services {
		f := fakeOf(c.personality, "me@acme.example")
		a, p := signedUp(t, c.kind, c.name, f)
		if got := strings.Join(a.cfg.Scopes, " "); got != facts[c.name] || p.Name() != c.name {
			t.Errorf("%s asks for %s", p.Name(), got)
		}
		o := p.OAuth(provider.OAuthApp{Tenant: "t 1"})
		if o.Endpoint.AuthStyle != oauth2.AuthStyleInParams || o.Revoke != a.s.RevokeURL() {
			t.Errorf("%s: %+v", c.name, o)
		}
		if at := o.Endpoint.TokenURL; (at == a.s.Issuer()+"/t%201/token") != (c.name == "outlook") {
			t.Errorf("%s: %s", c.name, at)
		}
		if at := a.cfg.Endpoint.AuthURL; (at == a.s.Issuer()+"/common/authorize") != (c.name == "outlook") {
			t.Errorf("%s: %s", c.name, at)
		}
		if (o.Params["access_type"] == "offline" && o.Params["prompt"] == "consent") != (c.name == "gmail") {
			t.Errorf("%s: %v", c.name, o.Params)
		}
		// What must be granted is in the answer, by a name of its own.
		tok := a.connect()
		told := strings.Fields(fmt.Sprint(tok.Extra("scope")))
		for _, s := range o.Scopes {
			found := s.Optional
			for _, name := range told {
				found = found || name == s.Name
				for _, by := range s.By {
					found = found || name == by
				}
			}
			if !found || s.For == "" {
				t.Errorf("%s: %s (%s) is not in %v", c.name, s.Name, s.For, told)
			}
		}
		// Who it is.
		who, err := p.Subject(tok)
		want := "owner"
		if c.name == "outlook" {
			want = "9188040d-6c67-4c5b-b112-36a304b66dad/owner"
		}
		if err != nil || who != want {
			t.Errorf("%s: subject %q, %v", c.name, who, err)
		}
		if who, err := p.Subject(&oauth2.Token{}); who != "" || err != nil {
			t.Errorf("%s: without an id_token: %q, %v", c.name, who, err)
		}
		for _, bad := range []string{"x", "a.b", "a.!.c", "a.bm8.c"} {
			if who, err := p.Subject((&oauth2.Token{}).WithExtra(map[string]any{"id_token": bad})); err == nil {
				t.Errorf("%s: id_token %s is %q", c.name, bad, who)
			}
		}
		// Each person a mailbox of their own, where one was given.
		p.Mailbox("ada-1", fakeOf(c.personality, "ada@example.com"))
		for subject, address := range map[string]string{"ada-1": "ada@example.com", "eve-1": "me@acme.example"} {
			a.s.SignIn(emailinttest.AuthUser{Subject: subject})
			box, _ := a.open(p)
			if prof, err := box.Profile(t.Context()); err != nil || prof.Address != address {
				t.Errorf("%s: %s has %v, %v", c.name, subject, prof, err)
			}
		}
	}
}

func TestAuthProviderRefusals(t *testing.T) {
	p := emailinttest.NewAuthServer(emailinttest.AuthMicrosoft, nil).Provider("outlook", nil)
	for _, c := range []struct {
		code, description string
		who               provider.Who
	}{
		{"admin_policy_enforced", "", provider.Admin},
		{"org_internal", "", provider.Admin},
		{"consent_required", "", provider.Admin},
		{"invalid_grant", "AADSTS65001: no consent", provider.Admin},
		{"access_denied", "AADSTS90094: ask", provider.Admin},
		{"interaction_required", "AADSTS50076: more", provider.User},
		{"invalid_grant", "AADSTS50173: again", ""},
		{"invalid_grant", "AADSTS650017: another number", ""},
		{"access_denied", "", ""},
		{"invalid_client", "AADSTS7000222: old", ""},
	} {
		n := p.Refusal(c.code, c.description)
		if (n == nil) != (c.who == "") || n != nil && (n.Who != c.who || n.Reason == "") {
			t.Errorf("%s %q: %v", c.code, c.description, n)
		}
	}
}
