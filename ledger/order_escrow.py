"""
Escrow slices of one order as folded: what is held for each seller, and where it went.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from .order_events import FundsHeld, FundsReleased, FundsReturned
from .payment_operations import FundingPart


class SliceStatus(StrEnum):
    """Where a slice stands."""

    FUNDED = "funded"
    RELEASABLE = "releasable"
    FROZEN = "frozen"
    RELEASED = "released"
    RETURNED = "returned"


class Slice(msgspec.Struct, frozen=True):
    """
    One seller's part of the order's escrow, in minor units of the order's currency.

    ``held`` came from the buyer and ``promo`` from the platform; ``released`` went to the seller
    and those behind it, of which ``released_parts`` by component; ``returned`` and
    ``promo_returned`` went back, of which ``refunds`` by granted refund. ``inflow`` is what is
    there by the tender that brought it ("" the platform), the earliest first; a release takes it
    in that order, and ``funded`` keeps which tender paid for which release. ``frozen`` is what of
    it is frozen now, by freeze, the earliest first.
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
    inflow: Mapping[str, int] = {}
    funded: Mapping[str, Mapping[str, int]] = {}
    frozen: Mapping[str, int] = {}

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
    def frozen_total(self) -> int:
        """What of it is frozen now."""
        return sum(self.frozen.values())

    @property
    def unfrozen(self) -> int:
        """What it holds now that is not frozen."""
        return max(0, self.available - self.frozen_total)

    @property
    def status(self) -> SliceStatus:
        """The slice's state by its amounts and its condition."""
        if self.frozen:
            return SliceStatus.FROZEN
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

COUPONS: Final = ""
"""The tender of the platform's coupon money."""


def held(before: Slice, event: FundsHeld) -> Slice:
    return msgspec.structs.replace(
        before,
        held=before.held + event.amount,
        promo=before.promo + event.promo,
        refunds=_refunded(before.refunds, event.refund_id, -event.amount),
        inflow=_flowed_in(before.inflow, event),
    )


def _flowed_in(before: Mapping[str, int], event: FundsHeld) -> Mapping[str, int]:
    after = dict(before)
    if event.amount:
        after[event.payment_id] = after.get(event.payment_id, 0) + event.amount
    if event.promo:
        after[COUPONS] = after.get(COUPONS, 0) + event.promo
    return after


def _drained(
    before: Mapping[str, int], amount: int, first: str = COUPONS
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return what is left by tender and what was taken: of ``first``, then in order of arrival."""
    left = dict(before)
    taken: dict[str, int] = {}
    for tender in (first, *before) if first else before:
        part = min(amount, left.get(tender, 0))
        if part > 0:
            taken[tender] = taken.get(tender, 0) + part
            left[tender] -= part
            amount -= part
    return {tender: minor for tender, minor in left.items() if minor}, taken


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
    inflow, funded = _drained(before.inflow, event.amount)
    return msgspec.structs.replace(
        before,
        released=before.released + event.amount,
        released_items=before.released_items + event.items,
        released_parts=parts,
        commission=before.commission + event.commission.amount,
        inflow=inflow,
        funded={**before.funded, event.release_id: funded},
    )


def returned(before: Slice, event: FundsReturned) -> Slice:
    inflow, _ = _drained(before.inflow, event.amount, event.payment_id)
    coupon = min(event.promo, inflow.get(COUPONS, 0))
    if coupon:
        inflow = {**inflow, COUPONS: inflow[COUPONS] - coupon}
    return msgspec.structs.replace(
        before,
        returned=before.returned + event.amount,
        promo_returned=before.promo_returned + event.promo,
        refunds=_refunded(before.refunds, event.refund_id, event.amount),
        inflow=inflow,
    )


Recovered = Mapping[tuple[str, str], tuple[FundingPart, ...]]
"""(tender, operation) → who bears it besides escrow, in the order's currency."""
