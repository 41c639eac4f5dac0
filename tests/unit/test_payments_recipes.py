"""The postings of payments as a bookkeeper writes them: debit positive, credit negative."""

from collections.abc import Callable

import pytest

from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    InitiatePayment,
    RecordDeclined,
    RecordReversed,
    RecordSucceeded,
)
from orderledger.ledger import recipes_payment as recipes
from orderledger.ledger.journal import Entry, encode_entry
from orderledger.ledger.payment_events import OperationRequested
from orderledger.ledger.payment_operations import FundingPart, OperationKind
from orderledger.ledger.payments import EVOLVE, owed_again
from orderledger.ledger.recipes_payment import between
from tests.payments_book import Book

AFTER_RELEASE = (
    FundingPart("liabilities:seller:s1", 880),
    FundingPart("income:commission_refunded", 100),
    FundingPart("liabilities:tax:DE", 20),
)

TABLE: list[tuple[str, Callable[[], Entry], str]] = [
    (
        "1 authorised",
        lambda: recipes.authorised("adyen", "o1", 9, "EUR"),
        "held assets:psp:adyen EUR 9; held liabilities:escrow:o1 EUR -9",
    ),
    (
        "2 captured",
        lambda: recipes.captured("adyen", "o1", 9, 5, "EUR"),
        (
            "posted assets:psp:adyen EUR 9; posted liabilities:escrow:o1 EUR -9; "
            "held assets:psp:adyen EUR -5; held liabilities:escrow:o1 EUR 5"
        ),
    ),
    (
        "3 voided or expired",
        lambda: recipes.released("adyen", "o1", 9, "EUR"),
        "held assets:psp:adyen EUR -9; held liabilities:escrow:o1 EUR 9",
    ),
    (
        "6 capture reversed",
        lambda: recipes.capture_reversed("adyen", "o1", 9, 0, "EUR"),
        "posted liabilities:escrow:o1 EUR 9; posted assets:psp:adyen EUR -9",
    ),
    (
        "10 refund requested before release",
        lambda: recipes.refund_requested("o1", (FundingPart("liabilities:escrow:o1", 9),), "EUR"),
        "posted liabilities:escrow:o1 EUR 9; posted liabilities:refunds:o1 EUR -9",
    ),
    (
        "11 refund requested after release",
        lambda: recipes.refund_requested("o1", AFTER_RELEASE, "EUR"),
        (
            "posted liabilities:seller:s1 EUR 880; posted income:commission_refunded EUR 100; "
            "posted liabilities:tax:DE EUR 20; posted liabilities:refunds:o1 EUR -1000"
        ),
    ),
    (
        "12 refund succeeded",
        lambda: recipes.refund_succeeded("adyen", "o1", 9, "EUR"),
        "posted liabilities:refunds:o1 EUR 9; posted assets:psp:adyen EUR -9",
    ),
    (
        "13 refund declined",
        lambda: recipes.refund_declined("o1", AFTER_RELEASE, "EUR"),
        (
            "posted liabilities:seller:s1 EUR -880; posted income:commission_refunded EUR -100; "
            "posted liabilities:tax:DE EUR -20; posted liabilities:refunds:o1 EUR 1000"
        ),
    ),
    (
        "13 refund failed after success",
        lambda: recipes.refund_reversed("adyen", "o1", 9, "EUR"),
        "posted liabilities:refunds:o1 EUR -9; posted assets:psp:adyen EUR 9",
    ),
]


@pytest.mark.parametrize(("name", "build", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_recipe(name: str, build: Callable[[], Entry], expected: str) -> None:
    """Catches a leg on the wrong account or side."""
    assert encode_entry(build()).replace("\n", "; ") == expected


def _captured() -> Book:
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
        RecordSucceeded(payment_id="p1", op_id="a1"),
        Capture(payment_id="p1", op_id="c1", amount=10_000, currency="EUR"),
        RecordSucceeded(payment_id="p1", op_id="c1"),
    )
    book.grant("g1", 1_000)
    return book


def _refund(book: Book, op_id: str, funding: tuple[FundingPart, ...], *, again: bool) -> None:
    event = OperationRequested(
        op_id=op_id,
        kind=OperationKind.REFUND,
        amount=1_000,
        currency="EUR",
        idempotency_key=op_id,
        refund_id="g1",
        funding=funding,
        is_reissue=again,
    )
    before = book.payment()
    book.given("payment-p1", event, between(before, EVOLVE[type(event)](before, event), op_id))


def test_who_bears_a_refund_gets_it_back_when_it_is_declined() -> None:
    """Catches a declined refund that is given back to the escrow though the seller bore it."""
    book = _captured()
    before = book.posted()
    _refund(book, "r1", AFTER_RELEASE, again=False)
    assert book.posted()["liabilities:seller:s1"] == 880
    book.run(RecordDeclined(payment_id="p1", op_id="r1"))
    assert book.posted() == before


def test_a_refund_of_another_amount_is_borne_in_proportion() -> None:
    """Catches a rest that stays owed to the buyer though the provider paid what it could."""
    book = _captured()
    _refund(book, "r1", AFTER_RELEASE, again=False)
    book.run(RecordSucceeded(payment_id="p1", op_id="r1", amount=500))
    posted = book.posted()
    assert posted["liabilities:seller:s1"] == 440
    assert posted["income:commission_refunded"] == 50
    assert posted["liabilities:tax:DE"] == 10
    assert "liabilities:refunds:o1" not in posted
    assert book.kinds() == ["AmountMismatch"]


def test_a_refund_issued_again_is_not_borne_again() -> None:
    """Catches a seller who pays twice for one refund because its first success was taken back."""
    book = _captured()
    _refund(book, "r1", AFTER_RELEASE, again=False)
    book.run(
        RecordSucceeded(payment_id="p1", op_id="r1"), RecordReversed(payment_id="p1", op_id="r1")
    )
    assert owed_again(book.payment(), "g1") == 1_000
    _refund(book, "r2", (), again=True)
    assert owed_again(book.payment(), "g1") == 0
    book.run(RecordSucceeded(payment_id="p1", op_id="r2"))
    posted = book.posted()
    assert posted["liabilities:seller:s1"] == 880
    assert posted["assets:psp:adyen"] == 9_000
    assert "liabilities:refunds:o1" not in posted
