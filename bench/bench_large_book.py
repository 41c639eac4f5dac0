"""Do appends with random client keys slow down on a book of millions of events?"""

import psycopg

from bench.callers import threads_rate
from bench.databases import durability, event_count, postgres_book, server
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Ratio,
    Settings,
    benchmark_name,
    interleave,
    main,
)
from bench.many_orders import ORDERED_ID
from bench.postings import executing

CALLERS = 64
EVENTS = 500_000
EVENTS_FULL = 5_000_000
RECENT_KEYS = 100_000
"""Keys that are not in the archive yet: what a nightly archive_commands leaves at noon."""

_FILL = """
INSERT INTO orderledger.events (book_id, event_id, stream, version, topic, occurred_at,
    appended_at, command_id, context, postings, payload)
SELECT 1, pg_temp.ordered_id(n, 'e'), 'journal-' || pg_temp.ordered_id(n, 's'), 1, e.topic,
    e.occurred_at, e.appended_at, pg_temp.ordered_id(n, 'c'), e.context, e.postings, e.payload
FROM generate_series(1::bigint, {count}) AS n,
    (SELECT * FROM orderledger.events LIMIT 1) AS e;
INSERT INTO orderledger.log (book_id, position, event_id, recorded_at, leaf_hash)
SELECT 1, n + 1, pg_temp.ordered_id(n, 'e'), l.recorded_at + n * interval '1 microsecond',
    sha256(int8send(n))
FROM generate_series(1::bigint, {count}) AS n, (SELECT * FROM orderledger.log LIMIT 1) AS l;
SELECT orderledger.complete_tiles(1, 1, {count} + 1);
"""
# The archive is filled in key order, as archive_commands does it; random keys everywhere.
_FILL_KEYS = """
INSERT INTO orderledger.{table} (book_id, key_hash, command_id, appended_at, refused, key,
    fingerprint, command, reply)
SELECT 1, md5(n::text)::uuid, pg_temp.ordered_id(n, 'c'), c.appended_at, false,
    md5('key' || n::text), c.fingerprint, c.command, c.reply
FROM generate_series({first}::bigint, {last}) AS n,
    (SELECT * FROM orderledger.commands ORDER BY appended_at LIMIT 1) AS c
ORDER BY 2;
"""


def run(settings: Settings) -> Answer:
    """Measure 64 threads on a filled book against the same on an empty one."""
    callers = settings.sized(CALLERS, 4)
    count = EVENTS_FULL if settings.is_full else settings.sized(EVENTS, 2_000)
    recent = min(RECENT_KEYS, count // 2)
    with (
        server() as databases,
        databases.fresh_database() as filled,
        databases.fresh_database() as empty,
        postgres_book(filled) as large,
        postgres_book(empty) as small,
    ):
        on_large, on_small = executing(large), executing(small)
        on_large()
        _fill(filled, count, recent)
        before = event_count(filled)
        arms = [
            Arm(
                f"book of {count:,} events, {callers} threads",
                "commands/s",
                lambda seconds: threads_rate(on_large, callers, seconds),
            ),
            Arm(
                f"empty book, {callers} threads",
                "commands/s",
                lambda seconds: threads_rate(on_small, callers, seconds),
            ),
        ]
        found = interleave(arms, settings)
        facts: Facts = {
            "callers": callers,
            "events before": before,
            "keys in the archive": count - recent,
            "keys not archived": recent,
            "events added": event_count(filled) - before,
            **durability(filled),
        }
    return Answer(found, [Ratio("large / empty", 0, 1, target=0.8)], facts)


def _fill(url: str, count: int, recent: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # Only while filling: what is measured commits with the server's defaults.
        connection.execute("SET synchronous_commit = off")
        connection.execute(ORDERED_ID)
        _run(connection, _FILL.format(count=count))
        _run(
            connection,
            _FILL_KEYS.format(table="commands_archive", first=1, last=count - recent),
        )
        _run(
            connection,
            _FILL_KEYS.format(table="commands", first=count - recent + 1, last=count),
        )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _run(connection: "psycopg.Connection[tuple[object, ...]]", script: str) -> None:
    connection.execute(script.encode())


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
