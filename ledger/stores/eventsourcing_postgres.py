"""
``eventsourcing`` on PostgreSQL.

Set ``PERSISTENCE_MODULE=orderledger.ledger.stores.eventsourcing_postgres``, ``ORDERLEDGER_URL``.
"""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, cast

import psycopg
from eventsourcing.persistence import IntegrityError, OperationalError, Tracking

from . import eventsourcing_factory
from .eventsourcing_recorders import Datastore, SnapshotRow
from .eventsourcing_subscription import Waiter
from .named_sql import statements
from .postgres import PostgresStore
from .postgres_connections import Connections

_SQL: Final = {
    name: text.encode() for name, text in statements("postgres", "eventsourcing_queries").items()
}
_CHANNEL: Final = b"LISTEN orderledger"
_SLICE_S: Final = 0.1
"""How long a wait may overlook that its subscription was stopped."""


class ListeningWaiter:
    """
    Waits for the sequencer's notification on a connection of its own, which it opens again.

    A lost connection ends the wait, so that the log is read at once; if that fails too, the
    subscription waits here until the server answers.
    """

    def __init__(self, url: str, book: str) -> None:
        self._url: Final = url
        self._book: Final = book
        self._connection: psycopg.Connection[Any] | None = None
        self._woken: Final = threading.Event()

    def listen(self) -> None:
        if self._connection is not None and not self._connection.closed:
            return
        try:
            connection = psycopg.connect(self._url, autocommit=True)
            connection.execute(_CHANNEL)
        except psycopg.Error as error:
            raise OperationalError(str(error)) from error
        self._connection = connection

    def wait(self, timeout_s: float) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            self._woken.wait(timeout_s)
            return
        deadline = monotonic() + timeout_s
        try:
            while not self._woken.is_set() and monotonic() < deadline:
                for notice in connection.notifies(timeout=_SLICE_S, stop_after=1):
                    if notice.payload == self._book:
                        return
        except psycopg.Error:
            connection.close()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._woken.set()
        if self._connection is not None:
            self._connection.close()


class PostgresDatastore:
    """A PostgreSQL book with the two tables of the adapter; see ``Datastore``."""

    def __init__(self, url: str, book: str) -> None:
        self._url: Final = url
        self.store: Final = PostgresStore(url, book)
        self._connections: Final = Connections(url)
        with self._connections.session() as session:
            row = session.cursor.execute(_SQL["book_id"], (book,)).fetchone()
        self._book_id: Final = cast("tuple[int]", row)[0]

    @contextmanager
    def transaction(self) -> Generator[psycopg.Connection[Any]]:
        with self._connections.session() as session, session.connection.transaction():
            yield session.connection

    def track(self, connection: psycopg.Connection[Any], tracking: Tracking) -> bool:
        values = (self._book_id, tracking.application_name, tracking.notification_id)
        return connection.execute(_SQL["track"], values).rowcount == 1

    def tracked(self, application_name: str) -> int | None:
        with self._connections.session() as session:
            row = session.cursor.execute(
                _SQL["tracked"], (self._book_id, application_name)
            ).fetchone()
        return None if row is None else cast("tuple[int]", row)[0]

    def insert_snapshots(self, purpose: str, rows: Sequence[SnapshotRow]) -> None:
        with self.transaction() as connection, connection.cursor() as cursor:
            try:
                cursor.executemany(
                    _SQL["insert_snapshot"], [(self._book_id, purpose, *row) for row in rows]
                )
            except psycopg.errors.UniqueViolation as error:
                raise IntegrityError(str(error)) from error

    def select_snapshots(
        self, purpose: str, stream: str, versions: tuple[int, int], descending: bool, limit: int
    ) -> Sequence[tuple[int, str, bytes]]:
        name = "snapshots_descending" if descending else "snapshots_ascending"
        with self._connections.session() as session:
            rows = session.cursor.execute(
                _SQL[name], (self._book_id, purpose, stream, *versions, limit)
            ).fetchall()
        return cast("list[tuple[int, str, bytes]]", rows)

    def waiter(self) -> Waiter:
        return ListeningWaiter(self._url, self.store.book)

    def appended(self) -> None:
        """Do nothing: the sequencer announces on the server, to this process too."""

    def close(self) -> None:
        self._connections.close()
        self.store.close()


# The library counts the factories among a module's names and wants one: the base stays in its own.
class Factory(eventsourcing_factory.LedgerFactory):
    """Opens ``postgresql://…``; the database was prepared by ``orderledger migrate``."""

    def open_datastore(self, url: str, book: str) -> Datastore:
        """Open the book in the database."""
        return PostgresDatastore(url, book)
