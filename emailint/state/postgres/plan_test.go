package postgres_test

import (
	"context"
	"flag"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/intellicon/email-integration/emailint/state/internal/sqlstate/sqltext"
	"github.com/intellicon/email-integration/emailint/state/postgres"
	"github.com/intellicon/email-integration/emailint/state/postgres/postgrestest"
)

// collector keeps every statement that is prepared, as it is for a schema called "s".
type collector struct {
	mu  sync.Mutex // guards all
	all map[string]bool
}

var schemaOf = regexp.MustCompile(`\btest_[a-z0-9]+\.`)

// TracePrepareStart implements pgx.PrepareTracer.
func (c *collector) TracePrepareStart(ctx context.Context, _ *pgx.Conn, d pgx.TracePrepareStartData) context.Context {
	return ctx
}

// TracePrepareEnd implements pgx.PrepareTracer.
func (c *collector) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

// TraceQueryStart implements pgx.QueryTracer.
func (c *collector) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	c.saw(d.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (c *collector) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (c *collector) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		c.saw(q.SQL)
	}
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (c *collector) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (c *collector) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (c *collector) saw(q string) {
	if !schemaOf.MatchString(q) || strings.Contains(q, ";") { // not ours, or what empties a schema
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[schemaOf.ReplaceAllString(q, "s.")] = true
}

var (
	rowsOf     = regexp.MustCompile(`FROM unnest\([^)]*\) AS u\([^)]*\)(,?)`)
	argument   = regexp.MustCompile(`u\.a\d+|\$\d+(::[a-z]+(\[\])?)?|\?\d*`)
	markers    = regexp.MustCompile(`/\*[a-z]+\*/|FOR NO KEY UPDATE( SKIP LOCKED)?`)
	ours       = regexp.MustCompile(`(FROM|JOIN|INTO|UPDATE|,)(\s+)s\.`)
	whitespace = regexp.MustCompile(`\s+`)
)

// skeleton is what the source and the statement that was sent have in common.
func skeleton(q string) string {
	q = rowsOf.ReplaceAllStringFunc(q, func(s string) string {
		if strings.HasSuffix(s, ",") {
			return "FROM "
		}
		return ""
	})
	q = markers.ReplaceAllString(argument.ReplaceAllString(strings.ReplaceAll(q, " s.", " "), "?"), "")
	return strings.TrimSpace(whitespace.ReplaceAllString(q, " "))
}

// plans checks that no statement of the suite reads a whole table, or a whole mailbox where it asks for less.
func (c *collector) plans(t *testing.T, pool *pgxpool.Pool) {
	// What may: a part of the statement, and why.
	allowed := map[string]string{
		"FROM s.connection WHERE $1 = ''":       "Connections of all organisations",
		"count(*) FILTER (WHERE due > settled":  "Counts counts a mailbox",
		"SELECT id, org, epoch + 1, wake":       "Claim looks at all connections: each may be woken",
		" s.change ":                            "what is not spread is little",
		" s.org ":                               "organisations are few",
		" s.deployment ":                        "it has one row",
		"SELECT DISTINCT org FROM s.connection": "EndPause, of all organisations",
	}
	source, err := sqltext.Statements("../internal/sqlstate")
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	for q := range c.all {
		sent[skeleton(q)] = true
	}
	for at, q := range source {
		switch {
		case sent[skeleton(q)]:
		case strings.Contains(q, "/*each*/"): // its types are not known
			t.Errorf("%s: the suite never comes by this statement, so its plan is not known: %s", at, q)
		default:
			c.all[postgres.Rewrite("s", q)] = true
		}
	}
	ctx := t.Context()
	schema := postgrestest.Name()
	if _, err := postgres.Open(ctx, pool, &postgres.Options{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgrestest.Drop(context.Background(), pool, schema) })
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SET search_path TO `+schema+`; `+filling+`; SET plan_cache_mode TO force_generic_plan`); err != nil {
		t.Fatal(err)
	}
	defer conn.Exec(ctx, `RESET ALL`)
	var qs []string
	for q := range c.all {
		qs = append(qs, q)
	}
	slices.Sort(qs)
	for _, q := range qs {
		if slices.ContainsFunc(slices.Collect(keys(allowed)), func(part string) bool { return strings.Contains(q, part) }) {
			continue
		}
		real := ours.ReplaceAllString(q, "${1}${2}"+schema+".")
		if _, err := conn.Exec(ctx, `DEALLOCATE ALL`); err != nil {
			t.Fatal(err)
		}
		st, err := conn.Conn().Prepare(ctx, "p", real)
		if err != nil {
			t.Errorf("%v\n\tin %s", err, q)
			continue
		}
		nulls := ""
		if n := len(st.ParamOIDs); n > 0 {
			nulls = "(" + strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ") + ")"
		}
		rows, err := conn.Query(ctx, `EXPLAIN EXECUTE p`+nulls, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Errorf("%v\n\tin %s", err, q)
			continue
		}
		for _, line := range plan {
			if strings.Contains(line, "Seq Scan on ") && !strings.Contains(line, "Seq Scan on pause") { // few, and read once: see pause_test.go
				t.Errorf("%s\n\tin %s", strings.Join(plan, "\n\t"), q)
				break
			}
		}
	}
}

func keys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// whole reports whether all tests were asked for.
func whole() bool { return flag.Lookup("test.run").Value.String() == "" }

// filling is an organisation of 40 mailboxes among others, with mail enough that reading a table is not the cheapest. ANALYZE without a table would lock all
// there are until the end, in whatever order: a deadlock with another package that drops its schema.
const filling = `
INSERT INTO org (id) SELECT 'o' || n FROM generate_series(1, 50) n;
INSERT INTO connection (org, owner, provider, address, aliases, subject, state, reason, next_due)
	SELECT 'o' || n % 50, 'u' || n, 'imap', n || '@x.example', '[]', '', 'connected', '', n FROM generate_series(1, 2000) n;
INSERT INTO ledger (conn, item, org, fate, history, sent, received, message_id, fingerprint, thread, email, due, settled, away, gone)
	SELECT n % 2000, 'i' || n, 'o' || n % 50, CASE WHEN n % 10 = 0 THEN 'linked' ELSE 'unmatched' END, true, false, n,
		CASE WHEN n % 20 > 0 THEN decode(md5('m' || n), 'hex') END, decode(md5('f' || n), 'hex'), 't' || n / 5,
		CASE WHEN n % 10 = 0 THEN n / 10 ELSE 0 END, 1, CASE WHEN n % 50 = 0 THEN 0 ELSE 1 END, n % 100 = 0, n % 200 = 0 FROM generate_series(1, 100000) n;
INSERT INTO placement (row_id, folder, conn, generation) SELECT id, 'INBOX', conn, 0 FROM ledger;
INSERT INTO folder (conn, id, name, role) SELECT n, 'INBOX', 'Inbox', 'inbox' FROM generate_series(1, 2000) n;
INSERT INTO cite (hash, row_id) SELECT decode(md5('m' || id / 3), 'hex'), id FROM ledger;
INSERT INTO participant (hash, row_id) SELECT decode(md5('p' || id / 10), 'hex'), id FROM ledger;
INSERT INTO email (org, message_id, fingerprint, revision, saved, wanted, attempted, person, survivor, erasure) SELECT org, message_id, fingerprint, 2,
	CASE WHEN id % 500 = 0 THEN 1 ELSE 2 END, true, true, CASE WHEN id % 1000 = 0 THEN '[1]' ELSE '[]' END, CASE WHEN id % 900 = 0 THEN 1 ELSE 0 END,
	CASE WHEN id % 800 = 0 THEN conn ELSE 0 END FROM ledger WHERE fate = 'linked';
INSERT INTO alias (hash, email) SELECT decode(md5('m' || id), 'hex'), id FROM email;
INSERT INTO holder (email, conn) SELECT id, id % 2000 FROM email;
INSERT INTO link (org, kind, record, email, person) SELECT org, 'contact', 'c' || id / 10, id, id % 100 = 0 FROM email;
INSERT INTO word (seq, org, hash, thread, fingerprint, kind, record, no, back) SELECT id, org, decode(md5('m' || id), 'hex'), id % 50 = 0, '', 'contact', 'c' || id / 10, false, false FROM email;
INSERT INTO declared (org, hash, author, host, email) SELECT org, decode(md5('m' || id), 'hex'), '', 'h' || id, CASE WHEN id % 3 = 0 THEN 0 ELSE id END FROM email;
INSERT INTO declared_record (declared, org, kind, record) SELECT id, org, 'contact', 'c' || id / 10 FROM declared;
INSERT INTO outbox (org, key, conn, state, created, email, copy) SELECT org, 'k' || id, id % 2000, CASE WHEN id % 100 = 0 THEN 'queued' ELSE 'sent' END, 0, id,
	CASE WHEN id % 100 = 0 THEN 'due' ELSE 'filed' END FROM email;
INSERT INTO intent (org, email, conn, rule, action, label, state, made) SELECT org, id, id % 2000, 'r', 'archive', '', CASE WHEN id % 100 = 0 THEN 'planned'
	ELSE 'done' END, CASE WHEN id % 3 = 0 THEN 'i' || id ELSE '' END FROM email;
INSERT INTO late (email, conn) SELECT id, id % 2000 FROM email;
INSERT INTO mutation (intent, email, conn, rule, state, note, at) SELECT id, id, id % 2000, 'r', 'done', 'x', 0 FROM email;
INSERT INTO erasure (conn, org, begun, done) SELECT n, 'o', 0, CASE WHEN n % 100 = 0 THEN 0 ELSE 1 END FROM generate_series(5000, 9000) n;
INSERT INTO secret (org, name, value) SELECT 'o' || n, 'a' || m, 'x' FROM generate_series(1, 500) n, generate_series(1, 10) m;
INSERT INTO user_settings (org, owner) SELECT 'o' || n % 50, 'u' || n FROM generate_series(1, 5000) n;
INSERT INTO consent (key, org, owner, expires) SELECT decode(md5('c' || n), 'hex'), 'o', 'u', n FROM generate_series(1, 5000) n;
INSERT INTO pause (org, provider, admin, who, reason, at) SELECT 'o' || n, '', false, '', '', 0 FROM generate_series(1, 20) n;
INSERT INTO quota (name, level, at) SELECT 'q' || n, 0, 0 FROM generate_series(1, 1000) n;
INSERT INTO deployment (one, id) VALUES (1, 'x');
INSERT INTO run (conn, reason, from_t, to_t) SELECT n, 'first', 0, 0 FROM generate_series(1, 2000) n;
DO $$ DECLARE t name; BEGIN
	FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP EXECUTE 'ANALYZE ' || quote_ident(t); END LOOP;
END $$`
