-- What the `eventsourcing` library keeps beside events: how far a consumer has come in another
-- application's notifications, and snapshots, which may be deleted at any time.

CREATE TABLE orderledger_tracking (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    application_name TEXT NOT NULL,
    notification_id INTEGER NOT NULL,
    PRIMARY KEY (book_id, application_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE orderledger_aggregate_snapshots (
    book_id INTEGER NOT NULL REFERENCES orderledger_books,
    purpose TEXT NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (book_id, purpose, stream, version)
) STRICT;
