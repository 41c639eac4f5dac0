"""
What refunds took of an order's slices besides what left escrow for them.

After a release a refund is borne by those it was released to; the money never passes escrow
again, but it no longer counts as what the buyer brought, nor as what they got.
"""

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from . import accounts
from .order_content import Beneficiary
from .order_escrow import Slice
from .order_events import RefundSource
from .order_refunds import Grant
from .orders import OrderState
from .payment_operations import Component, FundingPart

_PREFIXES = {
    accounts.tax("x").removesuffix("x"): Beneficiary.TAX,
    accounts.shipping("x").removesuffix("x"): Beneficiary.CARRIER,
    accounts.tips("x").removesuffix("x"): Beneficiary.TIP,
}


_OF_ITEMS = frozenset(
    {Component.ITEMS, Component.COMMISSION, Component.COMMISSION_TAX, Component.DEBT}
)


class GivenBack(msgspec.Struct, frozen=True):
    """
    What was given back of one slice's release, in minor units.

    ``buyer`` went to the buyer, ``promo`` to the platform; together they came out of ``items``
    (before commission) and ``parts``.
    """

    buyer: int = 0
    promo: int = 0
    items: int = 0
    parts: Mapping[tuple[str, str], int] = {}


def given_back(order: OrderState, one: Slice) -> GivenBack:
    """Return what those a slice was released to gave back for refunds that lowered its share."""
    if not order.recovered:
        return GivenBack()
    goodwill = {
        op_id
        for grant in order.grants.values()
        if _is_goodwill(grant)
        for op_id in grant.settled_ops
    }
    promo = buyer = items = 0
    parts: dict[tuple[str, str], int] = {}
    unnamed: dict[str, int] = {}
    for (_, op_id), found in order.recovered.items():
        if op_id in goodwill:
            continue
        for part in found:
            if part.slice_id != one.slice_id:
                continue
            if part.account == accounts.PROMO:
                promo -= part.amount
            else:
                buyer += part.amount
            if part.recovery is None or part.recovery.component is Component.OTHER:
                unnamed[part.account] = unnamed.get(part.account, 0) + part.amount
            elif part.recovery.component in _OF_ITEMS:
                items += part.amount
            elif part.recovery.component is not Component.COUPON:
                key = _key(part.recovery.component, part)
                parts[key] = parts.get(key, 0) + part.amount
    return _with_unnamed(GivenBack(buyer - promo, promo, items, parts), one, unnamed)


def _key(component: Component, part: FundingPart) -> tuple[str, str]:
    is_freight = component is Component.SELLER_SHIPPING
    return (component.value, part.slice_id if is_freight else part.account.rpartition(":")[2])


def _with_unnamed(named: GivenBack, one: Slice, amounts: dict[str, int]) -> GivenBack:
    """Add what was given back without saying of what: the account tells."""
    amounts.pop(accounts.PROMO, 0)
    if not amounts:
        return named
    commission = amounts.get(accounts.COMMISSION_REFUNDED, 0)
    parts = dict(named.parts)
    sellers = 0
    for account, amount in amounts.items():
        kind = next((kind for start, kind in _PREFIXES.items() if account.startswith(start)), None)
        if kind is None:
            sellers += amount
        else:
            key = (kind.value, account.rpartition(":")[2])
            parts[key] = parts.get(key, 0) + amount
    items, freight = of_seller(one, sellers, commission)
    if freight:
        key = (Beneficiary.SELLER_SHIPPING.value, one.slice_id)
        parts[key] = parts.get(key, 0) + freight
    return GivenBack(named.buyer, named.promo, named.items + items, parts)


def of_seller(one: Slice, amount: int, commission: int) -> tuple[int, int]:
    """Divide what the seller and the commission gave back into items and seller's shipping."""
    key = (Beneficiary.SELLER_SHIPPING.value, one.slice_id)
    freight = one.released_parts.get(key, 0)
    if not freight:
        return amount, 0
    items = min(amount, one.released_items)
    if one.commission:
        # Commission is on items alone, so what came back of it tells how many of them did.
        share = round(Fraction(one.released_items * commission, one.commission))
        items = max(amount - freight, min(items, share))
    return items, amount - items


def _is_goodwill(grant: Grant) -> bool:
    """Tell whether a grant lowers no seller's share."""
    return grant.source is RefundSource.GOODWILL and not (grant.lines or grant.shipping)


def brought(order: OrderState, one: Slice) -> int:
    """
    Return what counts of the buyer's money towards the slice's share, released or not.

    Goodwill that escrow paid counts as if it were still there: it lowered what the slice gets,
    and money that comes in for other parts of the order does not make up for it.
    """
    goodwill = 0
    for refund_id, amount in one.refunds.items():
        grant = order.grants.get(refund_id)
        if grant is not None and _is_goodwill(grant):
            goodwill += amount
    return one.buyer_money + goodwill - given_back(order, one).buyer
