"""A fork of a book: a log read from the book, continued in memory and nowhere else."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final, NoReturn
from uuid import UUID

from ..as_of import LogAsOf, loaded_of
from ..codec import decode_event
from ..folds import fold_of
from ..hypothetical import Hypothetical, hypothetical_name, mark_of, without_tree
from ..ports import ConstraintSet, LoadedEvent, StoredEvent
from ..streams import PERIODS, id_of
from .memory import MemoryStore, refuse_joining

_PAGE: Final = 1_000
_CONSTRAINED: Final = "account-"


class ForkStore(MemoryStore, Hypothetical):
    """
    A log that commands may continue without anybody noticing: reads fall through to it, what is
    written stays here.

    ``log`` does not change while this lives. Keys of the book's commands mean nothing here, for
    what was done under them may not have happened. What entries must keep to (constrained accounts,
    closed periods) is what the log says.
    """

    def __init__(self, log: LogAsOf, *, clock: Callable[[], datetime]) -> None:
        super().__init__(hypothetical_name(log.book), clock=clock, continues=log.head())
        self.log: Final = log
        self._constraints = _constraints_of(log)

    @property
    def written(self) -> Sequence[StoredEvent]:
        """What was appended here, in log order."""
        return tuple(self._log)

    def load(
        self,
        streams: Mapping[str, int],
        *,
        limit: int | None = None,
        connection: object | None = None,
    ) -> Sequence[LoadedEvent]:
        refuse_joining(connection)
        return loaded_of(self, streams, limit)

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        return chain(
            self.log.stream(stream, after=after, until=until),
            super().stream(stream, after=after, until=until),
        )

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        size = self._before.size
        found = list(self.log.read(after, until=until, limit=limit))
        own = max(0, after - size)
        if len(found) < limit and (until is None or until > size):
            last = None if until is None else until - size
            found += super().read(own, until=last, limit=limit - len(found))
        return found

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        of_log = self.log.streams(prefix, after=after, limit=limit)
        own = super().streams(prefix, after=after, limit=limit)
        return list(dict.fromkeys(heapq.merge(of_log, own)))[:limit]

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        return {**self.log.positions(event_ids), **super().positions(event_ids)}

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        """Return what tells this log from others at a position; what was appended has no leaf."""
        found = list(self.log.leaf_hashes(after, limit))
        own = max(0, after - self._before.size)
        return [*found, *super().leaf_hashes(own, limit - len(found))]

    def tiles(self, level: int) -> NoReturn:
        raise without_tree(self.book)

    def _version(self, stream: str) -> int | None:
        own = super()._version(stream)
        if own is not None:
            return own
        version: int | None = None
        for row in self.log.stream(stream):
            version = row.version
        return version

    def _leaf(self, row: StoredEvent, position: int, recorded_at: datetime) -> bytes:
        del position, recorded_at
        return mark_of(row)

    def _grow(self, size: int) -> None:
        """Nothing: there is no tree."""

    def _events(self) -> Iterable[StoredEvent]:
        position = 0
        while page := self.read(position, limit=_PAGE):
            yield from page
            position += len(page)


def _constraints_of(log: LogAsOf) -> ConstraintSet:
    accounts: set[str] = set()
    after = ""
    while page := log.streams(_CONSTRAINED, after=after, limit=_PAGE):
        accounts.update([id_of(name) for name in page])
        after = page[-1]
    fold = fold_of(PERIODS)
    state = fold.initial
    for row in log.stream(PERIODS):
        state = fold.apply(state, decode_event(row.topic, row.payload))
    return ConstraintSet(0, frozenset(accounts), state.closed_until)
