"""
The orders of the marketplace month that nobody contests: what they are paid with, and given back.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.commands.order_commands import (
    AllocateRefund,
    ConfirmOrder,
    CoverPolicy,
    GrantRefund,
)
from orderledger.commands.value_commands import IssueValue, RedeemValue, RestoreValue
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.value_events import ValueKind, ValueSource

from .demo_market_sales import SHIPPING, Sale, sold
from .demo_market_world import CURRENCY, Case, Tale

POINTS: Final = "PTS"
_GIFT: Final = 2_000
_POINTS: Final = 500
_POINTS_WORTH: Final = 400
_FIRST_CARD: Final = 5_000


def rich(case: Case) -> Tale:
    """Two sellers, tax, shipping, a tip, coupons; released by the timer, 14 days later."""
    yield case.on(1 + case.chance.randrange(4))
    sale = Sale(case, "ada", "bruno")
    sale.place(is_rich=True)
    sale.purchase()
    yield case.after(days=2)
    sale.deliver()


def plain(case: Case) -> Tale:
    """One seller, released on the day after the delivery."""
    yield case.on(1 + case.chance.randrange(6))
    sale = sold(case, case.chance.choice(("ada", "bruno", "chiara")))
    yield case.after(days=2)
    sale.deliver()
    yield case.after(days=1)
    sale.meet()


def captured_in_parts(case: Case) -> Tale:
    """Authorised at once, captured parcel by parcel."""
    yield case.on(2)
    sale = Sale(case, "ada", "chiara")
    sale.place()
    first, second = sale.line_amount(0), sale.line_amount(1)
    sale.authorise(first + second)
    for number, amount in enumerate((first, second)):
        yield case.after(days=1)
        sale.capture(amount, number, is_final=number == 1)
        sale.deliver(lines=(sale.lines[number],), number=number)
    yield case.after(days=2)
    sale.meet()


def split_tender(case: Case) -> Tale:
    """
    Gift card, points and two cards pay; a refund goes back to each of the four it came from.
    """
    yield case.on(3)
    sale = Sale(case, "ada", "bruno", price=4_000)
    sale.place(is_rich=True)
    _issue(case, "gift", ValueKind.GIFT_CARD, _GIFT, CURRENCY)
    _issue(case, "points", ValueKind.LOYALTY, _POINTS, POINTS)
    _redeem(case, "gift", _GIFT, CURRENCY, None)
    _redeem(case, "points", _POINTS, POINTS, _POINTS_WORTH)
    sale.purchase(_FIRST_CARD)
    rest = sale.order.due - _FIRST_CARD - _GIFT - _POINTS_WORTH
    sale.purchase(rest, suffix="-2")
    yield case.after(days=2)
    sale.deliver()
    yield case.after(days=1)
    sale.meet()
    yield case.after(days=2)
    _refund_everything(case, sale)


def _issue(case: Case, name: str, kind: ValueKind, amount: int, currency: str) -> None:
    issue = IssueValue(
        account_id=case.part(name),
        holder=case.part("buyer"),
        kind=kind,
        lot_id=case.part(f"{name}-lot"),
        amount=amount,
        currency=currency,
        source=ValueSource.GOODWILL,
    )
    case.do(issue)


def _redeem(case: Case, name: str, amount: int, currency: str, worth: int | None) -> None:
    case.do(
        RedeemValue(
            account_id=case.part(name),
            redemption_id=case.part(name),
            amount=amount,
            currency=currency,
            order_id=case.id,
            order_amount=worth,
        )
    )


def _refund_everything(case: Case, sale: Sale) -> None:
    """Grant all units, each tender its share; cards by the gateway, value by the shop."""
    refund_id = case.part("all")
    lines = tuple([MovedLine(one.line_id, one.quantity) for one in sale.lines])
    case.do(
        GrantRefund(
            order_id=case.id,
            refund_id=refund_id,
            reason="the collection was recalled",
            source=RefundSource.PRICE,
            lines=lines,
            shipping=sum([one.amount for one in SHIPPING]),
        )
    )
    case.settle()
    allocated = case.book.order(case.id).grants[refund_id].allocations
    for name in ("gift", "points"):
        if not allocated.get(case.part(name)):
            continue
        case.do(
            RestoreValue(
                account_id=case.part(name),
                restore_id=case.part(f"{name}-back"),
                redemption_id=case.part(name),
                order_id=case.id,
                refund_id=refund_id,
            )
        )


def gift_card_sold(case: Case) -> Tale:
    """A buyer pays for a gift card: the escrow of the order becomes value that is owed."""
    yield case.on(2)
    sale = Sale(case, "platform", price=2_500)
    sale.place()
    sale.purchase()
    case.do(
        IssueValue(
            account_id=case.part("card"),
            holder=case.part("card"),
            kind=ValueKind.GIFT_CARD,
            lot_id=case.part("lot"),
            amount=5_000,
            currency=CURRENCY,
            source=ValueSource.SALE,
            order_id=case.id,
        )
    )
    yield case.after(days=1)
    sale.deliver()


def refunded_before_release(case: Case) -> Tale:
    """One of two was broken: its price comes back out of escrow, the rest is released."""
    yield case.on(4)
    sale = sold(case, "chiara")
    yield case.after(days=2)
    sale.deliver()
    yield case.after(days=1)
    sale.refund_unit()
    sale.meet()


def refunded_after_release(case: Case) -> Tale:
    """The seller was paid already: it and the commission bear the refund."""
    yield case.on(5)
    sale = sold(case, "ada")
    yield case.after(days=2)
    sale.deliver()
    sale.meet()
    yield case.after(days=2)
    sale.refund_unit()


def frozen(case: Case) -> Tale:
    """The seller's identity is looked into: its part is frozen, then set free and released."""
    yield case.on(6)
    sale = sold(case, "bruno")
    yield case.after(days=1)
    freeze = FreezeFunds(
        order_id=case.id,
        freeze_id=case.part("check"),
        seller="bruno",
        amount=sale.line_amount(),
        cause="identity of the seller",
    )
    case.do(freeze)
    sale.deliver()
    yield case.after(days=3)
    lifted = UnfreezeFunds(order_id=case.id, freeze_id=case.part("check"), cause="papers are fine")
    case.do(lifted)
    sale.meet()


def never_paid(case: Case) -> Tale:
    """Nobody pays: the timer lets the order expire."""
    yield case.on(7)
    sale = Sale(case, "chiara")
    sale.place(payment_due_at=case.now + timedelta(hours=1))
    yield case.after(hours=12)
    case.refused(ConfirmOrder(order_id=case.id, policy=CoverPolicy.CHARGED))


def under_way(case: Case) -> Tale:
    """Paid on the last day: escrow holds the money when the month ends."""
    yield case.on(31)
    sold(case, "ada")


def allocated_twice(case: Case) -> Tale:
    """A refund that is allocated stays as it is: nobody can send it elsewhere."""
    yield case.on(6)
    sale = sold(case, "ada")
    yield case.after(days=1)
    sale.deliver()
    refund_id = sale.refund_unit()
    case.refused(AllocateRefund(order_id=case.id, refund_id=refund_id))
    sale.meet()


ORDERS: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "coupons, tax, shipping, tips": (2, rich),
    "paid and released": (4, plain),
    "captured parcel by parcel": (1, captured_in_parts),
    "gift card, points, two cards": (1, split_tender),
    "gift card bought": (1, gift_card_sold),
    "refunded before the release": (1, refunded_before_release),
    "refunded after the release": (1, refunded_after_release),
    "frozen and set free": (1, frozen),
    "never paid, expired": (1, never_paid),
    "refund that was sent twice": (1, allocated_twice),
    "still under way": (1, under_way),
}
"""By what an order goes through: how many, and its story."""
