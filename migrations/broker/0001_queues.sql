-- The embedded broker: exchanges, queues, the bindings between them, and one row per message and queue.

CREATE TABLE exchange (
    name TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE queue (
    name              TEXT    NOT NULL PRIMARY KEY,
    -- Deliveries after which a message that fails once more goes to the dead letters.
    max_deliveries    INTEGER NOT NULL,
    -- Null: what is dead-lettered is dropped.
    dead_letter_queue TEXT,
    -- Null: no limit. Otherwise the oldest messages make room.
    max_length        INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE binding (
    exchange TEXT NOT NULL REFERENCES exchange (name),
    pattern  TEXT NOT NULL,
    queue    TEXT NOT NULL REFERENCES queue (name),
    PRIMARY KEY (exchange, pattern, queue)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
    -- Grows with every publish, so it is also the order within a queue.
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    queue          TEXT    NOT NULL REFERENCES queue (name),
    exchange       TEXT    NOT NULL,
    routing_key    TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    type           TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    time_ms        INTEGER NOT NULL,
    correlation_id TEXT    NOT NULL,
    causation_id   TEXT,
    content_type   TEXT    NOT NULL,
    -- A JSON object of strings.
    headers        TEXT    NOT NULL,
    body           BLOB    NOT NULL,
    -- Not to be delivered before this time, in milliseconds since 1970: 0 at once, otherwise the end of a
    -- retry's delay or of a lease.
    due_ms         INTEGER NOT NULL DEFAULT 0,
    deliveries     INTEGER NOT NULL DEFAULT 0,
    -- Names the delivery that holds the message; null while it waits.
    lease          TEXT
) STRICT;

CREATE INDEX message_order ON message (queue, seq);
CREATE INDEX message_due ON message (queue, due_ms);
