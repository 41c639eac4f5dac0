-- Work that is to be done once: effects of reactors, queued commands, deadlines that have come.
-- What is to be done never changes; how far it is does. See orderledger.ledger.work_ports.

CREATE TABLE orderledger_work (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    lane TEXT NOT NULL CHECK (lane IN ('outbox', 'queue', 'timer')),
    key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    origin TEXT NOT NULL,
    streams TEXT NOT NULL,
    created_at TEXT NOT NULL CHECK (length(created_at) = 32),
    due_at TEXT NOT NULL CHECK (length(due_at) = 32),
    status TEXT NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'done', 'refused', 'dead', 'gone', 'discarded')),
    attempts INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0,
    -- Who is about it, until when; '' nobody.
    owner TEXT NOT NULL DEFAULT '',
    leased_until TEXT,
    error TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '{}',
    finished_at TEXT,
    UNIQUE (book_id, lane, key)
) STRICT;

-- What is open or failed is found, in its order, without what is done: nearly everything is.
CREATE INDEX orderledger_work_status ON orderledger_work (book_id, lane, status, number);

-- The streams of waiting work: of two that name the same one, the earlier goes first.
CREATE TABLE orderledger_work_streams (
    book_id INTEGER NOT NULL,
    lane TEXT NOT NULL,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL REFERENCES orderledger_work,
    PRIMARY KEY (book_id, lane, stream, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX orderledger_work_streams_number ON orderledger_work_streams (number);

CREATE TRIGGER orderledger_work_intent BEFORE UPDATE ON orderledger_work
WHEN (OLD.number, OLD.book_id, OLD.lane, OLD.key, OLD.kind, OLD.payload, OLD.origin, OLD.streams,
      OLD.created_at)
    IS NOT (NEW.number, NEW.book_id, NEW.lane, NEW.key, NEW.kind, NEW.payload, NEW.origin,
      NEW.streams, NEW.created_at)
BEGIN
    SELECT RAISE(ABORT, 'what is to be done never changes');
END;

CREATE TRIGGER orderledger_work_kept BEFORE DELETE ON orderledger_work
BEGIN
    SELECT RAISE(ABORT, 'work is never deleted');
END;

-- How far each reactor has read the log.
CREATE TABLE orderledger_reactors (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    reactor TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= started_at_position),
    leaf_hash BLOB NOT NULL,
    started_at_position INTEGER NOT NULL CHECK (started_at_position >= 0),
    moved_at TEXT NOT NULL CHECK (length(moved_at) = 32),
    PRIMARY KEY (book_id, reactor)
) STRICT, WITHOUT ROWID;

-- The latest sign of life of each part of each worker.
CREATE TABLE orderledger_heartbeats (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    part TEXT NOT NULL,
    owner TEXT NOT NULL,
    seen_at TEXT NOT NULL CHECK (length(seen_at) = 32),
    problem TEXT NOT NULL,
    PRIMARY KEY (book_id, part)
) STRICT, WITHOUT ROWID;
