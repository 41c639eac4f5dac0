-- Work that is to be done once: effects of reactors, queued commands, deadlines that have come.
-- What is to be done never changes; how far it is does. See orderledger.ledger.work_ports.

CREATE TABLE orderledger.work (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id integer NOT NULL REFERENCES orderledger.books,
    lane text COLLATE "C" NOT NULL CHECK (lane IN ('outbox', 'queue', 'timer')),
    key text COLLATE "C" NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    kind text COLLATE "C" NOT NULL,
    payload text NOT NULL,
    origin text NOT NULL,
    streams text[] NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'done', 'refused', 'dead', 'gone', 'discarded')),
    attempts integer NOT NULL DEFAULT 0,
    refusals integer NOT NULL DEFAULT 0,
    -- Who is about it, until when; '' nobody.
    owner text NOT NULL DEFAULT '',
    leased_until timestamptz,
    error text NOT NULL DEFAULT '',
    result text NOT NULL DEFAULT '{}',
    finished_at timestamptz,
    UNIQUE (book_id, lane, key)
) WITH (fillfactor = 70);  -- each piece is taken and given back: room for its versions

-- What is open or failed is found, in its order, without what is done: nearly everything is.
CREATE INDEX work_status ON orderledger.work (book_id, lane, status, number);

-- The streams of waiting work: of two that name the same one, the earlier goes first.
CREATE TABLE orderledger.work_streams (
    book_id integer NOT NULL,
    lane text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    number bigint NOT NULL REFERENCES orderledger.work,
    PRIMARY KEY (book_id, lane, stream, number)
);
CREATE INDEX work_streams_number ON orderledger.work_streams (number);

CREATE FUNCTION orderledger.work_never_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what is to be done never changes, and is never deleted';
END
$$;
CREATE TRIGGER work_intent BEFORE UPDATE ON orderledger.work FOR EACH ROW
WHEN ((OLD.number, OLD.book_id, OLD.lane, OLD.key, OLD.kind, OLD.payload, OLD.origin, OLD.streams,
       OLD.created_at)
    IS DISTINCT FROM
      (NEW.number, NEW.book_id, NEW.lane, NEW.key, NEW.kind, NEW.payload, NEW.origin, NEW.streams,
       NEW.created_at))
EXECUTE FUNCTION orderledger.work_never_changes();
CREATE TRIGGER work_kept BEFORE DELETE ON orderledger.work FOR EACH ROW
EXECUTE FUNCTION orderledger.work_never_changes();
CREATE TRIGGER work_kept_whole BEFORE TRUNCATE ON orderledger.work
EXECUTE FUNCTION orderledger.work_never_changes();

-- How far each reactor has read the log.
CREATE TABLE orderledger.reactors (
    book_id integer NOT NULL REFERENCES orderledger.books,
    reactor text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    leaf_hash bytea NOT NULL,
    started_at_position bigint NOT NULL CHECK (started_at_position >= 0),
    moved_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, reactor),
    CHECK (position >= started_at_position)
) WITH (fillfactor = 50);

-- The latest sign of life of each part of the workers.
CREATE TABLE orderledger.heartbeats (
    book_id integer NOT NULL REFERENCES orderledger.books,
    part text COLLATE "C" NOT NULL,
    owner text NOT NULL,
    seen_at timestamptz NOT NULL,
    problem text NOT NULL,
    PRIMARY KEY (book_id, part)
) WITH (fillfactor = 50);

CREATE FUNCTION orderledger.grant_machinery(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE ON orderledger.work, orderledger.reactors, '
        'orderledger.heartbeats TO %I', p_role);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON orderledger.work_streams TO %I', p_role);
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.grant_machinery(name) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION orderledger.work_never_changes() FROM PUBLIC;

-- As before, and the machinery.
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
END
$$;
