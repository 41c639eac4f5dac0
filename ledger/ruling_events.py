"""
What the execution of a ruling does to its order: refund promised, fee taken, the rest given back.

A ruling divides an amount in dispute between buyer, seller and platform. Amounts are in minor units
of the order's currency, reserves in the seller's where a release was converted.
"""

from .escrow_events import ReservePart
from .events import Event, topic
from .order_events import PaymentPart, RefundLine


@topic("order.ruling_refund_promised.v1")
class RulingRefundPromised(Event, frozen=True):
    """
    A granted refund of at most ``amount`` alone may draw on a freeze from here on.

    It takes the place of what was promised before; without a ``refund_id`` nothing is promised any
    more. ``is_goodwill``: what neither the freeze nor the seller's releases have of it the platform
    bears, and not the seller as a debt.
    """

    freeze_id: str
    slice_id: str
    refund_id: str
    amount: int
    is_goodwill: bool = False


@topic("order.arbitration_fee_taken.v1")
class ArbitrationFeeTaken(Event, frozen=True):
    """
    The platform's part of a ruling: ``escrowed`` out of what is frozen of the slice, ``reserve``
    out of the dispute's reserve, ``debt`` from the seller. Source: recipes 20 and 21.
    """

    fee_id: str
    freeze_id: str
    slice_id: str
    amount: int
    escrowed: int
    reserve: tuple[ReservePart, ...] = ()
    debt: tuple[ReservePart, ...] = ()


@topic("order.arbitration_fee_returned.v1")
class ArbitrationFeeReturned(Event, frozen=True):
    """A fee went back to where it came from, because its ruling was superseded (recipe 22)."""

    fee_id: str
    cause: str


@topic("order.freeze_settled.v1")
class FreezeSettled(Event, frozen=True):
    """
    What a ruling needs no more of a freeze: ``escrowed`` is free again, ``reserve`` went to the
    seller; below zero where a refund took more of it than it had.
    """

    freeze_id: str
    slice_id: str
    escrowed: int
    reserve: tuple[ReservePart, ...] = ()


@topic("order.refund_grant_reduced.v1")
class RefundGrantReduced(Event, frozen=True):
    """
    A ruling was superseded after part of its refund was paid: the grant is what was paid.

    ``goodwill`` of ``total`` is beyond what the buyer is entitled to now, so that the platform and
    not the seller bears it. total = Σ lines + adjustment + goodwill. Source: recipe 22.
    """

    refund_id: str
    total: int
    lines: tuple[RefundLine, ...]
    adjustment: int
    goodwill: int
    allocations: tuple[PaymentPart, ...]
    cause: str
