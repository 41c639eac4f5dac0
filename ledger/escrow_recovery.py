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
from .order_escrow import Slice, recovered_of
from .order_events import RefundSource
from .order_refunds import Grant
from .orders import OrderState

_PREFIXES = {
    accounts.tax("x").removesuffix("x"): Beneficiary.TAX,
    accounts.shipping("x").removesuffix("x"): Beneficiary.CARRIER,
    accounts.tips("x").removesuffix("x"): Beneficiary.TIP,
}


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
    counted = {key: parts for key, parts in order.recovered.items() if key[1] not in goodwill}
    amounts = recovered_of(counted, one.slice_id)
    if not amounts:
        return GivenBack()
    promo = -amounts.pop(accounts.PROMO, 0)
    commission = amounts.get(accounts.COMMISSION_REFUNDED, 0)
    parts: dict[tuple[str, str], int] = {}
    sellers = 0
    for account, amount in amounts.items():
        kind = next((kind for start, kind in _PREFIXES.items() if account.startswith(start)), None)
        if kind is None:
            sellers += amount
        else:
            key = (kind.value, account.rpartition(":")[2])
            parts[key] = parts.get(key, 0) + amount
    buyer = sum(amounts.values()) - promo
    items, freight = _of_seller(one, sellers, commission)
    if freight:
        parts[Beneficiary.SELLER_SHIPPING.value, one.slice_id] = freight
    return GivenBack(buyer, promo, items, parts)


def _of_seller(one: Slice, amount: int, commission: int) -> tuple[int, int]:
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
