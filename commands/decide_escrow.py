"""
Decisions on an order's escrow: hold what was captured, and release a seller's slice.
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from orderledger.ledger import recipes_order
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
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

from . import order_guards as guards
from .decision import Change, Changes, States, decides
from .escrow_follow import follow_all
from .order_commands import ConversionTerms, HoldFunds, MeetReleaseCondition, ReleaseFunds

_RELEASABLE = frozenset({Lifecycle.CONFIRMED, Lifecycle.COMPLETED})


@decides(HoldFunds)
def hold_funds(command: HoldFunds, states: States, now: datetime) -> Changes:
    """Bring the slices to what the tenders hold in escrow; nothing to do is no event."""
    order = guards.existing(states, command.order_id)
    return follow_all(order, states)


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

    Raises NOT_FOUND, NOT_YET_DUE before the condition is met, AMOUNT_EXCEEDS_AVAILABLE beyond what
    the slice holds and is entitled to (also when that is nothing).
    """
    _check_release(command)
    order = guards.existing(states, command.order_id)
    if command.release_id in order.release_ids:
        return ()
    guards.require(order, "release escrow", _RELEASABLE)
    share = _share_of(order, command.seller)
    held = follow_all(order, states)
    current = _after(order, held)
    one = current.slices.get(command.seller) or Slice(command.seller)
    if not one.condition_met:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"the release condition of {command.seller} in order {order.order_id} is not met",
            order_id=order.order_id,
            seller=command.seller,
        )
    items, parts = remaining_of(share, one)
    left = min(one.available, items + sum(parts.values()))
    wanted = left if command.amount is None else command.amount
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
    event = _release(command, order, wanted, items, parts)
    entry = recipes_order.released(order.order_id, event, order.currency)
    return (*held, guards.change(order.order_id, event, entry))


def _check_release(command: ReleaseFunds) -> None:
    guards.check_id("release_id", command.release_id)
    guards.check_id("seller", command.seller)
    guards.check_rate("commission_rate", command.commission_rate)
    guards.check_rate("commission_tax_rate", command.commission_tax_rate)
    if command.amount is not None:
        guards.check_amount("amount", command.amount)
    if command.commission_tax_rate:
        guards.check_id("commission_tax_jurisdiction", command.commission_tax_jurisdiction)
    terms = command.conversion
    if terms is not None:
        exponent(terms.currency)
        rate = terms.rate
        if type(rate) is not Decimal or not rate.is_finite() or rate <= 0:
            raise InvalidCommand(
                f"rate {rate!r} of the conversion must be a positive decimal", rate=repr(rate)
            )


def _after(order: OrderState, changes: tuple[Change, ...]) -> OrderState:
    for one in changes:
        order = EVOLVE[type(one.event)](order, one.event)
    return order


def remaining_of(share: Share, one: Slice) -> tuple[int, dict[PartKey, int]]:
    """Return items and parts of a share that were not released yet, none below zero."""
    items = max(0, share.items - one.released_items)
    parts = {
        key: amount - one.released_parts.get(key, 0)
        for key, amount in share.parts.items()
        if amount > one.released_parts.get(key, 0)
    }
    return items, parts


def _release(
    command: ReleaseFunds,
    order: OrderState,
    amount: int,
    items: int,
    parts: dict[PartKey, int],
) -> FundsReleased:
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
    scale = Fraction(10) ** (exponent(terms.currency) - exponent(currency))
    rate = Fraction(terms.rate) * scale
    return Conversion(
        terms.currency,
        terms.rate,
        base + freight,
        round(rate * (base + freight)),
        round(rate * commission.amount),
        round(rate * commission.tax),
    )
