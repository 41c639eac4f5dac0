"""
Faults found by reviewing refunds and escrow, each in its smallest form.

A test that begins to pass must lose its mark: the marks are strict.
"""

from decimal import Decimal
from typing import Any

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.order_content import (
    Discount,
    Funder,
    ItemAdd,
    LineInput,
    ShippingCharge,
    Tax,
    Tip,
)
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.payment_events import FxQuote
from orderledger.ledger.payment_operations import FundingPart
from tests.model.found import holds_no_debt, paid, two_sellers
from tests.model.shop import NOW, Shop, anomalies_of, item

# -- who bears a refund ----------------------------------------------------------------------


def test_refund_of_a_released_seller_is_not_paid_by_another_one() -> None:
    """Catches that s2's money pays for s1's return, so that s2 can never be released."""
    shop = two_sellers(released=True)
    shop.grant("r1", 0, ("a", 1))
    shop.allocate("r1")
    op_id = "r1-p1"
    shop.refusal(
        m.RequestRefund(payment_id="p1", op_id=op_id, amount=5_000, currency="USD", refund_id="r1")
    )
    assert shop.order().slices["s2"].available == 5_000


def test_commission_given_back_is_at_most_what_was_taken() -> None:
    """Catches a refund whose funding gives back more commission than the order ever paid."""
    shop = paid(released=True)
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    part = FundingPart(accounts.COMMISSION_REFUNDED, 10_000)
    assert shop.refusal(
        m.RequestRefund(
            payment_id="p1",
            op_id="x",
            amount=10_000,
            currency="USD",
            refund_id="r1",
            funding=(part,),
        )
    )


def test_commission_is_not_given_back_before_it_was_taken() -> None:
    """Catches commission reversed on an order of which nothing was released."""
    shop = paid()
    shop.grant("r1", 5_000)
    shop.allocate("r1")
    part = FundingPart(accounts.COMMISSION_REFUNDED, 5_000)
    assert shop.refusal(
        m.RequestRefund(
            payment_id="p1",
            op_id="x",
            amount=5_000,
            currency="USD",
            refund_id="r1",
            funding=(part,),
        )
    )


def _funding(shop: Shop, refund_id: str, amount: int) -> dict[str, int]:
    from orderledger.commands.refund_funding import funding_of

    parts = funding_of(shop.order(), shop.order().grants[refund_id], amount)
    return {part.account: part.amount for part in parts}


def test_refund_of_goods_takes_back_their_own_commission_and_tax() -> None:
    """Catches a partial refund at another commission rate than taken, funded by the tip."""
    shop = Shop()
    line = LineInput("a", "sku", "s1", 10, Decimal(10), (), (Tax("us", 825),))
    shop.place(line, shipping=(ShippingCharge("sh", "s1", 1_000),), tips=(Tip("s1", 500),))
    shop.pay(12_325)
    shop.release("s1")
    shop.grant("r1", 0, ("a", 1))
    assert _funding(shop, "r1", 1_082) == {
        accounts.seller("s1"): 880,
        accounts.COMMISSION_REFUNDED: 120,
        accounts.tax("us"): 82,
    }


def test_full_refund_of_a_couponed_order_gives_all_commission_back() -> None:
    """Catches commission kept on, and a coupon left with the seller of, goods that came back."""
    shop = Shop()
    shop.place(
        LineInput("a", "sku", "s1", 1, Decimal(100), (Discount("cp", 2_000, Funder.PLATFORM),))
    )
    shop.pay(8_000)
    shop.release("s1")
    shop.grant("r1", 0, ("a", 1))
    assert _funding(shop, "r1", 8_000)[accounts.COMMISSION_REFUNDED] == 1_200


def test_money_for_goods_added_after_a_refund_reaches_the_seller() -> None:
    """Catches new money of a seller stranded in the overflow slice, which is never released."""
    shop = Shop()
    shop.place(item("a", "50", quantity=2))
    shop.pay(10_000)
    shop.release("s1")
    shop.grant("r1", 0, ("a", 1))
    shop.allocate("r1")
    parts = (
        FundingPart(accounts.seller("s1"), 4_400),
        FundingPart(accounts.COMMISSION_REFUNDED, 600),
    )
    shop.succeed(shop.request("r1", 5_000, funding=parts))
    _add_item(shop, item("x", "50"))
    shop.pay(5_000, "p2")
    assert shop.order().slices["s1"].available == 5_000


def test_payment_for_one_sellers_goods_stays_with_that_seller() -> None:
    """Catches a new seller's money filling the holes that a goodwill refund left at others."""
    shop = two_sellers()
    shop.grant("g", 1_000, source=RefundSource.GOODWILL)
    shop.allocate("g")
    shop.succeed(shop.request("g", 1_000))
    _add_item(shop, item("x", "10", seller="s3"))
    shop.pay(1_000, "p2")
    assert shop.order().slices["s3"].available == 1_000


def _add_item(shop: Shop, line: LineInput) -> None:
    version = shop.order().version
    shop.run(
        m.ProposeOrderChange(
            order_id="o1", change_id="c1", base_version=version, actions=(ItemAdd(line),)
        )
    )
    shop.run(m.ConfirmOrderChange(order_id="o1", change_id="c1"))


# -- escrow below zero by command --------------------------------------------------------------


def test_restoring_value_does_not_overdraw_escrow() -> None:
    """Catches escrow in debit after value is restored for an order that was released."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.issue(10_000)
    shop.run(
        m.RedeemValue(
            account_id="v1", redemption_id="z1", amount=10_000, currency="USD", order_id="o1"
        )
    )
    shop.release("s1")
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    shop.refusal(
        m.RestoreValue(
            account_id="v1", restore_id="x", redemption_id="z1", order_id="o1", refund_id="r1"
        )
    )
    holds_no_debt(shop)


def _issue_refund(amount: int, funding: tuple[FundingPart, ...] = ()) -> m.IssueValue:
    kind: Any = "store_credit"
    source: Any = "refund"
    return m.IssueValue(
        account_id="v1",
        holder="b1",
        kind=kind,
        lot_id="lot1",
        amount=amount,
        currency="USD",
        source=source,
        order_id="o1",
        refund_id="r1",
        funding=funding,
    )


def test_refund_in_value_does_not_overdraw_escrow() -> None:
    """Catches escrow in debit after a refund of a released order is paid in store credit."""
    shop = paid(released=True)
    shop.grant("r1", 10_000)
    shop.refusal(_issue_refund(10_000))
    holds_no_debt(shop)


def test_refund_in_value_is_not_funded_by_another_order() -> None:
    """Catches one order's refund taken from another's escrow, whose slices do not follow."""
    shop = paid()
    shop.place(item("a", "100"), order_id="o2")
    shop.pay(10_000, "p2", order_id="o2")
    shop.grant("r1", 10_000)
    shop.refusal(_issue_refund(10_000, (FundingPart(accounts.escrow("o2"), 10_000),)))
    holds_no_debt(shop, "o2")


def test_refund_request_does_not_overdraw_escrow_that_bought_value() -> None:
    """Catches money that left escrow as store credit going out a second time as a refund."""
    shop = paid()
    shop.issue(10_000, source="sale", order_id="o1")
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    shop.refusal(
        m.RequestRefund(payment_id="p1", op_id="x", amount=10_000, currency="USD", refund_id="r1")
    )
    holds_no_debt(shop)


def test_undone_redemption_is_not_granted_back_again() -> None:
    """Catches the same value given back twice: by undoing, and by a grant paid in value."""
    shop = Shop()
    lines = (item("a", "100"),)
    shop.run(m.PlaceOrder(order_id="o1", buyer_ref="b1", currency="USD", lines=lines))
    shop.issue(4_000)
    shop.run(
        m.RedeemValue(
            account_id="v1", redemption_id="z1", amount=4_000, currency="USD", order_id="o1"
        )
    )
    shop.run(m.RestoreValue(account_id="v1", restore_id="x", redemption_id="z1", order_id="o1"))
    assert shop.refusal(
        m.GrantRefund(
            order_id="o1",
            refund_id="r1",
            reason="x",
            source=RefundSource.RETURN,
            adjustment=4_000,
        )
    )


def test_order_whose_redemption_was_undone_can_expire() -> None:
    """Catches an unpaid order that can never expire because value was once redeemed for it."""
    shop = Shop()
    lines = (item("a", "100"),)
    shop.run(m.PlaceOrder(order_id="o1", buyer_ref="b1", currency="USD", lines=lines))
    shop.issue(4_000)
    shop.run(
        m.RedeemValue(
            account_id="v1", redemption_id="z1", amount=4_000, currency="USD", order_id="o1"
        )
    )
    shop.run(m.RestoreValue(account_id="v1", restore_id="x", redemption_id="z1", order_id="o1"))
    assert shop.refusal(m.ExpireOrder(order_id="o1", due_at=NOW)) == ""


def test_capture_reversed_after_release_raises_an_anomaly() -> None:
    """Catches an escrow debt made by a report that nobody is told of."""
    shop = paid(released=True)
    shop.run(m.RecordReversed(payment_id="p1", op_id="buy-p1", provider_ref="x"))
    assert shop.escrow() < 0
    assert anomalies_of(shop.store)


# -- grants and their operations --------------------------------------------------------------


def test_grant_is_not_withdrawn_while_a_void_pays_it() -> None:
    """Catches a withdrawn grant that is settled all the same (invariant 13)."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.initiate(10_000)
    shop.run(m.Authorise(payment_id="p1", op_id="a1", amount=10_000, currency="USD"))
    shop.succeed("a1")
    shop.run(m.Capture(payment_id="p1", op_id="c1", amount=10_000, currency="USD"))
    shop.succeed("c1")
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    shop.run(m.RecordReversed(payment_id="p1", op_id="c1", provider_ref="ref-c1"))
    shop.run(
        m.RouteRefundAsVoid(
            payment_id="p1", op_id="v1", refund_id="r1", amount=10_000, currency="USD"
        )
    )
    assert shop.refusal(m.WithdrawRefund(order_id="o1", refund_id="r1", reason="x"))


def test_success_of_one_payment_leaves_what_another_owes_again() -> None:
    """Catches a liability of a failed refund that can no longer be paid out in full."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(6_000)
    shop.pay(4_000, "p2")
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 6_000)
    shop.succeed(op_id)
    shop.run(m.RecordReversed(payment_id="p1", op_id=op_id, provider_ref="x"))
    shop.succeed(shop.request("r1", 4_000, "p2"), "p2")
    assert shop.balance(accounts.refunds("o1")) == -6_000
    assert shop.order().grants["r1"].owed_again == 6_000
    assert shop.refusal(_otherwise()) == ""


def _otherwise() -> m.RefundByAlternativeMeans:
    return m.RefundByAlternativeMeans(
        order_id="o1", refund_id="r1", method="wire", reference="w1", bank="main", by="ann"
    )


def test_declined_refund_can_be_paid_by_other_means() -> None:
    """Catches a buyer with a closed card whose refund can go back in no way at all."""
    shop = paid()
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 10_000)
    shop.run(m.RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    assert shop.refusal(_otherwise()) == ""


def test_foreign_refund_paid_otherwise_clears_its_liability() -> None:
    """Catches a liability in one currency that is cleared in another."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(9_000, currency="EUR", fx=FxQuote("q", 10_000, "USD", Decimal("0.9")))
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 9_000)
    shop.succeed(op_id)
    shop.run(m.RecordReversed(payment_id="p1", op_id=op_id, provider_ref="x"))
    shop.run(_otherwise())
    left = [shop.balance(accounts.refunds("o1"), currency) for currency in ("EUR", "USD")]
    assert left == [0, 0]


def test_refund_paid_twice_raises_an_anomaly() -> None:
    """Catches a refund paid by bank and then again by the provider, with nobody told."""
    shop = paid()
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 10_000)
    shop.succeed(op_id)
    shop.run(m.RecordReversed(payment_id="p1", op_id=op_id, provider_ref="x"))
    shop.run(_otherwise())
    shop.run(m.RecordSucceeded(payment_id="p1", op_id=op_id, provider_ref="new"))
    assert shop.balance(accounts.refunds("o1")) == 10_000
    assert anomalies_of(shop.store)


def test_foreign_refund_is_measured_in_the_escrows_currency() -> None:
    """Catches a refund refused (or let through) because two currencies were compared."""
    shop = Shop()
    shop.place(item("a", "50"), item("b", "50", seller="s2"))
    shop.pay(15_000, currency="JPY", fx=FxQuote("q", 10_000, "USD", Decimal(150)))
    shop.release("s1")
    shop.grant("r1", 0, ("b", 1))
    shop.allocate("r1")
    request = m.RequestRefund(
        payment_id="p1", op_id="x", amount=7_500, currency="JPY", refund_id="r1"
    )
    assert shop.refusal(request) == ""


def test_foreign_grant_recorded_early_does_not_lower_what_is_due() -> None:
    """Catches pounds subtracted from dollars."""
    shop = Shop()
    shop.run(
        m.RecordRefundGranted(
            order_id="o1", refund_id="r1", amount=500, currency="GBP", reason="elsewhere"
        )
    )
    try:
        shop.place(item("a", "100"))
    except OrderLedgerError:
        return
    assert shop.order().due == 10_000


def test_foreign_refund_in_parts_settles_its_grant() -> None:
    """Catches a grant that stays open for one unit after every yen went back (invariant 10)."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(15_000, currency="JPY", fx=FxQuote("q", 10_000, "USD", Decimal(150)))
    shop.grant("r1", 10_000)
    shop.allocate("r1")
    for number in range(3):
        shop.succeed(shop.request("r1", 5_000, op_id=f"x{number}"))
    assert shop.payment().refundable == 0
    assert shop.order().grants["r1"].outstanding == 0
