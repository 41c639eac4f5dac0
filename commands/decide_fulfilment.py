"""
Decisions on fulfilments. Whatever moves units says so on the order's stream in the same append, so
that the order alone can guard its counters.

Reports by carriers are never refused: what contradicts the state is recorded, with an anomaly in
the stream that it contradicts (real order data has deliveries of cancelled orders, parcels handed
over before approval, and deliveries before the hand-over).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from orderledger.ledger import limits, streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised, spelled
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.fulfilment_events import (
    Delivered,
    DeliveryAutoConfirmed,
    DeliveryConfirmedByBuyer,
    DeliveryFailed,
    DeliveryFailure,
    FulfilmentCancelled,
    FulfilmentCreated,
    ShipmentDispatched,
    TrackingUpdated,
)
from orderledger.ledger.fulfilments import TRANSITIONS, FulfilmentState
from orderledger.ledger.order_events import MovedLine, MoveKind, OrderLinesMoved
from orderledger.ledger.orders import Lifecycle

from .decision import Change, Changes, States, decides
from .fulfilment_commands import (
    AutoConfirmDelivery,
    CancelFulfilment,
    ConfirmDelivery,
    CreateFulfilment,
    DispatchFulfilment,
    OfFulfilment,
    RecordDelivered,
    RecordDeliveryFailed,
    RecordDispatched,
    RecordTracking,
)
from .order_guards import check_quantity, check_unique, existing, too_many, unknown_line

APPROVED: Final = frozenset({Lifecycle.CONFIRMED, Lifecycle.CANCELLING, Lifecycle.COMPLETED})
"""Lifecycles in which a parcel on its way is no surprise by itself."""
OVER: Final = frozenset({Lifecycle.CANCELLED, Lifecycle.EXPIRED, Lifecycle.REJECTED})


@decides(CreateFulfilment)
def create(command: CreateFulfilment, states: States, now: datetime) -> Changes:
    """Set units aside; raises if the order is not confirmed or has not that many units left."""
    check_lines(command.lines, "fulfilment lines", required=True)
    order = existing(states, command.order_id)
    state = states.fulfilment(command.fulfilment_id)
    event = FulfilmentCreated(
        fulfilment_id=command.fulfilment_id,
        order_id=command.order_id,
        lines=command.lines,
        location=command.location,
        digital=command.digital,
        confirm_delivered_hours=order.terms.confirm_delivered_hours,
        confirm_dispatched_hours=order.terms.confirm_dispatched_hours,
    )
    if state.exists:
        if _is_same(state, event):
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"fulfilment {command.fulfilment_id} of order {state.order_id} exists with other "
            "content; use a new fulfilment id",
            fulfilment_id=command.fulfilment_id,
            order_id=state.order_id,
        )
    if order.lifecycle is not Lifecycle.CONFIRMED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {command.order_id} is {order.lifecycle.value}; only a confirmed order is "
            "fulfilled",
            order_id=command.order_id,
            lifecycle=order.lifecycle.value,
        )
    for moved in command.lines:
        line = order.lines.get(moved.line_id)
        if line is None:
            raise unknown_line(order, moved.line_id)
        if line.allocatable < moved.quantity:
            raise too_many(order, moved.line_id, moved.quantity, line.allocatable, "set aside")
    stream = streams.fulfilment(command.fulfilment_id)
    order_stream = streams.order(command.order_id)

    def move(kind: MoveKind) -> Change:
        return Change(order_stream, OrderLinesMoved(kind=kind, cause=stream, lines=command.lines))

    changes = [Change(stream, event), move(MoveKind.ALLOCATED)]
    if command.digital:
        granted = Delivered(
            fulfilment_id=command.fulfilment_id,
            order_id=command.order_id,
            lines=command.lines,
            proof="digital",
            at=command.occurred_at or now,
        )
        changes += [
            Change(stream, granted),
            move(MoveKind.SHIPPED),
            move(MoveKind.DELIVERED),
        ]
    return tuple(changes)


@decides(DispatchFulfilment)
def dispatch(command: DispatchFulfilment, states: States, now: datetime) -> Changes:
    """Hand the consignment over; raises if the order is on hold, over or being cancelled."""
    state = _existing(states, command)
    if state.dispatched and (state.carrier, state.tracking) == (command.carrier, command.tracking):
        return ()
    _check_transition(state, ShipmentDispatched)
    order = existing(states, state.order_id)
    if order.lifecycle is not Lifecycle.CONFIRMED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {state.order_id} is {order.lifecycle.value}; nothing is dispatched for it",
            order_id=state.order_id,
            lifecycle=order.lifecycle.value,
        )
    if order.holds:
        raise Rejected(
            Reason.ON_HOLD,
            f"order {state.order_id} is held by {', '.join(order.holds)}; release it first",
            order_id=state.order_id,
            holds=list(order.holds),
        )
    for moved in state.lines:
        line = order.lines.get(moved.line_id)
        if line is None or line.shippable < moved.quantity:
            # Units may have been cancelled after they were set aside.
            left = line.shippable if line else 0
            raise too_many(order, moved.line_id, moved.quantity, left, "shipped")
    event = ShipmentDispatched(
        fulfilment_id=command.fulfilment_id,
        order_id=state.order_id,
        carrier=command.carrier,
        tracking=command.tracking,
        lines=state.lines,
    )
    stream = streams.fulfilment(command.fulfilment_id)
    shipped = OrderLinesMoved(kind=MoveKind.SHIPPED, cause=stream, lines=state.lines)
    return (Change(stream, event), Change(streams.order(state.order_id), shipped))


@decides(CancelFulfilment)
def cancel(command: CancelFulfilment, states: States, now: datetime) -> Changes:
    """Unpack a consignment; raises once it was dispatched, as it is a return from then on."""
    state = _existing(states, command)
    if state.cancelled:
        return ()
    _check_transition(state, FulfilmentCancelled)
    event = FulfilmentCancelled(
        fulfilment_id=command.fulfilment_id, order_id=state.order_id, reason=command.reason
    )
    stream = streams.fulfilment(command.fulfilment_id)
    moved = OrderLinesMoved(kind=MoveKind.UNALLOCATED, cause=stream, lines=state.lines)
    return (Change(stream, event), Change(streams.order(state.order_id), moved))


@decides(ConfirmDelivery)
def confirm(command: ConfirmDelivery, states: States, now: datetime) -> Changes:
    """Confirm by the buyer's word; counts as delivery where the carrier reported none."""
    state = _existing(states, command)
    if state.confirmed:
        return ()
    _check_transition(state, DeliveryConfirmedByBuyer)
    event = DeliveryConfirmedByBuyer(fulfilment_id=command.fulfilment_id, order_id=state.order_id)
    return _confirmed(state, command.fulfilment_id, event)


@decides(AutoConfirmDelivery)
def auto_confirm(command: AutoConfirmDelivery, states: States, now: datetime) -> Changes:
    """Confirm by silence; raises NOT_YET_DUE before the deadline. Fires once."""
    state = _existing(states, command)
    if state.confirmed:
        return ()
    _check_transition(state, DeliveryAutoConfirmed)
    if now < command.due_at:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"fulfilment {command.fulfilment_id} confirms itself at "
            f"{command.due_at.isoformat()}, not before",
            fulfilment_id=command.fulfilment_id,
            due_at=command.due_at.isoformat(),
        )
    event = DeliveryAutoConfirmed(
        fulfilment_id=command.fulfilment_id, order_id=state.order_id, due_at=command.due_at
    )
    return _confirmed(state, command.fulfilment_id, event)


def _confirmed(state: FulfilmentState, fulfilment_id: str, event: Event) -> Changes:
    stream = streams.fulfilment(fulfilment_id)
    if state.delivered:
        return (Change(stream, event),)
    moved = OrderLinesMoved(kind=MoveKind.DELIVERED, cause=stream, lines=state.units)
    return (Change(stream, event), Change(streams.order(state.order_id), moved))


@decides(RecordDispatched)
def record_dispatched(command: RecordDispatched, states: States, now: datetime) -> Changes:
    """Record a hand-over to the carrier, whatever the state."""
    check_lines(command.lines, "dispatched lines")
    state = states.fulfilment(command.fulfilment_id)
    report = _Report(command, state, states)
    event = ShipmentDispatched(
        fulfilment_id=command.fulfilment_id,
        order_id=report.order_id,
        carrier=command.carrier,
        tracking=command.tracking,
        lines=command.lines or state.units,
    )
    if state.dispatched:
        if (state.carrier, state.tracking) == (command.carrier, command.tracking):
            return ()
        report.contradict(
            AnomalyKind.CONFLICTING_DISPATCH, "error", f"by {command.carrier} as well"
        )
        return report.changes(event)
    if state.cancelled:
        report.contradict(
            AnomalyKind.DISPATCHED_YET_CANCELLED, "error", "its fulfilment was cancelled"
        )
    if not event.lines:
        report.contradict(
            AnomalyKind.UNKNOWN_FULFILMENT, "error", "nothing is known of its content"
        )
    if not state.shipped:
        report.check_order(event.lines, "dispatched")
        report.move(MoveKind.SHIPPED, event.lines)
        if not state.exists or state.cancelled:
            # The units leave without having been set aside, which the order must count as well.
            report.move(MoveKind.ALLOCATED, event.lines)
        elif state.lines != event.lines:
            report.contradict(
                AnomalyKind.DISPATCHED_OTHER_UNITS, "warning", "not the units set aside"
            )
            report.move(MoveKind.UNALLOCATED, _less(state.lines, event.lines))
            report.move(MoveKind.ALLOCATED, _less(event.lines, state.lines))
    return report.changes(event)


@decides(RecordTracking)
def record_tracking(command: RecordTracking, states: States, now: datetime) -> Changes:
    """Record a carrier's scan; the same scan counts once."""
    state = states.fulfilment(command.fulfilment_id)
    if f"{command.at.isoformat()} {command.code}" in state.tracking_codes:
        return ()
    report = _Report(command, state, states)
    return report.changes(
        TrackingUpdated(
            fulfilment_id=command.fulfilment_id,
            order_id=report.order_id,
            code=command.code,
            at=command.at,
        )
    )


@decides(RecordDelivered)
def record_delivered(command: RecordDelivered, states: States, now: datetime) -> Changes:
    """Record an arrival, whatever the state; without a hand-over, that is inferred."""
    check_lines(command.lines, "delivered lines")
    state = states.fulfilment(command.fulfilment_id)
    conflict = command.lines not in ((), state.delivered)
    if state.arrival_reported and not conflict:
        return ()
    report = _Report(command, state, states)
    if state.arrival_reported:
        report.contradict(
            AnomalyKind.CONFLICTING_DELIVERY, "error", "other units had been reported"
        )
    event = Delivered(
        fulfilment_id=command.fulfilment_id,
        order_id=report.order_id,
        lines=command.lines or state.units,
        proof=command.proof,
        at=command.occurred_at or now,
    )
    if state.cancelled:
        report.contradict(
            AnomalyKind.DELIVERED_YET_CANCELLED, "error", "its fulfilment was cancelled"
        )
    elif not state.dispatched:
        report.contradict(
            AnomalyKind.DELIVERED_BEFORE_DISPATCH, "warning", "no hand-over was reported"
        )
    if state.failure == DeliveryFailure.LOST:
        report.contradict(AnomalyKind.DELIVERED_YET_LOST, "warning", "it had been reported lost")
    if not event.lines:
        report.contradict(
            AnomalyKind.UNKNOWN_FULFILMENT, "error", "nothing is known of its content"
        )
    if not state.shipped:
        report.check_order(event.lines, "delivered")
        if not state.exists or state.cancelled:
            report.move(MoveKind.ALLOCATED, event.lines)
        report.move(MoveKind.SHIPPED, event.lines)
    else:
        report.check_order((), "delivered")
    if not state.delivered:
        report.move(MoveKind.DELIVERED, event.lines)
    return report.changes(event)


@decides(RecordDeliveryFailed)
def record_failed(command: RecordDeliveryFailed, states: States, now: datetime) -> Changes:
    """Record that the units did not arrive; lost ones are counted as lost on the order."""
    state = states.fulfilment(command.fulfilment_id)
    if state.failure == command.kind.value:
        return ()
    report = _Report(command, state, states)
    event = DeliveryFailed(
        fulfilment_id=command.fulfilment_id,
        order_id=report.order_id,
        kind=command.kind,
        detail=command.detail,
    )
    if state.failure:
        report.contradict(
            AnomalyKind.CONFLICTING_FAILURE, "warning", f"it was {state.failure} before"
        )
    if state.delivered:
        report.contradict(
            AnomalyKind.FAILED_YET_DELIVERED, "error", "its delivery was reported before"
        )
    elif not state.dispatched:
        report.contradict(
            AnomalyKind.FAILED_BEFORE_DISPATCH, "warning", "no hand-over was reported"
        )
    if command.kind is DeliveryFailure.LOST and not state.delivered:
        report.move(MoveKind.LOST, state.units)
    return report.changes(event)


class _Report:
    """Collects what a report moves and contradicts, and puts it into changes."""

    def __init__(self, command: OfFulfilment, state: FulfilmentState, states: States) -> None:
        self._command: Final = command
        self._state: Final = state
        self.order_id: Final = state.order_id or command.order_id
        self._order: Final = states.order(self.order_id)
        self._stream: Final = streams.fulfilment(command.fulfilment_id)
        self._moves: Final[list[OrderLinesMoved]] = []
        self._anomalies: Final[list[Change]] = []
        self._raised: Final[list[str]] = []
        if self.order_id != command.order_id:
            self.contradict(
                AnomalyKind.BOUND_TO_ANOTHER_ORDER, "error", f"reported for {command.order_id}"
            )
        if not self._order.exists:
            self.contradict(
                AnomalyKind.UNKNOWN_ORDER, "error", f"order {self.order_id} is not known"
            )

    def contradict(self, kind: AnomalyKind, severity: str, detail: str) -> None:
        """Raise an anomaly of the fulfilment, once while it is open."""
        self._raise(self._stream, self._state.anomalies, kind, severity, detail)

    def check_order(self, lines: tuple[MovedLine, ...], happened: str) -> None:
        """Raise the anomalies of an order that does not allow what happened."""
        order = self._order
        if not order.exists:
            return
        if order.lifecycle in OVER:
            kind = AnomalyKind(spelled(f"{happened}_yet_cancelled"))
            self._of_order(kind, "error", order.lifecycle.value)
        elif order.lifecycle not in APPROVED:
            kind = AnomalyKind(spelled(f"{happened}_before_approval"))
            self._of_order(kind, "warning", order.lifecycle.value)
        for moved in lines:
            line = order.lines.get(moved.line_id)
            if line is None:
                self._of_order(AnomalyKind.UNKNOWN_LINE, "error", moved.line_id)
            elif line.shippable < moved.quantity:
                self._of_order(AnomalyKind.SHIPPED_MORE_THAN_ORDERED, "error", moved.line_id)

    def _of_order(self, kind: AnomalyKind, severity: str, detail: str) -> None:
        text = f"order {self.order_id}: {detail}"
        self._raise(streams.order(self.order_id), self._order.anomalies, kind, severity, text)

    def _raise(
        self, stream: str, open_keys: Iterable[str], kind: AnomalyKind, severity: str, detail: str
    ) -> None:
        anomaly = AnomalyRaised(
            kind=kind,
            refs=(self._stream,),
            severity=severity,
            detail=detail,
            anomaly_id=f"{kind}:{self._command.fulfilment_id}",
        )
        if anomaly.key not in (*open_keys, *self._raised):
            self._raised.append(anomaly.key)
            self._anomalies.append(Change(stream, anomaly))

    def move(self, kind: MoveKind, lines: tuple[MovedLine, ...]) -> None:
        """Move units of the order; an order that is not known has no counters."""
        if lines and self._order.exists:
            self._moves.append(OrderLinesMoved(kind=kind, cause=self._stream, lines=lines))

    def changes(self, event: Event) -> Changes:
        """Return the event, what it moves and what it contradicts, in this order."""
        order_stream = streams.order(self.order_id)
        return (
            Change(self._stream, event),
            *(Change(order_stream, moved) for moved in self._moves),
            *self._anomalies,
        )


def check_lines(lines: tuple[MovedLine, ...], what: str, *, required: bool = False) -> None:
    """Refuse malformed quantities: none at all where required, not positive, or a line twice."""
    if required and not lines:
        raise InvalidCommand(f"{what} are empty", field="lines")
    limits.check_count(what, len(lines), limits.ORDER_LINES_MAX)
    for moved in lines:
        check_quantity(f"quantity of {moved.line_id}", moved.quantity)
    check_unique(what, [moved.line_id for moved in lines])


def _existing(states: States, command: OfFulfilment) -> FulfilmentState:
    state = states.fulfilment(command.fulfilment_id)
    if not state.exists:
        raise NotFound(
            f"there is no fulfilment {command.fulfilment_id}", fulfilment_id=command.fulfilment_id
        )
    if state.order_id != command.order_id:
        raise Rejected(
            Reason.BOUND_TO_ANOTHER_ORDER,
            f"fulfilment {command.fulfilment_id} belongs to order {state.order_id}, "
            f"not to {command.order_id}",
            fulfilment_id=command.fulfilment_id,
            order_id=state.order_id,
        )
    return state


def _check_transition(state: FulfilmentState, event: type[Event]) -> None:
    if state.lifecycle not in TRANSITIONS[event]:
        raise Rejected(
            Reason.WRONG_STATE,
            f"fulfilment {state.fulfilment_id} is {state.lifecycle.value}; {event.__name__} is "
            "not possible any more, or not yet",
            fulfilment_id=state.fulfilment_id,
            lifecycle=state.lifecycle.value,
        )


def _is_same(state: FulfilmentState, event: FulfilmentCreated) -> bool:
    return (state.order_id, state.lines, state.location, state.digital) == (
        event.order_id,
        event.lines,
        event.location,
        event.digital,
    )


def _less(units: tuple[MovedLine, ...], taken: tuple[MovedLine, ...]) -> tuple[MovedLine, ...]:
    """Return the units that are not among those taken, per line."""
    by_line = {moved.line_id: moved.quantity for moved in taken}
    left = [
        MovedLine(moved.line_id, moved.quantity - by_line.get(moved.line_id, 0)) for moved in units
    ]
    return tuple(moved for moved in left if moved.quantity > 0)
