-- The append-only layout: blocks of compressed OTLP messages, a tail of index rows for the newest of them, and
-- runs that the tail is sealed into. Times are nanoseconds since the epoch, kept as the bits of a u64.

-- Spans and logs. IDs are given in order and never used twice; a run owns a range of them.
CREATE TABLE block (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

-- One row a commit that is not sealed yet: entries and the terms they are found by.
CREATE TABLE tail (
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

-- Sorted (term, ordinal) pairs of a run; `first` is the first pair of the page.
CREATE TABLE run_page (
    run   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    data  BLOB NOT NULL,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;

-- Entries of a run in order of their start.
CREATE TABLE run_chunk (
    run  INTEGER NOT NULL,
    no   INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, no)
) WITHOUT ROWID;

-- What must outlive everything else: the next block's ID, which no deletion may set back.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
