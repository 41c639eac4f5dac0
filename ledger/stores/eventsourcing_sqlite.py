"""
``eventsourcing`` on a book in a SQLite file.

Set ``PERSISTENCE_MODULE=orderledger.ledger.stores.eventsourcing_sqlite``, ``ORDERLEDGER_URL``.
"""

import sqlite3
import threading
import weakref
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from eventsourcing.persistence import IntegrityError, Tracking

from ..errors import InvalidInput, StorageError
from . import eventsourcing_factory
from .eventsourcing_recorders import Datastore, SnapshotRow
from .eventsourcing_subscription import Waiter
from .named_sql import statements
from .sqlite import SqliteStore

_SQL: Final = statements("sqlite", "eventsourcing_queries")
_POLL_S: Final = 0.1
"""SQLite announces nothing between processes; reading the head ten times a second costs 0.1 %."""


class LocalWaiter:
    """Waits for an append of this process, or for the next look at what others appended."""

    def __init__(self) -> None:
        self._woken: Final = threading.Event()

    def listen(self) -> None:
        self._woken.clear()

    def wait(self, timeout_s: float) -> None:
        self._woken.wait(min(timeout_s, _POLL_S))

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._woken.set()


class SqliteDatastore:
    """A SQLite book with the two tables of the adapter; see ``Datastore``."""

    def __init__(self, path: str, book: str) -> None:
        self.store: Final = SqliteStore(path, book)
        self._waiters: Final[weakref.WeakSet[LocalWaiter]] = weakref.WeakSet()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return self.store.file.writing()

    def track(self, connection: sqlite3.Connection, tracking: Tracking) -> bool:
        values = (self.store.book_id, tracking.application_name, tracking.notification_id)
        return connection.execute(_SQL["track"], values).rowcount == 1

    def tracked(self, application_name: str) -> int | None:
        with self.store.file.reading() as reader:
            row = reader.execute(_SQL["tracked"], (self.store.book_id, application_name)).fetchone()
        return None if row is None else int(row[0])

    def insert_snapshots(self, purpose: str, rows: Sequence[SnapshotRow]) -> None:
        book_id = self.store.book_id
        with _conflicts(), self.store.file.writing() as writer:
            writer.executemany(_SQL["insert_snapshot"], [(book_id, purpose, *row) for row in rows])

    def select_snapshots(
        self, purpose: str, stream: str, versions: tuple[int, int], descending: bool, limit: int
    ) -> Sequence[tuple[int, str, bytes]]:
        name = "snapshots_descending" if descending else "snapshots_ascending"
        with self.store.file.reading() as reader:
            rows: list[Any] = reader.execute(
                _SQL[name], (self.store.book_id, purpose, stream, *versions, limit)
            ).fetchall()
        return rows

    def waiter(self) -> Waiter:
        made = LocalWaiter()
        self._waiters.add(made)
        return made

    def appended(self) -> None:
        for waiter in tuple(self._waiters):
            waiter.wake()

    def close(self) -> None:
        self.store.close()


@contextmanager
def _conflicts() -> Generator[None]:
    try:
        yield
    except StorageError as error:
        if isinstance(error.__cause__, sqlite3.IntegrityError):
            raise IntegrityError(str(error)) from error
        raise


# The library counts the factories among a module's names and wants one: the base stays in its own.
class Factory(eventsourcing_factory.LedgerFactory):
    """Opens ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, creating the file."""

    def open_datastore(self, url: str, book: str) -> Datastore:
        """Open the book in the file."""
        scheme, separator, path = url.partition(":///")
        if scheme != "sqlite" or not separator:
            raise InvalidInput(f"{url!r} is not a URL of a SQLite file: sqlite:///shop.db")
        return SqliteDatastore(path, book)
