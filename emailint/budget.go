package emailint

import (
	"context"
	"time"

	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/provider"
)

// budget is a quota in the state.
type budget struct {
	state     state.Quotas
	perMinute int64
	now       func() time.Time
}

// SharedBudget is a quota of so many units a minute that all workers on one state share, those of other processes too: what Google allows a project,
// for example (gmail.Options.Budget). Each app has its own. In no minute more than perMinute is taken; a twentieth of it, or 100, may be taken at once, and a
// tenth of that is kept for live mail. perMinute is 200 to 1,000,000,000, and what is beyond is taken for that; a call must cost no more than may be taken at
// once. now may be nil: the clock of the state, so that the clocks of its processes make no difference.
func SharedBudget(s state.Store, perMinute int, now func() time.Time) provider.Budget {
	if now == nil {
		now = func() time.Time { return time.Time{} }
	}
	return &budget{s, min(max(int64(perMinute), 2*dearest), state.MaxPerMinute), now}
}

// dearest is what the dearest calls cost that there are: to send a message, at Gmail (facts 1.6).
const dearest = 100

// Take implements provider.Budget.
func (b *budget) Take(ctx context.Context, app string, units, least int, urgent bool) (int, time.Duration, error) {
	size := max(b.perMinute/20, dearest)
	t := state.Taking{PerMinute: b.perMinute - size, Size: size, Want: int64(units)}
	t.Least = min(int64(least), size) // what costs more than the bucket holds is begun when it is full
	if !urgent {
		t.Leave = min(size/10, size-t.Least)
	}
	taken, wait, err := b.state.TakeQuota(ctx, "budget/"+app, t, b.now())
	if taken > 0 && taken == t.Least && taken < int64(least) {
		taken = int64(least)
	}
	return int(taken), wait, err
}
