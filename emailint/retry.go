package emailint

import (
	"context"
	"errors"
	"fmt"

	"github.com/intellicon/email-integration/emailint/state"
)

// Retry tries a mailbox again in which somebody had to act, without a new consent: its administrator approved the app meanwhile, the operator put a secret
// right, a server takes the password again. Nothing happens to one that is connected. One that is paused or disconnected is an error: that is ended as it was
// begun. What was wrong and still is stops it as before, after one try.
func (e *Engine) Retry(ctx context.Context, org string, connection int64) error {
	c, err := e.o.State.Connection(ctx, org, connection)
	if err == nil && c.State != state.Connected {
		switch err = e.o.State.Retry(ctx, org, connection, c.State); {
		case !errors.Is(err, state.ErrStale):
		case c.State == state.Disconnected || c.State == state.Paused:
			err = fmt.Errorf("it is %s: %s", c.State, c.Reason)
		default:
			err = nil // somebody was first
		}
	}
	if err != nil {
		return fmt.Errorf("emailint: trying connection %d again: %w", connection, err)
	}
	e.hurry()
	return nil
}
