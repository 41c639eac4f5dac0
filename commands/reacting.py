"""
Following the log with reactors: effects and checkpoint together, in one transaction.

An event at which a reactor fails does not hold up the others: it becomes work of the outbox itself,
which is tried again and ends as a dead letter that names the event.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec

from orderledger.ledger.codec import decode_event, encode_json
from orderledger.ledger.errors import CheckpointDiverged, NotFound, OrderLedgerError
from orderledger.ledger.events import current
from orderledger.ledger.folds import fold_of
from orderledger.ledger.following import is_of_log, read_gapless
from orderledger.ledger.ids import utc_now
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.work_ports import Lane, NewWork, ReactorCheckpoint, Work, WorkStore

from .decision import States
from .effects import REACTION, Origin, effect_key, outbox_work
from .reactors import Happened, Reactor
from .requests import Actor

BATCH_EVENTS: Final = 500
"""Events per transaction. A reactor looks at few of them."""
KNOWN_STATES: Final = 5_000
"""Folded streams kept in memory between batches."""
_FAILURE: Final = -1
"""The ordinal of an event at which a reactor failed; those of effects count from 0."""

_logger: Final = logging.getLogger("orderledger")


class LogStates:
    """Streams folded up to the event at hand, whatever the book has beyond it."""

    def __init__(self, store: EventStore) -> None:
        self._store: Final = store
        self._position = 0
        self._kept: dict[str, tuple[int, Any]] = {}

    def move(self, row: StoredEvent) -> None:
        """Go on to an event; every event of the log is given, or those of kept streams lack."""
        assert row.position is not None, "the log has positions"
        self._position = row.position
        found = self._kept.get(row.stream)
        if found is None:
            return
        del self._kept[row.stream]
        version, state = found
        # One that cannot be folded is read again where it is needed, and fails there.
        with suppress(OrderLedgerError):
            event = decode_event(row.topic, row.payload)
            if row.version == version + 1:
                self._kept[row.stream] = (row.version, fold_of(row.stream).apply(state, event))

    def __getitem__(self, stream: str) -> Any:
        found = self._kept.get(stream)
        if found is None:
            found = self._kept[stream] = self._folded(stream)
        return found[1]

    def forget(self, beyond: int = 0) -> None:
        """Forget what is kept, if that is more than a number of streams."""
        if len(self._kept) > beyond:
            self._kept = {}

    def _folded(self, stream: str) -> tuple[int, Any]:
        fold = fold_of(stream)
        version, state = 0, fold.initial
        for row in self._store.stream(stream):
            if row.position is None or row.position > self._position:
                break
            state = fold.apply(state, decode_event(row.topic, row.payload))
            version = row.version
        return (version, state)


class AtWork(msgspec.Struct, frozen=True):
    """The event at hand, and since when its reactor is about it (monotonic seconds)."""

    position: int
    since: float


class ReactorRunner:
    """
    Follows the log of a book with one reactor. Any number of runners may, in any process.

    Each batch is conditional on the checkpoint it started from: of several runners one writes it
    and the others go on from there. A reactor without a checkpoint begins at the head of the log
    as it is then: what was before calls for nothing, unless ``start`` says from where.
    """

    def __init__(
        self,
        store: EventStore,
        work: WorkStore,
        reactor: Reactor,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store: Final = store
        self._work: Final = work
        self.reactor: Final = reactor
        self._clock: Final = clock
        self._states: Final = LogStates(store)
        self._at: ReactorCheckpoint | None = None
        self._actor: Final = Actor("reactor", reactor.name)
        self.at_work: AtWork | None = None
        """The event at hand, for whoever watches from another thread."""

    def start(self, after: int | None = None) -> ReactorCheckpoint:
        """
        Begin after a position, by default the head as it is now; return where the reactor is.

        A reactor that has begun already stays where it is. Raises NotFound for a position that the
        log does not have.
        """
        known = self._work.reactors().get(self.reactor.name)
        if known is not None:
            return known
        position = self._store.head().size if after is None else after
        checkpoint = ReactorCheckpoint(
            reactor=self.reactor.name,
            position=position,
            leaf_hash=_leaf(self._store, position),
            started_at_position=position,
            moved_at=self._clock(),
        )
        return self._work.start_reactor(checkpoint)

    def run_once(self, limit: int = BATCH_EVENTS) -> int:
        """
        React to the next events, at most ``limit``; return how many.

        Raises CheckpointDiverged where the checkpoint belongs to another log, and
        IntegrityViolation where the log lacks a position.
        """
        before = self.start()
        if before != self._at:
            # Another runner went on meanwhile, or this one begins.
            self._states.forget()
        head = self._store.head().size
        _require_same_log(self._store, before)
        if before.position >= head:
            self._at = before
            return 0
        rows = read_gapless(self._store, before.position, head, limit)
        effects = [one for row in rows for one in self._react(row)]
        position = before.position + len(rows)
        after = msgspec.structs.replace(
            before,
            position=position,
            leaf_hash=_leaf(self._store, position),
            moved_at=self._clock(),
        )
        is_written = self._work.advance_reactor(before, after, effects)
        self._at = after if is_written else None
        self._states.forget(KNOWN_STATES)
        return len(rows)

    def drain(self) -> int:
        """React to everything up to the head; return to how many events."""
        count = 0
        while seen := self.run_once():
            count += seen
        return count

    def react_again(self, work: Work) -> None:
        """React to the event for which this reactor failed; raises what it raises."""
        position = msgspec.json.decode(work.payload, type=dict[str, int])["position"]
        (row,) = read_gapless(self._store, position - 1, position, 1)
        self._work.put(self.effects_at(row))

    def effects_at(self, row: StoredEvent) -> Sequence[NewWork]:
        """Return what an event of the log calls for, whatever was read; raises what it raises."""
        if current(row.topic) not in self.reactor.topics:
            return ()
        states = LogStates(self._store)
        states.move(row)
        return self._effects(row, states)

    def _react(self, row: StoredEvent) -> Sequence[NewWork]:
        self._states.move(row)
        if current(row.topic) not in self.reactor.topics:
            return ()
        assert row.position is not None, "the log has positions"
        self.at_work = AtWork(row.position, time.monotonic())
        try:
            return self._effects(row, self._states)
        except Exception as error:  # whatever it is, it is this event's
            _logger.exception("reactor %s failed at position %s", self.reactor.name, row.position)
            return (self._failure(row, error),)
        finally:
            self.at_work = None

    def _effects(self, row: StoredEvent, states: LogStates) -> Sequence[NewWork]:
        assert row.position is not None, "the log has positions"
        assert row.recorded_at is not None, "the log has instants"
        happened = Happened(
            row.position,
            row.recorded_at,
            row.occurred_at,
            row.stream,
            row.version,
            current(row.topic),
            decode_event(row.topic, row.payload),
            row.context,
        )
        found = self.reactor.react(happened, States(states))
        return [
            outbox_work(
                effect,
                effect_key(self._store.book, self.reactor.name, row.position, ordinal),
                self._origin(row, ordinal),
                self._actor,
                self._clock(),
            )
            for ordinal, effect in enumerate(found)
        ]

    def _failure(self, row: StoredEvent, error: Exception) -> NewWork:
        assert row.position is not None, "the log has positions"
        now = self._clock()
        return NewWork(
            lane=Lane.OUTBOX,
            key=effect_key(self._store.book, self.reactor.name, row.position, _FAILURE),
            kind=f"{REACTION}:{self.reactor.name}",
            payload=encode_json({"position": row.position}),
            origin=encode_json(self._origin(row, _FAILURE)),
            streams=(row.stream,),
            created_at=now,
            due_at=now,
        )

    def _origin(self, row: StoredEvent, ordinal: int) -> Origin:
        return Origin(
            reactor=self.reactor.name,
            position=row.position or 0,
            ordinal=ordinal,
            stream=row.stream,
        )


def reactions(runners: Mapping[str, ReactorRunner]) -> Callable[[Work], None]:
    """Return what performs work that a reactor failed at, by the name of the reactor."""

    def react_again(work: Work) -> None:
        name = work.kind.removeprefix(f"{REACTION}:")
        if name not in runners:
            raise NotFound(f"reactor {name} does not run here", reactor=name)
        runners[name].react_again(work)

    return react_again


def _leaf(store: EventStore, position: int) -> bytes:
    if position == 0:
        return b""
    found = store.leaf_hashes(position - 1, 1)
    if not found:
        raise NotFound(
            f"book {store.book} has no position {position}; its head is {store.head().size}",
            position=position,
        )
    return bytes(found[0])


def _require_same_log(store: EventStore, checkpoint: ReactorCheckpoint) -> None:
    if not is_of_log(store, checkpoint):
        raise CheckpointDiverged(
            f"reactor {checkpoint.reactor} has read another history up to position "
            f"{checkpoint.position} than the log of book {store.book} has: it lost its end or is "
            "another one; verify the book before anything acts on it",
            reactor=checkpoint.reactor,
            position=checkpoint.position,
        )
