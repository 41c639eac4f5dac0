"""
Decisions on an order's escrow: hold what was captured, and release a seller's slice.
"""

from datetime import datetime

from orderledger.ledger import limits, recipes_order
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_recovery import GivenBack, given_back
from orderledger.ledger.escrow_shares import PartKey, Share, shares_of
from orderledger.ledger.money import allocate, apply_rate
from orderledger.ledger.order_content import (
    Beneficiary,
    Commission,
    Conversion,
    ReleasePart,
)
from orderledger.ledger.order_escrow import Slice
from orderledger.ledger.order_events import FundsReleased, ReleaseConditionMet
from orderledger.ledger.orders import EVOLVE, Lifecycle, OrderState
from orderledger.ledger.release_recovery import rate_between

from . import order_guards as guards
from .decision import Change, Changes, States, decides
from .escrow_follow import follow_evened
from .order_commands import ConversionTerms, HoldFunds, MeetReleaseCondition, ReleaseFunds

_RELEASABLE = frozenset({Lifecycle.CONFIRMED, Lifecycle.COMPLETED})


@decides(HoldFunds)
def hold_funds(command: HoldFunds, states: States, now: datetime) -> Changes:
    """Bring the slices to what the tenders hold in escrow; nothing to do is no event."""
    order = guards.existing(states, command.order_id)
    return follow_evened(order, states)


@decides(MeetReleaseCondition)
def meet_release_condition(command: MeetReleaseCondition, states: States, now: datetime) -> Changes:
    """Make a seller's slice releasable; raises NOT_FOUND if the seller has no part in the order."""
    guards.check_id("seller", command.seller)
    guards.check_text("cause", command.cause)
    order = guards.existing(states, command.order_id)
    one = order.slices.get(command.seller)
    if one is not None and one.condition_met:
        return ()
    guards.require(order, "meet a release condition", _RELEASABLE)
    _share_of(order, command.seller)
    event = ReleaseConditionMet(slice_id=command.seller, cause=command.cause)
    return (guards.change(command.order_id, event),)


def _share_of(order: OrderState, seller: str) -> Share:
    share = shares_of(order).get(seller)
    if share is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"seller {seller} has no part in order {order.order_id}",
            order_id=order.order_id,
            seller=seller,
        )
    return share


@decides(ReleaseFunds)
def release_funds(command: ReleaseFunds, states: States, now: datetime) -> Changes:
    """
    Release a slice to its seller, the platform's commission and those behind the seller.

    Raises OPERATION_ALREADY_USED for a known release id with other terms, CURRENCY_MISMATCH for a
    conversion into the order's own currency, NOT_FOUND, NOT_YET_DUE before the condition is met,
    FUNDS_FROZEN where a freeze holds the rest, AMOUNT_EXCEEDS_AVAILABLE beyond what the slice
    holds and is entitled to (also when that is nothing). Without an amount it releases all that is
    not frozen.
    """
    _check_release(command)
    order = guards.existing(states, command.order_id)
    known = order.releases.get(command.release_id)
    if known is not None:
        if _is_released(known, command):
            return ()
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"release {command.release_id} of order {order.order_id} released {known.amount} for "
            f"{known.slice_id} with other terms; use a new id",
            order_id=order.order_id,
            release_id=command.release_id,
            seller=known.slice_id,
        )
    guards.require(order, "release escrow", _RELEASABLE)
    _check_conversion(command, order)
    share = _share_of(order, command.seller)
    held = follow_evened(order, states)
    current = _after(order, held)
    one = current.slice_of(command.seller)
    if not one.condition_met:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"the release condition of {command.seller} in order {order.order_id} is not met: "
            "confirm the delivery, or say why it is met (MeetReleaseCondition)",
            order_id=order.order_id,
            seller=command.seller,
        )
    items, parts = remaining_of(share, one, given_back(current, one))
    entitled = items + sum(parts.values())
    left = min(one.unfrozen, entitled)
    wanted = left if command.amount is None else command.amount
    _check_not_frozen(order, one, wanted, entitled)
    if wanted > left or wanted <= 0:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"the slice of {command.seller} in order {order.order_id} can release {left} "
            f"{order.currency} minor units, not {wanted}",
            order_id=order.order_id,
            seller=command.seller,
            amount=wanted,
            available=left,
        )
    event = release_of(command, order, wanted, items, parts)
    entry = recipes_order.released(order.order_id, event, order.currency)
    return (*held, guards.change(order.order_id, event, entry))


def _check_not_frozen(order: OrderState, one: Slice, wanted: int, entitled: int) -> None:
    """Raise FUNDS_FROZEN if only a freeze stands between the slice and what is wanted of it."""
    left = min(one.unfrozen, entitled)
    if 0 < wanted <= left or wanted > min(one.available, entitled) or one.frozen_total == 0:
        return
    raise Rejected(
        Reason.FUNDS_FROZEN,
        f"{one.frozen_total} of the slice of {one.slice_id} in order {order.order_id} are frozen "
        f"by {', '.join(one.frozen)}; {left} {order.currency} minor units can be released, not "
        f"{wanted or min(one.available, entitled)}",
        order_id=order.order_id,
        seller=one.slice_id,
        amount=wanted,
        available=left,
        frozen=one.frozen_total,
        freezes=list(one.frozen),
    )


def _check_release(command: ReleaseFunds) -> None:
    guards.check_id("release_id", command.release_id)
    guards.check_id("seller", command.seller)
    guards.check_rate("commission_rate", command.commission_rate)
    guards.check_rate("commission_tax_rate", command.commission_tax_rate)
    if command.amount is not None:
        guards.check_amount("amount", command.amount)
    if command.commission_tax_rate:
        guards.check_id("commission_tax_jurisdiction", command.commission_tax_jurisdiction)
    if command.conversion is not None:
        exponent(command.conversion.currency)
        guards.check_price_of_currency("rate of the conversion", command.conversion.rate)


def _is_released(known: FundsReleased, command: ReleaseFunds) -> bool:
    """Tell whether a release is what the command asks for; without an amount any amount is."""
    terms = command.conversion
    asked = None if terms is None else (terms.currency, terms.rate)
    done = known.conversion
    commission = known.commission
    return (
        known.slice_id == command.seller
        and command.amount in (None, known.amount)
        and commission.rate == command.commission_rate
        and commission.rate_version == command.rate_version
        and commission.tax_rate == command.commission_tax_rate
        and (
            not command.commission_tax_rate
            or commission.tax_jurisdiction == command.commission_tax_jurisdiction
        )
        and asked == (None if done is None else (done.currency, done.rate))
    )


def _check_conversion(command: ReleaseFunds, order: OrderState) -> None:
    """Raise CURRENCY_MISMATCH: an amount is worth itself in its own currency."""
    terms = command.conversion
    if terms is not None and terms.currency == order.currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"order {order.order_id} is in {order.currency}; a release is converted into another "
            "currency or not at all",
            order_id=order.order_id,
            currency=order.currency,
            other_currency=terms.currency,
        )


def _after(order: OrderState, changes: tuple[Change, ...]) -> OrderState:
    for one in changes:
        order = EVOLVE[type(one.event)](order, one.event)
    return order


def remaining_of(share: Share, one: Slice, back: GivenBack) -> tuple[int, dict[PartKey, int]]:
    """
    Return items and parts of a share that were not released yet, none below zero.

    What was given back for refunds after a release no longer counts as released.
    """
    items = max(0, share.items - one.released_items + back.items)
    parts: dict[PartKey, int] = {}
    for key, amount in share.parts.items():
        left = amount - one.released_parts.get(key, 0) + back.parts.get(key, 0)
        if left > 0:
            parts[key] = left
    return items, parts


def release_of(
    command: ReleaseFunds,
    order: OrderState,
    amount: int,
    items: int,
    parts: dict[PartKey, int],
) -> FundsReleased:
    """Return the release of an amount on a command's terms, out of what remains of a share."""
    # Less than everything is divided in proportion; every part stays within what remains of it.
    amounts = allocate(amount, [items, *parts.values()])
    base = amounts[0]
    released = [
        ReleasePart(Beneficiary(kind), target, part)
        for (kind, target), part in zip(parts, amounts[1:], strict=True)
        if part
    ]
    freight = sum(
        [one.amount for one in released if one.beneficiary is Beneficiary.SELLER_SHIPPING]
    )
    commission = _commission(command, base)
    conversion = None
    net = base - commission.amount + freight
    if command.conversion is not None:
        conversion = _conversion(command.conversion, order.currency, base, freight, commission)
        limits.check_total(f"release {command.release_id}", conversion.amount)
        net = conversion.amount - conversion.commission
    return FundsReleased(
        release_id=command.release_id,
        slice_id=command.seller,
        amount=amount,
        items=base,
        commission=commission,
        net=net,
        parts=tuple(released),
        conversion=conversion,
    )


def _commission(command: ReleaseFunds, base: int) -> Commission:
    amount = apply_rate(base, command.commission_rate)
    return Commission(
        command.commission_rate,
        command.rate_version,
        base,
        amount,
        apply_rate(amount, command.commission_tax_rate),
        command.commission_tax_rate,
        command.commission_tax_jurisdiction if command.commission_tax_rate else "",
    )


def _conversion(
    terms: ConversionTerms, currency: str, base: int, freight: int, commission: Commission
) -> Conversion:
    rate = rate_between(terms.rate, currency, terms.currency)
    return Conversion(
        terms.currency,
        terms.rate,
        base + freight,
        round(rate * (base + freight)),
        round(rate * commission.amount),
        round(rate * commission.tax),
    )
