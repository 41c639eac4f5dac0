"""
One very long stream, that of a constrained account, made by copying its last event in the server.

Only what reads may be measured on it: leaf hashes and tiles are not those of the events.
"""

from typing import Final

import psycopg

from bench.many_orders import ORDERED_ID
from orderledger import Book
from orderledger.commands.account_commands import ConstrainAccount, PostEntry, PostingInput
from orderledger.ledger.account_events import ConstraintKind

CASH: Final = "assets:bank:main"
STREAM: Final = f"account-{CASH}"

# The last event of the stream again and again: what an account of many entries looks like.
_FILL: Final = """
INSERT INTO orderledger.events (book_id, event_id, stream, version, topic, occurred_at,
    appended_at, command_id, context, postings, payload)
SELECT 1, pg_temp.ordered_id(n, 'e'), stream, version + n, topic, occurred_at, appended_at,
    pg_temp.ordered_id(n, 'c'), context, postings, payload
FROM generate_series(1::bigint, {count}) AS n,
    (SELECT * FROM orderledger.events WHERE stream = '{stream}' ORDER BY version DESC LIMIT 1) AS e;
INSERT INTO orderledger.log (book_id, position, event_id, recorded_at, leaf_hash)
SELECT 1, position + n, pg_temp.ordered_id(n, 'e'), recorded_at + n * interval '1 microsecond',
    sha256(int8send(n))
FROM generate_series(1::bigint, {count}) AS n,
    (SELECT * FROM orderledger.log ORDER BY position DESC LIMIT 1) AS l;
VACUUM ANALYZE;
"""


def fill_stream(book: Book, url: str, count: int) -> int:
    """Post one entry and copy its event ``count`` times; return how many events the stream has."""
    book.execute(ConstrainAccount(account=CASH, kind=ConstraintKind.NO_CREDIT_BALANCE))
    legs = (PostingInput(CASH, "EUR", 100), PostingInput("equity:opening", "EUR", -100))
    book.execute(PostEntry(entry_id="e1", description="takings", postings=legs))
    while book.store.sequence():
        pass
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(ORDERED_ID)
        for statement in _FILL.format(count=count, stream=STREAM).split(";\n")[:-1]:
            connection.execute(statement.encode())
    return count + 2
