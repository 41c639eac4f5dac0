-- Named statements of a verification: `-- name: x` starts statement x. Not a migration.

-- name: records
SELECT key_hash, key, command_id, appended_at, fingerprint, command, refused, reply
FROM orderledger_commands
WHERE book_id = ? AND key_hash > ?
ORDER BY key_hash
LIMIT ?;

-- name: duplicates
-- The first from an index; the second sorts, in the database's own temporary space.
SELECT 'events', 'event_id', event_id, count(*) FROM orderledger_events
GROUP BY event_id HAVING count(*) > 1
UNION ALL
SELECT 'commands', 'command_id', command_id, count(*) FROM orderledger_commands
GROUP BY command_id HAVING count(*) > 1
LIMIT 100;

-- name: loose_work
SELECT w.number FROM orderledger_work AS w
WHERE w.book_id = :book_id
    AND (
        SELECT coalesce(group_concat(s.stream, char(10)), '')
        FROM (
            SELECT stream FROM orderledger_work_streams
            WHERE number = w.number AND book_id = w.book_id AND lane = w.lane ORDER BY stream
        ) AS s
    ) <> CASE w.status
        WHEN 'waiting' THEN (
            SELECT coalesce(group_concat(value, char(10)), '')
            FROM (SELECT value FROM json_each(w.streams) ORDER BY value)
        )
        ELSE ''
    END
ORDER BY w.number LIMIT 100;

-- name: guards
SELECT type || ':' || name, sql FROM sqlite_schema
WHERE sql IS NOT NULL AND name GLOB 'orderledger_*' AND name NOT GLOB 'orderledger_rm_*'
    AND type IN ('table', 'index', 'trigger')
UNION ALL
-- Another's trigger on one of our tables does what it likes with our rows.
SELECT 'trigger:' || name, sql FROM sqlite_schema
WHERE type = 'trigger' AND tbl_name GLOB 'orderledger_*' AND name NOT GLOB 'orderledger_*';
