"""
Moving money between slices of one order: what one holds beyond its share fills what others lack.

Slices follow the tenders and the grants one by one, and each step takes what is there then. A line
that is cancelled while the order is paid in part, a freeze that left one seller to bear another's
part of a refund, money that came in after a refund was granted: each can leave a slice with money
that no release pays and no refund takes. Nothing leaves escrow or enters it, so nothing is posted.
"""

from typing import Final

from .escrow_recovery import brought
from .escrow_shares import shares_of
from .events import Event
from .order_escrow import COUPONS
from .order_events import FundsHeld, FundsReturned
from .orders import OrderState

CAUSE: Final = "evened"
"""Cause of the returns of a slice whose money goes on to another slice."""


def evened(order: OrderState) -> tuple[Event, ...]:
    """
    Return the events that bring slices nearer to their shares; () if none lacks what another has.

    What is frozen stays, and what grants that are not settled may still take. Each part keeps the
    tender that brought it.
    """
    lacking = _lacking(order)
    excess = _excess(order)
    promised = sum(
        [one.outstanding for one in order.grants.values() if one.is_live and one.lowers_due]
    )
    left = min(sum(lacking.values()), sum(excess.values()) - promised)
    events: list[Event] = []
    for source in sorted(excess):
        room = min(left, excess[source])
        left -= room
        for tender_id, minor in order.slices[source].inflow.items():
            part = min(room, minor) if tender_id != COUPONS else 0
            if part > 0:
                room -= part
                events.append(
                    FundsReturned(slice_id=source, amount=part, cause=CAUSE, payment_id=tender_id)
                )
                events.extend(_given(lacking, tender_id, part))
    return tuple(events)


def _lacking(order: OrderState) -> dict[str, int]:
    """Return what slices lack of their shares, by slice."""
    found: dict[str, int] = {}
    for slice_id, share in shares_of(order).items():
        lacks = share.buyer - brought(order, order.slice_of(slice_id))
        if lacks > 0:
            found[slice_id] = lacks
    return found


def _excess(order: OrderState) -> dict[str, int]:
    """Return what slices hold of the buyer's money beyond their shares and free, by slice."""
    shares = shares_of(order)
    found: dict[str, int] = {}
    for slice_id, one in order.slices.items():
        share = shares.get(slice_id)
        over = brought(order, one) - (share.buyer if share is not None else 0)
        tenders = sum([minor for key, minor in one.inflow.items() if key != COUPONS])
        free = min(over, one.unfrozen, tenders)
        if free > 0:
            found[slice_id] = free
    return found


def _given(lacking: dict[str, int], tender_id: str, amount: int) -> list[Event]:
    """Give an amount to those who lack it, in the order of their ids; ``lacking`` is lowered."""
    events: list[Event] = []
    for slice_id in sorted(lacking):
        part = min(amount, lacking[slice_id])
        if part:
            lacking[slice_id] -= part
            amount -= part
            events.append(FundsHeld(slice_id=slice_id, amount=part, payment_id=tender_id))
    return events
