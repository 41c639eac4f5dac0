"""
What a provider reports of a payment becomes events here. Reports are never refused.

A repeat changes nothing. A report that contradicts what is known is recorded with an anomaly in
the payment's stream. The postings of each event are the difference that it makes to the payment's
state, so any order of the reports ends in the same balances.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from orderledger.ledger.anomalies import AnomalyKind, AnomalyResolved
from orderledger.ledger.events import Event
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.limits import AMOUNT_MINOR_MAX
from orderledger.ledger.operation_reports import (
    counted,
    is_contradicted,
    is_of_another_try,
    is_told,
    standing,
)
from orderledger.ledger.order_events import (
    LatePaymentDetected,
    RefundFailed,
    RefundRoutedAsVoid,
    RefundSettled,
)
from orderledger.ledger.orders import ENDED
from orderledger.ledger.payment_events import (
    AuthorisationExpired,
    CaptureFinalised,
    CaptureMode,
    ObservationKept,
    OperationConflictObserved,
    OperationMatched,
    OperationReversed,
    RefundReversed,
)
from orderledger.ledger.payment_operations import (
    FAILED,
    TRANSITIONS,
    Effect,
    Operation,
    OperationKind,
    OperationStatus,
    Outcome,
)
from orderledger.ledger.payments import CONCLUDED, PaymentState, reference_key

from .decide_observed_events import (
    OUTCOME_EVENTS,
    REVERSAL_EVENTS,
    declined_event,
    observation_key,
    parent_of,
    reports_with,
    success_event,
)
from .decide_payment_guards import found_payment
from .decision import Changes, States
from .payment_record import PaymentRecord, finished

_PAYS: Final = frozenset({OperationKind.AUTHORISE, OperationKind.CAPTURE, OperationKind.PURCHASE})
_KINDS: Final = frozenset([kind.value for kind in OperationKind])
_EXPECTED_UNASKED: Final = frozenset({OperationKind.AUTHORISE, OperationKind.PURCHASE})
"""What a provider's own checkout page does without being asked from here."""


class Record(PaymentRecord):
    """The changes of a report about an operation."""

    def __init__(self, states: States, state: PaymentState, seen: Observation) -> None:
        super().__init__(states, state)
        self.seen: Final = seen

    def keep(self, op_id: str, why: str, anomaly: AnomalyKind | None = None) -> None:
        """Keep a report that changes no amount, once, with an anomaly if one is named."""
        seen = self.seen
        who = op_id or f"{seen.kind}~{seen.provider_ref}"
        op = self.state.operations.get(op_id)
        amount = seen.amount if seen.amount is not None else op.amount if op else 0
        key = f"{who} {observation_key(seen, amount)}"
        if key in self.state.kept:
            return
        event = ObservationKept(
            op_id=op_id or seen.op_id,
            key=key,
            provider_ref=seen.provider_ref,
            sequence=seen.sequence,
            attempt=seen.attempt,
            outcome=seen.outcome,
            why=why,
            kind=seen.kind,
            amount=amount,
            currency=seen.currency,
        )
        self.add(event)
        if anomaly:
            detail = f"{seen.outcome.value} {seen.amount} {seen.currency}: {why}"
            self.anomaly(anomaly, who, seen.provider_ref, detail=detail)


def observe(seen: Observation, states: States) -> Changes:
    """
    Return what a report adds to the history; () if it says nothing new.

    Raises NotFound if there is no such payment, and nothing else.
    """
    state = found_payment(states, seen.payment_id)
    record = Record(states, state, seen)
    if seen.order_id and seen.order_id != state.order_id:
        detail = f"report names order {seen.order_id}, the payment is for {state.order_id}"
        record.anomaly(AnomalyKind.BOUND_TO_ANOTHER_ORDER, seen.order_id, detail=detail)
    if seen.outcome is Outcome.EXPIRED:
        _observe_expiry(record)
    else:
        observe_operation(record)
    return finished(record, state)


def observe_operation(record: Record) -> None:
    op = find(record.state, record.seen)
    if op is None:
        _observe_unknown(record)
        return
    seen = record.seen
    amount = op.amount if seen.amount is None else seen.amount
    key = observation_key(seen, amount)
    if key in op.seen or f"{op.op_id} {key}" in record.state.kept:
        return
    op = _match(record, op)
    if seen.outcome is Outcome.SUCCEEDED and not _is_possible(record, op.op_id, amount):
        return
    _EFFECTS[TRANSITIONS[op.status][seen.outcome]](record, op, amount)


def find(state: PaymentState, seen: Observation) -> Operation | None:
    """Return the operation that a report is about, by id or else by kind and reference."""
    op = state.operations.get(seen.op_id) if seen.op_id else None
    if op is None and seen.kind and seen.provider_ref:
        op_id = state.by_reference.get(reference_key(seen.kind, seen.provider_ref), "")
        op = state.operations.get(op_id)
    if op is not None and op.matched_by:
        return state.operations.get(op.matched_by)
    return op


def _is_possible(record: Record, op_id: str, amount: int) -> bool:
    """An amount that is not positive, or of another currency, is kept and posts nothing."""
    seen, state = record.seen, record.state
    if amount <= 0:
        record.keep(op_id, "the amount is not positive", AnomalyKind.NON_POSITIVE_AMOUNT)
        return False
    if amount > AMOUNT_MINOR_MAX:
        record.keep(
            op_id, "the amount is beyond what can be posted", AnomalyKind.AMOUNT_BEYOND_LIMIT
        )
        return False
    if seen.currency and seen.currency != state.currency:
        record.keep(op_id, f"the payment is in {state.currency}", AnomalyKind.CURRENCY_MISMATCH)
        return False
    if not state.order_id and seen.kind not in ("", OperationKind.CREDIT.value):
        record.keep(op_id, "the payment belongs to no order", AnomalyKind.PAYMENT_WITHOUT_ORDER)
        return False
    return True


def _match(record: Record, op: Operation) -> Operation:
    """
    Join a requested operation with one that the provider had reported under the same reference.

    Source: medusa#13301 and vendure#3734, a webhook racing the answer to the request.
    """
    seen = record.seen
    if not seen.provider_ref:
        return op
    known = record.state.by_reference.get(reference_key(op.kind.value, seen.provider_ref), "")
    other = record.state.operations.get(known)
    if other is None or not other.is_observed or other.op_id == op.op_id:
        return op
    event = OperationMatched(
        op_id=op.op_id,
        key=f"matched {other.op_id}",
        provider_ref=seen.provider_ref,
        observed_op_id=other.op_id,
    )
    record.add(event, op.op_id, other.op_id)
    matched = record.state.operations[op.op_id]
    if matched.status is not op.status or matched.settled != op.settled:
        _tell_order(record, op, matched)
    key = f"UnrequestedOperation:{other.op_id}"
    if key in record.state.anomalies:
        record.add(AnomalyResolved(anomaly_id=key, by="engine", resolution=f"it is {op.op_id}"))
    return matched


def _tell_order(record: Record, before: Operation, after: Operation) -> None:
    """Tell the order's stream what became of a refund's operation, if it is one."""
    if not after.refund_id:
        return
    seen = record.seen
    reason = seen.detail or seen.code or seen.outcome.value
    if before.done:
        _fail_refund(record, after, _stands_for(record, before, before.done), reason)
    if after.done:
        done = {
            "refund_id": after.refund_id,
            "payment_id": record.state.payment_id,
            "op_id": after.op_id,
        }
        amount = _stands_for(record, after, after.done)
        if after.kind is OperationKind.VOID:
            record.add_to_order(RefundRoutedAsVoid(amount=amount, **done))
        else:
            is_reissue = after.is_reissue
            record.add_to_order(RefundSettled(amount=amount, is_reissue=is_reissue, **done))
    elif before.is_in_flight and not after.is_in_flight:
        _fail_refund(record, after, _stands_for(record, after, after.amount), reason)


def _fail_refund(record: Record, op: Operation, amount: int, reason: str) -> None:
    event = RefundFailed(
        refund_id=op.refund_id,
        payment_id=record.state.payment_id,
        op_id=op.op_id,
        amount=amount,
        reason=reason,
        after_success=op.settled > 0,
    )
    record.add_to_order(event)


def _stands_for(record: Record, op: Operation, amount: int) -> int:
    """Return an amount of a refund in the order's currency: as requested if it is all of it."""
    if amount == op.amount and op.order_amount:
        return op.order_amount
    return record.state.in_order_currency(amount)


def _moves(record: Record, op: Operation, amount: int) -> None:
    outcome = record.seen.outcome
    if outcome is Outcome.SUCCEEDED:
        _succeed(record, op, amount)
        return
    if outcome is Outcome.ABORTED and op.status is OperationStatus.PENDING:
        record.anomaly(AnomalyKind.ABORTED_WHILE_PENDING, op.op_id)
    record.add(OUTCOME_EVENTS[outcome](record.seen, op, amount), op.op_id)
    _tell_order(record, op, record.state.operations[op.op_id])


def _late(record: Record, op: Operation, amount: int) -> None:
    """A success after a failure counts, unless they are of one reference and unordered."""
    if standing(reports_with(op, record.seen, amount)):
        _succeed(record, op, amount)
        _settle_count(record, op.op_id)
        record.anomaly(
            AnomalyKind.LATE_SUCCESS, op.op_id, detail=f"it was {op.status.value} before"
        )
        return
    _succeed(record, op, amount, is_undone=True)
    _conclude_reversal(record, op.op_id, f"it was {op.status.value} before")
    _contradicted(record, op.op_id)


def _conclude_reversal(record: Record, op_id: str, cause: str) -> None:
    """Take back a success that a report which came before it undoes."""
    op = record.state.operations[op_id]
    key = f"{CONCLUDED}{observation_key(record.seen, op.settled)}"
    _take_back(record, op, counted(op.reports), key, cause)


def _take_back(record: Record, op: Operation, now: int, key: str, cause: str) -> None:
    """Append the reversal of all that the reports say; ``now`` is what counts of them."""
    if now != op.settled:
        concluded = f"{CONCLUDED}{observation_key(record.seen, now)}"
        _count(record, op, op.settled, now, concluded)
        op = record.state.operations[op.op_id]
    _add_reversal(record, op, key, cause)


def _contradicted(record: Record, op_id: str) -> None:
    if is_contradicted(record.state.operations[op_id].reports):
        detail = "a success and a failure were reported, and no sequence says which is later"
        record.anomaly(AnomalyKind.FAILURE_AFTER_SUCCESS, op_id, detail=detail, severity="error")


def _again(record: Record, op: Operation, amount: int) -> None:
    """A success after a reversal is new only if something says that it is not the old one."""
    if standing(reports_with(op, record.seen, amount)):
        _succeed(record, op, amount)
        _settle_count(record, op.op_id)
    elif amount != op.settled:
        _conflicts(record, op, amount)
    else:
        _stale(record, op, amount)


def _conflicts(record: Record, op: Operation, amount: int) -> None:
    """
    The operation succeeded before: the same again is nothing new, another amount is kept.

    What counts does not depend on which came first; a success that was taken back stays so.
    """
    seen = record.seen
    is_same_reference = not seen.provider_ref or seen.provider_ref == op.provider_ref
    if amount == op.settled:
        if not op.provider_ref and seen.provider_ref:
            record.keep(op.op_id, "the reference becomes known")
        elif not is_same_reference:
            record.keep(op.op_id, f"it is known as {op.provider_ref}", AnomalyKind.SECOND_REFERENCE)
        elif not is_told(reports_with(op, seen, amount)):
            record.keep(op.op_id, "its place among the reports becomes known")
        _settle_count(record, op.op_id)
        return
    now = counted(reports_with(op, record.seen, amount))
    _count(record, op, amount, now, observation_key(seen, amount))
    detail = f"{op.settled} and {amount} were reported, {now} counts"
    record.anomaly(AnomalyKind.CONFLICTING_AMOUNT, op.op_id, detail=detail, severity="error")


def _settle_count(record: Record, op_id: str) -> None:
    """Let count what the reports leave: another amount than counts now, or none at all."""
    op = record.state.operations[op_id]
    if not standing(op.reports):
        _conclude_reversal(record, op_id, "a failure that undoes it was reported before")
        return
    now = counted(op.reports)
    if now != op.settled:
        key = f"{CONCLUDED}{observation_key(record.seen, op.settled)}"
        _count(record, op, op.settled, now, key)


def _count(record: Record, op: Operation, amount: int, now: int, key: str) -> None:
    """Append that contradicting reports leave an operation with another amount, or the same."""
    seen = record.seen
    event = OperationConflictObserved(
        op_id=op.op_id,
        key=key,
        provider_ref=seen.provider_ref,
        sequence=seen.sequence,
        attempt=seen.attempt,
        amount=amount,
        counted=now,
    )
    record.add(event, op.op_id)
    if now != op.settled:
        _tell_order(record, op, record.state.operations[op.op_id])


def _reverses(record: Record, op: Operation, amount: int) -> None:
    """A failure after a success takes it back, unless another success stands or it is older."""
    seen = record.seen
    reports = reports_with(op, record.seen, amount)
    if standing(reports):
        is_other = is_of_another_try(reports[-1], op.reports)
        why = "a success that it does not undo stands"
        record.keep(op.op_id, why, AnomalyKind.FAILURE_OF_ANOTHER_TRY if is_other else None)
        _settle_count(record, op.op_id)
        return
    cause = seen.detail or seen.code or seen.outcome.value
    _take_back(record, op, counted(reports), observation_key(seen, amount), cause)
    _contradicted(record, op.op_id)


def _add_reversal(record: Record, op: Operation, key: str, cause: str) -> None:
    seen = record.seen
    kind = REVERSAL_EVENTS.get(op.kind, OperationReversed)
    fields = {"refund_id": op.refund_id} if kind is RefundReversed else {}
    event = kind(
        op_id=op.op_id,
        key=key,
        provider_ref=seen.provider_ref,
        sequence=seen.sequence,
        attempt=seen.attempt,
        amount=op.settled,
        cause=cause,
        **fields,
    )
    record.add(event, op.op_id)
    _tell_order(record, op, record.state.operations[op.op_id])


def _fails(record: Record, op: Operation, amount: int) -> None:
    record.add(declined_event(record.seen, op, amount), op.op_id)
    _tell_order(record, op, record.state.operations[op.op_id])
    record.anomaly(AnomalyKind.REVERSED_BEFORE_SUCCESS, op.op_id)


def _stale(record: Record, op: Operation, amount: int) -> None:
    record.keep(op.op_id, f"it is {op.status.value} already")


def _succeed(record: Record, op: Operation, amount: int, *, is_undone: bool = False) -> None:
    """``is_undone``: it is taken back at once, so that no order is told of a late payment."""
    seen = record.seen
    event = success_event(
        seen,
        op,
        {
            "op_id": op.op_id,
            "key": observation_key(seen, amount),
            "provider_ref": seen.provider_ref,
            "sequence": seen.sequence,
            "attempt": seen.attempt,
            "amount": amount,
            "currency": record.state.currency,
            "parent_op": op.parent_op,
            "processed_amount": seen.processed_amount,
            "processed_currency": seen.processed_currency,
            "is_late": op.status in FAILED,
            "is_re_attempt": op.status is OperationStatus.REVERSED,
            "is_observed": op.is_observed,
        },
    )
    _record_success(record, event, op, is_undone=is_undone)
    is_partial = op.kind is OperationKind.AUTHORISE and amount < op.amount
    if amount != op.amount and not is_partial:
        detail = f"{op.amount} was requested, {amount} {record.state.currency} succeeded"
        record.anomaly(AnomalyKind.AMOUNT_MISMATCH, op.op_id, detail=detail)


def _record_success(record: Record, event: Event, op: Operation, *, is_undone: bool) -> None:
    before = record.state
    record.add(event, op.op_id)
    after = record.state.operations[op.op_id]
    if op.kind is OperationKind.CAPTURE and after.is_final and before.held:
        left = record.state.authorisations[op.parent_op].remainder
        if left:
            record.add(CaptureFinalised(op_id=op.op_id, released_remainder=left))
    _tell_order(record, op, after)
    if op.kind in _PAYS and not is_undone:
        _detect_late_payment(record, op, after.settled)


def _detect_late_payment(record: Record, op: Operation, amount: int) -> None:
    """An order that is over got paid: the order's stream says so, and what is proposed."""
    order = record.states.order(record.state.order_id)
    if order.lifecycle not in ENDED or op.op_id in order.late_ops:
        return
    record.anomaly(
        AnomalyKind.LATE_PAYMENT,
        op.op_id,
        detail=f"order {record.state.order_id} is {order.lifecycle.value}",
        severity="error",
    )
    record.add_to_order(
        LatePaymentDetected(
            payment_id=record.state.payment_id,
            op_id=op.op_id,
            amount=amount,
            order_state=order.lifecycle.value,
            policy="void" if op.kind is OperationKind.AUTHORISE else "refund",
        )
    )


def _observe_unknown(record: Record) -> None:
    """Take in a success that nobody here requested; keep anything else about an unknown one."""
    seen, state = record.seen, record.state
    if (
        seen.outcome is not Outcome.SUCCEEDED
        or seen.op_id
        or seen.kind not in _KINDS
        or not seen.provider_ref
    ):
        record.keep("", "the operation is not known", AnomalyKind.UNKNOWN_OPERATION)
        return
    amount = seen.amount or 0
    if not _is_possible(record, "", amount):
        return
    kind = OperationKind(seen.kind)
    op = Operation(
        op_id=observed_id(kind, seen.provider_ref),
        kind=kind,
        amount=amount,
        attempt=seen.attempt,
        parent_op=parent_of(state, seen) if kind in _OF_AUTHORISATION else "",
        is_final=seen.is_final and kind is OperationKind.CAPTURE,
        is_observed=True,
    )
    if kind not in _EXPECTED_UNASKED and not (
        kind is OperationKind.CAPTURE and state.capture_mode is CaptureMode.AUTO
    ):
        detail = f"{kind.value} of {amount} {state.currency} under {seen.provider_ref}"
        record.anomaly(AnomalyKind.UNREQUESTED_OPERATION, op.op_id, detail=detail)
    _succeed(record, op, amount)


_OF_AUTHORISATION: Final = frozenset(
    {OperationKind.CAPTURE, OperationKind.VOID, OperationKind.ADJUST}
)


def observed_id(kind: OperationKind, provider_ref: str) -> str:
    """Return the id of an operation that only the provider knows; no caller can give such an id."""
    return f"~{kind.value}:{provider_ref}"


def _observe_expiry(record: Record) -> None:
    seen, state = record.seen, record.state
    known = state.by_reference.get(
        reference_key(OperationKind.AUTHORISE.value, seen.provider_ref), ""
    )
    auth_op = seen.op_id or known or parent_of(state, seen)
    if not auth_op and seen.provider_ref:
        auth_op = observed_id(OperationKind.AUTHORISE, seen.provider_ref)
    if not auth_op:
        record.keep(
            "", "it is not clear which authorisation expired", AnomalyKind.UNKNOWN_OPERATION
        )
        return
    one = state.authorisations.get(auth_op)
    if one is not None and one.is_expired:
        return
    event = AuthorisationExpired(
        auth_op=auth_op,
        amount=one.remainder if one is not None else 0,
        provider_ref=seen.provider_ref,
        by_provider=True,
    )
    record.add(event, auth_op)


_EFFECTS: Final[Mapping[Effect, Callable[[Record, Operation, int], None]]] = MappingProxyType(
    {
        Effect.MOVES: _moves,
        Effect.LATE: _late,
        Effect.AGAIN: _again,
        Effect.CONFLICTS: _conflicts,
        Effect.REVERSES: _reverses,
        Effect.FAILS: _fails,
        Effect.STALE: _stale,
    }
)
