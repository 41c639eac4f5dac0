-- Named statements of the read models' catalogue: `-- name: x` starts statement x. Not a migration.

-- name: find_book
SELECT book_id FROM orderledger.books WHERE name = %(book)s;

-- name: generations
SELECT model, number, version, fingerprint, state, position, leaf_hash, digest, skipped
FROM orderledger.generations
WHERE book_id = %(book_id)s AND (%(model)s::text IS NULL OR model = %(model)s)
ORDER BY model, number;

-- name: create
SELECT orderledger.create_generation(
    %(book_id)s, %(model)s, %(version)s, %(fingerprint)s, %(shape)s::jsonb);

-- name: leave_out
UPDATE orderledger.generations SET skipped = %(skipped)s::bigint[]
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s;

-- name: move
-- Waits for whoever moves it, and then matches no row.
UPDATE orderledger.generations
SET position = %(position)s, leaf_hash = %(leaf_hash)s, digest = %(digest)s
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s
    AND state = %(state)s AND version = %(version)s AND fingerprint = %(fingerprint)s
    AND position = %(before_position)s AND leaf_hash = %(before_leaf_hash)s
    AND digest = %(before_digest)s;

-- name: claim
-- Of the same owner a renewal; of a dead one a takeover, which is counted for the position.
UPDATE orderledger.generations
SET deaths = CASE WHEN death_position = position THEN deaths ELSE 0 END
        + CASE WHEN owner IN ('', %(owner)s) THEN 0 ELSE 1 END,
    death_position = position,
    owner = %(owner)s,
    owned_until = clock_timestamp() + %(lease_ms)s * interval '1 millisecond'
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s
    AND (owner IN ('', %(owner)s) OR owned_until <= clock_timestamp())
RETURNING deaths;

-- name: one_claim
-- A statement of its own: the next one must see what those before it claimed.
SELECT pg_advisory_xact_lock(hashtext('orderledger builds'), %(book_id)s);

-- name: claim_build
-- As claim, but only while nobody builds another generation of the model, and others are few.
UPDATE orderledger.generations
SET deaths = CASE WHEN death_position = position THEN deaths ELSE 0 END
        + CASE WHEN owner IN ('', %(owner)s) THEN 0 ELSE 1 END,
    death_position = position,
    owned_since = CASE WHEN owner = %(owner)s THEN owned_since ELSE clock_timestamp() END,
    owner = %(owner)s,
    owned_until = clock_timestamp() + %(lease_ms)s * interval '1 millisecond'
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s
    AND (owner IN ('', %(owner)s) OR owned_until <= clock_timestamp())
    AND NOT EXISTS (
        SELECT 1 FROM orderledger.generations o
        WHERE o.book_id = %(book_id)s AND o.model = %(model)s AND o.number <> %(number)s
            AND o.state = 'building' AND o.owner NOT IN ('', %(owner)s)
            AND o.owned_until > clock_timestamp()
    )
    AND (
        SELECT count(*) FROM orderledger.generations o
        WHERE o.book_id = %(book_id)s AND o.model <> %(model)s
            AND o.state = 'building' AND o.owner <> '' AND o.owned_until > clock_timestamp()
    ) < %(at_once)s
RETURNING deaths;

-- name: holds
SELECT model, number, greatest(owned_since, 'epoch'), owned_until FROM orderledger.generations
WHERE book_id = %(book_id)s AND state = 'building' AND owner <> ''
    AND owned_until > clock_timestamp()
ORDER BY owned_since, model, number;

-- name: release
UPDATE orderledger.generations SET owner = ''
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s AND owner = %(owner)s;

-- name: patience
-- A batch of another process takes longer than an append may wait.
SET LOCAL lock_timeout = '30s';

-- name: promote
SELECT orderledger.promote_generation(
    %(book_id)s, %(model)s, %(number)s, %(position)s, %(digest)s, %(over_diverged)s);

-- name: set_state
UPDATE orderledger.generations SET state = %(state)s
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s AND state <> 'live';

-- name: drop
SELECT orderledger.drop_generation(%(book_id)s, %(model)s, %(number)s);

-- name: park
INSERT INTO orderledger.parked (
    book_id, model, number, stream, position, topic, error, parked_at
) VALUES (
    %(book_id)s, %(model)s, %(number)s, %(stream)s, %(position)s, %(topic)s, %(error)s,
    %(parked_at)s
) ON CONFLICT (book_id, model, number, stream) DO NOTHING;

-- name: parked
SELECT stream, position, topic, error, parked_at FROM orderledger.parked
WHERE book_id = %(book_id)s AND model = %(model)s AND number = %(number)s
ORDER BY position;
