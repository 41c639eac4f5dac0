"""
The event store on PostgreSQL 15 and later.

Appends and the sequencer are functions in the database (``sql/postgres/0003_append.pre.sql``, where
the order of locks is written down, and ``0021_short_append.pre.sql``): one round trip each, and the
application's role needs no right to write any table.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any, Final, NoReturn, cast
from uuid import UUID

import msgspec
import psycopg
from psycopg.pq import TransactionStatus

from ..errors import InvalidInput, Unavailable
from ..forks import in_child
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
    LockTimeout,
    StoredCommand,
    StoredEvent,
)
from ..trial_balance import add_minor
from .expected_versions import Expected
from .named_sql import statements
from .postgres_arrays import (
    bigint,
    bigint_array,
    boolean,
    integer,
    read_bigint,
    read_timestamp,
    text_array,
    timestamp,
    uuid_array,
    uuid_array_of_bytes,
)
from .postgres_batch import encode_batch, encode_frame, encode_one, is_one
from .postgres_connections import BinaryStatement, Connections, Row, Session, joined
from .postgres_errors import (
    CONFLICTS,
    GENERATION_MOVED,
    ISOLATION,
    sqlstate,
)
from .postgres_schema import check

SEQUENCED_APPENDS_MAX: Final = 1_000
"""Waiting appends per sequencer transaction: bounds how long it keeps the head."""

_LOOK_REST: Final = 4
_HEAD_PATIENCE_S: Final = 10.0
_HEAD_REST_S: Final = (0.004, 0.032)
"""First and longest wait before looking again at a head that was taken."""

_CHANGE_TRIES: Final = 20
_CHANGE_REST_S: Final = 0.25
_STREAM_BATCH: Final = 1000
_BIGINT_MAX: Final = 2**63 - 1

_CommandRow = tuple[UUID, str, UUID, bytes, str, bool, str, datetime]


class PostgresStore:
    """
    One book in a PostgreSQL database; implements ``EventStore``.

    ``clock`` replaces the server's clock for ``recorded_at``. Raises SchemaMismatch where the
    database was not migrated, Unavailable where it cannot be reached. Creates the book.
    """

    def __init__(
        self,
        url: str,
        book: str = "main",
        *,
        clock: Callable[[], datetime] | None = None,
        connections_max: int = 32,
    ) -> None:
        check(url)
        self._sql: Final = statements("postgres")
        self._book: Final = book
        self._url: Final = url
        self._clock: Final = clock
        self._connections: Final = Connections(url, max_size=connections_max)
        self._read: Final = BinaryStatement("read", self._sql["read"])
        self._load: Final = BinaryStatement("load", self._sql["load"])
        self._append_many: Final = BinaryStatement("append", self._sql["append"])
        self._append_one: Final = BinaryStatement("append_one", self._sql["append_one"])
        self._place_waiting: Final = BinaryStatement("sequence", self._sql["sequence"])
        self._look_due = monotonic()
        self._renew_lock()
        in_child(self._renew_lock)
        try:
            ((book_id,),) = self._query("ensure_book", (book,))
        except BaseException:
            self._connections.close()
            raise
        self._book_id: Final = cast(int, book_id)

    @property
    def url(self) -> str:
        """The URL of the database, for what stands beside the events."""
        return self._url

    @property
    def book_id(self) -> int:
        """The number of the book in the database."""
        return self._book_id

    @property
    def connections(self) -> Connections:
        """The connections of the store, for what is read along with the events."""
        return self._connections

    @property
    def book(self) -> str:
        return self._book

    def _renew_lock(self) -> None:
        self._sequencing = threading.Lock()

    def append(self, batch: Batch, *, connection: object | None = None) -> Appended:
        if connection is not None:
            with joined(connection) as cursor:
                return self._append_joined(cursor, batch)
        was_sent = False
        try:
            with self._connections.session() as session:
                was_sent = True
                return self._append_own(session, batch)
        except Unavailable:
            # The commit may have happened before its answer was lost.
            if was_sent and self._was_written(batch):
                return self._located(batch)
            raise

    def _append_own(self, session: Session, batch: Batch) -> Appended:
        try:
            return self._call_append(session, batch)
        except (_Impossible, psycopg.Error) as error:
            self._refuse(session.cursor, batch, error)

    def _append_joined(self, cursor: psycopg.Cursor[Row], batch: Batch) -> Appended:
        if cursor.connection.info.transaction_status == TransactionStatus.IDLE:
            # Begins the host's transaction: the savepoint block alone would begin and commit one.
            cursor.execute("SELECT 1")
        return self._append_within(cursor, batch, may_sequence=False)

    def _append_within(
        self, cursor: psycopg.Cursor[Row], batch: Batch, *, may_sequence: bool
    ) -> Appended:
        """Append in an open transaction, behind a savepoint: conflicts are read up after it."""
        try:
            with cursor.connection.transaction():
                return self._execute_append(cursor, batch, may_sequence=may_sequence)
        except (_Impossible, psycopg.Error) as error:
            self._refuse(cursor, batch, error)

    def _call_append(self, session: Session, batch: Batch) -> Appended:
        """Append in a transaction of its own: the path of every command that joins no host."""
        book, now, *rest = encode_frame(batch, self._book_id, self._now())
        if is_one(batch):
            columns = encode_one(self._book, batch)
            result = session.call(self._append_one, [book, now, *rest, *columns])
        else:
            encoded = encode_batch(self._book, batch)
            if not encoded.is_possible:
                raise _Impossible
            result = session.call(
                self._append_many, [book, boolean(True), now, *rest, *encoded.columns]
            )
        position, recorded_at = result.get_value(0, 0), result.get_value(0, 1)
        if position is None or recorded_at is None:
            return Appended(None, None)
        return Appended(read_bigint(position), read_timestamp(recorded_at))

    def _execute_append(
        self, cursor: psycopg.Cursor[Row], batch: Batch, *, may_sequence: bool
    ) -> Appended:
        """Append through a cursor, which minds the state of a host's connection."""
        encoded = encode_batch(self._book, batch)
        if not encoded.is_possible:
            raise _Impossible
        parameters = (
            self._book_id,
            may_sequence,
            self._now(),
            batch.constraint_generation,
            batch.appended_at,
            *encoded.columns,
        )
        cursor.execute(self._sql["append"].encode(), parameters, prepare=True)
        return Appended(*cast("tuple[int | None, datetime | None]", cursor.fetchone()))

    def _refuse(
        self, cursor: psycopg.Cursor[Row], batch: Batch, error: "_Impossible | psycopg.Error"
    ) -> NoReturn:
        """Raise the facts of a refused append in place of its error; else the error itself."""
        if isinstance(error, _Impossible):
            raise self._conflict(cursor, batch) from error
        refusal = self._refusal(cursor, batch, error)
        if refusal is None:
            raise error
        raise refusal from error

    def _refusal(
        self, cursor: psycopg.Cursor[Row], batch: Batch, error: psycopg.Error
    ) -> AppendConflict | InvalidInput | None:
        """Find the facts of a refused append; None where the error was no conflict."""
        state = sqlstate(error)
        if state == ISOLATION:
            return InvalidInput(
                "the connection's transaction is not READ COMMITTED; the append must see what "
                "others commit while it waits for their rows"
            )
        if state not in CONFLICTS:
            return None
        conflict = self._conflict(cursor, batch, stale_constraints=state == GENERATION_MOVED)
        # Without facts it was an event id that is taken: no race, and a retry would not help.
        is_race = conflict.moved or conflict.duplicates or conflict.stale_constraints
        return conflict if is_race else None

    def _conflict(
        self, cursor: psycopg.Cursor[Row], batch: Batch, *, stale_constraints: bool = False
    ) -> AppendConflict:
        keys = [append.key_hash for append in batch.appends]
        taken = self._rows(
            cursor, "commands", (uuid_array_of_bytes(keys), self._book_id, self._book_id)
        )
        expected = Expected(batch)
        found = cast(
            "list[tuple[str, int]]",
            self._rows(cursor, "versions", (text_array(expected.names), self._book_id)),
        )
        versions: dict[str, int | None] = dict.fromkeys(expected.names)
        versions.update(found)
        duplicates = {cast(UUID, row[0]).bytes for row in taken}
        # A key that stands twice in the batch itself is taken by its first holder.
        duplicates.update(key for key, count in Counter(keys).items() if count > 1)
        return AppendConflict(
            expected.moved(versions),
            frozenset(duplicates),
            stale_constraints=stale_constraints,
        )

    def _was_written(self, batch: Batch) -> bool:
        """Say whether the batch is in the database; one key tells, as all or none is."""
        if not batch.appends:
            return False
        append = batch.appends[0]
        try:
            stored = self.commands([append.key_hash]).get(append.key_hash)
        except Unavailable:
            return False
        return stored is not None and stored.command_id == append.command_id

    def _located(self, batch: Batch) -> Appended:
        first = next((event.event_id for one in batch.appends for event in one.events), None)
        if first is None:
            return Appended(None, None)
        try:
            place = self.positions([first]).get(first)
        except Unavailable:
            place = None
        return Appended(*place) if place is not None else Appended(None, None)

    def constrain(
        self, account: str, build: Callable[[Mapping[tuple[str, str], int], int], Batch]
    ) -> Appended:
        # The bulk is summed before the lock, which stops every append, and only the rest under it.
        size = self.head().size
        net: dict[tuple[str, str], int] = {}
        self._add_net(net, self._query("account_net", (self._book_id, account, 0, size)))
        with self._connections.session() as session, session.connection.transaction():
            cursor = session.cursor
            ((generation,),) = self._rows(cursor, "begin_constrain", (self._book_id,))
            self._add_net(
                net, self._rows(cursor, "account_net", (self._book_id, account, size, None))
            )
            batch = build(net, cast(int, generation))
            appended = self._append_within(cursor, batch, may_sequence=True)
            if batch.has_events:
                self._rows(cursor, "end_constrain", (self._book_id, account))
        return appended

    @staticmethod
    def _add_net(net: dict[tuple[str, str], int], rows: Sequence[Row]) -> None:
        for layer, currency, minor in rows:
            key = (str(layer), str(currency))
            net[key] = net.get(key, 0) + int(str(minor))

    def change_periods(
        self,
        request: CutRequest,
        build: Callable[[LedgerCut], tuple[Batch, datetime | None]],
    ) -> Appended:
        # Much that waits, and most of the entries, are dealt with before the lock.
        while self.sequence():
            pass
        with self._connections.session() as session:
            cut = self._extended(session.cursor, "net_before", request, LedgerCut(0, {}))
        for _ in range(_CHANGE_TRIES - 1):
            try:
                return self._change_periods(request, cut, build)
            except LockTimeout:
                # A host's transaction that has appended is open. Other appends queue behind the
                # lock that is asked for, so they get their turn between two tries.
                sleep(_CHANGE_REST_S)
        return self._change_periods(request, cut, build)

    def _change_periods(
        self,
        request: CutRequest,
        cut: LedgerCut,
        build: Callable[[LedgerCut], tuple[Batch, datetime | None]],
    ) -> Appended:
        with self._connections.session() as session, session.connection.transaction():
            cursor = session.cursor
            self._rows(cursor, "begin_constrain", (self._book_id,))
            # An event of a long transaction may wait behind the window that an append looks at:
            # left there, it would get its position after the close that has it in its sums.
            whole = (self._book_id, self._now(), 0, SEQUENCED_APPENDS_MAX)
            while self._rows(cursor, "sequence", whole)[0][0]:
                pass
            cut = self._extended(cursor, "net_before_since", request, cut)
            batch, closed_until = build(cut)
            appended = self._append_within(cursor, batch, may_sequence=True)
            if batch.has_events:
                assert appended.first_position == cut.position + 1, "an event stands between"
                self._rows(cursor, "close_until", (self._book_id, closed_until))
        return appended

    def _extended(
        self, cursor: psycopg.Cursor[Row], net: str, request: CutRequest, cut: LedgerCut
    ) -> LedgerCut:
        """Return a cut with the entries that stand behind it by now; ``net`` names the query."""
        sums = dict(cut.sums)
        early = cut.early
        rows = self._rows(cursor, "head", (self._book_id,))
        size = cast(int, rows[0][0]) if rows else cut.position
        span = (self._book_id, cut.position, size)
        if request.before is not None:
            for account, currency, layer, minor in self._rows(cursor, net, (*span, request.before)):
                add_minor(sums, (str(account), str(currency), str(layer)), int(str(minor)))
        if request.none_before is not None and early is None:
            before = (*span, request.none_before)
            found = self._rows(cursor, "first_entry_before", before)
            if found:
                early = EarlyEntry(*cast("tuple[int, str, datetime]", found[0]))
        return LedgerCut(size, sums, early)

    def constraints(self) -> ConstraintSet:
        ((generation, closed_until, accounts),) = self._query("constraints", (self._book_id,))
        return ConstraintSet(
            cast(int, generation),
            frozenset(cast("list[str]", accounts)),
            cast("datetime | None", closed_until),
        )

    def commands(
        self, key_hashes: Sequence[bytes], *, connection: object | None = None
    ) -> Mapping[bytes, StoredCommand]:
        parameters = (uuid_array_of_bytes(key_hashes), self._book_id, self._book_id)
        rows = cast("list[_CommandRow]", self._query("commands", parameters, connection))
        return {row[0].bytes: _stored_command(row) for row in rows}

    def command(self, command_id: UUID) -> StoredCommand | None:
        parameters = {"book": self._book_id, "id": command_id}
        rows = cast("list[_CommandRow]", self._query("command_by_id", parameters))
        return _stored_command(rows[0]) if rows else None

    def refusals(self) -> Iterator[StoredCommand]:
        after = UUID(int=0)
        while True:
            parameters = {"book": self._book_id, "after": after, "limit": _STREAM_BATCH}
            rows = cast("list[_CommandRow]", self._query("refusals", parameters))
            for row in rows:
                yield _stored_command(row)
            if len(rows) < _STREAM_BATCH:
                return
            after = rows[-1][0]

    def load(
        self,
        streams: Mapping[str, int],
        *,
        limit: int | None = None,
        connection: object | None = None,
    ) -> Sequence[LoadedEvent]:
        names, afters = text_array(list(streams)), bigint_array(list(streams.values()))
        if connection is not None:
            rows = self._query("load", (names, afters, self._book_id, limit), connection)
            return [_in_utc(_loaded(row)) for row in rows]
        most = None if limit is None else bigint(limit)
        with self._connections.session() as session:
            return session.rows(self._load, [names, afters, integer(self._book_id), most], _loaded)

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        last = _BIGINT_MAX if until is None else until
        while True:
            # By key, not by a server-side cursor: an abandoned iterator holds no snapshot open.
            parameters = (self._book_id, stream, after, last, _STREAM_BATCH)
            rows = [_stored_event(row) for row in self._query("stream", parameters)]
            yield from rows
            if len(rows) < _STREAM_BATCH:
                return
            after = rows[-1].version

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        last = _BIGINT_MAX if until is None else until
        parameters = [integer(self._book_id), bigint(after), bigint(last), bigint(limit)]
        with self._connections.session() as session:
            return session.rows(self._read, parameters, _stored_event)

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        parameters = {"book": self._book_id, "prefix": prefix, "after": after, "limit": limit}
        return [str(row[0]) for row in self._query("streams", parameters)]

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        rows = self._query("positions", (uuid_array(event_ids), self._book_id))
        return {
            cast(UUID, event_id): (cast(int, position), cast(datetime, recorded_at))
            for event_id, position, recorded_at in rows
        }

    def head(self) -> Head:
        rows = self._query("head", (self._book_id,))
        if not rows:
            return Head(0, None)
        return Head(cast(int, rows[0][0]), cast(datetime, rows[0][1]))

    def sequence(self) -> int:
        """
        Give positions to committed events that wait for one; returns how many, 0 when none did.

        Looking at all of ``pending`` is slow while an old snapshot keeps its dead rows, so it gets
        a fifth of the time; in between recent rows are looked at, and an event of a long
        transaction may be left to the next call. Raises LockTimeout where others kept the head.
        """
        # One thread of a process at a time: a second one would only look at the same rows.
        with self._sequencing:
            if monotonic() < self._look_due:
                if count := self._sequence_from(None):
                    return count
                sleep(max(0, self._look_due - monotonic()))
            started = monotonic()
            rows = self._query("first_pending", (self._book_id,))
            ended = monotonic()
            self._look_due = ended + _LOOK_REST * (ended - started)
            return self._sequence_from(cast(int, rows[0][0]) - 1) if rows else 0

    def _sequence_from(self, first: int | None) -> int:
        total = 0
        rest, longest = _HEAD_REST_S
        deadline = monotonic() + _HEAD_PATIENCE_S
        while True:
            count = self._call_sequence(first)
            if count is None:
                # Who holds the head mostly takes along what waits: look again, and do not queue.
                if monotonic() >= deadline:
                    raise LockTimeout(
                        f"others held the head of {self._book} for {_HEAD_PATIENCE_S:g} s"
                    )
                sleep(rest)
                rest = min(2 * rest, longest)
                continue
            if not count:
                return total
            total += count

    def _call_sequence(self, first: int | None) -> int | None:
        now = self._now()
        parameters = (
            integer(self._book_id),
            None if now is None else timestamp(now),
            None if first is None else bigint(first),
            integer(SEQUENCED_APPENDS_MAX),
        )
        with self._connections.session() as session:
            count = session.call(self._place_waiting, parameters).get_value(0, 0)
        return None if count is None else read_bigint(count)

    def pending(self) -> int:
        ((count,),) = self._query("pending", (self._book_id,))
        return cast(int, count)

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        rows = self._query("leaf_hashes", (self._book_id, after, limit))
        return [cast(bytes, row[0]) for row in rows]

    def tiles(self, level: int) -> Sequence[bytes]:
        return [cast(bytes, row[0]) for row in self._query("tiles", (self._book_id, level))]

    def archive_commands(self, before: datetime, *, limit: int = 10_000) -> int:
        """
        Move at most ``limit`` command records older than ``before`` to the archive table.

        Keeps the index of recent keys small; no key becomes usable again. Returns how many moved.
        """
        ((count,),) = self._query("archive_commands", (self._book_id, before, limit))
        return cast(int, count)

    def close(self) -> None:
        self._connections.close()

    def _now(self) -> datetime | None:
        return None if self._clock is None else self._clock()

    def _query(
        self,
        name: str,
        parameters: Sequence[object] | Mapping[str, object],
        connection: object | None = None,
    ) -> list[Row]:
        if connection is not None:
            with joined(connection) as cursor:
                return self._rows(cursor, name, parameters)
        with self._connections.session() as session:
            return self._rows(session.cursor, name, parameters)

    def _rows(
        self,
        cursor: psycopg.Cursor[Row],
        name: str,
        parameters: Sequence[object] | Mapping[str, object],
    ) -> list[Row]:
        cursor.execute(self._sql[name].encode(), parameters)
        return cursor.fetchall()


class _Impossible(Exception):
    """The batch contradicts itself about a stream's version."""


def _stored_command(row: _CommandRow) -> StoredCommand:
    # The host's session may show time in another zone.
    return StoredCommand(*row[1:7], appended_at=row[7].astimezone(UTC))


def _stored_event(row: Sequence[Any]) -> StoredEvent:
    return StoredEvent(*row)


def _loaded(row: Sequence[Any]) -> LoadedEvent:
    return LoadedEvent(*row)


def _in_utc(event: LoadedEvent) -> LoadedEvent:
    # The host's session may show time in another zone.
    return msgspec.structs.replace(event, occurred_at=event.occurred_at.astimezone(UTC))
