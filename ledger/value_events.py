"""
Events of stored value (stream ``storedvalue-{account}``): store credit, gift cards and points.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from .events import Event, topic


class ValueKind(StrEnum):
    """What an account holds: money the shop owes the buyer, or points of the shop's own unit."""

    STORE_CREDIT = "store_credit"
    GIFT_CARD = "gift_card"
    LOYALTY = "loyalty"


class ValueSource(StrEnum):
    """Why value was issued: given, owed as a refund, or bought."""

    GOODWILL = "goodwill"
    REFUND = "refund"
    SALE = "sale"


class LotPart(msgspec.Struct, frozen=True):
    """The part of an amount that a lot gives or takes back, in minor units."""

    lot_id: str
    amount: int


@topic("value.issued.v1")
class ValueIssued(Event, frozen=True, kw_only=True):
    """A lot of value came into being. ``holder`` names the ledger account that owes it."""

    account_id: str
    holder: str
    kind: ValueKind
    lot_id: str
    amount: int
    currency: str
    source: ValueSource
    expires_at: datetime | None = None
    order_id: str | None = None
    refund_id: str | None = None


@topic("value.redeemed.v1")
class ValueRedeemed(Event, frozen=True, kw_only=True):
    """
    Value paid for an order. ``lots`` sum to ``amount``.

    ``order_amount`` is what the order received, in ``order_currency``: another number only for
    points, which have a unit of their own.
    """

    account_id: str
    redemption_id: str
    amount: int
    currency: str
    order_id: str
    order_amount: int
    order_currency: str
    lots: tuple[LotPart, ...]


@topic("value.restored.v1")
class ValueRestored(Event, frozen=True, kw_only=True):
    """
    Redeemed value went back to the lots it came from. ``lots`` sum to ``amount``.

    ``extended_lots`` are those of them that had expired: they can be spent again until
    ``extended_until``. What was left of them had ended before.
    """

    account_id: str
    restore_id: str
    redemption_id: str
    amount: int
    currency: str
    order_id: str
    order_amount: int
    order_currency: str
    lots: tuple[LotPart, ...]
    refund_id: str = ""
    extended_lots: tuple[str, ...] = ()
    extended_until: datetime | None = None


@topic("value.expired.v1")
class ValueExpired(Event, frozen=True, kw_only=True):
    """What was left of a lot at ``due_at`` is no longer owed."""

    account_id: str
    lot_id: str
    amount: int
    currency: str
    due_at: datetime
