"""
Freezing a seller's part of an order, and lifting that: in escrow, and what was released of it.

Pure functions on the order, for whatever decides to freeze: a command, a dispute, a chargeback.
"""

from collections.abc import Mapping

from orderledger.ledger import recipes_freeze
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_events import FundsFrozen, FundsUnfrozen, ReservePart
from orderledger.ledger.freezes import Freeze
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import Component, FundingPart
from orderledger.ledger.release_recovery import Releases
from orderledger.ledger.ruling_events import FreezeSettled

from .decision import Changes
from .escrow_follow import coupons_followed
from .order_guards import change
from .refund_funding import funded_by
from .ruling_reserve import beyond, by_currency, needed_by

_OF_SELLER = (Component.ITEMS, Component.SELLER_SHIPPING)


def freeze(order: OrderState, freeze_id: str, seller: str, amount: int, cause: str) -> Changes:
    """
    Freeze ``amount`` (minor units of the order's currency, > 0) of a seller's part of an order.

    First what the slice holds and no other freeze has, then what the seller got of its releases,
    did not give back and is in no other reserve (recipe 15), at the rate of the release where it
    was converted. What is not there is the event's ``shortfall``. Nothing refuses it but
    OPERATION_ALREADY_USED for a known id with other terms; the same terms again are no event.
    """
    known = order.freezes.get((freeze_id, seller))
    if known is not None:
        if (known.amount, known.cause) == (amount, cause):
            return ()
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"freeze {freeze_id} of order {order.order_id} froze {known.amount} of {seller} for "
            f"{known.cause!r}; use a new id",
            order_id=order.order_id,
            freeze_id=freeze_id,
            seller=seller,
            amount=known.amount,
        )
    one = order.slice_of(seller)
    escrowed = min(amount, one.unfrozen)
    reserve = _reservable(order, seller, amount - escrowed)
    reserved = sum([part.amount for part in reserve])
    event = FundsFrozen(
        freeze_id=freeze_id,
        slice_id=seller,
        amount=amount,
        escrowed=escrowed,
        reserved=reserved,
        shortfall=amount - escrowed - reserved,
        cause=cause,
        reserve=reserve,
    )
    return (change(order.order_id, event, recipes_freeze.seller_share_frozen(event)),)


def _reservable(order: OrderState, seller: str, amount: int) -> tuple[ReservePart, ...]:
    """Return up to ``amount`` of what a seller got and still has, as it was credited."""
    releases = Releases(order, seller)
    others = sum([one.in_reserve for one in order.freezes.values() if one.slice_id == seller])
    found: list[FundingPart] = []
    for release in releases.ones:
        for pot in release.pots:
            if pot.component not in _OF_SELLER:
                continue
            # The oldest money counts as what is in other reserves already.
            elsewhere = max(0, min(others, pot.left))
            others -= elsewhere
            release.take_of(pot, elsewhere)
            part = max(0, min(amount, pot.left))
            amount -= part
            found.extend(release.take_of(pot, part))
    return tuple([part for part in by_currency(found, order.currency).values() if part.minor])


def unfreeze(order: OrderState, freeze_id: str, cause: str = "") -> Changes:
    """
    Lift a freeze, in every slice: escrow is free again, and the reserve goes back to the seller.

    A freeze that was lifted already is no event; raises Rejected NOT_FOUND for an unknown one.
    """
    known = [one for (found_id, _), one in order.freezes.items() if found_id == freeze_id]
    if not known:
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {order.order_id} has no freeze {freeze_id}",
            order_id=order.order_id,
            freeze_id=freeze_id,
        )
    return given_up(order, *[lifting(order, one, cause) for one in known if not one.is_lifted])


def given_up(order: OrderState, *events: FundsUnfrozen | FreezeSettled) -> Changes:
    """Return the changes of events by which freezes give money up, and of the coupons with it."""
    changes = [
        change(order.order_id, event, recipes_freeze.seller_share_unfrozen(event))
        for event in events
    ]
    return coupons_followed(order, tuple(changes))


def lifting(order: OrderState, one: Freeze, cause: str) -> FundsUnfrozen:
    """
    Return the event that lifts all that is left of a freeze, but for what the refund that a ruling
    promised may still draw.
    """
    held = order.slice_of(one.slice_id)
    frozen = held.frozen.get(one.freeze_id, 0)
    return FundsUnfrozen(
        freeze_id=one.freeze_id,
        slice_id=one.slice_id,
        escrowed=frozen - min(frozen, undrawn(order, one)),
        reserve=beyond(one.reserve, needed_for_refund(order, one)),
        cause=cause,
    )


def undrawn(order: OrderState, one: Freeze) -> int:
    """Return what a refund may still draw of the freeze that its ruling made for it."""
    grant = order.grants.get(one.refund_id)
    if grant is None or not grant.is_live or grant.outstanding == 0:
        return 0
    held = order.slice_of(one.slice_id)
    return max(0, one.promised - held.refunds.get(one.refund_id, 0))


def needed_for_refund(order: OrderState, one: Freeze) -> Mapping[str, ReservePart]:
    """Return what the refund that may draw on a freeze needs of its reserve."""
    amount = undrawn(order, one)
    grant = order.grants.get(one.refund_id)
    if grant is None or amount == 0:
        return {}
    parts = funded_by(order, grant, min(amount, grant.outstanding)).parts
    return needed_by(one, order.currency, parts)


def settled_freezes(order: OrderState) -> Changes:
    """
    Return the changes that give up what lifted freezes kept for a refund that needs it no more.

    For deciders that settle a refund: the reserve of a dispute is empty once its refund reached
    the buyer, however the refund's parts were rounded.
    """
    events: list[FreezeSettled] = []
    for one in order.freezes.values():
        held = order.slice_of(one.slice_id)
        frozen = held.frozen.get(one.freeze_id, 0)
        if not one.is_lifted or not (frozen or one.reserve) or undrawn(order, one):
            continue
        events.append(
            FreezeSettled(
                freeze_id=one.freeze_id,
                slice_id=one.slice_id,
                escrowed=frozen,
                reserve=tuple(one.reserve.values()),
            )
        )
    return given_up(order, *events)
