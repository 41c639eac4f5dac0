"""An executor on each engine, and the small commands that these tests use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import orderledger.commands.decide_accounts  # noqa: F401  # registers the deciders used here
from orderledger.commands.handle import Executor
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore

Opener = Callable[[], EventStore]


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Give a function that opens the same book again, as another process would."""
    opened: list[EventStore] = []
    if request.param == "postgres":
        url = request.getfixturevalue("pg_url")
        migrate(url)

    def opener() -> EventStore:
        if request.param == "memory":
            store: EventStore = opened[0] if opened else MemoryStore("main")
        elif request.param == "sqlite":
            store = SqliteStore(str(tmp_path / "book.db"), "main")
        else:
            store = PostgresStore(url, "main")
        opened.append(store)
        return store

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def executor(open_store: Opener) -> Iterator[Executor]:
    """Give an executor on a fresh book."""
    made = Executor(open_store())
    yield made
    made.close()
