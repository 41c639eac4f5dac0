"""
From what a port answers to the commands that record it. Pure.

Answers of a payment gateway become observations, which are never refused. What the others answer
becomes reports, or commands that the domain may refuse.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from orderledger.ledger import provider_ports as p
from orderledger.ledger.order_content import StockReservation
from orderledger.ledger.payment_operations import Outcome

from .decision import Command
from .fulfilment_commands import DispatchFulfilment
from .order_commands import (
    HoldOrder,
    RecordStockReservationFailed,
    RecordStockReserved,
)
from .payment_commands import (
    QueryOperation,
    RecordAborted,
    RecordDeclined,
    RecordPending,
    RecordSucceeded,
    RecordUnknown,
)
from .payout_commands import (
    QueryPayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutPending,
    RecordPayoutUnknown,
)

RISK: Final = "risk assessment"
"""Who holds an order by the answer of a risk assessment."""


def _of_gateway(request: p.GatewayRequest, answer: p.GatewayResult) -> Command | None:
    told: dict[str, Any] = {
        "payment_id": request.payment_id,
        "op_id": request.op_id,
        "provider_ref": answer.provider_ref,
        "sequence": answer.sequence,
    }
    match answer.outcome:
        case Outcome.SUCCEEDED:
            return RecordSucceeded(
                **told,
                amount=answer.amount,
                currency=answer.currency,
                expires_at=answer.expires_at,
            )
        case Outcome.DECLINED:
            return RecordDeclined(**told, code=answer.detail, is_retryable=answer.is_retryable)
        case Outcome.ABORTED:
            return RecordAborted(**told, cause=answer.detail)
        case Outcome.PENDING:
            return RecordPending(**told, reason=answer.detail)
        case _:
            return RecordUnknown(**told, cause=answer.detail)


_INCONCLUSIVE: Final = frozenset({Outcome.UNKNOWN, Outcome.PENDING})


def _of_query(request: p.QueryRequest, answer: p.GatewayResult) -> Command | None:
    if answer.outcome in _INCONCLUSIVE:
        return QueryOperation(
            payment_id=request.payment_id,
            op_id=request.op_id,
            result=answer.detail or answer.outcome.value,
        )
    return _of_gateway(request, answer)


def _of_payout_query(request: p.PayOutQuery, answer: p.BankAnswer) -> Command | None:
    if answer.outcome in _INCONCLUSIVE:
        result = answer.detail or answer.outcome.value
        return QueryPayout(payout_id=request.payout_id, result=result)
    return _of_payout(request, answer)


def _of_payout(request: p.PayOutRequest | p.PayOutQuery, answer: p.BankAnswer) -> Command | None:
    told: dict[str, Any] = {"payout_id": request.payout_id, "bank_ref": answer.bank_ref}
    match answer.outcome:
        case Outcome.SUCCEEDED:
            currency = "" if answer.amount is None else request.currency
            return RecordPayoutPaid(**told, amount=answer.amount, currency=currency)
        case Outcome.DECLINED | Outcome.ABORTED:
            return RecordPayoutFailed(**told, reason=answer.detail)
        case Outcome.PENDING:
            return RecordPayoutPending(**told, reason=answer.detail)
        case _:
            return RecordPayoutUnknown(payout_id=request.payout_id, cause=answer.detail)


def _of_reservation(request: p.ReserveStock, answer: p.StockAnswer) -> Command | None:
    if answer.is_done:
        reservation = StockReservation(
            request.reservation_id, request.line_id, request.quantity, request.until
        )
        return RecordStockReserved(order_id=request.order_id, reservation=reservation)
    return RecordStockReservationFailed(
        order_id=request.order_id,
        reservation_id=request.reservation_id,
        line_id=request.line_id,
        quantity=request.quantity,
        reason=answer.reason,
    )


def _of_assessment(request: p.AssessOrder, answer: p.RiskAnswer) -> Command | None:
    if not answer.is_suspicious:
        return None
    return HoldOrder(
        order_id=request.order_id,
        rule_id=answer.rule_id,
        reason=answer.reason or "suspicious",
        by=RISK,
    )


def _of_shipping(request: p.ShipRequest, answer: p.ShipAnswer) -> Command | None:
    if not answer.carrier:
        return None
    return DispatchFulfilment(
        fulfilment_id=request.fulfilment_id,
        order_id=request.order_id,
        carrier=answer.carrier,
        tracking=answer.tracking,
    )


def _nothing(_request: p.Request, _answer: object) -> Command | None:
    """The order gave the reservation up itself, and a message says nothing to the ledger."""
    return None


_ANSWERS: Final[Mapping[type[p.Request], Callable[[Any, Any], Command | None]]] = {
    p.AuthoriseRequest: _of_gateway,
    p.AdjustRequest: _of_gateway,
    p.CaptureRequest: _of_gateway,
    p.VoidRequest: _of_gateway,
    p.RefundRequest: _of_gateway,
    p.QueryRequest: _of_query,
    p.PayOutRequest: _of_payout,
    p.PayOutQuery: _of_payout_query,
    p.ReserveStock: _of_reservation,
    p.ReleaseStock: _nothing,
    p.AssessOrder: _of_assessment,
    p.ShipRequest: _of_shipping,
    p.Notify: _nothing,
}


def command_of(request: p.Request, answer: object) -> Command | None:
    """Return the command that records what a port answered to a request, or None."""
    record: Any = _ANSWERS[type(request)]
    command: Command | None = record(request, answer)
    return command
