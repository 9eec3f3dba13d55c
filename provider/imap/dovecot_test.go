package imap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

// dovecot returns how to reach the server that .ci/dovecot/start started, and a client to set it up with.
func dovecot(t *testing.T) (imap.Config, *imapclient.Client) {
	t.Helper()
	addr := os.Getenv("EMAILINT_DOVECOT")
	if addr == "" {
		t.Skip(`needs a Dovecot: eval "$(.ci/dovecot/start)" && go test ./provider/imap; .ci/dovecot/stop`)
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(os.Getenv("EMAILINT_DOVECOT_CA"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	tc := &tls.Config{RootCAs: roots, ServerName: host}
	c := imap.Config{Host: host, Port: port, Username: os.Getenv("EMAILINT_DOVECOT_USER"),
		Password: os.Getenv("EMAILINT_DOVECOT_PASSWORD"), Security: imap.StartTLS, TLSConfig: tc}
	client, err := imapclient.DialStartTLS(addr, &imapclient.Options{TLSConfig: tc})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Login(c.Username, c.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c, client
}

func put(t *testing.T, c *imapclient.Client, folder string, at time.Time, raw string) {
	t.Helper()
	cmd := c.Append(folder, int64(len(raw)), &goimap.AppendOptions{Time: at})
	if _, err := cmd.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestDovecot(t *testing.T) {
	cfg, admin := dovecot(t)
	cfg.PageSize = 7
	// A folder of this run's own, so that the test can be run again on the same server.
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	folder := "Kunden/Müller & Söhne " + run
	if err := admin.Create(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Delete(folder).Wait() }) //nolint:errcheck // the server is thrown away
	credential, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	box, err := imap.New(&imap.Options{TLSConfig: cfg.TLSConfig, PageSize: 7}).Open(t.Context(), credential)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	m := box.(*imap.Mailbox)
	start, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(time.Second)
	for i := range 30 {
		put(t, admin, folder, at.Add(-time.Duration(i*7%30)*24*time.Hour), mail(fmt.Sprintf("%s-%02d", run, i*7%30)))
	}
	put(t, admin, "Ausgang", at, mail(run+"-sent"))
	put(t, admin, "Rubbish", at, mail(run+"-rubbish"))
	put(t, admin, folder, at, "From: \xff <a@b\r\nSubject: "+run+"-odd\r\nno colon\r\n\r\nbody")

	drain := func(cur provider.Cursor) (got, restarts []string, sent int, last provider.Cursor) {
		for {
			p, err := m.Changes(t.Context(), cur)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range p.Items {
				if it.Err != nil {
					t.Error(it.Err)
				}
				if it.Envelope.Sent {
					sent++
				}
				got = append(got, it.Envelope.Subject)
			}
			for _, f := range p.Restart {
				restarts = append(restarts, f.ID)
			}
			cur = p.Next
			if !p.More {
				return got, restarts, sent, cur
			}
		}
	}
	got, _, sent, cur := drain(start)
	if len(got) != 32 || sent != 1 || slices.Contains(got, run+"-rubbish") {
		t.Errorf("changes: %d items, %d sent: %v", len(got), sent, got)
	}

	var order []string
	var hist provider.Cursor
	window := provider.Window{From: at.Add(-29 * 24 * time.Hour), To: at.Add(time.Hour)}
	for {
		p, err := m.History(t.Context(), window, hist)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			if it.Folders[0].ID == folder && !strings.HasSuffix(it.Envelope.Subject, "odd") {
				order = append(order, it.Envelope.Subject)
			}
		}
		hist = p.Next
		if !p.More {
			break
		}
	}
	if len(order) != 30 || !slices.IsSorted(order) {
		t.Errorf("history should be newest first and whole: %v", order)
	}

	ids, err := m.Locate(t.Context(), run+"-05@example.org")
	if err != nil || len(ids) != 1 {
		t.Fatalf("located %v, %v", ids, err)
	}
	if msg, err := m.Content(t.Context(), ids[0].ID); err != nil || !strings.Contains(msg.Text, run+"-05") {
		t.Errorf("content: %v", err)
	}
	sel, err := admin.Select(folder, &goimap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil || sel.NumMessages != 31 {
		t.Fatal(err)
	}
	unseen, err := admin.UIDSearch(&goimap.SearchCriteria{NotFlag: []goimap.Flag{goimap.FlagSeen}}, nil).Wait()
	if err != nil || len(unseen.AllUIDs()) != 31 {
		t.Errorf("reading should leave everything unseen: %d of 31, %v", len(unseen.AllUIDs()), err)
	}
	if err := admin.Unselect().Wait(); err != nil {
		t.Fatal(err)
	}

	// A folder made anew has another UIDVALIDITY. It is a time in seconds: the folder is made until it differs.
	validity := func() uint32 {
		t.Helper()
		d, err := admin.Status(folder, &goimap.StatusOptions{UIDValidity: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return d.UIDValidity
	}
	for before := validity(); validity() == before; {
		if err := admin.Delete(folder).Wait(); err != nil {
			t.Fatal(err)
		}
		if err := admin.Create(folder, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	put(t, admin, folder, at, mail(run+"-again"))
	got, restarts, _, _ := drain(cur)
	if !slices.Equal(restarts, []string{folder}) || !slices.Contains(got, run+"-again") {
		t.Errorf("after renumbering: restarts %v, items %v", restarts, got)
	}
	if _, err := m.Content(t.Context(), ids[0].ID); !errors.Is(err, provider.ErrGone) {
		t.Errorf("an id from before: %v, want ErrGone", err)
	}
}

func TestDovecotRefuses(t *testing.T) {
	cfg, _ := dovecot(t)
	bad := cfg
	bad.Password = "wrong"
	if _, err := imap.Dial(t.Context(), bad); kind(err) != "sign-in refused" {
		t.Errorf("wrong password: %v", err)
	}
	var ce *imap.ConnectError
	bad = cfg
	bad.TLSConfig = nil
	if _, err := imap.Dial(t.Context(), bad); !errors.As(err, &ce) || !strings.Contains(err.Error(), "signed by nobody") {
		t.Errorf("unknown CA: %v", err)
	}
	bad = cfg
	bad.TLSConfig = cfg.TLSConfig.Clone()
	bad.TLSConfig.ServerName = "mail.example.com"
	if _, err := imap.Dial(t.Context(), bad); !errors.As(err, &ce) || !strings.Contains(err.Error(), "not made out to") {
		t.Errorf("another host's certificate: %v", err)
	}
	for _, how := range []imap.Auth{imap.Plain, imap.Login} {
		good := cfg
		good.Auth, good.Security = how, imap.TLS
		if _, p, err := net.SplitHostPort(os.Getenv("EMAILINT_DOVECOT_TLS")); err == nil {
			good.Port, _ = strconv.Atoi(p)
		}
		m, err := imap.Dial(t.Context(), good)
		if err != nil {
			t.Errorf("%s over TLS: %v", how, err)
			continue
		}
		m.Close()
	}
}

// tap is a server in clear text before Dovecot's TLS, which sees what goes by. It returns how to reach it.
func tap(t *testing.T, cfg imap.Config, seen func(line string)) imap.Config {
	t.Helper()
	cfg.Security = imap.Insecure
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := tls.Dialer{Config: cfg.TLSConfig}
		c, err := d.DialContext(ctx, network, os.Getenv("EMAILINT_DOVECOT_TLS"))
		if err != nil {
			return nil, err
		}
		return &tapped{Conn: c, seen: seen}, nil
	}
	return cfg
}

type tapped struct {
	net.Conn
	seen func(line string)
	line []byte
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.line = append(c.line, b[:n]...)
	for {
		i := bytes.IndexByte(c.line, '\n')
		if i < 0 {
			return n, err
		}
		c.seen(strings.TrimSpace(string(c.line[:i])))
		c.line = c.line[i+1:]
	}
}

func TestDovecotIdle(t *testing.T) {
	cfg, admin := dovecot(t)
	idling := make(chan struct{}, 10)
	m, err := imap.Dial(t.Context(), tap(t, cfg, func(line string) {
		if strings.HasPrefix(line, "+ idling") {
			idling <- struct{}{}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cur, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changes := func() provider.Page {
		t.Helper()
		p, err := m.Changes(t.Context(), cur)
		if err != nil {
			t.Fatal(err)
		}
		cur = p.Next
		return p
	}
	changes()
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	done := make(chan error, 1)
	wait := func() { done <- m.Wait(t.Context()) }

	go wait()
	<-idling
	put(t, admin, "INBOX", time.Now(), mail(run))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p := changes(); subjects(p.Items) != run || len(p.Recount) != 0 {
		t.Errorf("mail came while idling: %q, recounts %v", subjects(p.Items), p.Recount)
	}

	go wait()
	<-idling
	if _, err := admin.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := admin.UIDSearch(&goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Subject", Value: run}}}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Store(found.All, &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p := changes(); len(p.Items) != 0 || len(p.Recount) != 1 || p.Recount[0].ID != "INBOX" {
		t.Errorf("mail went while idling: %q, recounts %v", subjects(p.Items), p.Recount)
	}

	// What came before is seen without IDLE.
	put(t, admin, "INBOX", time.Now(), mail(run+"-2"))
	if err := m.Wait(t.Context()); err != nil || len(idling) != 0 {
		t.Errorf("mail came before the wait: %v, %d IDLEs", err, len(idling))
	}
}
