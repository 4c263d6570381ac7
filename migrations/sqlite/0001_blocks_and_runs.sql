-- The append-only layout: blocks of compressed OTLP messages, and runs that index the older of them. The blocks
-- after the last run's are the tail; its index is in memory and made anew at start. Times are nanoseconds since the
-- epoch, kept as the bits of a u64.

-- Spans and logs. IDs are given in order and never used twice; a run owns a range of them.
CREATE TABLE block (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

CREATE TABLE run (
    id          INTEGER PRIMARY KEY,
    first_block INTEGER NOT NULL,
    last_block  INTEGER NOT NULL,
    min_start   INTEGER NOT NULL,
    max_start   INTEGER NOT NULL,
    sealed      INTEGER NOT NULL,
    entries     INTEGER NOT NULL,
    spans       INTEGER NOT NULL,
    logs        INTEGER NOT NULL,
    rest        BLOB NOT NULL
);

-- Sorted (term, ordinal) pairs of a run. The ID is the run's, shifted left by 24 bits, and the page's number.
CREATE TABLE run_page (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

-- Entries of a run in order of their start, under the same kind of ID.
CREATE TABLE run_chunk (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

-- What must outlive everything else: the first block of the tail, which no deletion may set back.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
