-- Named statements of the eventsourcing adapter on SQLite. Not a migration.

-- name: track
-- Changes no row when the consumer is already there or further.
INSERT INTO orderledger_tracking AS tracking (book_id, application_name, notification_id)
VALUES (?, ?, ?)
ON CONFLICT (book_id, application_name) DO UPDATE SET notification_id = excluded.notification_id
WHERE tracking.notification_id < excluded.notification_id;

-- name: tracked
SELECT notification_id FROM orderledger_tracking WHERE book_id = ? AND application_name = ?;

-- name: insert_snapshot
INSERT INTO orderledger_aggregate_snapshots (book_id, purpose, stream, version, topic, state)
VALUES (?, ?, ?, ?, ?, ?);

-- name: snapshots_ascending
SELECT version, topic, state FROM orderledger_aggregate_snapshots
WHERE book_id = ? AND purpose = ? AND stream = ? AND version > ? AND version <= ?
ORDER BY version
LIMIT ?;

-- name: snapshots_descending
SELECT version, topic, state FROM orderledger_aggregate_snapshots
WHERE book_id = ? AND purpose = ? AND stream = ? AND version > ? AND version <= ?
ORDER BY version DESC
LIMIT ?;
