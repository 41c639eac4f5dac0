"""How many one-event commands per second do 64 threads execute on a PostgreSQL 2.5 ms away?"""

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg

from bench.callers import median_ms, threads_rate
from bench.databases import durability, event_count, postgres_book, server
from bench.delaying_proxy import delaying_proxy
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
ONE_WAY_US = 1250


def run(settings: Settings) -> Answer:
    """Measure execute against Application.save through one delaying proxy on loopback."""
    callers = settings.sized(CALLERS, 4)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        delaying_proxy(_target(ours), ONE_WAY_US) as port,
        postgres_book(_through(ours, port)) as book,
        stock_postgres(_through(theirs, port), pool=callers) as stock,
    ):
        execute, save = executing(book), saving(stock)
        arms = [
            Arm(
                f"orderledger execute, {callers} threads",
                "commands/s",
                lambda seconds: threads_rate(execute, callers, seconds),
            ),
            Arm(
                f"stock Application.save, {callers} threads",
                "commands/s",
                lambda seconds: threads_rate(save, callers, seconds),
            ),
        ]
        found = interleave(arms, settings)
        facts: Facts = {
            "callers": callers,
            "events of ours": event_count(ours),
            "SELECT 1 direct (ms)": _round_trip_ms(ours),
            "SELECT 1 through the proxy (ms)": _round_trip_ms(_through(ours, port)),
            **durability(ours),
        }
    return Answer(found, [Ratio("ours / stock", 0, 1, target=20.0)], facts)


def _target(url: str) -> Path | int:
    parts = urlsplit(url)
    if parts.hostname:
        return parts.port or 5432
    return Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"


def _through(url: str, port: int) -> str:
    """Return the URL of the same database through the proxy."""
    parts = urlsplit(url)
    user = parts.username or "postgres"
    secret = f":{parts.password}" if parts.password else ""
    location = f"{user}{secret}@127.0.0.1:{port}"
    return urlunsplit(parts._replace(netloc=location, query="sslmode=disable&gssencmode=disable"))


def _round_trip_ms(url: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        time.sleep(0.01)
        return round(median_ms(lambda: connection.execute("SELECT 1"), 0.3), 3)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
