package outlook

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/subscriptions"
	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// Lifetimes of a subscription: what pages of 2026 say, and what older ones say (facts 2.4, 7), each a little less.
var lifetimes = []time.Duration{10_080*time.Minute - time.Hour, 4_230*time.Minute - time.Hour}

const noPush = unsupported("no address for notifications is set: mail is asked for instead (docs/setup-microsoft.md, \"Notifications\")")

// Watch implements provider.Watcher: a subscription on the mailbox's messages, that is made or, where had names one that stands, prolonged: that also answers Graph's
// reauthorizationRequired (facts 2.4). While one is made Graph tries NotifyURL, so whoever serves it must be up. Updates are wanted beside new mail: a message that
// was sent, or moved, need not be a new one.
func (p *Provider) Watch(ctx context.Context, tokens oauth2.TokenSource, had []byte) (provider.Watch, error) {
	if p.o.NotifyURL == "" {
		return provider.Watch{}, noPush
	}
	if p.pushErr != nil {
		return provider.Watch{}, &provider.NeedsAction{Who: provider.Operator, Reason: "the secret for notifications is too short: set PushKey to 16 bytes or more (docs/setup-microsoft.md, \"Notifications\")", Err: p.pushErr}
	}
	m, err := p.mailbox(tokens)
	if err != nil {
		return provider.Watch{}, err
	}
	id, ours := p.keeper.Subscription(had)
	if id != "" && ours {
		w, err := m.prolong(ctx, id)
		if err == nil {
			w.Handle = had
			return w, nil
		}
		// Facts 2.4: "Renewal after expiry -> 404: recreate"; another person's is not ours to see; and one that is refused for whatever it is would be each time.
		s := status(err)
		if !errors.Is(err, provider.ErrGone) && !errors.Is(err, provider.ErrUnsupported) && s != http.StatusForbidden && s != http.StatusBadRequest && s != http.StatusConflict {
			return provider.Watch{}, err
		}
		if s != 0 && !errors.Is(err, provider.ErrGone) {
			m.end(ctx, id) //nolint:errcheck // it ends by itself, and what it tells is nobody's
		}
	} else if id != "" {
		m.end(ctx, id) //nolint:errcheck // it ends by itself, and what it tells is refused
	}
	return m.subscribe(ctx)
}

func (m *Mailbox) subs() *subscriptions.SubscriptionsRequestBuilder {
	return subscriptions.NewSubscriptionsRequestBuilderInternal(map[string]string{"baseurl": m.p.o.BaseURL}, m.adapter)
}

func (m *Mailbox) subscribe(ctx context.Context) (w provider.Watch, err error) {
	nonce := m.p.keeper.Nonce()
	err = m.living(func(until time.Time) error {
		return m.once(ctx, quota.Live, subscribe, func(ctx context.Context) error {
			s := models.NewSubscription()
			s.SetChangeType(ptr("created,updated"))
			s.SetNotificationUrl(&m.p.o.NotifyURL)
			s.SetLifecycleNotificationUrl(&m.p.o.NotifyURL)
			s.SetResource(ptr("me/messages"))
			s.SetExpirationDateTime(&until)
			s.SetClientState(ptr(m.p.keeper.State(nonce)))
			s.SetLatestSupportedTlsVersion(ptr("v1_2"))
			r, err := m.subs().Post(ctx, s, nil)
			if err != nil {
				return err
			}
			if r == nil || str(r.GetId()) == "" {
				return errEmpty
			}
			w = provider.Watch{Handle: m.p.keeper.Handle(str(r.GetId()), nonce), Expires: until}
			if t := timeOf(r.GetExpirationDateTime()); !t.IsZero() {
				w.Expires = t
			}
			return nil
		})
	})
	return w, err
}

func (m *Mailbox) prolong(ctx context.Context, id string) (w provider.Watch, err error) {
	err = m.living(func(until time.Time) error {
		return m.once(ctx, quota.Live, renew, func(ctx context.Context) error {
			s := models.NewSubscription()
			s.SetExpirationDateTime(&until)
			r, err := m.subs().BySubscriptionId(id).Patch(ctx, s, nil)
			if err != nil {
				return err
			}
			w.Expires = until
			if r != nil {
				if t := timeOf(r.GetExpirationDateTime()); !t.IsZero() {
					w.Expires = t
				}
			}
			return nil
		})
	})
	return w, err
}

// living tries lifetimes, the longest first. Facts 7: "parse the 400 error and fall back".
func (m *Mailbox) living(f func(until time.Time) error) (err error) {
	for _, d := range lifetimes {
		if err = f(m.p.o.Now().Add(d).UTC().Truncate(time.Second)); status(err) != http.StatusBadRequest {
			return err
		}
	}
	return err
}

func (m *Mailbox) end(ctx context.Context, id string) error {
	err := m.once(ctx, quota.Live, unsubscribe, func(ctx context.Context) error { return m.subs().BySubscriptionId(id).Delete(ctx, nil) })
	if errors.Is(err, provider.ErrGone) {
		return nil
	}
	return err
}

// Unwatch implements provider.Watcher.
func (p *Provider) Unwatch(ctx context.Context, tokens oauth2.TokenSource, handle []byte) error {
	if p.keeper == nil {
		return nil
	}
	id, _ := p.keeper.Subscription(handle)
	if id == "" {
		return nil
	}
	m, err := p.mailbox(tokens)
	if err != nil {
		return err
	}
	return m.end(ctx, id)
}
