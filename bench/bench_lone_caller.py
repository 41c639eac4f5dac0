"""How long does one caller wait for a one-event command (p50), on PostgreSQL and on SQLite?"""

from functools import partial

from bench.callers import median_ms
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
from bench.postings import executing
from bench.stock import saving, stock_postgres, stock_sqlite


def run(settings: Settings) -> Answer:
    """Measure execute against Application.save, which writes one bare row."""
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        databases.fresh_database() as functions,
        postgres_book(ours) as book,
        stock_postgres(theirs, pool=1) as stock,
        stock_postgres(functions, pool=1, db_functions=True) as unlocked,
        sqlite_book() as file_book,
        stock_sqlite() as file_stock,
    ):
        calls = {
            "orderledger on PostgreSQL": executing(book),
            "stock on PostgreSQL": saving(stock),
            "stock on PostgreSQL with ENABLE_DB_FUNCTIONS": saving(unlocked),
            "orderledger on SQLite": executing(file_book),
            "stock on SQLite": saving(file_stock),
        }
        arms = [Arm(name, "ms p50", partial(median_ms, call)) for name, call in calls.items()]
        found = interleave(arms, settings)
        facts: Facts = {"callers": 1, "events of ours": event_count(ours), **durability(ours)}
    ratios = [
        Ratio("PostgreSQL, ours / stock", 0, 1, target=0.6, at_least=False),
        Ratio("PostgreSQL, ours / stock without its table lock", 0, 2),
        Ratio("SQLite, ours / stock", 3, 4, target=1.25, at_least=False),
    ]
    return Answer(found, ratios, facts)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
