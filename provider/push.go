package provider

import (
	"errors"
	"net/http"
)

// Pusher is a Provider whose service sends notifications to an endpoint of ours. The engine's Handler has one for it, below push/.
type Pusher interface {
	Provider
	// Push reads a request to that endpoint, which anybody may have sent: whoever is not the service gets an error that matches ErrForged. Any other
	// error is a trouble of ours that may pass, and the service sends it again. What the service says and means nothing to us is no error. The body
	// is bounded. It must be quick: the service waits for seconds.
	Push(r *http.Request) (Pushed, error)
}

// Pushed is what a notification says. It is a hint: it may come late, twice, in another order, or never.
type Pushed struct {
	News []News
	// Answer is the text that the service wants in return, as Graph does when it tries the endpoint; "": none.
	Answer string
}

// News is a mailbox that has some: by its address or by the handle of its Watch, whichever the service tells.
type News struct {
	Address string
	Handle  []byte
	// Rewatch: the service ends its Watch, or has, unless Watch is called now.
	Rewatch bool
}

// ErrForged is matched by the error of a notification that is not the service's.
var ErrForged = errors.New("not sent by the service")
