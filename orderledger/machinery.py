"""
The machinery of a book: its deadlines, reactors, outbox and queue, on one store of work.

What acts on the world is opt-in: a book is opened with the ports and reactors it is to have
(``Wiring``), and a worker runs them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from typing import Final

import msgspec
from msgspec import structs

from orderledger.commands.deciding import prepare
from orderledger.commands.handle import Executor
from orderledger.commands.lanes import RULES, LaneRunner, Rules
from orderledger.commands.performing import Performer
from orderledger.commands.queueing import Ticket, enqueue, ticket_of
from orderledger.commands.reacting import ReactorRunner, reactions
from orderledger.commands.reactors import Reactor
from orderledger.commands.requests import Envelope
from orderledger.commands.sweeping import sweep
from orderledger.commands.timers import timer_key
from orderledger.ledger import ids
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.ports import EventStore
from orderledger.ledger.provider_ports import Ports
from orderledger.ledger.work_ports import Lane, Work, WorkStatus, WorkStore
from orderledger.projections.deadlines import DeadlineRow, Deadlines
from orderledger.projections.read_models import ReadModels

DEADLINES: Final = Deadlines.name


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a book acts with: the adapters of its ports, and the reactors that decide when.

    ``rules`` say how often and how long each lane tries.
    """

    ports: Ports = Ports()
    reactors: tuple[Reactor, ...] = ()
    rules: Mapping[Lane, Rules] = RULES


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep did: ``found`` deadlines had newly come, ``performed`` were fired or tried."""

    found: int
    performed: int


class Machinery:
    """The machinery of one book. Safe to share between threads, but for its runners."""

    def __init__(
        self,
        store: EventStore,
        executor: Executor,
        models: Callable[[], ReadModels],
        *,
        work: Callable[[], WorkStore],
        clock: Callable[[], datetime],
    ) -> None:
        self._store: Final = store
        self._executor: Final = executor
        self._models: Final = models
        self._work: Final = work
        self._clock: Final = clock
        self.wiring = Wiring()

    def wire(self, wiring: Wiring) -> None:
        """Take ports and reactors; raises InvalidInput where two reactors have one name."""
        names = [one.name for one in wiring.reactors]
        if len(set(names)) < len(names):
            raise InvalidInput(f"two reactors have one name: {', '.join(sorted(names))}")
        self.wiring = wiring
        self.__dict__.pop("reactors", None)
        self.__dict__.pop("_performer", None)

    @property
    def work(self) -> WorkStore:
        """The work of the book, opened at first use."""
        return self._work()

    def head(self) -> int:
        """Return the position of the last event in the log."""
        return self._store.head().size

    # -- queue -----------------------------------------------------------------------------------

    def enqueue(self, envelope: Envelope) -> Ticket:
        """Write a command for a worker to execute; see ``Book.enqueue``."""
        prepared = prepare(self._store.book, envelope, ids.new_id())
        return enqueue(self.work, prepared, self._clock())

    def ticket(self, key: str) -> Ticket:
        """Return what became of a queued command; raises NotFound."""
        return ticket_of(self.find(Lane.QUEUE, key))

    # -- timers ----------------------------------------------------------------------------------

    def sweep(self, now: datetime | None = None) -> Swept:
        """
        Fire every deadline that has come, each once whoever sweeps; see ``Book.sweep``.

        First brings the read model ``deadlines`` up to the head.
        """
        found = self.collect(now)
        return Swept(found=found, performed=self.lane(Lane.TIMER, now).drain())

    def collect(self, now: datetime | None = None, *, is_followed: bool = False) -> int:
        """
        Write the deadlines that have come as work, and perform none; return how many.

        With ``is_followed`` somebody else keeps the read model ``deadlines`` up to the head.
        """
        at = self._clock() if now is None else now
        if not is_followed:
            self._models().catch_up(DEADLINES)
        due = takewhile(lambda row: row.due_at <= at, self._models().select(DeadlineRow))
        ports = {name for name, one in structs.asdict(self.wiring.ports).items() if one is not None}
        return sweep(self.work, due, at, ports=ports)

    def deadlines(self, stream: str | None = None) -> Iterator[DeadlineRow]:
        """Iterate over the open deadlines, the next to come first, or over those of one stream."""
        self._models().catch_up(DEADLINES)
        if stream is None:
            return self._models().select(DeadlineRow)
        return self._models().select(DeadlineRow, stream=stream)

    def fired(self, row: DeadlineRow) -> Work | None:
        """Return the work of a deadline that has come; None before a sweep found it."""
        return self.work.find(Lane.TIMER, timer_key(row.stream, row.deadline_id))

    # -- runners ---------------------------------------------------------------------------------

    def lane(self, lane: Lane, now: datetime | None = None) -> LaneRunner:
        """Return what works through a lane, for one thread; with ``now`` its clock stands still."""
        return LaneRunner(
            self.work,
            self._performer,
            lane,
            clock=self._clock if now is None else lambda: now,
            rules=self.wiring.rules,
        )

    @cached_property
    def reactors(self) -> Mapping[str, ReactorRunner]:
        """What follows the log for each reactor, by name; each for one thread."""
        return {one.name: self._runner(one) for one in self.wiring.reactors}

    def reactor(self, name: str) -> ReactorRunner:
        """Return what follows the log for one reactor, a new one each time; raises NotFound."""
        for one in self.wiring.reactors:
            if one.name == name:
                return self._runner(one)
        raise NotFound(f"the book is wired with no reactor {name}", reactor=name)

    def _runner(self, reactor: Reactor) -> ReactorRunner:
        return ReactorRunner(self._store, self.work, reactor, clock=self._clock)

    @cached_property
    def _performer(self) -> Performer:
        return Performer(
            self._executor,
            self.wiring.ports,
            clock=self._clock,
            reactions=reactions(self.reactors),
        )

    def settle(self) -> int:
        """
        React, dispatch, execute what is queued and fire what has come, until nothing is left.

        For tests and small shops without a worker. Returns how many pieces of work were performed;
        what failed waits for its time.
        """
        count = 0
        while True:
            seen = sum([one.drain() for one in self.reactors.values()])
            self.collect()
            done = sum([self.lane(lane).drain() for lane in Lane])
            if not seen and not done:
                return count
            count += done

    # -- dead letters ----------------------------------------------------------------------------

    def find(self, lane: Lane, key: str) -> Work:
        """Return work by its key; raises NotFound."""
        found = self.work.find(lane, key)
        if found is None:
            raise NotFound(f"there is no work {key!r} in lane {lane.value}", key=key, lane=lane)
        return found

    def list_work(self, lane: Lane, statuses: Sequence[WorkStatus]) -> Iterator[Work]:
        """Iterate over the work of a lane in these states, the oldest first."""
        after = 0
        while page := self.work.list_work(lane, statuses, after=after):
            yield from page
            after = page[-1].number

    def redrive(self, lane: Lane, key: str) -> Work:
        """
        Have work tried again that is dead or was refused; return it.

        Raises NotFound, and InvalidInput where it is neither. What the queue's caller was answered
        stays the answer of its key.
        """
        found = self.find(lane, key)
        is_answered = lane is Lane.QUEUE and found.status is WorkStatus.REFUSED
        if is_answered or not self.work.redrive(lane, key, self._clock()):
            raise InvalidInput(
                f"{lane.value} {key!r} is {found.status.value}: only what is dead"
                + ("" if lane is Lane.QUEUE else " or refused")
                + " is tried again; give a new intention a new key",
                key=key,
                status=found.status.value,
            )
        return self.find(lane, key)
