"""
Faults that random histories across the engines of the marketplace found, each at its smallest.
"""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_content import Discount, Funder, LineInput
from orderledger.ledger.payment_events import CaptureMode, FxQuote
from orderledger.replay.verify import verify
from tests.chargebacks_book import opened, report
from tests.dispute_book import HOUR, file, rules
from tests.model.shop import NOW, Shop, item


def disputed(shop: Shop, amount: int, seller: str, line: str, dispute_id: str = "d1") -> None:
    """File a dispute on a line and have it accepted, which freezes what there is."""
    book = rules(escalation_from_hours=0)
    filing: dict[str, Any] = {"placed_at": NOW - HOUR, "delivered_at": None, "rule_book": book}
    shop.run(file(dispute_id, (line, amount), seller=seller, **filing))
    shop.run(m.AcceptDispute(dispute_id=dispute_id, by="clerk"))


def agreed(shop: Shop, dispute_id: str = "d1", **terms: Any) -> None:
    """Have the seller give in, and execute that."""
    shop.run(m.Respond(dispute_id=dispute_id, answer=m.Answer.ACCEPT))
    shop.run(m.ExecuteRuling(dispute_id=dispute_id, terms=m.ExecutionTerms(**terms)))


def held_by_slices(shop: Shop) -> int:
    return sum([one.available for one in shop.order().slices.values()])


def test_money_worth_less_than_a_minor_unit_does_not_stay_in_escrow() -> None:
    """Catches yen that are worth no cent left in escrow for good (invariant 19)."""
    shop = Shop()
    shop.place(item("a", "10"))
    quote = FxQuote("q", 1_000, "USD", Decimal(1_000))
    shop.initiate(10_000, currency="JPY", fx=quote, capture_mode=CaptureMode.MANUAL)
    shop.run(m.Authorise(payment_id="p1", op_id="a", amount=10_000, currency="JPY"))
    shop.succeed("a")
    capture = m.Capture(payment_id="p1", op_id="c", amount=3, currency="JPY", auth_op="a")
    shop.run(capture)
    shop.succeed("c")
    assert shop.escrow(currency="JPY") == shop.escrow() == held_by_slices(shop) == 0
    shop.run(m.RecordReversed(payment_id="p1", op_id="c", provider_ref="x"))
    assert shop.balance(accounts.FX_POSITION, "JPY") == 0
    assert shop.escrow(currency="JPY") == 0


def couponed(shop: Shop) -> None:
    """Sell 20.00 of s1 for 10.00 and a coupon of the platform, and 10.00 of s2."""
    coupon = Discount("c", 1_000, Funder.PLATFORM)
    shop.place(LineInput("a", "sku", "s1", 1, Decimal(20), (coupon,)), item("b", "10", seller="s2"))
    shop.pay(2_000)


def test_ruling_does_not_pay_the_buyer_out_of_the_coupon() -> None:
    """Catches a refund out of the platform's money that left a slice below zero (invariant 18)."""
    shop = Shop()
    couponed(shop)
    disputed(shop, 900, "s1", "a")
    shop.run(opened(800))
    assert shop.order().slices["s1"].frozen == {"d1": 900, "cb1": 400}
    shop.run(report("lost"))
    agreed(shop, is_goodwill=True)
    shop.succeed(shop.request("d1:settlement:buyer", 900))
    slices = shop.order().slices
    assert {key: one.available for key, one in slices.items()} == {"s1": 0, "s2": 600}
    # Of the buyer's 10.00 for a the bank took 4.00 back; 6.00 are there for the 9.00.
    assert shop.balance(accounts.GOODWILL) == 300
    assert shop.balance(accounts.PROMO) == 0
    assert not shop.order().slices["s1"].frozen
    assert list(verify(shop.store)) == []


def test_coupon_that_was_frozen_goes_back_when_the_freeze_is_lifted() -> None:
    """Catches coupon money in escrow for good that no release can pay out (invariant 19)."""
    shop = Shop()
    couponed(shop)
    shop.run(opened(2_000))
    shop.run(m.FreezeFunds(order_id="o1", freeze_id="f1", seller="s1", amount=1_000, cause="x"))
    shop.run(report("lost"))
    assert shop.balance(accounts.PROMO) == shop.escrow() == 1_000
    shop.run(m.UnfreezeFunds(order_id="o1", freeze_id="f1"))
    assert shop.balance(accounts.PROMO) == shop.escrow() == held_by_slices(shop) == 0


def test_part_payment_of_a_cancelled_line_goes_to_what_is_left() -> None:
    """Catches a part payment that stays in the slice of a seller who has nothing to deliver."""
    shop = Shop()
    shop.place(item("a", "10"), item("b", "10", seller="s2"))
    shop.pay(1_000)
    shop.run(m.CancelLine(order_id="o1", line_id="a", quantity=1, reason="sold out"))
    shop.release("s2", rate="0")
    assert shop.balance(accounts.seller("s2")) == -1_000
    assert shop.escrow() == held_by_slices(shop) == 0
    shop.refund("r1", 400)
    assert shop.balance(accounts.seller("s2")) == -600
    assert list(verify(shop.store)) == []


def test_refund_waits_for_the_seller_whose_money_is_frozen() -> None:
    """Catches a seller who bears what another's frozen money could not bear."""
    shop = Shop()
    shop.place(item("a", "10"), item("b", "10", seller="s2"))
    shop.pay(2_000)
    shop.run(m.FreezeFunds(order_id="o1", freeze_id="f1", seller="s1", amount=1_000, cause="x"))
    shop.grant("r1", 1_000)
    shop.allocate("r1")
    with pytest.raises(Rejected, match="1000 of s1 are frozen by f1"):
        shop.request("r1", 1_000)
    shop.run(m.UnfreezeFunds(order_id="o1", freeze_id="f1"))
    shop.succeed(shop.request("r1", 1_000))
    for seller in ("s1", "s2"):
        shop.release(seller, rate="0")
        assert shop.balance(accounts.seller(seller)) == -500
    assert shop.escrow() == held_by_slices(shop) == 0


def test_money_promised_to_a_refund_is_not_evened_out() -> None:
    """Catches a refund whose money another seller was paid before it was requested."""
    shop = Shop()
    shop.place(item("a", "10"), item("b", "10", seller="s2"))
    shop.pay(1_500)
    shop.grant("r1", 0, ("a", 1))
    shop.allocate("r1")
    shop.run(m.HoldFunds(order_id="o1"))
    assert {key: one.available for key, one in shop.order().slices.items()} == {
        "s1": 750,
        "s2": 750,
    }


def test_loss_is_borne_by_what_another_one_gives_back() -> None:
    """Catches a minor unit left in escrow for nobody, as two losses exceed the payment."""
    shop = Shop()
    shop.place(item("a", "60"), item("b", "40", seller="s2"))
    shop.pay(10_000)
    for chargeback_id, amount in (("cb2", 1), ("cb1", 10_000)):
        shop.run(opened(amount, chargeback_id=chargeback_id))
        shop.run(report("lost", chargeback_id=chargeback_id))
    assert shop.escrow() == held_by_slices(shop) == 0
    assert shop.balance(accounts.CHARGEBACK_LOSSES) == 0
    assert shop.balance(accounts.receivable("o1")) == 1


def test_loss_worth_less_than_a_minor_unit_is_the_platforms() -> None:
    """Catches a report of a loss that fails, for ever, as it divides by its worth of nothing."""
    shop = Shop()
    shop.place(item("a", "10"))
    shop.pay(10_000, currency="JPY", fx=FxQuote("q", 1_000, "USD", Decimal(1_000)))
    shop.release("s1")
    shop.run(opened(3))
    shop.run(report("lost"))
    assert shop.balance(accounts.CHARGEBACK_LOSSES, "JPY") == 3
    assert shop.balance(accounts.disputes("cb1"), "JPY") == 0
    assert list(verify(shop.store)) == []
