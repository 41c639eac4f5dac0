"""
What an order's slices count after refunds: money that came back, and money that never was there.
"""

from decimal import Decimal

import pytest

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.order_content import Discount, Funder, ItemAdd, LineInput, Tax
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.order_refunds import GrantStatus
from orderledger.ledger.payment_operations import FundingPart
from tests.model.shop import Shop, anomalies_of, item


def _add(shop: Shop, line: LineInput) -> None:
    version = shop.order().version
    actions = (ItemAdd(line),)
    change = m.ProposeOrderChange(
        order_id="o1", change_id="c1", base_version=version, actions=actions
    )
    shop.run(change)
    shop.run(m.ConfirmOrderChange(order_id="o1", change_id="c1"))


def _line(line_id: str, quantity: int, coupon: int, tax: int) -> LineInput:
    discounts = (Discount("cp", coupon, Funder.PLATFORM),)
    return LineInput(line_id, "sku", "s1", quantity, Decimal(50), discounts, (Tax("us", tax),))


def test_goods_added_after_a_refund_of_released_ones_are_released_too() -> None:
    """Catches money that reaches a seller's slice and can never leave it."""
    shop = Shop()
    shop.place(_line("a", 2, 2_000, 800))
    shop.pay(8_800)
    shop.release("s1")
    shop.grant("r1", 0, ("a", 1))
    shop.allocate("r1")
    shop.succeed(shop.request("r1", 4_400))
    _add(shop, _line("x", 1, 1_000, 400))
    shop.pay(4_400, "p2")
    assert shop.order().slices["s1"].available == shop.escrow() == 5_400
    shop.release("s1", release_id="again")
    assert shop.escrow() == 0
    assert shop.balance(accounts.seller("s1")) == -8_800
    assert shop.balance(accounts.COMMISSION) + shop.balance(accounts.COMMISSION_REFUNDED) == -1_200
    assert shop.balance(accounts.tax("us")) == -800
    assert shop.balance(accounts.PROMO) == 2_000


def test_a_declined_refund_returns_to_the_slices_it_came_from() -> None:
    """Catches refunded money that comes back into nobody's slice, or into another seller's."""
    shop = Shop()
    shop.place(item("a", "50"), item("b", "50", seller="s2"))
    shop.pay(10_000)
    shop.grant("r1", 0, ("a", 1))
    shop.allocate("r1")
    op_id = shop.request("r1", 5_000)
    assert {key: one.available for key, one in shop.order().slices.items()} == {
        "s1": 0,
        "s2": 5_000,
    }
    shop.run(m.RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    assert {key: one.available for key, one in shop.order().slices.items()} == {
        "s1": 5_000,
        "s2": 5_000,
    }


def test_goodwill_that_escrow_paid_comes_back_when_it_is_declined() -> None:
    """Catches a declined goodwill refund that is taken for money of new goods."""
    shop = Shop()
    shop.place(item("a", "50"), item("b", "50", seller="s2"))
    shop.pay(10_000)
    shop.grant("g", 1_000, source=RefundSource.GOODWILL)
    shop.allocate("g")
    part = FundingPart(accounts.escrow("o1"), 1_000)
    op_id = shop.request("g", 1_000, funding=(part,))
    _add(shop, item("x", "10", seller="s3"))
    shop.pay(1_000, "p2", is_over_tender=True)
    shop.run(m.RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    held = {key: one.available for key, one in shop.order().slices.items()}
    assert held == {"s1": 5_000, "s2": 5_000, "s3": 1_000}


def test_a_refund_declined_after_the_release_is_borne_by_those_it_went_to() -> None:
    """Catches a transfer from the bank that nobody bears, or that escrow bears in debit."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(10_000)
    shop.release("s1")
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 10_000)
    shop.run(m.RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    shop.run(
        m.RefundByAlternativeMeans(
            order_id="o1", refund_id="r1", method="wire", reference="w1", bank="main", by="ann"
        )
    )
    assert shop.order().grants["r1"].status is GrantStatus.SETTLED
    assert shop.escrow() == 0
    assert shop.balance(accounts.refunds("o1")) == 0
    assert shop.balance(accounts.seller("s1")) == 0
    assert shop.balance(accounts.bank("main")) == -10_000


def test_other_means_pay_only_what_failed() -> None:
    """Catches a part paid from the bank that another payment can still give back."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(6_000)
    shop.pay(4_000, "p2")
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 6_000)
    shop.run(m.RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    shop.run(
        m.RefundByAlternativeMeans(
            order_id="o1", refund_id="r1", method="wire", reference="w1", bank="main", by="ann"
        )
    )
    assert shop.balance(accounts.bank("main")) == -6_000
    assert shop.order().grants["r1"].outstanding == 4_000
    shop.succeed(shop.request("r1", 4_000, "p2"), "p2")
    assert shop.order().grants["r1"].status is GrantStatus.SETTLED
    assert shop.escrow() == shop.order().escrow_held == 0


def test_a_provider_that_repeats_a_reissued_refund_and_loses_it_owes_nothing() -> None:
    """Catches a liability counted twice for one refund that was paid by two attempts."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(10_000)
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    first = shop.request("r1", 10_000)
    shop.succeed(first)
    shop.run(m.RecordReversed(payment_id="p1", op_id=first, provider_ref="x"))
    again = shop.request("r1", 10_000, op_id="again", kind=m.RetryRefund)
    shop.succeed(again)
    shop.run(m.RecordSucceeded(payment_id="p1", op_id=first, provider_ref="new"))
    shop.run(m.RecordReversed(payment_id="p1", op_id=again, provider_ref="y"))
    assert shop.balance(accounts.refunds("o1")) == 0
    assert shop.order().grants["r1"].owed_again == 0


def test_a_grant_in_another_currency_stays_known_when_the_order_is_placed() -> None:
    """Catches a refund reported early that disappears without a trace."""
    shop = Shop()
    early = m.RecordRefundGranted(
        order_id="o1", refund_id="r1", amount=500, currency="GBP", reason="elsewhere"
    )
    shop.run(early)
    shop.place(item("a", "100"))
    assert "RefundInAnotherCurrency" in anomalies_of(shop.store)
    before = shop.store.head().size
    shop.run(early)
    assert shop.store.head().size == before


@pytest.mark.parametrize("score", ["1E-30000000", "1E+30000000"])
def test_a_score_of_millions_of_digits_is_refused(score: str) -> None:
    """Catches a decimal of few characters that becomes megabytes in every reader."""
    shop = Shop()
    lines = (item("a", "1"),)
    shop.run(m.PlaceOrder(order_id="o1", buyer_ref="b1", currency="USD", lines=lines))
    hold = m.HoldOrder(order_id="o1", rule_id="r", reason="risk", by="engine", score=Decimal(score))
    assert shop.refusal(hold) == "LimitExceeded"


def test_the_same_release_again_is_a_success() -> None:
    """Catches a retry of a release that is refused for an id it used itself."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(10_000)
    shop.release("s1")
    held = shop.order()
    shop.release("s1")
    assert shop.order() == held
