-- The same rules in less of the server's time. Replaces bodies of 0002 and 0003, whose comments on
-- locks, on pending and on order hold here too; processes of the release before run on these as well.

-- True when a journal entry balances (see 0002). Most entries have two legs of one layer and currency
-- with opposite amounts; those are told by what they look like, and all others are summed.
--
-- One expression, for each is prepared anew in every transaction, which takes longer than running
-- it; and no search_path of its own, which would be set and put back for every row. Only the owner of
-- events may insert, so nobody else's path is in force here. Unlike before, a line break within a leg
-- does not pass for a space.
CREATE OR REPLACE FUNCTION orderledger.entry_balances(p_postings text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    -- Words between spaces: layer, account, currency, "minor\nlayer", account, currency, minor.
    -- The 4th is the 7th's opposite ('-' before it, and two of them are none), a line break and the
    -- 1st. So there are seven words and a line break at least, and no more where removing spaces
    -- and breaks shortens the text by 7; no word is empty where no two spaces meet. The cast comes
    -- last, for elsewhere than in two such legs the 7th word may be anything; it refuses by raising.
    RETURN p_postings = ''
        OR CASE WHEN split_part(p_postings, ' ', 4)
                = replace('-' || split_part(p_postings, ' ', 7), '--', '')
                    || E'\n' || split_part(p_postings, ' ', 1)
            AND split_part(p_postings, ' ', 3) = split_part(p_postings, ' ', 6)
            AND split_part(p_postings, ' ', 1) IN ('posted', 'held')
            AND octet_length(replace(replace(p_postings, ' ', ''), E'\n', ''))
                = octet_length(p_postings) - 7
            AND strpos(p_postings, '  ') = 0
            AND ltrim(split_part(p_postings, ' ', 7), '-0123456789') = ''
            AND octet_length(split_part(p_postings, ' ', 7)) <= 30
            -- Zero has no opposite: the sum looks at it.
            AND split_part(p_postings, ' ', 7) <> '0'
        THEN split_part(p_postings, ' ', 7)::numeric::text = split_part(p_postings, ' ', 7)
        ELSE orderledger.legs_balance(p_postings) END;
END
$$;

-- The sum of a journal entry that is not empty: one leg a line, "layer account currency minor", legs
-- of one (layer, currency) together, each such run summing to zero. Words that are no number raise,
-- which refuses the row as well and spares a subtransaction per row.
CREATE FUNCTION orderledger.legs_balance(p_postings text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_legs text[] := string_to_array(p_postings, E'\n');
    v_leg text;
    v_words text[];
    v_run text := '';
    v_leg_run text;
    v_sum numeric := 0;
    v_minor numeric;
BEGIN
    IF cardinality(v_legs) < 2 THEN
        RETURN false;
    END IF;
    FOREACH v_leg IN ARRAY v_legs LOOP
        v_words := string_to_array(v_leg, ' ');
        IF cardinality(v_words) <> 4 OR v_words[1] NOT IN ('posted', 'held') OR v_words[2] = ''
           OR v_words[3] = '' THEN
            RETURN false;
        END IF;
        v_leg_run := v_words[1] || ' ' || v_words[3];
        IF v_leg_run <> v_run THEN
            IF v_sum <> 0 THEN
                RETURN false;
            END IF;
            v_run := v_leg_run;
        END IF;
        v_minor := v_words[4]::numeric;
        -- The cast also reads 1e2, +5, 007, NaN and Infinity; an amount has at most 30 digits.
        IF v_minor::text <> v_words[4] OR scale(v_minor) IS DISTINCT FROM 0
           OR abs(v_minor) >= 1e30 THEN
            RETURN false;
        END IF;
        v_sum := v_sum + v_minor;
    END LOOP;
    RETURN v_sum = 0;
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.legs_balance(text) FROM PUBLIC;

-- append for the commonest batch, one command with one event and no checks: the same rows from
-- scalars, which spares a lone caller the arrays. All rules are those of place; what they ask is here
-- the condition of the insert that ends most appends. Where it inserts nothing, because something
-- is in the way or must be refused, place asks again and says what.
CREATE OR REPLACE FUNCTION orderledger.append_one(
    p_book integer, p_now timestamptz, p_generation bigint, p_appended_at timestamptz,
    p_key_hash uuid, p_key text, p_command_id uuid, p_fingerprint bytea, p_command text,
    p_refused boolean, p_reply text,
    p_id uuid, p_stream text, p_version bigint, p_topic text, p_occurred_at timestamptz,
    p_context text, p_postings text, p_payload text, p_content bytea,
    OUT first_position bigint, OUT recorded_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_has_head boolean;
    v_placed record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append needs READ COMMITTED' USING ERRCODE = 'OL004';
    END IF;
    INSERT INTO orderledger.commands (book_id, key_hash, command_id, appended_at, refused, key,
        fingerprint, command, reply)
    VALUES (p_book, p_key_hash, p_command_id, p_appended_at, p_refused, p_key, p_fingerprint,
        p_command, p_reply);
    INSERT INTO orderledger.events (book_id, event_id, stream, version, topic, occurred_at,
        appended_at, command_id, context, postings, payload)
    VALUES (p_book, p_id, p_stream, p_version, p_topic, p_occurred_at, p_appended_at, p_command_id,
        p_context, p_postings, p_payload);
    -- Locks the table even where it takes no row: what follows reads the generation after that, the
    -- archive after the insert into commands, and the log after the lock (see place and write_log).
    PERFORM 1 FROM orderledger.heads h WHERE h.book_id = p_book FOR NO KEY UPDATE SKIP LOCKED;
    v_has_head := FOUND;
    IF v_has_head THEN
        -- One row of write_log, where the key is new, the generation current, nobody waits for a
        -- position and the stream's event before is in the log. There may be none before the first.
        INSERT INTO orderledger.log AS l (book_id, position, event_id, recorded_at, leaf_hash)
        SELECT p_book, n.position, p_id, n.at, sha256('\x00'::bytea || int8send(n.position)
            || int8send((extract(epoch FROM n.at) * 1000000)::bigint) || p_content)
        FROM (
            SELECT coalesce(last.position, 0) + 1 AS position,
                greatest(coalesce(p_now, clock_timestamp()),
                    last.recorded_at + interval '1 microsecond') AS at
            FROM (SELECT) AS once
            LEFT JOIN LATERAL (
                SELECT l.position, l.recorded_at FROM orderledger.log l
                WHERE l.book_id = p_book ORDER BY l.position DESC LIMIT 1
            ) last ON true
            OFFSET 0
        ) n
        WHERE NOT EXISTS (
                SELECT 1 FROM orderledger.commands_archive a
                WHERE a.book_id = p_book AND a.key_hash = p_key_hash)
            AND (p_generation IS NULL OR EXISTS (
                SELECT 1 FROM orderledger.books b
                WHERE b.book_id = p_book AND b.constraint_generation = p_generation))
            AND NOT EXISTS (
                SELECT 1 FROM orderledger.pending p
                WHERE p.book_id = p_book
                    AND p.id > coalesce(pg_sequence_last_value('orderledger.pending_id'), 0)
                        - orderledger.pending_window())
            AND coalesce((
                SELECT (SELECT true FROM orderledger.log l WHERE l.event_id = e.event_id) IS TRUE
                FROM orderledger.events e
                WHERE e.book_id = p_book AND e.stream = p_stream AND e.version = p_version - 1
                LIMIT 1), p_version <= 1)
        RETURNING l.position, l.recorded_at INTO first_position, recorded_at;
        IF FOUND THEN
            IF first_position & 255 = 0 THEN
                PERFORM orderledger.complete_tiles(p_book, first_position - 1, first_position);
            END IF;
            RETURN;
        END IF;
    ELSE
        -- The head is taken: the event waits, behind the stream's event before if that waits too.
        -- Its id is drawn here, after this statement saw that event's row, so after that one's id.
        INSERT INTO orderledger.pending (book_id, event_ids, content_hashes, after)
        SELECT p_book, ARRAY[p_id], ARRAY[p_content],
            CASE WHEN e.event_id IS NULL OR e.is_logged THEN '{}' ELSE ARRAY[e.event_id] END
        FROM (SELECT) AS once
        LEFT JOIN LATERAL (
            SELECT e.event_id, (
                SELECT true FROM orderledger.log l WHERE l.event_id = e.event_id) AS is_logged
            FROM orderledger.events e
            WHERE e.book_id = p_book AND e.stream = p_stream AND e.version = p_version - 1 LIMIT 1
        ) e ON true
        WHERE NOT EXISTS (
                SELECT 1 FROM orderledger.commands_archive a
                WHERE a.book_id = p_book AND a.key_hash = p_key_hash)
            AND (p_generation IS NULL OR EXISTS (
                SELECT 1 FROM orderledger.books b
                WHERE b.book_id = p_book AND b.constraint_generation = p_generation))
            AND (e.event_id IS NOT NULL OR p_version <= 1);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    v_placed := orderledger.place(p_book, v_has_head, p_now, p_generation, ARRAY[p_key_hash],
        ARRAY[p_id], ARRAY[p_content], ARRAY[p_stream], ARRAY[p_version - 1]);
    first_position := v_placed.first_position;
    recorded_at := v_placed.recorded_at;
END
$$;

-- Gives positions to waiting events with ids after p_from (NULL: to those in the window of an append).
-- Returns how many events it placed, 0 where none waited, NULL where some wait but the head is taken.
--
-- It does not wait for the head: who holds it mostly takes along what waits, and under load there is
-- always the next one, so that a queue for the row only grew. The caller looks again a little later.
CREATE OR REPLACE FUNCTION orderledger.sequence(
    p_book integer, p_now timestamptz, p_from bigint, p_limit integer
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET lock_timeout = '10s' AS $$
DECLARE
    v_from bigint := coalesce(
        p_from, pg_sequence_last_value('orderledger.pending_id') - orderledger.pending_window(), 0);
    v_taken record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'sequence needs READ COMMITTED' USING ERRCODE = 'OL004';
    END IF;
    -- Looking costs no lock: an idle sequencer must not stand between appends and the head.
    PERFORM 1 FROM orderledger.pending p WHERE p.book_id = p_book AND p.id > v_from LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    PERFORM 1 FROM orderledger.heads h WHERE h.book_id = p_book FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    v_taken := orderledger.take_pending(p_book, v_from, '{}', p_limit);
    IF v_taken.event_ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM orderledger.write_log(p_book, p_now, v_taken.event_ids, v_taken.contents);
    -- NOTIFY takes a cluster-wide lock at commit, so only this transaction sends one.
    PERFORM pg_notify('orderledger', (SELECT name FROM orderledger.books WHERE book_id = p_book));
    RETURN cardinality(v_taken.event_ids);
END
$$;

-- The root of one complete run of 256 nodes (RFC 6962: SHA-256 of 0x01, left, right, pairwise), given
-- one behind the other: an element of an array is found by walking over those before it.
CREATE FUNCTION orderledger.tile_root(p_nodes bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_nodes bytea := p_nodes;
    v_size integer := octet_length(p_nodes) / 32;
BEGIN
    IF octet_length(p_nodes) <> 256 * 32 THEN
        RAISE EXCEPTION 'a tile has 256 nodes, not %', v_size USING ERRCODE = 'OL008';
    END IF;
    WHILE v_size > 1 LOOP
        SELECT string_agg(sha256('\x01'::bytea || substr(v_nodes, i * 64 + 1, 64)), ''::bytea ORDER BY i)
        INTO v_nodes FROM generate_series(0, v_size / 2 - 1) AS i;
        v_size := v_size / 2;
    END LOOP;
    RETURN v_nodes;
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.tile_root(bytea) FROM PUBLIC;

-- Writes the tiles that growing from one size to another completes (merkle.complete_tiles).
CREATE OR REPLACE FUNCTION orderledger.complete_tiles(p_book integer, p_before bigint, p_after bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_level integer := 0;
    v_before bigint := p_before;
    v_after bigint := p_after;
    v_index bigint;
    v_nodes bytea;
BEGIN
    WHILE v_after >> 8 > v_before >> 8 LOOP
        FOR v_index IN SELECT generate_series(v_before >> 8, (v_after >> 8) - 1) LOOP
            IF v_level = 0 THEN
                SELECT string_agg(l.leaf_hash, ''::bytea ORDER BY l.position) INTO v_nodes
                FROM orderledger.log l
                WHERE l.book_id = p_book
                    AND l.position BETWEEN v_index * 256 + 1 AND v_index * 256 + 256;
            ELSE
                SELECT string_agg(t.root, ''::bytea ORDER BY t.index) INTO v_nodes
                FROM orderledger.tiles t
                WHERE t.book_id = p_book AND t.level = v_level
                    AND t.index BETWEEN v_index * 256 AND v_index * 256 + 255;
            END IF;
            INSERT INTO orderledger.tiles (book_id, level, index, root)
            VALUES (p_book, v_level + 1, v_index, orderledger.tile_root(v_nodes));
        END LOOP;
        v_level := v_level + 1;
        v_before := v_before >> 8;
        v_after := v_after >> 8;
    END LOOP;
END
$$;
DROP FUNCTION orderledger.tile_root(bytea[]);
