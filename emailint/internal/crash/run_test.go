package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// ofRun are the points that tell Run from Sync, first those that Sync never passes.
var ofRun = []string{"state.Claim", "state.SetRealTime", "mailbox.Wait", "state.OutboxDue", "state.Wake", "state.Release",
	"state.CommitPage", "crm.SaveEmails", "state.CopyStep"}

// Engine.Run may die as well as Sync: where it claims, where it waits for news, where it looks after the outbox. The next life is a
// Run too, and comes to the same end.
func TestRun(t *testing.T) {
	reached := map[string]bool{}
	for _, p := range []providertest.Personality{providertest.IMAP, providertest.Gmail} {
		var want picture
		var trail []string
		synctest.Test(t, func(t *testing.T) { want, trail = lives(t, p, nil) })
		if t.Failed() {
			return
		}
		seen := map[string]bool{}
		for _, point := range trail {
			reached[point] = true
			if seen[point] {
				continue
			}
			seen[point] = true
			if !options(t).All && !slices.Contains(ofRun, point) {
				continue
			}
			for _, m := range []failpoint.Moment{failpoint.Before, failpoint.After} {
				stop := failpoint.Stop{Point: point, Hit: 1, Moment: m}
				t.Run(fmt.Sprintf("%s/%s", p, stop), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						got, _ := lives(t, p, &stop)
						if got == nil {
							return
						}
						if d := got.diff(want); d != "" {
							t.Errorf("it did not end as if never interrupted:\n%s", d)
						}
					})
				})
			}
		}
	}
	for _, point := range ofRun[:4] {
		if !reached[point] {
			t.Errorf("Run never comes by %s", point)
		}
	}
}

// lives runs a process that dies at the stop, and then another, and returns what came of it and what the first passed. The picture is nil where it died in the
// middle of what nobody can find out: that depends on what its other workers were at.
func lives(t *testing.T, p providertest.Personality, stop *failpoint.Stop) (picture, []string) {
	t.Helper()
	w, err := newWorld(t.Context(), Config{Store: memory, Service: Fake(p)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := twoMailboxes(w); err != nil {
		t.Fatal(err)
	}
	w.clock.run()
	w.proc.Arm(stop, 0)
	// run lets the present process run while f is done, and returns when Run has.
	run := func(f func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		e := w.engine
		go func() { ended <- e.Run(ctx) }()
		f()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
	offer := mail{name: "offer", from: "ann@own.example", to: "ada@customer.example"}
	var told error
	var trail []string
	run(func() {
		time.Sleep(time.Minute)
		// News while it runs, and a mail to send.
		w.deliver(w.boxes[0], mail{name: "news", from: fromAda}, day0.Add(98*time.Hour), provider.RoleInbox)
		told = w.send(w.boxes[0], offer)
		time.Sleep(6 * time.Minute) // a poll is due each five
		trail = w.proc.Passed()
	})
	if stop != nil && w.unprovable() != "" {
		t.Log("by SMTP nobody can find out; TestCrash says what follows")
		return nil, trail
	}
	if w.proc.Dead() { // workers come by some points or not, as it happens
		if err := w.restart(0); err != nil {
			t.Fatal(err)
		}
		run(func() {
			if told != nil { // the host says it again
				if err := w.send(w.boxes[0], offer); err != nil && !errors.Is(err, errUnfinished) {
					t.Error(err)
				}
			}
			time.Sleep(15 * time.Minute)
			for range 3 { // who sends bytes is given up after 24
				if w.outstanding() == nil {
					break
				}
				time.Sleep(5 * time.Minute)
			}
		})
	}
	// Run alone has brought it to its end.
	if err := w.outstanding(); err != nil {
		t.Fatal(err)
	}
	got, err := w.picture()
	if err != nil {
		t.Fatal(err)
	}
	return got, trail
}
