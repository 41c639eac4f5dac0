"""What becomes of a provider's notification."""

from typing import Any

import pytest

from orderledger.commands.payment_commands import (
    Authorise,
    InitiatePayment,
    ReceiveNotification,
    RetryNotification,
)
from orderledger.ledger.errors import InvalidCommand, NotFound
from orderledger.ledger.inbox_events import GatewayNotificationReceived, Observation
from orderledger.ledger.payment_operations import Outcome
from tests.payments_book import Book

SEEN = Observation(
    payment_id="p1",
    outcome=Outcome.SUCCEEDED,
    kind="authorise",
    op_id="a1",
    provider_ref="R1",
    amount=10_000,
)


def received(body: str = "aa", **changed: Any) -> ReceiveNotification:
    fields: dict[str, Any] = {
        "provider": "adyen",
        "notification_id": "n1",
        "kind": "AUTHORISATION",
        "body_sha256": body,
        "signature_ok": True,
        "raw_ref": "vault/1",
        "interpreted": SEEN,
    }
    return ReceiveNotification(**{**fields, **changed})


def book_with_payment() -> Book:
    book = Book()
    book.place()
    book.run(
        InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="adyen",
            method="card",
            amount=10_000,
            currency="EUR",
            quote_id="q1",
        ),
        Authorise(payment_id="p1", op_id="a1", amount=10_000, currency="EUR"),
    )
    return book


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "applied"),
        ({"signature_ok": False}, "rejected"),
        ({"interpreted": None}, "rejected"),
        ({"interpreted": Observation(payment_id="p9", outcome=Outcome.PENDING)}, "parked"),
        ({"interpreted": Observation(payment_id="", outcome=Outcome.PENDING)}, "parked"),
    ],
)
def test_a_notification_is_kept_whatever_becomes_of_it(
    changed: dict[str, Any], status: str
) -> None:
    """Catches raw input that is lost because it was bad, early or not understood."""
    book = book_with_payment()
    new = book.run(received(**changed))
    assert isinstance(new[0], GatewayNotificationReceived)
    assert new[0].raw_ref == "vault/1"
    assert book.inbox("n1").status.value == status
    assert book.run(received(**changed)) == []


def test_another_body_under_a_known_id_is_kept_and_not_applied() -> None:
    """Catches a provider's (or an attacker's) second content replacing the first one."""
    book = book_with_payment()
    book.run(received())
    before = book.payment()
    book.run(received("bb"))
    assert book.payment() == before
    assert book.inbox("n1").status == "applied"
    assert book.inbox("n1").hashes == ("aa", "bb")
    assert book.kinds() == ["NotificationContentDiffers"]


def test_a_good_body_is_applied_after_a_forged_one() -> None:
    """Catches a forged notification that blocks the id of the real one."""
    book = book_with_payment()
    book.run(received("bb", signature_ok=False, interpreted=None), received())
    assert book.inbox("n1").status == "applied"
    assert book.payment().authorised == 10_000


def test_a_parked_notification_is_applied_once_its_payment_is_known() -> None:
    """Catches a notification that names no payment and stays parked for ever."""
    book = book_with_payment()
    unnamed = Observation(
        payment_id="",
        outcome=Outcome.SUCCEEDED,
        kind="authorise",
        op_id="a1",
        provider_ref="R1",
        amount=10_000,
    )
    book.run(received(interpreted=unnamed))
    assert book.inbox("n1").missing_ref == "R1"
    retry = RetryNotification(provider="adyen", notification_id="n1")
    assert book.run(retry) == []
    named = RetryNotification(provider="adyen", notification_id="n1", payment_id="p1")
    assert book.run(named)
    assert book.payment().authorised == 10_000
    assert book.run(named) == []


def test_retrying_what_is_not_there_or_about_something_else() -> None:
    """Catches a retry that applies a notification to a payment it is not about."""
    book = Book()
    with pytest.raises(NotFound):
        book.decide(RetryNotification(provider="adyen", notification_id="n9"))
    book.run(received())
    with pytest.raises(InvalidCommand):
        book.decide(RetryNotification(provider="adyen", notification_id="n1", payment_id="p2"))
