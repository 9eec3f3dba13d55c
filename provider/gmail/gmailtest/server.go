package gmailtest

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/intellicon/email-integration/internal/fakehttp"
)

// Options of a Server; the zero value is what Google's documentation says of a new project.
type Options struct {
	Now     func() time.Time // nil: time.Now
	Project string           // of the OAuth clients and the topics; "": "crm-test". Two Servers in one test had better have two

	// UserUnits and ProjectUnits are the quota units of a minute (facts 1.6). 0: 6,000 and 1,200,000; negative: no limit.
	UserUnits, ProjectUnits int
	// Concurrency is how many calls of a user may be under way at once. 0: no limit. Facts 1.6 know that there is a limit, not which.
	Concurrency int

	// SendsPerDay is how many messages a user may send in 24 hours (facts 1.6: about 500 recipients or 2,000 messages). 0: no limit. After it
	// sending is refused with 429 until the oldest is a day old.
	SendsPerDay int

	// PageSize is the most that a page holds, whatever was asked for; 0: what was asked for, at most 500 (facts 1.4, 1.5).
	PageSize int
	// PageTokenLife is how long a page token is good for. 0: an hour. How long Google's live is not known.
	PageTokenLife time.Duration
	// HistoryLife is how long history is kept. 0: seven days (facts 1.4: "at least a week" typically); negative: for ever.
	HistoryLife time.Duration
	// InlineBody is the size in bytes from which on a part without a file name is to be had by attachmentId only. 0: 64 KiB. Facts 1.5 say
	// "big parts"; where the border lies is not known.
	InlineBody int
	// EncodedHeaders leaves encoded words (RFC 2047) in payload.headers as they are; else they come decoded.
	EncodedHeaders bool
	// Unpadded leaves out the padding of base64url. Facts 1.5: decode both.
	Unpadded bool
	// SearchByDate makes after: and before: look at the Date header instead of internalDate, which is disputed (facts 1.5).
	SearchByDate bool

	// TrashTakesInbox takes INBOX off what goes to the trash; else it has both. Nobody is to rely on either.
	TrashTakesInbox bool
	// QuotedHistoryID writes the historyId of notifications in quotation marks, as documented; production sends a number (facts 1.3).
	QuotedHistoryID bool

	// Missing are methods, by their name in the discovery document ("gmail.users.watch"; "batch"), that this server lacks, as servers do that are
	// only like Gmail. They are answered with MissingStatus; 0: 404.
	Missing       []string
	MissingStatus int

	// Tokens says whose an access token is, where an authorization server of the test's own gives them; then the Server's gives none.
	// emailinttest.AuthServer is one. Subject is User.Subject.
	Tokens interface {
		Valid(accessToken string) (subject string, scopes []string, ok bool)
	}
}

// Server is Gmail. Make it with New.
type Server struct {
	opts Options
	now  func() time.Time
	mux  *http.ServeMux

	mu        sync.Mutex // guards everything below, and what its Users, grants and topics hold
	base      string     // the address it is reached by
	users     []*User
	serial    uint64
	outgoing  []Outgoing
	log       []Call
	quota     quota
	faults    faults
	oauth     oauth
	pubsub    pubsub
	uploads   map[string]*upload
	shuffling bool // answers of a batch come in any order
}

var _ http.Handler = (*Server)(nil)

// New returns a Gmail without users.
func New(o Options) *Server {
	s := &Server{opts: o, now: o.Now, mux: http.NewServeMux(), base: "https://gmail.test", uploads: map[string]*upload{}} // RFC 2606, 2: never anybody's
	if s.now == nil {
		s.now = time.Now
	}
	for v, d := range map[*int]int{&s.opts.UserUnits: 6000, &s.opts.ProjectUnits: 1_200_000, &s.opts.InlineBody: 64 << 10, &s.opts.MissingStatus: http.StatusNotFound} {
		if *v == 0 {
			*v = d
		}
	}
	for v, d := range map[*time.Duration]time.Duration{&s.opts.PageTokenLife: time.Hour, &s.opts.HistoryLife: 7 * 24 * time.Hour} {
		if *v == 0 {
			*v = d
		}
	}
	if s.opts.Project == "" {
		s.opts.Project = "crm-test"
	}
	s.quota.users = map[*User]*meter{}
	s.oauth.init()
	s.pubsub.init()
	s.routes()
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// URL is where the server is reached, with a slash at its end, as option.WithEndpoint wants it.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base + "/"
}

// Project is the project of the OAuth clients and the topics.
func (s *Server) Project() string { return s.opts.Project }

// Listen serves on a loopback port from now on, whose address URL then tells. What is notified and could not be delivered is tried again
// every second until end is called.
func (s *Server) Listen() (baseURL string, end func()) {
	srv := httptest.NewServer(s)
	s.mu.Lock()
	s.base = srv.URL
	s.mu.Unlock()
	done := make(chan struct{})
	var pumping sync.WaitGroup
	pumping.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		s.pump(tick.C, done)
	})
	return srv.URL + "/", sync.OnceFunc(func() {
		close(done)
		srv.CloseClientConnections() // so that whoever is held gives up
		srv.Close()
		pumping.Wait()
	})
}

// pump pushes what is due, unless it is held, at each tick until done.
func (s *Server) pump(tick <-chan time.Time, done <-chan struct{}) {
	for {
		select {
		case <-tick:
			s.flush()
		case <-done:
			return
		}
	}
}

// Client reaches the server through memory and nothing else. It hands redirects back.
func (s *Server) Client() *http.Client { return s.transport().Client() }

// Transport reaches the server through memory, by its own address and by Google's host names. Any other host is an error.
func (s *Server) Transport() http.RoundTripper { return s.transport() }

// Google's host names, of the API (G-disc, facts 1.5), of OAuth (facts 1.2) and of the keys that facts 1.3 speak of.
var googleHosts = []string{"gmail.googleapis.com", "www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "openidconnect.googleapis.com"}

func (s *Server) transport() fakehttp.Transport {
	return fakehttp.Transport{Handler: s, Refuse: func(at *url.URL) error {
		if u, err := url.Parse(s.URL()); err != nil || at.Host != u.Host && !slices.Contains(googleHosts, at.Host) {
			return fmt.Errorf("gmailtest: %s://%s is not this Gmail", at.Scheme, at.Host)
		}
		return nil
	}}
}

// Call is a request to the API as the Server saw it. The parts of a batch are Calls of their own.
type Call struct {
	At     time.Time
	User   string // whose mailbox, "" when the token was nobody's, for a batch and for what failed before
	Method string // as the discovery document names it, "gmail.users.messages.get"; "batch"
	Path   string // with the query
	Units  int    // that were charged
	Status int    // 0: not answered, or not yet
	Reason string // of the error that was answered, "userRateLimitExceeded"
}

// String is for messages of tests.
func (c Call) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s of %s: %d %s", c.Method, c.User, c.Status, c.Reason))
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

// Forget empties the log and what User.Units, User.UnitsByMethod and RateErrors tell. The quota itself remembers.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.quota.rateErrors = nil, 0
	for u := range maps.Keys(s.quota.users) {
		s.quota.users[u].total, s.quota.users[u].byMethod = 0, map[string]int{}
	}
}

// next is a number that was never there before. The caller holds mu.
func (s *Server) next() uint64 {
	s.serial++
	return s.serial
}
