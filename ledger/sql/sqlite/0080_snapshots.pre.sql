-- Snapshots: the states of streams and the rows of read models as they were at a position.
-- Derived, and never needed: all of them may be deleted at any time. See
-- orderledger.ledger.snapshot_ports.

CREATE TABLE orderledger_snapshots (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    kind TEXT NOT NULL CHECK (kind IN ('stream', 'model')),
    subject TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 1),
    version INTEGER NOT NULL CHECK (version >= 1),
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    codec TEXT NOT NULL,
    erasure_epoch INTEGER NOT NULL CHECK (erasure_epoch >= 0),
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 32),
    size INTEGER NOT NULL CHECK (size >= 0),
    taken_at TEXT NOT NULL CHECK (length(taken_at) = 32),
    -- The last column, so that a header is read without it.
    body BLOB NOT NULL,
    PRIMARY KEY (book_id, kind, subject, position)
) STRICT;

-- What snapshots of one read model share, by its SHA-256.
CREATE TABLE orderledger_snapshot_parts (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    subject TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    body BLOB NOT NULL,
    PRIMARY KEY (book_id, subject, hash)
) STRICT;
