"""The score of a seller's record, by hand."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from orderledger.ledger.seller_events import Standing
from orderledger.ledger.standing_policy import (
    DEFAULT,
    StandingCounts,
    score_of,
    standing_of,
)

# orders, delivered, lost, returned, refunds, disputes; the score and standing by the default.
SCORES: list[tuple[tuple[int, ...], int, Standing]] = [
    ((0, 0, 0, 0, 0, 0), 10_000, Standing.GOOD),
    ((9, 9, 0, 0, 0, 9), 10_000, Standing.GOOD),
    ((10, 10, 0, 0, 0, 0), 10_000, Standing.TOP),
    ((100, 100, 0, 4, 2, 0), 9_800, Standing.TOP),
    ((100, 100, 0, 4, 3, 0), 9_750, Standing.GOOD),
    ((100, 0, 0, 0, 0, 1), 9_500, Standing.GOOD),
    ((100, 98, 2, 0, 0, 2), 8_600, Standing.AT_RISK),
    ((300, 0, 0, 0, 1, 0), 9_983, Standing.TOP),
    ((100, 0, 0, 0, 0, 6), 7_000, Standing.POOR),
    ((100, 1, 99, 0, 100, 100), 0, Standing.POOR),
    ((10, 5, 0, 9, 40, 0), 2_500, Standing.POOR),
]


@pytest.mark.parametrize(("counts", "score", "standing"), SCORES)
def test_scores_by_hand(counts: tuple[int, ...], score: int, standing: Standing) -> None:
    """A weight, a rate or a threshold that is applied otherwise than the policy says."""
    found = StandingCounts(*counts)
    assert (score_of(found), standing_of(found)) == (score, standing)


def test_a_policy_of_ones_own() -> None:
    """A threshold or a weight that stands in the code and not in the policy."""
    strict = replace(DEFAULT, name="strict", minimum_orders=1, dispute_weight=Decimal(100))
    counts = StandingCounts(order_count=100, dispute_count=1)
    assert (score_of(counts, strict), standing_of(counts, strict)) == (0, Standing.POOR)
