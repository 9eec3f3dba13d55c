package emailint

import (
	"errors"
	"io"
	"net/http"

	"github.com/intellicon/email-integration/internal/power"
	"github.com/intellicon/email-integration/provider"
)

// maxPush bounds a notification, of which Graph sends many in one post (facts 2.4); what is longer is no service's.
const maxPush = 1 << 20

// push takes what services send: it makes the mailboxes due that have news, and answers. Nothing is read from a mailbox meanwhile. Whether a mailbox is
// known shows in no answer.
func (e *Engine) push(w http.ResponseWriter, r *http.Request) {
	p, ok := power.Of[provider.Pusher](e.provs[r.PathValue("provider")])
	if !ok {
		http.NotFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxPush)
	defer io.Copy(io.Discard, r.Body) //nolint:errcheck // so that the connection is used again
	log := e.o.Logger.With("provider", p.Name())
	got, err := p.Push(r)
	if err == nil {
		for _, n := range got.News {
			if err = e.news(r, p.Name(), n); err != nil {
				break
			}
		}
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case errors.Is(err, provider.ErrForged):
		log.WarnContext(r.Context(), "a notification was refused", "error", err)
		w.WriteHeader(http.StatusUnauthorized)
	case err != nil:
		log.WarnContext(r.Context(), "a notification was not taken", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable) // it comes again
	case got.Answer != "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, got.Answer) //nolint:errcheck // the service is gone
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// news makes the mailboxes due that a notification is about: one may be connected by several users and organisations.
func (e *Engine) news(r *http.Request, provider string, n provider.News) error {
	cs, err := e.o.State.Told(r.Context(), provider, n.Address, n.Handle)
	for _, c := range cs {
		switch {
		case err != nil:
		case n.Rewatch:
			err = e.o.State.Rewatch(r.Context(), c.Org, c.ID)
			e.hurry()
		default:
			err = e.heard(r.Context(), c.Org, c.ID)
		}
	}
	return err
}
