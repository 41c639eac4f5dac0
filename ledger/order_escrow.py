"""
Escrow slices of one order as folded: what is held for each seller, and where it went.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from .order_events import FundsHeld, FundsReleased, FundsReturned
from .payment_operations import FundingPart


class SliceStatus(StrEnum):
    """Where a slice stands."""

    FUNDED = "funded"
    RELEASABLE = "releasable"
    RELEASED = "released"
    RETURNED = "returned"


class Slice(msgspec.Struct, frozen=True):
    """
    One seller's part of the order's escrow, in minor units of the order's currency.

    ``held`` came from the buyer and ``promo`` from the platform; ``released`` went to the seller
    and those behind it, of which ``released_parts`` by component; ``returned`` and
    ``promo_returned`` went back, of which ``refunds`` by granted refund.
    """

    slice_id: str
    held: int = 0
    promo: int = 0
    released: int = 0
    returned: int = 0
    promo_returned: int = 0
    condition_met: bool = False
    released_items: int = 0
    released_parts: Mapping[tuple[str, str], int] = {}
    commission: int = 0
    refunds: Mapping[str, int] = {}

    @property
    def buyer_money(self) -> int:
        """What the buyer brought and did not get back, released or not."""
        return self.held - self.returned

    @property
    def coupon_money(self) -> int:
        """What the platform brought and did not take back, released or not."""
        return self.promo - self.promo_returned

    @property
    def available(self) -> int:
        """What the slice holds now."""
        return self.held + self.promo - self.released - self.returned - self.promo_returned

    @property
    def status(self) -> SliceStatus:
        """The slice's state by its amounts and its condition."""
        if self.available > 0 or self.held + self.promo == 0:
            return SliceStatus.RELEASABLE if self.condition_met else SliceStatus.FUNDED
        return SliceStatus.RELEASED if self.released else SliceStatus.RETURNED


class Escrowed(msgspec.Struct, frozen=True):
    """
    What of one tender is in the order's slices: in the order's currency and in the tender's.

    ``held`` is what ever came in, returns not subtracted; ``refunds`` is what each granted refund
    took out, in the tender's currency.
    """

    amount: int = 0
    paid_amount: int = 0
    held: int = 0
    refunds: Mapping[str, int] = {}


Slices = Mapping[str, Slice]


def held(before: Slice, event: FundsHeld) -> Slice:
    return msgspec.structs.replace(
        before,
        held=before.held + event.amount,
        promo=before.promo + event.promo,
        refunds=_refunded(before.refunds, event.refund_id, -event.amount),
    )


def _refunded(before: Mapping[str, int], refund_id: str, change: int) -> Mapping[str, int]:
    if not refund_id:
        return before
    return {**before, refund_id: before.get(refund_id, 0) + change}


def by_tender(before: Escrowed, event: FundsHeld | FundsReturned) -> Escrowed:
    """Fold what of a tender came into the slices or left them."""
    sign = 1 if isinstance(event, FundsHeld) else -1
    paid = event.paid_amount if event.paid_currency else event.amount
    return Escrowed(
        before.amount + sign * event.amount,
        before.paid_amount + sign * event.paid_amount,
        before.held + (event.amount if sign > 0 else 0),
        _refunded(before.refunds, event.refund_id, -sign * paid),
    )


def released(before: Slice, event: FundsReleased) -> Slice:
    parts = dict(before.released_parts)
    for part in event.parts:
        key = (part.beneficiary.value, part.target)
        parts[key] = parts.get(key, 0) + part.amount
    return msgspec.structs.replace(
        before,
        released=before.released + event.amount,
        released_items=before.released_items + event.items,
        released_parts=parts,
        commission=before.commission + event.commission.amount,
    )


def returned(before: Slice, event: FundsReturned) -> Slice:
    return msgspec.structs.replace(
        before,
        returned=before.returned + event.amount,
        promo_returned=before.promo_returned + event.promo,
        refunds=_refunded(before.refunds, event.refund_id, event.amount),
    )


Recovered = Mapping[tuple[str, str], tuple[FundingPart, ...]]
"""(tender, operation) → who bears it besides escrow, in the order's currency."""


def recovered_of(recovered: Recovered, slice_id: str) -> dict[str, int]:
    """Return what each account gave back of what one slice was released to."""
    found: dict[str, int] = {}
    for parts in recovered.values():
        for part in parts:
            if part.slice_id == slice_id:
                found[part.account] = found.get(part.account, 0) + part.amount
    return found
