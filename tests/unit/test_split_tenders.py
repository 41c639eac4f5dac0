"""Split tenders: coupons of both kinds, a gift card, points and two cards on one order."""

from decimal import Decimal

import msgspec
import pytest

from orderledger.commands import model as m
from orderledger.commands.order_commands import AllocationStrategy
from orderledger.ledger import accounts
from orderledger.ledger.escrow_shares import shares_of
from orderledger.ledger.order_events import RefundSource
from tests.model.shop import balances_of
from tests.model.split_shop import (
    CARD_A,
    CARD_A_MONEY,
    CARD_B,
    GIFT,
    GIFT_MONEY,
    OWED,
    POINTS,
    POINTS_COUNT,
    POINTS_WORTH,
    SHIPPING,
    SOON,
    SplitShop,
)

FIRST, LAST = AllocationStrategy.VOUCHER_FIRST, AllocationStrategy.VOUCHER_LAST
FREIGHT = SHIPPING[0].amount


def holds_what_is_due(shop: SplitShop, *sellers: str) -> None:
    """Assert that slices nobody was paid from hold what their sellers are entitled to."""
    shares = shares_of(shop.order())
    for seller in sellers:
        assert shop.order().slices[seller].available == shares[seller].total, seller


def release(shop: SplitShop, seller: str, amount: int | None = None) -> None:
    shop.run(m.MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))
    shop.run(
        m.ReleaseFunds(
            order_id="o1",
            release_id=f"rel-{seller}-{len(shop.order().releases)}",
            seller=seller,
            commission_rate=Decimal("0.12"),
            rate_version="v1",
            amount=amount,
        )
    )
    shop.check()


def test_every_tender_and_coupon_stands_in_its_account() -> None:
    """Catches a tender that is booked as another, or a coupon that the wrong one pays (4, 5)."""
    shop = SplitShop()
    shop.check()
    assert shop.balance(accounts.PROMO) == 1_277  # the platform's; the seller's is in the prices
    assert shop.escrow() == shop.total + 1_277
    assert shop.balance("assets:psp:psp") == CARD_A_MONEY + shop.card_b
    assert shop.balance(accounts.store_credit("card-1")) == 0
    assert shop.balance(accounts.loyalty("b1"), "PTS") == 0
    # Points become money at the worth that the order was told.
    assert shop.balance(accounts.FX_POSITION) == POINTS_WORTH
    assert shop.balance(accounts.FX_POSITION, "PTS") == -POINTS_COUNT
    holds_what_is_due(shop, "s1", "s2")


@pytest.mark.parametrize(
    ("strategy", "parts"),
    [
        (FIRST, {GIFT: GIFT_MONEY, POINTS: 52}),
        (LAST, {CARD_A: 3_052}),
        (AllocationStrategy.PROPORTIONAL, {CARD_A: 1_066, CARD_B: 1_180, GIFT: 640, POINTS: 166}),
    ],
)
def test_a_partial_refund_goes_to_tenders_by_policy(
    strategy: AllocationStrategy, parts: dict[str, int]
) -> None:
    """Catches a refund that lands on another tender than the policy says (hard case 34)."""
    shop = SplitShop()
    shop.grant("r1", 0, ("a", 1))
    assert shop.allocated("r1", strategy) == parts
    shop.settle("r1", pieces=2)
    assert {one.tender_id: one.refunded for one in shop.tenders().values() if one.refunded} == parts
    assert shop.value(GIFT).balance == parts.get(GIFT, 0)


@pytest.mark.parametrize("strategy", [FIRST, LAST, AllocationStrategy.PROPORTIONAL])
@pytest.mark.parametrize("is_released", [False, True], ids=["held", "released"])
def test_a_full_refund_leaves_the_value_as_it_was_issued(
    strategy: AllocationStrategy, is_released: bool
) -> None:
    """Catches a cent, a coupon, a point or commission that a full refund leaves somewhere."""
    shop = SplitShop()
    if is_released:
        release(shop, "s1")
        release(shop, "s2")
    shop.grant("r1", 0, ("a", 3), ("b", 2), shipping=FREIGHT)
    shop.allocated("r1", strategy)
    shop.settle("r1", pieces=3)
    left = balances_of(shop.store)
    taken = -left.pop(("posted", accounts.COMMISSION, "USD"), 0)
    assert taken == left.pop(("posted", accounts.COMMISSION_REFUNDED, "USD"), 0)
    assert (taken > 0) == is_released
    assert left == OWED
    assert shop.order().refund_outstanding == 0


def test_an_explicit_allocation_is_kept_to() -> None:
    """Catches more given back to a tender than it was allotted, or than it brought."""
    shop = SplitShop()
    shop.grant("r1", 0, ("a", 1))
    too_much = {GIFT: GIFT_MONEY + 1, POINTS: 51}
    parts = tuple([m.PaymentPart(tender, amount) for tender, amount in too_much.items()])
    command = m.AllocateRefund(
        order_id="o1", refund_id="r1", strategy=AllocationStrategy.EXPLICIT, parts=parts
    )
    assert shop.refusal(command) == "amount_exceeds_available"
    shop.allocated("r1", AllocationStrategy.EXPLICIT, gift=1_000, p2=2_052)
    restore = m.RestoreValue(
        account_id=GIFT,
        restore_id="x",
        redemption_id=GIFT,
        order_id="o1",
        refund_id="r1",
        amount=1_001,
    )
    assert shop.refusal(restore) == "amount_exceeds_available"
    points = m.RestoreValue(
        account_id=POINTS, restore_id="x", redemption_id=POINTS, order_id="o1", refund_id="r1"
    )
    assert shop.refusal(points) == "amount_exceeds_available"
    request = m.RequestRefund(
        payment_id=CARD_A, op_id="x", amount=1, currency="USD", refund_id="r1"
    )
    assert shop.refusal(request) == "amount_exceeds_available"
    shop.settle("r1")


def test_a_second_grant_waits_for_what_the_first_was_allotted() -> None:
    """Catches a gift card that two refunds are promised, of which one then finds nothing."""
    shop = SplitShop()
    shop.grant("r1", 0, ("a", 1))
    shop.allocated("r1", FIRST)
    shop.grant("r2", 0, ("b", 1))
    assert GIFT not in shop.allocated("r2", FIRST)
    shop.settle("r2")
    shop.settle("r1")


def test_points_come_back_in_parts_without_losing_one() -> None:
    """Catches points that rounding loses or makes when a part of them is refunded at a time."""
    shop = SplitShop()
    shop.grant("r1", POINTS_WORTH)
    shop.allocated("r1", AllocationStrategy.EXPLICIT, points=POINTS_WORTH)
    shop.settle("r1", pieces=7)
    assert shop.value(POINTS).balance == POINTS_COUNT
    assert shop.balance(accounts.FX_POSITION) == shop.balance(accounts.FX_POSITION, "PTS") == 0


def test_cancelling_before_the_cards_are_captured() -> None:
    """Catches value that stays in escrow, or a card that is charged, after a cancellation."""
    shop = SplitShop(is_captured=False)
    shop.run(m.CancelOrder(order_id="o1", reason="x", by="b1"))
    finish = m.FinishCancellation(order_id="o1", refund_id="r1")
    assert shop.refusal(finish) == "wrong_state"  # the authorisation is open
    shop.run(m.Void(payment_id=CARD_A, op_id="void", currency="USD"))
    shop.succeed("void", CARD_A)
    shop.run(finish)
    assert shop.order().grants["r1"].total == GIFT_MONEY + POINTS_WORTH
    shop.allocated("r1", FIRST)
    shop.settle("r1")
    assert balances_of(shop.store) == OWED


def test_part_is_shipped_and_the_rest_cancelled() -> None:
    """Catches shipped units that are cancelled, or a rest that the wrong seller gives back."""
    shop = SplitShop()
    shop.run(
        m.CreateFulfilment(
            fulfilment_id="f1", order_id="o1", lines=(m.MovedLine("a", 1),), location="here"
        )
    )
    shop.run(m.DispatchFulfilment(fulfilment_id="f1", order_id="o1", carrier="post"))
    too_many = m.CancelLine(order_id="o1", line_id="a", quantity=3, refund_id="r0")
    assert shop.refusal(too_many) == "quantity_exceeds_available"
    shop.run(m.CancelLine(order_id="o1", line_id="a", quantity=2, refund_id="r1"))
    assert shop.allocated("r1", FIRST) == {GIFT: GIFT_MONEY, POINTS: 777, CARD_A: 2_330}
    shop.settle("r1", pieces=2)
    holds_what_is_due(shop, "s1", "s2")
    release(shop, "s1")
    assert shop.order().slices["s1"].available == 0
    holds_what_is_due(shop, "s2")


def test_goodwill_is_the_platforms_whatever_tender_it_goes_to() -> None:
    """Catches sellers who pay for the platform's gift because it went back as stored value."""
    shop = SplitShop()
    shop.grant("g", 700, source=RefundSource.GOODWILL)
    shop.allocated("g", FIRST)
    shop.settle("g")
    assert shop.balance(accounts.GOODWILL) == GIFT_MONEY + 700
    holds_what_is_due(shop, "s1", "s2")


# -- faults that were found here, each in its smallest form ----------------------------------------


def test_shipping_given_back_is_borne_by_whose_shipping_it_was() -> None:
    """Catches s2 paying s1's shipping because one grant has s2's goods and the shipping."""
    shop = SplitShop()
    shop.grant("r1", 0, ("b", 1), shipping=FREIGHT)
    shop.allocated("r1", LAST)
    shop.settle("r1")
    holds_what_is_due(shop, "s1", "s2")


def test_a_seller_held_back_does_not_pay_for_one_who_was_paid() -> None:
    """Catches s1's money in escrow paying for s2's goods, which were released to s2 already."""
    shop = SplitShop()
    release(shop, "s2", 2_842)
    shop.grant("r1", 0, ("a", 1), ("b", 1))
    shop.allocated("r1", AllocationStrategy.PROPORTIONAL)
    shop.settle("r1")
    holds_what_is_due(shop, "s1")


def test_what_a_partial_release_leaves_short_is_that_sellers_own() -> None:
    """Catches s2's money paying for s1's goods where s1's partial release rounded short."""
    shop = SplitShop()
    shop.grant("r1", 0, shipping=FREIGHT)
    shop.allocated("r1", FIRST)
    shop.settle("r1")
    release(shop, "s1", 3_274)
    for number, lines in enumerate(([("a", 1)], [("a", 1), ("b", 1)]), 2):
        shop.grant(f"r{number}", 0, *lines)
        shop.allocated(f"r{number}", LAST)
        shop.settle(f"r{number}", pieces=3)
    holds_what_is_due(shop, "s2")


def test_a_coupon_follows_value_that_paid_sellers_give_back() -> None:
    """Catches coupon money left in escrow when stored value is refunded by the seller alone."""
    shop = SplitShop()
    release(shop, "s2", 4_476)
    for refund_id, strategy in (("r1", LAST), ("r2", FIRST)):
        shop.grant(refund_id, 0, ("b", 1))
        shop.allocated(refund_id, strategy)
        shop.settle(refund_id, pieces=5)
    assert shop.order().slices["s2"].available == 0
    holds_what_is_due(shop, "s1")


def test_value_that_expired_meanwhile_can_be_spent_again() -> None:
    """Catches a refund to a gift card that is called settled and cannot be spent."""
    shop = SplitShop()
    lots = shop.value(GIFT).lots
    assert lots["soon"].expires_at == SOON
    shop.now = SOON
    shop.grant("r1", 2_500)
    shop.allocated("r1", FIRST)
    back = m.RestoreValue(
        account_id=GIFT, restore_id="x", redemption_id=GIFT, order_id="o1", refund_id="r1"
    )
    assert shop.refusal(back) == "window_closed"
    assert shop.refusal(msgspec.structs.replace(back, expires_at=SOON)) == "InvalidCommand"
    later = SOON.replace(year=SOON.year + 1)
    again = msgspec.structs.replace(back, expires_at=later)
    shop.run(again)
    assert shop.run(again).event_ids == ()
    shop.check()
    assert shop.value(GIFT).spendable(SOON) == 2_500
    assert shop.value(GIFT).lots["never"].expires_at is None
    assert shop.refusal(m.ExpireValue(account_id=GIFT, lot_id="soon")) == "not_yet_due"


def test_what_was_left_of_a_lot_is_not_revived_by_a_refund() -> None:
    """Catches value that had expired and becomes spendable because other value came back."""
    shop = SplitShop()
    shop.issue(50, GIFT, lot_id="rest", expires_at=SOON, kind="gift_card", holder="card-1")
    shop.grant("r1", 1_500)
    shop.allocated("r1", FIRST)
    shop.give_back("r1", GIFT, 1_200)  # 1000 to the lot without an expiry, 200 to the other
    shop.now = SOON
    shop.run(
        m.RestoreValue(
            account_id=GIFT,
            restore_id="x",
            redemption_id=GIFT,
            order_id="o1",
            refund_id="r1",
            expires_at=SOON.replace(year=SOON.year + 1),
        )
    )
    shop.check()
    assert shop.value(GIFT).lots["soon"].remaining == 300
    assert shop.balance(accounts.BREAKAGE) == -200


def test_value_may_lapse_where_the_terms_say_so() -> None:
    """Catches points that come back to life although the shop's terms let them end."""
    shop = SplitShop()
    shop.now = SOON
    shop.grant("r1", 2_500)
    shop.allocated("r1", FIRST)
    shop.run(
        m.RestoreValue(
            account_id=GIFT,
            restore_id="x",
            redemption_id=GIFT,
            order_id="o1",
            refund_id="r1",
            lapses=True,
        )
    )
    assert shop.value(GIFT).spendable(SOON) == 1_000
    shop.run(m.ExpireValue(account_id=GIFT, lot_id="soon"))
    shop.check()
    assert shop.balance(accounts.BREAKAGE) == -1_500


def test_points_and_gift_cards_are_tenders_of_their_own() -> None:
    """Catches a policy that cannot tell a gift card from points: both were store credit."""
    shop = SplitShop()
    shop.grant("r1", 3_500)
    shop.allocate("r1", strategy=FIRST, voucher_tenders=("loyalty",))
    assert dict(shop.order().grants["r1"].allocations) == {POINTS: 777, CARD_A: 2_723}
