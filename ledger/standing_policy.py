"""
How well a seller does, as a score, and the standing it gives: a pure function of counts, by
weights and thresholds that are data.

A marketplace brings a policy of its own; ``DEFAULT`` is a start. What was decided is in the event
``standing.changed.v1`` with the policy's name: a change of the policy changes no history.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from .seller_events import Standing

BEST: Final = 10_000
"""The best score: hundredths of a per cent."""


class StandingCounts(msgspec.Struct, frozen=True):
    """
    What a seller's record is made of, as the read model ``seller_standing`` counts it.

    Units of goods for deliveries and returns; orders, refunds and disputes by number. Of disputes
    and chargebacks those that ended against the seller.
    """

    order_count: int = 0
    delivered_units: int = 0
    lost_units: int = 0
    returned_units: int = 0
    refund_count: int = 0
    dispute_count: int = 0


class Threshold(msgspec.Struct, frozen=True):
    """A standing, and the least score that gives it."""

    standing: Standing
    score: int


class StandingPolicy(msgspec.Struct, frozen=True):
    """
    Weights and thresholds. A weight of 2 costs two per cent of the score for each per cent of the
    rate: lost units of those sent, returned of those delivered, refunds and lost disputes of
    orders.

    Below ``minimum_orders`` nothing is held against a seller, who starts as ``beginning``.
    ``thresholds`` begin with the best; below the last one the standing is ``otherwise``.
    """

    name: str
    minimum_orders: int
    beginning: Standing
    lost_weight: Decimal
    returned_weight: Decimal
    refund_weight: Decimal
    dispute_weight: Decimal
    thresholds: tuple[Threshold, ...]
    otherwise: Standing


DEFAULT: Final = StandingPolicy(
    name="default-1",
    minimum_orders=10,
    beginning=Standing.GOOD,
    lost_weight=Decimal(2),
    returned_weight=Decimal("0.25"),
    refund_weight=Decimal("0.5"),
    dispute_weight=Decimal(5),
    thresholds=(
        Threshold(Standing.TOP, 9_800),
        Threshold(Standing.GOOD, 9_000),
        Threshold(Standing.AT_RISK, 7_500),
    ),
    otherwise=Standing.POOR,
)
"""
Lost disputes weigh most: one per cent of orders costs five per cent of the score. Source of the
order of magnitude: marketplaces hold an order defect rate of 1 % against a seller (Amazon).
"""


def problem_of(policy: StandingPolicy) -> str:
    """Return what is wrong with a policy, "" for one that can score."""
    weights = (
        ("lost_weight", policy.lost_weight),
        ("returned_weight", policy.returned_weight),
        ("refund_weight", policy.refund_weight),
        ("dispute_weight", policy.dispute_weight),
    )
    for name, weight in weights:
        if not (weight.is_finite() and weight >= 0):
            return f"{name} is {weight}, which is no weight: it is 0 or more"
    scores = [one.score for one in policy.thresholds]
    if scores != sorted(set(scores), reverse=True) or not all(0 <= one <= BEST for one in scores):
        return (
            f"thresholds have the scores {scores}: they go down, from {BEST} at most to 0 at least"
        )
    if policy.minimum_orders < 0:
        return f"minimum_orders is {policy.minimum_orders}, less than none"
    return ""


def score_of(counts: StandingCounts, policy: StandingPolicy = DEFAULT) -> int:
    """Return the score, 0 to 10000, rounded half-even; the best below the minimum of orders."""
    if counts.order_count < policy.minimum_orders:
        return BEST
    sent = counts.delivered_units + counts.lost_units
    lost = Fraction(policy.lost_weight) * _rate(counts.lost_units, sent) + Fraction(
        policy.returned_weight
    ) * _rate(counts.returned_units, counts.delivered_units)
    complaints = Fraction(policy.refund_weight) * _rate(counts.refund_count, counts.order_count)
    complaints += Fraction(policy.dispute_weight) * _rate(counts.dispute_count, counts.order_count)
    return max(0, round(BEST * (1 - lost - complaints)))


def standing_of(counts: StandingCounts, policy: StandingPolicy = DEFAULT) -> Standing:
    """Return the standing that the counts give by a policy."""
    if counts.order_count < policy.minimum_orders:
        return policy.beginning
    score = score_of(counts, policy)
    for one in policy.thresholds:
        if score >= one.score:
            return one.standing
    return policy.otherwise


def _rate(part: int, whole: int) -> Fraction:
    """Return a share of at most one; of nothing it is nothing."""
    return Fraction(min(part, whole), whole) if whole > 0 else Fraction(0)
