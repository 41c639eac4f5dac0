"""
A worker that follows read models: it catches up, waits a little, and looks again.

Any number of workers may run: each model is followed by the one that has the lease on it, and by
another once that one is gone. (Even without leases rows would be right: a batch is conditional on
the checkpoint it starts from.) A model that cannot be followed now, because its database is away or
its rows are of another version, does not hold up the others.

An event may end its worker by force; it is found, and its stream parked: see ``pace``.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.ids import new_id

from .follow import BATCH_EVENTS, Follower
from .pace import DEATHS_CAREFUL, Pace
from .read_models import ReadModels

BUSY_REST_S: Final = 0.005
"""Between two looks while events keep coming: what a reader waits for is mostly this."""
IDLE_REST_S: Final = 0.1
"""Longest rest between two looks while nothing comes."""
PROBLEM_REST_S: Final = 5.0
"""Before a model that could not be followed is tried again."""
LEASE_S: Final = 15.0
"""How long a dead worker's models wait for another; renewed before every batch."""
CLAIM_REST_S: Final = 1.0
"""Before a lease that another worker has is asked for again."""
_LONG_AGO_S: Final = 1e9

_logger: Final = logging.getLogger("orderledger")


class Problem(msgspec.Struct, frozen=True):
    """Why a model is not followed now, and when it is tried again (monotonic seconds)."""

    error: OrderLedgerError
    again_at: float


class AtWork(msgspec.Struct, frozen=True):
    """The batch at hand: of which model, after which position, since when (monotonic seconds)."""

    model: str
    position: int
    since: float


class Worker:
    """
    Follows read models in the thread that calls ``run``, until ``stop`` is called from another.

    ``names`` are the models to follow, by default all that the book was opened with. ``lease_s`` is
    longer than any batch takes.
    """

    def __init__(
        self,
        models: ReadModels,
        names: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        lease_s: float = LEASE_S,
    ) -> None:
        self._models: Final = models
        self._lease_s: Final = lease_s
        self._owner: Final = str(new_id())
        self._names: Final = tuple(names) or models.names
        for name in self._names:
            models.model(name)
        self._clock: Final = clock
        self._stop: Final = threading.Event()
        self._followers: Final[dict[str, Follower]] = {}
        self._claims: Final[dict[str, tuple[float, int | None]]] = {}
        self._paces: Final = {name: Pace(BATCH_EVENTS) for name in self._names}
        self.problems: Final[dict[str, Problem]] = {}
        """What is not followed now, by model."""
        self.at_work: AtWork | None = None
        """The batch at hand, for whoever watches from another thread; see ``watchdog``."""

    def run(self) -> None:
        """Follow until stopped; raises nothing that a later look could mend."""
        rest = BUSY_REST_S
        while not self._stop.is_set():
            rest = BUSY_REST_S if self.look() else min(2 * rest, IDLE_REST_S)
            self._stop.wait(rest)
        self.release()

    def release(self) -> None:
        """Let other workers have the models at once."""
        for follower in self._followers.values():
            with suppress(OrderLedgerError):
                self._models.store.release(follower.generation, self._owner)
        self._followers.clear()
        self._claims.clear()

    def stop(self) -> None:
        """End ``run`` after the batch at hand, from any thread."""
        self._stop.set()

    def look(self) -> bool:
        """Take each model one batch further; tell whether any of them moved."""
        try:
            while self._models.events.sequence():
                pass
        except OrderLedgerError as error:
            _logger.warning("read models wait for the log: %s", error)
            return False
        moved = [self._follow(name) for name in self._names]
        return any(moved)

    def _follow(self, name: str) -> bool:
        problem = self.problems.get(name)
        if problem is not None and self._clock() < problem.again_at:
            return False
        try:
            follower = self._follower(name)
            self.problems.pop(name, None)
            head = self._models.events.head().size
            if follower.generation.position >= head:
                follower.verify()
                self._let_go(name, follower)
                return False
            deaths = self._claimed(name, follower)
            if deaths is None:
                return False
            before, parked = follower.generation.position, len(follower.parked)
            self.at_work = AtWork(name, before, time.monotonic())
            follower.verify()
            self._paces[name].advance(follower, deaths, head)
            if len(follower.parked) > parked:
                _logger.error(
                    "read model %s parked %d streams; see `orderledger projection parked %s`",
                    name,
                    len(follower.parked) - parked,
                    name,
                )
            return follower.generation.position > before
        except OrderLedgerError as error:
            self._followers.pop(name, None)
            if problem is None or problem.error.message != error.message:
                _logger.error("read model %s is not followed: %s", name, error)
            self.problems[name] = Problem(error, self._clock() + PROBLEM_REST_S)
            return False
        finally:
            self.at_work = None

    def _claimed(self, name: str, follower: Follower) -> int | None:
        """
        Return the deaths before us at this position, None where another worker follows the model.

        The lease is renewed when a third of it is over, and before each event that is taken alone.
        """
        at, deaths = self._claims.get(name, (-_LONG_AGO_S, None))
        age = self._clock() - at
        if deaths is None and age < CLAIM_REST_S:
            return None
        is_fresh = age < self._lease_s / 3
        is_careful = self._paces[name].is_careful(follower.generation.position)
        if deaths is None or deaths >= DEATHS_CAREFUL or is_careful or not is_fresh:
            at = self._clock()
            deaths = self._models.store.claim(
                follower.generation, self._owner, round(self._lease_s * 1000)
            )
            self._claims[name] = (at, deaths)
        return deaths

    def _let_go(self, name: str, follower: Follower) -> None:
        """Give back the lease on a model that has been idle for a while."""
        at, deaths = self._claims.get(name, (0.0, None))
        if deaths is not None and self._clock() - at >= self._lease_s / 3:
            self._models.store.release(follower.generation, self._owner)
            del self._claims[name]

    def _follower(self, name: str) -> Follower:
        """Return the follower of the live generation, a new one after a swap."""
        live = self._models.live(name)
        found = self._followers.get(name)
        if found is None or live is None or live.number != found.generation.number:
            found = self._followers[name] = self._models.follower(name)
            # A lease is on a generation; this one is another.
            self._claims.pop(name, None)
        return found
