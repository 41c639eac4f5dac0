"""
The plain baseline: the rows of our events written by plain SQL into a table without any guard.

Same columns, types, collations and indexes as the library's events; no CHECK, trigger, key record,
log, position or hash.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from bench.postings import keyed
from orderledger import Book
from orderledger.ledger.ids import new_id
from orderledger.ledger.stores import postgres_arrays

TABLE: Final = """
CREATE TABLE plain_events (
    book_id integer NOT NULL,
    event_id uuid NOT NULL,
    version bigint NOT NULL,
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
)
"""
ONE: Final = "INSERT INTO plain_events VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
MANY: Final = """
INSERT INTO plain_events
SELECT 1, * FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::timestamptz[],
    %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
"""

Row = tuple[Any, ...]


def prepare(url: str) -> None:
    """Create the table."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)


class Rows:
    """Makes rows with the texts of a real event of ours and fresh ids, as many as are wanted."""

    def __init__(self, book: Book) -> None:
        receipt = book.execute_envelope(keyed())
        (stream,) = receipt.streams
        event = next(iter(book.store.stream(stream)))
        self._texts = (event.topic, event.context, event.postings, event.payload)

    def fresh(self, count: int) -> list[Row]:
        """Return rows of new streams."""
        now = datetime.now(UTC)
        topic, context, postings, payload = self._texts
        return [
            (
                1,
                new_id(),
                1,
                now,
                now,
                new_id(),
                f"journal-{new_id()}",
                topic,
                context,
                postings,
                payload,
            )
            for _ in range(count)
        ]


def arrays(rows: Sequence[Row]) -> list[object]:
    """Return rows as one array per column, encoded the quickest way known: psycopg's own lists
    would make the baseline slower."""
    _, ids, versions, occurred, appended, commands, *texts = (
        list(column) for column in zip(*rows, strict=True)
    )
    return [
        postgres_arrays.uuid_array(ids),
        postgres_arrays.bigint_array(versions),
        postgres_arrays.timestamp_array(occurred),
        postgres_arrays.timestamp_array(appended),
        postgres_arrays.uuid_array(commands),
        *(postgres_arrays.text_array(column) for column in texts),
    ]
