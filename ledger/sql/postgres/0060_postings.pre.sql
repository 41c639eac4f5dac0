-- The balances are a read model like the others: their rows stand in tables of its generations, made
-- from the events when the balances are next asked for or followed. What was here was derived too.
DROP VIEW orderledger.postings;
DROP TABLE orderledger.journal_lines;
DROP TABLE orderledger.projection_checkpoints;

-- As before, and tables tell autovacuum that they grow.
CREATE OR REPLACE FUNCTION orderledger.create_generation(
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
        -- A table of rows that are only inserted would wait long for its visibility map, and
        -- index-only scans with it.
        EXECUTE format('CREATE TABLE orderledger_read.%I (%s, PRIMARY KEY (%s)) '
            'WITH (autovacuum_vacuum_insert_scale_factor = 0.02)',
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

DROP FUNCTION orderledger.promote_generation(integer, text, integer, bigint, bytea);

-- Makes a generation live and the live one previous, and the views show it from the commit on.
--
-- Returns false, and changes nothing, when the generation has moved or the live one is further: unless
-- that one is of another log, where its position says nothing.
-- A view is replaced under a lock that waits for statements that read it and holds back later ones:
-- it waits a tenth of a second at most, then raises lock_not_available, and the caller tries again.
CREATE FUNCTION orderledger.promote_generation(
    p_book integer, p_model text, p_number integer, p_position bigint, p_digest bytea,
    p_over_diverged boolean
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
        OR (v_live.position > v_mine.position AND NOT p_over_diverged) THEN
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
    orderledger.promote_generation(integer, text, integer, bigint, bytea, boolean) FROM PUBLIC;

-- As before, without what is gone.
CREATE OR REPLACE FUNCTION orderledger.grant_read_models(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table regclass;
BEGIN
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
        'orderledger.promote_generation(integer, text, integer, bigint, bytea, boolean) TO %I', p_role);
END
$$;
