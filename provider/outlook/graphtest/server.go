package graphtest

import (
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/internal/fakehttp"
)

// Options of a Server; the zero value is what Microsoft's documentation says of a new tenant and a new app.
type Options struct {
	Now  func() time.Time // nil: time.Now
	Salt string           // of ids and tokens; two Servers in one test had better have two

	// Requests is how many requests of an app to a mailbox there may be in ten minutes, Concurrency how many at once, UploadBytes how many bytes
	// may be sent in five minutes (facts 2.5). 0: 10,000, 4 and 150 MB; negative: no limit.
	Requests, Concurrency int
	UploadBytes           int64
	// SendsPerMinute is how many messages a mailbox may send in a minute (facts 2.5). 0: 30; negative: no limit.
	SendsPerMinute int
	// Latency is what a request to a mailbox takes, by a timer of the process (in a synctest bubble, by the bubble's clock). Without it requests
	// overlap only where a Fault holds them.
	Latency time.Duration

	// PageSize is the most that a page holds, whatever was asked for; 0: what was asked for, at most 1,000.
	PageSize int
	// DeltaLife is how long a delta link is good for. 0: for ever. Facts 2.2: "Token lifetime for Outlook is not fixed".
	DeltaLife time.Duration
	// SparseUpdates: what a delta says of a message that was there before is what changed of it and no more (facts 2.2: "at least the changed
	// properties").
	SparseUpdates bool
	// NoGzip answers compressed requests with 415, as servers do that are only like Graph.
	NoGzip bool
	// NoHeadersInListings leaves extended properties out of listings and deltas, so that single messages must be asked for them. Whether Graph
	// gives the transport headers there is not known.
	NoHeadersInListings bool
	// PlainBodies leaves a plain text as it is where no format is asked for; else it comes as HTML (from memory, as documented).
	PlainBodies bool

	// SubscriptionLife is how far ahead a subscription may end. 0: 10,080 minutes; older pages say 4,230 (facts 2.4, 7).
	SubscriptionLife time.Duration

	// SendDelay is how long after it was sent a message is found in Sent Items; until then it is a draft still or, with SendHides, not there
	// (facts 2.6: "may 404 or still be a draft for a while").
	SendDelay time.Duration
	SendHides bool
	// MaxMessage is what a message may measure that is sent, in bytes; 0: no limit but that of uploads. Facts 2.6: often 35 MB.
	MaxMessage int
	// NewMessageIDs gives what is sent another Message-ID (facts 2.6: "Exchange may still substitute": one without a dotted domain always).
	NewMessageIDs bool
	// RestampDates puts the time of sending into the Date of what was drafted as MIME. Nobody knows which Exchange does.
	RestampDates bool
	// SendFromAliases lets people send as their aliases; else From is rewritten to the primary address (facts 2.6).
	SendFromAliases bool

	// UserConsent lets people of work accounts allow an app to read mail, as tenants of before did. Else only an administrator may (facts 2.1).
	UserConsent bool
	// LongScopes writes granted scopes with https://graph.microsoft.com/ before them.
	LongScopes bool

	// Missing are methods, by their name in Methods, that this server lacks. They are answered with MissingStatus; 0: 501.
	Missing       []string
	MissingStatus int

	// Spec, where it isn't nil, checks requests and answers: Server.Violations.
	Spec *Spec

	// Tokens says whose an access token is, where an authorization server of the test's own gives them; then the Server's gives none.
	// emailinttest.AuthServer is one. Subject is User.Subject.
	Tokens interface {
		Valid(accessToken string) (subject string, scopes []string, ok bool)
	}
}

// Server is Graph and Entra. Make it with New.
type Server struct {
	opts Options
	now  func() time.Time

	mu       sync.Mutex // guards everything below, and what its Users, grants and subscriptions hold
	base     string     // the address it is reached by
	outlook  string     // the address attachments are uploaded to: another host (facts 2.6)
	users    []*User
	serial   uint64
	outgoing []Outgoing
	log      []Call
	throttle throttle
	faults   faults
	entra    entra
	hooks    hooks
	uploads  map[string]*upload
	odd      odd
	// What Options.Spec found.
	violations []string
	covered    int
	uncovered  map[string]bool
}

var _ http.Handler = (*Server)(nil)

// odd is how listings and deltas misbehave.
type odd struct {
	endAfter, skipEvery int
	empty               int
	replay              int
	late                time.Duration
	swallow             int
	shuffled            bool // answers of a batch come in any order
	syncCode            string
}

// New returns a Graph without users.
func New(o Options) *Server {
	s := &Server{opts: o, now: o.Now, base: "https://graph.test", outlook: "https://outlook.test", uploads: map[string]*upload{}, uncovered: map[string]bool{}} // RFC 2606, 2: never anybody's
	if s.now == nil {
		s.now = time.Now
	}
	for v, d := range map[*int]int{&s.opts.Requests: 10_000, &s.opts.Concurrency: 4, &s.opts.SendsPerMinute: 30, &s.opts.MissingStatus: http.StatusNotImplemented} {
		if *v == 0 {
			*v = d
		}
	}
	if s.opts.UploadBytes == 0 {
		s.opts.UploadBytes = 150 << 20
	}
	if s.opts.SubscriptionLife == 0 {
		s.opts.SubscriptionLife = 10_080 * time.Minute
	}
	s.throttle.boxes = map[throttleKey]*meter{}
	s.entra.init()
	s.hooks.init()
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch p := r.URL.Path; {
	case p == "/v1.0" || strings.HasPrefix(p, "/v1.0/"):
		s.serveGraph(w, r)
	case strings.HasPrefix(p, "/api/v2.0/"):
		s.serveUpload(w, r)
	default:
		s.serveEntra(w, r)
	}
}

// URL is the service root, "https://graph.test/v1.0", as SetBaseUrl wants it.
func (s *Server) URL() string { return s.host() + "/v1.0" }

func (s *Server) host() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base
}

// Listen serves on loopback ports from now on, whose address URL then tells; what is uploaded goes to another. What is notified and could not be
// delivered is tried again every second until end is called.
func (s *Server) Listen() (baseURL string, end func()) {
	srv, outlook := httptest.NewServer(s), httptest.NewServer(s)
	s.mu.Lock()
	s.base, s.outlook = srv.URL, outlook.URL
	s.mu.Unlock()
	done := make(chan struct{})
	var pumping sync.WaitGroup
	pumping.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.flush()
			case <-done:
				return
			}
		}
	})
	return srv.URL + "/v1.0", sync.OnceFunc(func() {
		close(done)
		for _, l := range []*httptest.Server{srv, outlook} {
			l.CloseClientConnections() // so that whoever is held gives up
			l.Close()
		}
		pumping.Wait()
	})
}

// Client reaches the server through memory and nothing else. It hands redirects back.
func (s *Server) Client() *http.Client { return s.transport().Client() }

// Transport reaches the server through memory, by its own addresses and by Microsoft's host names. Any other host is an error.
func (s *Server) Transport() http.RoundTripper { return s.transport() }

// Microsoft's host names: of the API (facts 2.7), of Entra (2.1) and of uploads (2.6).
var microsoftHosts = []string{"graph.microsoft.com", "login.microsoftonline.com", "outlook.office.com"}

func (s *Server) transport() fakehttp.Transport {
	return fakehttp.Transport{Handler: s, Refuse: func(at *url.URL) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, b := range []string{s.base, s.outlook} {
			if u, err := url.Parse(b); err == nil && u.Host == at.Host {
				return nil
			}
		}
		if !slices.Contains(microsoftHosts, at.Host) {
			return fmt.Errorf("graphtest: %s://%s is not this Graph", at.Scheme, at.Host)
		}
		return nil
	}}
}

// Call is a request to the API as the Server saw it. The parts of a batch are Calls of their own.
type Call struct {
	At     time.Time
	User   string // whose mailbox, "" when the token was nobody's, for a batch and for what failed before
	Method string // as Methods names it, "messages.get"; "batch"
	Path   string // with the query
	Status int    // 0: not answered, or not yet
	Code   string // of the error that was answered, "ErrorItemNotFound"
}

// String is for messages of tests.
func (c Call) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s of %s: %d %s", c.Method, c.User, c.Status, c.Code))
}

// Calls returns every call so far, in the order in which they came.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count returns how many calls there were of a method, refused and unanswered ones included.
func (s *Server) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.log {
		if c.Method == method {
			n++
		}
	}
	return n
}

// Forget empties the log and what User.Requests and Throttled tell. The limits themselves remember.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.throttle.refused = nil, 0
	for _, m := range s.throttle.boxes {
		m.total, m.most = 0, 0
	}
}

// next is a number that was never there before. The caller holds mu.
func (s *Server) next() uint64 {
	s.serial++
	return s.serial
}

var b64 = base64.RawURLEncoding

// digest is bytes that belong to values and this Server's salt alone. The same calls of two Servers of the same salt give the same ones, so that
// a run can be repeated.
func (s *Server) digest(n int, parts ...any) []byte {
	sum := sha512.Sum512([]byte(s.opts.Salt + "\x00" + fmt.Sprintln(parts...)))
	return sum[:n]
}

// mint makes a secret that was never there before.
func (s *Server) mint(prefix string) string {
	return prefix + b64.EncodeToString(s.digest(30, "secret", prefix, s.next()))
}

// guid makes a GUID of values.
func (s *Server) guid(parts ...any) string {
	b := s.digest(16, parts...)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
