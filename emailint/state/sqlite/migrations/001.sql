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
