"""
What the parts of a worker do in their threads, and what each is about at any moment.

A step that takes longer than its limit, an adapter that never answers for instance, cannot be ended
from outside: its thread is left behind and another takes its place. That is safe for the reason for
which a dead worker is: what the step had in hand is leased, or conditional on a checkpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple

from orderledger.commands.lanes import LaneRunner
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Machinery
from orderledger.machinery_status import PROJECTIONS, REACTOR, SNAPSHOTS
from orderledger.projections.read_models import ReadModels
from orderledger.projections.worker import Worker as Follower
from orderledger.snapshotting import Snapshots

STEP_LIMIT_S: Final = 60.0
"""
Of a batch of a read model or of a reactor: a second or so, half a minute with a busy server. Steps
of lanes may last as long as their lease.
"""
THREADS: Final[Mapping[Lane, int]] = MappingProxyType(
    {Lane.OUTBOX: 4, Lane.QUEUE: 2, Lane.TIMER: 1}
)
"""Threads per lane: a provider that answers slowly must not hold up the others."""


class Step(NamedTuple):
    """
    What a part is about: since when (monotonic seconds), and how long that may take.

    ``is_over`` tells, from any thread, whether another has done it meanwhile.
    """

    what: str
    since: float
    limit_s: float
    is_over: Callable[[], bool]


class Rounds(NamedTuple):
    """
    How a part works in one thread.

    ``look`` does what there is to do, and tells whether there was something; ``step`` is what it is
    about, for whoever watches; ``end`` gives back what the thread holds.
    """

    look: Callable[[], bool]
    step: Callable[[], Step | None]
    end: Callable[[], None] = lambda: None


class Part(NamedTuple):
    """A part of the worker: what makes its rounds, anew after each failure."""

    name: str
    make: Callable[[], Rounds]


def all_parts(
    machinery: Machinery, models: ReadModels, snapshots: Snapshots | None
) -> tuple[Part, ...]:
    """Return the parts of a worker, one per thread that it needs."""
    savers: tuple[Part, ...] = ()
    if snapshots is not None:
        rounds = saving(machinery, snapshots)  # of which it remembers what it passed over
        savers = (Part(SNAPSHOTS, lambda: rounds),)
    return (
        Part(PROJECTIONS, lambda: _following(models)),
        *[Part(f"{REACTOR}{name}", _reacting(machinery, name)) for name in machinery.reactors],
        *savers,
        *[
            Part(lane.value, _working(machinery, lane))
            for lane, count in THREADS.items()
            for _ in range(count)
        ],
    )


def _following(models: ReadModels) -> Rounds:
    follower = Follower(models)

    def look() -> bool:
        is_moved = follower.look()
        for name, problem in follower.problems.items():
            raise OrderLedgerError(f"read model {name}: {problem.error.message}")
        return is_moved

    def step() -> Step | None:
        found = follower.at_work
        if found is None:
            return None

        def is_over() -> bool:
            live = models.live(found.model)
            return live is not None and live.position > found.position

        what = f"a batch of read model {found.model} after position {found.position}"
        return Step(what, found.since, STEP_LIMIT_S, is_over)

    def end() -> None:
        with suppress(OrderLedgerError):
            follower.release()

    return Rounds(look, step, end)


def saving(machinery: Machinery, snapshots: Snapshots) -> Rounds:
    """Return what saves the rows of the read models as the log grows."""
    passed_over: dict[str, tuple[int, Sequence[int]]] = {}

    def is_hopeless(name: str) -> bool:
        """Tell whether a model had none taken, and nothing came that could change that."""
        if name not in passed_over:
            return False
        head, left_out = passed_over[name]
        models = snapshots.models
        return machinery.head() < head + models.policy.every and left_out == models.left_out(name)

    def look() -> bool:
        """Take the snapshots of the first read model that is due for some."""
        models = snapshots.models
        due = [name for name in models.names if models.is_due(name)]
        for name in due:
            if is_hopeless(name):
                continue
            passed_over.pop(name, None)
            found = (machinery.head(), models.left_out(name))
            if not list(snapshots.take_model(name, only_if_due=True)) and models.is_due(name):
                passed_over[name] = found
            return True
        if due:
            raise OrderLedgerError(
                f"no snapshot is taken of {', '.join(due)}: what is parked would be missing in it; "
                f"see `orderledger projection parked {due[0]}`"
            )
        return False

    # A snapshot may take as long as it likes: nobody waits for one.
    return Rounds(look, lambda: None)


def _reacting(machinery: Machinery, name: str) -> Callable[[], Rounds]:
    def make() -> Rounds:
        runner = machinery.reactor(name)

        def step() -> Step | None:
            found = runner.at_work
            if found is None:
                return None
            position = found.position

            def is_over() -> bool:
                known = machinery.work.reactors().get(name)
                return known is not None and known.position >= position

            return Step(f"the event at position {position}", found.since, STEP_LIMIT_S, is_over)

        return Rounds(lambda: runner.run_once() > 0, step)

    return make


def _working(machinery: Machinery, lane: Lane) -> Callable[[], Rounds]:
    def make() -> Rounds:
        runner = machinery.lane(lane)
        look = (lambda: _fire(machinery, runner)) if lane is Lane.TIMER else None
        return Rounds(look or (lambda: runner.run_once() > 0), lambda: _attempt(machinery, runner))

    return make


def _fire(machinery: Machinery, runner: LaneRunner) -> bool:
    return machinery.collect(is_followed=True) + runner.run_once() > 0


def _attempt(machinery: Machinery, runner: LaneRunner) -> Step | None:
    found = runner.at_work
    if found is None:
        return None
    work = found.work

    def is_over() -> bool:
        now = machinery.work.find(runner.lane, work.key)
        return now is None or now.status is not WorkStatus.WAITING

    return Step(f"{work.kind} {work.key}", found.since, runner.lease.total_seconds(), is_over)
