-- Named statements about postings: `-- name: x` starts statement x. Not a migration.
-- {postings} is the table of the generation that is asked. Every selection binds the same names; an
-- account alone is a range from itself to itself.

-- name: totals
SELECT account, currency, layer, sum(minor)
FROM {postings}
WHERE account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
GROUP BY account, currency, layer
ORDER BY account, currency, layer;

-- name: sums
SELECT account, currency, sum(minor), min(effective_at)
FROM {postings}
WHERE (account, currency) > (%(after_account)s, %(after_currency)s)
    AND account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
GROUP BY account, currency
ORDER BY account, currency
LIMIT %(limit)s;

-- name: uses
SELECT
    account, count(*), min(effective_at), max(effective_at), min(position), max(position)
FROM {postings}
WHERE account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
GROUP BY account
ORDER BY account;

-- name: lines
SELECT
    position, line_no, account, currency, layer, minor, effective_at, recorded_at
FROM {postings}
WHERE (position, line_no) > (%(after_position)s, %(after_line_no)s)
    AND position <= %(until)s
    AND account BETWEEN %(first)s AND %(last)s
    AND (%(below)s = '' OR account = %(below)s OR starts_with(account, %(below)s || ':'))
    AND (%(currency)s = '' OR currency = %(currency)s)
    AND (%(layer)s = '' OR layer = %(layer)s)
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
ORDER BY position, line_no
LIMIT %(limit)s;

-- name: lines_by_effect
SELECT
    position, line_no, account, currency, layer, minor, effective_at, recorded_at
FROM {postings}
WHERE account = %(first)s
    AND currency = %(currency)s
    AND layer = %(layer)s
    AND (effective_at, position, line_no) > (
        coalesce(%(after_effective_at)s::timestamptz, '-infinity'),
        %(after_position)s,
        %(after_line_no)s
    )
    AND effective_at BETWEEN coalesce(%(effective_from)s::timestamptz, '-infinity')
        AND coalesce(%(effective_to)s::timestamptz, 'infinity')
    AND position <= %(until)s
ORDER BY effective_at, position, line_no
LIMIT %(limit)s;
