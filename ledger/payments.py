"""
One payment: how each event changes what was authorised, captured, voided and refunded.

The state itself is in ``payment_state``; this module is where to import it from.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from . import chargebacks
from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .chargeback_events import OfChargeback
from .events import Event
from .limits import AMOUNT_MINOR_MAX
from .operation_reports import Report
from .payment_events import (
    AuthorisationAdjusted,
    AuthorisationExpired,
    AuthorisationExpiring,
    AuthorisationVoided,
    CaptureFinalised,
    CaptureReversed,
    CustomerCredited,
    ObservationKept,
    OperationAborted,
    OperationConflictObserved,
    OperationDeclined,
    OperationMatched,
    OperationOutcomeUnknown,
    OperationPending,
    OperationQueried,
    OperationReconciled,
    OperationRequested,
    OperationResolvedManually,
    OperationReversed,
    OutcomeEvent,
    PaymentActionRequired,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentInitiated,
    RefundReversed,
    RefundSucceeded,
    ReversalEvent,
    SuccessEvent,
)
from .payment_operations import Operation, OperationKind, OperationStatus, Outcome
from .payment_state import (
    Authorisation,
    Bearing,
    PaymentLifecycle,
    PaymentState,
    Reconciled,
    failed_refunds,
    owed_again,
    reconciled_key,
    reference_key,
    refund_bearings,
    refund_operations,
)

__all__ = [
    "CONCLUDED",
    "EVOLVE",
    "INITIAL",
    "Authorisation",
    "Bearing",
    "PaymentLifecycle",
    "PaymentState",
    "failed_refunds",
    "owed_again",
    "rank",
    "reconciled_key",
    "reference_key",
    "refund_bearings",
    "refund_operations",
]

_SUCCEEDED: Final = OperationStatus.SUCCEEDED


INITIAL: Final = PaymentState()

CONCLUDED: Final = "concluded "
"""Begins the key of an event that the engine concludes from contradicting reports."""
_SAYING: Final = frozenset({Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.ABORTED, Outcome.REVERSED})


def _with(state: PaymentState, before: Operation | None, after: Operation) -> PaymentState:
    """Put an operation in place of its earlier self and move the sums by the difference."""
    changes: dict[str, Any] = {"operations": {**state.operations, after.op_id: after}}
    reserved, done, is_final = after.reserved, after.done, after.is_final and after.done > 0
    if before is not None:
        reserved -= before.reserved
        done -= before.done
        finals = is_final - (before.is_final and before.done > 0)
    else:
        finals = int(is_final)
    if reserved or done or after.kind is OperationKind.ADJUST:
        _sums[after.kind](state, after, _Difference(reserved, done, finals), changes)
    if after.provider_ref:
        key = reference_key(after.kind.value, after.provider_ref)
        if key not in state.by_reference:
            changes["by_reference"] = {**state.by_reference, key: after.op_id}
    return msgspec.structs.replace(state, **changes)


class _Difference(msgspec.Struct, frozen=True, gc=False):
    reserved: int
    done: int
    finals: int


_Changes = dict[str, Any]


def _sum_authorise(
    state: PaymentState, op: Operation, moved: _Difference, changes: _Changes
) -> None:
    changes["initiating"] = state.initiating + moved.reserved
    changes["needs_action"] = state.needs_action and op.is_in_flight
    if moved.done:
        one = state.authorisations.get(op.op_id, _NO_AUTHORISATION)
        changed = msgspec.structs.replace(one, authorised=one.authorised + moved.done)
        changes["authorisations"] = {**state.authorisations, op.op_id: changed}


def _sum_adjust(state: PaymentState, op: Operation, moved: _Difference, changes: _Changes) -> None:
    """The adjustment with the highest rank counts, in whatever order they were reported."""
    done = [
        (one.sequence, one.ordinal, one.settled)
        for one in changes["operations"].values()
        if one.kind is OperationKind.ADJUST and one.parent_op == op.parent_op and one.done
    ]
    auth = state.authorisations.get(op.parent_op, _NO_AUTHORISATION)
    adjusted = max(done)[2] if done else None
    changed = msgspec.structs.replace(auth, adjusted=adjusted)
    changes["authorisations"] = {**state.authorisations, op.parent_op: changed}


def _sum_capture(state: PaymentState, op: Operation, moved: _Difference, changes: _Changes) -> None:
    one = state.authorisations.get(op.parent_op, _NO_AUTHORISATION)
    changed = msgspec.structs.replace(
        one,
        captured=one.captured + moved.done,
        capturing=one.capturing + moved.reserved,
        finals=one.finals + moved.finals,
    )
    changes["authorisations"] = {**state.authorisations, op.parent_op: changed}


def _sum_void(state: PaymentState, op: Operation, moved: _Difference, changes: _Changes) -> None:
    one = state.authorisations.get(op.parent_op, _NO_AUTHORISATION)
    changed = msgspec.structs.replace(
        one, voided=one.voided + moved.done, voiding=one.voiding + moved.reserved
    )
    changes["authorisations"] = {**state.authorisations, op.parent_op: changed}


def _sum_purchase(
    state: PaymentState, op: Operation, moved: _Difference, changes: _Changes
) -> None:
    changes["initiating"] = state.initiating + moved.reserved
    changes["needs_action"] = state.needs_action and op.is_in_flight
    changes["purchased"] = state.purchased + moved.done


def _sum_refund(state: PaymentState, op: Operation, moved: _Difference, changes: _Changes) -> None:
    changes["refund_in_flight"] = state.refund_in_flight + moved.reserved
    changes["refunded"] = state.refunded + moved.done


def _sum_credit(state: PaymentState, op: Operation, moved: _Difference, changes: _Changes) -> None:
    changes["credited"] = state.credited + moved.done


_NO_AUTHORISATION: Final = Authorisation()
_sums: Final = {
    OperationKind.AUTHORISE: _sum_authorise,
    OperationKind.ADJUST: _sum_adjust,
    OperationKind.CAPTURE: _sum_capture,
    OperationKind.VOID: _sum_void,
    OperationKind.PURCHASE: _sum_purchase,
    OperationKind.REFUND: _sum_refund,
    OperationKind.CREDIT: _sum_credit,
}


def _initiated(state: PaymentState, event: PaymentInitiated) -> PaymentState:
    return msgspec.structs.replace(
        state,
        payment_id=event.payment_id,
        order_id=event.order_id,
        provider=event.provider,
        method=event.method,
        currency=event.currency,
        amount=event.amount,
        capture_mode=event.capture_mode,
        capabilities=event.capabilities,
        quote_id=event.quote_id,
        order_version=event.order_version,
        expires_at=event.expires_at,
        fx=event.fx,
    )


def _action_required(state: PaymentState, event: PaymentActionRequired) -> PaymentState:
    return msgspec.structs.replace(state, needs_action=True)


def _requested(state: PaymentState, event: OperationRequested) -> PaymentState:
    op = Operation(
        op_id=event.op_id,
        kind=event.kind,
        amount=event.amount,
        attempt=event.attempt,
        idempotency_key=event.idempotency_key,
        parent_op=event.parent_op,
        refund_id=event.refund_id,
        is_final=event.is_final,
        funding=event.funding,
        is_reissue=event.is_reissue,
        order_amount=event.order_amount,
        ordinal=len(state.operations),
    )
    return _with(state, state.operations.get(event.op_id), op)


def _moved(
    state: PaymentState,
    event: OutcomeEvent,
    status: OperationStatus,
    report: Report | None = None,
    **changes: Any,
) -> PaymentState:
    """Move a known operation to a status; a report about an unknown one is only remembered."""
    before = state.operations.get(event.op_id)
    if before is None:
        return msgspec.structs.replace(state, kept=state.kept | {event.key})
    if report is not None:
        changes["reports"] = (*before.reports, report)
    after = msgspec.structs.replace(
        before,
        status=status,
        provider_ref=event.provider_ref or before.provider_ref,
        sequence=max(event.sequence, before.sequence),
        attempt=max(event.attempt, before.attempt),
        seen=(*before.seen, event.key),
        **changes,
    )
    return _with(state, before, after)


def _pending(state: PaymentState, event: OperationPending) -> PaymentState:
    return _moved(state, event, OperationStatus.PENDING, queries=0)


def _unknown(state: PaymentState, event: OperationOutcomeUnknown) -> PaymentState:
    return _moved(state, event, OperationStatus.UNKNOWN, queries=0)


def _declined(state: PaymentState, event: OperationDeclined) -> PaymentState:
    return _moved(_acted(state), event, OperationStatus.DECLINED, _report(event))


def _aborted(state: PaymentState, event: OperationAborted) -> PaymentState:
    return _moved(_acted(state), event, OperationStatus.ABORTED, _report(event))


def _report(event: OutcomeEvent, amount: int = 0) -> Report:
    # The key begins with the outcome: a reversal of what was never seen to succeed is a decline.
    is_reversal = amount == 0 and event.key.startswith(f"{Outcome.REVERSED.value} ")
    return Report(event.provider_ref, event.sequence, event.attempt, amount, is_reversal)


def _acted(state: PaymentState) -> PaymentState:
    return msgspec.structs.replace(state, needs_action=False) if state.needs_action else state


def _succeeded(kind: OperationKind) -> Callable[[PaymentState, SuccessEvent], PaymentState]:
    def evolve(state: PaymentState, event: SuccessEvent) -> PaymentState:
        before = state.operations.get(event.op_id)
        said = _report(event, event.amount)
        if before is not None:
            changes: dict[str, Any] = {"settled": event.amount}
            if isinstance(event, PaymentAuthorised):
                changes["expires_at"] = event.expires_at
            return _moved(state, event, _SUCCEEDED, said, **changes)
        is_direct = isinstance(event, PaymentCaptured) and event.is_direct
        op = Operation(
            op_id=event.op_id,
            kind=OperationKind.PURCHASE if is_direct else kind,
            amount=event.amount,
            status=_SUCCEEDED,
            attempt=event.attempt,
            provider_ref=event.provider_ref,
            parent_op=event.parent_op,
            refund_id=event.refund_id if isinstance(event, RefundSucceeded) else "",
            is_final=isinstance(event, PaymentCaptured) and event.is_final,
            settled=event.amount,
            sequence=event.sequence,
            ordinal=-1,
            seen=(event.key,),
            reports=(said,),
            expires_at=event.expires_at if isinstance(event, PaymentAuthorised) else None,
            is_observed=True,
        )
        return _with(state, None, op)

    return evolve


def _reversed(state: PaymentState, event: ReversalEvent) -> PaymentState:
    # A reversal that the engine concludes from reports it has is no report of its own.
    said = None if event.key.startswith(CONCLUDED) else _report(event)
    return _moved(state, event, OperationStatus.REVERSED, said)


def _conflicted(state: PaymentState, event: OperationConflictObserved) -> PaymentState:
    op = state.operations.get(event.op_id)
    status = op.status if op is not None else _SUCCEEDED
    said = None if event.key.startswith(CONCLUDED) else _report(event, event.amount)
    return _moved(state, event, status, said, settled=event.counted)


def _matched(state: PaymentState, event: OperationMatched) -> PaymentState:
    """The observed operation hands its outcome over to the requested one and counts no more."""
    observed = state.operations.get(event.observed_op_id)
    requested = state.operations.get(event.op_id)
    if observed is None or requested is None:
        return state
    spent = msgspec.structs.replace(
        observed, status=OperationStatus.ABORTED, matched_by=event.op_id, settled=0
    )
    state = _with(state, observed, spent)
    state = _referring(state, event.op_id, observed.kind, observed.provider_ref)
    taken = msgspec.structs.replace(
        requested,
        provider_ref=observed.provider_ref,
        is_final=requested.is_final or observed.is_final,
        seen=(*requested.seen, *observed.seen),
        reports=(*requested.reports, *observed.reports),
    )
    if rank(requested) < rank(observed):
        taken = msgspec.structs.replace(
            taken,
            status=observed.status,
            settled=observed.settled,
            sequence=max(observed.sequence, requested.sequence),
        )
    return _with(state, requested, taken)


def rank(op: Operation) -> tuple[bool, int, int]:
    """Order reports of a success: any beats none, then the provider's sequence, then the amount."""
    return (op.settled > 0, op.sequence, op.settled)


def _referring(
    state: PaymentState, op_id: str, kind: OperationKind, provider_ref: str
) -> PaymentState:
    key = reference_key(kind.value, provider_ref)
    return msgspec.structs.replace(state, by_reference={**state.by_reference, key: op_id})


def _kept(state: PaymentState, event: ObservationKept) -> PaymentState:
    """Remember the report and, if it repeats a success, the reference and sequence it gives."""
    op = state.operations.get(event.op_id)
    if op is not None and event.outcome in _SAYING and _is_possible(state, event):
        amount = event.amount if event.outcome is Outcome.SUCCEEDED else 0
        is_reversal = event.outcome is Outcome.REVERSED
        said = Report(event.provider_ref, event.sequence, event.attempt, amount, is_reversal)
        op = msgspec.structs.replace(op, reports=(*op.reports, said))
        state = msgspec.structs.replace(state, operations={**state.operations, op.op_id: op})
    if op is not None and event.outcome is Outcome.SUCCEEDED and event.amount == op.settled:
        known = msgspec.structs.replace(
            op,
            provider_ref=op.provider_ref or event.provider_ref,
            sequence=max(op.sequence, event.sequence),
        )
        state = _with(state, op, known)
        if event.provider_ref:
            state = _referring(state, op.op_id, op.kind, event.provider_ref)
    return msgspec.structs.replace(state, kept=state.kept | {event.key})


def _is_possible(state: PaymentState, event: ObservationKept) -> bool:
    """A success of an impossible amount, or in another currency, says nothing of the operation."""
    if event.outcome is not Outcome.SUCCEEDED:
        return True
    is_amount = 0 < event.amount <= AMOUNT_MINOR_MAX
    return is_amount and event.currency in ("", state.currency)


def _queried(state: PaymentState, event: OperationQueried) -> PaymentState:
    op = state.operations.get(event.op_id)
    if op is None:
        return state
    return _with(state, op, msgspec.structs.replace(op, queries=op.queries + 1))


def _expired(state: PaymentState, event: AuthorisationExpired) -> PaymentState:
    one = state.authorisations.get(event.auth_op, _NO_AUTHORISATION)
    changed = msgspec.structs.replace(one, is_expired=True)
    return msgspec.structs.replace(
        state, authorisations={**state.authorisations, event.auth_op: changed}
    )


def _reconciled(state: PaymentState, event: OperationReconciled) -> PaymentState:
    key = reconciled_key(event.op_id, is_reversal=event.is_reversal)
    shown = Reconciled(event.settlement, event.line_no, event.amount)
    before = state.reconciled.get(key, ())
    return msgspec.structs.replace(state, reconciled={**state.reconciled, key: (*before, shown)})


def _expiring(state: PaymentState, event: AuthorisationExpiring) -> PaymentState:
    return msgspec.structs.replace(state, alerted=(*state.alerted, event.deadline_id))


def _unchanged(state: PaymentState, event: Event) -> PaymentState:
    return state


def _anomaly(state: PaymentState, event: AnomalyRaised | AnomalyResolved) -> PaymentState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


def _of_chargeback(state: PaymentState, event: OfChargeback) -> PaymentState:
    before = state.chargebacks.get(event.chargeback_id, chargebacks.INITIAL)
    after = chargebacks.EVOLVE[type(event)](before, event)
    return msgspec.structs.replace(
        state, chargebacks={**state.chargebacks, event.chargeback_id: after}
    )


EVOLVE: Final[Mapping[type[Event], Callable[[PaymentState, Any], PaymentState]]] = {
    PaymentInitiated: _initiated,
    PaymentActionRequired: _action_required,
    OperationRequested: _requested,
    OperationPending: _pending,
    OperationOutcomeUnknown: _unknown,
    OperationDeclined: _declined,
    OperationAborted: _aborted,
    PaymentAuthorised: _succeeded(OperationKind.AUTHORISE),
    AuthorisationAdjusted: _succeeded(OperationKind.ADJUST),
    PaymentCaptured: _succeeded(OperationKind.CAPTURE),
    AuthorisationVoided: _succeeded(OperationKind.VOID),
    RefundSucceeded: _succeeded(OperationKind.REFUND),
    CustomerCredited: _succeeded(OperationKind.CREDIT),
    CaptureReversed: _reversed,
    RefundReversed: _reversed,
    OperationReversed: _reversed,
    OperationConflictObserved: _conflicted,
    OperationMatched: _matched,
    ObservationKept: _kept,
    OperationQueried: _queried,
    OperationResolvedManually: _unchanged,
    AuthorisationExpired: _expired,
    AuthorisationExpiring: _expiring,
    CaptureFinalised: _unchanged,
    OperationReconciled: _reconciled,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
    **dict.fromkeys(chargebacks.EVOLVE, _of_chargeback),
}
