package overoutlook_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/rpc"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/internal/ident"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/internal/killed"
	"github.com/intellicon/email-integration/internal/microsoft"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/outlook"
	"github.com/intellicon/email-integration/provider/outlook/graphtest"
)

// The variables by which this test's binary becomes the process that is killed.
const (
	stateVar = "EMAILINT_KILL_STATE" // as killed.Open has it
	worldVar = "EMAILINT_KILL_WORLD" // where Graph, Entra and the CRM are: URL, auth URL, token URL, address, behind spaces
	clockVar = "EMAILINT_KILL_CLOCK" // how far the clock is ahead
)

func TestMain(m *testing.M) {
	if os.Getenv(worldVar) != "" {
		if err := life(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	killOrg  = "o"
	redirect = base + "/oauth/outlook/callback"
)

// engineOf is the same in every life.
func engineOf(st state.Store, host crm.Store, graph, auth, token string, now func() time.Time) (*emailint.Engine, error) {
	p := outlook.New(&outlook.Options{BaseURL: graph, AuthURL: auth, TokenURL: token, HTTPClient: &http.Client{}, Now: now, PageSize: 20, FullRound: time.Nanosecond, SendSettle: time.Millisecond,
		Requests: 1 << 40, UploadBytes: 1 << 50})
	return emailint.New(emailint.Options{State: st, CRM: host, BaseURL: base, Now: now, Worker: "the process", Providers: []provider.Provider{p},
		Apps: map[string]emailint.App{"outlook": {ClientID: "crm", ClientSecret: "app-secret", RedirectURI: redirect}},
		Keys: []emailint.Key{{ID: "k", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
}

// Told is what a life tells before each of its passes, and Wish what it is to do in it.
type (
	Told struct{ Repaired int }
	Wish struct {
		Send      []emailint.Outgoing // some again: a key is never sent twice
		Reconcile bool
		End       bool
	}
)

// life is the process that is killed.
func life(ctx context.Context) error {
	ahead, err := time.ParseDuration(os.Getenv(clockVar))
	if err != nil {
		return err
	}
	st, err := killed.Open(ctx, os.Getenv(stateVar))
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // every write was committed
	at := strings.Fields(os.Getenv(worldVar))
	client, err := rpc.Dial("tcp", at[3])
	if err != nil {
		return err
	}
	eng, err := engineOf(st, killed.Remote{Client: client}, at[0], at[1], at[2], func() time.Time { return time.Now().Add(ahead) })
	if err != nil {
		return err
	}
	if err := eng.TakeOver(ctx); err != nil {
		return err
	}
	conns, err := st.Connections(ctx, killOrg)
	if err != nil {
		return err
	}
	conn := conns[0].ID
	for told := (Told{}); ; {
		var wish Wish
		if err := client.Call("World.Wishes", told, &wish); err != nil || wish.End {
			return err
		}
		for _, o := range wish.Send {
			o.Connection = conn
			if _, err := eng.Send(ctx, killOrg, o); err != nil {
				return fmt.Errorf("sending: %w", err)
			}
		}
		if err := eng.Outbox(ctx); err != nil {
			return fmt.Errorf("the outbox: %w", err)
		}
		if err := eng.Sync(ctx, killOrg, conn); err != nil {
			return fmt.Errorf("a pass: %w", err)
		}
		if wish.Reconcile {
			r, err := eng.Reconcile(ctx, killOrg, conn, provider.Window{})
			if err != nil {
				return fmt.Errorf("reconciling: %w", err)
			}
			told.Repaired += r.Repaired
		}
	}
}

// killWorld is what outlives the process.
type killWorld struct {
	t    *testing.T
	srv  *graphtest.Server
	user *graphtest.User
	crm  *emailinttest.MemCRM

	deals string       // a folder
	ahead atomic.Int64 // nanoseconds

	mu       sync.Mutex // guards all below; the server is locked after it
	rand     *rand.Rand
	busy     bool // kills are still to come: more happens after each pass
	passes   int  // of this life
	linked   map[string]bool
	others   map[string]bool
	archived map[string]string // Message-IDs that rules archive, with the id of the message
	out      []emailint.Outgoing
	repaired int
	folders  int

	// The kill of this life: at which call of the CRM it comes, 0: at none; how and where, for people.
	calls, at int
	how       moment
	where     string
	kill      chan struct{}
	over      chan struct{} // closed with the test
}

// moment is when a process is killed that makes a call.
type moment int

const (
	before moment = iota // the call has no effect
	after                // it has, and no answer comes
	behind               // the answer comes, and the signal with it: it hits wherever it hits
)

func (m moment) String() string { return [...]string{"before", "after", "behind"}[m] }

// now is the clock of the world, which the server asks while it is locked.
func (w *killWorld) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// deliver brings a mail. The caller holds mu.
func (w *killWorld) deliver(links bool, folder string, at time.Time) (messageID, id string) {
	n := len(w.linked) + len(w.others)
	name := fmt.Sprint("mail", n)
	from, set := "stranger"+strconv.Itoa(n)+"@else.example", w.others
	if links {
		from, set = "ada@customer.example", w.linked
	}
	set[name+"@x.example"] = true
	return name + "@x.example", w.user.Deliver(letter(from, name, at), at, folder)
}

// Wishes is called by the process.
func (w *killWorld) Wishes(told Told, wish *Wish) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy && w.passes > 0 {
		w.happen()
	}
	if w.passes++; w.passes > 100 {
		return fmt.Errorf("after %d passes it never came to %s", w.passes, w.where)
	}
	if !w.busy || w.rand.IntN(2) == 0 { // else the kill finds other work
		wish.Send = w.out[max(0, len(w.out)-20):]
	}
	if !w.busy {
		wish.Send = w.out
		wish.Reconcile, wish.End = w.passes == 2, w.passes > 2
		w.repaired += told.Repaired
	}
	return nil
}

// happen is what happens between two passes, and between a death and the next life. The caller holds mu.
func (w *killWorld) happen() {
	now := w.now().Add(time.Second) // Graph's times are whole seconds
	id, m := w.deliver(true, "inbox", now)
	w.archived[id] = m
	w.deliver(false, "inbox", now)
	w.deliver(true, w.deals, now)
	switch w.rand.IntN(6) {
	case 0:
		w.folders++
		w.user.RenameFolder(w.deals, fmt.Sprint("Deals ", w.folders))
	case 1:
		w.user.MoveFolder(w.deals, []string{"inbox", "msgfolderroot"}[w.rand.IntN(2)])
	case 2:
		w.user.ExpireDelta("inbox")
	case 3:
		w.user.ExpireDelta(w.deals)
	case 4:
		w.user.ExpireAccess()
	}
	key := fmt.Sprint("offer", len(w.out))
	raw := fmt.Appendf(nil, "From: %s\r\nTo: ada@customer.example\r\nSubject: %s\r\nMessage-ID: <%s@acme.example>\r\nDate: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nOur offer.\r\n",
		ownerAddress, key, key, now.Format(time.RFC1123Z))
	w.out = append(w.out, emailint.Outgoing{Key: key, From: ownerAddress, Recipients: []string{"ada@customer.example"}, Raw: raw})
}

// called is around every call of the CRM.
func (w *killWorld) called(do func()) {
	w.mu.Lock()
	w.calls++
	hit, how, life := w.calls == w.at, w.how, w.kill
	w.mu.Unlock()
	if !hit || how != before {
		do()
	}
	if hit {
		shoot(life)
		if how != behind {
			<-w.over // nobody waits for the answer any more
		}
	}
}

// shoot kills the life of that channel. One that is dead by now is no other's concern.
func shoot(life chan struct{}) {
	select {
	case life <- struct{}{}:
	default: // it is on its way
	}
}

// arm chooses the kill of the next life, while kills are still to come.
func (w *killWorld) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kill, w.calls, w.at, w.passes = make(chan struct{}, 1), 0, 0, 0
	w.ahead.Add(int64(11 * time.Minute)) // what the last one was in the middle of is looked after
	if !w.busy {
		return
	}
	w.happen()
	w.how = moment(w.rand.IntN(3))
	life := w.kill
	f := graphtest.Fault{Reached: func() { shoot(life) }, After: w.how != before}
	if w.how != behind {
		f.Wait = w.over
	}
	switch w.rand.IntN(3) {
	case 0: // at the Nth request
		w.where = "a request"
		w.srv.FailEvery(1+w.rand.IntN([]int{15, 60}[w.rand.IntN(2)]), f)
	case 1: // at one that changes something, which each pass has
		m := []string{"messages.create", "messages.send", "messages.move", "messages.update"}[w.rand.IntN(4)]
		w.where = m
		w.srv.Fail(m, 1, f)
	case 2:
		w.where = "a call of the CRM"
		w.at = 1 + w.rand.IntN(8)
	}
}

func (w *killWorld) disarm() {
	w.srv.Calm()
	w.mu.Lock()
	w.at = 0
	w.mu.Unlock()
}

// A process is killed with SIGKILL at its Nth request to Graph, or call of the CRM, and started again, while it imports, follows, archives, labels and sends; meanwhile folders are renamed and
// moved, delta links and tokens expire. Then the account is right: every mail has one row, is in the CRM once where it belongs and nowhere else, was sent once, archived once, labelled once.
// EMAILINT_KILLS is how many kills there are, and EMAILINT_KILL_SEED which.
func TestKilled(t *testing.T) {
	number := func(name string, otherwise int) int {
		if v := os.Getenv(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		return otherwise
	}
	kills, seed := number("EMAILINT_KILLS", 30), number("EMAILINT_KILL_SEED", 1)
	t.Run("sqlite", func(t *testing.T) { killAgainAndAgain(t, filepath.Join(t.TempDir(), "state.db"), kills, seed) })
	t.Run("postgres", func(t *testing.T) {
		at, schema := postgrestest.URL(t), postgrestest.Name()
		t.Cleanup(func() {
			pool, err := pgxpool.New(context.Background(), at)
			if err == nil {
				err = postgrestest.Drop(context.Background(), pool, schema)
				pool.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
		killAgainAndAgain(t, at+" "+schema, kills, seed)
	})
}

func killAgainAndAgain(t *testing.T, address string, kills, seed int) {
	mails := 8 * kills // so that the import takes a good part of the lives
	w := &killWorld{t: t, rand: rand.New(rand.NewPCG(uint64(seed), 8)), crm: emailinttest.NewMemCRM(), busy: true, over: make(chan struct{}),
		linked: map[string]bool{}, others: map[string]bool{}, archived: map[string]string{}}
	w.crm.Add(killOrg, linker.Record{Kind: linker.Contact, ID: "ada"}, "Ada", "ada@customer.example")
	w.srv = graphtest.New(graphtest.Options{Now: w.now, Requests: -1, Concurrency: -1, UploadBytes: -1, SendsPerMinute: -1, Spec: microsoft.Spec()})
	graph, end := w.srv.Listen()
	defer end()
	defer close(w.over)
	w.user = w.srv.AddUser(ownerAddress)
	w.deals = w.user.Folder("Deals")
	w.user.Folder("Deals/Won")
	at, close, err := killed.Serve(map[string]any{"CRM": &killed.CRM{Store: w.crm, Called: w.called}, "World": w})
	if err != nil {
		t.Fatal(err)
	}
	defer close()
	for i := range mails {
		w.deliver(i%3 == 0, []string{"inbox", w.deals, "sentitems"}[i%3], time.Now().Add(-time.Duration(i+1)*time.Minute))
	}
	login := w.srv.Endpoint("common")
	conn := w.connect(t, address, graph, login.AuthURL, login.TokenURL)

	var tally killed.Tally
	hit := map[string]int{}
	run := func() bool {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), stateVar+"="+address, worldVar+"="+strings.Join([]string{graph, login.AuthURL, login.TokenURL, at}, " "), clockVar+"="+time.Duration(w.ahead.Load()).String())
		var said strings.Builder
		cmd.Stderr = &said
		dead, err := killed.Run(cmd, w.kill)
		if err != nil {
			t.Fatalf("a life that was not killed: %v: %s", err, said.String())
		}
		return dead
	}
	for n := range kills {
		w.arm()
		if !run() {
			t.Fatalf("life %d ended by itself, though there is more to come", n)
		}
		w.disarm()
		hit[w.how.String()+" "+w.where]++
		l, err := look(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		tally.Add(l)
	}
	w.mu.Lock()
	w.busy = false
	w.mu.Unlock()
	for range 4 { // what waits for a while is done then
		w.arm()
		if run() {
			t.Fatal("it was killed by nobody")
		}
	}
	w.account(t, address, conn)
	microsoft.Check(t, w.srv)
	t.Logf("%s; they came %v; %d requests; %d mails, %d of them in the CRM, %d archived, %d sent", &tally, hit, len(w.srv.Calls()), len(w.linked)+len(w.others), len(w.linked), len(w.archived), len(w.out))
	if tally.Working < kills/3 || len(w.archived) < kills || len(w.out) < kills {
		t.Error("that is no measure")
	}
}

// look looks at what a dead process left.
func look(ctx context.Context, address string) (killed.Life, error) {
	if !strings.Contains(address, " ") {
		return killed.LookAtFile(ctx, address)
	}
	st, err := killed.Open(ctx, address)
	if err != nil {
		return killed.Life{}, err
	}
	defer st.Close() //nolint:errcheck // nothing was written
	return killed.Look(ctx, st)
}

// connect signs in, and sets the organisation up.
func (w *killWorld) connect(t *testing.T, address, graph, auth, token string) int64 {
	st, err := killed.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	eng, err := engineOf(st, w.crm, graph, auth, token, w.now)
	if err != nil {
		t.Fatal(err)
	}
	s := emailint.DefaultSettings()
	s.Sync.ImportDays, s.Rules.CreateContacts = 30, false
	s.Inbox = []emailint.InboxRule{{ID: "label", On: true, Do: emailint.LabelMail, Label: "Customers"}, {ID: "archive", On: true, Do: emailint.ArchiveMail}}
	if _, err := eng.SetSettings(t.Context(), killOrg, s, 0); err != nil {
		t.Fatal(err)
	}
	w.srv.Register(graphtest.App{ID: "crm", Secret: "app-secret", Redirects: []string{redirect}})
	w.srv.AllowApp(w.user.Tenant, "crm", "Mail.ReadWrite", "Mail.Send", "MailboxSettings.Read", "User.Read")
	session := emailint.Session{ID: "session", Org: killOrg, User: "u"}
	to, err := eng.Consent(t.Context(), emailint.ConsentRequest{Session: session, Provider: "outlook"})
	if err != nil {
		t.Fatal(err)
	}
	back, err := w.srv.Visit(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := eng.Finish(t.Context(), emailint.Return{Session: session, Provider: "outlook", Query: u.Query()})
	if err != nil {
		t.Fatal(err)
	}
	return conn.ID
}

// account compares what came of everything with what must have.
func (w *killWorld) account(t *testing.T, address string, conn int64) {
	t.Helper()
	ctx := t.Context()
	st, err := killed.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close() //nolint:errcheck // nothing was written
	hasher, err := ident.New(make([]byte, 32), killOrg)
	if err != nil {
		t.Fatal(err)
	}
	// The ledger: a row for each mail, decided.
	rows := map[state.Hash]int{}
	for after := int64(0); ; {
		rs, err := st.Items(ctx, killOrg, conn, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(rs) == 0 {
			break
		}
		for _, r := range rs {
			after = r.ID
			if r.Left || r.Due > r.Settled || r.Undelivered {
				t.Errorf("a row is not as it should be: %+v", r)
			}
			rows[r.MessageID]++
		}
	}
	saved := map[string]int{}
	for _, e := range w.crm.Emails(killOrg) {
		if len(e.Links) > 0 && e.Survivor == "" {
			saved[e.Message.MessageID]++
		}
	}
	want := 0
	once := func(id string, crm int) {
		want++
		if n := rows[state.Hash(hasher.MessageID(id))]; n != 1 {
			t.Errorf("%s has %d rows", id, n)
		}
		if saved[id] != crm {
			t.Errorf("%s is %d times in the CRM, want %d", id, saved[id], crm)
		}
	}
	for id := range w.linked {
		once(id, 1)
	}
	for id := range w.others {
		once(id, 0)
	}
	for _, o := range w.out {
		once(o.Key+"@acme.example", 1)
	}
	total := 0
	for _, n := range rows {
		total += n
	}
	if total != want {
		t.Errorf("the ledger has %d rows of %d mails", total, want)
	}
	// What was sent.
	sent := map[string]int{}
	for _, s := range w.srv.Sent() {
		sent[message.ParseHeader(s.Raw).Subject]++
	}
	for _, o := range w.out {
		x, err := st.OutboxGet(ctx, killOrg, o.Key)
		if err != nil || x.State != state.OutSent || sent[o.Key] != 1 {
			t.Errorf("%s was sent %d times, and is %s: %v", o.Key, sent[o.Key], x.State, err)
		}
	}
	if len(sent) != len(w.out) {
		t.Errorf("%d mails were sent, want %d", len(sent), len(w.out))
	}
	// What rules of the inbox did.
	moved, changed := map[string]int{}, map[string]int{}
	for _, c := range w.srv.Calls() {
		id := strings.TrimSuffix(c.Path[strings.LastIndex(strings.TrimSuffix(c.Path, "/move"), "/")+1:], "/move")
		if id, err = url.PathUnescape(id); err != nil {
			t.Fatal(err)
		}
		switch {
		case c.Method == "messages.move" && c.Status == http.StatusCreated:
			moved[id]++
		case c.Method == "messages.update" && c.Status == http.StatusOK:
			changed[id]++
		}
	}
	for mid, id := range w.archived {
		m, ok := w.user.Message(id)
		if !ok || m.Path != "Archive" || len(m.Categories) != 1 || moved[id] != 1 || changed[id] != 1 {
			t.Errorf("%s lies in %q with %v: moved %d times, labelled %d times", mid, m.Path, m.Categories, moved[id], changed[id])
		}
	}
	if len(moved) != len(w.archived) || len(changed) != len(w.archived) {
		t.Errorf("%d mails were moved and %d labelled, want %d", len(moved), len(changed), len(w.archived))
	}
	if w.repaired != 0 {
		t.Errorf("the reconciler found %d mails that had no row", w.repaired)
	}
}
