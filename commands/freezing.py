"""
Freezing a seller's part of an order, and lifting that: in escrow, and what was released of it.

Pure functions on the order, for whatever decides to freeze: a command, a dispute, a chargeback.
"""

from orderledger.ledger import recipes_freeze
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_events import FundsFrozen, FundsUnfrozen, ReservePart
from orderledger.ledger.freezes import Freeze
from orderledger.ledger.order_escrow import Slice
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import Component
from orderledger.ledger.release_recovery import Releases

from .decision import Changes
from .order_guards import change

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
    one = order.slices.get(seller) or Slice(seller)
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
    found: dict[str, ReservePart] = {}
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
            for taken in release.take_of(pot, part):
                terms = taken.recovery
                is_converted = terms is not None and terms.currency
                code = terms.currency if terms and is_converted else order.currency
                minor = terms.amount if terms and is_converted else taken.amount
                before = found.get(code) or ReservePart(code, 0, 0)
                found[code] = ReservePart(code, before.minor + minor, before.amount + part)
    return tuple([part for part in found.values() if part.minor])


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
    changes: list[FundsUnfrozen] = [
        lifting(order, one, cause) for one in known if not one.is_lifted
    ]
    return tuple(
        [
            change(order.order_id, event, recipes_freeze.seller_share_unfrozen(event))
            for event in changes
        ]
    )


def lifting(order: OrderState, one: Freeze, cause: str) -> FundsUnfrozen:
    """Return the event that lifts all that is left of a freeze."""
    held = order.slices.get(one.slice_id) or Slice(one.slice_id)
    return FundsUnfrozen(
        freeze_id=one.freeze_id,
        slice_id=one.slice_id,
        escrowed=held.frozen.get(one.freeze_id, 0),
        reserve=tuple(one.reserve.values()),
        cause=cause,
    )
