"""
Events of a seller's account in one currency (stream ``seller-{seller}/{currency}``), and of a
seller's standing (stream ``standing-{seller}``).

Amounts are positive integers in minor units of the stream's currency.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from .events import Event, topic


class ReserveTerms(msgspec.Struct, frozen=True):
    """
    The rolling reserve: ``rate`` of the entries of each payout stays back for ``days`` days.

    No more is taken once ``ceiling`` minor units are reserved; None: without a limit.
    """

    rate: Decimal
    days: int
    ceiling: int | None = None


class PayoutEntry(msgspec.Struct, frozen=True):
    """What a payout pays of one release: minor units of the payout's currency."""

    order_id: str
    release_id: str
    amount: int


class OfSeller(Event, frozen=True, kw_only=True):
    """What every event of a seller's account names."""

    seller: str
    currency: str


@topic("seller.reserve_set.v1")
class ReserveSet(OfSeller, frozen=True, kw_only=True):
    """New terms hold for the payouts that are scheduled from now on; None: no reserve."""

    terms: ReserveTerms | None
    reason: str = ""


@topic("seller.reserve_taken.v1")
class ReserveTaken(OfSeller, frozen=True, kw_only=True):
    """
    An amount went from the seller to the rolling reserve (recipe 27).

    It goes back at ``matures_at``, or when somebody decides so. ``payout_id`` names the payout
    that it was taken at.
    """

    reserve_id: str
    amount: int
    matures_at: datetime
    payout_id: str = ""
    reason: str = ""


@topic("seller.reserve_released.v1")
class ReserveReleased(OfSeller, frozen=True, kw_only=True):
    """An amount went from the rolling reserve back to the seller (recipe 27 backwards)."""

    reserve_id: str
    amount: int
    is_early: bool = False
    reason: str = ""


@topic("seller.payout_claimed.v1")
class PayoutClaimed(OfSeller, frozen=True, kw_only=True):
    """
    A payout has these entries from now on, and no other may have them.

    ``amount`` is what the payout pays. An earlier claim of the same payout is replaced: it had been
    given up, and the bank paid all the same.
    """

    payout_id: str
    amount: int
    entries: tuple[PayoutEntry, ...]


@topic("seller.payout_debited.v1")
class PayoutDebited(OfSeller, frozen=True, kw_only=True):
    """A payout went to the bank: its amount left the account, as the payout's stream posts it."""

    payout_id: str


@topic("seller.payout_amount_corrected.v1")
class PayoutAmountCorrected(OfSeller, frozen=True, kw_only=True):
    """The bank paid ``amount``, another one than the payout's."""

    payout_id: str
    amount: int


@topic("seller.payout_freed.v1")
class PayoutFreed(OfSeller, frozen=True, kw_only=True):
    """A payout was cancelled, failed or came back: its entries may be paid by another one."""

    payout_id: str
    cause: str


@topic("seller.debt_written_off.v1")
class DebtWrittenOff(OfSeller, frozen=True, kw_only=True):
    """
    ``amount`` of the seller's debt was given up (recipe 26, posted by journal entry ``entry_id``).

    ``debt`` is what the seller was seen to owe; ``cause_event`` names what made the debt.
    """

    entry_id: str
    amount: int
    debt: int
    cause_event: str = ""
    reason: str = ""


@topic("seller.penalty_imposed.v1")
class PenaltyImposed(OfSeller, frozen=True, kw_only=True):
    """
    A rule of the marketplace was broken. ``amount`` 0: nothing is charged.

    ``until`` is when the penalty ends by itself; what was charged stays charged.
    """

    penalty_id: str
    rule_ref: str
    amount: int = 0
    until: datetime | None = None
    reason: str = ""


@topic("seller.penalty_lifted.v1")
class PenaltyLifted(OfSeller, frozen=True, kw_only=True):
    """A penalty was taken back, with what was charged for it."""

    penalty_id: str
    rule_ref: str
    amount: int = 0
    reason: str = ""


class Standing(StrEnum):
    """How much a marketplace trusts a seller, the best first."""

    TOP = "top"
    GOOD = "good"
    AT_RISK = "at_risk"
    POOR = "poor"


@topic("standing.changed.v1")
class SellerStandingChanged(Event, frozen=True, kw_only=True):
    """
    A seller came into another standing. ``score`` is in hundredths of a per cent, 0 to 10000.

    ``policy`` names the thresholds that gave it, ``cause_event`` what it was decided on.
    """

    seller: str
    score: int
    old: Standing | None
    new: Standing
    policy: str = ""
    cause_event: str = ""


@topic("standing.suspended.v1")
class SellerSuspended(Event, frozen=True, kw_only=True):
    """Nothing is paid out to the seller, in any currency."""

    seller: str
    reason: str
    by: str


@topic("standing.reinstated.v1")
class SellerReinstated(Event, frozen=True, kw_only=True):
    """The suspension is over."""

    seller: str
    reason: str
    by: str
