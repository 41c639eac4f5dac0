-- Read models: which generations there are, how far each is complete, and what each leaves out.
-- The rows stand in tables of their own per generation, made when a generation is.

CREATE TABLE orderledger_generations (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    model TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    version INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('building', 'live', 'previous', 'refused')),
    position INTEGER NOT NULL CHECK (position >= 0),
    leaf_hash BLOB NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    -- The tables as JSON: what a view over the generations of several books is made from.
    shape TEXT NOT NULL,
    -- Who follows it, until when, and how many let their lease run out at one position before.
    owner TEXT NOT NULL DEFAULT '',
    owned_until TEXT NOT NULL DEFAULT '',
    death_position INTEGER NOT NULL DEFAULT -1,
    deaths INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (book_id, model, number)
) STRICT, WITHOUT ROWID;

-- Readers find one generation, never two.
CREATE UNIQUE INDEX orderledger_generations_live ON orderledger_generations (book_id, model)
WHERE state = 'live';

-- Streams that a model could not project, from a position on.
CREATE TABLE orderledger_parked (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    model TEXT NOT NULL,
    number INTEGER NOT NULL,
    stream TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 1),
    topic TEXT NOT NULL,
    error TEXT NOT NULL,
    parked_at TEXT NOT NULL CHECK (length(parked_at) = 32),
    PRIMARY KEY (book_id, model, number, stream)
) STRICT, WITHOUT ROWID;
