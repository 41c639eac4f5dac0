-- Named statements of the eventsourcing adapter on PostgreSQL. Not a migration.

-- name: book_id
SELECT book_id FROM orderledger.books WHERE name = %s;

-- name: track
-- Changes no row when the consumer is already there or further.
INSERT INTO orderledger.tracking AS t (book_id, application_name, notification_id)
VALUES (%s, %s, %s)
ON CONFLICT (book_id, application_name) DO UPDATE SET notification_id = excluded.notification_id
WHERE t.notification_id < excluded.notification_id;

-- name: tracked
SELECT notification_id FROM orderledger.tracking WHERE book_id = %s AND application_name = %s;

-- name: insert_snapshot
INSERT INTO orderledger.aggregate_snapshots (book_id, purpose, stream, version, topic, state)
VALUES (%s, %s, %s, %s, %s, %s);

-- name: snapshots_ascending
SELECT version, topic, state FROM orderledger.aggregate_snapshots
WHERE book_id = %s AND purpose = %s AND stream = %s AND version > %s AND version <= %s
ORDER BY version
LIMIT %s;

-- name: snapshots_descending
SELECT version, topic, state FROM orderledger.aggregate_snapshots
WHERE book_id = %s AND purpose = %s AND stream = %s AND version > %s AND version <= %s
ORDER BY version DESC
LIMIT %s;
