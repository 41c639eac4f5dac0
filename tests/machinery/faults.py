"""Workers that end by force before or after any step: of the database, the executor, a port."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

from orderledger import Book
from orderledger.commands.handle import Executor
from orderledger.commands.lanes import LaneRunner
from orderledger.commands.performing import Performer
from orderledger.commands.reacting import ReactorRunner, reactions
from orderledger.ledger.provider_ports import Ports
from orderledger.ledger.work_ports import Lane, WorkStore


class Killed(BaseException):
    """The process ended here; nothing that runs in it sees it."""


class Faults:
    """Counts steps, and ends the worker at a chosen one."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.steps = 0

    def step(self) -> None:
        if self.at is not None and self.steps == self.at:
            raise Killed
        self.steps += 1


class Faulty:
    """Anything, with a step before and one after each call of a method."""

    def __init__(self, target: object, faults: Faults) -> None:
        self._target = target
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._faults.step()
            answer = found(*args, **kwargs)
            self._faults.step()
            return answer

        return call


class Process:
    """One worker process on a book: reactors, and a runner per lane, all of which may be ended."""

    def __init__(self, book: Book, clock: Callable[[], datetime], faults: Faults) -> None:
        wiring = book.machinery.wiring
        work = cast(WorkStore, Faulty(book.machinery.work, faults))
        executor = cast(Executor, Faulty(Executor(book.store, clock=clock), faults))
        gateway = wiring.ports.payment_gateway
        ports = Ports(
            payment_gateway=None if gateway is None else cast(Any, Faulty(gateway, faults)),
            inventory=wiring.ports.inventory,
            notification=wiring.ports.notification,
        )
        self.runners = {
            one.name: ReactorRunner(book.store, work, one, clock=clock) for one in wiring.reactors
        }
        performer = Performer(executor, ports, clock=clock, reactions=reactions(self.runners))
        self.lanes = {
            lane: LaneRunner(work, performer, lane, clock=clock, rules=wiring.rules)
            for lane in Lane
        }

    def run(self) -> int:
        """Do what there is to do, until nothing is left or the process ends."""
        count = 0
        with suppress(Killed):
            while True:
                done = sum([one.drain() for one in self.runners.values()])
                done += sum([one.drain() for one in self.lanes.values()])
                if not done:
                    return count
                count += done
        return count
