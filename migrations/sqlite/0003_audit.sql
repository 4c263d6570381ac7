-- What was done to brokers and seen of what is masked. A row is written before the deed; how it ended is added afterwards,
-- and stays null where the process ended in the middle. Times are nanoseconds since the epoch, kept as the bits of a u64.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    action   TEXT NOT NULL,
    role     TEXT NOT NULL,
    who      TEXT NOT NULL,
    session  TEXT,
    broker   TEXT NOT NULL,
    vhost    TEXT NOT NULL,
    queue    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    ended    INTEGER,
    done     INTEGER,
    messages INTEGER,
    outcome  TEXT
);

CREATE INDEX audit_by_time ON audit (at);
