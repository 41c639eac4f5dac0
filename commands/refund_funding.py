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
from orderledger.ledger.escrow_recovery import brought, given_back, of_seller
from orderledger.ledger.escrow_shares import (
    NOTHING,
    OVERFLOW,
    PartKey,
    Share,
    sellers_of,
    shares_of,
    shippers_of,
)
from orderledger.ledger.freezes import Freeze, frozen_against, frozen_for, of_refund
from orderledger.ledger.money import allocate
from orderledger.ledger.order_escrow import Slice
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import Component, FundingPart, Recovery, divided
from orderledger.ledger.release_recovery import Releases, items_of

from .ruling_reserve import from_reserve

_OF_SELLER: Final = ("liabilities:seller:", "liabilities:tips:")
_LIMITED: Final = ("liabilities:tax:", "liabilities:shipping:", "liabilities:tips:")
BEARERS: Final = (
    *_OF_SELLER,
    "liabilities:tax:",
    "liabilities:shipping:",
)
"""
Beginnings of the accounts that may bear a refund after the release. A dispute's reserve bears only
what its own ruling grants. A seller's rolling reserve bears none, for the seller's stream counts
what is in it: give it back early (``ReleaseReserve``), and let the seller bear the refund.
"""
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
    """
    Return who bears ``amount`` of a grant, in the order's currency; the parts sum to it.

    Each account once for each slice, as a caller may name them.
    """
    found: dict[tuple[str, str], int] = {}
    for part in funded_by(order, grant, amount).parts:
        key = (part.account, part.slice_id)
        found[key] = found.get(key, 0) + part.amount
    return tuple([FundingPart(account, minor, one) for (account, one), minor in found.items()])


def funded_by(order: OrderState, grant: Grant, amount: int, tender_id: str = "") -> Funding:
    """
    Return who bears ``amount`` of a grant that goes back to a tender.

    Goodwill is the platform's. Otherwise each of the grant's sellers bears its own part: its slice
    pays what it holds beyond what is still due to it; the rest comes back from those it was
    released to, each what it got for the goods, so that commission, its tax, tax and coupon go back
    in full with a full refund; ``release_recovery`` says of which release, and at which rate. An
    order that was not paid in full may need what the slices hold besides, then what they were
    released besides. Last comes the first seller's debt; raises Rejected AMOUNT_EXCEEDS_AVAILABLE
    if no seller got anything. What is frozen bears only the refund of its own ruling; raises
    Rejected FUNDS_FROZEN if the rest does not suffice. For a ruling's refund the seller's part
    comes out of what is frozen in escrow, then of the dispute's reserve as far as it has it, and
    what nobody has the seller comes to owe, or the platform bears it as goodwill, as the ruling's
    execution said.
    """
    if grant.source is RefundSource.GOODWILL and not (grant.lines or grant.shipping):
        return Funding((FundingPart(accounts.GOODWILL, amount),), {})
    sellers = bearing_sellers(order, grant)
    ruled = of_refund(order.freezes, grant.refund_id)
    if ruled is not None:
        return _ruled(order, grant, ruled, amount, tender_id)
    beyond, holding = _in_escrow(order, grant, sellers)
    slices: dict[str, int] = {}
    parts: list[FundingPart] = []
    released = _Released(order, sellers, tender_id)
    left = amount
    for seller, wanted in _own_parts(order, beyond, amount).items():
        own = _drawn(slices, beyond, wanted, seller)
        own = released.take_excess(parts, own, seller)
        own = _drawn(slices, holding, own, seller)
        own = released.take_besides(parts, own, seller)
        # Else what is frozen of one seller's would be paid out of another's.
        check_not_frozen(order, [seller], own)
        left -= wanted - own
    left = _drawn(slices, beyond, left)
    if left:
        left = released.take_excess(parts, left)
        left = _drawn(slices, holding, left)
        left = released.take_besides(parts, left)
    if left:
        check_not_frozen(order, sellers, left)
    left = _take_from_others(order, grant, slices, left)
    if left:
        parts.append(_debt(order, grant, released, left))
    return _funding(order, slices, parts)


def _funding(order: OrderState, slices: dict[str, int], parts: list[FundingPart]) -> Funding:
    held = sum(slices.values())
    escrow = (FundingPart(accounts.escrow(order.order_id), held),) if held else ()
    return Funding((*escrow, *_merged(parts)), slices)


def _ruled(order: OrderState, grant: Grant, freeze: Freeze, amount: int, tender_id: str) -> Funding:
    """
    Return who bears a ruling's refund: what it froze in escrow, what the seller was released, the
    reserve first, what escrow holds besides; the rest is a debt, or goodwill.
    """
    slices: dict[str, int] = {}
    own = frozen_for(order.freezes, order.slices, grant.refund_id)
    # A freeze keeps the coupon's money too, which goes back to the platform.
    own = {key: min(minor, _free(order.slices[key])) for key, minor in own.items()}
    left = _take(slices, own, amount)
    released = _Released(order, [freeze.slice_id], tender_id)
    parts: list[FundingPart] = []
    left = released.take_excess(parts, left)
    beyond, holding = _in_escrow(order, grant, [freeze.slice_id], slices)
    beyond.pop(OVERFLOW, None)
    left = _take(slices, holding, _take(slices, beyond, left))
    left = released.take_besides(parts, left)
    if left and freeze.is_goodwill:
        parts.append(FundingPart(accounts.GOODWILL, left))
    elif left:
        parts.append(Releases(order, freeze.slice_id).debt(left, order.currency))
    return _funding(order, slices, from_reserve(freeze, order.currency, parts))


def _own_parts(order: OrderState, beyond: Mapping[str, int], amount: int) -> Mapping[str, int]:
    """
    Divide an amount among several sellers by what each got beyond what is still due to it.

    Without this the money that one seller is owed would pay for another one's goods where that one
    was paid out already, and what the other lacks would be found only at its own release.
    """
    if len(beyond) < 2:
        return {}
    shares = shares_of(order)
    excess: dict[str, int] = {}
    for seller, minor in beyond.items():
        share = shares.get(seller)
        due = share.buyer if share is not None else 0
        is_sellers = seller != OVERFLOW
        excess[seller] = max(0, brought(order, order.slices[seller]) - due) if is_sellers else minor
    within = min(amount, sum(excess.values()))
    if not within:
        return {}
    return dict(zip(excess, allocate(within, list(excess.values())), strict=True))


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


def _debt(order: OrderState, grant: Grant, released: "_Released", amount: int) -> FundingPart:
    """Return what a seller who was paid comes to owe; raises if none was: escrow lacks it."""
    for one in released.by_seller.values():
        return one.debt(amount, order.currency)
    raise Rejected(
        Reason.AMOUNT_EXCEEDS_AVAILABLE,
        f"the escrow of order {order.order_id} lacks {amount} {order.currency} minor units of "
        f"refund {grant.refund_id}, and nothing was released; name who bears it",
        order_id=order.order_id,
        refund_id=grant.refund_id,
        lacks=amount,
    )


def check_not_frozen(order: OrderState, sellers: list[str], lacks: int) -> None:
    """Raise Rejected FUNDS_FROZEN if an amount is lacking while sellers' slices are frozen."""
    slices = [order.slices[seller] for seller in sellers if seller in order.slices]
    total = sum([one.frozen_total for one in slices])
    if lacks > 0 and total:
        held = [one.slice_id for one in slices if one.frozen]
        freezes = sorted({key for one in slices for key in one.frozen})
        raise Rejected(
            Reason.FUNDS_FROZEN,
            f"order {order.order_id} lacks {lacks} {order.currency} minor units: {total} of "
            f"{', '.join(held)} are frozen by {', '.join(freezes)}; wait for the decision, or lift "
            "the freeze",
            order_id=order.order_id,
            lacks=lacks,
            frozen=total,
            freezes=freezes,
        )


def bearing_sellers(order: OrderState, grant: Grant) -> list[str]:
    """
    Return the sellers whose slices bear a grant: those of its lines and of its shipping.

    All of the order where it has neither, or an amount beside its shipping that is nobody's.
    """
    found = dict.fromkeys(sellers_of(order, grant))
    if not found and grant.adjustment:
        return _all_sellers(order)
    found.update(dict.fromkeys(shippers_of(order, grant)))
    return list(found) or _all_sellers(order)


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


def _drawn(
    slices: dict[str, int], from_: dict[str, int], amount: int, only: str | None = None
) -> int:
    """Take an amount as ``_take`` does, of all slices or of ``only`` one, and remember it."""
    having = dict(from_) if only is None else {only: from_.get(only, 0)}
    taken: dict[str, int] = {}
    lacks = _take(taken, having, amount)
    for slice_id, part in taken.items():
        from_[slice_id] -= part
        slices[slice_id] = slices.get(slice_id, 0) + part
    return lacks


def _in_escrow(
    order: OrderState,
    grant: Grant | None,
    sellers: list[str],
    taken: Mapping[str, int] = NOTHING,
) -> tuple[dict[str, int], dict[str, int]]:
    """
    Return what may go back out of slices: beyond what is due to sellers, and what is due.

    Less what is frozen, and what was ``taken`` already.
    """
    shares = shares_of(order)
    beyond: dict[str, int] = {}
    holding: dict[str, int] = {}
    for seller in sellers:
        one = order.slices.get(seller)
        if one is None:
            continue
        refund_id = grant.refund_id if grant is not None else ""
        gone = taken.get(seller, 0)
        loose = one.available - frozen_against(order.freezes, one, refund_id)
        free = max(0, min(_free(one), loose) - gone)
        share = shares.get(seller)
        excess = brought(order, one) - gone - (share.buyer if share is not None else 0)
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


class _Released:
    """What was released for some sellers and did not come back, while a refund is divided."""

    def __init__(self, order: OrderState, sellers: list[str], tender_id: str) -> None:
        self.order: Final = order
        self.shares: Final = shares_of(order)
        self.by_seller: Final = {
            seller: Releases(order, seller, tender_id)
            for seller in sellers
            if seller in order.slices and order.slices[seller].released
        }

    def take_excess(self, parts: list[FundingPart], amount: int, only: str | None = None) -> int:
        """
        Take what sellers, or ``only`` one, got beyond what is due to them now.

        Returns what is lacking.
        """
        wanted: list[tuple[str, PartKey, int]] = []
        for seller, releases in self._of(only):
            one, share = self.order.slices[seller], self.shares.get(seller)
            due = _due(one, share)
            found = {key: left - due.get(key, 0) for key, left in releases.left().items()}
            wanted.extend([(seller, key, left) for key, left in found.items() if left > 0])
            coupon = _coupon_excess(one, share) - given_back(self.order, one).promo
            coupon = min(coupon, sum([left for left in found.values() if left > 0]))
            if coupon > 0:
                wanted.append((seller, _COUPON, -coupon))
        return self._take(parts, wanted, amount)

    def _of(self, only: str | None) -> list[tuple[str, Releases]]:
        return [(key, one) for key, one in self.by_seller.items() if only in (None, key)]

    def take_besides(self, parts: list[FundingPart], amount: int, only: str | None = None) -> int:
        """Take what sellers, or ``only`` one, have left at all; return what they lack."""
        wanted = [
            (seller, key, left)
            for seller, releases in self._of(only)
            for key, left in releases.left().items()
        ]
        return self._take(parts, wanted, amount)

    def _take(
        self, parts: list[FundingPart], wanted: list[tuple[str, PartKey, int]], amount: int
    ) -> int:
        whole = [left for _, _, left in wanted]
        within = max(0, min(amount, sum(whole)))
        if within:
            for (seller, key, _), minor in zip(wanted, divided(whole, within), strict=True):
                if key == _COUPON:
                    recovery = Recovery(Component.COUPON)
                    parts.append(FundingPart(accounts.PROMO, minor, seller, recovery))
                else:
                    parts.extend(self.by_seller[seller].take(key, minor))
        return amount - within


_COUPON: Final[PartKey] = (Component.COUPON.value, "")


def _due(one: Slice, share: Share | None) -> dict[PartKey, int]:
    """Return how much of what was released is due as the order is now, by component and target."""
    if share is None:
        return {}
    due = {key: min(got, share.parts.get(key, 0)) for key, got in one.released_parts.items()}
    due[items_of(one.slice_id)] = max(0, min(share.items, one.released_items))
    return due


def _free(one: Slice) -> int:
    """Return what of a slice is the buyer's; the rest is the coupon's, which follows it out."""
    free = max(0, min(one.available, one.buyer_money))
    if one.released and one.coupon_money > 0:
        whole = one.buyer_money + one.coupon_money
        free = min(free, one.available * one.buyer_money // whole)
    return free


def _coupon_excess(one: Slice, share: Share | None) -> int:
    """Return what the platform paid into a slice beyond the coupons of what is live."""
    in_escrow = max(0, min(one.available - _free(one), one.coupon_money))
    return max(0, one.coupon_money - in_escrow - (share.promo if share is not None else 0))


def _merged(parts: list[FundingPart]) -> tuple[FundingPart, ...]:
    """Join the parts of one account for one release and component."""
    found: dict[tuple[str, str, str, str], FundingPart] = {}
    for part in parts:
        one = part.recovery
        component, release_id = (one.component.value, one.release_id) if one else ("", "")
        key = (part.account, part.slice_id, component, release_id)
        before = found.get(key)
        found[key] = part if before is None else _joined(before, part)
    return tuple([part for part in found.values() if part.amount or part.recovery])


def _joined(before: FundingPart, part: FundingPart) -> FundingPart:
    one = part.recovery
    if one is not None and before.recovery is not None:
        one = msgspec.structs.replace(one, amount=one.amount + before.recovery.amount)
    return FundingPart(part.account, before.amount + part.amount, part.slice_id, one)


def exchanged(part: FundingPart, amount: int, currency: str) -> FundingPart:
    """Return a part in the payment's currency; its account is debited as it was credited."""
    one = part.recovery
    if one is not None:
        one = msgspec.structs.replace(one, order_amount=part.amount)
        if not one.currency and one.component is not Component.OTHER:
            one = msgspec.structs.replace(one, amount=part.amount, currency=currency)
    return FundingPart(part.account, amount, part.slice_id, one)


# -- funding that a caller names -----------------------------------------------------------------


def check_parts(order_id: str, what: str, funding: tuple[FundingPart, ...]) -> None:
    """Raise InvalidCommand unless parts are positive, distinct and of accounts that may bear."""
    own = accounts.escrow(order_id)
    seen: set[tuple[str, str]] = set()
    for part in funding:
        account = accounts.check(part.account)
        is_allowed = account == own or account in PLATFORM or account.startswith(BEARERS)
        is_amount = type(part.amount) is int and part.amount > 0
        is_plain = part.recovery is None and (account, part.slice_id) not in seen
        if not is_allowed or not is_amount or not is_plain:
            raise InvalidCommand(
                f"{account} cannot bear {part.amount} of {what}: each account at most once, with "
                f"a positive amount and without a recovery, and it must be {own}, one of "
                f"{PLATFORM} or begin with one of {BEARERS}",
                account=account,
                amount=part.amount,
                what=what,
            )
        seen.add((account, part.slice_id))


def given_funding(
    order: OrderState, grant: Grant, given: tuple[FundingPart, ...], tender_id: str = ""
) -> Funding:
    """
    Return the funding that a caller named, by slices; ``given`` is in the order's currency.

    Raises Rejected: WRONG_STATE for those who got nothing yet, or have no part in the grant, and
    for a refund whose ruling says who bears it;
    AMOUNT_EXCEEDS_AVAILABLE beyond what escrow holds for the grant, or what the platform, tax and
    others got for the grant's sellers and still have. Sellers may come to owe.
    """
    if of_refund(order.freezes, grant.refund_id) is not None:
        raise Rejected(
            Reason.WRONG_STATE,
            f"refund {grant.refund_id} of order {order.order_id} was awarded by a ruling, which "
            "says who bears it; name no funding",
            order_id=order.order_id,
            refund_id=grant.refund_id,
        )
    own = accounts.escrow(order.order_id)
    sellers = bearing_sellers(order, grant)
    released = _Released(order, sellers, tender_id)
    parts: list[FundingPart] = []
    slices: dict[str, int] = {}
    # Commission first: what comes back of it tells how much of a seller's part is of the items.
    for part in sorted(given, key=lambda one: one.account != accounts.COMMISSION_REFUNDED):
        account = part.account
        if account == own:
            lacks = _take_own(order, grant, slices, part.amount)
            check_not_frozen(order, sellers, lacks)
            lacks = _take_from_others(order, grant, slices, lacks)
            if lacks:
                raise _too_much(order, grant, part, part.amount - lacks)
            parts.append(FundingPart(own, part.amount))
        elif account in (accounts.GOODWILL, accounts.PROMO):
            parts.append(FundingPart(account, part.amount))
        else:
            parts.extend(_borne_by(order, grant, part, released, parts))
    return Funding(_merged(parts), slices)


def _take_own(order: OrderState, grant: Grant, slices: dict[str, int], amount: int) -> int:
    """
    Take an amount from the slices of a grant's sellers, of each its own part first; return what
    they lack. Raises FUNDS_FROZEN if one's own part is frozen.
    """
    beyond, holding = _in_escrow(order, grant, bearing_sellers(order, grant), slices)
    left = amount
    for seller, wanted in _own_parts(order, beyond, amount).items():
        own = _drawn(slices, holding, _drawn(slices, beyond, wanted, seller), seller)
        check_not_frozen(order, [seller], own)
        left -= wanted - own
    return _drawn(slices, holding, _drawn(slices, beyond, left))


def undone_from_escrow(order: OrderState, amount: int) -> Funding:
    """
    Return the funding of what leaves escrow without a refund: a tender undone, value bought.

    Raises Rejected AMOUNT_EXCEEDS_AVAILABLE if escrow lacks it.
    """
    slices: dict[str, int] = {}
    beyond, holding = _in_escrow(order, None, _all_sellers(order))
    lacks = _take(slices, holding, _take(slices, beyond, amount))
    check_not_frozen(order, _all_sellers(order), lacks)
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
    order: OrderState,
    grant: Grant,
    part: FundingPart,
    released: _Released,
    others: list[FundingPart],
) -> list[FundingPart]:
    """Return the part by slices of the sellers for whom the account got something."""
    account = part.account
    found = released.by_seller
    if part.slice_id:
        found = {key: one for key, one in found.items() if key == part.slice_id}
    if account.startswith(_OF_SELLER):
        found = {
            key: one for key, one in found.items() if account in [f"{of}{key}" for of in _OF_SELLER]
        }
    if not found:
        raise Rejected(
            Reason.WRONG_STATE,
            f"nothing of order {order.order_id} was released that {account} could give back "
            f"for refund {grant.refund_id}",
            order_id=order.order_id,
            refund_id=grant.refund_id,
            account=account,
        )
    has = {seller: one.left_of(account) for seller, one in found.items()}
    available = sum(has.values())
    amounts = [part.amount]
    if account == accounts.COMMISSION_REFUNDED or account.startswith(_LIMITED):
        if part.amount > available:
            raise _too_much(order, grant, part, available)
        amounts = list(allocate(part.amount, list(has.values())))
    elif len(found) > 1 and available:
        amounts = list(allocate(part.amount, list(has.values())))
    parts: list[FundingPart] = []
    for releases, amount in zip(found.values(), amounts, strict=False):
        if amount:
            parts.extend(_taken_of(order, releases, account, amount, others))
    return parts


def _taken_of(
    order: OrderState, releases: Releases, account: str, amount: int, others: list[FundingPart]
) -> list[FundingPart]:
    """Return what an account gives back of one slice; a seller comes to owe what it lacks."""
    slice_id = releases.slice_id
    if account != accounts.seller(slice_id):
        return releases.take_of(account, amount, tuple(Component))
    commission = sum(
        [
            part.amount
            for part in others
            if part.account == accounts.COMMISSION_REFUNDED and part.slice_id == slice_id
        ]
    )
    items, freight = of_seller(order.slices[slice_id], amount + commission, commission)
    parts = releases.take_of(account, freight, (Component.SELLER_SHIPPING,))
    parts.extend(releases.take_of(account, items - commission, (Component.ITEMS,)))
    left = amount - sum([part.amount for part in parts])
    parts.extend(releases.take_of(account, left, (Component.ITEMS, Component.SELLER_SHIPPING)))
    left = amount - sum([part.amount for part in parts])
    if left:
        parts.append(releases.debt(left, order.currency))
    return parts


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
