-- The balance read model: one row per posting of the log, and how far each projection is complete.
-- All rows are derived from events and may be deleted and made again.

CREATE TABLE orderledger.journal_lines (
    book_id integer NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    line_no integer NOT NULL CHECK (line_no > 0),
    account text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    layer text COLLATE "C" NOT NULL CHECK (layer IN ('posted', 'held')),
    minor numeric NOT NULL CHECK (scale(minor) = 0),
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, position, line_no)
);

-- Covers every balance query: the sums never touch the table once it is vacuumed.
CREATE INDEX journal_lines_by_account ON orderledger.journal_lines (
    book_id, account, currency, layer, effective_at, position, line_no
) INCLUDE (minor);

-- Rows are only inserted, so without this setting a large table would wait long for its visibility
-- map, and index-only scans with it.
ALTER TABLE orderledger.journal_lines SET (autovacuum_vacuum_insert_scale_factor = 0.02);

CREATE TABLE orderledger.projection_checkpoints (
    book_id integer NOT NULL REFERENCES orderledger.books,
    projection text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    leaf_hash bytea NOT NULL,
    PRIMARY KEY (book_id, projection)
);

-- The public reading surface: one row per posting.
CREATE VIEW orderledger.postings AS
SELECT
    books.name AS book,
    lines.position,
    lines.line_no,
    lines.recorded_at,
    lines.effective_at,
    lines.account,
    lines.currency,
    lines.layer,
    lines.minor
FROM orderledger.journal_lines AS lines
JOIN orderledger.books ON books.book_id = lines.book_id;

-- Read models are caught up by whoever reads: grants a role the right to write derived rows. Part of
-- orderledger.grant_application; history itself stays out of reach.
CREATE FUNCTION orderledger.grant_read_models(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON orderledger.journal_lines, '
        'orderledger.projection_checkpoints TO %I', p_role);
    EXECUTE format('GRANT SELECT ON orderledger.postings TO %I', p_role);
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.grant_read_models(name) FROM PUBLIC;
