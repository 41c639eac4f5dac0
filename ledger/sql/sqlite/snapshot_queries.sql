-- Named statements of the snapshots of a book: `-- name: x` starts statement x. Not a migration.

-- name: put
INSERT INTO orderledger_snapshots (
    book_id, kind, subject, version, position, leaf_hash, fingerprint, codec, erasure_epoch,
    body_hash, size, taken_at, body
) VALUES (
    :book_id, :kind, :subject, :version, :position, :leaf_hash, :fingerprint, :codec,
    :erasure_epoch, :body_hash, :size, :taken_at, :body
) ON CONFLICT (book_id, kind, subject, position) DO UPDATE SET
    version = excluded.version, leaf_hash = excluded.leaf_hash, fingerprint = excluded.fingerprint,
    codec = excluded.codec, erasure_epoch = excluded.erasure_epoch,
    body_hash = excluded.body_hash, size = excluded.size, taken_at = excluded.taken_at,
    body = excluded.body;

-- name: put_part
INSERT INTO orderledger_snapshot_parts (book_id, subject, hash, body)
VALUES (:book_id, :subject, :hash, :body)
ON CONFLICT (book_id, subject, hash) DO UPDATE SET body = excluded.body;

-- name: newest
-- :subjects is a JSON array.
SELECT s.kind, s.subject, s.version, s.position, s.leaf_hash, s.fingerprint, s.codec,
    s.erasure_epoch, s.body_hash, s.size, s.taken_at
FROM json_each(:subjects) AS wanted
CROSS JOIN orderledger_snapshots s
    ON s.book_id = :book_id AND s.kind = :kind AND s.subject = wanted.value
    AND s.position = (
        SELECT max(position) FROM orderledger_snapshots
        WHERE book_id = :book_id AND kind = :kind AND subject = wanted.value
            AND position <= :until
    );

-- name: headers
SELECT kind, subject, version, position, leaf_hash, fingerprint, codec, erasure_epoch, body_hash,
    size, taken_at
FROM orderledger_snapshots
WHERE book_id = :book_id AND kind = :kind AND subject = :subject
ORDER BY position;

-- name: page
SELECT kind, subject, version, position, leaf_hash, fingerprint, codec, erasure_epoch, body_hash,
    size, taken_at
FROM orderledger_snapshots
WHERE book_id = :book_id AND kind = :kind AND (subject, position) > (:subject, :position)
ORDER BY subject, position LIMIT :limit;

-- name: body
SELECT body FROM orderledger_snapshots
WHERE book_id = :book_id AND kind = :kind AND subject = :subject AND position = :position
    AND body_hash = :body_hash;

-- name: part
SELECT body FROM orderledger_snapshot_parts
WHERE book_id = :book_id AND subject = :subject AND hash = :hash;

-- name: drop
DELETE FROM orderledger_snapshots
WHERE book_id = :book_id AND kind = :kind AND subject = :subject AND position = :position
    AND body_hash = :body_hash;

-- name: bodies
SELECT body FROM orderledger_snapshots
WHERE book_id = :book_id AND kind = 'model' AND subject = :subject;

-- name: hashes
SELECT hash FROM orderledger_snapshot_parts WHERE book_id = :book_id AND subject = :subject;

-- name: drop_part
DELETE FROM orderledger_snapshot_parts
WHERE book_id = :book_id AND subject = :subject AND hash = :hash;
