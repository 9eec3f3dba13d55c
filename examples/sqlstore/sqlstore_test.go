package sqlstore_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/intellicon/email-integration/emailint/crm"
	"github.com/intellicon/email-integration/emailint/emailinttest"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
	"github.com/intellicon/email-integration/examples/sqlstore"
	"github.com/intellicon/email-integration/linker"
	"github.com/intellicon/email-integration/message"
)

// databases runs a test on SQLite, and on PostgreSQL where there is one.
func databases(t *testing.T, test func(t *testing.T, open func(t *testing.T) *database)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openSQLite) })
	t.Run("postgres", func(t *testing.T) {
		postgrestest.URL(t) // or it is skipped
		test(t, openPostgres)
	})
}

// database is a store with the database beneath it.
type database struct {
	*sqlstore.Store
	db *sql.DB
}

func openSQLite(t *testing.T) *database {
	return open(t, sqlstore.SQLite, "sqlite", "file:"+filepath.Join(t.TempDir(), "crm.db")+
		"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
}

// openPostgres gives each test a schema of its own.
func openPostgres(t *testing.T) *database {
	u, err := url.Parse(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	schema := postgrestest.Name()
	if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("DROP SCHEMA " + schema + " CASCADE"); err != nil { // the test's context has ended
			t.Error(err)
		}
	})
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return open(t, sqlstore.PostgreSQL, "pgx", u.String())
}

func open(t *testing.T, d sqlstore.Dialect, driver, source string) *database {
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.New(t.Context(), db, d)
	if err != nil {
		t.Fatal(err)
	}
	return &database{s, db}
}

func (d *database) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := d.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func (d *database) add(t *testing.T, org string, r linker.Record, keys ...message.Key) {
	t.Helper()
	d.exec(t, `INSERT INTO record (org, kind, id, name) VALUES ($1, $2, $3, '')`, org, r.Kind, r.ID)
	for _, k := range keys {
		d.exec(t, `INSERT INTO address (org, key, kind, id) VALUES ($1, $2, $3, $4)`, org, k, r.Kind, r.ID)
	}
}

func (d *database) relate(t *testing.T, on, to linker.Record, opened string) {
	t.Helper()
	d.exec(t, `INSERT INTO relation VALUES ('o', $1, $2, $3, $4, $5, '', '')`, on.Kind, on.ID, to.Kind, to.ID, opened)
}

// emails reads an organisation's emails back.
func (d *database) emails(t *testing.T, org string) map[string]crm.Email {
	t.Helper()
	rows, err := d.db.QueryContext(t.Context(), `SELECT id, revision, survivor, holders, subject, body FROM email WHERE org = $1 AND NOT removed`, org)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]crm.Email{}
	for rows.Next() {
		var e crm.Email
		var raw []byte
		var holders [][1]string
		if err := rows.Scan(&e.ID, &e.Revision, &e.Survivor, &raw, &e.Message.Subject, &e.Message.Text); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &holders); err != nil {
			t.Fatal(err)
		}
		for _, h := range holders {
			e.Holders = append(e.Holders, h[0])
		}
		out[e.ID] = e
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	links, err := d.db.QueryContext(t.Context(), `SELECT email, kind, id, made_by, evidence, strength FROM email_link WHERE org = $1 ORDER BY kind, id`, org)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	for links.Next() {
		var id string
		var l linker.Link
		if err := links.Scan(&id, &l.Kind, &l.ID, &l.By, &l.Evidence, &l.Strength); err != nil {
			t.Fatal(err)
		}
		e, ok := out[id]
		if !ok {
			t.Errorf("a link of an email that is not there: %s", id)
		}
		e.Links = append(e.Links, l)
		out[id] = e
	}
	if err := links.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSuite(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		emailinttest.TestCRMStore(t, func(t *testing.T) emailinttest.CRMHarness {
			d := open(t)
			return emailinttest.CRMHarness{
				Store:  d,
				Add:    func(org string, r linker.Record, keys ...message.Key) { d.add(t, org, r, keys...) },
				Emails: func(org string) map[string]crm.Email { return d.emails(t, org) },
				Had: func(org, id string) {
					d.exec(t, `INSERT INTO email VALUES ($1, $2, 0, '', '[]', false, 0, false, true, '', 'an old one', '', '', '', '')`, org, id)
					d.exec(t, `INSERT INTO email_link VALUES ($1, $2, 'contact', 'ada', 'old', '', 0)`, org, id)
				},
				Count: func(org string) int { return len(d.emails(t, org)) },
			}
		})
	})
}

var (
	ada    = linker.Record{Kind: linker.Contact, ID: "ada"}
	eve    = linker.Record{Kind: linker.Contact, ID: "eve"}
	acme   = linker.Record{Kind: linker.Account, ID: "acme"}
	deal   = linker.Record{Kind: linker.Opportunity, ID: "deal"}
	ticket = linker.Record{Kind: "ticket", ID: "7"}
	byAda  = linker.Link{Record: ada, By: linker.ByAddress, Evidence: "ada@acme.example", Strength: 90}
	byAcme = linker.Link{Record: acme, By: linker.ByRelated, Evidence: `contact "ada"`, Strength: 40}
	pumps  = crm.Email{EmailState: crm.EmailState{ID: "e1", Revision: 1, Holders: []string{"1", "2"}, Links: []linker.Link{byAcme, byAda}},
		Message: message.Message{Text: "Größe?", Envelope: message.Envelope{Subject: "Re: <pumps> & valves"}}}
)

// What hangs on a record is found in two steps, and only of the kinds asked for.
func TestFindRelated(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		d.add(t, "o", ada, "ada@acme.example")
		d.add(t, "o", acme, "acme.example")
		d.relate(t, ada, acme, "")
		d.relate(t, acme, deal, "2026-03-02T09:00:00Z")
		d.relate(t, ada, ticket, "")
		got, err := d.Find(t.Context(), "o", linker.Query{Addresses: []message.Key{"ada@acme.example"}, Related: []linker.Kind{linker.Account, linker.Opportunity}})
		want := linker.Directory{
			Holders: map[message.Key][]linker.Record{"ada@acme.example": {ada}}, Now: map[linker.Record]linker.Record{},
			Related: map[linker.Record][]linker.Related{
				ada:  {{Record: acme}},
				acme: {{Record: deal, Opened: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}},
			},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Find = %+v, %v\nwant %+v", got, err, want)
		}
	})
}

// A record that was merged is answered with the one that lives on, and with what hangs on that.
func TestFindMerged(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		d.add(t, "o", ada)
		d.add(t, "o", eve)
		d.relate(t, eve, acme, "")
		d.exec(t, `UPDATE record SET merged_into = 'eve' WHERE org = 'o' AND id = 'ada'`)
		got, err := d.Find(t.Context(), "o", linker.Query{Records: []linker.Record{ada}, Related: []linker.Kind{linker.Account}})
		if err != nil || got.Now[ada] != eve || len(got.Related[eve]) != 1 {
			t.Errorf("Find = %+v, %v, want eve in the place of ada, and her account", got, err)
		}
	})
}

// A page of mail may ask for more than the parameters that a statement may have.
func TestFindMany(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		d.add(t, "o", ada, "ada@acme.example")
		q := linker.Query{Addresses: []message.Key{"ada@acme.example"}}
		for i := range 70_000 {
			q.Addresses = append(q.Addresses, message.Key(fmt.Sprintf("p%d@x.example", i)))
		}
		got, err := d.Find(t.Context(), "o", q)
		if err != nil || len(got.Holders) != 1 {
			t.Errorf("Find found %d of 1, %v", len(got.Holders), err)
		}
	})
}

// A CRM that is down must not answer an empty question.
func TestFindAsks(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		d.db.Close()
		if _, err := d.Find(t.Context(), "o", linker.Query{}); err == nil {
			t.Error("Find answered from a closed database")
		}
	})
}

// Several who meet an address at once make one contact.
func TestCreateContactsAtOnce(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		var wg sync.WaitGroup
		made := make([]linker.Record, 8)
		for i := range made {
			wg.Go(func() {
				rs, err := d.CreateContacts(t.Context(), "o", []crm.NewContact{{Address: "x@y.example", Name: "X"}})
				if err != nil {
					t.Error(err)
					return
				}
				made[i] = rs[0]
			})
		}
		wg.Wait()
		slices.SortFunc(made, func(a, b linker.Record) int { return strings.Compare(a.ID, b.ID) })
		if made = slices.Compact(made); len(made) != 1 || made[0].ID == "" {
			t.Errorf("made %v, want one contact", made)
		}
	})
}

// Two mailboxes have mail of the same people in any order: neither waits for the other for ever.
func TestCreateContactsInAnyOrder(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		for round := range 20 {
			var cs []crm.NewContact
			for i := range 300 {
				cs = append(cs, crm.NewContact{Address: message.Key(fmt.Sprintf("%d@%d.example", i, round))})
			}
			back := slices.Clone(cs)
			slices.Reverse(back)
			var wg sync.WaitGroup
			for _, order := range [][]crm.NewContact{cs, back, cs, back} {
				wg.Go(func() {
					if _, err := d.CreateContacts(t.Context(), "o", order); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
		}
	})
}

func TestSaveKeepsContent(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		if err := d.SaveEmails(t.Context(), "o", []crm.Email{pumps}); err != nil {
			t.Fatal(err)
		}
		if got := d.emails(t, "o")["e1"]; !reflect.DeepEqual(got, pumps) {
			t.Errorf("saved\n%+v\nwant\n%+v", got, pumps)
		}
		if got := d.emails(t, "other"); len(got) != 0 {
			t.Errorf("another organisation has %v", got)
		}
	})
}

// What was removed leaves nothing but its revision, stays removed when an older save comes late, and is unknown to updates: a newer save brings it
// back in full.
func TestRemove(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		save := func(rev int64) {
			t.Helper()
			e := pumps
			e.Revision = rev
			if err := d.SaveEmails(t.Context(), "o", []crm.Email{e}); err != nil {
				t.Fatal(err)
			}
		}
		remove := func(rev int64) {
			t.Helper()
			if err := d.RemoveEmails(t.Context(), "o", []crm.EmailState{{ID: "e1", Revision: rev}}); err != nil {
				t.Fatal(err)
			}
		}
		save(2)
		remove(1)
		if len(d.emails(t, "o")) != 1 {
			t.Error("a late removal of an older revision removed it")
		}
		remove(2)
		save(2)
		if len(d.emails(t, "o")) != 0 {
			t.Error("a late save brought it back")
		}
		var left string
		if err := d.db.QueryRow(`SELECT subject || body || html || header FROM email`).Scan(&left); err != nil || left != "" {
			t.Errorf("of its content %q is left, %v", left, err)
		}
		for _, rev := range []int64{2, 3} {
			err := d.UpdateEmails(t.Context(), "o", []crm.EmailState{{ID: "e1", Revision: rev, Links: []linker.Link{byAda}}})
			if failed, ok := err.(*crm.EmailsError); !ok || failed.Failed["e1"] == nil {
				t.Errorf("an update of what was removed: %v", err)
			}
		}
		save(3)
		if got := d.emails(t, "o")["e1"]; len(got.Links) != 2 || got.Message.Text == "" {
			t.Errorf("a newer save left %+v", got)
		}
	})
}

// An update that comes a second time, or late, changes nothing and is no error.
func TestUpdateAgain(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		if err := d.SaveEmails(t.Context(), "o", []crm.Email{pumps}); err != nil {
			t.Fatal(err)
		}
		for _, u := range []crm.EmailState{{ID: "e1", Revision: 3, Holders: []string{"2"}, Links: []linker.Link{byAda}},
			{ID: "e1", Revision: 3}, {ID: "e1", Revision: 2}} {
			if err := d.UpdateEmails(t.Context(), "o", []crm.EmailState{u}); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.emails(t, "o")["e1"]; got.Revision != 3 || len(got.Links) != 1 || len(got.Holders) != 1 || got.Message.Text != pumps.Message.Text {
			t.Errorf("after the updates it is %+v", got)
		}
	})
}

// The engine over it: a mail links, and stays gone when its sender is no longer known.
func TestWithTheEngine(t *testing.T) {
	databases(t, func(t *testing.T, open func(t *testing.T) *database) {
		d := open(t)
		d.add(t, emailinttest.Org, ada, "ada@acme.example")
		d.add(t, emailinttest.Org, acme, "acme.example")
		w := emailinttest.New(t, emailinttest.WithCRM(d))
		w.Deliver("From: Ada <ada@acme.example>\nTo: " + emailinttest.Owner + "\nSubject: Pumps\nMessage-ID: <1@acme.example>\n\nHello.\n")
		w.Deliver("From: Stranger <s@elsewhere.example>\nTo: " + emailinttest.Owner + "\nSubject: Other\nMessage-ID: <2@elsewhere.example>\n\nHello.\n")
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := d.emails(t, emailinttest.Org)
		if len(all) != 1 {
			t.Fatalf("saved %+v, want Ada's mail alone", all)
		}
		for _, e := range all {
			if e.Message.Text != "Hello.\n" || len(e.Links) != 2 || e.Links[0].Record != acme || e.Links[1].Record != ada {
				t.Errorf("saved %+v, want it linked to Ada and Acme", e)
			}
		}
		d.exec(t, `DELETE FROM address`)
		d.exec(t, `DELETE FROM record`)
		for _, r := range []linker.Record{ada, acme} {
			if err := w.Engine.RecordsChanged(t.Context(), emailinttest.Org, crm.RecordChange{Kind: crm.RecordDeleted, Record: r}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Engine.Relink(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := d.emails(t, emailinttest.Org); len(all) != 0 {
			t.Errorf("without records %+v is left", all)
		}
	})
}

// A page's question among 100,000 addresses, and a chunk of emails saved.
func BenchmarkStore(b *testing.B) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "crm.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s, err := sqlstore.New(b.Context(), db, sqlstore.SQLite)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
		INSERT INTO address SELECT 'o', 'p' || i || '@x.example', 'contact', 'c' || i FROM n`); err != nil {
		b.Fatal(err)
	}
	b.Run("Find", func(b *testing.B) {
		q := linker.Query{Related: []linker.Kind{linker.Account}}
		for i := range 400 {
			q.Addresses = append(q.Addresses, message.Key(fmt.Sprintf("p%d@x.example", 500*i)))
		}
		for b.Loop() {
			if d, err := s.Find(b.Context(), "o", q); err != nil || len(d.Holders) != 200 {
				b.Fatal(len(d.Holders), err)
			}
		}
	})
	b.Run("SaveEmails", func(b *testing.B) {
		es := make([]crm.Email, 50)
		for n := 0; b.Loop(); n++ {
			for i := range es {
				es[i] = pumps
				es[i].ID = fmt.Sprint(n, "-", i)
				es[i].Message.Text = strings.Repeat("Some text. ", 300)
			}
			if err := s.SaveEmails(b.Context(), "o", es); err != nil {
				b.Fatal(err)
			}
		}
	})
}
