"""What we answer to a chargeback, what a notification brings, and the timer of the defence."""

from datetime import timedelta
from typing import Any

import pytest

from orderledger.commands.chargeback_commands import (
    AcceptChargeback,
    AssignChargebackLoss,
    EndChargebackDefence,
    SubmitChargebackEvidence,
)
from orderledger.commands.payment_commands import ReceiveNotification, RetryNotification
from orderledger.ledger import accounts
from orderledger.ledger.chargeback_events import EvidenceDocument
from orderledger.ledger.chargeback_stages import Liability
from orderledger.ledger.errors import InvalidCommand, NotFound
from orderledger.ledger.inbox import InboxStatus
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.payment_deadlines import deadlines_of
from orderledger.ledger.payment_operations import Outcome
from tests.chargebacks_book import DUE, ChargebackBook, opened, report
from tests.decided_book import DAY

PROOF = EvidenceDocument("proof_of_delivery", "a" * 64)
RECEIPT = EvidenceDocument("receipt", "b" * 64)


@pytest.fixture
def book() -> ChargebackBook:
    return ChargebackBook().sold_lines("a 1 x 100.00")


def defence(*documents: EvidenceDocument, **fields: Any) -> SubmitChargebackEvidence:
    given: dict[str, Any] = {"payment_id": "p1", "chargeback_id": "cb1", "submitted_by": "ann"}
    return SubmitChargebackEvidence(documents=documents or (PROOF,), **{**given, **fields})


def accept(**fields: Any) -> AcceptChargeback:
    given: dict[str, Any] = {"payment_id": "p1", "chargeback_id": "cb1", "accepted_by": "ann"}
    return AcceptChargeback(**{**given, **fields})


def time_over(**fields: Any) -> EndChargebackDefence:
    given: dict[str, Any] = {"payment_id": "p1", "chargeback_id": "cb1", "due_at": DUE}
    return EndChargebackDefence(**{**given, **fields})


def test_evidence_is_submitted_once(book: ChargebackBook) -> None:
    """Catches a second defence that the provider would not take any more."""
    book.run(opened(10_000, evidence_due_by=DUE))
    book.run(defence(PROOF, RECEIPT))
    assert book.chargeback().status == "under_review"
    assert book.run(defence(PROOF, RECEIPT)) == ()
    assert book.refusal(defence(PROOF)) == "operation_already_used"
    book.run(report("won"))
    book.run(opened(10_000, "second_chargeback"))
    book.run(defence(RECEIPT))
    assert book.chargeback().status == "under_review"


@pytest.mark.parametrize(
    ("before", "command", "reason"),
    [
        ([], defence(), "not_found"),
        ([opened(10_000)], defence(chargeback_id="cb2"), "not_found"),
        ([opened(10_000), report("won")], defence(), "wrong_state"),
        ([opened(10_000), report("evidence_submitted")], defence(), "wrong_state"),
        ([opened(10_000, evidence_due_by=DUE - 8 * DAY)], defence(), "window_closed"),
        ([opened(10_000, "inquiry")], accept(), "wrong_state"),
        ([opened(10_000), report("won")], accept(), "wrong_state"),
        ([], accept(), "not_found"),
        ([opened(10_000, evidence_due_by=DUE)], time_over(), "not_yet_due"),
        ([opened(10_000)], accept(order_id="o2"), "bound_to_another_order"),
        (
            [opened(10_000)],
            AssignChargebackLoss(
                payment_id="p1",
                chargeback_id="cb1",
                liability=Liability.PLATFORM,
                reason="r",
                by="b",
            ),
            "wrong_state",
        ),
    ],
)
def test_answers_that_are_refused(
    book: ChargebackBook, before: list[Any], command: Any, reason: str
) -> None:
    """Catches an answer that the provider cannot take, or a loss nobody asked to bear."""
    for one in before:
        book.run(one)
    assert book.refusal(command) == reason


@pytest.mark.parametrize(
    "documents",
    [(), (EvidenceDocument("receipt", "A" * 64),), (EvidenceDocument("receipt", "ab"),)],
)
def test_evidence_without_a_hash_is_malformed(
    book: ChargebackBook, documents: tuple[EvidenceDocument, ...]
) -> None:
    """Catches evidence that nobody can compare with its file (invariant 30)."""
    book.run(opened(10_000))
    command = SubmitChargebackEvidence(
        payment_id="p1", chargeback_id="cb1", documents=documents, submitted_by="ann"
    )
    with pytest.raises(InvalidCommand):
        book.run(command)


def test_an_inquiry_can_be_answered(book: ChargebackBook) -> None:
    """Catches an inquiry that turns into a chargeback because nobody could answer it."""
    book.run(opened(10_000, "inquiry"))
    book.run(defence())
    assert book.chargeback().status == "under_review"
    assert book.payment().chargeback_open == 0


def test_accepting_is_a_loss(book: ChargebackBook) -> None:
    """Catches an accepted chargeback whose money still counts as contested."""
    book.run(opened(10_000))
    book.run(accept())
    assert book.chargeback().status == "lost"
    assert book.posted() == {}
    assert book.run(accept()) == ()
    assert book.run(report("lost")) != ()
    assert book.anomalies() == ["ChargebackContradiction"]


def test_the_timer_of_the_defence(book: ChargebackBook) -> None:
    """Catches a deadline that is missed silently, or fires although it was moved or met."""
    book.run(opened(10_000, evidence_due_by=DUE))
    (deadline,) = deadlines_of(book.payment())
    assert (deadline.kind, deadline.due_at) == ("chargeback_defence", DUE)
    book.run(opened(10_000, evidence_due_by=DUE + DAY))
    (moved,) = deadlines_of(book.payment())
    assert (moved.due_at, moved.deadline_id != deadline.deadline_id) == (DUE + DAY, True)
    book.now = DUE + 3 * DAY
    assert book.run(time_over()) == ()
    book.run(time_over(due_at=DUE + DAY, occurred_at=DUE + DAY))
    assert book.chargeback().status == "lost"
    assert deadlines_of(book.payment()) == ()
    assert book.posted() == {}
    assert book.run(time_over(due_at=DUE + DAY)) == ()


def test_a_defence_that_was_handed_in_has_no_deadline(book: ChargebackBook) -> None:
    """Catches a chargeback that is given up although it was answered in time."""
    book.run(opened(10_000, evidence_due_by=DUE))
    book.run(defence())
    assert deadlines_of(book.payment()) == ()
    book.now = DUE + DAY
    assert book.run(time_over()) == ()


def test_the_provider_knows_better_than_our_timer(book: ChargebackBook) -> None:
    """Catches money that came back and stays lost because a timer had given up."""
    before = book.posted()
    book.run(opened(10_000, evidence_due_by=DUE))
    book.now = DUE + timedelta(seconds=1)
    book.run(time_over())
    book.run(report("won"))
    assert book.posted() == before
    assert book.anomalies() == ["ChargebackContradiction"]


def received(number: int = 1, **fields: Any) -> ReceiveNotification:
    given: dict[str, Any] = {
        "provider": "psp1",
        "notification_id": f"n{number}",
        "kind": "dispute",
        "body_sha256": f"{number}",
        "signature_ok": True,
        "chargeback": opened(10_000).report,
    }
    return ReceiveNotification(**{**given, **fields})


def status_of(book: ChargebackBook, number: int = 1) -> InboxStatus:
    status: InboxStatus = book.states[f"inbox-psp1/n{number}"].status
    return status


def test_a_notification_brings_a_chargeback(book: ChargebackBook) -> None:
    """Catches a webhook of a dispute that is kept and not applied, or applied twice."""
    book.run(received())
    assert status_of(book) is InboxStatus.APPLIED
    assert book.payment().chargeback_open == 10_000
    assert book.run(received()) == ()
    book.run(received(2))
    assert status_of(book, 2) is InboxStatus.DEDUPLICATED
    assert book.balance(accounts.disputes("cb1")) == 10_000


def test_a_notification_waits_for_its_payment() -> None:
    """Catches a chargeback that is lost because its payment was not known yet."""
    book = ChargebackBook()
    book.run(received())
    assert status_of(book) is InboxStatus.PARKED
    with pytest.raises(NotFound):
        book.run(opened(10_000))
    book.sold_lines("a 1 x 100.00")
    book.run(RetryNotification(provider="psp1", notification_id="n1"))
    assert status_of(book) is InboxStatus.APPLIED
    assert book.payment().chargeback_open == 10_000


@pytest.mark.parametrize(
    "fields",
    [
        {"chargeback": opened(5, chargeback_id="bad id!").report},
        {"interpreted": Observation(payment_id="p1", outcome=Outcome.PENDING)},
        {"signature_ok": False},
    ],
)
def test_a_notification_that_cannot_be_applied_is_kept(
    book: ChargebackBook, fields: dict[str, Any]
) -> None:
    """Catches evidence that vanishes because it made no sense to us."""
    book.run(received(**fields))
    assert status_of(book) is InboxStatus.REJECTED
    assert not book.payment().chargebacks


def test_fees_count_once_each(book: ChargebackBook) -> None:
    """Catches a fee that is charged by the report of the opening and again by its own."""
    book.run(opened(10_000, fee=1_500))
    book.run(report("fee_charged", amount=1_500))
    assert book.balance(accounts.DISPUTE_FEES) == 1_500
    book.run(report("fee_charged", amount=1_500, provider_ref="counter"))
    assert book.balance(accounts.DISPUTE_FEES) == 3_000
    book.run(report("fee_returned", amount=1_500, provider_ref="counter"))
    book.run(report("fee_returned", amount=1_500, provider_ref="counter"))
    assert book.balance(accounts.DISPUTE_FEES) == 1_500
    book.run(report("fee_charged", amount=1_400))
    assert book.balance(accounts.DISPUTE_FEES) == 1_500
    assert book.anomalies() == ["ConflictingAmount"]
    book.run(report("fee_charged", amount=20, currency="EUR", provider_ref="eur"))
    assert book.balance(accounts.DISPUTE_FEES, "EUR") == 20
    book.run(report("fee_charged", amount=0, provider_ref="zero"))
    book.run(report("fee_charged", amount=5, currency="XYZ", provider_ref="unknown"))
    assert book.anomalies()[1:] == ["NonPositiveAmount", "NonPositiveAmount"]
