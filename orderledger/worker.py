"""
One process that does all the work of a book: read models, reactors, timers, outbox and queue.

Every part runs in threads of its own and is supervised: a round that fails is tried again, a thread
that ends is started again, one that hangs is left behind and replaced, and none stops the others.
Any number of workers may run; each piece of work is one's at a time, and what a worker had in hand
when it ended is taken over.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.ids import new_id
from orderledger.ledger.work_ports import Heartbeat
from orderledger.machinery import Machinery
from orderledger.machinery_status import worker_name
from orderledger.projections.read_models import ReadModels
from orderledger.snapshotting import Snapshots
from orderledger.worker_parts import Part, Rounds, Step, all_parts

HUNG_MAX: Final = 16
"""Threads of a part that may hang at once. Beyond, the part begins nothing until one is back."""

_logger: Final = logging.getLogger("orderledger")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """
    How often the parts look, in seconds.

    ``busy_rest_s`` after a round that found something, ``idle_rest_s`` after one that did not,
    ``problem_rest_s`` after one that failed. A thread that ended is started again after the latter
    too, doubling up to ``restart_rest_s`` while it ends again. ``beat_s`` is between two signs of
    life. ``end_within_s`` is how long ``stop`` waits for what is at hand.
    """

    busy_rest_s: float = 0.005
    idle_rest_s: float = 0.2
    problem_rest_s: float = 5.0
    restart_rest_s: float = 60.0
    beat_s: float = 10.0
    end_within_s: float = 30.0

    def restart_after_s(self, ends: int) -> float:
        """Return how long a post rests after its threads ended a number of times in a row."""
        doublings: int = 2 ** min(ends - 1, 30)
        return min(self.problem_rest_s * doublings, self.restart_rest_s)


class _Post:
    """A place for one thread of a part, and who holds it."""

    def __init__(self, part: Part) -> None:
        self.part: Final = part
        self.thread: threading.Thread | None = None
        self.rounds: Rounds | None = None
        self.problem = ""
        self.ends = 0
        self.again_at = 0.0


class _Hung:
    """A thread that was left behind, and the step in which it hangs; done by another or not yet."""

    def __init__(self, part: str, thread: threading.Thread, step: Step) -> None:
        self.part: Final = part
        self.thread: Final = thread
        self.step: Final = step
        self.is_over = False

    @property
    def problem(self) -> str:
        return (
            f"{self.step.what} hangs for over {self.step.limit_s:g} s; it is taken over, and its "
            "thread left behind"
        )


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
        self._machinery: Final = machinery
        self._models: Final = models
        self._clock: Final = clock
        self._pace: Final = pace
        self._owner: Final = f"{socket.gethostname()}/{os.getpid()}/{new_id()}"
        self._stop: Final = threading.Event()
        self._posts: Sequence[_Post] = ()
        self._hung: Sequence[_Hung] = ()
        self._seen_hung_at = 0.0
        self._beats: Final[dict[str, tuple[float, str]]] = {}
        self._name = ""

    def run(self) -> None:
        """Work until stopped; a part that fails is tried again, whatever it raises."""
        # Before the first thread: a reactor that never ran begins at the head as it is now.
        with suppress(OrderLedgerError):
            for runner in self._machinery.reactors.values():
                runner.start()
        parts = all_parts(self._machinery, self._models, self._snapshots)
        self._posts = [_Post(one) for one in parts]
        try:
            while not self._stop.is_set():
                self._supervise()
                self._stop.wait(self._pace.idle_rest_s)
        finally:
            self._stop.set()
            self._join()

    def stop(self) -> None:
        """End ``run`` after the rounds at hand, from any thread."""
        self._stop.set()

    @property
    def problems(self) -> dict[str, str]:
        """What fails now, by part."""
        names = dict.fromkeys([one.part.name for one in self._posts])
        return {name: problem for name in names if (problem := self._problem_of(name))}

    def _problem_of(self, part: str) -> str:
        told = [one.problem for one in self._hung if one.part == part and not one.is_over]
        told += [one.problem for one in self._posts if one.part.name == part and one.problem]
        if self._is_full(part):
            told.insert(
                0,
                f"{HUNG_MAX} threads hang, and none is started before one comes back: give the "
                "adapter a limit of its own, and restart this worker",
            )
        return "; ".join(told[:2])

    def _is_full(self, part: str) -> bool:
        return sum(one.part == part and one.thread.is_alive() for one in self._hung) >= HUNG_MAX

    # -- supervision -----------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Start the threads that are not running: at first all, later for those that ended."""
        for post in self._posts:
            self._leave_behind(post)
            if post.thread is None or not post.thread.is_alive():
                self._start(post)
        if time.monotonic() - self._seen_hung_at >= self._pace.beat_s:
            self._look_after_hung()
        self._sign_on()

    def _start(self, post: _Post) -> None:
        post.thread = None
        if self._is_full(post.part.name) or time.monotonic() < post.again_at:
            self._tell(post.part.name)
            return
        post.thread = threading.Thread(
            target=self._run_post,
            args=(post,),
            name=f"orderledger-{post.part.name}",
            daemon=True,
        )
        post.thread.start()

    def _leave_behind(self, post: _Post) -> None:
        """Let another thread have the place of one whose step takes too long."""
        step = post.rounds.step() if post.rounds is not None else None
        if post.thread is None or step is None or time.monotonic() - step.since <= step.limit_s:
            return
        found = _Hung(post.part.name, post.thread, step)
        post.thread, post.rounds = None, None
        self._hung = [*self._hung, found]
        _logger.error("%s: %s", found.part, found.problem)
        self._tell(found.part)

    def _look_after_hung(self) -> None:
        """Forget the threads that came back; what another has done meanwhile is no problem."""
        self._seen_hung_at = time.monotonic()
        for one in self._hung:
            if not one.thread.is_alive():
                _logger.warning("%s: %s came back after all", one.part, one.step.what)
            with suppress(OrderLedgerError):
                one.is_over = one.is_over or one.step.is_over()
        self._hung = [one for one in self._hung if one.thread.is_alive()]

    def _sign_on(self) -> None:
        """Give a sign of life of the process itself, so that its end is seen whoever else works."""
        at, _ = self._beats.get("", (0.0, ""))
        if self._name and time.monotonic() - at < self._pace.beat_s:
            return
        with suppress(OrderLedgerError):
            work, now = self._machinery.work, self._clock()
            self._name = worker_name(work.heartbeats(), self._owner, self._name, now)
            work.beat(Heartbeat(part=self._name, owner=self._owner, seen_at=now))
            self._beats[""] = (time.monotonic(), "")

    def _join(self) -> None:
        """Wait for what is at hand, not for what hangs; say that this worker ended in order."""
        until = time.monotonic() + self._pace.end_within_s
        for post in self._posts:
            if post.thread is not None:
                post.thread.join(max(0.0, until - time.monotonic()))
                if post.thread.is_alive():
                    _logger.error("%s did not end; its work is taken over", post.part.name)
        if self._name:
            with suppress(OrderLedgerError):
                self._machinery.work.beat(
                    Heartbeat(part=self._name, owner="", seen_at=self._clock())
                )

    # -- one thread ------------------------------------------------------------------------------

    def _run_post(self, post: _Post) -> None:
        try:
            self._work_at(post)
        except BaseException as error:  # noqa: BLE001  # SystemExit of an adapter ends no worker
            if post.thread is not threading.current_thread():
                return
            post.ends += 1
            post.again_at = time.monotonic() + self._pace.restart_after_s(post.ends)
            self._note(post, f"its thread ended by {error!r:.400}; it is started again")

    def _work_at(self, post: _Post) -> None:
        me, rounds = threading.current_thread(), None
        while not self._stop.is_set() and post.thread is me:
            try:
                if rounds is None:
                    post.rounds = rounds = post.part.make()
                rest = self._pace.busy_rest_s if rounds.look() else self._pace.idle_rest_s
                if post.thread is me:
                    post.ends = 0
                    self._note(post, "")
            except Exception as error:  # noqa: BLE001  # the other parts go on, and so will this
                rounds, rest = None, self._pace.problem_rest_s
                if post.thread is me:
                    message = error.message if isinstance(error, OrderLedgerError) else repr(error)
                    self._note(post, message[:500])
            self._stop.wait(rest)
        if rounds is not None:
            rounds.end()

    def _note(self, post: _Post, problem: str) -> None:
        """Keep what fails at a post, log it if it is new, and tell."""
        if problem and post.problem != problem:
            _logger.error("%s fails: %s", post.part.name, problem)
        post.problem = problem
        self._tell(post.part.name)

    def _tell(self, part: str) -> None:
        """Give a sign of life of a part, when something changed or it is time for one."""
        problem, now = self._problem_of(part), time.monotonic()
        at, told = self._beats.get(part, (0.0, None))
        if told == problem and now - at < self._pace.beat_s:
            return
        with suppress(OrderLedgerError):
            self._machinery.work.beat(
                Heartbeat(part=part, owner=self._owner, seen_at=self._clock(), problem=problem)
            )
            self._beats[part] = (now, problem)
