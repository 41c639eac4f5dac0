-- Named statements about postings: `-- name: x` starts statement x. Not a migration.
-- {postings} is the table of the generation that is asked. Every selection binds the same names; an
-- account alone is a range from itself to itself.

-- name: totals
SELECT account, currency, layer, sum(minor_high), sum(minor_mid), sum(minor_low)
FROM {postings} INDEXED BY {postings}_1
WHERE account BETWEEN :first AND :last
    AND (:below = '' OR account = :below OR substr(account, 1, length(:below) + 1) = :below || ':')
    AND (:currency = '' OR currency = :currency)
    AND (:layer = '' OR layer = :layer)
    AND effective_at BETWEEN :effective_from AND :effective_to
    AND position <= :until
GROUP BY account, currency, layer
ORDER BY account, currency, layer;

-- name: sums
SELECT
    account, currency, sum(minor_high), sum(minor_mid), sum(minor_low), min(effective_at)
FROM {postings} INDEXED BY {postings}_1
WHERE (account, currency) > (:after_account, :after_currency)
    AND account BETWEEN :first AND :last
    AND (:below = '' OR account = :below OR substr(account, 1, length(:below) + 1) = :below || ':')
    AND (:currency = '' OR currency = :currency)
    AND (:layer = '' OR layer = :layer)
    AND effective_at BETWEEN :effective_from AND :effective_to
    AND position <= :until
GROUP BY account, currency
ORDER BY account, currency
LIMIT :limit;

-- name: uses
SELECT
    account, count(*), min(effective_at), max(effective_at), min(position), max(position)
FROM {postings} INDEXED BY {postings}_1
WHERE account BETWEEN :first AND :last
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
FROM {postings}
WHERE (position, line_no) > (:after_position, :after_line_no)
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
FROM {postings} INDEXED BY {postings}_1
WHERE (position, line_no) > (:after_position, :after_line_no)
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
FROM {postings} INDEXED BY {postings}_1
WHERE account = :first
    AND currency = :currency
    AND layer = :layer
    AND (effective_at, position, line_no)
        > (:after_effective_at, :after_position, :after_line_no)
    AND effective_at BETWEEN :effective_from AND :effective_to
    AND position <= :until
ORDER BY effective_at, position, line_no
LIMIT :limit;
