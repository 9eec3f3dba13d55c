// Package sqlstore is a CRM in a SQL database, to copy: an emailint.CRMStore on database/sql for SQLite and PostgreSQL. Put your own tables
// in place of record, address and relation: where they are a contact, an account and a deal, the queries of Find become UNION ALLs over
// those. The tables of emails may stay as they are: a timeline is read from them. Then run emailinttest.TestCRMStore on your copy.
package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/intellicon/email-integration/emailint"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// Every key and every index begins with the organisation: a query reads nothing of another's.
const schema = `
CREATE TABLE IF NOT EXISTS record (org TEXT, kind TEXT, id TEXT, name TEXT NOT NULL, merged_into TEXT NOT NULL DEFAULT '', -- the id that
	PRIMARY KEY (org, kind, id)); -- lives on: when that one is merged too, those that were merged into it follow
CREATE TABLE IF NOT EXISTS address (org TEXT, key TEXT, kind TEXT, id TEXT, PRIMARY KEY (org, key, kind, id)); -- message.Keys, of domains too
CREATE TABLE IF NOT EXISTS relation (org TEXT, on_kind TEXT, on_id TEXT, kind TEXT, id TEXT, -- the account of a contact, a deal of either
	opened TEXT NOT NULL, closed TEXT NOT NULL, updated TEXT NOT NULL, PRIMARY KEY (org, on_kind, on_id, kind, id)); -- RFC 3339 or ''
CREATE TABLE IF NOT EXISTS email (org TEXT, id TEXT, revision BIGINT NOT NULL, survivor TEXT NOT NULL, holders TEXT NOT NULL,
	removed BOOLEAN NOT NULL, received BIGINT NOT NULL, outbound BOOLEAN NOT NULL, history BOOLEAN NOT NULL, partial TEXT NOT NULL,
	subject TEXT NOT NULL, body TEXT NOT NULL, html TEXT NOT NULL, header TEXT NOT NULL, own TEXT NOT NULL, -- header, holders: JSON
	PRIMARY KEY (org, id)); -- your own have revision 0 and an id that is no number: it goes into own when the email becomes a saved one (Engine.Declare)
CREATE TABLE IF NOT EXISTS email_link (org TEXT, email TEXT, kind TEXT, id TEXT, made_by TEXT NOT NULL, evidence TEXT NOT NULL,
	strength BIGINT NOT NULL, PRIMARY KEY (org, email, kind, id)); CREATE INDEX IF NOT EXISTS timeline ON email_link (org, kind, id);`

// Store is an emailint.CRMStore and an emailint.Remover. Safe for concurrent use.
type Store struct {
	db   *sql.DB
	rows Dialect
}

// Dialect is the one word in which the two differ: the function that makes rows of a JSON array, which is rows() below. A list is one
// JSON parameter, so that a statement has one text however much is asked; with PostgreSQL alone, = ANY($2) does the same.
type Dialect string

const SQLite, PostgreSQL Dialect = "json_each", "json_array_elements" // SQLite 3.38 or newer

// New makes the tables where they are missing; with you that is a migration. A SQLite file wants _txlock=immediate, a busy_timeout and WAL.
func New(ctx context.Context, db *sql.DB, d Dialect) (*Store, error) {
	_, err := db.ExecContext(ctx, schema)
	return &Store{db, d}, err
}

func (s *Store) text(q string) string { return strings.ReplaceAll(q, "rows(", string(s.rows)+"(") }

// param is what rows() takes: value->0 is an element of the list, value->>0 its text.
func param[T any](list []T) string {
	rows := [][1]T{}
	for _, v := range list {
		rows = append(rows, [1]T{v})
	}
	b, _ := json.Marshal(rows) //nolint:errcheck // text and numbers
	return string(b)
}

// list returns the rows of a query, whose columns may all be read as text.
func (s *Store) list(ctx context.Context, columns int, query string, args ...any) (out [][7]string, err error) {
	rows, err := s.db.QueryContext(ctx, s.text(query), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for err == nil && rows.Next() {
		var r [7]string
		err = rows.Scan([]any{&r[0], &r[1], &r[2], &r[3], &r[4], &r[5], &r[6]}[:columns]...)
		out = append(out, r)
	}
	return out, errors.Join(err, rows.Err())
}

// Find asks who holds the keys, what became of the records, and what hangs on those found.
func (s *Store) Find(ctx context.Context, org string, q linker.Query) (linker.Directory, error) {
	d, found := linker.Directory{Holders: map[message.Key][]linker.Record{}, Related: map[linker.Record][]linker.Related{}, Now: map[linker.Record]linker.Record{}}, []linker.Record{}
	holders, err1 := s.list(ctx, 3, `SELECT kind, id, key FROM address WHERE org = $1 AND key IN (SELECT value->>0 FROM rows($2))`,
		org, param(slices.Concat(q.Addresses, q.Domains)))
	for _, r := range holders {
		d.Holders[message.Key(r[2])], found = append(d.Holders[message.Key(r[2])], record(r[0:])), append(found, record(r[0:]))
	}
	records, err2 := s.list(ctx, 4, `SELECT kind, id, kind, CASE merged_into WHEN '' THEN id ELSE merged_into END FROM record
		WHERE org = $1 AND (kind, id) IN (SELECT value->0->>'kind', value->0->>'id' FROM rows($2))`, org, param(q.Records))
	for _, r := range records {
		d.Now[record(r[0:])], found = record(r[2:]), append(found, record(r[2:]))
	}
	related, err3 := s.list(ctx, 7, `WITH near AS (SELECT * FROM relation WHERE org = $1 AND kind IN (SELECT value->>0 FROM rows($3))
			AND (on_kind, on_id) IN (SELECT value->0->>'kind', value->0->>'id' FROM rows($2)))
		SELECT on_kind, on_id, kind, id, opened, closed, updated FROM near
		UNION SELECT r.on_kind, r.on_id, r.kind, r.id, r.opened, r.closed, r.updated -- a second step: the deals of a contact's account
			FROM near JOIN relation r ON r.org = $1 AND r.on_kind = near.kind AND r.on_id = near.id
			WHERE r.kind IN (SELECT value->>0 FROM rows($3))`, org, param(found), param(q.Related))
	for _, r := range related {
		on, to := record(r[0:]), record(r[2:])
		d.Related[on] = append(d.Related[on], linker.Related{Record: to, Opened: date(r[4]), Closed: date(r[5]), Updated: date(r[6])})
	}
	return d, errors.Join(err1, err2, err3)
}

func record(r []string) linker.Record { return linker.Record{Kind: linker.Kind(r[0]), ID: r[1]} }
func date(text string) time.Time {
	t, _ := time.Parse(time.RFC3339, text) //nolint:errcheck // '' is the zero time
	return t
}

// CreateContacts makes the id of the address, so that two who meet it at once make one contact. Sorted, they don't deadlock over many.
func (s *Store) CreateContacts(ctx context.Context, org string, cs []emailint.NewContact) ([]linker.Record, error) {
	var asked [][]any
	for _, c := range cs {
		asked = append(asked, []any{c.Address, c.Name})
	}
	const missing = `FROM rows($2) WHERE NOT EXISTS (SELECT 1 FROM address WHERE org = $1 AND key = value->0->>0 AND kind = 'contact')
		ORDER BY 3, 2 ON CONFLICT DO NOTHING`
	_, err1 := s.db.ExecContext(ctx, s.text(`INSERT INTO record (org, kind, id, name)
		SELECT $1, 'contact', 'new:' || (value->0->>0), value->0->>1 `+missing), org, param(asked))
	_, err2 := s.db.ExecContext(ctx, s.text(`INSERT INTO address (org, key, kind, id)
		SELECT $1, value->0->>0, 'contact', 'new:' || (value->0->>0) `+missing), org, param(asked))
	contacts, err3 := s.list(ctx, 3, `SELECT kind, min(id), key FROM address WHERE org = $1 AND kind = 'contact'
		AND key IN (SELECT value->0->>0 FROM rows($2)) GROUP BY kind, key`, org, param(asked))
	out := make([]linker.Record, len(cs))
	for i, c := range cs {
		if at := slices.IndexFunc(contacts, func(r [7]string) bool { return r[2] == string(c.Address) }); at >= 0 {
			out[i] = record(contacts[at][0:])
		}
	}
	return out, errors.Join(err1, err2, err3)
}

const put = `INSERT INTO email VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (org, id) DO UPDATE SET
	revision = excluded.revision, survivor = excluded.survivor, holders = excluded.holders, removed = excluded.removed, received = excluded.received,
	outbound = excluded.outbound, history = excluded.history, partial = excluded.partial, subject = excluded.subject, body = excluded.body,
	html = excluded.html, header = excluded.header, own = excluded.own WHERE email.revision < excluded.revision OR email.revision = excluded.revision AND excluded.removed`

func (s *Store) SaveEmails(ctx context.Context, org string, es []emailint.Email) error {
	return s.write(ctx, org, put, len(es), func(i int) (emailint.EmailState, []any) {
		e, m := es[i], &es[i].Message
		return e.EmailState, []any{false, e.When.Unix(), e.Outbound, e.History, e.Partial, m.Subject, m.Text, m.HTML,
			param([]any{m.MessageID, m.From, m.To, m.Cc, m.Bcc, m.Attachments}), e.HostID}
	})
}

// RemoveEmails leaves an empty row, so that a late save of an older revision changes nothing.
func (s *Store) RemoveEmails(ctx context.Context, org string, es []emailint.EmailState) error {
	return s.write(ctx, org, put, len(es), func(i int) (emailint.EmailState, []any) {
		return emailint.EmailState{ID: es[i].ID, Revision: es[i].Revision, Survivor: es[i].Survivor}, []any{true, 0, false, false, "", "", "", "", "", ""}
	})
}

func (s *Store) UpdateEmails(ctx context.Context, org string, es []emailint.EmailState) error {
	err1 := s.write(ctx, org, `UPDATE email SET revision = $3, survivor = $4, holders = $5 WHERE org = $1 AND id = $2 AND revision < $3
		AND NOT removed`, len(es), func(i int) (emailint.EmailState, []any) { return es[i], nil })
	missing, err2 := s.list(ctx, 1, `SELECT value->0->>'ID' FROM rows($2) WHERE NOT EXISTS (SELECT 1 FROM email WHERE org = $1
		AND id = value->0->>'ID' AND revision >= CAST(value->0->>'Revision' AS BIGINT) AND NOT removed)`, org, param(es))
	unknown := map[string]error{}
	for _, r := range missing {
		unknown[r[0]] = emailint.ErrUnknownEmail
	}
	if err := errors.Join(err1, err2); err != nil || len(unknown) == 0 {
		return err
	}
	return &emailint.EmailsError{Failed: unknown}
}

// write runs a statement for each of n emails, and replaces the links of those that it changes.
func (s *Store) write(ctx context.Context, org, statement string, n int, email func(int) (emailint.EmailState, []any)) error {
	t, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback() //nolint:errcheck // after the commit it does nothing
	each, err := t.PrepareContext(ctx, statement)
	if err != nil {
		return err
	}
	changed, ids := [][]any{}, []string{} // and those by which they were your own
	for i := range n {
		e, content := email(i)
		res, err := each.ExecContext(ctx, append([]any{org, e.ID, e.Revision, e.Survivor, param(e.Holders)}, content...)...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err == nil && n > 0 {
			changed = append(changed, []any{e.ID, append([]linker.Link{}, e.Links...)})
			ids = append(ids, e.ID, e.HostID)
		}
	}
	_, err0 := t.ExecContext(ctx, s.text(`DELETE FROM email WHERE org = $1 AND revision = 0 AND id IN (SELECT value->>0 FROM rows($2))`), org, param(ids))
	_, err1 := t.ExecContext(ctx, s.text(`DELETE FROM email_link WHERE org = $1 AND email IN (SELECT value->>0 FROM rows($2))`), org, param(ids))
	_, err2 := t.ExecContext(ctx, s.text(`INSERT INTO email_link SELECT $1, e.value->0->>0, l.value->>'kind', l.value->>'id', l.value->>'by',
		l.value->>'evidence', CAST(l.value->>'strength' AS BIGINT) FROM rows($2) AS e, rows(e.value->0->1) AS l`), org, param(changed))
	if err := errors.Join(err0, err1, err2); err != nil {
		return err
	}
	return t.Commit()
}
