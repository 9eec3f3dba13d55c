package emailint_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/emailinttest"
)

// Where a message costs, a trouble in the middle costs none again: what was read until then is saved.
func TestWhatWasReadIsSavedInSpiteOfATrouble(t *testing.T) {
	const mails = 30
	for _, read := range []int{1, 7, 20, mails - 1} {
		w := peopleWorld(t)
		for i := range mails {
			old(w, fmt.Sprint("a", i), "ada@customer.example", 10+i)
		}
		w.Fake.CutAfter(1)
		for n := 2; w.Fake.Calls().Content < read; n++ {
			// As many calls as it takes to read that many.
			w = peopleWorld(t)
			for i := range mails {
				old(w, fmt.Sprint("a", i), "ada@customer.example", 10+i)
			}
			w.Fake.CutAfter(n)
			if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err == nil {
				t.Fatal("nothing was cut off")
			}
		}
		w.Fake.CutAfter(1 << 30)
		w.Advance(time.Hour)
		wantFates(t, fates(t, w), mails, 0, 0)
		if n := w.Fake.Calls().Content; n > mails+5 {
			t.Errorf("cut when %d were read: %d messages were read for %d", read, n, mails)
		}
	}
}
