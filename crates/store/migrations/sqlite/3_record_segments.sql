-- The catalogue of segments: a file that no row names is garbage. Times are microseconds since the Unix epoch.
CREATE TABLE record_segments (
    object         TEXT PRIMARY KEY NOT NULL,
    model          TEXT NOT NULL,
    replica        TEXT NOT NULL,
    from_position  INTEGER NOT NULL,
    to_position    INTEGER NOT NULL,
    first_time     INTEGER,
    last_time      INTEGER,
    received_from  INTEGER NOT NULL,
    received_until INTEGER NOT NULL,
    records        INTEGER NOT NULL,
    labels         INTEGER NOT NULL,
    bytes          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX record_segments_of_model ON record_segments (model, replica, from_position);

-- For each replica the first position that it has put into no segment yet.
CREATE TABLE record_logs (
    model   TEXT NOT NULL,
    replica TEXT NOT NULL,
    flushed INTEGER NOT NULL,
    PRIMARY KEY (model, replica)
) STRICT, WITHOUT ROWID;
