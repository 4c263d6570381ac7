-- Samples of metrics, sealed. A row covers a window of time (its end is not in it) and the metrics between two names, in
-- one of the tiers: 0 as sent, 1 each ten seconds, 2 each minute, 3 each ten minutes. Times are nanoseconds since the epoch,
-- kept as the bits of a u64; names are compared by their bytes.
CREATE TABLE sample_chunk (
    begins     bigint NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    tier       smallint NOT NULL,
    ends       bigint NOT NULL,
    first_name bytea NOT NULL,
    last_name  bytea NOT NULL,
    data       bytea NOT NULL,
    -- The time first, so that it can be parted or sharded by it.
    PRIMARY KEY (begins, id)
);

CREATE INDEX sample_chunk_by_id ON sample_chunk (id);

-- What is compressed already is not compressed again.
ALTER TABLE sample_chunk ALTER COLUMN data SET STORAGE EXTERNAL;
-- Merged chunks go while new ones come: the room is to be free again before much of it is needed.
ALTER TABLE sample_chunk SET (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
