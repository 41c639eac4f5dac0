"""
Working through a lane: take what is due, perform it, record what came of it, try again later.

How often and how long is data (``RULES``). Work whose worker ends before it says what came of it is
taken by another once its lease is over; work that ends its workers, or fails, as often as its lane
allows is a dead letter: it waits for a person, and holds up nobody.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

import msgspec

from orderledger.ledger.errors import IntegrityViolation, OrderLedgerError
from orderledger.ledger.ids import new_id, utc_now
from orderledger.ledger.work_ports import Lane, Outcome, Work, WorkStatus, WorkStore

from .performing import Performer

ERROR_LENGTH_MAX: Final = 500
BATCH: Final = 16
"""Pieces taken at once. Those of a worker that ends wait until its lease is over."""

_logger: Final = logging.getLogger("orderledger")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a lane tries.

    The wait after a failed attempt starts at ``first_wait`` and doubles up to ``longest_wait``;
    after ``attempts_max`` attempts work is dead. ``tries_refused`` tells that an answer "no" is
    tried again too. ``lease`` is longer than any attempt takes; it is renewed between two.
    """

    attempts_max: int
    first_wait: timedelta
    longest_wait: timedelta
    lease: timedelta = timedelta(seconds=60)
    tries_refused: bool = False

    def wait(self, attempts: int) -> timedelta:
        """Return how long to wait after a number of attempts, at least one."""
        doublings: int = 2 ** min(attempts - 1, 30)
        return min(self.first_wait * doublings, self.longest_wait)


RULES: Final[Mapping[Lane, Rules]] = MappingProxyType(
    {
        Lane.OUTBOX: Rules(
            attempts_max=20, first_wait=timedelta(seconds=1), longest_wait=timedelta(hours=1)
        ),
        Lane.QUEUE: Rules(
            attempts_max=20, first_wait=timedelta(seconds=1), longest_wait=timedelta(minutes=5)
        ),
        Lane.TIMER: Rules(
            attempts_max=20,
            first_wait=timedelta(minutes=1),
            longest_wait=timedelta(hours=6),
            tries_refused=True,
        ),
    }
)
"""
Attempts over about nine hours for effects (a provider that is down overnight), over an hour for
commands that a buyer waits for, over three days for deadlines.
"""


class AtWork(msgspec.Struct, frozen=True):
    """The attempt at hand, and since when it lasts (monotonic seconds)."""

    work: Work
    since: float


class LaneRunner:
    """
    Works through one lane of a book. Any number of them may, in any process.

    ``clock`` gives the time by which work is due and leases run out.
    """

    def __init__(
        self,
        work: WorkStore,
        performer: Performer,
        lane: Lane,
        *,
        clock: Callable[[], datetime] = utc_now,
        rules: Mapping[Lane, Rules] = RULES,
    ) -> None:
        self._work: Final = work
        self._performer: Final = performer
        self.lane: Final = lane
        self._clock: Final = clock
        self._rules: Final = rules[lane]
        self._owner: Final = str(new_id())
        self.at_work: AtWork | None = None
        """The attempt at hand, for whoever watches from another thread."""

    @property
    def lease(self) -> timedelta:
        """How long an attempt may take before another takes it over."""
        return self._rules.lease

    def run_once(self, limit: int = BATCH) -> int:
        """Take what is due, at most ``limit`` pieces, and perform it; return how many it took."""
        now = self._clock()
        taken = self._work.lease(self.lane, self._owner, now, now + self._rules.lease, limit=limit)
        for one in taken:
            # Those before it may have taken long; another may have it by now.
            if self._work.renew(one, self._clock() + self._rules.lease):
                self.at_work = AtWork(one, time.monotonic())
                try:
                    outcome = self._attempt(one)
                finally:
                    self.at_work = None
                self._work.conclude(one, outcome)
        return len(taken)

    def drain(self) -> int:
        """Perform everything that is due now; return how many pieces it took."""
        count = 0
        while taken := self.run_once():
            count += taken
        return count

    def _attempt(self, work: Work) -> Outcome:
        if work.attempts > self._rules.attempts_max:
            ended = f"{work.attempts - 1} attempts, the last of which ended its worker"
            return self._failed(work, work.error or ended, is_final=True)
        try:
            outcome = self._performer.perform(work)
        except IntegrityViolation as error:
            return self._failed(work, error.message, is_final=True)
        except OrderLedgerError as error:
            return self._failed(work, error.message)
        except Exception as error:  # noqa: BLE001  # of an adapter or a reactor; the worker goes on
            return self._failed(work, f"{error!r}")
        if outcome.status is WorkStatus.REFUSED and self._rules.tries_refused:
            return self._again(work, outcome)
        if outcome.status is WorkStatus.DEAD:
            _logger.error("%s %s is dead: %s", self.lane.value, work.key, outcome.error)
        return outcome

    def _again(self, work: Work, outcome: Outcome) -> Outcome:
        """Return a refusal as one to be tried again, unless it was tried often enough."""
        if work.attempts >= self._rules.attempts_max:
            _logger.error("%s %s stays refused: %s", self.lane.value, work.key, outcome.error)
            return outcome
        return msgspec.structs.replace(
            outcome,
            status=WorkStatus.WAITING,
            due_at=outcome.at + self._rules.wait(work.attempts),
        )

    def _failed(self, work: Work, error: str, *, is_final: bool = False) -> Outcome:
        now = self._clock()
        text = error[:ERROR_LENGTH_MAX]
        if is_final or work.attempts >= self._rules.attempts_max:
            _logger.error(
                "%s %s is dead after %d attempts: %s",
                self.lane.value,
                work.key,
                work.attempts,
                text,
            )
            return Outcome(status=WorkStatus.DEAD, at=now, error=text, result=work.result)
        return Outcome(
            status=WorkStatus.WAITING,
            at=now,
            due_at=now + self._rules.wait(work.attempts),
            error=text,
            result=work.result,
        )
