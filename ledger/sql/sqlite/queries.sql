-- Named statements of the SQLite store: `-- name: x` starts statement x. Not a migration.

-- name: find_book
SELECT book_id FROM orderledger_books WHERE name = :name;

-- name: create_book
INSERT INTO orderledger_books (name) VALUES (:name) ON CONFLICT (name) DO NOTHING;

-- name: head
SELECT position, recorded_at FROM orderledger_log WHERE book_id = ? ORDER BY position DESC LIMIT 1;

-- name: place
-- ?1 book, ?2 a stream, or '' for none. One row, also for a book without events: what an append has
-- to know before it writes.
SELECT
    books.constraint_generation,
    (SELECT max(row_id) FROM orderledger_events),
    (SELECT max(version) FROM orderledger_events WHERE book_id = ?1 AND stream = ?2),
    last.position,
    last.recorded_at
FROM orderledger_books AS books
LEFT JOIN orderledger_log AS last ON last.book_id = books.book_id
WHERE books.book_id = ?1
ORDER BY last.position DESC
LIMIT 1;

-- name: versions
-- ?1 book, ?2 JSON array of stream names; one row per name, in its order.
SELECT
    wanted.key,
    (SELECT max(version) FROM orderledger_events WHERE book_id = ?1 AND stream = wanted.value)
FROM json_each(?2) AS wanted;

-- name: insert_command
INSERT INTO orderledger_commands (
    book_id, key_hash, key, command_id, fingerprint, command, refused, reply, context, appended_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_event
INSERT INTO orderledger_events (
    row_id, book_id, event_id, stream, version, topic, occurred_at, appended_at, command_id,
    context, postings, payload
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_log
INSERT INTO orderledger_log (row_id, book_id, position, recorded_at, leaf_hash)
VALUES (?, ?, ?, ?, ?);

-- name: insert_tile
INSERT INTO orderledger_tiles (book_id, level, tile_index, root) VALUES (?, ?, ?, ?);

-- name: leaf_hashes
SELECT leaf_hash FROM orderledger_log WHERE book_id = ? AND position > ? ORDER BY position LIMIT ?;

-- name: tile_roots
SELECT root FROM orderledger_tiles
WHERE book_id = ? AND level = ? AND tile_index >= ?
ORDER BY tile_index
LIMIT ?;

-- name: find_command
SELECT key, command_id, fingerprint, command, refused, reply, appended_at
FROM orderledger_commands
WHERE book_id = ? AND key_hash = ?;

-- name: command_by_id
-- A scan: whoever has a command's id and not its key asks seldom.
SELECT key, command_id, fingerprint, command, refused, reply, appended_at
FROM orderledger_commands
WHERE book_id = ? AND command_id = ?;

-- name: refusals
-- By an index of these alone; ?2 is the last key hash of the page before.
SELECT key, command_id, fingerprint, command, refused, reply, appended_at, key_hash
FROM orderledger_commands
WHERE book_id = ? AND key_hash > ? AND refused = 1
ORDER BY key_hash
LIMIT ?;

-- name: generation
SELECT constraint_generation FROM orderledger_books WHERE book_id = ?;

-- name: raise_generation
UPDATE orderledger_books SET constraint_generation = constraint_generation + 1 WHERE book_id = ?;

-- name: insert_constrained
INSERT INTO orderledger_constrained_accounts (book_id, account, generation) VALUES (?, ?, ?)
ON CONFLICT (book_id, account) DO UPDATE SET generation = excluded.generation;

-- name: close_until
UPDATE orderledger_books
SET closed_until = ?, constraint_generation = constraint_generation + 1
WHERE book_id = ?;

-- name: entries_before
-- ?1 book, ?2 after position, ?3 up to position, ?4 an instant. A scan, for the closing of a period.
SELECT postings
FROM orderledger_log AS log
CROSS JOIN orderledger_events AS events ON events.row_id = log.row_id
WHERE log.book_id = ?1 AND position > ?2 AND position <= ?3
    AND postings <> '' AND occurred_at < ?4;

-- name: first_entry_before
-- Parameters as of entries_before.
SELECT position, stream, occurred_at
FROM orderledger_log AS log
CROSS JOIN orderledger_events AS events ON events.row_id = log.row_id
WHERE log.book_id = ?1 AND position > ?2 AND position <= ?3
    AND postings <> '' AND occurred_at < ?4
ORDER BY position
LIMIT 1;

-- name: constraints
-- One row at least, so that generation and accounts are of one snapshot.
SELECT books.constraint_generation, constrained_accounts.account, books.closed_until
FROM orderledger_books AS books
LEFT JOIN orderledger_constrained_accounts AS constrained_accounts
    ON constrained_accounts.book_id = books.book_id
WHERE books.book_id = ?;

-- name: postings_of_account
-- ?1 book, ?2 after row id, ?3 the account between two spaces. A scan: it runs when an account
-- becomes constrained, which is rare, and all but its last rows outside the write lock.
SELECT row_id, postings FROM orderledger_events
WHERE book_id = ?1 AND row_id > ?2 AND postings <> '' AND instr(postings, ?3) > 0
ORDER BY row_id;

-- name: load
SELECT event_id, stream, version, topic, occurred_at, postings, payload
FROM orderledger_events
WHERE book_id = ? AND stream = ? AND version > ?
ORDER BY version
LIMIT ?;

-- name: stream_page
SELECT
    position, recorded_at, event_id, stream, version, topic, occurred_at, appended_at, command_id,
    context, postings, payload
FROM orderledger_events AS events
JOIN orderledger_log AS log ON log.row_id = events.row_id
WHERE events.book_id = ? AND stream = ? AND version > ? AND version <= ?
ORDER BY version
LIMIT ?;

-- name: read
SELECT
    position, recorded_at, event_id, stream, version, topic, occurred_at, appended_at, command_id,
    context, postings, payload
FROM orderledger_log AS log
CROSS JOIN orderledger_events AS events ON events.row_id = log.row_id
WHERE log.book_id = ? AND position > ? AND position <= ?
ORDER BY position
LIMIT ?;

-- name: streams
-- ?1 book, ?2 first name allowed, ?3 name to start after, ?4 limit. Jumps from name to name in the
-- index, whatever the number of events of each. The caller stops where the prefix ends.
WITH RECURSIVE names (stream) AS (
    SELECT min(stream) FROM orderledger_events WHERE book_id = ?1 AND stream >= ?2 AND stream > ?3
    UNION ALL
    SELECT (SELECT min(stream) FROM orderledger_events WHERE book_id = ?1 AND stream > names.stream)
    FROM names
    WHERE names.stream IS NOT NULL
    LIMIT ?4
)
SELECT stream FROM names WHERE stream IS NOT NULL;

-- name: position_of
SELECT position, recorded_at
FROM orderledger_events AS events
JOIN orderledger_log AS log ON log.row_id = events.row_id
WHERE event_id = ? AND events.book_id = ?;
