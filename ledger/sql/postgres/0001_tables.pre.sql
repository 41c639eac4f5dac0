-- Tables. Names sort in the "C" collation everywhere: prefix scans and page order then never
-- depend on the server's locale or on an upgrade of its collation library.

CREATE TABLE orderledger.books (
    book_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE CHECK (name <> ''),
    constraint_generation bigint NOT NULL DEFAULT 0
);

-- One row per book that is only ever locked, never updated: the sequencer's mutex. A counter in it
-- would leave a dead version per commit and decay under one long open snapshot; the head is
-- max(position) of log, read under this lock.
CREATE TABLE orderledger.heads (
    book_id integer PRIMARY KEY REFERENCES orderledger.books
);

-- Lock rows for streams that a batch only read, by hash of the name; never updated either.
-- They also stand for streams that do not exist yet and so have no row to lock.
CREATE TABLE orderledger.stream_locks (
    book_id integer NOT NULL REFERENCES orderledger.books,
    slot integer NOT NULL,
    PRIMARY KEY (book_id, slot)
);

CREATE TABLE orderledger.events (
    book_id integer NOT NULL,
    event_id uuid NOT NULL,
    version bigint NOT NULL CHECK (version >= 0),
    occurred_at timestamptz NOT NULL,
    appended_at timestamptz NOT NULL,
    command_id uuid NOT NULL,
    stream text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    context text NOT NULL,
    postings text NOT NULL,
    payload text NOT NULL,
    PRIMARY KEY (book_id, stream, version),
    UNIQUE (event_id)
);

-- Only rows of log make an event part of the book's order. recorded_at and position are given here,
-- under the head's lock.
CREATE TABLE orderledger.log (
    book_id integer NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    event_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
    PRIMARY KEY (book_id, position),
    UNIQUE (event_id)
);

-- Roots of complete runs of 256 nodes of the level below (level 1: 256 leaves). "index" from 0.
CREATE TABLE orderledger.tiles (
    book_id integer NOT NULL,
    level integer NOT NULL CHECK (level > 0),
    index bigint NOT NULL CHECK (index >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (book_id, level, index)
);

-- Events that wait for a position: one row per append, so that a batch stays contiguous. "after"
-- names the events that must stand in the log first (see orderledger.collect_pending).
CREATE TABLE orderledger.pending (
    book_id integer NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME orderledger.pending_id),
    event_ids uuid[] NOT NULL,
    content_hashes bytea[] NOT NULL,
    after uuid[] NOT NULL,
    PRIMARY KEY (book_id, id)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE orderledger.commands (
    book_id integer NOT NULL,
    key_hash uuid NOT NULL,
    command_id uuid NOT NULL,
    appended_at timestamptz NOT NULL,
    refused boolean NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    command text NOT NULL,
    reply text NOT NULL,
    PRIMARY KEY (book_id, key_hash)
);

-- Client keys are random: each would touch a random page of a large index. commands stays small and
-- in memory; orderledger.archive_commands moves old rows here in bulk, in key order.
CREATE TABLE orderledger.commands_archive (
    LIKE orderledger.commands INCLUDING ALL
);

CREATE TABLE orderledger.constrained_accounts (
    book_id integer NOT NULL REFERENCES orderledger.books,
    account text COLLATE "C" NOT NULL,
    PRIMARY KEY (book_id, account)
);

-- Creates what a book needs; returns its id. Idempotent, safe from several processes.
CREATE FUNCTION orderledger.ensure_book(p_name text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_book integer;
BEGIN
    SELECT book_id INTO v_book FROM orderledger.books WHERE name = p_name;
    IF FOUND THEN
        RETURN v_book;
    END IF;
    INSERT INTO orderledger.books (name) VALUES (p_name)
    ON CONFLICT (name) DO NOTHING RETURNING book_id INTO v_book;
    IF v_book IS NULL THEN
        -- Another process was first; it has committed, or ON CONFLICT would still wait.
        SELECT book_id INTO STRICT v_book FROM orderledger.books WHERE name = p_name;
        RETURN v_book;
    END IF;
    INSERT INTO orderledger.heads (book_id) VALUES (v_book);
    INSERT INTO orderledger.stream_locks (book_id, slot)
    SELECT v_book, slot FROM generate_series(0, 1023) AS slot;
    RETURN v_book;
END
$$;
