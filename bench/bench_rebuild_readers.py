"""How long does a reader wait at most while a read model is rebuilt under live appends?"""

import multiprocessing
import threading
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
    main,
    measured,
)
from orderledger import Book
from orderledger.replay.rebuild import rebuild

ORDERS = 5_000
GROUP = 64
APPEND_REST_S = 0.005
PAUSE_MS_MAX = 250.0
QUERY = b"SELECT lifecycle FROM orderledger_read.orders WHERE order_id = %s"


def run(settings: Settings) -> Answer:
    """Read one order again and again, without a rebuild and during one; keep the longest wait."""
    orders = settings.sized(ORDERS, GROUP)
    alone: list[float] = []
    during: list[float] = []
    reads = 0
    with server() as databases, databases.fresh_database() as url, postgres_book(url) as book:
        for _ in range(max(1, orders // GROUP)):
            steps = [order_commands() for _ in range(GROUP)]
            for step in zip(*steps, strict=True):
                book.execute_many(step)
        book.read.models.catch_up("orders")
        order_id: str = steps[0][0].order_id  # type: ignore[attr-defined]  # the first is PlaceOrder
        for _ in range(settings.rounds):
            rebuilding = threading.Thread(target=_rebuilt_elsewhere, args=(url,))
            quiet = threading.Thread(target=time.sleep, args=(settings.sample_s,))
            alone.append(_longest(book, url, order_id, quiet)[0])
            longest, count = _longest(book, url, order_id, rebuilding)
            during.append(longest)
            reads += count
        facts: Facts = {
            "reads during rebuilds": reads,
            "errors and empty answers": 0,
            "events of ours": event_count(url),
            **durability(url),
        }
    arms = [
        measured(Arm("longest wait, no rebuild", "ms", lambda _: 0.0), alone),
        measured(Arm("longest wait, during a rebuild", "ms", lambda _: 0.0), during),
        measured(Arm("limit", "ms", lambda _: 0.0), [PAUSE_MS_MAX] * len(during)),
    ]
    return Answer(arms, [Ratio("longest wait / 250 ms", 1, 2, target=1.0, at_least=False)], facts)


def _longest(book: Book, url: str, order_id: str, work: threading.Thread) -> tuple[float, int]:
    """Return the longest read in ms while some work goes on, and how many reads there were."""
    over = threading.Event()
    appending = threading.Thread(target=_append, args=(book, over))
    longest, count = 0.0, 0
    with psycopg.connect(url, autocommit=True) as connection:
        work.start()
        appending.start()
        while work.is_alive():
            started = time.perf_counter()
            rows = connection.execute(QUERY, (order_id,)).fetchall()
            longest = max(longest, time.perf_counter() - started)
            assert rows == [("placed",)], f"{rows} instead of the order"
            count += 1
    over.set()
    appending.join()
    return longest * 1000, count


def _append(book: Book, over: threading.Event) -> None:
    while not over.wait(APPEND_REST_S):
        for command in order_commands():
            book.execute(command)


def _rebuilt_elsewhere(url: str) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_rebuild, args=(url,))
    child.start()
    child.join()
    assert child.exitcode == 0, "the rebuild failed"


def _rebuild(url: str) -> Any:
    with orderledger.open(url) as book:
        rebuild(book.read.models, "orders")


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
