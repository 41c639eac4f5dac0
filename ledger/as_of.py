"""
A book as it was: at a position of its log, at a time by which things were recorded, or further
narrowed to what had happened by a time.

The two clocks are those of every balance: ``recorded_to`` asks what was known, ``effective_to``
what had happened. What was recorded later never changes an answer about earlier knowledge.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NoReturn
from uuid import UUID

import msgspec

from .errors import InvalidInput
from .following import missing_position
from .instants import in_utc
from .merkle import TILE
from .ports import (
    Batch,
    CutRequest,
    EventStore,
    Head,
    LedgerCut,
    LoadedEvent,
    StoredCommand,
    StoredEvent,
)

HIDDEN: Final = "hidden"
"""Topic of what stands in a log as it was for an event that is left out; never stored."""


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """
    An instant of a book's history.

    ``position`` or ``recorded_to`` say up to where the log is read, inclusive: by default to its
    head. ``effective_to`` leaves out what happened later, inclusive.
    """

    position: int | None = None
    recorded_to: datetime | None = None
    effective_to: datetime | None = None


NOW: Final = AsOf()


class Point(msgspec.Struct, frozen=True):
    """An instant found in the log: up to which position, and what had happened by when."""

    position: int
    effective_to: datetime | None = None

    def has(self, row: StoredEvent) -> bool:
        """Tell whether an event had been recorded, and had happened, by then."""
        if row.position is None or row.position > self.position:
            return False
        return self.effective_to is None or row.occurred_at <= self.effective_to


def locate(store: EventStore, as_of: AsOf) -> Point:
    """
    Return where an instant is in a book's log.

    Raises InvalidInput for a position below 0 or beyond the head, for a time before the book's
    first event, for an instant without a time zone, and for a position and a recorded time at once.
    """
    effective_to = as_of.effective_to
    if effective_to is not None:
        effective_to = in_utc(effective_to, "effective_to")
    head = store.head()
    if as_of.position is not None and as_of.recorded_to is not None:
        raise InvalidInput("give a position or a recorded time, not both")
    if as_of.position is not None:
        if not 0 <= as_of.position <= head.size:
            raise InvalidInput(
                f"position {as_of.position} is not in the log of book {store.book}, whose head is "
                f"at {head.size}",
                position=as_of.position,
                head=head.size,
            )
        return Point(as_of.position, effective_to)
    if as_of.recorded_to is None:
        return Point(head.size, effective_to)
    recorded_to = in_utc(as_of.recorded_to, "recorded_to")
    position = position_at(store, recorded_to)
    if position == 0:
        first = store.read(0, until=1, limit=1)
        begins = f"begins at {first[0].recorded_at}" if first else "has no events"
        raise InvalidInput(
            f"{recorded_to} is before the book: the log of {store.book} {begins}",
            recorded_to=recorded_to.isoformat(),
        )
    return Point(position, effective_to)


def position_at(events: EventStore, recorded_to: datetime) -> int:
    """
    Return the last position that was recorded at or before an instant; 0 if there is none.

    recorded_at increases with the position, so this halves the range: about log2(n) small reads.
    """
    head = events.head()
    if head.recorded_at is None or head.recorded_at <= recorded_to:
        return head.size
    low, high = 0, head.size
    while high - low > 1:
        middle = (low + high) // 2
        found = events.read(middle - 1, until=middle, limit=1)
        if not found or found[0].recorded_at is None:
            raise missing_position(events.book, middle)
        if found[0].recorded_at <= recorded_to:
            low = middle
        else:
            high = middle
    return low


class LogAsOf:
    """
    A book's event store as it was at a point of its log: read-only, and it never grows.

    Whatever reads an event store reads this one: folds, read models, verification. Positions,
    versions and hashes are those of the log. Where ``point`` leaves out what had not happened,
    ``stream`` passes it over, so that versions have gaps, and ``read`` gives a row of the topic
    HIDDEN in its place, so that positions have none.
    """

    def __init__(self, store: EventStore, point: Point) -> None:
        self._store: Final = store
        self.point: Final = point

    @property
    def book(self) -> str:
        return self._store.book

    @property
    def source(self) -> EventStore:
        """The store that this one looks at."""
        return self._store

    @property
    def has_gaps(self) -> bool:
        """Tell whether events may be left out of streams."""
        return self.point.effective_to is not None

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        for row in self._store.stream(stream, after=after, until=until):
            if row.position is None or row.position > self.point.position:
                return
            if self.point.has(row):
                yield row

    def load(
        self,
        streams: Mapping[str, int],
        *,
        limit: int | None = None,
        connection: object | None = None,
    ) -> Sequence[LoadedEvent]:
        del connection
        return loaded_of(self, streams, limit)

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        last = self.point.position if until is None else min(until, self.point.position)
        if after >= last:
            return ()
        rows = self._store.read(after, until=last, limit=limit)
        return [row if self.point.has(row) else hidden(row) for row in rows]

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        found: list[str] = []
        while len(found) < limit:
            page = self._store.streams(prefix, after=after, limit=limit)
            found += [name for name in page if next(self.stream(name), None) is not None]
            if len(page) < limit:
                break
            after = page[-1]
        return found[:limit]

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        found = self._store.positions(event_ids)
        return {key: place for key, place in found.items() if place[0] <= self.point.position}

    def head(self) -> Head:
        size = self.point.position
        if size == 0:
            return Head(0, None)
        rows = self._store.read(size - 1, until=size, limit=1)
        if not rows:
            raise missing_position(self.book, size)
        return Head(size, rows[0].recorded_at)

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        return self._store.leaf_hashes(after, max(0, min(limit, self.point.position - after)))

    def tiles(self, level: int) -> Sequence[bytes]:
        return self._store.tiles(level)[: self.point.position // TILE**level]

    def sequence(self) -> int:
        return 0

    def pending(self) -> int:
        return 0

    def constraints(self) -> NoReturn:
        raise _past(self)

    def commands(
        self, key_hashes: Sequence[bytes], *, connection: object | None = None
    ) -> Mapping[bytes, StoredCommand]:
        """
        Return the records of commands.

        A record is final and has no position: those of later commands are told too. Who must not
        see them looks at their instants, and at the positions of their events.
        """
        del connection
        return self._store.commands(key_hashes)

    def command(self, command_id: UUID) -> StoredCommand | None:
        """Return the record of a command by its id; see ``commands``."""
        return self._store.command(command_id)

    def refusals(self) -> Iterator[StoredCommand]:
        """Iterate over the records of refused commands; see ``commands``."""
        return self._store.refusals()

    def append(self, batch: Batch, *, connection: object | None = None) -> NoReturn:
        raise _past(self)

    def constrain(
        self, account: str, build: Callable[[Mapping[tuple[str, str], int], int], Batch]
    ) -> NoReturn:
        raise _past(self)

    def change_periods(
        self, request: CutRequest, build: Callable[[LedgerCut], tuple[Batch, datetime | None]]
    ) -> NoReturn:
        raise _past(self)

    def archive_commands(self, before: datetime, *, limit: int = 10_000) -> NoReturn:
        raise _past(self)

    def close(self) -> None:
        """Release nothing: the store belongs to its owner."""


def hidden(row: StoredEvent) -> StoredEvent:
    """Return what stands for an event that is left out: its place, and nothing of it."""
    return msgspec.structs.replace(row, stream=HIDDEN, topic=HIDDEN, postings="", payload="{}")


def loaded_of(
    log: EventStore, streams: Mapping[str, int], limit: int | None
) -> Sequence[LoadedEvent]:
    """Return what ``EventStore.load`` does, of a log that has its streams one by one only."""
    return [
        LoadedEvent.of(row)
        for name in sorted(streams)
        for row in itertools.islice(log.stream(name, after=streams[name]), limit)
    ]


def _past(log: LogAsOf) -> InvalidInput:
    return InvalidInput(
        f"book {log.book} as of position {log.point.position} can only be read: commands act on "
        "the book as it is now",
        position=log.point.position,
    )
