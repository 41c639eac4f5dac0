"""What happens in the field: the hard cases of payments, by number."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.decision import Command
from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    ExpireAuthorisation,
    InitiatePayment,
    Purchase,
    QueryOperation,
    ReceiveNotification,
    RecordAborted,
    RecordAuthorisationExpired,
    RecordDeclined,
    RecordProviderCapture,
    RecordReversed,
    RecordSucceeded,
    RecordUnknown,
    RequestRefund,
    RetryNotification,
    RetryRefund,
    Void,
)
from orderledger.ledger.errors import NotFound, Reason, Rejected
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.order_events import LatePaymentDetected, PriceChangeAccepted, RefundFailed
from orderledger.ledger.payment_events import (
    Capabilities,
    CaptureMode,
    FxQuote,
    ObservationKept,
    OperationConflictObserved,
)
from orderledger.ledger.payment_operations import OperationStatus, Outcome
from orderledger.ledger.provider_exponents import provider_exponent
from tests.payments_book import NOW, Book

PSP, ESCROW, REFUNDS = "assets:psp:adyen", "liabilities:escrow:o1", "liabilities:refunds:o1"


def initiate(payment_id: str = "p1", amount: int = 10_000, order_id: str = "o1") -> InitiatePayment:
    return InitiatePayment(
        payment_id=payment_id,
        order_id=order_id,
        provider="adyen",
        method="card",
        amount=amount,
        currency="EUR",
        quote_id="q1",
        capture_mode=CaptureMode.MULTI,
        capabilities=Capabilities(multicapture=True, captures_max=50),
    )


def authorise(op_id: str = "a1", amount: int = 10_000, payment_id: str = "p1") -> Authorise:
    return Authorise(payment_id=payment_id, op_id=op_id, amount=amount, currency="EUR")


def capture(op_id: str, amount: int, *, is_final: bool = False) -> Capture:
    return Capture(payment_id="p1", op_id=op_id, amount=amount, currency="EUR", is_final=is_final)


def refund(op_id: str, amount: int, refund_id: str = "g1") -> RequestRefund:
    return RequestRefund(
        payment_id="p1", op_id=op_id, amount=amount, currency="EUR", refund_id=refund_id
    )


def done(op_id: str, amount: int | None = None, **fields: Any) -> RecordSucceeded:
    return RecordSucceeded(
        payment_id="p1", op_id=op_id, provider_ref=f"R-{op_id}", amount=amount, **fields
    )


def authorised() -> Book:
    book = Book()
    book.place()
    book.run(initiate(), authorise(), done("a1"))
    return book


def captured(amount: int = 10_000) -> Book:
    book = authorised()
    book.run(capture("c1", amount), done("c1"))
    return book


def reason(book: Book, command: Command) -> Reason:
    with pytest.raises(Rejected) as caught:
        book.decide(command)
    return caught.value.reason


def notification(number: int, seen: Observation, body: str = "") -> ReceiveNotification:
    return ReceiveNotification(
        provider="adyen",
        notification_id=f"n{number}",
        kind=seen.kind,
        body_sha256=body or f"{number:064x}",
        signature_ok=True,
        interpreted=seen,
    )


def seen_capture(payment_id: str = "p1") -> Observation:
    return Observation(
        payment_id=payment_id,
        outcome=Outcome.SUCCEEDED,
        op_id="c1",
        kind="capture",
        provider_ref="R-c1",
        amount=4_000,
    )


def test_hard_case_01_duplicate_webhook() -> None:
    """Catches money counted twice when a webhook comes again, under its old or a new id."""
    book = authorised()
    book.run(capture("c1", 4_000), notification(1, seen_capture()))
    once = dict(book.net())
    assert book.run(notification(1, seen_capture())) == []
    book.run(notification(2, seen_capture()))
    assert book.inbox("n1").status == "applied"
    assert book.inbox("n2").status == "deduplicated"
    assert book.net() == once
    assert book.payment().captured == 4_000


def test_hard_case_02_capture_before_authorisation() -> None:
    """Catches a capture that is lost, or a hold that stays, because the authorisation came late."""
    book = Book()
    book.place()
    book.run(initiate(), authorise())
    book.run(RecordProviderCapture(payment_id="p1", provider_ref="X", amount=4_000, currency="EUR"))
    assert book.payment().authorised == 4_000
    assert book.held() == 0
    book.run(done("a1"))
    assert book.payment().authorised == 10_000
    assert book.held() == book.payment().capturable == 6_000


def test_hard_case_03_webhook_before_the_payment_exists() -> None:
    """Catches a notification that is dropped because its order is not known yet."""
    book = Book()
    book.run(notification(1, seen_capture()))
    assert (book.inbox("n1").status, book.inbox("n1").missing_ref) == ("parked", "p1")
    again = RetryNotification(provider="adyen", notification_id="n1")
    assert book.run(again) == []
    book.place()
    book.run(initiate(), authorise(), done("a1"), capture("c1", 4_000), again)
    assert book.inbox("n1").status == "applied"
    assert book.payment().captured == 4_000


def test_hard_case_04_conflicting_duplicate() -> None:
    """Catches a contradiction that is rolled back or decided silently."""
    book = captured(4_000)
    new = book.run(done("c1", 4_500))
    assert isinstance(new[0], OperationConflictObserved)
    assert book.payment().captured == 4_500
    assert book.posted() == {PSP: 4_500, ESCROW: -4_500}
    book.run(done("c1", 3_000))
    assert book.payment().captured == 4_500
    assert "ConflictingAmount" in book.kinds()


def test_hard_case_05_timeout_keeps_the_reservation() -> None:
    """Catches a capture that is forgotten, and made twice, because its answer timed out."""
    book = authorised()
    book.run(capture("c1", 7_000), RecordUnknown(payment_id="p1", op_id="c1", cause="read timeout"))
    assert book.payment().capturable == 3_000
    again = Capture(
        payment_id="p1",
        op_id="c2",
        amount=1_000,
        currency="EUR",
        idempotency_key="c1",
        is_final=False,
    )
    assert reason(book, again) is Reason.OPERATION_IN_FLIGHT
    for wait in ("5m", "1h", "1d", "1d", "1d", "1d", "1d"):
        assert "ManualResolutionNeeded" not in book.kinds(), wait
        book.run(QueryOperation(payment_id="p1", op_id="c1", result="still unknown"))
    assert "ManualResolutionNeeded" in book.kinds()
    assert book.payment().capturable == 3_000


def test_hard_case_06_outcome_after_a_crash() -> None:
    """Catches an intent that is not there any more when the answer is found at restart."""
    book = authorised()
    book.run(capture("c1", 10_000, is_final=True))
    book.run(RecordUnknown(payment_id="p1", op_id="c1", cause="crash"), done("c1"))
    assert book.payment().captured == 10_000
    assert book.held() == 0


def test_hard_case_07_success_after_the_order_was_cancelled() -> None:
    """Catches a payment that is taken for a cancelled order without anybody noticing."""
    book = Book()
    book.place()
    book.run(initiate(), Purchase(payment_id="p1", op_id="s1", amount=10_000, currency="EUR"))
    book.cancel()
    late = [one for one in book.run(done("s1")) if isinstance(one, LatePaymentDetected)]
    assert [(one.order_state, one.policy, one.amount) for one in late] == [
        ("cancelled", "refund", 10_000)
    ]
    assert "LatePayment" in book.kinds()
    assert book.posted() == {PSP: 10_000, ESCROW: -10_000}


def test_hard_case_08_capture_after_cancel_or_void() -> None:
    """Catches a capture for an order that is over, or of an authorisation that is gone."""
    book = authorised()
    book.run(Void(payment_id="p1", op_id="v1", currency="EUR"))
    assert reason(book, capture("c1", 1)) is Reason.AMOUNT_EXCEEDS_AVAILABLE
    book.run(done("v1"))
    assert book.payment().lifecycle == "voided"
    assert book.held() == 0
    cancelled = authorised()
    cancelled.cancel()
    assert reason(cancelled, capture("c1", 1)) is Reason.WRONG_STATE
    seen = RecordProviderCapture(payment_id="p1", provider_ref="X", amount=500, currency="EUR")
    assert any(isinstance(one, LatePaymentDetected) for one in cancelled.run(seen))
    assert cancelled.payment().captured == 500


def test_hard_case_09_double_capture_race() -> None:
    """Catches the webhook and the answer to the request being taken for two captures."""
    by_webhook = RecordProviderCapture(
        payment_id="p1", provider_ref="R-c1", amount=4_000, currency="EUR"
    )
    for reports in ((by_webhook, done("c1")), (done("c1"), by_webhook)):
        book = authorised()
        book.run(capture("c1", 4_000), *reports)
        assert book.payment().captured == 4_000
        assert book.payment().capture_in_flight == 0
        assert book.payment().anomalies == ()
        assert book.posted() == {PSP: 4_000, ESCROW: -4_000}
        assert book.run(capture("c1", 4_000)) == []


def test_hard_case_10_over_refund_race() -> None:
    """Catches the second of two refunds of 60 of 100 being let through."""
    book = captured(10_000)
    book.grant("g1", 6_000)
    book.grant("g2", 6_000)
    book.run(refund("r1", 6_000))
    assert reason(book, refund("r2", 6_000, "g2")) is Reason.AMOUNT_EXCEEDS_AVAILABLE
    assert book.payment().refundable == 4_000


def test_hard_case_11_refund_fails_after_success() -> None:
    """Catches a refund that failed late and is never issued again, or is funded twice."""
    book = captured(10_000)
    book.grant("g1", 6_000)
    book.run(refund("r1", 6_000), done("r1"))
    assert book.posted() == {PSP: 4_000, ESCROW: -4_000}
    failed = book.run(RecordReversed(payment_id="p1", op_id="r1", cause="account closed"))
    assert [one.after_success for one in failed if isinstance(one, RefundFailed)] == [True]
    assert book.posted() == {PSP: 10_000, ESCROW: -4_000, REFUNDS: -6_000}
    assert reason(book, refund("r2", 6_000)) is Reason.WRONG_STATE
    book.run(RetryRefund(payment_id="p1", op_id="r2", amount=6_000, currency="EUR", refund_id="g1"))
    assert book.payment().operations["r2"].attempt == 2
    book.run(done("r2"))
    assert book.posted() == {PSP: 4_000, ESCROW: -4_000}
    assert book.order().grants["g1"].status == "settled"


def test_hard_case_12_failed_refund_does_not_count() -> None:
    """Catches a declined refund that still lowers what may be refunded."""
    book = captured(10_000)
    book.grant("g1", 6_000)
    book.run(refund("r1", 6_000), RecordDeclined(payment_id="p1", op_id="r1", code="05"))
    assert book.payment().refundable == 10_000
    assert book.posted() == {PSP: 10_000, ESCROW: -10_000}
    assert book.order().grants["g1"].settled_total == 0


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", 5_800), ("USD", 5_800), ("KWD", 58_000), ("CLP", 5_800)]
)
def test_hard_case_20_exponents(currency: str, amount: int) -> None:
    """Catches a factor of a hundred between our minor units and the provider's."""
    book = Book()
    book.place(amount, currency=currency)
    command = InitiatePayment(
        payment_id="p1",
        order_id="o1",
        provider="adyen",
        method="card",
        amount=amount,
        currency=currency,
        quote_id="q1",
    )
    book.run(
        command, Purchase(payment_id="p1", op_id="s1", amount=amount, currency=currency), done("s1")
    )
    assert book.posted()[PSP] == amount
    assert provider_exponent("adyen", "CLP") == 2


def test_hard_case_24_stale_quote_or_amount() -> None:
    """Catches a payment over a price that the order no longer has."""
    book = Book()
    book.place()
    book.run(initiate())
    assert reason(book, authorise(amount=9_000)) is Reason.AMOUNT_MISMATCH
    other = Authorise(payment_id="p1", op_id="a1", amount=10_000, currency="USD")
    assert reason(book, other) is Reason.CURRENCY_MISMATCH
    book.given("order-o1", PriceChangeAccepted(old_quote_id="q1", new_quote_id="q2", delta=500))
    assert reason(book, authorise()) is Reason.QUOTE_MISMATCH
    assert reason(book, initiate("p2")) is Reason.QUOTE_MISMATCH


def test_hard_case_25_one_payment_for_two_orders() -> None:
    """Catches one payment confirming two orders."""
    book = authorised()
    book.place(order_id="o2")
    assert reason(book, initiate(order_id="o2")) is Reason.BOUND_TO_ANOTHER_ORDER
    command = Capture(payment_id="p1", order_id="o2", op_id="c1", amount=1, currency="EUR")
    assert reason(book, command) is Reason.BOUND_TO_ANOTHER_ORDER


def test_hard_case_26_failure_of_an_earlier_attempt() -> None:
    """Catches a paid payment that turns failed by news of an attempt before it."""
    book = Book()
    book.place()
    book.run(initiate(), authorise("a1"), RecordDeclined(payment_id="p1", op_id="a1", code="51"))
    assert book.payment().lifecycle == "failed"
    book.run(authorise("a2"), done("a2"))
    book.run(RecordAborted(payment_id="p1", op_id="a1", cause="expired session"))
    assert book.payment().lifecycle == "authorised"
    assert book.held() == 10_000


def test_hard_case_29_authorisation_expires_before_shipment() -> None:
    """Catches goods shipped on an authorisation that is gone, and one that cannot be renewed."""
    book = authorised()
    assert (
        reason(book, ExpireAuthorisation(payment_id="p1", due_at=NOW.replace(day=8)))
        is Reason.NOT_YET_DUE
    )
    book.run(RecordAuthorisationExpired(payment_id="p1"))
    assert book.payment().lifecycle == "expired"
    assert book.held() == 0
    assert reason(book, capture("c1", 10_000)) is Reason.WRONG_STATE
    book.run(authorise("a2"), done("a2"), capture("c1", 10_000, is_final=True), done("c1"))
    assert book.payment().lifecycle == "captured"


@pytest.mark.parametrize("amount", [0, -4_000])
def test_hard_case_33_negative_or_zero_amount(amount: int) -> None:
    """Catches a provider's nonsense amount being posted, or thrown away."""
    book = authorised()
    book.run(capture("c1", 4_000))
    before = dict(book.net())
    new = book.run(done("c1", amount))
    assert [one.amount for one in new if isinstance(one, ObservationKept)] == [amount]
    assert book.kinds() == ["NonPositiveAmount"]
    assert book.net() == before
    assert book.payment().capture_in_flight == 4_000
    assert book.run(done("c1", amount)) == []


def test_hard_case_34_refund_goes_to_the_allocated_payment_only() -> None:
    """Catches a refund that goes to another tender than it was allocated to."""
    book = Book()
    book.place()
    book.run(initiate("p1", 6_000), authorise("a1", 6_000), done("a1"))
    book.run(capture("c1", 6_000), done("c1"))
    book.run(initiate("p2", 4_000), authorise("a1", 4_000, "p2"))
    book.grant("g1", 1_000, "p2")
    assert reason(book, refund("r1", 1_000)) is Reason.AMOUNT_EXCEEDS_AVAILABLE


def test_success_then_failure_goes_by_the_providers_sequence() -> None:
    """Catches a failure that wins because it arrived last, not because it happened last."""
    book = authorised()
    book.run(capture("c1", 4_000), done("c1", sequence=9))
    book.run(RecordDeclined(payment_id="p1", op_id="c1", sequence=3))
    assert book.payment().captured == 4_000
    assert book.payment().anomalies == ()
    book.run(RecordDeclined(payment_id="p1", op_id="c1", code="late"))
    assert book.payment().operations["c1"].status is OperationStatus.REVERSED
    assert book.kinds() == ["FailureAfterSuccess"]
    assert book.posted() == {}
    assert book.held() == 10_000


def test_payment_in_another_currency_stands_for_the_quoted_amount() -> None:
    """Catches a payment in another currency that covers the order one to one."""
    book = Book()
    book.place(10_000, currency="USD")
    quote = FxQuote("fx1", 10_000, "USD", Decimal("0.92"))
    command = InitiatePayment(
        payment_id="p1",
        order_id="o1",
        provider="adyen",
        method="card",
        amount=9_200,
        currency="EUR",
        quote_id="q1",
        fx=quote,
    )
    book.run(
        command, Purchase(payment_id="p1", op_id="s1", amount=9_200, currency="EUR"), done("s1")
    )
    assert book.posted()[PSP] == 9_200
    assert book.order().escrow_held == 10_000
    book.grant("g1", 10_000)
    book.run(refund("r1", 9_200), done("r1"))
    assert book.order().grants["g1"].status == "settled"


def test_a_report_for_a_payment_that_is_not_there_is_not_found() -> None:
    """Catches a report that is swallowed although nothing can be recorded."""
    with pytest.raises(NotFound):
        Book().decide(done("c1"))
