-- Every statement that the store runs. Placeholders are psycopg's.

-- name: append
SELECT first_position, recorded_at FROM orderledger.append(
    %s::integer, %s::boolean, %s::timestamptz, %s::bigint, %s::timestamptz,
    %s::uuid[], %s::text[], %s::uuid[], %s::bytea[], %s::text[], %s::boolean[], %s::text[],
    %s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::timestamptz[], %s::uuid[], %s::text[],
    %s::text[], %s::text[], %s::uuid[], %s::bytea[], %s::text[], %s::bigint[], %s::text[],
    %s::bigint[])

-- name: append_one
SELECT first_position, recorded_at FROM orderledger.append_one(
    %s::integer, %s::timestamptz, %s::bigint, %s::timestamptz,
    %s::uuid, %s::text, %s::uuid, %s::bytea, %s::text, %s::boolean, %s::text,
    %s::uuid, %s::text, %s::bigint, %s::text, %s::timestamptz, %s::text, %s::text, %s::text,
    %s::bytea)

-- name: sequence
SELECT orderledger.sequence(%s::integer, %s::timestamptz, %s::bigint, %s::integer)

-- name: ensure_book
SELECT orderledger.ensure_book(%s::text)

-- name: begin_constrain
SELECT orderledger.begin_constrain(%s::integer)

-- name: end_constrain
SELECT orderledger.end_constrain(%s::integer, %s::text)

-- name: account_net
SELECT layer, currency, minor
FROM orderledger.account_net(%s::integer, %s::text, %s::bigint, %s::bigint)

-- name: close_until
SELECT orderledger.end_constrain(%s::integer, %s::timestamptz)

-- name: net_before
-- Net per account over the entries at positions of a span that are effective before an instant.
SELECT split_part(leg, ' ', 2), split_part(leg, ' ', 3), split_part(leg, ' ', 1),
    sum(split_part(leg, ' ', 4)::numeric)
FROM orderledger.log l
JOIN orderledger.events e ON e.event_id = l.event_id,
    string_to_table(e.postings, E'\n') AS leg
WHERE l.book_id = %s AND l.position > %s AND l.position <= %s
    AND e.postings <> '' AND e.occurred_at < %s
GROUP BY 1, 2, 3 HAVING sum(split_part(leg, ' ', 4)::numeric) <> 0

-- name: net_before_since
-- The same for the few positions that were given since: it runs while nobody can append, and must
-- not scan the table, whatever the planner expects.
SELECT split_part(leg, ' ', 2), split_part(leg, ' ', 3), split_part(leg, ' ', 1),
    sum(split_part(leg, ' ', 4)::numeric)
FROM (
    SELECT * FROM orderledger.log l
    WHERE l.book_id = %s AND l.position > %s AND l.position <= %s ORDER BY l.position
) l
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.events e WHERE e.event_id = l.event_id LIMIT 1
) e,
    string_to_table(e.postings, E'\n') AS leg
WHERE e.postings <> '' AND e.occurred_at < %s
GROUP BY 1, 2, 3 HAVING sum(split_part(leg, ' ', 4)::numeric) <> 0

-- name: first_entry_before
SELECT l.position, e.stream, e.occurred_at
FROM orderledger.log l
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.events e WHERE e.event_id = l.event_id LIMIT 1
) e
WHERE l.book_id = %s AND l.position > %s AND l.position <= %s
    AND e.postings <> '' AND e.occurred_at < %s
ORDER BY l.position LIMIT 1

-- name: archive_commands
SELECT orderledger.archive_commands(%s::integer, %s::timestamptz, %s::integer)

-- name: constraints
SELECT b.constraint_generation, b.closed_until, ARRAY(
    SELECT a.account FROM orderledger.constrained_accounts a WHERE a.book_id = b.book_id)
FROM orderledger.books b WHERE b.book_id = %s

-- name: commands
SELECT c.key_hash, c.key, c.command_id, c.fingerprint, c.command, c.refused, c.reply,
    c.appended_at
FROM unnest(%s::uuid[]) AS k (key_hash)
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.commands m
    WHERE m.book_id = %s AND m.key_hash = k.key_hash
    UNION ALL
    SELECT * FROM orderledger.commands_archive m
    WHERE m.book_id = %s AND m.key_hash = k.key_hash
    OFFSET 0
) c

-- name: command_by_id
-- A scan: whoever has a command's id and not its key asks seldom.
SELECT key_hash, key, command_id, fingerprint, command, refused, reply, appended_at
FROM orderledger.commands WHERE book_id = %(book)s AND command_id = %(id)s
UNION ALL
SELECT key_hash, key, command_id, fingerprint, command, refused, reply, appended_at
FROM orderledger.commands_archive WHERE book_id = %(book)s AND command_id = %(id)s

-- name: refusals
-- By indexes of these alone, after a key hash; a record is in one table or the other.
SELECT key_hash, key, command_id, fingerprint, command, refused, reply, appended_at
FROM (
    (SELECT * FROM orderledger.commands
     WHERE book_id = %(book)s AND refused AND key_hash > %(after)s
     ORDER BY key_hash LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM orderledger.commands_archive
     WHERE book_id = %(book)s AND refused AND key_hash > %(after)s
     ORDER BY key_hash LIMIT %(limit)s)
) c
ORDER BY key_hash LIMIT %(limit)s

-- name: versions
-- The last version per stream; streams that do not exist are left out.
SELECT u.stream, e.version
FROM unnest(%s::text[]) AS u (stream)
CROSS JOIN LATERAL (
    SELECT e.version FROM orderledger.events e
    WHERE e.book_id = %s AND e.stream = u.stream ORDER BY e.version DESC LIMIT 1
) e

-- name: load
-- LATERAL with ORDER BY or LIMIT, here and below: whatever it estimates, the planner then cannot
-- hash the whole table to find a few rows.
SELECT e.event_id, e.stream, e.version, e.topic, e.occurred_at, e.postings, e.payload
FROM unnest(%s::text[], %s::bigint[]) AS u (stream, after)
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.events e
    WHERE e.book_id = %s AND e.stream = u.stream AND e.version > u.after
    ORDER BY e.version LIMIT %s::bigint
) e
ORDER BY u.stream COLLATE "C", e.version

-- name: stream
SELECT l.position, l.recorded_at, e.event_id, e.stream, e.version, e.topic, e.occurred_at,
    e.appended_at, e.command_id, e.context, e.postings, e.payload
FROM (
    SELECT * FROM orderledger.events e
    WHERE e.book_id = %s AND e.stream = %s AND e.version > %s AND e.version <= %s
    ORDER BY e.version LIMIT %s
) e
LEFT JOIN LATERAL (
    SELECT * FROM orderledger.log l WHERE l.event_id = e.event_id LIMIT 1
) l ON true
ORDER BY e.version

-- name: read
SELECT l.position, l.recorded_at, e.event_id, e.stream, e.version, e.topic, e.occurred_at,
    e.appended_at, e.command_id, e.context, e.postings, e.payload
FROM (
    SELECT * FROM orderledger.log l
    WHERE l.book_id = %s AND l.position > %s AND l.position <= %s ORDER BY l.position LIMIT %s
) l
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.events e WHERE e.event_id = l.event_id LIMIT 1
) e
ORDER BY l.position

-- name: streams
-- One index probe per stream, however many events each has. U+10FFFF sorts behind every name.
WITH RECURSIVE found AS (
    (SELECT e.stream, 1 AS n FROM orderledger.events e
     WHERE e.book_id = %(book)s AND e.stream > %(after)s AND e.stream >= %(prefix)s
         AND e.stream < %(prefix)s || U&'\+10FFFF'
     ORDER BY e.stream LIMIT 1)
    UNION ALL
    SELECT s.stream, f.n + 1
    FROM found f
    CROSS JOIN LATERAL (
        SELECT e.stream FROM orderledger.events e
        WHERE e.book_id = %(book)s AND e.stream > f.stream
            AND e.stream < %(prefix)s || U&'\+10FFFF'
        ORDER BY e.stream LIMIT 1
    ) s
    WHERE f.n < %(limit)s
)
SELECT stream FROM found LIMIT %(limit)s

-- name: positions
SELECT l.event_id, l.position, l.recorded_at
FROM unnest(%s::uuid[]) AS u (id)
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.log l WHERE l.event_id = u.id AND l.book_id = %s LIMIT 1
) l

-- name: head
SELECT position, recorded_at FROM orderledger.log
WHERE book_id = %s ORDER BY position DESC LIMIT 1

-- name: pending
SELECT coalesce(sum(cardinality(event_ids)), 0)::bigint FROM orderledger.pending WHERE book_id = %s

-- name: first_pending
SELECT id FROM orderledger.pending WHERE book_id = %s ORDER BY id LIMIT 1

-- name: leaf_hashes
SELECT leaf_hash FROM orderledger.log
WHERE book_id = %s AND position > %s ORDER BY position LIMIT %s

-- name: tiles
SELECT root FROM orderledger.tiles WHERE book_id = %s AND level = %s ORDER BY index
