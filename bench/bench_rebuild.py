"""How fast are orders and balances rebuilt, against stock's runner and a fold into dicts?"""

import gc
import os
import time
from typing import Any

import psycopg

import orderledger
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
from bench.stock_projection import EVENTS_PER_ORDER, filled_shop, projecting
from orderledger import Book
from orderledger.ledger.codec import decode_event
from orderledger.ledger.folds import fold_of
from orderledger.ledger.journal import decode_entry
from orderledger.replay.building import Build, Slots
from orderledger.replay.filling import fill

ORDERS = 10_000
ORDERS_FULL = 91_000
STOCK_ORDERS = 1_000
_GROUP = 64
_PAGE = 5_000


def run(settings: Settings) -> Answer:
    """Measure whole rebuilds; a sample is one of them, however long it takes."""
    orders = settings.sized(ORDERS_FULL if settings.is_full else ORDERS, 8)
    stock_orders = settings.sized(STOCK_ORDERS, 4)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        postgres_book(ours) as book,
    ):
        for _ in range(max(1, orders // _GROUP)):
            for step in zip(*[order_commands() for _ in range(_GROUP)], strict=True):
                book.execute_many(step)
        book.read.balances.catch_up()
        environment = filled_shop(theirs, stock_orders)
        arms = [
            Arm("orders and balances, one process", "events/s", lambda _: _one_process(book)),
            Arm("orders and balances, two processes", "events/s", lambda _: _two(book, ours)),
            Arm(
                "orders alone",
                "events/s",
                lambda _: book.store.head().size / _filled(book, "orders"),
            ),
            Arm(
                "balances alone",
                "postings/s",
                lambda _: _postings(ours) / _filled(book, "balances"),
            ),
            Arm("read, decode, fold into dicts", "events/s", lambda _: _folded(book)),
            Arm("the same, without the collector", "events/s", lambda _: _uncollected(book)),
            Arm(
                "stock ProjectionRunner, the same two",
                "events/s",
                lambda _: _stock(theirs, environment, stock_orders * EVENTS_PER_ORDER),
            ),
        ]
        found = interleave(arms, settings)
        facts: Facts = {
            "events of ours": event_count(ours),
            "events of stock": stock_orders * EVENTS_PER_ORDER,
            **durability(ours),
        }
    ratios = [
        Ratio("one process / stock", 0, 6, target=60.0),
        Ratio("one process / dicts", 0, 4, target=0.4),
        Ratio("one process / dicts without the collector", 0, 5),
        Ratio("two processes / one", 1, 0, target=1.6),
    ]
    return Answer(found, ratios, facts)


def _filled(book: Book, *names: str) -> float:
    """Fill generations beside the live ones and drop them; return the seconds it took."""
    models = book.read.models
    slots = Slots(at_once=4)
    started = time.perf_counter()
    builds = [Build(models, models.model(name), slots) for name in names]
    fill(models, builds, lambda position, head: None)
    taken = time.perf_counter() - started
    for build in builds:
        build.drop()
    return taken


def _one_process(book: Book) -> float:
    return book.store.head().size / _filled(book, "orders", "balances")


def _two(book: Book, url: str) -> float:
    started = time.perf_counter()
    child = os.fork()
    if not child:
        with orderledger.open(url) as own:
            _filled(own, "balances")
        os._exit(0)
    _filled(book, "orders")
    assert os.waitpid(child, 0)[1] == 0
    return book.store.head().size / (time.perf_counter() - started)


def _postings(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM orderledger_read.postings").fetchone()
    assert row is not None
    return int(row[0])


def _folded(book: Book) -> float:
    """Read, decode and fold every event into dicts and write nothing."""
    started = time.perf_counter()
    states: dict[str, Any] = {}
    sums: dict[tuple[str, str], int] = {}
    position, head = 0, book.store.head().size
    while position < head:
        for row in book.store.read(position, until=head, limit=_PAGE):
            fold = fold_of(row.stream)
            event = decode_event(row.topic, row.payload)
            states[row.stream] = fold.apply(states.get(row.stream, fold.initial), event)
            for leg in decode_entry(row.postings).postings:
                key = (leg.account, leg.currency)
                sums[key] = sums.get(key, 0) + leg.minor
            position += 1
    return head / (time.perf_counter() - started)


def _uncollected(book: Book) -> float:
    """Fold as above while the cycle collector rests, as it does for our own side."""
    gc.disable()
    try:
        return _folded(book)
    finally:
        gc.enable()


def _stock(url: str, environment: dict[str, str], events: int) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS sales, balances, sales_tracking, view_tracking")
        for (name,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE '%tracking%'"
        ).fetchall():
            connection.execute(f'DROP TABLE "{name}"'.encode())
    started = time.perf_counter()
    with projecting(environment) as runner:
        runner.wait(events, timeout=600)
    return events / (time.perf_counter() - started)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
