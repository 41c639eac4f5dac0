"""How soon are a very long stream, and a read model as of a random instant, there by snapshots?"""

import random
import resource
import statistics
import time
from collections.abc import Callable
from typing import Final

import psycopg

from bench.databases import durability, postgres_book, server
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Settings,
    benchmark_name,
    main,
    measured,
)
from bench.long_stream import STREAM, fill_stream
from bench.many_orders import EVENTS_PER_ORDER
from bench.many_orders import fill as fill_orders
from orderledger import Book
from orderledger.commands.states import StateCache
from orderledger.snapshots.policy import ModelPolicy

STREAM_EVENTS, STREAM_EVENTS_FULL = 100_000, 1_000_000
BOOK_EVENTS, BOOK_EVENTS_FULL = 20_000, 1_000_000
INSTANTS: Final = 10
"""Random instants at which every read model is asked for."""


def run(settings: Settings) -> Answer:
    """Measure on PostgreSQL, warm: what was read once before is in the server's memory."""
    facts: Facts = {}
    with server() as databases:
        with databases.fresh_database() as url, postgres_book(url) as book:
            count = settings.sized(STREAM_EVENTS, 500)
            count = STREAM_EVENTS_FULL if settings.is_full else count
            fill_stream(book, url, count)
            book.snapshots.take(STREAM)
            peak = _peak_kib()
            quick = [
                _milliseconds(_folding(book, with_snapshot=True)) for _ in range(settings.rounds)
            ]
            facts["memory growth of reading it (KiB), target < 65,536"] = _peak_kib() - peak
            # Last, and once: it takes as much memory as the stream has events.
            whole = [_milliseconds(_folding(book, with_snapshot=False))]
            facts["target of a stream of 1,000,000 events, warm (ms)"] = 50
        with databases.fresh_database() as url, postgres_book(url) as book:
            events = settings.sized(BOOK_EVENTS, 400)
            events = BOOK_EVENTS_FULL if settings.is_full else events
            events = fill_orders(book, url, events // EVENTS_PER_ORDER)
            taking = _milliseconds(lambda: _take(book, events))
            found = _as_of_random_instants(book, events, 2 if settings.is_quick else INSTANTS)
            facts["target of a read model as of an instant in 1,000,000 events, p95 (ms)"] = 2_000
            facts["all snapshots taken (s)"] = f"{taking / 1_000:,.0f}"
            facts["all snapshots (MiB)"] = _mebibytes(url)
            slowest = max(found, key=lambda name: _p95(found[name]))
            facts["slowest read model, p95 (ms)"] = f"{slowest}, {_p95(found[slowest]):,.0f}"
            facts |= durability(url)
    every = [one for of_model in found.values() for one in of_model]
    facts["any read model, p95 (ms)"] = f"{_p95(every):,.0f}"
    nothing: Callable[[float], float] = lambda _: 0.0  # noqa: E731
    arms = [
        measured(Arm(f"a stream of {count:,} events from its snapshot", "ms", nothing), quick),
        measured(Arm("the same from its first event", "ms", nothing), whole),
        measured(Arm(f"a read model as of an instant of {events:,} events", "ms", nothing), every),
    ]
    return Answer(arms, [], facts)


def _folding(book: Book, *, with_snapshot: bool) -> Callable[[], object]:
    snapshots = book.snapshots if with_snapshot else None
    cache = StateCache(book.store, lambda _: None, snapshots=snapshots)
    return lambda: cache.fresh(STREAM)


def _take(book: Book, events: int) -> None:
    models = book.snapshots.models
    models.policy = ModelPolicy(every=min(models.policy.every, max(1, events // 5)))
    for name in models.names:
        for _ in models.take(name):
            pass


def _as_of_random_instants(book: Book, events: int, count: int) -> dict[str, list[float]]:
    """Ask each model, opened anew, for its first rows as of instants that are all as likely."""
    chance = random.Random(1)
    positions = [chance.randrange(1, events + 1) for _ in range(count)]
    found: dict[str, list[float]] = {}
    for name in book.snapshots.models.names:
        found[name] = [_milliseconds(_asking(book, name, position)) for position in positions]
    return found


def _asking(book: Book, name: str, position: int) -> Callable[[], object]:
    def ask() -> object:
        then = book.read.as_of(position)
        then.models.catch_up(name)
        tables = then.models.model(name).tables
        return [next(then.models.find(table, {}), None) for table in tables]

    return ask


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1_000


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _mebibytes(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT pg_total_relation_size('orderledger.snapshots') "
            "+ pg_total_relation_size('orderledger.snapshot_parts')"
        ).fetchone()
    assert row is not None
    return f"{row[0] / 2**20:,.0f}"


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
