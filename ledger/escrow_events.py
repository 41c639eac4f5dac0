"""
Facts of an order's escrow after the release: who gives back what it went to.
"""

from .events import Event, topic
from .payment_operations import FundingPart


@topic("order.funds_recovered.v1")
class FundsRecovered(Event, frozen=True):
    """
    Who bears a refund besides escrow, in the order's currency; replaces what was said of the
    operation before. No parts: it failed.
    """

    tender_id: str
    op_id: str
    parts: tuple[FundingPart, ...] = ()
