"""Sellers: reserve, penalties, debt and what ends it, standing; hard cases 13 and 28."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.account_commands import WriteOffDebt
from orderledger.commands.decision import Command
from orderledger.commands.order_commands import (
    ConfirmOrder,
    ConversionTerms,
    CoverPolicy,
    HoldFunds,
    MeetReleaseCondition,
)
from orderledger.commands.payment_commands import RecordDeclined, RequestRefund
from orderledger.commands.payout_commands import (
    CancelPayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutReturned,
)
from orderledger.commands.seller_commands import (
    ChangeSellerStanding,
    ImposePenalty,
    LiftPenalty,
    ReleaseReserve,
    SeenBalance,
    SetReserve,
    SuspendSeller,
    TakeReserve,
)
from orderledger.ledger import accounts, streams
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.payouts import PayoutStatus
from orderledger.ledger.seller_events import ReserveTerms, Standing
from orderledger.ledger.sellers import deadlines_of
from tests.decided_book import DAY, START
from tests.order_book import place
from tests.sellers_book import SellersBook

SELLER: dict[str, Any] = {"seller": "s1", "currency": "USD"}
BANK = accounts.bank("main")
RESERVE = accounts.rolling_reserve("s1")


REFUND_PARTS = [FundingPart(RESERVE, 100), FundingPart(RESERVE, 100, "s1")]


@pytest.fixture
def book() -> SellersBook:
    made = SellersBook()
    made.earn("o1", 1000)
    return made


def terms(rate: str = "0.1", days: int = 30, ceiling: int | None = None) -> SetReserve:
    return SetReserve(terms=ReserveTerms(Decimal(rate), days, ceiling), **SELLER)


def write_off(entry_id: str, amount: int, debt: int) -> WriteOffDebt:
    return WriteOffDebt(
        entry_id=entry_id,
        amount=amount,
        debt=debt,
        reason="gone",
        cause_event="refund f1 of o1",
        **SELLER,
    )


def test_hard_case_13_refund_after_payout(book: SellersBook) -> None:
    """A refund after the payout that nobody owes, or that later earnings do not pay back."""
    assert book.pay_out("p1", "o1") == 1000
    book.succeed("pay-o1", book.give_back("o1", "f1", 800))
    assert book.payable() == -800
    book.earn("o2", 500)
    assert book.payable() == -300
    assert book.refusal(book.scheduling("p2", "o2")) == "insufficient_funds"
    book.earn("o3", 700)
    assert book.pay_out("p2", "o2", "o3") == 400
    assert book.payout("p2").sum.debt_recovered == 800
    assert (book.payable(), book.balance(BANK)) == (0, -1400)
    # What was recovered is not owed again: the next payout pays the next earnings alone.
    book.earn("o4", 100)
    assert book.pay_out("p3", "o4") == 100
    assert book.payable() == 0


def test_a_recovered_debt_of_a_refund_that_fails_is_paid(book: SellersBook) -> None:
    """A seller who paid a debt back and never sees it again when the refund fails."""
    book.pay_out("p1", "o1")
    op_id = book.give_back("o1", "f1", 800)
    book.earn("o2", 900)
    assert book.pay_out("p2", "o2") == 100
    book.run(RecordDeclined(payment_id="pay-o1", op_id=op_id, provider_ref="x", code="c"))
    assert book.payable() == 800
    assert book.pay_out("p3") == 800
    assert (book.payable(), book.payout("p3").sum.carried) == (0, 800)


def test_a_debt_written_off_is_never_paid_out(book: SellersBook) -> None:
    """Recipe 26: a debt that is given up and then paid to the seller, or asked for again."""
    book.pay_out("p1", "o1")
    book.give_back("o1", "f1", 800)
    assert book.refusal(write_off("w1", 801, 800)) == "amount_exceeds_available"
    assert book.did(write_off("w1", 800, 800)) == ["JournalEntryPosted", "DebtWrittenOff"]
    assert book.did(write_off("w1", 800, 800)) == []
    assert (book.payable(), book.balance(accounts.BAD_DEBT)) == (0, 800)
    noted = book.account().write_offs["w1"]
    assert (noted.amount, noted.cause_event) == (800, "refund f1 of o1")
    book.earn("o2", 500)
    assert book.pay_out("p2", "o2") == 500
    assert (book.payable(), book.account().carried) == (0, 0)


def test_hard_case_28_payout_returned_after_paid(book: SellersBook) -> None:
    """A payout that came back and stays paid, or the bank's fee charged to nobody."""
    book.pay_out("p1", "o1")
    book.run(RecordPayoutReturned(payout_id="p1", bank_ref="r1", reason="closed", fee=35))
    assert (book.payable(), book.balance(BANK), book.balance(accounts.BANK_FEES)) == (1000, -35, 35)
    assert book.payout().status is PayoutStatus.RETURNED
    assert book.payout().anomalies == ()
    assert book.pay_out("p2", "o1") == 1000
    assert (book.payable(), book.balance(BANK)) == (0, -1035)


def test_a_payout_that_is_paid_after_its_release_was_paid_by_another(book: SellersBook) -> None:
    """Money that the bank paid twice and that is nobody's debt."""
    book.schedule("p1", "o1")
    book.initiate()
    book.run(RecordPayoutFailed(payout_id="p1", bank_ref="b1"))
    book.pay_out("p2", "o1")
    book.run(RecordPayoutPaid(payout_id="p1", bank_ref="b2"))
    assert (book.payable(), book.account().carried) == (-1000, -1000)
    book.earn("o2", 1500)
    assert book.pay_out("p3", "o2") == 500
    assert book.payout("p3").sum.debt_recovered == 1000
    assert (book.payable(), book.account().carried) == (0, 0)


def test_the_reserve_of_a_payout_is_paid_when_it_matures(book: SellersBook) -> None:
    """Recipe 27: a reserve that is not taken, given back too early, twice, or never paid."""
    book.run(terms())
    assert book.did(terms()) == []
    assert book.pay_out("p1", "o1") == 900
    assert (book.payable(), -book.balance(RESERVE)) == (0, 100)
    (due,) = deadlines_of(book.account())
    assert (due.deadline_id, due.kind, due.due_at) == (
        "payout/p1",
        "reserve_maturity",
        START + 30 * DAY,
    )
    give_back = ReleaseReserve(reserve_id="payout/p1", **SELLER)
    assert book.refusal(give_back) == "not_yet_due"
    book.now = START + 30 * DAY
    book.run(give_back)
    assert book.did(give_back) == []
    assert deadlines_of(book.account()) == ()
    assert (book.payable(), -book.balance(RESERVE)) == (100, 0)
    book.run(SetReserve(terms=None, **SELLER))
    assert book.pay_out("p2") == 100
    assert book.payable() == 0


def test_a_payout_that_fails_gives_its_reserve_back(book: SellersBook) -> None:
    """A reserve that is taken twice of the same earnings."""
    book.run(terms())
    book.schedule("p1", "o1")
    book.run(CancelPayout(payout_id="p1", reason="x"))
    assert (book.payable(), book.balance(RESERVE)) == (1000, 0)
    assert book.pay_out("p2", "o1") == 900
    book.now = START + 40 * DAY
    book.run(ReleaseReserve(reserve_id="payout/p2", **SELLER))
    book.run(RecordPayoutReturned(payout_id="p2", bank_ref="r"))
    assert (book.payable(), book.account().carried) == (1000, 0)


def test_the_reserve_stops_at_its_ceiling(book: SellersBook) -> None:
    """A reserve above the ceiling, or below it for no reason; a rate rounded otherwise."""
    book.run(terms("0.125", ceiling=200))
    for order_id, amount, reserve in (("o1", 1000, 125), ("o2", 420, 52), ("o3", 999, 23)):
        if order_id != "o1":
            book.earn(order_id, amount)
        assert book.pay_out(f"p-{order_id}", order_id) == amount - reserve
    assert -book.balance(RESERVE) == 200


def test_a_reserve_of_its_own(book: SellersBook) -> None:
    """A reserve of what is not there, without a maturity, or with an id of a payout."""

    def take(amount: int, **fields: Any) -> TakeReserve:
        given: dict[str, Any] = {
            "reserve_id": "x",
            "seen": book.seen(),
            "matures_at": START + DAY,
            **fields,
        }
        return TakeReserve(amount=amount, **given, **SELLER)

    refused: list[tuple[Command, str]] = [
        (take(1001), "insufficient_funds"),
        (take(0), "InvalidCommand"),
        (take(10, matures_at=None), "wrong_state"),
        (take(10, reserve_id="payout/p1"), "InvalidCommand"),
        (take(10, seen=SeenBalance(1000, 7)), "stale_base_version"),
        (ReleaseReserve(reserve_id="x", **SELLER), "not_found"),
    ]
    assert [book.refusal(command) for command, _ in refused] == [why for _, why in refused]
    book.run(take(400))
    assert book.did(take(400)) == []
    assert book.refusal(take(401)) == "operation_already_used"
    assert book.payable() == 600
    assert book.pay_out("p1", "o1") == 600
    early = ReleaseReserve(reserve_id="x", is_early=True, amount=150, **SELLER)
    assert book.refusal(early) == "InvalidCommand"
    book.run(ReleaseReserve(reserve_id="x", is_early=True, amount=150, reason="trust", **SELLER))
    assert book.payable() == 150
    rest = ReleaseReserve(reserve_id="x", is_early=True, amount=251, reason="trust", **SELLER)
    assert book.refusal(rest) == "amount_exceeds_available"
    book.now = START + DAY
    book.run(ReleaseReserve(reserve_id="x", **SELLER))
    assert book.pay_out("p2") == 400


@pytest.mark.parametrize("part", REFUND_PARTS)
def test_a_refund_takes_nothing_of_the_reserve(book: SellersBook, part: FundingPart) -> None:
    """A reserve that goes back in full although a refund had taken of it: the account overdrawn."""
    book.run(terms())
    book.pay_out("p1", "o1")
    book.granted("o1", "f1", 100)
    named = RequestRefund(
        payment_id="pay-o1",
        op_id="f1",
        amount=100,
        currency="USD",
        refund_id="f1",
        funding=(part,),
    )
    assert book.refusal(named) == "InvalidCommand"
    assert book.balance(RESERVE) == -100
    back = ReleaseReserve(reserve_id="payout/p1", is_early=True, reason="refund f1", **SELLER)
    book.run(back)
    book.refund("pay-o1", "f1", 100)
    assert (book.balance(RESERVE), book.payable()) == (0, 0)


def test_a_reserve_may_pay_a_debt(book: SellersBook) -> None:
    """A debt that is written off although the reserve would have paid it."""
    book.run(terms("0.5"))
    book.pay_out("p1", "o1")
    book.give_back("o1", "f1", 800)
    assert book.payable() == -800
    book.run(ReleaseReserve(reserve_id="payout/p1", is_early=True, reason="debt", **SELLER))
    assert (book.payable(), book.account().carried) == (-300, 500)
    book.run(SetReserve(terms=None, **SELLER))
    book.earn("o2", 1000)
    assert book.pay_out("p2", "o2") == 700
    assert book.payable() == 0


@pytest.mark.parametrize(
    ("rate", "days", "ceiling"), [("1.1", 30, None), ("0.1", 0, None), ("0.1", 30, -1)]
)
def test_terms_that_are_none(book: SellersBook, rate: str, days: int, ceiling: int | None) -> None:
    """A reserve of more than all, for no time."""
    assert book.refusal(terms(rate, days, ceiling)) == "InvalidCommand"


def test_a_penalty_is_charged_once_and_taken_back_once(book: SellersBook) -> None:
    """A penalty that no payout knows of, or that is lifted twice."""

    def impose(amount: int = 300) -> ImposePenalty:
        return ImposePenalty(penalty_id="n1", rule_ref="rules/4.2", amount=amount, **SELLER)

    lift = LiftPenalty(penalty_id="n1", reason="appeal", **SELLER)
    assert book.refusal(lift) == "not_found"
    book.run(impose())
    assert book.did(impose()) == []
    assert book.refusal(impose(301)) == "operation_already_used"
    assert (book.payable(), -book.balance(accounts.PENALTIES)) == (700, 300)
    assert book.pay_out("p1", "o1") == 700
    assert book.payout().sum.debt_recovered == 300
    book.run(lift)
    assert book.did(lift) == []
    assert (book.payable(), book.balance(accounts.PENALTIES)) == (300, 0)
    assert book.pay_out("p2") == 300
    free = ImposePenalty(
        penalty_id="n2", rule_ref="rules/1", until=START + timedelta(days=3), **SELLER
    )
    book.run(free)
    assert book.payable() == 0


def test_a_release_in_the_sellers_currency_is_paid_in_it(book: SellersBook) -> None:
    """A converted release that is paid in the buyer's currency, or at its amount."""
    book.run(place("a 1000 x 0.01", order_id="o2"))
    book.run(ConfirmOrder(order_id="o2", policy=CoverPolicy.ON_ACCOUNT))
    book.pay("pay-o2", 1000, order_id="o2")
    book.run(HoldFunds(order_id="o2"))
    book.run(MeetReleaseCondition(order_id="o2", seller="s1", cause="delivered"))
    book.release(
        "o2", "r1", rate="0.1", conversion=ConversionTerms(currency="EUR", rate=Decimal("0.8"))
    )
    book.give_back("o2", "f1", 500)
    euros = -book.balance(accounts.seller("s1"), "EUR")
    assert euros == 360
    seen = SeenBalance(euros, 0)
    assert book.refusal(book.scheduling("p1", "o2")) == "currency_mismatch"
    assert book.schedule("p1", "o2", currency="EUR", seen=seen) == 360


def test_standing_and_suspension_hold_in_every_currency(book: SellersBook) -> None:
    """A seller who is suspended in one currency and paid in another."""
    change = ChangeSellerStanding(
        seller="s1", score=9_100, standing=Standing.GOOD, policy="default", cause_event="order o1"
    )
    book.run(change)
    assert book.did(change) == []
    poor = ChangeSellerStanding(seller="s1", score=10, standing=Standing.POOR)
    book.run(poor)
    changed = book.events[-1][1]
    assert (getattr(changed, "old", None), getattr(changed, "new", None)) == (
        Standing.GOOD,
        Standing.POOR,
    )
    assert (
        book.refusal(ChangeSellerStanding(seller="s1", score=10_001, standing=Standing.TOP))
        == "InvalidCommand"
    )
    assert book.refusal(SuspendSeller(seller="s1", reason="", by="ann")) == "InvalidCommand"
    book.run(SuspendSeller(seller="s1", reason="x", by="ann"))
    for currency in ("USD", "EUR"):
        assert book.refusal(book.scheduling("p1", currency=currency)) == "seller_suspended"


@pytest.mark.parametrize("seller", ["a", "a/USD", "a-b", "x:y/z"])
def test_the_name_of_a_sellers_stream_is_told_apart(seller: str) -> None:
    """Two sellers, or two currencies, in one stream."""
    assert streams.seller_of(streams.seller(seller, "EUR")) == (seller, "EUR")
    assert streams.kind_of(streams.seller(seller, "EUR")) == "seller"
