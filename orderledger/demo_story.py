"""
What the demo's scenarios are written in: one order's story as a list of commands in order.

A story depends on its seed only. So the whole day can be told again from the beginning after a
crash: what the book knows is recognised by its key, the rest is executed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Final

import msgspec

from orderledger.commands.decision import Command
from orderledger.commands.fulfilment_commands import (
    ConfirmDelivery,
    CreateFulfilment,
    DispatchFulfilment,
    RecordDelivered,
)
from orderledger.commands.order_commands import (
    AllocateRefund,
    CompleteOrder,
    ConfirmOrder,
    CoverPolicy,
    MeetReleaseCondition,
    PlaceOrder,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    InitiatePayment,
    Purchase,
    ReceiveNotification,
    RequestRefund,
)
from orderledger.commands.requests import Actor, Envelope, Source
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.order_content import LineInput, ShippingCharge
from orderledger.ledger.order_events import MovedLine
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from orderledger.ledger.payment_operations import FundingPart, Outcome

CURRENCY: Final = "EUR"
MORNING: Final = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""The demo's clock stands still after everything that its stories tell."""
CARD: Final = "cardco"
WALLET: Final = "walletco"
COMMISSION: Final = Decimal("0.12")
SELLERS: Final = ("ada", "bruno", "chiara", "dmitri")
ARTICLES: Final = ("mug", "lamp", "scarf", "clock", "print", "chair", "vase", "kettle")
_SHIPPING: Final = 490
_CAPABILITIES: Final = Capabilities(multicapture=True, captures_max=5)
_GATEWAY: Final = Actor("gateway", CARD)
_SHOP: Final = Actor("system", "shop")


class Step(msgspec.Struct, frozen=True):
    """A command with its envelope; ``is_refused`` where the scenario means it to be refused."""

    envelope: Envelope
    is_refused: bool = False


class Story:
    """
    One order from its first minute on. Methods append commands; ``steps`` is the result.

    ``kind`` names the scenario for the counts that the demo prints.
    """

    def __init__(self, seed: int, number: int, kind: str) -> None:
        self.kind: Final = kind
        self.order_id: Final = f"s{seed}-{number:04}"
        self.steps: Final[list[Step]] = []
        self.chance: Final = Random(f"{seed}/{number}/{kind}")
        self.at = MORNING + timedelta(minutes=7 * number)
        self.lines: Final = self._basket()
        self._key: Final = f"demo/{seed}/{number:04}"
        self._notifications = 0

    def _basket(self) -> tuple[LineInput, ...]:
        count = self.chance.randrange(1, 4)
        sellers = self.chance.sample(SELLERS, 2)
        return tuple(
            [
                LineInput(
                    f"line-{index}",
                    self.chance.choice(ARTICLES),
                    sellers[index % 2],
                    self.chance.randrange(2, 5),
                    Decimal(self.chance.randrange(400, 9_900)) / 100,
                )
                for index in range(1, count + 1)
            ]
        )

    # -- what it comes to ---------------------------------------------------------------------

    @property
    def items(self) -> int:
        """What the lines cost, in cents."""
        return sum([self.line_amount(line) for line in self.lines])

    @property
    def total(self) -> int:
        """What the order costs, in cents."""
        return self.items + _SHIPPING

    @property
    def sellers(self) -> tuple[str, ...]:
        """Who sells something in it, in the order of the lines."""
        return tuple(dict.fromkeys([line.seller for line in self.lines]))

    @staticmethod
    def line_amount(line: LineInput) -> int:
        return int(line.unit_price * line.quantity * 100)

    @staticmethod
    def unit(line: LineInput) -> int:
        return int(line.unit_price * 100)

    def part(self, name: str) -> str:
        """Return an id that belongs to this order: its payment, operation, parcel, refund."""
        return f"{self.order_id}-{name}"

    # -- telling it ----------------------------------------------------------------------------

    def do(self, command: Command, *, is_refused: bool = False, by: Actor = _SHOP) -> None:
        """Append a command, a few minutes after the one before, under a key of its place."""
        self.at += timedelta(minutes=self.chance.randrange(1, 40))
        timed = msgspec.structs.replace(command, occurred_at=self.at)
        envelope = Envelope(
            command=timed,
            key=f"{self._key}/{len(self.steps):03}",
            actor=by,
            correlation_id=self.order_id,
            source=Source.GATEWAY if by is _GATEWAY else Source.COMMAND,
        )
        self.steps.append(Step(envelope, is_refused))

    def place(self, *, payment_due_at: datetime | None = None) -> None:
        shipping = ShippingCharge("parcel", self.lines[0].seller, _SHIPPING)
        self.do(
            PlaceOrder(
                order_id=self.order_id,
                buyer_ref=f"buyer-{self.chance.randrange(1, 60)}",
                currency=CURRENCY,
                channel="web",
                lines=self.lines,
                shipping=(shipping,),
                payment_due_at=payment_due_at,
            )
        )

    def initiate(self, amount: int, *, provider: str = CARD) -> str:
        """Start a payment; return its id."""
        payment_id = self.part("card" if provider == CARD else "wallet")
        self.do(
            InitiatePayment(
                payment_id=payment_id,
                order_id=self.order_id,
                provider=provider,
                method="card" if provider == CARD else "wallet",
                amount=amount,
                currency=CURRENCY,
                capture_mode=CaptureMode.MULTI if provider == CARD else CaptureMode.AUTO,
                capabilities=_CAPABILITIES,
            )
        )
        return payment_id

    def authorise(self, payment_id: str, amount: int) -> None:
        op_id = self.part("auth")
        self.do(
            Authorise(
                payment_id=payment_id,
                order_id=self.order_id,
                op_id=op_id,
                amount=amount,
                currency=CURRENCY,
            )
        )

    def purchase(self, payment_id: str, amount: int) -> str:
        op_id = self.part("purchase")
        self.do(
            Purchase(
                payment_id=payment_id,
                order_id=self.order_id,
                op_id=op_id,
                amount=amount,
                currency=CURRENCY,
            )
        )
        return op_id

    def capture(self, payment_id: str, amount: int, number: int, *, is_final: bool) -> str:
        op_id = self.part(f"capture-{number}")
        self.do(
            Capture(
                payment_id=payment_id,
                order_id=self.order_id,
                op_id=op_id,
                amount=amount,
                currency=CURRENCY,
                is_final=is_final,
            )
        )
        return op_id

    def notify(self, payment_id: str, outcome: Outcome, fields: Mapping[str, object]) -> None:
        """The provider reports something; ``fields`` are those of the observation."""
        self._notifications += 1
        self._deliver(payment_id, outcome, fields, self._notifications)

    def notify_again(self, payment_id: str, outcome: Outcome, fields: Mapping[str, object]) -> None:
        """The provider delivers the last notification once more."""
        self._deliver(payment_id, outcome, fields, self._notifications)

    def _deliver(
        self, payment_id: str, outcome: Outcome, fields: Mapping[str, object], number: int
    ) -> None:
        seen = msgspec.convert(
            {"payment_id": payment_id, "outcome": outcome.value, **fields}, Observation
        )
        body = msgspec.json.encode(seen)
        command = ReceiveNotification(
            provider=WALLET if payment_id.endswith("wallet") else CARD,
            notification_id=f"{self.order_id}.{number}",
            kind=f"{seen.kind or 'operation'}.{outcome.value}",
            body_sha256=sha256(body).hexdigest(),
            signature_ok=True,
            interpreted=seen,
        )
        self.do(command, by=_GATEWAY)

    def succeeded(self, payment_id: str, op_id: str, amount: int, sequence: int = -1) -> None:
        """The provider reports that an operation succeeded, perhaps with its own sequence."""
        fields = {"op_id": op_id, "provider_ref": f"ref-{op_id}", "amount": amount}
        named = {**fields, "currency": CURRENCY, "sequence": sequence}
        self.notify(payment_id, Outcome.SUCCEEDED, named)

    def declined(self, payment_id: str, op_id: str, code: str, sequence: int = -1) -> None:
        """The provider reports that an operation was declined, perhaps with its own sequence."""
        named = {"op_id": op_id, "provider_ref": f"ref-{op_id}", "sequence": sequence}
        fields = {**named, "code": code}
        self.notify(payment_id, Outcome.DECLINED, fields)

    def confirm(self, policy: CoverPolicy = CoverPolicy.AUTHORISED) -> None:
        self.do(ConfirmOrder(order_id=self.order_id, policy=policy))

    def ship(self, lines: tuple[LineInput, ...], number: int) -> None:
        """Pack, hand over, deliver, and let the buyer confirm."""
        fulfilment_id = self.part(f"parcel-{number}")
        moved = tuple([MovedLine(line.line_id, line.quantity) for line in lines])
        order_id = self.order_id
        self.do(
            CreateFulfilment(
                fulfilment_id=fulfilment_id, order_id=order_id, lines=moved, location="main"
            )
        )
        self.do(
            DispatchFulfilment(
                fulfilment_id=fulfilment_id,
                order_id=order_id,
                carrier="postco",
                tracking=f"T{fulfilment_id}",
            )
        )
        self.do(RecordDelivered(fulfilment_id=fulfilment_id, order_id=order_id, proof="signature"))
        self.do(ConfirmDelivery(fulfilment_id=fulfilment_id, order_id=order_id))

    def release(self) -> None:
        """Pay what escrow holds to the sellers, less commission."""
        for seller in self.sellers:
            self.do(MeetReleaseCondition(order_id=self.order_id, seller=seller, cause="delivered"))
            self.do(
                ReleaseFunds(
                    order_id=self.order_id,
                    release_id=self.part(f"release-{seller}"),
                    seller=seller,
                    commission_rate=COMMISSION,
                    rate_version="2026",
                )
            )

    def complete(self) -> None:
        self.do(CompleteOrder(order_id=self.order_id, by="timer"))

    def refund(
        self, payment_id: str, refund_id: str, amount: int, funding: tuple[FundingPart, ...] = ()
    ) -> str:
        """Allocate a granted refund to its payment and request it; return the operation."""
        op_id = f"{refund_id}-1"
        self.do(AllocateRefund(order_id=self.order_id, refund_id=refund_id))
        self.do(
            RequestRefund(
                payment_id=payment_id,
                order_id=self.order_id,
                op_id=op_id,
                amount=amount,
                currency=CURRENCY,
                refund_id=refund_id,
                funding=funding,
            )
        )
        return op_id
