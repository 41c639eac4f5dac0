"""How fast is every event decoded and folded, against reading and decoding alone?"""

import time
from collections.abc import Callable
from typing import Any

from bench.bench_order_path import order_commands
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
from orderledger import Book
from orderledger.ledger.codec import decode_event
from orderledger.ledger.folds import fold_of
from orderledger.replay.filling import paused_collector

ORDERS = 1_000
ORDERS_FULL = 91_000
_GROUP = 64
_PAGE = 5_000


def run(settings: Settings) -> Answer:
    """Measure whole readings of a book; a sample is one of them, however long it takes."""
    orders = settings.sized(ORDERS_FULL if settings.is_full else ORDERS, 8)
    with server() as databases, databases.fresh_database() as url, postgres_book(url) as book:
        for _ in range(max(1, orders // _GROUP)):
            for step in zip(*[order_commands() for _ in range(_GROUP)], strict=True):
                book.execute_many(step)
        arms = [
            Arm("read, decode, fold", "events/s", lambda _: _rate(book, _fold)),
            Arm("read, decode", "events/s", lambda _: _rate(book, _decode)),
        ]
        found = interleave(arms, settings)
        facts: Facts = {"events": event_count(url), **durability(url)}
    return Answer(found, [Ratio("replay / decode", 0, 1, target=0.6)], facts)


def _rate(book: Book, work: Callable[[Book], None]) -> float:
    # As while anything of ours is made again: events and states form no cycles.
    started = time.perf_counter()
    with paused_collector():
        work(book)
    return book.store.head().size / (time.perf_counter() - started)


def _fold(book: Book) -> None:
    states: dict[str, Any] = {}
    for after in range(0, book.store.head().size, _PAGE):
        for row in book.store.read(after, limit=_PAGE):
            fold = fold_of(row.stream)
            state = states.get(row.stream, fold.initial)
            states[row.stream] = fold.apply(state, decode_event(row.topic, row.payload))


def _decode(book: Book) -> None:
    for after in range(0, book.store.head().size, _PAGE):
        for row in book.store.read(after, limit=_PAGE):
            decode_event(row.topic, row.payload)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
