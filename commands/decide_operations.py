"""
Decisions on single operations: what the provider reported, what the reconciler asked, what two
people decided by hand.
"""

from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.payment_events import OperationQueried, OperationResolvedManually
from orderledger.ledger.payment_operations import (
    JANITOR,
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
    next_query_at,
)
from orderledger.ledger.payments import PaymentState

from .decide_observations import Record, observe_operation
from .decide_observations import observe as observed
from .decide_payment_guards import check_amount, existing_payment, refused, wrong_state
from .decision import Change, Changes, States, decides
from .payment_commands import (
    QueryOperation,
    RecordAborted,
    RecordAuthorisationExpired,
    RecordDeclined,
    RecordObservation,
    RecordOutcome,
    RecordPending,
    RecordProviderCapture,
    RecordProviderOperation,
    RecordReversed,
    RecordSucceeded,
    RecordUnknown,
    ResolveOperation,
)
from .payment_record import finished


def _observation(
    command: RecordOutcome, outcome: Outcome, detail: str = "", code: str = ""
) -> Observation:
    return Observation(
        payment_id=command.payment_id,
        outcome=outcome,
        order_id=command.order_id,
        kind=command.kind.value if command.kind else "",
        op_id=command.op_id,
        provider_ref=command.provider_ref,
        sequence=command.sequence,
        attempt=command.attempt,
        detail=detail,
        code=code,
    )


@decides(RecordObservation)
def record_observation(command: RecordObservation, states: States, now: datetime) -> Changes:
    """Record a report as it was interpreted."""
    return observed(command.observation, states)


@decides(RecordPending)
def record_pending(command: RecordPending, states: States, now: datetime) -> Changes:
    """Record that the provider is still working on an operation."""
    return observed(_observation(command, Outcome.PENDING, command.reason), states)


@decides(RecordUnknown)
def record_unknown(command: RecordUnknown, states: States, now: datetime) -> Changes:
    """Record that an outcome is not known; the amount stays reserved."""
    return observed(_observation(command, Outcome.UNKNOWN, command.cause), states)


@decides(RecordSucceeded)
def record_succeeded(command: RecordSucceeded, states: States, now: datetime) -> Changes:
    """Record a success with the amount that the provider states."""
    seen = msgspec.structs.replace(
        _observation(command, Outcome.SUCCEEDED),
        amount=command.amount,
        currency=command.currency,
        processed_amount=command.processed_amount,
        processed_currency=command.processed_currency,
        expires_at=command.expires_at,
        arn=command.arn,
    )
    return observed(seen, states)


@decides(RecordDeclined)
def record_declined(command: RecordDeclined, states: States, now: datetime) -> Changes:
    """Record that an operation was refused; after a success it takes the success back."""
    seen = msgspec.structs.replace(
        _observation(command, Outcome.DECLINED, command.message, command.code),
        is_retryable=command.is_retryable,
    )
    return observed(seen, states)


@decides(RecordAborted)
def record_aborted(command: RecordAborted, states: States, now: datetime) -> Changes:
    """Record that an operation was certainly not executed."""
    return observed(_observation(command, Outcome.ABORTED, command.cause), states)


@decides(RecordReversed)
def record_reversed(command: RecordReversed, states: States, now: datetime) -> Changes:
    """Record that a success was taken back."""
    return observed(_observation(command, Outcome.REVERSED, command.cause), states)


@decides(RecordProviderOperation)
def record_provider_operation(
    command: RecordProviderOperation, states: States, now: datetime
) -> Changes:
    """Record what the provider did, under the operation that has its reference, or a new one."""
    _check_reference(command.provider_ref)
    seen = Observation(
        payment_id=command.payment_id,
        outcome=Outcome.SUCCEEDED,
        order_id=command.order_id,
        kind=command.kind.value,
        provider_ref=command.provider_ref,
        amount=command.amount,
        currency=command.currency,
        sequence=command.sequence,
        parent_op=command.parent_op,
        is_final=command.is_final,
        processed_amount=command.processed_amount,
        processed_currency=command.processed_currency,
        expires_at=command.expires_at,
        arn=command.arn,
    )
    return observed(seen, states)


@decides(RecordProviderCapture)
def record_provider_capture(
    command: RecordProviderCapture, states: States, now: datetime
) -> Changes:
    """Record a capture by the provider, under the operation with its reference or a new one."""
    _check_reference(command.provider_ref)
    seen = Observation(
        payment_id=command.payment_id,
        outcome=Outcome.SUCCEEDED,
        order_id=command.order_id,
        kind=OperationKind.CAPTURE.value,
        provider_ref=command.provider_ref,
        amount=command.amount,
        currency=command.currency,
        sequence=command.sequence,
        parent_op=command.auth_op,
        is_final=command.is_final,
    )
    return observed(seen, states)


def _check_reference(provider_ref: str) -> None:
    if not provider_ref:
        raise InvalidCommand("a report of something not requested needs the provider's reference")


@decides(RecordAuthorisationExpired)
def record_authorisation_expired(
    command: RecordAuthorisationExpired, states: States, now: datetime
) -> Changes:
    """Record that the provider let an authorisation expire; its hold is released."""
    seen = Observation(
        payment_id=command.payment_id,
        outcome=Outcome.EXPIRED,
        order_id=command.order_id,
        kind=OperationKind.AUTHORISE.value,
        op_id=command.auth_op,
        provider_ref=command.provider_ref,
    )
    return observed(seen, states)


def _existing_operation(state: PaymentState, op_id: str) -> Operation:
    op = state.operations.get(op_id)
    if op is None:
        raise NotFound(
            f"payment {state.payment_id} has no operation {op_id!r}",
            payment_id=state.payment_id,
            op_id=op_id,
        )
    return op


@decides(QueryOperation)
def query(command: QueryOperation, states: States, now: datetime) -> Changes:
    """
    Note an inconclusive query and when to ask again; a person must decide after the last one.

    A conclusive answer is recorded as the report that it is, not here.
    """
    state = existing_payment(states, command)
    op = _existing_operation(state, command.op_id)
    if op.status not in JANITOR:
        raise wrong_state(
            state,
            f"operation {op.op_id} is {op.status.value}, there is nothing to ask",
            {"op_id": op.op_id, "status": op.status.value},
        )
    stream = streams.payment(command.payment_id)
    next_at = next_query_at(op.status, op.queries + 1, now)
    event = OperationQueried(op_id=op.op_id, result=command.result, next_at=next_at)
    if next_at is not None:
        return (Change(stream, event),)
    anomaly = AnomalyRaised(
        kind=AnomalyKind.MANUAL_RESOLUTION_NEEDED,
        refs=(op.op_id,),
        detail=f"{op.kind.value} of {op.amount} {state.currency} is {op.status.value}",
        severity="error",
    )
    if anomaly.key in state.anomalies:
        return (Change(stream, event),)
    return (Change(stream, event), Change(stream, anomaly))


_DECIDABLE: Final = frozenset({Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.ABORTED})


@decides(ResolveOperation)
def resolve(command: ResolveOperation, states: States, now: datetime) -> Changes:
    """Decide an unknown outcome by hand: who decided, then the outcome as if it was reported."""
    if command.outcome not in _DECIDABLE:
        raise InvalidCommand(
            f"an operation is resolved as succeeded, declined or aborted, not "
            f"{command.outcome.value}",
            outcome=command.outcome.value,
        )
    state = existing_payment(states, command)
    op = _existing_operation(state, command.op_id)
    if command.amount is not None:
        check_amount(command.amount, state.currency)
    if not command.actor or not command.approver or command.actor == command.approver:
        raise refused(
            state,
            Reason.FOUR_EYES_REQUIRED,
            f"operation {op.op_id} must be resolved by {command.actor!r} and approved by "
            f"somebody else than {command.approver!r}",
            {"op_id": op.op_id},
        )
    if op.status.value == command.outcome.value:
        return ()
    if op.status is not OperationStatus.UNKNOWN:
        raise wrong_state(
            state,
            f"operation {op.op_id} is {op.status.value}, not unknown",
            {"op_id": op.op_id, "status": op.status.value},
        )
    seen = Observation(
        payment_id=command.payment_id,
        outcome=command.outcome,
        op_id=command.op_id,
        provider_ref=command.provider_ref,
        amount=command.amount,
        detail=command.reason,
    )
    record = Record(states, state, seen)
    record.add(
        OperationResolvedManually(
            op_id=command.op_id,
            outcome=command.outcome,
            actor=command.actor,
            approver=command.approver,
            reason=command.reason,
        )
    )
    observe_operation(record)
    return finished(record, state)
