package emailint_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// One refused sign-in proves nothing: it is tried again, sparsely, and the user is asked when it lasts.
func TestRefusedSignInIsTriedSparsely(t *testing.T) {
	w := emailinttest.New(t)
	status := func() emailint.Connection {
		st, err := w.Engine.Status(t.Context(), emailinttest.Org, w.Connection.ID)
		if err != nil {
			t.Fatal(err)
		}
		return st.Connection
	}
	sync := func() error { return w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID) }
	w.Fake.RefuseSignIn(3)
	var waits []time.Duration
	for i := range 3 {
		var refused *provider.SignInError
		if err := sync(); !errors.As(err, &refused) {
			t.Fatalf("Sync = %v, want a refused sign-in", err)
		}
		c := status()
		if c.State != state.Connected || c.Refused != i+1 || c.Reason == "" {
			t.Errorf("after %d refusals: %s, %d, %q", i+1, c.State, c.Refused, c.Reason)
		}
		waits = append(waits, c.NotBefore.Sub(w.Now()))
	}
	if !slices.IsSorted(waits) || waits[0] < 5*time.Minute {
		t.Errorf("waits between the tries: %v", waits)
	}
	if err := sync(); err != nil {
		t.Fatal(err)
	}
	if c := status(); c.Refused != 0 || c.State != state.Connected {
		t.Errorf("after a good one: %s, %d", c.State, c.Refused)
	}
	w.Fake.RefuseSignIn(4)
	for range 4 {
		if err := sync(); err == nil {
			t.Fatal("signed in")
		}
	}
	if c := status(); c.State != state.NeedsUser || c.Reason == "" {
		t.Errorf("after four: %s, %q", c.State, c.Reason)
	}
	if _, err := w.Engine.Connect(t.Context(), emailinttest.Org, emailint.NewConnection{User: "user",
		Provider: string(providertest.IMAP), Credential: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := sync(); err != nil {
		t.Error(err)
	}
}
