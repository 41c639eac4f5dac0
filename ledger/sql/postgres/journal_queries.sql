-- Named statements of the balance read model: `-- name: x` starts statement x. Not a migration.
-- Every selection binds the same names; an account alone is a range from itself to itself.

-- name: find_book
SELECT book_id FROM orderledger.books WHERE name = %(book)s;

-- name: checkpoint
SELECT version, position, leaf_hash FROM orderledger.projection_checkpoints
WHERE book_id = %(book_id)s AND projection = %(projection)s;

-- name: first_checkpoint
INSERT INTO orderledger.projection_checkpoints (book_id, projection, version, position, leaf_hash)
VALUES (%(book_id)s, %(projection)s, %(version)s, %(position)s, %(leaf_hash)s)
ON CONFLICT (book_id, projection) DO NOTHING;

-- name: move_checkpoint
-- Waits for whoever moves it, and then matches no row.
UPDATE orderledger.projection_checkpoints
SET version = %(version)s, position = %(position)s, leaf_hash = %(leaf_hash)s
WHERE book_id = %(book_id)s
    AND projection = %(projection)s
    AND version = %(before_version)s
    AND position = %(before_position)s
    AND leaf_hash = %(before_leaf_hash)s;

-- name: insert_lines
-- Amounts come as decimal text, exact at any size.
INSERT INTO orderledger.journal_lines (
    book_id, position, line_no, account, currency, layer, minor, effective_at, recorded_at
)
SELECT %s, unnest(%s::bigint[]), unnest(%s::bigint[])::integer, unnest(%s::text[]),
    unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[])::numeric,
    unnest(%s::timestamptz[]), unnest(%s::timestamptz[]);

-- name: patience
-- A batch of another process takes longer than an append may wait.
SET LOCAL lock_timeout = '30s';

-- name: clear_checkpoint
DELETE FROM orderledger.projection_checkpoints
WHERE book_id = %(book_id)s AND projection = %(projection)s;

-- name: clear_lines
DELETE FROM orderledger.journal_lines WHERE book_id = %(book_id)s;

-- name: totals
SELECT account, currency, layer, sum(minor)
FROM orderledger.journal_lines
WHERE book_id = %(book_id)s
    AND account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
GROUP BY account, currency, layer
ORDER BY account, currency, layer;

-- name: uses
SELECT
    account, count(*), min(effective_at), max(effective_at), min(position), max(position)
FROM orderledger.journal_lines
WHERE book_id = %(book_id)s
    AND account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
GROUP BY account
ORDER BY account;

-- name: lines
SELECT
    position, line_no, account, currency, layer, minor, effective_at, recorded_at
FROM orderledger.journal_lines
WHERE book_id = %(book_id)s
    AND (position, line_no) > (%(after_position)s, %(after_line_no)s)
    AND position <= %(until)s
    AND account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
ORDER BY position, line_no
LIMIT %(limit)s;

-- name: lines_by_effect
SELECT
    position, line_no, account, currency, layer, minor, effective_at, recorded_at
FROM orderledger.journal_lines
WHERE book_id = %(book_id)s
    AND account = %(first)s
    AND currency = %(currency)s
    AND layer = %(layer)s
    AND (effective_at, position, line_no) > (
        coalesce(%(after_effective_at)s::timestamptz, '-infinity'),
        %(after_position)s,
        %(after_line_no)s
    )
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
ORDER BY effective_at, position, line_no
LIMIT %(limit)s;
