"""
Payments with their amounts, and the provider operations of each.

SQL views: ``payments``, ``payment_operations``.
"""

from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.events import topics
from orderledger.ledger.model_ports import Column, Key, Kind, Row, Table
from orderledger.ledger.payment_events import OperationRequested, OutcomeEvent, PaymentInitiated
from orderledger.ledger.payments import PaymentState

from .models import ReadModel, Recorded, Rows

PAYMENTS: Final = Table(
    "payments",
    (
        Column("payment_id", Kind.TEXT),
        Column("order_id", Kind.TEXT),
        Column("provider", Kind.TEXT),
        Column("method", Kind.TEXT),
        Column("currency", Kind.TEXT),
        Column("lifecycle", Kind.TEXT),
        Column("amount", Kind.AMOUNT),
        Column("authorised", Kind.AMOUNT),
        Column("authorised_adjustment", Kind.AMOUNT),
        Column("voided", Kind.AMOUNT),
        Column("authorisation_expired", Kind.AMOUNT),
        Column("captured", Kind.AMOUNT),
        Column("capture_in_flight", Kind.AMOUNT),
        Column("capturable", Kind.AMOUNT),
        Column("refunded", Kind.AMOUNT),
        Column("refund_in_flight", Kind.AMOUNT),
        Column("refundable", Kind.AMOUNT),
        Column("credited", Kind.AMOUNT),
        Column("exposure", Kind.AMOUNT),
        Column("in_flight_count", Kind.INTEGER),
        Column("unknown_count", Kind.INTEGER),
        Column("anomaly_count", Kind.INTEGER),
        Column("expires_at", Kind.INSTANT, is_optional=True),
        Column("initiated_at", Kind.INSTANT, is_optional=True),
    ),
    indexes=(("order_id",), ("provider", "lifecycle")),
)
"""One row per payment, amounts in minor units of ``currency``; see ``PaymentState``."""

OPERATIONS: Final = Table(
    "payment_operations",
    (
        Column("payment_id", Kind.TEXT),
        Column("op_id", Kind.TEXT),
        Column("kind", Kind.TEXT),
        Column("status", Kind.TEXT),
        Column("amount", Kind.AMOUNT),
        Column("done", Kind.AMOUNT),
        Column("reserved", Kind.AMOUNT),
        Column("refund_id", Kind.TEXT),
        Column("provider_ref", Kind.TEXT),
        Column("requested_at", Kind.INSTANT, is_optional=True),
        Column("settled_at", Kind.INSTANT, is_optional=True),
    ),
    key_count=2,
    indexes=(("provider_ref",), ("refund_id",), ("status", "requested_at")),
)
"""
One row per provider operation: what was asked, what came of it, what it still reserves.

``settled_at`` is when its latest outcome was recorded, in flight or not: unknown ones too.
"""

_TIMES: Final = Table(
    "payment_times",
    (
        Column("payment_id", Kind.TEXT),
        Column("op_id", Kind.TEXT),
        Column("requested_at", Kind.INSTANT, is_optional=True),
        Column("settled_at", Kind.INSTANT, is_optional=True),
    ),
    key_count=2,
)
"""The instants that a folded payment does not keep; ``op_id`` empty: of the payment itself."""


class Payments(ReadModel):
    """The read model ``payments``."""

    name = "payments"
    version = 1
    tables = (PAYMENTS, OPERATIONS, _TIMES)
    topics = frozenset(topic for topic in topics() if topic.startswith(("payment.", "anomaly.")))
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
