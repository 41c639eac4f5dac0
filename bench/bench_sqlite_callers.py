"""How many one-event commands per second do 64 threads of one process execute on SQLite?"""

from bench.callers import threads_rate
from bench.databases import sqlite_book
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
from bench.postings import executing
from bench.stock import saving, stock_sqlite

CALLERS = 64


def run(settings: Settings) -> Answer:
    """Measure execute against Application.save, each with 64 threads on a file in WAL mode."""
    callers = settings.sized(CALLERS, 4)
    with sqlite_book() as book, stock_sqlite() as stock:
        ours, theirs = executing(book), saving(stock)
        arms = [
            Arm(
                f"orderledger execute, {callers} threads",
                "commands/s",
                lambda seconds: threads_rate(ours, callers, seconds),
            ),
            Arm(
                f"stock Application.save, {callers} threads",
                "commands/s",
                lambda seconds: threads_rate(theirs, callers, seconds),
            ),
        ]
        found = interleave(arms, settings)
        facts: Facts = {
            "callers": callers,
            "events of ours": book.store.head().size,
            "journal_mode": "WAL",
            "synchronous": "FULL",
        }
    return Answer(found, [Ratio("ours / stock", 0, 1, target=10.0)], facts)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
