"""
Payments with their amounts, and the provider operations of each.

SQL views: ``payments``, ``payment_operations``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.payment_events import OperationRequested, OutcomeEvent, PaymentInitiated
from orderledger.ledger.payments import PaymentState

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("payments", indexes=(("order_id",), ("provider", "lifecycle")))
class PaymentRow(TableRow, frozen=True):
    """One row per payment, amounts in minor units of ``currency``; see ``PaymentState``."""

    payment_id: str
    order_id: str
    provider: str
    method: str
    currency: str
    lifecycle: str
    amount: Amount
    authorised: Amount
    authorised_adjustment: Amount
    voided: Amount
    authorisation_expired: Amount
    captured: Amount
    capture_in_flight: Amount
    capturable: Amount
    refunded: Amount
    refund_in_flight: Amount
    refundable: Amount
    credited: Amount
    exposure: Amount
    in_flight_count: int
    unknown_count: int
    anomaly_count: int
    expires_at: datetime | None
    initiated_at: datetime | None


PAYMENTS: Final = PaymentRow.table


@table(
    "payment_operations",
    key_count=2,
    indexes=(("provider_ref",), ("refund_id",), ("status", "requested_at")),
)
class PaymentOperationRow(TableRow, frozen=True):
    """
    One row per provider operation: what was asked, what came of it, what it still reserves.

    Amounts in minor units of the payment's currency.

    ``settled_at`` is when its latest outcome was recorded, in flight or not: unknown ones too.
    """

    payment_id: str
    op_id: str
    kind: str
    status: str
    amount: Amount
    done: Amount
    reserved: Amount
    refund_id: str
    provider_ref: str
    requested_at: datetime | None
    settled_at: datetime | None


OPERATIONS: Final = PaymentOperationRow.table


@table("payment_times", key_count=2)
class PaymentTimesRow(TableRow, frozen=True):
    """Working rows: instants that a folded payment does not keep; ``op_id`` empty: its own."""

    payment_id: str
    op_id: str
    requested_at: datetime | None
    settled_at: datetime | None


_TIMES: Final = PaymentTimesRow.table


class Payments(ReadModel):
    """The read model ``payments``."""

    name = "payments"
    version = 1
    tables = (PAYMENTS, OPERATIONS, _TIMES)
    topics = frozenset(topic for topic in folded() if topic.startswith(("payment.", "anomaly.")))
    folds = frozenset({"payment"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the payment, and the operation that the event is about."""
        if recorded.kind != "payment":
            return
        payment_id, event = recorded.entity_id, recorded.event
        rows.touch(PAYMENTS, (payment_id,))
        if isinstance(event, PaymentInitiated):
            rows.put(_TIMES, (payment_id, "", recorded.occurred_at, None))
        elif isinstance(event, OperationRequested):
            rows.put(_TIMES, (payment_id, event.op_id, recorded.occurred_at, None))
        elif isinstance(event, OutcomeEvent):
            before = rows.get(_TIMES, (payment_id, event.op_id))
            requested_at = before[2] if before is not None else None
            rows.put(_TIMES, (payment_id, event.op_id, requested_at, recorded.occurred_at))
        # An outcome of one operation may move another: a reference that is matched late.
        payment = cast(PaymentState, rows.state(recorded.stream))
        for op_id in payment.operations:
            rows.touch(OPERATIONS, (payment_id, op_id))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a payment or of one of its operations."""
        payment = cast(PaymentState, rows.state(streams.payment(str(key[0]))))
        if table is OPERATIONS:
            return _operation(payment, str(key[0]), str(key[1]), rows)
        if not payment.exists:
            return None
        return _payment(payment, rows)


def _payment(payment: PaymentState, rows: Rows) -> Row:
    times = rows.get(_TIMES, (payment.payment_id, ""))
    operations = payment.operations.values()
    return (
        payment.payment_id,
        payment.order_id,
        payment.provider,
        payment.method,
        payment.currency,
        payment.lifecycle.value,
        payment.amount,
        payment.authorised,
        payment.authorised_adjustment,
        payment.voided,
        payment.authorisation_expired,
        payment.captured,
        payment.capture_in_flight,
        payment.capturable,
        payment.refunded,
        payment.refund_in_flight,
        payment.refundable,
        payment.credited,
        payment.exposure,
        len([op for op in operations if op.is_in_flight]),
        len([op for op in operations if op.status.value == "unknown"]),
        len(payment.anomalies),
        payment.expires_at,
        times[2] if times is not None else None,
    )


def _operation(payment: PaymentState, payment_id: str, op_id: str, rows: Rows) -> Row | None:
    operation = payment.operations.get(op_id)
    if operation is None:
        return None
    times = rows.get(_TIMES, (payment_id, op_id)) or (payment_id, op_id, None, None)
    return (
        payment_id,
        op_id,
        operation.kind.value,
        operation.status.value,
        operation.amount,
        operation.done,
        operation.reserved,
        operation.refund_id,
        operation.provider_ref,
        times[2],
        times[3],
    )
