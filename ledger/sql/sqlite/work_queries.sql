-- Named statements of the work of a book: `-- name: x` starts statement x. Not a migration.

-- name: put
INSERT INTO orderledger_work (
    book_id, lane, key, kind, payload, origin, streams, created_at, due_at
) VALUES (
    :book_id, :lane, :key, :kind, :payload, :origin, :streams, :created_at, :due_at
) ON CONFLICT (book_id, lane, key) DO NOTHING RETURNING number;

-- name: put_stream
INSERT INTO orderledger_work_streams (book_id, lane, stream, number)
VALUES (:book_id, :lane, :stream, :number);

-- name: lease
UPDATE orderledger_work
SET owner = :owner, leased_until = :until, attempts = attempts + 1
WHERE number IN (
    SELECT w.number FROM orderledger_work w
    WHERE w.book_id = :book_id AND w.lane = :lane AND w.status = 'waiting' AND w.due_at <= :now
        AND (w.owner = '' OR w.leased_until <= :now)
        AND NOT EXISTS (
            SELECT 1 FROM orderledger_work_streams mine
            JOIN orderledger_work_streams other ON other.book_id = mine.book_id
                AND other.lane = mine.lane AND other.stream = mine.stream
                AND other.number < mine.number
            WHERE mine.number = w.number
        )
    ORDER BY w.number LIMIT :limit
)
RETURNING *;

-- name: conclude
UPDATE orderledger_work
SET status = :status, due_at = coalesce(:due_at, due_at), error = :error, result = :result,
    refusals = refusals + :refusal, owner = '', leased_until = NULL, finished_at = :finished_at
WHERE number = :number AND owner = :owner AND attempts = :attempts AND status = 'waiting';

-- name: free_streams
DELETE FROM orderledger_work_streams WHERE number = :number;

-- name: renew
UPDATE orderledger_work SET leased_until = :until
WHERE number = :number AND owner = :owner AND attempts = :attempts AND status = 'waiting';

-- name: find
SELECT * FROM orderledger_work WHERE book_id = :book_id AND lane = :lane AND key = :key;

-- name: list
SELECT * FROM orderledger_work
WHERE book_id = :book_id AND lane = :lane AND number > :after
    AND status = :status
ORDER BY number LIMIT :limit;

-- name: redrive
UPDATE orderledger_work
SET status = 'waiting', due_at = :now, attempts = 0, finished_at = NULL
WHERE book_id = :book_id AND lane = :lane AND key = :key AND status IN ('refused', 'dead', 'gone')
RETURNING number, streams;

-- name: discard
UPDATE orderledger_work
SET status = 'discarded', finished_at = :now, result = :result
WHERE book_id = :book_id AND lane = :lane AND key = :key AND status IN ('refused', 'dead');

-- name: depth
SELECT count(*) FILTER (WHERE status = 'waiting'),
    count(*) FILTER (WHERE status = 'waiting' AND due_at <= :now
        AND (owner = '' OR leased_until <= :now)),
    min(due_at) FILTER (WHERE status = 'waiting' AND due_at <= :now
        AND (owner = '' OR leased_until <= :now)),
    count(*) FILTER (WHERE status = 'waiting' AND owner <> '' AND leased_until > :now),
    count(*) FILTER (WHERE status = 'waiting' AND owner <> '' AND leased_until <= :now),
    count(*) FILTER (WHERE status = 'refused'),
    count(*) FILTER (WHERE status = 'dead')
FROM (
    SELECT status, due_at, owner, leased_until FROM orderledger_work
    WHERE book_id = :book_id AND lane = :lane AND status = 'waiting'
    UNION ALL
    SELECT status, due_at, owner, leased_until FROM orderledger_work
    WHERE book_id = :book_id AND lane = :lane AND status IN ('refused', 'dead')
);

-- name: reactors
SELECT reactor, position, leaf_hash, started_at_position, moved_at FROM orderledger_reactors
WHERE book_id = :book_id ORDER BY reactor;

-- name: start_reactor
INSERT INTO orderledger_reactors (
    book_id, reactor, position, leaf_hash, started_at_position, moved_at
) VALUES (
    :book_id, :reactor, :position, :leaf_hash, :started_at_position, :moved_at
) ON CONFLICT (book_id, reactor) DO NOTHING;

-- name: advance_reactor
UPDATE orderledger_reactors SET position = :position, leaf_hash = :leaf_hash, moved_at = :moved_at
WHERE book_id = :book_id AND reactor = :reactor
    AND position = :before_position AND leaf_hash = :before_leaf_hash;

-- name: beat
INSERT INTO orderledger_heartbeats (book_id, part, owner, seen_at, problem)
VALUES (:book_id, :part, :owner, :seen_at, :problem)
ON CONFLICT (book_id, part) DO UPDATE
SET owner = excluded.owner, seen_at = excluded.seen_at, problem = excluded.problem;

-- name: heartbeats
SELECT part, owner, seen_at, problem FROM orderledger_heartbeats
WHERE book_id = :book_id ORDER BY part;
