package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/internal/failpoint"
	"github.com/intellicon/email-integration/internal/killed"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/providertest"
)

// The variables by which a process of this test binary becomes a worker: its name, the CRM's address and where the state is.
const (
	workerVar = "EMAILINT_TEST_WORKER"
	crmVar    = "EMAILINT_TEST_CRM"
	stateVar  = "EMAILINT_TEST_STATE"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(workerVar); name != "" {
		if err := workerProcess(name); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Mailboxes of the two processes. Each process has services of its own that hold the same mail.
const (
	sharedBoxes = 6
	ownMails    = 24 // of each mailbox
	commonMails = 10 // in all of them
)

var sharedStart = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func sharedName(i int) string { return fmt.Sprintf("box%d", i) }

func sharedProviders() (ps []provider.Provider) {
	for i := range sharedBoxes {
		address := sharedName(i) + "@own.example"
		f := providertest.NewFake(services[i%len(services)], provider.Profile{Address: address, Subject: address}, nil)
		f.SetPageSize(8)
		for n := range ownMails + commonMails {
			name := fmt.Sprintf("common-%d", n)
			if n >= commonMails {
				name = fmt.Sprintf("%s-%d", sharedName(i), n)
			}
			at := sharedStart.Add(time.Duration(n) * time.Minute)
			f.Deliver(mail{name: name, from: fromAda, to: "all@own.example"}.raw("", at), at, provider.RoleInbox)
		}
		ps = append(ps, failpoint.Provider(sharedName(i), failpoint.New(nil), func(ctx context.Context, _ []byte) (provider.Mailbox, error) {
			return f.Provider().Open(ctx, nil)
		}))
	}
	return ps
}

func sharedEngine(s state.Store, c emailint.CRMStore, worker string, now func() time.Time) (*emailint.Engine, error) {
	return emailint.New(emailint.Options{State: s, CRM: c, Worker: worker, Workers: 2, Lease: 2 * time.Second, Now: now, Providers: sharedProviders(),
		Keys: []emailint.Key{{ID: "test", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
}

// workerProcess runs an engine until its input ends.
func workerProcess(name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := killed.Open(ctx, os.Getenv(stateVar))
	if err != nil {
		return err
	}
	defer s.Close()
	client, err := rpc.Dial("tcp", os.Getenv(crmVar))
	if err != nil {
		return err
	}
	e, err := sharedEngine(s, &remoteCRM{MemCRM: knowsAda(), worker: name, client: client}, name, nil)
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is the signal, whatever it is
		cancel()
	}()
	if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func knowsAda() *emailinttest.MemCRM {
	c := emailinttest.NewMemCRM()
	c.Add(org, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
	return c
}

// Told is what a worker tells the CRM of an email.
type Told struct {
	Worker  string
	State   crm.EmailState
	Subject string // "" in updates
}

// remoteCRM knows contacts by itself, and emails in the process of the test.
type remoteCRM struct {
	*emailinttest.MemCRM
	worker string
	client *rpc.Client
}

func (c *remoteCRM) SaveEmails(_ context.Context, _ string, es []crm.Email) error {
	var told []Told
	for _, e := range es {
		told = append(told, Told{c.worker, e.EmailState, e.Message.Subject})
	}
	return c.tell(told)
}

func (c *remoteCRM) UpdateEmails(_ context.Context, _ string, es []crm.EmailState) error {
	var told []Told
	for _, e := range es {
		told = append(told, Told{Worker: c.worker, State: e})
	}
	return c.tell(told)
}

func (c *remoteCRM) RemoveEmails(_ context.Context, _ string, es []crm.EmailState) error {
	return c.UpdateEmails(context.Background(), org, es)
}

func (c *remoteCRM) tell(told []Told) error {
	var unknown []string
	if err := c.client.Call("CRM.Tell", told, &unknown); err != nil {
		return err
	}
	if len(unknown) == 0 {
		return nil
	}
	err := &crm.EmailsError{Failed: map[string]error{}}
	for _, id := range unknown {
		err.Failed[id] = crm.ErrUnknownEmail
	}
	return err
}

// sharedCRM is the one CRM of all processes.
type sharedCRM struct {
	mu     sync.Mutex // guards below
	emails map[string]Told
	calls  map[string]int // by worker
	want   int            // subjects

	first  map[string]chan struct{} // by worker: closed at its first call
	caught chan struct{}            // closed when the first worker is held, in a call that has taken effect
	all    chan struct{}            // closed when every mail is here
	over   chan struct{}            // closed with the test
}

// Tell is called by the processes.
func (c *sharedCRM) Tell(told []Told, unknown *[]string) error {
	c.mu.Lock()
	*unknown = []string{}
	worker := told[0].Worker
	for _, t := range told {
		had, ok := c.emails[t.State.ID]
		if t.Subject == "" {
			if !ok {
				*unknown = append(*unknown, t.State.ID)
				continue
			}
			t.Subject = had.Subject
		}
		if !ok || t.State.Revision > had.State.Revision {
			c.emails[t.State.ID] = t
		}
	}
	if c.calls[worker]++; c.calls[worker] == 1 {
		close(c.first[worker])
	}
	subjects := map[string]bool{}
	for _, t := range c.emails {
		subjects[t.Subject] = true
	}
	if len(subjects) == c.want && c.want > 0 {
		close(c.all)
		c.want = 0
	}
	held := worker == "first" && c.calls[worker] > 1
	if held && c.calls[worker] == 2 {
		close(c.caught)
	}
	c.mu.Unlock()
	if held {
		<-c.over // it is killed while it waits for the answer
	}
	return nil
}

// Two processes run over one database, one is killed in the middle of a call of the CRM, and every mail comes out once.
func TestTwoProcesses(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		twoProcesses(t, filepath.Join(t.TempDir(), "state.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url, schema := postgrestest.URL(t), postgrestest.Name()
		t.Cleanup(func() {
			pool, err := pgxpool.New(context.Background(), url)
			if err == nil {
				err = postgrestest.Drop(context.Background(), pool, schema)
				pool.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
		twoProcesses(t, url+" "+schema)
	})
}

func twoProcesses(t *testing.T, address string) {
	ctx := t.Context()
	s, err := killed.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	host := &sharedCRM{emails: map[string]Told{}, calls: map[string]int{}, want: commonMails + sharedBoxes*ownMails,
		first:  map[string]chan struct{}{"first": make(chan struct{}), "second": make(chan struct{}), "last": make(chan struct{})},
		caught: make(chan struct{}), all: make(chan struct{}), over: make(chan struct{})}
	defer close(host.over)
	e, err := sharedEngine(s, knowsAda(), "setup", nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := emailint.DefaultSettings()
	settings.Sync.ImportDays, settings.Rules.CreateContacts = -1, false
	if _, err := e.SetSettings(ctx, org, settings, 0); err != nil {
		t.Fatal(err)
	}
	for i := range sharedBoxes {
		if _, err := e.Connect(ctx, org, emailint.NewConnection{User: sharedName(i), Provider: sharedName(i), Credential: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}

	at, end, err := killed.Serve(map[string]any{"CRM": host})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	start := func(worker string) (*exec.Cmd, io.Closer) {
		t.Helper()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), workerVar+"="+worker, crmVar+"="+at, stateVar+"="+address)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // mostly it has ended
		return cmd, in
	}
	await := func(what string, c chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(2 * time.Minute):
			t.Fatalf("hangs: %s", what)
		}
	}
	first, _ := start("first")
	await("the first process saves", host.first["first"])
	second, in := start("second")
	await("the first process is in the middle of a save", host.caught)
	await("the second process saves", host.first["second"])
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait() //nolint:errcheck // it was killed
	await("every mail is saved", host.all)
	in.Close()
	if err := second.Wait(); err != nil {
		t.Fatalf("the second process: %v", err)
	}

	// What the first process left to be acknowledged is seen to when its leases are over.
	client, err := rpc.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	last, err := sharedEngine(s, &remoteCRM{MemCRM: knowsAda(), worker: "last", client: client}, "last", func() time.Time { return time.Now().Add(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	conns, err := s.Connections(ctx, org)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		if err := last.Sync(ctx, org, c.ID); err != nil {
			t.Fatal(err)
		}
		st, err := last.Status(ctx, org, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st.Completeness() != 1 || st.Counts.Total != ownMails+commonMails || st.Counts.Undelivered != 0 {
			t.Errorf("%s ends with completeness %.2f and %+v, want all of %d mails", c.User, st.Completeness(), st.Counts, ownMails+commonMails)
		}
	}
	host.mu.Lock()
	defer host.mu.Unlock()
	times := map[string]int{}
	for _, told := range host.emails {
		times[told.Subject]++
		want := 1
		if strings.HasPrefix(told.Subject, "common-") {
			want = sharedBoxes
		}
		if len(told.State.Holders) != want || len(told.State.Links) != 1 {
			t.Errorf("%s has holders %v and links %v, want %d and one", told.Subject, told.State.Holders, told.State.Links, want)
		}
	}
	for subject, n := range times {
		if n != 1 {
			t.Errorf("%s is there %d times", subject, n)
		}
	}
	if len(times) != commonMails+sharedBoxes*ownMails {
		t.Errorf("%d mails came out, want %d", len(times), commonMails+sharedBoxes*ownMails)
	}
	t.Logf("calls of the CRM: %v", host.calls)
}
