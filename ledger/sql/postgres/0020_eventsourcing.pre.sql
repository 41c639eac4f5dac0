-- What the `eventsourcing` library keeps beside events: how far a consumer has come in another
-- application's notifications, and snapshots, which may be deleted at any time.

CREATE TABLE orderledger.tracking (
    book_id integer NOT NULL REFERENCES orderledger.books,
    application_name text COLLATE "C" NOT NULL,
    notification_id bigint NOT NULL,
    PRIMARY KEY (book_id, application_name)
);

CREATE TABLE orderledger.aggregate_snapshots (
    book_id integer NOT NULL REFERENCES orderledger.books,
    purpose text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    topic text COLLATE "C" NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (book_id, purpose, stream, version)
);

-- Rights of the adapter on what it keeps; part of orderledger.grant_application.
CREATE FUNCTION orderledger.grant_eventsourcing(p_role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON orderledger.tracking TO %I', p_role);
    EXECUTE format('GRANT SELECT, INSERT ON orderledger.aggregate_snapshots TO %I', p_role);
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.grant_eventsourcing(name) FROM PUBLIC;
