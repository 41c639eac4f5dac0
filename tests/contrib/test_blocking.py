"""What docs/transactions.md says of who waits for a host's open transaction, on PostgreSQL."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import orderledger
from orderledger import Book
from orderledger.commands.model import AddNote
from orderledger.ledger.errors import InvalidInput, Unavailable
from tests.contrib.shop_commands import place

SOON_S = 5
WAITS_S = 0.5


@pytest.fixture
def book(pg_url: str) -> Iterator[Book]:
    """A book with two orders."""
    orderledger.migrate(pg_url)
    with orderledger.open(pg_url) as book:
        for order_id in ("o1", "o2"):
            book.execute(place(order_id))
        yield book


def _note(order_id: str, note: str) -> AddNote:
    return AddNote(order_id=order_id, note_ref=note, by="staff")


def test_only_who_needs_the_same_order_waits(pg_url: str, book: Book) -> None:
    """Catches a host's open transaction that stops the whole shop, or a write that ignores it."""
    with psycopg.connect(pg_url) as host, ThreadPoolExecutor() as threads:
        receipt = book.execute(_note("o1", "n1"), key="k1", connection=host)
        other = threads.submit(book.execute, _note("o2", "n2"))
        assert other.result(timeout=SOON_S).positions == (3,)
        same = threads.submit(book.execute, _note("o1", "n3"))
        with pytest.raises(TimeoutError):
            same.result(timeout=WAITS_S)
        host.commit()
        assert same.result(timeout=SOON_S).streams == {"order-o1": 3}
        assert book.wait(receipt).streams == {"order-o1": 2}


def test_a_deadlock_of_hosts_ends_with_one_of_them_going_on(pg_url: str, book: Book) -> None:
    """Catches two hosts that wait for each other for ever, or both lose."""
    meet = threading.Barrier(2)

    def both(first: str, second: str) -> str:
        with psycopg.connect(pg_url) as host:
            book.execute(_note(first, "a"), key=f"{first} a", connection=host)
            meet.wait(SOON_S)
            try:
                book.execute(_note(second, "b"), key=f"{second} b", connection=host)
            except Unavailable:
                host.rollback()
                return "again"
        return "done"

    with ThreadPoolExecutor() as threads:
        ended = [
            threads.submit(both, "o1", "o2"),
            threads.submit(both, "o2", "o1"),
        ]
        assert sorted(one.result(timeout=20) for one in ended) == ["again", "done"]


def test_a_snapshot_of_the_host_is_refused(pg_url: str, book: Book) -> None:
    """Catches an append that decides on what was true when the host's transaction began."""
    with psycopg.connect(pg_url) as host:
        host.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(InvalidInput, match="READ COMMITTED"):
            book.execute(_note("o1", "n1"), key="k1", connection=host)
        assert host.execute("SELECT 1").fetchone() == (1,)
