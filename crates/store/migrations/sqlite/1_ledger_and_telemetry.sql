-- The ledger: canonical leaves, tiles of 256 hashes, and the signed root over all of it.
CREATE TABLE ledger_entries (
    seq  INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL
) STRICT;

CREATE TABLE ledger_tiles (
    level  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_checkpoint (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    note TEXT NOT NULL
) STRICT;

-- Profiles of windows, the latest revision of each. Times are microseconds since the Unix epoch.
CREATE TABLE windows (
    model    TEXT NOT NULL,
    start    INTEGER NOT NULL,
    finish   INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    rows     INTEGER NOT NULL,
    profile  TEXT NOT NULL,
    PRIMARY KEY (model, start)
) STRICT, WITHOUT ROWID;

-- What monitors found, the latest revision for each window.
CREATE TABLE measurements (
    model       TEXT NOT NULL,
    monitor     TEXT NOT NULL,
    subject     TEXT NOT NULL,
    start       INTEGER NOT NULL,
    measurement TEXT NOT NULL,
    PRIMARY KEY (model, monitor, start, subject)
) STRICT, WITHOUT ROWID;

-- Evidence that monitors carry from window to window.
CREATE TABLE monitor_states (
    model TEXT NOT NULL,
    name  TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (model, name)
) STRICT, WITHOUT ROWID;
