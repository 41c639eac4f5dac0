"""
Facts of an order's escrow after the release: who gives back what it went to.
"""

from .events import Event, Raw, topic, upcaster
from .payment_operations import FundingPart


@topic("order.funds_recovered.v2")
class FundsRecovered(Event, frozen=True):
    """
    Who bears a refund besides escrow, in the order's currency; replaces what was said of the
    operation before. No parts: it failed.

    Version 1 had parts without ``recovery``: what they gave back counts against the oldest release
    first, and was debited as it stands.
    """

    tender_id: str
    op_id: str
    parts: tuple[FundingPart, ...] = ()


@upcaster("order.funds_recovered.v1", "order.funds_recovered.v2")
def _without_recovery(raw: Raw) -> Raw:
    """A part without a recovery says in version 2 what it said in version 1."""
    return raw
