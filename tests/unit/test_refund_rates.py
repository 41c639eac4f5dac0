"""Refunds after a release: what each account gives back, at the rates of that release."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.order_commands import (
    AllocateRefund,
    AllocationStrategy,
    ConversionTerms,
    GrantRefund,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import (
    RecordDeclined,
    RequestRefund,
)
from orderledger.commands.refund_funding import funded_by
from orderledger.ledger import accounts
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import InvalidCommand
from orderledger.ledger.escrow_events import FundsRecovered
from orderledger.ledger.journal import encode_entry
from orderledger.ledger.order_content import ShippingCharge, Tax
from orderledger.ledger.order_events import MovedLine, PaymentPart, RefundSource
from orderledger.ledger.payment_events import FxQuote
from orderledger.ledger.payment_operations import Component, FundingPart, Recovery
from tests.order_book import OrderBook, item, platform

SELLER = accounts.seller("s1")
BACK = accounts.COMMISSION_REFUNDED
DOLLARS = ConversionTerms(currency="USD", rate=Decimal("1.0837"))


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def release(book: OrderBook, release_id: str = "rel", rate: str = "0.12", **fields: Any) -> None:
    """Release o1's seller s1."""
    book.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    book.run(
        ReleaseFunds(
            order_id="o1",
            seller="s1",
            release_id=release_id,
            commission_rate=Decimal(rate),
            rate_version="2026",
            **fields,
        )
    )


def grant(book: OrderBook, refund_id: str, quantity: int = 1, **allocation: Any) -> int:
    """Grant units of line a and allocate them; return the grant's total."""
    moved = (MovedLine("a", quantity),)
    source = RefundSource.RETURN
    book.run(
        GrantRefund(order_id="o1", refund_id=refund_id, reason="r", source=source, lines=moved)
    )
    book.run(AllocateRefund(order_id="o1", refund_id=refund_id, **allocation))
    return book.order().grants[refund_id].total


def refund(book: OrderBook, refund_id: str, quantity: int = 1, paid: int = 0) -> str:
    """
    Give units of line a back by p1, ``paid`` in its currency if that is another; return what the
    request posts.
    """
    amount = grant(book, refund_id, quantity)
    command = RequestRefund(
        payment_id="p1",
        op_id=f"refund-{refund_id}-p1",
        amount=paid or amount,
        currency=book.states["payment-p1"].currency,
        refund_id=refund_id,
        order_amount=amount,
    )
    requested = book.run(command)[0]
    book.succeed("p1", command.op_id)
    return encode_entry(requested.entry)


def posted(book: OrderBook, *names: str, currency: str = "USD") -> list[int]:
    """Return balances, debit positive."""
    return [book.balance(name, currency) for name in names]


def test_a_cross_border_seller_gives_back_what_was_credited(book: OrderBook) -> None:
    """Recipe 28 backwards: a seller credited dollars and debited euros, or at another rate."""
    book.confirmed(item("a 2 x 50.00", tax=(Tax("DE", 1900),)), currency="EUR")
    book.pay("p1", 11900, currency="EUR")
    release(book, conversion=DOLLARS)
    assert posted(book, SELLER, accounts.COMMISSION, accounts.FX_POSITION) == [-9537, -1300, 10837]
    # Half of the items: 1.0837 × 5000 = 5418.5, half-even; half of the commission of 1300.
    assert refund(book, "r1").splitlines() == [
        "posted equity:fx EUR 5000",
        "posted liabilities:tax:DE EUR 950",
        "posted liabilities:refunds:o1 EUR -5950",
        "posted liabilities:seller:s1 USD 4768",
        "posted equity:fx USD -5418",
        "posted income:commission_refunded USD 650",
    ]
    refund(book, "r2")
    assert posted(book, SELLER, BACK, accounts.FX_POSITION) == [0, 1300, 0]
    names = (accounts.FX_POSITION, accounts.tax("DE"), accounts.refunds("o1"), SELLER)
    assert posted(book, *names, currency="EUR") == [0, 0, 0, 0]


def test_the_event_carries_rate_and_inputs(book: OrderBook) -> None:
    """A replay that has to compute what was debited, or an auditor who cannot."""
    book.confirmed("a 2 x 50.00", currency="EUR")
    book.pay("p1", 10000, currency="EUR")
    release(book, conversion=DOLLARS)
    grant(book, "r1")
    book.refund("p1", "r1", 5000)
    rate = Decimal("1.0837")
    assert book.order().recovered["p1", "refund-r1-p1"] == (
        FundingPart(SELLER, 4400, "s1", Recovery(Component.ITEMS, "rel", 0, 4768, "USD", rate)),
        FundingPart(BACK, 600, "s1", Recovery(Component.COMMISSION, "rel", 0, 650, "USD", rate)),
    )
    assert (
        book.states["payment-p1"].operations["refund-r1-p1"].funding
        == book.order().recovered["p1", "refund-r1-p1"]
    )


def test_a_declined_refund_gives_the_dollars_back(book: OrderBook) -> None:
    """Recipe 13: a refund that failed and left the seller short, or the currency position open."""
    book.confirmed("a 2 x 50.00", currency="EUR")
    book.pay("p1", 10000, currency="EUR")
    release(book, conversion=DOLLARS)
    names = (SELLER, BACK, accounts.FX_POSITION, accounts.refunds("o1"))
    before = [posted(book, *names, currency=code) for code in ("USD", "EUR")]
    grant(book, "r1")
    op_id = book.refund("p1", "r1", 5000)
    book.run(RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    assert [posted(book, *names, currency=code) for code in ("USD", "EUR")] == before
    assert book.order().recovered["p1", op_id] == ()


def test_sellers_shipping_is_converted_with_the_items(book: OrderBook) -> None:
    """Shipping that the seller was credited in dollars and gives back in euros."""
    charge = ShippingCharge("x", "s1", 1000)
    book.confirmed("a 1 x 100.00", currency="EUR", shipping=(charge,))
    book.pay("p1", 11000, currency="EUR")
    release(book, conversion=DOLLARS)
    # 1.0837 × 11000 = 11920.7; commission 1300.
    assert posted(book, SELLER) == [-(11921 - 1300)]
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="r1",
            reason="r",
            source=RefundSource.RETURN,
            lines=(MovedLine("a", 1),),
            shipping=1000,
        )
    )
    book.run(AllocateRefund(order_id="o1", refund_id="r1"))
    book.succeed("p1", book.refund("p1", "r1", 11000))
    assert posted(book, SELLER, BACK, accounts.FX_POSITION) == [0, 1300, 0]
    assert posted(book, accounts.FX_POSITION, currency="EUR") == [0]


def test_tax_on_the_commission_comes_back_with_it(book: OrderBook) -> None:
    """Recipe 9 kept by the authority when the commission was given back, or given back twice."""
    book.confirmed("a 3 x 33.33")
    book.pay("p1", 9999)
    release(
        book, rate="0.125", commission_tax_rate=Decimal("0.19"), commission_tax_jurisdiction="DE"
    )
    # 12.5 % of 9999 = 1249.875; 19 % of 1250 = 237.5, half-even.
    assert posted(book, SELLER, accounts.tax("DE")) == [-(9999 - 1250 - 238), -238]
    steps = []
    for number in range(3):
        refund(book, f"r{number}")
        steps.append(posted(book, SELLER, BACK, accounts.tax("DE")))
    # Thirds of 1250 and 238, cumulative: 417, 833, 1250 and 79, 159, 238.
    assert steps == [
        [-(9999 - 1250 - 238) + 3333 - 417 - 79, 417, -(238 - 79)],
        [-(9999 - 1250 - 238) + 6666 - 833 - 159, 833, -(238 - 159)],
        [0, 1250, 0],
    ]


def test_tax_on_the_commission_is_not_taken_for_tax_on_the_goods(book: OrderBook) -> None:
    """One account of both taxes, of which a refund takes the wrong one."""
    book.confirmed(item("a 2 x 50.00", tax=(Tax("DE", 1900),)))
    book.pay("p1", 11900)
    release(book, commission_tax_rate=Decimal("0.19"), commission_tax_jurisdiction="DE")
    assert posted(book, accounts.tax("DE")) == [-1900 - 228]
    refund(book, "r1")
    assert posted(book, accounts.tax("DE"), SELLER) == [-950 - 114, -(8800 - 228) // 2]
    refund(book, "r2")
    assert posted(book, accounts.tax("DE"), SELLER, BACK) == [0, 0, 1200]


def test_tax_on_a_converted_commission_comes_back_in_its_currency(book: OrderBook) -> None:
    """Recipe 9 in dollars given back in euros."""
    book.confirmed("a 3 x 33.33", currency="EUR")
    book.pay("p1", 9999, currency="EUR")
    release(
        book,
        conversion=DOLLARS,
        commission_tax_rate=Decimal("0.19"),
        commission_tax_jurisdiction="DE",
    )
    names = (SELLER, accounts.tax("DE"), accounts.FX_POSITION)
    # 1.0837 × 9999, × 1200 and × 228: 10836, 1300 and 247.
    assert posted(book, *names) == [-(10836 - 1300 - 247), -247, 10836]
    for number in range(3):
        refund(book, f"r{number}")
        assert posted(book, accounts.tax("DE"))[0] <= 0
    assert posted(book, *names, BACK) == [0, 0, 0, 1300]


def test_each_part_of_a_refund_comes_from_releases_at_their_own_rate(book: OrderBook) -> None:
    """A blended rate: 600 would be 800, and commission of 10 % given back at 16 %."""
    book.confirmed("a 2 x 50.00")
    book.pay("p1", 10000)
    release(book, "first", "0.10", amount=4000)
    release(book, "second", "0.20")
    assert posted(book, accounts.COMMISSION) == [-(400 + 1200)]
    refund(book, "r1")
    assert posted(book, BACK) == [400 + 200]
    parts = book.order().recovered["p1", "refund-r1-p1"]
    assert [(part.recovery.release_id, part.amount) for part in parts if part.recovery] == [
        ("first", 3600),
        ("first", 400),
        ("second", 800),
        ("second", 200),
    ]
    refund(book, "r2")
    assert posted(book, BACK, SELLER) == [1600, 0]


def test_each_part_comes_from_releases_at_their_own_exchange_rate(book: OrderBook) -> None:
    """Dollars at the wrong day's rate, or euros for the part that was never converted."""
    book.confirmed("a 2 x 50.00", currency="EUR")
    book.pay("p1", 10000, currency="EUR")
    release(book, "first", "0", amount=4000, conversion=DOLLARS)
    other = ConversionTerms(currency="USD", rate=Decimal("1.20"))
    release(book, "second", "0", amount=4000, conversion=other)
    release(book, "third", "0")
    assert posted(book, SELLER) == [-(4335 + 4800)]
    refund(book, "r1")
    assert posted(book, SELLER) == [-(4800 - 1200)]
    refund(book, "r2")
    names = (SELLER, accounts.FX_POSITION)
    assert posted(book, *names) == posted(book, *names, currency="EUR") == [0, 0]


def test_a_refund_takes_from_the_releases_that_its_tender_paid_for(book: OrderBook) -> None:
    """Commission of one capture given back for another: invariant 21 of each capture."""
    book.confirmed("a 10 x 10.00")
    book.pay("p1", 4000)
    release(book, "first", "0.10")
    book.pay("p2", 6000)
    release(book, "second", "0.20")
    second = {"strategy": AllocationStrategy.EXPLICIT, "parts": (PaymentPart("p2", 6000),)}
    amount = grant(book, "r1", 6, **second)
    book.succeed("p2", book.refund("p2", "r1", amount))
    assert posted(book, BACK) == [1200]
    refund(book, "r2", 4)
    assert posted(book, BACK, SELLER) == [1600, 0]


def foreign(book: OrderBook, **conversion: Any) -> None:
    """An order of 100.00 USD in three lines' units, paid with 90.01 EUR and released."""
    book.confirmed("a 4 x 25.00")
    quote = FxQuote("q", 10000, "USD", Decimal("0.9001"))
    book.pay("p1", 9001, currency="EUR", fx=quote)
    release(book, **conversion)


def test_a_payment_in_another_currency_is_refunded_by_what_the_seller_got(book: OrderBook) -> None:
    """A seller who got dollars and owes euros: the debt and the currency position never close."""
    foreign(book)
    fx = accounts.FX_POSITION
    assert posted(book, SELLER, fx) == [-8800, 10000]
    refund(book, "r1", paid=2250)
    assert posted(book, SELLER, BACK, fx) == [-6600, 300, 7500]
    assert posted(book, SELLER, fx, currency="EUR") == [0, -(9001 - 2250)]
    for number, euros in ((2, 2250), (3, 2251), (4, 2250)):
        refund(book, f"r{number}", paid=euros)
    assert posted(book, SELLER, BACK, fx) == [0, 1200, 0]
    assert posted(book, SELLER, fx, accounts.refunds("o1"), currency="EUR") == [0, 0, 0]


def test_three_currencies_close(book: OrderBook) -> None:
    """Paid in euros, ordered in dollars, credited in yen: one position that stays open."""
    foreign(book, conversion=ConversionTerms(currency="JPY", rate=Decimal("150.55")))
    assert posted(book, SELLER, currency="JPY") == [-(15055 - 1807)]
    for number, euros in enumerate((2250, 2250, 2251, 2250)):
        refund(book, f"r{number}", paid=euros)
        assert -(15055 - 1807) < posted(book, SELLER, currency="JPY")[0] <= 0
    for currency in ("JPY", "USD", "EUR"):
        names = (SELLER, accounts.FX_POSITION, accounts.refunds("o1"))
        assert posted(book, *names, currency=currency) == [0, 0, 0]
    assert posted(book, BACK, currency="JPY") == [1807]


def test_a_seller_credited_in_the_payments_currency(book: OrderBook) -> None:
    """Euros to dollars and back to euros at another rate: what differs is the position's."""
    foreign(book, conversion=ConversionTerms(currency="EUR", rate=Decimal("0.95")))
    names = (SELLER, BACK, accounts.FX_POSITION)
    assert posted(book, *names, currency="EUR") == [-(9500 - 1140), 0, 9500 - 9001]
    refund(book, "r1", 4, paid=9001)
    assert posted(book, *names, currency="EUR") == [0, 1140, 0]
    assert posted(book, *names) == [0, 0, 0]


def test_funding_that_a_caller_names_is_debited_as_it_was_credited(book: OrderBook) -> None:
    """A caller who may choose who bears a refund, but not the rate."""
    foreign(book)
    grant(book, "r1")
    named = (FundingPart(SELLER, 2000), FundingPart(BACK, 250))
    command = RequestRefund(
        payment_id="p1", op_id="x", amount=2250, currency="EUR", refund_id="r1", funding=named
    )
    book.run(command)
    # 2500 USD stand for 2250 EUR; 2000 and 250 of these for 2222 and 278.
    assert posted(book, SELLER, BACK) == [-(8800 - 2222), 278]
    assert posted(book, SELLER, BACK, currency="EUR") == [0, 0]
    assert book.did(command) == []


def test_a_caller_names_no_release(book: OrderBook) -> None:
    """A command that states at which rate an account was credited."""
    foreign(book)
    grant(book, "r1")
    part = FundingPart(SELLER, 2250, "s1", Recovery(Component.ITEMS, "rel", 1, 1, "USD"))
    with pytest.raises(InvalidCommand):
        book.run(
            RequestRefund(
                payment_id="p1",
                op_id="x",
                amount=2250,
                currency="EUR",
                refund_id="r1",
                funding=(part,),
            )
        )


def test_a_debt_beyond_every_release_is_in_the_sellers_currency(book: OrderBook) -> None:
    """A debt in a currency in which the seller never gets anything that would recover it."""
    book.confirmed("a 1 x 100.00", currency="EUR")
    book.pay("p1", 10000, currency="EUR")
    release(book, conversion=DOLLARS)
    grant(book, "r1")
    order = book.order()
    seller, commission, debt = funded_by(order, order.grants["r1"], 10500, "p1").parts
    assert (seller.amount, commission.amount, debt.amount) == (8800, 1200, 500)
    # 1.0837 × 500 = 541.85
    rate = Decimal("1.0837")
    assert debt.recovery == Recovery(Component.DEBT, "", 0, 542, "USD", rate)


def test_a_coupon_goes_back_in_the_orders_currency(book: OrderBook) -> None:
    """A coupon paid in dollars and given back in euros."""
    book.confirmed(item("a 2 x 50.00", discounts=(platform("code", 1000),)))
    quote = FxQuote("q", 9000, "USD", Decimal("0.90"))
    book.pay("p1", 8100, currency="EUR", fx=quote)
    release(book)
    assert posted(book, accounts.PROMO) == [1000]
    refund(book, "r1", paid=4050)
    assert posted(book, accounts.PROMO, SELLER, BACK) == [500, -4400, 600]
    refund(book, "r2", paid=4050)
    assert posted(book, accounts.PROMO, SELLER, BACK, accounts.FX_POSITION) == [0, 0, 1200, 0]
    assert posted(book, accounts.PROMO, accounts.FX_POSITION, currency="EUR") == [0, 0]


def test_what_was_recovered_before_counts_against_the_oldest_release(book: OrderBook) -> None:
    """History of version 1, which named no release, taken back a second time."""
    book.confirmed("a 2 x 50.00")
    book.pay("p1", 10000)
    release(book, "first", "0.10", amount=5000)
    release(book, "second", "0.20")
    old = (
        '{"tender_id":"p0","op_id":"x","parts":['
        '{"account":"liabilities:seller:s1","amount":1800,"slice_id":"s1"},'
        '{"account":"income:commission_refunded","amount":200,"slice_id":"s1"}]}'
    )
    event = decode_event("order.funds_recovered.v1", old)
    assert isinstance(event, FundsRecovered)
    book.given("order-o1", event)
    grant(book, "r1", 2)
    book.refund("p1", "r1", 8000)
    # Of the first release 300 of the commission of 500 are left, of the second all 1000.
    assert posted(book, BACK, SELLER) == [300 + 1000, -(4500 + 4000) + 2700 + 4000]


def test_a_coupon_leaves_a_released_part_with_it(book: OrderBook) -> None:
    """A seller who keeps the coupon's part of what was released of refunded goods."""
    book.confirmed(item("a 1 x 10.00", discounts=(platform("code", 140),)))
    book.pay("p1", 860)
    release(book, rate="0", amount=250)
    refund(book, "r1")
    assert posted(book, SELLER, accounts.PROMO, accounts.escrow("o1")) == [0, 0, 0]


def test_a_commission_with_tax_above_the_items_comes_back_too(book: OrderBook) -> None:
    """A seller who was charged more than the goods brought, and is not credited it again."""
    book.confirmed("a 2 x 50.00")
    book.pay("p1", 10000)
    release(
        book, rate="0.90", commission_tax_rate=Decimal("0.20"), commission_tax_jurisdiction="DE"
    )
    names = (SELLER, accounts.tax("DE"), BACK)
    assert posted(book, *names) == [800, -1800, 0]
    refund(book, "r1")
    assert posted(book, *names) == [400, -900, 4500]
    refund(book, "r2")
    assert posted(book, *names) == [0, 0, 9000]
