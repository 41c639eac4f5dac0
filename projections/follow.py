"""
A generation of a read model following the log: batch by batch, rows and checkpoint together.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime
from typing import Any, Final

import msgspec

from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import CheckpointDiverged, IntegrityViolation
from orderledger.ledger.events import Event
from orderledger.ledger.folds import fold_of
from orderledger.ledger.ids import utc_now
from orderledger.ledger.model_ports import Generation, Key, ModelStore, Parked, Row, Table
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.streams import kind_of

from .ahead import LogReader, Threads
from .base import read_gapless, require_same_log
from .batch import Known, Outcome, run
from .models import ReadModel

BATCH_EVENTS: Final = 5_000
"""Events per transaction: enough to amortise the commit, short enough to let writers in between."""
KNOWN_ROWS: Final = 50_000
"""Rows kept in memory between batches; beyond it those used longest ago are read again."""
KNOWN_STATES: Final = 20_000
"""Folded streams kept in memory between batches."""
SHORT_EVENTS: Final = 256
"""Streams of no more events by then are loaded many at once, longer ones each in pages."""


class Follower:
    """
    Moves one generation along the log. Any number of them may do so, in any process.

    Each batch is conditional on the checkpoint it started from: of several followers one writes
    it and the others begin again from what is there. Not to be shared between threads.

    With threads beside it a batch is written in one while the next is projected on the assumption
    that it will be: ``generation`` is what is known to be written, and a batch that was projected
    on one that was not is thrown away.
    """

    def __init__(
        self,
        events: EventStore,
        store: ModelStore,
        model: ReadModel,
        generation: Generation,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._events: Final = events
        self._reader = LogReader(events)
        self._writer: Executor | None = None
        self._store: Final = store
        self._model: Final = model
        self._clock: Final = clock
        self._known: Known = {}
        self.generation = generation
        self._assumed = generation
        self._writing: Future[bool] | None = None
        self._is_stale = False
        self._seen: Callable[[int, Outcome], None] | None = None
        self._parked: Final[dict[str, int]] = {}
        self._states: Final = _States(events, self._parked, frozenset(generation.skipped))
        self._read_parked()

    def use(self, threads: Threads | None) -> None:
        """Have threads read ahead and write behind from now on; None: none."""
        self._reader = threads.reader if threads else LogReader(self._events)
        self._writer = threads.writer if threads else None

    def watch(self, seen: Callable[[int, Outcome], None]) -> None:
        """Tell a function of each batch from now on: the position it reaches, what it changes."""
        self._seen = seen

    def catch_up(
        self,
        until: int | None = None,
        *,
        batch_events: int = BATCH_EVENTS,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """
        Project everything up to a position, or the head as it is now; return where it ended.

        Raises CheckpointDiverged where the checkpoint belongs to another log, and
        IntegrityViolation where the log lacks a position.
        """
        target = self._events.head().size if until is None else until
        self.verify()
        while self.generation.position < target:
            self.step(target, batch_events)
            if self._assumed.position >= target:
                self.settle()
            progress(self.generation.position)
        return self.generation.position

    def step(self, until: int, batch_events: int) -> None:
        """
        Project the next batch, up to a position at most, and have it written.

        With threads beside it, it may not be written when this returns: ``settle`` waits for it.
        """
        if self._is_stale:
            self._reload()
        before = self._assumed
        until = self._until(before.position, until)
        batch = self._reader.read(before.position, until, batch_events)
        try:
            after, outcome = self._project(before, batch)
        except _Overtaken:
            return
        if not self.settle():
            return
        parked = self._newly_parked(outcome)
        tables, changes = tuple(self._model.tables), outcome.changes()
        self._assumed = after
        self._parked.update({one.stream: one.position for one in parked})
        self._remember(outcome)
        if self._seen is not None:
            self._seen(after.position, outcome)

        def write() -> bool:
            return self._store.advance(before, after, tables, changes, parked)

        if self._writer is None:
            self._conclude(write)
        else:
            self._writing = self._writer.submit(write)

    def settle(self) -> bool:
        """
        Wait until the last batch is written.

        Returns False where another follower was faster: this one goes on from what that one wrote.
        """
        writing, self._writing = self._writing, None
        return True if writing is None else self._conclude(writing.result)

    def _conclude(self, written: Callable[[], bool]) -> bool:
        try:
            is_done = written()
        except BaseException:
            self._assumed = self.generation
            self._is_stale = True
            raise
        if is_done:
            self.generation = self._assumed
        else:
            self._reload()
        return is_done

    def _until(self, position: int, target: int) -> int:
        """
        End a batch before each skipped event.

        It is folded and touches no row. A row that was touched before it in the same batch would be
        derived with it, and in a batch of its own without it.
        """
        skipped = self.generation.skipped
        following = bisect_right(skipped, position + 1)
        return min(target, skipped[following] - 1) if following < len(skipped) else target

    def park_next(self, error: str) -> None:
        """
        Leave out the stream of the next event without projecting it: it ended its workers by force.

        The event itself is passed over like any event of a parked stream.
        """
        if self._is_stale:
            self._reload()
        position = self.generation.position
        (row,) = read_gapless(self._events, position, position + 1, 1)
        after = msgspec.structs.replace(
            self.generation,
            position=position + 1,
            leaf_hash=self._events.leaf_hashes(position, 1)[0],
        )
        parked = self._parked_at(row, error)
        tables = tuple(self._model.tables)
        if self._store.advance(self.generation, after, tables, {}, (parked,)):
            self.generation = self._assumed = after
            self._parked[row.stream] = position + 1
            self._states.forget()
        else:
            self._reload()

    def verify(self) -> None:
        """
        Refuse a checkpoint that is not one of this log.

        Raises CheckpointDiverged when it is beyond the head or has another leaf hash.
        """
        name = self.generation.model
        require_same_log(self._events, f"read model {name}", name, self.generation)

    def _project(
        self, before: Generation, batch: Sequence[StoredEvent]
    ) -> tuple[Generation, Outcome]:
        reached = before.position + len(batch)
        self._states.prepare(batch, self._model.folds)
        # Beside a thread that writes, rows are there only once it has: they are asked for in bulk.
        is_at_hand = self._store.is_at_hand and self._writer is None
        source = _Source(self._store, before, self._states, self._require_written, is_at_hand)
        outcome = run(self._model, batch, self._known, source, self._parked)
        after = msgspec.structs.replace(
            before,
            position=reached,
            leaf_hash=self._events.leaf_hashes(reached - 1, 1)[0],
            digest=outcome.digest(before.digest),
        )
        return after, outcome

    def _require_written(self) -> None:
        """Before rows are read: they must be those of the batch before."""
        if not self.settle():
            raise _Overtaken

    def _newly_parked(self, outcome: Outcome) -> list[Parked]:
        return [
            self._parked_at(failure.row, f"{type(failure.error).__name__}: {failure.error}")
            for failure in outcome.failures
        ]

    def _parked_at(self, row: StoredEvent, error: str) -> Parked:
        return Parked(
            model=self.generation.model,
            number=self.generation.number,
            stream=row.stream,
            position=row.position or 0,
            topic=row.topic,
            error=error,
            parked_at=self._clock(),
        )

    def _remember(self, outcome: Outcome) -> None:
        for place, row in outcome.after.items():
            # At the end again: what was used longest ago stands first.
            self._known.pop(place, None)
            self._known[place] = row
        if len(self._known) > KNOWN_ROWS:
            for place in list(self._known)[: len(self._known) - KNOWN_ROWS // 2]:
                del self._known[place]
        self._states.keep()

    @property
    def assumed(self) -> int:
        """The position up to which batches are projected, written or not yet."""
        return self._assumed.position

    @property
    def parked(self) -> Mapping[str, int]:
        """The streams that the generation leaves out, each from a position on."""
        return self._parked

    def _read_parked(self) -> None:
        self._parked.clear()
        for one in self._store.parked(self.generation):
            self._parked[one.stream] = one.position

    def _reload(self) -> None:
        """Begin again from what is written."""
        self._known = {}
        self._states.forget()
        for found in self._store.generations(self.generation.model):
            if found.number == self.generation.number:
                self.generation = self._assumed = found
                self._is_stale = False
                self._read_parked()
                self.verify()
                return
        raise CheckpointDiverged(
            f"generation {self.generation.number} of read model {self.generation.model} was "
            "dropped while it was being filled",
            projection=self.generation.model,
            generation=self.generation.number,
        )


class _Overtaken(Exception):  # no error: the batch is projected again
    """Another follower wrote the batch before."""


class _States:
    """
    Folded streams as of the end of the last batch, and of the one at hand.

    A parked stream stays as it was before the event that it was parked for. A skipped event that
    cannot be folded leaves the state as it was, and those after it are folded on top.
    """

    def __init__(
        self, events: EventStore, parked: Mapping[str, int], skipped: frozenset[int | None]
    ) -> None:
        self._events: Final = events
        # As of what had happened, streams lack what had not.
        self._has_gaps: Final = isinstance(events, LogAsOf) and events.has_gaps
        self._whole: Final = events.source if isinstance(events, LogAsOf) else events
        self._parked: Final = parked
        self.skipped: Final[frozenset[int | None]] = skipped
        self._undo: tuple[str, tuple[int, Any] | None] = ("", None)
        self._kept: dict[str, tuple[int, Any]] = {}
        self._now: dict[str, tuple[int, Any]] = {}

    def prepare(self, batch: Sequence[StoredEvent], kinds: frozenset[str]) -> None:
        """Fold what stands before the batch of its streams, where it is not in memory."""
        begun: set[str] = set()
        short: dict[str, int] = {}
        for row in batch:
            if row.stream in begun or row.stream in self._kept:
                continue
            begun.add(row.stream)
            if row.version > 1 and kind_of(row.stream) in kinds:
                is_short = row.version <= SHORT_EVENTS and row.stream not in self._parked
                if is_short and not self.skipped and not self._has_gaps:
                    short[row.stream] = row.version
                else:
                    self._load(row.stream, (batch[0].position or 0) - 1)
        self._load_short(short)

    def _load_short(self, versions: Mapping[str, int]) -> None:
        """Fold streams up to before a version each, many in one query."""
        for streams in _groups(versions):
            states = {stream: (0, fold_of(stream).initial) for stream in streams}
            limit = versions[streams[-1]] - 1
            for row in self._whole.load(dict.fromkeys(streams, 0), limit=limit):
                # What stands before an event in its stream stands before it in the log.
                if row.version < versions[row.stream]:
                    _, state = states[row.stream]
                    event = decode_event(row.topic, row.payload)
                    states[row.stream] = (row.version, fold_of(row.stream).apply(state, event))
            self._kept.update(states)

    def rewind(self) -> None:
        self._now = {}

    def step(self, row: StoredEvent, event: Event) -> None:
        self._undo = (row.stream, self._now.get(row.stream))
        version, state = self._find(row.stream)
        if row.version != version + 1 and not (self._has_gaps and row.version > version):
            raise IntegrityViolation(
                f"stream {row.stream} has version {row.version} after {version}",
                stream=row.stream,
                version=row.version,
            )
        self._now[row.stream] = (row.version, fold_of(row.stream).apply(state, event))

    def pass_over(self, row: StoredEvent) -> None:
        self._now[row.stream] = _passed(self._find(row.stream)[1], row)

    def undo(self, stream: str) -> None:
        stepped, before = self._undo
        if stepped == stream:
            if before is None:
                self._now.pop(stream, None)
            else:
                self._now[stream] = before

    def at(self, stream: str, before: int) -> Any:
        """Return a stream's state now, read up to a position if it is not in memory."""
        found = self._now.get(stream) or self._kept.get(stream)
        if found is None:
            found = self._load(stream, before)
        return found[1]

    def keep(self) -> None:
        for stream, found in self._now.items():
            self._kept.pop(stream, None)
            self._kept[stream] = found
        self._now = {}
        if len(self._kept) > KNOWN_STATES:
            for stream in list(self._kept)[: len(self._kept) - KNOWN_STATES // 2]:
                del self._kept[stream]

    def forget(self) -> None:
        self._kept, self._now = {}, {}

    def _find(self, stream: str) -> tuple[int, Any]:
        return self._now.get(stream) or self._kept.get(stream) or (0, fold_of(stream).initial)

    def _load(self, stream: str, until: int) -> tuple[int, Any]:
        """Fold a stream's events up to a position."""
        fold = fold_of(stream)
        found = (0, fold.initial)
        if stream in self._parked:
            until = min(until, self._parked[stream] - 1)
        for row in self._events.stream(stream):
            if row.position is None or row.position > until:
                break
            if row.position in self.skipped:
                found = _passed(found[1], row)
                continue
            found = (row.version, fold.apply(found[1], decode_event(row.topic, row.payload)))
        self._kept[stream] = found
        return found


def _groups(versions: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Share streams out, the shortest first, so that no group has too many events to read."""
    group: list[str] = []
    for stream in sorted(versions, key=versions.__getitem__):
        if group and (len(group) + 1) * versions[stream] > BATCH_EVENTS:
            yield group
            group = []
        group.append(stream)
    if group:
        yield group


def _passed(state: Any, row: StoredEvent) -> tuple[int, Any]:
    """Return a stream after a skipped event: folded where that is possible."""
    try:
        event = decode_event(row.topic, row.payload)
        return (row.version, fold_of(row.stream).apply(state, event))
    except MemoryError:
        # No fault of the event: tried again it may be folded, and the rows must not depend on that.
        raise
    except Exception:  # noqa: BLE001  # somebody acknowledged that it is left out
        return (row.version, state)


class _Source:
    """What a batch reads beside its events."""

    def __init__(
        self,
        store: ModelStore,
        generation: Generation,
        states: _States,
        require_written: Callable[[], None],
        is_at_hand: bool,
    ) -> None:
        self.is_at_hand: Final = is_at_hand
        self._store: Final = store
        self._generation: Final = generation
        self._states: Final = states
        self._require_written: Final = require_written
        self.rewind: Final = states.rewind
        self.step: Final = states.step
        self.undo: Final = states.undo
        self.pass_over: Final = states.pass_over
        self.skipped: Final = states.skipped

    def fetch(self, table: Table, keys: Sequence[Key]) -> "dict[Key, Row]":
        self._require_written()
        return dict(self._store.fetch(self._generation, table, keys))

    def state(self, stream: str) -> Any:
        # A stream without an event in this batch and not in memory: nothing of it is later than
        # where the batch begins, or the batch would have it.
        return self._states.at(stream, self._generation.position)
