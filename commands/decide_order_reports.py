"""
What is reported about an order: stock, late payments, cancellations and refunds made elsewhere.

Reports are recorded whatever the order's state; what contradicts it is recorded with an anomaly.
"""

from datetime import datetime

from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised, AnomalyResolved
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.order_events import (
    SURPLUS_SOURCES,
    LatePaymentDetected,
    OrderCancelled,
    RefundGranted,
    RefundLine,
    RefundSource,
    StockReleased,
    StockReservationFailed,
    StockReserved,
)
from orderledger.ledger.order_totals import refund_of
from orderledger.ledger.orders import ENDED, TRANSITIONS, Lifecycle, OrderState
from orderledger.ledger.tenders import charged_back_by, charged_by, tenders_of

from . import order_guards as guards
from .decide_order_lifecycle import reinstatement
from .decision import Changes, States, decides
from .order_commands import (
    LatePolicy,
    RecordLatePayment,
    RecordOrderCancelled,
    RecordRefundGranted,
    RecordStockReleased,
    RecordStockReservationFailed,
    RecordStockReserved,
    ResolveOrderAnomaly,
)
from .order_cover import surplus


@decides(RecordStockReserved)
def record_stock_reserved(command: RecordStockReserved, states: States, now: datetime) -> Changes:
    """Record a reservation; the same one again changes nothing."""
    one = command.reservation
    guards.check_id("reservation_id", one.reservation_id)
    guards.check_quantity(f"reservation {one.reservation_id}", one.quantity)
    order = states.order(command.order_id)
    if order.reservations.get(one.reservation_id) == one:
        return ()
    return _reported(command.order_id, StockReserved(reservation=one), _line(order, one.line_id))


@decides(RecordStockReleased)
def record_stock_released(command: RecordStockReleased, states: States, now: datetime) -> Changes:
    """Record that a reservation was given up."""
    guards.check_quantity(f"reservation {command.reservation_id}", command.quantity)
    order = states.order(command.order_id)
    event = StockReleased(
        reservation_id=command.reservation_id, line_id=command.line_id, quantity=command.quantity
    )
    known = command.reservation_id in order.reservations
    anomaly = None if known else (AnomalyKind.UNKNOWN_RESERVATION, (command.reservation_id,))
    return _reported(command.order_id, event, anomaly)


@decides(RecordStockReservationFailed)
def record_stock_failed(
    command: RecordStockReservationFailed, states: States, now: datetime
) -> Changes:
    """Record that stock could not be set aside."""
    guards.check_quantity(f"reservation {command.reservation_id}", command.quantity)
    order = states.order(command.order_id)
    event = StockReservationFailed(
        reservation_id=command.reservation_id,
        line_id=command.line_id,
        quantity=command.quantity,
        reason=command.reason,
    )
    return _reported(command.order_id, event, _line(order, command.line_id))


_Anomaly = tuple[AnomalyKind, tuple[str, ...]]


def _line(order: OrderState, line_id: str) -> _Anomaly | None:
    return (
        None
        if line_id in order.lines or not order.exists
        else (AnomalyKind.UNKNOWN_LINE, (line_id,))
    )


def _reported(order_id: str, event: Event, anomaly: _Anomaly | None) -> Changes:
    recorded = guards.change(order_id, event)
    if anomaly is None:
        return (recorded,)
    raised = AnomalyRaised(kind=anomaly[0], refs=anomaly[1])
    return (recorded, guards.change(order_id, raised))


@decides(RecordOrderCancelled)
def record_order_cancelled(command: RecordOrderCancelled, states: States, now: datetime) -> Changes:
    """
    Record a cancellation made elsewhere, whatever was shipped or paid.

    Real order data has orders cancelled after they were shipped, and delivered yet cancelled.
    """
    guards.check_text("reason", command.reason)
    order = states.order(command.order_id)
    if order.lifecycle is Lifecycle.CANCELLED:
        return ()
    event = OrderCancelled(
        reason=command.reason,
        by=command.by,
        released_reservations=tuple(order.reservations),
    )
    anomaly: _Anomaly | None = None
    shipped = [key for key, line in order.lines.items() if max(line.shipped, line.delivered)]
    if shipped:
        anomaly = (AnomalyKind.CANCELLED_AFTER_SHIPPING, (command.order_id, *shipped[:20]))
    elif order.lifecycle is not Lifecycle.PLACED and not _may_cancel(order):
        anomaly = (AnomalyKind.CANCELLED_IN_WRONG_STATE, (command.order_id, order.lifecycle.value))
    return _reported(command.order_id, event, anomaly)


def _may_cancel(order: OrderState) -> bool:
    return order.lifecycle in TRANSITIONS[OrderCancelled][0] | {
        Lifecycle.DRAFT,
        Lifecycle.PLACED,
        Lifecycle.CONFIRMED,
    }


@decides(RecordRefundGranted)
def record_refund_granted(command: RecordRefundGranted, states: States, now: datetime) -> Changes:
    """
    Record a refund promised elsewhere, with an anomaly if no purchase or charge covers it.

    Lines that the order knows take their part by cumulative rounding as far as units are left;
    the rest of the amount is an adjustment.
    """
    guards.check_id("refund_id", command.refund_id)
    guards.check_amount("refund", command.amount)
    exponent(command.currency)
    for moved in command.lines:
        guards.check_quantity(f"quantity of line {moved.line_id}", moved.quantity)
    order = states.order(command.order_id)
    before = order.grants.get(command.refund_id)
    if before is not None:
        if before.total == command.amount:
            return ()
        anomaly = (AnomalyKind.REFUND_REPORTED_TWICE, (command.refund_id, str(command.amount)))
        return (guards.change(command.order_id, _raised(anomaly)),)
    if f"{guards.FOREIGN_REFUND}:{command.refund_id}:{command.currency}" in order.anomalies:
        return ()
    lines = _known_lines(command, order)
    granted = sum([line.net + line.tax for line in lines])
    if granted > command.amount:
        lines, granted = (), 0
    event = RefundGranted(
        refund_id=command.refund_id,
        total=command.amount,
        reason=command.reason,
        source=command.source,
        lines=lines,
        adjustment=command.amount - granted,
        currency="" if command.currency == order.currency else command.currency,
    )
    return _reported(command.order_id, event, _contradiction(command, order, states))


def _raised(anomaly: _Anomaly) -> AnomalyRaised:
    return AnomalyRaised(kind=anomaly[0], refs=anomaly[1])


def _known_lines(command: RecordRefundGranted, order: OrderState) -> tuple[RefundLine, ...]:
    if command.source in SURPLUS_SOURCES or command.currency != order.currency:
        return ()
    wanted: dict[str, int] = {}
    for moved in command.lines:
        wanted[moved.line_id] = wanted.get(moved.line_id, 0) + moved.quantity
    known: list[RefundLine] = []
    for line_id, quantity in wanted.items():
        line = order.lines.get(line_id)
        units = min(quantity, line.refundable_quantity) if line is not None else 0
        if line is not None and units:
            known.append(refund_of(line, units, order.currency))
    return tuple(known)


def _contradiction(
    command: RecordRefundGranted, order: OrderState, states: States
) -> _Anomaly | None:
    if command.currency != order.currency and order.currency:
        return (guards.FOREIGN_REFUND, (command.refund_id, command.currency))
    if order.version == 0:
        return (AnomalyKind.REFUND_WITHOUT_PURCHASE, (command.refund_id,))
    tenders = tenders_of(order, states.payment)
    limit = charged_by(tenders) - charged_back_by(tenders) + order.goodwill_approved
    if order.granted + command.amount > limit:
        return (AnomalyKind.REFUND_EXCEEDS_CHARGE, (command.refund_id,))
    return None


@decides(RecordLatePayment)
def record_late_payment(command: RecordLatePayment, states: States, now: datetime) -> Changes:
    """
    Record money that arrived for an order that is over, and apply the policy.

    An operation is detected once and its policy carried out once. On an order that is not over
    nothing is late: no event.
    A policy that cannot be carried out leaves the report with policy "manual" and an anomaly.
    """
    guards.check_amount("late payment", command.amount)
    if command.policy is LatePolicy.REFUND:
        guards.check_id("refund_id", command.refund_id)
    if command.policy is LatePolicy.REINSTATE:
        guards.check_id("stock_reservation", command.stock_reservation)
    order = guards.existing(states, command.order_id)
    if order.lifecycle not in ENDED:
        return ()
    follow = late_payment_policy(command, order, states)
    if command.op_id in order.late_ops:
        # The payment's own report detected it already; what is left is to carry the policy out.
        return tuple([guards.change(command.order_id, event) for event in follow])
    policy = command.policy if follow or command.policy in _NOTHING_HERE else LatePolicy.MANUAL
    detected = LatePaymentDetected(
        payment_id=command.payment_id,
        op_id=command.op_id,
        amount=command.amount,
        order_state=order.lifecycle.value,
        policy=policy.value,
    )
    events: list[Event] = [detected, *follow]
    if policy is LatePolicy.MANUAL:
        events.append(_raised((AnomalyKind.LATE_PAYMENT, (command.payment_id, command.op_id))))
    return tuple([guards.change(command.order_id, event) for event in events])


_NOTHING_HERE = frozenset({LatePolicy.VOID, LatePolicy.MANUAL})


def late_payment_policy(
    command: RecordLatePayment, order: OrderState, states: States
) -> tuple[Event, ...]:
    """
    Return the events that carry the policy out; none if it cannot be or needs none here.

    A refund is granted of what the payments really brought and nobody promised back yet.
    """
    if command.policy is LatePolicy.REFUND and command.refund_id not in order.grants:
        amount = min(command.amount, surplus(order, tenders_of(order, states.payment)))
        if amount == 0:
            return ()
        grant = RefundGranted(
            refund_id=command.refund_id,
            total=amount,
            reason=f"paid late by {command.payment_id}",
            source=RefundSource.LATE_PAYMENT,
            adjustment=amount,
        )
        return (grant,)
    if command.policy is LatePolicy.REINSTATE:
        try:
            return reinstatement(order, tenders_of(order, states.payment), command)
        except Rejected:
            return ()
    return ()


@decides(ResolveOrderAnomaly)
def resolve_order_anomaly(command: ResolveOrderAnomaly, states: States, now: datetime) -> Changes:
    """Close an open anomaly; raises NOT_FOUND if there is none of that key."""
    guards.check_text("resolution", command.resolution)
    order = states.order(command.order_id)
    guards.check_open_anomaly(
        order.anomalies,
        command.anomaly_id,
        f"order {command.order_id}",
        order_id=command.order_id,
    )
    event = AnomalyResolved(
        anomaly_id=command.anomaly_id,
        by=command.by,
        resolution=command.resolution,
        compensations=command.compensations,
    )
    return (guards.change(command.order_id, event),)
