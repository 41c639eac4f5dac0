"""Commands inside the host's own transaction, on both engines (E9)."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import orderledger
from orderledger.book import Book
from orderledger.ledger.errors import IdempotencyConflict, InvalidInput, NotFound, Rejected
from tests.commands.entries import post, reverse


class Host:
    """A shop's own database with a table of its own, and the book in it."""

    def __init__(self, url: str, path: Path | None) -> None:
        self.url = url
        self.path = path
        orderledger.migrate(url)
        with self.begin() as connection:
            connection.execute("CREATE TABLE carts (name text PRIMARY KEY)")
            connection.commit()
        self.book = orderledger.open(url)

    def begin(self) -> Any:
        """Open a connection of the host's with an open transaction."""
        if self.path is None:
            return psycopg.connect(self.url)
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def carts(self) -> list[str]:
        connection = self.begin()
        rows = [row[0] for row in connection.execute("SELECT name FROM carts ORDER BY name")]
        connection.rollback()
        connection.close()
        return rows


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    if request.param == "sqlite":
        path = tmp_path / "shop.db"
        made = Host(f"sqlite:///{path}", path)
    else:
        made = Host(request.getfixturevalue("pg_url"), None)
    yield made
    made.book.close()


def versions(book: Book, entry_id: str) -> int:
    return sum(1 for _ in book.store.stream(f"journal-{entry_id}"))


def test_events_commit_with_the_host(host: Host) -> None:
    """Catches an event that is there before, or missing after, the host's commit."""
    connection = host.begin()
    connection.execute("INSERT INTO carts VALUES ('c1')")
    receipt = host.book.execute(post("e1"), key="k1", connection=connection)
    assert receipt.positions is None
    assert receipt.recorded_at is None
    if host.path is None:
        assert versions(host.book, "e1") == 0, "visible before the commit"
        with pytest.raises(NotFound):
            host.book.wait(receipt)
    connection.commit()
    connection.close()
    assert host.carts() == ["c1"]
    placed = host.book.wait(receipt)
    assert placed.positions == (1,)
    assert placed.recorded_at is not None
    assert host.book.execute(post("e1"), key="k1").replayed


def test_events_go_with_the_hosts_rollback(host: Host) -> None:
    """Catches an event, a key or a cached state that survives the rollback."""
    connection = host.begin()
    connection.execute("INSERT INTO carts VALUES ('c1')")
    receipt = host.book.execute(post("e1", 100), key="k1", connection=connection)
    host.book.execute(reverse("e1", "r", 60), key="k2", connection=connection)
    connection.rollback()
    connection.close()
    assert host.carts() == []
    with pytest.raises(NotFound):
        host.book.wait(receipt)
    again = host.book.execute(post("e1", 5), key="k1")
    assert not again.replayed
    assert again.streams == {"journal-e1": 1}


def test_later_commands_of_the_transaction_see_the_earlier_ones(host: Host) -> None:
    """Catches a second command that is decided without the first of the same transaction."""
    connection = host.begin()
    host.book.execute(post("e1", 100), key="k1", connection=connection)
    second = host.book.execute(reverse("e1", "r1", 60), key="k2", connection=connection)
    assert second.streams == {"journal-e1": 2}
    replayed = host.book.execute(post("e1", 100), key="k1", connection=connection)
    assert replayed.replayed
    with pytest.raises(Rejected):
        host.book.execute(reverse("e1", "r2", 60), key="k3", connection=connection)
    with pytest.raises(IdempotencyConflict):
        host.book.execute(post("e1", 7), key="k1", connection=connection)
    connection.execute("INSERT INTO carts VALUES ('still usable')")
    connection.commit()
    connection.close()
    assert host.carts() == ["still usable"]
    assert versions(host.book, "e1") == 2
    # The refusal was not recorded: the host might have rolled back.
    assert host.book.execute(reverse("e1", "r2", 40), key="k3").streams == {"journal-e1": 3}


def test_an_open_transaction_delays_only_who_needs_the_same(pg_url: str) -> None:
    """Catches a shop that stands still because one request holds its transaction open."""
    host = Host(pg_url, None)
    connection = host.begin()
    host.book.execute(post("held"), key="held", connection=connection)
    outcome: list[object] = []

    def contend() -> None:
        try:
            outcome.append(host.book.execute(post("held", 1), key="other"))
        except Rejected as refusal:
            outcome.append(refusal.reason.value)

    waiting = threading.Thread(target=contend)
    waiting.start()
    slowest = 0.0
    for number in range(200):
        started = time.monotonic()
        host.book.execute(post(f"free{number}"), key=f"free{number}")
        slowest = max(slowest, time.monotonic() - started)
    # One batch may share the transaction that met the lock, and waits for its timeout once.
    assert slowest < 2.0
    assert not outcome
    connection.commit()
    connection.close()
    waiting.join(timeout=20)
    assert outcome == ["already_exists"]
    host.book.close()


def test_connections_that_cannot_be_joined_are_refused(host: Host, tmp_path: Path) -> None:
    """Catches events written to another database or outside any transaction."""
    with pytest.raises(InvalidInput):
        host.book.execute(post("e1"), key="k", connection=object())
    if host.path is None:
        with (
            psycopg.connect(host.url, autocommit=True) as loose,
            pytest.raises(InvalidInput),
        ):
            host.book.execute(post("e1"), key="k", connection=loose)
        with psycopg.connect(host.url) as strict:
            strict.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with pytest.raises(InvalidInput):
                host.book.execute(post("e1"), key="k", connection=strict)
    else:
        elsewhere = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
        elsewhere.execute("BEGIN IMMEDIATE")
        with pytest.raises(InvalidInput):
            host.book.execute(post("e1"), key="k", connection=elsewhere)
        elsewhere.close()
    assert host.book.store.head().size == 0
