"""How much of the speed of plain INSERTs do 8 processes with one caller each reach?"""

from bench import plain_sql
from bench.databases import durability, event_count, postgres_book, server
from bench.fleet import execute_on, fleet, insert_plainly
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

PROCESSES = 8


def run(settings: Settings) -> Answer:
    """Measure execute against one INSERT of the same event row, with no ordering at all."""
    count = settings.sized(PROCESSES, 2)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        postgres_book(ours) as book,
    ):
        plain_sql.prepare(theirs)
        with (
            fleet(execute_on, [ours] * count) as executing,
            fleet(insert_plainly, [(theirs, ours)] * count) as inserting,
        ):
            arms = [
                Arm(f"orderledger execute, {count} processes", "events/s", executing.rate),
                Arm(f"plain INSERT, {count} processes", "events/s", inserting.rate),
            ]
            found = interleave(arms, settings)
        book.store.sequence()
        facts: Facts = {"processes": count, "events of ours": event_count(ours), **durability(ours)}
    return Answer(found, [Ratio("ours / plain INSERT", 0, 1, target=0.5)], facts)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
