-- What the database refuses by itself, whatever the code does.

-- True when a journal entry balances: one leg a line, "layer account currency minor", legs of one
-- (layer, currency) together, each such run summing to zero. The empty entry is true. Words that are
-- no number raise instead, which refuses the row as well and spares a subtransaction per row.
CREATE FUNCTION orderledger.entry_balances(p_postings text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- The line break becomes part of the next leg's first word, so it cannot pass for a space.
    v_words text[] := string_to_array(E'\n' || replace(p_postings, E'\n', E' \n'), ' ');
    v_count integer := cardinality(v_words);
    v_run text := '';
    v_leg_run text;
    v_sum numeric := 0;
    v_minor numeric;
    v_at integer := 1;
BEGIN
    IF p_postings = '' THEN
        RETURN true;
    END IF;
    -- Two legs of one layer and currency with opposite amounts: most entries are such, and each
    -- expression below is prepared anew in every transaction, which takes longer than running it.
    -- All that the loop asks of such an entry is asked here; whatever differs is left to the loop.
    IF v_count = 8 AND v_words[1] IN (E'\nposted', E'\nheld') AND v_words[5] = v_words[1]
       AND v_words[3] <> '' AND v_words[7] = v_words[3] AND v_words[2] <> '' AND v_words[6] <> ''
       AND v_words[4] ~ '^-?[1-9][0-9]{0,29}$'
       AND (v_words[8] = '-' || v_words[4] OR v_words[4] = '-' || v_words[8]) THEN
        RETURN true;
    END IF;
    IF v_count % 4 <> 0 OR v_count < 8 THEN
        RETURN false;
    END IF;
    WHILE v_at < v_count LOOP
        v_leg_run := v_words[v_at] || ' ' || v_words[v_at + 2];
        IF v_leg_run <> v_run THEN
            IF v_sum <> 0 OR v_words[v_at] NOT IN (E'\nposted', E'\nheld') OR v_words[v_at + 2] = '' THEN
                RETURN false;
            END IF;
            v_run := v_leg_run;
        END IF;
        v_minor := v_words[v_at + 3]::numeric;
        -- The cast also reads 1e2, +5, 007, NaN and Infinity; an amount has at most 30 digits.
        IF v_minor::text <> v_words[v_at + 3] OR scale(v_minor) IS DISTINCT FROM 0
           OR abs(v_minor) >= 1e30 OR v_words[v_at + 1] = '' THEN
            RETURN false;
        END IF;
        v_sum := v_sum + v_minor;
        v_at := v_at + 4;
    END LOOP;
    RETURN v_sum = 0;
END
$$;

ALTER TABLE orderledger.events
    ADD CONSTRAINT entry_balances CHECK (orderledger.entry_balances(postings));

CREATE FUNCTION orderledger.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on orderledger.% is refused: history is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'OL009';
END
$$;

-- ENABLE ALWAYS: a session with session_replication_role = replica does not slip through.
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['events', 'log', 'tiles', 'commands_archive'] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON orderledger.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION orderledger.refuse()', v_table);
        EXECUTE format('ALTER TABLE orderledger.%I ENABLE ALWAYS TRIGGER append_only', v_table);
    END LOOP;
    -- commands loses rows to commands_archive, so DELETE stays possible for their owner.
    CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON orderledger.commands
        FOR EACH STATEMENT EXECUTE FUNCTION orderledger.refuse();
    ALTER TABLE orderledger.commands ENABLE ALWAYS TRIGGER append_only;
END
$$;
