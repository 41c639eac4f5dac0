"""
From an operation of a payment to the request that a payment gateway gets. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from orderledger.ledger import provider_ports as p
from orderledger.ledger.payment_operations import Operation, OperationKind
from orderledger.ledger.payment_state import PaymentState

_CAPTURES: Final = frozenset({OperationKind.CAPTURE, OperationKind.PURCHASE})


def gateway_key(payment_id: str, op: Operation) -> str:
    """
    Return the idempotency key of an operation towards its provider.

    The caller's own, if one was given with the operation; else payment and operation, since the id
    of an operation is only unique within its payment.
    """
    own = op.idempotency_key
    if own and own != op.op_id:
        return own
    return f"{payment_id}/{op.op_id}"


def _told(state: PaymentState, op: Operation) -> dict[str, Any]:
    parent = state.operations.get(op.parent_op)
    return {
        "idempotency_key": gateway_key(state.payment_id, op),
        "payment_id": state.payment_id,
        "op_id": op.op_id,
        "provider": state.provider,
        "amount": op.amount,
        "currency": state.currency,
        "method": state.method,
        "parent_op": op.parent_op,
        "parent_ref": "" if parent is None else parent.provider_ref,
    }


def _authorise(state: PaymentState, op: Operation) -> p.GatewayRequest:
    return p.AuthoriseRequest(**_told(state, op), captures=op.kind is OperationKind.PURCHASE)


def _adjust(state: PaymentState, op: Operation) -> p.GatewayRequest:
    return p.AdjustRequest(**_told(state, op))


def _capture(state: PaymentState, op: Operation) -> p.GatewayRequest:
    return p.CaptureRequest(**_told(state, op), is_final=op.is_final)


def _void(state: PaymentState, op: Operation) -> p.GatewayRequest:
    return p.VoidRequest(**_told(state, op))


def _refund(state: PaymentState, op: Operation) -> p.GatewayRequest:
    """A refund names no capture; where the payment has one of them only, it is that one."""
    told = _told(state, op)
    captures = [one for one in state.operations.values() if one.kind in _CAPTURES and one.done]
    if len(captures) == 1 and not told["parent_ref"]:
        told |= {"parent_op": captures[0].op_id, "parent_ref": captures[0].provider_ref}
    return p.RefundRequest(**told)


def _credit(state: PaymentState, op: Operation) -> p.GatewayRequest:
    return p.RefundRequest(**_told(state, op))


_REQUESTS: Final[Mapping[OperationKind, Callable[[PaymentState, Operation], p.GatewayRequest]]] = {
    OperationKind.AUTHORISE: _authorise,
    OperationKind.PURCHASE: _authorise,
    OperationKind.ADJUST: _adjust,
    OperationKind.CAPTURE: _capture,
    OperationKind.VOID: _void,
    OperationKind.REFUND: _refund,
    OperationKind.CREDIT: _credit,
}


def request_of(state: PaymentState, op_id: str) -> p.GatewayRequest:
    """Return what the gateway is asked to do for an operation of a payment."""
    op = state.operations[op_id]
    return _REQUESTS[op.kind](state, op)


def query_of(state: PaymentState, op_id: str) -> p.QueryRequest:
    """Return the question what became of an operation, under the key that it was asked under."""
    op = state.operations[op_id]
    return p.QueryRequest(**_told(state, op), kind=op.kind, provider_ref=op.provider_ref)
