"""How many one-event commands per second do 64 threads of one process execute on PostgreSQL?"""

from functools import partial

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
from bench.postings import executing
from bench.stock import saving, stock_postgres

CALLERS = 64


def run(settings: Settings) -> Answer:
    """Measure execute against Application.save, each with 64 threads on the same server."""
    callers = settings.sized(CALLERS, 4)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        databases.fresh_database() as functions,
        postgres_book(ours) as book,
        stock_postgres(theirs, pool=callers) as stock,
        stock_postgres(functions, pool=8, db_functions=True) as unlocked,
    ):
        calls = (executing(book), saving(stock), saving(unlocked))
        names = (
            f"orderledger execute, {callers} threads",
            f"stock Application.save, {callers} threads",
            f"stock with ENABLE_DB_FUNCTIONS (no table lock), {callers} threads",
        )
        arms = [
            Arm(name, "commands/s", partial(threads_rate, call, callers))
            for name, call in zip(names, calls, strict=True)
        ]
        found = interleave(arms, settings)
        facts: Facts = {"callers": callers, "events of ours": event_count(ours), **durability(ours)}
    ratios = [
        Ratio("ours / stock", 0, 1, target=15.0),
        Ratio("ours / stock without its table lock", 0, 2),
    ]
    return Answer(found, ratios, facts)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
