"""A success and a failure of one operation: what counts, whichever report came first."""

from itertools import permutations
from typing import Any

import pytest

from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    InitiatePayment,
    RecordDeclined,
    RecordObservation,
    RecordSucceeded,
    RequestRefund,
    ResolvePaymentAnomaly,
    RetryRefund,
)
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from orderledger.ledger.payment_operations import Outcome
from tests.payments_book import Book

PSP = "assets:psp:adyen"
MONEY: dict[str, Any] = {"payment_id": "p1", "currency": "EUR"}


def requested() -> Book:
    """Return a book with 100.00 EUR authorised, and a capture c1 of 40.00 requested."""
    book = Book()
    book.place()
    initiate = InitiatePayment(
        **MONEY,
        order_id="o1",
        provider="adyen",
        method="card",
        amount=10_000,
        quote_id="q1",
        capture_mode=CaptureMode.MULTI,
        capabilities=Capabilities(multicapture=True, captures_max=50),
    )
    book.run(initiate, Authorise(**MONEY, op_id="a1", amount=10_000))
    book.run(RecordSucceeded(payment_id="p1", op_id="a1"))
    book.run(Capture(**MONEY, op_id="c1", amount=4_000, is_final=False))
    return book


def _said(outcome: Outcome, ref: str, **fields: Any) -> RecordObservation:
    """Return a report about capture c1 under a reference."""
    seen = Observation(
        payment_id="p1", outcome=outcome, op_id="c1", provider_ref=ref, amount=4_000, **fields
    )
    return RecordObservation(observation=seen)


_OK, _NO, _BACK = Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.REVERSED
CONTRADICTIONS: list[tuple[str, list[RecordObservation], int, list[str]]] = [
    ("one reference", [_said(_OK, "R"), _said(_NO, "R")], 0, ["FailureAfterSuccess"]),
    (
        "the sequence says it failed",
        [_said(_OK, "R", sequence=1), _said(_NO, "R", sequence=2)],
        0,
        [],
    ),
    (
        "the sequence says it succeeded",
        [_said(_OK, "R", sequence=2), _said(_NO, "R", sequence=1)],
        4_000,
        [],
    ),
    ("a later attempt", [_said(_OK, "R", attempt=2), _said(_NO, "R")], 4_000, []),
    ("another reference", [_said(_OK, "R"), _said(_NO, "Q")], 4_000, ["FailureOfAnotherTry"]),
    ("reversed", [_said(_OK, "R"), _said(_BACK, "R")], 0, []),
    ("reversed under its own reference", [_said(_OK, "R"), _said(_BACK, "Q")], 0, []),
    (
        "one of two references failed",
        [_said(_OK, "R"), _said(_OK, "Q"), _said(_NO, "R")],
        4_000,
        ["SecondReference", "FailureOfAnotherTry"],
    ),
]


@pytest.mark.parametrize(
    ("reports", "counts", "anomalies"),
    [row[1:] for row in CONTRADICTIONS],
    ids=[row[0] for row in CONTRADICTIONS],
)
def test_a_contradiction_is_not_decided_by_arrival(
    reports: list[RecordObservation], counts: int, anomalies: list[str]
) -> None:
    """Catches money that counts, or does not, because of which webhook was the faster one."""
    for order in permutations(reports):
        book = requested()
        book.run(*order)
        assert book.payment().captured == counts
        assert book.posted().get(PSP, 0) == counts
        assert book.held() == 10_000 - counts
        if order == tuple(reports):
            assert book.kinds() == anomalies


def test_both_reports_of_a_contradiction_stay_in_history() -> None:
    """Catches a success that nobody finds again after a failure outweighed it."""
    book = requested()
    events = book.run(_said(_NO, "R"), _said(_OK, "R"))
    assert [type(one).__name__ for one in events] == [
        "OperationDeclined",
        "PaymentCaptured",
        "CaptureReversed",
        "AnomalyRaised",
    ]
    assert book.run(_said(_OK, "R"), _said(_NO, "R")) == []
    book.run(_said(_OK, "R", sequence=7, attempt=2))
    assert book.payment().captured == 4_000


def test_a_late_success_of_what_the_host_gave_up_counts() -> None:
    """The table's row: catches money that came after our own side had declared it failed."""
    book = requested()
    book.run(RecordDeclined(payment_id="p1", op_id="c1", code="timeout"))
    book.run(_said(_OK, "R"))
    assert book.payment().captured == 4_000
    assert book.kinds() == ["LateSuccess"]


def test_a_contested_refund_is_not_paid_again() -> None:
    """Catches a buyer who is paid twice: the first refund may have reached them."""
    book = requested()
    book.run(RecordSucceeded(payment_id="p1", op_id="c1"))
    book.grant("g1", 1_000)
    book.run(RequestRefund(**MONEY, op_id="r1", amount=1_000, refund_id="g1"))
    for outcome in (_OK, _NO):
        seen = Observation(payment_id="p1", outcome=outcome, op_id="r1", provider_ref="R")
        book.run(RecordObservation(observation=seen))
    retry = RetryRefund(**MONEY, op_id="r2", amount=1_000, refund_id="g1")
    with pytest.raises(Rejected) as caught:
        book.decide(retry)
    assert caught.value.reason is Reason.WRONG_STATE
    resolve = ResolvePaymentAnomaly(
        payment_id="p1", anomaly_id="FailureAfterSuccess:r1", by="ann", resolution="it failed"
    )
    book.run(resolve, retry)
    assert book.payment().refund_in_flight == 1_000


def _refunded(outcome: Outcome, ref: str, amount: int = 1_000, **fields: Any) -> Observation:
    return Observation(
        payment_id="p1", outcome=outcome, op_id="r1", provider_ref=ref, amount=amount, **fields
    )


REFUNDS: list[tuple[str, list[Observation], int, int]] = [
    (
        "a success told with and without its place, and a later failure under another reference",
        [_refunded(_OK, "R"), _refunded(_OK, "R", sequence=1), _refunded(_NO, "Q", sequence=2)],
        0,
        1_000,
    ),
    (
        "the amount that counts is told again under the reference of another amount",
        [_refunded(_OK, "R"), _refunded(_OK, "Q", 993), _refunded(_OK, "Q"), _refunded(_NO, "R")],
        1_000,
        0,
    ),
    (
        "two amounts, both taken back: the whole refund is owed again",
        [_refunded(_OK, "R"), _refunded(_OK, "Q", 993), _refunded(_NO, "R"), _refunded(_NO, "Q")],
        0,
        1_000,
    ),
    (
        "a reversal that comes before the success it names",
        [
            _refunded(_OK, "Q", 993, sequence=1),
            _refunded(_OK, "R"),
            _refunded(_OK, "Q"),
            _refunded(_BACK, "R"),
        ],
        993,
        0,
    ),
]


@pytest.mark.parametrize(
    ("said", "refunded", "owed"), [one[1:] for one in REFUNDS], ids=[one[0] for one in REFUNDS]
)
def test_what_a_refund_comes_to_does_not_depend_on_arrival(
    said: list[Observation], refunded: int, owed: int
) -> None:
    """Catches a buyer who is owed another amount because one webhook overtook another."""
    for order in permutations(said):
        book = requested()
        book.run(RecordSucceeded(payment_id="p1", op_id="c1"))
        book.grant("g1", 1_000)
        book.run(RequestRefund(**MONEY, op_id="r1", amount=1_000, refund_id="g1"))
        for seen in order:
            book.run(RecordObservation(observation=seen))
        assert book.payment().refunded == refunded
        assert -book.posted().get("liabilities:refunds:o1", 0) == owed
