-- Samples of metrics, sealed. A row covers a window of time (its end is not in it) and the metrics between two names, in
-- one of the tiers: 0 as sent, 1 each ten seconds, 2 each minute, 3 each ten minutes. Times are nanoseconds since the epoch,
-- kept as the bits of a u64; names are compared by their bytes.
CREATE TABLE sample_chunk (
    id         INTEGER PRIMARY KEY,
    tier       INTEGER NOT NULL,
    begins     INTEGER NOT NULL,
    ends       INTEGER NOT NULL,
    first_name BLOB NOT NULL,
    last_name  BLOB NOT NULL,
    data       BLOB NOT NULL
);

CREATE INDEX sample_chunk_by_time ON sample_chunk (begins, ends);
