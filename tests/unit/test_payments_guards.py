"""Every refusal of a payment command, in the order in which the guards apply."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.payment_commands import (
    AdjustAuthorisation,
    Authorise,
    Capture,
    CreditCustomer,
    ExpireAuthorisation,
    InitiatePayment,
    OfPayment,
    Purchase,
    QueryOperation,
    RecordAborted,
    RecordDeclined,
    RecordPending,
    RecordProviderCapture,
    RecordReversed,
    RecordSucceeded,
    RecordUnknown,
    RequestRefund,
    RequireAction,
    ResolveOperation,
    ResolvePaymentAnomaly,
    RetryRefund,
    RouteRefundAsVoid,
    Void,
)
from orderledger.ledger.errors import InvalidCommand, NotFound, OrderLedgerError, Reason, Rejected
from orderledger.ledger.order_events import RefundSettledExternally
from orderledger.ledger.payment_events import Capabilities, CaptureMode, FxQuote
from orderledger.ledger.payment_operations import FundingPart, Outcome
from tests.payments_book import NOW, Book

MULTI = Capabilities(
    multicapture=True,
    captures_max=3,
    over_capture_basis_points=500,
    incremental_authorisation=True,
    credit=True,
)
P: dict[str, Any] = {"payment_id": "p1"}
MONEY: dict[str, Any] = {**P, "currency": "EUR"}


def initiate(**changed: Any) -> InitiatePayment:
    fields: dict[str, Any] = {
        **MONEY,
        "order_id": "o1",
        "provider": "adyen",
        "method": "card",
        "amount": 10_000,
        "quote_id": "q1",
        "capture_mode": CaptureMode.MULTI,
        "capabilities": MULTI,
    }
    return InitiatePayment(**{**fields, **changed})


def authorise(op_id: str = "a1", amount: int = 10_000, **changed: Any) -> Authorise:
    return Authorise(**{**MONEY, "op_id": op_id, "amount": amount, **changed})


def capture(op_id: str = "c1", amount: int = 4_000, **changed: Any) -> Capture:
    fields: dict[str, Any] = {**MONEY, "op_id": op_id, "amount": amount, "is_final": False}
    return Capture(**{**fields, **changed})


def refund(op_id: str = "r1", amount: int = 1_000, **changed: Any) -> RequestRefund:
    return RequestRefund(
        **{**MONEY, "op_id": op_id, "amount": amount, "refund_id": "g1", **changed}
    )


def done(op_id: str, **fields: Any) -> RecordSucceeded:
    return RecordSucceeded(**{**P, "op_id": op_id, **fields})


def new() -> Book:
    book = Book()
    book.place()
    return book


def initiated(**changed: Any) -> Book:
    book = new()
    book.run(initiate(**changed))
    return book


def authorised(**changed: Any) -> Book:
    book = initiated(**changed)
    book.run(authorise(), done("a1"))
    return book


def single() -> Book:
    return authorised(
        capture_mode=CaptureMode.MANUAL, capabilities=Capabilities(partial_void=False)
    )


def captured() -> Book:
    book = authorised()
    book.run(capture(), done("c1"))
    book.grant("g1", 4_000)
    return book


def cancelled() -> Book:
    book = authorised()
    book.cancel()
    return book


def unknown() -> Book:
    book = authorised()
    book.run(capture(), RecordUnknown(**P, op_id="c1"))
    return book


def after(make: Callable[[], Book], *commands: OfPayment) -> Callable[[], Book]:
    def build() -> Book:
        book = make()
        book.run(*commands)
        return book

    return build


def resolve(**changed: Any) -> ResolveOperation:
    fields: dict[str, Any] = {
        **P,
        "op_id": "c1",
        "outcome": Outcome.SUCCEEDED,
        "actor": "ann",
        "approver": "bob",
        "reason": "statement",
    }
    return ResolveOperation(**{**fields, **changed})


def credit(**changed: Any) -> CreditCustomer:
    fields: dict[str, Any] = {
        **MONEY,
        "op_id": "k1",
        "amount": 500,
        "reason": "sorry",
        "actor": "ann",
        "approver": "bob",
    }
    return CreditCustomer(**{**fields, **changed})


def fx(rate: str, amount: int = 10_000, currency: str = "USD") -> FxQuote:
    return FxQuote("fx1", amount, currency, Decimal(rate))


R = Reason
CASES: list[tuple[Callable[[], Book], OfPayment, object]] = [
    # InitiatePayment
    (new, initiate(amount=0), InvalidCommand),
    (new, initiate(fx=fx("0")), InvalidCommand),
    (new, initiate(fx=fx("2")), InvalidCommand),
    (new, initiate(order_id="o9"), NotFound),
    (initiated, initiate(method="bank"), R.ALREADY_EXISTS),
    (cancelled, initiate(payment_id="p2"), R.WRONG_STATE),
    (new, initiate(capabilities=Capabilities()), R.NOT_SUPPORTED_BY_PROVIDER),
    (new, initiate(quote_id="q0"), R.QUOTE_MISMATCH),
    (new, initiate(order_version=7), R.STALE_BASE_VERSION),
    (new, initiate(currency="USD"), R.CURRENCY_MISMATCH),
    (new, initiate(fx=fx("1")), R.CURRENCY_MISMATCH),
    (new, initiate(amount=10_001), R.AMOUNT_EXCEEDS_AVAILABLE),
    (authorised, initiate(payment_id="p2", amount=1), R.AMOUNT_EXCEEDS_AVAILABLE),
    # RequireAction
    (new, RequireAction(**P, kind="3ds"), NotFound),
    (authorised, RequireAction(**P, kind="3ds"), R.WRONG_STATE),
    # Authorise and Purchase
    (initiated, authorise(amount=-1), InvalidCommand),
    (initiated, authorise(op_id="~x"), InvalidCommand),
    (new, authorise(), NotFound),
    (initiated, authorise(order_id="o2"), R.BOUND_TO_ANOTHER_ORDER),
    (authorised, authorise(amount=9_999), R.OPERATION_ALREADY_USED),
    (authorised, authorise("a2", idempotency_key="a1"), R.OPERATION_ALREADY_USED),
    (after(initiated, authorise()), authorise("a2", idempotency_key="a1"), R.OPERATION_IN_FLIGHT),
    (cancelled, authorise("a2"), R.WRONG_STATE),
    (lambda: initiated(expires_at=NOW), authorise(), R.WINDOW_CLOSED),
    (authorised, Purchase(**MONEY, op_id="s1", amount=1), R.WRONG_STATE),
    (initiated, authorise(currency="USD"), R.CURRENCY_MISMATCH),
    (initiated, authorise(amount=10_001), R.AMOUNT_EXCEEDS_AVAILABLE),
    (after(initiated, authorise()), authorise("a2", 1), R.AMOUNT_EXCEEDS_AVAILABLE),
    (initiated, authorise(amount=9_999), R.AMOUNT_MISMATCH),
    # AdjustAuthorisation
    (cancelled, AdjustAuthorisation(**MONEY, op_id="j1", amount=1), R.WRONG_STATE),
    (initiated, AdjustAuthorisation(**MONEY, op_id="j1", amount=1), R.WRONG_STATE),
    (single, AdjustAuthorisation(**MONEY, op_id="j1", amount=1), R.NOT_SUPPORTED_BY_PROVIDER),
    (captured, AdjustAuthorisation(**MONEY, op_id="j1", amount=3_999), R.AMOUNT_MISMATCH),
    (
        authorised,
        AdjustAuthorisation(**MONEY, op_id="j1", amount=10_001),
        R.AMOUNT_EXCEEDS_AVAILABLE,
    ),
    # Capture
    (authorised, capture(amount=0), InvalidCommand),
    (new, capture(), NotFound),
    (captured, capture(amount=3_999), R.OPERATION_ALREADY_USED),
    (unknown, capture("c2", idempotency_key="c1"), R.OPERATION_IN_FLIGHT),
    (cancelled, capture(), R.WRONG_STATE),
    (lambda: authorised(capture_mode=CaptureMode.AUTO), capture(), R.WRONG_STATE),
    (initiated, capture(), R.WRONG_STATE),
    (authorised, capture(auth_op="a9"), R.WRONG_STATE),
    (unknown, capture("c2", 1, is_final=True), R.OPERATION_IN_FLIGHT),
    (single, capture(is_final=False), R.NOT_SUPPORTED_BY_PROVIDER),
    (
        after(authorised, capture("c1", 1), capture("c2", 1), capture("c3", 1)),
        capture("c4", 1),
        R.NOT_SUPPORTED_BY_PROVIDER,
    ),
    (authorised, capture(currency="USD"), R.CURRENCY_MISMATCH),
    (authorised, capture(amount=10_501), R.AMOUNT_EXCEEDS_AVAILABLE),
    # Void
    (authorised, Void(**MONEY, op_id="v1", amount=0), InvalidCommand),
    (initiated, Void(**MONEY, op_id="v1"), R.WRONG_STATE),
    (unknown, Void(**MONEY, op_id="v1"), R.OPERATION_IN_FLIGHT),
    (authorised, Void(**P, op_id="v1", currency="USD"), R.CURRENCY_MISMATCH),
    (
        after(authorised, Void(**MONEY, op_id="v1")),
        Void(**MONEY, op_id="v2"),
        R.WRONG_STATE,
    ),
    (authorised, Void(**MONEY, op_id="v1", amount=10_001), R.AMOUNT_EXCEEDS_AVAILABLE),
    (single, Void(**MONEY, op_id="v1", amount=1), R.NOT_SUPPORTED_BY_PROVIDER),
    # ExpireAuthorisation
    (authorised, ExpireAuthorisation(**P, due_at=NOW + timedelta(1)), R.NOT_YET_DUE),
    (unknown, ExpireAuthorisation(**P, due_at=NOW), R.OPERATION_IN_FLIGHT),
    # CreditCustomer
    (new, credit(amount=0), InvalidCommand),
    (new, credit(), NotFound),
    (authorised, credit(approver=""), R.APPROVAL_REQUIRED),
    (authorised, credit(approver="ann"), R.FOUR_EYES_REQUIRED),
    (single, credit(), R.NOT_SUPPORTED_BY_PROVIDER),
    (authorised, credit(currency="USD"), R.CURRENCY_MISMATCH),
    # QueryOperation and ResolveOperation
    (unknown, QueryOperation(**P, op_id="c9", result=""), NotFound),
    (captured, QueryOperation(**P, op_id="c1", result=""), R.WRONG_STATE),
    (unknown, resolve(outcome=Outcome.PENDING), InvalidCommand),
    (unknown, resolve(op_id="c9"), NotFound),
    (unknown, resolve(amount=0), InvalidCommand),
    (unknown, resolve(approver="ann"), R.FOUR_EYES_REQUIRED),
    (unknown, resolve(approver=""), R.FOUR_EYES_REQUIRED),
    (captured, resolve(outcome=Outcome.DECLINED), R.WRONG_STATE),
    # Refunds
    (captured, refund(amount=0), InvalidCommand),
    (captured, refund(funding=(FundingPart("assets:bank:x", 1_000),)), InvalidCommand),
    (captured, refund(funding=(FundingPart("liabilities:seller:s", 999),)), InvalidCommand),
    (captured, refund(refund_id="g9"), R.NOT_FOUND),
    (captured, RetryRefund(**MONEY, op_id="r1", amount=1, refund_id="g1"), R.WRONG_STATE),
    (captured, refund(currency="USD"), R.CURRENCY_MISMATCH),
    (captured, refund(funding=(FundingPart("liabilities:seller:s", 1_000),)), R.WRONG_STATE),
    (captured, refund(order_amount=999), R.AMOUNT_MISMATCH),
    (captured, refund(amount=4_001), R.AMOUNT_EXCEEDS_AVAILABLE),
    (after(captured, refund(amount=3_001)), refund("r2"), R.AMOUNT_EXCEEDS_AVAILABLE),
    (
        captured,
        RouteRefundAsVoid(**MONEY, op_id="v1", amount=1, refund_id="g1"),
        R.WRONG_STATE,
    ),
    # Reports need a payment, and something to be known by
    (new, done("a1"), NotFound),
    (authorised, RecordProviderCapture(**MONEY, provider_ref="", amount=1), InvalidCommand),
]


@pytest.mark.parametrize(
    ("make", "command", "expected"),
    CASES,
    ids=[f"{number}-{type(case[1]).__name__}" for number, case in enumerate(CASES)],
)
def test_refusal(make: Callable[[], Book], command: OfPayment, expected: object) -> None:
    """Catches a guard that is missing, or applied before one that should go first."""
    book = make()
    with pytest.raises(OrderLedgerError) as caught:
        book.decide(command)
    error = caught.value
    if isinstance(error, Rejected):
        assert error.reason is expected, error.message
        assert error.facts
    else:
        assert type(error) is expected, error.message


@pytest.mark.parametrize(
    ("make", "command"),
    [
        (initiated, initiate()),
        (authorised, authorise()),
        (captured, capture()),
        (after(captured, refund()), refund()),
        (after(authorised, Void(**MONEY, op_id="v1")), Void(**MONEY, op_id="v1")),
        (after(authorised, credit()), credit()),
        (after(unknown, resolve()), resolve()),
        (
            after(authorised, ExpireAuthorisation(**P, due_at=NOW, auth_op="a1")),
            ExpireAuthorisation(**P, due_at=NOW, auth_op="a1"),
        ),
        (authorised, ResolvePaymentAnomaly(**P, anomaly_id="x", by="ann", resolution="none")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OfPayment) else "",
)
def test_done_already(make: Callable[[], Book], command: OfPayment) -> None:
    """Catches a repeated command that acts twice or is refused."""
    assert make().decide(command) == ()


REPORTS = {
    "pending": RecordPending,
    "unknown": RecordUnknown,
    "succeeded": RecordSucceeded,
    "declined": RecordDeclined,
    "aborted": RecordAborted,
    "reversed": RecordReversed,
}

# From a status, which the reports before it made, by a report, to a status with these anomalies.
TRANSITIONS = """
requested                    | pending   | pending   |
requested                    | unknown   | unknown   |
requested                    | succeeded | succeeded |
requested                    | declined  | declined  |
requested                    | aborted   | aborted   |
requested                    | reversed  | declined  | ReversedBeforeSuccess
pending                      | pending   | pending   |
pending                      | unknown   | unknown   |
pending                      | succeeded | succeeded |
pending                      | declined  | declined  |
pending                      | aborted   | aborted   | AbortedWhilePending
unknown                      | pending   | pending   |
unknown                      | unknown   | unknown   |
unknown                      | succeeded | succeeded |
unknown                      | declined  | declined  |
unknown                      | aborted   | aborted   |
succeeded                    | pending   | succeeded |
succeeded                    | unknown   | succeeded |
succeeded                    | succeeded | succeeded |
succeeded                    | declined  | reversed  | FailureAfterSuccess
succeeded                    | aborted   | reversed  | FailureAfterSuccess
succeeded                    | reversed  | reversed  |
declined                     | pending   | declined  |
declined                     | succeeded | succeeded | LateSuccess
declined                     | aborted   | declined  |
declined                     | reversed  | declined  |
aborted                      | succeeded | succeeded | LateSuccess
aborted                      | declined  | aborted   |
succeeded reversed           | succeeded | reversed  |
succeeded reversed           | declined  | reversed  |
"""


@pytest.mark.parametrize("row", [row for row in TRANSITIONS.splitlines() if row])
def test_transition(row: str) -> None:
    """Catches an outcome that moves an operation elsewhere than the table of transitions says."""
    start, how, end, anomalies = [cell.strip() for cell in row.split("|")]
    book = authorised()
    book.run(capture())
    for report in start.replace("requested", "").split():
        book.run(REPORTS[report](**P, op_id="c1"))
    book.run(REPORTS[how](**P, op_id="c1"))
    payment = book.payment()
    assert payment.operations["c1"].status.value == end
    assert book.kinds() == anomalies.split()
    assert payment.captured == (4_000 if end == "succeeded" else 0)
    assert payment.capture_in_flight == (4_000 if end in ("requested", "pending", "unknown") else 0)
    assert book.run(REPORTS[how](**P, op_id="c1")) == []


def test_provider_tries_again_after_a_reversal() -> None:
    """Catches an automatic recapture that is taken for the old success, or the reverse."""
    book = captured()
    book.run(RecordReversed(**P, op_id="c1"), done("c1", attempt=2))
    assert book.payment().captured == 4_000
    assert book.posted()["assets:psp:adyen"] == 4_000


def test_over_capture_within_the_declared_tolerance() -> None:
    """Catches a tolerance that the provider declares and the engine ignores, or stretches."""
    book = authorised()
    book.run(capture(amount=10_500, is_final=True), done("c1"))
    assert book.payment().over_captured == 0
    assert book.held() == 0
    assert book.posted()["assets:psp:adyen"] == 10_500


def test_adjusted_authorisation_holds_the_new_amount() -> None:
    """Catches an adjustment that is added instead of set."""
    book = authorised()
    lower = AdjustAuthorisation(**MONEY, op_id="j1", amount=7_000)
    book.run(lower, done("j1"))
    assert book.payment().authorised_adjustment == -3_000
    assert book.held() == book.payment().capturable == 7_000


def test_final_capture_releases_the_rest() -> None:
    """Catches a hold that stays on the buyer's card after the last capture."""
    book = authorised()
    book.run(capture(is_final=True), done("c1"))
    assert book.held() == 0
    assert book.payment().voided == 6_000
    assert book.payment().lifecycle == "captured"


def test_refund_of_an_uncaptured_payment_is_a_void() -> None:
    """Catches a refund waiting for a capture that never comes."""
    book = authorised()
    book.grant("g1", 10_000)
    command = RouteRefundAsVoid(**MONEY, op_id="v1", amount=10_000, refund_id="g1")
    book.run(command, done("v1"))
    assert book.payment().lifecycle == "voided"
    assert book.order().grants["g1"].status == "settled"
    assert book.net() == {}


def test_refund_after_the_release_is_borne_as_the_command_says() -> None:
    """Catches a refund that takes money from an escrow that has released it."""
    book = captured()
    book.run(refund())
    declined = book.posted()
    assert declined["liabilities:refunds:o1"] == -1_000
    book.run(RecordDeclined(**P, op_id="r1"))
    assert "liabilities:refunds:o1" not in book.posted()


def test_what_was_settled_by_other_means_is_not_refunded_again() -> None:
    """Catches a refund of what the buyer got in cash, while the rest is still in flight."""
    book = captured()
    book.run(refund(amount=3_000))
    external = RefundSettledExternally(
        refund_id="g1", amount=1_000, method="cash", reference="till 7", by="ann"
    )
    book.given("order-o1", external)
    with pytest.raises(Rejected) as caught:
        book.decide(refund("r2", 1))
    assert caught.value.reason is Reason.AMOUNT_EXCEEDS_AVAILABLE


def test_credit_without_a_charge() -> None:
    """Catches a credit that is posted to an order it does not belong to."""
    book = Book()
    book.run(credit(provider="adyen", capabilities=MULTI), done("k1"))
    assert book.payment().lifecycle == "credited"
    assert book.posted() == {"expenses:goodwill": 500, "assets:psp:adyen": -500}
