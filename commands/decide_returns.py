"""
Decisions on returns. Units asked back, received or given up are counted on the order's stream in
the same append.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from orderledger.ledger import streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised, spelled
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.fulfilment_events import (
    ManualReviewRequired,
    ReceivedLine,
    ReturnApproved,
    ReturnCancelled,
    ReturnClosed,
    ReturnExpired,
    ReturnInspected,
    ReturnInTransit,
    ReturnReceived,
    ReturnRejected,
    ReturnRequested,
    ReturnResolution,
)
from orderledger.ledger.order_events import MovedLine, MoveKind, OrderLinesMoved
from orderledger.ledger.orders import ENDED, OrderState
from orderledger.ledger.returns import RECEPTIONS, TRANSITIONS, ReturnLifecycle, ReturnState

from .decide_fulfilment import check_lines
from .decision import Change, Changes, States, decides
from .fulfilment_commands import (
    ApproveReturn,
    CancelReturn,
    CloseReturn,
    ExpireReturn,
    InspectReturn,
    OfReturn,
    ReceiveReturn,
    RecordReturnInTransit,
    RecordReturnReceived,
    RejectReturn,
    RequestReturn,
    RequireReturnReview,
)
from .order_guards import check_id, existing, too_many, unknown_line

_S: Final = ReturnLifecycle
DECIDED: Final[Mapping[type[Event], frozenset[ReturnLifecycle]]] = {
    ManualReviewRequired: frozenset({_S.MANUAL_REVIEW}),
    ReturnApproved: frozenset(
        {_S.APPROVED, _S.IN_TRANSIT, _S.PARTIALLY_RECEIVED, _S.RECEIVED, _S.INSPECTED}
    ),
    ReturnRejected: frozenset({_S.REJECTED}),
    ReturnCancelled: frozenset({_S.CANCELLED}),
    ReturnExpired: frozenset({_S.EXPIRED}),
}
"""States in which the outcome that a command wants already holds, so that it adds nothing."""


@decides(RequestReturn)
def request(command: RequestReturn, states: States, now: datetime) -> Changes:
    """Ask for a return; raises after the window, or for more units than the buyer has."""
    asked = tuple(MovedLine(line.line_id, line.quantity) for line in command.lines)
    check_lines(asked, "return lines", required=True)
    order = existing(states, command.order_id)
    state = states.return_(command.return_id)
    event = ReturnRequested(
        return_id=command.return_id,
        order_id=command.order_id,
        lines=command.lines,
        window_until=command.window_until,
    )
    if state.exists:
        same = (state.order_id, state.reasons) == (command.order_id, command.lines)
        if same and state.window_until == command.window_until:
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"return {command.return_id} of order {state.order_id} exists with other content; "
            "use a new return id",
            return_id=command.return_id,
            order_id=state.order_id,
        )
    if order.lifecycle in ENDED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {command.order_id} is {order.lifecycle.value}; nothing of it can be returned",
            order_id=command.order_id,
            lifecycle=order.lifecycle.value,
        )
    if now > command.window_until:
        raise Rejected(
            Reason.WINDOW_CLOSED,
            f"the return window of order {command.order_id} closed at "
            f"{command.window_until.isoformat()}",
            order_id=command.order_id,
            window_until=command.window_until.isoformat(),
        )
    for moved in asked:
        _check_returnable(order, moved)
    return _changes(
        command.return_id, command.order_id, event, ((MoveKind.RETURN_REQUESTED, asked),)
    )


@decides(RequireReturnReview)
def require_review(command: RequireReturnReview, states: States, now: datetime) -> Changes:
    """Leave a requested return to a person."""
    event = ManualReviewRequired(return_id=command.return_id, reason=command.reason)
    return _decide(command, states, event)


@decides(ApproveReturn)
def approve(command: ApproveReturn, states: States, now: datetime) -> Changes:
    """Approve a requested return."""
    event = ReturnApproved(return_id=command.return_id, by=command.by, reason=command.reason)
    return _decide(command, states, event)


@decides(RejectReturn)
def reject(command: RejectReturn, states: States, now: datetime) -> Changes:
    """Refuse a requested return and free its units."""
    event = ReturnRejected(return_id=command.return_id, by=command.by, reason=command.reason)
    return _decide(command, states, event, frees=True)


@decides(CancelReturn)
def cancel(command: CancelReturn, states: States, now: datetime) -> Changes:
    """Give up a return that is not on its way, and free its units."""
    event = ReturnCancelled(return_id=command.return_id, by=command.by, reason=command.reason)
    return _decide(command, states, event, frees=True)


@decides(ExpireReturn)
def expire(command: ExpireReturn, states: States, now: datetime) -> Changes:
    """End a return whose units did not come; raises NOT_YET_DUE before its window's end."""
    state = _existing(states, command)
    due_at = state.window_until or command.due_at
    if state.lifecycle is not ReturnLifecycle.EXPIRED:
        _check_transition(state, ReturnExpired)
        if now <= max(due_at, command.due_at):
            raise Rejected(
                Reason.NOT_YET_DUE,
                f"return {command.return_id} may come until {due_at.isoformat()}",
                return_id=command.return_id,
                due_at=due_at.isoformat(),
            )
    event = ReturnExpired(return_id=command.return_id, due_at=due_at)
    return _decide(command, states, event, frees=True)


@decides(RecordReturnInTransit)
def record_in_transit(command: RecordReturnInTransit, states: States, now: datetime) -> Changes:
    """Record that the parcel is on its way back, whatever the state."""
    state = states.return_(command.return_id)
    if state.lifecycle is ReturnLifecycle.IN_TRANSIT:
        return ()
    event = ReturnInTransit(
        return_id=command.return_id, carrier=command.carrier, tracking=command.tracking
    )
    stream = streams.return_(command.return_id)
    if state.lifecycle in TRANSITIONS[ReturnInTransit]:
        return (Change(stream, event),)
    kind = _while("in_transit", state) if state.exists else AnomalyKind.RETURNED_UNASKED
    return (Change(stream, event), *_anomaly(command, state, kind, "a parcel is on its way"))


@decides(ReceiveReturn)
def receive(command: ReceiveReturn, states: States, now: datetime) -> Changes:
    """Count a parcel of an approved return; raises for units that were not announced."""
    _check_received(command)
    state = _existing(states, command)
    if _is_counted(state, command):
        return ()
    _check_transition(state, ReturnReceived)
    for line in command.lines:
        announced = state.lines.get(line.line_id)
        if announced is None:
            raise Rejected(
                Reason.NOT_FOUND,
                f"return {command.return_id} has no line {line.line_id}",
                return_id=command.return_id,
                line_id=line.line_id,
            )
        counted = line.ok + line.damaged + line.missing
        if counted > announced.outstanding:
            raise Rejected(
                Reason.QUANTITY_EXCEEDS_AVAILABLE,
                f"return {command.return_id} waits for {announced.outstanding} units of line "
                f"{line.line_id}, not {counted}",
                return_id=command.return_id,
                line_id=line.line_id,
                available=announced.outstanding,
                quantity=counted,
            )
    return _received(command, state, state.order_id)


@decides(RecordReturnReceived)
def record_received(command: RecordReturnReceived, states: States, now: datetime) -> Changes:
    """Record goods that came back, announced or not."""
    _check_received(command)
    state = states.return_(command.return_id)
    if command.reception_id in state.receptions and _same_lines(state, command):
        return ()
    order_id = state.order_id or command.order_id
    anomalies: list[tuple[AnomalyKind, str]] = []
    if command.reception_id in state.receptions:
        # Both counts are kept, this one as text; the first one stands.
        text = f"parcel {command.reception_id} counted anew: {_counts(command.lines)}"
        anomalies.append((AnomalyKind.CONFLICTING_RECEPTION, text))
    elif not state.exists:
        anomalies.append((AnomalyKind.RETURNED_UNASKED, "no return was requested"))
    elif state.lifecycle not in TRANSITIONS[ReturnReceived]:
        anomalies.append((_while("received", state), "goods came back"))
    if order_id != command.order_id:
        anomalies.append((AnomalyKind.BOUND_TO_ANOTHER_ORDER, f"reported for {command.order_id}"))
    if not states.order(order_id).exists:
        anomalies.append((AnomalyKind.UNKNOWN_ORDER, f"order {order_id} is not known"))
    unannounced = _unannounced(state, command.lines)
    if unannounced and not anomalies:
        anomalies.append((AnomalyKind.RECEIVED_MORE_THAN_REQUESTED, "more units than announced"))
    raised = [
        change for kind, detail in anomalies for change in _anomaly(command, state, kind, detail)
    ]
    if command.reception_id in state.receptions:
        return tuple(raised)
    changes = _received(command, state, order_id)
    if not states.order(order_id).exists:
        changes = changes[:1]
    return (*changes, *raised)


@decides(InspectReturn)
def inspect(command: InspectReturn, states: States, now: datetime) -> Changes:
    """Judge what came back."""
    state = _existing(states, command)
    if state.lifecycle is ReturnLifecycle.INSPECTED and state.inspection is command.outcome:
        return ()
    _check_transition(state, ReturnInspected)
    event = ReturnInspected(
        return_id=command.return_id, outcome=command.outcome, by=command.by, note=command.note
    )
    return (Change(streams.return_(command.return_id), event),)


@decides(CloseReturn)
def close(command: CloseReturn, states: States, now: datetime) -> Changes:
    """Settle an inspected return; raises if the refund was not granted on its order."""
    _check_resolution(command)
    state = _existing(states, command)
    if state.lifecycle is ReturnLifecycle.CLOSED and (
        (state.refund_id, state.exchange_order_id) == (command.refund_id, command.exchange_order_id)
    ):
        return ()
    order = existing(states, state.order_id)
    _check_transition(state, ReturnClosed)
    if command.refund_id is not None:
        grant = order.grants.get(command.refund_id)
        if grant is None or not grant.is_live:
            raise Rejected(
                Reason.NOT_FOUND,
                f"order {state.order_id} has no live refund {command.refund_id}; grant it first",
                order_id=state.order_id,
                refund_id=command.refund_id,
            )
    if command.exchange_order_id is not None:
        existing(states, command.exchange_order_id)
    event = ReturnClosed(
        return_id=command.return_id,
        resolution=command.resolution,
        refund_id=command.refund_id,
        exchange_order_id=command.exchange_order_id,
        reason=command.reason,
    )
    return _changes(command.return_id, state.order_id, event, _frees(state))


def _decide(command: OfReturn, states: States, event: Event, *, frees: bool = False) -> Changes:
    state = _existing(states, command)
    if state.lifecycle in DECIDED[type(event)]:
        return ()
    _check_transition(state, type(event))
    return _changes(command.return_id, state.order_id, event, _frees(state) if frees else ())


Moves = Iterable[tuple[MoveKind, tuple[MovedLine, ...]]]


def _changes(return_id: str, order_id: str, event: Event, moves: Moves) -> Changes:
    stream = streams.return_(return_id)
    order_stream = streams.order(order_id)
    return (
        Change(stream, event),
        *(
            Change(order_stream, OrderLinesMoved(kind=kind, cause=stream, lines=lines))
            for kind, lines in moves
            if lines
        ),
    )


def _frees(state: ReturnState) -> Moves:
    left = tuple(MovedLine(line_id, count) for line_id, count in state.outstanding.items())
    return ((MoveKind.RETURN_CANCELLED, left),)


def _received(
    command: ReceiveReturn | RecordReturnReceived, state: ReturnState, order_id: str
) -> Changes:
    event = ReturnReceived(
        return_id=command.return_id,
        order_id=order_id,
        reception_id=command.reception_id,
        lines=command.lines,
    )
    moves: dict[MoveKind, list[MovedLine]] = {
        # Units that nobody announced count as requested too, so that returned <= requested.
        MoveKind.RETURN_REQUESTED: list(_unannounced(state, command.lines)),
    }
    for line in command.lines:
        counted = (
            (MoveKind.RETURNED_OK, line.ok),
            (MoveKind.RETURNED_DAMAGED, line.damaged),
            (RECEPTIONS[line.outcome].line_kind, line.missing),
        )
        for kind, quantity in counted:
            if kind is not None and quantity:
                moves.setdefault(kind, []).append(MovedLine(line.line_id, quantity))
    return _changes(
        command.return_id,
        order_id,
        event,
        [(kind, tuple(lines)) for kind, lines in moves.items()],
    )


def _unannounced(state: ReturnState, lines: tuple[ReceivedLine, ...]) -> tuple[MovedLine, ...]:
    found: list[MovedLine] = []
    for line in lines:
        announced = state.lines.get(line.line_id)
        waiting = announced.outstanding if announced else 0
        gone = line.missing if RECEPTIONS[line.outcome].line_kind is not None else 0
        surplus = line.ok + line.damaged + gone - waiting
        if surplus > 0:
            found.append(MovedLine(line.line_id, surplus))
    return tuple(found)


def _while(happened: str, state: ReturnState) -> AnomalyKind:
    """Return the kind of what happened to a return in a state that has it not."""
    return AnomalyKind(spelled(f"{happened}_while_{state.lifecycle.value}"))


def _anomaly(command: OfReturn, state: ReturnState, kind: AnomalyKind, detail: str) -> Changes:
    stream = streams.return_(command.return_id)
    anomaly = AnomalyRaised(
        kind=kind,
        refs=(stream, streams.order(command.order_id)),
        severity="warning",
        detail=detail,
        anomaly_id=f"{kind}:{command.return_id}",
    )
    return () if anomaly.key in state.anomalies else (Change(stream, anomaly),)


def _existing(states: States, command: OfReturn) -> ReturnState:
    state = states.return_(command.return_id)
    if not state.exists:
        raise NotFound(f"there is no return {command.return_id}", return_id=command.return_id)
    if state.order_id != command.order_id:
        raise Rejected(
            Reason.BOUND_TO_ANOTHER_ORDER,
            f"return {command.return_id} belongs to order {state.order_id}, "
            f"not to {command.order_id}",
            return_id=command.return_id,
            order_id=state.order_id,
        )
    return state


def _check_transition(state: ReturnState, event: type[Event]) -> None:
    if state.lifecycle not in TRANSITIONS[event]:
        raise Rejected(
            Reason.WRONG_STATE,
            f"return {state.return_id} is {state.lifecycle.value}; {event.__name__} is not "
            "possible any more, or not yet",
            return_id=state.return_id,
            lifecycle=state.lifecycle.value,
        )


def _check_returnable(order: OrderState, moved: MovedLine) -> None:
    line = order.lines.get(moved.line_id)
    if line is None:
        raise unknown_line(order, moved.line_id)
    if line.returnable < moved.quantity:
        raise too_many(order, moved.line_id, moved.quantity, line.returnable, "returned")


def _check_received(command: ReceiveReturn | RecordReturnReceived) -> None:
    check_id("reception_id", command.reception_id)
    lines = command.lines
    for line in lines:
        if min(line.ok, line.damaged, line.missing) < 0:
            raise InvalidCommand(
                f"received line {line.line_id} has a negative count", line_id=line.line_id
            )
    counted = tuple(
        MovedLine(line.line_id, line.ok + line.damaged + line.missing) for line in lines
    )
    check_lines(counted, "received lines", required=True)


def _check_resolution(command: CloseReturn) -> None:
    wanted = {
        ReturnResolution.REFUND: (True, False),
        ReturnResolution.EXCHANGE: (False, True),
        ReturnResolution.NO_REFUND: (False, False),
    }[command.resolution]
    if (command.refund_id is not None, command.exchange_order_id is not None) != wanted:
        raise InvalidCommand(
            f"a return closed with {command.resolution.value} names a refund id exactly if it is "
            "a refund, and an exchange order id exactly if it is an exchange",
            resolution=command.resolution.value,
        )


def _counts(lines: tuple[ReceivedLine, ...]) -> str:
    return ", ".join(
        f"{line.line_id} ok {line.ok} damaged {line.damaged} missing {line.missing}"
        for line in lines
    )


def _same_lines(state: ReturnState, command: ReceiveReturn | RecordReturnReceived) -> bool:
    return state.receptions.get(command.reception_id) == command.lines


def _is_counted(state: ReturnState, command: ReceiveReturn) -> bool:
    if command.reception_id not in state.receptions:
        return False
    if _same_lines(state, command):
        return True
    raise Rejected(
        Reason.ALREADY_EXISTS,
        f"parcel {command.reception_id} of return {command.return_id} was counted with another "
        "content",
        return_id=command.return_id,
        reception_id=command.reception_id,
    )
