-- Measurements of segments stand beside those of all records, whose segment is empty.
CREATE TABLE measurements_by_segment (
    model       TEXT NOT NULL,
    monitor     TEXT NOT NULL,
    segment     TEXT NOT NULL,
    subject     TEXT NOT NULL,
    start       INTEGER NOT NULL,
    measurement TEXT NOT NULL,
    PRIMARY KEY (model, monitor, segment, start, subject)
) STRICT, WITHOUT ROWID;

INSERT INTO measurements_by_segment SELECT model, monitor, '', subject, start, measurement FROM measurements;

DROP TABLE measurements;
ALTER TABLE measurements_by_segment RENAME TO measurements;
