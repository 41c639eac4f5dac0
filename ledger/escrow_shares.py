"""
Who is entitled to what of an order's escrow, and how its slices follow the order's money.

A slice is one seller's part of the order. Its shares follow from the live content less what was
granted back; what it holds follows from the tenders. Both are integers in the order's currency.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from .escrow_recovery import brought, given_back
from .events import Event
from .freezes import frozen_against
from .money import allocate, cumulative_part
from .order_content import Beneficiary, Funder, ShippingCharge
from .order_escrow import Escrowed
from .order_events import FundsHeld, FundsReturned, RefundSource
from .order_lines import LineState
from .order_refunds import Grant
from .orders import ENDED, EVOLVE, OrderState

OVERFLOW: Final = ""
"""The slice of what was captured beyond every seller's share; it is never released."""

NOTHING: Final[Mapping[str, int]] = MappingProxyType({})

PartKey = tuple[str, str]
"""Beneficiary and target of a part of a release."""


class Share(msgspec.Struct, frozen=True):
    """
    What one slice is entitled to: ``buyer`` from the buyer and ``promo`` from the platform, which
    together are ``items`` for the seller (before commission) and ``parts`` for others.
    """

    slice_id: str
    buyer: int
    promo: int
    items: int
    parts: Mapping[PartKey, int]

    @property
    def total(self) -> int:
        """Σ of the share."""
        return self.buyer + self.promo


class OfRefund(msgspec.Struct, frozen=True):
    """The refund for which money moves, and the slices it leaves, as far as they have it."""

    refund_id: str = ""
    slices: Mapping[str, int] = NOTHING


NO_REFUND: Final = OfRefund()


class _Building:
    """A share while it is summed up."""

    def __init__(self) -> None:
        self.promo = 0
        self.items = 0
        self.parts: dict[PartKey, int] = {}

    def add(self, kind: Beneficiary, target: str, amount: int) -> None:
        if amount:
            key = (kind.value, target)
            self.parts[key] = self.parts.get(key, 0) + amount


def shares_of(order: OrderState) -> dict[str, Share]:
    """
    Return the share of every seller of the order, by seller.

    Without grants they sum to the grand total plus the platform's discounts.
    """
    if order.lifecycle in ENDED:
        return {}
    building: dict[str, _Building] = {}
    for line in order.lines.values():
        _add_line(building.setdefault(line.line.seller, _Building()), line)
    _add_shipping(building, order)
    for fee in order.surcharges:
        building.setdefault(fee.seller, _Building()).items += fee.amount
    for tip in order.tips:
        building.setdefault(tip.seller, _Building()).add(Beneficiary.TIP, tip.seller, tip.amount)
    _add_adjustments(building, order)
    return {seller: _share(seller, one) for seller, one in building.items()}


def _share(seller: str, one: _Building) -> Share:
    total = one.items + sum(one.parts.values())
    promo = min(one.promo, total)
    return Share(seller, total - promo, promo, one.items, one.parts)


def _add_line(one: _Building, line: LineState) -> None:
    live = line.line
    platform = live.platform_discount
    if platform and line.granted_quantity:
        refunded = min(line.granted_quantity, live.quantity)
        platform -= cumulative_part(platform, live.quantity, 0, refunded)
    one.promo += platform
    one.items += live.net - line.granted_net + platform
    left = live.tax_total - line.granted_tax
    if left > 0:
        amounts = allocate(left, [tax.amount for tax in live.tax])
        for tax, amount in zip(live.tax, amounts, strict=True):
            one.add(Beneficiary.TAX, tax.jurisdiction, amount)


def _add_shipping(building: dict[str, _Building], order: OrderState) -> None:
    granted = sum([grant.shipping for grant in order.grants.values() if grant.is_live])
    for charge in order.shipping:
        back = min(granted, charge.charged)
        granted -= back
        _add_charge(building.setdefault(charge.seller, _Building()), charge, back)


def _add_charge(one: _Building, charge: ShippingCharge, back: int) -> None:
    if charge.charged == back:
        return
    included = sum([tax.amount for tax in charge.tax if tax.included])
    weights = [charge.amount - included, *[tax.amount for tax in charge.tax]]
    amounts = allocate(charge.charged - back, weights)
    if charge.carrier:
        one.add(Beneficiary.CARRIER, charge.carrier, amounts[0])
    else:
        one.add(Beneficiary.SELLER_SHIPPING, charge.seller, amounts[0])
    for tax, amount in zip(charge.tax, amounts[1:], strict=True):
        one.add(Beneficiary.TAX, tax.jurisdiction, amount)


def _add_adjustments(building: dict[str, _Building], order: OrderState) -> None:
    """Sellers bear the adjustments of grants (a restocking fee is theirs), not goodwill's."""
    for grant in order.grants.values():
        if not (grant.is_live and grant.lowers_due and grant.adjustment):
            continue
        if grant.source is RefundSource.GOODWILL:
            continue
        sellers = sellers_of(order, grant) or list(building)
        weights = [max(0, building[seller].items) for seller in sellers if seller in building]
        if not any(weights):
            weights = [1] * len(weights)
        if not weights:
            continue
        parts = allocate(grant.adjustment, weights)
        for seller, part in zip(sellers, parts, strict=False):
            building[seller].items = max(0, building[seller].items - part)


def sellers_of(order: OrderState, grant: Grant) -> list[str]:
    """Return the sellers of a grant's lines, each once, in the order of the lines."""
    found: dict[str, None] = {}
    for part in grant.lines:
        line = order.lines.get(part.line_id)
        if line is not None:
            found[line.line.seller] = None
    return list(found)


def shippers_of(order: OrderState, grant: Grant) -> list[str]:
    """
    Return the sellers of the shipping that a grant gives back, each once.

    Grants take the charges in their order, as ``shares_of`` does.
    """
    start = 0
    for other in order.grants.values():
        if other.refund_id == grant.refund_id:
            break
        start += other.shipping if other.is_live else 0
    end = start + grant.shipping
    found: dict[str, None] = {}
    reached = 0
    for charge in order.shipping:
        if reached < end and reached + charge.charged > start:
            found[charge.seller] = None
        reached += charge.charged
    return list(found)


def follow(
    order: OrderState,
    tender_id: str,
    now: Escrowed,
    currency: str = "",
    of: OfRefund = NO_REFUND,
) -> tuple[Event, ...]:
    """
    Return the events that bring the slices to what a tender holds in escrow now.

    ``now`` is captured less what refunds took from escrow, in the order's currency, and in
    ``currency`` too if the tender is in another one. ``of`` names the refund that changed it, if
    one did. No event if nothing changed.
    """
    refund_id = of.refund_id
    before = order.escrowed.get(tender_id) or Escrowed()
    moved = now.amount - before.amount
    paid = now.paid_amount - before.paid_amount
    if moved > 0 or paid > 0:
        parts = _spread_held(order, moved, refund_id) or _worthless(order)
        return tuple(
            [
                FundsHeld(
                    slice_id=slice_id,
                    amount=amount,
                    payment_id=tender_id,
                    paid_amount=paid if index == 0 else 0,
                    paid_currency=currency,
                    refund_id=refund_id,
                )
                for index, (slice_id, amount) in enumerate(parts)
            ]
        )
    if moved < 0 or paid < 0:
        parts = _spread_returned(order, -moved, of) or _worthless(order)
        return tuple(
            [
                FundsReturned(
                    slice_id=slice_id,
                    amount=amount,
                    cause="tender",
                    refund_id=refund_id,
                    payment_id=tender_id,
                    paid_amount=-paid if index == 0 else 0,
                    paid_currency=currency,
                )
                for index, (slice_id, amount) in enumerate(parts)
            ]
        )
    return ()


def _worthless(order: OrderState) -> list[tuple[str, int]]:
    """
    Return the slice that names money worth less than half a minor unit of the order's currency.

    It is exchanged all the same: else it would stay in escrow in a currency no release pays.
    """
    return [(min(shares_of(order), default=OVERFLOW), 0)]


def _spread_held(order: OrderState, amount: int, refund_id: str) -> list[tuple[str, int]]:
    """
    Give each slice its part of what it still lacks; the rest goes to the overflow slice.

    What comes back from a refund that failed goes to the slices it was taken from.
    """
    taken: dict[str, int] = {}
    lacking: dict[str, int] = {}
    if refund_id:
        for slice_id, one in order.slices.items():
            taken[slice_id] = max(0, one.refunds.get(refund_id, 0))
    for slice_id, share in shares_of(order).items():
        one = order.slice_of(slice_id)
        lacking[slice_id] = max(0, share.buyer - brought(order, one))
    first = min(amount, sum(taken.values()))
    second = min(amount - first, sum(lacking.values()))
    parts = dict(_spread(first, taken))
    for slice_id, part in _spread(second, lacking):
        parts[slice_id] = parts.get(slice_id, 0) + part
    if amount > first + second:
        parts[OVERFLOW] = parts.get(OVERFLOW, 0) + amount - first - second
    return list(parts.items())


def _spread_returned(order: OrderState, amount: int, of: OfRefund) -> list[tuple[str, int]]:
    """
    Take what the refund wants, then what slices hold beyond their share, then what they hold at
    all, and what is frozen only where nothing else is left.
    """
    shares = shares_of(order)
    named: dict[str, int] = {}
    beyond: dict[str, int] = {}
    holding: dict[str, int] = {}
    frozen: dict[str, int] = {}
    for slice_id, one in order.slices.items():
        share = shares.get(slice_id)
        free = max(0, min(one.available, one.buyer_money))
        named[slice_id] = min(free, of.slices.get(slice_id, 0))
        free -= named[slice_id]
        barred = frozen_against(order.freezes, one, of.refund_id)
        loose = max(0, min(free, one.available - named[slice_id] - barred))
        excess = brought(order, one) - named[slice_id] - (share.buyer if share is not None else 0)
        beyond[slice_id] = max(0, min(excess, loose))
        holding[slice_id] = loose - beyond[slice_id]
        frozen[slice_id] = free - loose
    parts: dict[str, int] = {}
    left = amount
    for weights in (named, beyond, holding, frozen):
        within = min(left, sum(weights.values()))
        left -= within
        for slice_id, part in _spread(within, weights):
            parts[slice_id] = parts.get(slice_id, 0) + part
    if left:
        # Only a report of the provider can take more than is there; the slice shows it as debt.
        parts[OVERFLOW] = parts.get(OVERFLOW, 0) + left
    return list(parts.items())


def _spread(amount: int, weights: Mapping[str, int]) -> list[tuple[str, int]]:
    if amount == 0:
        return []
    if len(weights) == 1:
        return [(slice_id, amount) for slice_id in weights]
    by_id = sorted(weights)
    parts = allocate(amount, [weights[slice_id] for slice_id in by_id])
    return [(slice_id, part) for slice_id, part in zip(by_id, parts, strict=True) if part]


def has_coupons(order: OrderState) -> bool:
    """Tell whether the platform funds any discount of the order, or did."""
    for line in order.lines.values():
        for discount in line.line.discounts:
            if discount.funded_by is Funder.PLATFORM:
                return True
    return any(one.promo for one in order.slices.values())


def follow_coupons(order: OrderState) -> tuple[Event, ...]:
    """
    Return the events that bring each slice's coupon money to its part of the buyer's.

    The platform pays its coupon in as the buyer's money comes in, and gets it back as that goes.
    """
    events: list[Event] = []
    shares = shares_of(order)
    for slice_id in sorted({*shares, *order.slices} - {OVERFLOW}):
        share = shares.get(slice_id)
        one = order.slice_of(slice_id)
        kept = one.coupon_money - given_back(order, one).promo
        moved = _coupon_target(share, brought(order, one)) - kept
        if moved > 0:
            events.append(FundsHeld(slice_id=slice_id, amount=0, promo=moved))
        elif moved < 0:
            back = min(-moved, one.unfrozen)
            if back:
                events.append(
                    FundsReturned(slice_id=slice_id, amount=0, cause="coupon", promo=back)
                )
    return tuple(events)


def _coupon_target(share: Share | None, buyer_money: int) -> int:
    if share is None or share.promo == 0:
        return 0
    if share.buyer == 0:
        return share.promo
    reached = max(0, min(buyer_money, share.buyer))
    return cumulative_part(share.promo, share.buyer, 0, reached)


def applied(order: OrderState, events: tuple[Event, ...]) -> OrderState:
    """Return the order after events."""
    for event in events:
        order = EVOLVE[type(event)](order, event)
    return order
