-- Named statements of the balance read model: `-- name: x` starts statement x. Not a migration.
-- Every selection binds the same names; an account alone is a range from itself to itself.

-- name: checkpoint
SELECT version, position, leaf_hash FROM orderledger_projection_checkpoints
WHERE book_id = :book_id AND projection = :projection;

-- name: set_checkpoint
INSERT INTO orderledger_projection_checkpoints (book_id, projection, version, position, leaf_hash)
VALUES (:book_id, :projection, :version, :position, :leaf_hash)
ON CONFLICT (book_id, projection) DO UPDATE
SET version = excluded.version, position = excluded.position, leaf_hash = excluded.leaf_hash;

-- name: insert_line
INSERT INTO orderledger_journal_lines (
    book_id, position, line_no, account, currency, layer, minor_high, minor_mid, minor_low,
    effective_at, recorded_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: clear_lines
DELETE FROM orderledger_journal_lines WHERE book_id = :book_id;

-- name: clear_checkpoint
DELETE FROM orderledger_projection_checkpoints
WHERE book_id = :book_id AND projection = :projection;

-- name: totals
SELECT account, currency, layer, sum(minor_high), sum(minor_mid), sum(minor_low)
FROM orderledger_journal_lines INDEXED BY orderledger_journal_lines_by_account
WHERE book_id = :book_id
    AND account BETWEEN :first AND :last
    AND (:below = '' OR account = :below OR substr(account, 1, length(:below) + 1) = :below || ':')
    AND (:currency = '' OR currency = :currency)
    AND (:layer = '' OR layer = :layer)
    AND effective_at BETWEEN :effective_from AND :effective_to
    AND position <= :until
GROUP BY account, currency, layer
ORDER BY account, currency, layer;

-- name: uses
SELECT
    account, count(*), min(effective_at), max(effective_at), min(position), max(position)
FROM orderledger_journal_lines INDEXED BY orderledger_journal_lines_by_account
WHERE book_id = :book_id
    AND account BETWEEN :first AND :last
    AND (:below = '' OR account = :below OR substr(account, 1, length(:below) + 1) = :below || ':')
    AND (:currency = '' OR currency = :currency)
    AND (:layer = '' OR layer = :layer)
    AND effective_at BETWEEN :effective_from AND :effective_to
    AND position <= :until
GROUP BY account
ORDER BY account;

-- name: lines
SELECT
    position, line_no, account, currency, layer, minor_high, minor_mid, minor_low, effective_at,
    recorded_at
FROM orderledger_journal_lines
WHERE book_id = :book_id
    AND (position, line_no) > (:after_position, :after_line_no)
    AND position <= :until
    AND account BETWEEN :first AND :last
    AND (:below = '' OR account = :below OR substr(account, 1, length(:below) + 1) = :below || ':')
    AND (:currency = '' OR currency = :currency)
    AND (:layer = '' OR layer = :layer)
    AND effective_at BETWEEN :effective_from AND :effective_to
ORDER BY position, line_no
LIMIT :limit;

-- name: account_lines
-- As `lines` for one account: its index entries are sorted, the other accounts are not read.
SELECT
    position, line_no, account, currency, layer, minor_high, minor_mid, minor_low, effective_at,
    recorded_at
FROM orderledger_journal_lines INDEXED BY orderledger_journal_lines_by_account
WHERE book_id = :book_id
    AND (position, line_no) > (:after_position, :after_line_no)
    AND position <= :until
    AND account = :first
    AND (:currency = '' OR currency = :currency)
    AND (:layer = '' OR layer = :layer)
    AND effective_at BETWEEN :effective_from AND :effective_to
ORDER BY position, line_no
LIMIT :limit;

-- name: lines_by_effect
SELECT
    position, line_no, account, currency, layer, minor_high, minor_mid, minor_low, effective_at,
    recorded_at
FROM orderledger_journal_lines INDEXED BY orderledger_journal_lines_by_account
WHERE book_id = :book_id
    AND account = :first
    AND currency = :currency
    AND layer = :layer
    AND (effective_at, position, line_no)
        > (:after_effective_at, :after_position, :after_line_no)
    AND effective_at BETWEEN :effective_from AND :effective_to
    AND position <= :until
ORDER BY effective_at, position, line_no
LIMIT :limit;
