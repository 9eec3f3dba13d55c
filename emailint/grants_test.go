package emailint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// Whoever withdrew the access and connects again is back at once: what this process remembers of the former grant counts no more.
func TestConnectedAgainTheFormerTokensAreForgotten(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	other, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.sync(c), other.Sync(t.Context(), emailinttest.Org, c.ID)); err != nil {
		t.Fatal(err)
	}
	h.auth.Withdraw("owner", app)
	if err := h.sync(c); err == nil {
		t.Fatal("the access was withdrawn, and it works")
	}
	h.connect("ann-1", "connection="+fmt.Sprint(c.ID))
	if err := h.sync(c); err != nil {
		t.Errorf("connected again: %v", err)
	}
	if err := other.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Errorf("in another process: %v", err)
	}
}

// Half a consent doesn't end the access that a mailbox of the same account and app lives by: services end the whole grant.
func TestHalfAConsentEndsNoMailbox(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.opts.Providers[1] = asking{h.opts.Providers[1].(*emailinttest.AuthProvider)}
	var err error
	if h.Engine, err = emailint.New(h.opts); err != nil {
		t.Fatal(err)
	}
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner})
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	h.auth.SignIn(emailinttest.AuthUser{Subject: "owner", Address: emailinttest.Owner}, "mail.send")
	if got := h.connect("ann-1", "connection="+fmt.Sprint(c.ID)); got.Get("problem") == "" {
		t.Fatalf("the page is told %v", got)
	}
	h.Advance(2 * time.Hour)
	if err := h.sync(c); err != nil {
		t.Errorf("the mailbox that worked ended: %v", err)
	}
}

// A copy of production begins and ends no access at the service.
func TestACopyOfProductionRevokesNothing(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	h.opts.Deployment = "production"
	prod, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := prod.Sync(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	h.opts.Deployment = "laptop"
	if h.Engine, err = emailint.New(h.opts); err != nil {
		t.Fatal(err)
	}
	if got := h.arrives(h.get("ann-1", base+"/oauth/gmail/start?return=/settings/email")); !strings.Contains(got.Get("problem"), "observes") {
		t.Errorf("who connects at the copy is told %v", got)
	}
	got, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID)
	if err != nil || got.Revoked || got.Kept == "" {
		t.Errorf("Disconnect = %+v, %v", got, err)
	}
	if n := h.auth.Count(emailinttest.AuthRevoke); n != 0 {
		t.Errorf("%d accesses were ended", n)
	}
}

// What is not a password is not called one, also the second time.
func TestAReceiptOfWhatHasNoCredentialLeft(t *testing.T) {
	h := signingIn(t, emailinttest.AuthGoogle)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	for range 2 {
		got, err := h.Engine.Disconnect(t.Context(), emailinttest.Org, c.ID)
		if err != nil || strings.Contains(got.Kept, "password") {
			t.Errorf("Disconnect = %+v, %v", got, err)
		}
	}
}

// meanwhile does something before the state of a connection is set.
type meanwhile struct {
	state.Store
	do func()
}

func (s *meanwhile) SetState(ctx context.Context, org string, id int64, st state.ConnState, reason string) error {
	s.do()
	return s.Store.SetState(ctx, org, id, st, reason)
}

// What is ended at the service is the token that was stored last, not one that was rotated away meanwhile: services confirm that as well (RFC 7009, 2.2).
func TestWhatIsEndedIsTheNewestToken(t *testing.T) {
	h := signingIn(t, emailinttest.AuthRotating)
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	store := &meanwhile{Store: h.opts.State}
	store.do = func() {
		h.Advance(2 * time.Hour)
		if err := h.sync(c); err != nil {
			t.Error(err)
		}
	}
	h.opts.State = store
	e, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Disconnect(t.Context(), emailinttest.Org, c.ID); err != nil {
		t.Fatal(err)
	}
	ended := ""
	for _, call := range h.auth.Log() {
		if call.Step == emailinttest.AuthRevoke {
			ended = call.Token
		}
	}
	if n := h.auth.Refreshes(ended); ended == "" || n != 0 || h.auth.Count(emailinttest.AuthRefresh) != 1 {
		t.Errorf("the token that was to end (%q) was refreshed %d times before", ended, n)
	}
}

// restarting fails to store credentials for a while.
type restarting struct {
	state.Store
	fail atomic.Int32
}

func (s *restarting) SetCredential(ctx context.Context, org string, id int64, version int64, sealed []byte) (int64, error) {
	if s.fail.Add(-1) >= 0 {
		return 0, errors.New("the database restarts")
	}
	return s.Store.SetCredential(ctx, org, id, version, sealed)
}

// Where the service took the former token back, the new one must not be lost with one failed write.
func TestATokenThatCouldNotBeStoredIsNotLost(t *testing.T) {
	h := signingIn(t, emailinttest.AuthRotating)
	store := &restarting{Store: h.opts.State}
	h.opts.State = store
	var err error
	if h.Engine, err = emailint.New(h.opts); err != nil {
		t.Fatal(err)
	}
	c := h.connection(h.connect("ann-1", "").Get("connected"))
	if err := h.sync(c); err != nil {
		t.Fatal(err)
	}
	h.Advance(2 * time.Hour)
	store.fail.Store(1)
	_ = h.sync(c)
	h.Advance(10 * time.Minute)
	if err := h.sync(c); err != nil {
		t.Errorf("after the database came back: %v", err)
	}
	if c := h.connection(fmt.Sprint(c.ID)); c.State != state.Connected {
		t.Errorf("the mailbox is %s: %s", c.State, c.Reason)
	}
}

// Whatever a host prints or logs of what holds a secret, it doesn't show it.
func TestNothingThatHoldsASecretPrintsIt(t *testing.T) {
	const secret = "hunter2-hunter2"
	var out bytes.Buffer
	opts := emailint.Options{Apps: map[string]emailint.App{"gmail": {ClientSecret: secret}}, Keys: []emailint.Key{{ID: "k", Secret: []byte(secret)}}, IndexKey: []byte(secret)}
	h := signingIn(t, emailinttest.AuthGoogle)
	h.opts.Apps = map[string]emailint.App{"gmail": {ClientID: "x", ClientSecret: secret, RedirectURI: base + "/oauth/gmail/callback"}}
	e, err := emailint.New(h.opts)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"app": provider.OAuthApp{ClientID: "id", ClientSecret: secret}, "new": emailint.NewConnection{Credential: []byte(secret)}, "opts": opts,
		"engine": e, "key": emailint.Key{ID: "k", Secret: []byte(secret)},
		"options":  &opts,
		"settings": struct{ S emailint.Settings }{emailint.Settings{SMTP: emailint.SMTP{Password: secret}}},
		"keyptr":   &emailint.Key{ID: "k", Secret: []byte(secret)},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out.Reset()
			fmt.Fprintf(&out, verb, v)
			hides(t, name+" "+verb, out.String(), secret)
		}
		out.Reset()
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		hides(t, name+" json log", out.String(), secret)
		out.Reset()
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		hides(t, name+" text log", out.String(), secret)
		if b, err := json.Marshal(v); err == nil && name != "new" { // who marshals a connection to be made wants it whole
			hides(t, name+" json", string(b), secret)
		}
	}
}

func hides(t *testing.T, name, out, secret string) {
	t.Helper()
	b64, _ := json.Marshal([]byte(secret))
	for _, s := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.Trim(string(b64), `"`)} {
		if strings.Contains(out, s) {
			t.Errorf("%s shows it: %.200s", name, out)
			return
		}
	}
}
