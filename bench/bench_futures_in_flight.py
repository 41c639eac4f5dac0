"""How many one-event commands per second with 512 in flight from one process, on PostgreSQL?"""

from bench.callers import asyncio_rate, futures_rate, threads_rate
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
from bench.stock import saving, stock_postgres

IN_FLIGHT = 512
STOCK_THREADS = (1, 8, 64)
"""Stock has no futures; it is run with each number of threads and the fastest one counts."""


def run(settings: Settings) -> Answer:
    """Measure submit and asyncio with 512 in flight against stock with its best thread count."""
    in_flight = settings.sized(IN_FLIGHT, 16)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        postgres_book(ours) as book,
        stock_postgres(theirs, pool=max(STOCK_THREADS)) as stock,
    ):
        save = saving(stock)
        trials = {count: threads_rate(save, count, settings.warm_up_s) for count in STOCK_THREADS}
        threads = max(trials, key=lambda count: trials[count])
        arms = [
            Arm(
                f"orderledger submit, {in_flight} in flight",
                "commands/s",
                lambda seconds: futures_rate(lambda: book.submit(keyed()), in_flight, seconds),
            ),
            Arm(
                f"orderledger execute_async, {in_flight} tasks",
                "commands/s",
                lambda seconds: asyncio_rate(
                    lambda: book.execute_async(keyed()), in_flight, seconds
                ),
            ),
            Arm(
                f"stock Application.save at its best: {threads} threads",
                "commands/s",
                lambda seconds: threads_rate(save, threads, seconds),
            ),
        ]
        found = interleave(arms, settings)
        facts: Facts = {
            "in flight": in_flight,
            "events of ours": event_count(ours),
            **durability(ours),
        }
    ratios = [
        Ratio("submit / stock", 0, 2, target=25.0),
        Ratio("asyncio / stock", 1, 2, target=25.0),
    ]
    return Answer(found, ratios, facts)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
