"""
Commands that freeze a seller's part of an order and lift that again.
"""

from .order_commands import OrderCommand


class FreezeFunds(OrderCommand, frozen=True, kw_only=True):
    """
    Freeze up to ``amount`` of a seller's part of the order, in its currency.

    ``freeze_id`` is the dispute's or the chargeback's id. What escrow lacks is taken from what the
    seller was released; what is not there either is recorded as lacking.
    """

    freeze_id: str
    seller: str
    amount: int
    cause: str


class UnfreezeFunds(OrderCommand, frozen=True, kw_only=True):
    """
    Lift a freeze: what is left of it is the seller's again.

    Not that of an open dispute or chargeback, which lifts it itself.
    """

    freeze_id: str
    cause: str = ""
