CREATE TABLE org (
  id TEXT PRIMARY KEY,
  change INTEGER NOT NULL DEFAULT 1,
  settings BLOB,
  version INTEGER NOT NULL DEFAULT 0,
  rules INTEGER NOT NULL DEFAULT 0,       -- rows decided under older rules are pending
  pulled TEXT NOT NULL DEFAULT '', pulled_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE secret (                     -- of the settings, sealed
  org TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (org, name)
) WITHOUT ROWID;
CREATE TABLE user_settings (
  org TEXT NOT NULL, owner TEXT NOT NULL, settings BLOB, version INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (org, owner)
) WITHOUT ROWID;

CREATE TABLE change (                     -- not spread yet
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org TEXT NOT NULL, body BLOB NOT NULL,
  part INTEGER NOT NULL DEFAULT 0, after INTEGER NOT NULL DEFAULT 0 -- how far: the part, and the last row or email of it
);
CREATE INDEX change_org ON change (org, id);

CREATE TABLE connection (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org TEXT NOT NULL, owner TEXT NOT NULL, provider TEXT NOT NULL, address TEXT NOT NULL, aliases TEXT NOT NULL,
  subject TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, credential BLOB,
  credential_version INTEGER NOT NULL DEFAULT 1, client TEXT NOT NULL DEFAULT '',
  refresher TEXT NOT NULL DEFAULT '', refresh_until INTEGER NOT NULL DEFAULT 0, -- who may refresh the credential
  wake INTEGER NOT NULL DEFAULT 1, served INTEGER NOT NULL DEFAULT 0,
  next_due INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0,
  next_sent INTEGER NOT NULL DEFAULT 0, nudge INTEGER NOT NULL DEFAULT 0, -- as wake, of sent mail alone; 0: with next_due
  rules INTEGER NOT NULL DEFAULT 0, connected_at INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '', lease_until INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0,
  cursor BLOB, revision INTEGER NOT NULL DEFAULT 0,
  refused INTEGER NOT NULL DEFAULT 0, real_time TEXT NOT NULL DEFAULT '',
  watch BLOB, watch_expires INTEGER NOT NULL DEFAULT 0, watch_next INTEGER NOT NULL DEFAULT 0, watch_tries INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX connection_org ON connection (org);
CREATE INDEX connection_address ON connection (lower(address));
CREATE INDEX connection_watch ON connection (watch) WHERE watch IS NOT NULL;
CREATE INDEX connection_due ON connection (state, next_due);

CREATE TABLE consent (                    -- sign-ins that were begun
  key BLOB NOT NULL PRIMARY KEY, org TEXT NOT NULL, owner TEXT NOT NULL, sealed BLOB, expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX consent_expires ON consent (expires);
CREATE TABLE pause (                      -- '' is all of them
  org TEXT NOT NULL, provider TEXT NOT NULL, admin INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (org, provider, admin)
) WITHOUT ROWID;
CREATE TABLE deployment (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL); -- a row at most
CREATE TABLE quota (name TEXT PRIMARY KEY, level INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID; -- a bucket: how much is in it, and when that was

CREATE TABLE erasure (                    -- receipts
  conn INTEGER PRIMARY KEY, org TEXT NOT NULL, begun INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0,
  items INTEGER NOT NULL DEFAULT 0, released INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX erasure_open ON erasure (conn) WHERE done = 0;

CREATE TABLE run (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  conn INTEGER NOT NULL, reason TEXT NOT NULL, from_t INTEGER NOT NULL, to_t INTEGER NOT NULL,
  cursor BLOB, revision INTEGER NOT NULL DEFAULT 0,
  seen INTEGER NOT NULL DEFAULT 0, estimated INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, people INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX run_conn ON run (conn);

CREATE TABLE folder (
  conn INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT 0,
  recount INTEGER NOT NULL DEFAULT 0, counted INTEGER NOT NULL DEFAULT 0, -- messages went, unnamed; rows were compared since
  PRIMARY KEY (conn, id)
) WITHOUT ROWID;

CREATE TABLE ledger (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  conn INTEGER NOT NULL, item TEXT NOT NULL, org TEXT NOT NULL,
  fate TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  history INTEGER NOT NULL, sent INTEGER NOT NULL, received INTEGER NOT NULL,
  message_id BLOB, fingerprint BLOB, cites BLOB, participants BLOB,  -- hashes, each with its length before it
  thread TEXT NOT NULL DEFAULT '', size INTEGER NOT NULL DEFAULT 0,
  email INTEGER NOT NULL DEFAULT 0,
  due INTEGER NOT NULL DEFAULT 0, settled INTEGER NOT NULL DEFAULT 0, rules INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, next_try INTEGER NOT NULL DEFAULT 0,
  away INTEGER NOT NULL DEFAULT 0,          -- in no folder
  left_epoch INTEGER NOT NULL DEFAULT 0,    -- of the lease under which it left: deletion is confirmed under a later one
  reread INTEGER NOT NULL DEFAULT 0,        -- its own copy decides next, not the Email's envelope
  gone INTEGER NOT NULL DEFAULT 0, check_at INTEGER NOT NULL DEFAULT 0, missed_at INTEGER NOT NULL DEFAULT 0,
  UNIQUE (conn, item)
);
-- A parameter proves no predicate: where a query says email = ?, an index WHERE email > 0 is not used.
CREATE INDEX ledger_conn ON ledger (conn); -- in the order of ids
CREATE INDEX ledger_due ON ledger (conn, history, received DESC) WHERE due > settled;
CREATE INDEX ledger_due_sent ON ledger (conn, history, received DESC) WHERE due > settled AND sent;
CREATE INDEX ledger_fate ON ledger (conn, fate, rules);
CREATE INDEX ledger_message ON ledger (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX ledger_fingerprint ON ledger (fingerprint) WHERE message_id IS NULL;
CREATE INDEX ledger_email ON ledger (email, conn);
CREATE INDEX ledger_left ON ledger (conn, check_at) WHERE away AND NOT gone AND email > 0;
CREATE INDEX ledger_thread ON ledger (conn, thread, received);

CREATE TABLE placement (
  row_id INTEGER NOT NULL, folder TEXT NOT NULL, conn INTEGER NOT NULL, generation INTEGER NOT NULL,
  PRIMARY KEY (row_id, folder)
) WITHOUT ROWID;
CREATE INDEX placement_folder ON placement (conn, folder, generation);
CREATE TABLE cite (hash BLOB NOT NULL, row_id INTEGER NOT NULL, PRIMARY KEY (hash, row_id)) WITHOUT ROWID;
CREATE TABLE participant (hash BLOB NOT NULL, row_id INTEGER NOT NULL, PRIMARY KEY (hash, row_id)) WITHOUT ROWID;

CREATE TABLE email (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org TEXT NOT NULL, message_id BLOB, fingerprint BLOB,
  host TEXT NOT NULL DEFAULT '',            -- the host's own id of it, where it was declared
  links TEXT NOT NULL DEFAULT '[]', person TEXT NOT NULL DEFAULT '[]',
  dropped INTEGER NOT NULL DEFAULT 0, restored INTEGER NOT NULL DEFAULT 0, thread_dropped INTEGER NOT NULL DEFAULT 0,
  survivor INTEGER NOT NULL DEFAULT 0,
  ours INTEGER NOT NULL DEFAULT 0,          -- registered by the outbox: the fingerprint alone names it
  held INTEGER NOT NULL DEFAULT 0,          -- not sent yet
  revision INTEGER NOT NULL DEFAULT 1, saved INTEGER NOT NULL DEFAULT 0, attempted INTEGER NOT NULL DEFAULT 0,
  wanted INTEGER NOT NULL DEFAULT 0,        -- has links and holders
  known INTEGER NOT NULL DEFAULT 0,         -- the host has its content
  envelope BLOB, envelope_tag TEXT NOT NULL DEFAULT '', envelope_revision INTEGER NOT NULL DEFAULT 0,
  rank INTEGER NOT NULL DEFAULT 0,          -- of the copy whose envelope it is
  envelope_conn INTEGER NOT NULL DEFAULT 0, -- the mailbox in which that copy lies
  erasure INTEGER NOT NULL DEFAULT 0,       -- the mailbox with whose erasure its last holder went, while that is to be told or was
  error TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0, next_try INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX email_fingerprint ON email (org, fingerprint);
CREATE INDEX email_undelivered ON email (org, next_try, id) WHERE revision > saved AND NOT held AND (attempted OR wanted);
CREATE INDEX email_person ON email (org) WHERE person <> '[]';
CREATE INDEX email_erasure ON email (erasure) WHERE erasure > 0;
CREATE INDEX email_survivor ON email (survivor) WHERE survivor > 0;
CREATE TABLE alias (hash BLOB NOT NULL, email INTEGER NOT NULL, PRIMARY KEY (hash, email)) WITHOUT ROWID;
CREATE INDEX alias_email ON alias (email);
CREATE TABLE holder (email INTEGER NOT NULL, conn INTEGER NOT NULL, PRIMARY KEY (email, conn)) WITHOUT ROWID;
CREATE INDEX holder_conn ON holder (conn);
CREATE TABLE link (
  org TEXT NOT NULL, kind TEXT NOT NULL, record TEXT NOT NULL, email INTEGER NOT NULL,
  person INTEGER NOT NULL,                -- a person said something of it
  PRIMARY KEY (org, kind, record, email)
) WITHOUT ROWID;
CREATE INDEX link_person ON link (org, kind, record) WHERE person;
CREATE TABLE word (                       -- what people said of a thread, by the ids at its top, and of mail that is no Email
  seq INTEGER NOT NULL,                   -- the later wins
  org TEXT NOT NULL, hash BLOB NOT NULL, thread INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,              -- in hex, of the mail of which it was said; empty: of whichever has the Message-ID, or of a thread
  kind TEXT NOT NULL, record TEXT NOT NULL, -- both '': it is dropped, or restored
  no INTEGER NOT NULL,                    -- "not this record"; not dropped
  back INTEGER NOT NULL,                  -- taken back for all that leads up to this hash, or for this mail; it may hold at others
  PRIMARY KEY (org, hash, thread, kind, record, seq, fingerprint)
) WITHOUT ROWID;
CREATE INDEX word_record ON word (org, kind, record, seq, hash, thread, fingerprint, no, back); -- with all that is asked for: else the primary key is read instead
CREATE INDEX word_thread ON word (org) WHERE thread;
CREATE INDEX word_mail ON word (org) WHERE fingerprint <> '';
CREATE INDEX link_email ON link (email);

CREATE TABLE declared (                   -- emails that the host had before
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org TEXT NOT NULL, hash BLOB NOT NULL, author TEXT NOT NULL, -- in hex: where it is empty it is not compared
  host TEXT NOT NULL, email INTEGER NOT NULL DEFAULT 0,
  UNIQUE (org, hash, author)
);
CREATE INDEX declared_host ON declared (org, host);
CREATE INDEX declared_email ON declared (email) WHERE email > 0;
CREATE TABLE declared_record (
  declared INTEGER NOT NULL, org TEXT NOT NULL, kind TEXT NOT NULL, record TEXT NOT NULL,
  PRIMARY KEY (declared, kind, record)
) WITHOUT ROWID;
CREATE INDEX declared_record_of ON declared_record (org, kind, record);

CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org TEXT NOT NULL, key TEXT NOT NULL, conn INTEGER NOT NULL, raw BLOB, options BLOB, staged BLOB,
  state TEXT NOT NULL, error TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, email INTEGER NOT NULL,
  copy TEXT NOT NULL DEFAULT '', copy_error TEXT NOT NULL DEFAULT '', copy_tries INTEGER NOT NULL DEFAULT 0,
  copy_at INTEGER NOT NULL DEFAULT 0,
  UNIQUE (org, key)
);
CREATE INDEX outbox_email ON outbox (email);
CREATE INDEX outbox_conn ON outbox (conn, state);
CREATE INDEX outbox_copy ON outbox (copy_at) WHERE copy IN ('due', 'tried');
CREATE INDEX outbox_due ON outbox (next_try) WHERE state IN ('queued', 'staged', 'sending', 'unknown');

CREATE TABLE intent (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  org TEXT NOT NULL, email INTEGER NOT NULL, conn INTEGER NOT NULL, rule TEXT NOT NULL,
  action TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'planned', undo INTEGER NOT NULL DEFAULT 0,
  item TEXT NOT NULL DEFAULT '', mutation BLOB, made TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER NOT NULL DEFAULT 0,
  UNIQUE (email, conn, rule)
);
CREATE INDEX intent_due ON intent (conn, next_try) WHERE state IN ('planned', 'attempted', 'undoing') OR undo;
CREATE INDEX intent_conn ON intent (conn, id);
CREATE INDEX intent_made ON intent (conn, made) WHERE made <> '';
CREATE TABLE late (  -- emails whose links a mailbox learnt by a later decision: rules of the inbox leave them alone
  email INTEGER NOT NULL, conn INTEGER NOT NULL, PRIMARY KEY (email, conn)
) WITHOUT ROWID;
CREATE INDEX late_conn ON late (conn, email);
CREATE TABLE mutation ( -- the log of what was done to mailboxes
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  intent INTEGER NOT NULL, email INTEGER NOT NULL, conn INTEGER NOT NULL, rule TEXT NOT NULL,
  state TEXT NOT NULL, note TEXT NOT NULL, at INTEGER NOT NULL
);
CREATE INDEX mutation_conn ON mutation (conn, id);
PRAGMA user_version = 1;
INSERT INTO alias ("hash", "email") VALUES (X'69642D6F662D31', 1);
INSERT INTO alias ("hash", "email") VALUES (X'69642D6F662D32', 2);
INSERT INTO alias ("hash", "email") VALUES (X'73656E74', 3);
INSERT INTO change ("id", "org", "body", "part", "after") VALUES (1, 'acme', X'7B225061727469636970616E7473223A6E756C6C2C225265636F726473223A5B7B226B696E64223A22636F6E74616374222C226964223A22616461227D5D7D', 0, 0);
INSERT INTO cite ("hash", "row_id") VALUES (X'69642D6F662D31', 2);
INSERT INTO connection ("id", "org", "owner", "provider", "address", "aliases", "subject", "state", "reason", "credential", "credential_version", "client", "refresher", "refresh_until", "wake", "served", "next_due", "not_before", "next_sent", "nudge", "rules", "connected_at", "worker", "lease_until", "epoch", "cursor", "revision", "refused", "real_time", "watch", "watch_expires", "watch_next", "watch_tries") VALUES (1, 'acme', 'u', 'fake', 'u@own.example', 'null', '', 'connected', '', X'7365616C6564', 1, '', '', 0, 6, 0, 1772359200000000, 0, 0, 0, 0, 1772355600000000, 'w', 1772355660000000, 1, X'6E657874', 2, 0, '', NULL, 0, 0, 0);
INSERT INTO consent ("key", "org", "owner", "sealed", "expires") VALUES (X'636F6E73656E74', 'acme', 'u', X'7365616C6564', 1772359200000000);
INSERT INTO deployment ("one", "id") VALUES (1, 'first');
INSERT INTO email ("id", "org", "message_id", "fingerprint", "host", "links", "person", "dropped", "restored", "thread_dropped", "survivor", "ours", "held", "revision", "saved", "attempted", "wanted", "known", "envelope", "envelope_tag", "envelope_revision", "rank", "envelope_conn", "erasure", "error", "tries", "next_try") VALUES (1, 'acme', X'69642D6F662D31', X'66696E6765722D69642D6F662D31', '', '[{"kind":"contact","id":"ada","by":"address","evidence":"ada@x.example","strength":90}]', '[{"kind":"contact","id":"bob","by":"person","evidence":"bob@x.example","strength":90}]', 0, 0, 0, 0, 0, 0, 3, 2, 1, 1, 1, X'7365616C6564', 'tag', 2, 0, 1, 0, '', 0, 0);
INSERT INTO email ("id", "org", "message_id", "fingerprint", "host", "links", "person", "dropped", "restored", "thread_dropped", "survivor", "ours", "held", "revision", "saved", "attempted", "wanted", "known", "envelope", "envelope_tag", "envelope_revision", "rank", "envelope_conn", "erasure", "error", "tries", "next_try") VALUES (2, 'acme', X'69642D6F662D32', X'66696E6765722D69642D6F662D32', '', '[{"kind":"contact","id":"ada","by":"thread","evidence":"m1","strength":50}]', '[]', 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, X'7365616C6564', 'tag', 2, 0, 1, 0, '', 0, 0);
INSERT INTO email ("id", "org", "message_id", "fingerprint", "host", "links", "person", "dropped", "restored", "thread_dropped", "survivor", "ours", "held", "revision", "saved", "attempted", "wanted", "known", "envelope", "envelope_tag", "envelope_revision", "rank", "envelope_conn", "erasure", "error", "tries", "next_try") VALUES (3, 'acme', X'73656E74', X'66696E6765722D73656E74', '', '[]', '[]', 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, NULL, '', 0, 0, 0, 0, '', 0, 0);
INSERT INTO erasure ("conn", "org", "begun", "done", "items", "released") VALUES (2, 'acme', 1772355600000000, 1772355600000000, 1, 0);
INSERT INTO folder ("conn", "id", "name", "role", "generation", "recount", "counted") VALUES (1, 'INBOX', 'Inbox', 'inbox', 0, 0, 0);
INSERT INTO holder ("email", "conn") VALUES (1, 1);
INSERT INTO holder ("email", "conn") VALUES (2, 1);
INSERT INTO intent ("id", "org", "email", "conn", "rule", "action", "label", "state", "undo", "item", "mutation", "made", "error", "tries", "next_try") VALUES (1, 'acme', 1, 1, 'r', 'archive', '', 'planned', 0, '', NULL, '', '', 0, 0);
INSERT INTO ledger ("id", "conn", "item", "org", "fate", "reason", "history", "sent", "received", "message_id", "fingerprint", "cites", "participants", "thread", "size", "email", "due", "settled", "rules", "tries", "next_try", "away", "left_epoch", "reread", "gone", "check_at", "missed_at") VALUES (1, 1, '1', 'acme', 'linked', '', 0, 0, 1772355600000000, X'69642D6F662D31', NULL, NULL, X'0B686173682D6F662D616461', '', 100, 1, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO ledger ("id", "conn", "item", "org", "fate", "reason", "history", "sent", "received", "message_id", "fingerprint", "cites", "participants", "thread", "size", "email", "due", "settled", "rules", "tries", "next_try", "away", "left_epoch", "reread", "gone", "check_at", "missed_at") VALUES (2, 1, '2', 'acme', 'linked', '', 0, 0, 1772355600000000, X'69642D6F662D32', NULL, X'0769642D6F662D31', X'0B686173682D6F662D616461', '', 100, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO ledger ("id", "conn", "item", "org", "fate", "reason", "history", "sent", "received", "message_id", "fingerprint", "cites", "participants", "thread", "size", "email", "due", "settled", "rules", "tries", "next_try", "away", "left_epoch", "reread", "gone", "check_at", "missed_at") VALUES (3, 1, '3', 'acme', 'pending', '', 0, 0, 1772355600000000, X'69642D6F662D33', NULL, NULL, X'0B686173682D6F662D616461', '', 100, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO ledger ("id", "conn", "item", "org", "fate", "reason", "history", "sent", "received", "message_id", "fingerprint", "cites", "participants", "thread", "size", "email", "due", "settled", "rules", "tries", "next_try", "away", "left_epoch", "reread", "gone", "check_at", "missed_at") VALUES (4, 1, 'emailint outbox/k', 'acme', 'pending', '', 0, 1, 1772355600000000, X'73656E74', NULL, NULL, NULL, '', 3, 3, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0);
INSERT INTO link ("org", "kind", "record", "email", "person") VALUES ('acme', 'contact', 'ada', 1, 0);
INSERT INTO link ("org", "kind", "record", "email", "person") VALUES ('acme', 'contact', 'ada', 2, 0);
INSERT INTO link ("org", "kind", "record", "email", "person") VALUES ('acme', 'contact', 'bob', 1, 1);
INSERT INTO org ("id", "change", "settings", "version", "rules", "pulled", "pulled_at") VALUES ('acme', 3, X'7B2261223A317D', 1, 0, '', 0);
INSERT INTO outbox ("id", "org", "key", "conn", "raw", "options", "staged", "state", "error", "tries", "next_try", "created", "email", "copy", "copy_error", "copy_tries", "copy_at") VALUES (1, 'acme', 'k', 1, X'726177', NULL, NULL, 'queued', '', 0, 0, 1772355600000000, 3, '', '', 0, 0);
INSERT INTO participant ("hash", "row_id") VALUES (X'686173682D6F662D616461', 1);
INSERT INTO participant ("hash", "row_id") VALUES (X'686173682D6F662D616461', 2);
INSERT INTO participant ("hash", "row_id") VALUES (X'686173682D6F662D616461', 3);
INSERT INTO pause ("org", "provider", "admin", "who", "reason", "at") VALUES ('beta', '', 0, 'operator', 'to see', 1772355600000000);
INSERT INTO placement ("row_id", "folder", "conn", "generation") VALUES (1, 'INBOX', 1, 0);
INSERT INTO placement ("row_id", "folder", "conn", "generation") VALUES (2, 'INBOX', 1, 0);
INSERT INTO placement ("row_id", "folder", "conn", "generation") VALUES (3, 'INBOX', 1, 0);
INSERT INTO run ("id", "conn", "reason", "from_t", "to_t", "cursor", "revision", "seen", "estimated", "done", "people") VALUES (1, 1, 'first import', 1772355600000000, 0, X'666172', 0, 0, 0, 0, 0);
INSERT INTO secret ("org", "name", "value") VALUES ('acme', 'password', X'7365616C6564');
INSERT INTO user_settings ("org", "owner", "settings", "version") VALUES ('acme', 'u', X'7B2262223A317D', 1);
INSERT INTO word ("seq", "org", "hash", "thread", "fingerprint", "kind", "record", "no", "back") VALUES (1, 'acme', X'6E6F626F6479', 1, '', '', '', 0, 0);
DELETE FROM sqlite_sequence WHERE name = 'change'; INSERT INTO sqlite_sequence (name, seq) VALUES ('change', 1);
DELETE FROM sqlite_sequence WHERE name = 'connection'; INSERT INTO sqlite_sequence (name, seq) VALUES ('connection', 2);
DELETE FROM sqlite_sequence WHERE name = 'email'; INSERT INTO sqlite_sequence (name, seq) VALUES ('email', 3);
DELETE FROM sqlite_sequence WHERE name = 'intent'; INSERT INTO sqlite_sequence (name, seq) VALUES ('intent', 1);
DELETE FROM sqlite_sequence WHERE name = 'ledger'; INSERT INTO sqlite_sequence (name, seq) VALUES ('ledger', 5);
DELETE FROM sqlite_sequence WHERE name = 'outbox'; INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', 1);
DELETE FROM sqlite_sequence WHERE name = 'run'; INSERT INTO sqlite_sequence (name, seq) VALUES ('run', 1);
