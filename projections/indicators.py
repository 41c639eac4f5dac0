"""
How well the shop serves: orders by outcome and cause, and how long steps took, per day.

SQL views: ``order_outcomes``, ``step_latencies``.
"""

from datetime import UTC, datetime
from typing import Final, cast

from orderledger.ledger import order_events as e
from orderledger.ledger import payment_events as p
from orderledger.ledger.codec import microseconds
from orderledger.ledger.events import Event
from orderledger.ledger.folds import folded
from orderledger.ledger.fulfilment_events import Delivered, ShipmentDispatched
from orderledger.ledger.model_ports import Key, Table
from orderledger.ledger.payment_operations import OperationKind

from .models import ReadModel, Recorded, Rows
from .tables import TableRow, table


@table("order_outcomes", key_count=3)
class OrderOutcomeRow(TableRow, frozen=True):
    """
    Orders by the day on which they were placed (UTC, ``2026-11-25``), by what they have come to.

    ``outcome`` is placed (nothing yet), confirmed, completed, cancelled, expired or rejected;
    ``cause`` is the reason of the last three. An order counts once, under its latest outcome.
    """

    day: str
    outcome: str
    cause: str
    orders: int


OUTCOMES: Final = OrderOutcomeRow.table


@table("step_latencies", key_count=3)
class StepLatencyRow(TableRow, frozen=True):
    """
    How often a step took up to so many microseconds and more than half of that, by day of its end.

    ``step`` is confirm (placed to confirmed), deliver (dispatched to delivered), repay (refund
    granted to settled), or the kind of a provider operation (requested to succeeded).
    ``up_to_us`` are powers of two: a percentile read from them is right within a factor of two.
    """

    day: str
    step: str
    up_to_us: int
    count: int


LATENCIES: Final = StepLatencyRow.table


@table("order_indicators")
class OrderIndicatorRow(TableRow, frozen=True):
    """Working rows: under which outcome each order is counted."""

    order_id: str
    day: str
    outcome: str
    cause: str
    placed_at: datetime


_ORDERS: Final = OrderIndicatorRow.table


@table("step_starts", key_count=2)
class StepStartRow(TableRow, frozen=True):
    """Working rows: steps that have begun and not ended; ``subject`` says of what."""

    step: str
    subject: str
    at: datetime


_STARTS: Final = StepStartRow.table

SUCCESSES: Final = frozenset({"confirmed", "completed"})
FAILURES: Final = frozenset({"cancelled", "expired", "rejected"})
_LARGEST: Final = 1 << 62
_KINDS: Final = tuple(OperationKind)


class Indicators(ReadModel):
    """The read model ``indicators``."""

    name = "indicators"
    version = 1
    tables = (OUTCOMES, LATENCIES, _ORDERS, _STARTS)
    topics = frozenset(
        topic for topic in folded() if topic.startswith(("order.", "payment.", "fulfilment."))
    )

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Count what the event brings an order to, and what it ends."""
        outcome = _outcome(recorded.event)
        if outcome is not None:
            self._count(recorded, *outcome, rows)
        started = _starts(recorded)
        if started is not None:
            rows.put(_STARTS, (*started, recorded.occurred_at))
        for ended in _ends(recorded):
            self._measure(recorded, ended, rows)

    def _count(self, recorded: Recorded, outcome: str, cause: str, rows: Rows) -> None:
        order_id = recorded.entity_id
        before = rows.get(_ORDERS, (order_id,))
        placed_at = cast(datetime, before[4]) if before is not None else recorded.occurred_at
        day = placed_at.astimezone(UTC).date().isoformat()
        if before is not None:
            _add(rows, OUTCOMES, before[1:4], -1)
        _add(rows, OUTCOMES, (day, outcome, cause), 1)
        rows.put(_ORDERS, (order_id, day, outcome, cause, placed_at))

    def _measure(self, recorded: Recorded, ended: tuple[str, str], rows: Rows) -> None:
        start = rows.get(_STARTS, ended)
        if start is None:
            return
        rows.delete(_STARTS, ended)
        took = microseconds(recorded.occurred_at) - microseconds(cast(datetime, start[2]))
        up_to = min(_LARGEST, 1 << max(0, took - 1).bit_length())
        day = recorded.occurred_at.astimezone(UTC).date().isoformat()
        _add(rows, LATENCIES, (day, ended[0], up_to), 1)


def _add(rows: Rows, table: Table, key: Key, count: int) -> None:
    before = rows.get(table, key)
    total = (cast(int, before[-1]) if before is not None else 0) + count
    if total:
        rows.put(table, (*key, total))
    else:
        rows.delete(table, key)


def _outcome(event: Event) -> tuple[str, str] | None:
    match event:
        case e.OrderPlaced() | e.OrderReinstated():
            return ("placed", "")
        case e.OrderConfirmed() | e.OrderReopened():
            return ("confirmed", "")
        case e.OrderCompleted():
            return ("completed", "")
        case e.OrderCancelled():
            return ("cancelled", event.reason)
        case e.OrderExpired():
            return ("expired", "not paid in time")
        case e.OrderRejected():
            return ("rejected", event.reason)
        case _:
            return None


def _starts(recorded: Recorded) -> tuple[str, str] | None:
    event, subject = recorded.event, recorded.entity_id
    match event:
        case e.OrderPlaced():
            return ("confirm", subject)
        case e.RefundGranted():
            return ("repay", f"{subject} {event.refund_id}")
        case p.OperationRequested():
            return (event.kind.value, f"{subject} {event.op_id}")
        case ShipmentDispatched():
            return ("deliver", subject)
        case _:
            return None


def _ends(recorded: Recorded) -> tuple[tuple[str, str], ...]:
    """Return the steps that an event may end; those that did not begin are passed over."""
    event, subject = recorded.event, recorded.entity_id
    match event:
        case e.OrderConfirmed():
            return (("confirm", subject),)
        case e.RefundSettled() | e.RefundSettledExternally():
            return (("repay", f"{subject} {event.refund_id}"),)
        case Delivered():
            return (("deliver", subject),)
        case p.SuccessEvent():
            # A purchase is reported as a capture: what was asked for says which it is.
            return tuple([(kind.value, f"{subject} {event.op_id}") for kind in _KINDS])
        case _:
            return ()
