"""
How the machinery of a book stands, part by part: what is red, and what to do about it.

From a handful of small reads: signs of life, depths of the lanes, checkpoints of the reactors, the
next deadline. Nothing here catches anything up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count, takewhile
from types import MappingProxyType
from typing import Final

import msgspec

from orderledger.commands.timers import timer_key
from orderledger.ledger.errors import OrderLedgerError, SchemaMismatch
from orderledger.ledger.ports import EventStore
from orderledger.ledger.work_ports import (
    Heartbeat,
    Lane,
    ReactorCheckpoint,
    WorkStatus,
    WorkStore,
)
from orderledger.projections.deadlines import DeadlineRow, Deadlines
from orderledger.projections.read_models import ReadModels

PROJECTIONS: Final = "projections"
REACTOR: Final = "reactor:"
SNAPSHOTS: Final = "snapshots"
WORKER: Final = "worker:"
"""Before the number of a worker: one process each, until it ends in order or is forgotten."""


class State(StrEnum):
    """
    How a part does. IDLE: never ran here, and nothing waits for it. The others but OK are red.

    OVERDUE: something has waited for too long. DEAD_LETTERS: something waits for a person. SILENT:
    no sign of life for too long. FAILING: its latest round failed.
    """

    OK = "ok"
    IDLE = "idle"
    OVERDUE = "overdue"
    DEAD_LETTERS = "dead letters"
    SILENT = "silent"
    FAILING = "failing"


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """
    From when on a part is red: without a sign of life, with something due that is not done.

    Nobody waits for snapshots of read models: they are red when one has been due for
    ``unsaved_after``, without a sign of life and without another one taken meanwhile. A worker
    that ended without saying so is shown until ``forgotten_after``; by then what it did is
    another's, or its parts are red.
    """

    silent_after: timedelta = timedelta(minutes=1)
    overdue_after: timedelta = timedelta(minutes=5)
    forgotten_after: timedelta = timedelta(minutes=15)
    unsaved_after: timedelta = timedelta(hours=1)


THRESHOLDS: Final = Thresholds()


ADVICE: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.OK: "",
        State.IDLE: "",
        State.OVERDUE: "is `orderledger work` running, with the ports and reactors of this book? "
        "If it is, look at its log",
        State.DEAD_LETTERS: "`orderledger {lane} list` shows them; mend the cause, then "
        "`orderledger {lane} redrive` or `discard`",
        State.SILENT: "start `orderledger work` again; what it had in hand is taken over",
        State.FAILING: "it is tried again by itself; mend what its problem says",
    }
)
SNAPSHOTS_ADVICE: Final = (
    "run `orderledger work --snapshots`, or `orderledger snapshot take --model all` on a schedule; "
    "until then books as they were are slower to read, and nothing else is"
)


class DueSnapshots(msgspec.Struct, frozen=True):
    """
    How many read models are due for a snapshot, of those that have one.

    ``since`` is when the first became so, or when one was last taken of any; None if none is due.
    """

    models: int = 0
    since: datetime | None = None


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    How one part of the machinery stands.

    ``last_seen_of`` is the worker that gave its latest sign of life: host, process and an id.
    ``lag`` is how many events or pieces of work it has before it, ``oldest_due_at`` since when the
    oldest of them waits. ``refused`` and ``dead`` count the work of its lane that the domain
    refused, and that failed too often.
    """

    part: str
    state: State
    last_seen_at: datetime | None = None
    last_seen_of: str = ""
    lag: int = 0
    oldest_due_at: datetime | None = None
    refused: int = 0
    dead: int = 0
    problem: str = ""
    advice: str = ""

    @property
    def is_red(self) -> bool:
        """Whether somebody should look."""
        return self.state not in (State.OK, State.IDLE)


class _Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured of a part, before it is judged."""

    part: str
    lane: Lane = Lane.OUTBOX
    lag: int = 0
    oldest_due_at: datetime | None = None
    refused: int = 0
    dead: int = 0
    is_begun: bool = False
    problem: str = ""


def parts_of(
    store: EventStore,
    work: WorkStore,
    models: ReadModels,
    due: Callable[[], DueSnapshots],
    now: datetime,
) -> tuple[PartStatus, ...]:
    """
    Return how each part stands: workers, read models, snapshots, reactors, timers, outbox, queue.

    ``due`` tells which snapshots are.
    """
    try:
        beats = {one.part: one for one in work.heartbeats()}
        measured = [_Measured(part=name) for name in sorted(_workers(beats, now, THRESHOLDS))]
        measured += [*_projections(store, models, beats), *_snapshots(beats, due)]
        measured += _reactors(store, work, beats)
        measured += [_lane(store, work, models, lane, now) for lane in Lane]
    except SchemaMismatch as error:
        # Of an earlier release: the rest of the status is still worth having.
        return (PartStatus(part="machinery", state=State.FAILING, problem=error.message),)
    return tuple([_judged(one, beats.get(one.part), now, THRESHOLDS) for one in measured])


def _workers(
    beats: Mapping[str, Heartbeat], now: datetime, thresholds: Thresholds
) -> Iterator[str]:
    """Name the workers that are there, or were lately and did not end in order."""
    for name, beat in beats.items():
        if name.startswith(WORKER) and not is_free(beat, now, thresholds):
            yield name


def is_free(beat: Heartbeat | None, now: datetime, thresholds: Thresholds = THRESHOLDS) -> bool:
    """Tell whether a worker's number is nobody's: never given, given back, or forgotten."""
    return beat is None or not beat.owner or now - beat.seen_at > thresholds.forgotten_after


def worker_name(heartbeats: Sequence[Heartbeat], owner: str, name: str, now: datetime) -> str:
    """
    Return the name under which a worker gives its signs of life: ``name`` if that is still its own,
    otherwise the first number that is free. Names are used again, so that there are few.
    """
    beats = {one.part: one for one in heartbeats}
    if name and name in beats and beats[name].owner == owner:
        return name
    numbers = (f"{WORKER}{number}" for number in count(1))
    return next(one for one in numbers if is_free(beats.get(one), now))


def _projections(
    store: EventStore, models: ReadModels, beats: Mapping[str, Heartbeat]
) -> Iterator[_Measured]:
    if PROJECTIONS not in beats:
        # Without a worker, read models catch up when they are read.
        yield _Measured(part=PROJECTIONS)
        return
    head = store.head().size
    behind = min(
        [one.position for name in models.names if (one := models.live(name)) is not None],
        default=head,
    )
    yield _Measured(
        part=PROJECTIONS,
        lag=max(0, head - behind),
        oldest_due_at=_recorded_at(store, behind),
        is_begun=True,
    )


def _snapshots(
    beats: Mapping[str, Heartbeat], due: Callable[[], DueSnapshots]
) -> Iterator[_Measured]:
    if SNAPSHOTS not in beats:
        # No worker was ever told to take them.
        return
    try:
        found = due()
        yield _Measured(part=SNAPSHOTS, lag=found.models, oldest_due_at=found.since, is_begun=True)
    except OrderLedgerError as error:
        yield _Measured(part=SNAPSHOTS, problem=f"they cannot be read: {error.message}")


def _reactors(
    store: EventStore, work: WorkStore, beats: Mapping[str, Heartbeat]
) -> Iterator[_Measured]:
    known = work.reactors()
    names = {part.removeprefix(REACTOR) for part in beats if part.startswith(REACTOR)}
    head = store.head().size
    for name in sorted(names | set(known)):
        yield _reactor(store, name, known.get(name), head)


def _reactor(store: EventStore, name: str, found: ReactorCheckpoint | None, head: int) -> _Measured:
    position = head if found is None else found.position
    return _Measured(
        part=f"{REACTOR}{name}",
        lag=max(0, head - position),
        oldest_due_at=_recorded_at(store, position),
        is_begun=found is not None,
    )


def _recorded_at(store: EventStore, after: int) -> datetime | None:
    """Return when the first event after a position was recorded, None at the head."""
    found = store.read(after, until=after + 1, limit=1)
    return found[0].recorded_at if found else None


def _lane(
    store: EventStore, work: WorkStore, models: ReadModels, lane: Lane, now: datetime
) -> _Measured:
    depth = work.depth(lane, now)
    oldest, lag, problem = depth.oldest_due_at, depth.due, ""
    if lane is Lane.TIMER:
        problem = _left_out(models)
        come = _come_deadline(models, work, now)
        if come is not None and (oldest is None or come < oldest):
            oldest, lag = come, max(1, lag)
    return _Measured(
        part=lane.value,
        lane=lane,
        lag=lag,
        oldest_due_at=oldest,
        refused=depth.refused,
        dead=depth.dead + (depth.refused if lane is Lane.TIMER else 0),
        is_begun=bool(depth.waiting or depth.refused or depth.dead),
        problem=problem,
    )


def _left_out(models: ReadModels) -> str:
    """Say so if deadlines may be missed: their rows are of another log, or lack streams."""
    found = models.status(Deadlines.name)
    if found.parked:
        return (
            f"the deadlines of {found.parked} streams are not known; see `orderledger projection "
            f"parked {Deadlines.name}`"
        )
    return found.problem or ""


def _come_deadline(models: ReadModels, work: WorkStore, now: datetime) -> datetime | None:
    """
    Return the earliest deadline that has come and is still open, as far as its rows are.

    One whose work was given up waits for nobody any more.
    """
    for row in takewhile(lambda row: row.due_at <= now, models.select(DeadlineRow)):
        found = work.find(Lane.TIMER, timer_key(row.stream, row.deadline_id))
        if found is None or found.status is not WorkStatus.DISCARDED:
            return row.due_at
    return None


def _judged(
    one: _Measured, beat: Heartbeat | None, now: datetime, thresholds: Thresholds
) -> PartStatus:
    state = _state(one, beat, now, thresholds)
    told = [one.problem] if beat is None else [beat.problem, one.problem]
    return PartStatus(
        part=one.part,
        state=state,
        last_seen_at=None if beat is None else beat.seen_at,
        last_seen_of="" if beat is None else beat.owner,
        lag=one.lag,
        oldest_due_at=one.oldest_due_at,
        refused=one.refused,
        dead=one.dead,
        problem="" if state is State.OK else "; ".join(filter(None, told)),
        advice=_advice(one, state),
    )


def _advice(one: _Measured, state: State) -> str:
    if (one.part, state) == (SNAPSHOTS, State.OVERDUE):
        return SNAPSHOTS_ADVICE
    return ADVICE[state].format(lane=one.lane.value)


def _state(one: _Measured, beat: Heartbeat | None, now: datetime, thresholds: Thresholds) -> State:
    """Return the state by precedence: what explains the others comes first."""
    if one.part == SNAPSHOTS and beat is not None:
        return _state_of_snapshots(one, beat, now, thresholds)
    is_overdue = (
        one.oldest_due_at is not None and now - one.oldest_due_at > thresholds.overdue_after
    )
    if beat is not None and now - beat.seen_at > thresholds.silent_after:
        return State.SILENT
    if one.problem or (beat is not None and beat.problem):
        return State.FAILING
    if one.dead:
        return State.DEAD_LETTERS
    if is_overdue and (beat is not None or one.is_begun):
        return State.OVERDUE
    return State.IDLE if beat is None and not one.is_begun else State.OK


def _state_of_snapshots(
    one: _Measured, beat: Heartbeat, now: datetime, thresholds: Thresholds
) -> State:
    """
    Taking one may last, and which are due a worker knows by its own policy: while it gives signs
    of life it is believed, and silence alone is nothing.
    """
    since = one.oldest_due_at
    if since is not None and now - max(since, beat.seen_at) > thresholds.unsaved_after:
        return State.OVERDUE
    is_told = bool(beat.problem) and now - beat.seen_at <= thresholds.unsaved_after
    return State.FAILING if one.problem or is_told else State.OK
