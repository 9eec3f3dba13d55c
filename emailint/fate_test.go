package emailint_test

import (
	"testing"

	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Mail that was decided and is deleted keeps what was decided, also when the rules change: gone is for mail that never was.
func TestDecidedMailKeepsItsFateWhenGone(t *testing.T) {
	personalities(t, func(t *testing.T, p providertest.Personality) {
		w := emailinttest.New(t, emailinttest.WithPersonality(p))
		h := w.Deliver(raw("someone@else.example", "n@x", ""))
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Fake.Delete(h)
		s, v, err := w.Engine.Settings(t.Context(), emailinttest.Org)
		if err != nil {
			t.Fatal(err)
		}
		s.Rules.Leads = true
		if _, err := w.Engine.SetSettings(t.Context(), emailinttest.Org, s, v); err != nil {
			t.Fatal(err)
		}
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "n@x")
		if err != nil || len(x.Copies) != 1 || x.Copies[0].Fate != state.FateUnmatched || !x.Copies[0].Left {
			t.Errorf("explanation = %+v, %v, want unmatched and left", x, err)
		}
	})
}
