-- The catalogue of segments: a file that no row names is garbage. Times are microseconds since the Unix epoch.
CREATE TABLE record_segments (
    object         TEXT COLLATE "C" PRIMARY KEY,
    model          TEXT COLLATE "C" NOT NULL,
    replica        TEXT COLLATE "C" NOT NULL,
    from_position  BIGINT NOT NULL,
    to_position    BIGINT NOT NULL,
    first_time     BIGINT,
    last_time      BIGINT,
    received_from  BIGINT NOT NULL,
    received_until BIGINT NOT NULL,
    records        BIGINT NOT NULL,
    labels         BIGINT NOT NULL,
    bytes          BIGINT NOT NULL
);

CREATE INDEX record_segments_of_model ON record_segments (model, replica, from_position);

-- For each replica the first position that it has put into no segment yet.
CREATE TABLE record_logs (
    model   TEXT COLLATE "C" NOT NULL,
    replica TEXT COLLATE "C" NOT NULL,
    flushed BIGINT NOT NULL,
    PRIMARY KEY (model, replica)
);
