"""How many commands per second does execute_many of 1,000 reach, against plain SQL in bulk?"""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from bench import plain_sql
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
from bench.postings import keyed
from orderledger import Envelope
from orderledger.ledger.stores import postgres_arrays

BATCH = 1000

Item = TypeVar("Item")


def run(settings: Settings) -> Answer:
    """
    Measure execute_many against INSERT ... SELECT unnest of the same event rows.

    Rows and commands are made outside the time that counts; ours then decides, encodes, hashes,
    records the keys and writes the log, plain SQL sends its arrays.
    """
    batch = settings.sized(BATCH, 20)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        postgres_book(ours) as book,
        psycopg.connect(theirs, autocommit=True) as connection,
    ):
        plain_sql.prepare(theirs)
        rows = plain_sql.Rows(book)
        postgres_arrays.register(connection.adapters)
        cursor = connection.cursor(binary=True)

        def ours_once(envelopes: Sequence[Envelope]) -> None:
            book.execute_many(envelopes)

        def plain_once(made: Sequence[plain_sql.Row]) -> None:
            cursor.execute(plain_sql.MANY, plain_sql.arrays(made), prepare=True)

        arms = [
            Arm(
                f"orderledger execute_many of {batch}",
                "events/s",
                lambda seconds: _rate(
                    lambda: [keyed() for _ in range(batch)], ours_once, batch, seconds
                ),
            ),
            Arm(
                f"plain INSERT ... SELECT unnest of {batch}",
                "events/s",
                lambda seconds: _rate(lambda: rows.fresh(batch), plain_once, batch, seconds),
            ),
        ]
        found = interleave(arms, settings)
        facts: Facts = {"batch": batch, "events of ours": event_count(ours), **durability(ours)}
    return Answer(found, [Ratio("ours / plain SQL", 0, 1, target=0.25)], facts)


def _rate(
    make: Callable[[], Sequence[Item]],
    once: Callable[[Sequence[Item]], None],
    batch: int,
    seconds: float,
) -> float:
    """Return events per second; what ``make`` does is not counted."""
    taken = 0.0
    for number in itertools.count(1):
        made = make()
        started = time.perf_counter()
        once(made)
        taken += time.perf_counter() - started
        if taken >= seconds:
            return number * batch / taken
    raise AssertionError("unreachable")


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
