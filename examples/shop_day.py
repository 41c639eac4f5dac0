"""
A shop's day: two sellers in one order, a coupon, store credit, a cancellation, a return, a release.

Run it anywhere: python examples/shop_day.py. The book is in memory and ends with the script.
"""

from decimal import Decimal

from orderledger import Book
from orderledger.commands.decision import Command
from orderledger.commands.model import (
    AllocateRefund,
    Authorise,
    CancelLine,
    Capture,
    ConfirmOrder,
    GrantRefund,
    InitiatePayment,
    IssueValue,
    MeetReleaseCondition,
    PlaceOrder,
    RecordSettlement,
    RecordSucceeded,
    RedeemValue,
    ReleaseFunds,
    RequestRefund,
)
from orderledger.ledger.money import format_minor
from orderledger.ledger.order_content import Discount, Funder, LineInput, ShippingCharge
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.value_events import ValueKind, ValueSource

TEA = LineInput("tea", "TEA-1KG", "anna", 4, Decimal("12.50"))
# Bought by the gram: the unit price is finer than a cent, the line is rounded once.
SPICE = LineInput("spice", "SAFFRON-G", "bert", 7, Decimal("6.415"))


def place() -> list[Command]:
    """An order over two sellers, with a coupon of the platform on all of it."""
    return [
        IssueValue(
            account_id="sc-7",
            holder="buyer-7",
            kind=ValueKind.STORE_CREDIT,
            lot_id="sorry",
            amount=1000,
            currency="EUR",
            source=ValueSource.GOODWILL,
        ),
        PlaceOrder(
            order_id="o1",
            buyer_ref="buyer-7",
            currency="EUR",
            lines=(TEA, SPICE),
            shipping=(ShippingCharge("parcel", "anna", 490),),
            discounts=(Discount("SPRING", 500, Funder.PLATFORM),),
        ),
    ]


def pay(total: int) -> list[Command]:
    """Ten euros of store credit, the rest by card: authorised now, captured when it is sent."""
    card = total - 1000
    return [
        RedeemValue(
            account_id="sc-7", redemption_id="x1", amount=1000, currency="EUR", order_id="o1"
        ),
        InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="adyen",
            method="card",
            amount=card,
            currency="EUR",
        ),
        Authorise(payment_id="p1", op_id="a1", amount=card, currency="EUR"),
        RecordSucceeded(payment_id="p1", op_id="a1", provider_ref="psp-1"),
        ConfirmOrder(order_id="o1"),
    ]


def send(book: Book) -> list[Command]:
    """One bag of tea is out of stock: it is cancelled, and only the rest is captured."""
    book.execute(CancelLine(order_id="o1", line_id="tea", quantity=1, reason="out of stock"))
    due = book.order("o1").total - 1000
    return [
        Capture(payment_id="p1", op_id="c1", amount=due, currency="EUR"),
        RecordSucceeded(payment_id="p1", op_id="c1", provider_ref="psp-2"),
    ]


def take_back(book: Book) -> list[Command]:
    """Two grams of saffron come back; the card gets the money."""
    grant = GrantRefund(
        order_id="o1",
        refund_id="r1",
        reason="too much",
        source=RefundSource.RETURN,
        lines=(MovedLine("spice", 2),),
    )
    book.execute_many([grant, AllocateRefund(order_id="o1", refund_id="r1")], atomic=True)
    total = book.order("o1").granted
    return [
        RequestRefund(payment_id="p1", op_id="f1", refund_id="r1", amount=total, currency="EUR"),
        RecordSucceeded(payment_id="p1", op_id="f1", provider_ref="psp-3"),
    ]


def settle() -> list[Command]:
    """Delivered, and the window for returns is over: the sellers earn, less 15 % commission."""
    commands: list[Command] = [
        RecordSettlement(
            entry_id="settlement-1",
            provider="adyen",
            bank="main",
            gross=6081,
            fee=115,
            currency="EUR",
        )
    ]
    for seller in ("anna", "bert"):
        commands += [
            MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"),
            ReleaseFunds(
                order_id="o1",
                release_id=f"release-{seller}",
                seller=seller,
                commission_rate=Decimal("0.15"),
                rate_version="2026-01",
            ),
        ]
    return commands


def show(book: Book, title: str) -> None:
    """Print the trial balance; it is zero whenever one looks."""
    found = book.read.trial_balance()
    assert found.is_balanced
    print(f"{title}: order {book.order('o1').lifecycle}")
    for row in found.rows:
        amount = format_minor(row.debit - row.credit, row.currency)
        print(f"    {row.account:<32} {amount:>8} {row.currency}")


def main() -> None:
    """Live the day; each chapter is one atomic group of commands."""
    with Book(MemoryStore()) as book:
        book.execute_many(place(), atomic=True)
        show(book, "placed")
        book.execute_many(pay(book.order("o1").total), atomic=True)
        show(book, "paid, not captured")
        book.execute_many(send(book), atomic=True)
        show(book, "sent")
        book.execute_many(take_back(book), atomic=True)
        show(book, "two grams came back")
        book.execute_many(settle(), atomic=True)
        show(book, "settled and released")
        print("findings:", list(book.read.verify()))


if __name__ == "__main__":
    main()
