package emailint

import (
	"context"
	"errors"
	"time"
)

// Erasure is the receipt of an erased mailbox.
type Erasure struct {
	Connection  int64
	Begun, Done time.Time // Done is zero while there is something left to do
	Items       int       // messages whose record was erased
	Released    int       // emails that other mailboxes hold as well: they stay, without this holder
	Removed     int       // emails that nobody holds any more, and that the CRM acknowledged as removed (or as saved without links)
	Outstanding int       // those that the CRM has not acknowledged yet
	// Kept says that the CRM has no Remover: it was told that the emails have neither links nor holders, and has their content still.
	Kept bool
}

// Erase ends a connection and erases what the engine remembers of its mailbox: at once nobody works on it any more and its credential is
// gone; then the records of its messages go, page by page, and the CRM is told of every email. It returns when all of that is done, or with an error and
// the receipt so far: what is left is done by Run or Relink, or by calling it again. The same mailbox may be connected anew at any time.
func (e *Engine) Erase(ctx context.Context, org string, connection int64) (Erasure, error) {
	return Erasure{}, errors.New("emailint: Erase is not there yet")
}

// Erasure returns the receipt of an erasure that was begun; state.ErrNotFound where there was none.
func (e *Engine) Erasure(ctx context.Context, org string, connection int64) (Erasure, error) {
	return Erasure{}, errors.New("emailint: Erasure is not there yet")
}
