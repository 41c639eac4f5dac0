"""How many orders a second go from placed to captured with 64 callers, and what takes the time?"""

import cProfile
import itertools
import pstats
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

import orderledger
from bench.callers import threads_rate
from bench.databases import durability, event_count, postgres_book, server, sqlite_book
from bench.harness import Answer, Arm, Benchmark, Facts, Settings, benchmark_name, interleave, main
from bench.postings import random_key
from orderledger import Book
from orderledger.commands.decision import Command
from orderledger.commands.order_commands import PlaceOrder
from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    InitiatePayment,
    RecordSucceeded,
)
from orderledger.ledger.ids import new_id
from orderledger.ledger.order_content import LineInput

CALLERS = 64
COMMANDS = 6
PROFILED_ORDERS = 2_000
LISTED = 12
SETTLE_S = 0.5
SELLERS = 100
_numbers = itertools.count(1)


def run(settings: Settings) -> Answer:
    """Measure whole orders: place, initiate, authorise, its outcome, capture, its outcome."""
    callers = settings.sized(CALLERS, 4)
    with (
        server() as databases,
        databases.fresh_database() as url,
        postgres_book(url) as book,
        sqlite_book() as file_book,
    ):
        calls = {"PostgreSQL": _ordering(book), "SQLite": _ordering(file_book)}
        arms = [
            Arm(
                f"{engine}, {callers} callers",
                "orders/s",
                partial(threads_rate, call, callers),
            )
            for engine, call in calls.items()
        ]
        found = interleave(arms, settings)
        facts: Facts = {
            "callers": callers,
            "commands per order": COMMANDS,
            "events of ours": event_count(url),
            **_client_profile(book, settings.sized(PROFILED_ORDERS, 20)),
            **_server_profile(url, settings.sized(PROFILED_ORDERS, 20)),
            **durability(url),
        }
    return Answer(found, [], facts)


def order_commands() -> list[Command]:
    """Return the six commands of one paid order of two lines."""
    order_id, payment_id = str(new_id()), str(new_id())
    number = next(_numbers)
    seller = f"s{number % SELLERS}"
    payment: dict[str, Any] = {"payment_id": payment_id, "order_id": order_id}
    operation: dict[str, Any] = {**payment, "amount": 3_500, "currency": "GBP"}
    return [
        PlaceOrder(
            order_id=order_id,
            buyer_ref=f"b{number}",
            currency="GBP",
            lines=(
                LineInput("l1", "sku-1", seller, 2, Decimal("12.50")),
                LineInput("l2", "sku-2", seller, 1, Decimal("10.00")),
            ),
        ),
        InitiatePayment(**payment, provider="adyen", method="card", amount=3_500, currency="GBP"),
        Authorise(**operation, op_id="a1"),
        RecordSucceeded(**payment, op_id="a1", provider_ref=f"psp-a-{payment_id}"),
        Capture(**operation, op_id="c1"),
        RecordSucceeded(**payment, op_id="c1", provider_ref=f"psp-c-{payment_id}"),
    ]


def _ordering(book: Book) -> Callable[[], Any]:
    def call() -> None:
        for command in order_commands():
            book.execute(command, key=random_key())

    return call


def _client_profile(book: Book, orders: int) -> dict[str, str]:
    """Profile this process executing orders in batches, as the leader of a group does."""
    batches = [[order_commands() for _ in range(64)] for _ in range(max(1, orders // 64))]
    profile = cProfile.Profile()
    profile.enable()
    for batch in batches:
        for step in zip(*batch, strict=True):
            book.execute_many(step)
    profile.disable()
    stats: Any = pstats.Stats(profile)
    total = stats.total_tt
    rows = sorted(stats.stats.items(), key=lambda item: item[1][2], reverse=True)[:LISTED]
    return {
        f"client {rank:02}": f"{own / total:.1%} in {Path(file).name} {function}"
        for rank, ((file, _, function), (_, _, own, _, _)) in enumerate(rows, 1)
    }


def _server_profile(url: str, orders: int) -> Facts:
    """Return WAL and own time per order by database function, on connections that measure."""
    batches = max(1, orders // 64)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TRACK)
        with orderledger.open(url) as book:
            started = _wal_bytes(connection)
            for _ in range(batches):
                for step in zip(*[order_commands() for _ in range(64)], strict=True):
                    book.execute_many(step)
            ended = _wal_bytes(connection)
        # A connection hands its counters over when it ends, which is a moment later.
        time.sleep(SETTLE_S)
        found = connection.execute(_FUNCTIONS).fetchall()
    made = batches * 64
    facts: Facts = {"server WAL per order": f"{(ended - started) / made:,.0f} bytes"}
    for name, calls, own_ms in found:
        facts[f"server {name}"] = f"{own_ms * 1000 / made:.1f} us per order, {calls:,} calls"
    return facts


_TRACK = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET track_functions = pl', current_database()); END $$
"""
_FUNCTIONS = """
SELECT funcname, calls, self_time FROM pg_stat_user_functions
WHERE schemaname = 'orderledger' ORDER BY self_time DESC LIMIT 6
"""


def _wal_bytes(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").fetchone()
    assert row is not None
    return int(row[0])


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
