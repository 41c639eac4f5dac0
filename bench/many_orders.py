"""
A book of very many paid orders, made by copying the first one in the server.

Only what reads may be measured on it: leaf hashes and tiles are not those of the events.
"""

from typing import Final, LiteralString

import psycopg

from bench.bench_order_path import order_commands
from orderledger import Book

EVENTS_PER_ORDER: Final = 8

# Time-ordered ids, as the library makes them: milliseconds, version 7, then what is random.
ORDERED_ID: Final[LiteralString] = """
CREATE FUNCTION pg_temp.ordered_id(n bigint, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7000' || '8'
        || substr(md5(salt || n::text), 1, 15))::uuid
$$
"""
_TEMPLATE: Final[LiteralString] = """
CREATE TEMPORARY TABLE template AS
SELECT l.position AS k, l.recorded_at, e.*
FROM orderledger.log l JOIN orderledger.events e USING (event_id)
"""
# The order's and the payment's id stand in streams, payloads and accounts.
_EVENTS: Final[LiteralString] = """
INSERT INTO orderledger.events (book_id, event_id, stream, version, topic, occurred_at,
    appended_at, command_id, context, postings, payload)
SELECT 1, pg_temp.ordered_id(n * 10 + k, 'e'),
    replace(replace(stream, %(order)s, o.id), %(payment)s, p.id), version, topic, occurred_at,
    appended_at, pg_temp.ordered_id(n * 10 + k, 'c'), context, replace(postings, %(order)s, o.id),
    replace(replace(payload, %(order)s, o.id), %(payment)s, p.id)
FROM generate_series(1::bigint, %(orders)s) AS n, template,
    LATERAL (SELECT pg_temp.ordered_id(n, 'o')::text AS id) AS o,
    LATERAL (SELECT pg_temp.ordered_id(n, 'p')::text AS id) AS p
"""
_LOG: Final[LiteralString] = """
INSERT INTO orderledger.log (book_id, position, event_id, recorded_at, leaf_hash)
SELECT 1, n * %(events)s + k, pg_temp.ordered_id(n * 10 + k, 'e'),
    recorded_at + (n * %(events)s) * interval '1 microsecond', sha256(int8send(n * 10 + k))
FROM generate_series(1::bigint, %(orders)s) AS n, template
"""


def fill(book: Book, url: str, orders: int) -> int:
    """Place one order and copy it; return how many events the book has then."""
    place, initiate, *others = order_commands()
    for command in (place, initiate, *others):
        book.execute(command)
    while book.store.sequence():
        pass
    assert book.store.head().size == EVENTS_PER_ORDER
    with psycopg.connect(url, autocommit=True) as connection:
        # Only while filling: what is measured commits with the server's defaults.
        connection.execute("SET synchronous_commit = off")
        connection.execute(ORDERED_ID)
        connection.execute(_TEMPLATE)
        ids = {"order": place.order_id, "payment": initiate.payment_id}  # type: ignore[attr-defined]  # their own fields
        connection.execute(_EVENTS, {**ids, "orders": orders - 1})
        connection.execute(_LOG, {"events": EVENTS_PER_ORDER, "orders": orders - 1})
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return book.store.head().size
