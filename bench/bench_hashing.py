"""How much slower is execute_many of 1,000 for the leaf hashes and the tree of the log?"""

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from unittest import mock

import psycopg

from bench.databases import durability, event_count, postgres_book, server, sqlite_book
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
from orderledger import Book
from orderledger.ledger.stores import postgres_batch, sqlite_append

BATCH = 1000
NOTHING = bytes(32)
_HASHING = ("append", "append_one", "sequence", "sequence_at", "complete_tiles")


def run(settings: Settings) -> Answer:
    """
    Measure execute_many beside itself with every hash of the log a constant.

    The rows are the same in number and size: what is missing is the computing, in this process and
    in the functions of the server. Books without hashes are of no other use.
    """
    batch = settings.sized(BATCH, 20)
    with (
        server() as databases,
        databases.fresh_database() as hashed,
        databases.fresh_database() as bare,
        postgres_book(hashed) as book,
        postgres_book(bare) as bare_book,
        sqlite_book() as file,
        sqlite_book() as bare_file,
    ):
        _without_hashing(bare)
        arms = [
            Arm("PostgreSQL", "events/s", _timed(book, batch)),
            Arm("PostgreSQL without hashes", "events/s", _timed(bare_book, batch, _constant)),
            Arm("SQLite", "events/s", _timed(file, batch)),
            Arm("SQLite without hashes", "events/s", _timed(bare_file, batch, _constant)),
        ]
        found = interleave(arms, settings)
        facts: Facts = {"batch": batch, "events": event_count(hashed), **durability(hashed)}
    ratios = [
        Ratio("PostgreSQL, with / without", 0, 1, target=0.9),
        Ratio("SQLite, with / without", 2, 3, target=0.9),
    ]
    return Answer(found, ratios, facts)


def _timed(
    book: Book,
    batch: int,
    around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Callable[[float], float]:
    def rate(seconds: float) -> float:
        taken = 0.0
        with around():
            for number in itertools.count(1):
                made = [keyed() for _ in range(batch)]
                started = time.perf_counter()
                book.execute_many(made)
                taken += time.perf_counter() - started
                if taken >= seconds:
                    return number * batch / taken
        raise AssertionError("unreachable")

    return rate


@contextlib.contextmanager
def _constant() -> Iterator[None]:
    # Functions, not mocks: a mock takes longer than a hash.
    with (
        mock.patch.object(postgres_batch, "content_hash", _nothing),
        mock.patch.object(sqlite_append, "content_hash", _nothing),
        mock.patch.object(sqlite_append, "leaf_hash", _nothing),
        mock.patch.object(sqlite_append, "complete_tiles", _no_tiles),
    ):
        yield


def _nothing(*_: object) -> bytes:
    return NOTHING


def _no_tiles(*_: object) -> list[tuple[int, int, bytes]]:
    return []


def _without_hashing(url: str) -> None:
    """Have the functions of a database take a constant for every hash."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION orderledger.no_hash(bytea) RETURNS bytea IMMUTABLE LANGUAGE sql "
            "AS $$ SELECT decode(repeat('00', 32), 'hex') $$"
        )
        found = connection.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc "
            "WHERE pronamespace = 'orderledger'::regnamespace AND proname = ANY(%s)",
            (list(_HASHING),),
        ).fetchall()
        hashing = [str(source) for (source,) in found if "sha256(" in str(source)]
        assert hashing, "the functions that hash have other names"
        for source in hashing:
            connection.execute(re.sub(r"\bsha256\(", "orderledger.no_hash(", source).encode())


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
