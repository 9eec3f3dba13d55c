package emailint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/gmail"
	"github.com/intellicon/email-integration/provider/gmail/gmailtest"
)

// gmailWorld is an engine over provider/gmail and a Gmail in memory, in a bubble of synctest: sign-in, pushes and quota as Google has them.
type gmailWorld struct {
	*testing.T
	srv  *gmailtest.Server
	user *gmailtest.User
	crm  *emailinttest.MemCRM
	st   state.Store
	opts emailint.Options
	eng  *emailint.Engine
	conn emailint.Connection
	want map[string]bool // what is to be in the CRM
}

const gmailOwner = "owner@example.com"

// newGmailWorld connects a mailbox by Google's sign-in; before fills it first. Without a quota in o there is none.
func newGmailWorld(t *testing.T, o gmailtest.Options, s emailint.Settings, before func(*gmailWorld), tune ...func(*gmailWorld, *gmail.Options)) *gmailWorld {
	t.Helper()
	var conf gmail.Options
	if o.UserUnits == 0 {
		o.UserUnits, conf.UnitsPerMinute = -1, 1<<40
	}
	if o.ProjectUnits == 0 {
		o.ProjectUnits, conf.ProjectUnitsPerMinute = -1, 1<<40
	}
	w := &gmailWorld{T: t, srv: gmailtest.New(o), crm: emailinttest.NewMemCRM(), want: map[string]bool{}}
	w.user = w.srv.AddUser(gmailOwner)
	w.crm.Add("o", ada, "Ada", "ada@customer.example")
	st, err := sqlite.Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	w.st = st
	if before != nil {
		before(w)
	}
	redirect := base + "/oauth/gmail/callback"
	w.srv.Register(gmailtest.App{ID: app, Secret: "app-secret", Redirects: []string{redirect}})
	account := "push@" + w.srv.Project() + ".iam.gserviceaccount.com"
	conf.BaseURL, conf.HTTPClient, conf.AuthURL, conf.TokenURL, conf.KeysURL = w.srv.URL(), w.srv.Client(), w.srv.Endpoint().AuthURL, w.srv.Endpoint().TokenURL, w.srv.KeysURL()
	conf.Topic, conf.PushAudience, conf.PushAccount = w.srv.Topic("gmail"), base+"/push/gmail", account
	for _, f := range tune {
		f(w, &conf)
	}
	w.opts = emailint.Options{State: w.st, CRM: w.crm, BaseURL: base, HTTP: w.srv.Client(), Providers: []provider.Provider{gmail.New(&conf)},
		Apps: map[string]emailint.App{"gmail": {ClientID: app, ClientSecret: "app-secret", RedirectURI: redirect}},
		Keys: []emailint.Key{{ID: "k", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)}
	if w.eng, err = emailint.New(w.opts); err != nil {
		t.Fatal(err)
	}
	if _, err := w.eng.SetSettings(t.Context(), "o", s, 0); err != nil {
		t.Fatal(err)
	}
	w.conn = w.connect("u", 0)
	w.srv.Subscribe(gmailtest.Subscription{Topic: w.srv.Topic("gmail"), Endpoint: base + "/push/gmail", ServiceAccount: account, Handler: w.eng.Handler()})
	return w
}

// connect signs in, for a new connection or an old one.
func (w *gmailWorld) connect(user string, again int64) emailint.Connection {
	w.Helper()
	s := emailint.Session{ID: "session", Org: "o", User: user}
	to, err := w.eng.Consent(w.Context(), emailint.ConsentRequest{Session: s, Provider: "gmail", Reconnect: again})
	if err != nil {
		w.Fatal(err)
	}
	back, err := w.srv.Visit(w.Context(), to)
	if err != nil {
		w.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		w.Fatal(err)
	}
	c, _, err := w.eng.Finish(w.Context(), emailint.Return{Session: s, Provider: "gmail", Query: u.Query()})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// letter is a mail of now, or of an age.
func letter(from, to, id string, age time.Duration) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: about %s\r\nDate: %s\r\nMessage-ID: <%s@x>\r\n\r\nHello, this is %s.\r\n",
		from, to, id, time.Now().Add(-age).Format(time.RFC1123Z), id, id)
}

// deliver puts a mail of Ada's into the inbox, which is to be in the CRM.
func (w *gmailWorld) deliver(id string, age time.Duration, labels ...string) string {
	w.want[id] = true
	return w.user.Deliver(letter("ada@customer.example", gmailOwner, id, age), time.Now().Add(-age), append(labels, "INBOX")...)
}

// settle runs passes until nothing is due, however long that takes by the clock of the bubble.
func (w *gmailWorld) settle() {
	w.Helper()
	var last error
	for range 200 {
		if last = w.eng.Sync(w.Context(), "o", w.conn.ID); last == nil {
			st, err := w.eng.Status(w.Context(), "o", w.conn.ID)
			if err != nil {
				w.Fatal(err)
			}
			if st.Completeness() == 1 && st.Connection.Wake == st.Connection.Served && !slices.ContainsFunc(st.Runs, func(r state.Run) bool { return !r.Done }) {
				return
			}
		}
		time.Sleep(time.Minute)
	}
	w.Fatalf("it does not settle: %v", last)
}

// run works as a host's process does, until the function that it returns is called.
func (w *gmailWorld) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.eng.Run(ctx) //nolint:errcheck // it ends when it is told to
	}()
	return func() {
		cancel()
		<-done
	}
}

// complete checks that the CRM has what it is to have, each mail once, with its content, and that the mailbox holds nothing else.
func (w *gmailWorld) complete() {
	w.Helper()
	got := map[string]int{}
	for _, e := range w.crm.Emails("o") {
		id := strings.TrimPrefix(e.Message.Subject, "about ") // Gmail gives what is sent a Message-ID of its own
		got[id]++
		if !strings.Contains(e.Message.Text, "this is "+id+".") || len(e.Links) == 0 || len(e.Holders) == 0 {
			w.Errorf("%s: text %q, links %v, holders %v", id, e.Message.Text, e.Links, e.Holders)
		}
		if !w.want[id] {
			w.Errorf("the CRM has %s", id)
		}
	}
	for id := range w.want {
		if got[id] != 1 {
			w.Errorf("the CRM has %s %d times", id, got[id])
		}
	}
	rep, err := w.eng.Reconcile(w.Context(), "o", w.conn.ID, provider.Window{})
	if err != nil || rep.Repaired != 0 || rep.Left != 0 || rep.Linked != rep.Delivered {
		w.Errorf("reconciling found %+v, %v", rep, err)
	}
}

func (w *gmailWorld) status() emailint.Status {
	w.Helper()
	st, err := w.eng.Status(w.Context(), "o", w.conn.ID)
	if err != nil {
		w.Fatal(err)
	}
	return st
}

func atOnce() emailint.Settings {
	s := emailint.DefaultSettings()
	s.Sync.InboundMinutes = 0
	return s
}

// The CRM's people are searched for and their mail is read; the rest of a large mailbox is listed. That costs a thirteenth of reading it all, and less.
func TestGmailPeopleFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all, with, people = 20_000, 1_000, 400
		s := emailint.DefaultSettings()
		s.Sync.ImportDays, s.Sync.PeopleFirst = -1, true
		w := newGmailWorld(t, gmailtest.Options{}, s, func(w *gmailWorld) {
			for i := range people {
				w.crm.Add("o", linker.Record{Kind: linker.Contact, ID: fmt.Sprint("c", i)}, fmt.Sprint("Contact ", i), message.Key(fmt.Sprintf("contact%d@firm%d.example", i, i%70)))
			}
			for i := range all {
				age := time.Duration(i)*time.Hour + time.Minute
				id, at := fmt.Sprint("m", i), time.Now().Add(-age)
				switch n := i / (all / with); {
				case i%(all/with) != 0:
					w.user.Deliver(letter(fmt.Sprintf("s%d@shop%d.example", i, i%900), gmailOwner, id, age), at, "INBOX")
				case n%4 == 0: // written to them
					w.want[id] = true
					w.user.Deliver(letter(gmailOwner, fmt.Sprintf("contact%d@firm%d.example", n%people, n%people%70), id, age), at, "SENT")
				default:
					w.want[id] = true
					w.user.Deliver(letter(fmt.Sprintf("contact%d@firm%d.example", n%people, n%people%70), gmailOwner, id, age), at)
				}
			}
		})
		w.srv.Forget()
		plan, err := w.eng.PlanImport(t.Context(), "o", w.conn.ID, -1)
		if err != nil || plan.Everything.Messages != all || plan.People.Messages != with || plan.Addresses != people+1 {
			t.Errorf("the plan is %+v, %v", plan, err)
		}
		planning := w.user.Units()
		w.settle()
		used := w.user.Units()
		t.Logf("%d units, %d of them for the plan; everything would be %d: %.1f %%", used, planning, all*20, 100*float64(used)/(all*20))
		if used >= all*20*8/100 {
			t.Errorf("%d units were used, of %d that reading everything costs", used, all*20)
		}
		if d := used - planning - plan.People.Units; d > used/10 {
			t.Errorf("planned were %d units, %d were used", plan.People.Units, used-planning)
		}
		f := w.status().Counts.Fates
		if f[state.FateLinked] != with || f[state.FateUnread] != all-with {
			t.Errorf("fates: %v", f)
		}
		w.complete()

		// Whom the CRM has from now on is searched for, and nothing is read twice.
		w.srv.Forget()
		late := linker.Record{Kind: linker.Contact, ID: "late"}
		w.crm.Add("o", late, "Late", "s7@shop7.example")
		if err := w.eng.RecordsChanged(t.Context(), "o", emailint.RecordChange{Kind: emailint.RecordCreated, Record: late, Addresses: []string{"s7@shop7.example"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.settle()
		w.want["m7"] = true
		if n := w.srv.Count("gmail.users.messages.get"); n != 1 {
			t.Errorf("%d messages were got for a contact with one", n)
		}
		w.complete()
	})
}

// withoutKeys does not reach Google's keys for a while.
type withoutKeys struct {
	http.RoundTripper
	down *atomic.Bool
}

func (t withoutKeys) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.down.Load() && strings.HasSuffix(r.URL.Path, "/certs") {
		return nil, errors.New("no route")
	}
	return t.RoundTripper.RoundTrip(r)
}

// Pushes are lost, come twice, late, in another order: what they told of is there all the same, at once where one came and else with the next look.
func TestGmailPushesThatGoWrong(t *testing.T) {
	var down atomic.Bool // where Google's keys are
	for name, wrong := range map[string]func(s *gmailtest.Server, i int){
		"none":              func(*gmailtest.Server, int) {},
		"every other lost":  func(s *gmailtest.Server, i int) { s.DropPushes(1 - i%2) },
		"all lost":          func(s *gmailtest.Server, _ int) { s.DropPushes(1000) },
		"repeated":          func(s *gmailtest.Server, _ int) { s.RepeatPushes(3) },
		"late":              func(s *gmailtest.Server, _ int) { s.DelayPushes(7 * time.Minute) },
		"held and reversed": func(s *gmailtest.Server, i int) { s.ReorderPushes(true); s.HoldPushes(i%10 != 9) },
		"keys unreachable":  func(_ *gmailtest.Server, i int) { down.Store(i < 20) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newGmailWorld(t, gmailtest.Options{}, atOnce(), nil, func(w *gmailWorld, o *gmail.Options) {
					o.HTTPClient = &http.Client{Transport: withoutKeys{w.srv.Transport(), &down}}
				})
				w.settle()
				defer w.run()()
				time.Sleep(time.Second)
				for i := range 40 {
					wrong(w.srv, i)
					w.deliver(fmt.Sprint("m", i), 0)
					time.Sleep([]time.Duration{0, 200 * time.Millisecond, 3 * time.Second, 30 * time.Second}[i%4])
					if name == "none" && i%4 == 3 { // long enough after the one before
						synctest.Wait()
						if n := len(w.crm.Emails("o")); n != i+1 {
							t.Errorf("30 seconds after mail %d the CRM has %d", i, n)
						}
					}
				}
				w.srv.HoldPushes(false)
				time.Sleep(6 * time.Minute) // the safety net
				synctest.Wait()
				if n := len(w.crm.Emails("o")); n != 40 {
					t.Errorf("the CRM has %d emails", n)
				}
				if name == "repeated" {
					taken := 0
					for _, n := range w.srv.Notifications() {
						taken = max(taken, n.Acked)
					}
					if taken < 2 {
						t.Error("nothing was repeated")
					}
				}
			})
		})
	}
}

// The history expires while the import goes on, and again: it is listed anew, and nothing is lost, read twice into the CRM or taken for deleted.
func TestGmailHistoryExpiresWhileImporting(t *testing.T) {
	for _, people := range []bool{false, true} {
		t.Run(fmt.Sprint("people first: ", people), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := emailint.DefaultSettings()
				s.Sync.PeopleFirst, s.OnDelete = people, emailint.ReleaseDeleted
				w := newGmailWorld(t, gmailtest.Options{PageSize: 20}, s, func(w *gmailWorld) {
					for i := range 120 {
						w.deliver(fmt.Sprint("m", i), time.Duration(i+1)*time.Hour)
						w.user.Deliver(letter("x@elsewhere.example", gmailOwner, fmt.Sprint("s", i), 0), time.Now().Add(-time.Duration(i+1)*time.Hour))
					}
				})
				// Between any two pages: mail comes, mail goes out of the inbox, and nobody remembers.
				steps := 0
				w.opts.Progress = func(string, int64) {
					if steps++; steps%4 == 0 && steps < 80 {
						id := w.deliver(fmt.Sprint("live", steps), 0)
						if steps%8 == 0 {
							w.user.Archive(id)
						}
						w.user.ExpireHistory()
					}
				}
				var err error
				if w.eng, err = emailint.New(w.opts); err != nil {
					t.Fatal(err)
				}
				w.settle()
				if steps < 16 {
					t.Errorf("%d steps", steps)
				}
				time.Sleep(25 * time.Hour) // deletions would be confirmed
				w.settle()
				w.complete()
			})
		})
	}
}

// Who withdraws the access is asked to connect again; then it goes on where it was: no second import, and what came meanwhile is there.
func TestGmailRevokedAndReconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGmailWorld(t, gmailtest.Options{}, atOnce(), func(w *gmailWorld) {
			for i := range 50 {
				w.deliver(fmt.Sprint("m", i), time.Duration(i+1)*time.Hour)
			}
		})
		w.settle()
		w.user.Revoke()
		w.deliver("meanwhile", 0)
		time.Sleep(2 * time.Hour)
		err := w.eng.Sync(t.Context(), "o", w.conn.ID)
		var action *provider.NeedsAction
		if !errors.As(err, &action) || action.Who != provider.User {
			t.Errorf("revoked: %v", err)
		}
		st := w.status()
		if st.Connection.State != state.NeedsUser || !strings.Contains(st.Connection.Reason, "connect") {
			t.Errorf("the mailbox is %s: %s", st.Connection.State, st.Connection.Reason)
		}
		w.deliver("later", 0)
		w.srv.Forget()
		if c := w.connect("u", w.conn.ID); c.ID != w.conn.ID {
			t.Fatalf("it is connection %d, was %d", c.ID, w.conn.ID)
		}
		w.settle()
		after := w.status()
		if len(after.Runs) != len(st.Runs) || after.Connection.State != state.Connected {
			t.Errorf("%d runs, %s; had %d", len(after.Runs), after.Connection.State, len(st.Runs))
		}
		// Two messages, a watch, and what tells whose mailbox it is.
		if n := w.srv.Count("gmail.users.messages.get"); n != 2 {
			t.Errorf("%d messages were got", n)
		}
		if _, until := w.user.Watched(); until.IsZero() {
			t.Error("nobody watches any more")
		}
		w.complete()
	})
}

// A mailbox that was adopted by a token of which Google did not say whose it is, is the same one when its owner consents. Where nobody asked for that, nothing is adopted.
func TestGmailAdoptedAndReconnected(t *testing.T) {
	w := newGmailWorld(t, gmailtest.Options{}, atOnce(), nil)
	names := true
	w.opts.HTTP = &http.Client{Transport: withoutName{w.srv.Transport(), &names}}
	var err error
	if w.eng, err = emailint.New(w.opts); err != nil {
		t.Fatal(err)
	}
	adopt := func(scopes ...string) (emailint.Connection, error) {
		conf := oauth2.Config{ClientID: app, ClientSecret: "app-secret", Endpoint: w.srv.Endpoint(), RedirectURL: base + "/oauth/gmail/callback", Scopes: scopes}
		verifier := oauth2.GenerateVerifier()
		back, err := w.srv.Visit(t.Context(), conf.AuthCodeURL("x", oauth2.AccessTypeOffline, oauth2.ApprovalForce, oauth2.S256ChallengeOption(verifier)))
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(back)
		if err != nil || !u.Query().Has("code") {
			t.Fatal(back, err)
		}
		tok, err := conf.Exchange(context.WithValue(t.Context(), oauth2.HTTPClient, w.srv.Client()), u.Query().Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		names = false
		defer func() { names = true }()
		return w.eng.Adopt(t.Context(), "o", emailint.Adoption{User: "v", Provider: "gmail", RefreshToken: emailint.Secret(tok.RefreshToken)})
	}
	var action *provider.NeedsAction
	if c, err := adopt(gmailtest.ScopeModify); !errors.As(err, &action) {
		t.Errorf("adopted %+v, %v", c, err)
	}
	c, err := adopt(gmailtest.ScopeModify, "openid", "email")
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []int64{0, c.ID} {
		if got := w.connect("v", again); got.ID != c.ID {
			t.Errorf("reconnecting %d: it is connection %d, was %d", again, got.ID, c.ID)
		}
	}
}

// withoutName leaves out of the token endpoint's answers whose token it is, while nothing has a name.
type withoutName struct {
	http.RoundTripper
	names *bool
}

func (n withoutName) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := n.RoundTripper.RoundTrip(r)
	if err != nil || *n.names || !strings.HasSuffix(r.URL.Path, "/token") {
		return resp, err
	}
	var told map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
		return nil, err
	}
	resp.Body.Close() //nolint:errcheck // it was read
	delete(told, "id_token")
	b, err := json.Marshal(told)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return resp, err
}

// Every tenth call to Google fails: import, live mail, rules and sending come out as if none had.
func TestGmailEveryTenthCallFails(t *testing.T) {
	for name, f := range map[string]gmailtest.Fault{"500": gmailtest.ServerError, "done and 500": gmailtest.AnswerBroken, "cut": gmailtest.Cut, "answer lost": gmailtest.AnswerLost} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := atOnce()
				s.OnDelete = emailint.ReleaseDeleted
				s.Inbox = []emailint.InboxRule{{ID: "label", On: true, Do: emailint.LabelMail, Label: "CRM/Known"}, {ID: "archive", On: true, Do: emailint.ArchiveMail}}
				w := newGmailWorld(t, gmailtest.Options{PageSize: 25}, s, func(w *gmailWorld) {
					for i := range 150 {
						w.deliver(fmt.Sprint("m", i), time.Duration(i+1)*time.Hour)
					}
				})
				w.srv.FailEvery(10, f)
				stop := w.run()
				time.Sleep(10 * time.Minute)
				live := map[string]string{}
				for i := range 20 {
					id := fmt.Sprint("live", i)
					live[id] = w.deliver(id, 0)
					if i%4 == 0 {
						key := fmt.Sprint("sent", i)
						w.want[key] = true
						if _, err := w.eng.Send(t.Context(), "o", emailint.Outgoing{Connection: w.conn.ID, Key: key, From: gmailOwner, Recipients: []string{"ada@customer.example"},
							Raw: letter(gmailOwner, "ada@customer.example", key, 0)}); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(40 * time.Second)
				}
				time.Sleep(20 * time.Minute)
				stop()
				for range 26 { // what nobody can say at once is looked up after a day
					time.Sleep(time.Hour)
					if err := w.eng.Outbox(t.Context()); err != nil {
						t.Log(err)
					}
				}
				w.srv.FailEvery(0, f)
				w.settle()
				w.complete()
				sent := map[string]int{}
				for _, m := range w.srv.Sent() {
					sent[message.ParseHeader(m.Raw).Subject]++
				}
				for i := 0; i < 20; i += 4 {
					if n := sent[fmt.Sprint("about sent", i)]; n != 1 {
						t.Errorf("mail %d was sent %d times", i, n)
					}
				}
				names := w.user.Labels()
				for id, at := range live {
					m, ok := w.user.Message(at)
					if !ok || slices.Contains(m.Labels, "INBOX") || !slices.ContainsFunc(m.Labels, func(l string) bool { return names[l] == "CRM/Known" }) {
						t.Errorf("%s has the labels %v", id, m.Labels)
					}
				}
			})
		})
	}
}
