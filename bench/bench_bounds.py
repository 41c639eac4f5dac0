"""What bounds the speed of commands: deciding, handing over to a leader, or storing?"""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg

from bench import plain_sql
from bench.callers import median_ms, threads_rate
from bench.databases import durability, postgres_book, server, sqlite_book
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
from bench.stock import saving, stock_postgres, stock_sqlite
from orderledger import Book
from orderledger.commands.deciding import Prepared, prepare
from orderledger.commands.group_commit import GroupCommit, Lead, Request, deliver
from orderledger.commands.requests import Receipt
from orderledger.ledger.ids import new_id
from orderledger.ledger.ports import Appended, Batch
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.postgres_batch import encode_batch

CALLERS = 64
BATCHES = 300


class Nowhere(MemoryStore):
    """A store that encodes a batch as for PostgreSQL and drops it; ``kept`` collects batches."""

    kept: list[Batch] | None = None

    def append(self, batch: Batch, *, connection: object | None = None) -> Appended:
        if self.kept is not None:
            self.kept.append(batch)
        else:
            encode_batch(self.book, batch)
        return Appended(1, batch.appended_at)


def run(settings: Settings) -> Answer:
    """Measure each part of a command's way alone, beside stock as a whole."""
    callers = settings.sized(CALLERS, 4)
    with (
        server() as databases,
        databases.fresh_database() as ours,
        databases.fresh_database() as theirs,
        databases.fresh_database() as plain,
        postgres_book(ours) as book,
        sqlite_book() as file_book,
        stock_postgres(theirs, pool=callers) as stock,
        stock_sqlite() as file_stock,
        psycopg.connect(plain, autocommit=True) as connection,
    ):
        plain_sql.prepare(plain)
        rows = plain_sql.Rows(book)
        cursor = connection.cursor(binary=True)

        def insert() -> None:
            cursor.execute(plain_sql.ONE, rows.fresh(1)[0], prepare=True)

        count = settings.sized(BATCHES, 4)
        arms = [
            Arm("decided and encoded, one thread, nothing stored", "commands/s", _decided),
            Arm(
                f"handed to a leader and back, {callers} threads, nothing done",
                "commands/s",
                partial(threads_rate, _handing_over(), callers),
            ),
            Arm(
                "PostgreSQL, prepared batches of 64 through the store alone",
                "events/s",
                partial(_stored, book, count),
            ),
            Arm(
                "SQLite, prepared batches of 64 through the store alone",
                "events/s",
                partial(_stored, file_book, count),
            ),
            Arm(
                f"stock on PostgreSQL, {callers} threads",
                "commands/s",
                partial(threads_rate, saving(stock), callers),
            ),
            Arm(
                f"stock on SQLite, {callers} threads",
                "commands/s",
                partial(threads_rate, saving(file_stock), callers),
            ),
            Arm(
                "one bare INSERT of the event row on PostgreSQL",
                "ms p50",
                partial(median_ms, insert),
            ),
            Arm("one stock save on PostgreSQL", "ms p50", partial(median_ms, saving(stock))),
        ]
        found = interleave(arms, settings)
        facts: Facts = {"callers": callers, **durability(ours)}
    ratios = [
        Ratio("decided and encoded / stock on PostgreSQL", 0, 4),
        Ratio("handed over / stock on PostgreSQL", 1, 4),
        Ratio("PostgreSQL store alone / stock on PostgreSQL", 2, 4),
        Ratio("SQLite store alone / stock on SQLite", 3, 5),
        Ratio("decided and encoded / stock on SQLite", 0, 5),
        Ratio("bare INSERT / one stock save, PostgreSQL", 6, 7),
    ]
    return Answer(found, ratios, facts)


def _decided(seconds: float) -> float:
    book = Book(Nowhere())
    started = time.perf_counter()
    done = 0
    while time.perf_counter() - started < seconds:
        book.execute_many([keyed() for _ in range(CALLERS)])
        done += CALLERS
    taken = time.perf_counter() - started
    book.close()
    return done / taken


def _handing_over() -> Callable[[], Any]:
    command = keyed()
    prepared: Prepared = prepare("main", command, new_id())
    receipt = Receipt(
        book="main", command_id=prepared.command_id, key="k", streams={}, event_ids=()
    )

    def process(requests: list[Request], lead: Lead) -> None:
        lead.take()
        lead.pass_on()
        # The commit of a fast disk, in which callers queue up.
        time.sleep(0.0002)
        for some in (requests, lead.taken):
            deliver(some, itertools.repeat(receipt, len(some)))

    group = GroupCommit(process, 1_000)
    return lambda: group.run((Request(prepared),))


def _stored(book: Book, count: int, seconds: float) -> float:
    nowhere = Nowhere()
    nowhere.kept = []
    with Book(nowhere) as drafts:
        for _ in range(count):
            drafts.execute_many([keyed() for _ in range(CALLERS)])
    batches: Iterator[Batch] = iter(nowhere.kept)
    started = time.perf_counter()
    done = 0
    for batch in batches:
        book.store.append(batch)
        done += len(batch.appends)
        if time.perf_counter() - started >= seconds:
            break
    return done / (time.perf_counter() - started)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
