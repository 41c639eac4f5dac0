"""
Payments by every reference that a provider may name them with, and what no settlement has shown.

SQL views: ``payment_references``, ``operation_settlements``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.payment_events import PaymentInitiated, SuccessEvent
from orderledger.ledger.payment_operations import SETTLED
from orderledger.ledger.payments import PaymentState

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table

NAME: Final = "operation_references"


@table("payment_references", key_count=3)
class PaymentReferenceRow(TableRow, frozen=True):
    """
    One row per provider, reference and payment: the references of its operations and chargebacks
    at the provider, and our own ids of the payment and its order, which providers repeat.

    ``source`` says which: operation, chargeback, payment or order.
    """

    provider: str
    reference: str
    payment_id: str
    source: str


REFERENCES: Final = PaymentReferenceRow.table


@table("operation_settlements", key_count=2, indexes=(("provider", "is_settled", "succeeded_at"),))
class OperationSettlementRow(TableRow, frozen=True):
    """
    One row per operation that moved money and stands, amounts in minor units of ``currency``.

    ``shown`` is how much of ``amount`` lines of settlements have shown; ``is_settled``: all of it.
    """

    payment_id: str
    op_id: str
    provider: str
    kind: str
    provider_ref: str
    currency: str
    amount: Amount
    shown: Amount
    is_settled: bool
    succeeded_at: datetime


OPERATIONS: Final = OperationSettlementRow.table


@table("operation_success_times", key_count=2)
class SuccessTimesRow(TableRow, frozen=True):
    """Working rows: when an operation succeeded, in the world."""

    payment_id: str
    op_id: str
    succeeded_at: datetime


_TIMES: Final = SuccessTimesRow.table


class OperationReferences(ReadModel):
    """The read model ``operation_references``."""

    name = NAME
    version = 1
    tables = (REFERENCES, OPERATIONS, _TIMES)
    topics = frozenset(topic for topic in folded() if topic.startswith("payment."))
    folds = frozenset({"payment"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Note the references that a payment has by now, and touch its operations."""
        payment_id, event = recorded.entity_id, recorded.event
        payment = cast(PaymentState, rows.state(recorded.stream))
        if isinstance(event, PaymentInitiated):
            _refer(rows, payment, payment_id, "payment")
            _refer(rows, payment, event.order_id, "order")
        elif isinstance(event, SuccessEvent):
            rows.put(_TIMES, (payment_id, event.op_id, recorded.occurred_at))
        for key in payment.by_reference:
            _refer(rows, payment, key.partition(" ")[2], "operation")
        for chargeback_id, one in payment.chargebacks.items():
            _refer(rows, payment, chargeback_id, "chargeback")
            for reference in (one.provider_ref, *one.aliases):
                _refer(rows, payment, reference, "chargeback")
        for op in payment.operations.values():
            if op.kind in SETTLED:
                rows.touch(OPERATIONS, (payment_id, op.op_id))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of an operation that moved money; None where it does not stand."""
        payment_id, op_id = str(key[0]), str(key[1])
        payment = cast(PaymentState, rows.state(streams.payment(payment_id)))
        op, times = payment.operations.get(op_id), rows.get(_TIMES, key)
        if op is None or not op.done or times is None:
            return None
        shown = payment.reconciled_amount(op_id)
        return (
            payment_id,
            op_id,
            payment.provider,
            op.kind.value,
            op.provider_ref,
            payment.currency,
            op.done,
            shown,
            shown >= op.done,
            times[2],
        )


def _refer(rows: Rows, payment: PaymentState, reference: str, source: str) -> None:
    key = (payment.provider, reference, payment.payment_id)
    if reference and rows.get(REFERENCES, key) is None:
        rows.put(REFERENCES, (*key, source))
