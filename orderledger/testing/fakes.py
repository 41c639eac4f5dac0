"""
Fakes of the ports, in memory, for the tests of those who use orderledger.

They answer a repeated key as they answered it first, as an adapter must, and fail as told: what is
given to ``fail`` happens to the next requests, one each. ``effects`` is what really happened to the
world, by key: the thing to assert on.
"""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from orderledger.commands.decision import Command
from orderledger.commands.port_answers import command_of
from orderledger.ledger import provider_ports as p
from orderledger.ledger.errors import NotFound
from orderledger.ledger.payment_operations import Outcome

A = TypeVar("A")


class Failure(StrEnum):
    """
    What goes wrong with a request.

    NOT_SENT: the provider certainly did not get it. LOST: it timed out before the provider did
    anything. LATE: it timed out after the provider did it. DECLINED: the provider says no. PENDING:
    the provider goes on with it; see ``FakeGateway.settle``.
    """

    NOT_SENT = "not_sent"
    LOST = "lost"
    LATE = "late"
    DECLINED = "declined"
    PENDING = "pending"


class _Fake:
    """What the fakes share: requests in order, failures to come, effects by key."""

    def __init__(self) -> None:
        self.requests: Final[list[p.Request]] = []
        """Every request that arrived, repeated ones too."""
        self.effects: Final[dict[str, p.Request]] = {}
        """What happened to the world, once per key."""
        self._failures: Final[deque[Failure]] = deque()

    def fail(self, *failures: Failure) -> None:
        """Have the next requests fail, one each."""
        self._failures.extend(failures)

    def _next(self) -> Failure | None:
        return self._failures.popleft() if self._failures else None

    def _answered(
        self, request: p.Request, answers: dict[str, A], do: Callable[[Failure | None], A]
    ) -> A:
        failure = self._next()
        if failure is Failure.NOT_SENT:
            raise p.NotSent("the fake is out of reach")
        self.requests.append(request)
        if failure is Failure.LOST:
            raise p.OutcomeUnknown("the fake timed out before it did anything")
        known = answers.get(request.idempotency_key)
        if known is None:
            known = answers[request.idempotency_key] = do(failure)
        if failure is Failure.LATE:
            raise p.OutcomeUnknown("the fake timed out after it did what it was asked")
        return known


class FakeGateway(_Fake):
    """A payment provider. ``effects`` has the operations that succeeded, by idempotency key."""

    def __init__(self) -> None:
        super().__init__()
        self._results: Final[dict[str, p.GatewayResult]] = {}
        self._asked: Final[dict[str, p.GatewayRequest]] = {}

    def authorise(self, request: p.AuthoriseRequest) -> p.GatewayResult:
        """Reserve, unless told to fail."""
        return self._operate(request)

    def adjust(self, request: p.AdjustRequest) -> p.GatewayResult:
        """Set to another amount, unless told to fail."""
        return self._operate(request)

    def capture(self, request: p.CaptureRequest) -> p.GatewayResult:
        """Take, unless told to fail."""
        return self._operate(request)

    def void(self, request: p.VoidRequest) -> p.GatewayResult:
        """Give up, unless told to fail."""
        return self._operate(request)

    def refund(self, request: p.RefundRequest) -> p.GatewayResult:
        """Give back, unless told to fail."""
        return self._operate(request)

    def query(self, request: p.QueryRequest) -> p.GatewayResult:
        """Say what became of an operation; aborted if it never arrived."""
        if self._next() is not None:
            raise p.NotSent("the fake is out of reach")
        never = p.GatewayResult(outcome=Outcome.ABORTED, detail="no such operation")
        return self._results.get(request.idempotency_key, never)

    def settle(self, key: str, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        """Let an operation that is pending come to an end, as a later query will tell."""
        request = self._asked[key]
        self._results[key] = self._result(request, outcome)

    def notifications(self) -> tuple[Command, ...]:
        """
        Return what the provider would report of each operation, in order.

        Execute them once, twice, in another order or not at all: providers do.
        """
        made = [command_of(self._asked[key], result) for key, result in self._results.items()]
        return tuple([one for one in made if one is not None])

    def _operate(self, request: p.GatewayRequest) -> p.GatewayResult:
        def do(failure: Failure | None) -> p.GatewayResult:
            self._asked[request.idempotency_key] = request
            if failure is Failure.DECLINED:
                return self._result(request, Outcome.DECLINED)
            if failure is Failure.PENDING:
                return self._result(request, Outcome.PENDING)
            return self._result(request, Outcome.SUCCEEDED)

        return self._answered(request, self._results, do)

    def _result(self, request: p.GatewayRequest, outcome: Outcome) -> p.GatewayResult:
        key = request.idempotency_key
        if outcome is Outcome.SUCCEEDED:
            self.effects[key] = request
        reference = sha256(key.encode()).hexdigest()[:16]
        return p.GatewayResult(
            outcome=outcome,
            provider_ref=f"fake-{reference}",
            detail="" if outcome is Outcome.SUCCEEDED else outcome.value,
        )


class FakeBank(_Fake):
    """A bank that pays everything, unless told to fail. ``effects`` has what it paid, by key."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: Final[dict[str, p.BankAnswer]] = {}

    def pay_out(self, request: p.PayOutRequest) -> p.BankAnswer:
        """Pay, unless told to fail; what is pending stays so until somebody reports it."""

        def do(failure: Failure | None) -> p.BankAnswer:
            reference = f"wire-{len(self._answers) + 1}"
            if failure is Failure.DECLINED:
                return p.BankAnswer(
                    outcome=Outcome.DECLINED, bank_ref=reference, detail="no such account"
                )
            self.effects[request.idempotency_key] = request
            if failure is Failure.PENDING:
                return p.BankAnswer(outcome=Outcome.PENDING, bank_ref=reference)
            return p.BankAnswer(outcome=Outcome.SUCCEEDED, bank_ref=reference)

        return self._answered(request, self._answers, do)

    def query(self, request: p.PayOutQuery) -> p.BankAnswer:
        """Say what became of a payout; aborted if it never arrived."""
        if self._next() is not None:
            raise p.NotSent("the fake is out of reach")
        never = p.BankAnswer(outcome=Outcome.ABORTED, detail="no such payout")
        return self._answers.get(request.idempotency_key, never)


class FakeInventory(_Fake):
    """A stock of units by article; what is not named has no limit."""

    def __init__(self, stock: dict[str, int] | None = None) -> None:
        super().__init__()
        self.stock: Final = dict(stock or {})
        self.reserved: Final[dict[str, p.ReserveStock]] = {}
        """The reservations that stand, by their ids."""
        self._answers: Final[dict[str, p.StockAnswer]] = {}

    def reserve(self, request: p.ReserveStock) -> p.StockAnswer:
        """Set units aside while there are some."""

        def do(failure: Failure | None) -> p.StockAnswer:
            left = self.stock.get(request.sku, request.quantity)
            if failure is Failure.DECLINED or left < request.quantity:
                return p.StockAnswer(is_done=False, reason=f"{left} left of {request.sku}")
            if request.sku in self.stock:
                self.stock[request.sku] -= request.quantity
            self.reserved[request.reservation_id] = request
            self.effects[request.idempotency_key] = request
            return p.StockAnswer(is_done=True)

        return self._answered(request, self._answers, do)

    def release(self, request: p.ReleaseStock) -> p.StockAnswer:
        """Put units back; a reservation that is not there changes nothing."""

        def do(_failure: Failure | None) -> p.StockAnswer:
            found = self.reserved.pop(request.reservation_id, None)
            if found is not None and found.sku in self.stock:
                self.stock[found.sku] += found.quantity
            self.effects[request.idempotency_key] = request
            return p.StockAnswer(is_done=True)

        return self._answered(request, self._answers, do)


class FakeRiskAssessment(_Fake):
    """Holds orders from an amount on, in minor units (None: never)."""

    def __init__(self, suspicious_from: int | None = None) -> None:
        super().__init__()
        self._limit: Final = suspicious_from
        self._answers: Final[dict[str, p.RiskAnswer]] = {}

    def assess(self, request: p.AssessOrder) -> p.RiskAnswer:
        """Judge by the amount."""

        def do(_failure: Failure | None) -> p.RiskAnswer:
            self.effects[request.idempotency_key] = request
            is_large = self._limit is not None and request.amount >= self._limit
            return p.RiskAnswer(is_suspicious=is_large, reason="a large amount" if is_large else "")

        return self._answered(request, self._answers, do)


class FakeLogistics(_Fake):
    """A carrier that takes everything, unless told to decline."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: Final[dict[str, p.ShipAnswer]] = {}

    def ship(self, request: p.ShipRequest) -> p.ShipAnswer:
        """Take the consignment."""

        def do(failure: Failure | None) -> p.ShipAnswer:
            if failure is Failure.DECLINED:
                return p.ShipAnswer(carrier="", reason="not taken")
            self.effects[request.idempotency_key] = request
            return p.ShipAnswer(carrier="fake", tracking=f"T{len(self.effects)}")

        return self._answered(request, self._answers, do)


class FakeNotification(_Fake):
    """A mailbox: ``sent`` has every message once."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Final[list[p.Notify]] = []
        self._answers: Final[dict[str, p.NotifyAnswer]] = {}

    def notify(self, request: p.Notify) -> p.NotifyAnswer:
        """Send a message."""

        def do(_failure: Failure | None) -> p.NotifyAnswer:
            self.sent.append(request)
            self.effects[request.idempotency_key] = request
            return p.NotifyAnswer(message_ref=f"m{len(self.sent)}")

        return self._answered(request, self._answers, do)


class FakeEvidenceBlobs:
    """Bytes by their hash."""

    def __init__(self) -> None:
        self._blobs: Final[dict[str, bytes]] = {}

    def put(self, content: bytes) -> str:
        """Keep bytes under their SHA-256."""
        name = sha256(content).hexdigest()
        self._blobs[name] = content
        return name

    def get(self, sha256: str) -> bytes:
        """Return the bytes of a hash; raises NotFound."""
        if sha256 not in self._blobs:
            raise NotFound(f"there is no blob {sha256}", sha256=sha256)
        return self._blobs[sha256]


class FakeWorld(msgspec.Struct, frozen=True):
    """Every fake at once; ``ports`` is what a book is wired with."""

    gateway: FakeGateway = msgspec.field(default_factory=FakeGateway)
    bank: FakeBank = msgspec.field(default_factory=FakeBank)
    inventory: FakeInventory = msgspec.field(default_factory=FakeInventory)
    risk: FakeRiskAssessment = msgspec.field(default_factory=FakeRiskAssessment)
    logistics: FakeLogistics = msgspec.field(default_factory=FakeLogistics)
    notification: FakeNotification = msgspec.field(default_factory=FakeNotification)
    blobs: FakeEvidenceBlobs = msgspec.field(default_factory=FakeEvidenceBlobs)

    @property
    def ports(self) -> p.Ports:
        """The ports of a book in this world."""
        return p.Ports(
            payment_gateway=self.gateway,
            bank=self.bank,
            inventory=self.inventory,
            risk_assessment=self.risk,
            logistics=self.logistics,
            notification=self.notification,
        )
