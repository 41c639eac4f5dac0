"""
The ports between the engine and what stores its events: rows in, rows out, typed conflicts.

One suite (``tests/contract``) runs on every implementation in ``ledger/stores``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import msgspec

from .errors import OrderLedgerError, Unavailable
from .trial_balance import Sums


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """
    One event row to append. ``version`` continues the stream without a gap, from 1.

    ``context`` is empty unless the event has another than its append's.
    """

    event_id: UUID
    stream: str
    version: int
    topic: str
    occurred_at: datetime
    payload: str
    postings: str
    context: str = ""


class NewAppend(msgspec.Struct, frozen=True, gc=False):
    """
    What one command writes, atomically: its idempotency record and its events, possibly none.

    ``fingerprint`` identifies the command's content; ``reply`` is the JSON of its result or
    refusal; ``context`` the JSON of the envelope fields that its events share, those aside that
    have one of their own.
    """

    command_id: UUID
    key: str
    key_hash: bytes
    fingerprint: bytes
    command: str
    refused: bool
    reply: str
    context: str
    events: tuple[NewEvent, ...]


class Batch(msgspec.Struct, frozen=True):
    """
    Appends that share one transaction: all are written or none.

    ``checks`` maps streams that were read but not written to the version they must still have
    (0: must not exist). ``constraint_generation`` is the generation of the ``ConstraintSet`` under
    which the postings were decided; None skips that check.
    """

    appends: tuple[NewAppend, ...]
    appended_at: datetime
    checks: Mapping[str, int] = {}
    constraint_generation: int | None = None

    @property
    def has_events(self) -> bool:
        """Tell whether any of the appends has events, not only a record."""
        return any(append.events for append in self.appends)


class Appended(msgspec.Struct, frozen=True):
    """
    Where a batch went. Event ``i`` of the batch, counted over all its appends in order, has
    position ``first_position + i`` and was recorded ``i`` microseconds after ``recorded_at``.

    Both are None while the events wait for the sequencer.
    """

    first_position: int | None
    recorded_at: datetime | None


class AppendConflict(OrderLedgerError):
    """The batch was refused and nothing of it was written."""

    http_status = 412

    def __init__(
        self,
        moved: Mapping[str, int],
        duplicates: frozenset[bytes] = frozenset(),
        *,
        stale_constraints: bool = False,
    ) -> None:
        self.moved: Final[Mapping[str, int]] = moved
        """Streams that are not at the expected version, with the version they are at."""
        self.duplicates: Final[frozenset[bytes]] = duplicates
        """Key hashes that are taken."""
        self.stale_constraints: Final[bool] = stale_constraints
        super().__init__(moved=dict(moved), duplicates=len(duplicates))


class LockTimeout(Unavailable):
    """The append waited too long for a row that another open transaction holds."""


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """One stored event. ``position`` and ``recorded_at`` are None until it is sequenced."""

    position: int | None
    recorded_at: datetime | None
    event_id: UUID
    stream: str
    version: int
    topic: str
    occurred_at: datetime
    appended_at: datetime
    command_id: UUID
    context: str
    postings: str
    payload: str


class LoadedEvent(msgspec.Struct, frozen=True, gc=False):
    """What is needed of a stored event to fold its stream, wherever it stands in the log."""

    event_id: UUID
    stream: str
    version: int
    topic: str
    occurred_at: datetime
    postings: str
    payload: str

    @classmethod
    def of(cls, row: StoredEvent) -> "LoadedEvent":
        """Return what is needed of an event that was read whole."""
        return cls(
            row.event_id,
            row.stream,
            row.version,
            row.topic,
            row.occurred_at,
            row.postings,
            row.payload,
        )


class StoredCommand(msgspec.Struct, frozen=True):
    """The record of a command that ran or was refused; ``appended_at`` is that of its batch."""

    key: str
    command_id: UUID
    fingerprint: bytes
    command: str
    refused: bool
    reply: str
    appended_at: datetime


class Head(msgspec.Struct, frozen=True):
    """The end of a book's log: ``size`` is the last position (0 when empty)."""

    size: int
    recorded_at: datetime | None


class ConstraintSet(msgspec.Struct, frozen=True):
    """
    What every entry of a book must keep to, and the generation of that set.

    ``accounts`` are those that carry constraints; ``closed_until`` is the end of the last closed
    period, before which no entry may be effective (None: no period is closed).
    """

    generation: int
    accounts: frozenset[str]
    closed_until: datetime | None = None


class CutRequest(msgspec.Struct, frozen=True):
    """
    What a change of the periods must know of the entries.

    ``before`` asks for the sums of those effective before it (None: no sums), ``none_before`` for
    the first of those effective before it (None: not asked).
    """

    before: datetime | None = None
    none_before: datetime | None = None


class EarlyEntry(msgspec.Struct, frozen=True):
    """An entry that is effective before an instant, and where it stands."""

    position: int
    stream: str
    occurred_at: datetime


class LedgerCut(msgspec.Struct, frozen=True):
    """
    The entries of a book while no append is in flight.

    Every committed event has a position, the last of which is ``position``. ``sums`` and ``early``
    answer the ``CutRequest``.
    """

    position: int
    sums: Sums
    early: EarlyEntry | None = None


class EventStore(Protocol):
    """
    One book's events in one database. Every method may be called from any thread.

    Raises Unavailable (and its kinds), StorageError or SchemaMismatch where the database fails;
    the driver's error is the cause.
    """

    @property
    def book(self) -> str: ...

    def append(self, batch: Batch, *, connection: object | None = None) -> Appended:
        """
        Write a batch in one transaction, sequencing it at once when the head is free.

        With ``connection`` (a psycopg or sqlite3 connection of the same database) it joins that
        open transaction behind a savepoint and never sequences. Raises AppendConflict (nothing
        written, the connection still usable), LockTimeout.
        """
        ...

    def constrain(
        self, account: str, build: Callable[[Mapping[tuple[str, str], int], int], Batch]
    ) -> Appended:
        """
        Change the set of constrained accounts while no append is in flight.

        Under a lock that excludes writers, calls ``build`` with the account's net balance per
        (layer, currency) over every committed event and the current generation, and appends the
        batch. If it has events, the generation rises by one and the account is in the set: a
        refusal, which has none, changes nothing.
        """
        ...

    def change_periods(
        self,
        request: CutRequest,
        build: Callable[[LedgerCut], tuple[Batch, datetime | None]],
    ) -> Appended:
        """
        Change the instant until which the books are closed, while no append is in flight.

        Gives every waiting event its position; then, under the lock that excludes writers, calls
        ``build`` with the entries as asked, and appends the batch that it returns. If that has
        events, the generation rises by one and ``closed_until`` becomes the instant returned beside
        it: a refusal, which has none, changes nothing. The sums are taken from the events, exact at
        any size: all but those appended meanwhile before the lock. Cost: one pass over the entries.
        """
        ...

    def constraints(self) -> ConstraintSet:
        """Return what every entry must keep to now."""
        ...

    def commands(
        self, key_hashes: Sequence[bytes], *, connection: object | None = None
    ) -> Mapping[bytes, StoredCommand]:
        """
        Return the records of the commands with these keys; absent ones are left out.

        With ``connection`` the read runs in the host's open transaction and sees what it wrote.
        """
        ...

    def command(self, command_id: UUID) -> StoredCommand | None:
        """
        Return the record of a command by its id, or None.

        Records are found by their keys: without one, this goes through all of them.
        """
        ...

    def refusals(self) -> Iterator[StoredCommand]:
        """
        Iterate over the records of refused commands, in no order of time, in constant memory.

        Goes through the refused ones of all the book. One that is written meanwhile may be told or
        not.
        """
        ...

    def load(
        self,
        streams: Mapping[str, int],
        *,
        limit: int | None = None,
        connection: object | None = None,
    ) -> Sequence[LoadedEvent]:
        """
        Return the events of the streams after the given versions, ordered by stream and version.

        With ``limit`` the first so many of each stream. With ``connection`` the read runs in the
        host's open transaction and sees what it wrote.
        """
        ...

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        """Iterate over one stream in version order, in constant memory, with positions."""
        ...

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """Return events in position order with ``after < position <= until``, at most ``limit``."""
        ...

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return the names of streams that start with a prefix, in order, after a name."""
        ...

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        """Return position and recorded_at of the events that are sequenced."""
        ...

    def head(self) -> Head:
        """Return the end of the log."""
        ...

    def sequence(self) -> int:
        """
        Give positions to committed events that wait for one; returns how many.

        An event of a long transaction may be left to the next call: call it until it returns 0.
        """
        ...

    def pending(self) -> int:
        """Return how many committed events wait for a position."""
        ...

    def archive_commands(self, before: datetime, *, limit: int = 10_000) -> int:
        """
        Move at most ``limit`` command records older than an instant out of the way of new ones.

        Random client keys make a large index slow to write; the archive is written in key order.
        No key becomes usable again. Returns how many moved; 0 where an engine has no need of it.
        """
        ...

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        """Return the leaf hashes of positions after + 1 onwards."""
        ...

    def tiles(self, level: int) -> Sequence[bytes]:
        """Return the complete tile roots of a level (1: 256 leaves, 2: 65,536, …) in order."""
        ...

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        ...
