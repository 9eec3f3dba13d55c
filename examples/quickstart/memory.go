package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/internal/mailworld"
	"github.com/intellicon/email-integration/linker"
)

// memory keeps the CRM and the embedded mailbox in the same SQLite file as the engine's state, so that a run that was killed
// goes on where it stopped. The CRM is a journal of calls, replayed at the start.
type memory struct {
	db  *sql.DB
	crm *emailinttest.MemCRM
}

const organisation = "demo"

func openMemory(ctx context.Context, path string, crm *emailinttest.MemCRM) (*memory, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	m := &memory{db, crm}
	for _, q := range []string{
		`CREATE TABLE IF NOT EXISTS demo_crm (id INTEGER PRIMARY KEY, call TEXT NOT NULL, args BLOB NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS demo_mail (id INTEGER PRIMARY KEY, folder TEXT NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS demo_world (key TEXT PRIMARY KEY, value TEXT NOT NULL)`,
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			db.Close()
			return nil, fmt.Errorf("opening %s: %w", path, err)
		}
	}
	if err := m.replay(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("reading the CRM in %s: %w", path, err)
	}
	return m, nil
}

// value returns what is stored under key, storing fresh the first time.
func (m *memory) value(ctx context.Context, key, fresh string) (string, error) {
	if _, err := m.db.ExecContext(ctx, `INSERT INTO demo_world VALUES (?, ?) ON CONFLICT DO NOTHING`, key, fresh); err != nil {
		return "", err
	}
	var v string
	err := m.db.QueryRowContext(ctx, `SELECT value FROM demo_world WHERE key = ?`, key).Scan(&v)
	return v, err
}

// keep stores a mail that arrived while the demo ran.
func (m *memory) keep(mail mailworld.Mail) error {
	_, err := m.db.Exec(`INSERT INTO demo_mail (folder, at, raw) VALUES (?, ?, ?)`, mail.Folder, mail.At.UnixNano(), mail.Raw)
	return err
}

func (m *memory) mails(ctx context.Context) ([]mailworld.Mail, error) {
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

func (m *memory) replay(ctx context.Context) error {
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

func (m *memory) apply(ctx context.Context, call string, args []byte) error {
	switch call {
	case "create":
		var cs []emailint.NewContact
		if err := json.Unmarshal(args, &cs); err != nil {
			return err
		}
		_, err := m.crm.CreateContacts(ctx, organisation, cs)
		return err
	case "save":
		var es []emailint.Email
		if err := json.Unmarshal(args, &es); err != nil {
			return err
		}
		return m.crm.SaveEmails(ctx, organisation, es)
	case "update":
		var es []emailint.EmailState
		if err := json.Unmarshal(args, &es); err != nil {
			return err
		}
		return m.crm.UpdateEmails(ctx, organisation, es)
	}
	return fmt.Errorf("unknown call %q", call)
}

func (m *memory) journal(ctx context.Context, call string, args any) error {
	b, err := json.Marshal(args)
	if err != nil {
		return err
	}
	_, err = m.db.ExecContext(ctx, `INSERT INTO demo_crm (call, args) VALUES (?, ?)`, call, b)
	return err
}

// Find implements emailint.CRMStore.
func (m *memory) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	return m.crm.Find(ctx, org, q)
}

// CreateContacts implements emailint.CRMStore.
func (m *memory) CreateContacts(ctx context.Context, org string, cs []emailint.NewContact) ([]linker.Record, error) {
	if err := m.journal(ctx, "create", cs); err != nil {
		return nil, err
	}
	return m.crm.CreateContacts(ctx, org, cs)
}

// SaveEmails implements emailint.CRMStore.
func (m *memory) SaveEmails(ctx context.Context, org string, es []emailint.Email) error {
	if err := m.journal(ctx, "save", es); err != nil {
		return err
	}
	return m.crm.SaveEmails(ctx, org, es)
}

// UpdateEmails implements emailint.CRMStore.
func (m *memory) UpdateEmails(ctx context.Context, org string, es []emailint.EmailState) error {
	if err := m.journal(ctx, "update", es); err != nil {
		return err
	}
	return m.crm.UpdateEmails(ctx, org, es)
}
