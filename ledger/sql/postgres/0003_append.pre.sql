-- Appending and sequencing. Both run as their owner: the application's role may call them and read,
-- and nothing else.
--
-- Order of locks, the same in every transaction (deadlocks otherwise): stream_locks by slot, commands
-- by key hash, events by (stream, version), then the row of heads, which an append never waits for.

-- Appends log rows for events in the given order and the tiles that they complete. The caller holds
-- the head. Returns the position and the recording time of the first of them.
CREATE FUNCTION orderledger.write_log(
    p_book integer, p_now timestamptz, p_event_ids uuid[], p_contents bytea[],
    OUT first_position bigint, OUT recorded_at timestamptz
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_size bigint;
    v_last timestamptz;
    v_at_us bigint;
BEGIN
    -- A statement of its own, after the one that took the lock: its snapshot sees all that the
    -- lock's previous holder committed.
    SELECT l.position, l.recorded_at INTO v_size, v_last
    FROM orderledger.log l WHERE l.book_id = p_book ORDER BY l.position DESC LIMIT 1;
    v_size := coalesce(v_size, 0);
    -- Strictly increasing whatever the clock does: GREATEST ignores a NULL v_last.
    recorded_at := greatest(coalesce(p_now, clock_timestamp()), v_last + interval '1 microsecond');
    v_at_us := (extract(epoch FROM recorded_at) * 1000000)::bigint;
    first_position := v_size + 1;
    -- The leaf hash is codec.leaf_hash: 0x00, position, microseconds, content hash.
    INSERT INTO orderledger.log (book_id, position, event_id, recorded_at, leaf_hash)
    SELECT p_book, v_size + u.n, u.event_id, write_log.recorded_at + (u.n - 1) * interval '1 microsecond',
        sha256('\x00'::bytea || int8send(v_size + u.n) || int8send(v_at_us + u.n - 1) || u.content)
    FROM (
        SELECT unnest(p_event_ids) AS event_id, unnest(p_contents) AS content,
            generate_series(1, cardinality(p_event_ids)) AS n
    ) u;
    IF (v_size + cardinality(p_event_ids)) >> 8 > v_size >> 8 THEN
        PERFORM orderledger.complete_tiles(p_book, v_size, v_size + cardinality(p_event_ids));
    END IF;
END
$$;

-- The root of one complete run of 256 nodes (RFC 6962: SHA-256 of 0x01, left, right, pairwise).
CREATE FUNCTION orderledger.tile_root(p_nodes bytea[]) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_nodes bytea[] := p_nodes;
    v_size integer := cardinality(p_nodes);
BEGIN
    IF v_size <> 256 THEN
        RAISE EXCEPTION 'a tile has 256 nodes, not %', v_size USING ERRCODE = 'OL008';
    END IF;
    WHILE v_size > 1 LOOP
        v_nodes := ARRAY(
            SELECT sha256('\x01'::bytea || v_nodes[i] || v_nodes[i + 1])
            FROM generate_series(1, v_size, 2) AS i ORDER BY i);
        v_size := v_size / 2;
    END LOOP;
    RETURN v_nodes[1];
END
$$;

-- Writes the tiles that growing from one size to another completes (merkle.complete_tiles).
CREATE FUNCTION orderledger.complete_tiles(p_book integer, p_before bigint, p_after bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_level integer := 0;
    v_before bigint := p_before;
    v_after bigint := p_after;
    v_index bigint;
    v_nodes bytea[];
BEGIN
    WHILE v_after >> 8 > v_before >> 8 LOOP
        FOR v_index IN SELECT generate_series(v_before >> 8, (v_after >> 8) - 1) LOOP
            IF v_level = 0 THEN
                v_nodes := ARRAY(
                    SELECT l.leaf_hash FROM orderledger.log l
                    WHERE l.book_id = p_book
                        AND l.position BETWEEN v_index * 256 + 1 AND v_index * 256 + 256
                    ORDER BY l.position);
            ELSE
                v_nodes := ARRAY(
                    SELECT t.root FROM orderledger.tiles t
                    WHERE t.book_id = p_book AND t.level = v_level
                        AND t.index BETWEEN v_index * 256 AND v_index * 256 + 255
                    ORDER BY t.index);
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

-- How many ids back an append looks for waiting ones. More than writers have in flight at a time;
-- few enough that their dead rows cost an append less than its own inserts.
CREATE FUNCTION orderledger.pending_window() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 256::bigint';

-- Takes committed waiting appends out of pending, oldest first. The caller holds the head.
--
-- Rows of pending are deleted at every commit under load. Under one long open snapshot their dead
-- index entries cannot be skipped, so a scan from the first id would cost more with every commit.
-- An append therefore looks only at ids after p_from, and a row that became visible later than
-- that window (its transaction was long) waits for the sequencer, which looks at everything at
-- times.
-- Order does not depend on the window: each row names in "after" the events that it follows (its
-- streams' and its checked streams' last ones) which were not in the log when it was written. When
-- one is neither logged nor in the window, everything is scanned; it is found then, for it was
-- visible to the follower and so committed first. Ids are drawn after that, so id order is a right
-- order. The window is a matter of speed only: no clock, no transaction id, no in-flight guess.
CREATE FUNCTION orderledger.take_pending(
    p_book integer, p_from bigint, p_after uuid[], p_limit integer,
    OUT event_ids uuid[], OUT contents bytea[], OUT is_complete boolean
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_ids bigint[];
    v_after uuid[];
    v_found uuid[];
BEGIN
    SELECT array_agg(w.id), array_agg(a.id) FILTER (WHERE a.id IS NOT NULL)
    INTO v_ids, v_after
    FROM (
        SELECT p.id, p.after FROM orderledger.pending p
        WHERE p.book_id = p_book AND p.id > p_from ORDER BY p.id LIMIT p_limit
    ) w LEFT JOIN LATERAL unnest(w.after) AS a (id) ON true;
    v_after := p_after || v_after;
    IF p_from > 0 AND cardinality(v_after) > 0 THEN
        SELECT array_agg(e.id) INTO v_found
        FROM orderledger.pending p, unnest(p.event_ids) AS e (id)
        WHERE p.book_id = p_book AND p.id = ANY (v_ids);
        PERFORM 1 FROM unnest(v_after) AS a (id)
        WHERE NOT a.id = ANY (coalesce(v_found, '{}'))
            AND NOT EXISTS (SELECT 1 FROM orderledger.log l WHERE l.event_id = a.id);
        IF FOUND THEN
            SELECT array_agg(w.id) INTO v_ids
            FROM (
                SELECT p.id FROM orderledger.pending p
                WHERE p.book_id = p_book ORDER BY p.id LIMIT p_limit
            ) w;
        END IF;
    END IF;
    WITH taken AS (
        DELETE FROM orderledger.pending p
        WHERE p.book_id = p_book AND p.id = ANY (v_ids)
        RETURNING p.id, p.event_ids, p.content_hashes
    )
    SELECT array_agg(u.event_id ORDER BY t.id, u.n), array_agg(u.content ORDER BY t.id, u.n),
        count(DISTINCT t.id) < p_limit
    INTO event_ids, contents, is_complete
    FROM taken t, unnest(t.event_ids, t.content_hashes) WITH ORDINALITY AS u (event_id, content, n);
END
$$;

-- Writes one batch: commands, events and, when the head is free, their positions. One round trip.
--
-- Event arrays are ordered by (stream, version), command arrays by key hash, so that two batches
-- meet their common keys in one order. p_event_ids and p_contents are in the batch's own order.
-- p_before_*: the last event of each appended or checked stream; at version 0 it may be missing.
-- p_check_*: streams that must stand at a version (0: must not exist).
-- Raises unique_violation, OL001 (key in the archive), OL002 (stream not at the version),
-- OL003 (constraint generation moved), OL004 (isolation).
CREATE FUNCTION orderledger.append(
    p_book integer, p_may_sequence boolean, p_now timestamptz, p_generation bigint,
    p_appended_at timestamptz,
    p_key_hashes uuid[], p_keys text[], p_command_ids uuid[], p_fingerprints bytea[],
    p_commands text[], p_refused boolean[], p_replies text[],
    p_ids uuid[], p_streams text[], p_versions bigint[], p_topics text[],
    p_occurred_at timestamptz[], p_event_commands uuid[], p_contexts text[], p_postings text[],
    p_payloads text[],
    p_event_ids uuid[], p_contents bytea[],
    p_before_streams text[], p_before_versions bigint[],
    p_check_streams text[], p_check_versions bigint[],
    OUT first_position bigint, OUT recorded_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- Planning for each call's array lengths takes longer than running it; and a plan that was cached
-- while the tables were small must not scan them when they have grown.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_placed record;
BEGIN
    -- Each statement must see what others committed while an earlier one waited.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append needs READ COMMITTED' USING ERRCODE = 'OL004';
    END IF;
    IF cardinality(p_check_streams) > 0 THEN
        PERFORM orderledger.check_streams(p_book, p_streams, p_check_streams, p_check_versions);
    END IF;
    -- unnest in the select list, where it streams: in FROM each array is first copied to a store of
    -- its own. Arrays of one length run in step; were one shorter, its NULLs would be refused.
    INSERT INTO orderledger.commands (book_id, key_hash, command_id, appended_at, refused, key,
        fingerprint, command, reply)
    SELECT p_book, unnest(p_key_hashes), unnest(p_command_ids), p_appended_at, unnest(p_refused),
        unnest(p_keys), unnest(p_fingerprints), unnest(p_commands), unnest(p_replies);
    INSERT INTO orderledger.events (book_id, event_id, stream, version, topic, occurred_at,
        appended_at, command_id, context, postings, payload)
    SELECT p_book, unnest(p_ids), unnest(p_streams), unnest(p_versions), unnest(p_topics),
        unnest(p_occurred_at), p_appended_at, unnest(p_event_commands), unnest(p_contexts),
        unnest(p_postings), unnest(p_payloads);
    v_placed := orderledger.place(p_book, p_may_sequence, p_now, p_generation, p_key_hashes,
        p_event_ids, p_contents, p_before_streams, p_before_versions);
    first_position := v_placed.first_position;
    recorded_at := v_placed.recorded_at;
END
$$;

-- append for the commonest batch, one command with one event and no checks: the same rows from
-- scalars, which spares a lone caller the arrays. All rules are those of place.
CREATE FUNCTION orderledger.append_one(
    p_book integer, p_now timestamptz, p_generation bigint, p_appended_at timestamptz,
    p_key_hash uuid, p_key text, p_command_id uuid, p_fingerprint bytea, p_command text,
    p_refused boolean, p_reply text,
    p_id uuid, p_stream text, p_version bigint, p_topic text, p_occurred_at timestamptz,
    p_context text, p_postings text, p_payload text, p_content bytea,
    OUT first_position bigint, OUT recorded_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
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
    v_placed := orderledger.place(p_book, true, p_now, p_generation, ARRAY[p_key_hash],
        ARRAY[p_id], ARRAY[p_content], ARRAY[p_stream], ARRAY[p_version - 1]);
    first_position := v_placed.first_position;
    recorded_at := v_placed.recorded_at;
END
$$;

-- What every append does once its rows are written: refuses them where its expectations fail, then
-- gives the events positions or leaves them to wait. Parameters as of append.
CREATE FUNCTION orderledger.place(
    p_book integer, p_may_sequence boolean, p_now timestamptz, p_generation bigint,
    p_key_hashes uuid[], p_event_ids uuid[], p_contents bytea[],
    p_before_streams text[], p_before_versions bigint[],
    OUT first_position bigint, OUT recorded_at timestamptz
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_has_events boolean := cardinality(p_event_ids) > 0;
    v_has_head boolean := false;
    v_from bigint;
    v_is_known boolean;
    v_is_gap boolean;
    v_is_current boolean;
    v_is_waiting boolean;
    v_before uuid[];
    v_ahead integer;
    v_taken record;
    v_log record;
BEGIN
    IF v_has_events THEN
        -- Even where no row may be taken this locks the table in ROW SHARE mode until the
        -- transaction ends, which is what orderledger.begin_constrain waits for; the generation is
        -- read after it.
        PERFORM 1 FROM orderledger.heads h
        WHERE h.book_id = p_book AND p_may_sequence FOR NO KEY UPDATE SKIP LOCKED;
        v_has_head := FOUND;
    END IF;
    -- See take_pending for the window and for what v_before is good for.
    v_from := coalesce(pg_sequence_last_value('orderledger.pending_id'), 0)
        - orderledger.pending_window();
    -- All questions in one statement: starting one costs more than a probe of an index.
    -- It must come after the lock on heads, and after the insert into commands, or a key could run
    -- twice while it moves to the archive. The mover deletes from commands and inserts into the
    -- archive in one transaction. If it has not committed, the insert met the old row and waited for
    -- it (then failed, had the mover rolled back); if it has, this later statement's fresh snapshot
    -- sees the key in the archive. It cannot start after the insert either: the insert would have
    -- failed on the row that it means to move.
    -- The batch's own rows are in sight but never taken for earlier ones: a stream's last event
    -- before the batch has a version below all of them.
    -- One stream's last event is asked for here; where there are more, unnest takes a statement of
    -- its own, for its start costs as much as all of this.
    -- LIMIT and the scalar subquery: joined or hashed by a plan made for small tables, they would
    -- scan large ones.
    SELECT EXISTS (
            SELECT 1 FROM orderledger.commands_archive a
            WHERE a.book_id = p_book AND a.key_hash = ANY (p_key_hashes)),
        p_generation IS NULL OR EXISTS (
            SELECT 1 FROM orderledger.books b
            WHERE b.book_id = p_book AND b.constraint_generation = p_generation),
        EXISTS (SELECT 1 FROM orderledger.pending p WHERE p.book_id = p_book AND p.id > v_from),
        e.event_id IS NULL AND p_before_versions[1] > 0,
        CASE WHEN e.event_id IS NOT NULL AND e.is_logged IS NULL
            THEN ARRAY[e.event_id] ELSE '{}' END
    INTO v_is_known, v_is_current, v_is_waiting, v_is_gap, v_before
    FROM (SELECT) AS once
    LEFT JOIN LATERAL (
        SELECT e.event_id, (
            SELECT true FROM orderledger.log l WHERE l.event_id = e.event_id) AS is_logged
        FROM orderledger.events e
        WHERE e.book_id = p_book AND e.stream = p_before_streams[1]
            AND e.version = p_before_versions[1] LIMIT 1
    ) e ON true;
    IF cardinality(p_before_streams) > 1 THEN
        SELECT bool_or(e.event_id IS NULL AND u.version > 0),
            coalesce(array_agg(e.event_id)
                FILTER (WHERE e.event_id IS NOT NULL AND e.is_logged IS NULL), '{}')
        INTO v_is_gap, v_before
        FROM unnest(p_before_streams, p_before_versions) AS u (stream, version)
        LEFT JOIN LATERAL (
            SELECT e.event_id, (
                SELECT true FROM orderledger.log l WHERE l.event_id = e.event_id) AS is_logged
            FROM orderledger.events e
            WHERE e.book_id = p_book AND e.stream = u.stream AND e.version = u.version LIMIT 1
        ) e ON true;
    END IF;
    IF v_is_known THEN
        RAISE EXCEPTION 'the key was used before' USING ERRCODE = 'OL001';
    END IF;
    IF v_is_gap THEN
        RAISE EXCEPTION 'a stream is not at the expected version' USING ERRCODE = 'OL002';
    END IF;
    IF NOT v_has_events THEN
        RETURN;
    END IF;
    IF NOT v_is_current THEN
        RAISE EXCEPTION 'the set of constrained accounts changed' USING ERRCODE = 'OL003';
    END IF;
    IF v_has_head AND NOT v_is_waiting AND v_before = '{}' THEN
        v_log := orderledger.write_log(p_book, p_now, p_event_ids, p_contents);
        first_position := v_log.first_position;
        recorded_at := v_log.recorded_at;
        RETURN;
    END IF;
    IF v_has_head THEN
        v_taken := orderledger.take_pending(p_book, v_from, v_before, 1000);
        v_ahead := coalesce(cardinality(v_taken.event_ids), 0);
        IF v_taken.is_complete THEN
            v_log := orderledger.write_log(
                p_book, p_now, v_taken.event_ids || p_event_ids, v_taken.contents || p_contents);
            first_position := v_log.first_position + v_ahead;
            recorded_at := v_log.recorded_at + v_ahead * interval '1 microsecond';
            RETURN;
        END IF;
        -- More are waiting than one append should carry: this batch queues behind them.
        PERFORM orderledger.write_log(p_book, p_now, v_taken.event_ids, v_taken.contents);
    END IF;
    INSERT INTO orderledger.pending (book_id, event_ids, content_hashes, after)
    VALUES (p_book, p_event_ids, p_contents, v_before);
END
$$;

-- Locks the streams that a deciding batch read or writes, then compares the versions it read.
--
-- Two batches that each check a stream which the other appends to would both pass (write skew).
-- Checked streams are locked shared, appended ones exclusively, in slot order; the comparison is a
-- later statement and sees what the lock's previous holders committed. Batches without checks need
-- no lock: all they read is what they append to, where the primary key decides.
CREATE FUNCTION orderledger.check_streams(
    p_book integer, p_streams text[], p_check_streams text[], p_check_versions bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_lock record;
BEGIN
    FOR v_lock IN
        SELECT hashtext(u.stream) & 1023 AS slot, bool_or(u.is_appended) AS is_appended
        FROM (SELECT unnest(p_streams), true
              UNION ALL SELECT unnest(p_check_streams), false) AS u (stream, is_appended)
        GROUP BY 1 ORDER BY 1
    LOOP
        IF v_lock.is_appended THEN
            PERFORM 1 FROM orderledger.stream_locks s
            WHERE s.book_id = p_book AND s.slot = v_lock.slot FOR NO KEY UPDATE;
        ELSE
            PERFORM 1 FROM orderledger.stream_locks s
            WHERE s.book_id = p_book AND s.slot = v_lock.slot FOR SHARE;
        END IF;
    END LOOP;
    PERFORM 1 FROM unnest(p_check_streams, p_check_versions) AS u (stream, version)
    WHERE (u.version > 0 AND NOT EXISTS (
            SELECT 1 FROM orderledger.events e
            WHERE e.book_id = p_book AND e.stream = u.stream AND e.version = u.version))
        OR EXISTS (
            SELECT 1 FROM orderledger.events e
            WHERE e.book_id = p_book AND e.stream = u.stream
                AND (u.version = 0 OR e.version > u.version));
    IF FOUND THEN
        RAISE EXCEPTION 'a checked stream is not at the version read' USING ERRCODE = 'OL002';
    END IF;
END
$$;

-- Gives positions to waiting events with ids after p_from (NULL: to those in the window of an append);
-- waits for the head. Returns how many events it placed (0: none waited).
CREATE FUNCTION orderledger.sequence(
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
    PERFORM 1 FROM orderledger.heads h WHERE h.book_id = p_book FOR NO KEY UPDATE;
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

-- Moves at most p_limit records of commands before a time to the archive; returns how many.
CREATE FUNCTION orderledger.archive_commands(p_book integer, p_before timestamptz, p_limit integer)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count bigint;
BEGIN
    WITH moved AS (
        DELETE FROM orderledger.commands c
        WHERE c.book_id = p_book AND c.key_hash IN (
            SELECT d.key_hash FROM orderledger.commands d
            WHERE d.book_id = p_book AND d.appended_at < p_before
            ORDER BY d.key_hash LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING c.*
    )
    INSERT INTO orderledger.commands_archive SELECT * FROM moved ORDER BY key_hash;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
