"""How fast is a book verified, against hashing the same bytes and reading the same rows?"""

import time
from collections.abc import Callable

from bench.bench_order_path import order_commands
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
from orderledger import Book
from orderledger.databases import open_audit
from orderledger.projections.balances import POSTINGS
from orderledger.projections.compare import rows_of
from orderledger.replay.verify_log import recomputed_leaf

ORDERS = 1_000
ORDERS_FULL = 91_000
_GROUP = 64
_PAGE = 1_000


def run(settings: Settings) -> Answer:
    """Measure whole verifications; a sample is one of them, however long it takes."""
    orders = settings.sized(ORDERS_FULL if settings.is_full else ORDERS, 8)
    with server() as databases, databases.fresh_database() as url, postgres_book(url) as book:
        for _ in range(max(1, orders // _GROUP)):
            for step in zip(*[order_commands() for _ in range(_GROUP)], strict=True):
                book.execute_many(step)
        book.read.balances.catch_up()
        arms = [
            Arm("verify", "events/s", lambda _: _rate(book, _verify)),
            Arm("hash and read the same", "events/s", lambda _: _rate(book, _bare)),
        ]
        found = interleave(arms, settings)
        facts: Facts = {"events": event_count(url), **durability(url)}
    return Answer(found, [Ratio("verify / bare", 0, 1, target=0.5)], facts)


def _rate(book: Book, work: Callable[[Book], None]) -> float:
    started = time.perf_counter()
    work(book)
    return book.store.head().size / (time.perf_counter() - started)


def _verify(book: Book) -> None:
    assert not list(book.read.verify())


def _bare(book: Book) -> None:
    """Read all rows that a verification reads, in its orders, and hash each event once."""
    store, size = book.store, book.store.head().size
    for after in range(0, size, _PAGE):
        store.leaf_hashes(after, _PAGE)
        for row in store.read(after, until=size, limit=_PAGE):
            recomputed_leaf(store.book, row)
    after_name = ""
    while names := store.streams("", after=after_name, limit=_PAGE):
        for name in names:
            for _ in store.stream(name, after=-1):
                pass
        after_name = names[-1]
    audit, after_key = open_audit(store), b""
    assert audit is not None
    while records := audit.records(after_key, _PAGE):
        after_key = records[-1].key_hash
    models = book.read.models
    live = models.live("balances")
    assert live is not None
    for after in range(0, size, _PAGE):
        store.read(after, until=size, limit=_PAGE)
    for _ in rows_of(models.store, live, POSTINGS):
        pass


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
