-- Read models: which generations there are, how far each is complete, and what each leaves out.
-- The rows stand in tables of their own per generation, in a schema of their own, made when a
-- generation is; the views of the live generations stand there too.

CREATE SCHEMA orderledger_read;

CREATE TABLE orderledger.generations (
    book_id integer NOT NULL REFERENCES orderledger.books,
    model text COLLATE "C" NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    version integer NOT NULL,
    fingerprint text COLLATE "C" NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{12}$'),
    state text COLLATE "C" NOT NULL CHECK (state IN ('building', 'live', 'previous', 'refused')),
    position bigint NOT NULL CHECK (position >= 0),
    leaf_hash bytea NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    -- The tables as JSON: what a view over the generations of several books is made from.
    shape jsonb NOT NULL,
    -- Who follows it, until when, and how many let their lease run out at one position before.
    owner text NOT NULL DEFAULT '',
    owned_until timestamptz NOT NULL DEFAULT '-infinity',
    death_position bigint NOT NULL DEFAULT -1,
    deaths integer NOT NULL DEFAULT 0,
    PRIMARY KEY (book_id, model, number)
) WITH (fillfactor = 50);  -- a checkpoint moves often: room for its versions on its own page

-- Readers find one generation, never two.
CREATE UNIQUE INDEX generations_live ON orderledger.generations (book_id, model)
WHERE state = 'live';

-- Streams that a model could not project, from a position on.
CREATE TABLE orderledger.parked (
    book_id integer NOT NULL,
    model text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    stream text COLLATE "C" NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    topic text COLLATE "C" NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL,
    PRIMARY KEY (book_id, model, number, stream)
);

-- Name of the table that holds a generation's rows: orderledger.ledger.stores.model_tables says
-- the same.
CREATE FUNCTION orderledger.generation_table(
    p_book integer, p_number integer, p_fingerprint text, p_table text
) RETURNS name
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('rm_%s_%s_%s_%s', p_book, p_number, p_fingerprint, p_table)::name
$$;

CREATE FUNCTION orderledger.column_type(p_kind text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE p_kind
        WHEN 'text' THEN 'text COLLATE "C"' WHEN 'integer' THEN 'bigint'
        WHEN 'amount' THEN 'numeric(30,0)' WHEN 'instant' THEN 'timestamptz'
        WHEN 'boolean' THEN 'boolean' END
$$;

-- Makes the tables of a new generation and returns its number. The caller's role needs no right to
-- create anything: whoever may write the catalogue may write the rows, and read them.
CREATE FUNCTION orderledger.create_generation(
    p_book integer, p_model text, p_version integer, p_fingerprint text, p_shape jsonb
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_number integer;
    v_table jsonb;
    v_index jsonb;
    v_name name;
    v_columns text;
    v_key text;
    v_grantee text;
BEGIN
    -- One creator at a time, so that two do not take the same number.
    PERFORM pg_advisory_xact_lock(hashtext('orderledger generations'), p_book);
    SELECT coalesce(max(g.number), 0) + 1 INTO v_number FROM orderledger.generations g
    WHERE g.book_id = p_book AND g.model = p_model;
    INSERT INTO orderledger.generations (book_id, model, number, version, fingerprint, state,
        position, leaf_hash, digest, shape)
    VALUES (p_book, p_model, v_number, p_version, p_fingerprint, 'building', 0, '',
        decode(repeat('00', 32), 'hex'), p_shape);
    FOR v_table IN SELECT jsonb_array_elements(p_shape) LOOP
        IF v_table ->> 'name' !~ '^[a-z][a-z0-9_]{0,29}$' THEN
            RAISE EXCEPTION 'table name % is no name', v_table ->> 'name';
        END IF;
        v_name := orderledger.generation_table(
            p_book, v_number, p_fingerprint, v_table ->> 'name');
        SELECT string_agg(format('%I %s %s', c.value ->> 'name',
                orderledger.column_type(c.value ->> 'kind'),
                CASE WHEN (c.value ->> 'is_optional')::boolean THEN '' ELSE 'NOT NULL' END),
                ', ' ORDER BY c.ordinality),
            string_agg(format('%I', c.value ->> 'name'), ', ' ORDER BY c.ordinality)
                FILTER (WHERE c.ordinality <= (v_table ->> 'key_count')::integer)
        INTO STRICT v_columns, v_key
        FROM jsonb_array_elements(v_table -> 'columns') WITH ORDINALITY AS c;
        EXECUTE format('CREATE TABLE orderledger_read.%I (%s, PRIMARY KEY (%s))',
            v_name, v_columns, v_key);
        FOR v_index IN SELECT jsonb_array_elements(v_table -> 'indexes') LOOP
            SELECT string_agg(format('%I', i.value), ', ' ORDER BY i.ordinality) INTO STRICT v_key
            FROM jsonb_array_elements_text(v_index) WITH ORDINALITY AS i;
            EXECUTE format('CREATE INDEX ON orderledger_read.%I (%s)', v_name, v_key);
        END LOOP;
        FOR v_grantee IN
            SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
            FROM pg_class c, aclexplode(c.relacl) a
            WHERE c.oid = 'orderledger.generations'::regclass AND a.privilege_type = 'UPDATE'
        LOOP
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON orderledger_read.%I TO %s',
                v_name, v_grantee);
        END LOOP;
    END LOOP;
    RETURN v_number;
END
$$;

-- Deletes a generation that is not live, with its tables; tells whether there was one.
CREATE FUNCTION orderledger.drop_generation(p_book integer, p_model text, p_number integer)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s' AS $$
DECLARE
    v_generation orderledger.generations;
    v_table jsonb;
BEGIN
    DELETE FROM orderledger.generations g
    WHERE g.book_id = p_book AND g.model = p_model AND g.number = p_number AND g.state <> 'live'
    RETURNING * INTO v_generation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM orderledger.parked p
    WHERE p.book_id = p_book AND p.model = p_model AND p.number = p_number;
    FOR v_table IN SELECT jsonb_array_elements(v_generation.shape) LOOP
        EXECUTE format('DROP TABLE IF EXISTS orderledger_read.%I', orderledger.generation_table(
            p_book, p_number, v_generation.fingerprint, v_table ->> 'name'));
    END LOOP;
    RETURN true;
END
$$;

-- Makes a generation live and the live one previous, and the views show it from the commit on.
--
-- Returns false, and changes nothing, when the generation has moved or the live one is further.
-- A view is replaced under a lock that waits for statements that read it and holds back later ones:
-- it waits a tenth of a second at most, then raises lock_not_available, and the caller tries again.
CREATE FUNCTION orderledger.promote_generation(
    p_book integer, p_model text, p_number integer, p_position bigint, p_digest bytea
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms' AS $$
DECLARE
    v_mine orderledger.generations;
    v_live orderledger.generations;
    v_table jsonb;
    v_selects text;
    v_grantee text;
BEGIN
    SELECT * INTO v_live FROM orderledger.generations g
    WHERE g.book_id = p_book AND g.model = p_model AND g.state = 'live' FOR UPDATE;
    SELECT * INTO v_mine FROM orderledger.generations g
    WHERE g.book_id = p_book AND g.model = p_model AND g.number = p_number FOR UPDATE;
    IF v_mine.number IS NULL OR v_mine.position <> p_position OR v_mine.digest <> p_digest
        OR v_live.position > v_mine.position THEN
        RETURN false;
    END IF;
    UPDATE orderledger.generations g SET state = 'previous'
    WHERE g.book_id = p_book AND g.model = p_model AND g.state = 'live';
    UPDATE orderledger.generations g SET state = 'live'
    WHERE g.book_id = p_book AND g.model = p_model AND g.number = p_number;
    FOR v_table IN SELECT jsonb_array_elements(v_mine.shape) LOOP
        -- Every book's live rows; a column that another book's older shape lacks is NULL there.
        SELECT string_agg(format('SELECT %L::text COLLATE "C" AS book, %s FROM orderledger_read.%I',
            b.name, (
                SELECT string_agg(CASE WHEN EXISTS (
                        SELECT 1 FROM jsonb_array_elements(t.value -> 'columns') AS o
                        WHERE o.value ->> 'name' = c.value ->> 'name'
                            AND o.value ->> 'kind' = c.value ->> 'kind')
                    THEN format('%I', c.value ->> 'name')
                    ELSE format('NULL::%s AS %I',
                        split_part(orderledger.column_type(c.value ->> 'kind'), ' ', 1),
                        c.value ->> 'name') END, ', ' ORDER BY c.ordinality)
                FROM jsonb_array_elements(v_table -> 'columns') WITH ORDINALITY AS c),
            orderledger.generation_table(
                g.book_id, g.number, g.fingerprint, v_table ->> 'name')),
            ' UNION ALL ' ORDER BY g.book_id)
        INTO STRICT v_selects
        FROM orderledger.generations g
        JOIN orderledger.books b ON b.book_id = g.book_id
        CROSS JOIN LATERAL jsonb_array_elements(g.shape) AS t
        WHERE g.model = p_model AND g.state = 'live' AND t.value ->> 'name' = v_table ->> 'name';
        BEGIN
            EXECUTE format('CREATE OR REPLACE VIEW orderledger_read.%I AS %s',
                v_table ->> 'name', v_selects);
        EXCEPTION WHEN invalid_table_definition THEN
            -- Another version of the model has other columns.
            EXECUTE format('DROP VIEW orderledger_read.%I', v_table ->> 'name');
            EXECUTE format('CREATE VIEW orderledger_read.%I AS %s', v_table ->> 'name', v_selects);
        END;
        FOR v_grantee IN
            SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
            FROM pg_class c, aclexplode(c.relacl) a
            WHERE c.oid = 'orderledger.generations'::regclass AND a.privilege_type = 'SELECT'
        LOOP
            EXECUTE format('GRANT SELECT ON orderledger_read.%I TO %s',
                v_table ->> 'name', v_grantee);
        END LOOP;
    END LOOP;
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION
    orderledger.create_generation(integer, text, integer, text, jsonb),
    orderledger.drop_generation(integer, text, integer),
    orderledger.promote_generation(integer, text, integer, bigint, bytea) FROM PUBLIC;

-- As before, and the read models: their catalogue, their rows and the three functions above.
CREATE OR REPLACE FUNCTION orderledger.grant_read_models(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table regclass;
BEGIN
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON orderledger.journal_lines, '
        'orderledger.projection_checkpoints TO %I', p_role);
    EXECUTE format('GRANT SELECT ON orderledger.postings TO %I', p_role);
    EXECUTE format('GRANT USAGE ON SCHEMA orderledger_read TO %I', p_role);
    EXECUTE format('GRANT SELECT, UPDATE ON orderledger.generations TO %I', p_role);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON orderledger.parked TO %I', p_role);
    FOR v_table IN
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = 'orderledger_read'::regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', v_table, p_role);
    END LOOP;
    FOR v_table IN
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = 'orderledger_read'::regnamespace AND c.relkind = 'v'
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO %I', v_table, p_role);
    END LOOP;
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION '
        'orderledger.create_generation(integer, text, integer, text, jsonb), '
        'orderledger.drop_generation(integer, text, integer), '
        'orderledger.promote_generation(integer, text, integer, bigint, bytea) TO %I', p_role);
END
$$;
