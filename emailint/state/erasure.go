package state

import "time"

// Erasure is what is known of an erased mailbox: numbers.
type Erasure struct {
	Org         string
	Connection  int64
	Begun, Done time.Time // Done is zero until nothing is left and the host has acknowledged all
	Erased      bool      // nothing of the mailbox is left, the connection included
	Items       int       // rows that were erased
	Released    int       // emails that others hold as well
	Removed     int       // emails that nobody holds, and that the host acknowledged as gone
	Outstanding int       // emails that nobody holds, and that it has not acknowledged
}
