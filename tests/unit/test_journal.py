"""Entries: they cannot exist unbalanced, and their text is what the database sums."""

import pytest

from orderledger.ledger.errors import (
    CorruptEvent,
    InvalidAccount,
    InvalidMoney,
    LimitExceeded,
    UnbalancedEntry,
)
from orderledger.ledger.journal import (
    EMPTY,
    MAX_LEGS,
    Entry,
    Layer,
    Posting,
    credit,
    debit,
    decode_entry,
    encode_entry,
    entry,
    merge,
    net_by_account,
)

BANK, ESCROW = "assets:bank:main", "liabilities:escrow:o1"


def test_text_is_one_leg_a_line() -> None:
    """An order of legs that depends on how they were given, or a sign that is turned."""
    made = entry(
        credit(ESCROW, "USD", 7),
        debit(BANK, "USD", 7, Layer.HELD),
        debit(BANK, "EUR", 5),
        debit(BANK, "USD", 7),
        credit(ESCROW, "EUR", 5),
        credit(ESCROW, "USD", 7, Layer.HELD),
    )
    assert encode_entry(made) == (
        "posted assets:bank:main EUR 5\n"
        "posted liabilities:escrow:o1 EUR -5\n"
        "posted liabilities:escrow:o1 USD -7\n"
        "posted assets:bank:main USD 7\n"
        "held assets:bank:main USD 7\n"
        "held liabilities:escrow:o1 USD -7"
    )
    assert decode_entry(encode_entry(made)) == made
    assert encode_entry(EMPTY) == ""
    assert decode_entry("") is EMPTY


def test_zero_legs_are_dropped() -> None:
    """An entry of one leg, or of none that still counts as one."""
    assert entry(debit(BANK, "EUR", 0), credit(ESCROW, "EUR", 0)) is EMPTY
    assert not EMPTY
    made = entry(debit(BANK, "EUR", 5), credit(ESCROW, "EUR", 5), debit(BANK, "USD", 0))
    assert len(made.postings) == 2


@pytest.mark.parametrize(
    ("legs", "layer", "currency", "residue"),
    [
        ([debit(BANK, "EUR", 5)], "posted", "EUR", 5),
        ([debit(BANK, "EUR", 5), credit(ESCROW, "EUR", 4)], "posted", "EUR", 1),
        ([debit(BANK, "EUR", 5), credit(ESCROW, "USD", 5)], "posted", "EUR", 5),
        ([debit(BANK, "EUR", 5), credit(ESCROW, "EUR", 5, Layer.HELD)], "posted", "EUR", 5),
        ([debit(BANK, "EUR", 10**24), credit(ESCROW, "EUR", 10**24 + 1)], "posted", "EUR", -1),
    ],
)
def test_an_unbalanced_entry_does_not_exist(
    legs: list[Posting], layer: str, currency: str, residue: int
) -> None:
    """Money from nothing, in one currency or one layer."""
    with pytest.raises(UnbalancedEntry) as caught:
        entry(*legs)
    assert caught.value.facts == {"layer": layer, "currency": currency, "residue": residue}


@pytest.mark.parametrize("minor", [1.0, True, 10**30, -(10**30)])
def test_a_leg_is_an_integer_of_at_most_30_digits(minor: int) -> None:
    """A leg that the database's guard cannot sum."""
    legs = (Posting(BANK, "EUR", minor), Posting(ESCROW, "EUR", -minor))
    with pytest.raises(InvalidMoney):
        Entry(legs)


def test_the_number_of_legs_is_limited() -> None:
    """An entry that is summed beyond the guard's range."""
    legs = [debit(BANK, "EUR", 1), credit(ESCROW, "EUR", 1)] * (MAX_LEGS // 2)
    assert len(entry(*legs).postings) == MAX_LEGS
    with pytest.raises(LimitExceeded):
        entry(*legs, debit(BANK, "EUR", 1), credit(ESCROW, "EUR", 1))


@pytest.mark.parametrize("account", ["assets", "assets:a b", "Assets:a", "assets:a\nb", "x:a", ""])
def test_accounts_keep_to_the_grammar(account: str) -> None:
    """A name that breaks the line of its leg."""
    with pytest.raises(InvalidAccount):
        debit(account, "EUR", 1)


def test_a_reversal_negates_every_leg() -> None:
    """A reversal that leaves something behind."""
    made = entry(debit(BANK, "EUR", 5), credit(ESCROW, "EUR", 5))
    both = merge([made, made.reversed()])
    assert set(net_by_account(both.postings).values()) == {0}
    assert made.reversed().reversed() == made


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "posted assets:a EUR",
        "posted assets:a EUR 1 2\nposted assets:b EUR -1",
        "other assets:a EUR 1\nother assets:b EUR -1",
        "posted assets:a EUR one\nposted assets:b EUR -1",
        "posted assets:a EUR 1\nposted assets:b EUR -1\n",
        "posted  assets:a EUR 1\nposted assets:b EUR -1",
    ],
)
def test_postings_that_cannot_be_read(text: str) -> None:
    """A damaged column that is read as another entry."""
    with pytest.raises(CorruptEvent):
        decode_entry(text)


def test_stored_postings_are_summed_again() -> None:
    """A tampered amount that is read without a word."""
    with pytest.raises(UnbalancedEntry):
        decode_entry("posted assets:a EUR 1\nposted assets:b EUR -2")
