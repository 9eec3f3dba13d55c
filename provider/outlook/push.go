package outlook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/notice"
)

// forged is a provider.ErrForged that says why.
type forged struct{ err error }

func (e *forged) Error() string   { return "outlook: " + e.err.Error() }
func (e *forged) Unwrap() []error { return []error{provider.ErrForged, e.err} }

// maxHandshake bounds a validationToken.
const maxHandshake = 4096

// Push implements provider.Pusher: notifications and events of the life of subscriptions, which come to the same address (facts 2.4). A request with a
// validationToken is Graph trying the address, and gets the token back; anybody can have that echoed, and it proves nothing. Otherwise the clientState of each notification
// is compared, in constant time, with what the host's key makes of the nonce in it; see internal/notice. No database and no call is needed.
//
// Each event means that the mailbox is to be looked at: reauthorizationRequired and subscriptionRemoved also that its Watch is to be renewed or made anew (News.Rewatch),
// missed that something was not told.
func (p *Provider) Push(r *http.Request) (provider.Pushed, error) {
	if t := r.URL.Query().Get("validationToken"); t != "" {
		if len(t) > maxHandshake || strings.ContainsFunc(t, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return provider.Pushed{}, &forged{errors.New("the validationToken is none")}
		}
		return provider.Pushed{Answer: t}, nil
	}
	if p.keeper == nil {
		return provider.Pushed{}, &forged{errors.New("no PushKey is set, so nothing was asked for")}
	}
	ns, err := p.keeper.Read(r.Body)
	if errors.Is(err, notice.ErrForged) {
		return provider.Pushed{}, &forged{err}
	}
	if err != nil {
		return provider.Pushed{}, fmt.Errorf("outlook: reading a notification: %w", err)
	}
	var out provider.Pushed
	at := map[string]int{}
	for _, n := range ns {
		i, ok := at[string(n.Handle)]
		if !ok {
			i = len(out.News)
			at[string(n.Handle)] = i
			out.News = append(out.News, provider.News{Handle: n.Handle})
		}
		if n.Event == notice.Reauthorize || n.Event == notice.Removed {
			out.News[i].Rewatch = true
		}
	}
	return out, nil
}
