"""Payouts: what is paid, refused, reported by the bank, and what is left in every account."""

from typing import Any

import pytest

from orderledger.commands.decision import Command
from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.commands.order_commands import (
    ConfirmOrder,
    CoverPolicy,
    HoldFunds,
    MeetReleaseCondition,
)
from orderledger.commands.payment_commands import RecordDeclined
from orderledger.commands.payout_commands import (
    CancelPayout,
    QueryPayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutPending,
    RecordPayoutReturned,
    RecordPayoutUnknown,
    ResolvePayoutAnomaly,
)
from orderledger.commands.seller_commands import ReinstateSeller, SeenBalance, SuspendSeller
from orderledger.ledger import accounts
from orderledger.ledger.payouts import PayoutStatus
from tests.order_book import place
from tests.sellers_book import SellersBook

BANK = accounts.bank("main")
FEES = accounts.BANK_FEES


@pytest.fixture
def book() -> SellersBook:
    made = SellersBook()
    made.earn("o1", 1000)
    return made


def report(kind: str, bank_ref: str = "", **fields: Any) -> Command:
    """Return a report on p1 by the first word of what it says."""
    made: dict[str, type[Any]] = {
        "paid": RecordPayoutPaid,
        "failed": RecordPayoutFailed,
        "returned": RecordPayoutReturned,
        "pending": RecordPayoutPending,
    }
    if kind == "unknown":
        return RecordPayoutUnknown(payout_id="p1", cause="timeout")
    command: Command = made[kind](payout_id="p1", bank_ref=bank_ref or f"b-{kind}", **fields)
    return command


def test_a_payout_moves_seller_to_payouts_to_bank(book: SellersBook) -> None:
    """Recipe 23 posted at the wrong step, or to the wrong account."""
    assert book.schedule("p1", "o1=1000") == 1000
    assert (book.payable(), book.payout().status) == (1000, PayoutStatus.SCHEDULED)
    book.initiate()
    assert (book.payable(), book.balance(accounts.payouts("p1"))) == (0, -1000)
    book.run(report("paid"))
    assert (book.balance(accounts.payouts("p1")), book.balance(BANK)) == (0, -1000)
    assert book.payout().status is PayoutStatus.PAID
    assert book.payout().anomalies == ()


# What the bank reports after p1 of 1000 went to it; then the balances of seller, bank and fees,
# the status, how many anomalies, and whether the release may be paid again.
REPORTS: list[tuple[str, list[Command], tuple[int, int, int], str, int, bool]] = [
    ("nothing", [], (0, 0, 0), "in_transit", 0, False),
    ("pending", [report("pending")], (0, 0, 0), "in_transit", 0, False),
    ("unknown", [report("unknown")], (0, 0, 0), "unknown", 0, False),
    ("unknown, paid", [report("unknown"), report("paid")], (0, -1000, 0), "paid", 0, False),
    ("unknown, pending", [report("unknown"), report("pending")], (0, 0, 0), "in_transit", 0, False),
    ("paid", [report("paid")], (0, -1000, 0), "paid", 0, False),
    ("paid twice", [report("paid"), report("paid")], (0, -1000, 0), "paid", 0, False),
    ("paid, pending late", [report("paid"), report("pending")], (0, -1000, 0), "paid", 0, False),
    ("paid, unknown late", [report("paid"), report("unknown")], (0, -1000, 0), "paid", 0, False),
    ("paid by two refs", [report("paid"), report("paid", "b2")], (0, -1000, 0), "paid", 1, False),
    (
        "paid, same ref differs",
        [report("paid"), report("paid", amount=900)],
        (0, -1000, 0),
        "paid",
        1,
        False,
    ),
    ("failed", [report("failed")], (1000, 0, 0), "failed", 0, True),
    ("unknown, failed", [report("unknown"), report("failed")], (1000, 0, 0), "failed", 0, True),
    ("failed twice", [report("failed"), report("failed")], (1000, 0, 0), "failed", 0, True),
    ("failed by two", [report("failed"), report("failed", "b2")], (1000, 0, 0), "failed", 1, True),
    ("paid, failed", [report("paid"), report("failed")], (1000, 0, 0), "failed", 0, True),
    (
        "paid, returned",
        [report("paid"), report("returned", fee=15)],
        (1000, -15, 15),
        "returned",
        0,
        True,
    ),
    (
        "returned, paid late",
        [report("returned", fee=15), report("paid")],
        (1000, -15, 15),
        "returned",
        0,
        True,
    ),
    (
        "returned twice",
        [report("returned", fee=15), report("returned", fee=15)],
        (1000, -15, 15),
        "returned",
        0,
        True,
    ),
    (
        "returned, fee differs",
        [report("returned", fee=15), report("returned", fee=16)],
        (1000, -15, 15),
        "returned",
        1,
        True,
    ),
    (
        "failed, returned",
        [report("failed"), report("returned", fee=15)],
        (1000, -15, 15),
        "returned",
        1,
        True,
    ),
    (
        "returned, failed",
        [report("returned", fee=15), report("failed")],
        (1000, -15, 15),
        "returned",
        1,
        True,
    ),
    ("fee above", [report("returned", fee=1200)], (1000, -1200, 1200), "returned", 0, True),
    ("failed, paid", [report("failed"), report("paid")], (0, -1000, 0), "paid", 1, False),
    (
        "returned, paid again",
        [report("paid"), report("returned"), report("paid", "b2")],
        (0, -1000, 0),
        "paid",
        1,
        False,
    ),
    ("paid less", [report("paid", amount=990)], (10, -990, 0), "paid", 1, False),
    ("paid more", [report("paid", amount=1010)], (-10, -1010, 0), "paid", 1, False),
    ("paid nothing", [report("paid", amount=0)], (0, 0, 0), "in_transit", 1, False),
    ("paid euros", [report("paid", currency="EUR")], (0, 0, 0), "in_transit", 1, False),
    (
        "put right",
        [report("paid", currency="EUR"), report("paid", amount=1000)],
        (0, -1000, 0),
        "paid",
        1,
        False,
    ),
]


@pytest.mark.parametrize(
    ("reports", "balances", "status", "anomalies", "is_free"),
    [case[1:] for case in REPORTS],
    ids=[case[0] for case in REPORTS],
)
def test_what_the_bank_reports(
    book: SellersBook,
    reports: list[Command],
    balances: tuple[int, int, int],
    status: str,
    anomalies: int,
    is_free: bool,
) -> None:
    """A report that is refused, counted twice, or moves money that did not move."""
    book.schedule("p1", "o1")
    book.initiate()
    for one in reports:
        book.run(one)
    assert (book.payable(), book.balance(BANK), book.balance(FEES)) == balances
    assert book.payout().status.value == status
    assert len(book.payout().anomalies) == anomalies
    again = book.refusal(book.scheduling("p2", "o1"))
    assert again == ("" if is_free else "already_paid_out")


# What the bank reports of p1 of 1000 that it was never asked for: scheduled, or cancelled.
UNASKED: list[tuple[str, bool, Command, tuple[int, int, int], str, bool]] = [
    ("paid", False, report("paid"), (0, -1000, 0), "paid", False),
    ("failed", False, report("failed"), (1000, 0, 0), "failed", True),
    ("returned", False, report("returned", fee=15), (1000, -15, 15), "returned", True),
    ("pending", False, report("pending"), (1000, 0, 0), "scheduled", False),
    ("paid, cancelled", True, report("paid"), (0, -1000, 0), "paid", False),
    ("failed, cancelled", True, report("failed"), (1000, 0, 0), "cancelled", True),
    ("returned, cancelled", True, report("returned", fee=15), (1000, -15, 15), "returned", True),
    ("pending, cancelled", True, report("pending"), (1000, 0, 0), "cancelled", True),
]


@pytest.mark.parametrize(
    ("is_cancelled", "one", "balances", "status", "is_free"),
    [case[1:] for case in UNASKED],
    ids=[case[0] for case in UNASKED],
)
def test_a_report_on_a_payout_that_nobody_asked_for(
    book: SellersBook,
    is_cancelled: bool,
    one: Command,
    balances: tuple[int, int, int],
    status: str,
    is_free: bool,
) -> None:
    """Money that the bank moved and the books do not have, or without an anomaly."""
    book.schedule("p1", "o1")
    if is_cancelled:
        book.run(CancelPayout(payout_id="p1", reason="x"))
    book.run(one)
    book.run(one)
    assert (book.payable(), book.balance(BANK), book.balance(FEES)) == balances
    assert book.payout().status.value == status
    assert len(book.payout().anomalies) == 1
    again = book.refusal(book.scheduling("p2", "o1"))
    assert again == ("" if is_free else "already_paid_out")


def test_a_report_on_a_payout_that_nobody_knows() -> None:
    """A report of the bank that is lost, or posted to nobody."""
    book = SellersBook()
    for one in (report("paid", amount=5), report("failed"), report("unknown"), report("pending")):
        book.run(one)
        book.run(one)
    assert book.kinds() == ["AnomalyRaised"] * 4
    assert book.postings == []


def test_only_what_the_bank_works_on_or_nobody_knows_is_asked_about(book: SellersBook) -> None:
    """A query of a payout that was never sent, or whose answer is known; a schedule begun anew."""
    ask = QueryPayout(payout_id="p1", result="no answer")
    assert book.refusal(ask) == "NotFound"
    book.schedule("p1", "o1")
    assert book.refusal(ask) == "wrong_state"
    book.initiate()
    assert book.refusal(ask) == "wrong_state", "the request may not be out yet"
    book.run(report("unknown"))
    book.run(ask)
    book.run(RecordPayoutUnknown(payout_id="p1", cause="another timeout"))
    assert (book.payout().queries, len(book.payout().waits)) == (1, 7), "it is the same doubt"
    book.run(report("pending"))
    assert (book.payout().queries, len(book.payout().waits)) == (0, 2)
    book.run(report("paid"))
    assert book.refusal(ask) == "wrong_state"


def test_an_anomaly_of_a_payout_is_resolved(book: SellersBook) -> None:
    """An anomaly that can never be closed."""
    book.schedule("p1", "o1")
    book.run(report("paid"))
    (key,) = book.payout().anomalies
    resolved = ResolvePayoutAnomaly(
        payout_id="p1", anomaly_id=key, by="ann", resolution="told the bank"
    )
    book.run(resolved)
    assert book.payout().anomalies == ()
    assert book.refusal(resolved) == "not_found"


def test_scheduling_again_is_nothing_new(book: SellersBook) -> None:
    """A repeated command that pays twice, or another one that is taken for it."""
    command = book.scheduling("p1", "o1")
    book.run(command)
    assert book.did(command) == []
    assert book.did(book.scheduling("p1", "o1=1000")) == []
    assert book.refusal(book.scheduling("p1", "o1", minimum=1)) == "operation_already_used"
    assert book.refusal(book.scheduling("p1")) == "operation_already_used"
    book.initiate()
    assert book.did(book.initiating()) == []
    other = book.initiating()
    assert book.refusal(type(other)(payout_id="p1", seen=other.seen, idempotency_key="k2")) == (
        "operation_already_used"
    )
    assert book.refusal(CancelPayout(payout_id="p1", reason="x")) == "wrong_state"


# What is scheduled of o1 (1000, release r1 to s1), and the refusal.
SCHEDULED: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
    ("other amount", ("o1=999",), {}, "amount_mismatch"),
    ("no release", ("o1/r9",), {}, "not_found"),
    ("no order", ("o9",), {}, "NotFound"),
    ("twice", ("o1", "o1"), {}, "InvalidCommand"),
    ("another seller", ("o1",), {"seller": "s2"}, "not_found"),
    ("another currency", ("o1",), {"currency": "EUR"}, "currency_mismatch"),
    ("points", ("o1",), {"currency": "PTS"}, "InvalidCommand"),
    ("no currency", ("o1",), {"currency": "xyz"}, "UnknownCurrency"),
    ("minimum", ("o1",), {"minimum": 1000}, "insufficient_funds"),
    ("below the minimum", ("o1",), {"minimum": 999}, ""),
    ("negative minimum", ("o1",), {"minimum": -1}, "InvalidCommand"),
    ("nothing", (), {}, "insufficient_funds"),
    ("no balance", ("o1",), {"seen": SeenBalance(0, 0)}, "insufficient_funds"),
    ("stale", ("o1",), {"seen": SeenBalance(1000, 1)}, "stale_base_version"),
    ("a strange bank", ("o1",), {"bank": "a b"}, "InvalidAccount"),
]


@pytest.mark.parametrize(
    ("entries", "fields", "refusal"),
    [case[1:] for case in SCHEDULED],
    ids=[case[0] for case in SCHEDULED],
)
def test_what_cannot_be_scheduled(
    book: SellersBook, entries: tuple[str, ...], fields: dict[str, Any], refusal: str
) -> None:
    """A payout of what is not there, not the seller's, or not in its currency."""
    assert book.refusal(book.scheduling("p1", *entries, **fields)) == refusal


def test_a_release_is_paid_once(book: SellersBook) -> None:
    """The same released money in two payouts (invariant 20)."""
    book.earn("o2", 500)
    book.schedule("p1", "o1")
    assert book.refusal(book.scheduling("p2", "o2", "o1")) == "already_paid_out"
    assert book.schedule("p2", "o2") == 500
    book.run(CancelPayout(payout_id="p1", reason="x"))
    assert book.did(CancelPayout(payout_id="p1", reason="x")) == []
    assert book.refusal(book.initiating("p1")) == "wrong_state"
    assert book.schedule("p3", "o1") == 1000
    for payout_id in ("p2", "p3"):
        book.initiate(payout_id)
    assert book.payable() == 0


def test_a_balance_seen_before_another_payout_pays_nothing(book: SellersBook) -> None:
    """Two payouts that are both decided on the same balance."""
    book.earn("o2", 500)
    seen = book.seen()
    book.schedule("p1", "o1", seen=seen)
    assert book.refusal(book.scheduling("p2", "o2", seen=seen)) == "stale_base_version"


def test_a_suspended_seller_is_not_paid(book: SellersBook) -> None:
    """A payout to a seller who is suspended, before it is scheduled or after."""
    suspend = SuspendSeller(seller="s1", reason="fraud", by="ann")
    reinstate = ReinstateSeller(seller="s1", reason="cleared", by="bob")
    book.run(suspend)
    assert book.did(suspend) == []
    assert book.refusal(book.scheduling("p1", "o1")) == "seller_suspended"
    book.run(reinstate)
    assert book.did(reinstate) == []
    book.schedule("p1", "o1")
    book.run(suspend)
    assert book.refusal(book.initiating()) == "seller_suspended"
    book.run(CancelPayout(payout_id="p1", reason="suspended"))


def test_what_a_refund_took_is_not_paid(book: SellersBook) -> None:
    """A payout of money that a refund took back of the same order."""
    book.give_back("o1", "f1", 300)
    assert book.refusal(book.scheduling("p1", "o1=1000")) == "amount_mismatch"
    assert book.schedule("p1", "o1=700") == 700
    book.give_back("o1", "f2", 100)
    assert book.refusal(book.initiating()) == "amount_exceeds_available"
    book.run(CancelPayout(payout_id="p1", reason="refund"))
    assert book.pay_out("p2", "o1") == 600
    assert book.payable() == 0


def test_what_came_back_is_paid_later(book: SellersBook) -> None:
    """Money of a refund that failed, which no payout could ever pay."""
    op_id = book.give_back("o1", "f1", 300)
    assert book.pay_out("p1", "o1") == 700
    book.run(RecordDeclined(payment_id="pay-o1", op_id=op_id, provider_ref="x", code="c"))
    assert book.payable() == 300
    assert book.pay_out("p2", "o1") == 300
    assert book.refusal(book.scheduling("p3", "o1")) == "already_paid_out"
    assert book.payable() == 0


def test_a_release_that_refunds_took_whole(book: SellersBook) -> None:
    """A payout of nothing, or the wrong reason for it."""
    book.give_back("o1", "f1", 1000)
    assert book.refusal(book.scheduling("p1", "o1")) == "amount_exceeds_available"


def test_a_refund_after_the_payout_is_taken_from_the_next(book: SellersBook) -> None:
    """Hard case 13: a seller who is paid again although a refund made a debt."""
    book.earn("o2", 1000)
    assert book.pay_out("p1", "o1") == 1000
    book.give_back("o1", "f1", 400)
    assert book.payable() == 600
    assert book.schedule("p2", "o2") == 600
    assert book.payout("p2").sum.debt_recovered == 400


def freezing(amount: int, order_id: str = "o1") -> Command:
    return FreezeFunds(
        order_id=order_id, freeze_id="d1", seller="s1", amount=amount, cause="dispute"
    )


def test_frozen_funds_are_not_paid_out(book: SellersBook) -> None:
    """Invariant 28: money of a dispute that is paid out before it is decided, or never again."""
    lift = UnfreezeFunds(order_id="o1", freeze_id="d1")
    book.run(freezing(300))
    assert book.refusal(book.scheduling("p1", "o1=1000")) == "amount_mismatch"
    assert book.schedule("p1", "o1") == 700
    book.run(lift)
    assert book.schedule("p2", "o1") == 300
    book.run(CancelPayout(payout_id="p2", reason="x"))
    book.initiate("p1")
    assert book.pay_out("p3", "o1") == 300
    assert book.refusal(book.scheduling("p4", "o1")) == "already_paid_out"
    assert book.payable() == 0


def test_a_freeze_stops_a_payout_that_was_scheduled(book: SellersBook) -> None:
    """Invariant 28: a payout that was decided before the dispute, and sent to the bank after it."""
    book.schedule("p1", "o1")
    book.run(freezing(1))
    assert book.refusal(book.initiating()) == "amount_exceeds_available"
    book.run(UnfreezeFunds(order_id="o1", freeze_id="d1"))
    book.initiate()


def test_a_freeze_of_what_was_paid_out_is_recovered_and_given_back(book: SellersBook) -> None:
    """A seller who is paid while disputes are open on earlier payouts, or twice afterwards."""
    book.pay_out("p1", "o1")
    book.run(freezing(400))
    assert book.payable() == -400
    book.earn("o2", 900)
    assert book.pay_out("p2", "o2") == 500
    book.run(UnfreezeFunds(order_id="o1", freeze_id="d1"))
    assert book.pay_out("p3") == 400
    assert book.payable() == 0


def test_two_releases_of_one_order(book: SellersBook) -> None:
    """A refund of one release that the payout of the other one does not see."""
    run = book.run
    run(place("a 1000 x 0.01", order_id="o2"))
    run(ConfirmOrder(order_id="o2", policy=CoverPolicy.ON_ACCOUNT))
    book.pay("pay-o2", 1000, order_id="o2")
    run(HoldFunds(order_id="o2"))
    run(MeetReleaseCondition(order_id="o2", seller="s1", cause="delivered"))
    book.release("o2", "r1", amount=600)
    assert book.pay_out("p1", "o2") == 600
    book.release("o2", "r2")
    book.give_back("o2", "f1", 500)
    assert book.refusal(book.scheduling("p2", "o2/r2=400")) != ""
    assert book.order("o2").released == 1000
    assert book.payable() == 1000 + 1000 - 500 - 600
    assert book.refusal(book.scheduling("p2", "o2/r2")) == "amount_exceeds_available"
    assert book.pay_out("p2", "o1") == 900
    assert book.payable() == 0


def test_scheduled_payouts_have_the_balance_first(book: SellersBook) -> None:
    """Two payouts that together pay more than the balance, because neither has left it yet."""
    book.pay_out("p0", "o1")
    for order_id, amount in (("o2", 1000), ("o3", 500)):
        book.earn(order_id, amount)
    book.give_back("o1", "f1", 300)
    assert book.schedule("p1", "o2") == 1000
    assert book.schedule("p2", "o3") == 200
    for payout_id in ("p1", "p2"):
        book.initiate(payout_id)
    assert book.payable() == 0


def test_a_refund_of_another_order_stops_a_scheduled_payout(book: SellersBook) -> None:
    """A payout that makes a debt which was known when it was sent."""
    book.pay_out("p0", "o1")
    book.earn("o2", 500)
    book.schedule("p1", "o2")
    book.give_back("o1", "f1", 300)
    assert book.refusal(book.initiating("p1")) == "insufficient_funds"
    book.run(CancelPayout(payout_id="p1", reason="debt"))
    assert book.pay_out("p2", "o2") == 200


def test_entries_are_freed_once(book: SellersBook) -> None:
    """An entry that another payout has by now and that a late report frees."""
    book.schedule("p1", "o1")
    book.run(CancelPayout(payout_id="p1", reason="x"))
    book.schedule("p2", "o1")
    late = book.did(report("returned", fee=15))
    assert late == ["AnomalyRaised", "PayoutReturned"]
    assert book.refusal(book.scheduling("p3", "o1")) == "already_paid_out"
