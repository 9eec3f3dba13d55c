package outlook

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	abs "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/authentication"
	absser "github.com/microsoft/kiota-abstractions-go/serialization"
	khttp "github.com/microsoft/kiota-http-go"
	kjson "github.com/microsoft/kiota-serialization-json-go"
	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/internal/httpcall"
	"github.com/intellicon/email-integration/provider/outlook/internal/quota"
)

// tries is how often a call that only reads is made before its failure counts.
const tries = 4

// answerLimit bounds an answer that is held in memory.
const answerLimit = 128 << 20

// meToken stands for the owner in the SDK's paths; Graph's path is /me (facts 2.7).
const meToken = "me-token-to-replace"

// immutable asks for ids that survive moves. Facts 2.3: it is per request, so it goes with every one.
const immutable = `IdType="ImmutableId"`

const jsonType = "application/json"

type adapter = khttp.NetHttpRequestAdapter

// formats are what bodies are read and written in: JSON, and nothing else. They are ours, not the SDK's global ones.
func formats() (*absser.ParseNodeFactoryRegistry, *absser.SerializationWriterFactoryRegistry) {
	parse, write := absser.NewParseNodeFactoryRegistry(), absser.NewSerializationWriterFactoryRegistry()
	parse.ContentTypeAssociatedFactories[jsonType] = kjson.NewJsonParseNodeFactory()
	write.ContentTypeAssociatedFactories[jsonType] = kjson.NewJsonSerializationWriterFactory()
	return parse, write
}

// adapter is the SDK's, on our own client: without its retries (facts 2.7: they repeat sendMail), its compression and its redirects.
func (p *Provider) adapter(c *http.Client) (*adapter, error) {
	a, err := khttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(&authentication.AnonymousAuthenticationProvider{}, p.parse, p.write, c)
	if err != nil {
		return nil, fmt.Errorf("outlook: %w", err)
	}
	a.SetBaseUrl(p.o.BaseURL)
	return a, nil
}

func (p *Provider) client(tokens oauth2.TokenSource) *http.Client {
	base := p.o.HTTPClient.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	return &http.Client{Transport: &transport{base: base, host: p.base, tokens: tokens},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is what came back of a call, which the SDK's errors do not always tell (facts 2.7: "a bare errors.errorString WITHOUT any status code").
type answer struct {
	status  int
	header  http.Header
	again   int  // requests that were made besides the first
	shorter bool // it took too long, and pages are shorter now
}

type answerKey struct{}

// transport puts the access token on calls, to the service's own host only, and writes down what comes back.
type transport struct {
	base   http.RoundTripper
	host   *url.URL
	tokens oauth2.TokenSource
}

// tokenError is what the token source said: it is returned as it is.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

const errMoved = said("the server leads to another address, which is not followed")

var errForeign = errors.New("the token does not go to another host")

// own reports whether an address is the service's.
func own(base, u *url.URL) bool {
	return u.Scheme == base.Scheme && strings.EqualFold(u.Hostname(), base.Hostname()) && port(u) == port(base)
}

func port(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// errPage is a success that is none of Graph's, but of something on the way: what was asked for was perhaps not done.
const errPage = said("a page that is not Graph's came instead of an answer")

// isPage reports whether an answer with success to a call that wants JSON holds something else.
func isPage(r *http.Request, resp *http.Response) bool {
	if resp.StatusCode >= 300 || r.Header.Get("Accept") != jsonType || resp.ContentLength == 0 {
		return false
	}
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || t == jsonType || strings.HasSuffix(t, "+json") {
		return false // the SDK judges by itself where nothing is said
	}
	b := bufio.NewReader(resp.Body)
	_, none := b.Peek(1)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{b, resp.Body}
	return none == nil
}

// RoundTrip implements http.RoundTripper. A token that is refused is replaced once, also where Microsoft wants one that meets further claims (facts 2.1, CAE): the
// next one is given by the token endpoint, which refuses in its own words where the person must act.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		r.Body.Close() //nolint:errcheck // it was read
		if err != nil {
			return nil, err
		}
	}
	if !own(t.host, r.URL) {
		return nil, errForeign
	}
	seen, _ := r.Context().Value(answerKey{}).(*answer)
	tok, err := t.tokens.Token()
	if err != nil {
		return nil, &tokenError{err}
	}
	resp, err := t.send(r, body, tok)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && provider.RefuseToken(t.tokens, tok.AccessToken) {
		resp.Body.Close() //nolint:errcheck // another takes its place
		if seen != nil {
			seen.again++
		}
		if tok, err = t.tokens.Token(); err != nil {
			return nil, &tokenError{err}
		}
		resp, err = t.send(r, body, tok)
	}
	if err != nil {
		return nil, err
	}
	if seen != nil {
		seen.status, seen.header = resp.StatusCode, resp.Header.Clone()
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 { // the SDK takes it for a success
		resp.Body.Close() //nolint:errcheck // it is not read
		return nil, errMoved
	}
	if isPage(r, resp) {
		resp.Body.Close() //nolint:errcheck // it is not read
		return nil, errPage
	}
	resp.Header.Del("WWW-Authenticate") // the SDK would ask once more
	resp.Body = &httpcall.Body{ReadCloser: resp.Body, Left: answerLimit}
	return resp, nil
}

func (t *transport) send(r *http.Request, body []byte, tok *oauth2.Token) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Path = strings.Replace(out.URL.Path, "/users/"+meToken, "/me", 1)
	out.URL.RawPath = strings.Replace(out.URL.RawPath, "/users/"+meToken, "/me", 1)
	out.URL.RawQuery = plainNames(out.URL.RawQuery)
	if body != nil {
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	out.Header.Add("Prefer", immutable)
	tok.SetAuthHeader(out)
	return t.base.RoundTrip(out)
}

// plainNames writes $ in the names of parameters as it is: the SDK escapes it, which servers that are only like Graph need not expect.
func plainNames(q string) string {
	parts := strings.Split(q, "&")
	for i, p := range parts {
		if strings.HasPrefix(p, "%24") {
			parts[i] = "$" + p[3:]
		}
	}
	return strings.Join(parts, "&")
}

// endless is how many pages are read of a chain of which nothing is kept in between.
const endless = 1000

// read makes a call that changes nothing, again where it failed in a way that may pass.
func (m *Mailbox) read(ctx context.Context, l quota.Lane, meth method, f func(context.Context) error) error {
	for try := 1; ; try++ {
		err := m.once(ctx, l, meth, f)
		if err == nil || try == tries || !passing(err) {
			return err
		}
		if !httpcall.Pause(ctx, time.Duration(1+rand.IntN(100))*time.Millisecond<<try) {
			return ctx.Err()
		}
	}
}

// once makes a call, when there is room for it.
func (m *Mailbox) once(ctx context.Context, l quota.Lane, meth method, f func(context.Context) error) error {
	if err := m.take(ctx, l); err != nil {
		return err
	}
	cctx, cancel := ctx, context.CancelFunc(func() {})
	if d := m.p.o.HTTPClient.Timeout; d > 0 {
		cctx, cancel = context.WithTimeout(ctx, d)
	}
	a := &answer{}
	err := guarded(context.WithValue(cctx, answerKey{}, a), f)
	late := cctx.Err() != nil && ctx.Err() == nil
	cancel()
	if (late || a.status == http.StatusGatewayTimeout) && (meth == messagesList || meth == folderMessages || meth == messagesDelta) {
		a.shorter = m.shorten()
	}
	m.quota.Land(l)
	for range a.again {
		m.quota.Charge()
	}
	return m.classify(ctx, meth, err, a)
}

// pageSize is how many messages the next listing asks for.
func (m *Mailbox) pageSize() int {
	m.known.mu.Lock()
	defer m.known.mu.Unlock()
	return m.known.page
}

// shorten makes pages shorter where one took too long: it would every time. false: they are as short as they get.
func (m *Mailbox) shorten() bool {
	m.known.mu.Lock()
	defer m.known.mu.Unlock()
	was := m.known.page
	m.known.page = max(was/2, min(m.p.o.PageSize, 5))
	return m.known.page < was
}

// lengthen makes them slowly longer again with each that was read.
func (m *Mailbox) lengthen() {
	m.known.mu.Lock()
	defer m.known.mu.Unlock()
	m.known.page = min(m.known.page+1+m.known.page/20, m.p.o.PageSize)
}

// guarded makes an error of a panic: the SDK reads what a server sent, and has met answers that it did not expect (facts 2.7: "panics when a collection
// contains null items"). In a goroutine of ours nobody else could.
func guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the answer could not be read: %v", r)
		}
	}()
	return f(ctx)
}

// errOwnLimit is the reason of a RateLimitError that is ours.
var errOwnLimit = errors.New("outlook: what may be asked of the mailbox is used up for now")

// take waits, a little, until there is room for a request.
func (m *Mailbox) take(ctx context.Context, l quota.Lane) error {
	for waited := time.Duration(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		ok, wait, landed := m.quota.Take(l)
		if ok {
			return nil
		}
		if landed != nil { // others of ours are under way, and end
			select {
			case <-landed:
			case <-ctx.Done():
			}
			continue
		}
		if waited+wait > m.p.o.Patience {
			return &provider.RateLimitError{RetryAfter: wait, Own: l == quota.Past && !m.quota.Waiting(), Err: errOwnLimit}
		}
		wait = max(wait, time.Millisecond)
		waited += wait
		httpcall.Pause(ctx, wait)
	}
}

// stream gets something that the SDK would hold in memory. The request counts as over when the answer begins.
func (m *Mailbox) stream(ctx context.Context, meth method, path string) (body io.ReadCloser, err error) {
	err = m.read(ctx, quota.Live, meth, func(cctx context.Context) error {
		// The body outlives the call, and its time; its beginning doesn't.
		a, _ := cctx.Value(answerKey{}).(*answer)
		rctx, giveUp := context.WithCancel(context.WithValue(ctx, answerKey{}, a))
		begun := context.AfterFunc(cctx, giveUp)
		r, err := http.NewRequestWithContext(rctx, http.MethodGet, m.p.o.BaseURL+path, nil)
		if err != nil {
			giveUp()
			return err
		}
		resp, err := m.http.Do(r)
		if !begun() || err != nil {
			giveUp()
			if err == nil {
				resp.Body.Close() //nolint:errcheck // it came too late
			}
			return cmp.Or(err, cctx.Err())
		}
		resp.Body.(*httpcall.Body).Left = 1 << 40
		resp.Body = &streamed{resp.Body, giveUp}
		if resp.StatusCode != http.StatusOK {
			defer resp.Body.Close() //nolint:errcheck // it was read
			return odata(resp)
		}
		body = resp.Body
		return nil
	})
	return body, err
}

// streamed is a body with a context of its own.
type streamed struct {
	io.ReadCloser
	end context.CancelFunc
}

func (s *streamed) Close() error {
	defer s.end()
	return s.ReadCloser.Close()
}

// str is what a pointer of the SDK's points to.
func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func ptr[T any](v T) *T { return &v }

// prefer is a header of a request: how many entries a page may hold.
func prefer(page int) *abs.RequestHeaders {
	h := abs.NewRequestHeaders()
	h.Add("Prefer", fmt.Sprintf("odata.maxpagesize=%d", page))
	return h
}
