"""
An order of the marketplace month as its story tells it: placed, paid, delivered, refunded.

Payments go to the provider through the outbox: an operation is requested, the machinery asks the
gateway, and the answer is recorded. So most steps end by letting the machinery work.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from orderledger.commands.fulfilment_commands import (
    ConfirmDelivery,
    CreateFulfilment,
    DispatchFulfilment,
    RecordDelivered,
)
from orderledger.commands.order_commands import GrantRefund, MeetReleaseCondition, PlaceOrder
from orderledger.commands.payment_commands import Authorise, Capture, InitiatePayment, Purchase
from orderledger.ledger.order_content import (
    Discount,
    Funder,
    LineInput,
    ShippingCharge,
    Tax,
    Tip,
)
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_events import Capabilities, CaptureMode

from .demo_market_world import CURRENCY, Case

PROVIDERS: Final = ("adyen", "stripe", "paypal", "cardco")
"""What the payments call their providers; the last one sends files in the generic format."""
SHIPPING: Final = (
    ShippingCharge("parcel", "ada", 490),
    ShippingCharge("freight", "bruno", 890, carrier="postco"),
)
"""Of a rich order, whose sellers are these two: one parcel is the seller's, one the carrier's."""
_ARTICLES: Final = ("mug", "lamp", "scarf", "clock", "print", "chair", "vase", "kettle")
_MANY: Final = Capabilities(multicapture=True, captures_max=5)


class Sale:
    """
    One order of a story. ``price`` is the price of a unit in cents of each seller's line; two
    units each.
    """

    def __init__(
        self, case: Case, *sellers: str, price: int = 0, provider: str = "", suffix: str = ""
    ) -> None:
        self.case: Final = case
        self.order_id: Final = case.id + suffix
        self.payment_id: Final = f"{self.order_id}-pay"
        self.provider: Final = provider or case.chance.choice(PROVIDERS)
        self.sellers: Final = sellers
        self.lines: Final = tuple(
            [
                self._line(number, one, price or case.chance.randrange(1_000, 9_000))
                for number, one in enumerate(sellers)
            ]
        )

    def _line(self, number: int, seller: str, price: int) -> LineInput:
        article = self.case.chance.choice(_ARTICLES)
        return LineInput(f"line-{number}", article, seller, 2, Decimal(price) / 100)

    @property
    def order(self) -> OrderState:
        """The order as it is now."""
        return self.case.book.order(self.order_id)

    def line_amount(self, number: int = 0) -> int:
        """Return what a line costs, in cents."""
        line = self.lines[number]
        return int(line.unit_price * line.quantity * 100)

    def place(self, *, is_rich: bool = False, **fields: object) -> None:
        """
        Place the order; a rich one has tax, shipping, a tip, and coupons of seller and platform.
        """
        lines, extra = (self._rich_lines(), self._extras()) if is_rich else (self.lines, {})
        command = PlaceOrder(
            order_id=self.order_id,
            buyer_ref=f"buyer-{self.case.chance.randrange(1, 30)}",
            currency=CURRENCY,
            channel="web",
            lines=lines,
            **{**extra, **fields},  # type: ignore[arg-type]  # fields of the command
        )
        self.case.do(command)

    def _rich_lines(self) -> tuple[LineInput, ...]:
        """Return the lines with tax, and with a coupon of their seller on the first one."""
        first, *others = self.lines
        coupon = (Discount("seller-spring", 150), Discount("welcome", 250, Funder.PLATFORM))
        taxed = [
            LineInput(
                line.line_id,
                line.sku,
                line.seller,
                line.quantity,
                line.unit_price,
                coupon if line is first else (),
                (Tax("de", int(line.unit_price * 19), included=False),),
            )
            for line in (first, *others)
        ]
        return tuple(taxed)

    def _extras(self) -> dict[str, object]:
        return {
            "shipping": SHIPPING,
            "tips": (Tip(self.sellers[0], 200),),
            "discounts": (Discount("spring-sale", 300, Funder.PLATFORM),),
        }

    def initiate(self, amount: int, *, suffix: str = "", mode: CaptureMode | None = None) -> str:
        """Begin a payment of an amount; return its id."""
        payment_id = f"{self.payment_id}{suffix}"
        command = InitiatePayment(
            payment_id=payment_id,
            order_id=self.order_id,
            provider=self.provider,
            method="card",
            amount=amount,
            currency=CURRENCY,
            capture_mode=mode or CaptureMode.AUTO,
            capabilities=_MANY if mode else Capabilities(),
        )
        self.case.do(command)
        return payment_id

    def purchase(self, amount: int | None = None, *, suffix: str = "") -> str:
        """Charge an amount at once, by default all that is due; return the payment."""
        charged = self.order.due if amount is None else amount
        payment_id = self.initiate(charged, suffix=suffix)
        self.case.do(
            Purchase(
                payment_id=payment_id,
                order_id=self.order_id,
                op_id="buy",
                amount=charged,
                currency=CURRENCY,
            )
        )
        self.case.settle()
        return payment_id

    def authorise(self, amount: int) -> str:
        """Reserve an amount, to be captured in parts; return the payment."""
        payment_id = self.initiate(amount, mode=CaptureMode.MULTI)
        self.case.do(
            Authorise(
                payment_id=payment_id,
                order_id=self.order_id,
                op_id="auth",
                amount=amount,
                currency=CURRENCY,
            )
        )
        self.case.settle()
        return payment_id

    def capture(self, amount: int, number: int, *, is_final: bool) -> None:
        """Take a part of what was authorised."""
        self.case.do(
            Capture(
                payment_id=self.payment_id,
                order_id=self.order_id,
                op_id=f"capture-{number}",
                amount=amount,
                currency=CURRENCY,
                is_final=is_final,
            )
        )
        self.case.settle()

    def deliver(self, *, lines: Sequence[LineInput] = (), number: int = 1) -> None:
        """Send lines, by default all, in one parcel; it arrives, and the buyer says so."""
        moved = tuple([MovedLine(one.line_id, one.quantity) for one in lines or self.lines])
        order_id, parcel = self.order_id, f"{self.order_id}-parcel-{number}"
        do = self.case.do
        do(CreateFulfilment(fulfilment_id=parcel, order_id=order_id, lines=moved, location="main"))
        do(
            DispatchFulfilment(
                fulfilment_id=parcel, order_id=order_id, carrier="postco", tracking=f"T-{parcel}"
            )
        )
        do(RecordDelivered(fulfilment_id=parcel, order_id=order_id, proof="signature"))
        do(ConfirmDelivery(fulfilment_id=parcel, order_id=order_id))

    def meet(self, *sellers: str) -> None:
        """Say that sellers' parts, by default all, may be released; the machinery does it."""
        for seller in sellers or dict.fromkeys(self.sellers):
            condition = MeetReleaseCondition(
                order_id=self.order_id, seller=seller, cause="the buyer is content"
            )
            self.case.do(condition)
        self.case.settle()

    def refund_unit(self, number: int = 0, *, name: str = "unit") -> str:
        """Grant the price of one unit of a line; the machinery pays it back. Return the refund."""
        refund_id = f"{self.order_id}-{name}"
        self.case.do(
            GrantRefund(
                order_id=self.order_id,
                refund_id=refund_id,
                reason="one of two was broken",
                source=RefundSource.PRICE,
                lines=(MovedLine(self.lines[number].line_id, 1),),
            )
        )
        self.case.settle()
        return refund_id


def sold(case: Case, *sellers: str, price: int = 0, provider: str = "", suffix: str = "") -> Sale:
    """Return an order that is placed and paid."""
    sale = Sale(case, *sellers, price=price, provider=provider, suffix=suffix)
    sale.place()
    sale.purchase()
    return sale
