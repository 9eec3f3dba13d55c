package deliver

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/linker"
)

// late is a CRM that does not answer in time, nor before its lease is being renewed.
type late struct {
	crm.Store
	renewing, ended chan struct{}
}

func (l late) Find(ctx context.Context, _ string, _ linker.Query) (linker.Directory, error) {
	<-ctx.Done()
	<-l.renewing
	close(l.ended)
	return linker.Directory{}, ctx.Err()
}

// The time of a call is over in the moment in which its lease is found to be lost: the race detector looks at this.
func TestLeaseIsLostWhenTimeIsOver(t *testing.T) {
	for range 100 {
		l := late{renewing: make(chan struct{}), ended: make(chan struct{})}
		first := true
		g := &Guard{Store: l, Limit: time.Microsecond, Beat: time.Microsecond, Log: slog.New(slog.DiscardHandler), Renew: func(context.Context) error {
			if first {
				first = false
				return nil
			}
			close(l.renewing)
			<-l.ended
			runtime.Gosched()
			return state.ErrStale
		}}
		if _, err := g.Find(t.Context(), "org", linker.Query{}); !errors.Is(err, state.ErrStale) {
			t.Fatalf("Find = %v", err)
		}
	}
}
