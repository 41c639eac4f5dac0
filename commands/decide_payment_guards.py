"""
Guards that the decisions on payments share, in the order in which they apply: malformed, unknown,
already done, state, amounts.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec

from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.limits import AMOUNT_MINOR_MAX
from orderledger.ledger.operation_reports import is_contested
from orderledger.ledger.orders import Lifecycle, OrderState
from orderledger.ledger.payment_events import OperationRequested
from orderledger.ledger.payment_operations import FundingPart, Operation, OperationKind
from orderledger.ledger.payments import Authorisation, PaymentState, failed_refunds
from orderledger.ledger.streams import ID_GRAMMAR

from .decision import States
from .payment_commands import OfPayment

NO_FACTS: Final[Mapping[str, object]] = MappingProxyType({})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """
    An operation as a command asks for it.

    ``amount`` None and ``parent_op`` "" leave the choice to the decision; a repeated command is
    then the same whatever was chosen.
    """

    op_id: str
    kind: OperationKind
    currency: str
    amount: int | None = None
    idempotency_key: str = ""
    parent_op: str = ""
    refund_id: str = ""
    is_final: bool = False
    funding: tuple[FundingPart, ...] = ()

    @property
    def key(self) -> str:
        return self.idempotency_key or self.op_id


def check_amount(amount: int, currency: str) -> None:
    """Raise InvalidCommand unless 0 < amount ≤ the limit, UnknownCurrency for a wrong code."""
    if type(amount) is not int or not 0 < amount <= AMOUNT_MINOR_MAX:
        raise InvalidCommand(
            f"amount {amount!r} must be a positive integer of at most {AMOUNT_MINOR_MAX} minor "
            "units",
            amount=repr(amount),
        )
    exponent(currency)


def check_op_id(op_id: str) -> None:
    """Raise InvalidCommand for an operation id outside the grammar of ids."""
    if ID_GRAMMAR.fullmatch(op_id) is None:
        raise InvalidCommand(f"operation id {op_id!r} is outside the grammar of ids", op_id=op_id)


def existing_payment(states: States, command: OfPayment) -> PaymentState:
    """Return the payment; raises NotFound, or Rejected if it belongs to another order."""
    state = found_payment(states, command.payment_id)
    if command.order_id and command.order_id != state.order_id:
        raise Rejected(
            Reason.BOUND_TO_ANOTHER_ORDER,
            f"payment {command.payment_id} belongs to order {state.order_id!r}, for good; "
            f"initiate another payment for order {command.order_id}",
            payment_id=command.payment_id,
            order_id=state.order_id,
            other_order_id=command.order_id,
        )
    return state


def found_payment(states: States, payment_id: str) -> PaymentState:
    """Return the payment; raises NotFound."""
    state = states.payment(payment_id)
    if not state.exists:
        raise NotFound(f"there is no payment {payment_id}", payment_id=payment_id)
    return state


def existing_order(states: States, order_id: str) -> OrderState:
    """Return the order; raises NotFound."""
    order = states.order(order_id)
    if not order.exists:
        raise NotFound(f"there is no order {order_id!r}", order_id=order_id)
    return order


def is_known(state: PaymentState, request: Request) -> bool:
    """
    Tell whether the operation was requested before with the same content.

    Raises Rejected: OPERATION_ALREADY_USED if its id, or its idempotency key, was used for
    something else; OPERATION_IN_FLIGHT if another operation of its kind with the same key has no
    outcome yet. Source: killbill#639, a second capture with the key of one whose outcome was
    unknown.
    """
    known = state.operations.get(request.op_id)
    if known is not None:
        if _is_same(state, known, request):
            return True
        raise _used(state, request, known)
    for other in state.operations.values():
        if other.idempotency_key == request.key and other.kind is request.kind:
            if other.is_in_flight:
                raise Rejected(
                    Reason.OPERATION_IN_FLIGHT,
                    f"operation {other.op_id} of payment {state.payment_id} has the same "
                    f"idempotency key {request.key!r} and is {other.status.value}; wait for its "
                    "outcome",
                    payment_id=state.payment_id,
                    op_id=other.op_id,
                    status=other.status.value,
                )
            raise _used(state, request, other)
    return False


def _used(state: PaymentState, request: Request, other: Operation) -> Rejected:
    return Rejected(
        Reason.OPERATION_ALREADY_USED,
        f"payment {state.payment_id}: {request.kind.value} {request.op_id} uses the id or the "
        f"idempotency key of {other.kind.value} {other.op_id} over {other.amount}; a new "
        "operation needs new ones",
        payment_id=state.payment_id,
        op_id=request.op_id,
        other_op_id=other.op_id,
        other_amount=other.amount,
    )


def _is_same(state: PaymentState, known: Operation, request: Request) -> bool:
    return (
        known.kind is request.kind
        and request.currency == state.currency
        and request.amount in (None, known.amount)
        and request.parent_op in ("", known.parent_op)
        and known.refund_id == request.refund_id
        and known.is_final == request.is_final
        and _is_funded_alike(known, request)
        and known.idempotency_key == request.key
    )


def _is_funded_alike(known: Operation, request: Request) -> bool:
    """Compare who was to bear a refund; a request that names nobody left the choice."""
    if not request.funding:
        return True
    stored: dict[str, int] = {}
    for part in known.funding:
        stored[part.account] = stored.get(part.account, 0) + part.amount
    wanted: dict[str, int] = {}
    for part in request.funding:
        wanted[part.account] = wanted.get(part.account, 0) + part.amount
    return stored == wanted


def check_currency(state: PaymentState, currency: str) -> None:
    """Raise Rejected CURRENCY_MISMATCH unless the currency is the payment's."""
    if currency != state.currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"payment {state.payment_id} is in {state.currency}, not in {currency}",
            payment_id=state.payment_id,
            currency=state.currency,
            other_currency=currency,
        )


def check_available(state: PaymentState, what: str, amount: int, available: int) -> None:
    """Raise Rejected AMOUNT_EXCEEDS_AVAILABLE if more is asked for than there is."""
    if amount > available:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"payment {state.payment_id}: {amount} {state.currency} minor units is more than the "
            f"{available} {what}",
            payment_id=state.payment_id,
            amount=amount,
            available=available,
            currency=state.currency,
        )


def check_not_charged_back(state: PaymentState, amount: int) -> None:
    """
    Raise Rejected CHARGEBACK_OPEN if a refund would pay what the buyer's bank has taken already.

    Source: woocommerce-payments#7960, refundable only when it was won, or while it is an inquiry.
    """
    left = state.refundable
    charged_back = state.chargeback_open + state.chargeback_lost
    if not charged_back or amount <= left or amount > left + charged_back:
        return
    taking = [key for key, one in state.chargebacks.items() if one.contested or one.lost]
    raise Rejected(
        Reason.CHARGEBACK_OPEN,
        f"payment {state.payment_id}: {', '.join(taking)} took back {state.chargeback_open} that "
        f"is contested and {state.chargeback_lost} for good; {left} {state.currency} minor units "
        f"can be refunded, not {amount}",
        payment_id=state.payment_id,
        chargebacks=taking,
        amount=amount,
        available=left,
        contested=state.chargeback_open,
        lost=state.chargeback_lost,
        currency=state.currency,
    )


def wrong_state(
    state: PaymentState, message: str, facts: Mapping[str, object] = NO_FACTS
) -> Rejected:
    """Return the refusal of something that the payment's state does not allow."""
    return refused(state, Reason.WRONG_STATE, message, facts)


def refused(
    state: PaymentState, reason: Reason, message: str, facts: Mapping[str, object] = NO_FACTS
) -> Rejected:
    """Return a refusal that names the payment and its lifecycle."""
    return Rejected(
        reason,
        f"payment {state.payment_id} of order {state.order_id} is {state.lifecycle.value}: "
        f"{message}",
        payment_id=state.payment_id,
        order_id=state.order_id,
        lifecycle=state.lifecycle.value,
        **facts,
    )


def open_authorisation(state: PaymentState, auth_op: str) -> tuple[str, Authorisation]:
    """
    Return the open authorisation: the named one, or the only one if none is named.

    Raises Rejected WRONG_STATE if there is none or the choice is not clear.
    """
    candidates = {
        op_id: one
        for op_id, one in state.authorisations.items()
        if op_id and one.is_seen and one.is_open and auth_op in ("", op_id)
    }
    if len(candidates) != 1:
        what = "several open authorisations, name one" if candidates else "no open authorisation"
        raise wrong_state(
            state, what, {"auth_op": auth_op, "open_authorisations": sorted(candidates)}
        )
    return candidates.popitem()


def amount_due(states: States, order: OrderState, besides: str, now: datetime) -> int:
    """
    Return what the order still lacks, other payments than ``besides`` considered.

    In the order's currency. What other payments still expect counts as if it were there, so that
    two open payments are not both taken; one that expired before anything was asked of the
    provider expects nothing, as it can no longer be begun.
    """
    due = order.due - sum(order.redeemed.values()) + sum(order.redeemed_returned.values())
    for payment_id, linked in order.payments.items():
        if payment_id == besides:
            continue
        other = states.payment(payment_id)
        due -= other.in_order_currency(other.expected_at(now)) if other.exists else linked
    return max(0, due)


def requested(request: Request, amount: int, parent_op: str = "") -> OperationRequested:
    """Return the event for a request whose open choices were made."""
    return OperationRequested(
        op_id=request.op_id,
        kind=request.kind,
        amount=amount,
        currency=request.currency,
        idempotency_key=request.key,
        parent_op=parent_op or request.parent_op,
        refund_id=request.refund_id,
        is_final=request.is_final,
        funding=request.funding,
    )


NOT_CAPTURABLE: Final = frozenset(
    {Lifecycle.CANCELLING, Lifecycle.CANCELLED, Lifecycle.EXPIRED, Lifecycle.REJECTED}
)
"""Lifecycles of an order for which nothing is captured any more."""


def check_uncontested(state: PaymentState, refund_id: str) -> None:
    """
    Raise Rejected WRONG_STATE while it is open whether a refund that would be paid again failed.

    The provider reported its success and its failure, and not which came last: the buyer may have
    the money. Whoever finds out resolves the anomaly, or records the later report.
    """
    for op in failed_refunds(state, refund_id):
        if f"FailureAfterSuccess:{op.op_id}" in state.anomalies and is_contested(op.reports):
            raise wrong_state(
                state,
                f"refund operation {op.op_id} was reported to have succeeded and to have failed; "
                "the buyer may have it already; find out and resolve the anomaly",
                {"refund_id": refund_id, "op_id": op.op_id},
            )
