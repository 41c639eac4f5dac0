"""Frozen funds of an order: in escrow and after the release, what they bar, and lifting them."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.dispute_commands import WithdrawDispute
from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.commands.order_commands import (
    AllocateRefund,
    CompleteOrder,
    ConversionTerms,
    GrantRefund,
    HoldFunds,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import RecordProviderOperation, RecordReversed
from orderledger.ledger import accounts
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_content import Discount, Funder, ShippingCharge, Tax, Tip
from orderledger.ledger.order_escrow import SliceStatus
from orderledger.ledger.order_events import MovedLine, MoveKind, RefundSource
from orderledger.ledger.orders import EVOLVE, INITIAL
from orderledger.ledger.payment_operations import OperationKind
from tests.dispute_book import DisputeBook
from tests.order_book import OrderBook, item

HOLD = HoldFunds(order_id="o1")
RESERVE = accounts.dispute_reserve("d1")


@pytest.fixture
def book() -> OrderBook:
    """Return the worked example of the books, captured: 12,325 in escrow."""
    book = OrderBook()
    book.confirmed(
        item("a 1 x 100.00", tax=(Tax("NY", 825),)),
        shipping=(ShippingCharge("x", "s1", 1000),),
        tips=(Tip("s1", 500),),
    )
    book.pay("p1", 12325)
    book.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    return book


def release(seller: str = "s1", **fields: Any) -> ReleaseFunds:
    given: dict[str, Any] = {
        "release_id": f"rel-{seller}",
        "commission_rate": Decimal("0.12"),
        "rate_version": "2026",
        **fields,
    }
    return ReleaseFunds(order_id="o1", seller=seller, **given)


def frozen(amount: int, freeze_id: str = "d1", seller: str = "s1") -> FreezeFunds:
    return FreezeFunds(
        order_id="o1", freeze_id=freeze_id, seller=seller, amount=amount, cause="dispute"
    )


def lift(freeze_id: str = "d1") -> UnfreezeFunds:
    return UnfreezeFunds(order_id="o1", freeze_id=freeze_id, cause="withdrawn")


def observed_refund(amount: int, reference: str) -> RecordProviderOperation:
    return RecordProviderOperation(
        payment_id="p1",
        kind=OperationKind.REFUND,
        provider_ref=reference,
        amount=amount,
        currency="USD",
    )


def credited(book: OrderBook, *names: str, currency: str = "USD") -> list[int]:
    return [-book.balance(name, currency) for name in names]


def test_escrow_that_is_frozen_is_not_released(book: OrderBook) -> None:
    """A seller who is paid what a dispute is about."""
    assert book.did(frozen(10825)) == ["FundsFrozen"]
    one = book.order().slices["s1"]
    assert (one.status, one.available, one.frozen_total, one.unfrozen) == (
        SliceStatus.FROZEN,
        12325,
        10825,
        1500,
    )
    assert book.refusal(release(amount=1501)) == "funds_frozen"
    assert book.refusal(release(amount=12326)) == "amount_exceeds_available"
    book.run(release())
    assert book.order().slices["s1"].available == 10825
    assert book.refusal(release(release_id="rest")) == "funds_frozen"
    assert book.did(lift()) == ["FundsUnfrozen"]
    assert book.did(lift()) == []
    book.run(release(release_id="rest"))
    names = (accounts.seller("s1"), accounts.COMMISSION, accounts.tax("NY"), accounts.tips("s1"))
    assert (credited(book, *names), book.escrow()) == ([9800, 1200, 825, 500], 0)


def test_a_release_condition_is_met_while_frozen() -> None:
    """A window that must end twice because a dispute was open when it ended."""
    book = OrderBook()
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    book.run(frozen(100))
    met = MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered")
    assert book.did(met) == ["ReleaseConditionMet"]
    book.run(release())
    assert book.order().slices["s1"].available == 100


def test_a_freeze_after_the_release_takes_the_sellers_share(book: OrderBook) -> None:
    """Recipe 15: money paid out that a dispute is about."""
    book.run(release())
    assert book.did(frozen(8800)) == ["FundsFrozen"]
    assert credited(book, RESERVE, accounts.seller("s1")) == [8800, 1000]
    one = book.order().freezes["d1", "s1"]
    assert (one.escrowed, one.reserved, one.shortfall, one.in_reserve) == (0, 8800, 0, 8800)
    assert book.refusal(CompleteOrder(order_id="o1")) == "quantity_exceeds_available"
    book.move(MoveKind.DELIVERED, ("a", 1))
    assert book.refusal(CompleteOrder(order_id="o1")) == "funds_frozen"
    book.run(lift())
    assert credited(book, RESERVE, accounts.seller("s1")) == [0, 9800]
    assert book.did(CompleteOrder(order_id="o1")) == ["OrderCompleted"]


def test_a_freeze_takes_what_there_is_and_keeps_what_lacks(book: OrderBook) -> None:
    """A claim that vanishes, or a seller who gives more than the order gave him."""
    book.run(release(amount=10000))
    book.run(frozen(12325))
    one = book.order().freezes["d1", "s1"]
    got = credited(book, accounts.seller("s1"), RESERVE)
    assert (one.escrowed, one.shortfall) == (2325, 12325 - 2325 - one.reserved)
    assert got == [0, one.reserved]
    assert one.reserved + book.order().releases["rel-s1"].commission.amount < 10000
    book.run(frozen(50, "d2"))
    two = book.order().freezes["d2", "s1"]
    assert (two.escrowed, two.reserved, two.shortfall) == (0, 0, 50)
    book.run(lift("d2"))
    book.run(lift())
    assert credited(book, accounts.seller("s1"), RESERVE) == [got[1], 0]


def test_two_freezes_never_hold_the_same_money(book: OrderBook) -> None:
    """A unit of money that two disputes both count on."""
    book.run(release(amount=6000))
    for freeze_id, amount in (("d1", 4000), ("d2", 4000), ("d3", 9999)):
        book.run(frozen(amount, freeze_id))
    freezes = book.order().freezes
    assert [freezes[key, "s1"].escrowed for key in ("d1", "d2", "d3")] == [4000, 2325, 0]
    assert sum(one.reserved for one in freezes.values()) == sum(
        credited(book, *[accounts.dispute_reserve(key) for key in ("d1", "d2", "d3")])
    )
    assert credited(book, accounts.seller("s1")) == [0]


@pytest.mark.parametrize(
    ("command", "then"),
    [
        (frozen(0), "InvalidCommand"),
        (frozen(1, freeze_id="bad id"), "InvalidCommand"),
        (frozen(1, seller="s9"), "not_found"),
        (frozen(11), "operation_already_used"),
        (frozen(10), ""),
        (lift("ghost"), "not_found"),
    ],
)
def test_freezes_that_cannot_be(command: Any, then: str, book: OrderBook) -> None:
    """A freeze of nothing, of nobody, or of other terms under a known id."""
    book.run(frozen(10))
    assert book.refusal(command) == then


def grant(book: OrderBook, refund_id: str, *lines: str, **fields: Any) -> int:
    """Grant and allocate a refund of o1, and return its total."""
    given: dict[str, Any] = {"source": RefundSource.RETURN, **fields}
    moved = tuple([MovedLine(line, 1) for line in lines])
    book.run(GrantRefund(order_id="o1", refund_id=refund_id, reason="r", lines=moved, **given))
    book.run(AllocateRefund(order_id="o1", refund_id=refund_id))
    return book.order().grants[refund_id].total


def test_an_ordinary_refund_leaves_what_is_frozen() -> None:
    """A refund that takes the money another claim waits for, or another seller's for it."""
    book = OrderBook()
    book.confirmed("a 1 x 30.00", "b 1 x 70.00", "c 1 x 50.00 of s2")
    book.pay("p1", 15000)
    book.run(HOLD)
    book.run(frozen(7000))
    assert grant(book, "r1", "a") == 3000
    book.succeed("p1", book.refund("p1", "r1", 3000))
    slices = book.order().slices
    assert (slices["s1"].available, slices["s1"].frozen_total, slices["s2"].available) == (
        7000,
        7000,
        5000,
    )


@pytest.mark.parametrize("is_released", [False, True])
def test_a_refund_over_two_sellers_leaves_the_others_money(is_released: bool) -> None:
    """A seller who pays for the goods of another one, because that one's money is frozen."""
    book = OrderBook()
    book.confirmed("a 1 x 30.00", "b 1 x 20.00 of s2", "c 1 x 50.00 of s2")
    book.pay("p1", 10000)
    book.run(HOLD)
    if is_released:
        book.run(MeetReleaseCondition(order_id="o1", seller="s2", cause="delivered"))
        book.run(release("s2"))
    book.run(frozen(2000))
    grant(book, "r1", "a", "b")
    before = book.order()
    with pytest.raises(Rejected, match="lacks 2000 USD minor units: 2000 of s1 are frozen by d1"):
        book.refund("p1", "r1", 5000)
    assert book.order() == before
    book.run(lift())
    book.refund("p1", "r1", 5000)
    assert book.order().slices["s1"].available == 0


def test_a_refund_of_frozen_goods_is_refused() -> None:
    """Frozen money that leaves by the ordinary way while nobody has decided."""
    book = OrderBook()
    book.confirmed("a 1 x 30.00", "b 1 x 70.00", "c 1 x 50.00 of s2")
    book.pay("p1", 15000)
    book.run(HOLD)
    grant(book, "r1", "a", "b")
    book.run(frozen(7001))
    with pytest.raises(Exception, match="7001 of s1 are frozen by d1"):
        book.refund("p1", "r1", 10000)
    book.refund("p1", "r1", 2999)
    assert book.order().slices["s1"].unfrozen == 0


def test_a_reversed_capture_shrinks_the_latest_freeze(book: OrderBook) -> None:
    """Frozen funds beyond what the slice holds, below zero, or lost without a word."""
    book.run(frozen(8000, "d1"))
    book.run(frozen(4000, "d2"))
    done = book.did(RecordReversed(payment_id="p1", op_id="capture-p1-1", cause="late"))
    assert done.count("AnomalyRaised") >= 2
    order = book.order()
    assert (order.slices["s1"].frozen_total, order.escrow_held) == (0, 0)
    assert {key: one.shortfall for key, one in order.freezes.items()} == {
        ("d1", "s1"): 8000,
        ("d2", "s1"): 4000,
    }
    assert book.did(lift("d1")) == ["FundsUnfrozen"]


def test_an_observed_refund_takes_what_is_not_frozen_first(book: OrderBook) -> None:
    """A claim that pays for a refund while free money is there."""
    book.run(frozen(8000))
    book.run(observed_refund(4325, "first"))
    assert book.order().slices["s1"].frozen_total == 8000
    assert "FreezeShort" not in str(book.order().anomalies)
    book.run(observed_refund(1000, "second"))
    order = book.order()
    assert (order.slices["s1"].frozen_total, order.slices["s1"].available) == (7000, 7000)
    assert order.freezes["d1", "s1"].shortfall == 1000
    assert any(key.startswith("FreezeShort") for key in order.anomalies)


def test_money_that_comes_in_later_is_not_frozen() -> None:
    """A freeze that grows by itself."""
    book = OrderBook()
    book.confirmed("a 1 x 100.00")
    book.pay("p1", 4000)
    book.run(frozen(10000))
    book.pay("p2", 6000)
    one = book.order().slices["s1"]
    assert (one.frozen_total, one.unfrozen) == (4000, 6000)
    assert book.order().freezes["d1", "s1"].shortfall == 6000


def test_a_seller_paid_in_another_currency_is_frozen_in_it() -> None:
    """A reserve in a currency the seller never had, or at the rate of another day."""
    book = OrderBook()
    book.confirmed("a 1 x 100.00", currency="EUR")
    book.pay("p1", 10000, currency="EUR")
    book.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    terms = ConversionTerms(currency="USD", rate=Decimal("1.0837"))
    book.run(release(conversion=terms))
    net = credited(book, accounts.seller("s1"))[0]
    book.run(frozen(4400, "d1"))
    book.run(frozen(9999, "d2"))
    held = credited(book, RESERVE, accounts.dispute_reserve("d2"), accounts.seller("s1"))
    assert sum(held) == net
    assert (held[0], held[2]) == (round(Decimal(net) * 4400 / 8800), 0)
    assert book.order().freezes["d2", "s1"].shortfall == 9999 - 4400
    book.run(lift("d1"))
    book.run(lift("d2"))
    assert credited(book, RESERVE, accounts.seller("s1")) == [0, net]


def test_a_coupon_does_not_leave_with_frozen_money() -> None:
    """Platform money that comes back out of what is frozen."""
    book = OrderBook()
    coupon = Discount("cp", 500, Funder.PLATFORM)
    book.confirmed(item("a 1 x 10.00", discounts=(coupon,)), "b 1 x 10.00")
    book.pay("p1", 1500)
    book.run(frozen(1800))
    grant(book, "r1", "a")
    book.refund("p1", "r1", 200)
    assert book.order().slices["s1"].available == 1800
    assert book.order().slices["s1"].unfrozen == 0


def test_a_freeze_of_an_order_that_is_not_there_yet_folds() -> None:
    """A fold that fails on a history it did not expect."""
    book = OrderBook()
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    book.run(frozen(1000))
    order = INITIAL
    for _, event in book.events:
        if type(event) in EVOLVE:
            order = EVOLVE[type(event)](order, event)
    for _, event in reversed(book.events):
        if type(event) in EVOLVE:
            order = EVOLVE[type(event)](order, event)
    assert order.exists


def test_the_freeze_of_an_open_dispute_is_lifted_by_its_end() -> None:
    """A seller who gets at the money in dispute because somebody lifted the freeze by hand."""
    book = DisputeBook().negotiating()
    assert book.order().slices["s1"].frozen == {"d1": 1000}
    assert book.refusal(lift()) == "dispute_open"
    book.run(WithdrawDispute(dispute_id="d1", by="b1", reason="found it"))
    assert not book.order().slices["s1"].frozen
    assert book.did(lift()) == []


def test_an_observed_refund_takes_another_sellers_free_money_before_frozen_money() -> None:
    """A claim that shrinks while the order holds money that nobody claims."""
    book = OrderBook()
    book.confirmed("a 1 x 60.00", "b 1 x 60.00 of s2")
    book.pay("p1", 12000)
    book.run(frozen(6000))
    book.run(observed_refund(3000, "x"))
    slices = book.order().slices
    assert (slices["s1"].frozen_total, slices["s2"].available) == (6000, 3000)
    assert book.order().freezes["d1", "s1"].shortfall == 0
