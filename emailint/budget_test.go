package emailint_test

import (
	"context"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
)

// Two who share a budget and take whatever they get use nearly all of it, and in no minute more.
func TestSharedBudget(t *testing.T) {
	w := emailinttest.New(t)
	const perMinute = 12000
	var taken []struct {
		at time.Time
		n  int
	}
	one := emailint.SharedBudget(w.State, perMinute, w.Now)
	two := emailint.SharedBudget(w.State, perMinute, w.Now)
	begin := w.Now()
	for w.Now().Sub(begin) < 5*time.Minute {
		wait := time.Duration(0)
		for i, b := range []interface {
			Take(ctx context.Context, app string, units, least int, urgent bool) (int, time.Duration, error)
		}{one, two} {
			n, again, err := b.Take(t.Context(), "app", 100, 20, i == 1)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				taken = append(taken, struct {
					at time.Time
					n  int
				}{w.Now(), n})
			}
			wait = max(wait, again)
		}
		w.Advance(max(wait, time.Millisecond))
	}
	sum := 0
	for i, x := range taken {
		sum += x.n
		within := 0
		for _, y := range taken[i:] {
			if y.at.Sub(x.at) < time.Minute {
				within += y.n
			}
		}
		if within > perMinute {
			t.Fatalf("%d units in the minute from %s", within, x.at)
		}
	}
	if sum < perMinute*5*95/100 {
		t.Errorf("%d units in five minutes, want 95 %% of %d", sum, perMinute*5)
	}
	if n, wait, err := one.Take(t.Context(), "app", 100, 100, false); n != 0 || wait <= 0 || err != nil {
		t.Errorf("of an empty budget: %d units, wait %s, %v", n, wait, err)
	}
	if n, _, err := one.Take(t.Context(), "other", 100, 100, false); n != 100 || err != nil {
		t.Errorf("another app's: %d units, %v", n, err)
	}
}
