"""
One process that does all the work of a book: read models, reactors, timers, outbox and queue.

Every part runs in threads of its own and is supervised: a round that fails is tried again, a thread
that ends is started again, and neither stops the others. Any number of workers may run; each piece
of work is one's at a time, and what a worker had in hand when it ended is taken over.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from orderledger.commands.lanes import LaneRunner
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.ids import new_id
from orderledger.ledger.work_ports import Heartbeat, Lane
from orderledger.machinery import Machinery
from orderledger.machinery_status import PROJECTIONS, REACTOR
from orderledger.projections.read_models import ReadModels
from orderledger.projections.worker import Worker as Follower
from orderledger.snapshotting import Snapshots

_logger: Final = logging.getLogger("orderledger")

SNAPSHOTS: Final = "snapshots"

Round = Callable[[], bool]
"""One look of a part: does what there is to do, and tells whether there was something."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """
    How often the parts look, in seconds.

    ``busy_rest_s`` after a round that found something, ``idle_rest_s`` after one that did not,
    ``problem_rest_s`` after one that failed. ``beat_s`` is between two signs of life.
    """

    busy_rest_s: float = 0.005
    idle_rest_s: float = 0.2
    problem_rest_s: float = 5.0
    beat_s: float = 10.0


THREADS: Final = {Lane.OUTBOX: 4, Lane.QUEUE: 2, Lane.TIMER: 1}
"""Threads per lane: a provider that answers slowly must not hold up the others."""


class _Part(NamedTuple):
    """A part of the worker: what makes its rounds, anew after each failure."""

    name: str
    make: Callable[[], Round]


class BookWorker:
    """
    Runs every part of a book's machinery, until ``stop`` is called from another thread.

    Without reactors and ports (``Book.wire``) it follows the read models, executes what is queued
    and fires the deadlines that need no port. With ``snapshots`` it also saves the rows of the read
    models as the log grows.
    """

    def __init__(
        self,
        machinery: Machinery,
        models: ReadModels,
        *,
        clock: Callable[[], datetime],
        pace: Pace = Pace(),  # noqa: B008  # frozen
        snapshots: Snapshots | None = None,
    ) -> None:
        self._snapshots: Final = snapshots
        self._passed_over: Final[dict[str, int]] = {}
        self._machinery: Final = machinery
        self._models: Final = models
        self._clock: Final = clock
        self._pace: Final = pace
        self._owner: Final = str(new_id())
        self._stop: Final = threading.Event()
        self._threads: Final[dict[int, threading.Thread]] = {}
        self._problems: Final[dict[str, str]] = {}
        self._beats: Final[dict[str, tuple[datetime, str]]] = {}

    def run(self) -> None:
        """Work until stopped; a part that fails is tried again, whatever it raises."""
        # Before the first thread: a reactor that never ran begins at the head as it is now.
        with suppress(OrderLedgerError):
            for runner in self._machinery.reactors.values():
                runner.start()
        parts = self._parts()
        try:
            while not self._stop.is_set():
                self._supervise(parts)
                self._stop.wait(self._pace.idle_rest_s)
        finally:
            self._stop.set()
            for thread in self._threads.values():
                thread.join()

    def stop(self) -> None:
        """End ``run`` after the rounds at hand, from any thread."""
        self._stop.set()

    @property
    def problems(self) -> dict[str, str]:
        """What fails now, by part."""
        return {part: problem for part, problem in self._problems.items() if problem}

    def _parts(self) -> Sequence[_Part]:
        parts = [_Part(PROJECTIONS, self._following)]
        parts += [
            _Part(f"{REACTOR}{name}", self._reacting(name)) for name in self._machinery.reactors
        ]
        if self._snapshots is not None:
            parts.append(_Part(SNAPSHOTS, lambda: self._save))
        for lane, count in THREADS.items():
            parts += [_Part(lane.value, self._working(lane))] * count
        return parts

    def _supervise(self, parts: Sequence[_Part]) -> None:
        """Start the threads that are not running: at first all, later those that ended."""
        for number, part in enumerate(parts):
            found = self._threads.get(number)
            if found is not None and found.is_alive():
                continue
            if found is not None:
                _logger.error("the thread of %s ended; it is started again", part.name)
            thread = threading.Thread(
                target=self._run_part, args=(part,), name=f"orderledger-{part.name}", daemon=True
            )
            self._threads[number] = thread
            thread.start()

    def _run_part(self, part: _Part) -> None:
        look: Round | None = None
        while not self._stop.is_set():
            try:
                look = look or part.make()
                rest = self._pace.busy_rest_s if look() else self._pace.idle_rest_s
                self._tell(part.name, "")
            except Exception as error:  # noqa: BLE001  # the other parts go on, and so will this
                look, rest = None, self._pace.problem_rest_s
                message = error.message if isinstance(error, OrderLedgerError) else repr(error)
                self._tell(part.name, message[:500])
            self._stop.wait(rest)
        if look is not None and part.name == PROJECTIONS:
            with suppress(OrderLedgerError):
                self._follower.release()

    def _tell(self, part: str, problem: str) -> None:
        """Log a problem that is new, and give a sign of life when it is time for one."""
        if problem and self._problems.get(part) != problem:
            _logger.error("%s fails: %s", part, problem)
        self._problems[part] = problem
        now = self._clock()
        at, told = self._beats.get(part, (None, ""))
        if at is not None and told == problem and (now - at).total_seconds() < self._pace.beat_s:
            return
        with suppress(OrderLedgerError):
            self._machinery.work.beat(
                Heartbeat(part=part, owner=self._owner, seen_at=now, problem=problem)
            )
            self._beats[part] = (now, problem)

    def _following(self) -> Round:
        self._follower = Follower(self._models)
        return self._follow

    def _follow(self) -> bool:
        is_moved = self._follower.look()
        for name, problem in self._follower.problems.items():
            raise OrderLedgerError(f"read model {name}: {problem.error.message}")
        return is_moved

    def _save(self) -> bool:
        """Take the snapshots of the first read model that is due for some."""
        assert self._snapshots is not None, "the part runs only with snapshots"
        models, head = self._snapshots.models, self._machinery.head()
        for name in models.names:
            # A model that leaves something out has none taken: it is looked at again later.
            again_at = self._passed_over.get(name, 0) + models.policy.every
            if not models.is_due(name) or (name in self._passed_over and head < again_at):
                continue
            if not list(self._snapshots.take_model(name, only_if_due=True)):
                self._passed_over[name] = head
            return True
        return False

    def _reacting(self, name: str) -> Callable[[], Round]:
        def make() -> Round:
            runner = self._machinery.reactor(name)
            return lambda: runner.run_once() > 0

        return make

    def _working(self, lane: Lane) -> Callable[[], Round]:
        def make() -> Round:
            runner = self._machinery.lane(lane)
            if lane is Lane.TIMER:
                return lambda: self._fire(runner)
            return lambda: runner.run_once() > 0

        return make

    def _fire(self, runner: LaneRunner) -> bool:
        return self._machinery.collect(is_followed=True) + runner.run_once() > 0
