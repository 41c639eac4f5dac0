"""
The folded states of streams, cached between commands and read again when they moved.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID

from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import CorruptEvent, UnknownTopic
from orderledger.ledger.events import Event
from orderledger.ledger.folds import fold_of
from orderledger.ledger.ports import EventStore, LoadedEvent
from orderledger.ledger.snapshot_ports import StateSnapshots

from .deciding import Versioned

CACHE_STREAMS: Final = 50_000
"""Folded streams kept in memory; the half that was written longest ago is dropped when full."""
FIRST_EVENTS: Final = 256
"""
Events of a stream that are read before a snapshot of it is asked for.

That is another query at least, which takes longer than to fold as many: a stream that is not longer
is there in one.
"""
PAGE_EVENTS: Final = 5_000
"""Events of a stream that are read at once then: what a long one takes of memory."""


class StateCache:
    """
    Folded streams of one book.

    A cached state may be old, or assumed before its append came true: that is found out by the
    version check of the append, which is why a decision on it is never final before the append
    succeeded. Values are immutable and each operation is one dict operation, so threads may share
    it.

    A long stream is folded from its last snapshot on, where ``snapshots`` has one.
    """

    def __init__(
        self,
        store: EventStore,
        observe_id: Callable[[UUID], None],
        limit: int = CACHE_STREAMS,
        *,
        snapshots: StateSnapshots | None = None,
    ) -> None:
        self._store: Final = store
        self._snapshots: Final = snapshots
        self._limit: Final = limit
        self._observe_id: Final = observe_id
        self._folded: Final[dict[str, Versioned]] = {}
        self._assumed: Mapping[str, Versioned] = {}

    def assume(self, states: Mapping[str, Versioned]) -> None:
        """Let ``get`` return what an append is just writing; replaces the last assumption."""
        self._assumed = states

    def get(self, streams: Iterable[str], presumed_new: Iterable[str]) -> dict[str, Versioned]:
        """Return the states of streams: cached, presumed new, or loaded, in one query."""
        found: dict[str, Versioned] = {}
        missing: set[str] = set()
        assumed = self._assumed
        for stream in streams:
            cached = assumed.get(stream) or self._folded.get(stream)
            if cached is not None:
                found[stream] = cached
            else:
                missing.add(stream)
        for stream in presumed_new:
            if stream in missing:
                missing.remove(stream)
                found[stream] = Versioned(0, fold_of(stream).initial)
        if missing:
            found.update(self.load(missing))
        return found

    def load(
        self, streams: Iterable[str], *, connection: object | None = None
    ) -> dict[str, Versioned]:
        """Read and fold whole streams; what a host's transaction sees is not cached."""
        states = {stream: Versioned(0, fold_of(stream).initial) for stream in streams}
        long = self._read(states, FIRST_EVENTS, connection)
        states.update(self._saved(states, long))
        self._read_on(states, long, connection)
        if connection is None:
            self.remember({name: state for name, state in states.items() if state.version})
        return states

    def fresh(self, stream: str) -> Versioned:
        """Return the committed state of a stream, reading only what came after the cached one."""
        cached = self._folded.get(stream)
        if cached is None:
            return self.load((stream,))[stream]
        states = {stream: cached}
        self._read_on(states, (stream,), None)
        self.remember(states)
        return states[stream]

    def _read(
        self, states: dict[str, Versioned], limit: int, connection: object | None
    ) -> Sequence[str]:
        """Fold what comes next, at most ``limit`` events a stream; return which may have more."""
        versions = {stream: state.version for stream, state in states.items()}
        rows = self._store.load(versions, limit=limit, connection=connection)
        self._fold(states, rows)
        if len(rows) < limit:
            return ()
        counts = Counter([row.stream for row in rows])
        return [stream for stream, count in counts.items() if count == limit]

    def _read_on(
        self, states: dict[str, Versioned], streams: Sequence[str], connection: object | None
    ) -> None:
        while streams:
            following = {stream: states[stream] for stream in streams}
            streams = self._read(following, PAGE_EVENTS, connection)
            states.update(following)

    def _saved(
        self, states: Mapping[str, Versioned], streams: Sequence[str]
    ) -> dict[str, Versioned]:
        """Return the states of streams that snapshots have further on."""
        if self._snapshots is None or not streams:
            return {}
        saved: dict[str, Versioned] = {}
        for stream, found in self._snapshots.nearest(streams).items():
            if found.version > states[stream].version:
                saved[stream] = Versioned(found.version, found.state)
                # As if the events had been read: ids of a stream grow with its versions.
                self._observe_id(found.event_id)
        return saved

    def remember(self, states: Mapping[str, Versioned]) -> None:
        """Keep states that were committed."""
        self._folded.update(states)
        if len(self._folded) > self._limit:
            for stream in list(self._folded)[: self._limit // 2]:
                self._folded.pop(stream, None)

    def forget(self, streams: Iterable[str]) -> None:
        """Drop states that turned out to be old."""
        for stream in streams:
            self._folded.pop(stream, None)

    def _fold(self, states: dict[str, Versioned], rows: Iterable[LoadedEvent]) -> None:
        for stream, of_stream in groupby(rows, attrgetter("stream")):
            states[stream] = self._folded_on(stream, states[stream], of_stream)

    def _folded_on(self, stream: str, before: Versioned, rows: Iterable[LoadedEvent]) -> Versioned:
        fold = fold_of(stream)
        version, state = before.version, before.state
        for row in rows:
            if row.version != version + 1:
                raise CorruptEvent(
                    f"stream {stream} has version {row.version} after {version}",
                    stream=stream,
                    version=row.version,
                    expected=version + 1,
                )
            version = row.version
            state = fold.apply(state, _decoded(row))
            self._observe_id(row.event_id)
        return Versioned(version, state)


def _decoded(row: LoadedEvent) -> Event:
    """Return the event of a row; a bad one is reported with its place."""
    try:
        return decode_event(row.topic, row.payload)
    except (UnknownTopic, CorruptEvent) as error:
        raise type(error)(
            f"{error.message} (stream {row.stream}, version {row.version})",
            stream=row.stream,
            version=row.version,
            topic=row.topic,
        ) from error
