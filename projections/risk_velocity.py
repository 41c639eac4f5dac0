"""
How often and how much each buyer and seller did lately, by the hour. SQL view: ``risk_velocity``.

What velocity rules ask; by the engine's clock, which nobody can date back.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.order_events import OrderPlaced, PaymentLinked, RefundGranted
from orderledger.ledger.orders import OrderState
from orderledger.ledger.risk_rules import Measure, Subject

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("risk_velocity", key_count=5)
class RiskVelocityRow(TableRow, frozen=True):
    """
    One row per buyer or seller, measure, currency and hour in which something was recorded.

    ``measure`` is orders placed, payments begun or refunds granted; ``amount`` is their sum in
    minor units of ``currency``, for a seller that of its own lines. ``hour`` is its first instant.
    """

    subject_kind: str
    subject: str
    measure: str
    currency: str
    hour: datetime
    count: int
    amount: Amount


VELOCITY: Final = RiskVelocityRow.table


class RiskVelocity(ReadModel):
    """The read model ``risk_velocity``."""

    name = "risk_velocity"
    version = 1
    tables = (VELOCITY,)
    topics = frozenset({"order.placed.v1", "order.payment_linked.v1", "order.refund_granted.v1"})
    folds = frozenset({"order"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Add what an event says to the hour in which it was recorded."""
        hour = hour_of(recorded.recorded_at)
        order = cast(OrderState, rows.state(streams.order(recorded.entity_id)))
        for kind, subject, measure, currency, amount in _moves(recorded.event, order):
            if not (subject and currency):
                continue  # a report of an order that nobody knows
            key = (kind.value, subject, measure.value, currency, hour)
            before = rows.get(VELOCITY, key)
            count, total = (before[5], before[6]) if before is not None else (0, 0)
            assert isinstance(count, int)
            assert isinstance(total, int)
            rows.put(VELOCITY, (*key, count + 1, total + amount))


def hour_of(instant: datetime) -> datetime:
    """Return the first instant of the hour."""
    return instant.replace(minute=0, second=0, microsecond=0)


_Move = tuple[Subject, str, Measure, str, int]


def _moves(event: object, order: OrderState) -> Iterator[_Move]:
    buyer, currency = order.buyer_ref, order.currency
    match event:
        case OrderPlaced():
            orders = Measure.ORDERS
            yield (Subject.BUYER, buyer, orders, currency, event.totals.grand)
            charged: dict[str, int] = {}
            for line in event.lines:
                charged[line.seller] = charged.get(line.seller, 0) + line.charged
            for seller, amount in charged.items():
                yield (Subject.SELLER, seller, orders, currency, amount)
        case PaymentLinked():
            yield (Subject.BUYER, buyer, Measure.PAYMENTS, currency, event.amount)
        case RefundGranted():
            refunds, code = Measure.REFUNDS, event.currency or currency
            yield (Subject.BUYER, buyer, refunds, code, event.total)
            granted: dict[str, int] = {}
            for part in event.lines:
                found = order.lines.get(part.line_id)
                if found is not None:
                    seller = found.line.seller
                    granted[seller] = granted.get(seller, 0) + part.net + part.tax
            for seller, amount in granted.items():
                yield (Subject.SELLER, seller, refunds, code, amount)
        case _:
            pass
