"""The engines of the contract suite: one database each, opened as often as a test asks."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg

from orderledger.ledger.ids import utc_now
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore

Clock = Callable[[], datetime]


class Engine(Protocol):
    """One empty database. ``open`` may be called several times, for the same book too."""

    name: str

    def open(self, book: str = "main", clock: Clock | None = None) -> EventStore: ...

    def close(self) -> None: ...


class SqlEngine(Engine, Protocol):
    """A database that speaks SQL: ``prefix`` stands before table names, ``error`` is its error."""

    prefix: str
    error: type[Exception]

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement as the owner of the tables, past our code, and commit."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a host's connection in a transaction that ends as the test says."""
        ...


class MemoryEngine:
    name = "memory"

    def __init__(self) -> None:
        self._stores: dict[str, MemoryStore] = {}

    def open(self, book: str = "main", clock: Clock | None = None) -> EventStore:
        if book not in self._stores:
            self._stores[book] = MemoryStore(book, clock=clock or utc_now)
        return self._stores[book]

    def close(self) -> None:
        self._stores.clear()


class SqliteEngine:
    name = "sqlite"
    prefix = "orderledger_"
    error: type[Exception] = sqlite3.Error

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stores: list[SqliteStore] = []

    def open(self, book: str = "main", clock: Clock | None = None) -> EventStore:
        store = SqliteStore(self.path, book, clock=clock or utc_now)
        self._stores.append(store)
        return store

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql.replace("%s", "?"), parameters).fetchall()

    @contextmanager
    def transaction(self) -> Any:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        for store in self._stores:
            store.close()


class PostgresEngine:
    name = "postgres"
    prefix = "orderledger."
    error: type[Exception] = psycopg.Error

    def __init__(self, url: str) -> None:
        self.url = url
        self._stores: list[PostgresStore] = []
        migrate(url)

    def open(self, book: str = "main", clock: Clock | None = None) -> EventStore:
        store = PostgresStore(self.url, book, clock=clock)
        self._stores.append(store)
        return store

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Any:
        with closing(psycopg.connect(self.url)) as connection:
            yield connection

    def close(self) -> None:
        for store in self._stores:
            store.close()
