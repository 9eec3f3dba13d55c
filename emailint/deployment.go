package emailint

import (
	"context"
	"errors"
	"fmt"

	"github.com/intellicon/email-integration/emailint/state"
)

// ErrObserving is the error of what an installation must not do that works on another's state: a copy of production that was started elsewhere reads
// mailboxes and links, and sends nothing, changes no mailbox and refreshes no token, for that would be done twice. AdoptState makes the state its own.
var ErrObserving = errors.New("this state belongs to another deployment, which is only observed: see Engine.AdoptState")

// observing returns ErrObserving where the state is another deployment's. The first deployment that names itself has it; from then on one
// without a name is another.
func (e *Engine) observing(ctx context.Context) error {
	for {
		owner, err := e.o.State.Deployment(ctx)
		if err != nil {
			return err
		}
		switch owner {
		case e.o.Deployment: // also where nobody has a name
			return nil
		case "":
			if err := e.o.State.SetDeployment(ctx, "", e.o.Deployment); err != nil && !errors.Is(err, state.ErrStale) {
				return err
			}
		default:
			return ErrObserving
		}
	}
}

// AdoptState makes the state this deployment's: for a move to other machines, when the former is stopped for good.
func (e *Engine) AdoptState(ctx context.Context) error {
	if e.o.Deployment == "" {
		return errors.New("emailint: adopting the state: Options.Deployment is not set")
	}
	owner, err := e.o.State.Deployment(ctx)
	if err == nil && owner != e.o.Deployment {
		err = e.o.State.SetDeployment(ctx, owner, e.o.Deployment)
	}
	if err != nil {
		return fmt.Errorf("emailint: adopting the state: %w", err)
	}
	return nil
}
