"""Escrow slices: holding, releasing with commission and tax, coupons, currencies, giving back."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.order_commands import (
    AllocateRefund,
    CompleteOrder,
    ConversionTerms,
    GrantRefund,
    HoldFunds,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import RecordReversed
from orderledger.commands.refund_funding import funding_of
from orderledger.ledger import accounts
from orderledger.ledger.escrow_shares import OVERFLOW, shares_of
from orderledger.ledger.order_content import Discount, ShippingCharge, Surcharge, Tax, Tip
from orderledger.ledger.order_escrow import SliceStatus
from orderledger.ledger.order_events import MovedLine, MoveKind, RefundSource
from orderledger.ledger.payment_events import Capabilities, CaptureMode, FxQuote
from tests.order_book import OrderBook, item, platform

HOLD = HoldFunds(order_id="o1")
MULTI: dict[str, Any] = {
    "capture_mode": CaptureMode.MULTI,
    "capabilities": Capabilities(multicapture=True, captures_max=5),
}


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def meet(seller: str = "s1") -> MeetReleaseCondition:
    return MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered")


def release(seller: str = "s1", **fields: Any) -> ReleaseFunds:
    given: dict[str, Any] = {
        "release_id": f"rel-{seller}",
        "commission_rate": Decimal("0.12"),
        "rate_version": "2026",
        **fields,
    }
    return ReleaseFunds(order_id="o1", seller=seller, **given)


def refund(book: OrderBook, refund_id: str, *lines: tuple[str, int], **fields: Any) -> None:
    """Grant, allocate and pay a refund of o1."""
    given: dict[str, Any] = {"source": RefundSource.RETURN, **fields}
    moved = tuple([MovedLine(line_id, quantity) for line_id, quantity in lines])
    book.run(GrantRefund(order_id="o1", refund_id=refund_id, reason="r", lines=moved, **given))
    book.run(AllocateRefund(order_id="o1", refund_id=refund_id))
    for payment_id, amount in book.order().grants[refund_id].allocations.items():
        book.succeed(payment_id, book.refund(payment_id, refund_id, amount))


def credited(book: OrderBook, *names: str, currency: str = "USD") -> list[int]:
    """Return balances, credit positive."""
    return [-book.balance(name, currency) for name in names]


def test_the_worked_example_of_the_books(book: OrderBook) -> None:
    """A release that does not give seller, commission, tax and tip what the books say."""
    book.confirmed(
        item("a 1 x 100.00", tax=(Tax("NY", 825),)),
        shipping=(ShippingCharge("x", "s1", 1000),),
        tips=(Tip("s1", 500),),
    )
    assert book.order().total == 12325
    book.authorise("p1", 12325, **MULTI)
    book.capture("p1", 7325, number=1, final=False)
    book.run(HOLD)
    assert book.order().escrow_held == 7325
    book.capture("p1", 5000, number=2)
    assert book.escrow() == 12325
    book.run(meet())
    book.run(release())
    assert credited(
        book,
        accounts.seller("s1"),
        accounts.COMMISSION,
        accounts.tax("NY"),
        accounts.tips("s1"),
        accounts.escrow("o1"),
    ) == [9800, 1200, 825, 500, 0]
    one = book.order().slices["s1"]
    assert (one.status, one.commission, book.order().released) == (
        SliceStatus.RELEASED,
        1200,
        12325,
    )
    assert book.did(release()) == []


def test_shares_of_several_sellers_sum_to_the_order_and_its_coupons(book: OrderBook) -> None:
    """Money of the order that belongs to nobody, or to two."""
    book.confirmed(
        item("a 2 x 10.00", tax=(Tax("NY", 99, included=True), Tax("FED", 7))),
        item("b 1 x 5.00 of s2", discounts=(Discount("own", 50), platform("promo", 100))),
        shipping=(ShippingCharge("x", "s1", 300, carrier="dhl", tax=(Tax("NY", 20),)),),
        surcharges=(Surcharge("gift", "s2", 80),),
        discounts=(platform("code", 333),),
    )
    order = book.order()
    shares = shares_of(order)
    assert sum([one.total for one in shares.values()]) == order.total + 433
    for one in shares.values():
        assert one.items + sum(one.parts.values()) == one.total
    book.pay("p1", order.total)
    book.run(HOLD)
    assert book.escrow() == order.total + 433
    assert book.balance(accounts.PROMO) == 433
    for seller in ("s1", "s2"):
        book.run(meet(seller))
        book.run(release(seller))
    assert book.escrow() == 0
    assert credited(book, accounts.shipping("dhl"), accounts.tax("FED")) == [300, 7]


def converted(currency: str, rate: str) -> ReleaseFunds:
    return release(conversion=ConversionTerms(currency=currency, rate=Decimal(rate)))


RELEASES: list[tuple[str, bool, ReleaseFunds, str]] = [
    ("rate", True, release(commission_rate=Decimal("1.01")), "InvalidCommand"),
    ("float rate", True, release(commission_rate=0.5), "InvalidCommand"),
    ("amount", True, release(amount=0), "InvalidCommand"),
    ("tax without place", True, release(commission_tax_rate=Decimal("0.2")), "InvalidCommand"),
    ("rate of exchange", True, converted("EUR", "0"), "InvalidCommand"),
    ("currency", True, converted("XYZ", "1"), "UnknownCurrency"),
    ("stranger", True, release("s9"), "not_found"),
    ("condition", False, release(), "not_yet_due"),
    ("too much", True, release(amount=1001), "amount_exceeds_available"),
]


@pytest.mark.parametrize(
    ("is_met", "when", "then"), [row[1:] for row in RELEASES], ids=[row[0] for row in RELEASES]
)
def test_releases_that_cannot_be(
    is_met: bool, when: ReleaseFunds, then: str, book: OrderBook
) -> None:
    """Escrow that leaves before delivery, or beyond what the slice holds."""
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    if is_met:
        book.run(meet())
        assert book.did(meet()) == []
    assert book.refusal(when) == then


def test_nothing_captured_is_nothing_to_release(book: OrderBook) -> None:
    """A seller who is paid from money that did not arrive."""
    book.confirmed("a 1 x 10.00")
    book.authorise("p1", 1000)
    book.run(meet())
    assert book.refusal(release()) == "amount_exceeds_available"
    assert book.refusal(meet("s9")) == "not_found"


def test_partial_releases_end_exactly(book: OrderBook) -> None:
    """Cents left in escrow after a release in parts."""
    book.confirmed(
        item("a 1 x 33.33", tax=(Tax("NY", 277),)), shipping=(ShippingCharge("x", "s1", 501),)
    )
    book.pay("p1", book.order().total)
    book.run(meet())
    for number in range(4):
        book.run(release(release_id=f"r{number}", amount=1000))
    book.run(release(release_id="last"))
    assert book.escrow() == 0
    one = book.order().slices["s1"]
    assert (one.released_items, one.released_parts[("tax", "NY")]) == (3333, 277)


def test_commission_tax_is_charged_to_the_seller(book: OrderBook) -> None:
    """Recipe 9: tax on the commission that the platform would bear."""
    book.confirmed("a 1 x 100.00")
    book.pay("p1", 10000)
    book.run(meet())
    book.run(release(commission_tax_rate=Decimal("0.19"), commission_tax_jurisdiction="DE"))
    names = (accounts.seller("s1"), accounts.COMMISSION, accounts.tax("DE"))
    assert credited(book, *names) == [8800 - 228, 1200, 228]


def test_a_cross_border_release_balances_in_both_currencies(book: OrderBook) -> None:
    """Recipe 28: a seller owed another currency than the buyer paid."""
    book.confirmed(item("a 1 x 100.00", tax=(Tax("DE", 1900),)), currency="EUR")
    book.pay("p1", 11900, currency="EUR")
    book.run(meet())
    terms = ConversionTerms(currency="USD", rate=Decimal("1.0837"))
    book.run(release(conversion=terms))
    seller, commission = credited(book, accounts.seller("s1"), accounts.COMMISSION)
    assert (seller, commission) == (10837 - 1300, 1300)
    assert credited(book, accounts.FX_POSITION) == [-10837]
    assert credited(book, accounts.FX_POSITION, accounts.tax("DE"), currency="EUR") == [10000, 1900]
    assert book.escrow(currency="EUR") == 0


def test_a_conversion_to_a_currency_without_decimals(book: OrderBook) -> None:
    """A factor of one hundred between currencies of different exponents."""
    book.confirmed("a 1 x 100.00")
    book.pay("p1", 10000)
    book.run(meet())
    book.run(release(conversion=ConversionTerms(currency="JPY", rate=Decimal("150.5"))))
    assert credited(book, accounts.seller("s1"), currency="JPY") == [15050 - 1806]


def test_a_payment_in_another_currency_is_held_in_the_orders(book: OrderBook) -> None:
    """Escrow in two currencies, one of which is never released."""
    book.confirmed("a 1 x 100.00")
    quote = FxQuote("q", 10000, "USD", Decimal("0.90"))
    book.pay("p1", 9000, currency="EUR", fx=quote)
    book.run(HOLD)
    assert (book.escrow(), book.escrow(currency="EUR")) == (10000, 0)
    book.run(meet())
    book.run(release())
    assert book.escrow() == 0
    assert credited(book, accounts.FX_POSITION, currency="EUR") == [9000]


def test_a_refund_before_release_leaves_the_right_slice(book: OrderBook) -> None:
    """A refund of one seller's goods that another seller pays."""
    book.confirmed("a 1 x 30.00", "b 1 x 70.00 of s2")
    book.pay("p1", 10000)
    book.run(HOLD)
    refund(book, "r1", ("b", 1))
    book.run(HOLD)
    slices = book.order().slices
    assert (slices["s1"].available, slices["s2"].available) == (3000, 0)
    assert slices["s2"].status is SliceStatus.RETURNED
    assert book.escrow() == book.order().escrow_held == 3000


def test_a_coupon_goes_back_to_the_platform_with_the_goods(book: OrderBook) -> None:
    """Coupon money that stays in escrow after its goods were refunded."""
    book.confirmed(item("a 2 x 10.00", discounts=(platform("promo", 501),)))
    book.pay("p1", 1499)
    book.run(HOLD)
    assert book.escrow() == 2000
    refund(book, "r1", ("a", 1))
    book.run(HOLD)
    assert book.escrow() == shares_of(book.order())["s1"].total
    refund(book, "r2", ("a", 1))
    book.run(HOLD)
    assert (book.escrow(), book.balance(accounts.PROMO)) == (0, 0)


def test_a_free_order_is_released_from_the_coupon_alone(book: OrderBook) -> None:
    """A seller who is not paid because the platform paid everything."""
    book.confirmed(item("a 1 x 10.00", discounts=(platform("promo", 1000),)))
    book.run(meet())
    assert book.did(release()) == ["FundsHeld", "FundsReleased"]
    assert credited(book, accounts.seller("s1")) == [880]


def test_an_overpayment_is_held_apart_and_never_released(book: OrderBook) -> None:
    """A surplus of the buyer that a seller gets."""
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1500, is_over_tender=True)
    book.run(meet())
    book.run(release())
    assert book.order().slices[OVERFLOW].available == 500
    book.move(MoveKind.DELIVERED, ("a", 1))
    complete = CompleteOrder(order_id="o1")
    assert book.refusal(complete) == "amount_exceeds_available"
    refund(book, "r1", adjustment=500, source=RefundSource.OVERPAYMENT)
    book.run(HOLD)
    assert book.escrow() == 0
    assert book.did(complete) == ["OrderCompleted"]


def test_a_reversed_capture_leaves_the_slices(book: OrderBook) -> None:
    """A slice that shows money which the provider took back."""
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    book.run(HOLD)
    assert book.did(HOLD) == []
    book.run(RecordReversed(payment_id="p1", op_id="capture-p1-1", cause="failed late"))
    book.run(HOLD)
    assert book.escrow() == book.order().escrow_held == 0


def test_a_restocking_fee_goes_to_the_seller(book: OrderBook) -> None:
    """A fee kept from a refund that stays in escrow for ever."""
    book.confirmed("a 2 x 10.00")
    book.pay("p1", 2000)
    refund(book, "r1", ("a", 1), adjustment=-150)
    book.run(meet())
    book.run(release())
    assert book.escrow() == 0
    assert book.order().slices["s1"].released_items == 1150


def test_a_refund_after_release_takes_back_commission_and_tax_in_full(book: OrderBook) -> None:
    """More commission given back than was taken, or less, when everything is refunded in parts."""
    book.confirmed(item("a 3 x 33.33", tax=(Tax("NY", 825),)))
    book.pay("p1", 10824)
    book.run(meet())
    book.run(release())
    for number in range(3):
        refund_id = f"r{number}"
        book.run(
            GrantRefund(
                order_id="o1",
                refund_id=refund_id,
                reason="r",
                source=RefundSource.RETURN,
                lines=(MovedLine("a", 1),),
            )
        )
        book.run(AllocateRefund(order_id="o1", refund_id=refund_id))
        grant = book.order().grants[refund_id]
        funding = funding_of(book.order(), grant, grant.total)
        assert sum([part.amount for part in funding]) == grant.total
        book.succeed("p1", book.refund("p1", refund_id, grant.total, funding))
    assert credited(
        book,
        accounts.seller("s1"),
        accounts.COMMISSION,
        accounts.COMMISSION_REFUNDED,
        accounts.tax("NY"),
        accounts.refunds("o1"),
        accounts.psp("psp1"),
    ) == [0, 1200, -1200, 0, 0, 0]


def test_escrow_pays_first_and_a_sellers_debt_comes_last(book: OrderBook) -> None:
    """A seller who pays while escrow still holds the money, or a refund that nobody bears."""
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    book.run(meet())
    book.run(release(amount=600))
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="r1",
            reason="r",
            source=RefundSource.RETURN,
            lines=(MovedLine("a", 1),),
        )
    )
    grant = book.order().grants["r1"]
    found = {one.account: one.amount for one in funding_of(book.order(), grant, 1300)}
    assert found == {
        accounts.escrow("o1"): 400,
        accounts.seller("s1"): 528 + 300,
        accounts.COMMISSION_REFUNDED: 72,
    }
