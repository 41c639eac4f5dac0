-- Snapshots: the states of streams and the rows of read models as they were at a position.
-- Derived, and never needed: all of them may be deleted at any time. See
-- orderledger.ledger.snapshot_ports.

CREATE TABLE orderledger.snapshots (
    book_id integer NOT NULL REFERENCES orderledger.books,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('stream', 'model')),
    subject text COLLATE "C" NOT NULL,
    position bigint NOT NULL CHECK (position >= 1),
    version bigint NOT NULL CHECK (version >= 1),
    leaf_hash bytea NOT NULL CHECK (length(leaf_hash) = 32),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    codec text COLLATE "C" NOT NULL,
    erasure_epoch integer NOT NULL CHECK (erasure_epoch >= 0),
    body_hash bytea NOT NULL CHECK (length(body_hash) = 32),
    size bigint NOT NULL CHECK (size >= 0),
    taken_at timestamptz NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (book_id, kind, subject, position)
);
-- Compressed as it is written; apart from the row, so that a header is read alone.
ALTER TABLE orderledger.snapshots ALTER COLUMN body SET STORAGE EXTERNAL;

-- What snapshots of one read model share, by its SHA-256.
CREATE TABLE orderledger.snapshot_parts (
    book_id integer NOT NULL REFERENCES orderledger.books,
    subject text COLLATE "C" NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    body bytea NOT NULL,
    PRIMARY KEY (book_id, subject, hash)
);
ALTER TABLE orderledger.snapshot_parts ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE FUNCTION orderledger.grant_snapshots(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON orderledger.snapshots, '
        'orderledger.snapshot_parts TO %I', p_role);
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.grant_snapshots(name) FROM PUBLIC;

-- As before, and the snapshots.
CREATE OR REPLACE FUNCTION orderledger.grant_application(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_function regprocedure;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA orderledger TO %I', p_role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA orderledger TO %I', p_role);
    FOR v_function IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'orderledger'::regnamespace
            AND p.proname IN ('append', 'append_one', 'sequence', 'ensure_book', 'archive_commands',
                'begin_constrain', 'end_constrain', 'account_net')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', v_function, p_role);
    END LOOP;
    -- What is derived from history, or kept beside it, is written directly.
    PERFORM orderledger.grant_read_models(p_role);
    PERFORM orderledger.grant_eventsourcing(p_role);
    PERFORM orderledger.grant_machinery(p_role);
    PERFORM orderledger.grant_snapshots(p_role);
END
$$;
