package gmail

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
)

// tries is how often a call that only reads is made before its failure counts.
const tries = 4

// answerLimit bounds an answer. An attachment of 35 MB in base64 is below it (facts 1.7).
const answerLimit = 64 << 20

// transport puts the access token on calls, to the service's own host only.
type transport struct {
	base   http.RoundTripper
	host   *url.URL
	tokens oauth2.TokenSource
}

// tokenError is what the token source said: it is returned as it is.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// RoundTrip implements http.RoundTripper. Facts 1.6: "401 authError: refresh once, then re-auth".
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != t.host.Scheme || r.URL.Host != t.host.Host {
		if r.Body != nil {
			r.Body.Close() //nolint:errcheck // it is not sent
		}
		return nil, errors.New("the token does not go to another host")
	}
	tok, err := t.token(r)
	if err != nil {
		return nil, err
	}
	resp, err := t.send(r, tok)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !provider.RefuseToken(t.tokens, tok.AccessToken) || r.Body != nil && r.GetBody == nil {
		return resp, err
	}
	again := r.Clone(r.Context())
	if r.GetBody != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the refusal is the answer
		}
	}
	resp.Body.Close() //nolint:errcheck // another takes its place
	if tok, err = t.token(again); err != nil {
		return nil, err
	}
	return t.send(again, tok)
}

func (t *transport) token(r *http.Request) (*oauth2.Token, error) {
	tok, err := t.tokens.Token()
	if err != nil && r.Body != nil {
		r.Body.Close() //nolint:errcheck // it is not sent
	}
	if err != nil {
		return nil, &tokenError{err}
	}
	return tok, nil
}

func (t *transport) send(r *http.Request, tok *oauth2.Token) (*http.Response, error) {
	out := r.Clone(r.Context())
	tok.SetAuthHeader(out)
	resp, err := t.base.RoundTrip(out)
	if err == nil {
		resp.Body = &httpcall.Body{ReadCloser: resp.Body, Left: answerLimit}
		if b, ok := r.Context().Value(beginningKey{}).(*beginning); ok {
			b.text = nil
			resp.Body = &noted{resp.Body, b}
		}
	}
	return resp, err
}

// CloseIdleConnections is for http.Client's.
func (t *transport) CloseIdleConnections() {
	// The base belongs to all mailboxes: its connections are not this one's to end.
}

// errEmpty is of an answer with success that says nothing of what was asked for. What it was is not known: it is no end of a listing, and nothing that was done.
var errEmpty = errors.New("the answer does not say what was asked for")

// spell is how long a call goes on with what nobody waits for to its end. Who holds a lease renews it between calls, and what is left comes with the next.
const spell = 20 * time.Second

// beginning is how the answer to a call begins, for what the SDK does not tell of it.
type beginning struct{ text []byte }

type beginningKey struct{}

// in makes the call of a context write its answer down.
func (b *beginning) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, beginningKey{}, b)
}

// noted is a body whose beginning is written down.
type noted struct {
	io.ReadCloser
	in *beginning
}

func (n *noted) Read(p []byte) (int, error) {
	k, err := n.ReadCloser.Read(p)
	n.in.text = append(n.in.text, p[:min(k, max(1024-len(n.in.text), 0))]...)
	return k, err
}

// read makes a call that changes nothing, again where it failed in a way that may pass.
func (m *Mailbox) read(ctx context.Context, l lane, meth method, f func(context.Context) error) error {
	begun := time.Now()
	for try := 1; ; try++ {
		err := m.once(ctx, l, meth, f)
		if err == nil || try == tries || m.tokenless || !passing(err) || time.Since(begun) >= spell {
			return err
		}
		if !httpcall.Pause(ctx, time.Duration(1+rand.IntN(100))*time.Millisecond<<try) {
			return ctx.Err()
		}
	}
}

// once makes a call, for as many units as its method costs.
func (m *Mailbox) once(ctx context.Context, l lane, meth method, f func(context.Context) error) error {
	if _, err := m.take(ctx, l, meth, 1); err != nil {
		return err
	}
	err := func() error {
		defer m.quota.settle(units[meth]) // also where it panics
		return f(ctx)
	}()
	err = m.classify(ctx, meth, err)
	m.quota.learn(meth, err)
	return err
}

// take waits, a little, until the quotas have room for calls of a method, at most n, and returns for how many. What it took is to be settled.
func (m *Mailbox) take(ctx context.Context, l lane, meth method, n int) (int, error) {
	cost := units[meth]
	if wait := m.quota.mute(); sends(meth) && wait > 0 {
		return 0, &provider.RateLimitError{RetryAfter: wait, Err: errOwnLimit}
	}
	for waited := time.Duration(0); ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		got, wait := m.quota.take(l, n, cost)
		if got > 0 && cost > 0 {
			all, w, err := m.p.app.Take(ctx, m.app, got*cost, cost, l == live)
			if err != nil {
				m.quota.back(got * cost)
				return 0, err
			}
			k := min(max(all/cost, 0), got)
			m.quota.back((got - k) * cost)
			got, wait = k, w
		}
		if got > 0 {
			return got, nil
		}
		if waited+wait > m.p.o.Patience {
			return 0, &provider.RateLimitError{RetryAfter: wait, Own: l == past && !m.quota.refused(), Err: errOwnLimit}
		}
		wait = max(wait, time.Millisecond)
		waited += wait
		if !httpcall.Pause(ctx, wait) {
			return 0, ctx.Err()
		}
	}
}

var errOwnLimit = errors.New("gmail: the quota of the mailbox is used up for now")
