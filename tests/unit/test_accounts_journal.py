"""Manual journal entries, their reversals, and the typed ones that follow a recipe."""

from datetime import timedelta
from typing import Any

import pytest

from orderledger.commands.account_commands import (
    ConvertCurrency,
    PostEntry,
    PostingInput,
    RealiseFxResult,
    RecordSettlement,
    RemitTax,
    ReverseEntry,
    WriteOffDebt,
)
from tests.decided_book import START, DecidedBook


def legs(text: str) -> tuple[PostingInput, ...]:
    """Read ``account currency minor`` per line, debit positive."""
    rows = (line.split() for line in text.strip().splitlines())
    return tuple(PostingInput(account, currency, int(minor)) for account, currency, minor in rows)


RENT = legs(
    """
    expenses:rent           USD   900
    expenses:cleaning       USD   101
    assets:bank:main        USD -1001
    """
)


def post(entry_id: str = "e1", postings: tuple[PostingInput, ...] = RENT, **more: Any) -> PostEntry:
    return PostEntry(entry_id=entry_id, description="rent", postings=postings, **more)


def reverse(reversal_id: str = "v1", **fields: Any) -> ReverseEntry:
    return ReverseEntry(entry_id="e1", reversal_id=reversal_id, reason="wrong month", **fields)


def balances(book: DecidedBook) -> tuple[int, int, int]:
    accounts = ("expenses:rent", "expenses:cleaning", "assets:bank:main")
    return (book.balance(accounts[0]), book.balance(accounts[1]), book.balance(accounts[2]))


def test_refusals_of_an_entry_in_their_order() -> None:
    """An unbalanced or malformed entry that is written, or whose refusal hides another."""
    book = DecidedBook()
    bad_account = (*RENT, PostingInput("rent", "USD", 1))
    table = [
        (post(postings=RENT[:1]), "InvalidCommand"),
        (post(postings=bad_account), "InvalidAccount"),
        (post(postings=(*RENT, PostingInput("assets:x", "usd", 1))), "UnknownCurrency"),
        (post(postings=(*RENT, PostingInput("assets:x", "USD", 0))), "InvalidMoney"),
        (post(postings=RENT[1:]), "UnbalancedEntry"),
        (post(adjusts="none"), "not_found"),
        (post(), ""),
        (post(), ""),
        (post(postings=RENT[:1] + legs("assets:bank:main USD -900")), "already_exists"),
        (post("e2", adjusts="e1"), ""),
    ]
    assert [book.refusal(command) for command, _ in table] == [want for _, want in table]
    assert balances(book) == (1800, 202, -2002)


def test_a_whole_reversal() -> None:
    """A reversal that leaves something behind, or that runs twice."""
    book = DecidedBook()
    book.run(post())
    book.run(reverse())
    assert balances(book) == (0, 0, 0)
    assert book.run(reverse()) == ()
    assert book.refusal(reverse("v2")) == "already_reversed"
    assert book.refusal(reverse(numerator=1, denominator=2)) == "operation_already_used"


def test_partial_reversals_land_exactly() -> None:
    """Thirds of 1001 that leave a cent, or give one leg more than it had."""
    book = DecidedBook()
    book.run(post())
    seen = []
    for number in range(3):
        book.run(reverse(f"v{number}", numerator=1, denominator=3))
        seen.append(balances(book))
    assert seen == [(600, 67, -667), (300, 33, -333), (0, 0, 0)]
    assert book.refusal(reverse("v3", numerator=1, denominator=3)) == "already_reversed"


def test_explicit_legs() -> None:
    """A reversal of a leg that the entry has not, or of more than it has."""
    book = DecidedBook()
    book.run(post())
    part = legs("expenses:rent USD -400\nassets:bank:main USD 400")
    book.run(reverse("v1", postings=part))
    book.run(reverse("v2", postings=part))
    assert balances(book) == (100, 101, -201)
    assert book.refusal(reverse("v3", postings=part)) == "already_reversed"
    foreign = legs("expenses:other USD -1\nassets:bank:main USD 1")
    assert book.refusal(reverse("v4", postings=foreign)) == "already_reversed"
    same_side = legs("expenses:rent USD 1\nassets:bank:main USD -1")
    assert book.refusal(reverse("v5", postings=same_side)) == "already_reversed"
    book.run(reverse("v6"))
    assert balances(book) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"numerator": 1}, "InvalidCommand"),
        ({"numerator": 0, "denominator": 2}, "InvalidCommand"),
        ({"numerator": 3, "denominator": 2}, "InvalidCommand"),
        ({"numerator": 1, "denominator": 2, "postings": RENT}, "InvalidCommand"),
        ({"postings": RENT[:2]}, "UnbalancedEntry"),
        ({"numerator": 1, "denominator": 10**6}, "amount_not_positive"),
    ],
)
def test_malformed_reversals(fields: dict[str, Any], want: str) -> None:
    """A fraction above one, or a reversal of nothing that is recorded as one."""
    book = DecidedBook()
    book.run(post())
    assert book.refusal(reverse(**fields)) == want


def test_a_reversal_is_not_reversed() -> None:
    """A chain of reversals in place of a new entry."""
    book = DecidedBook()
    book.run(post())
    book.run(reverse())
    again = ReverseEntry(entry_id="v1", reversal_id="v9", reason="no, it was right")
    assert book.refusal(again) == "NotFound"


def test_settlement_by_recipe_7() -> None:
    """A fee posted twice or a settlement imported twice."""
    book = DecidedBook()
    settled = RecordSettlement(
        entry_id="s1",
        provider="stripe",
        bank="main",
        gross=12325,
        fee=387,
        currency="USD",
        occurred_at=START - timedelta(days=3),
    )
    book.run(settled)
    assert book.run(settled) == ()
    assert book.balance("assets:bank:main") == 11938
    assert book.balance("expenses:gateway_fees") == 387
    assert book.balance("assets:psp:stripe") == -12325


def test_conversion_and_its_result_by_recipe_29() -> None:
    """A gain booked as a loss, or a currency position that does not return to zero."""
    book = DecidedBook()
    book.post_text("assets:bank:main EUR 10000\nequity:fx EUR -10000")
    book.post_text("equity:fx USD 10800\nliabilities:seller:s1 USD -10800")
    book.run(
        ConvertCurrency(
            entry_id="c1",
            bank="main",
            sold=10000,
            sold_currency="EUR",
            bought=10900,
            bought_currency="USD",
        )
    )
    book.run(RealiseFxResult(entry_id="c2", booked=10800, received=10900, currency="USD"))
    assert book.balance("income:fx_gain") == -100
    assert [book.balance("equity:fx", currency) for currency in ("EUR", "USD")] == [0, 0]
    book.run(RealiseFxResult(entry_id="c3", booked=10900, received=10850, currency="USD"))
    assert (book.balance("expenses:fx_loss"), book.balance("equity:fx")) == (50, -50)


@pytest.mark.parametrize(
    ("command", "want"),
    [
        (RemitTax(entry_id="t", jurisdiction="us-ca", bank="main", amount=0, currency="USD"), 1),
        (RemitTax(entry_id="t", jurisdiction="us-ca", bank="main", amount=5, currency="USD"), 0),
        (
            ConvertCurrency(
                entry_id="c",
                bank="main",
                sold=1,
                sold_currency="EUR",
                bought=1,
                bought_currency="EUR",
            ),
            2,
        ),
        (
            RecordSettlement(
                entry_id="s", provider="p", bank="main", gross=5, fee=-1, currency="USD"
            ),
            1,
        ),
        (
            WriteOffDebt(
                entry_id="w", seller="s1", amount=6, currency="USD", debt=5, reason="gone"
            ),
            3,
        ),
        (
            WriteOffDebt(
                entry_id="w", seller="s1", amount=5, currency="USD", debt=5, reason="gone"
            ),
            0,
        ),
    ],
)
def test_typed_entries_that_are_refused(command: Any, want: int) -> None:
    """Zero or negative amounts, a currency into itself, more written off than is owed."""
    names = ("", "InvalidMoney", "InvalidCommand", "amount_exceeds_available")
    assert DecidedBook().refusal(command) == names[want]
