"""
Decisions on authorisations: authorise, purchase, adjust, capture, void, let expire.

The guards apply in the order malformed, not found, already done, state, amounts. An operation is
only requested here: the provider is called after the request is stored, and what it answers is
recorded by ``decide_operations``.
"""

from datetime import datetime

from orderledger.ledger import streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.errors import Reason
from orderledger.ledger.limits import TEXT_LENGTH_MAX, check_count
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_events import (
    AuthorisationExpired,
    AuthorisationExpiring,
    CaptureMode,
    OperationRequested,
)
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.payments import EVOLVE, Authorisation, PaymentLifecycle, PaymentState
from orderledger.ledger.recipes_payment import between

from .decide_payment_guards import (
    NOT_CAPTURABLE,
    Request,
    amount_due,
    check_amount,
    check_available,
    check_currency,
    check_op_id,
    existing_order,
    existing_payment,
    is_known,
    open_authorisation,
    refused,
    requested,
    wrong_state,
)
from .decision import Change, Changes, States, decides
from .payment_commands import (
    AdjustAuthorisation,
    AlertAuthorisationExpiry,
    Authorise,
    Capture,
    ExpireAuthorisation,
    Purchase,
    Void,
)

_OVER = frozenset({PaymentLifecycle.FAILED, PaymentLifecycle.VOIDED, PaymentLifecycle.EXPIRED})


@decides(Authorise)
def authorise(command: Authorise, states: States, now: datetime) -> Changes:
    """Request an authorisation of the payment's amount, or of what is left of it."""
    return _open_payment(command, states, now, OperationKind.AUTHORISE)


@decides(Purchase)
def purchase(command: Purchase, states: States, now: datetime) -> Changes:
    """Request authorisation and capture in one."""
    return _open_payment(command, states, now, OperationKind.PURCHASE)


def _open_payment(
    command: Authorise | Purchase, states: States, now: datetime, kind: OperationKind
) -> Changes:
    check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = existing_payment(states, command)
    request = Request(
        op_id=command.op_id,
        kind=kind,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
    )
    if is_known(state, request):
        return ()
    order = existing_order(states, state.order_id)
    _check_may_open(state, order, now, kind)
    check_currency(state, command.currency)
    _check_opening_amount(state, command.amount)
    if state.order_version != order.version or state.lifecycle in _OVER:
        due = amount_due(states, order, state.payment_id, now)
        check_available(
            state,
            f"that order {state.order_id} still lacks",
            state.in_order_currency(command.amount),
            due,
        )
    return _change(state, requested(request, command.amount))


def _check_may_open(
    state: PaymentState, order: OrderState, now: datetime, kind: OperationKind
) -> None:
    if not order.accepts_payment:
        raise wrong_state(
            state,
            f"its order is {order.lifecycle.value} and takes no payment",
            {"order_lifecycle": order.lifecycle.value},
        )
    if state.expires_at is not None and now >= state.expires_at:
        raise refused(
            state,
            Reason.WINDOW_CLOSED,
            f"it expired at {state.expires_at.isoformat()}",
            {"expired_at": state.expires_at.isoformat()},
        )
    if state.is_credit:
        raise wrong_state(state, "it pays the customer; initiate another payment for a charge")
    if kind is OperationKind.AUTHORISE and state.purchased:
        raise wrong_state(state, "what was purchased is not authorised again")
    if kind is OperationKind.PURCHASE and state.held:
        raise wrong_state(state, "it is authorised: capture it, or void it first")
    if state.quote_id != order.quote_id:
        raise refused(
            state,
            Reason.QUOTE_MISMATCH,
            f"it was initiated at quote {state.quote_id!r}, its order is at {order.quote_id!r}",
            {"quote_id": state.quote_id, "order_quote_id": order.quote_id},
        )


def _check_opening_amount(state: PaymentState, amount: int) -> None:
    """The first operation is for the whole payment; a later one for at most what is left."""
    left = (
        state.amount
        - state.initiating
        - state.captured
        - state.capture_in_flight
        - state.capturable
    )
    check_available(state, "left to authorise", amount, left)
    is_first = not state.authorisations and not state.captured and not state.initiating
    if is_first and amount != state.amount:
        raise refused(
            state,
            Reason.AMOUNT_MISMATCH,
            f"it was initiated over {state.amount}, not {amount} {state.currency} minor units",
            {"amount": amount, "initiated": state.amount},
        )


def _change(state: PaymentState, event: OperationRequested) -> Changes:
    return (Change(streams.payment(state.payment_id), event),)


@decides(AdjustAuthorisation)
def adjust(command: AdjustAuthorisation, states: States, now: datetime) -> Changes:
    """Request another absolute amount of an authorisation, never below what is captured."""
    check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = existing_payment(states, command)
    request = Request(
        op_id=command.op_id,
        kind=OperationKind.ADJUST,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
        parent_op=command.auth_op,
    )
    if is_known(state, request):
        return ()
    order = existing_order(states, state.order_id)
    if order.lifecycle in NOT_CAPTURABLE:
        raise wrong_state(state, f"its order is {order.lifecycle.value}")
    auth_op, one = open_authorisation(state, command.auth_op)
    if not state.capabilities.incremental_authorisation:
        raise refused(
            state,
            Reason.NOT_SUPPORTED_BY_PROVIDER,
            f"provider {state.provider} does not declare incremental authorisation",
        )
    check_currency(state, command.currency)
    used = one.captured + one.capturing + one.voided + one.voiding
    if command.amount < used:
        raise refused(
            state,
            Reason.AMOUNT_MISMATCH,
            f"{used} {state.currency} minor units of the authorisation are used; it cannot "
            f"become {command.amount}",
            {"amount": command.amount, "used": used},
        )
    beyond = state.in_order_currency(command.amount - max(one.effective, state.amount))
    if beyond > 0:
        lacking = amount_due(states, order, "", now)
        check_available(state, f"that order {state.order_id} lacks besides", beyond, lacking)
    return _change(state, requested(request, command.amount, auth_op))


@decides(Capture)
def capture(command: Capture, states: States, now: datetime) -> Changes:
    """Request a capture of an open authorisation; the amount is reserved at once."""
    check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = existing_payment(states, command)
    request = Request(
        op_id=command.op_id,
        kind=OperationKind.CAPTURE,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
        parent_op=command.auth_op,
        is_final=command.is_final,
    )
    if is_known(state, request):
        return ()
    order = existing_order(states, state.order_id)
    if order.lifecycle in NOT_CAPTURABLE:
        raise wrong_state(
            state,
            f"its order is {order.lifecycle.value}; void the authorisation",
            {"order_lifecycle": order.lifecycle.value},
        )
    if state.capture_mode is CaptureMode.AUTO:
        raise wrong_state(state, "the provider captures it by itself")
    auth_op, one = open_authorisation(state, command.auth_op)
    _check_capture_count(state, auth_op, command)
    check_currency(state, command.currency)
    tolerance = one.effective * state.capabilities.over_capture_basis_points // 10_000
    free = one.effective + tolerance - one.voided - one.captured - one.capturing - one.voiding
    check_available(state, "left to capture", command.amount, max(0, free))
    return _change(state, requested(request, command.amount, auth_op))


def _check_capture_count(state: PaymentState, auth_op: str, command: Capture) -> None:
    captures = [
        op
        for op in state.operations.values()
        if op.kind is OperationKind.CAPTURE
        and op.parent_op == auth_op
        and (op.is_in_flight or op.done)
    ]
    for op in captures:
        if op.is_in_flight and (op.is_final or command.is_final):
            raise refused(
                state,
                Reason.OPERATION_IN_FLIGHT,
                f"capture {op.op_id} is {op.status.value}; the final capture must be the only one "
                "in flight",
                {"other_op_id": op.op_id},
            )
    is_multiple = state.capture_mode is CaptureMode.MULTI
    limit = state.capabilities.captures_max if is_multiple else 1
    if not (is_multiple or command.is_final):
        raise refused(
            state,
            Reason.NOT_SUPPORTED_BY_PROVIDER,
            f"capture mode {state.capture_mode.value} allows one capture, which must be final; "
            "initiate with capture mode multi for captures in parts",
            {"captures": len(captures), "limit": limit},
        )
    if len(captures) >= limit:
        raise refused(
            state,
            Reason.NOT_SUPPORTED_BY_PROVIDER,
            f"provider {state.provider} allows {limit} captures of this authorisation, and there "
            f"are {len(captures)}",
            {"captures": len(captures), "limit": limit},
        )


@decides(Void)
def void(command: Void, states: States, now: datetime) -> Changes:
    """Request that what was authorised and not captured is given up."""
    if command.amount is not None:
        check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = existing_payment(states, command)
    request = Request(
        op_id=command.op_id,
        kind=OperationKind.VOID,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
        parent_op=command.auth_op,
    )
    if is_known(state, request):
        return ()
    return request_void(state, request)


def request_void(state: PaymentState, request: Request) -> Changes:
    """Return the request of a void whose id is new; raises Rejected."""
    auth_op, one = open_authorisation(state, request.parent_op)
    _check_no_capture_in_flight(state, one)
    check_currency(state, request.currency)
    free = one.remainder - one.voiding
    amount = free if request.amount is None else request.amount
    if amount <= 0:
        raise wrong_state(state, "nothing is left to void")
    check_available(state, "left to void", amount, max(0, free))
    if amount < one.remainder and not state.capabilities.partial_void:
        raise refused(
            state,
            Reason.NOT_SUPPORTED_BY_PROVIDER,
            f"provider {state.provider} voids all {one.remainder} or nothing, not {amount}",
            {"amount": amount, "available": one.remainder},
        )
    return _change(state, requested(request, amount, auth_op))


def _check_no_capture_in_flight(state: PaymentState, one: Authorisation) -> None:
    if one.capturing:
        raise refused(
            state,
            Reason.OPERATION_IN_FLIGHT,
            f"a capture of {one.capturing} {state.currency} minor units has no outcome yet",
            {"in_flight": one.capturing},
        )


@decides(ExpireAuthorisation)
def expire(command: ExpireAuthorisation, states: States, now: datetime) -> Changes:
    """Let an authorisation's rest go when its time is over; nothing is posted but the release."""
    state = existing_payment(states, command)
    known = state.authorisations.get(command.auth_op)
    if known is not None and known.is_expired:
        return ()
    auth_op, one = open_authorisation(state, command.auth_op)
    # An adjustment may name an authorisation of which nothing else is known.
    op = state.operations.get(auth_op)
    lasts = op.expires_at if op is not None else None
    until = max(command.due_at, lasts or command.due_at)
    if now < until:
        raise refused(
            state,
            Reason.NOT_YET_DUE,
            f"the authorisation lasts until {until.isoformat()}",
            {"due_at": until.isoformat()},
        )
    _check_no_capture_in_flight(state, one)
    event = AuthorisationExpired(auth_op=auth_op, amount=one.remainder)
    after = EVOLVE[AuthorisationExpired](state, event)
    stream = streams.payment(command.payment_id)
    return (Change(stream, event, between(state, after)),)


@decides(AlertAuthorisationExpiry)
def alert_expiry(command: AlertAuthorisationExpiry, states: States, now: datetime) -> Changes:
    """Say once that an authorisation runs out with money left on it; raises NOT_YET_DUE."""
    check_op_id(command.auth_op)
    check_count("characters of deadline_id", len(command.deadline_id), TEXT_LENGTH_MAX)
    state = existing_payment(states, command)
    one = state.authorisations.get(command.auth_op)
    op = state.operations.get(command.auth_op)
    if one is None or op is None or op.expires_at is None:
        raise wrong_state(
            state,
            f"authorisation {command.auth_op!r} is not known to expire",
            {"auth_op": command.auth_op},
        )
    if command.deadline_id in state.alerted or not one.is_open or not one.remainder:
        return ()
    if now < command.due_at:
        raise refused(
            state,
            Reason.NOT_YET_DUE,
            f"the alert is due at {command.due_at.isoformat()}",
            {"due_at": command.due_at.isoformat()},
        )
    event = AuthorisationExpiring(
        auth_op=command.auth_op,
        amount=one.remainder,
        expires_at=op.expires_at,
        deadline_id=command.deadline_id,
    )
    anomaly = AnomalyRaised(
        kind=AnomalyKind.AUTHORISATION_EXPIRING,
        refs=(command.auth_op,),
        detail=f"{one.remainder} {state.currency} minor units expire at "
        f"{op.expires_at.isoformat()}; capture them or authorise anew",
    )
    stream = streams.payment(command.payment_id)
    changes = (Change(stream, event),)
    return changes if anomaly.key in state.anomalies else (*changes, Change(stream, anomaly))
