-- Measurements of segments stand beside those of all records, whose segment is empty.
ALTER TABLE measurements ADD COLUMN segment TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE measurements ALTER COLUMN segment DROP DEFAULT;
ALTER TABLE measurements DROP CONSTRAINT measurements_pkey;
ALTER TABLE measurements ADD PRIMARY KEY (model, monitor, segment, start, subject);
