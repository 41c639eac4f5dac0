"""
Connections to one SQLite file: opening, migrating, a pool of readers, errors by their kind.
"""

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ..errors import (
    DatabaseFull,
    DatabaseReadOnly,
    IntegrityViolation,
    InvalidInput,
    OrderLedgerError,
    SchemaMismatch,
    StorageError,
    Unavailable,
    UnbalancedEntry,
)
from .sqlite_schema import is_prepared, migrate_file

OLDEST_SQLITE: Final = (3, 38, 0)
"""STRICT tables came with 3.37, the JSON functions as a fixed part with 3.38."""
READERS_KEPT: Final = 16
_CACHE_KIB: Final = 32_768
_WAL_PAGES: Final = 4_000
"""16 MB between checkpoints: pages that every commit changes are copied a quarter as often."""

# Connections that a fork carried into this process. Using or closing them could corrupt the file
# (https://www.sqlite.org/howtocorrupt.html, section 2.6), so they are kept from the collector.
_inherited: list[object] = []


class SqliteFile:
    """
    The connections of one process to one file: a writer behind a lock, and a pool of readers.

    Opening creates and migrates the file. Every connection is in WAL mode with ``synchronous``
    FULL: an acknowledged commit survives a power cut.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout_ms: int = 10_000,
        must_be_ours: bool = False,
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old; 3.38 or newer is needed",
                version=sqlite3.sqlite_version,
            )
        name = os.fspath(path)
        if name in {"", ":memory:"} or name.startswith("file:"):
            raise InvalidInput(
                f"{name!r} is not a file that several connections share; "
                "use MemoryStore for a book that ends with the process",
                path=name,
            )
        self.path: Final = Path(name).absolute()
        self._busy_timeout_ms: Final = busy_timeout_ms
        self._lock = threading.RLock()
        self._readers: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._is_closed = False
        with self._lock, translated():
            if must_be_ours:
                self._check_ours()
            self._writer = self._connect()
            # `post` migrations wait for `orderledger migrate`: an older process may be running.
            migrate_file(self._writer, "pre")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._name(),
            timeout=self._busy_timeout_ms / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=True,
        )
        try:
            # A read-only file can still be read; its first write raises DatabaseReadOnly.
            if os.access(self.path, os.W_OK):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # Rows on their way through a trigger, and pages to undo one statement, need no file.
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_ours(self) -> None:
        """Look before the first setting is made: that alone would change the file."""
        with closing(sqlite3.connect(self._name(), uri=True)) as connection:
            if not is_prepared(connection):
                raise SchemaMismatch(
                    f"{self.path} has no tables of this library; is it the right file? "
                    "`orderledger migrate` prepares it",
                    path=str(self.path),
                )

    def _name(self) -> str:
        """
        Return the file as a URI, on read-only media as one that nobody changes.

        Else SQLite would want to make the index of the write-ahead log beside it. With a log that
        was not copied into the file, that would show an old state: then it stays an error.
        """
        name = self.path.as_uri()
        log = self.path.with_name(f"{self.path.name}-wal")
        if is_on_read_only_media(self.path) and not log.exists():
            return f"{name}?mode=ro&immutable=1"
        return name

    def _abandon_after_fork(self) -> None:
        _inherited.extend([self._writer, *self._readers])
        self._lock = threading.RLock()
        self._writer, self._readers, self._pid = None, [], os.getpid()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable(f"the store of {self.path} is closed", path=str(self.path))
        if self._pid != os.getpid():
            self._abandon_after_fork()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Lend a reading connection; a statement on it sees one consistent snapshot."""
        self._check_open()
        with translated():
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                if self._is_closed or len(self._readers) >= READERS_KEPT:
                    connection.close()
                else:
                    self._readers.append(connection)

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Lend the writer inside BEGIN IMMEDIATE; commits at the end, rolls back on an error."""
        self._check_open()
        with self._lock:
            self._check_open()
            # As ``translated``, whose generator would cost a lone append another microsecond.
            try:
                if self._writer is None:
                    self._writer = self._connect()
                connection = self._writer
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    # SQLite itself rolls back on some errors (full disk, I/O).
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise _translate(error) from error

    @contextmanager
    def joined(self, connection: object) -> Generator[sqlite3.Connection]:
        """Lend the host's connection behind a savepoint of its open transaction."""
        self._check_open()
        if not isinstance(connection, sqlite3.Connection):
            raise InvalidInput(
                f"a SQLite book joins sqlite3 connections, not a {type(connection).__name__}"
            )
        with translated():
            self._check_joinable(connection)
            connection.execute("SAVEPOINT orderledger_append")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK TO orderledger_append")
                    connection.execute("RELEASE orderledger_append")
                raise
            connection.execute("RELEASE orderledger_append")

    def _check_joinable(self, connection: sqlite3.Connection) -> None:
        cursor = connection.cursor()
        cursor.row_factory = None
        names = {str(row[1]): str(row[2]) for row in cursor.execute("PRAGMA database_list")}
        file = names.get("main", "")
        if not file or not Path(file).samefile(self.path):
            raise InvalidInput(
                f"the connection is to {file or 'a database in memory'}, the book is in "
                f"{self.path}; to join its transaction both must be one file",
                file=file,
                book_file=str(self.path),
            )
        if not connection.in_transaction:
            raise InvalidInput(
                "the connection has no open transaction to join; execute BEGIN IMMEDIATE first, "
                "or leave out the connection",
                file=file,
            )

    def close(self) -> None:
        """Close every connection that is not lent out; those close when they come back."""
        with self._lock:
            self._is_closed = True
            if self._pid != os.getpid():
                self._abandon_after_fork()
            while self._readers:
                self._readers.pop().close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None


def is_on_read_only_media(path: Path) -> bool:
    """Tell whether a file is where nobody on this machine can change it, whatever his rights."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # another system, or no such file yet
        return False


@contextmanager
def translated() -> Generator[None]:
    """Raise this library's errors for those of sqlite3, which stay as the cause."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error) from error


def _translate(error: sqlite3.Error) -> OrderLedgerError:
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = str(error)
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY_SNAPSHOT:
                # Only a host's own transaction reads before it writes.
                text = "the transaction read before another wrote; begin it with BEGIN IMMEDIATE"
            return Unavailable(f"another connection holds the write lock: {text}")
        case sqlite3.SQLITE_READONLY:
            return DatabaseReadOnly(f"the database accepts no writes: {text}")
        case sqlite3.SQLITE_FULL:
            return DatabaseFull(f"the disk is full; nothing of this append was written: {text}")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_NOMEM:
            return Unavailable(
                f"the database file cannot be used now: {text} (on read-only media a book can be "
                "read once its log is in the file: close it everywhere before copying it)"
            )
        case sqlite3.SQLITE_CORRUPT:
            return IntegrityViolation(f"the database file is damaged: {text}; restore a backup")
        case _ if "Could not decode to UTF-8" in text:
            return IntegrityViolation(f"a stored text is not UTF-8: {text}")
        case sqlite3.SQLITE_NOTADB:
            return StorageError(f"the file is not a SQLite database: {text}")
        case sqlite3.SQLITE_CONSTRAINT if text.startswith("unbalanced postings"):
            return UnbalancedEntry(f"the database refused the entry: {text}")
        case sqlite3.SQLITE_ERROR if "malformed JSON" in text or "integer overflow" in text:
            # Only the balance guard parses or sums what was not written by this module.
            return UnbalancedEntry(f"the database refused postings it cannot read: {text}")
        case sqlite3.SQLITE_ERROR if "already exists" in text:
            return SchemaMismatch(f"the file has a table with a name of ours ({text}); rename it")
        case sqlite3.SQLITE_ERROR if "no such table" in text or "no such column" in text:
            return SchemaMismatch(f"a table is missing ({text}); run `orderledger migrate`")
        case _:
            if "closed" in text:
                return Unavailable(f"the store is closed: {text}")
            return StorageError(f"SQLite answered: {text}")
