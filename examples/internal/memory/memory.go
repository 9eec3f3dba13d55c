// Package memory keeps what an example has beside the engine's state, its CRM above all, in the same SQLite file, so that a run that was killed goes on
// where it stopped.
package memory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/linker"
)

// Memory is a CRM, a journal of calls that is replayed at the start, and the embedded mailbox. It is an emailint.CRMStore and AddressLister.
type Memory struct {
	Path string // of the file
	CRM  *emailinttest.MemCRM
	db   *sql.DB
	dir  string // to be removed in the end, or ""
	org  string
}

// CRM is the CRM of one organisation: the records of a file, without one those of the embedded world (own), or none.
func CRM(org, file string, own bool) (crm *emailinttest.MemCRM, err error) {
	crm = emailinttest.NewMemCRM()
	switch {
	case file != "":
		err = crm.LoadFile(org, file)
	case own:
		err = crm.Load(org, []byte(mailworld.CRM))
	}
	return crm, err
}

// Open opens the file, and replays what it has into the CRM of one organisation. "" is a file that goes with Close.
func Open(ctx context.Context, path, org string, crm *emailinttest.MemCRM) (m *Memory, err error) {
	dir := ""
	if path == "" {
		if dir, err = os.MkdirTemp("", "emailint-example"); err != nil {
			return nil, err
		}
		path = filepath.Join(dir, "state.db")
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	m = &Memory{path, crm, db, dir, org}
	for _, q := range []string{
		`CREATE TABLE IF NOT EXISTS demo_crm (id INTEGER PRIMARY KEY, call TEXT NOT NULL, args BLOB NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS demo_mail (id INTEGER PRIMARY KEY, folder TEXT NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS demo_world (key TEXT PRIMARY KEY, value TEXT NOT NULL)`,
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), m.Close())
		}
	}
	if err := m.replay(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the CRM in %s: %w", path, err), m.Close())
	}
	return m, nil
}

// Close closes the file. The engine's state in it is closed before.
func (m *Memory) Close() error {
	err := m.db.Close()
	if m.dir != "" {
		err = errors.Join(err, os.RemoveAll(m.dir))
	}
	return err
}

// Value returns what is stored under key, storing fresh the first time.
func (m *Memory) Value(ctx context.Context, key, fresh string) (string, error) {
	if _, err := m.db.ExecContext(ctx, `INSERT INTO demo_world VALUES (?, ?) ON CONFLICT DO NOTHING`, key, fresh); err != nil {
		return "", err
	}
	var v string
	err := m.db.QueryRowContext(ctx, `SELECT value FROM demo_world WHERE key = ?`, key).Scan(&v)
	return v, err
}

// Keep stores a mail that arrived while the demo ran.
func (m *Memory) Keep(mail mailworld.Mail) error {
	_, err := m.db.Exec(`INSERT INTO demo_mail (folder, at, raw) VALUES (?, ?, ?)`, mail.Folder, mail.At.UnixNano(), mail.Raw)
	return err
}

// Mails returns what Keep stored.
func (m *Memory) Mails(ctx context.Context) ([]mailworld.Mail, error) {
	rows, err := m.db.QueryContext(ctx, `SELECT folder, at, raw FROM demo_mail ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []mailworld.Mail
	for rows.Next() {
		var mail mailworld.Mail
		var at int64
		if err := rows.Scan(&mail.Folder, &at, &mail.Raw); err != nil {
			return nil, err
		}
		mail.At = time.Unix(0, at)
		out = append(out, mail)
	}
	return out, rows.Err()
}

func (m *Memory) replay(ctx context.Context) error {
	rows, err := m.db.QueryContext(ctx, `SELECT call, args FROM demo_crm ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var call string
		var args []byte
		if err := rows.Scan(&call, &args); err != nil {
			return err
		}
		if err := m.apply(ctx, call, args); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (m *Memory) apply(ctx context.Context, call string, args []byte) error {
	switch call {
	case "create":
		var cs []emailint.NewContact
		if err := json.Unmarshal(args, &cs); err != nil {
			return err
		}
		_, err := m.CRM.CreateContacts(ctx, m.org, cs)
		return err
	case "save":
		var es []emailint.Email
		if err := json.Unmarshal(args, &es); err != nil {
			return err
		}
		return m.CRM.SaveEmails(ctx, m.org, es)
	case "update":
		var es []emailint.EmailState
		if err := json.Unmarshal(args, &es); err != nil {
			return err
		}
		return m.CRM.UpdateEmails(ctx, m.org, es)
	}
	return fmt.Errorf("unknown call %q", call)
}

func (m *Memory) journal(ctx context.Context, call string, args any) error {
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	_, err = m.db.ExecContext(ctx, `INSERT INTO demo_crm (call, args) VALUES (?, ?)`, call, b)
	return err
}

// Find implements emailint.CRMStore.
func (m *Memory) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	return m.CRM.Find(ctx, org, q)
}

// CreateContacts implements emailint.CRMStore.
func (m *Memory) CreateContacts(ctx context.Context, org string, cs []emailint.NewContact) ([]linker.Record, error) {
	if err := m.journal(ctx, "create", cs); err != nil {
		return nil, err
	}
	return m.CRM.CreateContacts(ctx, org, cs)
}

// SaveEmails implements emailint.CRMStore.
func (m *Memory) SaveEmails(ctx context.Context, org string, es []emailint.Email) error {
	if err := m.journal(ctx, "save", es); err != nil {
		return err
	}
	return m.CRM.SaveEmails(ctx, org, es)
}

// UpdateEmails implements emailint.CRMStore.
func (m *Memory) UpdateEmails(ctx context.Context, org string, es []emailint.EmailState) error {
	if err := m.journal(ctx, "update", es); err != nil {
		return err
	}
	return m.CRM.UpdateEmails(ctx, org, es)
}

// Addresses implements emailint.AddressLister.
func (m *Memory) Addresses(ctx context.Context, org, after string, limit int) (who []string, next string, more bool, err error) {
	return m.CRM.Addresses(ctx, org, after, limit)
}
