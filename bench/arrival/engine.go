package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state/sqlite"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

const org = "bench"

// engine is emailint as a host has it: state in a file, its CRM, IMAP.
type engine struct {
	*emailint.Engine
	crm   *emailinttest.MemCRM
	conn  emailint.Connection
	inbox *inbox
	marks *marks
	waits chan struct{} // the engine is about to wait for mail
	dir   string
	store *sqlite.Store
}

func newEngine(ctx context.Context, srv *server, crmFile string) (*engine, error) {
	e := &engine{crm: emailinttest.NewMemCRM(), inbox: newInbox(), marks: &marks{}, waits: make(chan struct{}, 1)}
	if err := e.crm.LoadFile(org, crmFile); err != nil {
		return nil, err
	}
	e.crm.Add(org, linker.Record{Kind: linker.Contact, ID: "arrival"}, "Arrival", message.AddressKey(sender))
	var err error
	if e.dir, err = os.MkdirTemp("", "arrival"); err != nil {
		return nil, err
	}
	if e.store, err = sqlite.Open(ctx, filepath.Join(e.dir, "state.db")); err != nil {
		return nil, err
	}
	e.Engine, err = emailint.New(emailint.Options{
		State: markedStore{e.store, e.marks}, CRM: markedCRM{e.crm, e.marks},
		Keys: []emailint.Key{{ID: "bench", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32),
		Providers: []provider.Provider{markedProvider{imap.New(&imap.Options{TLSConfig: srv.tls}), e.marks, e.waits}},
		Saved: func(_ string, m emailint.Email) {
			e.inbox.put(m.Message.MessageID, time.Now())
			e.marks.mark("Saved")
		},
	})
	if err != nil {
		return nil, err
	}
	settings := emailint.DefaultSettings()
	settings.Sync.ImportDays, settings.Sync.InboundMinutes = -1, 0
	if _, err := e.SetSettings(ctx, org, settings, 0); err != nil {
		return nil, err
	}
	cred, err := json.Marshal(imap.Config{Host: srv.host, Port: srv.port, Username: srv.user, Password: srv.password})
	if err != nil {
		return nil, err
	}
	e.conn, err = e.Connect(ctx, org, emailint.NewConnection{User: "bench", Provider: "imap", Credential: cred})
	return e, err
}

// read imports the mailbox, which holds so many messages, and returns how long it took.
func (e *engine) read(ctx context.Context, messages int) (time.Duration, error) {
	start := time.Now()
	if err := e.Sync(ctx, org, e.conn.ID); err != nil {
		return 0, err
	}
	took := time.Since(start)
	st, err := e.Status(ctx, org, e.conn.ID)
	if err != nil {
		return 0, err
	}
	if st.Completeness() != 1 || st.Counts.Total != messages {
		return 0, fmt.Errorf("the engine read %d of %d messages, completeness %v: nothing was measured", st.Counts.Total, messages, st.Completeness())
	}
	return took, nil
}

// start runs the engine until stop, and returns when a mail that arrives is noticed by IDLE.
func (e *engine) start(ctx context.Context, in *post) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = e.Run(ctx) })
	stop = func() error {
		cancel()
		wg.Wait()
		if !errors.Is(failed, context.Canceled) {
			return fmt.Errorf("the engine ended with: %w", failed)
		}
		return nil
	}
	if err := e.Wake(ctx, org, e.conn.ID); err != nil {
		return stop, errors.Join(err, stop())
	}
	// Nobody says when IDLE is up: from when the engine is about to wait, mails are sent until one is linked at once. They are not counted.
	select {
	case <-e.waits:
	case <-time.After(patience):
		return stop, errors.Join(errors.New("the engine does not wait for mail"), stop())
	}
	for range 20 {
		m, err := in.send()
		if err != nil {
			return stop, errors.Join(err, stop())
		}
		select {
		case <-e.inbox.of(m.id):
			return stop, nil
		case <-time.After(2 * time.Second):
			fmt.Println("a mail that arrived before IDLE was up was not noticed within 2 s")
		}
	}
	return stop, errors.Join(errors.New("no mail is noticed by IDLE"), stop())
}

func (e *engine) await(id string) (time.Time, error) {
	select {
	case at := <-e.inbox.of(id):
		return at, nil
	case <-time.After(patience):
		return time.Time{}, fmt.Errorf("emailint had a mail not linked within %s", patience)
	}
}

func (e *engine) close() {
	e.store.Close()     //nolint:errcheck // the process ends
	os.RemoveAll(e.dir) //nolint:errcheck // the process ends
}
