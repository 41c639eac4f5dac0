"""
Facts of an order's escrow after the release, and of what is frozen of it.
"""

import msgspec

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


class ReservePart(msgspec.Struct, frozen=True):
    """
    Seller's money in a dispute reserve: ``minor`` of ``currency``, which the seller was credited
    for ``amount`` of the order's currency.
    """

    currency: str
    minor: int
    amount: int


@topic("order.funds_frozen.v1")
class FundsFrozen(Event, frozen=True):
    """
    ``amount`` was asked to be frozen of a seller's part of the order, in the order's currency.

    ``escrowed`` of it stays in the slice; ``reserved`` had been released to the seller and went
    from there to the dispute reserve of ``freeze_id``, by currency in ``reserve``; ``shortfall``
    was not there to freeze. escrowed + reserved + shortfall = amount. Source: recipe 15.
    """

    freeze_id: str
    slice_id: str
    amount: int
    escrowed: int
    reserved: int
    shortfall: int
    cause: str
    reserve: tuple[ReservePart, ...] = ()


@topic("order.funds_unfrozen.v1")
class FundsUnfrozen(Event, frozen=True):
    """
    A freeze was lifted: ``escrowed`` of the slice is free again and ``reserve`` went back to the
    seller.

    It lifts all that was left, but for what a ruling keeps for the refund it granted.
    """

    freeze_id: str
    slice_id: str
    escrowed: int
    reserve: tuple[ReservePart, ...]
    cause: str
