"""
How well the shop serves: orders and what is contested by outcome and cause, and how long steps
took, per day.

SQL views: ``order_outcomes``, ``contest_outcomes``, ``step_latencies``.
"""

from datetime import UTC, datetime
from typing import Final, cast

from orderledger.ledger import chargeback_events as c
from orderledger.ledger import order_events as e
from orderledger.ledger import payment_events as p
from orderledger.ledger import payout_events as y
from orderledger.ledger.chargeback_stages import ChargebackStage
from orderledger.ledger.codec import microseconds
from orderledger.ledger.dispute_events import DisputeFiled
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.events import Event
from orderledger.ledger.folds import folded
from orderledger.ledger.fulfilment_events import Delivered, ShipmentDispatched
from orderledger.ledger.model_ports import Key, Table
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.payments import PaymentState

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


@table("contest_outcomes", key_count=4)
class ContestOutcomeRow(TableRow, frozen=True):
    """
    Disputes and chargebacks by the day on which they were filed or first reported (UTC), by what
    they have come to.

    ``kind`` is dispute or chargeback. ``outcome`` of a dispute is open or its outcome in the view
    ``disputes``, of a chargeback its status in the view ``chargebacks``; ``cause`` is the reason
    that the claimant or the provider gave. Each counts once, under its latest outcome and cause.
    """

    day: str
    kind: str
    outcome: str
    cause: str
    contests: int


CONTESTS: Final = ContestOutcomeRow.table


@table("step_latencies", key_count=3)
class StepLatencyRow(TableRow, frozen=True):
    """
    How often a step took up to so many microseconds and more than half of that, by day of its end.

    ``step`` is confirm (placed to confirmed), deliver (dispatched to delivered), repay (refund
    granted to settled), dispute (filed to ended), chargeback (money taken to decided at that
    stage), payout (initiated to paid), or the kind of a provider operation (requested to
    succeeded).
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


@table("contest_indicators", key_count=2)
class ContestIndicatorRow(TableRow, frozen=True):
    """Working rows: under which outcome each dispute and chargeback is counted."""

    kind: str
    subject: str
    day: str
    outcome: str
    cause: str


_CONTESTS: Final = ContestIndicatorRow.table


@table("step_starts", key_count=2)
class StepStartRow(TableRow, frozen=True):
    """Working rows: steps that have begun and not ended; ``subject`` says of what."""

    step: str
    subject: str
    at: datetime


_STARTS: Final = StepStartRow.table

SUCCESSES: Final = frozenset({"confirmed", "completed"})
FAILURES: Final = frozenset({"cancelled", "expired", "rejected"})
_AREAS: Final = ("order.", "payment.", "fulfilment.", "dispute.", "payout.")
_LARGEST: Final = 1 << 62
_KINDS: Final = tuple(OperationKind)
_DISPUTE: Final = "dispute"
_CHARGEBACK: Final = "chargeback"
_OPEN: Final = "open"
_DECISIONS: Final = (
    c.ChargebackWon,
    c.ChargebackLost,
    c.ChargebackAccepted,
    c.ChargebackCancelled,
    c.ChargebackDefencePeriodEnded,
    c.ArbitrationDecided,
)


class Indicators(ReadModel):
    """The read model ``indicators``."""

    name = "indicators"
    version = 2
    tables = (OUTCOMES, CONTESTS, LATENCIES, _ORDERS, _CONTESTS, _STARTS)
    topics = frozenset([topic for topic in folded() if topic.startswith(_AREAS)])
    folds = frozenset({"dispute", "payment"})

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
        contest = _contest(recorded, rows)
        if contest is not None:
            self._count_contest(recorded, *contest, rows)

    def _count_contest(self, recorded: Recorded, found: Key, outcome: Key, rows: Rows) -> None:
        before = rows.get(_CONTESTS, found)
        if before is not None and before[3:] == outcome:
            return
        day = before[2] if before is not None else _day(recorded)
        if before is not None:
            _add(rows, CONTESTS, (day, found[0], *before[3:]), -1)
        _add(rows, CONTESTS, (day, found[0], *outcome), 1)
        rows.put(_CONTESTS, (*found, day, *outcome))
        if found[0] == _DISPUTE and outcome[0] != _OPEN:
            self._measure(recorded, (_DISPUTE, str(found[1])), rows)

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
        _add(rows, LATENCIES, (_day(recorded), ended[0], up_to), 1)


def _day(recorded: Recorded) -> str:
    return recorded.occurred_at.astimezone(UTC).date().isoformat()


def _contest(recorded: Recorded, rows: Rows) -> tuple[Key, Key] | None:
    """Return which dispute or chargeback an event is about, and its outcome and cause by now."""
    event, subject = recorded.event, recorded.entity_id
    if recorded.kind == _DISPUTE:
        dispute = cast(DisputeState, rows.state(recorded.stream))
        if dispute.filed is None:
            return None
        outcome = dispute.outcome.value if dispute.outcome is not None else _OPEN
        return (_DISPUTE, subject), (outcome, dispute.reason)
    if isinstance(event, c.OfChargeback):
        payment = cast(PaymentState, rows.state(recorded.stream))
        one = payment.chargebacks.get(event.chargeback_id)
        if one is not None and one.exists:
            return (_CHARGEBACK, _of(recorded, event)), (one.status.value, one.reason_code)
    return None


def _of(recorded: Recorded, event: c.OfChargeback) -> str:
    return f"{recorded.entity_id} {event.chargeback_id}"


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
        case DisputeFiled():
            return (_DISPUTE, subject)
        case c.ChargebackBegun(stage=stage) if stage is not ChargebackStage.INQUIRY:
            return (_CHARGEBACK, _of(recorded, event))
        case y.PayoutInitiated():
            return ("payout", subject)
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
        case _ if isinstance(event, _DECISIONS):
            return ((_CHARGEBACK, _of(recorded, event)),)
        case y.PayoutPaid():
            return (("payout", subject),)
        case p.SuccessEvent():
            # A purchase is reported as a capture: what was asked for says which it is.
            return tuple([(kind.value, f"{subject} {event.op_id}") for kind in _KINDS])
        case _:
            return ()
