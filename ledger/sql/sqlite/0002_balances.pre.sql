-- The balance read model: one row per posting of the log, and how far each projection is complete.
-- All rows are derived from events and may be deleted and made again.
--
-- SQLite's integers have 64 bits and amounts up to 30 digits, so an amount stands in three limbs of
-- ten digits, each with the amount's sign: minor = (high * 10^10 + mid) * 10^10 + low. A limb is
-- below 10^10, so that sum() is exact for 900 million lines, and fails beyond instead of being wrong.
-- Ordinary amounts have zero in the upper two, which take no space.

CREATE TABLE orderledger_journal_lines (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    position INTEGER NOT NULL CHECK (position >= 1),
    line_no INTEGER NOT NULL CHECK (line_no >= 1),
    account TEXT NOT NULL,
    currency TEXT NOT NULL,
    layer TEXT NOT NULL CHECK (layer IN ('posted', 'held')),
    minor_high INTEGER NOT NULL,
    minor_mid INTEGER NOT NULL,
    minor_low INTEGER NOT NULL,
    effective_at TEXT NOT NULL CHECK (length(effective_at) = 32),
    recorded_at TEXT NOT NULL CHECK (length(recorded_at) = 32),
    PRIMARY KEY (book_id, position, line_no)
) STRICT, WITHOUT ROWID;

-- Covers every balance query: the sums never touch the table.
CREATE INDEX orderledger_journal_lines_by_account ON orderledger_journal_lines (
    book_id, account, currency, layer, effective_at, position, line_no,
    minor_low, minor_mid, minor_high
);

CREATE TABLE orderledger_projection_checkpoints (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    projection TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    leaf_hash BLOB NOT NULL,
    PRIMARY KEY (book_id, projection)
) STRICT, WITHOUT ROWID;

-- The public reading surface: one row per posting, the amount as exact decimal text.
CREATE VIEW orderledger_postings AS
SELECT
    books.name AS book,
    lines.position,
    lines.line_no,
    lines.recorded_at,
    lines.effective_at,
    lines.account,
    lines.currency,
    lines.layer,
    CASE WHEN lines.minor_high = 0 AND lines.minor_mid = 0 THEN CAST(lines.minor_low AS TEXT)
    ELSE
        CASE WHEN min(lines.minor_high, lines.minor_mid, lines.minor_low) < 0 THEN '-' ELSE '' END
        || ltrim(
            printf(
                '%d%010d%010d', abs(lines.minor_high), abs(lines.minor_mid), abs(lines.minor_low)
            ),
            '0'
        )
    END AS minor
FROM orderledger_journal_lines AS lines
JOIN orderledger_books AS books ON books.book_id = lines.book_id;
