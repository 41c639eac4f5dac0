"""
Which deadlines a stream has open, by its kind: one pure function from a state to its deadlines.

A kind of stream plugs in by one line in ``DEADLINES_OF``. Some deadlines depend on when they began,
which a state does not keep: they say how long to wait, and become due by the instant of the event
that opened them (``resolved``), on the world's clock.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec

from . import disputes, payment_deadlines, sellers
from .deadlines import Deadline
from .fulfilments import FulfilmentLifecycle, FulfilmentState
from .instants import LATEST
from .order_disputes import open_disputes
from .orders import Lifecycle, OrderState
from .payment_operations import JANITOR, Operation, OperationKind, OperationStatus
from .payment_state import PaymentState
from .payouts import PayoutState
from .returns import ReturnLifecycle, ReturnState
from .stored_value import StoredValueState

PAYMENT_DUE: Final = "payment_due"
RELEASE: Final = "release"
COMPLETION: Final = "completion"
AUTHORISATION_EXPIRY: Final = "authorisation_expiry"
AUTHORISATION_ALERT: Final = "authorisation_alert"
QUERY: Final = "query"
AUTO_CONFIRM: Final = "auto_confirm"
RETURN_WINDOW: Final = "return_window"
LOT_EXPIRY: Final = "lot_expiry"

ALERT_PERCENT: Final = 80
"""Share of an authorisation's life after which it is called to mind, if money is left on it."""
_MICROSECOND: Final = timedelta(microseconds=1)


class After(msgspec.Struct, frozen=True):
    """A deadline that comes ``wait`` after it was opened."""

    deadline_id: str
    kind: str
    wait: timedelta


class Portion(msgspec.Struct, frozen=True):
    """A deadline that comes when ``percent`` of the time from its opening to ``end_at`` is over."""

    deadline_id: str
    kind: str
    end_at: datetime
    percent: int


Open = Deadline | After | Portion


def resolved(found: Open, opened_at: datetime) -> Deadline:
    """Return a deadline with its instant, given when the event occurred that opened it."""
    if isinstance(found, Deadline):
        return found
    if isinstance(found, After):
        wait = min(found.wait, LATEST - opened_at)
        return Deadline(found.deadline_id, found.kind, opened_at + wait)
    life = max(found.end_at - opened_at, timedelta(0))
    return Deadline(
        found.deadline_id, found.kind, min(opened_at, found.end_at) + life * found.percent // 100
    )


def _hours(wait: int) -> timedelta:
    return timedelta(hours=wait)


def of_order(state: OrderState) -> Sequence[Open]:
    """
    Payment until it is due; release of each seller's slice; completion.

    A disputed order neither expires nor is completed.
    """
    found: list[Open] = []
    is_disputed = bool(open_disputes(state.disputes))
    is_waiting = state.lifecycle is Lifecycle.PLACED and not is_disputed
    if is_waiting and state.payment_due_at is not None:
        due_at = state.payment_due_at
        found.append(Deadline(f"{PAYMENT_DUE}/{due_at.isoformat()}", PAYMENT_DUE, due_at))
    if state.lifecycle is not Lifecycle.CONFIRMED:
        return found
    waiting: dict[str, int] = {}
    moved = 0
    for line in state.lines.values():
        seller = line.line.seller
        is_open = not line.is_settled or line.return_requested > line.returned
        moved += line.delivered + line.returned + line.lost + line.written_off
        waiting[seller] = waiting.get(seller, 0) + is_open
    for seller, open_lines in waiting.items():
        one = state.slices.get(seller)
        if not open_lines and one is not None and one.available > 0 and not one.condition_met:
            found.append(After(f"{RELEASE}/{seller}", RELEASE, _hours(state.terms.release_hours)))
    is_free = not state.escrow_held and not is_disputed
    if moved and is_free and not any(waiting.values()):
        found.append(
            After(f"{COMPLETION}/{moved}", COMPLETION, _hours(state.terms.completion_hours))
        )
    return found


def of_payment(state: PaymentState) -> Sequence[Open]:
    """
    Expiry of each authorisation, and before it an alert; the next query of each operation; the end
    of each chargeback's defence.
    """
    found: list[Open] = [*payment_deadlines.deadlines_of(state)]
    for op in state.operations.values():
        waits = JANITOR.get(op.status, ())
        if op.queries < len(waits) and not op.matched_by:
            # What was seen is part of the id: a status that comes back is asked about anew.
            asked = f"{op.op_id}/{op.status.value}/{op.queries}.{len(op.seen)}"
            found.append(After(f"{QUERY}/{asked}", QUERY, waits[op.queries]))
        found += _of_authorisation(state, op)
    return found


def _of_authorisation(state: PaymentState, op: Operation) -> Sequence[Open]:
    if op.kind is not OperationKind.AUTHORISE or op.status is not OperationStatus.SUCCEEDED:
        return ()
    one = state.authorisations.get(op.op_id)
    if op.expires_at is None or one is None or not one.is_open or not one.remainder:
        return ()
    place = f"{op.op_id}/{op.expires_at.isoformat()}"
    expiry = Deadline(f"{AUTHORISATION_EXPIRY}/{place}", AUTHORISATION_EXPIRY, op.expires_at)
    alert = f"{AUTHORISATION_ALERT}/{place}"
    if alert in state.alerted:
        return (expiry,)
    return (expiry, Portion(alert, AUTHORISATION_ALERT, op.expires_at, ALERT_PERCENT))


def of_payout(state: PayoutState) -> Sequence[Open]:
    """The next query of a payout that the bank works on, or of which nobody knows."""
    if state.queries >= len(state.waits):
        return ()
    deadline_id = f"{QUERY}/{state.status.value}/{state.doubts}.{state.queries}"
    return (After(deadline_id, QUERY, state.waits[state.queries]),)


def of_fulfilment(state: FulfilmentState) -> Sequence[Open]:
    """Confirmation of the delivery by silence."""
    hours = {
        FulfilmentLifecycle.DELIVERED: state.confirm_delivered_hours,
        FulfilmentLifecycle.SHIPPED: state.confirm_dispatched_hours,
    }.get(state.lifecycle)
    if hours is None or state.confirmed or not state.order_id:
        return ()
    return (After(f"{AUTO_CONFIRM}/{state.lifecycle.value}", AUTO_CONFIRM, _hours(hours)),)


_RETURNING: Final = frozenset(
    {
        ReturnLifecycle.REQUESTED,
        ReturnLifecycle.MANUAL_REVIEW,
        ReturnLifecycle.APPROVED,
        ReturnLifecycle.IN_TRANSIT,
    }
)


def of_return(state: ReturnState) -> Sequence[Open]:
    """The end of the window in which the units may come back; its last instant still counts."""
    if state.lifecycle not in _RETURNING or state.window_until is None:
        return ()
    if state.window_until > LATEST - _MICROSECOND:
        return ()
    until = state.window_until + _MICROSECOND
    return (Deadline(f"{RETURN_WINDOW}/{until.isoformat()}", RETURN_WINDOW, until),)


def of_stored_value(state: StoredValueState) -> Sequence[Open]:
    """The expiry of each lot that has something left."""
    return [
        Deadline(f"{LOT_EXPIRY}/{lot.lot_id}/{len(state.restores)}", LOT_EXPIRY, lot.expires_at)
        for lot in state.lots.values()
        if lot.expires_at is not None and lot.remaining > 0
    ]


DEADLINES_OF: Final[Mapping[str, Callable[[Any], Sequence[Open]]]] = MappingProxyType(
    {
        "order": of_order,
        "payment": of_payment,
        "fulfilment": of_fulfilment,
        "return": of_return,
        "storedvalue": of_stored_value,
        "dispute": disputes.deadlines_of,
        "seller": sellers.deadlines_of,
        "payout": of_payout,
    }
)
"""The open deadlines of a state, by the kind of its stream."""


def is_open(kind: str, state: Any, deadline_id: str) -> bool:
    """Tell whether a stream's state still has a deadline."""
    return any(one.deadline_id == deadline_id for one in DEADLINES_OF[kind](state))
