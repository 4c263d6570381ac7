-- The append-only layout, as in SQLite: blocks of compressed OTLP messages, and runs that index the older of them.
-- The blocks after the last run's are the tail; each dashboard holds its index in memory. Times are nanoseconds since
-- the epoch, kept as the bits of a u64. All of it lies in the schema `throughline`.

-- Spans and logs. IDs are given by the counter `next_block` in the order of the commits and never used twice; a run
-- owns a range of them.
CREATE TABLE block (
    id   bigint PRIMARY KEY,
    data bytea NOT NULL
);

CREATE TABLE run (
    id          bigint PRIMARY KEY,
    first_block bigint NOT NULL,
    last_block  bigint NOT NULL,
    min_start   bigint NOT NULL,
    max_start   bigint NOT NULL,
    sealed      bigint NOT NULL,
    entries     integer NOT NULL,
    spans       bigint NOT NULL,
    logs        bigint NOT NULL,
    -- What it takes with its blocks, pages and chunks.
    bytes       bigint NOT NULL,
    rest        bytea NOT NULL
);

-- Sorted (term, ordinal) pairs of a run.
CREATE TABLE run_page (
    run    bigint NOT NULL,
    number integer NOT NULL,
    data   bytea NOT NULL,
    PRIMARY KEY (run, number)
);

-- Entries of a run in order of their start.
CREATE TABLE run_chunk (
    run    bigint NOT NULL,
    number integer NOT NULL,
    data   bytea NOT NULL,
    PRIMARY KEY (run, number)
);

-- Blocks that were packed anew, kept a while longer for the dashboards that have not seen it yet.
CREATE TABLE replaced (
    id bigint PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

-- `next_block`: each commit holds this row until it is done, so that IDs become visible in order. `first_of_tail`: all
-- before it is sealed. `version`: changes with every run that comes or goes. Room is left on the page, since a row
-- that is changed in place needs no work on an index.
CREATE TABLE counter (
    name  text PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 10);

INSERT INTO counter VALUES ('next_block', 2), ('first_of_tail', 2), ('version', 0);

-- What is compressed already is not compressed again.
ALTER TABLE block ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE run ALTER COLUMN rest SET STORAGE EXTERNAL;
ALTER TABLE run_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

-- The oldest rows go while new ones come: the room is to be free again before much of it is needed.
ALTER TABLE block SET (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE run_page SET (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE run_chunk SET (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
