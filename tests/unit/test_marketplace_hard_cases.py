"""
The numbered hard cases of the field where several parts of the marketplace meet, on a whole book.

Each number has its test by name in this folder. Case 31, erasing a person without losing the
order's history, has none: nothing is erased yet.
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.commands.order_commands import AllocationStrategy, ConversionTerms
from orderledger.ledger.events import topics
from orderledger.ledger.order_events import PaymentPart
from orderledger.ledger.payout_events import PayoutSum
from orderledger.ledger.value_events import ValueKind, ValueSource
from tests.chargebacks_book import opened, report
from tests.dispute_shop import DisputeShop
from tests.model.shop import anomalies_of, balances_of, item, rows_of
from tests.settlement_book import BANK, FEES, PSP, SettledShop, line

SELLER = "liabilities:seller:s1"
FX = "equity:fx"


class Market(DisputeShop, SettledShop):
    """The disputed order o1 of seller s1, for 50.00; payouts, settlements, refunds beside it."""

    def seen(self) -> m.SeenBalance:
        version = len(list(self.store.stream("seller-s1/USD")))
        return m.SeenBalance(-self.balance(SELLER), version)

    def earn(self, order_id: str, price: str) -> None:
        """Sell for a price and release it to s1 without commission, as ``rel-{order_id}``."""
        self.place(item("a", price), order_id=order_id)
        self.pay(self.order(order_id).total, f"p-{order_id}", order_id=order_id)
        self.release("s1", "0", order_id=order_id, release_id=f"rel-{order_id}")

    def scheduling(self, payout_id: str, *order_ids: str) -> m.SchedulePayout:
        return m.SchedulePayout(
            payout_id=payout_id,
            bank="main",
            seller="s1",
            currency="USD",
            entries=tuple([m.ReleasedSlice(one, f"rel-{one}") for one in order_ids]),
            seen=self.seen(),
        )

    def send(self, payout_id: str, *order_ids: str) -> PayoutSum:
        """Schedule and initiate a payout, and return what it is made of."""
        self.run(self.scheduling(payout_id, *order_ids))
        self.run(m.InitiatePayout(payout_id=payout_id, seen=self.seen()))
        return self.book.read.payout(payout_id).sum

    def paid(self, payout_id: str, *order_ids: str) -> PayoutSum:
        found = self.send(payout_id, *order_ids)
        self.run(m.RecordPayoutPaid(payout_id=payout_id, bank_ref=f"bank-{payout_id}"))
        return found

    def live_through(self) -> None:
        """Hear the dispute to its end: 6.00 of 10.00 to the buyer."""
        for step in self.steps():
            step()

    def give_back_the_award(self) -> None:
        self.allocate("d1:r1:buyer")
        self.succeed(self.request("d1:r1:buyer", 600))


@pytest.fixture
def market() -> Market:
    return Market()


def test_hard_case_05_a_payout_whose_outcome_nobody_knows(market: Market) -> None:
    """Catches earnings that are paid again because the bank's answer timed out."""
    market.earn("o2", "10")
    market.send("y1", "o2")
    market.run(m.RecordPayoutUnknown(payout_id="y1", cause="timeout"))
    assert market.refusal(market.scheduling("y2", "o2")) == "already_paid_out"
    assert market.balance("liabilities:payouts:y1") == -1_000
    market.run(m.RecordPayoutPaid(payout_id="y1", bank_ref="b1"))
    assert market.posted(SELLER, "liabilities:payouts:y1", BANK) == (0, 0, -1_000)
    assert anomalies_of(market.store) == []


def test_hard_case_11_the_refund_of_a_ruling_fails_after_success(market: Market) -> None:
    """Catches an award that counts as paid although the money came back."""
    market.live_through()
    market.give_back_the_award()
    failed = m.RecordReversed(payment_id="p1", op_id="d1:r1:buyer-p1", provider_ref="back")
    market.run(failed)
    assert market.posted("liabilities:refunds:o1", PSP) == (-600, 5_000)
    assert market.order().grants["d1:r1:buyer"].status == "failed_after_success"
    market.run(failed)
    op_id = market.request("d1:r1:buyer", 600, op_id="again", kind=m.RetryRefund)
    market.succeed(op_id)
    assert market.posted("liabilities:refunds:o1", PSP) == (0, 4_400)
    assert market.order().grants["d1:r1:buyer"].status == "settled"


def test_hard_case_13_a_ruling_after_the_payout(market: Market) -> None:
    """Catches an award that nobody pays, or that is taken from the seller twice."""
    market.release("s1", "0", release_id="rel-o1")
    market.paid("y1", "o1")
    market.live_through()
    market.give_back_the_award()
    assert market.posted(SELLER, PSP, BANK) == (600, 4_400, -5_000)
    market.earn("o2", "4")
    assert market.refusal(market.scheduling("y2", "o2")) == "insufficient_funds"
    market.earn("o3", "6")
    found = market.paid("y2", "o2", "o3")
    assert (found.entries, found.debt_recovered, found.amount) == (1_000, 600, 400)
    market.earn("o4", "1")
    assert market.paid("y3", "o4").amount == 100
    assert market.posted(SELLER, "liabilities:dispute_reserve:d1", BANK) == (0, 0, -5_500)


def test_hard_case_13_a_lost_chargeback_after_the_payout(market: Market) -> None:
    """Catches a seller whose loss is forgotten once the payout has left."""
    market.earn("o2", "10")
    market.paid("y1", "o2")
    of_payment: Any = {"payment_id": "p-o2"}
    market.run(opened(1_000, fee=15, **of_payment))
    assert market.balance("liabilities:dispute_reserve:cb1") == -1_000
    market.run(report("lost", **of_payment))
    assert market.posted(SELLER, "assets:disputes:cb1") == (1_000, 0)
    market.earn("o3", "15")
    found = market.paid("y2", "o3")
    assert (found.debt_recovered, found.amount) == (1_000, 500)
    assert market.posted(SELLER, BANK, "expenses:dispute_fees") == (0, -1_500, 15)


def test_hard_case_27_settled_in_another_currency_with_a_fee_on_the_refund() -> None:
    """Catches euros or dollars that stay between the currencies, or the fee of a refund row."""
    shop = SettledShop(currency="EUR")
    shop.sale(10_000)
    shop.refund("r1", 3_000)
    shop.begin(3, balances=(m.StatedBalance("USD"),))
    rate: Any = {"gross_currency": "EUR", "fx_rate": Decimal("1.0837")}
    markup = (m.NamedFee("markup", 337),)
    kept = (m.NamedFee("refund", 25),)
    sale = line(1, "payment", 10_000, net=10_500, fees=markup, provider_ref="ref-buy-p1", **rate)
    back = line(2, "refund", -3_000, net=-3_276, fees=kept, modification_ref="ref-r1-p1", **rate)
    for one in (sale, back):
        shop.record(one, "p1")
    shop.record(line(3, "payout", -7_224))
    assert (shop.breaks(), shop.settlement().status) == ({}, "balanced")
    assert shop.posted(PSP, FX, currency="EUR") == (0, 7_000)
    assert shop.posted(PSP, FX, FEES, BANK) == (0, -7_586, 362, 7_224)
    # The seller is owed dollars at the rate of the release; the provider's rate was a better one.
    shop.release("s1", "0", conversion=ConversionTerms(currency="USD", rate=Decimal("1.08")))
    assert shop.posted(SELLER, FX) == (-7_560, -26)
    shop.run(m.RealiseFxResult(entry_id="fx1", booked=7_560, received=7_586, currency="USD"))
    assert shop.posted(SELLER, FX, "income:fx_gain") == (-7_560, 0, -26)
    assert shop.posted(FX, "liabilities:escrow:o1", currency="EUR") == (0, 0)


def test_hard_case_28_a_payout_that_comes_back_after_its_release_was_refunded(
    market: Market,
) -> None:
    """Catches a returned payout that is paid again for goods which the buyer gave back."""
    market.earn("o2", "10")
    market.paid("y1", "o2")
    market.grant("r2", 400, order_id="o2")
    market.run(m.AllocateRefund(order_id="o2", refund_id="r2"))
    market.succeed(market.request("r2", 400, "p-o2"), "p-o2")
    assert market.balance(SELLER) == 400
    market.run(m.RecordPayoutReturned(payout_id="y1", bank_ref="b2", reason="closed", fee=35))
    assert market.posted(SELLER, BANK, "expenses:bank_fees") == (-600, -35, 35)
    found = market.paid("y2", "o2")
    assert (found.amount, market.balance(SELLER)) == (600, 0)
    assert anomalies_of(market.store) == []


def test_hard_case_32_a_refund_cannot_be_deleted(market: Market) -> None:
    """
    Catches a refund that somebody takes out of the history (woocommerce#38688).

    The database refuses it too: tests/contract/test_guards.py.
    """
    market.refund("r1", 1_000)
    before, books = list(rows_of(market.store)), balances_of(market.store)
    withdraw = m.WithdrawRefund(order_id="o1", refund_id="r1", reason="mistake", by="ann")
    assert market.refusal(withdraw) == "wrong_state"
    other: Any = {"order_id": "o1", "refund_id": "r1", "reason": "x", "source": "goodwill"}
    assert market.refusal(m.GrantRefund(adjustment=1, **other)) != ""
    assert (list(rows_of(market.store)), balances_of(market.store)) == (before, books)
    # A reversal that the provider reports is a fact beside the refund, not instead of it.
    market.run(m.RecordReversed(payment_id="p1", op_id="r1-p1", provider_ref="back"))
    assert list(rows_of(market.store))[: len(before)] == before
    assert not [name for name in topics() if "delete" in name or "erase" in name]


def test_hard_case_34_a_refund_goes_back_to_each_tender(market: Market) -> None:
    """Catches a refund that is paid to the card although store credit paid for the goods."""
    market.run(
        m.IssueValue(
            account_id="v1",
            kind=ValueKind.STORE_CREDIT,
            source=ValueSource.GOODWILL,
            lot_id="l1",
            holder="b1",
            amount=700,
            currency="USD",
        )
    )
    market.place(item("a", "10"), order_id="o2")
    redeem: Any = {"account_id": "v1", "redemption_id": "z1", "order_id": "o2"}
    market.run(m.RedeemValue(amount=700, currency="USD", **redeem))
    market.pay(300, "p2", order_id="o2")
    market.grant("r2", 600, order_id="o2")
    parts = (PaymentPart("p2", 300), PaymentPart("z1", 300))
    wrong = (PaymentPart("p2", 600),)
    explicit: Any = {"order_id": "o2", "refund_id": "r2", "strategy": AllocationStrategy.EXPLICIT}
    assert market.refusal(m.AllocateRefund(parts=wrong, **explicit)) == "amount_exceeds_available"
    market.run(m.AllocateRefund(parts=parts, **explicit))
    market.succeed(market.request("r2", 300, "p2"), "p2")
    market.run(
        m.RestoreValue(
            account_id="v1",
            restore_id="b1",
            redemption_id="z1",
            amount=300,
            order_id="o2",
            refund_id="r2",
        )
    )
    assert market.order("o2").grants["r2"].status == "settled"
    assert market.posted(PSP, "liabilities:store_credit:b1") == (5_000, -300)


def test_every_hard_case_has_a_test_by_name() -> None:
    """Catches a case of the field that nobody can find a test of."""
    named = {
        int(number)
        for path in Path(__file__).parent.glob("test_*.py")
        for number in re.findall(r"^def test_hard_case_(\d+)_", path.read_text(), re.MULTILINE)
    }
    assert set(range(1, 35)) - named == {31}
