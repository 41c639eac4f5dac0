-- Named statements of the work of a book: `-- name: x` starts statement x. Not a migration.

-- name: find_book
SELECT book_id FROM orderledger.books WHERE name = %(book)s;

-- name: put
-- One statement, with the streams: a piece of work is never seen without them.
WITH made AS (
    INSERT INTO orderledger.work (
        book_id, lane, key, kind, payload, origin, streams, created_at, due_at
    ) VALUES (
        %(book_id)s, %(lane)s, %(key)s, %(kind)s, %(payload)s, %(origin)s, %(streams)s::text[],
        %(created_at)s, %(due_at)s
    ) ON CONFLICT (book_id, lane, key) DO NOTHING
    RETURNING number
), named AS (
    INSERT INTO orderledger.work_streams (book_id, lane, stream, number)
    SELECT %(book_id)s, %(lane)s, s.stream, made.number
    FROM made CROSS JOIN unnest(%(streams)s::text[]) AS s (stream)
)
SELECT number FROM made;

-- name: lease
UPDATE orderledger.work AS w
SET owner = %(owner)s, leased_until = %(until)s, attempts = w.attempts + 1
FROM (
    SELECT o.number FROM orderledger.work o
    WHERE o.book_id = %(book_id)s AND o.lane = %(lane)s AND o.status = 'waiting'
        AND o.due_at <= %(now)s AND (o.owner = '' OR o.leased_until <= %(now)s)
        AND NOT EXISTS (
            SELECT 1 FROM orderledger.work_streams mine
            JOIN orderledger.work_streams other ON other.book_id = mine.book_id
                AND other.lane = mine.lane AND other.stream = mine.stream
                AND other.number < mine.number
            WHERE mine.number = o.number
        )
    ORDER BY o.number LIMIT %(limit)s
    FOR UPDATE OF o SKIP LOCKED
) AS taken
WHERE w.number = taken.number
RETURNING w.number, w.lane, w.key, w.kind, w.payload, w.origin, w.streams, w.created_at, w.due_at,
    w.status, w.attempts, w.refusals, w.owner, w.leased_until, w.error, w.result, w.finished_at;

-- name: conclude
WITH done AS (
    UPDATE orderledger.work
    SET status = %(status)s, due_at = coalesce(%(due_at)s, due_at), error = %(error)s,
        result = %(result)s, refusals = refusals + %(refusal)s, owner = '', leased_until = NULL,
        finished_at = %(finished_at)s
    WHERE number = %(number)s AND owner = %(owner)s AND attempts = %(attempts)s
        AND status = 'waiting'
    RETURNING number, status
), freed AS (
    DELETE FROM orderledger.work_streams s USING done
    WHERE s.number = done.number AND done.status <> 'waiting'
)
SELECT number FROM done;

-- name: renew
UPDATE orderledger.work SET leased_until = %(until)s
WHERE number = %(number)s AND owner = %(owner)s AND attempts = %(attempts)s AND status = 'waiting';

-- name: find
SELECT number, lane, key, kind, payload, origin, streams, created_at, due_at, status, attempts,
    refusals, owner, leased_until, error, result, finished_at
FROM orderledger.work WHERE book_id = %(book_id)s AND lane = %(lane)s AND key = %(key)s;

-- name: list
SELECT number, lane, key, kind, payload, origin, streams, created_at, due_at, status, attempts,
    refusals, owner, leased_until, error, result, finished_at
FROM orderledger.work
WHERE book_id = %(book_id)s AND lane = %(lane)s AND number > %(after)s
    AND status = %(status)s
ORDER BY number LIMIT %(limit)s;

-- name: redrive
WITH again AS (
    UPDATE orderledger.work
    SET status = 'waiting', due_at = %(now)s, attempts = 0, finished_at = NULL
    WHERE book_id = %(book_id)s AND lane = %(lane)s AND key = %(key)s
        AND status IN ('refused', 'dead', 'gone')
    RETURNING number, streams
), named AS (
    INSERT INTO orderledger.work_streams (book_id, lane, stream, number)
    SELECT %(book_id)s, %(lane)s, s.stream, again.number
    FROM again CROSS JOIN unnest(again.streams) AS s (stream)
)
SELECT number FROM again;

-- name: discard
UPDATE orderledger.work
SET status = 'discarded', finished_at = %(now)s, result = %(result)s
WHERE book_id = %(book_id)s AND lane = %(lane)s AND key = %(key)s AND status IN ('refused', 'dead');

-- name: depth
WITH open AS (
    SELECT due_at <= %(now)s AND (owner = '' OR leased_until <= %(now)s) AS is_due, due_at,
        owner <> '' AS is_taken, leased_until > %(now)s AS is_held
    FROM orderledger.work
    WHERE book_id = %(book_id)s AND lane = %(lane)s AND status = 'waiting'
)
SELECT count(*), count(*) FILTER (WHERE is_due), min(due_at) FILTER (WHERE is_due),
    count(*) FILTER (WHERE is_taken AND is_held), count(*) FILTER (WHERE is_taken AND NOT is_held),
    (SELECT count(*) FROM orderledger.work
        WHERE book_id = %(book_id)s AND lane = %(lane)s AND status = 'refused'),
    (SELECT count(*) FROM orderledger.work
        WHERE book_id = %(book_id)s AND lane = %(lane)s AND status = 'dead')
FROM open;

-- name: reactors
SELECT reactor, position, leaf_hash, started_at_position, moved_at FROM orderledger.reactors
WHERE book_id = %(book_id)s ORDER BY reactor;

-- name: start_reactor
INSERT INTO orderledger.reactors (
    book_id, reactor, position, leaf_hash, started_at_position, moved_at
) VALUES (
    %(book_id)s, %(reactor)s, %(position)s, %(leaf_hash)s, %(started_at_position)s, %(moved_at)s
) ON CONFLICT (book_id, reactor) DO NOTHING;

-- name: advance_reactor
-- Waits for whoever moves it, and then matches no row.
UPDATE orderledger.reactors
SET position = %(position)s, leaf_hash = %(leaf_hash)s, moved_at = %(moved_at)s
WHERE book_id = %(book_id)s AND reactor = %(reactor)s
    AND position = %(before_position)s AND leaf_hash = %(before_leaf_hash)s;

-- name: beat
INSERT INTO orderledger.heartbeats (book_id, part, owner, seen_at, problem)
VALUES (%(book_id)s, %(part)s, %(owner)s, %(seen_at)s, %(problem)s)
ON CONFLICT (book_id, part) DO UPDATE
SET owner = excluded.owner, seen_at = excluded.seen_at, problem = excluded.problem;

-- name: heartbeats
SELECT part, owner, seen_at, problem FROM orderledger.heartbeats
WHERE book_id = %(book_id)s ORDER BY part;
