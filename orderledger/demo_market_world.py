"""
What the marketplace month is played in: a clock that stories move, a book, and its machinery.

A story is a generator: it gives commands, and yields the instant at which it goes on. The month
takes the stories in order of time, moves the clock, and lets the machinery work at each step:
reactors, outbox with fakes in place of providers, deadlines by sweep.

Every command has a key that follows from its story and its place in it. What the book knows by its
key is passed over, so that a month that was interrupted is told again from its beginning, and what
is missing is done.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from random import Random
from typing import Final

from orderledger.book import Book
from orderledger.commands.decision import Command, States
from orderledger.commands.effects import Effect
from orderledger.commands.process_orders import Confirmation, Refunds, Releases, ReleaseTerms, Risk
from orderledger.commands.process_payments import PaymentOperations
from orderledger.commands.reactors import Happened, Reactor
from orderledger.commands.requests import Actor, Envelope
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import OrderLedgerError, Rejected
from orderledger.ledger.ports import EventStore
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.testing.fakes import FakeRiskAssessment, FakeWorld

CURRENCY: Final = "EUR"
FIRST: Final = datetime(2026, 3, 1, tzinfo=UTC)
LAST: Final = datetime(2026, 4, 1, tzinfo=UTC)
COMMISSION: Final = Decimal("0.12")
SUSPICIOUS_FROM: Final = 150_000
"""Orders from so many cents on are held until a person has looked at them."""
_SWEEP: Final = timedelta(hours=12)
_LEASE: Final = timedelta(seconds=60)
"""How long a worker has what it took; see docs/machinery.md."""
CLERK: Final = Actor("staff", "clerk")
BANK: Final = "main"
CAPITAL: Final = 5_000_000
"""What the market has in the bank when the month begins, in cents."""

Tale = Iterator[datetime]
"""A story that is being told: each value is the instant at which it goes on."""
Making = Callable[[], Command]
"""What makes a command from the book as it is then."""


class Clock:
    """The month's clock: it stands still until it is moved, and never goes back."""

    def __init__(self) -> None:
        self.now = FIRST

    def __call__(self) -> datetime:
        return self.now

    def move(self, at: datetime) -> None:
        """Go forward to an instant; one that has passed changes nothing."""
        self.now = max(self.now, at)


_SHIPPED: Final = (
    PaymentOperations(),
    Confirmation(),
    Refunds(),
    Releases(ReleaseTerms(commission_rate=COMMISSION, rate_version="2026")),
    Risk(),
)


class Everything(Reactor):
    """The shipped reactors that the month needs, as one with one checkpoint to move."""

    name = "market"
    topics = frozenset([topic for part in _SHIPPED for topic in part.topics])

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return what each of them calls for."""
        return [
            effect
            for part in _SHIPPED
            if happened.topic in part.topics
            for effect in part.react(happened, states)
        ]


class Market:
    """The book of the month with its machinery, and what became of the commands given to it."""

    def __init__(self, store: EventStore, seed: int, clock: Clock) -> None:
        self.seed: Final = seed
        self.clock: Final = clock
        self.world: Final = FakeWorld(risk=FakeRiskAssessment(SUSPICIOUS_FROM))
        self.book: Final = Book(store, clock=clock)
        self.counts: Final[Counter[str]] = Counter()
        self.surprises: Final[list[str]] = []
        self._is_stirred = True
        self._swept_at = clock.now
        self._is_resumed: Final = bool(store.head().size)
        self.book.wire(Wiring(ports=self.world.ports, reactors=(Everything(),)))

    def knows(self, key: str) -> bool:
        """Tell whether a command with this key was answered before."""
        return bool(self.book.store.commands([key_hash(self.book.name, key)]))

    def settle(self) -> None:
        """Let reactors and outbox work until nothing is left; time brings the deadlines."""
        if not self._is_stirred:
            return
        self._is_stirred = False
        machinery = self.book.machinery
        reactor, outbox = machinery.reactors[Everything.name], machinery.lane(Lane.OUTBOX)
        while True:
            while reactor.drain() + outbox.drain():
                pass
            until = self._held_until()
            if until is None:
                return
            self.clock.move(until)

    def _held_until(self) -> datetime | None:
        """
        Return when work is free that a process had in hand when it was killed at this instant.

        None where there is none, as always in a month that was not interrupted.
        """
        if not self._is_resumed:
            return None
        waiting = self.book.machinery.list_work(Lane.OUTBOX, (WorkStatus.WAITING,))
        until = [one.leased_until for one in waiting if one.leased_until is not None]
        found = [at for at in until if self.clock.now < at <= self.clock.now + _LEASE]
        return max(found, default=None)

    def stir(self) -> None:
        """Note that something happened which the machinery may have to act on."""
        self._is_stirred = True

    def play(self, tales: Sequence[Tale]) -> None:
        """Tell stories in order of time until all have ended."""
        waiting: list[tuple[datetime, int]] = []
        for number, tale in enumerate(tales):
            self._go_on(tale, number, waiting)
        while waiting:
            at, number = heappop(waiting)
            self.pass_until(at)
            self._go_on(tales[number], number, waiting)
            self.settle()

    def _go_on(self, tale: Tale, number: int, waiting: list[tuple[datetime, int]]) -> None:
        at = next(tale, None)
        if at is not None:
            heappush(waiting, (at, number))

    def pass_until(self, at: datetime) -> None:
        """Let time pass, with the machinery at work twice a day."""
        while self._swept_at + _SWEEP < at:
            self._swept_at += _SWEEP
            self.clock.move(self._swept_at)
            self._is_stirred = bool(self.book.sweep().performed) or self._is_stirred
            self.settle()
        self.clock.move(at)


class Case:
    """
    One story's way to the book: commands under keys of their place, and names of its own.

    ``name`` is part of every id that the story gives.
    """

    def __init__(self, market: Market, name: str) -> None:
        self.market: Final = market
        self.name: Final = name
        self.id: Final = f"m{market.seed}-{name}"
        self.chance: Final = Random(f"{market.seed}/{name}")
        self._keys: Final = f"demo-market/{market.seed}/{name}"
        self._count = 0

    @property
    def book(self) -> Book:
        """The book of the month."""
        return self.market.book

    @property
    def now(self) -> datetime:
        """What the month's clock says."""
        return self.market.clock.now

    def part(self, name: str) -> str:
        """Return an id that belongs to this story."""
        return f"{self.id}-{name}"

    def on(self, day: int, hour: int = 9) -> datetime:
        """Return an instant of the month, whose first day is 1; later than now in any case."""
        at = FIRST + timedelta(days=day - 1, hours=hour, minutes=self.chance.randrange(60))
        return max(at, self.now + timedelta(minutes=1))

    def after(self, **delta: int) -> datetime:
        """Return the instant that much later."""
        return self.now + timedelta(**delta)

    def do(self, command: Command | Making, *, by: Actor = CLERK, name: str = "") -> None:
        """
        Give a command, or what makes it, which the book must take.

        Known by its key, it is not made again: it would look at a later state of the book. The key
        follows from the command's place in the story, or from ``name`` where the place may vary.
        """
        self._give(command, by, self.key(name), is_refused=False)

    def refused(self, command: Command | Making, *, by: Actor = CLERK) -> None:
        """Give a command that the book must refuse."""
        self._give(command, by, self.key(), is_refused=True)

    def settle(self) -> None:
        """Let the machinery do what follows from the commands so far."""
        self.market.settle()

    def is_new(self) -> bool:
        """Tell whether the next command of this story was never given before."""
        return not self.market.knows(f"{self._keys}/{self._count + 1:03}")

    def key(self, name: str = "") -> str:
        """Return a key of this story by name, or that of its next command."""
        self._count += not name
        place = name or f"{self._count:03}"
        return f"{self._keys}/{place}"

    def _give(self, command: Command | Making, by: Actor, key: str, *, is_refused: bool) -> None:
        market = self.market
        market.counts["commands"] += 1
        market.counts["refused"] += is_refused
        # Also where it is known: the process may have been killed before its consequences were.
        market.stir()
        if market.knows(key):
            market.counts["known"] += 1
            return
        try:
            made = command if isinstance(command, Command) else command()
            envelope = Envelope(command=made, key=key, actor=by, correlation_id=self.id)
            self.book.execute_envelope(envelope)
        except Rejected as error:
            if not is_refused:
                market.surprises.append(f"{key}: {error.message}")
            return
        except OrderLedgerError as error:
            market.surprises.append(f"{key}: {error.message}")
            return
        if is_refused:
            market.surprises.append(f"{key}: {type(made).__name__} was expected to be refused")
