package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/state"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/emailint/state/sqlite" // registers the driver that the CRM uses, too
	"github.com/intellicon/email-integration/examples/sqlstore"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/provider"
	"github.com/intellicon/email-integration/provider/imap"
)

const org = "bench"

// engine imports the mailbox as a host does, with everything on: the ledger in a file, a SQL CRM in another, every mail's header read and
// decided, the content of what links fetched and saved.
func engine(ctx context.Context, j job) (r result, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(j.Dir, "crm.db")+
		"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return r, err
	}
	defer db.Close()
	crm, err := sqlstore.New(ctx, db, sqlstore.SQLite)
	if err != nil {
		return r, err
	}
	if err := addPeople(ctx, db, newWorld(j.N, j.Seed).people, j.All); err != nil {
		return r, err
	}
	conf, err := j.Server.tls()
	if err != nil {
		return r, err
	}
	st, err := openState(ctx, j)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	e, err := emailint.New(emailint.Options{State: st, CRM: crm, Providers: []provider.Provider{imap.New(&imap.Options{TLSConfig: conf})},
		Keys: []emailint.Key{{ID: "bench", Secret: make([]byte, 32)}}, IndexKey: make([]byte, 32)})
	if err != nil {
		return r, err
	}
	settings := emailint.DefaultSettings()
	settings.Sync.ImportDays = -1
	if _, err := e.SetSettings(ctx, org, settings, 0); err != nil {
		return r, err
	}
	cred, err := json.Marshal(imap.Config{Host: j.Server.Host, Port: j.Server.Port, Username: j.Server.User, Password: j.Server.Password, Address: owner})
	if err != nil {
		return r, err
	}
	conn, err := e.Connect(ctx, org, emailint.NewConnection{User: "bench", Provider: "imap", Credential: cred})
	if err != nil {
		return r, err
	}
	stop, err := j.Profile.start()
	if err != nil {
		return r, err
	}
	held := watchGo()
	r, err = timed(func() error { return e.Sync(ctx, org, conn.ID) })
	r.GoMB = held()
	if err := errors.Join(err, stop()); err != nil {
		return r, err
	}
	return r, account(ctx, e, st, conn.ID, db, &r)
}

// openState opens a new state, in a schema of its own where it is in PostgreSQL.
func openState(ctx context.Context, j job) (state.Store, error) {
	if j.State == "" {
		return sqlite.Open(ctx, filepath.Join(j.Dir, "state.db"))
	}
	db, err := postgrestest.Connect(ctx, j.State, 0, nil)
	if err != nil {
		return nil, err
	}
	return db.Open(ctx) // the pool ends with the process
}

// account counts what has become of the mails: one that is listed, decided and, where it links, in the CRM is accounted for.
func account(ctx context.Context, e *emailint.Engine, st state.Store, conn int64, db *sql.DB, r *result) error {
	s, err := e.Status(ctx, org, conn)
	if err != nil {
		return err
	}
	c := s.Counts
	r.Linked = c.Fates[state.FateLinked]
	r.Mails = c.Total - c.Due - c.Undelivered - c.Fates[state.FateFailed] - c.Left
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM email WHERE NOT removed AND body || html || subject <> ''`).Scan(&r.Saved); err != nil {
		return err
	}
	// Two copies of a mail are one email, and the CRM has each. What it acknowledged proves nothing: it is looked at.
	emails := map[int64]bool{}
	for after := int64(0); ; {
		rows, err := st.Items(ctx, org, conn, after, 1000)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			if after = row.ID; row.Fate == state.FateLinked {
				emails[row.Email] = true
			}
		}
	}
	var has, unlinked int
	if err := db.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE id NOT IN (SELECT email FROM email_link)) FROM email WHERE NOT removed`).
		Scan(&has, &unlinked); err != nil {
		return err
	}
	if has != len(emails) || unlinked > 0 {
		return fmt.Errorf("the CRM has %d of %d emails, %d of them without links", has, len(emails), unlinked)
	}
	r.Note = fmt.Sprintf("%d link, %d emails saved", r.Linked, r.Saved)
	return nil
}

// addPeople fills the CRM: a contact for each known person, or for everybody, and an account for the domain.
func addPeople(ctx context.Context, db *sql.DB, people []person, all bool) error {
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback() //nolint:errcheck // after the commit it does nothing
	for i, p := range people {
		if !p.known && !all {
			continue
		}
		id, k := fmt.Sprint("p", i), p.key()
		_, err1 := t.ExecContext(ctx, `INSERT INTO record (org, kind, id, name) VALUES ($1, $2, $3, $4)`, org, linker.Contact, id, p.name)
		_, err2 := t.ExecContext(ctx, `INSERT INTO address VALUES ($1, $2, $3, $4)`, org, k, linker.Contact, id)
		_, err3 := t.ExecContext(ctx, `INSERT INTO record (org, kind, id, name) VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING`, org, linker.Account, k.Domain())
		_, err4 := t.ExecContext(ctx, `INSERT INTO address VALUES ($1, $2, $3, $2) ON CONFLICT DO NOTHING`, org, k.Domain(), linker.Account)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
	}
	return t.Commit()
}

func (p profile) start() (stop func() error, err error) {
	var cpu *os.File
	if p.CPU != "" {
		if cpu, err = os.Create(p.CPU); err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, err
		}
	}
	if p.Mem != "" {
		runtime.MemProfileRate = 64 << 10
	}
	return func() error {
		if cpu != nil {
			pprof.StopCPUProfile()
			if err := cpu.Close(); err != nil {
				return err
			}
		}
		if p.Mem == "" {
			return nil
		}
		mem, err := os.Create(p.Mem)
		if err != nil {
			return err
		}
		return errors.Join(pprof.Lookup("allocs").WriteTo(mem, 0), mem.Close())
	}, nil
}

// watchGo looks at what Go's own memory measures until the answer is asked for. SQLite's caches are not in it.
func watchGo() (peak func() (mb float64)) {
	done, most := make(chan struct{}), make(chan float64)
	go func() {
		s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		m := 0.0
		for {
			metrics.Read(s)
			m = max(m, float64(s[0].Value.Uint64()-s[1].Value.Uint64())/1e6)
			select {
			case <-tick.C:
			case <-done:
				most <- m
				return
			}
		}
	}()
	return func() float64 { close(done); return <-most }
}
