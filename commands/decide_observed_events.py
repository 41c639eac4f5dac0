"""
The events that provider reports become: one function or class per outcome and kind.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from orderledger.ledger.events import Event
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.operation_reports import Report
from orderledger.ledger.payment_events import (
    AuthorisationAdjusted,
    AuthorisationVoided,
    CaptureReversed,
    CustomerCredited,
    OperationAborted,
    OperationDeclined,
    OperationOutcomeUnknown,
    OperationPending,
    PaymentAuthorised,
    PaymentCaptured,
    RefundReversed,
    RefundSucceeded,
)
from orderledger.ledger.payment_operations import Operation, OperationKind, Outcome
from orderledger.ledger.payments import PaymentState


def observation_key(seen: Observation, amount: int) -> str:
    """Return the key by which a repeat of a report about one operation is known."""
    return (
        f"{seen.outcome.value} {seen.provider_ref} {amount} {seen.currency} "
        f"{seen.sequence} {seen.attempt}"
    )


def reports_with(op: Operation, seen: Observation, amount: int) -> tuple[Report, ...]:
    """Return what was reported of an operation's success or failure, one more report included."""
    is_success = seen.outcome is Outcome.SUCCEEDED
    said = Report(
        seen.provider_ref,
        seen.sequence,
        seen.attempt,
        amount if is_success else 0,
        seen.outcome is Outcome.REVERSED,
    )
    return (*op.reports, said)


def parent_of(state: PaymentState, seen: Observation) -> str:
    """
    Return the authorisation that a report refers to: the named one, or the only one requested.

    Whether its success was reported yet plays no part: reports come in any order.
    """
    if seen.parent_op:
        return seen.parent_op
    asked = [
        op.op_id
        for op in state.operations.values()
        if op.kind is OperationKind.AUTHORISE and not op.is_observed
    ]
    return asked[0] if len(asked) == 1 else ""


def _pending(seen: Observation, op: Operation, amount: int) -> Event:
    return OperationPending(
        op_id=op.op_id,
        key=observation_key(seen, amount),
        provider_ref=seen.provider_ref,
        sequence=seen.sequence,
        attempt=seen.attempt,
        reason=seen.detail,
    )


def _unknown(seen: Observation, op: Operation, amount: int) -> Event:
    return OperationOutcomeUnknown(
        op_id=op.op_id,
        key=observation_key(seen, amount),
        provider_ref=seen.provider_ref,
        sequence=seen.sequence,
        attempt=seen.attempt,
        cause=seen.detail,
    )


def declined_event(seen: Observation, op: Operation, amount: int) -> Event:
    return OperationDeclined(
        op_id=op.op_id,
        key=observation_key(seen, amount),
        provider_ref=seen.provider_ref,
        sequence=seen.sequence,
        attempt=seen.attempt,
        code=seen.code or ("reversed" if seen.outcome is Outcome.REVERSED else ""),
        message=seen.detail,
        is_retryable=seen.is_retryable,
    )


def _aborted(seen: Observation, op: Operation, amount: int) -> Event:
    return OperationAborted(
        op_id=op.op_id,
        key=observation_key(seen, amount),
        provider_ref=seen.provider_ref,
        sequence=seen.sequence,
        attempt=seen.attempt,
        cause=seen.detail,
    )


def success_event(seen: Observation, op: Operation, fields: dict[str, Any]) -> Event:
    """Return the event of the kind that succeeded."""
    match op.kind:
        case OperationKind.CAPTURE | OperationKind.PURCHASE:
            fields["is_final"] = op.is_final
            fields["is_direct"] = op.kind is OperationKind.PURCHASE
        case OperationKind.AUTHORISE:
            fields["expires_at"] = seen.expires_at
            fields["is_partial"] = fields["amount"] != op.amount
        case OperationKind.VOID:
            fields["refund_id"] = op.refund_id
        case OperationKind.REFUND:
            fields["refund_id"] = op.refund_id
            fields["arn"] = seen.arn
        case OperationKind.CREDIT | OperationKind.ADJUST:
            pass
    build: Callable[..., Event] = SUCCESS_EVENTS[op.kind]
    return build(**fields)


OUTCOME_EVENTS: Final[Mapping[Outcome, Callable[[Observation, Operation, int], Event]]] = (
    MappingProxyType(
        {
            Outcome.PENDING: _pending,
            Outcome.UNKNOWN: _unknown,
            Outcome.DECLINED: declined_event,
            Outcome.ABORTED: _aborted,
        }
    )
)
SUCCESS_EVENTS: Final = MappingProxyType(
    {
        OperationKind.AUTHORISE: PaymentAuthorised,
        OperationKind.ADJUST: AuthorisationAdjusted,
        OperationKind.CAPTURE: PaymentCaptured,
        OperationKind.PURCHASE: PaymentCaptured,
        OperationKind.VOID: AuthorisationVoided,
        OperationKind.REFUND: RefundSucceeded,
        OperationKind.CREDIT: CustomerCredited,
    }
)
REVERSAL_EVENTS: Final = MappingProxyType(
    {
        OperationKind.CAPTURE: CaptureReversed,
        OperationKind.PURCHASE: CaptureReversed,
        OperationKind.REFUND: RefundReversed,
    }
)
