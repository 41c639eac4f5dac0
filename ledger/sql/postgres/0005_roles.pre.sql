-- The rights of an application: read everything, write history through the functions only.

-- Functions that run as their owner are nobody's but those they are granted to.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA orderledger FROM PUBLIC;

-- Grants a role all that a running application needs, with read models and the eventsourcing
-- adapter; call it again after each migration. With these rights history can be read and appended
-- to, and not be changed, truncated or forged.
CREATE FUNCTION orderledger.grant_application(p_role name) RETURNS void
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
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.grant_application(name) FROM PUBLIC;
