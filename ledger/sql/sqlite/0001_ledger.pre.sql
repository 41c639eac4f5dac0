-- The ledger in one SQLite file: books, their events in a total order, the Merkle tiles over that
-- order, and the record of every command. The file may be a shop's own, with tables of its own: all
-- names here start with `orderledger_`.
--
-- Instants are ISO 8601 text in UTC with six decimals: they sort as they read, and an auditor needs
-- no conversion. Ids are blobs of 16 bytes (half the index of text); the view `orderledger_journal`
-- shows them as text. Amounts stand in an event's `postings`, one leg a line, as exact decimal text.

CREATE TABLE orderledger_books (
    book_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    constraint_generation INTEGER NOT NULL DEFAULT 0 CHECK (constraint_generation >= 0)
) STRICT;

CREATE TABLE orderledger_events (
    row_id INTEGER PRIMARY KEY,
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    event_id BLOB NOT NULL UNIQUE CHECK (length(event_id) = 16),
    stream TEXT NOT NULL CHECK (stream <> ''),
    version INTEGER NOT NULL CHECK (version >= 0),
    topic TEXT NOT NULL CHECK (topic <> ''),
    occurred_at TEXT NOT NULL CHECK (length(occurred_at) = 32),
    appended_at TEXT NOT NULL CHECK (length(appended_at) = 32),
    command_id BLOB NOT NULL CHECK (length(command_id) = 16),
    context TEXT NOT NULL,
    postings TEXT NOT NULL,
    payload TEXT NOT NULL,
    UNIQUE (book_id, stream, version)
) STRICT;

-- One row per event that has its place. The row id is that of the event, so that either table finds
-- the other without an index of its own.
CREATE TABLE orderledger_log (
    row_id INTEGER PRIMARY KEY REFERENCES orderledger_events,
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    position INTEGER NOT NULL CHECK (position >= 1),
    recorded_at TEXT NOT NULL CHECK (length(recorded_at) = 32),
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    UNIQUE (book_id, position)
) STRICT;

CREATE TABLE orderledger_tiles (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    level INTEGER NOT NULL CHECK (level >= 1),
    tile_index INTEGER NOT NULL CHECK (tile_index >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (book_id, level, tile_index)
) STRICT, WITHOUT ROWID;

-- `context` is that of a command which wrote no events; otherwise it stands in its events.
CREATE TABLE orderledger_commands (
    row_id INTEGER PRIMARY KEY,
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 16),
    key TEXT NOT NULL,
    command_id BLOB NOT NULL CHECK (length(command_id) = 16),
    fingerprint BLOB NOT NULL,
    command TEXT NOT NULL,
    refused INTEGER NOT NULL CHECK (refused IN (0, 1)),
    reply TEXT NOT NULL,
    context TEXT NOT NULL,
    appended_at TEXT NOT NULL CHECK (length(appended_at) = 32),
    UNIQUE (book_id, key_hash)
) STRICT;

CREATE TABLE orderledger_constrained_accounts (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    account TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (book_id, account)
) STRICT, WITHOUT ROWID;

-- Append-only. INSERT OR REPLACE deletes without firing DELETE triggers, so an insert that would
-- replace a row is refused before the conflict is resolved.

CREATE TRIGGER orderledger_events_no_update BEFORE UPDATE ON orderledger_events BEGIN
    SELECT RAISE(ABORT, 'events are append-only: UPDATE is refused');
END;

CREATE TRIGGER orderledger_events_no_delete BEFORE DELETE ON orderledger_events BEGIN
    SELECT RAISE(ABORT, 'events are append-only: DELETE is refused');
END;

CREATE TRIGGER orderledger_events_no_replace BEFORE INSERT ON orderledger_events
WHEN EXISTS (SELECT 1 FROM orderledger_events WHERE row_id = NEW.row_id)
    OR EXISTS (
        SELECT 1 FROM orderledger_events
        WHERE book_id = NEW.book_id AND stream = NEW.stream AND version = NEW.version
    )
    OR EXISTS (SELECT 1 FROM orderledger_events WHERE event_id = NEW.event_id)
BEGIN
    SELECT RAISE(ABORT, 'duplicate event: the id, or the version of the stream, is taken');
END;

CREATE TRIGGER orderledger_log_no_update BEFORE UPDATE ON orderledger_log BEGIN
    SELECT RAISE(ABORT, 'the log is append-only: UPDATE is refused');
END;

CREATE TRIGGER orderledger_log_no_delete BEFORE DELETE ON orderledger_log BEGIN
    SELECT RAISE(ABORT, 'the log is append-only: DELETE is refused');
END;

-- Positions run from 1 without a gap and recorded_at increases; this also refuses a replacement.
CREATE TRIGGER orderledger_log_continues BEFORE INSERT ON orderledger_log BEGIN
    SELECT RAISE(ABORT, 'the log continues at its last position + 1, at a later instant')
    WHERE EXISTS (SELECT 1 FROM orderledger_log WHERE row_id = NEW.row_id)
        OR NEW.position IS NOT coalesce(
            (
                SELECT CASE WHEN last.recorded_at < NEW.recorded_at THEN last.position END + 1
                FROM orderledger_log AS last
                WHERE last.book_id = NEW.book_id
                ORDER BY last.position DESC
                LIMIT 1
            ),
            CASE
                WHEN NOT EXISTS (
                    SELECT 1 FROM orderledger_log AS any_row WHERE any_row.book_id = NEW.book_id
                )
                THEN 1
            END
        );
END;

CREATE TRIGGER orderledger_tiles_no_update BEFORE UPDATE ON orderledger_tiles BEGIN
    SELECT RAISE(ABORT, 'tiles are append-only: UPDATE is refused');
END;

CREATE TRIGGER orderledger_tiles_no_delete BEFORE DELETE ON orderledger_tiles BEGIN
    SELECT RAISE(ABORT, 'tiles are append-only: DELETE is refused');
END;

CREATE TRIGGER orderledger_tiles_no_replace BEFORE INSERT ON orderledger_tiles
WHEN EXISTS (
    SELECT 1 FROM orderledger_tiles
    WHERE book_id = NEW.book_id AND level = NEW.level AND tile_index = NEW.tile_index
)
BEGIN
    SELECT RAISE(ABORT, 'tiles are append-only: the tile exists');
END;

CREATE TRIGGER orderledger_commands_no_update BEFORE UPDATE ON orderledger_commands BEGIN
    SELECT RAISE(ABORT, 'the record of a command is final: UPDATE is refused');
END;

-- The balance guard. Every line is `layer account currency amount`; the legs of each layer and
-- currency sum to zero. SQLite's integers have 64 bits and amounts up to 30 digits, so the sum is
-- taken in two limbs, the low 15 digits and the rest: exact for 4,000 legs, and an overflow beyond
-- that is an error, not a wrong sum. LIMIT -1 keeps SQLite from repeating the inner expressions in
-- every use (7 instead of 30 microseconds an event). A quote or a backslash could end a line early
-- in the JSON array that splits the text, so neither may occur.
CREATE TRIGGER orderledger_events_balanced BEFORE INSERT ON orderledger_events
WHEN NEW.postings <> ''
BEGIN
    SELECT RAISE(ABORT, 'unbalanced postings: malformed, fewer than two legs, or not summing to zero')
    WHERE instr(NEW.postings, char(10)) = 0
        OR instr(NEW.postings, '"')
        OR instr(NEW.postings, '\')
        OR EXISTS (
            SELECT 1
            FROM (
                SELECT stem, substr(line, length(stem) + 1) AS amount
                FROM (
                    SELECT value AS line, rtrim(value, '-0123456789') AS stem
                    FROM json_each('["' || replace(NEW.postings, char(10), '","') || '"]')
                    LIMIT -1
                )
                LIMIT -1
            )
            -- Layer and currency: the first five characters, and what follows the account, which
            -- begins no later than the eighth and ends at the next space.
            GROUP BY substr(stem, 1, 5) || substr(stem, 7 + instr(substr(stem, 8), ' '))
            HAVING
                sum(
                    CASE WHEN length(amount) <= 15 THEN CAST(amount AS INTEGER)
                    ELSE (1 - 2 * (substr(amount, 1, 1) = '-')) * CAST(substr(amount, -15) AS INTEGER)
                    END
                ) % 1000000000000000 <> 0
                OR sum(
                    CASE WHEN length(amount) <= 15 THEN CAST(amount AS INTEGER)
                    ELSE (1 - 2 * (substr(amount, 1, 1) = '-')) * CAST(substr(amount, -15) AS INTEGER)
                    END
                ) / 1000000000000000
                + sum(
                    CASE WHEN length(amount) <= 15 THEN 0
                    ELSE CAST(substr(amount, 1, length(amount) - 15) AS INTEGER)
                    END
                ) <> 0
                OR NOT min(
                    CASE WHEN length(amount) <= 15
                        THEN CAST(CAST(amount AS INTEGER) AS TEXT) = amount
                    ELSE
                        amount GLOB '[-1-9][0-9]*'
                        AND ltrim(amount, '-') NOT GLOB '*[^0-9]*'
                        AND length(ltrim(amount, '-')) <= 30
                    END
                    AND (
                        stem GLOB 'posted [aeil]*:* [A-Z]* ' OR stem GLOB 'held [aeil]*:* [A-Z]* '
                    )
                    AND stem NOT GLOB '* * * * *'
                )
        );
END;

-- The public reading surface: events in their order, ids as text.
CREATE VIEW orderledger_journal AS
SELECT
    books.name AS book,
    log.position,
    log.recorded_at,
    events.stream,
    events.version,
    events.topic,
    events.occurred_at,
    events.appended_at,
    lower(hex(events.event_id)) AS event_id,
    lower(hex(events.command_id)) AS command_id,
    events.context,
    events.postings,
    events.payload
FROM orderledger_log AS log
JOIN orderledger_events AS events ON events.row_id = log.row_id
JOIN orderledger_books AS books ON books.book_id = log.book_id;
