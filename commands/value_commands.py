"""
Commands on stored value: store credit, gift cards and points.
"""

from orderledger.ledger import streams
from orderledger.ledger.instants import Instant
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.value_events import ValueKind, ValueSource

from .decision import Command


class OfValue(Command, frozen=True, kw_only=True):
    """Any command on a stored value account, in minor units of its currency or in points."""

    account_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.stored_value(self.account_id),)


class IssueValue(OfValue, frozen=True, kw_only=True):
    """
    Add a lot of value to an account; the first lot opens the account.

    ``holder`` names the ledger account that owes the value (the buyer; the card, if it is
    anonymous) and stays the same for the account. What funds the lot goes by ``source``: goodwill
    the platform's own; refund the refund granted as ``refund_id`` by ``order_id``; sale the escrow
    of ``order_id``, with which the buyer paid for it. ``funding`` is who bears a refund, summing
    to the amount; empty: as for ``RequestRefund``.
    """

    holder: str
    kind: ValueKind
    lot_id: str
    amount: int
    currency: str
    source: ValueSource
    expires_at: Instant | None = None
    order_id: str | None = None
    refund_id: str | None = None
    funding: tuple[FundingPart, ...] = ()

    def streams(self) -> tuple[str, ...]:
        own = streams.stored_value(self.account_id)
        return (own,) if self.order_id is None else (own, streams.order(self.order_id))


class RedeemValue(OfValue, frozen=True, kw_only=True):
    """
    Pay for an order with stored value, the lots that expire first going first.

    ``order_amount`` is what the order receives in its own currency; it is needed for points and
    equals ``amount`` otherwise (None).
    """

    redemption_id: str
    amount: int
    currency: str
    order_id: str
    order_amount: int | None = None

    def streams(self) -> tuple[str, ...]:
        return (streams.stored_value(self.account_id), streams.order(self.order_id))


class RestoreValue(OfValue, frozen=True, kw_only=True):
    """
    Give redeemed value back to the lots it came from.

    ``refund_id`` names the refund that was granted and allocated to the redemption; without one
    the redemption is undone, which only an order that is not confirmed, or is over, allows.
    ``amount`` is in the order's currency; None: all that is allocated, or left. ``funding`` is who
    bears it, summing to the amount; empty: as for ``RequestRefund``. ``expires_at`` is until when
    what goes back to a lot that has expired meanwhile can be spent, and is needed there: a refund
    that cannot be spent is none. With ``lapses`` it goes back as expired instead, by your terms.
    """

    restore_id: str
    redemption_id: str
    order_id: str
    refund_id: str = ""
    amount: int | None = None
    funding: tuple[FundingPart, ...] = ()
    expires_at: Instant | None = None
    lapses: bool = False

    def streams(self) -> tuple[str, ...]:
        return (streams.stored_value(self.account_id), streams.order(self.order_id))


class ExpireValue(OfValue, frozen=True, kw_only=True):
    """Timer: end a lot whose expiry has come; what is left of it is no longer owed."""

    lot_id: str
