-- The ledger: canonical leaves, tiles of 256 hashes, and the signed root over all of it.
CREATE TABLE ledger_entries (
    seq  BIGINT PRIMARY KEY,
    leaf BYTEA NOT NULL
);

CREATE TABLE ledger_tiles (
    level    BIGINT NOT NULL,
    position BIGINT NOT NULL,
    hashes   BYTEA NOT NULL,
    PRIMARY KEY (level, position)
);

CREATE TABLE ledger_checkpoint (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    note TEXT NOT NULL
);

-- Who may write. Each time another one takes the lead the term rises; a commit locks this row and must know the term.
CREATE TABLE leader_lease (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    holder  TEXT NOT NULL,
    address TEXT NOT NULL,
    term    BIGINT NOT NULL,
    expires TIMESTAMPTZ NOT NULL
);

INSERT INTO leader_lease (id, holder, address, term, expires) VALUES (1, '', '', 0, '-infinity');

-- Profiles of windows, the latest revision of each. Times are microseconds since the Unix epoch. Names sort by their
-- bytes, as they do in SQLite.
CREATE TABLE windows (
    model    TEXT COLLATE "C" NOT NULL,
    start    BIGINT NOT NULL,
    finish   BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    rows     BIGINT NOT NULL,
    profile  TEXT NOT NULL,
    PRIMARY KEY (model, start)
);

-- What monitors found, the latest revision for each window.
CREATE TABLE measurements (
    model       TEXT COLLATE "C" NOT NULL,
    monitor     TEXT COLLATE "C" NOT NULL,
    subject     TEXT COLLATE "C" NOT NULL,
    start       BIGINT NOT NULL,
    measurement TEXT NOT NULL,
    PRIMARY KEY (model, monitor, start, subject)
);

-- Evidence that monitors carry from window to window.
CREATE TABLE monitor_states (
    model TEXT COLLATE "C" NOT NULL,
    name  TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (model, name)
);
