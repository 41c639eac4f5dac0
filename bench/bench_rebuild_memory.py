"""How much memory does a rebuild of orders and balances take, also of a book five times as long?"""

import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection

import psycopg

import orderledger
from bench.databases import durability, postgres_book, server
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Measured,
    Ratio,
    Settings,
    benchmark_name,
    main,
    measured,
)
from bench.many_orders import EVENTS_PER_ORDER, fill
from orderledger.replay.building import BUILD_BATCH_EVENTS, Build, Slots
from orderledger.replay.filling import fill as fill_builds

EVENTS, EVENTS_FULL = 200_000, 1_000_000
TIMES = 5
MODELS = ("orders", "balances")


def run(settings: Settings) -> Answer:
    """Measure in a process of its own each: what it held at most, as the system saw it."""
    events = EVENTS_FULL if settings.is_full else settings.sized(EVENTS, 400)
    facts: Facts = {}
    found: list[Measured] = []
    with server() as databases:
        for times in (1, TIMES):
            with databases.fresh_database() as url, postgres_book(url) as book:
                count = fill(book, url, times * events // EVENTS_PER_ORDER)
                book.read.balances.catch_up(batch_events=BUILD_BATCH_EVENTS)
                postings = _postings(url)
                rounds = [_in_a_process(url) for _ in range(settings.rounds)]
                facts |= durability(url)
            rebuilt = count / statistics.median([seconds for _, seconds, _ in rounds])
            summed = postings / statistics.median([seconds for *_, seconds in rounds])
            facts[f"{count:,} events, rebuilt"] = f"{rebuilt:,.0f} events/s"
            facts[f"{count:,} events, trial balance"] = f"{summed:,.0f} postings/s"
            arm = Arm(f"{count:,} events, most memory", "MiB", lambda _: 0.0)
            found.append(measured(arm, [mebibytes for mebibytes, *_ in rounds]))
    return Answer(found, [Ratio("five times the events", 1, 0, target=1.1, at_least=False)], facts)


def _in_a_process(url: str) -> tuple[float, float, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_rebuild, args=(url, theirs))
    child.start()
    found: tuple[float, float, float] = ours.recv()
    child.join()
    return found


def _rebuild(url: str, answer: "Connection[object, object]") -> None:
    with orderledger.open(url) as book:
        models = book.read.models
        started = time.perf_counter()
        builds = [Build(models, models.model(name), Slots(at_once=2)) for name in MODELS]
        fill_builds(models, builds, lambda position, head: None)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for build in builds:
            build.drop()
        started = time.perf_counter()
        trial = book.read.trial_balance()
        assert trial.is_balanced
        answer.send((peak, seconds, time.perf_counter() - started))


def _postings(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        for (table,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'orderledger_read'"
        ).fetchall():
            connection.execute(f"VACUUM ANALYZE orderledger_read.{table}".encode())
        row = connection.execute("SELECT count(*) FROM orderledger_read.postings").fetchone()
    assert row is not None
    return int(row[0])


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
