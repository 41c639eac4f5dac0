"""
Who bears a refund: the order's escrow as long as it holds the money, then those it went to.

This is the rule of recipes 10 and 11. Where a caller names the bearers, they are checked against
what each of them has had of the order and has not given back.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from orderledger.ledger import accounts
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.escrow_recovery import brought
from orderledger.ledger.escrow_shares import OVERFLOW, Share, sellers_of, shares_of
from orderledger.ledger.money import allocate, cumulative_part
from orderledger.ledger.order_content import Beneficiary
from orderledger.ledger.order_escrow import Slice, recovered_of
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import FundingPart, scaled

_ACCOUNT_OF: Final = {
    Beneficiary.SELLER_SHIPPING.value: accounts.seller,
    Beneficiary.CARRIER.value: accounts.shipping,
    Beneficiary.TAX.value: accounts.tax,
    Beneficiary.TIP.value: accounts.tips,
}
_OF_SELLER: Final = ("liabilities:seller:", "liabilities:tips:", "liabilities:rolling_reserve:")
_LIMITED: Final = ("liabilities:tax:", "liabilities:shipping:", "liabilities:tips:")
BEARERS: Final = (
    *_OF_SELLER,
    "liabilities:tax:",
    "liabilities:shipping:",
    "liabilities:dispute_reserve:",
)
"""Beginnings of the accounts that may bear a refund after the release."""
PLATFORM: Final = (accounts.COMMISSION_REFUNDED, accounts.GOODWILL, accounts.PROMO)


class Funding(msgspec.Struct, frozen=True):
    """
    Who bears a refund. ``parts`` sum to it; ``slices`` divides what escrow bears among the slices.

    Both in the order's currency.
    """

    parts: tuple[FundingPart, ...]
    slices: Mapping[str, int]

    @property
    def from_escrow(self) -> int:
        return sum(self.slices.values())


def funding_of(order: OrderState, grant: Grant, amount: int) -> tuple[FundingPart, ...]:
    """Return who bears ``amount`` of a grant, in the order's currency; the parts sum to it."""
    return funded_by(order, grant, amount).parts


def funded_by(order: OrderState, grant: Grant, amount: int) -> Funding:
    """
    Return who bears ``amount`` of a grant.

    Goodwill is the platform's. Otherwise the slices of the grant's sellers pay what they hold
    beyond what is still due to them; the rest comes back from those they were released to, each
    what it got for the goods, so that commission, tax and coupon go back in full with a full
    refund. An order that was not paid in full may need what the slices hold besides, then what
    they were released besides. Last comes the first seller's debt; raises Rejected
    AMOUNT_EXCEEDS_AVAILABLE if no seller got anything.
    """
    if grant.source is RefundSource.GOODWILL and not (grant.lines or grant.shipping):
        return Funding((FundingPart(accounts.GOODWILL, amount),), {})
    sellers = bearing_sellers(order, grant)
    beyond, holding = _in_escrow(order, grant, sellers)
    slices: dict[str, int] = {}
    left = _take(slices, beyond, amount)
    parts: list[FundingPart] = []
    if left:
        excess = _excess(order, sellers)
        left = _recover(parts, excess, left)
        left = _take(slices, holding, left)
        left = _recover(parts, _besides(order, sellers, excess), left)
    left = _take_from_others(order, grant, slices, left)
    if left:
        parts.append(_debt(order, grant, sellers, left))
    held = sum(slices.values())
    escrow = (FundingPart(accounts.escrow(order.order_id), held),) if held else ()
    return Funding((*escrow, *_merged(parts)), slices)


def _take_from_others(order: OrderState, grant: Grant, slices: dict[str, int], amount: int) -> int:
    """
    Take from the slices of other sellers what the grant's lack; return what these lack too.

    Only while none of the grant's sellers was paid: what a buyer paid of an order in part stands
    for all of it, and the next payment fills what is lacking.
    """
    sellers = bearing_sellers(order, grant)
    if amount == 0 or any(one in order.slices and order.slices[one].released for one in sellers):
        return amount
    others = [one for one in _all_sellers(order) if one not in sellers]
    beyond, holding = _in_escrow(order, grant, others)
    beyond.pop(OVERFLOW, None)
    return _take(slices, holding, _take(slices, beyond, amount))


def _debt(order: OrderState, grant: Grant, sellers: list[str], amount: int) -> FundingPart:
    """Return what a seller who was paid comes to owe; raises if none was: escrow lacks it."""
    for seller in sellers:
        if seller in order.slices and order.slices[seller].released:
            return FundingPart(accounts.seller(seller), amount, seller)
    raise Rejected(
        Reason.AMOUNT_EXCEEDS_AVAILABLE,
        f"the escrow of order {order.order_id} lacks {amount} {order.currency} minor units of "
        f"refund {grant.refund_id}, and nothing was released; name who bears it",
        order_id=order.order_id,
        refund_id=grant.refund_id,
        lacks=amount,
    )


def bearing_sellers(order: OrderState, grant: Grant) -> list[str]:
    """Return the sellers whose slices bear a grant: those of its lines, or all of the order."""
    return sellers_of(order, grant) or _all_sellers(order)


def _all_sellers(order: OrderState) -> list[str]:
    found = {line.line.seller: None for line in order.lines.values()}
    found.update({slice_id: None for slice_id in sorted(order.slices) if slice_id != OVERFLOW})
    return list(found)


def _take(slices: dict[str, int], from_: Mapping[str, int], amount: int) -> int:
    """Take an amount from slices in proportion to what they have; return what they lack."""
    within = min(amount, sum(from_.values()))
    if within:
        parts = allocate(within, list(from_.values()))
        for slice_id, part in zip(from_, parts, strict=True):
            if part:
                slices[slice_id] = slices.get(slice_id, 0) + part
    return amount - within


def _recover(parts: list[FundingPart], had: tuple[FundingPart, ...], amount: int) -> int:
    """Take an amount from accounts in proportion to what they had; return what they lack."""
    within = max(0, min(amount, sum([part.amount for part in had])))
    if within:
        parts.extend(scaled(had, within))
    return amount - within


def _in_escrow(
    order: OrderState, grant: Grant | None, sellers: list[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return what may go back out of slices: beyond what is due to sellers, and what is due."""
    shares = shares_of(order)
    beyond: dict[str, int] = {}
    holding: dict[str, int] = {}
    for seller in sellers:
        one = order.slices.get(seller)
        if one is None:
            continue
        free = max(0, min(one.available, one.buyer_money))
        if one.released and one.coupon_money > 0:
            # Part of what is left is the coupon's, which follows the buyer's money out.
            free = min(
                free, one.available * one.buyer_money // (one.buyer_money + one.coupon_money)
            )
        share = shares.get(seller)
        excess = brought(order, one) - (share.buyer if share is not None else 0)
        beyond[seller] = max(0, min(excess, free))
        holding[seller] = free - beyond[seller]
    over = order.slices.get(OVERFLOW)
    if over is not None:
        promised = 0
        if grant is None or grant.lowers_due:
            # What was paid beyond the order goes back by the grants of the surplus.
            others = [one.outstanding for one in order.grants.values() if not one.lowers_due]
            promised = sum(others)
        beyond[OVERFLOW] = max(0, over.available - promised)
    return beyond, holding


def _excess(order: OrderState, sellers: list[str]) -> tuple[FundingPart, ...]:
    """Return what each account was released for these sellers beyond what is due to it now."""
    shares = shares_of(order)
    parts: list[FundingPart] = []
    for seller in sellers:
        one = order.slices.get(seller)
        if one is None or not one.released:
            continue
        had = _released(one)
        due = _due(one, shares.get(seller))
        given = recovered_of(order.recovered, seller)
        found = [
            FundingPart(
                account, max(0, amount - due.get(account, 0) - given.get(account, 0)), seller
            )
            for account, amount in had.items()
        ]
        coupon = _coupon_excess(one, shares.get(seller)) + given.get(accounts.PROMO, 0)
        coupon = min(coupon, sum([part.amount for part in found]))
        parts.extend([part for part in found if part.amount])
        if coupon > 0:
            parts.append(FundingPart(accounts.PROMO, -coupon, seller))
    return tuple(parts)


def _besides(
    order: OrderState, sellers: list[str], excess: tuple[FundingPart, ...]
) -> tuple[FundingPart, ...]:
    """Return what accounts were released for these sellers and have besides the excess."""
    taken = {(part.slice_id, part.account): part.amount for part in excess}
    parts: list[FundingPart] = []
    for seller in sellers:
        one = order.slices.get(seller)
        if one is None or not one.released:
            continue
        given = recovered_of(order.recovered, seller)
        for account, amount in _released(one).items():
            left = amount - given.get(account, 0) - taken.get((seller, account), 0)
            if left > 0:
                parts.append(FundingPart(account, left, seller))
    return tuple(parts)


def _released(one: Slice) -> dict[str, int]:
    """Return what each account got of a slice."""
    seller = accounts.seller(one.slice_id)
    had = {seller: one.released_items - one.commission}
    if one.commission:
        had[accounts.COMMISSION_REFUNDED] = one.commission
    for (kind, target), amount in one.released_parts.items():
        account = _ACCOUNT_OF[kind](target)
        had[account] = had.get(account, 0) + amount
    return had


def _due(one: Slice, share: Share | None) -> dict[str, int]:
    """Return how much of what was released is due to each account as the order is now."""
    if share is None:
        return {}
    items = max(0, min(share.items, one.released_items))
    commission = cumulative_part(one.commission, one.released_items, 0, items) if items else 0
    due = {accounts.seller(one.slice_id): items - commission}
    due[accounts.COMMISSION_REFUNDED] = commission
    for (kind, target), amount in one.released_parts.items():
        account = _ACCOUNT_OF[kind](target)
        due[account] = due.get(account, 0) + min(amount, share.parts.get((kind, target), 0))
    return due


def _coupon_excess(one: Slice, share: Share | None) -> int:
    """Return what the platform paid into a slice beyond the coupons of what is live."""
    in_escrow = max(0, min(one.available, one.coupon_money))
    return max(0, one.coupon_money - in_escrow - (share.promo if share is not None else 0))


def _merged(parts: list[FundingPart]) -> tuple[FundingPart, ...]:
    found: dict[tuple[str, str], int] = {}
    for part in parts:
        key = (part.account, part.slice_id)
        found[key] = found.get(key, 0) + part.amount
    return tuple([FundingPart(account, amount, one) for (account, one), amount in found.items()])


# -- funding that a caller names -----------------------------------------------------------------


def check_parts(order_id: str, what: str, funding: tuple[FundingPart, ...]) -> None:
    """Raise InvalidCommand unless parts are positive, distinct and of accounts that may bear."""
    own = accounts.escrow(order_id)
    seen: set[tuple[str, str]] = set()
    for part in funding:
        account = accounts.check(part.account)
        is_allowed = account == own or account in PLATFORM or account.startswith(BEARERS)
        is_amount = type(part.amount) is int and part.amount > 0
        if not is_allowed or not is_amount or (account, part.slice_id) in seen:
            raise InvalidCommand(
                f"{account} cannot bear {part.amount} of {what}: each account at most once, with "
                f"a positive amount, and it must be {own}, one of {PLATFORM} or begin with one of "
                f"{BEARERS}",
                account=account,
                amount=part.amount,
                what=what,
            )
        seen.add((account, part.slice_id))


def given_funding(order: OrderState, grant: Grant, given: tuple[FundingPart, ...]) -> Funding:
    """
    Return the funding that a caller named, by slices; ``given`` is in the order's currency.

    Raises Rejected: WRONG_STATE for those who got nothing yet, or have no part in the grant;
    AMOUNT_EXCEEDS_AVAILABLE beyond what escrow holds for the grant, or what the platform, tax and
    others got for the grant's sellers and still have. Sellers may come to owe.
    """
    own = accounts.escrow(order.order_id)
    sellers = bearing_sellers(order, grant)
    parts: list[FundingPart] = []
    slices: dict[str, int] = {}
    for part in given:
        account = part.account
        if account == own:
            beyond, holding = _in_escrow(order, grant, sellers)
            lacks = _take(slices, holding, _take(slices, beyond, part.amount))
            lacks = _take_from_others(order, grant, slices, lacks)
            if lacks:
                raise _too_much(order, grant, part, part.amount - lacks)
            parts.append(FundingPart(own, part.amount))
        elif account in (accounts.GOODWILL, accounts.PROMO):
            parts.append(FundingPart(account, part.amount))
        else:
            parts.extend(_borne_by(order, grant, part, sellers))
    return Funding(_merged(parts), slices)


def undone_from_escrow(order: OrderState, amount: int) -> Funding:
    """
    Return the funding of what leaves escrow without a refund: a tender undone, value bought.

    Raises Rejected AMOUNT_EXCEEDS_AVAILABLE if escrow lacks it.
    """
    slices: dict[str, int] = {}
    beyond, holding = _in_escrow(order, None, _all_sellers(order))
    lacks = _take(slices, holding, _take(slices, beyond, amount))
    if lacks:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"the escrow of order {order.order_id} holds {amount - lacks} {order.currency} minor "
            f"units of the buyer's, not {amount}; grant a refund",
            order_id=order.order_id,
            amount=amount,
            available=amount - lacks,
        )
    return Funding((FundingPart(accounts.escrow(order.order_id), amount),), slices)


def _borne_by(
    order: OrderState, grant: Grant, part: FundingPart, sellers: list[str]
) -> list[FundingPart]:
    """Return the part by slices of the sellers for whom the account got something."""
    released = [one for one in sellers if one in order.slices and order.slices[one].released]
    if part.slice_id:
        released = [one for one in released if one == part.slice_id]
    if part.account.startswith(_OF_SELLER):
        released = [one for one in released if part.account in [f"{of}{one}" for of in _OF_SELLER]]
    if not released:
        raise Rejected(
            Reason.WRONG_STATE,
            f"nothing of order {order.order_id} was released that {part.account} could give back "
            f"for refund {grant.refund_id}",
            order_id=order.order_id,
            refund_id=grant.refund_id,
            account=part.account,
        )
    has: dict[str, int] = {}
    for seller in released:
        had = _released(order.slices[seller]).get(part.account, 0)
        given = recovered_of(order.recovered, seller).get(part.account, 0)
        has[seller] = max(0, had - given)
    available = sum(has.values())
    if part.account == accounts.COMMISSION_REFUNDED or part.account.startswith(_LIMITED):
        if part.amount > available:
            raise _too_much(order, grant, part, available)
    elif len(released) == 1 or not available:
        return [FundingPart(part.account, part.amount, released[0])]
    amounts = allocate(part.amount, list(has.values()))
    return [
        FundingPart(part.account, amount, seller)
        for seller, amount in zip(has, amounts, strict=True)
        if amount
    ]


def _too_much(order: OrderState, grant: Grant, part: FundingPart, available: int) -> Rejected:
    return Rejected(
        Reason.AMOUNT_EXCEEDS_AVAILABLE,
        f"{part.account} can bear {available} {order.currency} minor units of refund "
        f"{grant.refund_id} of order {order.order_id}, not {part.amount}",
        order_id=order.order_id,
        refund_id=grant.refund_id,
        account=part.account,
        amount=part.amount,
        available=available,
    )
