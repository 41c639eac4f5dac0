-- Named statements of the snapshots of a book: `-- name: x` starts statement x. Not a migration.

-- name: put
INSERT INTO orderledger.snapshots (
    book_id, kind, subject, version, position, leaf_hash, fingerprint, codec, erasure_epoch,
    body_hash, size, taken_at, body
) VALUES (
    %(book_id)s, %(kind)s, %(subject)s, %(version)s, %(position)s, %(leaf_hash)s, %(fingerprint)s,
    %(codec)s, %(erasure_epoch)s, %(body_hash)s, %(size)s, %(taken_at)s, %(body)s
) ON CONFLICT (book_id, kind, subject, position) DO UPDATE SET
    version = excluded.version, leaf_hash = excluded.leaf_hash, fingerprint = excluded.fingerprint,
    codec = excluded.codec, erasure_epoch = excluded.erasure_epoch,
    body_hash = excluded.body_hash, size = excluded.size, taken_at = excluded.taken_at,
    body = excluded.body;

-- name: put_part
INSERT INTO orderledger.snapshot_parts (book_id, subject, hash, body)
VALUES (%(book_id)s, %(subject)s, %(hash)s, %(body)s)
ON CONFLICT (book_id, subject, hash) DO UPDATE SET body = excluded.body;

-- name: newest
SELECT s.kind, s.subject, s.version, s.position, s.leaf_hash, s.fingerprint, s.codec,
    s.erasure_epoch, s.body_hash, s.size, s.taken_at
FROM unnest(%(subjects)s::text[]) AS wanted (subject)
CROSS JOIN LATERAL (
    SELECT * FROM orderledger.snapshots s
    WHERE s.book_id = %(book_id)s AND s.kind = %(kind)s AND s.subject = wanted.subject
        AND s.position <= %(until)s
    ORDER BY s.position DESC LIMIT 1
) s;

-- name: headers
SELECT kind, subject, version, position, leaf_hash, fingerprint, codec, erasure_epoch, body_hash,
    size, taken_at
FROM orderledger.snapshots
WHERE book_id = %(book_id)s AND kind = %(kind)s AND subject = %(subject)s
ORDER BY position;

-- name: page
SELECT kind, subject, version, position, leaf_hash, fingerprint, codec, erasure_epoch, body_hash,
    size, taken_at
FROM orderledger.snapshots
WHERE book_id = %(book_id)s AND kind = %(kind)s
    AND (subject, position) > (%(subject)s, %(position)s::bigint)
ORDER BY subject, position LIMIT %(limit)s;

-- name: body
SELECT body FROM orderledger.snapshots
WHERE book_id = %(book_id)s AND kind = %(kind)s AND subject = %(subject)s
    AND position = %(position)s AND body_hash = %(body_hash)s;

-- name: part
SELECT body FROM orderledger.snapshot_parts
WHERE book_id = %(book_id)s AND subject = %(subject)s AND hash = %(hash)s;

-- name: drop
DELETE FROM orderledger.snapshots
WHERE book_id = %(book_id)s AND kind = %(kind)s AND subject = %(subject)s
    AND position = %(position)s AND body_hash = %(body_hash)s;

-- name: patience
-- Nobody waits for who takes a snapshot, and its turn may come late.
SET LOCAL lock_timeout = '30s';

-- name: take_turn
-- Who writes snapshots of a read model and who sweeps their parts go one after the other: a part is
-- not deleted between the look for what names it and the commit of what names it.
SELECT pg_advisory_xact_lock(
    hashtext('orderledger snapshots of ' || %(subject)s::text), %(book_id)s
);

-- name: bodies
SELECT body FROM orderledger.snapshots
WHERE book_id = %(book_id)s AND kind = 'model' AND subject = %(subject)s;

-- name: hashes
SELECT hash FROM orderledger.snapshot_parts
WHERE book_id = %(book_id)s AND subject = %(subject)s;

-- name: drop_part
DELETE FROM orderledger.snapshot_parts
WHERE book_id = %(book_id)s AND subject = %(subject)s AND hash = %(hash)s;
