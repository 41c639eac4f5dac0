"""
A log that never was: a book's log up to a position, with events left out, put in or replaced.

Nothing is copied: rows are read from the book as they are asked for, and changed on the way.
Whatever reads an event store reads this one. It proves nothing, and says so: its type is refused
wherever something is proved or handed out (``require_real``), its book has a name that no book can
have, and it has no Merkle tree.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NoReturn, Protocol
from uuid import UUID

import msgspec

from .as_of import LogAsOf, hidden
from .errors import InvalidInput
from .ports import EventStore, Head, StoredEvent

MARK: Final = "HYPOTHETICAL: this did not happen, and proves nothing"
"""What every output of a hypothesis begins with."""
_SUFFIX: Final = "?what-if"
"""Behind the name of a book; a question mark is outside the grammar of such names."""


class Hypothetical:
    """Base of every event store that holds what never happened."""


class Fork(EventStore, Protocol):
    """A hypothetical store that commands may continue: ``log``, and what was ``written`` to it."""

    @property
    def log(self) -> LogAsOf: ...

    @property
    def written(self) -> Sequence[StoredEvent]:
        """What was appended, in log order."""
        ...


def hypothetical_name(book: str) -> str:
    """Return the name under which a hypothesis about a book goes."""
    return book if book.endswith(_SUFFIX) else book + _SUFFIX


def is_hypothetical(store: EventStore) -> bool:
    """Tell whether a store holds what never happened, or looks at one that does."""
    while not isinstance(store, Hypothetical):
        if not isinstance(store, LogAsOf):
            return False
        store = store.source
    return True


def require_real(store: EventStore, what: str) -> None:
    """Raise InvalidInput where a hypothesis would be handed out as ``what``, such as a proof."""
    if is_hypothetical(store):
        raise InvalidInput(
            f"{what} cannot be made of {store.book}: it is hypothetical, and only what happened "
            "can be proved",
            book=store.book,
        )


class Edits(msgspec.Struct, frozen=True):
    """
    What a hypothesis changes in a log, by positions of the log as it is.

    ``omitted`` leave their place empty. ``replaced`` rows keep the place, stream and version of
    what they replace. ``injected`` rows stand behind the event at their ``position`` (0: before the
    first), in the order given; their ``version`` is not looked at, for it follows from their place.
    """

    omitted: frozenset[int] = frozenset()
    replaced: Mapping[int, StoredEvent] = {}
    injected: tuple[StoredEvent, ...] = ()

    @property
    def first(self) -> int | None:
        """The first position at which the log is another; None if nothing is edited."""
        behind = [(one.position or 0) + 1 for one in self.injected]
        return min([*self.omitted, *self.replaced, *behind], default=None)


class _Versions:
    """How the versions of one stream move: those left out, and those behind which one is put in."""

    def __init__(self) -> None:
        self.omitted: Final[list[int]] = []
        self.injected: Final[list[int]] = []

    def of(self, version: int) -> int:
        """Return the version that an event of the log has here."""
        omitted = bisect_left(self.omitted, version)
        return version - omitted + bisect_left(self.injected, version)

    def add(self, behind: int) -> int:
        """Put an event behind a version, and behind those put there before; return its version."""
        self.injected.append(behind)
        return behind - bisect_right(self.omitted, behind) + len(self.injected)


class EditedLog(LogAsOf, Hypothetical):
    """
    A log with edits; read-only, and it never grows.

    Positions behind an injected event are one higher than in the log; what is omitted keeps its
    place as a row of the topic HIDDEN. Versions of a stream have no gaps. An injected event has the
    ``recorded_at`` of the one before it. Memory: the edits, and the versions of the streams that
    have some.
    """

    def __init__(self, log: LogAsOf, edits: Edits) -> None:
        super().__init__(
            log,
            msgspec.structs.replace(log.point, position=log.point.position + len(edits.injected)),
        )
        self._log: Final = log
        self._edits: Final = edits
        self._first: Final = edits.first or self.point.position + 1
        self._versions: Final[dict[str, _Versions]] = {}
        self._injected: Final[dict[int, StoredEvent]] = {}
        self._behind: Final = sorted([one.position or 0 for one in edits.injected])
        self._omit()
        self._inject()
        self._places: Final = list(self._injected)

    def _omit(self) -> None:
        for position in sorted(self._edits.omitted):
            (row,) = self._log.read(position - 1, until=position, limit=1)
            self._versions.setdefault(row.stream, _Versions()).omitted.append(row.version)

    def _inject(self) -> None:
        ordered = sorted(self._edits.injected, key=lambda one: one.position or 0)
        for number, row in enumerate(ordered, 1):
            behind = row.position or 0
            versions = self._versions.setdefault(row.stream, _Versions())
            last = 0
            for before in self._log.stream(row.stream):
                if (before.position or 0) > behind:
                    break
                last = before.version
            place, version = behind + number, versions.add(last)
            self._injected[place] = msgspec.structs.replace(row, position=place, version=version)

    @property
    def book(self) -> str:
        return hypothetical_name(self._log.book)

    def place_of(self, position: int) -> int:
        """Return the position that an event of the log has here."""
        return position + bisect_left(self._behind, position)

    @property
    def injected(self) -> Sequence[StoredEvent]:
        """The rows that were put in, with their places and versions here."""
        return tuple(self._injected.values())

    def _edited(self, row: StoredEvent) -> StoredEvent:
        position = row.position or 0
        if position < self._first:
            return row
        place = self.place_of(position)
        if position in self._edits.omitted:
            return hidden(msgspec.structs.replace(row, position=place))
        versions = self._versions.get(row.stream)
        version = versions.of(row.version) if versions else row.version
        row = self._edits.replaced.get(position, row)
        return msgspec.structs.replace(row, position=place, version=version)

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        if stream not in self._versions:
            for row in self._log.stream(stream, after=after, until=until):
                yield self._edited(row)
            return
        omitted = self._edits.omitted
        kept = (
            self._edited(row) for row in self._log.stream(stream) if row.position not in omitted
        )
        put_in = [row for row in self._injected.values() if row.stream == stream]
        for row in heapq.merge(kept, put_in, key=lambda row: row.version):
            if row.version > after and (until is None or row.version <= until):
                yield row

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        size = self.point.position
        last = min(size if until is None else min(until, size), after + limit)
        if after >= last:
            return ()
        before = bisect_right(self._places, after)
        within = bisect_right(self._places, last) - before
        first, count = after - before, last - after - within
        rows = iter(self._log.read(first, until=first + count, limit=count) if count else ())
        found: list[StoredEvent] = []
        for place in range(after + 1, last + 1):
            row = self._injected.get(place)
            if row is None:
                of_log = next(rows, None)
                if of_log is None:
                    break
                row = self._edited(of_log)
            found.append(row)
        return found

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        new = {row.stream for row in self._injected.values()}
        found = {name for name in new if name.startswith(prefix) and name > after}
        kept = 0
        while kept < limit:
            page = self._log.streams(prefix, after=after, limit=limit)
            remaining = [name for name in page if next(self.stream(name), None) is not None]
            found.update(remaining)
            kept += len(remaining)
            if len(page) < limit:
                break
            after = page[-1]
        return sorted(found)[:limit]

    def head(self) -> Head:
        size = self.point.position
        rows = self.read(size - 1, until=size, limit=1) if size else ()
        return Head(size, rows[0].recorded_at if rows else None)

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        found = {
            key: (self.place_of(position), recorded_at)
            for key, (position, recorded_at) in self._log.positions(event_ids).items()
            if position not in self._edits.omitted
        }
        for row in self._injected.values():
            if row.event_id in event_ids and row.recorded_at is not None:
                found[row.event_id] = (row.position or 0, row.recorded_at)
        return found

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        """Return what tells this log from others at a position; behind an edit it is no leaf."""
        count = max(0, min(limit, self._first - 1 - after))
        found = list(self._log.leaf_hashes(after, count)) if count else []
        edited = self.read(after + count, limit=limit - count) if limit > count else ()
        return [*found, *[mark_of(row) for row in edited]]

    def tiles(self, level: int) -> NoReturn:
        raise without_tree(self.book)


def mark_of(row: StoredEvent) -> bytes:
    """Return what stands for the leaf hash of a hypothetical row: a hash of another domain."""
    return sha256(b"\x02" + msgspec.json.encode(row)).digest()


def without_tree(book: str) -> InvalidInput:
    """Return the error of whoever asks for the Merkle tree of a hypothesis."""
    return InvalidInput(f"{book} is hypothetical: it has no Merkle tree to prove it", book=book)
