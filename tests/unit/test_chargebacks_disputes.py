"""Hard case 16: a chargeback and an internal dispute on one order, interplay (a) to (d)."""

from datetime import timedelta
from typing import Any

import pytest

from orderledger.commands.dispute_commands import (
    AcceptDispute,
    Escalate,
    Respond,
    ResumeDispute,
)
from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.commands.order_commands import AllocateRefund, GrantRefund, RecordGoodwill
from orderledger.commands.ruling_commands import AmendRuling, ExecuteRuling
from orderledger.ledger import accounts
from orderledger.ledger.dispute_content import Answer, DisputeOutcome
from orderledger.ledger.dispute_events import DisputeResumed
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.disputes import DisputeState, deadlines_of, running
from orderledger.ledger.order_events import RefundSource
from tests.chargebacks_book import PSP, ChargebackBook, opened, report
from tests.dispute_book import HOUR, file, rules, shares


@pytest.fixture
def book() -> ChargebackBook:
    """Return an order of two sellers whose buyer disputes 10.00 of line a: accepted, frozen."""
    book = ChargebackBook().sold_lines("a 3 x 10.00", "c 1 x 70.00 of s2")
    book.run(file(rule_book=rules(response_hours=48)))
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    assert book.order().slices["s1"].frozen == {"d1": 1_000}
    return book


def dispute(book: ChargebackBook) -> DisputeState:
    state: DisputeState = book.states["dispute-d1"]
    return state


def test_a_the_dispute_is_suspended_and_goes_on_after_a_win(book: ChargebackBook) -> None:
    """Catches a buyer who gets a ruling here while the bank decides about the same money."""
    (deadline,) = running(dispute(book))[:1]
    left = deadline.due_at - book.now
    book.now += HOUR
    book.run(opened(10_000))
    assert dispute(book).suspended_by == ("cb1",)
    assert deadlines_of(dispute(book)) == ()
    answers = (
        Respond(dispute_id="d1", answer=Answer.ACCEPT),
        Escalate(dispute_id="d1", party=Party.BUYER),
    )
    assert [book.refusal(one) for one in answers] == ["dispute_suspended"] * 2
    assert {key[0] for key in book.order().freezes} == {"d1", "cb1"}
    book.now += timedelta(days=30)
    book.run(report("won"))
    assert not dispute(book).is_suspended
    assert running(dispute(book))[0].due_at == book.now + left - HOUR
    assert book.order().slices["s1"].frozen == {"d1": 1_000}


def test_a_nothing_is_executed_while_it_is_contested(book: ChargebackBook) -> None:
    """Catches an agreed award that pays the buyer while the bank has the money."""
    book.run(Respond(dispute_id="d1", answer=Answer.ACCEPT))
    book.run(opened(10_000))
    assert book.refusal(ExecuteRuling(dispute_id="d1")) == "dispute_suspended"
    assert book.order().grants == {}
    book.run(report("won"))
    book.run(ExecuteRuling(dispute_id="d1"))
    assert [grant.total for grant in book.order().grants.values()] == [1_000]


def test_a_a_loss_of_the_whole_ends_the_dispute(book: ChargebackBook) -> None:
    """Catches a freeze that is never lifted, or lifted twice, because the bank decided."""
    book.run(opened(10_000))
    book.run(report("lost"))
    assert dispute(book).outcome is DisputeOutcome.SUPERSEDED
    assert book.order().disputes["d1"].outcome is DisputeOutcome.SUPERSEDED
    assert all(freeze.is_lifted for freeze in book.order().freezes.values())
    assert book.posted() == {}
    assert book.anomalies() == []


def test_a_a_loss_of_less_than_was_claimed_lets_the_dispute_go_on(book: ChargebackBook) -> None:
    """Catches a buyer who loses a claim of 10.00 because of a chargeback over 1.00."""
    book.run(opened(100))
    book.run(report("lost"))
    assert dispute(book).outcome is None
    assert not dispute(book).is_suspended


def test_a_the_second_chargeback_suspends_again(book: ChargebackBook) -> None:
    """Catches a dispute that runs while the bank has taken the money once more."""
    book.run(opened(10_000))
    book.run(report("won"))
    book.run(opened(10_000, "second_chargeback"))
    assert dispute(book).suspended_by == ("cb1",)


def test_a_an_inquiry_suspends_nothing(book: ChargebackBook) -> None:
    """Catches a dispute that stands still because the bank has asked a question."""
    book.run(opened(10_000, "inquiry"))
    assert not dispute(book).is_suspended


def test_a_a_missed_deadline_comes_before_the_suspension() -> None:
    """Catches an answer that changes because nobody ran the timer before the chargeback."""
    book = ChargebackBook().sold_lines("a 3 x 10.00")
    book.run(file(rule_book=rules(escalation_from_hours=0)))
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    book.now += 97 * HOUR
    book.run(opened(3_000))
    assert dispute(book).suspended_by == ("cb1",)
    assert dispute(book).stage == "evidence"


def test_a_a_dispute_that_is_filed_meanwhile_waits() -> None:
    """Catches a buyer who files after the chargeback, and gets the same money from both."""
    book = ChargebackBook().sold_lines("a 3 x 10.00", "c 1 x 70.00 of s2")
    book.run(opened(10_000))
    assert book.did(file(rule_book=rules(response_hours=48))) == [
        "DisputeFiled",
        "DisputeOpened",
        "DisputeSuspended",
    ]
    assert book.did(file(rule_book=rules(response_hours=48))) == []
    assert dispute(book).suspended_by == ("cb1",)
    accept = AcceptDispute(dispute_id="d1", by="clerk")
    assert book.refusal(accept) == "dispute_suspended"
    by_hand = ResumeDispute(dispute_id="d1", by="cb1")
    assert book.refusal(by_hand) == "chargeback_open"
    book.run(report("won"))
    assert not dispute(book).is_suspended
    book.run(accept)
    assert book.order().slices["s1"].frozen == {"d1": 1_000}
    assert book.did(by_hand) == []


def test_a_an_accepted_dispute_of_before_is_stopped() -> None:
    """Catches a dispute that a history without its suspension lets run to the buyer's money."""
    book = ChargebackBook().sold_lines("a 3 x 10.00", "c 1 x 70.00 of s2")
    book.run(file(rule_book=rules(response_hours=48)))
    book.run(opened(10_000))
    book.given("dispute-d1", DisputeResumed(at=book.now, by="cb1"))
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    assert dispute(book).suspended_by == ("cb1",)
    book.given("dispute-d1", DisputeResumed(at=book.now, by="cb1"))
    book.run(Respond(dispute_id="d1", answer=Answer.ACCEPT))
    assert book.refusal(ExecuteRuling(dispute_id="d1")) == "dispute_suspended"
    assert book.order().grants == {}
    book.run(report("won"))
    book.run(ExecuteRuling(dispute_id="d1"))
    assert [grant.total for grant in book.order().grants.values()] == [1_000]


def test_a_an_amended_ruling_waits_for_the_bank(book: ChargebackBook) -> None:
    """Catches an amendment that pays the buyer what the bank may pay as well."""
    book.run(Respond(dispute_id="d1", answer=Answer.ACCEPT))
    book.run(ExecuteRuling(dispute_id="d1"))
    book.succeed("p1", book.refund("p1", "d1:settlement:buyer", 1_000))
    book.run(opened(9_000))
    assert not dispute(book).is_suspended
    amendment: dict[str, Any] = {
        "dispute_id": "d1",
        "ruling_id": "r2",
        "supersedes": "",
        "cause": "wrong line",
        "by": "ann",
        "approver": "bob",
    }
    for_buyer = AmendRuling(allocations=shares(buyer=1000), **amendment)
    assert book.refusal(for_buyer) == "dispute_suspended"
    book.run(AmendRuling(allocations=shares(seller=1000), **amendment))
    assert dispute(book).suspended_by == ("cb1",)
    assert book.refusal(ExecuteRuling(dispute_id="d1")) == "dispute_suspended"
    book.run(report("won"))
    assert not dispute(book).is_suspended


def test_the_freeze_of_an_open_chargeback_is_lifted_by_its_end(book: ChargebackBook) -> None:
    """Catches contested money that somebody sets free by hand, for the seller to take."""
    book.run(opened(10_000))
    lift = UnfreezeFunds(order_id="o1", freeze_id="cb1", cause="a mistake")
    assert book.refusal(lift) == "chargeback_open"
    book.run(report("won"))
    assert book.did(lift) == []
    book.run(opened(10_000, "second_chargeback"))
    again = UnfreezeFunds(order_id="o1", freeze_id="cb1/second_chargeback", cause="a mistake")
    assert book.refusal(again) == "chargeback_open"
    book.run(FreezeFunds(order_id="o1", freeze_id="x", seller="s2", amount=1, cause="chargeback"))
    assert book.did(UnfreezeFunds(order_id="o1", freeze_id="x")) == ["FundsUnfrozen"]


def test_d_won_after_the_platform_had_refunded_the_buyer() -> None:
    """Catches a seller who bears what the platform gave the buyer, although the bank agreed."""
    book = ChargebackBook().sold_lines("a 1 x 100.00")
    book.release("s1")
    sold = book.posted()
    approved = RecordGoodwill(
        order_id="o1", goodwill_id="g1", amount=3_000, reason="r", by="ops", approver="cfo"
    )
    book.run(approved)
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="r1",
            reason="r",
            source=RefundSource.GOODWILL,
            adjustment=3_000,
        )
    )
    book.run(AllocateRefund(order_id="o1", refund_id="r1"))
    book.succeed("p1", book.refund("p1", "r1", 3_000))
    book.run(opened(10_000))
    assert book.payment().exposure == 3_000
    book.run(report("won"))
    goodwill = {accounts.GOODWILL: 3_000, PSP: sold[PSP] - 3_000}
    assert book.posted() == {**sold, **goodwill}
