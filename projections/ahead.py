"""
Reading the log for several followers at once, ahead of them.

Followers that go along together read the same events: they are read once. While they project one
batch, a thread reads the next. Memory holds two batches.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import msgspec

from orderledger.ledger.ports import EventStore, StoredEvent

from .base import read_gapless


class LogReader:
    """Reads the log for one follower, batch by batch."""

    def __init__(self, events: EventStore) -> None:
        self._events: Final = events

    def read(self, position: int, until: int, limit: int) -> Sequence[StoredEvent]:
        """Return the next events, at least one; raises IntegrityViolation where one lacks."""
        return read_gapless(self._events, position, until, limit)


class ReadAhead(LogReader):
    """
    Reads up to a position for followers in one thread that go along together.

    One that asks for another batch than the others, or beyond that position, has it read for it.
    """

    def __init__(self, events: EventStore, until: int) -> None:
        super().__init__(events)
        self._until: Final = until
        self._thread: Final = ThreadPoolExecutor(1, "orderledger-read-ahead")
        self._last: tuple[int, Sequence[StoredEvent]] = (-1, ())
        self._next: tuple[int, int, Future[Sequence[StoredEvent]]] | None = None

    def read(self, position: int, until: int, limit: int) -> Sequence[StoredEvent]:
        if position >= self._until:
            return super().read(position, until, limit)
        if not self._last[0] <= position < self._last[0] + len(self._last[1]):
            self._last = (position, self._taken(position, limit))
            self._read_on(position + len(self._last[1]), limit)
        start, batch = self._last
        return batch[position - start : min(until, position + limit) - start]

    def _taken(self, position: int, limit: int) -> Sequence[StoredEvent]:
        ahead, self._next = self._next, None
        if ahead is not None and ahead[:2] == (position, limit):
            return ahead[2].result()
        return super().read(position, self._until, limit)

    def _read_on(self, position: int, limit: int) -> None:
        if position < self._until:
            following = self._thread.submit(super().read, position, self._until, limit)
            self._next = (position, limit, following)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()


class Threads(msgspec.Struct, frozen=True):
    """What works beside a follower: who reads ahead of it, and who writes behind it."""

    reader: LogReader
    writer: Executor
