package emailint_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/provider"
)

// While history is read, changes are looked for after every few pages at the latest, and mail that comes meanwhile waits for no other pass. Between
// pages that come quickly they are not looked for.
func TestHistoryLooksForChanges(t *testing.T) {
	const pages, size = 13, 50 // of the fake
	var w *emailinttest.World
	came := false
	w = emailinttest.New(t, emailinttest.WithOptions(func(o *emailint.Options) {
		o.Progress = func(string, int64) {
			if c := w.Fake.Calls(); c.History == 2 && !came {
				came = true
				w.Fake.Deliver([]byte(raw("someone@else.example", "late@x", "")), w.Now(), provider.RoleInbox)
			}
		}
	}))
	for i := range pages * size {
		w.Fake.Deliver([]byte(raw("someone@else.example", fmt.Sprint("h", i, "@x"), "")), w.Now().Add(-time.Duration(i+1)*time.Minute), provider.RoleInbox)
	}
	// The clock stands still: what counts are pages.
	if err := w.Engine.Sync(t.Context(), emailinttest.Org, w.Connection.ID); err != nil {
		t.Fatal(err)
	}
	x, err := w.Engine.Explain(t.Context(), emailinttest.Org, "<late@x>")
	if err != nil || len(x.Copies) != 1 {
		t.Errorf("mail that came during the import: %+v, %v", x, err)
	}
	if c := w.Fake.Calls(); !came || c.History < pages || c.Changes < pages/5 || c.Changes > pages/5+3 {
		t.Errorf("%d pages of history and %d looks for changes", c.History, c.Changes)
	}
}
