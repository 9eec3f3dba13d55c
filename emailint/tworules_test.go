package emailint_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider/providertest"
)

// Two rules act on a mail without a Message-ID, also where its id dies on a move, and both can be taken back.
func TestTwoRulesOnMailWithoutMessageID(t *testing.T) {
	for _, keywords := range []bool{true, false} {
		personalities(t, func(t *testing.T, p providertest.Personality) {
			w := ruled(t, p, archive, label)
			w.Fake.NoKeywords(!keywords)
			w.Advance(time.Minute)
			w.Deliver(strings.Replace(raw("ada@customer.example", "new@x", ""), "Message-ID: <new@x>\n", "", 1))
			passes(t, w, 2)
			es := w.CRM.Emails(emailinttest.Org)
			at := slices.IndexFunc(es, func(e emailint.Email) bool { return e.Message.Subject == "s new@x" })
			if at < 0 {
				t.Fatal("not linked: the test proves nothing")
			}
			of := func() []emailint.Intent {
				is, err := w.State.IntentsOf(t.Context(), emailinttest.Org, number(t, es[at].ID))
				if err != nil || len(is) != 2 {
					t.Fatalf("%+v, %v", is, err)
				}
				return is
			}
			sights := w.Fake.Look("")
			if !slices.ContainsFunc(sights, func(s providertest.Sight) bool { return len(s.Labels) > 0 }) {
				t.Errorf("not labelled: %+v", of())
			}
			for _, i := range of() {
				if i.State != state.IntentDone {
					t.Errorf("%s: %s, %s", i.Do, i.State, i.Error)
				}
				if _, err := w.Engine.Undo(t.Context(), emailinttest.Org, i.ID); err != nil {
					t.Fatal(err)
				}
			}
			passes(t, w, 3)
			for _, s := range w.Fake.Look("") {
				if len(s.Labels) > 0 {
					t.Errorf("the label was not taken back: %+v", of())
				}
			}
		})
	}
}

func number(t *testing.T, id string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
