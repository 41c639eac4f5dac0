"""How soon is a long stream read and folded that is not in memory, against a stock aggregate?"""

import time
from collections.abc import Callable

from bench.databases import durability, postgres_book, server
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
from bench.long_stream import STREAM, fill_stream
from bench.stock import save_account, stock_postgres
from orderledger.commands.states import StateCache

EVENTS = 10_000


def run(settings: Settings) -> Answer:
    """Measure whole readings without a snapshot; what was read before is in the server's memory."""
    with (
        server() as databases,
        databases.fresh_database() as url,
        databases.fresh_database() as stock_url,
        postgres_book(url) as book,
        stock_postgres(stock_url, pool=1) as stock,
    ):
        events = fill_stream(book, url, settings.sized(EVENTS, 300) - 2)
        account = save_account(stock, events)

        def ours() -> int:
            return StateCache(book.store, lambda _: None).fresh(STREAM).version

        def theirs() -> int:
            return int(stock.repository.get(account).version)

        arms = [
            Arm("orderledger", "events/s", lambda seconds: _rate(ours, events, seconds)),
            Arm("stock eventsourcing", "events/s", lambda seconds: _rate(theirs, events, seconds)),
        ]
        found = interleave(arms, settings)
        facts: Facts = {"events of the stream": events, **durability(url)}
    return Answer(found, [Ratio("orderledger / stock", 0, 1, target=5)], facts)


def _rate(read: Callable[[], int], events: int, seconds: float) -> float:
    """Read the stream again and again for so long; return how many events a second that was."""
    started, times = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < seconds or not times:
        version = read()
        assert version == events, f"{version} events were read, not {events}"
        times += 1
    return events * times / took


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
