-- Changing the set of constrained accounts.

-- Net movement of one account per (layer, currency) over the events with p_after < position, up to
-- p_until; without p_until also over those that wait for a position.
CREATE FUNCTION orderledger.account_net(
    p_book integer, p_account text, p_after bigint, p_until bigint
) RETURNS TABLE (layer text, currency text, minor numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT split_part(leg, ' ', 1), split_part(leg, ' ', 3), sum(split_part(leg, ' ', 4)::numeric)
    FROM (
        SELECT l.event_id FROM orderledger.log l
        WHERE l.book_id = p_book AND l.position > p_after
            AND l.position <= coalesce(p_until, 9223372036854775807)
        UNION ALL
        SELECT unnest(p.event_ids) FROM orderledger.pending p
        WHERE p.book_id = p_book AND p_until IS NULL
    ) w
    JOIN orderledger.events e ON e.event_id = w.event_id,
    string_to_table(e.postings, E'\n') AS leg
    WHERE strpos(e.postings, ' ' || p_account || ' ') > 0 AND split_part(leg, ' ', 2) = p_account
    GROUP BY 1, 2
$$;

-- Excludes appends until the transaction ends: each holds heads in ROW SHARE mode, even where it
-- takes no row. Autovacuum never visits heads, as its rows are never updated, so it is not in the
-- way. Returns the current generation.
CREATE FUNCTION orderledger.begin_constrain(p_book integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_generation bigint;
BEGIN
    LOCK TABLE orderledger.heads IN EXCLUSIVE MODE;
    SELECT constraint_generation INTO STRICT v_generation
    FROM orderledger.books WHERE book_id = p_book;
    RETURN v_generation;
END
$$;

-- Adds an account to the set and raises the generation; the caller's transaction began as
-- above and still has the lock.
CREATE FUNCTION orderledger.end_constrain(p_book integer, p_account text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE orderledger.heads IN EXCLUSIVE MODE;
    INSERT INTO orderledger.constrained_accounts (book_id, account) VALUES (p_book, p_account)
    ON CONFLICT DO NOTHING;
    UPDATE orderledger.books SET constraint_generation = constraint_generation + 1
    WHERE book_id = p_book;
END
$$;
