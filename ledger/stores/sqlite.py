"""
The event store in one SQLite file: one writer at a time, positions given as events are written.
"""

import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID, SafeUUID

from ..errors import (
    CorruptEvent,
    InvalidInput,
    OrderLedgerError,
    StorageError,
    UnbalancedEntry,
)
from ..ids import utc_now
from ..journal import decode_entry
from ..ports import (
    AppendConflict,
    Appended,
    Batch,
    ConstraintSet,
    CutRequest,
    EarlyEntry,
    Head,
    LedgerCut,
    LoadedEvent,
    StoredCommand,
    StoredEvent,
)
from ..trial_balance import AccountKey, add
from .named_sql import statements
from .sqlite_append import Appender, iso_text
from .sqlite_files import SqliteFile

_SQL: Final = statements("sqlite")
_PAGE: Final = 1000
_LAST: Final = 2**63 - 1


class SqliteStore:
    """
    One book in one SQLite file; see ``EventStore`` for the contract.

    ``path`` is created and migrated if need be. ``clock`` gives recorded_at, which is pushed
    forward where the clock does not move on. ``busy_timeout_ms`` bounds the wait for another
    process's write; then Unavailable is raised. With ``must_be_ours`` a file without our tables is
    refused, not prepared.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        book: str = "main",
        *,
        clock: Callable[[], datetime] = utc_now,
        busy_timeout_ms: int = 10_000,
        must_be_ours: bool = False,
    ) -> None:
        if not book:
            raise InvalidInput("a book needs a name")
        self._file: Final = SqliteFile(
            path, busy_timeout_ms=busy_timeout_ms, must_be_ours=must_be_ours
        )
        self._book: Final = book
        self._book_id: Final = self._find_book()
        self._appender: Final = Appender(book, self._book_id, clock)

    def _find_book(self) -> int:
        with self._file.reading() as connection:
            row = connection.execute(_SQL["find_book"], {"name": self._book}).fetchone()
        if row is None:
            with self._file.writing() as connection:
                connection.execute(_SQL["create_book"], {"name": self._book})
                row = connection.execute(_SQL["find_book"], {"name": self._book}).fetchone()
        return int(row[0])

    @property
    def book(self) -> str:
        """The name of the book."""
        return self._book

    @property
    def path(self) -> str:
        """The name of the file that holds the book."""
        return str(self._file.path)

    @property
    def book_id(self) -> int:
        """The number of the book in the file."""
        return self._book_id

    @property
    def file(self) -> SqliteFile:
        """The file that holds the book, for what else stands in it."""
        return self._file

    def append(self, batch: Batch, *, connection: object | None = None) -> Appended:
        """
        Write a batch in one transaction; see ``EventStore.append``.

        A joined append returns no position even though the log rows are written: they count only
        when the host commits.
        """
        try:
            if connection is None:
                with self._file.writing() as writer:
                    return self._appender.write(writer, batch)
            with self._file.joined(connection) as host:
                self._appender.write(host, batch)
            return Appended(None, None)
        except (StorageError, UnbalancedEntry) as error:
            self._raise_if_taken(batch, connection, error)
            raise

    def _raise_if_taken(
        self, batch: Batch, connection: object | None, error: OrderLedgerError
    ) -> None:
        """Tell a taken key from other refusals of the database, once the append is rolled back."""
        if not isinstance(error.__cause__, sqlite3.IntegrityError):
            return
        if isinstance(connection, sqlite3.Connection):
            # The host's own uncommitted appends count too.
            taken = self._appender.taken_keys(connection, batch)
        else:
            with self._file.reading() as reader:
                taken = self._appender.taken_keys(reader, batch)
        if taken:
            raise AppendConflict({}, taken) from error.__cause__

    def constrain(
        self, account: str, build: Callable[[Mapping[tuple[str, str], int], int], Batch]
    ) -> Appended:
        """Change the set of constrained accounts; see ``EventStore.constrain``."""
        balance: dict[tuple[str, str], int] = {}
        # The long scan runs before the lock; under it only what was appended since is added.
        with self._file.reading() as reader:
            seen = self._add_up(reader, account, 0, balance)
        batch: Batch | None = None
        try:
            with self._file.writing() as writer:
                self._add_up(writer, account, seen, balance)
                generation = self._appender.generation(writer)
                batch = build(balance, generation)
                appended = self._appender.write(writer, batch)
                if batch.has_events:
                    writer.execute(_SQL["raise_generation"], (self._book_id,))
                    row = (self._book_id, account, generation + 1)
                    writer.execute(_SQL["insert_constrained"], row)
        except (StorageError, UnbalancedEntry) as error:
            if batch is not None:
                self._raise_if_taken(batch, None, error)
            raise
        return appended

    def _add_up(
        self,
        connection: sqlite3.Connection,
        account: str,
        after: int,
        balance: dict[tuple[str, str], int],
    ) -> int:
        """Add the account's legs in rows after ``after``; return the last row that has any."""
        parameters = (self._book_id, after, f" {account} ")
        for row_id, postings in connection.execute(_SQL["postings_of_account"], parameters):
            after = row_id
            for leg in decode_entry(postings).postings:
                if leg.account == account:
                    key = (leg.layer.value, leg.currency)
                    balance[key] = balance.get(key, 0) + leg.minor
        return after

    def change_periods(
        self,
        request: CutRequest,
        build: Callable[[LedgerCut], tuple[Batch, datetime | None]],
    ) -> Appended:
        """Change until when the books are closed; see ``EventStore.change_periods``."""
        cut = LedgerCut(0, {})
        with self._file.reading() as reader:
            cut = self._extended(reader, request, cut)
        batch: Batch | None = None
        try:
            with self._file.writing() as writer:
                batch, closed_until = build(self._extended(writer, request, cut))
                appended = self._appender.write(writer, batch)
                if batch.has_events:
                    until = None if closed_until is None else iso_text(closed_until)
                    writer.execute(_SQL["close_until"], (until, self._book_id))
        except (StorageError, UnbalancedEntry) as error:
            if batch is not None:
                self._raise_if_taken(batch, None, error)
            raise
        return appended

    def _extended(
        self, connection: sqlite3.Connection, request: CutRequest, cut: LedgerCut
    ) -> LedgerCut:
        """Return a cut with the entries that stand behind it by now."""
        sums: dict[AccountKey, int] = dict(cut.sums)
        early = cut.early
        row = connection.execute(_SQL["head"], (self._book_id,)).fetchone()
        size = cut.position if row is None else int(row[0])
        span = (self._book_id, cut.position, size)
        if request.before is not None:
            rows = connection.execute(_SQL["entries_before"], (*span, iso_text(request.before)))
            for (postings,) in rows:
                add(sums, decode_entry(postings).postings)
        if request.none_before is not None and early is None:
            before = (*span, iso_text(request.none_before))
            found = connection.execute(_SQL["first_entry_before"], before).fetchone()
            if found is not None:
                early = EarlyEntry(found[0], found[1], datetime.fromisoformat(found[2]))
        return LedgerCut(size, sums, early)

    def constraints(self) -> ConstraintSet:
        """Return what every entry must keep to now."""
        rows = self._rows("constraints", (self._book_id,))
        generation, _, closed_until = rows[0]
        return ConstraintSet(
            generation,
            frozenset(row[1] for row in rows if row[1] is not None),
            None if closed_until is None else datetime.fromisoformat(closed_until),
        )

    def commands(
        self, key_hashes: Sequence[bytes], *, connection: object | None = None
    ) -> Mapping[bytes, StoredCommand]:
        """Return the records of the commands with these keys; absent ones are left out."""
        found: dict[bytes, StoredCommand] = {}
        with self._cursor(connection) as cursor:
            for key_hash in key_hashes:
                row = cursor.execute(_SQL["find_command"], (self._book_id, key_hash)).fetchone()
                if row is not None:
                    found[key_hash] = _stored_command(row)
        return found

    def command(self, command_id: UUID) -> StoredCommand | None:
        """Return the record of a command by its id, or None; see ``EventStore.command``."""
        rows = self._rows("command_by_id", (self._book_id, command_id.bytes))
        return _stored_command(rows[0]) if rows else None

    def refusals(self) -> Iterator[StoredCommand]:
        """Iterate over the records of refused commands, a page at a time."""
        after = b""
        while True:
            rows = self._rows("refusals", (self._book_id, after, _PAGE))
            for row in rows:
                yield _stored_command(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1][-1]

    def load(
        self,
        streams: Mapping[str, int],
        *,
        limit: int | None = None,
        connection: object | None = None,
    ) -> Sequence[LoadedEvent]:
        """Return the events of the streams after the given versions; see ``EventStore.load``."""
        most = -1 if limit is None else limit
        with self._cursor(connection) as cursor:
            return [
                _loaded(row)
                for stream, after in sorted(streams.items())
                for row in cursor.execute(_SQL["load"], (self._book_id, stream, after, most))
            ]

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        """Iterate over one stream, a page at a time; no snapshot is held between pages."""
        last = _LAST if until is None else until
        while True:
            rows = self._rows("stream_page", (self._book_id, stream, after, last, _PAGE))
            for row in rows:
                yield _stored(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1][4]

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """Return events in position order with ``after < position <= until``."""
        last = _LAST if until is None else until
        return [_stored(row) for row in self._rows("read", (self._book_id, after, last, limit))]

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return the names of streams that start with a prefix, in order, after a name."""
        rows = self._rows("streams", (self._book_id, prefix, after, limit))
        return [name for (name,) in rows if name.startswith(prefix)]

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        """Return position and recorded_at of the events that are sequenced."""
        found: dict[UUID, tuple[int, datetime]] = {}
        with self._file.reading() as connection:
            for event_id in event_ids:
                row = connection.execute(
                    _SQL["position_of"], (event_id.bytes, self._book_id)
                ).fetchone()
                if row is not None:
                    found[event_id] = (row[0], datetime.fromisoformat(row[1]))
        return found

    def head(self) -> Head:
        """Return the end of the log."""
        rows = self._rows("head", (self._book_id,))
        if not rows:
            return Head(0, None)
        return Head(rows[0][0], datetime.fromisoformat(rows[0][1]))

    def sequence(self) -> int:
        """Return 0: events get their position as they are written."""
        self._rows("generation", (self._book_id,))
        return 0

    def pending(self) -> int:
        """Return 0: no event waits for a position."""
        self._rows("generation", (self._book_id,))
        return 0

    def archive_commands(self, before: datetime, *, limit: int = 10_000) -> int:
        """Do nothing: one writer at a time has its pages in memory anyway."""
        del before, limit
        return 0

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        """Return the leaf hashes of positions after + 1 onwards."""
        return [leaf for (leaf,) in self._rows("leaf_hashes", (self._book_id, after, limit))]

    def tiles(self, level: int) -> Sequence[bytes]:
        """Return the complete tile roots of a level in order."""
        return [root for (root,) in self._rows("tile_roots", (self._book_id, level, 0, -1))]

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        self._file.close()

    @contextmanager
    def _cursor(self, connection: object | None) -> Generator[sqlite3.Cursor]:
        """Lend a cursor of a reader, or of the host's connection in its open transaction."""
        if connection is None:
            with self._file.reading() as reader:
                yield reader.cursor()
            return
        with self._file.joined(connection) as host:
            cursor = host.cursor()
            # The host's rows may be dicts or Row objects; ours are tuples.
            cursor.row_factory = None
            yield cursor

    def _rows(self, name: str, parameters: tuple[object, ...]) -> list[Any]:
        with self._file.reading() as connection:
            return connection.execute(_SQL[name], parameters).fetchall()


def _uuid(value: bytes) -> UUID:
    """
    Return the UUID of 16 bytes in a third of the constructor's time.

    It sets the two fields that the constructor sets, which otherwise takes half of a read.
    """
    if len(value) != 16:
        raise ValueError(f"an id has 16 bytes, not {len(value)}")
    found = object.__new__(UUID)
    object.__setattr__(found, "int", int.from_bytes(value, "big"))
    object.__setattr__(found, "is_safe", SafeUUID.unknown)
    return found


def _stored_command(row: tuple[Any, ...]) -> StoredCommand:
    key, command_id, fingerprint, command, refused, reply, appended_at = row[:7]
    at = datetime.fromisoformat(appended_at)
    return StoredCommand(
        key, UUID(bytes=command_id), fingerprint, command, bool(refused), reply, at
    )


def _stored(row: tuple[Any, ...]) -> StoredEvent:
    recorded_at = row[1]
    try:
        return StoredEvent(
            row[0],
            None if recorded_at is None else datetime.fromisoformat(recorded_at),
            _uuid(row[2]),
            row[3],
            row[4],
            row[5],
            datetime.fromisoformat(row[6]),
            datetime.fromisoformat(row[7]),
            _uuid(row[8]),
            row[9],
            row[10],
            row[11],
        )
    except ValueError as error:
        raise _unreadable(row[3], row[4]) from error


def _loaded(row: tuple[Any, ...]) -> LoadedEvent:
    event_id, stream, version, topic, occurred_at, postings, payload = row
    try:
        at = datetime.fromisoformat(occurred_at)
        return LoadedEvent(_uuid(event_id), stream, version, topic, at, postings, payload)
    except ValueError as error:
        raise _unreadable(stream, version) from error


def _unreadable(stream: str, version: int) -> CorruptEvent:
    return CorruptEvent(
        f"version {version} of stream {stream} has an instant or an id that cannot be read",
        stream=stream,
        version=version,
    )
