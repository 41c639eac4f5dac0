-- Named statements of the read models' catalogue: `-- name: x` starts statement x. Not a migration.

-- name: generations
SELECT model, number, version, fingerprint, state, position, leaf_hash, digest, skipped
FROM orderledger_generations
WHERE book_id = :book_id AND (:model IS NULL OR model = :model)
ORDER BY model, number;

-- name: generation
SELECT model, number, version, fingerprint, state, position, leaf_hash, digest, skipped
FROM orderledger_generations
WHERE book_id = :book_id AND model = :model AND number = :number;

-- name: last_number
SELECT coalesce(max(number), 0) FROM orderledger_generations
WHERE book_id = :book_id AND model = :model;

-- name: insert_generation
INSERT INTO orderledger_generations (
    book_id, model, number, version, fingerprint, state, position, leaf_hash, digest, shape, skipped
) VALUES (
    :book_id, :model, :number, :version, :fingerprint, 'building', 0, x'', :digest, :shape, :skipped
);

-- name: move
UPDATE orderledger_generations
SET position = :position, leaf_hash = :leaf_hash, digest = :digest
WHERE book_id = :book_id AND model = :model AND number = :number;

-- name: claim
-- Of the same owner a renewal; of a dead one a takeover, which is counted for the position.
UPDATE orderledger_generations
SET deaths = CASE WHEN death_position = position THEN deaths ELSE 0 END
        + (owner NOT IN ('', :owner)),
    death_position = position,
    owner = :owner,
    owned_until = :until
WHERE book_id = :book_id AND model = :model AND number = :number
    AND (owner IN ('', :owner) OR owned_until <= :now)
RETURNING deaths;

-- name: claim_build
-- As claim, but only while nobody builds another generation of the model, and others are few.
UPDATE orderledger_generations
SET deaths = CASE WHEN death_position = position THEN deaths ELSE 0 END
        + (owner NOT IN ('', :owner)),
    death_position = position,
    owned_since = CASE WHEN owner = :owner THEN owned_since ELSE :now END,
    owner = :owner,
    owned_until = :until
WHERE book_id = :book_id AND model = :model AND number = :number
    AND (owner IN ('', :owner) OR owned_until <= :now)
    AND NOT EXISTS (
        SELECT 1 FROM orderledger_generations AS o
        WHERE o.book_id = :book_id AND o.model = :model AND o.number <> :number
            AND o.state = 'building' AND o.owner NOT IN ('', :owner) AND o.owned_until > :now
    )
    AND (
        SELECT count(*) FROM orderledger_generations AS o
        WHERE o.book_id = :book_id AND o.model <> :model
            AND o.state = 'building' AND o.owner <> '' AND o.owned_until > :now
    ) < :at_once
RETURNING deaths;

-- name: holds
SELECT model, number, owned_since, owned_until FROM orderledger_generations
WHERE book_id = :book_id AND state = 'building' AND owner <> '' AND owned_until > :now
ORDER BY owned_since, model, number;

-- name: release
UPDATE orderledger_generations SET owner = ''
WHERE book_id = :book_id AND model = :model AND number = :number AND owner = :owner;

-- name: live_position
SELECT number, position FROM orderledger_generations
WHERE book_id = :book_id AND model = :model AND state = 'live';

-- name: demote
UPDATE orderledger_generations SET state = 'previous'
WHERE book_id = :book_id AND model = :model AND state = 'live';

-- name: set_state
UPDATE orderledger_generations SET state = :state
WHERE book_id = :book_id AND model = :model AND number = :number;

-- name: refuse
UPDATE orderledger_generations SET state = 'refused'
WHERE book_id = :book_id AND model = :model AND number = :number AND state <> 'live';

-- name: delete_generation
DELETE FROM orderledger_generations
WHERE book_id = :book_id AND model = :model AND number = :number AND state <> 'live';

-- name: shape
SELECT shape FROM orderledger_generations
WHERE book_id = :book_id AND model = :model AND number = :number;

-- name: live_everywhere
-- Of every book, for the views; a model's tables may differ between books until all are rebuilt.
SELECT b.name, g.book_id, g.number, g.version, g.fingerprint, g.shape
FROM orderledger_generations AS g JOIN orderledger_books AS b ON b.book_id = g.book_id
WHERE g.model = :model AND g.state = 'live'
ORDER BY g.book_id;

-- name: park
INSERT INTO orderledger_parked (
    book_id, model, number, stream, position, topic, error, parked_at
) VALUES (:book_id, :model, :number, :stream, :position, :topic, :error, :parked_at)
ON CONFLICT (book_id, model, number, stream) DO NOTHING;

-- name: parked
SELECT stream, position, topic, error, parked_at FROM orderledger_parked
WHERE book_id = :book_id AND model = :model AND number = :number
ORDER BY position;

-- name: unpark_all
DELETE FROM orderledger_parked WHERE book_id = :book_id AND model = :model AND number = :number;
