"""
Freezes of one order as folded: what of a seller's part is frozen, in escrow and after its release.

A freeze holds what it found when it was made; what comes in later does not add to it. Only its own
resolution draws on it. An observation (a reversed capture, a refund that the provider reports) may
still take the money away: it takes what is not frozen first, then the latest freeze gives way, and
what it loses is added to its ``shortfall``, so that no claim vanishes silently. What a reserve
holds is in an account of its own, which no observation touches.
"""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from . import accounts
from .escrow_events import FundsFrozen, FundsUnfrozen, ReservePart
from .order_escrow import Slice

FreezeKey = tuple[str, str]
"""Freeze and slice: a chargeback may freeze the parts of several sellers under its id."""


class Freeze(msgspec.Struct, frozen=True):
    """
    A freeze of one seller's part, in minor units of the order's currency.

    ``amount`` was asked for, ``escrowed`` and ``reserved`` were found then. What is frozen in
    escrow now stands in the slice; ``reserve`` is what the dispute reserve holds now, by currency.
    ``refund_id`` is the refund that a ruling granted of it: at most ``promised``, which it alone
    may draw.
    """

    freeze_id: str
    slice_id: str
    amount: int
    escrowed: int
    reserved: int
    shortfall: int
    cause: str
    reserve: Mapping[str, ReservePart] = {}
    is_lifted: bool = False
    refund_id: str = ""
    promised: int = 0

    @property
    def in_reserve(self) -> int:
        """What the reserve holds now, in the order's currency."""
        return sum([part.amount for part in self.reserve.values()])


Freezes = Mapping[FreezeKey, Freeze]


def account_of(freeze: Freeze) -> str:
    """Return the account that holds the seller's money of a freeze."""
    return accounts.dispute_reserve(freeze.freeze_id)


def frozen(before: Slice, event: FundsFrozen) -> Slice:
    """Fold a freeze into its slice."""
    left = {**before.frozen, event.freeze_id: event.escrowed}
    return replace(before, frozen=left) if event.escrowed else before


def unfrozen(before: Slice, event: FundsUnfrozen) -> Slice:
    """Fold a lifted freeze into its slice."""
    return _less(before, event.freeze_id, event.escrowed)


def _less(before: Slice, freeze_id: str, amount: int) -> Slice:
    left = dict(before.frozen)
    left[freeze_id] = left.get(freeze_id, 0) - amount
    if left[freeze_id] <= 0:
        del left[freeze_id]
    return replace(before, frozen=left)


def frozen_against(freezes: Freezes, one: Slice, refund_id: str) -> int:
    """Return what of a slice a refund cannot take: all that is frozen, but for its own ruling's."""
    return one.frozen_total - sum([one.frozen[key] for key in _own(freezes, one, refund_id)])


def _own(freezes: Freezes, one: Slice, refund_id: str) -> list[str]:
    """Return the freezes of a slice that were made for a refund's ruling."""
    if not (refund_id and one.frozen):
        return []
    return [
        freeze.freeze_id
        for freeze in freezes.values()
        if freeze.slice_id == one.slice_id
        and freeze.refund_id == refund_id
        and freeze.freeze_id in one.frozen
    ]


def frozen_for(freezes: Freezes, slices: Mapping[str, Slice], refund_id: str) -> dict[str, int]:
    """Return what the ruling of a refund froze in escrow, by slice."""
    found = {
        key: sum([one.frozen[freeze_id] for freeze_id in _own(freezes, one, refund_id)])
        for key, one in slices.items()
    }
    return {key: amount for key, amount in found.items() if amount}


def drawn(freezes: Freezes, after: Slice, refund_id: str, amount: int) -> Slice:
    """Return a slice of which a refund took an amount: first what its own ruling froze."""
    for freeze_id in _own(freezes, after, refund_id):
        part = min(amount, after.frozen[freeze_id])
        amount -= part
        after = _less(after, freeze_id, part)
    return after


def restored(freezes: Freezes, after: Slice, refund_id: str, amount: int) -> Slice:
    """Return a slice to which the money of a failed refund came back: frozen for it again."""
    if not refund_id:
        return after
    for freeze in freezes.values():
        if freeze.slice_id == after.slice_id and freeze.refund_id == refund_id:
            held = after.frozen.get(freeze.freeze_id, 0)
            part = min(amount, freeze.promised - held)
            if part > 0:
                return replace(after, frozen={**after.frozen, freeze.freeze_id: held + part})
    return after


def shrunk(before: Freezes, after: Freezes) -> list[tuple[Freeze, int]]:
    """Return the freezes that lost money between two states of an order, and how much."""
    found: list[tuple[Freeze, int]] = []
    for key, one in after.items():
        known = before.get(key)
        if known is not None and one.shortfall > known.shortfall:
            found.append((one, one.shortfall - known.shortfall))
    return found


def new_freeze(event: FundsFrozen) -> Freeze:
    """Return the freeze that the event makes."""
    return Freeze(
        event.freeze_id,
        event.slice_id,
        event.amount,
        event.escrowed,
        event.reserved,
        event.shortfall,
        event.cause,
        {part.currency: part for part in event.reserve},
    )


def lifted(freeze: Freeze, event: FundsUnfrozen) -> Freeze:
    """Fold that a freeze was lifted."""
    return replace(freeze, reserve=without(freeze.reserve, event.reserve), is_lifted=True)


def without(
    reserve: Mapping[str, ReservePart], parts: tuple[ReservePart, ...]
) -> Mapping[str, ReservePart]:
    """Return a reserve after parts left it (below zero: came to it)."""
    left = dict(reserve)
    for part in parts:
        before = left.get(part.currency) or ReservePart(part.currency, 0, 0)
        minor, amount = before.minor - part.minor, before.amount - part.amount
        left[part.currency] = ReservePart(part.currency, minor, amount)
    return {key: one for key, one in left.items() if one.minor}


def within(one: Slice) -> Slice:
    """Return a slice whose freezes are no more than it holds: the latest gives way first."""
    excess = one.frozen_total - max(0, one.available)
    if excess <= 0:
        return one
    left = dict(one.frozen)
    for freeze_id in reversed(list(one.frozen)):
        lost = min(excess, left[freeze_id])
        left[freeze_id] -= lost
        excess -= lost
    return replace(one, frozen={key: minor for key, minor in left.items() if minor})


def with_losses(freezes: Freezes, before: Slice, after: Slice) -> Freezes:
    """Return the freezes with what they lost of a slice added to their shortfall."""
    if before.frozen == after.frozen:
        return freezes
    changed = dict(freezes)
    for freeze_id, amount in before.frozen.items():
        lost = amount - after.frozen.get(freeze_id, 0)
        one = changed.get((freeze_id, before.slice_id))
        if one is not None and lost > 0:
            changed[freeze_id, before.slice_id] = replace(one, shortfall=one.shortfall + lost)
    return changed
