"""
The store's own connections: a small last-in-first-out pool.

Last in, first out keeps few connections hot, each with its prepared statements; a connection is
opened when none is free, so a writer never queues behind a reader. Needs session pooling: prepared
statements and session settings do not survive a transaction-pooling proxy.
"""

import itertools
import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import psycopg
import psycopg.conninfo
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from ..errors import InvalidInput, Unavailable
from ..forks import in_child
from .postgres_arrays import register
from .postgres_errors import (
    NO_SUCH_STATEMENT,
    error_of,
    is_broken,
    result_state,
    translated,
    translating,
)

Row = tuple[object, ...]
R = TypeVar("R")

LOCK_TIMEOUT_MS: Final = 150
"""How long an append waits for a row. Longer only hides that a host's transaction is open."""

_SETTINGS: Final = f"""
SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_MS}ms', false),
    set_config('TimeZone', 'UTC', false),
    set_config('default_transaction_isolation', 'read committed', false)
"""


class BinaryStatement:
    """A statement with psycopg's ``%s`` places, for parameters already in binary format."""

    __slots__ = ("formats", "name", "sql")

    def __init__(self, name: str, sql: str) -> None:
        places = itertools.count(1)
        self.name: Final = f"orderledger_{name}".encode()
        self.sql: Final = re.sub("%s", lambda _: f"${next(places)}", sql).encode()
        self.formats: Final = [Format.BINARY] * (next(places) - 1)


class Session:
    """
    One open connection in autocommit mode with a cursor that is reused.

    Making a cursor costs a sixth of a lone append.
    """

    __slots__ = ("_prepared", "connection", "cursor", "generation")

    def __init__(self, url: str, generation: int) -> None:
        self.connection: psycopg.Connection[Row] = psycopg.connect(
            url, autocommit=True, prepare_threshold=2, row_factory=tuple_row
        )
        self.generation = generation
        self._prepared: set[bytes] = set()
        try:
            register(self.connection.adapters)
            self.cursor: psycopg.Cursor[Row] = self.connection.cursor(binary=True)
            self.cursor.execute(_SETTINGS.encode())
        except BaseException:
            self.connection.close()
            raise

    def call(self, statement: BinaryStatement, parameters: Sequence[bytes | None]) -> PGresult:
        """
        Run a statement past psycopg's cursor, which takes as long as a small append itself.

        Only outside a transaction block: libpq's own call waits for the answer (without the
        interpreter's lock), and a failed statement leaves nothing behind. Returns rows in binary
        format; raises what a cursor would.
        """
        pgconn = self.connection.pgconn
        # None is NULL here too, though psycopg's stub does not say so.
        values = cast("Sequence[bytes]", parameters)
        name, formats = statement.name, statement.formats
        if name not in self._prepared:
            self._prepare(statement)
        result = pgconn.exec_prepared(name, values, formats, Format.BINARY)
        if result.status == ExecStatus.TUPLES_OK:
            return result
        if result_state(result) == NO_SUCH_STATEMENT:
            # psycopg deallocates every statement after a rollback. Nothing ran yet.
            self._prepare(statement)
            result = pgconn.exec_prepared(name, values, formats, Format.BINARY)
            if result.status == ExecStatus.TUPLES_OK:
                return result
        raise error_of(result)

    def rows(
        self,
        statement: BinaryStatement,
        parameters: Sequence[bytes | None],
        made: Callable[[Sequence[Any]], R],
    ) -> Sequence[R]:
        """
        Return what is made of the rows of a statement, as ``call`` runs it.

        Each is made while its row is at hand: thousands of rows alive at once would have the
        garbage collector look through the whole process. A cursor takes a large answer in pieces
        and asks for the interpreter's lock for each: beside a thread that computes it would wait
        for every one.
        """
        result = self.call(statement, parameters)
        loader = Transformer(self.connection)
        loader.set_pgresult(result, format=Format.BINARY)
        return loader.load_rows(0, result.ntuples, made)

    def _prepare(self, statement: BinaryStatement) -> None:
        result = self.connection.pgconn.prepare(statement.name, statement.sql)
        if result.status != ExecStatus.COMMAND_OK:
            raise error_of(result)
        self._prepared.add(statement.name)


@contextmanager
def joined(connection: object) -> Generator[psycopg.Cursor[Row]]:
    """
    Give a cursor in a host's open transaction; nothing of the host's settings changes.

    Raises InvalidInput for what is no psycopg connection, or not in a usable transaction.
    """
    if not isinstance(connection, psycopg.Connection):
        raise InvalidInput(
            f"connection must be a psycopg.Connection, not {type(connection).__name__}"
        )
    host = cast("psycopg.Connection[object]", connection)
    status = host.info.transaction_status
    if status == TransactionStatus.IDLE and host.autocommit:
        raise InvalidInput(
            "the connection is in autocommit mode and has no open transaction to join; "
            "use `with connection.transaction():`"
        )
    if status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
        raise InvalidInput(
            f"the connection cannot be joined: its transaction is {status.name}", status=status.name
        )
    # A cursor of our own class and row factory, whatever the host prefers.
    with translating(), psycopg.Cursor(host, row_factory=tuple_row) as cursor:
        cursor.format = Format.BINARY
        register(cursor.adapters)
        yield cursor


def checked_url(url: str) -> str:
    """Return a URL that libpq can read; raises InvalidInput, for trying again would not help."""
    try:
        port = psycopg.conninfo.conninfo_to_dict(url).get("port")
    except psycopg.ProgrammingError as error:
        text = str(error).strip().partition("\n")[0]
        raise InvalidInput(f"the PostgreSQL URL cannot be read: {text}") from error
    for one in str(port or 5432).split(","):
        if not (one.isdecimal() and 0 < int(one) < 65_536):
            raise InvalidInput(f"the port {one!r} of the PostgreSQL URL is no number up to 65535")
    return url


# Sessions that a fork carried into this process, kept from the collector: closing one would end the
# parent's connection on the server.
_inherited: list[Session] = []


class Connections:
    """
    The sessions of one store.

    At most ``max_size`` at once; a caller beyond that waits up to ``timeout_s`` seconds.
    """

    def __init__(self, url: str, *, max_size: int = 32, timeout_s: int = 10) -> None:
        self._url = checked_url(url)
        self._timeout_s = timeout_s
        self._slots = threading.Semaphore(max_size)
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._lent: set[Session] = set()
        self._generation = 0
        self._max_size = max_size
        self._is_closed = False
        in_child(self._abandon)

    def _abandon(self) -> None:
        """Leave the parent's connections to the parent."""
        _inherited.extend([*self._idle, *self._lent])
        self._slots = threading.Semaphore(self._max_size)
        self._lock = threading.Lock()
        self._idle, self._lent = [], set()

    @contextmanager
    def session(self) -> Generator[Session]:
        """
        Lend a session; psycopg's errors leave as ours.

        Raises Unavailable when the server cannot be reached, too many callers wait or the store is
        closed.
        """
        session = self._take()
        try:
            yield session
        except psycopg.Error as error:
            raise translated(error) from error
        finally:
            self._give_back(session)

    def _take(self) -> Session:
        if not self._slots.acquire(timeout=self._timeout_s):
            raise Unavailable(f"no connection became free within {self._timeout_s} s")
        try:
            with self._lock:
                if self._is_closed:
                    raise Unavailable("the store is closed")
                generation = self._generation
                if self._idle:
                    session = self._idle.pop()
                    self._lent.add(session)
                    return session
            session = Session(self._url, generation)
            with self._lock:
                self._lent.add(session)
            return session
        except psycopg.Error as error:
            self._slots.release()
            raise translated(error) from error
        except BaseException:
            self._slots.release()
            raise

    def _give_back(self, session: Session) -> None:
        broken = is_broken(session.connection)
        with self._lock:
            self._lent.discard(session)
            if broken and session.generation == self._generation:
                # The server went away: what idles is as dead and would fail one caller each.
                self._generation += 1
                stale, self._idle = self._idle, []
            else:
                stale = []
            is_kept = not broken and not self._is_closed and session.generation == self._generation
            if is_kept:
                self._idle.append(session)
        self._slots.release()
        for one in stale if is_kept else [*stale, session]:
            one.connection.close()

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.connection.close()
