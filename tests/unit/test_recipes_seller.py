"""Recipes 23, 24 and 27 and penalties as a table that a bookkeeper can read."""

import pytest

from orderledger.ledger import recipes_seller as recipes
from orderledger.ledger.journal import Entry, encode_entry, merge
from orderledger.ledger.money import Money

Y = Money(9800, "USD")
TABLE: list[tuple[str, Entry, str]] = [
    (
        "23 payout initiated",
        recipes.payout_initiated("y1", "s1", Y),
        """
        posted liabilities:seller:s1 USD 9800
        posted liabilities:payouts:y1 USD -9800
        """,
    ),
    (
        "23 payout confirmed",
        recipes.payout_paid("y1", "main", Y),
        """
        posted liabilities:payouts:y1 USD 9800
        posted assets:bank:main USD -9800
        """,
    ),
    (
        "24 payout failed before the debit",
        recipes.payout_failed("y1", "s1", Y),
        """
        posted liabilities:seller:s1 USD -9800
        posted liabilities:payouts:y1 USD 9800
        """,
    ),
    (
        "24 payout returned after the debit, the bank keeps 35",
        merge(
            (
                recipes.payout_returned("y1", "main", Y, 35),
                recipes.payout_failed("y1", "s1", Y),
            )
        ),
        """
        posted assets:bank:main USD 9765
        posted expenses:bank_fees USD 35
        posted liabilities:payouts:y1 USD -9800
        posted liabilities:seller:s1 USD -9800
        posted liabilities:payouts:y1 USD 9800
        """,
    ),
    (
        "27 rolling reserve taken",
        recipes.reserve_taken("s1", Y),
        """
        posted liabilities:seller:s1 USD 9800
        posted liabilities:rolling_reserve:s1 USD -9800
        """,
    ),
    (
        "27 rolling reserve released",
        recipes.reserve_released("s1", Y),
        """
        posted liabilities:seller:s1 USD -9800
        posted liabilities:rolling_reserve:s1 USD 9800
        """,
    ),
    (
        "penalty charged",
        recipes.penalty_imposed("s1", Y),
        """
        posted liabilities:seller:s1 USD 9800
        posted income:penalties USD -9800
        """,
    ),
]


@pytest.mark.parametrize(("posted", "legs"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_the_recipe_posts_these_legs(posted: Entry, legs: str) -> None:
    """A recipe that debits what it should credit, or another account."""
    assert encode_entry(posted).splitlines() == [line.strip() for line in legs.strip().splitlines()]
