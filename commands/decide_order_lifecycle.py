"""
Decisions on the lifecycle of a placed order: hold, confirm, expire, cancel, complete, reopen.
"""

from datetime import datetime

from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.order_events import (
    GoodwillRecorded,
    MovedLine,
    OrderCancellationRequested,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderExpired,
    OrderHeld,
    OrderHoldReleased,
    OrderReinstated,
    OrderReopened,
    PaymentPart,
    RefundGrantWithdrawn,
    RefundSource,
)
from orderledger.ledger.order_refunds import GrantStatus
from orderledger.ledger.orders import Lifecycle, OrderState
from orderledger.ledger.tenders import Tender, charged_by, tenders_of

from . import order_guards as guards
from .decision import Changes, States, decides
from .dispute_guards import require_no_dispute
from .order_commands import (
    CancelOrder,
    CompleteOrder,
    ConfirmOrder,
    CoverPolicy,
    ExpireOrder,
    FinishCancellation,
    HoldOrder,
    RecordGoodwill,
    RecordLatePayment,
    ReinstateOrder,
    ReleaseHold,
    ReopenOrder,
)
from .order_cover import check_not_requested, cover, surplus_grant, voids_to_make


@decides(HoldOrder)
def hold_order(command: HoldOrder, states: States, now: datetime) -> Changes:
    """Hold a placed order; a hold of the same rule changes nothing."""
    guards.check_id("rule_id", command.rule_id)
    guards.check_text("reason", command.reason)
    if command.score is not None:
        guards.check_decimal("score", command.score)
    order = guards.existing(states, command.order_id)
    if command.rule_id in order.holds:
        return ()
    guards.require(order, "hold it", {Lifecycle.PLACED})
    event = OrderHeld(
        reason=command.reason, rule_id=command.rule_id, by=command.by, score=command.score
    )
    return (guards.change(command.order_id, event),)


@decides(ReleaseHold)
def release_hold(command: ReleaseHold, states: States, now: datetime) -> Changes:
    """Lift a hold; one that is not in force changes nothing."""
    guards.check_text("reason", command.reason)
    order = guards.existing(states, command.order_id)
    if command.rule_id not in order.holds:
        return ()
    event = OrderHoldReleased(rule_id=command.rule_id, reason=command.reason, by=command.by)
    return (guards.change(command.order_id, event),)


@decides(ConfirmOrder)
def confirm_order(command: ConfirmOrder, states: States, now: datetime) -> Changes:
    """
    Confirm a placed order; raises ON_HOLD, or NOT_COVERED with what is there and what is needed.

    A zero-total order is covered by definition.
    """
    if command.minimum is not None:
        guards.check_amount("minimum", command.minimum, minimum=0)
    order = guards.existing(states, command.order_id)
    if order.lifecycle is Lifecycle.CONFIRMED:
        return ()
    guards.require_for(order, "confirm it", OrderConfirmed)
    guards.require_no_hold(order)
    tenders = tenders_of(order, states.payment)
    authorised, charged = cover(tenders)
    required = order.due if command.minimum is None else min(command.minimum, order.due)
    covered = charged + (authorised if command.policy is CoverPolicy.AUTHORISED else 0)
    if command.policy is not CoverPolicy.ON_ACCOUNT and covered < required:
        raise Rejected(
            Reason.NOT_COVERED,
            f"order {order.order_id} needs {required} {order.currency} minor units by policy "
            f"{command.policy}; {authorised} are authorised and {charged} charged",
            order_id=order.order_id,
            required=required,
            authorised=authorised,
            charged=charged,
            policy=command.policy.value,
        )
    event = OrderConfirmed(
        policy=command.policy.value, authorised=authorised, charged=charged, required=required
    )
    return (guards.change(command.order_id, event),)


@decides(ExpireOrder)
def expire_order(command: ExpireOrder, states: States, now: datetime) -> Changes:
    """
    Expire an unpaid order; raises DISPUTE_OPEN while it is contested, NOT_YET_DUE,
    OPERATION_IN_FLIGHT, or WRONG_STATE once charged.

    The later of the timer's and the order's own due time counts: a timer may be outdated.
    """
    order = guards.existing(states, command.order_id)
    if order.lifecycle is Lifecycle.EXPIRED:
        return ()
    guards.require_for(order, "expire it", OrderExpired)
    require_no_dispute(order, "expire it")
    due_at = command.due_at
    if order.payment_due_at is not None and order.payment_due_at > due_at:
        due_at = order.payment_due_at
    _check_due(order, due_at, now)
    tenders = tenders_of(order, states.payment)
    _check_nothing_in_flight(order, tenders)
    charged = charged_by(tenders)
    if charged:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} was charged {charged} {order.currency} minor units; it can "
            "be cancelled, not expired",
            order_id=order.order_id,
            charged=charged,
        )
    event = OrderExpired(
        due_at=due_at,
        released_reservations=tuple(order.reservations),
        voids=voids_to_make(tenders),
    )
    return (guards.change(command.order_id, event),)


def _check_due(order: OrderState, due_at: datetime, now: datetime) -> None:
    if now < due_at:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"order {order.order_id}: it is due at {due_at.isoformat()}, not before",
            order_id=order.order_id,
            due_at=due_at.isoformat(),
        )


def _check_nothing_in_flight(order: OrderState, tenders: tuple[Tender, ...]) -> None:
    waiting = [one.tender_id for one in tenders if one.charge_in_flight]
    if waiting:
        raise Rejected(
            Reason.OPERATION_IN_FLIGHT,
            f"order {order.order_id}: the outcome of a charge of {', '.join(waiting)} is not "
            "known yet",
            order_id=order.order_id,
            payments=waiting,
        )


@decides(CancelOrder)
def cancel_order(command: CancelOrder, states: States, now: datetime) -> Changes:
    """
    Begin a cancellation.

    Raises DISPUTE_OPEN while it is contested, QUANTITY_EXCEEDS_AVAILABLE if goods are with the
    buyer.
    """
    guards.check_text("reason", command.reason)
    order = guards.existing(states, command.order_id)
    if order.lifecycle in (Lifecycle.CANCELLING, Lifecycle.CANCELLED):
        return ()
    guards.require_for(order, "cancel it", OrderCancellationRequested)
    require_no_dispute(order, "cancel it")
    for line_id, line in order.lines.items():
        out = max(line.shipped, line.delivered) - line.returned - line.lost
        if out > 0:
            raise guards.too_many(order, line_id, line.live, line.live - out, "cancelled")
    event = OrderCancellationRequested(
        reason=command.reason,
        by=command.by,
        cancellable_lines=tuple(
            [MovedLine(line_id, line.live) for line_id, line in order.lines.items() if line.live]
        ),
        voids=voids_to_make(tenders_of(order, states.payment)),
    )
    return (guards.change(command.order_id, event),)


@decides(FinishCancellation)
def finish_cancellation(command: FinishCancellation, states: States, now: datetime) -> Changes:
    """
    Complete a cancellation: its money is voided, or granted back here.

    Raises OPERATION_IN_FLIGHT while a capture or void has no outcome, WRONG_STATE with the voids
    that are still to make.
    """
    guards.check_id("refund_id", command.refund_id)
    order = guards.existing(states, command.order_id)
    if order.lifecycle is Lifecycle.CANCELLED:
        return ()
    guards.require_for(order, "finish its cancellation", OrderCancelled)
    tenders = tenders_of(order, states.payment)
    _check_nothing_in_flight(order, tenders)
    _check_voided(order, tenders)
    cancelled = OrderCancelled(
        reason=order.reason,
        by=order.ended_by,
        voids=tuple([PaymentPart(one.tender_id, one.voided) for one in tenders if one.voided]),
        released_reservations=tuple(order.reservations),
    )
    # Nothing is due once it is cancelled: all that was kept is a surplus.
    ended = guards.after(order, cancelled)
    grants = surplus_grant(ended, tenders, command.refund_id, RefundSource.CANCEL)
    if grants and command.refund_id in order.grants:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {order.order_id} already has a refund {command.refund_id}",
            order_id=order.order_id,
            refund_id=command.refund_id,
        )
    live = [key for key, grant in order.grants.items() if grant.is_live]
    refunds = (*live, *[grant.refund_id for grant in grants])
    final = OrderCancelled(
        reason=cancelled.reason,
        by=cancelled.by,
        refunds=refunds,
        voids=cancelled.voids,
        released_reservations=cancelled.released_reservations,
    )
    return (
        *[guards.change(command.order_id, grant) for grant in grants],
        guards.change(command.order_id, final),
    )


def _check_voided(order: OrderState, tenders: tuple[Tender, ...]) -> None:
    voiding = [one.tender_id for one in tenders if one.void_in_flight]
    if voiding:
        raise Rejected(
            Reason.OPERATION_IN_FLIGHT,
            f"order {order.order_id}: the void of {', '.join(voiding)} has no outcome yet",
            order_id=order.order_id,
            payments=voiding,
        )
    open_voids = voids_to_make(tenders)
    if open_voids:
        listed = ", ".join(f"{one.amount} of {one.payment_id}" for one in open_voids)
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} is cancelled once its authorisations are voided: {listed}",
            order_id=order.order_id,
            payments=[one.payment_id for one in open_voids],
            amounts=[one.amount for one in open_voids],
        )


@decides(CompleteOrder)
def complete_order(command: CompleteOrder, states: States, now: datetime) -> Changes:
    """
    Close a confirmed order.

    Raises NOT_YET_DUE within the return window, QUANTITY_EXCEEDS_AVAILABLE while units are under
    way or a return is open, DISPUTE_OPEN while a dispute is, FUNDS_FROZEN while a freeze is not
    lifted, AMOUNT_EXCEEDS_AVAILABLE while escrow still holds money.
    """
    order = guards.existing(states, command.order_id)
    if order.lifecycle is Lifecycle.COMPLETED:
        return ()
    guards.require_for(order, "complete it", OrderCompleted)
    if command.return_window_until is not None:
        _check_due(order, command.return_window_until, now)
    for line_id, line in order.lines.items():
        if not line.is_settled or line.return_requested > line.returned:
            raise Rejected(
                Reason.QUANTITY_EXCEEDS_AVAILABLE,
                f"line {line_id} of order {order.order_id} still has units under way: "
                f"{line.live} live, {line.delivered} delivered, {line.return_requested} to come "
                f"back, {line.returned} back",
                order_id=order.order_id,
                line_id=line_id,
                live=line.live,
                delivered=line.delivered,
            )
    require_no_dispute(order, "complete it")
    _check_not_frozen(order)
    if order.escrow_held:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"order {order.order_id} still holds {order.escrow_held} {order.currency} minor "
            "units in escrow; release or return it first",
            order_id=order.order_id,
            held=order.escrow_held,
        )
    return (guards.change(command.order_id, OrderCompleted(by=command.by)),)


def _check_not_frozen(order: OrderState) -> None:
    open_freezes = [one for one in order.freezes.values() if not one.is_lifted]
    if open_freezes:
        listed = [one.freeze_id for one in open_freezes]
        raise Rejected(
            Reason.FUNDS_FROZEN,
            f"order {order.order_id} has funds frozen by {', '.join(listed)}; it is complete once "
            "they are decided",
            order_id=order.order_id,
            freezes=listed,
        )


@decides(ReopenOrder)
def reopen_order(command: ReopenOrder, states: States, now: datetime) -> Changes:
    """Open a completed order again."""
    guards.check_text("cause", command.cause)
    order = guards.existing(states, command.order_id)
    guards.require_for(order, "reopen it", OrderReopened)
    event = OrderReopened(cause=command.cause, cause_event=command.cause_event)
    return (guards.change(command.order_id, event),)


@decides(ReinstateOrder)
def reinstate_order(command: ReinstateOrder, states: States, now: datetime) -> Changes:
    """Bring a cancelled or expired order back; see ``reinstatement``."""
    guards.check_text("cause", command.cause)
    guards.check_id("stock_reservation", command.stock_reservation)
    order = guards.existing(states, command.order_id)
    events = reinstatement(order, tenders_of(order, states.payment), command)
    return tuple([guards.change(command.order_id, event) for event in events])


def reinstatement(
    order: OrderState,
    tenders: tuple[Tender, ...],
    command: ReinstateOrder | RecordLatePayment,
) -> tuple[Event, ...]:
    """
    Return the events that bring an order back: its money is kept, so its grants are withdrawn.

    Raises WRONG_STATE if the order is not over or was only a draft, or if its money is settled
    already; OPERATION_IN_FLIGHT if it is on its way back.
    """
    guards.require_for(order, "reinstate it", OrderReinstated)
    if order.version == 0:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} was cancelled as a draft; place a new one",
            order_id=order.order_id,
        )
    events: list[Event] = []
    for grant in order.grants.values():
        if grant.lowers_due or not grant.is_live:
            continue
        check_not_requested(order, grant, tenders)
        if grant.status not in (GrantStatus.GRANTED, GrantStatus.ALLOCATED):
            raise Rejected(
                Reason.WRONG_STATE,
                f"refund {grant.refund_id} of order {order.order_id} is {grant.status}; its money "
                "is no longer here",
                order_id=order.order_id,
                refund_id=grant.refund_id,
            )
        events.append(RefundGrantWithdrawn(refund_id=grant.refund_id, reason="reinstated"))
    reservation = command.stock_reservation
    if isinstance(command, RecordLatePayment):
        cause = f"late payment {command.payment_id}"
    else:
        cause = command.cause
    events.append(OrderReinstated(cause=cause, stock_reservation=reservation))
    return tuple(events)


@decides(RecordGoodwill)
def record_goodwill(command: RecordGoodwill, states: States, now: datetime) -> Changes:
    """Approve goodwill; raises FOUR_EYES_REQUIRED if who asks approves."""
    guards.check_id("goodwill_id", command.goodwill_id)
    guards.check_text("reason", command.reason)
    guards.check_amount("goodwill", command.amount)
    order = guards.existing(states, command.order_id)
    before = order.goodwill.get(command.goodwill_id)
    if before is not None:
        if before == command.amount:
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"goodwill {command.goodwill_id} of order {order.order_id} is {before}, not "
            f"{command.amount}",
            order_id=order.order_id,
            goodwill_id=command.goodwill_id,
        )
    guards.require(order, "record goodwill", set(Lifecycle) - {Lifecycle.DRAFT, Lifecycle.REJECTED})
    if command.approver == command.by or not command.approver:
        raise Rejected(
            Reason.FOUR_EYES_REQUIRED,
            f"goodwill {command.goodwill_id} asked for by {command.by} needs another approver",
            order_id=order.order_id,
            by=command.by,
        )
    event = GoodwillRecorded(
        goodwill_id=command.goodwill_id,
        amount=command.amount,
        reason=command.reason,
        by=command.by,
        approver=command.approver,
    )
    return (guards.change(command.order_id, event),)
